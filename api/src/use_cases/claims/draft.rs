//! Drafts: begun, changed as often as the claimant likes, sent when they are whole.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use redress_domain::claim::ClaimMove;
use redress_domain::id::{PolicyId, ServiceId};
use redress_domain::notice::Event;
use redress_store::claims::{self, ClaimRow};
use redress_store::{Connection, StoreError, incidents};
use serde::Deserialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;
use uuid::Uuid;
use validator::Validate;

use super::case::Case;
use super::personal::personal_context;
use super::reassess::{Reading, read};
use super::{Contact, Personal, duplicates, open_personal, triage};
use crate::app::{Actor, App};
use crate::assess;
use crate::error::AppResult;
use crate::refusal::Refusal;
use crate::shapes::Slug;
use crate::use_cases::claimants::address_key;

/// What changes in a draft; what is left out stays.
#[derive(Debug, Clone, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DraftChange {
    /// The policy to claim under.
    #[serde(default)]
    #[schema(value_type = Option<Slug>)]
    pub policy: Option<PolicyId>,
    /// All that is claimed: what stood there before is replaced.
    #[serde(default)]
    #[schema(value_type = Option<BTreeMap<String, serde_json::Value>>)]
    pub facts: Option<BTreeMap<String, Box<RawValue>>>,
    /// What happened.
    #[serde(default)]
    #[validate(length(max = 4000, message = "is longer than 4000 characters"))]
    #[schema(max_length = 4000)]
    pub description: Option<String>,
    /// How to reach the claimant.
    #[serde(default)]
    #[validate(nested)]
    pub contact: Option<Contact>,
}

/// Changes a draft.
pub fn change(
    app: &App,
    connection: &mut Connection,
    id: Uuid,
    change: DraftChange,
    version: Option<i32>,
    actor: &Actor,
    at: DateTime<Utc>,
) -> AppResult<()> {
    let mut case = Case::lock(connection, id)?;
    case.expect(version)?;
    case.claim.state()?.after(ClaimMove::Submit).map_err(Refusal::Illegal)?;
    let before = case.seen();
    let mut personal = personal_of(app, connection, &case.claim)?;
    let facts = match &change.facts {
        Some(facts) => {
            let fault = |(pointer, detail): (String, String)| Refusal::Field { pointer, detail };
            assess::claim_facts(facts).map_err(fault)?.json
        }
        None => case.claim.facts.clone(),
    };
    personal.policy = change.policy.or(personal.policy);
    personal.description = change.description.unwrap_or(personal.description);
    personal.contact = change.contact.unwrap_or(personal.contact);
    let plain = serde_json::to_vec(&personal).map_err(StoreError::corrupt)?;
    let sealed = app.secrets.seal(&plain, &personal_context(&case.claim))?;
    // Who reads the mail of the new address finds the draft by it, and whoever reads that of the old one no longer does.
    let address = personal.contact.email.as_deref().map(|email| address_key(app, email));
    claims::redraft(connection, &case.claim, &facts, &sealed, address.as_deref())?;
    case.touch(connection, at)?;
    case.log(connection, actor, "claim.redraft", serde_json::json!({}), &before)
}

/// Sends a draft: from here on it is a claim like any other, with the same checks.
pub fn submit(
    app: &App,
    connection: &mut Connection,
    id: Uuid,
    version: Option<i32>,
    actor: &Actor,
    at: DateTime<Utc>,
) -> AppResult<()> {
    let mut case = Case::lock(connection, id)?;
    case.expect(version)?;
    let before = case.seen();
    let personal = personal_of(app, connection, &case.claim)?;
    case.step(connection, ClaimMove::Submit, at)?;
    let claim = &mut case.claim;
    let loss = duplicates::loss_of(app, claim.incident_id, claim.service_id, &claim.facts, &personal.description);
    if let Some(first) = claims::of_loss(connection, &claim.customer_id, loss)? {
        claims::mark_submitted(connection, &case.claim, None, at)?;
        case.step(connection, ClaimMove::Merge, at)?;
        claims::mark_merged(connection, &case.claim, first.id)?;
        return duplicates::merge(app, connection, &case.claim, first.id, &personal.description, actor, at);
    }
    claims::mark_submitted(connection, claim, Some(loss), at).map_err(|error| match error.constraint() {
        Some("claim_once") => {
            Refusal::Conflict("the same loss was claimed at this moment: send it again".into()).into()
        }
        _ => crate::error::AppError::from(error),
    })?;
    claim.submitted_at = Some(at);
    claim.loss = Some(loss);
    case.log(connection, actor, "claim.submit", serde_json::json!({}), &before)?;
    if personal.contact.email.is_some() {
        case.tell(connection, Event::Received, at)?;
    }
    let claim = case.claim;
    let incident = incidents::name_of(connection, claim.incident_id)?;
    let incident = redress_domain::id::IncidentId::parse(&incident).map_err(StoreError::corrupt)?;
    let found = incidents::find(connection, &incident)?;
    let service = ServiceId::parse(&found.service_name(claim.service_id)).map_err(StoreError::corrupt)?;
    let reading = Reading { incident: &found, service: &service, wanted: personal.policy.as_ref() };
    read(app, connection, &reading, &claim, actor, at)?
        .map_err(|(pointer, detail)| Refusal::Field { pointer, detail })?;
    triage::look_at(app, connection, claim.id, at)
}

/// What is sealed of a claim that is still its claimant's.
fn personal_of(app: &App, connection: &mut Connection, claim: &ClaimRow) -> AppResult<Personal> {
    match claims::sealed(connection, &claim.customer_id, claim.id)? {
        Some(sealed) => open_personal(app, claim, &sealed),
        None => Err(Refusal::Conflict("what this claim said was destroyed".into()).into()),
    }
}
