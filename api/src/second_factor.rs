//! The second factor of staff: codes by time (RFC 6238), each taken once, and recovery codes for a lost device.

use chrono::{DateTime, Utc};
use redress_store::StoreError;
use sha2::{Digest, Sha256};
use totp_rs::{Builder, Totp};

use crate::error::AppResult;

/// 160 bits, as RFC 4226 recommends.
const SECRET_LENGTH: usize = 20;
const RECOVERY_CODES: usize = 10;
/// 80 bits each: nobody tries them all, so a plain hash is enough.
const RECOVERY_LENGTH: usize = 10;

/// A new secret.
#[must_use]
pub fn new_secret() -> Vec<u8> {
    rand::random::<[u8; SECRET_LENGTH]>().to_vec()
}

/// What an authenticator reads, as `otpauth://…`.
pub fn uri(secret: &[u8], name: &str) -> AppResult<String> {
    // A colon would end the issuer's name.
    let name = name.replace(':', "-");
    let totp = Builder::new().with_secret(secret.to_vec()).with_issuer(Some("Redress")).with_account_name(name).build();
    Ok(totp.and_then(|totp| totp.to_url()).map_err(StoreError::corrupt)?)
}

/// The time step of a code, if it is one of now or half a minute before or after, and newer than the last one used.
pub fn step_of(secret: &[u8], code: &str, now: DateTime<Utc>, last_used: i64) -> AppResult<Option<i64>> {
    let seconds = u64::try_from(now.timestamp()).map_err(StoreError::corrupt)?;
    let step = totp(secret)?.check(code, seconds).and_then(|step| i64::try_from(step).ok());
    Ok(step.filter(|step| *step > last_used))
}

fn totp(secret: &[u8]) -> AppResult<Totp> {
    Ok(Builder::new().with_secret(secret.to_vec()).with_skew(1).build().map_err(StoreError::corrupt)?)
}

/// New recovery codes, to be shown once, and what is kept of them.
#[must_use]
pub fn new_recovery_codes() -> (Vec<String>, Vec<String>) {
    let code = |_| {
        let text = hex::encode(rand::random::<[u8; RECOVERY_LENGTH]>());
        text.as_bytes().chunks(5).map(String::from_utf8_lossy).collect::<Vec<_>>().join("-")
    };
    let codes: Vec<String> = (0..RECOVERY_CODES).map(code).collect();
    let kept = codes.iter().map(|code| kept(code)).collect();
    (codes, kept)
}

/// What is left of the recovery codes when one of them is used; none when it is none of them.
#[must_use]
pub fn without_recovery_code(left: &[String], code: &str) -> Option<Vec<String>> {
    let used = kept(code);
    left.contains(&used).then(|| left.iter().filter(|kept| **kept != used).cloned().collect())
}

fn kept(code: &str) -> String {
    let plain: String = code.chars().filter(char::is_ascii_hexdigit).collect::<String>().to_lowercase();
    hex::encode(Sha256::digest(plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(second, 0).unwrap()
    }

    #[test]
    fn the_codes_are_those_of_the_rfc() {
        // RFC 6238, appendix B, cut to six digits.
        let secret = b"12345678901234567890";
        for (second, code) in [(59, "287082"), (1_111_111_109, "081804"), (2_000_000_000, "279037")] {
            assert_eq!(step_of(secret, code, at(second), 0).unwrap(), Some(second / 30), "{second}");
            // A clock may be half a minute off, not more.
            assert!(step_of(secret, code, at(second + 30), 0).unwrap().is_some());
            assert!(step_of(secret, code, at(second + 90), 0).unwrap().is_none());
            // The same code again is nobody's.
            assert!(step_of(secret, code, at(second), second / 30).unwrap().is_none());
        }
        for bad in ["", "28708", "2870822", "28708a", "２８７０８２", "287083"] {
            assert_eq!(step_of(secret, bad, at(59), 0).unwrap(), None, "{bad}");
        }
    }

    #[test]
    fn a_recovery_code_is_used_once_however_it_is_typed() {
        let (codes, kept) = new_recovery_codes();
        let typed = codes[3].to_uppercase().replace('-', " ");
        let left = without_recovery_code(&kept, &typed).unwrap();
        assert_eq!(left.len(), RECOVERY_CODES - 1);
        assert_eq!(without_recovery_code(&left, &typed), None);
        assert_eq!(without_recovery_code(&left, ""), None);
    }
}
