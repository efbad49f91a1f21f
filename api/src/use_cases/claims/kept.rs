//! What is kept of a report, row by row: made without a question to the database, written with all others of its batch.

use chrono::{DateTime, Utc};
use redress_domain::claim::ClaimState;
use redress_domain::notice::Event;
use redress_store::audit::AuditEntry;
use redress_store::claims::{AssessmentRow, ClaimRow, PersonalRow};
use redress_store::filing::{self, Filing};
use redress_store::idempotency::SavedAnswer;
use redress_store::notices::NoticeRow;
use redress_store::tasks::NewTask;
use redress_store::{Connection, StoreError, webhook_messages};
use uuid::Uuid;

use super::file::Report;
use super::personal::personal_context;
use super::reference::new_reference;
use super::view::answer_of;
use super::{ClaimAnswer, Personal, StoredAssessment, state_of};
use crate::app::App;
use crate::error::AppResult;
use crate::use_cases::claimants::address_key;

/// A report as it is kept.
pub(super) struct Kept {
    pub(super) claim: ClaimRow,
    pub(super) personal: PersonalRow,
    pub(super) assessment: Option<AssessmentRow>,
    /// The queue of people it comes to.
    pub(super) queue: Option<String>,
    pub(super) entry: Option<AuditEntry>,
    pub(super) notices: Vec<NoticeRow>,
    /// What happened that its claimant does not hear of, having no address; others who want to still do.
    unheard: Vec<NoticeRow>,
    /// What its policy said, for the answer.
    pub(super) said: Option<StoredAssessment>,
}

impl Kept {
    /// A report as a claim that stands so from now on, and what is sealed of it.
    pub(super) fn new(app: &App, report: &Report<'_>, state: ClaimState, at: DateTime<Utc>) -> AppResult<Self> {
        let new = &report.order.new;
        let claim = ClaimRow {
            customer_id: new.customer.to_string(),
            id: Uuid::now_v7(),
            reference: new_reference(),
            incident_id: report.ground.found.key,
            service_id: report.service_key,
            state: state.as_str().to_owned(),
            facts: report.facts.json.clone(),
            version: 1,
            created_at: at,
            submitted_at: (state != ClaimState::Draft).then_some(at),
            updated_at: at,
            kind: new.kind.as_str().to_owned(),
            channel: new.channel.as_str().to_owned(),
            loss: None,
            duplicate_of: None,
            credited_at: None,
        };
        let plain = serde_json::to_vec(&Personal::of(new)).map_err(StoreError::corrupt)?;
        let personal = PersonalRow {
            customer_id: claim.customer_id.clone(),
            claim_id: claim.id,
            sealed: app.secrets.seal(&plain, &personal_context(&claim))?,
            address: new.contact.email.as_deref().map(|email| address_key(app, email)),
        };
        Ok(Self {
            claim,
            personal,
            assessment: None,
            queue: None,
            entry: None,
            notices: Vec::new(),
            unheard: Vec::new(),
            said: None,
        })
    }

    /// What the log keeps of it.
    pub(super) fn log(&mut self, report: &Report<'_>, action: &str, detail: serde_json::Value) {
        let entry = report.order.actor.entry(action, format!("claim {}", self.claim.id), detail);
        let state = state_of(&self.claim.state, self.claim.version, self.assessment.as_ref());
        self.entry = Some(entry.after(&state));
    }

    /// Tells its claimant, where he can be told.
    pub(super) fn tell(&mut self, event: Event) {
        let (customer, at) = (&self.claim.customer_id, self.claim.created_at);
        let notice = NoticeRow::queued(customer, Uuid::now_v7(), self.claim.id, event, at);
        match self.personal.address {
            Some(_) => self.notices.push(notice),
            None => self.unheard.push(notice),
        }
    }

    /// How it is answered.
    pub(super) fn answer(&mut self, report: &Report<'_>) -> AppResult<ClaimAnswer> {
        let new = &report.order.new;
        answer_of(&self.claim, (new.incident.as_str(), new.service.as_str()), self.said.take(), self.claim.created_at)
    }
}

/// Writes all that is kept of a batch, and its answers, in one statement; webhooks are told by another where there are listeners.
pub(super) fn write(
    connection: &mut Connection,
    all: Vec<Kept>,
    answers: Vec<SavedAnswer>,
    has_listeners: bool,
) -> AppResult<()> {
    let mut filing = Filing { answers, ..Filing::default() };
    let (mut unheard, mut queues) = (Vec::new(), Vec::new());
    for kept in all {
        filing.claims.push(kept.claim);
        filing.personal.push(kept.personal);
        filing.assessments.extend(kept.assessment);
        filing.entries.extend(kept.entry);
        filing.notices.extend(kept.notices);
        unheard.extend(kept.unheard);
        queues.push(kept.queue);
    }
    let tasks: Vec<NewTask<'_>> = filing
        .claims
        .iter()
        .zip(&queues)
        .filter_map(|(claim, queue)| {
            Some(NewTask {
                customer: &claim.customer_id,
                claim: claim.id,
                service_key: claim.service_id,
                queue: queue.as_deref()?,
                at: claim.created_at,
            })
        })
        .collect();
    filing::write(connection, &filing, &tasks)?;
    if has_listeners {
        filing.notices.append(&mut unheard);
        webhook_messages::queue(connection, &filing.notices)?;
    }
    Ok(())
}
