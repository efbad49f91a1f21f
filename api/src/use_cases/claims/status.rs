//! A claim as its claimant and the staff see it: where it stands, what was decided and why, what is wanted and until
//! when, whether an appeal is open, and all that happened.

use chrono::{DateTime, Duration, Utc};
use redress_domain::claim::ClaimState;
use redress_domain::review::{Ruling, VerdictKind};
use redress_store::audit::{self, Told};
use redress_store::claims::{self, ClaimRow};
use redress_store::decisions::DecisionRow;
use redress_store::{Connection, StoreError, messages, presence, triage};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::case::{Case, open_message};
use super::decision::{ReasonText, in_words, policy_of};
use super::review::Reader;
use super::triage::Finding;
use super::{AwardView, ClaimAnswer, Contact, StoredAssessment, Text, now, open_personal};
use crate::app::App;
use crate::error::AppResult;

/// The last word on a claim.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct DecisionView {
    /// `approve`, `part` or `decline`.
    #[schema(value_type = String, example = "decline")]
    pub outcome: VerdictKind,
    /// `policy`, or `person`.
    pub by: String,
    /// Since when it holds.
    pub at: DateTime<Utc>,
    /// What is granted.
    pub awards: Vec<AwardView>,
    /// Why what is refused is.
    pub reasons: Vec<ReasonText>,
    /// All of it in a sentence.
    pub sentence: Text,
    /// Whether and until when it can be appealed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub appeal: Option<AppealView>,
}

/// An appeal: still open to the claimant, under way, or decided.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct AppealView {
    /// Whether the claimant can appeal at this moment.
    pub open: bool,
    /// Until when one could.
    pub until: DateTime<Utc>,
    /// When the appeal came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filed_at: Option<DateTime<Utc>>,
}

/// What the claimant is asked for.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Wanted {
    /// The question.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub question: Option<String>,
    /// The documents, by code.
    pub documents: Vec<String>,
    /// Until when; nothing is decided before, and nothing is declined for silence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<DateTime<Utc>>,
}

/// The claim that said the same before.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct MergedInto {
    /// Its reference.
    pub reference: String,
    /// Where it stands.
    pub status: String,
}

/// Something that happened to a claim.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Happened {
    /// When.
    pub at: DateTime<Utc>,
    /// What, such as `file`, `decide` or `appeal`.
    pub event: String,
    /// `claimant`, `staff` or `system`.
    pub by: String,
    /// Where the claim stood afterwards.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// Who of the staff; told to the staff only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// A message.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct MessageView {
    /// Its id.
    pub id: Uuid,
    /// `message`, `question`, `appeal` or `merged`.
    pub kind: String,
    /// `claimant` or `staff`.
    pub by: String,
    /// When.
    pub at: DateTime<Utc>,
    /// The words.
    pub text: String,
}

/// What the staff sees besides.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct DeskView {
    /// The queue it stands in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
    /// Whose it is to read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub assignee: Option<String>,
    /// Who looks at it now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reader: Option<String>,
    /// Until when it is his.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leased_until: Option<DateTime<Utc>>,
    /// Who else has it open: whoever asked for it within the last minute.
    pub present: Vec<Present>,
    /// The decision that waits for a second signature.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proposed: Option<Proposed>,
    /// What was found beside it.
    pub findings: Vec<Finding>,
    /// The reasons that a decision of it can give.
    pub reasons: Vec<ReasonText>,
    /// The assets that a decision of it can grant.
    pub assets: Vec<String>,
    /// How to reach the claimant; none once it was destroyed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contact: Option<Contact>,
    /// What happened, in the claimant's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// Somebody of the staff who has a claim open.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Present {
    /// The name.
    pub name: String,
    /// When he last asked for the claim.
    pub at: DateTime<Utc>,
}

/// A decision that waits for a second signature.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Proposed {
    /// What kind.
    pub outcome: String,
    /// What would be granted.
    pub awards: Vec<AwardView>,
    /// Why the rest would not.
    pub reasons: Vec<ReasonText>,
    /// Who decided.
    pub decided_by: String,
    /// When.
    pub decided_at: DateTime<Utc>,
}

/// How long somebody who asked for a claim is taken to have it open; a page that stays open asks again sooner.
const PRESENT_FOR: Duration = Duration::seconds(60);

/// Who looks at a claim.
#[derive(Debug, Clone, Copy)]
pub enum Viewer<'a> {
    /// Its claimant.
    Claimant,
    /// A member of staff.
    Staff(&'a Reader),
}

