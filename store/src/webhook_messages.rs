//! The outbox of what happens to claims: a message a webhook that wants to hear of it, queued in the transaction of what it
//! tells of, with ids only.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Integer, Text, Timestamptz, Uuid as SqlUuid};
use uuid::Uuid;

use crate::connection::Connection;
use crate::error::StoreResult;
use crate::notices::NoticeRow;
use crate::prepared::prepared;
use crate::schema::webhook_message;

/// A message as a row.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = webhook_message)]
pub struct MessageRow {
    /// Whose claim.
    pub customer_id: String,
    /// Its id, which is the webhook-id of every attempt.
    pub id: Uuid,
    /// Whom it tells.
    pub webhook_id: Uuid,
    /// The claim.
    pub claim_id: Uuid,
    /// What happened to it.
    pub event: String,
    /// Which time this is.
    pub occasion: i32,
    /// Where the claim stood then.
    pub claim_state: String,
    /// `queued`, `sent`, `dead` or `dropped`.
    pub state: String,
    /// How often it was sent.
    pub attempts: i32,
    /// Not before.
    pub next_at: DateTime<Utc>,
    /// When it happened.
    pub queued_at: DateTime<Utc>,
    /// When it went.
    pub sent_at: Option<DateTime<Utc>>,
    /// Why it did not.
    pub last_error: Option<String>,
}

/// Queues what these notices tell claimants for the webhooks that want to hear of it too, whether or not the claimant does.
/// Call after the claims stand where the events left them.
pub fn queue(connection: &mut Connection, rows: &[NoticeRow]) -> StoreResult<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut insert = InsertMessages::with_capacity(rows.len());
    for row in rows {
        insert.push(&row.customer_id, row.claim_id, &row.event, row.occasion, row.queued_at);
    }
    insert.execute(connection)?;
    Ok(())
}

prepared! {
    InsertMessages {
        customer_id: &'a str => Text,
        claim_id: Uuid => SqlUuid,
        event: &'a str => Text,
        occasion: i32 => Integer,
        at: DateTime<Utc> => Timestamptz,
    },
    "INSERT INTO webhook_message (customer_id, id, webhook_id, claim_id, event, occasion, claim_state, state, next_at, queued_at)
     SELECT claim.customer_id, gen_random_uuid(), webhook.id, claim.id, told.event, told.occasion, claim.state, 'queued',
            told.at, told.at
     FROM",
    "AS told (customer_id, claim_id, event, occasion, at)
     JOIN webhook ON webhook.purpose = 'events' AND webhook.disabled_at IS NULL AND webhook.events ? told.event
     JOIN claim ON claim.customer_id = told.customer_id COLLATE \"C\" AND claim.id = told.claim_id
          AND (webhook.service_id IS NULL OR webhook.service_id = claim.service_id)
     ON CONFLICT DO NOTHING"
}

/// Whether a message to a webhook is due.
pub fn has_due(connection: &mut Connection, webhook: Uuid, now: DateTime<Utc>) -> StoreResult<bool> {
    let due = webhook_message::table
        .filter(webhook_message::webhook_id.eq(webhook).and(webhook_message::state.eq("queued")))
        .filter(webhook_message::next_at.le(now));
    Ok(diesel::select(diesel::dsl::exists(due)).get_result(connection)?)
}

/// A message with what of its claim is told.
#[derive(Debug, Clone)]
pub struct Leased {
    /// The message, this attempt counted.
    pub row: MessageRow,
    /// The claim's reference.
    pub reference: String,
    /// The incident.
    pub incident: String,
    /// The service.
    pub service: String,
}

/// Leases the next message to a webhook that is due, until `lease_until`: a worker that dies gives it back by itself.
pub fn lease(
    connection: &mut Connection,
    webhook: Uuid,
    now: DateTime<Utc>,
    lease_until: DateTime<Utc>,
) -> StoreResult<Option<Leased>> {
    use crate::schema::{claim, incident, service};
    let due: Option<MessageRow> = webhook_message::table
        .filter(webhook_message::webhook_id.eq(webhook).and(webhook_message::state.eq("queued")))
        .filter(webhook_message::next_at.le(now))
        .order((webhook_message::next_at, webhook_message::id))
        .select(MessageRow::as_select())
        .for_update()
        .skip_locked()
        .first(connection)
        .optional()?;
    let Some(mut row) = due else { return Ok(None) };
    row.attempts += 1;
    diesel::update(webhook_message::table.find((&row.customer_id, row.id)))
        .set((webhook_message::attempts.eq(row.attempts), webhook_message::next_at.eq(lease_until)))
        .execute(connection)?;
    let (reference, incident, service): (String, String, String) = claim::table
        .inner_join(incident::table.on(incident::id.eq(claim::incident_id)))
        .inner_join(service::table.on(service::id.eq(claim::service_id)))
        .filter(claim::customer_id.eq(&row.customer_id).and(claim::id.eq(row.claim_id)))
        .select((claim::reference, incident::name, service::name))
        .first(connection)?;
    Ok(Some(Leased { row, reference, incident, service }))
}

