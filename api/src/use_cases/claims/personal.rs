//! What is sealed of a claim, and how it is opened again.

use redress_store::StoreError;
use redress_store::claims::ClaimRow;
use serde::{Deserialize, Serialize};

use super::Contact;
use crate::app::App;
use crate::error::{AppError, AppResult};

/// What is sealed of a claim.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Personal {
    /// How to reach the claimant.
    pub contact: Contact,
    /// What happened, in the claimant's words.
    pub description: String,
}

/// What was sealed of a claim.
pub fn open_personal(app: &App, claim: &ClaimRow, sealed: &[u8]) -> AppResult<Personal> {
    let plain = app.secrets.open(sealed, &personal_context(claim))?;
    serde_json::from_slice(&plain).map_err(|error| AppError::from(StoreError::corrupt(error)))
}

/// What the sealed text is bound to.
pub(super) fn personal_context(claim: &ClaimRow) -> String {
    format!("personal/{}/{}", claim.customer_id, claim.id)
}
