//! `/v1/runs`: the batch job over HTTP; the servers execute what is opened here.

use std::collections::BTreeSet;

use actix_web::http::header::LOCATION;
use actix_web::{HttpRequest, HttpResponse, web};
use redress_domain::id::{IncidentId, PolicyId};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use validator::Validate;

use super::body;
use super::headers::idempotency_key;
use super::identity::Staff;
use super::problem::{ApiError, ApiResult, Code, Problem};
use super::query::query;
use crate::app::{Actor, App};
use crate::error::{AppError, AppResult};
use crate::rights::Right;
use crate::shapes::Slug;
use crate::use_cases::issue::{self, Order, Plan};
use crate::use_cases::runs::{self, RunView};

/// The most policies that an order names.
const MAX_POLICIES: u64 = 1_000;

/// What is to be issued.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRun {
    /// The incident.
    #[schema(value_type = Slug, example = "kakao-2022-10-15")]
    pub incident: String,
    /// Only these policies; all when none.
    #[serde(default)]
    #[validate(length(min = 1, max = MAX_POLICIES, message = "must be 1 to 1000; all are meant when it is left out"))]
    #[schema(value_type = Option<Vec<Slug>>, min_items = 1, max_items = 1000)]
    pub policies: Option<Vec<String>>,
    /// Only say what would be issued; nothing is written.
    #[serde(default)]
    pub dry_run: bool,
}

impl NewRun {
    fn order(&self) -> ApiResult<Order> {
        let incident =
            IncidentId::parse(&self.incident).map_err(|error| ApiError::field("/incident", error.to_string()))?;
        let policies = self.policies.iter().flatten().enumerate().map(|(place, name)| {
            PolicyId::parse(name).map_err(|error| ApiError::field(format!("/policies/{place}"), error.to_string()))
        });
        // How many workers share a run is the server's to say.
        Ok(Order { incident, policies: policies.collect::<ApiResult<BTreeSet<_>>>()?, workers: 1 })
    }
}

/// The plan that is approved.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    /// The hash of the plan that was seen, or its first 16 digits or more.
    #[validate(length(min = 16, max = 64, message = "must have 16 to 64 digits"))]
    #[schema(min_length = 16, max_length = 64, pattern = "^[0-9a-f]+$")]
    pub plan: String,
}

/// A run with its plan.
#[derive(Debug, Serialize, ToSchema)]
pub struct RunWithPlan {
    /// The run.
    pub run: RunView,
    /// What was planned, where a limit asked for a plan.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<Plan>,
}

/// Which runs.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct RunsBefore {
    /// Only runs before this one: the last of the page before.
    pub before: Option<i64>,
}

/// Runs, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct RunList {
    /// The runs.
    pub runs: Vec<RunView>,
    /// What `before` takes for the next page; none on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<i64>,
}

