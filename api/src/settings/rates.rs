//! How much one client may ask in a minute, and whose word about a client's address is taken.

use std::net::{IpAddr, Ipv6Addr};

use serde::Deserialize;

use super::variable;
use crate::error::{AppError, AppResult};

/// The defaults in production; elsewhere nothing is limited but signing in.
const CLIENT: u32 = 1_200;
const CLAIMANT: u32 = 300;
const SIGN_IN: u32 = 60;

/// How many requests are answered in a minute; 0 is without a limit.
#[derive(Debug, Clone)]
pub struct RateLimits {
    /// Of one address.
    pub client: u32,
    /// Of one claimant or program, by what it shows.
    pub claimant: u32,
    /// Tries to sign in and codes to be mailed, of one address.
    pub sign_in: u32,
    /// Whose `X-Forwarded-For` counts.
    pub trusted_proxies: Proxies,
}

/// `[limits]` of the file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RatesFile {
    client: Option<u32>,
    claimant: Option<u32>,
    sign_in: Option<u32>,
    trusted_proxies: Option<Vec<String>>,
}

impl RateLimits {
    pub(super) fn load(file: &RatesFile, production: bool) -> AppResult<Self> {
        let usual = |rate: u32| if production { rate } else { 0 };
        let proxies = match variable("REDRESS_TRUSTED_PROXIES")? {
            Some(text) => text.split(',').map(str::to_owned).collect(),
            None => file.trusted_proxies.clone().unwrap_or_default(),
        };
        Ok(Self {
            client: rate("REDRESS_RATE_CLIENT", file.client, usual(CLIENT))?,
            claimant: rate("REDRESS_RATE_CLAIMANT", file.claimant, usual(CLAIMANT))?,
            sign_in: rate("REDRESS_RATE_SIGN_IN", file.sign_in, SIGN_IN)?,
            trusted_proxies: Proxies::parse(&proxies)?,
        })
    }
}

fn rate(name: &str, file: Option<u32>, usual: u32) -> AppResult<u32> {
    match variable(name)? {
        Some(text) => text
            .parse()
            .map_err(|_| AppError::Usage(format!("{name} must be requests a minute, 0 for no limit, not {text:?}"))),
        None => Ok(file.unwrap_or(usual)),
    }
}

/// The networks of our own proxies.
#[derive(Debug, Clone, Default)]
pub struct Proxies(Vec<(u128, u128)>);

impl Proxies {
    /// Reads addresses and networks such as `10.0.0.0/8`.
    pub fn parse(texts: &[String]) -> AppResult<Self> {
        let network = |text: &String| {
            let invalid = || {
                AppError::Usage(format!(
                    "trusted_proxies: {text:?} is neither an address nor a network such as 10.0.0.0/8"
                ))
            };
            let (address, length) = match text.trim().split_once('/') {
                Some((address, length)) => (address, Some(length.parse::<u32>().map_err(|_| invalid())?)),
                None => (text.trim(), None),
            };
            let address: IpAddr = address.parse().map_err(|_| invalid())?;
            let most = if address.is_ipv4() { 32 } else { 128 };
            let length = length.unwrap_or(most);
            if length > most {
                return Err(invalid());
            }
            let mask = u128::MAX.checked_shl(most - length).unwrap_or(0);
            Ok((bits(address) & mask, mask))
        };
        texts.iter().map(network).collect::<AppResult<_>>().map(Self)
    }

    /// Whether an address is one of them.
    #[must_use]
    pub fn trust(&self, address: IpAddr) -> bool {
        self.0.iter().any(|(network, mask)| bits(address) & mask == *network)
    }
}

/// An address as IPv6 has it, so that both kinds are compared alike.
fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => Ipv6Addr::to_bits(v6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_hold_their_addresses_and_no_others() {
        let proxies = Proxies::parse(&["10.0.0.0/8".into(), " 192.0.2.7".into(), "2001:db8::/32".into()]).unwrap();
        for inside in ["10.1.2.3", "::ffff:10.1.2.3", "192.0.2.7", "2001:db8:1::1"] {
            assert!(proxies.trust(inside.parse().unwrap()), "{inside}");
        }
        for outside in ["11.0.0.1", "192.0.2.8", "2001:db9::1", "::1"] {
            assert!(!proxies.trust(outside.parse().unwrap()), "{outside}");
        }
        for bad in ["", "10.0.0.0/33", "10.0.0/8", "proxy", "10.0.0.0/x"] {
            assert!(Proxies::parse(&[bad.to_owned()]).is_err(), "{bad}");
        }
        assert!(Proxies::parse(&["0.0.0.0/0".into()]).unwrap().trust("8.8.8.8".parse().unwrap()));
        assert!(!Proxies::default().trust("127.0.0.1".parse().unwrap()));
    }
}
