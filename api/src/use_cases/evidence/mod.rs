//! What claimants file with their claims: looked at, kept sealed, and taken into account.
//!
//! A file is announced, written to the object store and acknowledged, in this order; each step but the middle one is a
//! transaction. What was never acknowledged is swept, and what was is never swept.

mod inspect;
mod keep;
mod pdf;
mod picture;
mod progress;

use chrono::{DateTime, Utc};
use redress_domain::claim::ClaimState;
use redress_store::claims::ClaimView;
use redress_store::evidence::{self, EvidenceRow};
use redress_store::{Connection, StoreError};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

pub use self::inspect::Kind;
pub use self::keep::{Added, File, add, open, sweep, verify};
pub use self::picture::MAX_PIXELS;
use crate::app::App;
use crate::error::AppResult;
use crate::use_cases::claims::StoredAssessment;

/// The largest file.
pub const MAX_FILE: usize = 10 << 20;
/// The most files of a claim.
pub const MAX_FILES: i64 = 20;
/// The most bytes of all files of a claim together.
pub const MAX_TOTAL: i64 = 50 << 20;

/// Why a file is not taken; said to the claimant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is of another kind.
    #[error("JPEG and PNG pictures and PDF documents are taken; this is {0}")]
    Type(String),
    /// It is damaged, cut off or locked.
    #[error("{0}")]
    Unreadable(String),
    /// The picture is too large to be drawn.
    #[error("{}", pixels(*.width, *.height))]
    Pixels {
        /// Pixels from left to right; 0 when the decoder gave up before it knew.
        width: u32,
        /// Pixels from top to bottom.
        height: u32,
    },
    /// The document would do something when it is opened.
    #[error("the document has active content ({}); print it to PDF anew, or send pictures of it", .0.join(", "))]
    Active(Vec<&'static str>),
    /// The virus scanner knows it.
    #[error("the virus scanner refuses the file ({0})")]
    Malware(String),
    /// The virus scanner cannot be asked.
    #[error("files cannot be checked at the moment, and nothing is kept unchecked; try again later")]
    ScannerAway,
    /// The claim has as many files as it may.
    #[error("a claim may have {MAX_FILES} files of {} MiB together", MAX_TOTAL >> 20)]
    Limit,
    /// The document's code is none that is asked for.
    #[error("{}", documents(.0))]
    Document(Vec<String>),
    /// The claim takes no files as it stands.
    #[error("a claim that is {0} takes no files")]
    State(ClaimState),
    /// An earlier attempt at the same file is just being cleaned up.
    #[error("an earlier attempt at this file is being cleaned up; try again in a minute")]
    Sweeping,
}

fn pixels(width: u32, height: u32) -> String {
    let seen = if width == 0 { String::new() } else { format!("; this one has {width} × {height}") };
    format!("a picture may have {} million pixels{seen}; send it smaller", MAX_PIXELS / 1_000_000)
}

fn documents(wanted: &[String]) -> String {
    match wanted {
        [] => "no document is asked for; leave the field out".to_owned(),
        wanted => format!("is none of the documents asked for: {}", wanted.join(", ")),
    }
}

/// A piece of evidence as its claimant and staff see it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct EvidenceView {
    /// Its id.
    pub id: Uuid,
    /// Which document it is, by its code in the policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "proof-of-loss")]
    pub document: Option<String>,
    /// `jpeg`, `png` or `pdf`.
    #[schema(example = "jpeg")]
    pub kind: String,
    /// The length of what is kept: pictures are drawn anew, without what the camera wrote about itself and the place.
    pub bytes: i64,
    /// SHA-256 of what is kept.
    pub sha256: String,
    /// What a reader should know before opening it, such as `open_action`.
    #[schema(value_type = Vec<String>)]
    pub remarks: serde_json::Value,
    /// When it was stored.
    pub stored_at: Option<DateTime<Utc>>,
}

impl From<&EvidenceRow> for EvidenceView {
    fn from(row: &EvidenceRow) -> Self {
        Self {
            id: row.id,
            document: (!row.document.is_empty()).then(|| row.document.clone()),
            kind: row.kind.clone(),
            bytes: row.bytes,
            sha256: hex::encode(&row.content_hash),
            remarks: row.remarks.clone(),
            stored_at: row.stored_at,
        }
    }
}

/// The evidence of a claim.
pub fn list(app: &App, customer: &str, claim: Uuid) -> AppResult<Vec<EvidenceView>> {
    let rows = app.store.with(|connection| evidence::of_claim(connection, customer, claim))?;
    Ok(rows.iter().map(EvidenceView::from).collect())
}

/// The codes of the documents that a claim has, as policies read them.
pub fn kinds(connection: &mut Connection, customer: &str, claim: Uuid) -> Result<Vec<Box<str>>, StoreError> {
    let rows = evidence::of_claim(connection, customer, claim)?;
    let mut kinds: Vec<Box<str>> =
        rows.into_iter().map(|row| row.document.into_boxed_str()).filter(|code| !code.is_empty()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    Ok(kinds)
}

/// Whether a claim takes files as it stands: until it is decided, and while an appeal is read.
fn takes_files(state: ClaimState) -> bool {
    match state {
        ClaimState::Draft
        | ClaimState::Submitted
        | ClaimState::InReview
        | ClaimState::NeedsInformation
        | ClaimState::PendingPolicy => true,
        ClaimState::Approved
        | ClaimState::PartlyApproved
        | ClaimState::Declined
        | ClaimState::Issued
        | ClaimState::Closed
        | ClaimState::Withdrawn => false,
    }
}

/// The documents that a claim lacks, by code.
fn wanted(view: &ClaimView) -> AppResult<Vec<String>> {
    let assessment = view.assessment.as_ref().map(StoredAssessment::read).transpose()?;
    Ok(assessment.map(|assessment| assessment.evidence).unwrap_or_default())
}
