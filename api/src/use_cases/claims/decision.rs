//! A reader's word on a claim, the second signature where it takes one, and the word on an appeal.

use chrono::{DateTime, Utc};
use redress_domain::id::ReasonCode;
use redress_domain::notice::Event;
use redress_domain::policy::{Given, Language as Tongue, builtin_reasons, decision_in_words};
use redress_domain::review::{Verdict, VerdictKind};
use redress_domain::{Amount, AssetCode};
use redress_store::decisions::{self, DecisionRow};
use redress_store::{Connection, StoreError, tasks};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;
use validator::Validate;

use super::case::Case;
use super::review::{Command, must_be_another};
use super::weight::Weights;
use super::{AwardView, Text, desk, triage};
use crate::app::App;
use crate::assess;
use crate::error::{AppError, AppResult};
use crate::exact;
use crate::policy_cache::ActivePolicy;
use crate::refusal::Refusal;
use crate::shapes::{Outcome, Slug};

/// A reader's word on a claim.
#[derive(Debug, Clone, Serialize, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewDecision {
    /// `approve`, `part` or `decline`.
    #[schema(value_type = Outcome, example = "approve")]
    pub outcome: VerdictKind,
    /// What is granted; nothing when it is declined.
    #[serde(default)]
    #[validate(length(max = 8, message = "has more than 8 entries"))]
    #[schema(max_items = 8)]
    pub awards: Vec<AwardView>,
    /// Why what is refused is: codes of the policy or built-in ones.
    #[serde(default)]
    #[validate(length(max = 10, message = "has more than 10 entries"))]
    #[schema(value_type = Vec<Slug>, max_items = 10)]
    pub reasons: Vec<String>,
    /// The policy that it is granted under; needed only where a service has several and none has spoken.
    #[serde(default)]
    #[schema(value_type = Option<Slug>)]
    pub policy: Option<String>,
}

/// A reason code and its wording.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReasonText {
    /// The stable code.
    #[schema(example = "proof-insufficient")]
    pub code: String,
    /// What it means to the claimant.
    #[serde(flatten)]
    pub text: Text,
}

/// Decides a claim. Beyond what the reader decides alone it waits for a second signature, and nothing happens yet.
pub fn decide(
    connection: &mut Connection,
    command: &Command<'_>,
    id: Uuid,
    new: &NewDecision,
    version: Option<i32>,
) -> AppResult<()> {
    let Command { app, reader, actor, at } = *command;
    let mut case = Case::lock(connection, id)?;
    reader.must_reach(&case, connection)?;
    case.expect(version)?;
    case.claim.state()?.after(new.outcome.action()).map_err(Refusal::Illegal)?;
    if case.claim.kind == "enquiry" {
        return Err(Refusal::Conflict("an enquiry claims nothing: answer it".into()).into());
    }
    if let Some(proposed) = case.proposed() {
        let by = &proposed.decided_by;
        return Err(Refusal::Conflict(format!("the decision of {by} waits for a second signature")).into());
    }
    must_be_another(&case, &reader.name)?;
    reader.hold(connection, &case, at)?;
    let before = case.seen();
    let active = policy_of(app, connection, &case, new.policy.as_deref())?;
    let (verdict, reasons) = verdict_of(new, active.as_ref())?;
    if let Some(other) = credited_elsewhere(connection, &case, active.as_ref().map(|active| active.version_key))? {
        let detail = format!("it was credited under {other}, and what is granted beyond is granted under the same");
        return Err(Refusal::field("/policy", detail).into());
    }
    let weights = Weights::load(connection)?;
    let needs_approval = weights.exceed(&verdict, active.as_ref(), reader.decides_up_to);
    let row = DecisionRow {
        customer_id: case.claim.customer_id.clone(),
        claim_id: id,
        seq: case.decisions.last().map_or(0, |last| last.seq) + 1,
        outcome: verdict.kind().as_str().to_owned(),
        awards: serde_json::to_value(&new.awards).map_err(StoreError::corrupt)?,
        reasons: serde_json::to_value(&reasons).map_err(StoreError::corrupt)?,
        policy_version_id: active.as_ref().map(|active| active.version_key),
        decided_by: reader.name.clone(),
        decided_at: at,
        needs_approval,
        approved_by: None,
        approved_at: None,
        rejected_by: None,
        rejected_at: None,
        in_force_at: (!needs_approval).then_some(at),
    };
    decisions::insert(connection, &row)?;
    case.decisions.push(row);
    if needs_approval {
        desk::put(connection, &case.claim, desk::SIGNATURES, false, at)?;
        case.touch(connection, at)?;
    } else {
        take_effect(connection, &mut case, verdict.kind(), &reader.name, at)?;
        triage::draw(app, connection, &case, active.as_ref(), at)?;
    }
    let detail = serde_json::json!({ "outcome": new.outcome, "reasons": new.reasons, "waits": needs_approval });
    case.log(connection, actor, "claim.decide", detail, &before)
}

