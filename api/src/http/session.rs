//! `/v1/session`: who is signed in here.

use actix_web::{HttpResponse, web};
use chrono::{DateTime, Utc};
use redress_domain::id::ServiceId;
use serde::Serialize;
use utoipa::ToSchema;

use super::identity::Staff;
use super::problem::{ApiError, ApiResult, Code, Problem};
use crate::app::App;
use crate::rights::{Right, Role};
use crate::use_cases::sessions::{self, Means};

/// Who is signed in, and what he may do.
#[derive(Debug, Serialize, ToSchema)]
pub struct WhoAmI {
    /// The member of staff.
    pub name: String,
    /// The role.
    pub role: Role,
    /// What he may do here; for an API key, its scopes.
    pub rights: Vec<Right>,
    /// The services he works for; all when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>)]
    pub services: Option<Vec<ServiceId>>,
    /// Whether the second factor was shown a short time ago.
    pub verified: bool,
    /// When the session ends at the latest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<DateTime<Utc>>,
}

impl From<&Staff> for WhoAmI {
    fn from(staff: &Staff) -> Self {
        let member = staff.member();
        let of_role = Right::ALL.iter().copied().filter(|right| right.is_of(member.role));
        let (rights, verified, ends_at) = match staff.means() {
            Means::Session { verified, ends_at, .. } => (of_role.collect(), *verified, Some(*ends_at)),
            Means::Key { scopes, .. } => (of_role.filter(|right| scopes.contains(right)).collect(), false, None),
        };
        Self {
            name: member.name.clone(),
            role: member.role,
            rights,
            services: member.services.clone(),
            verified,
            ends_at,
        }
    }
}

/// Who am I?
#[utoipa::path(
    get, path = "/v1/session", tag = "staff", operation_id = "show_session",
    responses(
        (status = 200, description = "The member of staff and what he may do", body = WhoAmI),
        (status = 503, description = "The database is away", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn show(staff: Staff) -> HttpResponse {
    HttpResponse::Ok().json(WhoAmI::from(&staff))
}

/// Sign out
#[utoipa::path(
    delete, path = "/v1/session", tag = "staff", operation_id = "sign_out",
    responses(
        (status = 204, description = "The session is over"),
        (status = 409, description = "An API key has no session to end", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn sign_out(app: web::Data<App>, staff: Staff) -> ApiResult<HttpResponse> {
    let Means::Session { id, .. } = *staff.means() else {
        return Err(ApiError::with_detail(Code::NoSession, "an API key is revoked at /v1/api-keys, not signed out"));
    };
    web::block(move || sessions::end(&app, id, &staff.actor())).await??;
    Ok(HttpResponse::NoContent().finish())
}
