//! Assessing again what was filed before: a claim that waited for a policy.

use std::collections::BTreeMap;

use redress_domain::id::{CustomerId, ServiceId};
use redress_domain::notice::Event;
use redress_store::claims::{self, AssessmentRow, ClaimRow};
use redress_store::incidents::StoredIncident;
use redress_store::notices::{self, NoticeRow};
use redress_store::{Connection, StoreError, audit, holdings};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{now, state_of};
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
    let at = now();
    let facts = stated_facts(claim.id, &claim.facts)?;
    let customer = CustomerId::parse(&claim.customer_id).map_err(StoreError::corrupt)?;
    let assessed = match assess::claim(&assess::ClaimSubject {
        policies: &assess::policies_of_service(app, connection, incident.key, claim.service_id)?,
        wanted: None,
        incident: &incident.incident,
        service,
        customer: &customer,
        holdings: &holdings::of_customer(connection, incident.key, &claim.customer_id, claim.service_id)?,
        facts: &facts,
        evidence: &evidence::kinds(connection, &claim.customer_id, claim.id)?,
        submitted_at: claim.submitted_at.unwrap_or(claim.created_at),
    })? {
        Ok(assessed) => assessed,
        // It was filed before anybody could know what the policy would read: a person asks the claimant.
        Err((pointer, detail)) => assess::for_people(format!("{pointer}: {detail}")),
    };
    let Some(action) = move_of(assessed.assessment.outcome) else { return Ok(false) };
    let state = claim.state()?.after(action)?;
    let row = AssessmentRow {
        customer_id: claim.customer_id.clone(),
        claim_id: claim.id,
        seq: claims::assessments(connection, &claim.customer_id, claim.id)? + 1,
        policy_version_id: assessed.version_key,
        outcome: assessed.assessment.outcome.as_str().to_owned(),
        trace: serde_json::to_value(&assessed.assessment).map_err(StoreError::corrupt)?,
        assessed_at: at,
    };
    claims::insert_assessment(connection, &row)?;
    if !claims::advance(connection, &claim.customer_id, claim.id, action, state, at)? {
        return Err(StoreError::Contention("a claim changed meanwhile".into()).into());
    }
    let detail = serde_json::json!({ "status": state.as_str(), "policy": assessed.assessment.policy,
                                     "version": assessed.assessment.version });
    let entry = actor
        .entry("claim.assess", format!("claim {}", claim.id), detail)
        .before(&state_of(&claim.state, claim.version, None))
        .after(&state_of(state.as_str(), claim.version + 1, Some(&row)));
    audit::append(connection, &[entry])?;
    if assessed.assessment.outcome.is_final() {
        let notice = NoticeRow::queued(&claim.customer_id, Uuid::now_v7(), claim.id, Event::Decided, at)
            .on_occasion(claim.version + 1);
        notices::queue(connection, &[notice])?;
    }
    Ok(true)
}
