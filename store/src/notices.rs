//! The outbox: messages to customers, queued in the transaction of what they tell of.

use chrono::{DateTime, Utc};
use diesel::dsl::exists;
use diesel::prelude::*;
use diesel::sql_types::{Integer, Text, Timestamptz, Uuid as SqlUuid};
use redress_domain::notice::Event;
use uuid::Uuid;

use crate::connection::{Connection, ROWS_PER_STATEMENT};
use crate::error::{StoreError, StoreResult};
use crate::prepared::prepared;
use crate::schema::{claim, notice};

/// A notice as a row. It carries ids only; the words and the address are found when it is sent.
#[derive(Debug, Clone, Queryable, Selectable, Insertable)]
#[diesel(table_name = notice, treat_none_as_default_value = false)]
pub struct NoticeRow {
    /// To whom.
    pub customer_id: String,
    /// Its id, also in the Message-ID, so that a retry is the same message.
    pub id: Uuid,
    /// The claim it speaks of.
    pub claim_id: Uuid,
    /// What it tells of.
    pub event: String,
    /// `queued`, `sent`, `dead`, `bounced` or `unwanted`.
    pub state: String,
    /// How often sending was tried.
    pub attempts: i32,
    /// Not before.
    pub next_at: DateTime<Utc>,
    /// Since when it waits.
    pub queued_at: DateTime<Utc>,
    /// When it went.
    pub sent_at: Option<DateTime<Utc>>,
    /// What the mail server said last.
    pub last_error: Option<String>,
    /// Which time this is: 0 for what happens once, else the claim's version or a count.
    pub occasion: i32,
    /// When it came back.
    pub bounced_at: Option<DateTime<Utc>>,
}

impl NoticeRow {
    /// A notice that waits to be sent.
    #[must_use]
    pub fn queued(customer: &str, id: Uuid, claim: Uuid, event: Event, at: DateTime<Utc>) -> Self {
        Self {
            customer_id: customer.to_owned(),
            id,
            claim_id: claim,
            event: event.as_str().to_owned(),
            state: "queued".to_owned(),
            attempts: 0,
            next_at: at,
            queued_at: at,
            sent_at: None,
            last_error: None,
            occasion: 0,
            bounced_at: None,
        }
    }

    /// The same for what can happen again: two with the same occasion are one.
    #[must_use]
    pub fn on_occasion(self, occasion: i32) -> Self {
        Self { occasion, ..self }
    }

    /// What makes it one: whose it is, of which claim, what it tells of, and which time.
    fn key(&self) -> (&str, Uuid, &str, i32) {
        (&self.customer_id, self.claim_id, &self.event, self.occasion)
    }

    /// What it tells of, as the domain says it.
    pub fn event(&self) -> StoreResult<Event> {
        self.event.parse().map_err(StoreError::corrupt)
    }
}

/// Queues notices, and messages to the webhooks that want to hear of the same; what is queued already for the same claim,
/// event and occasion is left alone.
pub fn queue(connection: &mut Connection, rows: &[NoticeRow]) -> StoreResult<()> {
    crate::webhook_messages::queue(connection, rows)?;
    for part in rows.chunks(ROWS_PER_STATEMENT) {
        diesel::insert_into(notice::table).values(part).on_conflict_do_nothing().execute(connection)?;
    }
    Ok(())
}

/// What queues notices of claims that are made in the same transaction: none can be queued already. Webhooks are told by
/// [`crate::webhook_messages::queue`].
pub(crate) fn insertion(rows: &[NoticeRow]) -> InsertNotices<'_> {
    let mut insert = InsertNotices::with_capacity(rows.len());
    for row in rows {
        insert.push(
            &row.customer_id,
            row.id,
            row.claim_id,
            &row.event,
            &row.state,
            row.attempts,
            row.next_at,
            row.queued_at,
            row.occasion,
        );
    }
    insert
}

prepared! {
    pub(crate) InsertNotices {
        customer_id: &'a str => Text,
        id: Uuid => SqlUuid,
        claim_id: Uuid => SqlUuid,
        event: &'a str => Text,
        state: &'a str => Text,
        attempts: i32 => Integer,
        next_at: DateTime<Utc> => Timestamptz,
        queued_at: DateTime<Utc> => Timestamptz,
        occasion: i32 => Integer,
    } into "notice"
}

/// Leases up to `limit` notices that are due until `lease_until`: another worker does not see them before then,
/// and a worker that dies gives them back by itself. Each lease counts as an attempt.
pub fn lease(
    connection: &mut Connection,
    now: DateTime<Utc>,
    lease_until: DateTime<Utc>,
    limit: i64,
) -> StoreResult<Vec<NoticeRow>> {
    let due: Vec<NoticeRow> = notice::table
        .filter(notice::state.eq("queued").and(notice::next_at.le(now)))
        .order(notice::next_at)
        .limit(limit)
        .select(NoticeRow::as_select())
        .for_update()
        .skip_locked()
        .load(connection)?;
    let mut lease = LeaseNotices::with_capacity(due.len());
    for row in &due {
        let (customer, claim, event, occasion) = row.key();
        lease.push(customer, claim, event, occasion, lease_until);
    }
    lease.execute(connection)?;
    let leased = |row: NoticeRow| NoticeRow { attempts: row.attempts + 1, next_at: lease_until, ..row };
    Ok(due.into_iter().map(leased).collect())
}

