//! Which credits a batch has, what of each the service is told, and which still lack an answer: all read from the books.

use chrono::{DateTime, Utc};
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Bool, Integer, Nullable, SmallInt, Text, Timestamptz, Uuid as SqlUuid};
use uuid::Uuid;

use super::DeliveryRow;
use super::plan::PLAN_LOCK;
use crate::connection::{Connection, ROWS_PER_STATEMENT};
use crate::error::StoreResult;
use crate::schema::{budget, delivery_refusal};

/// A credit as a service is told of it.
#[derive(Debug, Clone, QueryableByName)]
pub struct DueCredit {
    /// Whose it is.
    #[diesel(sql_type = Text)]
    pub customer_id: String,
    /// Its id.
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    /// Minor units owed at the batch's instant.
    #[diesel(sql_type = BigInt)]
    pub owed: i64,
    /// The deliveries recorded until then.
    #[diesel(sql_type = Array<SqlUuid>)]
    pub delivered: Vec<Uuid>,
    /// The incident.
    #[diesel(sql_type = Text)]
    pub incident: String,
    /// The policy that granted it.
    #[diesel(sql_type = Text)]
    pub policy: String,
    /// The asset.
    #[diesel(sql_type = Text)]
    pub asset: String,
    /// The asset's minor digits.
    #[diesel(sql_type = SmallInt)]
    pub scale: i16,
    /// What it is for.
    #[diesel(sql_type = Text)]
    pub subject: String,
    /// Whether it has its answer: a delivery recorded since that instant, or a refusal.
    #[diesel(sql_type = Bool)]
    pub answered: bool,
}

/// The credits of a batch: its range of its posting, at its service; those that an earlier batch was refused, if it takes
/// them over. `$1` to `$7` are bound by [`of_batch!`].
const MEMBERS: &str = "
    FROM transfer AS credit
    WHERE (credit.customer_id, credit.id) >= ($1, $2) AND (credit.customer_id, credit.id) <= ($3, $4)
      AND credit.posting_id = $5 AND credit.code = 2 AND credit.debit_account = ANY ($6)
      AND ($7 IS NULL OR EXISTS (
          SELECT 1 FROM delivery_refusal AS earlier
          WHERE earlier.customer_id = credit.customer_id AND earlier.delivery_id = $7 AND earlier.credit_id = credit.id))";

/// A credit has its answer in a batch when it was delivered after the batch's instant, or refused. `$8` and `$9`.
const ANSWERED: &str = "
    (EXISTS (SELECT 1 FROM credit_movement AS moved
             JOIN transfer AS mover ON mover.customer_id = moved.customer_id AND mover.id = moved.transfer_id
             JOIN posting AS mp ON mp.id = mover.posting_id
             WHERE moved.customer_id = credit.customer_id AND moved.credit_id = credit.id AND moved.code = 3
               AND mp.recorded_at > $8)
     OR EXISTS (SELECT 1 FROM delivery_refusal AS no
                WHERE no.customer_id = credit.customer_id AND no.delivery_id = $9 AND no.credit_id = credit.id))";

/// What was owed of a credit at the batch's instant, and by which deliveries it had become that.
const TOLD: &str = "
    LEFT JOIN LATERAL (
        SELECT array_agg(moved.transfer_id) FILTER (WHERE moved.code = 3) AS delivered,
               (array_agg(moved.owed_after ORDER BY moved.seq DESC))[1] AS owed
        FROM credit_movement AS moved
        JOIN transfer AS mover ON mover.customer_id = moved.customer_id AND mover.id = moved.transfer_id
        JOIN posting AS mp ON mp.id = mover.posting_id
        WHERE moved.customer_id = credit.customer_id AND moved.credit_id = credit.id AND mp.recorded_at <= $8
    ) AS moves ON true";

/// The accounts that credits of a service come from.
fn provisions(connection: &mut Connection, service_key: i32) -> StoreResult<Vec<i32>> {
    Ok(budget::table.filter(budget::service_id.eq(service_key)).select(budget::provision_id).load(connection)?)
}

macro_rules! of_batch {
    ($query:expr, $row:expr, $accounts:expr, $as_of:expr) => {
        diesel::sql_query($query)
            .bind::<Text, _>(&$row.first_customer)
            .bind::<SqlUuid, _>($row.first_credit)
            .bind::<Text, _>(&$row.last_customer)
            .bind::<SqlUuid, _>($row.last_credit)
            .bind::<BigInt, _>($row.posting_id)
            .bind::<Array<Integer>, _>($accounts)
            .bind::<Nullable<SqlUuid>, _>($row.retry_of)
            .bind::<Timestamptz, _>($as_of)
            .bind::<SqlUuid, _>($row.id)
    };
}

