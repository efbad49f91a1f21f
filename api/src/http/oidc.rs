//! `/v1/session/oidc`: members of staff sign in with the operator's identity provider.

use actix_web::http::header::{CACHE_CONTROL, LOCATION};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use utoipa::IntoParams;

use super::cookies::Cookies;
use super::problem::{ApiError, ApiResult, Code, Problem};
use super::query::query;
use crate::app::App;
use crate::error::AppError;
use crate::identity_provider::{self, Errand};
use crate::settings::ProviderSettings;
use crate::use_cases::sign_in;

/// What the memory of an errand is sealed for.
const ERRAND: &str = "errand to the identity provider";
/// Where staff go once they are signed in.
const AFTER: &str = "/console";

/// How to sign in.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Begin {
    /// Show who you are again, even if the provider knows you: what moves money takes that.
    #[serde(default)]
    pub anew: bool,
}

/// What the provider sends somebody back with.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Back {
    /// The code that the provider exchanges for its word.
    #[param(max_length = 4000)]
    pub code: Option<String>,
    /// What the errand began with.
    #[param(max_length = 256)]
    pub state: String,
    /// Why the provider refused, if it did.
    #[param(max_length = 256)]
    pub error: Option<String>,
}

/// Sign in with the identity provider
///
/// Sends the browser there; it comes back to the callback.
#[utoipa::path(
    get, path = "/v1/session/oidc", tag = "staff", operation_id = "begin_oidc", params(Begin),
    responses(
        (status = 303, description = "To the provider", headers(("Location" = String, description = "Where"))),
        (status = 404, description = "No provider is configured", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The provider could not be used", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many tries", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn begin(app: web::Data<App>, request: HttpRequest) -> ApiResult<HttpResponse> {
    let how: Begin = query(&request)?;
    let provider = provider(&app)?;
    let (url, errand) = web::block(move || identity_provider::begin(&provider, how.anew)).await??;
    let plain =
        serde_json::to_vec(&errand).map_err(|error| ApiError::with_detail(Code::Internal, error.to_string()))?;
    let sealed = hex::encode(app.secrets.seal(&plain, ERRAND)?);
    let cookie = Cookies::of(&request, &app).keep_errand(sealed);
    Ok(HttpResponse::SeeOther()
        .insert_header((LOCATION, url))
        .insert_header((CACHE_CONTROL, "no-store"))
        .cookie(cookie)
        .finish())
}

/// Come back from the identity provider
///
/// The member is added at the first sign-in, with the role that the provider's groups make, and has the role of the day
/// at every other.
#[utoipa::path(
    get, path = "/v1/session/oidc/callback", tag = "staff", operation_id = "finish_oidc", params(Back),
    responses(
        (status = 303, description = "Signed in, to the console", headers(("Location" = String, description = "Where"))),
        (status = 403, description = "No group makes a role, or the member was revoked", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No provider is configured", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The name is another member's", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The errand was not begun here, or the provider's word does not hold", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn finish(app: web::Data<App>, request: HttpRequest) -> ApiResult<HttpResponse> {
    let Back { code, state, error } = query(&request)?;
    let provider = provider(&app)?;
    let cookies = Cookies::of(&request, &app);
    let not_begun = || AppError::Refused("the sign-in was not begun here: begin anew".into());
    let errand: Errand = cookies
        .errand(&request)
        .and_then(|sealed| hex::decode(sealed).ok())
        .and_then(|sealed| app.secrets.open(&sealed, ERRAND).ok())
        .and_then(|plain| serde_json::from_slice(&plain).ok())
        .ok_or_else(not_begun)?;
    let refused = || AppError::Refused(format!("the identity provider refused: {}", error.unwrap_or_default()));
    let code = code.ok_or_else(refused)?;
    let replaces = cookies.session(&request);
    let started = web::block(move || {
        let person = identity_provider::finish(&provider, errand, &state, code)?;
        sign_in::with_provider(&app, &person, replaces.as_deref())
    })
    .await??;
    Ok(HttpResponse::SeeOther()
        .insert_header((LOCATION, AFTER))
        .insert_header((CACHE_CONTROL, "no-store"))
        .cookie(cookies.keep_session(started.token))
        .cookie(cookies.end_errand())
        .finish())
}

fn provider(app: &App) -> ApiResult<ProviderSettings> {
    let none = || ApiError::with_detail(Code::NotFound, "no identity provider is configured");
    app.settings.provider.clone().ok_or_else(none)
}
