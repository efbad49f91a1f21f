//! `/v1/runs/{id}/exceptions`: whom a run set aside for people.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use utoipa::IntoParams;

use super::identity::Staff;
use super::problem::{ApiResult, Problem};
use super::query::{bounded, query};
use super::runs::run_id;
use crate::app::App;
use crate::rights::Right;
use crate::use_cases::run_exceptions::{self, ExceptionPage, MAX_PAGE, PAGE};

/// Which page.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ExceptionsAfter {
    /// Where the page before ended.
    pub cursor: Option<String>,
    /// How many, at most 500; 100 when none.
    #[param(minimum = 1, maximum = 500)]
    pub limit: Option<i64>,
}

/// List what a run set aside
///
/// Each subject that a person has to look at, with the reason, by customer.
#[utoipa::path(
    get, path = "/v1/runs/{id}/exceptions", tag = "runs", operation_id = "list_run_exceptions",
    params(("id" = i64, Path, description = "The run's number"), ExceptionsAfter),
    responses(
        (status = 200, description = "A page of them", body = ExceptionPage),
        (status = 400, description = "The number is none", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such run", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "A parameter cannot be read", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn list(
    app: web::Data<App>,
    staff: Staff,
    id: web::Path<String>,
    request: HttpRequest,
) -> ApiResult<HttpResponse> {
    staff.may_everywhere(Right::ReadRuns)?;
    let id = run_id(&id)?;
    let ExceptionsAfter { cursor, limit } = query(&request)?;
    let limit = bounded(limit, PAGE, MAX_PAGE)?;
    let page = web::block(move || run_exceptions::page(&app, id, cursor.as_deref(), limit)).await??;
    Ok(HttpResponse::Ok().json(page))
}
