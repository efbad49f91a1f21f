//! Claims, from the damage report on: one file a subject.

mod aside;
pub mod assign;
pub mod bulk;
mod case;
pub mod claimant;
pub mod closing;
pub mod decision;
pub mod desk;
pub mod draft;
mod duplicates;
mod file;
mod kept;
mod new;
mod personal;
pub mod queue;
mod reassess;
mod reference;
pub mod review;
pub mod sheet;
pub mod status;
pub mod triage;
mod view;
mod weight;

use chrono::{DateTime, Utc};
use redress_store::claims::AssessmentRow;

pub(super) use self::aside::reply;
pub use self::file::{Filed, MAX_BATCH, Order, file};
pub use self::new::{Channel, ClaimKind, Contact, MAX_FACTS, NewClaim};
pub use self::personal::{Personal, Preferences, Wish, is_sealed_by, open_personal, prefer};
pub(super) use self::reassess::reassess;
pub use self::reassess::stated_facts;
pub use self::view::{AwardView, ClaimAnswer, Language, ReasonView, StoredAssessment, Text, answer};

/// The time of a command, in the microseconds that the database keeps.
pub(in crate::use_cases) fn now() -> DateTime<Utc> {
    let now = Utc::now();
    DateTime::from_timestamp_micros(now.timestamp_micros()).unwrap_or(now)
}

/// What the log's hashes of a claim are over: where it stands, and the assessment that brought it there.
fn state_of(state: &str, version: i32, assessment: Option<&AssessmentRow>) -> serde_json::Value {
    let trace = assessment.map(|row| row.trace.hash());
    serde_json::json!({ "state": state, "version": version, "trace": trace })
}
