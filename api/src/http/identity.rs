//! Who of the staff asks: a session's cookie or token, or an API key, becomes a member and what he may do.

use std::future::Future;
use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::http::Method;
use actix_web::http::header::{AUTHORIZATION, HOST, HeaderName, ORIGIN};
use actix_web::{FromRequest, HttpRequest, web};
use redress_domain::id::ServiceId;

use super::cookies::Cookies;
use super::problem::{ApiError, ApiResult, Code};
use crate::app::{Actor, App};
use crate::rights::{Member, Right};
use crate::use_cases::sessions::{self, Means, SignedIn};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// A member of staff who asks.
#[derive(Debug, Clone)]
pub struct Staff {
    signed_in: SignedIn,
}

impl Staff {
    /// Who gives the command, if he has the right; for what is of no single service.
    pub fn may(&self, right: Right) -> ApiResult<Actor> {
        self.may_of(right, None)
    }

    /// Who gives the command, if he has the right and works for the service.
    pub fn may_at(&self, right: Right, service: &ServiceId) -> ApiResult<Actor> {
        self.may_of(right, Some(service))
    }

    /// Who gives the command, if he has shown his second factor a short time ago, as no program can.
    pub fn verified(&self) -> ApiResult<Actor> {
        match &self.signed_in.means {
            Means::Session { verified: true, .. } => Ok(self.actor()),
            _ => Err(ApiError::with_detail(
                Code::StepUpNeeded,
                "POST /v1/session/step-up with a code of your second factor, then try again",
            )),
        }
    }

    /// Who gives the command, if he has the right and works for all services: what he does concerns them all.
    pub fn may_everywhere(&self, right: Right) -> ApiResult<Actor> {
        let actor = self.may(right)?;
        self.member().require_everywhere()?;
        Ok(actor)
    }

    fn may_of(&self, right: Right, service: Option<&ServiceId>) -> ApiResult<Actor> {
        self.member().require(right, service)?;
        match &self.signed_in.means {
            Means::Session { .. } if right.needs_step_up() => self.verified(),
            Means::Key { scopes, .. } if !scopes.contains(&right) => Err(ApiError::with_detail(
                Code::Forbidden,
                format!("the API key does not have the scope {}", right.as_str()),
            )),
            _ => Ok(self.actor()),
        }
    }

    /// Who he is, for what every member may do about himself.
    #[must_use]
    pub fn actor(&self) -> Actor {
        let origin = match &self.signed_in.means {
            Means::Session { .. } => "http".to_owned(),
            Means::Key { id, .. } => format!("http:key:{id}"),
        };
        Actor { name: self.member().name.clone(), origin }
    }

    /// The member.
    #[must_use]
    pub fn member(&self) -> &Member {
        &self.signed_in.member
    }

    /// The member and how he showed who he is.
    #[must_use]
    pub fn signed_in(&self) -> &SignedIn {
        &self.signed_in
    }

    /// How he showed who he is.
    #[must_use]
    pub fn means(&self) -> &Means {
        &self.signed_in.means
    }
}

impl FromRequest for Staff {
    type Error = ApiError;
    type Future = Pin<Box<dyn Future<Output = ApiResult<Self>>>>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let found = staff_of(&request).await?;
            found.ok_or_else(|| {
                ApiError::with_detail(Code::Unauthorised, "sign in, or send Authorization: Bearer <key>")
            })
        })
    }
}

/// The member who asks; none when nothing in the request says that it is one, as for claimants and strangers. What says
/// so and does not hold, such as a session that is over, is 401.
pub async fn staff_of(request: &HttpRequest) -> ApiResult<Option<Staff>> {
    let Some(app) = request.app_data::<web::Data<App>>().cloned() else { return Err(ApiError::new(Code::Internal)) };
    let Some(token) = token_of(request, &app)? else { return Ok(None) };
    let found = web::block(move || sessions::who(&app, &token)).await??;
    let over =
        || ApiError::with_detail(Code::Unauthorised, "the session or key is unknown, over or revoked: sign in again");
    Ok(Some(Staff { signed_in: found.ok_or_else(over)? }))
}

/// The token of a session or key. A cookie comes by itself, so whoever sends one must be a page of ours.
fn token_of(request: &HttpRequest, app: &App) -> ApiResult<Option<String>> {
    let bearer = request
        .headers()
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim());
    if let Some(token) = bearer {
        return Ok(sessions::is_token(token).then(|| token.to_owned()));
    }
    let cookie = Cookies::of(request, app).session(request).filter(|token| sessions::is_token(token));
    if cookie.is_some() {
        refuse_cross_site(request)?;
    }
    Ok(cookie)
}

/// Refuses what another site may have made a browser send: a change that comes neither with the browser's word that it is
/// from this origin nor with this host as its origin.
pub fn refuse_cross_site(request: &HttpRequest) -> ApiResult<()> {
    if [Method::GET, Method::HEAD, Method::OPTIONS].contains(request.method()) {
        return Ok(());
    }
    let text = |name: HeaderName| request.headers().get(name).and_then(|value| value.to_str().ok());
    let same = match (text(SEC_FETCH_SITE), text(ORIGIN)) {
        (Some(site), _) => site == "same-origin",
        (None, Some(origin)) => origin.split_once("://").map(|(_, host)| host) == text(HOST),
        (None, None) => false,
    };
    if same { Ok(()) } else { Err(ApiError::new(Code::CrossSite)) }
}
