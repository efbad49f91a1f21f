//! Who asks as a claimant, and which claims his credentials open. To everybody else a claim does not exist.

use std::pin::Pin;

use actix_web::{FromRequest, HttpRequest, dev, web};
use chrono::Utc;
use redress_domain::id::{ClaimId, CustomerId, ServiceId};
use redress_store::claims::{self, ClaimView};
use redress_store::{Connection, StoreError};
use uuid::Uuid;

use super::headers::bearer;
use super::identity::staff_of;
use super::problem::{ApiError, ApiResult, Code};
use crate::app::{Actor, App};
use crate::customer_tokens::TokenFault;
use crate::rights::Right;
use crate::secrets::ADDRESS_SESSION;
use crate::use_cases::claimants::Whose;

/// `R-` and three groups of four.
const REFERENCE_LENGTH: usize = 16;

/// Somebody with a claimant's credentials; which claims they open is seen at the claim.
#[derive(Debug, Clone)]
pub enum Claimant {
    /// The token of one claim, from the answer to the report or from its link.
    Token(String),
    /// A token of the operator's that says which customer this is.
    Customer(CustomerId),
    /// A session opened with a code by mail: the claims of an address, by its keyed hash.
    Address(String),
}

impl Claimant {
    /// Whether a claim is his to see.
    pub fn may_see(&self, app: &App, view: &ClaimView) -> Result<bool, StoreError> {
        let claim = &view.claim;
        match self {
            Self::Token(token) => Ok(app.secrets.is_claimant_token(ClaimId(claim.id), token)),
            Self::Customer(customer) => Ok(customer.as_str() == claim.customer_id),
            Self::Address(address) => {
                app.store.with(|connection| claims::has_address(connection, &claim.customer_id, claim.id, address))
            }
        }
    }

    /// Whose claims he may list; none for the token of one claim.
    #[must_use]
    pub fn whose(&self) -> Option<Whose> {
        match self {
            Self::Token(_) => None,
            Self::Customer(customer) => Some(Whose::Customer(customer.to_string())),
            Self::Address(address) => Some(Whose::Address(address.clone())),
        }
    }

    /// What a token says. May fetch the operator's keys, so it may block.
    fn of(app: &App, token: String) -> ApiResult<Self> {
        if token.starts_with(ADDRESS_SESSION) {
            let over = || ApiError::with_detail(Code::Unauthorised, "the session is over: ask for another code");
            return app.secrets.open_address_session(&token, Utc::now()).map(Self::Address).ok_or_else(over);
        }
        match &app.customer_tokens {
            Some(tokens) if is_jwt(&token) => match tokens.customer(&token) {
                Ok(customer) => Ok(Self::Customer(customer)),
                Err(TokenFault::NoKeys) => Err(ApiError::new(Code::Unavailable)),
                Err(fault) => Err(ApiError::with_detail(Code::Unauthorised, fault.to_string())),
            },
            _ if is_claims_token(&token) => Ok(Self::Token(token)),
            _ => Err(ApiError::with_detail(Code::Unauthorised, "that is no token of ours")),
        }
    }
}

/// What the token of a claim looks like; whose it is, if anybody's, is seen at the claim.
fn is_claims_token(token: &str) -> bool {
    token.len() == 64 && token.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Three parts between dots: no other token of ours has any.
fn is_jwt(token: &str) -> bool {
    token.split('.').count() == 3
}

impl FromRequest for Claimant {
    type Error = ApiError;
    type Future = Pin<Box<dyn Future<Output = ApiResult<Self>>>>;

    fn from_request(request: &HttpRequest, _payload: &mut dev::Payload) -> Self::Future {
        let app = request.app_data::<web::Data<App>>().cloned();
        let token = bearer(request);
        Box::pin(async move {
            let (token, app) = (token?, app.ok_or_else(|| ApiError::new(Code::Internal))?);
            web::block(move || Self::of(&app, token)).await?
        })
    }
}

/// Refuses to take a report for a customer from whoever may not speak for him: where a token of the operator's comes it must
/// be his, and where filing is not open to all one must come.
pub async fn may_file(app: &web::Data<App>, request: &HttpRequest, customer: &CustomerId) -> ApiResult<()> {
    match customer_of(app, request).await? {
        Some(own) if own == *customer => Ok(()),
        Some(_) => Err(ApiError::with_detail(Code::Forbidden, "the token is of another customer than the report")),
        None if app.settings.open_filing => Ok(()),
        None => Err(ApiError::with_detail(Code::Unauthorised, "reports are taken with the customer's token: sign in")),
    }
}

/// The customer whom a token of the operator's speaks of; none where no such token came.
pub async fn customer_of(app: &web::Data<App>, request: &HttpRequest) -> ApiResult<Option<CustomerId>> {
    let Ok(token) = bearer(request) else { return Ok(None) };
    if app.customer_tokens.is_none() || !is_jwt(&token) {
        return Ok(None);
    }
    match Claimant::extract(request).await? {
        Claimant::Customer(customer) => Ok(Some(customer)),
        Claimant::Token(_) | Claimant::Address(_) => Ok(None),
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
    let wanted = Wanted::parse(path)?;
    let app = app.clone();
    web::block(move || {
        let found = app.store.with(|connection| wanted.find(connection))?;
        let view = found.ok_or_else(|| ApiError::new(Code::NotFound))?;
        if !claimant.may_see(&app, &view)? {
            return Err(ApiError::new(Code::NotFound));
        }
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
    let wanted = Wanted::parse(path)?;
    let app = app.clone();
    let found = web::block(move || app.store.with(|connection| wanted.find(connection))).await??;
    let view = found.ok_or_else(|| ApiError::new(Code::NotFound))?;
    let service = ServiceId::parse(&view.service).map_err(StoreError::corrupt)?;
    // To whoever works for other services only, the claim is not there.
    let actor = staff.may_at(right, &service).map_err(|_| ApiError::new(Code::NotFound))?;
    Ok(Access { actor, view })
}

/// A claim as a path names it: by its id, or by the reference that people have on paper.
enum Wanted {
    Id(Uuid),
    Reference(String),
}

impl Wanted {
    fn parse(path: &str) -> ApiResult<Self> {
        if path.len() == REFERENCE_LENGTH && path.starts_with("R-") {
            return Ok(Self::Reference(path.to_owned()));
        }
        let id = Uuid::parse_str(path);
        id.map(Self::Id).map_err(|_| ApiError::with_detail(Code::InvalidPath, "the id is not a UUID"))
    }

    fn find(&self, connection: &mut Connection) -> Result<Option<ClaimView>, StoreError> {
        match self {
            Self::Id(id) => claims::find(connection, *id),
            Self::Reference(reference) => claims::find_by_reference(connection, reference),
        }
    }
}
