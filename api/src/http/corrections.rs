//! Moving credits back: `/v1/credits/{id}/reverse`, and what of it waits for a second person, `/v1/corrections`.

use actix_web::{HttpRequest, HttpResponse, web};
use chrono::NaiveDate;
use redress_domain::id::{CustomerId, ReasonCode, TransferId};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;
use validator::Validate;

use super::body;
use super::identity::Staff;
use super::problem::{ApiError, ApiResult, Code, Problem};
use crate::app::App;
use crate::error::AppError;
use crate::exact;
use crate::rights::Right;
use crate::shapes::{Money, Opaque, Slug};
use crate::use_cases::credits::corrections::{self, Asked, Corrected, Correction, CorrectionView, Ground, Kind};

/// Why something is moved back.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Reversal {
    /// Why, as a code.
    #[schema(value_type = Slug, example = "credited-in-error")]
    pub reason: String,
    /// Whose it is; without, the whole ledger is searched.
    #[schema(value_type = Option<Opaque>)]
    pub customer: Option<String>,
    /// How much, in the asset's unit; the whole when none.
    #[serde(default, deserialize_with = "exact::option")]
    #[schema(value_type = Option<Money>)]
    pub amount: Option<Decimal>,
    /// From when it counts for people; today when none. Balances of the past stay what they were.
    pub date: Option<NaiveDate>,
}

/// What a reversal did.
#[derive(Debug, Serialize, ToSchema)]
pub struct Reversed {
    /// The transfers that were made; none while it waits.
    pub corrections: Vec<Corrected>,
    /// What waits for a second person.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waits: Option<CorrectionView>,
}

/// Reverse a credit, or what happened to one
///
/// Each original is reversed at most once: a second request is 409 `transfer_reversed_already` and moves nothing, so no
/// Idempotency-Key is needed. Above a limit of what one person reverses alone within a day it waits for a second person
/// (202): nothing is moved before that, and asked for again it waits once.
#[utoipa::path(
    post, path = "/v1/credits/{id}/reverse", tag = "ledger", operation_id = "reverse_credit",
    params(("id" = Uuid, Path, description = "The credit, delivery, expiry or write-off")),
    request_body(content = Reversal, content_type = "application/json"),
    responses(
        (status = 200, description = "Moved back", body = Reversed),
        (status = 202, description = "Above the limit: it waits for a second person", body = Reversed),
        (status = 400, description = "The body is not JSON, or the id is not a UUID", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such transfer", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It was reversed before, or the ledger refuses; nothing was moved", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is not declared as JSON", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "A field cannot be used", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away; nothing was recorded", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn reverse(
    app: web::Data<App>,
    staff: Staff,
    id: web::Path<String>,
    request: HttpRequest,
    payload: web::Payload,
) -> ApiResult<HttpResponse> {
    let actor = staff.may(Right::ReverseCredits)?;
    let id = Uuid::parse_str(&id).map_err(|_| ApiError::with_detail(Code::InvalidPath, "the id is not a UUID"))?;
    let asked: Reversal = body::json(&request, payload).await?;
    let reason = ReasonCode::parse(&asked.reason).map_err(|error| ApiError::field("/reason", error.to_string()))?;
    let customer = asked.customer.as_deref().map(CustomerId::parse).transpose();
    let customer = customer.map_err(|error| ApiError::field("/customer", error.to_string()))?;
    let item = Correction { transfer: TransferId(id), customer, amount: asked.amount };
    let ground = Ground { reason, on: asked.date };
    let asked = web::block(move || corrections::ask(&app, Kind::Reverse, &[item], &ground, &actor)).await?;
    match asked.map_err(refused)? {
        Asked::Done(corrections) => Ok(HttpResponse::Ok().json(Reversed { corrections, waits: None })),
        Asked::Waits(view) => {
            Ok(HttpResponse::Accepted().json(Reversed { corrections: Vec::new(), waits: Some(*view) }))
        }
    }
}

/// The problem of a reversal, with the field that the ledger refuses.
fn refused(error: AppError) -> ApiError {
    let field = match &error {
        AppError::Items { refused, .. } => {
            refused.first().and_then(|item| Some((field_of(item.code)?, item.detail.clone())))
        }
        _ => None,
    };
    let problem = ApiError::from(error);
    match field {
        Some((pointer, detail)) => problem.at(pointer, detail),
        None => problem,
    }
}

/// The field that a refusal of the ledger's speaks of; none where it is the transfer itself.
fn field_of(code: &str) -> Option<&'static str> {
    match code {
        "amount_not_positive" | "amount_not_exact" | "credit_more_than_owed" | "reversal_more_than_original" => {
            Some("/amount")
        }
        "date_in_future" | "date_before_original" => Some("/date"),
        _ => None,
    }
}

/// Corrections, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct CorrectionList {
    /// Those that wait for a second person come first.
    pub corrections: Vec<CorrectionView>,
}

