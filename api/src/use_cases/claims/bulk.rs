//! One decision for many claims: previewed by doing it and taking it back, committed only as it was previewed.

use redress_store::connection::in_transaction;
use redress_store::{Connection, StoreError};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use utoipa::ToSchema;
use uuid::Uuid;
use validator::Validate;

use super::case::Case;
use super::decision::{NewDecision, decide};
use super::review::{Command, Reader};
use crate::error::{AppError, AppResult};
use crate::refusal::Refusal;

/// One decision for many claims.
#[derive(Debug, Clone, Serialize, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BulkDecision {
    /// The claims, at most 200, each once.
    #[validate(length(min = 1, max = 200, message = "must have 1 to 200 entries"))]
    #[schema(min_items = 1, max_items = 200)]
    pub claims: Vec<Uuid>,
    /// What is decided of each.
    #[validate(nested)]
    pub decision: NewDecision,
    /// Whether one that cannot be decided keeps the others from it.
    #[serde(default)]
    pub mode: Mode,
    /// The hash of the preview: with it, it is done.
    #[serde(default)]
    #[validate(length(max = 64, message = "is longer than 64 characters"))]
    #[schema(max_length = 64)]
    pub commit: Option<String>,
}

/// How many go together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// All of them, or none.
    #[default]
    AllOrNothing,
    /// Each by itself; what is refused is named.
    Each,
}

/// What becomes, or would become, of one claim.
#[derive(Debug, Serialize, ToSchema)]
pub struct ItemResult {
    /// The claim.
    pub claim: Uuid,
    /// The version that it is decided on; none where there is no such claim.
    pub version: Option<i32>,
    /// Where it stands afterwards.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// Whether the decision waits for a second signature.
    pub waits: bool,
    /// The code of what stands in the way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The same in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// What a bulk decision did, or would do.
#[derive(Debug, Serialize, ToSchema)]
pub struct BulkAnswer {
    /// Whether it was done.
    pub committed: bool,
    /// What to repeat in `commit`, so that what is done is what was seen.
    pub hash: String,
    /// How many are decided.
    pub decided: usize,
    /// How many of those wait for a second signature.
    pub waiting: usize,
    /// How many are refused.
    pub refused: usize,
    /// Each, in the order of the request.
    pub items: Vec<ItemResult>,
}

/// Previews a bulk decision, or commits it as it was previewed.
pub fn run(connection: &mut Connection, command: &Command<'_>, bulk: &BulkDecision) -> AppResult<BulkAnswer> {
    let mut seen = std::collections::BTreeSet::new();
    if let Some(place) = bulk.claims.iter().position(|claim| !seen.insert(claim)) {
        return Err(Refusal::field(format!("/claims/{place}"), "stands twice").into());
    }
    let tried = attempt(connection, command, bulk);
    match tried {
        Ok(answer) => Ok(answer),
        Err(Stopped::Preview(answer)) => Ok(*answer),
        Err(Stopped::Failed(error)) => Err(error),
    }
}

/// Why nothing is kept of what was tried.
enum Stopped {
    /// It was only looked at, or one stands in the way of all.
    Preview(Box<BulkAnswer>),
    /// It could not even be tried.
    Failed(AppError),
}

impl From<StoreError> for Stopped {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.into())
    }
}

/// Decides each claim within a savepoint; what is to be kept of all of it is said by the error.
fn attempt(connection: &mut Connection, command: &Command<'_>, bulk: &BulkDecision) -> Result<BulkAnswer, Stopped> {
    in_transaction(connection, |connection| {
        let items: Vec<ItemResult> = bulk
            .claims
            .iter()
            .map(|claim| one(connection, command, *claim, &bulk.decision))
            .collect::<AppResult<_>>()
            .map_err(Stopped::Failed)?;
        let refused = items.iter().filter(|item| item.code.is_some()).count();
        let hash = hash_of(bulk, command.reader, &items).map_err(Stopped::Failed)?;
        let decided = items.len() - refused;
        let waiting = items.iter().filter(|item| item.waits).count();
        let mut answer = BulkAnswer { committed: false, hash, decided, waiting, refused, items };
        match &bulk.commit {
            None => Err(Stopped::Preview(Box::new(answer))),
            Some(hash) if *hash != answer.hash => Err(Stopped::Failed(Refusal::PreviewChanged.into())),
            Some(_) if refused > 0 && bulk.mode == Mode::AllOrNothing => {
                (answer.decided, answer.waiting) = (0, 0);
                Err(Stopped::Preview(Box::new(answer)))
            }
            Some(_) => {
                answer.committed = true;
                Ok(answer)
            }
        }
    })
}

/// Decides one claim, or says why it cannot be; only what is no fault of the claim ends the whole.
fn one(connection: &mut Connection, command: &Command<'_>, claim: Uuid, new: &NewDecision) -> AppResult<ItemResult> {
    let mut version = None;
    let decided = in_transaction(connection, |connection| -> AppResult<(String, bool)> {
        let case = Case::lock(connection, claim)?;
        command.reader.must_reach(&case, connection)?;
        version = Some(case.claim.version);
        decide(connection, command, claim, new, None)?;
        let case = Case::lock(connection, claim)?;
        let waits = case.proposed().is_some();
        Ok((case.claim.state, waits))
    });
    let refused = |code: &str, detail: String| ItemResult {
        claim,
        version,
        status: None,
        waits: false,
        code: Some(code.to_owned()),
        detail: Some(detail),
    };
    match decided {
        Ok((status, waits)) => Ok(ItemResult { claim, version, status: Some(status), waits, code: None, detail: None }),
        Err(AppError::Claim(refusal)) => Ok(refused(refusal.code(), refusal.to_string())),
        Err(AppError::Store(StoreError::NotFound(_))) => Ok(refused("not_found", "there is no such claim".into())),
        Err(other) => Err(other),
    }
}

/// What was seen: the claims as they stand, what becomes of each, who decides and what.
fn hash_of(bulk: &BulkDecision, reader: &Reader, items: &[ItemResult]) -> AppResult<String> {
    let seen =
        serde_json::json!({ "decision": bulk.decision, "mode": bulk.mode, "reader": reader.name, "items": items });
    let text = serde_json::to_vec(&seen).map_err(StoreError::corrupt)?;
    Ok(hex::encode(Sha256::digest(text)))
}
