//! What every command on a claim has in common: who may give it, the key that makes a retry safe, the version that it was
//! decided on, and the claim as the answer.

use actix_web::http::header::{ETAG, HeaderName, IF_MATCH};
use actix_web::{HttpRequest, HttpResponse, web};
use chrono::{DateTime, Utc};
use redress_store::Connection;
use serde::Deserialize;
use uuid::Uuid;

use super::claimant::of_claimant;
use super::headers::idempotency_key;
use super::identity::{Staff, staff_of};
use super::problem::{ApiError, ApiResult, Code, Problem};
use crate::app::{Actor, App};
use crate::error::AppResult;
use crate::rights::Right;
use crate::use_cases::claims::review::Reader;
use crate::use_cases::claims::status::{self, Viewer};
use crate::use_cases::once::{self, Done, Once};

/// Tells a client that the answer was given before.
pub(super) const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// Who commands.
#[derive(Debug, Clone)]
pub(super) enum Caller {
    /// Whoever holds the claim's token.
    Claimant,
    /// A member of staff.
    Staff(Actor, Reader),
}

impl Caller {
    /// What the caller may see.
    pub(super) fn viewer(&self) -> Viewer<'_> {
        match self {
            Self::Claimant => Viewer::Claimant,
            Self::Staff(_, reader) => Viewer::Staff(reader),
        }
    }
}

/// A member of staff as a reader of claims.
pub(super) fn reader_of(staff: &Staff) -> Reader {
    let member = staff.member();
    Reader {
        name: member.name.clone(),
        services: member.services.clone(),
        decides_up_to: member.decides_up_to(),
        countersigns: Right::ApproveDecisions.is_of(member.role),
    }
}

/// The claim that a path names and who asks: a member of staff with the right, or whoever holds its token.
pub(super) async fn caller(
    app: &web::Data<App>,
    request: &HttpRequest,
    path: &str,
    right: Option<Right>,
) -> ApiResult<(Uuid, Caller)> {
    let staff = match right {
        Some(right) => staff_of(request).await?.map(|staff| (right, staff)),
        None => None,
    };
    match staff {
        Some((right, staff)) => {
            let actor = staff.may(right)?;
            Ok((claim_id(path)?, Caller::Staff(actor, reader_of(&staff))))
        }
        None => Ok((of_claimant(app, request, path).await?.view.claim.id, Caller::Claimant)),
    }
}

/// A claim's id in a path.
pub(super) fn claim_id(path: &str) -> ApiResult<Uuid> {
    Uuid::parse_str(path).map_err(|_| ApiError::with_detail(Code::InvalidPath, "the id is not a UUID"))
}

/// The version of the claim that a command was decided on.
pub(super) fn if_match(request: &HttpRequest) -> ApiResult<i32> {
    let Some(value) = request.headers().get(IF_MATCH) else {
        let detail = "send If-Match with the ETag of the claim as you saw it";
        return Err(ApiError::with_detail(Code::PreconditionRequired, detail));
    };
    let version = |text: &str| -> Option<i32> {
        let digits = text.strip_prefix('"')?.strip_suffix('"')?;
        let plain = digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0');
        digits.parse().ok().filter(|_| plain)
    };
    let read = value.to_str().ok().and_then(version);
    read.ok_or_else(|| ApiError::with_detail(Code::InvalidHeader, "If-Match is no ETag of a claim, such as \"3\""))
}

/// Gives a command on a claim once, and answers with the claim as it stands then.
pub(super) async fn act(
    app: web::Data<App>,
    request: &HttpRequest,
    body: &[u8],
    id: Uuid,
    caller: Caller,
    work: impl FnOnce(&App, &mut Connection, &Actor, DateTime<Utc>) -> AppResult<()> + Send + 'static,
) -> ApiResult<HttpResponse> {
    let key = idempotency_key(request)?;
    let asked = asked(request, body);
    let done = web::block(move || -> AppResult<Done> {
        let customer = app.store.with(|connection| redress_store::claims::customer_of(connection, id))?;
        let actor = match &caller {
            Caller::Claimant => Actor { name: format!("customer:{customer}"), origin: "http".into() },
            Caller::Staff(actor, _) => actor.clone(),
        };
        let once = Once { customer, who: actor.name.clone(), key, request: asked };
        once::run(&app, &once, |connection, at| {
            work(&app, connection, &actor, at)?;
            status::show(&app, connection, id, caller.viewer())
        })
    })
    .await??;
    answered(done)
}

/// What a request asks, for its key: another path or body is another request.
pub(super) fn asked(request: &HttpRequest, body: &[u8]) -> Vec<u8> {
    let mut asked = format!("{} {}\n", request.method(), request.path()).into_bytes();
    asked.extend_from_slice(body);
    asked
}

/// The answer to what is done once.
pub(super) fn answered(done: Done) -> ApiResult<HttpResponse> {
    #[derive(Deserialize)]
    struct Versioned {
        version: Option<i32>,
    }
    match done {
        Done::KeyReused => Err(ApiError::new(Code::IdempotencyKeyReused)),
        Done::KeyInFlight => Err(ApiError::new(Code::IdempotencyKeyInFlight)),
        Done::Answer { body, replayed } => {
            let mut response = HttpResponse::Ok();
            response.insert_header((REPLAYED, if replayed { "true" } else { "false" }));
            if let Ok(Versioned { version: Some(version) }) = serde_json::from_slice(&body) {
                response.insert_header((ETAG, format!("\"{version}\"")));
            }
            Ok(response.content_type("application/json").body(body))
        }
    }
}

/// How a command on a claim is refused.
#[derive(utoipa::IntoResponses)]
#[allow(dead_code, reason = "only the OpenAPI document reads it")]
pub(super) enum Refused {
    /// The request cannot be read, or the Idempotency-Key is missing
    #[response(status = 400, content_type = "application/problem+json")]
    Malformed(#[to_schema] Problem),
    /// There is no such claim, or it is of a service that is not yours
    #[response(status = 404, content_type = "application/problem+json")]
    Unknown(#[to_schema] Problem),
    /// The claim does not stand where this can be done, or somebody else works on it
    #[response(status = 409, content_type = "application/problem+json")]
    Conflict(#[to_schema] Problem),
    /// The claim has changed since it was seen
    #[response(status = 412, content_type = "application/problem+json")]
    Stale(#[to_schema] Problem),
    /// The body is too large
    #[response(status = 413, content_type = "application/problem+json")]
    TooLarge(#[to_schema] Problem),
    /// The body is not declared as JSON
    #[response(status = 415, content_type = "application/problem+json")]
    NotJson(#[to_schema] Problem),
    /// A field cannot be used, or the key came with another request
    #[response(status = 422, content_type = "application/problem+json")]
    Invalid(#[to_schema] Problem),
    /// If-Match is missing
    #[response(status = 428, content_type = "application/problem+json")]
    Unconditional(#[to_schema] Problem),
    /// The database is away
    #[response(status = 503, content_type = "application/problem+json")]
    Away(#[to_schema] Problem),
}
