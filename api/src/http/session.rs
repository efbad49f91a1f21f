//! `/v1/session` and `/v1/sessions`: members of staff come in, see where they are signed in, and go.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use chrono::{DateTime, Utc};
use redress_domain::id::ServiceId;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;
use validator::Validate;

use super::body;
use super::cookies::Cookies;
use super::identity::{Staff, refuse_cross_site};
use super::problem::{ApiError, ApiResult, Code, Problem};
use super::query::query;
use crate::app::App;
use crate::rights::{Right, Role};
use crate::use_cases::enrolment::{self, Enrolment};
use crate::use_cases::sessions::{self, Means, SessionView, SignedIn, Started};
use crate::use_cases::sign_in::{self, Attempt};

/// The most sessions or keys that one answer lists.
pub(super) const MAX_LISTED: i64 = 500;

/// Who says he is whom.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SignIn {
    /// The member of staff.
    #[validate(length(min = 1, max = 64, message = "must have 1 to 64 characters"))]
    #[schema(min_length = 1, max_length = 64)]
    pub name: String,
    /// The password.
    #[validate(length(max = 1024, message = "is longer than 1024 bytes"))]
    #[schema(max_length = 1024, format = Password)]
    pub password: String,
    /// The code that the authenticator shows, or a recovery code.
    #[validate(length(max = 64, message = "is longer than 64 characters"))]
    #[schema(max_length = 64, example = "123456")]
    pub code: String,
    /// For programs: the answer has the token, for `Authorization: Bearer`, and sets no cookie.
    #[serde(default)]
    pub bearer: bool,
}

/// Who holds a token to set himself up.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetUp {
    /// The token, from whoever added or reset the member.
    #[validate(length(max = 128, message = "is longer than 128 characters"))]
    #[schema(max_length = 128)]
    pub token: String,
    /// The password that the member wants: 12 to 128 characters.
    #[validate(length(max = 1024, message = "is longer than 1024 bytes"))]
    #[schema(min_length = 12, max_length = 128, format = Password)]
    pub password: String,
}

/// The first code of the authenticator.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Confirm {
    /// The token, as before.
    #[validate(length(max = 128, message = "is longer than 128 characters"))]
    #[schema(max_length = 128)]
    pub token: String,
    /// The code that the authenticator shows.
    #[validate(length(max = 64, message = "is longer than 64 characters"))]
    #[schema(max_length = 64, example = "123456")]
    pub code: String,
    /// For programs: the answer has the session's token and sets no cookie.
    #[serde(default)]
    pub bearer: bool,
}

/// A code of the second factor.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SecondFactor {
    /// The code that the authenticator shows, or a recovery code.
    #[validate(length(max = 64, message = "is longer than 64 characters"))]
    #[schema(max_length = 64, example = "123456")]
    pub code: String,
}

/// Whose.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Whose {
    /// A member of staff, or `*` for all; one's own without. Others' take the right `read_staff`.
    pub staff: Option<String>,
}

impl Whose {
    /// Whose are meant: none is everybody's.
    pub(super) fn of(self, staff: &Staff) -> ApiResult<Option<String>> {
        let own = &staff.member().name;
        match self.staff {
            None => Ok(Some(own.clone())),
            Some(name) if name == *own => Ok(Some(name)),
            Some(name) => {
                staff.may(Right::ReadStaff)?;
                Ok((name != "*").then_some(name))
            }
        }
    }
}

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
    /// The largest amount of money he decides alone, in the currency's unit.
    pub decides_up_to: String,
    /// Whether the second factor was shown a short time ago.
    pub verified: bool,
    /// When the session ends at the latest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<DateTime<Utc>>,
}

impl From<&SignedIn> for WhoAmI {
    fn from(SignedIn { member, means }: &SignedIn) -> Self {
        let of_role = Right::ALL.iter().copied().filter(|right| right.is_of(member.role));
        let (rights, verified, ends_at) = match means {
            Means::Session { verified, ends_at, .. } => (of_role.collect(), *verified, Some(*ends_at)),
            Means::Key { scopes, .. } => (of_role.filter(|right| scopes.contains(right)).collect(), false, None),
        };
        Self {
            name: member.name.clone(),
            role: member.role,
            rights,
            services: member.services.clone(),
            decides_up_to: member.decides_up_to().to_string(),
            verified,
            ends_at,
        }
    }
}

