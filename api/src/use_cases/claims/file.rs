//! Filing a damage report: stored, assessed, audited and answered in one transaction, once per Idempotency-Key.

use chrono::{DateTime, Utc};
use redress_domain::claim::{ClaimMove, ClaimState};
use redress_domain::id::{ClaimId, CustomerId};
use redress_domain::notice::Event;
use redress_store::claims::{self, AssessmentRow, ClaimRow, ClaimView};
use redress_store::idempotency::{self, SavedAnswer};
use redress_store::notices::{self, NoticeRow};
use redress_store::{Connection, StoreError, audit, holdings, incidents, webhook_messages};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::aside::{self, Report};
use super::duplicates::loss_of;
use super::personal::personal_context;
use super::reference::new_reference;
use super::{ClaimAnswer, NewClaim, Personal, answer, desk, now, state_of};
use crate::app::{Actor, App};
use crate::assess::{self, ClaimOutcome};
use crate::error::{AppError, AppResult};
use crate::use_cases::claimants::address_key;
use crate::use_cases::policies::move_of;

/// What filing led to.
#[derive(Debug)]
pub enum Filed {
    /// An answer, new or the same as before.
    Answer {
        /// The body, byte for byte.
        body: Vec<u8>,
        /// Where the claim is.
        location: String,
        /// Whether it was given before.
        replayed: bool,
    },
    /// The key came with another request before.
    KeyReused,
    /// The first request with this key is under way.
    KeyInFlight,
    /// A field cannot be used: its JSON pointer and why.
    Field(String, String),
}

/// Files a claim once per (customer, key); `request` is the body as it came, byte for byte.
pub fn file(app: &App, new: &NewClaim, key: &str, request: &[u8], actor: &Actor) -> AppResult<Filed> {
    match try_file(app, new, key, request, actor) {
        // The same loss came under another key at the same moment: by now it is there to be merged into.
        Err(AppError::Store(error)) if error.constraint() == Some("claim_once") => {
            try_file(app, new, key, request, actor)
        }
        filed => filed,
    }
}

fn try_file(app: &App, new: &NewClaim, key: &str, request: &[u8], actor: &Actor) -> AppResult<Filed> {
    let request_hash = Sha256::digest(request).to_vec();
    app.store.transaction(|connection| {
        if !idempotency::try_lock(connection, lock_of(&new.customer, key))? {
            return Ok(Filed::KeyInFlight);
        }
        if let Some(saved) = idempotency::find(connection, new.customer.as_str(), key)? {
            if saved.request_hash != request_hash {
                return Ok(Filed::KeyReused);
            }
            let body = app.secrets.open(&saved.body, &answer_context(&saved.customer_id, key))?;
            return Ok(Filed::Answer { body, location: saved.location.unwrap_or_default(), replayed: true });
        }
        let at = now();
        let answer = match insert(app, connection, new, at, actor)? {
            Ok(answer) => answer,
            Err((pointer, detail)) => return Ok(Filed::Field(pointer, detail)),
        };
        let location = format!("/v1/claims/{}", answer.id);
        let body = serde_json::to_vec(&answer).map_err(StoreError::corrupt)?;
        idempotency::save(
            connection,
            &SavedAnswer {
                customer_id: new.customer.to_string(),
                key: key.to_owned(),
                request_hash,
                status: 201,
                location: Some(location.clone()),
                // The answer holds the claimant's token, so it is sealed like everything that opens a claim.
                body: app.secrets.seal(&body, &answer_context(new.customer.as_str(), key))?,
                created_at: at,
            },
        )?;
        Ok(Filed::Answer { body, location, replayed: false })
    })
}

fn answer_context(customer: &str, key: &str) -> String {
    format!("answer/{customer}/{key}")
}

fn lock_of(customer: &CustomerId, key: &str) -> i64 {
    let digest = Sha256::digest(format!("idempotency/{customer}/{key}"));
    let mut bytes = [0_u8; 8];
    bytes.copy_from_slice(&digest[..8]);
    i64::from_be_bytes(bytes)
}

/// A field's JSON pointer and what is wrong with it.
type FieldFault = (String, String);

