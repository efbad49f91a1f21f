//! A claim as it is answered, and what a policy said of it.

use chrono::{DateTime, Utc};
use redress_domain::incident::Localised;
use redress_store::claims::{AssessmentRow, ClaimRow, ClaimView};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;
use uuid::Uuid;

use super::ClaimKind;
use super::status::{DecisionView, DeskView, Happened, MergedInto, Wanted, documents_wanted, policys_word};
use crate::assess::ClaimOutcome;
use crate::error::AppResult;
use crate::shapes::{Asset, Money};

/// The languages of notices and pages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// Korean.
    #[default]
    Ko,
    /// English.
    En,
}

impl Language {
    /// Its code (BCP 47).
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Ko => "ko",
            Self::En => "en",
        }
    }
}

/// A text in both languages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Text {
    /// Korean.
    pub ko: String,
    /// English.
    pub en: String,
}

impl Text {
    /// The text in one language.
    #[must_use]
    pub fn of(&self, language: Language) -> &str {
        match language {
            Language::Ko => &self.ko,
            Language::En => &self.en,
        }
    }
}

impl From<Localised> for Text {
    fn from(text: Localised) -> Self {
        Self { ko: text.ko, en: text.en }
    }
}

/// An asset and an amount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AwardView {
    /// The asset's code.
    #[schema(value_type = Asset, example = "KRW")]
    pub asset: String,
    /// The amount in the asset's unit, exact.
    #[schema(value_type = Money, example = "30000")]
    pub amount: String,
}

/// A reason and its wording.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReasonView {
    /// The stable code.
    #[schema(example = "no-loss-shown")]
    pub code: String,
    /// Whether an appeal is open.
    pub appealable: bool,
}

/// What a policy said of a claim, and why.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct StoredAssessment {
    /// `award`, `decline`, `review` or `pending`.
    pub outcome: ClaimOutcome,
    /// What is granted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub awards: Vec<AwardView>,
    /// Why nothing is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<ReasonView>,
    /// The queue of people it stands in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
    /// The documents that are wanted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<String>,
    /// The policy that spoke, and the content hash of its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// The content hash of the version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The rule that decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// The outcome in a sentence to the claimant.
    pub sentence: Text,
    /// Every rule tried and every value used; not in the answer to the report itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub trace: Option<Box<RawValue>>,
}

impl StoredAssessment {
    /// Reads a stored assessment back.
    pub fn read(row: &AssessmentRow) -> AppResult<Self> {
        Ok(row.trace.read()?)
    }
}

/// A claim as its claimant and staff see it.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ClaimAnswer {
    /// Its id.
    pub id: Uuid,
    /// The reference to quote on the telephone.
    #[schema(example = "R-7K3M-9QXT-41ZC")]
    pub reference: String,
    /// The token that lets the claimant see it; only in the answer to the report itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// The page of the claim with its token, to be kept or sent to oneself; only in the answer to the report itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// Where it stands.
    #[schema(example = "approved")]
    pub status: String,
    /// The incident.
    pub incident: String,
    /// The service.
    pub service: String,
    /// The customer.
    pub customer: String,
    /// What is claimed.
    #[schema(value_type = BTreeMap<String, serde_json::Value>)]
    pub facts: serde_json::Value,
    /// When it was filed.
    pub submitted_at: Option<DateTime<Utc>>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
    /// What a policy said of it.
    pub assessment: Option<StoredAssessment>,
    /// Counts its changes; the ETag.
    pub version: i32,
    /// What it is: `damage`, or `enquiry`.
    pub kind: ClaimKind,
    /// How it came: `web`, `chat`, `phone`, `post` or `file`.
    pub channel: String,
    /// The last word on it, of its policy or of people, and whether it can be appealed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<DecisionView>,
    /// What its claimant is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wanted: Option<Wanted>,
    /// The claim that said the same before, and in which this one is handled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duplicate_of: Option<MergedInto>,
    /// What an enquiry is answered with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply: Option<Text>,
    /// What happened to it, when it is looked at.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<Happened>,
    /// What only the staff sees.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desk: Option<DeskView>,
}

/// A claim as it is shown.
pub fn answer(view: &ClaimView) -> AppResult<ClaimAnswer> {
    let assessment = view.assessment.as_ref().map(StoredAssessment::read).transpose()?;
    let decided_at = view.assessment.as_ref().map_or(view.claim.updated_at, |row| row.assessed_at);
    answer_of(&view.claim, (&view.incident, &view.service), assessment, decided_at)
}

/// The same of its parts: the names of its incident and service, what its policy said, and when.
pub(super) fn answer_of(
    claim: &ClaimRow,
    (incident, service): (&str, &str),
    assessment: Option<StoredAssessment>,
    decided_at: DateTime<Utc>,
) -> AppResult<ClaimAnswer> {
    Ok(ClaimAnswer {
        decision: assessment.as_ref().and_then(|assessment| policys_word(assessment, decided_at)),
        id: claim.id,
        reference: claim.reference.clone(),
        token: None,
        link: None,
        status: claim.state()?.as_str().to_owned(),
        incident: incident.to_owned(),
        service: service.to_owned(),
        customer: claim.customer_id.clone(),
        facts: claim.facts.clone(),
        submitted_at: claim.submitted_at,
        updated_at: claim.updated_at,
        version: claim.version,
        kind: if claim.kind == "enquiry" { ClaimKind::Enquiry } else { ClaimKind::Damage },
        channel: claim.channel.clone(),
        wanted: assessment.as_ref().and_then(|assessment| documents_wanted(&claim.state, assessment)),
        duplicate_of: None,
        reply: None,
        history: Vec::new(),
        desk: None,
        assessment,
    })
}
