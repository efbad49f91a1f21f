//! `/v1/api-keys`: what programs show instead of signing in.

use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderValue, LOCATION};
use actix_web::{HttpRequest, HttpResponse, web};
use redress_store::Connection;
use serde::Deserialize;
use utoipa::ToSchema;
use uuid::Uuid;
use validator::Validate;

use super::act::{answered, asked};
use super::body;
use super::headers::idempotency_key;
use super::identity::Staff;
use super::problem::{ApiError, ApiResult, Code, Problem};
use super::query::query;
use super::session::{MAX_LISTED, Whose, only_own, uuid_of};
use crate::app::App;
use crate::rights::Right;
use crate::shapes::Scope;
use crate::use_cases::api_keys::{self, KeyView, KeyWithToken, NewKey};
use crate::use_cases::once::{self, Once};
use crate::use_cases::sessions::Means;
use crate::whole;

const DEFAULT_DAYS: i16 = 90;

/// A key that is to be.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewApiKey {
    /// As whom it acts; oneself when absent, others with the right `manage_staff`.
    #[serde(default)]
    #[validate(length(min = 1, max = 64, message = "must have 1 to 64 characters"))]
    #[schema(min_length = 1, max_length = 64)]
    pub staff: Option<String>,
    /// What it is for.
    #[validate(length(min = 1, max = 100, message = "must have 1 to 100 characters"))]
    #[schema(min_length = 1, max_length = 100, example = "nightly import")]
    pub label: String,
    /// What it may do: rights of the member that take no second factor.
    #[validate(length(min = 1, max = 50, message = "must be 1 to 50"))]
    #[schema(value_type = Vec<Scope>, min_items = 1, max_items = 50)]
    pub scopes: Vec<Right>,
    /// How many days it works.
    #[serde(default = "default_days", deserialize_with = "whole::number")]
    #[validate(range(min = 1, max = api_keys::MAX_DAYS, message = "must be from 1 to 365"))]
    #[schema(minimum = 1, maximum = 365)]
    pub days: i16,
}

fn default_days() -> i16 {
    DEFAULT_DAYS
}

/// List API keys
#[utoipa::path(
    get, path = "/v1/api-keys", tag = "staff", operation_id = "list_api_keys", params(Whose),
    responses(
        (status = 200, description = "Those that are not revoked, the newest first, at most 500, without their tokens", body = Vec<KeyView>),
        (status = 503, description = "The database is away", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn list(app: web::Data<App>, staff: Staff, request: HttpRequest) -> ApiResult<HttpResponse> {
    let of = query::<Whose>(&request)?.of(&staff)?;
    let keys = web::block(move || api_keys::list(&app, of.as_deref(), MAX_LISTED)).await??;
    Ok(HttpResponse::Ok().json(keys))
}

/// Make an API key
///
/// It acts as a member with some of his rights, takes a session whose second factor is fresh, and is shown this once: to
/// a retry with the same Idempotency-Key as well.
#[utoipa::path(
    post, path = "/v1/api-keys", tag = "staff", operation_id = "create_api_key",
    params(("Idempotency-Key" = String, Header, description = "Chosen by the client, 1 to 128 visible ASCII characters; the same for every retry", min_length = 1, max_length = 128, pattern = "^[!-~]{1,128}$")),
    request_body(content = NewApiKey, content_type = "application/json"),
    responses(
        (status = 201, description = "Made", body = KeyWithToken, headers(("Location" = String, description = "Where the keys are"))),
        (status = 400, description = "The body is not JSON, or the Idempotency-Key is missing", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such member", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The member has too many keys, or the first request with this Idempotency-Key is under way", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is not declared as JSON", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "A field cannot be used, or the Idempotency-Key came with another body", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn create(
    app: web::Data<App>,
    staff: Staff,
    request: HttpRequest,
    payload: web::Payload,
) -> ApiResult<HttpResponse> {
    let key = idempotency_key(&request)?;
    let body = body::bytes(&request, payload).await?;
    let new: NewApiKey = body::parse(&body)?;
    let own = staff.member().name.clone();
    let actor = match &new.staff {
        Some(other) if *other != own => staff.may(Right::ManageStaff)?,
        _ => staff.verified()?,
    };
    let NewApiKey { staff: of, label, scopes, days } = new;
    let new = NewKey { staff: of.unwrap_or(own), label, scopes, days };
    let once = Once { customer: String::new(), who: actor.name.clone(), key, request: asked(&request, &body) };
    let done = web::block(move || once::run(&app, &once, |connection, _| api_keys::create(connection, new, &actor)));
    let mut response = answered(done.await??)?;
    *response.status_mut() = StatusCode::CREATED;
    response.headers_mut().insert(LOCATION, HeaderValue::from_static("/v1/api-keys"));
    Ok(response)
}

/// Give a key another token
///
/// The one before works on for a day, so that the program can be told. A key may rotate itself.
#[utoipa::path(
    post, path = "/v1/api-keys/{id}/rotate", tag = "staff", operation_id = "rotate_api_key",
    params(("id" = Uuid, Path, description = "The key's id"), ("Idempotency-Key" = String, Header, description = "Chosen by the client, 1 to 128 visible ASCII characters; the same for every retry", min_length = 1, max_length = 128, pattern = "^[!-~]{1,128}$")),
    responses(
        (status = 200, description = "The token, shown this once", body = KeyWithToken),
        (status = 400, description = "The id is not a UUID, or the Idempotency-Key is missing", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such key, or it is another's", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The first request with this key is under way", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The Idempotency-Key came with another request", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn rotate(
    app: web::Data<App>,
    staff: Staff,
    request: HttpRequest,
    path: web::Path<String>,
) -> ApiResult<HttpResponse> {
    let id = changeable(&staff, &path)?;
    let key = idempotency_key(&request)?;
    let (of, actor) = (only_own(&staff), staff.actor());
    let once = Once { customer: String::new(), who: actor.name.clone(), key, request: asked(&request, &[]) };
    let rotate = move |connection: &mut Connection, _| api_keys::rotate(connection, id, of.as_deref(), &actor);
    answered(web::block(move || once::run(&app, &once, rotate)).await??)
}

/// Revoke an API key
#[utoipa::path(
    delete, path = "/v1/api-keys/{id}", tag = "staff", operation_id = "revoke_api_key",
    params(("id" = Uuid, Path, description = "The key's id")),
    responses(
        (status = 204, description = "It does not work any more"),
        (status = 400, description = "The id is not a UUID", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such key, or it is another's", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn revoke(app: web::Data<App>, staff: Staff, path: web::Path<String>) -> ApiResult<HttpResponse> {
    let id = changeable(&staff, &path)?;
    let of = only_own(&staff);
    web::block(move || api_keys::revoke(&app, id, of.as_deref(), &staff.actor())).await??;
    Ok(HttpResponse::NoContent().finish())
}

/// The key that a path names: whoever shows a key may change that one only, or a stolen key would reach all others.
fn changeable(staff: &Staff, path: &str) -> ApiResult<Uuid> {
    let id = uuid_of(path)?;
    match staff.means() {
        Means::Key { id: own, .. } if *own != id => Err(ApiError::new(Code::NotFound)),
        _ => Ok(id),
    }
}
