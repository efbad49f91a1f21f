//! Assessing again what was filed before: a claim that waited for a policy.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use redress_domain::claim::{ClaimMove, ClaimState};
use redress_domain::id::{CustomerId, PolicyId, ServiceId};
use redress_domain::notice::Event;
use redress_store::claims::{self, AssessmentRow, ClaimRow};
use redress_store::incidents::StoredIncident;
use redress_store::notices::{self, NoticeRow};
use redress_store::{Connection, JsonText, StoreError, audit, holdings};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{desk, now, state_of};
use crate::app::{Actor, App};
use crate::assess::{self, ClaimFacts};
use crate::error::AppResult;
use crate::use_cases::evidence;
use crate::use_cases::policies::move_of;

/// What a stored claim states, as policies read it.
pub fn stated_facts(claim: Uuid, facts: &serde_json::Value) -> AppResult<ClaimFacts> {
    let stated: BTreeMap<String, Box<RawValue>> =
        serde_json::from_str(&facts.to_string()).map_err(StoreError::corrupt)?;
    assess::claim_facts(&stated)
        .map_err(|(pointer, detail)| StoreError::corrupt(format!("claim {claim}{pointer}: {detail}")).into())
}

/// Assesses a claim that waited for a policy; false when there is still none.
pub(in crate::use_cases) fn reassess(
    app: &App,
    connection: &mut Connection,
    incident: &StoredIncident,
    service: &ServiceId,
    claim: &ClaimRow,
    actor: &Actor,
) -> AppResult<bool> {
    let reading = Reading { incident, service, wanted: None };
    let at = now();
    match read(app, connection, &reading, claim, actor, at)? {
        Ok(moved) => Ok(moved),
        // It was filed before anybody could know what the policy would read: a person asks the claimant.
        Err((pointer, detail)) => {
            let assessed = assess::for_people(format!("{pointer}: {detail}"));
            record(connection, claim, &assessed, actor, at)
        }
    }
}

/// Where a claim is read, and under which policy its claimant wants it to be.
pub(super) struct Reading<'a> {
    pub(super) incident: &'a StoredIncident,
    pub(super) service: &'a ServiceId,
    pub(super) wanted: Option<&'a PolicyId>,
}

/// Assesses a stored claim and moves it accordingly; false when no policy speaks of it yet. A fault is a JSON pointer
/// and what is wrong there.
pub(super) fn read(
    app: &App,
    connection: &mut Connection,
    reading: &Reading<'_>,
    claim: &ClaimRow,
    actor: &Actor,
    at: DateTime<Utc>,
) -> AppResult<Result<bool, (String, String)>> {
    let facts = stated_facts(claim.id, &claim.facts)?;
    let customer = CustomerId::parse(&claim.customer_id).map_err(StoreError::corrupt)?;
    let assessed = assess::claim(&assess::ClaimSubject {
        policies: &assess::policies_of_service(app, connection, reading.incident.key, claim.service_id)?,
        wanted: reading.wanted,
        incident: &reading.incident.incident,
        service: reading.service,
        customer: &customer,
        holdings: &holdings::of_customer(connection, reading.incident.key, &claim.customer_id, claim.service_id)?,
        facts: &facts,
        evidence: &evidence::kinds(connection, &claim.customer_id, claim.id)?,
        submitted_at: claim.submitted_at.unwrap_or(claim.created_at),
    })?;
    match assessed {
        Ok(assessed) => record(connection, claim, &assessed, actor, at).map(Ok),
        Err(fault) => Ok(Err(fault)),
    }
}

/// Keeps an assessment and moves the claim where it leads; false when it leads nowhere.
fn record(
    connection: &mut Connection,
    claim: &ClaimRow,
    assessed: &assess::Assessed,
    actor: &Actor,
    at: DateTime<Utc>,
) -> AppResult<bool> {
    let from = claim.state()?;
    let action = match move_of(assessed.assessment.outcome) {
        Some(action) => action,
        None if from == ClaimState::Submitted => ClaimMove::AwaitPolicy,
        None => return Ok(false),
    };
    let state = from.after(action)?;
    let row = AssessmentRow {
        customer_id: claim.customer_id.clone(),
        claim_id: claim.id,
        seq: claims::assessments(connection, &claim.customer_id, claim.id)? + 1,
        policy_version_id: assessed.version_key,
        outcome: assessed.assessment.outcome.as_str().to_owned(),
        trace: JsonText::of(&assessed.assessment)?,
        assessed_at: at,
    };
    claims::insert_assessment(connection, &row)?;
    if !claims::advance(connection, &claim.customer_id, claim.id, action, state, at)? {
        return Err(StoreError::Contention("a claim changed meanwhile".into()).into());
    }
    if state == ClaimState::InReview {
        desk::put(connection, claim, desk::queue_of(&assessed.assessment), true, at)?;
    }
    let detail = serde_json::json!({ "status": state.as_str(), "policy": assessed.assessment.policy,
                                     "version": assessed.assessment.version });
    let entry = actor
        .entry("claim.assess", format!("claim {}", claim.id), detail)
        .before(&state_of(&claim.state, claim.version, None))
        .after(&state_of(state.as_str(), claim.version + 1, Some(&row)));
    audit::append(connection, &[entry])?;
    if assessed.assessment.outcome.is_final() {
        let notice = NoticeRow::queued(&claim.customer_id, Uuid::now_v7(), claim.id, Event::Decided, at);
        notices::queue(connection, &[notice])?;
    }
    Ok(true)
}