/// Start a run, or say what it would do
///
/// Below every limit the servers begin it at once; above one it is `planned` and waits for a second person. With
/// `dry_run` the answer is 200 and says what would be issued. A retry with the same Idempotency-Key gets the same run.
#[utoipa::path(
    post, path = "/v1/runs", tag = "runs", operation_id = "start_run",
    params(("Idempotency-Key" = String, Header, description = "Chosen by the client, 1 to 128 visible ASCII characters; the same for every retry", min_length = 1, max_length = 128, pattern = "^[!-~]{1,128}$")),
    request_body(content = NewRun, content_type = "application/json"),
    responses(
        (status = 200, description = "What would be issued", body = issue::Report),
        (status = 201, description = "Opened", body = RunView, headers(("Location" = String, description = "Where the run is"))),
        (status = 400, description = "The body is not JSON, or the Idempotency-Key is missing", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such incident", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "A run of the incident is open", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is not declared as JSON", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "A field cannot be used, or the key came with another order", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away; nothing was recorded", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn start(
    app: web::Data<App>,
    staff: Staff,
    request: HttpRequest,
    payload: web::Payload,
) -> ApiResult<HttpResponse> {
    let actor = staff.may_everywhere(Right::RunIssue)?;
    let key = idempotency_key(&request)?;
    let new: NewRun = body::json(&request, payload).await?;
    let order = new.order()?;
    if new.dry_run {
        let report = web::block(move || issue::plan(&app, &order, &issue::Nobody)).await?.map_err(refused)?;
        return Ok(HttpResponse::Ok().json(report));
    }
    let run = web::block(move || runs::start(&app, &order, &key, &actor)).await?.map_err(refused)?;
    let run = run.ok_or_else(|| ApiError::new(Code::IdempotencyKeyReused))?;
    Ok(HttpResponse::Created().insert_header((LOCATION, format!("/v1/runs/{}", run.id))).json(run))
}

/// List runs
#[utoipa::path(
    get, path = "/v1/runs", tag = "runs", operation_id = "list_runs", params(RunsBefore),
    responses(
        (status = 200, description = "Runs, newest first", body = RunList),
        (status = 422, description = "A parameter cannot be read", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn list(app: web::Data<App>, staff: Staff, request: HttpRequest) -> ApiResult<HttpResponse> {
    staff.may_everywhere(Right::ReadRuns)?;
    let query: RunsBefore = query(&request)?;
    let runs = web::block(move || runs::list(&app, query.before)).await??;
    let full = i64::try_from(runs.len()).is_ok_and(|found| found == runs::PAGE);
    let next = runs.last().filter(|_| full).map(|run| run.id);
    Ok(HttpResponse::Ok().json(RunList { runs, next }))
}

/// See how far a run is
#[utoipa::path(
    get, path = "/v1/runs/{id}", tag = "runs", operation_id = "show_run",
    params(("id" = i64, Path, description = "The run's number")),
    responses(
        (status = 200, description = "The run, how far it is, and its plan", body = RunWithPlan),
        (status = 400, description = "The number is none", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such run", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn show(app: web::Data<App>, staff: Staff, id: web::Path<String>) -> ApiResult<HttpResponse> {
    staff.may_everywhere(Right::ReadRuns)?;
    let id = run_id(&id)?;
    let shown = web::block(move || -> AppResult<RunWithPlan> {
        Ok(RunWithPlan { run: runs::show(&app, id)?, plan: runs::plan_of(&app, id)? })
    })
    .await??;
    Ok(HttpResponse::Ok().json(shown))
}

/// Approve a run that another started
///
/// The approval names the plan that was seen; a plan whose policies, roster or budgets have changed since is void.
#[utoipa::path(
    post, path = "/v1/runs/{id}/approve", tag = "runs", operation_id = "approve_run",
    params(("id" = i64, Path, description = "The run's number")),
    request_body(content = Approval, content_type = "application/json"),
    responses(
        (status = 200, description = "Approved; the servers begin it if it is theirs", body = RunView),
        (status = 400, description = "The body is not JSON, or the number is none", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such run", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It was another plan, it is void, or one's own", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is not declared as JSON", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "A field cannot be used", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away; nothing was recorded", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn approve(
    app: web::Data<App>,
    staff: Staff,
    id: web::Path<String>,
    request: HttpRequest,
    payload: web::Payload,
) -> ApiResult<HttpResponse> {
    let actor = staff.may_everywhere(Right::ApproveRuns)?;
    let id = run_id(&id)?;
    let approval: Approval = body::json(&request, payload).await?;
    let run = web::block(move || runs::approve(&app, id, &approval.plan, &actor)).await?.map_err(refused)?;
    Ok(HttpResponse::Ok().json(run))
}

/// Pause a run
///
/// Every worker of every machine ends after the chunk it is at.
#[utoipa::path(
    post, path = "/v1/runs/{id}/pause", tag = "runs", operation_id = "pause_run",
    params(("id" = i64, Path, description = "The run's number")),
    responses(
        (status = 200, description = "Paused", body = RunView),
        (status = 400, description = "The number is none", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such run", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "Its state does not allow it", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away; nothing was recorded", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn pause(app: web::Data<App>, staff: Staff, id: web::Path<String>) -> ApiResult<HttpResponse> {
    steer(staff, &id, move |id, actor| runs::pause(&app, id, actor)).await
}

/// Resume a run
///
/// The servers execute it from then on.
#[utoipa::path(
    post, path = "/v1/runs/{id}/resume", tag = "runs", operation_id = "resume_run",
    params(("id" = i64, Path, description = "The run's number")),
    responses(
        (status = 200, description = "Running", body = RunView),
        (status = 400, description = "The number is none", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such run", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "Its state does not allow it", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away; nothing was recorded", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn resume(app: web::Data<App>, staff: Staff, id: web::Path<String>) -> ApiResult<HttpResponse> {
    steer(staff, &id, move |id, actor| runs::resume(&app, id, true, actor)).await
}

/// Cancel a run
///
/// What was issued stands; nothing more is issued by it.
#[utoipa::path(
    post, path = "/v1/runs/{id}/cancel", tag = "runs", operation_id = "cancel_run",
    params(("id" = i64, Path, description = "The run's number")),
    responses(
        (status = 200, description = "Cancelled", body = RunView),
        (status = 400, description = "The number is none", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such run", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "Its state does not allow it", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away; nothing was recorded", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn cancel(app: web::Data<App>, staff: Staff, id: web::Path<String>) -> ApiResult<HttpResponse> {
    steer(staff, &id, move |id, actor| runs::cancel(&app, id, actor)).await
}

async fn steer(
    staff: Staff,
    id: &str,
    act: impl FnOnce(i64, &Actor) -> AppResult<RunView> + Send + 'static,
) -> ApiResult<HttpResponse> {
    let actor = staff.may_everywhere(Right::RunIssue)?;
    let id = run_id(id)?;
    let run = web::block(move || act(id, &actor)).await?.map_err(refused)?;
    Ok(HttpResponse::Ok().json(run))
}

pub(super) fn run_id(text: &str) -> ApiResult<i64> {
    text.parse().map_err(|_| ApiError::with_detail(Code::InvalidPath, "a run has a whole number"))
}

/// What a run's state, plan or second signature refuses is a conflict, not a fault of the request's form.
fn refused(error: AppError) -> ApiError {
    match error {
        AppError::Refused(detail) => ApiError::with_detail(Code::RunRefused, detail),
        other => other.into(),
    }
}
