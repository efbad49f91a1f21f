//! Idempotency keys: the answer to a request is kept in the transaction of its work, and a retry gets the same bytes.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Binary, Bool, Nullable, SmallInt, Text, Timestamptz};

use crate::connection::Connection;
use crate::error::StoreResult;
use crate::prepared::prepared;
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

/// Takes the key for this transaction; false when another request holds it at this moment.
/// `lock` is a number derived from customer and key.
pub fn try_lock(connection: &mut Connection, lock: i64) -> StoreResult<bool> {
    Ok(diesel::select(pg_try_advisory_xact_lock(lock)).get_result(connection)?)
}

/// The answer given under a key.
pub fn find(connection: &mut Connection, customer: &str, key: &str) -> StoreResult<Option<SavedAnswer>> {
    Ok(idempotency::table.find((customer, key)).first(connection).optional()?)
}

/// A key, whose it is, and the number by which it is taken.
#[derive(Debug, Clone, Copy)]
pub struct Key<'a> {
    /// The customer.
    pub customer: &'a str,
    /// The key.
    pub key: &'a str,
    /// As of [`try_lock`].
    pub lock: i64,
}

/// The same as [`try_lock`] and [`find`] for many keys at once, in their order: whether each was free, and the answer given under
/// it. An answer that is committed in the instant between the two is not seen; the table's key then refuses a second one.
pub fn take_all(connection: &mut Connection, keys: &[Key<'_>]) -> StoreResult<Vec<(bool, Option<SavedAnswer>)>> {
    let mut asked = TakeKeys::with_capacity(keys.len());
    for key in keys {
        asked.push(key.customer, key.key, key.lock);
    }
    Ok(asked.load(connection)?)
}

prepared! {
    TakeKeys { customer_id: &'a str => Text, key: &'a str => Text, lock: i64 => BigInt }
        -> (Bool, Nullable<idempotency::SqlType>),
    "SELECT pg_try_advisory_xact_lock(asked.lock), given.customer_id, given.key, given.request_hash, given.status, given.location,
            given.body, given.created_at FROM",
    "WITH ORDINALITY AS asked (customer_id, key, lock, place)
     LEFT JOIN LATERAL (SELECT customer_id, key, request_hash, status, location, body, created_at FROM idempotency
                        WHERE idempotency.customer_id = asked.customer_id COLLATE \"C\" AND idempotency.key = asked.key COLLATE \"C\"
                        OFFSET 0) AS given ON true
     ORDER BY asked.place"
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
    let mut insert = InsertAnswers::with_capacity(answers.len());
    for row in answers {
        insert.push(
            &row.customer_id,
            &row.key,
            &row.request_hash,
            row.status,
            row.location.as_deref(),
            &row.body,
            row.created_at,
        );
    }
    insert.execute(connection)?;
    Ok(())
}

prepared! {
    InsertAnswers {
        customer_id: &'a str => Text,
        key: &'a str => Text,
        request_hash: &'a [u8] => Binary,
        status: i16 => SmallInt,
        location: Option<&'a str> => Nullable<Text>,
        body: &'a [u8] => Binary,
        created_at: DateTime<Utc> => Timestamptz,
    },
    "INSERT INTO idempotency (customer_id, key, request_hash, status, location, body, created_at) SELECT * FROM",
    ""
}
