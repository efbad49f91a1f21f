//! Idempotency keys: the answer to a request is kept in the transaction of its work, and a retry gets the same bytes.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Binary, Nullable, SmallInt, Text, Timestamptz};

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
    fn pg_try_advisory_xact_lock(lock: BigInt) -> diesel::sql_types::Bool;
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

/// Keeps an answer.
pub fn save(connection: &mut Connection, answer: &SavedAnswer) -> StoreResult<()> {
    diesel::insert_into(idempotency::table).values(answer).execute(connection)?;
    Ok(())
}

/// What keeps answers.
pub(crate) fn insertion(answers: &[SavedAnswer]) -> InsertAnswers<'_> {
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
    insert
}

prepared! {
    pub(crate) InsertAnswers {
        customer_id: &'a str => Text,
        key: &'a str => Text,
        request_hash: &'a [u8] => Binary,
        status: i16 => SmallInt,
        location: Option<&'a str> => Nullable<Text>,
        body: &'a [u8] => Binary,
        created_at: DateTime<Utc> => Timestamptz,
    } into "idempotency"
}
