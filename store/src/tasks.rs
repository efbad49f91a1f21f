//! The desk: claims that a person has to look at, who looks at them, and until when a claimant may answer.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, Bool, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel::upsert::excluded;
use uuid::Uuid;

use crate::connection::{Connection, ROWS_PER_STATEMENT};
use crate::error::StoreResult;
use crate::prepared::prepared;
use crate::schema::task;

/// A claim on the desk, as a row.
#[derive(Debug, Clone, Queryable, Selectable, QueryableByName)]
#[diesel(table_name = task)]
pub struct TaskRow {
    /// Whose claim it is.
    pub customer_id: String,
    /// The claim.
    pub claim_id: Uuid,
    /// Its service's key.
    pub service_id: i32,
    /// The queue it stands in.
    pub queue: String,
    /// Whether anything is left to do.
    pub is_open: bool,
    /// Since when.
    pub since: DateTime<Utc>,
    /// Whose it is, if it was given to somebody.
    pub assignee: Option<String>,
    /// Who looks at it.
    pub leased_by: Option<String>,
    /// Until when.
    pub leased_until: Option<DateTime<Utc>>,
    /// Until when the claimant may answer; nobody needs to look before.
    pub due_at: Option<DateTime<Utc>>,
    /// How often the claimant was reminded.
    pub reminded: i16,
}

impl TaskRow {
    /// Who looks at it at this moment.
    #[must_use]
    pub fn reader(&self, now: DateTime<Utc>) -> Option<&str> {
        self.leased_until.filter(|until| *until > now).and(self.leased_by.as_deref())
    }
}

/// A claim that comes to the desk.
#[derive(Debug, Clone, Copy)]
pub struct NewTask<'a> {
    /// Whose claim it is.
    pub customer: &'a str,
    /// The claim.
    pub claim: Uuid,
    /// Its service's key.
    pub service_key: i32,
    /// The queue.
    pub queue: &'a str,
    /// Since when.
    pub at: DateTime<Utc>,
}

/// What puts claims on the desk that are made in the same transaction: none can be there already.
pub(crate) fn insertion<'a>(new: &[NewTask<'a>]) -> InsertTasks<'a> {
    let mut insert = InsertTasks::with_capacity(new.len());
    for one in new {
        insert.push(one.customer, one.claim, one.service_key, one.queue, true, one.at);
    }
    insert
}

prepared! {
    pub(crate) InsertTasks {
        customer_id: &'a str => Text,
        claim_id: Uuid => SqlUuid,
        service_id: i32 => Integer,
        queue: &'a str => Text,
        is_open: bool => Bool,
        since: DateTime<Utc> => Timestamptz,
    } into "task"
}

/// Puts claims on the desk, or back on it, each named once; `keep_reader` leaves them with whom they were given to.
pub fn open(connection: &mut Connection, new: &[NewTask<'_>], keep_reader: bool) -> StoreResult<()> {
    for part in new.chunks(ROWS_PER_STATEMENT) {
        let values = |one: &NewTask<'_>| {
            (
                task::customer_id.eq(one.customer.to_owned()),
                task::claim_id.eq(one.claim),
                task::service_id.eq(one.service_key),
                task::queue.eq(one.queue.to_owned()),
                task::is_open.eq(true),
                task::since.eq(one.at),
            )
        };
        let again = (
            task::queue.eq(excluded(task::queue)),
            task::is_open.eq(true),
            task::since.eq(excluded(task::since)),
            task::leased_by.eq(None::<String>),
            task::leased_until.eq(None::<DateTime<Utc>>),
            task::due_at.eq(None::<DateTime<Utc>>),
            task::reminded.eq(0_i16),
        );
        let values: Vec<_> = part.iter().map(values).collect();
        let key = (task::customer_id, task::claim_id);
        let insert = diesel::insert_into(task::table).values(values).on_conflict(key).do_update();
        if keep_reader {
            insert.set(again).execute(connection)?;
        } else {
            insert.set((again, task::assignee.eq(None::<String>))).execute(connection)?;
        }
    }
    Ok(())
}

