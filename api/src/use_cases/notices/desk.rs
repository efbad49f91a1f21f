//! Notices that a person has to see: those that could not be sent, and those that came back. Names nobody.

use chrono::{DateTime, Utc};
use redress_domain::id::ServiceId;
use redress_store::notices::{self, NoticeRow};
use redress_store::{audit, incidents};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;
use validator::Validate;

use crate::app::{Actor, App};
use crate::error::AppResult;
use crate::mail;

/// The most notices that are listed, queued again or reported at once.
pub const MAX_AT_ONCE: usize = 1_000;

/// A notice in trouble.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct TroubledNotice {
    /// Its id, which is the first part of its Message-ID.
    pub id: Uuid,
    /// The claim it speaks of.
    pub claim: Uuid,
    /// What it tells of.
    #[schema(example = "decided")]
    pub event: String,
    /// `dead`: it could not be sent; `bounced`: it went and came back.
    pub state: String,
    /// How often sending was tried.
    pub attempts: i32,
    /// Since when it waits.
    pub queued_at: DateTime<Utc>,
    /// When it came back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bounced_at: Option<DateTime<Utc>>,
    /// What the mail server said, without addresses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
}

impl From<NoticeRow> for TroubledNotice {
    fn from(row: NoticeRow) -> Self {
        Self {
            id: row.id,
            claim: row.claim_id,
            event: row.event,
            state: row.state,
            attempts: row.attempts,
            queued_at: row.queued_at,
            bounced_at: row.bounced_at,
            last_error: row.last_error,
        }
    }
}

/// The newest notices in trouble, of these services; of all when none are named.
pub fn troubled(app: &App, services: Option<&[ServiceId]>) -> AppResult<Vec<TroubledNotice>> {
    let limit = i64::try_from(MAX_AT_ONCE).unwrap_or(i64::MAX);
    let rows = app.store.with(|connection| -> AppResult<_> {
        let names: Option<Vec<&str>> = services.map(|services| services.iter().map(ServiceId::as_str).collect());
        let keys = names.map(|names| incidents::service_keys(connection, &names)).transpose()?;
        Ok(notices::troubled(connection, keys.as_deref(), limit)?)
    })?;
    Ok(rows.into_iter().map(TroubledNotice::from).collect())
}

/// Which notices are queued again.
#[derive(Debug, Clone, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RequeueOrder {
    /// Their ids; all that are dead when there are none.
    #[serde(default)]
    #[validate(length(max = 1000, message = "has more than 1000 ids"))]
    #[schema(max_items = 1000)]
    pub ids: Vec<Uuid>,
}

/// How many notices an order or a report changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct Changed {
    /// Notices that changed; the rest were as they should be already.
    pub changed: usize,
}

/// Queues notices again, with as many attempts as a new one.
pub fn requeue(app: &App, order: &RequeueOrder, actor: &Actor) -> AppResult<Changed> {
    app.store.transaction(|connection| {
        let rows = notices::requeue(connection, &order.ids, Utc::now())?;
        if !rows.is_empty() {
            let detail = serde_json::json!({ "notices": rows.len() });
            let entry = actor.entry("notice.requeue", "notices".into(), detail);
            let ids: Vec<Uuid> = rows.iter().map(|row| row.id).collect();
            audit::append(connection, &[entry.after(&ids)])?;
        }
        Ok(Changed { changed: rows.len() })
    })
}

/// Mail that came back, as the mail server or its provider reports it.
#[derive(Debug, Clone, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BounceReport {
    /// The bounces.
    #[validate(length(min = 1, max = 100, message = "has 1 to 100 bounces"), nested)]
    #[schema(min_items = 1, max_items = 100)]
    pub bounces: Vec<Bounce>,
}

/// One mail that came back.
#[derive(Debug, Clone, Serialize, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Bounce {
    /// The Message-ID of our mail, with or without brackets.
    #[validate(length(max = 300, message = "is longer than 300 characters"))]
    #[schema(max_length = 300, example = "<0190f3c4-1111-7000-8000-000000000000@example.com>")]
    pub message_id: String,
    /// Whether it is for good.
    pub kind: BounceKind,
    /// What was said.
    #[serde(default)]
    #[validate(length(max = 1000, message = "is longer than 1000 characters"))]
    #[schema(max_length = 1000)]
    pub reason: Option<String>,
}

/// What kind of bounce it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BounceKind {
    /// The address does not work.
    Permanent,
    /// It did not work this time; the mail server tries again by itself.
    Transient,
    /// Who got it complained.
    Complaint,
}

/// Records mail that came back. What is no mail of ours is passed over: a provider reports all that it sent.
pub fn bounced(app: &App, report: &BounceReport, actor: &Actor) -> AppResult<Changed> {
    let final_ones = report.bounces.iter().filter(|bounce| bounce.kind != BounceKind::Transient);
    let known: Vec<(Uuid, String)> =
        final_ones.filter_map(|bounce| Some((notice_of(&bounce.message_id)?, reason_of(bounce)))).collect();
    app.store.transaction(|connection| {
        let mut changed = Vec::new();
        for (id, reason) in &known {
            changed.extend(notices::mark_bounced(connection, *id, reason, Utc::now())?.then_some(*id));
        }
        if !changed.is_empty() {
            let detail = serde_json::json!({ "notices": changed.len() });
            let entry = actor.entry("notice.bounce", "notices".into(), detail);
            audit::append(connection, &[entry.after(&changed)])?;
        }
        Ok(Changed { changed: changed.len() })
    })
}

fn notice_of(message_id: &str) -> Option<Uuid> {
    let plain = message_id.trim().trim_start_matches('<');
    Uuid::parse_str(plain.split('@').next()?).ok()
}

fn reason_of(bounce: &Bounce) -> String {
    let kind = match bounce.kind {
        BounceKind::Permanent => "permanent",
        BounceKind::Transient => "transient",
        BounceKind::Complaint => "complaint",
    };
    let said = bounce.reason.as_deref().map(mail::without_addresses).unwrap_or_default();
    if said.is_empty() { kind.to_owned() } else { format!("{kind}: {said}") }
}