/// A session that has just begun.
#[derive(Debug, Serialize, ToSchema)]
pub struct Begun {
    /// For programs that asked for it; browsers have a cookie.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// After the first code: codes for when the authenticator is lost, each good once, shown this once.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub recovery_codes: Vec<String>,
    /// Who is signed in.
    #[serde(flatten)]
    pub who: WhoAmI,
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
    HttpResponse::Ok().json(WhoAmI::from(staff.signed_in()))
}

/// Sign in
///
/// With the password and a code of the second factor, which counts once. Whatever is wrong, the answer is the same 401.
/// After five wrong guesses each further one has to wait, at most fifteen minutes; a device that the member has signed in
/// on before is counted apart. The session that the device had before ends.
#[utoipa::path(
    post, path = "/v1/session", tag = "staff", operation_id = "sign_in",
    request_body(content = SignIn, content_type = "application/json"),
    responses(
        (status = 201, description = "Signed in; a cookie is set unless a token was asked for", body = Begun),
        (status = 400, description = "The body is not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "Name, password or code are wrong", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The request came from another site", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is not declared as JSON", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "A field cannot be used", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many guesses", body = Problem, content_type = "application/problem+json", headers(("Retry-After" = u64, description = "In how many seconds to try again"))),
        (status = 503, description = "The database is away", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn sign_in(app: web::Data<App>, request: HttpRequest, payload: web::Payload) -> ApiResult<HttpResponse> {
    let new: SignIn = body::json(&request, payload).await?;
    let cookies = Cookies::of(&request, &app);
    if !new.bearer && request.headers().contains_key(actix_web::http::header::ORIGIN) {
        refuse_cross_site(&request)?;
    }
    let (device, replaces) = (cookies.device(&request), cookies.session(&request));
    let (name, bearer) = (new.name.clone(), new.bearer);
    let shared = app.clone();
    let started = web::block(move || {
        let attempt = Attempt {
            name: &new.name,
            password: &new.password,
            code: &new.code,
            device: device.as_deref(),
            replaces: replaces.as_deref(),
        };
        sign_in::sign_in(&shared, &attempt)
    })
    .await??;
    let refused = || ApiError::with_detail(Code::Unauthorised, "name, password or code are wrong");
    let mut response = begun(&app, cookies, started.ok_or_else(refused)?, Vec::new(), bearer).await?;
    if !bearer {
        let mark = cookies.keep_device(sign_in::new_device(&app, &name));
        response.add_cookie(&mark).map_err(|error| ApiError::with_detail(Code::Internal, error.to_string()))?;
    }
    Ok(response)
}

/// The answer to whoever has just come in.
async fn begun(
    app: &web::Data<App>,
    cookies: Cookies,
    started: Started,
    recovery_codes: Vec<String>,
    bearer: bool,
) -> ApiResult<HttpResponse> {
    let (shared, token) = (app.clone(), started.token.clone());
    let signed_in = web::block(move || sessions::who(&shared, &token)).await??;
    let signed_in = signed_in.ok_or_else(|| ApiError::new(Code::Unauthorised))?;
    let mut response = HttpResponse::build(StatusCode::CREATED);
    if !bearer {
        response.cookie(cookies.keep_session(started.token.clone()));
    }
    let token = bearer.then_some(started.token);
    Ok(response.json(Begun { token, recovery_codes, who: WhoAmI::from(&signed_in) }))
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
pub async fn sign_out(app: web::Data<App>, request: HttpRequest, staff: Staff) -> ApiResult<HttpResponse> {
    let id = own_session(&staff)?;
    let cookies = Cookies::of(&request, &app);
    web::block(move || sessions::end(&app, id, Some(&staff.member().name), &staff.actor())).await??;
    Ok(HttpResponse::NoContent().cookie(cookies.end_session()).finish())
}

fn own_session(staff: &Staff) -> ApiResult<Uuid> {
    match staff.means() {
        Means::Session { id, .. } => Ok(*id),
        Means::Key { .. } => Err(ApiError::with_detail(Code::NoSession, "an API key is no session")),
    }
}

/// Set oneself up: the password
///
/// With the token that whoever added or reset the member was shown. The answer is for the authenticator; its first code
/// is sent to `/v1/session/setup/confirm`. May be repeated until then.
#[utoipa::path(
    post, path = "/v1/session/setup", tag = "staff", operation_id = "set_up",
    request_body(content = SetUp, content_type = "application/json"),
    responses(
        (status = 200, description = "For the authenticator", body = Enrolment),
        (status = 400, description = "The body is not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "The token is unknown, used or too old", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is not declared as JSON", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The password cannot be used", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many tries", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn set_up(app: web::Data<App>, request: HttpRequest, payload: web::Payload) -> ApiResult<HttpResponse> {
    let new: SetUp = body::json(&request, payload).await?;
    let enrolment = web::block(move || enrolment::begin(&app, &new.token, &new.password)).await??;
    let enrolment = enrolment.ok_or_else(|| ApiError::with_detail(Code::Unauthorised, NO_TOKEN))?;
    Ok(HttpResponse::Ok().json(enrolment))
}

const NO_TOKEN: &str = "token or code are wrong, used or too old; whoever runs Redress can reset you";

/// Set oneself up: the second factor
///
/// With the first code that the authenticator shows. The token is used up, and the member is signed in.
#[utoipa::path(
    post, path = "/v1/session/setup/confirm", tag = "staff", operation_id = "confirm_set_up",
    request_body(content = Confirm, content_type = "application/json"),
    responses(
        (status = 201, description = "Signed in, with the recovery codes, which are shown this once", body = Begun),
        (status = 400, description = "The body is not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "Token or code are wrong", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is not declared as JSON", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "A field cannot be used", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn confirm(app: web::Data<App>, request: HttpRequest, payload: web::Payload) -> ApiResult<HttpResponse> {
    let new: Confirm = body::json(&request, payload).await?;
    let cookies = Cookies::of(&request, &app);
    let (shared, bearer) = (app.clone(), new.bearer);
    let finished = web::block(move || enrolment::finish(&shared, &new.token, &new.code)).await??;
    let (codes, started) = finished.ok_or_else(|| ApiError::with_detail(Code::Unauthorised, NO_TOKEN))?;
    begun(&app, cookies, started, codes, bearer).await
}

/// Show the second factor again
///
/// What moves money or rights takes a second factor that was shown in the last fifteen minutes.
#[utoipa::path(
    post, path = "/v1/session/step-up", tag = "staff", operation_id = "step_up",
    request_body(content = SecondFactor, content_type = "application/json"),
    responses(
        (status = 204, description = "It counts as fresh from now on"),
        (status = 400, description = "The body is not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "An API key has no second factor", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is not declared as JSON", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The code is wrong or was used", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many guesses", body = Problem, content_type = "application/problem+json", headers(("Retry-After" = u64, description = "In how many seconds to try again"))),
        (status = 503, description = "The database is away", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn step_up(
    app: web::Data<App>,
    staff: Staff,
    request: HttpRequest,
    payload: web::Payload,
) -> ApiResult<HttpResponse> {
    let id = own_session(&staff)?;
    let SecondFactor { code } = body::json(&request, payload).await?;
    let right = web::block(move || sign_in::step_up(&app, id, &code, &staff.actor())).await??;
    if right { Ok(HttpResponse::NoContent().finish()) } else { Err(ApiError::field("/code", "is wrong, or was used")) }
}

/// List sessions
#[utoipa::path(
    get, path = "/v1/sessions", tag = "staff", operation_id = "list_sessions", params(Whose),
    responses(
        (status = 200, description = "Those that go on, the newest first, at most 500", body = Vec<SessionView>),
        (status = 503, description = "The database is away", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn list(app: web::Data<App>, staff: Staff, request: HttpRequest) -> ApiResult<HttpResponse> {
    let of = query::<Whose>(&request)?.of(&staff)?;
    let found = web::block(move || sessions::list(&app, of.as_deref(), MAX_LISTED)).await??;
    Ok(HttpResponse::Ok().json(found))
}

/// End a session
///
/// One's own, or with the right `manage_staff` anybody's.
#[utoipa::path(
    delete, path = "/v1/sessions/{id}", tag = "staff", operation_id = "end_session",
    params(("id" = Uuid, Path, description = "The session's id")),
    responses(
        (status = 204, description = "The session is over"),
        (status = 400, description = "The id is not a UUID", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such session, or it is another's", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn end(app: web::Data<App>, staff: Staff, path: web::Path<String>) -> ApiResult<HttpResponse> {
    let id = uuid_of(&path)?;
    let of = only_own(&staff);
    web::block(move || sessions::end(&app, id, of.as_deref(), &staff.actor())).await??;
    Ok(HttpResponse::NoContent().finish())
}

/// Whose things a member may change: his own only, unless he manages the staff.
pub(super) fn only_own(staff: &Staff) -> Option<String> {
    staff.may(Right::ManageStaff).is_err().then(|| staff.member().name.clone())
}

/// The id that a path names.
pub(super) fn uuid_of(path: &str) -> ApiResult<Uuid> {
    Uuid::parse_str(path).map_err(|_| ApiError::with_detail(Code::InvalidPath, "the id is not a UUID"))
}
