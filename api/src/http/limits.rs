//! How much one client may ask in a minute: the `RateLimit` fields of the IETF draft, and 429 beyond.
//!
//! A client is an address (of IPv6 the first 64 bits, which one subscriber has); a claimant or program is besides known
//! by what it shows. Signing in has a limit of its own. Memory is bounded: beyond so many clients, new ones share one.

use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::time::Duration;

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{ResponseError, web};
use governor::clock::{Clock, MonotonicClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};

use super::problem::ApiError;
use crate::settings::{Proxies, RateLimits};

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const WINDOW: Duration = Duration::from_secs(60);
/// The most clients that are told apart.
const MAX_CLIENTS: usize = 100_000;
/// The key of all clients beyond those.
const SHARED: u64 = 0;
/// What is limited as signing in is: each try is a guess, or sends a mail.
const GUESSES: &[&str] =
    &["/v1/session", "/v1/session/setup", "/v1/session/setup/confirm", "/v1/claimants/codes", "/v1/claimants/sessions"];

type Limiter = RateLimiter<u64, HashMapStateStore<u64>, MonotonicClock, StateInformationMiddleware>;

/// The limits of a server; all its threads share them.
pub struct Limits {
    client: Option<Limit>,
    claimant: Option<Limit>,
    sign_in: Option<Limit>,
    proxies: Proxies,
    hasher: RandomState,
}

impl Limits {
    /// The limits that the settings say.
    #[must_use]
    pub fn new(rates: &RateLimits) -> Self {
        Self {
            client: Limit::new("client", rates.client),
            claimant: Limit::new("claimant", rates.claimant),
            sign_in: Limit::new("sign-in", rates.sign_in),
            proxies: rates.trusted_proxies.clone(),
            hasher: RandomState::new(),
        }
    }

    /// Takes one from every limit that a request falls under; the tightest of them, or the one that is used up.
    fn take(&self, request: &ServiceRequest) -> Option<State<'_>> {
        let address = self.hasher.hash_one(subscriber(self.address(request)));
        let shown = request.headers().get(AUTHORIZATION).map(|value| self.hasher.hash_one(value.as_bytes()));
        let guesses = request.method() == Method::POST && GUESSES.contains(&request.path())
            || request.path().starts_with("/v1/session/oidc");
        let limits = [
            self.client.as_ref().map(|limit| limit.take(address)),
            self.claimant.as_ref().zip(shown).map(|(limit, shown)| limit.take(shown)),
            self.sign_in.as_ref().filter(|_| guesses).map(|limit| limit.take(address)),
        ];
        limits.into_iter().flatten().min_by_key(|state| (state.wait.is_none(), state.remaining))
    }

    /// The client's address: what the nearest proxy that is not ours has seen, or who is connected.
    fn address(&self, request: &ServiceRequest) -> IpAddr {
        let peer = request.peer_addr().map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), |peer| peer.ip());
        if !self.proxies.trust(peer) {
            return peer;
        }
        let fields = request.headers().get_all(FORWARDED_FOR).filter_map(|value| value.to_str().ok());
        let seen: Vec<&str> = fields.flat_map(|value| value.split(',')).map(str::trim).collect();
        let mut nearest = peer;
        for text in seen.iter().rev() {
            // What is no address was made up by whoever stands before our proxies.
            let Ok(address) = text.parse() else { break };
            nearest = address;
            if !self.proxies.trust(address) {
                break;
            }
        }
        nearest
    }
}

/// Of an IPv6 address what one subscriber has: he could take a new address for every request.
fn subscriber(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
        v4 => v4,
    }
}

struct Limit {
    name: &'static str,
    quota: u32,
    limiter: Limiter,
    clock: MonotonicClock,
}

/// Where a client stands with a limit.
struct State<'a> {
    limit: &'a Limit,
    remaining: u32,
    wait: Option<Duration>,
}

impl Limit {
    fn new(name: &'static str, a_minute: u32) -> Option<Self> {
        let quota = NonZeroU32::new(a_minute)?;
        let clock = MonotonicClock;
        let limiter = RateLimiter::hashmap_with_clock(Quota::per_minute(quota), clock.clone()).with_middleware();
        Some(Self { name, quota: a_minute, limiter, clock })
    }

    fn take(&self, key: u64) -> State<'_> {
        if self.limiter.len() >= MAX_CLIENTS {
            // Whoever asked nothing for a minute is forgotten.
            self.limiter.retain_recent();
        }
        let key = if self.limiter.len() >= MAX_CLIENTS { SHARED } else { key };
        match self.limiter.check_key(&key) {
            Ok(state) => State { limit: self, remaining: state.remaining_burst_capacity(), wait: None },
            Err(until) => State { limit: self, remaining: 0, wait: Some(until.wait_time_from(self.clock.now())) },
        }
    }
}

impl State<'_> {
    /// In how many seconds all of the quota is there again.
    fn reset(&self) -> u64 {
        let used = u64::from(self.limit.quota - self.remaining.min(self.limit.quota));
        (used * WINDOW.as_secs()).div_ceil(u64::from(self.limit.quota))
    }

    fn tell(&self, headers: &mut actix_web::http::header::HeaderMap) {
        let Limit { name, quota, .. } = self.limit;
        let policy = format!("\"{name}\";q={quota};w={}", WINDOW.as_secs());
        let limit = format!("\"{name}\";r={};t={}", self.remaining, self.reset());
        for (header, text) in [(RATE_LIMIT_POLICY, policy), (RATE_LIMIT, limit)] {
            if let Ok(value) = HeaderValue::from_str(&text) {
                headers.insert(header, value);
            }
        }
    }
}

/// Counts a request of the API, and refuses it when there were too many.
pub async fn limit<B: MessageBody>(
    limits: web::Data<Limits>,
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, actix_web::Error> {
    if !request.path().starts_with("/v1/") {
        return Ok(next.call(request).await?.map_into_left_body());
    }
    let state = limits.take(&request);
    let mut response = match state.as_ref().and_then(|state| state.wait) {
        Some(wait) => {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            let refused = ApiError::too_many(seconds).error_response();
            request.into_response(refused).map_into_right_body()
        }
        None => next.call(request).await?.map_into_left_body(),
    };
    if let Some(state) = state {
        state.tell(response.headers_mut());
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_bounded_and_new_clients_share_what_is_left() {
        let limit = Limit::new("client", 1).unwrap();
        for key in 1..=MAX_CLIENTS as u64 {
            assert!(limit.take(key).wait.is_none());
        }
        assert!(limit.take(u64::MAX).wait.is_none());
        assert!(limit.take(u64::MAX - 1).wait.is_some(), "new clients share one quota");
        assert_eq!(limit.limiter.len(), MAX_CLIENTS + 1);
    }

    #[test]
    fn a_subscriber_has_one_quota_for_all_his_addresses() {
        let of = |text: &str| subscriber(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8:0:1::1"), of("2001:db8::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.2"), of("192.0.2.1"));
    }
}
