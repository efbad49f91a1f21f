//! Telling others over HTTP, signed as Standard Webhooks: the one way out for deliveries and for events. What is told has
//! an id that stays the same however often it is sent, so that whoever is told can know it again.

use std::time::Duration as StdDuration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Duration, Utc};
use hmac::{Hmac, KeyInit, Mac};
use redress_store::failpoint::{Guard, is_without};
use redress_store::webhooks::WebhookRow;
use sha2::Sha256;
use ureq::Agent;
use uuid::Uuid;

use crate::error::{AppError, AppResult};
use crate::https;
use crate::secrets::Secrets;
use crate::settings::Settings;

/// How secrets begin, so that people and scanners of leaked secrets know them.
const SECRET_PREFIX: &str = "whsec_";
/// How many random bytes a secret has.
const SECRET_LENGTH: usize = 32;
/// The largest answer that is read.
const MAX_ANSWER: u64 = 1 << 20;
/// After so many attempts, or so many calls to one address that failed in a row, a person has to see it: with the waits
/// between, about a day.
pub const MAX_ATTEMPTS: i32 = 30;
/// The wait after the first failure; each further one doubles it.
const FIRST_WAIT_SECONDS: i64 = 10;
/// The longest wait between two attempts.
const MAX_WAIT_SECONDS: i64 = 3_600;
/// The longest wait that an answer may ask for.
const MAX_ASKED_SECONDS: i64 = 24 * 3_600;

/// A fresh secret, and the text that whoever verifies gets.
#[must_use]
pub fn new_secret() -> (Vec<u8>, String) {
    let key = rand::random::<[u8; SECRET_LENGTH]>().to_vec();
    let text = format!("{SECRET_PREFIX}{}", STANDARD.encode(&key));
    (key, text)
}

/// What the secret of a webhook is bound to when it is sealed.
#[must_use]
pub fn secret_context(id: Uuid) -> String {
    format!("webhook/{id}")
}

/// Checks an address; the error says what is wrong with it.
pub fn check_url(url: &str, production: bool) -> Result<(), String> {
    const MAX_LENGTH: usize = 2_000;
    if url.len() > MAX_LENGTH {
        return Err(format!("is longer than {MAX_LENGTH} characters"));
    }
    let parsed: ureq::http::Uri = url.parse().map_err(|error| format!("is no URL: {error}"))?;
    let authority = parsed.authority().ok_or("has no host")?;
    match parsed.scheme_str() {
        Some("https") => {}
        Some("http") if !production => {}
        Some("http") => return Err("must begin with https:// in production".into()),
        _ if production => return Err("must begin with https://".into()),
        _ => return Err("must begin with https:// (or http://, outside of production)".into()),
    }
    if authority.as_str().contains('@') {
        return Err("must hold no user and password: calls are signed instead".into());
    }
    if parsed.host().is_none_or(str::is_empty) {
        return Err("has no host".into());
    }
    Ok(())
}

/// Why a call failed.
#[derive(Debug, Clone)]
pub struct Failure {
    /// In words, without the address, which may hold a secret.
    pub why: String,
    /// Whether what was sent may have been taken all the same.
    pub reached: bool,
    /// How long the answer asks to wait.
    pub retry_after: Option<Duration>,
    /// Whether the address says that it wants to hear nothing any more.
    pub gone: bool,
}

/// What came of a call that was answered with a 2xx.
#[derive(Debug, Clone)]
pub struct Taken {
    /// The status.
    pub status: u16,
    /// The answer's body.
    pub body: Vec<u8>,
}

/// The client of all calls.
pub struct Outgoing {
    agent: Agent,
    timeout: StdDuration,
}

/// Where a call goes and what it is signed with.
pub struct Target {
    url: String,
    keys: Vec<Vec<u8>>,
}

impl Target {
    /// The address and the keys of a webhook: during a rotation the one before signs as well.
    pub fn open(secrets: &Secrets, row: &WebhookRow, now: DateTime<Utc>) -> AppResult<Self> {
        let context = secret_context(row.id);
        let mut keys = vec![secrets.open(&row.secret, &context)?];
        if let (Some(previous), Some(until)) = (&row.previous_secret, row.previous_until)
            && now < until
        {
            keys.push(secrets.open(previous, &context)?);
        }
        Ok(Self { url: row.url.clone(), keys })
    }
}

impl Outgoing {
    /// A client with the settings' patience. Redirects are not followed.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        Self { agent: https::agent(&settings.trust), timeout: settings.webhook_timeout }
    }

    /// Sends a JSON document under an id. A 2xx is an answer; all else is a failure.
    pub fn post(&self, target: &Target, id: Uuid, body: &[u8]) -> Result<Taken, Failure> {
        let id = if is_without(Guard::CallId) { Uuid::now_v7() } else { id };
        let (id, timestamp) = (id.to_string(), Utc::now().timestamp());
        let signatures: Vec<String> = target.keys.iter().map(|key| sign(key, &id, timestamp, body)).collect();
        let request = self
            .agent
            .post(&target.url)
            .config()
            .timeout_global(Some(self.timeout))
            .build()
            .header("content-type", "application/json")
            .header("user-agent", concat!("redress/", env!("CARGO_PKG_VERSION")))
            .header("webhook-id", &id)
            .header("webhook-timestamp", timestamp.to_string())
            .header("webhook-signature", signatures.join(" "));
        let mut response = request.send(body).map_err(|error| unanswered(&error))?;
        let status = response.status().as_u16();
        if !(200..300).contains(&status) {
            return Err(refused(status, response.headers()));
        }
        let read = response.body_mut().with_config().limit(MAX_ANSWER).read_to_vec();
        let body = read.map_err(|error| Failure {
            why: format!("the answer {status} could not be read: {}", plainly(&error)),
            reached: true,
            retry_after: None,
            gone: false,
        })?;
        Ok(Taken { status, body })
    }
}

