//! Guesses at passwords and codes that failed, counted by whom they were at.

use chrono::{DateTime, Utc};
use diesel::prelude::*;

use crate::connection::Connection;
use crate::error::StoreResult;
use crate::schema::sign_in_guess;

/// Guesses at one thing.
#[derive(Debug, Clone, Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = sign_in_guess)]
pub struct GuessRow {
    /// A hash of what they were at.
    pub bucket: Vec<u8>,
    /// How many failed.
    pub failures: i32,
    /// When the newest of them was made.
    pub failed_at: DateTime<Utc>,
}

/// The guesses at something, locked for a change; none so far is 0.
pub fn lock(connection: &mut Connection, bucket: &[u8], now: DateTime<Utc>) -> StoreResult<GuessRow> {
    let fresh = GuessRow { bucket: bucket.to_vec(), failures: 0, failed_at: now };
    diesel::insert_into(sign_in_guess::table).values(&fresh).on_conflict_do_nothing().execute(connection)?;
    Ok(sign_in_guess::table.find(bucket).for_update().first(connection)?)
}

/// Keeps what was counted.
pub fn save(connection: &mut Connection, row: &GuessRow) -> StoreResult<()> {
    diesel::update(sign_in_guess::table.find(&row.bucket)).set(row).execute(connection)?;
    Ok(())
}

/// Forgets the guesses at something: it was shown to be known.
pub fn forget(connection: &mut Connection, bucket: &[u8]) -> StoreResult<()> {
    diesel::delete(sign_in_guess::table.find(bucket)).execute(connection)?;
    Ok(())
}

/// Forgets all guesses made before a time.
pub fn forget_before(connection: &mut Connection, before: DateTime<Utc>) -> StoreResult<()> {
    diesel::delete(sign_in_guess::table.filter(sign_in_guess::failed_at.lt(before))).execute(connection)?;
    Ok(())
}
