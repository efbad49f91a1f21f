//! What is sealed of a claim, and how it is opened again.

use redress_domain::id::PolicyId;
use redress_store::claims::{self, ClaimRow};
use redress_store::{StoreError, audit};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use validator::Validate;

use super::{Contact, Language, NewClaim};
use crate::app::{Actor, App};
use crate::error::{AppError, AppResult};
use crate::secrets::Secrets;

/// What is sealed of a claim.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Personal {
    /// How to reach the claimant.
    pub contact: Contact,
    /// What happened, in the claimant's words.
    pub description: String,
    /// The policy that a draft is to be sent under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyId>,
    /// What the claimant's device calls itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
}

impl Personal {
    /// What is to be sealed of a report.
    pub(super) fn of(new: &NewClaim) -> Self {
        Self {
            contact: new.contact.clone(),
            description: new.description.clone(),
            policy: new.policy.clone(),
            device: new.device.clone(),
        }
    }
}

/// What was sealed of a claim.
pub fn open_personal(app: &App, claim: &ClaimRow, sealed: &[u8]) -> AppResult<Personal> {
    let plain = app.secrets.open(sealed, &personal_context(claim))?;
    serde_json::from_slice(&plain).map_err(|error| AppError::from(StoreError::corrupt(error)))
}

/// Whether what is sealed of a claim was sealed by these keys.
#[must_use]
pub fn is_sealed_by(secrets: &Secrets, claim: &ClaimRow, sealed: &[u8]) -> bool {
    secrets.open(sealed, &personal_context(claim)).is_ok()
}

/// What the sealed text is bound to.
pub(super) fn personal_context(claim: &ClaimRow) -> String {
    format!("personal/{}/{}", claim.customer_id, claim.id)
}

/// Which notices a claimant wants.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Wish {
    /// Every one.
    #[default]
    All,
    /// Only questions, deadlines and decisions.
    Essential,
}

/// How a claimant wants to be told.
#[derive(Debug, Clone, Serialize, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Preferences {
    /// The language of notices.
    pub language: Language,
    /// Which notices are wanted.
    pub notices: Wish,
}

/// Keeps how a claimant wants to be told; false when what was sealed of the claim is destroyed.
pub fn prefer(app: &App, claim: &ClaimRow, wanted: &Preferences, actor: &Actor) -> AppResult<bool> {
    app.store.transaction(|connection| {
        let Some(view) = claims::find_locked(connection, &claim.customer_id, claim.id)? else { return Ok(false) };
        let Some(sealed) = claims::sealed(connection, &claim.customer_id, claim.id)? else { return Ok(false) };
        let mut personal = open_personal(app, &view.claim, &sealed)?;
        let told = |contact: &Contact| Preferences { language: contact.language, notices: contact.notices };
        let before = told(&personal.contact);
        (personal.contact.language, personal.contact.notices) = (wanted.language, wanted.notices);
        let plain = serde_json::to_vec(&personal).map_err(StoreError::corrupt)?;
        let sealed = app.secrets.seal(&plain, &personal_context(&view.claim))?;
        let entry = actor.entry("claim.prefer", format!("claim {}", claim.id), serde_json::json!(wanted));
        audit::append(connection, &[entry.before(&before).after(wanted)])?;
        Ok(claims::reseal(connection, &claim.customer_id, claim.id, &sealed)?)
    })
}
