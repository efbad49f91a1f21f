//! Idempotency keys: the answer to a request is kept in the transaction of its work, and a retry gets the same bytes.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt};

use crate::connection::Connection;
use crate::error::StoreResult;
use crate::schema::idempotency;

/// An answer that was given.
#[derive(Debug, Clone, Queryable, Insertable)]
#[diesel(table_name = idempotency, treat_none_as_default_value = false)]
pub struct SavedAnswer {
    /// Whose key it is: keys of different customers never meet.
    pub customer_id: String,
    /// The key.
    pub key: String,
    /// SHA-256 of the request.
    pub request_hash: Vec<u8>,
    /// The HTTP status.
    pub status: i16,
    /// The Location header, if there was one.
    pub location: Option<String>,
    /// The body, byte for byte.
    pub body: Vec<u8>,
    /// When it was given.
    pub created_at: DateTime<Utc>,
}

diesel::define_sql_function! {
    /// Takes a lock that ends with the transaction; false when somebody holds it.
    fn pg_try_advisory_xact_lock(lock: BigInt) -> Bool;
}
diesel::define_sql_function! {
    /// The members of an array, one a row.
    fn unnest(members: Array<BigInt>) -> BigInt;
}

/// Takes the key for this transaction; false when another request holds it at this moment.
/// `lock` is a number derived from customer and key.
pub fn try_lock(connection: &mut Connection, lock: i64) -> StoreResult<bool> {
    Ok(diesel::select(pg_try_advisory_xact_lock(lock)).get_result(connection)?)
}

/// The same for many keys at once, in their order.
pub fn try_lock_all(connection: &mut Connection, locks: &[i64]) -> StoreResult<Vec<bool>> {
    Ok(diesel::select(pg_try_advisory_xact_lock(unnest(locks))).load(connection)?)
}

/// The answer given under a key.
pub fn find(connection: &mut Connection, customer: &str, key: &str) -> StoreResult<Option<SavedAnswer>> {
    Ok(idempotency::table.find((customer, key)).first(connection).optional()?)
}

/// The answers given under any of these keys to any of these customers; whose is whose is the caller's to see.
pub fn find_all(connection: &mut Connection, customers: &[&str], keys: &[&str]) -> StoreResult<Vec<SavedAnswer>> {
    Ok(idempotency::table
        .filter(idempotency::customer_id.eq_any(customers).and(idempotency::key.eq_any(keys)))
        .load(connection)?)
}

/// Keeps an answer.
pub fn save(connection: &mut Connection, answer: &SavedAnswer) -> StoreResult<()> {
    diesel::insert_into(idempotency::table).values(answer).execute(connection)?;
    Ok(())
}

/// Keeps many answers.
pub fn save_all(connection: &mut Connection, answers: &[SavedAnswer]) -> StoreResult<()> {
    if answers.is_empty() {
        return Ok(());
    }
    diesel::copy_from(idempotency::table).from_insertable(answers).execute(connection)?;
    Ok(())
}
