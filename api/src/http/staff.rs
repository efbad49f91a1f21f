//! `/v1/staff`: who the members are, and who comes and goes.

use actix_web::http::header::LOCATION;
use actix_web::{HttpRequest, HttpResponse, web};
use chrono::{DateTime, Utc};
use redress_domain::id::ServiceId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use validator::Validate;

use super::body;
use super::identity::Staff;
use super::problem::{ApiResult, Problem};
use super::query::{PageOfNames, page_of_names};
use crate::app::App;
use crate::rights::{Right, Role};
use crate::shapes::Slug;
use crate::use_cases::enrolment::{self, Invitation};
use crate::use_cases::staff::{self, MemberView, NewMember};
use crate::whole;

/// The most that a member may be let decide alone.
const MOST_DECIDED: i64 = 1_000_000_000;

/// Somebody who is to be a member of staff.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewStaff {
    /// The name, which is never used twice.
    #[validate(length(min = 1, max = 64, message = "must have 1 to 64 characters"))]
    #[schema(min_length = 1, max_length = 64, pattern = "^[a-z0-9][a-z0-9._-]*$")]
    pub name: String,
    /// The role.
    pub role: Role,
    /// Only these services; all when absent.
    #[serde(default)]
    #[validate(length(max = 200, message = "are more than 200"))]
    #[schema(value_type = Option<Vec<Slug>>, max_items = 200)]
    pub services: Option<Vec<ServiceId>>,
    /// The largest amount of money decided alone, in the currency's unit: at most what the role may, which is it when absent.
    #[serde(default, deserialize_with = "whole::option")]
    #[validate(range(min = 0, max = MOST_DECIDED, message = "must be from 0 to 1000000000"))]
    #[schema(minimum = 0, maximum = 1_000_000_000)]
    pub decides_up_to: Option<i64>,
}

/// A member who was added.
#[derive(Debug, Serialize, ToSchema)]
pub struct Added {
    /// The name.
    pub name: String,
    /// The role.
    pub role: Role,
    /// What the member sets himself up with, shown this once.
    #[serde(flatten)]
    pub invitation: Invitation,
}

/// A member whose rights were taken away.
#[derive(Debug, Serialize, ToSchema)]
pub struct Revoked {
    /// The name, which stays taken.
    pub name: String,
    /// Since when.
    pub revoked_at: DateTime<Utc>,
}

/// List the members of staff
#[utoipa::path(
    get, path = "/v1/staff", tag = "staff", operation_id = "list_staff", params(PageOfNames),
    responses(
        (status = 200, description = "A page of them, by name", body = Vec<MemberView>),
        (status = 503, description = "The database is away", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn list(app: web::Data<App>, staff: Staff, request: HttpRequest) -> ApiResult<HttpResponse> {
    staff.may(Right::ReadStaff)?;
    let page = page_of_names(&request)?;
    let members = web::block(move || staff::list(&app, &page)).await??;
    Ok(HttpResponse::Ok().json(members))
}

/// Add a member of staff
///
/// The answer has a token that the member sets password and second factor with, once, within three days. Names are never
/// used twice, so a retry adds nobody: it is told 409.
#[utoipa::path(
    post, path = "/v1/staff", tag = "staff", operation_id = "add_staff",
    request_body(content = NewStaff, content_type = "application/json"),
    responses(
        (status = 201, description = "Added", body = Added, headers(("Location" = String, description = "Where the members are"))),
        (status = 400, description = "The body is not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The name is taken", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is not declared as JSON", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "A field cannot be used", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn add(
    app: web::Data<App>,
    staff: Staff,
    request: HttpRequest,
    payload: web::Payload,
) -> ApiResult<HttpResponse> {
    let actor = staff.may(Right::ManageStaff)?;
    let NewStaff { name, role, services, decides_up_to } = body::json(&request, payload).await?;
    let new = NewMember { name, role, services, decides_up_to };
    let added = web::block(move || {
        let invitation = staff::add(&app, &new, &actor)?;
        Ok::<_, crate::error::AppError>(Added { name: new.name, role: new.role, invitation })
    })
    .await??;
    Ok(HttpResponse::Created().insert_header((LOCATION, "/v1/staff")).json(added))
}

/// Take a member's rights away
///
/// Sessions end and keys are revoked at once. The name stays taken, so that the audit log stays true.
#[utoipa::path(
    post, path = "/v1/staff/{name}/revoke", tag = "staff", operation_id = "revoke_staff",
    params(("name" = String, Path, description = "The member")),
    responses(
        (status = 200, description = "Revoked", body = Revoked),
        (status = 404, description = "There is no such active member", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn revoke(app: web::Data<App>, staff: Staff, path: web::Path<String>) -> ApiResult<HttpResponse> {
    let actor = staff.may(Right::ManageStaff)?;
    let name = path.into_inner();
    let revoked = web::block(move || {
        let revoked_at = staff::revoke(&app, &name, &actor)?;
        Ok::<_, crate::error::AppError>(Revoked { name, revoked_at })
    })
    .await??;
    Ok(HttpResponse::Ok().json(revoked))
}

/// Let a member set himself up anew
///
/// For whoever lost password or authenticator: both are gone, sessions end, keys are revoked.
#[utoipa::path(
    post, path = "/v1/staff/{name}/reset", tag = "staff", operation_id = "reset_staff",
    params(("name" = String, Path, description = "The member")),
    responses(
        (status = 200, description = "The token, shown this once", body = Invitation),
        (status = 404, description = "There is no such active member", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn reset(app: web::Data<App>, staff: Staff, path: web::Path<String>) -> ApiResult<HttpResponse> {
    let actor = staff.may(Right::ManageStaff)?;
    let invitation = web::block(move || enrolment::reset(&app, &path, &actor)).await??;
    Ok(HttpResponse::Ok().json(invitation))
}