/// Records that a message went.
pub fn mark_sent(connection: &mut Connection, row: &MessageRow, at: DateTime<Utc>) -> StoreResult<()> {
    diesel::update(webhook_message::table.find((&row.customer_id, row.id)))
        .set((
            webhook_message::state.eq("sent"),
            webhook_message::sent_at.eq(at),
            webhook_message::last_error.eq(None::<String>),
        ))
        .execute(connection)?;
    Ok(())
}

/// Records that a message did not go, unless it was leased anew meanwhile: sent again at `retry_at`, or dead without.
pub fn mark_failed(
    connection: &mut Connection,
    row: &MessageRow,
    error: &str,
    retry_at: Option<DateTime<Utc>>,
) -> StoreResult<()> {
    let state = if retry_at.is_some() { "queued" } else { "dead" };
    diesel::update(
        webhook_message::table
            .find((&row.customer_id, row.id))
            .filter(webhook_message::state.eq("queued").and(webhook_message::attempts.eq(row.attempts))),
    )
    .set((
        webhook_message::state.eq(state),
        webhook_message::last_error.eq(error),
        webhook_message::next_at.eq(retry_at.unwrap_or(row.next_at)),
    ))
    .execute(connection)?;
    Ok(())
}

/// Ends what waits for a webhook: `dead`, where a person has to see it, or `dropped`, where nobody wants it any more.
pub fn end_queued(connection: &mut Connection, webhook: Uuid, state: &str, why: &str) -> StoreResult<usize> {
    Ok(diesel::update(
        webhook_message::table.filter(webhook_message::webhook_id.eq(webhook).and(webhook_message::state.eq("queued"))),
    )
    .set((webhook_message::state.eq(state), webhook_message::last_error.eq(why)))
    .execute(connection)?)
}

/// Ends what was queued for webhooks that were switched off at the same moment.
pub fn drop_unwanted(connection: &mut Connection) -> StoreResult<usize> {
    Ok(diesel::sql_query(
        "UPDATE webhook_message SET state = 'dropped', last_error = 'the webhook was removed' FROM webhook
         WHERE webhook.id = webhook_message.webhook_id AND webhook.disabled_at IS NOT NULL
           AND webhook_message.state = 'queued'",
    )
    .execute(connection)?)
}

/// The newest messages to a webhook in a state.
pub fn list(connection: &mut Connection, webhook: Uuid, state: &str, limit: i64) -> StoreResult<Vec<MessageRow>> {
    Ok(webhook_message::table
        .filter(webhook_message::webhook_id.eq(webhook).and(webhook_message::state.eq(state)))
        .order((webhook_message::queued_at.desc(), webhook_message::id))
        .limit(limit)
        .select(MessageRow::as_select())
        .load(connection)?)
}

/// Queues messages to a webhook again, under their ids: those named, sent ones too, or all that are dead when none is.
pub fn redeliver(connection: &mut Connection, webhook: Uuid, ids: &[Uuid], at: DateTime<Utc>) -> StoreResult<usize> {
    let mut update =
        diesel::update(webhook_message::table).filter(webhook_message::webhook_id.eq(webhook)).into_boxed();
    update = match ids {
        [] => update.filter(webhook_message::state.eq("dead")),
        ids => update.filter(webhook_message::id.eq_any(ids).and(webhook_message::state.eq_any(["dead", "sent"]))),
    };
    Ok(update
        .set((
            webhook_message::state.eq("queued"),
            webhook_message::attempts.eq(0),
            webhook_message::next_at.eq(at),
            webhook_message::sent_at.eq(None::<DateTime<Utc>>),
        ))
        .execute(connection)?)
}