prepared! {
    LeaseNotices {
        customer_id: &'a str => Text,
        claim_id: Uuid => SqlUuid,
        event: &'a str => Text,
        occasion: i32 => Integer,
        until: DateTime<Utc> => Timestamptz,
    },
    "UPDATE notice SET attempts = notice.attempts + 1, next_at = due.until FROM",
    "AS due (customer_id, claim_id, event, occasion, until)
     WHERE notice.customer_id = due.customer_id COLLATE \"C\" AND notice.claim_id = due.claim_id AND notice.event = due.event
           AND notice.occasion = due.occasion"
}

/// Gives back notices that were leased and not tried: it was no attempt, and they are due again at `at`.
pub fn release(connection: &mut Connection, rows: &[NoticeRow], at: DateTime<Utc>) -> StoreResult<()> {
    for row in rows {
        diesel::update(notice::table.find(row.key()).filter(notice::state.eq("queued")))
            .set((notice::attempts.eq(notice::attempts - 1), notice::next_at.eq(at)))
            .execute(connection)?;
    }
    Ok(())
}

/// Records that a claimant does not want a notice: it is no more than a courtesy, or he gave no address.
pub fn mark_unwanted(connection: &mut Connection, row: &NoticeRow) -> StoreResult<()> {
    diesel::update(notice::table.find(row.key())).set(notice::state.eq("unwanted")).execute(connection)?;
    Ok(())
}

/// Records that a notice came back; false when it is none of ours, did not go, or came back before.
pub fn mark_bounced(connection: &mut Connection, id: Uuid, reason: &str, at: DateTime<Utc>) -> StoreResult<bool> {
    let bounced = diesel::update(notice::table.filter(notice::id.eq(id).and(notice::sent_at.is_not_null())))
        .filter(notice::state.eq("sent"))
        .set((notice::state.eq("bounced"), notice::bounced_at.eq(at), notice::last_error.eq(reason)))
        .execute(connection)?;
    Ok(bounced > 0)
}

/// The newest notices that a person has to see: about claims of these services, of all when none are named.
pub fn troubled(connection: &mut Connection, services: Option<&[i32]>, limit: i64) -> StoreResult<Vec<NoticeRow>> {
    let mut query = notice::table.filter(notice::state.eq_any(["dead", "bounced"])).into_boxed();
    if let Some(services) = services {
        let of_claim = claim::customer_id.eq(notice::customer_id).and(claim::id.eq(notice::claim_id));
        query = query.filter(exists(claim::table.filter(of_claim.and(claim::service_id.eq_any(services)))));
    }
    Ok(query
        .order((notice::queued_at.desc(), notice::id))
        .limit(limit)
        .select(NoticeRow::as_select())
        .load(connection)?)
}

/// Queues notices in trouble again, as if they were new: those named, or all that are dead when none is.
pub fn requeue(connection: &mut Connection, ids: &[Uuid], at: DateTime<Utc>) -> StoreResult<Vec<NoticeRow>> {
    let mut update = diesel::update(notice::table).into_boxed();
    update = match ids {
        [] => update.filter(notice::state.eq("dead")),
        ids => update.filter(notice::id.eq_any(ids).and(notice::state.eq_any(["dead", "bounced"]))),
    };
    Ok(update
        .set((
            notice::state.eq("queued"),
            notice::attempts.eq(0),
            notice::next_at.eq(at),
            notice::sent_at.eq(None::<DateTime<Utc>>),
            notice::bounced_at.eq(None::<DateTime<Utc>>),
        ))
        .returning(NoticeRow::as_returning())
        .get_results(connection)?)
}

/// Records that a notice went.
pub fn mark_sent(connection: &mut Connection, row: &NoticeRow, at: DateTime<Utc>) -> StoreResult<()> {
    diesel::update(notice::table.find(row.key()))
        .set((notice::state.eq("sent"), notice::sent_at.eq(at), notice::last_error.eq(None::<String>)))
        .execute(connection)?;
    Ok(())
}

/// Records that a notice did not go: tried again at `retry_at`, or dead when there is none.
pub fn mark_failed(
    connection: &mut Connection,
    row: &NoticeRow,
    error: &str,
    retry_at: Option<DateTime<Utc>>,
) -> StoreResult<()> {
    let state = if retry_at.is_some() { "queued" } else { "dead" };
    diesel::update(notice::table.find(row.key()))
        .set((
            notice::state.eq(state),
            notice::last_error.eq(error),
            notice::next_at.eq(retry_at.unwrap_or(row.next_at)),
        ))
        .execute(connection)?;
    Ok(())
}
