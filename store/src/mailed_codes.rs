//! Codes sent by mail: asked for, sent, tried a few times, gone. Addresses stand here as keyed hashes only.

use chrono::{DateTime, Duration, Utc};
use diesel::prelude::*;

use crate::connection::Connection;
use crate::error::StoreResult;
use crate::schema::{mailed_code, personal};

/// A code as a row.
#[derive(Debug, Clone, Queryable, Selectable, Insertable)]
#[diesel(table_name = mailed_code, treat_none_as_default_value = false)]
pub struct CodeRow {
    /// The address, as its keyed hash.
    pub address: String,
    /// The address itself and the language, sealed, for whoever sends the code.
    pub sealed: Vec<u8>,
    /// `queued`, `sent` or `dead`.
    pub state: String,
    /// The keyed hash of the code, once it was made.
    pub code_hash: Option<String>,
    /// How often it was tried.
    pub tries: i32,
    /// How often sending was tried.
    pub sends: i32,
    /// How often it was asked for within the hour.
    pub asked: i32,
    /// When that hour began.
    pub hour_from: DateTime<Utc>,
    /// When it was asked for last.
    pub asked_at: DateTime<Utc>,
    /// When it is sent, not before.
    pub next_at: DateTime<Utc>,
    /// Until when it can be used.
    pub expires_at: DateTime<Utc>,
}

/// How often codes are given to one address.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// The shortest time between two.
    pub pause: Duration,
    /// The most within an hour.
    pub an_hour: i32,
}

/// What a row is when its code is asked for again.
#[derive(AsChangeset)]
#[diesel(table_name = mailed_code, treat_none_as_null = true)]
struct QueuedAgain<'a> {
    sealed: &'a [u8],
    state: &'static str,
    code_hash: Option<String>,
    tries: i32,
    sends: i32,
    asked_at: DateTime<Utc>,
    next_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
}

fn queued_again(row: &CodeRow) -> QueuedAgain<'_> {
    QueuedAgain {
        sealed: &row.sealed,
        state: "queued",
        code_hash: None,
        tries: 0,
        sends: 0,
        asked_at: row.asked_at,
        next_at: row.next_at,
        expires_at: row.expires_at,
    }
}

/// Asks for a code; one that comes too soon after the last, or is one too many within the hour, changes nothing.
pub fn ask(connection: &mut Connection, row: &CodeRow, pace: Pace) -> StoreResult<()> {
    let added = diesel::insert_into(mailed_code::table).values(row).on_conflict_do_nothing().execute(connection)?;
    if added == 1 {
        return Ok(());
    }
    let hour_ago = row.asked_at - Duration::hours(1);
    let known = mailed_code::table.find(&row.address).filter(mailed_code::asked_at.le(row.asked_at - pace.pause));
    // Within the hour it counts on; after it, a new hour begins.
    let again =
        diesel::update(known.filter(mailed_code::hour_from.gt(hour_ago).and(mailed_code::asked.lt(pace.an_hour))))
            .set((queued_again(row), mailed_code::asked.eq(mailed_code::asked + 1)))
            .execute(connection)?;
    if again == 0 {
        diesel::update(known.filter(mailed_code::hour_from.le(hour_ago)))
            .set((queued_again(row), mailed_code::asked.eq(1), mailed_code::hour_from.eq(row.hour_from)))
            .execute(connection)?;
    }
    Ok(())
}

/// Leases codes that are due to be sent.
pub fn lease(
    connection: &mut Connection,
    now: DateTime<Utc>,
    lease_until: DateTime<Utc>,
    limit: i64,
) -> StoreResult<Vec<CodeRow>> {
    let due: Vec<String> = mailed_code::table
        .filter(mailed_code::state.eq("queued").and(mailed_code::next_at.le(now)))
        .order(mailed_code::next_at)
        .limit(limit)
        .select(mailed_code::address)
        .for_update()
        .skip_locked()
        .load(connection)?;
    Ok(diesel::update(mailed_code::table.filter(mailed_code::address.eq_any(due)))
        .set((mailed_code::sends.eq(mailed_code::sends + 1), mailed_code::next_at.eq(lease_until)))
        .returning(CodeRow::as_returning())
        .get_results(connection)?)
}

/// Whether any claim has an address.
pub fn is_known(connection: &mut Connection, address: &str) -> StoreResult<bool> {
    Ok(diesel::select(diesel::dsl::exists(personal::table.filter(personal::address.eq(address))))
        .get_result(connection)?)
}

/// Keeps the hash of a code that is about to be sent, for as long as it is good; false when it was asked for anew.
pub fn made(
    connection: &mut Connection,
    row: &CodeRow,
    code_hash: &str,
    expires_at: DateTime<Utc>,
) -> StoreResult<bool> {
    let made = diesel::update(mailed_code::table.find(&row.address).filter(mailed_code::asked_at.eq(row.asked_at)))
        .set((mailed_code::code_hash.eq(code_hash), mailed_code::expires_at.eq(expires_at)))
        .execute(connection)?;
    Ok(made == 1)
}

/// Records what became of sending: over, or tried again at a time.
pub fn finish(connection: &mut Connection, row: &CodeRow, retry_at: Option<DateTime<Utc>>) -> StoreResult<()> {
    let state = if retry_at.is_some() { "queued" } else { "sent" };
    diesel::update(mailed_code::table.find(&row.address).filter(mailed_code::asked_at.eq(row.asked_at)))
        .set((mailed_code::state.eq(state), mailed_code::next_at.eq(retry_at.unwrap_or(row.next_at))))
        .execute(connection)?;
    Ok(())
}

/// Counts a try at an address's code and returns the hash it has to match; none when there is no code, it is over, or
/// it was tried too often. The count is in the database before anything is compared.
pub fn attempt(
    connection: &mut Connection,
    address: &str,
    now: DateTime<Utc>,
    most: i32,
) -> StoreResult<Option<String>> {
    let found: Option<Option<String>> = diesel::update(
        mailed_code::table
            .find(address)
            .filter(mailed_code::expires_at.gt(now).and(mailed_code::tries.lt(most)))
            .filter(mailed_code::code_hash.is_not_null()),
    )
    .set(mailed_code::tries.eq(mailed_code::tries + 1))
    .returning(mailed_code::code_hash)
    .get_result(connection)
    .optional()?;
    Ok(found.flatten())
}

/// Uses a code up; false when somebody was quicker.
pub fn use_up(connection: &mut Connection, address: &str, code_hash: &str) -> StoreResult<bool> {
    let used = diesel::update(mailed_code::table.find(address).filter(mailed_code::code_hash.eq(code_hash)))
        .set((mailed_code::code_hash.eq(None::<String>), mailed_code::state.eq("sent")))
        .execute(connection)?;
    Ok(used == 1)
}

/// Forgets codes that are over, and whose hour of counting is too.
pub fn forget(connection: &mut Connection, now: DateTime<Utc>) -> StoreResult<usize> {
    let over = mailed_code::expires_at.lt(now).and(mailed_code::hour_from.lt(now - Duration::hours(1)));
    Ok(diesel::delete(mailed_code::table.filter(over)).execute(connection)?)
}