/// The credits that a service is told of: what was owed at `as_of`. The answer for an instant never changes, so that every
/// attempt says the same.
pub fn content(connection: &mut Connection, row: &DeliveryRow, as_of: DateTime<Utc>) -> StoreResult<Vec<DueCredit>> {
    let accounts = provisions(connection, row.service_id)?;
    let query = format!(
        "SELECT credit.customer_id, credit.id, coalesce(moves.owed, credit.amount) AS owed,
                coalesce(moves.delivered, '{{}}') AS delivered, incident.name AS incident, policy.name AS policy,
                asset.code AS asset, asset.scale, credit.subject, {ANSWERED} AS answered
         FROM (SELECT credit.* {MEMBERS}) AS credit {TOLD}
         JOIN asset ON asset.id = credit.asset_id
         JOIN policy_version ON policy_version.id = credit.policy_version_id
         JOIN policy ON policy.id = policy_version.policy_id JOIN incident ON incident.id = policy.incident_id
         WHERE coalesce(moves.owed, credit.amount) > 0
         ORDER BY credit.customer_id, credit.id"
    );
    Ok(of_batch!(query, row, accounts, as_of).load(connection)?)
}

/// Whether a credit that the service was told of still lacks its answer.
pub fn has_outstanding(connection: &mut Connection, row: &DeliveryRow, as_of: DateTime<Utc>) -> StoreResult<bool> {
    #[derive(QueryableByName)]
    struct Found {
        #[diesel(sql_type = Bool)]
        found: bool,
    }
    let accounts = provisions(connection, row.service_id)?;
    let query = format!(
        "SELECT EXISTS (SELECT credit.customer_id FROM (SELECT credit.* {MEMBERS}) AS credit {TOLD}
                        WHERE coalesce(moves.owed, credit.amount) > 0 AND NOT {ANSWERED}) AS found"
    );
    let found: Found = of_batch!(query, row, accounts, as_of).get_result(connection)?;
    Ok(found.found)
}

/// What a service did not grant of a batch.
#[derive(Debug, Clone, Insertable)]
#[diesel(table_name = delivery_refusal)]
pub struct RefusalRow {
    /// Whose credit.
    pub customer_id: String,
    /// The batch.
    pub delivery_id: Uuid,
    /// The credit.
    pub credit_id: Uuid,
    /// Why, as a code.
    pub reason: String,
    /// When.
    pub refused_at: DateTime<Utc>,
}

/// Keeps refusals; one that is kept already stays as it was. Returns how many are new.
pub fn refuse(connection: &mut Connection, rows: &[RefusalRow]) -> StoreResult<usize> {
    let mut new = 0;
    for part in rows.chunks(ROWS_PER_STATEMENT) {
        new +=
            diesel::insert_into(delivery_refusal::table).values(part).on_conflict_do_nothing().execute(connection)?;
    }
    Ok(new)
}

/// A credit that a service refused, and what is owed of it now.
#[derive(Debug, Clone, QueryableByName)]
pub struct RefusedCredit {
    /// Whose it is.
    #[diesel(sql_type = Text)]
    pub customer_id: String,
    /// The credit.
    #[diesel(sql_type = SqlUuid)]
    pub credit_id: Uuid,
    /// Why.
    #[diesel(sql_type = Text)]
    pub reason: String,
    /// When.
    #[diesel(sql_type = Timestamptz)]
    pub refused_at: DateTime<Utc>,
    /// The asset.
    #[diesel(sql_type = Text)]
    pub asset: String,
    /// The asset's minor digits.
    #[diesel(sql_type = SmallInt)]
    pub scale: i16,
    /// Minor units owed now.
    #[diesel(sql_type = BigInt)]
    pub owed: i64,
}