/// List reversals and write-offs
#[utoipa::path(
    get, path = "/v1/corrections", tag = "ledger", operation_id = "list_corrections",
    responses(
        (status = 200, description = "The newest hundred, those that wait first", body = CorrectionList),
        (status = 503, description = "The database is away", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn list(app: web::Data<App>, staff: Staff) -> ApiResult<HttpResponse> {
    staff.may_everywhere(Right::ReadLedger)?;
    let corrections = web::block(move || corrections::list(&app)).await??;
    Ok(HttpResponse::Ok().json(CorrectionList { corrections }))
}

/// See a reversal or write-off with all that it moves
#[utoipa::path(
    get, path = "/v1/corrections/{id}", tag = "ledger", operation_id = "show_correction",
    params(("id" = i64, Path, description = "The correction's number")),
    responses(
        (status = 200, description = "The correction", body = CorrectionView),
        (status = 400, description = "The number is none", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such correction", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn show(app: web::Data<App>, staff: Staff, id: web::Path<String>) -> ApiResult<HttpResponse> {
    staff.may_everywhere(Right::ReadLedger)?;
    let id = number(&id)?;
    Ok(HttpResponse::Ok().json(web::block(move || corrections::show(&app, id)).await??))
}

/// Approve a large reversal or write-off that another asked for
///
/// It is done then, as it was asked for; where the ledger refuses it meanwhile, nothing is moved and it goes on waiting.
#[utoipa::path(
    post, path = "/v1/corrections/{id}/approve", tag = "ledger", operation_id = "approve_correction",
    params(("id" = i64, Path, description = "The correction's number")),
    responses(
        (status = 200, description = "Done", body = Reversed),
        (status = 400, description = "The number is none", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such correction", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It was decided before, it is one's own, or the ledger refuses; nothing was moved", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away; nothing was recorded", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn approve(app: web::Data<App>, staff: Staff, id: web::Path<String>) -> ApiResult<HttpResponse> {
    let actor = staff.may_everywhere(Right::ApproveCorrections)?;
    let id = number(&id)?;
    let corrections = web::block(move || corrections::approve(&app, id, &actor)).await??;
    Ok(HttpResponse::Ok().json(Reversed { corrections, waits: None }))
}

/// Reject a large reversal or write-off
///
/// It can never be approved then.
#[utoipa::path(
    post, path = "/v1/corrections/{id}/reject", tag = "ledger", operation_id = "reject_correction",
    params(("id" = i64, Path, description = "The correction's number")),
    responses(
        (status = 200, description = "Rejected", body = CorrectionView),
        (status = 400, description = "The number is none", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such correction", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It was decided before", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away; nothing was recorded", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn reject(app: web::Data<App>, staff: Staff, id: web::Path<String>) -> ApiResult<HttpResponse> {
    let actor = staff.may_everywhere(Right::ApproveCorrections)?;
    let id = number(&id)?;
    Ok(HttpResponse::Ok().json(web::block(move || corrections::reject(&app, id, &actor)).await??))
}

fn number(path: &str) -> ApiResult<i64> {
    path.parse().map_err(|_| ApiError::with_detail(Code::InvalidPath, "a correction has a whole number"))
}