/// A signature over id, time and body.
fn sign(key: &[u8], id: &str, timestamp: i64, body: &[u8]) -> String {
    // HMAC takes keys of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return String::new() };
    mac.update(format!("{id}.{timestamp}.").as_bytes());
    mac.update(body);
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

/// A call that nobody answered.
fn unanswered(error: &ureq::Error) -> Failure {
    let connecting = matches!(
        error,
        ureq::Error::HostNotFound
            | ureq::Error::ConnectionFailed
            | ureq::Error::Timeout(ureq::Timeout::Resolve | ureq::Timeout::Connect)
            | ureq::Error::BadUri(_)
            | ureq::Error::Tls(_)
            | ureq::Error::Rustls(_)
    ) || matches!(error, ureq::Error::Io(io) if io.kind() == std::io::ErrorKind::ConnectionRefused);
    Failure { why: plainly(error), reached: !connecting, retry_after: None, gone: false }
}

/// What went wrong, in words for a person; never the address.
fn plainly(error: &ureq::Error) -> String {
    match error {
        ureq::Error::HostNotFound => "its host is not known".into(),
        ureq::Error::Timeout(_) => "it did not answer in time".into(),
        ureq::Error::BodyExceedsLimit(_) => format!("it is longer than {MAX_ANSWER} bytes"),
        ureq::Error::Io(io) => io.to_string(),
        ureq::Error::BadUri(_) => "its address cannot be used".into(),
        other => other.to_string(),
    }
}

/// An answer that is no 2xx. A 4xx says that nothing was taken; after a 5xx nobody knows.
fn refused(status: u16, headers: &ureq::http::HeaderMap) -> Failure {
    let why = match status {
        300..=399 => format!("it answered {status}: redirects are not followed, give the address it leads to"),
        401 | 403 => format!("it answered {status}: does it know the secret?"),
        410 => "it answered 410: it wants to hear nothing any more".into(),
        _ => format!("it answered {status}"),
    };
    let seconds = headers.get("retry-after").and_then(|value| value.to_str().ok()?.trim().parse::<i64>().ok());
    let retry_after = seconds.map(|seconds| Duration::seconds(seconds.clamp(0, MAX_ASKED_SECONDS)));
    Failure { why, reached: status >= 500, retry_after, gone: status == 410 }
}

/// When to try again after so many failures: 10, 20, 40 … seconds later, at most an hour, and a little later at random, so
/// that what failed together does not come back together.
#[must_use]
pub fn retry_at(failures: i32, asked: Option<Duration>, now: DateTime<Utc>) -> DateTime<Utc> {
    let doublings = u32::try_from(failures - 1).unwrap_or(0).min(16);
    let seconds = FIRST_WAIT_SECONDS.saturating_mul(2_i64.pow(doublings)).min(MAX_WAIT_SECONDS);
    let wait = Duration::seconds(seconds).max(asked.unwrap_or_default());
    now + wait + Duration::milliseconds(rand::random_range(0..=seconds * 200))
}

/// The setting that says how long a call may take.
pub fn timeout(seconds: u64) -> AppResult<StdDuration> {
    if (1..=300).contains(&seconds) {
        return Ok(StdDuration::from_secs(seconds));
    }
    Err(AppError::Usage(format!("REDRESS_WEBHOOK_SECONDS must be from 1 to 300, not {seconds}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_those_of_the_specifications_libraries() {
        let key = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        assert_eq!(
            sign(&key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
    }

    #[test]
    fn addresses_are_checked() {
        for good in ["https://grants.example/hook", "https://10.0.0.7:8443/x?y=z", "http://127.0.0.1:9/"] {
            assert_eq!(check_url(good, false), Ok(()), "{good}");
        }
        assert!(check_url("http://127.0.0.1:9/", true).unwrap_err().contains("production"));
        for bad in ["", "grants.example", "/hook", "ftp://x/", "https://", "https://me:secret@x/", "file:///etc/passwd"]
        {
            assert!(check_url(bad, false).is_err(), "{bad}");
        }
    }

    #[test]
    fn waits_grow_to_an_hour_and_never_beyond_what_was_asked() {
        let now = Utc::now();
        let wait =
            |failures, asked: Option<i64>| (retry_at(failures, asked.map(Duration::seconds), now) - now).num_seconds();
        assert!((10..=12).contains(&wait(1, None)) && (20..=24).contains(&wait(2, None)));
        assert!((3_600..=4_320).contains(&wait(20, None)) && (3_600..=4_320).contains(&wait(i32::MAX, None)));
        assert!((600..=602).contains(&wait(1, Some(600))));
    }
}
