//! `/v1/claimants`: codes by mail for who lost the token, and the list of one's own claims; `/v1/coverage`.

use actix_web::http::header::CACHE_CONTROL;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;
use validator::Validate;

use super::body::json;
use super::claimant::{Claimant, customer_of};
use super::problem::{ApiError, ApiResult, Code, FieldError, Problem};
use super::query::query;
use crate::app::App;
use crate::use_cases::claimants::{self, ClaimSummary, ClaimantSession, CodeAnswer, CodeRequest};
use crate::use_cases::coverage::{self, Coverage, CoverageQuery};

/// What is answered to whoever asks for a code.
#[derive(Serialize, ToSchema)]
pub struct CodeAsked {
    /// The same for every address.
    #[schema(example = "if a claim has this address, a code is on its way; it is good for ten minutes")]
    pub detail: &'static str,
}

/// One's own claims.
#[derive(Serialize, ToSchema)]
pub struct OwnClaims {
    /// The newest first, at most a hundred.
    pub claims: Vec<ClaimSummary>,
}

/// Ask for a code by mail
///
/// For who filed a claim and does not have its token at hand. The answer is the same whether or not a claim has the address. A
/// code is six digits, good for ten minutes and five tries; an address is given one a minute and five an hour.
#[utoipa::path(
    post, path = "/v1/claimants/codes", tag = "claims", operation_id = "ask_code",
    request_body(content = CodeRequest, content_type = "application/json"),
    responses(
        (status = 202, description = "Taken", body = CodeAsked),
        (status = 400, description = "The body is not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is not declared as JSON", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "A field cannot be used", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn ask_code(app: web::Data<App>, request: HttpRequest, payload: web::Payload) -> ApiResult<HttpResponse> {
    let asked: CodeRequest = json(&request, payload).await?;
    web::block(move || claimants::ask_code(&app, &asked)).await??;
    let detail = "if a claim has this address, a code is on its way; it is good for ten minutes";
    Ok(HttpResponse::Accepted().json(CodeAsked { detail }))
}

/// Open a session with a code
///
/// The token opens the claims of the address for half an hour.
#[utoipa::path(
    post, path = "/v1/claimants/sessions", tag = "claims", operation_id = "open_claimant_session",
    request_body(content = CodeAnswer, content_type = "application/json"),
    responses(
        (status = 201, description = "Opened", body = ClaimantSession),
        (status = 400, description = "The body is not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is not declared as JSON", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "A field cannot be used, or the code is wrong, over or used up", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn open_session(app: web::Data<App>, request: HttpRequest, payload: web::Payload) -> ApiResult<HttpResponse> {
    let answer: CodeAnswer = json(&request, payload).await?;
    let session = web::block(move || claimants::open_session(&app, &answer)).await??;
    let session = session.ok_or_else(|| ApiError::new(Code::CodeRefused))?;
    Ok(HttpResponse::Created().insert_header((CACHE_CONTROL, "no-store")).json(session))
}

/// List one's own claims
///
/// For a customer with a token of the operator's, or a claimant with a session.
#[utoipa::path(
    get, path = "/v1/claimants/claims", tag = "claims", operation_id = "list_own_claims",
    responses(
        (status = 200, description = "The claims", body = OwnClaims),
        (status = 404, description = "The token is of one claim", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn own_claims(app: web::Data<App>, claimant: Claimant) -> ApiResult<HttpResponse> {
    let whose = claimant.whose().ok_or_else(|| {
        ApiError::with_detail(Code::NotFound, "the token of one claim opens that claim; it lists none")
    })?;
    let claims = web::block(move || claimants::claims_of(&app, &whose)).await??;
    Ok(HttpResponse::Ok().json(OwnClaims { claims }))
}

/// Am I covered?
///
/// What comes without asking and what can be claimed, service by service. With a customer's token the answer is from that
/// customer's records; without, it is about what the question states, and reads nobody's records.
#[utoipa::path(
    get, path = "/v1/coverage", tag = "claims", operation_id = "coverage",
    params(CoverageQuery),
    responses(
        (status = 200, description = "What is covered", body = Coverage),
        (status = 401, description = "A token came and does not hold", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "A parameter cannot be used", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn coverage(app: web::Data<App>, request: HttpRequest) -> ApiResult<HttpResponse> {
    let query: CoverageQuery = query(&request)?;
    query.validate().map_err(|errors| {
        let fields = errors
            .field_errors()
            .into_keys()
            .map(|name| FieldError { pointer: format!("/{name}"), detail: "has 1 to 64 characters".into() });
        ApiError::fields(fields.collect())
    })?;
    let customer = customer_of(&app, &request).await?;
    let stated = query.kind.is_some() || query.product.is_some() || query.valid_from.or(query.valid_until).is_some();
    if customer.is_some() && stated {
        return Err(ApiError::field("/kind", "with a token the records are asked; leave out what is held"));
    }
    let answer = web::block(move || coverage::answer(&app, &query, customer.as_ref())).await??;
    match answer {
        Ok(coverage) => Ok(HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(coverage)),
        Err((parameter, detail)) => Err(ApiError::field(format!("/{parameter}"), detail)),
    }
}