fn insert(
    app: &App,
    connection: &mut Connection,
    new: &NewClaim,
    at: DateTime<Utc>,
    actor: &Actor,
) -> AppResult<Result<ClaimAnswer, FieldFault>> {
    let found = match incidents::find(connection, &new.incident) {
        Ok(found) => found,
        Err(StoreError::NotFound(what)) => return Ok(Err(("/incident".into(), format!("there is no {what}")))),
        Err(error) => return Err(error.into()),
    };
    let Ok(service_key) = found.service_key(&new.service) else {
        let detail = format!("service {} is not part of incident {}", new.service, new.incident);
        return Ok(Err(("/service".into(), detail)));
    };
    let facts = match assess::claim_facts(&new.facts) {
        Ok(facts) => facts,
        Err(fault) => return Ok(Err(fault)),
    };
    let loss = loss_of(app, found.key, service_key, &facts.json, &new.description);
    let report = Report { new, found: &found, service_key, facts: &facts.json, loss };
    if let Some(mut answer) = aside::keep(app, connection, &report, actor, at)? {
        let token = app.secrets.claimant_token(ClaimId(answer.id));
        answer.link = Some(format!("/claims/{}#{token}", answer.reference));
        answer.token = Some(token);
        return Ok(Ok(answer));
    }
    let held = holdings::of_customer(connection, found.key, new.customer.as_str(), service_key)?;
    let policies = assess::policies_of_service(app, connection, found.key, service_key)?;
    let assessed = match assess::claim(&assess::ClaimSubject {
        policies: &policies,
        wanted: new.policy.as_ref(),
        incident: &found.incident,
        service: &new.service,
        customer: &new.customer,
        holdings: &held,
        facts: &facts,
        evidence: &[],
        submitted_at: at,
    })? {
        Ok(assessed) => assessed,
        Err(fault) => return Ok(Err(fault)),
    };
    let id = Uuid::now_v7();
    let state = state_after(assessed.assessment.outcome)?;
    let claim = ClaimRow {
        customer_id: new.customer.to_string(),
        id,
        reference: new_reference(),
        incident_id: found.key,
        service_id: service_key,
        state: state.as_str().to_owned(),
        facts: facts.json,
        version: 1,
        created_at: at,
        submitted_at: Some(at),
        updated_at: at,
        kind: new.kind.as_str().to_owned(),
        channel: new.channel.as_str().to_owned(),
        loss: Some(loss),
        duplicate_of: None,
        credited_at: None,
    };
    let plain = serde_json::to_vec(&Personal::of(new)).map_err(StoreError::corrupt)?;
    let address = new.contact.email.as_deref().map(|email| address_key(app, email));
    let sealed = app.secrets.seal(&plain, &personal_context(&claim))?;
    claims::insert(connection, &claim, &sealed, address.as_deref())?;
    let row = AssessmentRow {
        customer_id: claim.customer_id.clone(),
        claim_id: id,
        seq: 1,
        policy_version_id: assessed.version_key,
        outcome: assessed.assessment.outcome.as_str().to_owned(),
        trace: serde_json::to_value(&assessed.assessment).map_err(StoreError::corrupt)?,
        assessed_at: at,
    };
    claims::insert_assessment(connection, &row)?;
    if state == ClaimState::InReview {
        desk::put(connection, &claim, desk::queue_of(&assessed.assessment), false, at)?;
    }
    let entry = actor.entry(
        "claim.file",
        format!("claim {id}"),
        serde_json::json!({ "status": claim.state, "policy": assessed.assessment.policy,
                            "version": assessed.assessment.version, "rule": assessed.assessment.rule }),
    );
    audit::append(connection, &[entry.after(&state_of(&claim.state, claim.version, Some(&row)))])?;
    let mut events = vec![Event::Received];
    if assessed.assessment.outcome.is_final() {
        events.push(Event::Decided);
    }
    let rows: Vec<NoticeRow> = events
        .into_iter()
        .map(|event| NoticeRow::queued(&claim.customer_id, Uuid::now_v7(), id, event, at))
        .collect();
    // Without an address the claimant hears nothing; others who want to still do.
    match new.contact.email {
        Some(_) => notices::queue(connection, &rows)?,
        None => webhook_messages::queue(connection, &rows)?,
    }
    let view = ClaimView {
        claim,
        incident: new.incident.to_string(),
        service: new.service.to_string(),
        assessment: Some(row),
    };
    let mut answer = answer(&view)?;
    let token = app.secrets.claimant_token(ClaimId(id));
    // Behind the #, where browsers keep it to themselves: no server and no log on the way sees it.
    answer.link = Some(format!("/claims/{}#{token}", answer.reference));
    answer.token = Some(token);
    Ok(Ok(answer))
}

/// The state of a claim that was just sent and assessed.
fn state_after(outcome: ClaimOutcome) -> AppResult<ClaimState> {
    let submitted = ClaimState::Draft.after(ClaimMove::Submit)?;
    Ok(submitted.after(move_of(outcome).unwrap_or(ClaimMove::AwaitPolicy))?)
}
