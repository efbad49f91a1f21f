//! A claim that waits for documents goes on when they are there: its policy is asked again, by what it asked for itself.

use redress_domain::claim::{ClaimMove, ClaimState};
use redress_domain::id::{CustomerId, IncidentId, PolicyId, ServiceId};
use redress_domain::notice::Event;
use redress_store::claims::{self, AssessmentRow, ClaimView};
use redress_store::notices::{self, NoticeRow};
use redress_store::{Connection, JsonText, StoreError, audit, decisions, holdings, incidents, tasks};
use uuid::Uuid;

use crate::app::{Actor, App};
use crate::assess::{self, Assessed, ClaimOutcome};
use crate::error::AppResult;
use crate::use_cases::claims::{StoredAssessment, desk, stated_facts};
use crate::use_cases::policies::move_of;

/// Asks the policy again after a file came, and moves the claim as it says; returns where the claim stands then.
pub(super) fn after_evidence(
    app: &App,
    connection: &mut Connection,
    view: &ClaimView,
    actor: &Actor,
) -> AppResult<String> {
    let before = view.claim.state()?;
    let Some(last) = view.assessment.as_ref().map(StoredAssessment::read).transpose()? else {
        return Ok(before.as_str().to_owned());
    };
    // Only what the policy itself asked for is judged by it; what a person asked for, a person reads.
    if has_people_on_it(connection, view)? {
        return Ok(before.as_str().to_owned());
    }
    let waits = matches!(before, ClaimState::InReview | ClaimState::NeedsInformation);
    if !waits || last.outcome != ClaimOutcome::Review || last.evidence.is_empty() {
        return Ok(before.as_str().to_owned());
    }
    let Some(assessed) = ask_again(app, connection, view, &last)? else { return Ok(before.as_str().to_owned()) };
    record(connection, view, before, &assessed, actor)
}

/// Whether people decided, or were asked to by an appeal: from then on nobody but people decides.
fn has_people_on_it(connection: &mut Connection, view: &ClaimView) -> AppResult<bool> {
    let (customer, id) = (view.claim.customer_id.as_str(), view.claim.id);
    let decided = !decisions::of_claim(connection, customer, id)?.is_empty();
    Ok(decided || !decisions::appeals(connection, customer, id)?.is_empty())
}

/// What the policy says now; none when it asks for the same as before.
fn ask_again(
    app: &App,
    connection: &mut Connection,
    view: &ClaimView,
    last: &StoredAssessment,
) -> AppResult<Option<Assessed>> {
    let claim = &view.claim;
    let incident = incidents::find(connection, &IncidentId::parse(&view.incident).map_err(StoreError::corrupt)?)?;
    let wanted = last.policy.as_deref().map(PolicyId::parse).transpose().map_err(StoreError::corrupt)?;
    let assessed = assess::claim(&assess::ClaimSubject {
        policies: &assess::policies_of_service(app, connection, incident.key, claim.service_id)?,
        wanted: wanted.as_ref(),
        incident: &incident.incident,
        service: &ServiceId::parse(&view.service).map_err(StoreError::corrupt)?,
        customer: &CustomerId::parse(&claim.customer_id).map_err(StoreError::corrupt)?,
        holdings: &holdings::of_customer(connection, incident.key, &claim.customer_id, claim.service_id)?,
        facts: &stated_facts(claim.id, &claim.facts)?,
        evidence: &super::kinds(connection, &claim.customer_id, claim.id)?,
        submitted_at: claim.submitted_at.unwrap_or(claim.created_at),
    })?;
    // A policy that is out of force, or reads a fact that was never asked for: a person goes on with it.
    let Ok(assessed) = assessed else { return Ok(None) };
    let same = assessed.assessment.outcome == last.outcome && assessed.assessment.evidence == last.evidence;
    Ok((!same && assessed.assessment.outcome != ClaimOutcome::Pending).then_some(assessed))
}

fn record(
    connection: &mut Connection,
    view: &ClaimView,
    before: ClaimState,
    assessed: &Assessed,
    actor: &Actor,
) -> AppResult<String> {
    let claim = &view.claim;
    let (customer, id) = (claim.customer_id.as_str(), claim.id);
    let at = super::keep::now();
    let row = AssessmentRow {
        customer_id: claim.customer_id.clone(),
        claim_id: id,
        seq: claims::assessments(connection, customer, id)? + 1,
        policy_version_id: assessed.version_key,
        outcome: assessed.assessment.outcome.as_str().to_owned(),
        trace: JsonText::of(&assessed.assessment)?,
        assessed_at: at,
    };
    claims::insert_assessment(connection, &row)?;
    let (mut state, mut version) = (before, claim.version);
    for action in moves(before, &assessed.assessment) {
        state = state.after(action)?;
        version += 1;
        if !claims::advance(connection, customer, id, action, state, at)? {
            return Err(StoreError::Contention("a claim changed meanwhile".into()).into());
        }
    }
    if version == claim.version {
        version += 1;
        claims::touch(connection, customer, id, at)?;
    }
    if state == ClaimState::InReview {
        desk::put(connection, claim, desk::queue_of(&assessed.assessment), true, at)?;
    } else if assessed.assessment.outcome.is_final() {
        tasks::close(connection, customer, id)?;
    }
    let told = |state: ClaimState, version: i32, trace| serde_json::json!({ "state": state.as_str(), "version": version, "trace": trace });
    let detail = serde_json::json!({ "status": state.as_str(), "policy": assessed.assessment.policy,
                                     "version": assessed.assessment.version, "because": "evidence" });
    let entry = actor
        .entry("claim.assess", format!("claim {id}"), detail)
        .before(&told(before, claim.version, view.assessment.as_ref().map(|row| row.trace.hash())))
        .after(&told(state, version, Some(row.trace.hash())));
    audit::append(connection, &[entry])?;
    if assessed.assessment.outcome.is_final() {
        let notice = NoticeRow::queued(customer, Uuid::now_v7(), id, Event::Decided, at).on_occasion(version);
        notices::queue(connection, &[notice])?;
    }
    Ok(state.as_str().to_owned())
}

/// The moves that an assessment asks for: a claim that waited for its claimant goes back to its reader first.
fn moves(before: ClaimState, assessment: &StoredAssessment) -> Vec<ClaimMove> {
    let back = before == ClaimState::NeedsInformation && assessment.evidence.is_empty();
    let decided = assessment.outcome.is_final().then(|| move_of(assessment.outcome)).flatten();
    back.then_some(ClaimMove::Review).into_iter().chain(decided).collect()
}