/// A claim as it stands, to whoever may see it.
pub fn show(app: &App, connection: &mut Connection, id: Uuid, viewer: Viewer<'_>) -> AppResult<ClaimAnswer> {
    let view = claims::find(connection, id)?.ok_or_else(|| StoreError::NotFound("such claim".into()))?;
    let case = Case::of(connection, view.claim.clone())?;
    if let Viewer::Staff(reader) = viewer {
        reader.must_reach(&case, connection)?;
    }
    let mut answer = super::answer(&view)?;
    answer.decision = decision_of(&case)?;
    answer.wanted = wanted(app, connection, &case)?;
    answer.duplicate_of = merged_into(connection, &case.claim)?;
    answer.reply = super::aside::reply(app, connection, &case.claim)?;
    answer.history = history(connection, &case.claim, viewer)?;
    if let Viewer::Staff(reader) = viewer {
        answer.desk = Some(desk_view(app, connection, &case, reader)?);
    }
    Ok(answer)
}

/// The last word of a policy, as far as it is one.
pub(super) fn policys_word(assessment: &StoredAssessment, at: DateTime<Utc>) -> Option<DecisionView> {
    use crate::assess::ClaimOutcome;
    let outcome = match assessment.outcome {
        ClaimOutcome::Award => VerdictKind::Approve,
        ClaimOutcome::Decline => VerdictKind::Decline,
        ClaimOutcome::Review | ClaimOutcome::Pending => return None,
    };
    let appealable = assessment.reason.as_ref().is_none_or(|reason| reason.appealable);
    let ruling = Ruling { number: 0, kind: outcome, appealable, at, by: Vec::new() };
    let reason = |code: &str| ReasonText { code: code.to_owned(), text: assessment.sentence.clone() };
    Some(DecisionView {
        outcome,
        by: "policy".to_owned(),
        at,
        awards: assessment.awards.clone(),
        reasons: assessment.reason.iter().map(|given| reason(&given.code)).collect(),
        sentence: assessment.sentence.clone(),
        appeal: ruling.appeal_until().map(|until| AppealView { open: at <= until, until, filed_at: None }),
    })
}

fn decision_of(case: &Case) -> AppResult<Option<DecisionView>> {
    let Some(ruling) = case.ruling()? else { return Ok(None) };
    let mut view = match case.in_force() {
        Some(row) => persons_word(row, &ruling)?,
        None => {
            let assessment = case.assessment.as_ref().map(StoredAssessment::read).transpose()?;
            match assessment.and_then(|assessment| policys_word(&assessment, ruling.at)) {
                Some(view) => view,
                None => return Ok(None),
            }
        }
    };
    let filed = case.appeals.iter().find(|appeal| appeal.against == ruling.number);
    let stands = case.claim.state()?.after(redress_domain::claim::ClaimMove::Appeal).is_ok();
    if let Some(appeal) = &mut view.appeal {
        appeal.filed_at = filed.map(|appeal| appeal.filed_at);
        appeal.open = stands && filed.is_none() && now() <= appeal.until;
    }
    Ok(Some(view))
}

fn persons_word(row: &DecisionRow, ruling: &Ruling) -> AppResult<DecisionView> {
    let (awards, reasons, sentence) = in_words(row)?;
    let appeal = ruling.appeal_until().map(|until| AppealView { open: false, until, filed_at: None });
    let (outcome, at) = (ruling.kind, ruling.at);
    Ok(DecisionView { outcome, by: "person".to_owned(), at, awards, reasons, sentence, appeal })
}

/// What the claimant is asked: by a reader, or by the policy that left the claim to one.
fn wanted(app: &App, connection: &mut Connection, case: &Case) -> AppResult<Option<Wanted>> {
    let state = case.claim.state()?;
    if state == ClaimState::NeedsInformation {
        let rows = messages::of_claim(connection, &case.claim.customer_id, case.claim.id)?;
        let question = rows.iter().rev().find(|row| row.kind == "question");
        let question = question.map(|row| open_message(app, &case.claim, row)).transpose()?;
        let until = case.task.as_ref().and_then(|task| task.due_at);
        return Ok(Some(Wanted { question, documents: Vec::new(), until }));
    }
    let assessment = case.assessment.as_ref().map(StoredAssessment::read).transpose()?;
    Ok(assessment.and_then(|assessment| documents_wanted(&case.claim.state, &assessment)))
}

/// The documents that a policy asked for which left the claim to people.
pub(super) fn documents_wanted(state: &str, assessment: &StoredAssessment) -> Option<Wanted> {
    let asks = state == ClaimState::InReview.as_str() && !assessment.evidence.is_empty();
    asks.then(|| Wanted { question: None, documents: assessment.evidence.clone(), until: None })
}

pub(super) fn merged_into(connection: &mut Connection, claim: &ClaimRow) -> AppResult<Option<MergedInto>> {
    let Some(id) = claim.duplicate_of else { return Ok(None) };
    let first = claims::find(connection, id)?;
    Ok(first.map(|view| MergedInto { reference: view.claim.reference, status: view.claim.state }))
}