/// Takes a claim off the desk; who had it is kept.
pub fn close(connection: &mut Connection, customer: &str, claim: Uuid) -> StoreResult<()> {
    diesel::update(task::table.find((customer, claim)))
        .set((
            task::is_open.eq(false),
            task::leased_by.eq(None::<String>),
            task::leased_until.eq(None::<DateTime<Utc>>),
            task::due_at.eq(None::<DateTime<Utc>>),
        ))
        .execute(connection)?;
    Ok(())
}

/// Lets a claim wait for its claimant's answer; the lease ends.
pub fn wait(connection: &mut Connection, customer: &str, claim: Uuid, due_at: DateTime<Utc>) -> StoreResult<()> {
    diesel::update(task::table.find((customer, claim)).filter(task::is_open))
        .set((
            task::due_at.eq(due_at),
            task::reminded.eq(0_i16),
            task::leased_by.eq(None::<String>),
            task::leased_until.eq(None::<DateTime<Utc>>),
        ))
        .execute(connection)?;
    Ok(())
}

/// What the desk knows of a claim.
pub fn find(connection: &mut Connection, customer: &str, claim: Uuid) -> StoreResult<Option<TaskRow>> {
    Ok(task::table.find((customer, claim)).select(TaskRow::as_select()).first(connection).optional()?)
}

/// Whose claims a reader may be given.
#[derive(Debug, Clone)]
pub struct Reach<'a> {
    /// The reader.
    pub reader: &'a str,
    /// The services he works for, by key; all when none.
    pub services: Option<Vec<i32>>,
    /// The one queue he asks for; any when none.
    pub queue: Option<&'a str>,
    /// Queues that are not his unless he asks for them.
    pub not_unasked: Vec<&'a str>,
}

/// What is given out: nobody looks at it, it is nobody else's, and the reader did not decide it himself before.
const FREE: &str = "
    FROM task
    WHERE is_open AND due_at IS NULL
      AND (leased_until IS NULL OR leased_until <= $1)
      AND ($2::int[] IS NULL OR service_id = ANY($2))
      AND (queue = $5 OR ($5 IS NULL AND queue <> ALL($4)))
      AND NOT EXISTS (SELECT FROM appeal WHERE appeal.customer_id = task.customer_id AND appeal.claim_id = task.claim_id
                      AND appeal.read_at IS NULL AND $3 IN (appeal.decided_by, appeal.countersigned_by))
      AND NOT EXISTS (SELECT FROM decision WHERE decision.customer_id = task.customer_id
                      AND decision.claim_id = task.claim_id AND decision.in_force_at IS NULL
                      AND decision.rejected_at IS NULL AND decision.decided_by = $3)";

/// Leases the next claim until `until`: first what was given to the reader, then the oldest that is nobody's. Two
/// readers never get the same one, and neither waits for the other.
pub fn lease_next(
    connection: &mut Connection,
    reach: &Reach<'_>,
    now: DateTime<Utc>,
    until: DateTime<Utc>,
) -> StoreResult<Option<TaskRow>> {
    for whose in ["assignee = $3", "assignee IS NULL"] {
        // Diesel has no words for a lease picked by a sub-query that skips locked rows.
        let query = format!(
            "UPDATE task SET leased_by = $3, leased_until = $6 FROM (
                 SELECT customer_id AS its_customer, claim_id AS its_claim {FREE} AND {whose}
                 ORDER BY since, claim_id LIMIT 1 FOR UPDATE OF task SKIP LOCKED) AS picked
             WHERE customer_id = its_customer AND claim_id = its_claim RETURNING task.*"
        );
        let leased: Option<TaskRow> = diesel::sql_query(query)
            .bind::<Timestamptz, _>(now)
            .bind::<Nullable<Array<Integer>>, _>(reach.services.as_ref())
            .bind::<Text, _>(reach.reader)
            .bind::<Array<Text>, _>(&reach.not_unasked)
            .bind::<Nullable<Text>, _>(reach.queue)
            .bind::<Timestamptz, _>(until)
            .get_result(connection)
            .optional()?;
        if leased.is_some() {
            return Ok(leased);
        }
    }
    Ok(None)
}

