//! `/v1/incidents`, `/v1/services` and `/v1/assets`: what failed, and what can be owed.

use actix_web::http::StatusCode;
use actix_web::http::header::LOCATION;
use actix_web::{HttpRequest, HttpResponse, web};
use redress_domain::id::IncidentId;
use redress_domain::incident_file::MAX_SOURCE_LENGTH;

use super::body;
use super::identity::Staff;
use super::problem::{ApiError, ApiResult, Code, Problem};
use super::query::{PageOfNames, page_of_names};
use crate::app::App;
use crate::rights::Right;
use crate::shapes::Slug;
use crate::use_cases::catalogue::{self, AssetView, IncidentView, ServiceView, ServiceWindows};
use crate::use_cases::incidents::{self, Loaded, NewWindows};

/// The content type of incidents and policies.
pub(super) const TOML: &str = "application/toml";

/// List incidents
#[utoipa::path(
    get, path = "/v1/incidents", tag = "incidents", operation_id = "list_incidents", params(PageOfNames),
    responses(
        (status = 200, description = "A page of them, by name", body = Vec<IncidentView>),
        (status = 503, description = "The database is away", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn list(app: web::Data<App>, staff: Staff, request: HttpRequest) -> ApiResult<HttpResponse> {
    staff.may(Right::ReadPolicies)?;
    let page = page_of_names(&request)?;
    Ok(HttpResponse::Ok().json(web::block(move || catalogue::incidents(&app, &page)).await??))
}

/// Load an incident
///
/// As `redress incident load` does: the same file again changes nothing, a changed one replaces titles and windows. Takes
/// a member who works for all services.
#[utoipa::path(
    post, path = "/v1/incidents", tag = "incidents", operation_id = "load_incident",
    request_body(content = String, content_type = "application/toml", description = "The incident's file"),
    responses(
        (status = 200, description = "Loaded before; nothing changed", body = Loaded),
        (status = 201, description = "Loaded", body = Loaded, headers(("Location" = String, description = "Where the incident is"))),
        (status = 400, description = "The body is not UTF-8", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "Holdings or claims belong to a service that is missing", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is not declared as TOML", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The file cannot be used; the detail names line and column", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn load(
    app: web::Data<App>,
    staff: Staff,
    request: HttpRequest,
    payload: web::Payload,
) -> ApiResult<HttpResponse> {
    let actor = staff.may_everywhere(Right::ManageIncidents)?;
    let source = body::text(&request, payload, TOML, MAX_SOURCE_LENGTH).await?;
    let loaded = web::block(move || incidents::load_source(&app, &source, "body", &actor)).await??;
    let status = if loaded.changed { StatusCode::CREATED } else { StatusCode::OK };
    let location = format!("/v1/incidents/{}", loaded.incident);
    Ok(HttpResponse::build(status).insert_header((LOCATION, location)).json(loaded))
}

/// See an incident
#[utoipa::path(
    get, path = "/v1/incidents/{id}", tag = "incidents", operation_id = "show_incident",
    params(("id" = inline(Slug), Path, description = "The incident's name")),
    responses(
        (status = 200, description = "The incident", body = IncidentView),
        (status = 400, description = "The id is no name", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such incident", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn show(app: web::Data<App>, staff: Staff, path: web::Path<String>) -> ApiResult<HttpResponse> {
    Ok(HttpResponse::Ok().json(found(app, &staff, &path).await?))
}

/// See when the services of an incident were hit
#[utoipa::path(
    get, path = "/v1/incidents/{id}/windows", tag = "incidents", operation_id = "list_windows",
    params(("id" = inline(Slug), Path, description = "The incident's name")),
    responses(
        (status = 200, description = "By service", body = Vec<ServiceWindows>),
        (status = 400, description = "The id is no name", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such incident", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn windows(app: web::Data<App>, staff: Staff, path: web::Path<String>) -> ApiResult<HttpResponse> {
    Ok(HttpResponse::Ok().json(found(app, &staff, &path).await?.services))
}

/// Correct when a service was hit
///
/// Replaces all windows of a service of the incident; the same again changes nothing. Loading the incident's file again
/// afterwards puts its own windows back.
#[utoipa::path(
    post, path = "/v1/incidents/{id}/windows", tag = "incidents", operation_id = "set_windows",
    params(("id" = inline(Slug), Path, description = "The incident's name")),
    request_body(content = NewWindows, content_type = "application/json"),
    responses(
        (status = 200, description = "So it is", body = Loaded),
        (status = 400, description = "The body is not JSON, or the id is no name", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such incident", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is not declared as JSON", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "A field cannot be used", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn set_windows(
    app: web::Data<App>,
    staff: Staff,
    path: web::Path<String>,
    request: HttpRequest,
    payload: web::Payload,
) -> ApiResult<HttpResponse> {
    staff.may(Right::ManageIncidents)?;
    let id = incident_of(&path)?;
    let new: NewWindows = body::json(&request, payload).await?;
    let actor = staff.may_at(Right::ManageIncidents, &new.service)?;
    let done = web::block(move || incidents::set_windows(&app, &id, &new, &actor)).await??;
    Ok(HttpResponse::Ok().json(done))
}

fn incident_of(path: &str) -> ApiResult<IncidentId> {
    IncidentId::parse(path).map_err(|error| ApiError::with_detail(Code::InvalidPath, error.to_string()))
}

async fn found(app: web::Data<App>, staff: &Staff, path: &str) -> ApiResult<IncidentView> {
    staff.may(Right::ReadPolicies)?;
    let id = incident_of(path)?;
    Ok(web::block(move || catalogue::incident(&app, &id)).await??)
}

/// List services
#[utoipa::path(
    get, path = "/v1/services", tag = "incidents", operation_id = "list_services", params(PageOfNames),
    responses(
        (status = 200, description = "A page of them, by name", body = Vec<ServiceView>),
        (status = 503, description = "The database is away", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn services(app: web::Data<App>, staff: Staff, request: HttpRequest) -> ApiResult<HttpResponse> {
    staff.may(Right::ReadPolicies)?;
    let page = page_of_names(&request)?;
    Ok(HttpResponse::Ok().json(web::block(move || catalogue::services(&app, &page)).await??))
}

/// List assets
#[utoipa::path(
    get, path = "/v1/assets", tag = "incidents", operation_id = "list_assets", params(PageOfNames),
    responses(
        (status = 200, description = "A page of them, by code", body = Vec<AssetView>),
        (status = 503, description = "The database is away", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn assets(app: web::Data<App>, staff: Staff, request: HttpRequest) -> ApiResult<HttpResponse> {
    staff.may(Right::ReadPolicies)?;
    let page = page_of_names(&request)?;
    Ok(HttpResponse::Ok().json(web::block(move || catalogue::assets(&app, &page)).await??))
}
