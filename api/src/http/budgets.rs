//! `/v1/budgets`: what may be issued, and giving back what is left; asked for by one person and approved by another.

use actix_web::{HttpRequest, HttpResponse, web};
use redress_domain::AssetCode;
use redress_domain::id::{IncidentId, ServiceId};
use rust_decimal::Decimal;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use validator::Validate;

use super::body;
use super::headers::idempotency_key;
use super::identity::Staff;
use super::problem::{ApiError, ApiResult, Code, Problem};
use super::query::query;
use crate::app::App;
use crate::error::AppError;
use crate::exact;
use crate::rights::Right;
use crate::shapes::{Asset, Money, Slug};
use crate::use_cases::budgets::{self, Act, BudgetOrder, BudgetsView, RequestKind, RequestView};
use crate::use_cases::once::{Done, Once};

/// Of which incident.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct BudgetsOf {
    /// The incident.
    #[param(inline, value_type = Slug)]
    pub incident: String,
}

/// An amount that is asked for.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewBudget {
    /// The incident.
    #[schema(value_type = Slug, example = "kakao-2022-10-15")]
    pub incident: String,
    /// The service.
    #[schema(value_type = Slug, example = "melon")]
    pub service: String,
    /// The asset.
    #[schema(value_type = Asset, example = "day:melon")]
    pub asset: String,
    /// How much, in the asset's unit.
    #[serde(deserialize_with = "exact::amount")]
    #[schema(value_type = Money, example = "300000")]
    pub amount: Decimal,
}

