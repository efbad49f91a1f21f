//! `/v1/policies`: checked, simulated, published by one person and approved by another. A version's id is the hash of its
//! file, so whoever publishes or approves says what exactly.

use actix_web::http::header::LOCATION;
use actix_web::{HttpRequest, HttpResponse, web};
use redress_domain::id::IncidentId;
use redress_domain::policy::Policy;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::body;
use super::identity::Staff;
use super::incidents::TOML;
use super::problem::{ApiError, ApiResult, Code, Problem};
use super::query::query;
use super::session::MAX_LISTED;
use crate::app::App;
use crate::rights::Right;
use crate::shapes::{Hash, Slug};
use crate::use_cases::catalogue::{self, VersionView};
use crate::use_cases::policies::{self, Done};
use crate::use_cases::simulate::{self, Simulated};

/// The largest file of a policy.
const MAX_POLICY: usize = 256 << 10;
/// What the errors of a body begin with, where those of a file begin with its name.
const BODY: &str = "body";

/// Which policies.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Which {
    /// Only this incident's.
    #[param(inline, value_type = Option<Slug>)]
    pub incident: Option<IncidentId>,
}

/// A policy's file that can be published.
#[derive(Debug, Serialize, ToSchema)]
pub struct Checked {
    /// The hash of the file: what simulating and publishing name.
    pub version: String,
    /// The policy.
    pub policy: String,
    /// The incident, if it names one.
    pub incident: Option<String>,
    /// The service, if it names one.
    pub service: Option<String>,
    /// What it goes by.
    #[schema(example = "automatic")]
    pub basis: String,
    /// What is allowed and may not be meant, with line and column.
    pub notes: Vec<String>,
}

impl From<&Policy> for Checked {
    fn from(policy: &Policy) -> Self {
        Self {
            version: policy.version().to_owned(),
            policy: policy.id().to_string(),
            incident: policy.incident().map(ToString::to_string),
            service: policy.service().map(ToString::to_string),
            basis: policy.basis().as_str().to_owned(),
            notes: policy.notes().iter().map(ToString::to_string).collect(),
        }
    }
}

/// List the published versions of policies
#[utoipa::path(
    get, path = "/v1/policies", tag = "policies", operation_id = "list_policies", params(Which),
    responses(
        (status = 200, description = "Of one's own services, the newest first, at most 500", body = Vec<VersionView>),
        (status = 422, description = "The incident's name cannot be one", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn list(app: web::Data<App>, staff: Staff, request: HttpRequest) -> ApiResult<HttpResponse> {
    staff.may(Right::ReadPolicies)?;
    let which: Which = query(&request)?;
    let found = web::block(move || catalogue::versions(&app, which.incident.as_ref(), staff.member(), MAX_LISTED));
    Ok(HttpResponse::Ok().json(found.await??))
}

/// Check a policy
///
/// Syntax, types, bounds and fairness. Nothing is kept.
#[utoipa::path(
    post, path = "/v1/policies", tag = "policies", operation_id = "check_policy",
    request_body(content = String, content_type = "application/toml", description = "The policy's file"),
    responses(
        (status = 200, description = "It can be published", body = Checked),
        (status = 400, description = "The body is not UTF-8", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is not declared as TOML", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "It cannot be used; the detail names every fault with line and column", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn check(staff: Staff, request: HttpRequest, payload: web::Payload) -> ApiResult<HttpResponse> {
    staff.may(Right::ReadPolicies)?;
    let source = body::text(&request, payload, TOML, MAX_POLICY).await?;
    let policy = web::block(move || policies::compile(&source, BODY)).await??;
    Ok(HttpResponse::Ok().json(Checked::from(&policy)))
}

/// Simulate a policy
///
/// Over the holdings and claims on record: counts, cost, who gets nothing and why, and who gains or loses against the
/// version in force. Nothing is kept.
#[utoipa::path(
    post, path = "/v1/policies/{id}/simulate", tag = "policies", operation_id = "simulate_policy",
    params(("id" = inline(Hash), Path, description = "The hash of the file, as the check says it")),
    request_body(content = String, content_type = "application/toml", description = "The policy's file"),
    responses(
        (status = 200, description = "What it would do", body = serde_json::Value),
        (status = 400, description = "The body is not UTF-8", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such incident", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The body is another version than the path says", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is not declared as TOML", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "It cannot be used", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn simulate(
    app: web::Data<App>,
    staff: Staff,
    path: web::Path<String>,
    request: HttpRequest,
    payload: web::Payload,
) -> ApiResult<HttpResponse> {
    staff.may(Right::ReadPolicies)?;
    let policy = named(&path, request, payload).await?;
    if let Some(service) = policy.service() {
        staff.may_at(Right::ReadPolicies, service)?;
    }
    let done: Simulated = web::block(move || simulate::on_record(&app, policy)).await??;
    Ok(HttpResponse::Ok().json(done))
}

/// Publish a version
///
/// It waits for the approval of a second person. A version is published once: a retry is told 409.
#[utoipa::path(
    post, path = "/v1/policies/{id}/publish", tag = "policies", operation_id = "publish_policy",
    params(("id" = inline(Hash), Path, description = "The hash of the file, as the check says it")),
    request_body(content = String, content_type = "application/toml", description = "The policy's file"),
    responses(
        (status = 201, description = "Published", body = Done, headers(("Location" = String, description = "Where the versions are"))),
        (status = 400, description = "The body is not UTF-8", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such incident", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "Published already, or the body is another version than the path says", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is not declared as TOML", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "It cannot be used", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn publish(
    app: web::Data<App>,
    staff: Staff,
    path: web::Path<String>,
    request: HttpRequest,
    payload: web::Payload,
) -> ApiResult<HttpResponse> {
    let actor = staff.may(Right::PublishPolicies)?;
    let policy = named(&path, request, payload).await?;
    let done = web::block(move || policies::publish_policy(&app, &policy, BODY, &actor)).await??;
    Ok(HttpResponse::Created().insert_header((LOCATION, "/v1/policies")).json(done))
}

/// The policy of a body, which must be the one that the path names.
async fn named(id: &str, request: HttpRequest, payload: web::Payload) -> ApiResult<Policy> {
    let source = body::text(&request, payload, TOML, MAX_POLICY).await?;
    let policy = web::block(move || policies::compile(&source, BODY)).await??;
    if policy.version() == id {
        return Ok(policy);
    }
    let detail = format!("the body is version {}: check it and use that id", policy.version());
    Err(ApiError::with_detail(Code::Conflict, detail))
}

/// Approve a published version
///
/// As somebody else than who published it. It is in force from then on, the one before is retired, and the claims that
/// waited for it are assessed.
#[utoipa::path(
    post, path = "/v1/policies/{id}/approve", tag = "policies", operation_id = "approve_policy",
    params(("id" = inline(Hash), Path, description = "The version's hash")),
    responses(
        (status = 200, description = "In force", body = Done),
        (status = 404, description = "No such version was published", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It was approved before, or the approver published it", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn approve(app: web::Data<App>, staff: Staff, path: web::Path<String>) -> ApiResult<HttpResponse> {
    let actor = staff.may(Right::ApprovePolicies)?;
    let done = web::block(move || policies::approve_version(&app, &path, &actor)).await??;
    Ok(HttpResponse::Ok().json(done))
}
