//! `/v1/claims`: damage reports come in, and their claimants see where they stand.

use actix_web::http::header::{AUTHORIZATION, ETAG, HeaderName, HeaderValue, LOCATION};
use actix_web::{HttpRequest, HttpResponse, web};
use redress_domain::id::ClaimId;
use serde::de::DeserializeOwned;
use uuid::Uuid;
use validator::{Validate, ValidationErrors, ValidationErrorsKind};

use super::metrics::Metrics;
use super::problem::{ApiError, ApiResult, Code, FieldError, Problem};
use crate::app::{Actor, App};
use crate::use_cases::claims::{self, ClaimAnswer, Filed, NewClaim};

/// The header that makes a retry safe.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Tells a client that the answer was given before.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// The most characters of a key.
const MAX_KEY_LENGTH: usize = 128;

/// Report damage
///
/// The report is stored, assessed by the policy of its service and answered with the outcome, its reason and a
/// reference. A retry with the same Idempotency-Key and body gets the same answer, byte for byte.
#[utoipa::path(
    post, path = "/v1/claims", tag = "claims", operation_id = "file_claim",
    params(("Idempotency-Key" = String, Header, description = "Chosen by the client, 1 to 128 visible ASCII characters; the same for every retry", min_length = 1, max_length = 128, pattern = "^[!-~]{1,128}$")),
    request_body(content = NewClaim, content_type = "application/json"),
    responses(
        (status = 201, description = "Stored and assessed", body = ClaimAnswer, headers(
            ("Location" = String, description = "Where the claim is"),
            ("Idempotency-Replayed" = bool, description = "Whether the answer was given before"))),
        (status = 400, description = "The body is not JSON, or the Idempotency-Key is missing", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The first request with this key is under way", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is not declared as JSON", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "A field cannot be used, or the key came with another body", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away; nothing was recorded", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn file(
    app: web::Data<App>,
    metrics: web::Data<Metrics>,
    request: HttpRequest,
    payload: web::Payload,
) -> ApiResult<HttpResponse> {
    let key = idempotency_key(&request)?;
    let body = json_body(&request, payload).await?;
    let new: NewClaim = parse(&body)?;
    let filed = web::block(move || {
        let actor = Actor { name: format!("customer:{}", new.customer), origin: "http".into() };
        claims::file(&app, &new, &key, &body, &actor)
    })
    .await??;
    match filed {
        Filed::Answer { body, location, replayed } => {
            if !replayed {
                metrics.claims.inc();
            }
            let mut response = HttpResponse::Created();
            response.insert_header((LOCATION, location));
            response.insert_header((REPLAYED, if replayed { "true" } else { "false" }));
            Ok(response.content_type("application/json").body(body))
        }
        Filed::KeyReused => Err(ApiError::new(Code::IdempotencyKeyReused)),
        Filed::KeyInFlight => Err(ApiError::new(Code::IdempotencyKeyInFlight)),
        Filed::Field(pointer, detail) => Err(ApiError::field(pointer, detail)),
    }
}

/// See where a claim stands
///
/// For its claimant, with the token from the answer to the report.
#[utoipa::path(
    get, path = "/v1/claims/{id}", tag = "claims", operation_id = "show_claim",
    params(("id" = Uuid, Path, description = "The claim's id")),
    responses(
        (status = 200, description = "The claim", body = ClaimAnswer, headers(("ETag" = String, description = "Its version"))),
        (status = 400, description = "The id is not a UUID", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such claim, or the token is another's", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn show(app: web::Data<App>, request: HttpRequest, path: web::Path<String>) -> ApiResult<HttpResponse> {
    let id = claim_of_token(&app, &request, &path)?;
    let found = web::block(move || app.store.with(|connection| redress_store::claims::find(connection, id))).await??;
    let view = found.ok_or_else(|| ApiError::new(Code::NotFound))?;
    let answer = claims::answer(&view)?;
    Ok(HttpResponse::Ok().insert_header((ETAG, format!("\"{}\"", view.claim.version))).json(answer))
}

/// The claim that a path names, for whoever holds its token: to others it does not exist.
pub(super) fn claim_of_token(app: &App, request: &HttpRequest, path: &str) -> ApiResult<Uuid> {
    let token = bearer(request)?;
    let id = Uuid::parse_str(path).map_err(|_| ApiError::with_detail(Code::InvalidPath, "the id is not a UUID"))?;
    if app.secrets.is_claimant_token(ClaimId(id), &token) { Ok(id) } else { Err(ApiError::new(Code::NotFound)) }
}

pub(super) fn idempotency_key(request: &HttpRequest) -> ApiResult<String> {
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

fn bearer(request: &HttpRequest) -> ApiResult<String> {
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

/// The whole body of a request that declares JSON.
async fn json_body(request: &HttpRequest, payload: web::Payload) -> ApiResult<web::Bytes> {
    use actix_web::HttpMessage;
    if request.content_type() != "application/json" {
        return Err(ApiError::with_detail(Code::UnsupportedMediaType, "send Content-Type: application/json"));
    }
    match payload.to_bytes_limited(super::MAX_BODY).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(error)) => Err(ApiError::with_detail(Code::MalformedBody, error.to_string())),
        Err(_) => {
            Err(ApiError::with_detail(Code::BodyTooLarge, format!("at most {} bytes are taken", super::MAX_BODY)))
        }
    }
}

/// Reads a request: its shape by serde, its rules by validator; every wrong field is named by its pointer.
fn parse<T: DeserializeOwned + Validate>(body: &[u8]) -> ApiResult<T> {
    // Serde would read a list as the members in their order, which no document promises.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(ApiError::with_detail(Code::MalformedBody, "the body is no JSON object"));
    }
    let mut reader = serde_json::Deserializer::from_slice(body);
    let value: T = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let pointer = pointer_of(error.path());
        let inner = error.inner();
        match inner.classify() {
            serde_json::error::Category::Data => ApiError::field(pointer, strip_place(&inner.to_string())),
            _ => ApiError::with_detail(Code::MalformedBody, inner.to_string()),
        }
    })?;
    reader.end().map_err(|error| ApiError::with_detail(Code::MalformedBody, error.to_string()))?;
    value.validate().map_err(|errors| {
        let mut fields = Vec::new();
        collect("", &errors, &mut fields);
        ApiError::fields(fields)
    })?;
    Ok(value)
}

/// Serde appends the place in the text; the pointer says it better.
fn strip_place(message: &str) -> String {
    message.split(" at line ").next().unwrap_or(message).to_owned()
}

fn pointer_of(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    path.iter()
        .map(|segment| match segment {
            Segment::Seq { index } => format!("/{index}"),
            Segment::Map { key } => format!("/{}", key.replace('~', "~0").replace('/', "~1")),
            Segment::Enum { variant } => format!("/{variant}"),
            Segment::Unknown => String::new(),
        })
        .collect()
}

fn collect(prefix: &str, errors: &ValidationErrors, fields: &mut Vec<FieldError>) {
    for (field, kind) in errors.errors() {
        let pointer = format!("{prefix}/{field}");
        match kind {
            ValidationErrorsKind::Struct(inner) => collect(&pointer, inner, fields),
            ValidationErrorsKind::List(items) => {
                for (index, inner) in items {
                    collect(&format!("{pointer}/{index}"), inner, fields);
                }
            }
            ValidationErrorsKind::Field(found) => fields.extend(found.iter().map(|error| FieldError {
                pointer: pointer.clone(),
                detail: error.message.as_ref().map_or_else(|| error.code.to_string(), ToString::to_string),
            })),
        }
    }
}
