//! Telling others what happened to claims: one pass leases messages that are due, commits, calls, and records. A message
//! that was sent and not answered is sent again under the same id with the same bytes.

use std::sync::Mutex;

use chrono::{DateTime, Duration, Utc};
use redress_domain::log::documents::spell;
use redress_store::failpoint::{CallPoint, reach_call};
use redress_store::webhook_messages::{self as messages, Leased, MessageRow};
use redress_store::webhooks::{self, EVENTS, WebhookRow};
use redress_store::{Connection, StoreError, audit};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{call_each, note_failed};
use crate::app::{Actor, App};
use crate::error::AppResult;
use crate::outgoing::{Failure, Outgoing, Target};

/// How long a worker may take for a message before another takes it over.
const LEASE: Duration = Duration::minutes(10);
/// The states that a list can be asked for.
pub const STATES: [&str; 4] = ["queued", "sent", "dead", "dropped"];
/// The most messages that are listed.
pub const MAX_LISTED: i64 = 500;

/// What a pass did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Pass {
    /// Messages that went.
    pub sent: u64,
    /// Messages that are sent again.
    pub postponed: u64,
    /// Messages that a person has to see.
    pub dead: u64,
}

/// What is sent.
#[derive(Serialize)]
struct Document<'a> {
    r#type: String,
    timestamp: String,
    data: Data<'a>,
}

/// Ids, names and a state: whoever wants more asks for it, and has to have the right.
#[derive(Serialize)]
struct Data<'a> {
    claim: Uuid,
    reference: &'a str,
    incident: &'a str,
    service: &'a str,
    status: &'a str,
}

/// Sends the messages that are due until there is none or `stop` says so. A webhook that fails is left alone until its time.
pub fn send_due(app: &App, outgoing: &Outgoing, stop: &(dyn Fn() -> bool + Sync)) -> AppResult<Pass> {
    app.store.with(messages::drop_unwanted)?;
    let due = app.store.with(|connection| {
        let now = Utc::now();
        let mut due = Vec::new();
        for webhook in webhooks::callable(connection, EVENTS, now)? {
            if messages::has_due(connection, webhook.id, now)? {
                due.push(webhook);
            }
        }
        Ok::<_, StoreError>(due)
    })?;
    let pass = Mutex::new(Pass::default());
    call_each(due, |webhook| {
        let target = Target::open(&app.secrets, webhook, Utc::now())?;
        while !stop() {
            let now = Utc::now();
            let leased =
                app.store.transaction(|connection| messages::lease(connection, webhook.id, now, now + LEASE))?;
            let Some(leased) = leased else { break };
            reach_call(CallPoint::Leased);
            let answer = outgoing.post(&target, leased.row.id, &body(&leased)?);
            reach_call(CallPoint::Answered);
            let (done, went) = record(app, webhook, &leased, answer.err())?;
            if let Ok(mut pass) = pass.lock() {
                pass.sent += done.sent;
                pass.postponed += done.postponed;
                pass.dead += done.dead;
            }
            if !went {
                break;
            }
        }
        Ok(())
    })?;
    Ok(pass.into_inner().unwrap_or_default())
}

fn body(leased: &Leased) -> AppResult<Vec<u8>> {
    let document = Document {
        r#type: format!("claim.{}", leased.row.event),
        timestamp: spell(leased.row.queued_at),
        data: Data {
            claim: leased.row.claim_id,
            reference: &leased.reference,
            incident: &leased.incident,
            service: &leased.service,
            status: &leased.row.claim_state,
        },
    };
    Ok(serde_json::to_vec(&document).map_err(StoreError::corrupt)?)
}

/// Records what came of a call; says whether the webhook may be called again at once.
fn record(app: &App, webhook: &WebhookRow, leased: &Leased, failure: Option<Failure>) -> AppResult<(Pass, bool)> {
    let now = Utc::now();
    let Some(failure) = failure else {
        app.store.transaction(|connection| {
            messages::mark_sent(connection, &leased.row, now)?;
            webhooks::note_success(connection, webhook.id)?;
            reach_call(CallPoint::Recording);
            Ok::<_, StoreError>(())
        })?;
        reach_call(CallPoint::Recorded);
        return Ok((Pass { sent: 1, ..Pass::default() }, true));
    };
    let attempts = leased.row.attempts;
    let pass = app.store.transaction(|connection| {
        let verdict = note_failed(connection, webhook, &failure, attempts, now)?;
        messages::mark_failed(connection, &leased.row, &failure.why, verdict.again)?;
        let mut pass = Pass::default();
        if verdict.again.is_some() {
            pass.postponed = 1
        } else {
            pass.dead = 1
        }
        if verdict.given_up {
            pass.dead += messages::end_queued(connection, webhook.id, "dead", &failure.why)? as u64;
        }
        Ok::<_, StoreError>(pass)
    })?;
    tracing::warn!(message = %leased.row.id, attempts, why = failure.why, dead = pass.dead, "a webhook was not told");
    Ok((pass, false))
}

/// A message to a webhook.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WebhookMessage)]
pub struct MessageView {
    /// Its id, which is the `webhook-id` of every attempt.
    pub id: Uuid,
    /// The claim it speaks of.
    pub claim: Uuid,
    /// What it tells of.
    #[schema(example = "claim.decided")]
    pub event: String,
    /// `queued`, `sent`, `dead`: it did not go and somebody has to look, or `dropped`: the webhook was removed before it went.
    pub state: String,
    /// How often it was sent.
    pub attempts: i32,
    /// When it happened.
    pub queued_at: DateTime<Utc>,
    /// When it went.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sent_at: Option<DateTime<Utc>>,
    /// Why it did not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
}

impl From<MessageRow> for MessageView {
    fn from(row: MessageRow) -> Self {
        Self {
            id: row.id,
            claim: row.claim_id,
            event: format!("claim.{}", row.event),
            state: row.state,
            attempts: row.attempts,
            queued_at: row.queued_at,
            sent_at: row.sent_at,
            last_error: row.last_error,
        }
    }
}

/// The newest messages to a webhook in a state.
pub fn list(app: &App, webhook: Uuid, state: &str) -> AppResult<Vec<MessageView>> {
    app.store.with(|connection| {
        webhooks::find(connection, webhook)?;
        Ok(messages::list(connection, webhook, state, MAX_LISTED)?.into_iter().map(MessageView::from).collect())
    })
}

/// Sends messages to a webhook again: those named, or all that are dead when none is; returns how many.
pub fn redeliver(connection: &mut Connection, webhook: Uuid, ids: &[Uuid], actor: &Actor) -> AppResult<usize> {
    webhooks::lock(connection, webhook)?;
    let again = messages::redeliver(connection, webhook, ids, Utc::now())?;
    webhooks::note_success(connection, webhook)?;
    if again > 0 {
        let detail = serde_json::json!({ "messages": again });
        let entry = actor.entry("webhook.redeliver", format!("webhook {webhook}"), detail);
        audit::append(connection, &[entry])?;
    }
    Ok(again)
}
