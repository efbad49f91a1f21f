//! `/v1/ledger` and `/v1/credits`: what stands in the books.

use actix_web::{HttpRequest, HttpResponse, web};
use chrono::{DateTime, Utc};
use redress_domain::id::{CustomerId, ServiceId};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::identity::Staff;
use super::problem::{ApiError, ApiResult, Code, Problem};
use super::query::{bounded, query};
use crate::app::App;
use crate::rights::Right;
use crate::shapes::Opaque;
use crate::use_cases::credits::{self, CreditView};
use crate::use_cases::ledger;

/// An instant.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct At {
    /// As it stood then; now when none. The answer for an instant never changes.
    #[serde(default, deserialize_with = "crate::instant::option")]
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
    staff.may_everywhere(Right::ReadLedger)?;
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
    #[serde(default, deserialize_with = "crate::instant::option")]
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
    staff.may_everywhere(Right::ReadLedger)?;
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
    /// Where the page before ended.
    pub cursor: Option<Uuid>,
    /// How many, at most 500; 100 when none.
    #[param(minimum = 1, maximum = 500)]
    pub limit: Option<i64>,
}

/// Credits, oldest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct CreditList {
    /// The credits, the oldest first.
    pub credits: Vec<CreditView>,
    /// What `cursor` takes for the next page; none on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<Uuid>,
}

/// List the credits of a customer
#[utoipa::path(
    get, path = "/v1/credits", tag = "ledger", operation_id = "list_credits", params(OfCustomer),
    responses(
        (status = 200, description = "Each credit and what happened to it, page by page", body = CreditList),
        (status = 422, description = "A parameter cannot be read", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn credits_of(app: web::Data<App>, staff: Staff, request: HttpRequest) -> ApiResult<HttpResponse> {
    staff.may(Right::ReadLedger)?;
    let OfCustomer { customer, cursor, limit } = query(&request)?;
    let customer = CustomerId::parse(&customer).map_err(|error| ApiError::field("/customer", error.to_string()))?;
    let limit = bounded(limit, ledger::PAGE, ledger::MAX_PAGE)?;
    let mut credits = web::block(move || credits::list(&app, &customer, cursor, limit)).await??;
    let full = i64::try_from(credits.len()).is_ok_and(|found| found == limit);
    let next = credits.last().filter(|_| full).map(|last| last.id);
    let is_own = |credit: &CreditView| ServiceId::parse(&credit.service).is_ok_and(|id| staff.member().works_for(&id));
    credits.retain(is_own);
    Ok(HttpResponse::Ok().json(CreditList { credits, next }))
}
