//! Headers that several routes read.

use actix_web::HttpRequest;
use actix_web::http::header::{AUTHORIZATION, HeaderName, HeaderValue};

use super::problem::{ApiError, ApiResult, Code};

/// The header that makes a retry safe.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// The most characters of a key.
const MAX_KEY_LENGTH: usize = 128;

/// The Idempotency-Key of a request, without which it is refused.
pub fn idempotency_key(request: &HttpRequest) -> ApiResult<String> {
    let missing = || {
        ApiError::with_detail(
            Code::IdempotencyKeyMissing,
            format!(
                "send one header Idempotency-Key of 1 to {MAX_KEY_LENGTH} visible ASCII characters, the same for every retry"
            ),
        )
    };
    let mut values = request.headers().get_all(IDEMPOTENCY_KEY);
    let (Some(value), None) = (values.next(), values.next()) else { return Err(missing()) };
    let text = value.to_str().map_err(|_| missing())?;
    let well_formed = (1..=MAX_KEY_LENGTH).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    if well_formed { Ok(text.to_owned()) } else { Err(missing()) }
}

/// The token of a request, without which it is refused.
pub fn bearer(request: &HttpRequest) -> ApiResult<String> {
    let unauthorised = || ApiError::with_detail(Code::Unauthorised, "send Authorization: Bearer <token>");
    let value: &HeaderValue = request.headers().get(AUTHORIZATION).ok_or_else(unauthorised)?;
    let text = value.to_str().map_err(|_| unauthorised())?;
    let (scheme, token) = text.split_once(' ').ok_or_else(unauthorised)?;
    if scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() {
        Ok(token.trim().to_owned())
    } else {
        Err(unauthorised())
    }
}
