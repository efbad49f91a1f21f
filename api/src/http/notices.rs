//! `/v1/notices`: what could not be sent or came back; and what a claimant wants to be told.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

use super::body::json;
use super::claimant::of_claimant;
use super::identity::Staff;
use super::problem::{ApiError, ApiResult, Code, Problem};
use crate::app::App;
use crate::rights::Right;
use crate::use_cases::claims::Preferences;
use crate::use_cases::claims::prefer;
use crate::use_cases::notices::desk::{self, BounceReport, Changed, RequeueOrder, TroubledNotice};

/// Notices in trouble.
#[derive(Serialize, ToSchema)]
pub struct TroubledNotices {
    /// The newest first, at most a thousand.
    pub notices: Vec<TroubledNotice>,
}

/// List notices that could not be sent or came back
///
/// Of the services that the member works for.
#[utoipa::path(
    get, path = "/v1/notices", tag = "operations", operation_id = "list_troubled_notices",
    responses(
        (status = 200, description = "The notices", body = TroubledNotices),
        (status = 503, description = "The database is away", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn list(app: web::Data<App>, staff: Staff) -> ApiResult<HttpResponse> {
    staff.may(Right::ReadNotices)?;
    let notices = web::block(move || desk::troubled(&app, staff.member().services.as_deref())).await??;
    Ok(HttpResponse::Ok().json(TroubledNotices { notices }))
}

/// Queue notices again
///
/// After what kept them from going is mended. Doing it twice changes nothing more.
#[utoipa::path(
    post, path = "/v1/notices/requeue", tag = "operations", operation_id = "requeue_notices",
    request_body(content = RequeueOrder, content_type = "application/json"),
    responses(
        (status = 200, description = "Queued", body = Changed),
        (status = 400, description = "The body is not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is not declared as JSON", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "A field cannot be used", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn requeue(
    app: web::Data<App>,
    staff: Staff,
    request: HttpRequest,
    payload: web::Payload,
) -> ApiResult<HttpResponse> {
    let actor = staff.may_everywhere(Right::ManageNotices)?;
    let order: RequeueOrder = json(&request, payload).await?;
    Ok(HttpResponse::Ok().json(web::block(move || desk::requeue(&app, &order, &actor)).await??))
}

/// Report mail that came back
///
/// For the mail server or its provider, with an API key. Reporting the same again changes nothing.
#[utoipa::path(
    post, path = "/v1/notices/bounces", tag = "operations", operation_id = "report_bounces",
    request_body(content = BounceReport, content_type = "application/json"),
    responses(
        (status = 200, description = "Recorded", body = Changed),
        (status = 400, description = "The body is not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is not declared as JSON", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "A field cannot be used", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn bounces(
    app: web::Data<App>,
    staff: Staff,
    request: HttpRequest,
    payload: web::Payload,
) -> ApiResult<HttpResponse> {
    let actor = staff.may(Right::ManageNotices)?;
    let report: BounceReport = json(&request, payload).await?;
    Ok(HttpResponse::Ok().json(web::block(move || desk::bounced(&app, &report, &actor)).await??))
}

/// Say how to be told
///
/// The language, and whether only what matters is mailed: questions, deadlines and decisions always are.
#[utoipa::path(
    put, path = "/v1/claims/{id}/preferences", tag = "claims", operation_id = "set_preferences",
    params(("id" = Uuid, Path, description = "The claim's id")),
    request_body(content = Preferences, content_type = "application/json"),
    responses(
        (status = 200, description = "Kept", body = Preferences),
        (status = 400, description = "The body is not JSON, or the id is not a UUID", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such claim, or it is not the caller's", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is not declared as JSON", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "A field cannot be used", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn preferences(
    app: web::Data<App>,
    request: HttpRequest,
    path: web::Path<String>,
    payload: web::Payload,
) -> ApiResult<HttpResponse> {
    let access = of_claimant(&app, &request, &path).await?;
    let wanted: Preferences = json(&request, payload).await?;
    let kept = wanted.clone();
    let found = web::block(move || prefer(&app, &access.view.claim, &wanted, &access.actor)).await??;
    if found { Ok(HttpResponse::Ok().json(kept)) } else { Err(ApiError::new(Code::NotFound)) }
}
