//! The cookies of staff: the session's, and the mark of a device that was signed in on.

use actix_web::HttpRequest;
use actix_web::cookie::time::Duration;
use actix_web::cookie::{Cookie, SameSite};
use actix_web::http::header::HOST;

use crate::app::App;
use crate::use_cases::sessions::LONGEST;

/// The cookie of a session; the prefix makes browsers refuse it from anywhere but this host over TLS.
pub const SESSION_COOKIE: &str = "__Host-redress-session";
const DEVICE_COOKIE: &str = "__Host-redress-device";
const ERRAND_COOKIE: &str = "__Host-redress-errand";
const ERRAND_MINUTES: i64 = 10;
const DEVICE_DAYS: i64 = 365;
const PREFIX: &str = "__Host-";

/// How cookies are written for a request: over plain HTTP on localhost a Secure cookie would not come back, so there, and
/// outside production only, they go without.
#[derive(Debug, Clone, Copy)]
pub struct Cookies {
    secure: bool,
}

impl Cookies {
    /// For the host that the request names.
    #[must_use]
    pub fn of(request: &HttpRequest, app: &App) -> Self {
        let host = request.headers().get(HOST).and_then(|value| value.to_str().ok()).unwrap_or_default();
        Self { secure: app.settings.production || !is_local(host) }
    }

    /// The token of the session's cookie.
    #[must_use]
    pub fn session(self, request: &HttpRequest) -> Option<String> {
        request.cookie(self.name(SESSION_COOKIE)).map(|cookie| cookie.value().to_owned())
    }

    /// The mark of the device.
    #[must_use]
    pub fn device(self, request: &HttpRequest) -> Option<String> {
        request.cookie(self.name(DEVICE_COOKIE)).map(|cookie| cookie.value().to_owned())
    }

    /// Keeps a session's token.
    #[must_use]
    pub fn keep_session(self, token: String) -> Cookie<'static> {
        self.cookie(SESSION_COOKIE, token, Duration::seconds(LONGEST.num_seconds()))
    }

    /// Takes the session's token away.
    #[must_use]
    pub fn end_session(self) -> Cookie<'static> {
        self.cookie(SESSION_COOKIE, String::new(), Duration::ZERO)
    }

    /// Keeps a device's mark.
    #[must_use]
    pub fn keep_device(self, mark: String) -> Cookie<'static> {
        self.cookie(DEVICE_COOKIE, mark, Duration::days(DEVICE_DAYS))
    }

    /// What is remembered of an errand to the identity provider.
    #[must_use]
    pub fn errand(self, request: &HttpRequest) -> Option<String> {
        request.cookie(self.name(ERRAND_COOKIE)).map(|cookie| cookie.value().to_owned())
    }

    /// Keeps what is to be remembered of an errand.
    #[must_use]
    pub fn keep_errand(self, sealed: String) -> Cookie<'static> {
        self.cookie(ERRAND_COOKIE, sealed, Duration::minutes(ERRAND_MINUTES))
    }

    /// Forgets an errand.
    #[must_use]
    pub fn end_errand(self) -> Cookie<'static> {
        self.cookie(ERRAND_COOKIE, String::new(), Duration::ZERO)
    }

    fn cookie(self, name: &'static str, value: String, age: Duration) -> Cookie<'static> {
        Cookie::build(self.name(name), value)
            .path("/")
            .http_only(true)
            .secure(self.secure)
            .same_site(SameSite::Lax)
            .max_age(age)
            .finish()
    }

    fn name(self, name: &'static str) -> &'static str {
        if self.secure { name } else { name.strip_prefix(PREFIX).unwrap_or(name) }
    }
}

/// Whether a host is this machine itself.
fn is_local(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    ["localhost", "127.0.0.1", "[::1]"].contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_local() {
        for local in ["localhost", "localhost:8080", "127.0.0.1:1", "[::1]", "[::1]:80"] {
            assert!(is_local(local), "{local}");
        }
        for far in ["", "localhost.evil.example", "example.com:8080", "127.0.0.1.evil.example", "::1"] {
            assert!(!is_local(far), "{far}");
        }
    }
}