/// The second word on a decision.
#[derive(Debug, Clone, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Signature {
    /// Whether it is approved; else the claim goes back to be decided anew.
    pub approve: bool,
}

/// Signs a decision that waits for it; whoever made it cannot, and the database refuses it too.
pub fn sign(
    connection: &mut Connection,
    command: &Command<'_>,
    id: Uuid,
    signature: &Signature,
    version: Option<i32>,
) -> AppResult<()> {
    let Command { app, reader, actor, at } = *command;
    let mut case = Case::lock(connection, id)?;
    reader.must_reach(&case, connection)?;
    case.expect(version)?;
    let Some(proposed) = case.proposed().cloned() else {
        return Err(Refusal::Conflict("no decision of this claim waits for a signature".into()).into());
    };
    let before = case.seen();
    let same = || Refusal::FourEyes("whoever decided does not sign too: a second person has to".into());
    if proposed.decided_by == reader.name {
        return Err(same().into());
    }
    if signature.approve {
        must_be_another(&case, &reader.name)?;
        if let Some(other) = credited_elsewhere(connection, &case, proposed.policy_version_id)? {
            let detail = format!("it was credited under {other} meanwhile: send it back to be decided under that");
            return Err(Refusal::Conflict(detail).into());
        }
    }
    let signed = decisions::sign(connection, &proposed, &reader.name, at, signature.approve);
    let signed = signed.map_err(|error| match error.constraint() {
        Some("decision_four_eyes") => AppError::from(same()),
        _ => error.into(),
    })?;
    if !signed {
        return Err(StoreError::Contention("a decision was signed meanwhile".into()).into());
    }
    case.decisions = decisions::of_claim(connection, &case.claim.customer_id, id)?;
    if signature.approve {
        let kind = VerdictKind::of(&proposed.outcome).ok_or_else(|| StoreError::corrupt("a decision's outcome"))?;
        take_effect(connection, &mut case, kind, &proposed.decided_by, at)?;
        let active = policy_of(app, connection, &case, None)?;
        triage::draw(app, connection, &case, active.as_ref(), at)?;
    } else {
        let queue = if case.open_appeal().is_some() { desk::APPEALS } else { desk::AGAIN };
        desk::put(connection, &case.claim, queue, false, at)?;
        case.touch(connection, at)?;
    }
    let detail = serde_json::json!({ "decision": proposed.seq, "approve": signature.approve });
    case.log(connection, actor, "claim.sign-decision", detail, &before)
}

/// The policy under which a claim was credited, where that is another than the one of this version: what the two grant would be
/// paid beside each other.
fn credited_elsewhere(connection: &mut Connection, case: &Case, version: Option<i32>) -> AppResult<Option<String>> {
    let Some(version) = version else { return Ok(None) };
    let claim = &case.claim;
    if claim.credited_at.is_none() {
        return Ok(None);
    }
    Ok(redress_store::credits::credited_under_another(connection, &claim.customer_id, claim.id, version)?)
}

/// A decision holds from now on: the claim moves, an open appeal is answered, the claimant is told.
fn take_effect(
    connection: &mut Connection,
    case: &mut Case,
    kind: VerdictKind,
    decided_by: &str,
    at: DateTime<Utc>,
) -> AppResult<()> {
    case.step(connection, kind.action(), at)?;
    let (customer, id) = (case.claim.customer_id.clone(), case.claim.id);
    tasks::close(connection, &customer, id)?;
    let of_appeal = decisions::close_appeal(connection, &customer, id, decided_by, kind.as_str(), at);
    let of_appeal = of_appeal.map_err(|error| match error.constraint() {
        Some("appeal_read_by_another") => {
            AppError::from(Refusal::FourEyes("whoever decided does not read the appeal against it".into()))
        }
        _ => error.into(),
    })?;
    case.appeals = decisions::appeals(connection, &customer, id)?;
    case.tell(connection, if of_appeal { Event::AppealDecided } else { Event::Decided }, at)
}