/// Leases one claim, or renews the lease; false when somebody else looks at it.
pub fn lease(
    connection: &mut Connection,
    customer: &str,
    claim: Uuid,
    reader: &str,
    now: DateTime<Utc>,
    until: DateTime<Utc>,
) -> StoreResult<bool> {
    let free = task::leased_until.is_null().or(task::leased_until.le(now)).or(task::leased_by.eq(reader));
    let leased =
        diesel::update(task::table.find((customer, claim)).filter(task::is_open).filter(free.assume_not_null()))
            .set((task::leased_by.eq(reader), task::leased_until.eq(until)))
            .execute(connection)?;
    Ok(leased == 1)
}

/// Gives a lease back; nothing happens when it is somebody else's.
pub fn release(connection: &mut Connection, customer: &str, claim: Uuid, reader: &str) -> StoreResult<()> {
    diesel::update(task::table.find((customer, claim)).filter(task::leased_by.eq(reader)))
        .set((task::leased_by.eq(None::<String>), task::leased_until.eq(None::<DateTime<Utc>>)))
        .execute(connection)?;
    Ok(())
}

/// Gives a claim to a reader, or to nobody; the lease ends.
pub fn assign(connection: &mut Connection, customer: &str, claim: Uuid, reader: Option<&str>) -> StoreResult<bool> {
    let assigned = diesel::update(task::table.find((customer, claim)).filter(task::is_open))
        .set((
            task::assignee.eq(reader),
            task::leased_by.eq(None::<String>),
            task::leased_until.eq(None::<DateTime<Utc>>),
        ))
        .execute(connection)?;
    Ok(assigned == 1)
}

/// The claims on the desk that were given to somebody.
pub fn given_to(connection: &mut Connection, reader: &str) -> StoreResult<Vec<Uuid>> {
    let his = task::table.filter(task::assignee.eq(reader).and(task::is_open));
    Ok(his.order(task::claim_id).select(task::claim_id).load(connection)?)
}

/// Claims whose term is over, and those whose claimants have to be reminded: `reminders` are the ends of the terms
/// that a first, a second … reminder is due for now. The most urgent come first.
pub fn due(
    connection: &mut Connection,
    now: DateTime<Utc>,
    reminders: &[DateTime<Utc>],
    limit: i64,
) -> StoreResult<Vec<TaskRow>> {
    let mut query = task::table.filter(task::due_at.le(now).assume_not_null()).into_boxed();
    for (times, until) in (0_i16..).zip(reminders) {
        query = query.or_filter(task::due_at.le(until).assume_not_null().and(task::reminded.eq(times)));
    }
    Ok(query.order(task::due_at).limit(limit).select(TaskRow::as_select()).load(connection)?)
}

/// Notes that a claimant was reminded; false when another did it meanwhile.
pub fn mark_reminded(connection: &mut Connection, row: &TaskRow, times: i16) -> StoreResult<bool> {
    let waits = task::table.find((&row.customer_id, row.claim_id)).filter(task::due_at.eq(row.due_at));
    let marked =
        diesel::update(waits.filter(task::reminded.lt(times))).set(task::reminded.eq(times)).execute(connection)?;
    Ok(marked == 1)
}

/// Claims that wait in one queue.
#[derive(Debug, Clone, Queryable)]
pub struct QueueCount {
    /// The queue.
    pub queue: String,
    /// How many wait in it.
    pub waiting: i64,
    /// Since when the oldest does.
    pub oldest: Option<DateTime<Utc>>,
}

/// How many claims of these services wait in each queue, of all when none are named; those whose claimants are asked do
/// not.
pub fn queues(connection: &mut Connection, services: Option<&[i32]>) -> StoreResult<Vec<QueueCount>> {
    // Diesel does not box what is grouped: naming no service is the same as naming all.
    let all = services.is_none();
    Ok(task::table
        .filter(task::is_open.and(task::due_at.is_null()))
        .filter(task::service_id.eq_any(services.unwrap_or_default()).or(all.into_sql::<Bool>()))
        .group_by(task::queue)
        .select((task::queue, diesel::dsl::count_star(), diesel::dsl::min(task::since)))
        .order(task::queue)
        .load(connection)?)
}