/// What happened to a claim, from the log of commands.
fn history(connection: &mut Connection, claim: &ClaimRow, viewer: Viewer<'_>) -> AppResult<Vec<Happened>> {
    let told = audit::of_object(connection, &format!("claim {}", claim.id))?;
    let mut history: Vec<Happened> = told.into_iter().map(|told| happened(told, viewer)).collect();
    if let Some(at) = claim.credited_at {
        let status = Some(ClaimState::Issued.as_str().to_owned());
        history.push(Happened { at, event: "credit".to_owned(), by: "system".to_owned(), status, name: None });
        history.sort_by_key(|happened| happened.at);
    }
    Ok(history)
}

fn happened(told: Told, viewer: Viewer<'_>) -> Happened {
    let by = match told.actor.as_str() {
        "system" => "system",
        actor if actor.starts_with("customer:") => "claimant",
        _ => "staff",
    };
    let name = (by == "staff" && matches!(viewer, Viewer::Staff(_))).then(|| told.actor.clone());
    Happened {
        at: told.at,
        event: told.action.strip_prefix("claim.").unwrap_or(&told.action).to_owned(),
        by: by.to_owned(),
        status: told.detail["status"].as_str().map(str::to_owned),
        name,
    }
}

fn desk_view(app: &App, connection: &mut Connection, case: &Case, viewer: &Reader) -> AppResult<DeskView> {
    let (claim, at) = (&case.claim, now());
    let present = presence::look(connection, (&claim.customer_id, claim.id), &viewer.name, at, at - PRESENT_FOR)?;
    let task = case.task.as_ref().filter(|task| task.is_open);
    let reader = task.and_then(|task| task.reader(at)).map(str::to_owned);
    let sealed = claims::sealed(connection, &claim.customer_id, claim.id)?;
    let personal = sealed.map(|sealed| open_personal(app, claim, &sealed)).transpose()?;
    let findings = triage::findings(connection, &claim.customer_id, claim.id)?.unwrap_or(serde_json::json!([]));
    let active = policy_of(app, connection, case, None)?;
    let reasons = active.as_ref().map(|active| active.policy.reason_wordings()).unwrap_or_default();
    let assets = active.iter().flat_map(|active| active.policy.assets()).map(|asset| asset.code().to_string());
    Ok(DeskView {
        queue: task.map(|task| task.queue.clone()),
        assignee: case.task.as_ref().and_then(|task| task.assignee.clone()),
        leased_until: reader.as_ref().and(task.and_then(|task| task.leased_until)),
        reader,
        present: present.into_iter().map(|(name, at)| Present { name, at }).collect(),
        proposed: case.proposed().map(proposed).transpose()?,
        findings: serde_json::from_value(findings).map_err(StoreError::corrupt)?,
        reasons: reasons.into_iter().map(|(code, text)| ReasonText { code, text: text.into() }).collect(),
        assets: assets.collect(),
        contact: personal.as_ref().map(|personal| personal.contact.clone()),
        description: personal.map(|personal| personal.description),
    })
}

fn proposed(row: &DecisionRow) -> AppResult<Proposed> {
    let (awards, reasons, _) = in_words(row)?;
    let (outcome, decided_by, decided_at) = (row.outcome.clone(), row.decided_by.clone(), row.decided_at);
    Ok(Proposed { outcome, awards, reasons, decided_by, decided_at })
}

/// All messages of a claim.
pub fn messages(app: &App, connection: &mut Connection, id: Uuid, viewer: Viewer<'_>) -> AppResult<Vec<MessageView>> {
    let view = claims::find(connection, id)?.ok_or_else(|| StoreError::NotFound("such claim".into()))?;
    let case = Case::of(connection, view.claim)?;
    if let Viewer::Staff(reader) = viewer {
        reader.must_reach(&case, connection)?;
    }
    messages::of_claim(connection, &case.claim.customer_id, id)?
        .iter()
        .map(|row| {
            Ok(MessageView {
                id: row.id,
                kind: row.kind.clone(),
                by: if row.staff.is_some() { "staff" } else { "claimant" }.to_owned(),
                at: row.sent_at,
                text: open_message(app, &case.claim, row)?,
            })
        })
        .collect()
}

/// What people decided of a claim, for a notice: the sentence that holds now.
pub fn sentence_of(connection: &mut Connection, claim: &ClaimRow) -> AppResult<Option<Text>> {
    let decisions = redress_store::decisions::of_claim(connection, &claim.customer_id, claim.id)?;
    match decisions.iter().rev().find(|decision| decision.in_force_at.is_some()) {
        Some(row) => Ok(Some(in_words(row)?.2)),
        None => Ok(None),
    }
}
