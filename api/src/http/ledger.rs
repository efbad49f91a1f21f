//! `/v1/ledger` and `/v1/credits`: what stands in the books, and moving it back.

use actix_web::{HttpRequest, HttpResponse, web};
use chrono::{DateTime, NaiveDate, Utc};
use redress_domain::id::{CustomerId, ReasonCode, TransferId};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;
use validator::Validate;

use super::body;
use super::identity::Staff;
use super::problem::{ApiError, ApiResult, Code, Problem};
use super::query::{bounded, query};
use crate::app::App;
use crate::rights::Right;
use crate::shapes::{Money, Opaque, Slug};
use crate::use_cases::credits::{self, Correction, CreditView, Ground};
use crate::use_cases::ledger;

/// An instant.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct At {
    /// As it stood then; now when none. The answer for an instant never changes.
    pub at: Option<DateTime<Utc>>,
}

/// The balance of an account
///
/// Of an account, or of a group of accounts: the account's name with its slashes as `%2F`, such as `owed` or
/// `provision%2Fkakao-2022-10-15%2Fmelon`.
#[utoipa::path(
    get, path = "/v1/ledger/accounts/{id}/balance", tag = "ledger", operation_id = "show_balance",
    params(("id" = String, Path, description = "The account's or the group's name"), At),
    responses(
        (status = 200, description = "The balances and their sums", body = ledger::Balances),
        (status = 404, description = "There is no such account", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The instant lies in the future", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn balance(
    app: web::Data<App>,
    staff: Staff,
    account: web::Path<String>,
    request: HttpRequest,
) -> ApiResult<HttpResponse> {
    staff.may(Right::ReadLedger)?;
    let query: At = query(&request)?;
    let found = web::block(move || ledger::balance(&app, &account, query.at)).await?;
    match found {
        Err(crate::error::AppError::Refused(detail)) => Err(ApiError::with_detail(Code::NotFound, detail)),
        found => Ok(HttpResponse::Ok().json(found?)),
    }
}

/// Which transfers.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct TransfersAfter {
    /// Where the page before ended.
    pub cursor: Option<String>,
    /// How many, at most 500; 100 when none.
    #[param(minimum = 1, maximum = 500)]
    pub limit: Option<i64>,
    /// Only what was recorded until then; the first page says until when, and the next ones keep to it.
    pub at: Option<DateTime<Utc>>,
}

/// List transfers
///
/// By customer and id, in pages of one instant: what is recorded meanwhile does not shift them.
#[utoipa::path(
    get, path = "/v1/ledger/transfers", tag = "ledger", operation_id = "list_transfers", params(TransfersAfter),
    responses(
        (status = 200, description = "A page of transfers", body = ledger::TransferPage),
        (status = 422, description = "The cursor is none, or the instant lies in the future", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn transfers(app: web::Data<App>, staff: Staff, request: HttpRequest) -> ApiResult<HttpResponse> {
    staff.may(Right::ReadLedger)?;
    let TransfersAfter { cursor, limit, at } = query(&request)?;
    let limit = bounded(limit, ledger::PAGE, ledger::MAX_PAGE)?;
    let page = web::block(move || ledger::page(&app, cursor.as_deref(), limit, at)).await??;
    Ok(HttpResponse::Ok().json(page))
}

/// Whose credits.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct OfCustomer {
    /// The customer.
    #[param(inline, value_type = Opaque)]
    pub customer: String,
}

/// Credits, oldest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct CreditList {
    /// The credits.
    pub credits: Vec<CreditView>,
}

/// List the credits of a customer
#[utoipa::path(
    get, path = "/v1/credits", tag = "ledger", operation_id = "list_credits", params(OfCustomer),
    responses(
        (status = 200, description = "Each credit and what happened to it", body = CreditList),
        (status = 422, description = "The customer's id cannot be one", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn credits_of(app: web::Data<App>, staff: Staff, request: HttpRequest) -> ApiResult<HttpResponse> {
    staff.may(Right::ReadLedger)?;
    let query: OfCustomer = query(&request)?;
    let customer =
        CustomerId::parse(&query.customer).map_err(|error| ApiError::field("/customer", error.to_string()))?;
    let credits = web::block(move || credits::list(&app, &customer)).await??;
    Ok(HttpResponse::Ok().json(CreditList { credits }))
}

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
    #[schema(value_type = Option<Money>)]
    pub amount: Option<Decimal>,
    /// From when it counts for people; today when none. Balances of the past stay what they were.
    pub date: Option<NaiveDate>,
}

/// What a reversal did.
#[derive(Debug, Serialize, ToSchema)]
pub struct Reversed {
    /// The transfers that were made.
    pub corrections: Vec<credits::Corrected>,
}

/// Reverse a credit, or what happened to one
///
/// Each original is reversed at most once: a second request is 409 `transfer_reversed_already` and moves nothing, so no
/// Idempotency-Key is needed.
#[utoipa::path(
    post, path = "/v1/credits/{id}/reverse", tag = "ledger", operation_id = "reverse_credit",
    params(("id" = Uuid, Path, description = "The credit, delivery, expiry or write-off")),
    request_body(content = Reversal, content_type = "application/json"),
    responses(
        (status = 200, description = "Moved back", body = Reversed),
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
    let corrections = web::block(move || credits::reverse(&app, &[item], &ground, &actor)).await??;
    Ok(HttpResponse::Ok().json(Reversed { corrections }))
}
