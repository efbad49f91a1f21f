//! Leasing batches and recording what became of each call: lease, commit, call, record.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use uuid::Uuid;

use super::DeliveryRow;
use crate::connection::Connection;
use crate::error::StoreResult;
use crate::ledger;
use crate::schema::delivery;

/// The states of batches that the worker sees to.
const PENDING: [&str; 2] = ["queued", "awaiting"];

/// A batch that this worker may send until its lease ends.
#[derive(Debug, Clone)]
pub struct Leased {
    /// The batch, this attempt counted.
    pub row: DeliveryRow,
    /// The instant whose books the service is told.
    pub as_of: DateTime<Utc>,
    /// Whether no earlier attempt can have reached the service.
    pub first: bool,
    /// When the lease ends.
    pub until: DateTime<Utc>,
}

/// Whether a batch of a service is due.
pub fn has_due(connection: &mut Connection, service_key: i32, now: DateTime<Utc>) -> StoreResult<bool> {
    let due = delivery::table
        .filter(delivery::service_id.eq(service_key).and(delivery::state.eq_any(PENDING)))
        .filter(delivery::next_at.le(now));
    Ok(diesel::select(diesel::dsl::exists(due)).get_result(connection)?)
}

/// Leases the next batch of a service that is due, until `lease_until`: a worker that dies gives it back by itself. From
/// here on the service may have granted what the books say is owed at this instant, so nobody who reverses one of these
/// credits at this moment may be overlooked: he holds the batch's row (`covering`), and is waited for or passed over.
pub fn lease(
    connection: &mut Connection,
    service_key: i32,
    now: DateTime<Utc>,
    lease_until: DateTime<Utc>,
) -> StoreResult<Option<Leased>> {
    let due: Option<DeliveryRow> = delivery::table
        .filter(delivery::service_id.eq(service_key).and(delivery::state.eq_any(PENDING)))
        .filter(delivery::next_at.le(now))
        .order((delivery::next_at, delivery::id))
        .select(DeliveryRow::as_select())
        .for_update()
        .skip_locked()
        .first(connection)
        .optional()?;
    let Some(mut row) = due else { return Ok(None) };
    let first = row.as_of.is_none();
    let as_of = match row.as_of {
        Some(told) => told,
        None => ledger::settle(connection)?,
    };
    row.attempts += 1;
    diesel::update(delivery::table.find(row.id))
        .set((delivery::attempts.eq(row.attempts), delivery::next_at.eq(lease_until), delivery::as_of.eq(as_of)))
        .execute(connection)?;
    Ok(Some(Leased { row, as_of, first, until: lease_until }))
}

/// Where a batch stands after a call that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is sent again then.
    Again(DateTime<Utc>),
    /// A person has to see it.
    Dead,
}

/// Records that an attempt failed, unless the batch ended or was leased anew meanwhile. When the service cannot have heard
/// of it, what it would have been told is forgotten.
pub fn postpone(
    connection: &mut Connection,
    leased: &Leased,
    error: &str,
    fate: Fate,
    reached: bool,
) -> StoreResult<()> {
    let (state, next_at) = match fate {
        Fate::Again(at) => (leased.row.state.as_str(), at),
        Fate::Dead => ("dead", leased.row.next_at),
    };
    let as_of = (reached || !leased.first).then_some(leased.as_of);
    diesel::update(
        delivery::table
            .find(leased.row.id)
            // Whoever lets it go again begins to count anew; the end of a lease is nobody else's.
            .filter(delivery::state.eq_any(PENDING).and(delivery::attempts.eq(leased.row.attempts)))
            .filter(delivery::next_at.eq(leased.until)),
    )
    .set((
        delivery::state.eq(state),
        delivery::next_at.eq(next_at),
        delivery::as_of.eq(as_of),
        delivery::last_error.eq(error),
    ))
    .execute(connection)?;
    Ok(())
}

/// Records that a service took a batch and will say later what it granted; it is sent again at `remind_at` if it does not.
pub fn await_acknowledgement(connection: &mut Connection, id: Uuid, remind_at: DateTime<Utc>) -> StoreResult<()> {
    // One that was given up meanwhile has been answered after all.
    diesel::update(delivery::table.find(id).filter(delivery::state.eq_any(["queued", "awaiting", "dead"])))
        .set((delivery::state.eq("awaiting"), delivery::next_at.eq(remind_at), delivery::last_error.eq(None::<String>)))
        .execute(connection)?;
    Ok(())
}

/// Ends a batch of which every credit has its answer: `done`, or `refused` where a person has to see some.
pub fn end(connection: &mut Connection, id: Uuid, state: &str, at: DateTime<Utc>) -> StoreResult<()> {
    let open = ["queued", "awaiting", "dead", "refused"];
    diesel::update(delivery::table.find(id).filter(delivery::state.eq_any(open)))
        .set((delivery::state.eq(state), delivery::ended_at.eq(at), delivery::last_error.eq(None::<String>)))
        .execute(connection)?;
    Ok(())
}

/// Gives up what waits for a service that failed too often in a row; returns how many batches a person has to see then.
pub fn give_up(connection: &mut Connection, service_key: i32, error: &str) -> StoreResult<usize> {
    Ok(diesel::update(delivery::table.filter(delivery::service_id.eq(service_key).and(delivery::state.eq("queued"))))
        .set((delivery::state.eq("dead"), delivery::last_error.eq(error)))
        .execute(connection)?)
}
