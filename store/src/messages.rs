//! What claimants and readers write to each other: sealed rows, in their order.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use uuid::Uuid;

use crate::connection::Connection;
use crate::error::StoreResult;
use crate::schema::message;

/// The most messages that are shown of a claim.
pub const MAX_SHOWN: i64 = 200;

/// A message as a row.
#[derive(Debug, Clone, Queryable, Selectable, Insertable)]
#[diesel(table_name = message, treat_none_as_default_value = false)]
pub struct MessageRow {
    /// Whose claim it is of.
    pub customer_id: String,
    /// The claim.
    pub claim_id: Uuid,
    /// Its id; version 7, so that the order of ids is the order of time.
    pub id: Uuid,
    /// `message`, `question`, `appeal` or `merged`.
    pub kind: String,
    /// Who wrote it; the claimant when none.
    pub staff: Option<String>,
    /// The words.
    pub sealed: Vec<u8>,
    /// When.
    pub sent_at: DateTime<Utc>,
}

/// Adds a message.
pub fn insert(connection: &mut Connection, row: &MessageRow) -> StoreResult<()> {
    diesel::insert_into(message::table).values(row).execute(connection)?;
    Ok(())
}

/// The newest messages of a claim, in their order, at most [`MAX_SHOWN`].
pub fn of_claim(connection: &mut Connection, customer: &str, claim: Uuid) -> StoreResult<Vec<MessageRow>> {
    let mut rows: Vec<MessageRow> = message::table
        .filter(message::customer_id.eq(customer).and(message::claim_id.eq(claim)))
        .order(message::id.desc())
        .limit(MAX_SHOWN)
        .select(MessageRow::as_select())
        .load(connection)?;
    rows.reverse();
    Ok(rows)
}

/// How many messages a claim has.
pub fn count(connection: &mut Connection, customer: &str, claim: Uuid) -> StoreResult<i64> {
    Ok(message::table
        .filter(message::customer_id.eq(customer).and(message::claim_id.eq(claim)))
        .count()
        .get_result(connection)?)
}
