//! Who asks as a claimant, and which claims his credentials open. To everybody else a claim does not exist.

use actix_web::http::header::AUTHORIZATION;
use actix_web::{FromRequest, HttpRequest, dev, web};
use redress_domain::id::{ClaimId, ServiceId};
use redress_store::StoreError;
use redress_store::claims::{self, ClaimView};
use uuid::Uuid;

use super::identity::staff_of;
use super::problem::{ApiError, ApiResult, Code};
use crate::app::{Actor, App};
use crate::rights::Right;

/// Somebody with a claimant's credentials; which claims they open is seen at the claim.
#[derive(Debug, Clone)]
pub enum Claimant {
    /// The token of one claim, from the answer to the report or from its link.
    Token(String),
}

impl Claimant {
    /// Whether a claim is his to see.
    #[must_use]
    pub fn may_see(&self, app: &App, view: &ClaimView) -> bool {
        match self {
            Self::Token(token) => app.secrets.is_claimant_token(ClaimId(view.claim.id), token),
        }
    }
}

impl FromRequest for Claimant {
    type Error = ApiError;
    type Future = std::future::Ready<ApiResult<Self>>;

    fn from_request(request: &HttpRequest, _payload: &mut dev::Payload) -> Self::Future {
        std::future::ready(bearer(request).map(Self::Token))
    }
}

/// A claim that somebody may see, and who that is.
pub struct Access {
    /// The claim.
    pub view: ClaimView,
    /// Who asks.
    pub actor: Actor,
}

/// The claim that a path names, for its claimant.
pub async fn of_claimant(app: &web::Data<App>, request: &HttpRequest, path: &str) -> ApiResult<Access> {
    let claimant = Claimant::extract(request).await?;
    let id = claim_id(path)?;
    let app = app.clone();
    web::block(move || {
        let found = app.store.with(|connection| claims::find(connection, id))?;
        let view = found.filter(|view| claimant.may_see(&app, view)).ok_or_else(|| ApiError::new(Code::NotFound))?;
        let actor = Actor { name: format!("customer:{}", view.claim.customer_id), origin: "http".into() };
        Ok(Access { view, actor })
    })
    .await?
}

/// The claim that a path names, for its claimant and for members of staff with the right.
pub async fn of_claimant_or(
    app: &web::Data<App>,
    request: &HttpRequest,
    path: &str,
    right: Right,
) -> ApiResult<Access> {
    let Some(staff) = staff_of(request).await? else { return of_claimant(app, request, path).await };
    staff.may(right)?;
    let id = claim_id(path)?;
    let app = app.clone();
    let found = web::block(move || app.store.with(|connection| claims::find(connection, id))).await??;
    let view = found.ok_or_else(|| ApiError::new(Code::NotFound))?;
    let service = ServiceId::parse(&view.service).map_err(StoreError::corrupt)?;
    Ok(Access { actor: staff.may_at(right, &service)?, view })
}

fn claim_id(path: &str) -> ApiResult<Uuid> {
    Uuid::parse_str(path).map_err(|_| ApiError::with_detail(Code::InvalidPath, "the id is not a UUID"))
}

/// The token that a request brings.
fn bearer(request: &HttpRequest) -> ApiResult<String> {
    let unauthorised = || ApiError::with_detail(Code::Unauthorised, "send Authorization: Bearer <token>");
    let value = request.headers().get(AUTHORIZATION).ok_or_else(unauthorised)?;
    let (scheme, token) = value.to_str().ok().and_then(|text| text.split_once(' ')).ok_or_else(unauthorised)?;
    if scheme.eq_ignore_ascii_case("bearer") && !token.trim().is_empty() {
        Ok(token.trim().to_owned())
    } else {
        Err(unauthorised())
    }
}
