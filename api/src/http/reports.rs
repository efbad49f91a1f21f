//! `/v1/reports`: figures for people outside.

use actix_web::{HttpRequest, HttpResponse, web};
use chrono::{DateTime, Utc};
use redress_domain::id::IncidentId;
use serde::Deserialize;
use utoipa::IntoParams;

use super::identity::Staff;
use super::problem::{ApiError, ApiResult, Problem};
use super::query::query;
use crate::app::App;
use crate::rights::Right;
use crate::shapes::Slug;
use crate::use_cases::reports;

/// Of which incident.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct OfIncident {
    /// The incident; all when none.
    #[param(inline, value_type = Option<Slug>)]
    pub incident: Option<String>,
}

/// Of which incident, and when.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct OfIncidentAt {
    /// The incident; all when none.
    #[param(inline, value_type = Option<Slug>)]
    pub incident: Option<String>,
    /// As it stood then; the answer never changes.
    #[serde(default, deserialize_with = "crate::instant::option")]
    pub at: Option<DateTime<Utc>>,
}

fn incident(name: Option<&str>) -> ApiResult<Option<IncidentId>> {
    let parsed = name.map(IncidentId::parse).transpose();
    parsed.map_err(|error| ApiError::field("/incident", error.to_string()))
}

/// How far people came
///
/// Of those in the records, who was credited without a claim; of the reports, how many were sent, decided, granted, paid,
/// and where the others wait.
#[utoipa::path(
    get, path = "/v1/reports/funnel", tag = "reports", operation_id = "report_funnel", params(OfIncident),
    responses(
        (status = 200, description = "By incident and service", body = reports::Funnel),
        (status = 404, description = "There is no such incident", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The incident's name cannot be one", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn funnel(app: web::Data<App>, staff: Staff, request: HttpRequest) -> ApiResult<HttpResponse> {
    staff.may(Right::ReadReports)?;
    let query: OfIncident = query(&request)?;
    let incident = incident(query.incident.as_deref())?;
    Ok(HttpResponse::Ok().json(web::block(move || reports::funnel(&app, incident.as_ref())).await??))
}

/// What was authorised, credited and is left
#[utoipa::path(
    get, path = "/v1/reports/exposure", tag = "reports", operation_id = "report_exposure", params(OfIncident),
    responses(
        (status = 200, description = "By incident, from the ledger alone", body = reports::Exposure),
        (status = 404, description = "There is no such incident", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The incident's name cannot be one", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn exposure(app: web::Data<App>, staff: Staff, request: HttpRequest) -> ApiResult<HttpResponse> {
    staff.may(Right::ReadReports)?;
    let query: OfIncident = query(&request)?;
    let incident = incident(query.incident.as_deref())?;
    Ok(HttpResponse::Ok().json(web::block(move || reports::exposure(&app, incident.as_ref())).await??))
}

/// What is still owed, delivered, expired and written off
#[utoipa::path(
    get, path = "/v1/reports/liability", tag = "reports", operation_id = "report_liability", params(OfIncidentAt),
    responses(
        (status = 200, description = "By incident: face value, cost and breakage apart", body = reports::Liability),
        (status = 404, description = "There is no such incident", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The incident's name cannot be one, or the instant lies in the future", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn liability(app: web::Data<App>, staff: Staff, request: HttpRequest) -> ApiResult<HttpResponse> {
    staff.may(Right::ReadReports)?;
    let query: OfIncidentAt = query(&request)?;
    let incident = incident(query.incident.as_deref())?;
    Ok(HttpResponse::Ok().json(web::block(move || reports::liability(&app, incident.as_ref(), query.at)).await??))
}

/// Whether what has to be announced was in time
///
/// How damages are claimed has to be announced within 30 days of the end of an interruption.
#[utoipa::path(
    get, path = "/v1/reports/notice-clocks", tag = "reports", operation_id = "report_notice_clocks", params(OfIncident),
    responses(
        (status = 200, description = "By incident and service", body = reports::NoticeClocks),
        (status = 404, description = "There is no such incident", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The incident's name cannot be one", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn notice_clocks(app: web::Data<App>, staff: Staff, request: HttpRequest) -> ApiResult<HttpResponse> {
    staff.may(Right::ReadReports)?;
    let query: OfIncident = query(&request)?;
    let incident = incident(query.incident.as_deref())?;
    let clocks = web::block(move || reports::notice_clocks(&app, incident.as_ref(), Utc::now())).await??;
    Ok(HttpResponse::Ok().json(clocks))
}