/// The policy that a claim is granted under: the one that spoke of it, as it is in force now; else the one that the
/// reader names, or the only one of the service.
pub(super) fn policy_of(
    app: &App,
    connection: &mut Connection,
    case: &Case,
    wanted: Option<&str>,
) -> AppResult<Option<ActivePolicy>> {
    let spoke = [
        case.in_force().and_then(|decision| decision.policy_version_id),
        case.assessment.as_ref().and_then(|assessment| assessment.policy_version_id),
    ];
    if let (Some(key), None) = (spoke.into_iter().flatten().next(), wanted) {
        let version = redress_store::policies::by_keys(connection, &[key])?;
        return version.first().map(|version| app.policies.compile(version)).transpose();
    }
    let mut policies = assess::policies_of_service(app, connection, case.claim.incident_id, case.claim.service_id)?;
    match wanted {
        Some(name) => match policies.into_iter().find(|active| active.policy.id().as_str() == name) {
            Some(active) => Ok(Some(active)),
            None => Err(Refusal::field("/policy", "no such policy of this service is in force").into()),
        },
        None => Ok(if policies.len() == 1 { policies.pop() } else { None }),
    }
}

/// What is decided, with everything it names known to the policy.
fn verdict_of(new: &NewDecision, active: Option<&ActivePolicy>) -> AppResult<(Verdict, Vec<ReasonText>)> {
    let mut awards = Vec::new();
    for (place, award) in new.awards.iter().enumerate() {
        awards.push(given(award, active, place)?);
    }
    let known = active.map_or_else(|| builtin_reasons().collect(), |active| active.policy.reason_wordings());
    let mut codes = Vec::new();
    let mut texts = Vec::new();
    for (place, code) in new.reasons.iter().enumerate() {
        let fault = |detail: String| Refusal::field(format!("/reasons/{place}"), detail);
        let parsed = ReasonCode::parse(code).map_err(|error| fault(error.to_string()))?;
        let Some((_, wording)) = known.iter().find(|(known, _)| known == code) else {
            let known: Vec<&str> = known.iter().map(|(code, _)| code.as_str()).collect();
            return Err(fault(format!("is no reason of this policy; known are {}", known.join(", "))).into());
        };
        codes.push(parsed);
        texts.push(ReasonText { code: code.clone(), text: wording.clone().into() });
    }
    let verdict = Verdict::new(new.outcome, awards, codes)
        .map_err(|error| Refusal::Field { pointer: error.field().into(), detail: error.to_string() })?;
    Ok((verdict, texts))
}

/// One award, in an asset that the policy grants, since only those have a budget.
fn given(award: &AwardView, active: Option<&ActivePolicy>, place: usize) -> AppResult<Given> {
    let asset_fault = |detail: String| Refusal::field(format!("/awards/{place}/asset"), detail);
    let Some(active) = active else {
        let detail = "no policy of this service is in force, or several are: name one in /policy";
        return Err(asset_fault(detail.into()).into());
    };
    let code = AssetCode::parse(&award.asset).map_err(|error| asset_fault(error.to_string()))?;
    let assets = active.policy.assets();
    let Some(asset) = assets.iter().find(|asset| *asset.code() == code) else {
        let known: Vec<&str> = assets.iter().map(|asset| asset.code().as_str()).collect();
        return Err(asset_fault(format!("the policy {} grants {}", active.policy.id(), known.join(", "))).into());
    };
    let amount_fault = |detail: String| Refusal::field(format!("/awards/{place}/amount"), detail);
    let amount = exact::parse(&award.amount).map_err(amount_fault)?;
    let amount = Amount::from_decimal(amount, asset.scale()).map_err(|error| amount_fault(error.to_string()))?;
    if amount <= Amount::ZERO {
        return Err(amount_fault("must be above zero".into()).into());
    }
    Ok(Given { asset: code, amount })
}

/// A decision of people as it is kept, in words for the claimant.
pub(super) fn in_words(row: &DecisionRow) -> AppResult<(Vec<AwardView>, Vec<ReasonText>, Text)> {
    let awards: Vec<AwardView> = serde_json::from_value(row.awards.clone()).map_err(StoreError::corrupt)?;
    let reasons: Vec<ReasonText> = serde_json::from_value(row.reasons.clone()).map_err(StoreError::corrupt)?;
    let named = awards
        .iter()
        .map(|award| Ok((AssetCode::parse(&award.asset).map_err(StoreError::corrupt)?, award.amount.clone())))
        .collect::<AppResult<Vec<_>>>()?;
    let wordings: Vec<redress_domain::incident::Localised> = reasons
        .iter()
        .map(|reason| redress_domain::incident::Localised { ko: reason.text.ko.clone(), en: reason.text.en.clone() })
        .collect();
    let say = |tongue| decision_in_words(&named, &wordings, tongue);
    let sentence = Text { ko: say(Tongue::Korean), en: say(Tongue::English) };
    Ok((awards, reasons, sentence))
}