/// See budgets
///
/// What was approved, issued and is left, and what is asked for.
#[utoipa::path(
    get, path = "/v1/budgets", tag = "ledger", operation_id = "list_budgets", params(BudgetsOf),
    responses(
        (status = 200, description = "Budgets and requests", body = BudgetsView),
        (status = 404, description = "There is no such incident", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The incident is missing or its name cannot be one", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn list(app: web::Data<App>, staff: Staff, request: HttpRequest) -> ApiResult<HttpResponse> {
    staff.may(Right::ReadBudgets)?;
    let query: BudgetsOf = query(&request)?;
    let incident =
        IncidentId::parse(&query.incident).map_err(|error| ApiError::field("/incident", error.to_string()))?;
    let mut found = web::block(move || budgets::list(&app, &incident)).await??;
    let is_own = |service: &str| ServiceId::parse(service).is_ok_and(|service| staff.member().works_for(&service));
    found.budgets.retain(|budget| is_own(&budget.service));
    found.requests.retain(|request| is_own(&request.service));
    Ok(HttpResponse::Ok().json(found))
}

/// Ask for an amount
///
/// It counts once a second person approves it. A retry with the same Idempotency-Key and body asks once.
#[utoipa::path(
    post, path = "/v1/budgets", tag = "ledger", operation_id = "authorise_budget",
    params(("Idempotency-Key" = String, Header, description = "Chosen by the client, 1 to 128 visible ASCII characters; the same for every retry", min_length = 1, max_length = 128, pattern = "^[!-~]{1,128}$")),
    request_body(content = NewBudget, content_type = "application/json"),
    responses(
        (status = 200, description = "Asked for", body = RequestView),
        (status = 400, description = "The body is not JSON, or the Idempotency-Key is missing", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such incident or service", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The first request with this key is under way", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is not declared as JSON", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "A field cannot be used, or the key came with another body", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away; nothing was recorded", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn authorise(
    app: web::Data<App>,
    staff: Staff,
    request: HttpRequest,
    payload: web::Payload,
) -> ApiResult<HttpResponse> {
    ask(app, staff, request, payload, RequestKind::Authorise).await
}

/// Ask to give back what is left
///
/// It leaves the budget once a second person approves it, if that much is still left then. A retry with the same
/// Idempotency-Key and body asks once.
#[utoipa::path(
    post, path = "/v1/budgets/release", tag = "ledger", operation_id = "release_budget",
    params(("Idempotency-Key" = String, Header, description = "Chosen by the client, 1 to 128 visible ASCII characters; the same for every retry", min_length = 1, max_length = 128, pattern = "^[!-~]{1,128}$")),
    request_body(content = NewBudget, content_type = "application/json"),
    responses(
        (status = 200, description = "Asked for", body = RequestView),
        (status = 400, description = "The body is not JSON, or the Idempotency-Key is missing", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such incident or service", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "Less is left, or the first request with this key is under way", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is not declared as JSON", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "A field cannot be used, or the key came with another body", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away; nothing was recorded", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn release(
    app: web::Data<App>,
    staff: Staff,
    request: HttpRequest,
    payload: web::Payload,
) -> ApiResult<HttpResponse> {
    ask(app, staff, request, payload, RequestKind::Release).await
}

async fn ask(
    app: web::Data<App>,
    staff: Staff,
    request: HttpRequest,
    payload: web::Payload,
    kind: RequestKind,
) -> ApiResult<HttpResponse> {
    let actor = staff.may(Act::Ask.right())?;
    let key = idempotency_key(&request)?;
    let bytes = body::bytes(&request, payload).await?;
    let new: NewBudget = body::parse(&bytes)?;
    let order = BudgetOrder {
        kind,
        incident: IncidentId::parse(&new.incident).map_err(|e| ApiError::field("/incident", e.to_string()))?,
        service: ServiceId::parse(&new.service).map_err(|e| ApiError::field("/service", e.to_string()))?,
        asset: AssetCode::parse(&new.asset).map_err(|e| ApiError::field("/asset", e.to_string()))?,
        amount: new.amount,
    };
    let request = [request.path().as_bytes(), b"\n", &bytes].concat();
    let once = Once { customer: String::new(), who: actor.name.clone(), key, request };
    match web::block(move || budgets::ask_once(&app, &order, &once, &actor)).await?? {
        Done::Answer { body, .. } => Ok(HttpResponse::Ok().content_type("application/json").body(body)),
        Done::KeyReused => Err(ApiError::new(Code::IdempotencyKeyReused)),
        Done::KeyInFlight => Err(ApiError::new(Code::IdempotencyKeyInFlight)),
    }
}

/// Approve what another asked for
///
/// An amount can be issued from then on; what was to be given back has left the budget.
#[utoipa::path(
    post, path = "/v1/budgets/{id}/approve", tag = "ledger", operation_id = "approve_budget",
    params(("id" = i64, Path, description = "The request's number")),
    responses(
        (status = 200, description = "Approved", body = RequestView),
        (status = 400, description = "The number is none", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such request", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It was decided before, it is one's own, or less is left than is to be given back", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away; nothing was recorded", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn approve(app: web::Data<App>, staff: Staff, id: web::Path<String>) -> ApiResult<HttpResponse> {
    decide(app, staff, &id, Act::Approve).await
}

/// Reject what was asked for
///
/// It can never be approved then.
#[utoipa::path(
    post, path = "/v1/budgets/{id}/reject", tag = "ledger", operation_id = "reject_budget",
    params(("id" = i64, Path, description = "The request's number")),
    responses(
        (status = 200, description = "Rejected", body = RequestView),
        (status = 400, description = "The number is none", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such request", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It was decided before", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away; nothing was recorded", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn reject(app: web::Data<App>, staff: Staff, id: web::Path<String>) -> ApiResult<HttpResponse> {
    decide(app, staff, &id, Act::Reject).await
}

async fn decide(app: web::Data<App>, staff: Staff, id: &str, act: Act) -> ApiResult<HttpResponse> {
    let actor = staff.may(act.right())?;
    let id = id.parse().map_err(|_| ApiError::with_detail(Code::InvalidPath, "a request has a whole number"))?;
    let decided = web::block(move || budgets::decide(&app, id, act, &actor)).await?.map_err(|error| match error {
        AppError::Refused(detail) => ApiError::with_detail(Code::BudgetDecided, detail),
        other => other.into(),
    });
    Ok(HttpResponse::Ok().json(decided?))
}