/// What was refused of a batch, and what of it is owed now.
pub fn refused(connection: &mut Connection, id: Uuid) -> StoreResult<Vec<RefusedCredit>> {
    Ok(diesel::sql_query(
        "SELECT no.customer_id, no.credit_id, no.reason, no.refused_at, asset.code AS asset, asset.scale,
                coalesce((SELECT moved.owed_after FROM credit_movement AS moved
                          WHERE moved.customer_id = no.customer_id AND moved.credit_id = no.credit_id
                          ORDER BY moved.seq DESC LIMIT 1), credit.amount) AS owed
         FROM delivery_refusal AS no
         JOIN transfer AS credit ON credit.customer_id = no.customer_id AND credit.id = no.credit_id
         JOIN asset ON asset.id = credit.asset_id
         WHERE no.delivery_id = $1 ORDER BY no.customer_id, no.credit_id",
    )
    .bind::<SqlUuid, _>(id)
    .load(connection)?)
}

/// A credit that a batch under way has.
#[derive(Debug, Clone, QueryableByName)]
pub struct CoveredCredit {
    /// Whose it is.
    #[diesel(sql_type = Text)]
    pub customer_id: String,
    /// The credit.
    #[diesel(sql_type = SqlUuid)]
    pub credit_id: Uuid,
    /// The batch.
    #[diesel(sql_type = SqlUuid)]
    pub delivery_id: Uuid,
    /// The batch's instant; none while the service cannot have heard of it.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub as_of: Option<DateTime<Utc>>,
    /// Whether it was delivered since.
    #[diesel(sql_type = Bool)]
    pub delivered: bool,
    /// Whether the service refused it there.
    #[diesel(sql_type = Bool)]
    pub refused: bool,
}

impl CoveredCredit {
    /// Whether the service was told of it and has not answered: it may have granted it.
    #[must_use]
    pub fn is_outstanding(&self) -> bool {
        self.as_of.is_some() && !self.delivered && !self.refused
    }
}

/// How a batch is held until the transaction ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// So that it is not sent for the first time meanwhile, nor cut.
    Unsent,
    /// So that nobody else changes it.
    Alone,
}

/// The batches that have these credits and did not end. A batch whose refusals nobody has settled is one of them.
pub fn covering(
    connection: &mut Connection,
    credits: &[(String, Uuid)],
    hold: Hold,
) -> StoreResult<Vec<CoveredCredit>> {
    // What is about to be cut and is not here yet would be overlooked.
    connection.batch_execute(&format!("SELECT pg_advisory_xact_lock_shared({PLAN_LOCK})"))?;
    let lock = match hold {
        Hold::Unsent => "SHARE",
        Hold::Alone => "UPDATE",
    };
    let customers: Vec<&str> = credits.iter().map(|(customer, _)| customer.as_str()).collect();
    let ids: Vec<Uuid> = credits.iter().map(|(_, id)| *id).collect();
    Ok(diesel::sql_query(format!(
        "SELECT credit.customer_id, credit.id AS credit_id, batch.id AS delivery_id, batch.as_of,
                EXISTS (SELECT 1 FROM credit_movement AS moved
                        JOIN transfer AS mover ON mover.customer_id = moved.customer_id AND mover.id = moved.transfer_id
                        JOIN posting AS mp ON mp.id = mover.posting_id
                        WHERE moved.customer_id = credit.customer_id AND moved.credit_id = credit.id AND moved.code = 3
                          AND mp.recorded_at > batch.as_of) AS delivered,
                EXISTS (SELECT 1 FROM delivery_refusal AS no
                        WHERE no.customer_id = credit.customer_id AND no.delivery_id = batch.id
                          AND no.credit_id = credit.id) AS refused
         FROM unnest($1, $2) AS pair (customer_id, id)
         JOIN transfer AS credit ON credit.customer_id = pair.customer_id COLLATE \"C\" AND credit.id = pair.id
              AND credit.code = 2
         JOIN budget ON budget.provision_id = credit.debit_account
         JOIN delivery AS batch ON batch.posting_id = credit.posting_id AND batch.service_id = budget.service_id
              AND (credit.customer_id, credit.id) >= (batch.first_customer, batch.first_credit)
              AND (credit.customer_id, credit.id) <= (batch.last_customer, batch.last_credit)
         WHERE batch.state NOT IN ('done', 'retried')
           AND (batch.retry_of IS NULL OR EXISTS (
               SELECT 1 FROM delivery_refusal AS earlier
               WHERE earlier.customer_id = credit.customer_id AND earlier.delivery_id = batch.retry_of
                 AND earlier.credit_id = credit.id))
         ORDER BY batch.id FOR {lock} OF batch"
    ))
    .bind::<Array<Text>, _>(customers)
    .bind::<Array<SqlUuid>, _>(ids)
    .load(connection)?)
}
