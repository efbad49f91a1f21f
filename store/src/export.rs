//! Every transfer of the ledger with the names its keys stand for, in pages: however large the ledger, a page is what
//! is held.

use chrono::{DateTime, NaiveDate, Utc};
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Date, Nullable, SmallInt, Text, Timestamptz, Uuid as SqlUuid};
use uuid::Uuid;

use crate::connection::Connection;
use crate::error::{StoreError, StoreResult};

/// How many transfers are held at once.
const PAGE: usize = 2_000;

/// A transfer in words.
#[derive(Debug, Clone, QueryableByName)]
pub struct ExportRow {
    /// Whose account it touches; empty where no customer's is.
    #[diesel(sql_type = Text)]
    pub customer_id: String,
    /// Its id.
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    /// The posting that recorded it.
    #[diesel(sql_type = BigInt)]
    pub posting_id: i64,
    /// When it was recorded.
    #[diesel(sql_type = Timestamptz)]
    pub recorded_at: DateTime<Utc>,
    /// The run, if a run did it.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub run_id: Option<i64>,
    /// What it does.
    #[diesel(sql_type = SmallInt)]
    pub code: i16,
    /// The account that gives.
    #[diesel(sql_type = Text)]
    pub debit: String,
    /// The account that receives.
    #[diesel(sql_type = Text)]
    pub credit: String,
    /// The asset.
    #[diesel(sql_type = Text)]
    pub asset: String,
    /// Its minor digits.
    #[diesel(sql_type = SmallInt)]
    pub scale: i16,
    /// Minor units.
    #[diesel(sql_type = BigInt)]
    pub amount: i64,
    /// The policy, if it follows from one.
    #[diesel(sql_type = Nullable<Text>)]
    pub policy: Option<String>,
    /// The content hash of its version.
    #[diesel(sql_type = Nullable<Text>)]
    pub policy_version: Option<String>,
    /// What it is for.
    #[diesel(sql_type = Text)]
    pub subject: String,
    /// The credit it moves, unless it is one.
    #[diesel(sql_type = Nullable<SqlUuid>)]
    pub credit_id: Option<Uuid>,
    /// The transfer it reverses.
    #[diesel(sql_type = Nullable<SqlUuid>)]
    pub original_id: Option<Uuid>,
    /// From when it counts for people, if that was said.
    #[diesel(sql_type = Nullable<Date>)]
    pub effective_on: Option<NaiveDate>,
    /// Why, if that was said.
    #[diesel(sql_type = Nullable<Text>)]
    pub reason: Option<String>,
}

/// A transfer in words, recorded until $1. A movement is found by its credit, which its transfer's subject names.
const SELECT: &str = "
    SELECT transfer.customer_id, transfer.id, transfer.posting_id, posting.recorded_at, posting.run_id,
           transfer.code, debit.name AS debit, credit.name AS credit, asset.code AS asset, asset.scale,
           transfer.amount, policy.name AS policy, policy_version.hash AS policy_version, transfer.subject,
           movement.credit_id, movement.original_id, movement.effective_on, movement.reason
    FROM transfer JOIN posting ON posting.id = transfer.posting_id
    JOIN account AS debit ON debit.id = transfer.debit_account
    JOIN account AS credit ON credit.id = transfer.credit_account
    JOIN asset ON asset.id = transfer.asset_id
    LEFT JOIN policy_version ON policy_version.id = transfer.policy_version_id
    LEFT JOIN policy ON policy.id = policy_version.policy_id
    LEFT JOIN LATERAL (
        SELECT * FROM credit_movement AS moved WHERE transfer.code BETWEEN 3 AND 6
           AND moved.customer_id = transfer.customer_id AND moved.transfer_id = transfer.id
    ) AS movement ON true
    WHERE posting.recorded_at <= $1";

/// A page of the transfers recorded at or before `at`, by customer and id, after the one that ended the page before.
pub fn page(
    connection: &mut Connection,
    at: DateTime<Utc>,
    after: Option<&(String, Uuid)>,
    limit: i64,
) -> StoreResult<Vec<ExportRow>> {
    let query = format!(
        "{SELECT} AND ($2 IS NULL OR (transfer.customer_id, transfer.id) > ($2, $3))
         ORDER BY transfer.customer_id, transfer.id LIMIT $4"
    );
    Ok(diesel::sql_query(query)
        .bind::<Timestamptz, _>(at)
        .bind::<Nullable<Text>, _>(after.map(|(customer, _)| customer))
        .bind::<Nullable<SqlUuid>, _>(after.map(|(_, id)| *id))
        .bind::<BigInt, _>(limit)
        .load(connection)?)
}

/// Hands every transfer recorded at or before `at` to `take`, by customer and id: two exports of one instant are equal.
pub fn transfers<E: From<StoreError>>(
    connection: &mut Connection,
    at: DateTime<Utc>,
    mut take: impl FnMut(&ExportRow) -> Result<(), E>,
) -> Result<(), E> {
    crate::connection::in_transaction(connection, |connection| {
        // Diesel has no words for cursors.
        let begin: StoreResult<()> = diesel::sql_query(format!(
            "DECLARE ledger_export NO SCROLL CURSOR FOR {SELECT} ORDER BY transfer.customer_id, transfer.id"
        ))
        .bind::<Timestamptz, _>(at)
        .execute(connection)
        .map(drop)
        .map_err(StoreError::from);
        begin?;
        loop {
            let page: Vec<ExportRow> = diesel::sql_query(format!("FETCH {PAGE} FROM ledger_export"))
                .load(connection)
                .map_err(StoreError::from)?;
            page.iter().try_for_each(&mut take)?;
            if page.len() < PAGE {
                break;
            }
        }
        Ok(connection.batch_execute("CLOSE ledger_export").map_err(StoreError::from)?)
    })
}
