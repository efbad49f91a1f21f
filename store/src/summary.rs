//! The figures of an incident: claims by service and state, credits by service and asset. Read from the ledger and
//! the claims alone, so that two histories that did the same print the same.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Integer, Nullable, Numeric, SmallInt, Text, Timestamptz};
use rust_decimal::Decimal;

use crate::connection::Connection;
use crate::error::StoreResult;

/// Claims of one service and kind in one state.
#[derive(Debug, Clone, QueryableByName)]
pub struct ClaimCount {
    /// The service.
    #[diesel(sql_type = Text)]
    pub service: String,
    /// The state.
    #[diesel(sql_type = Text)]
    pub state: String,
    /// `damage`, `enquiry`, or `merged`: a loss that was reported before.
    #[diesel(sql_type = Text)]
    pub kind: String,
    /// How many.
    #[diesel(sql_type = BigInt)]
    pub claims: i64,
}

/// Claims by service, state and kind.
pub fn claims(connection: &mut Connection, incident_key: i32) -> StoreResult<Vec<ClaimCount>> {
    Ok(diesel::sql_query(
        "SELECT service.name AS service, claim.state, count(*) AS claims,
                CASE WHEN claim.duplicate_of IS NULL THEN claim.kind ELSE 'merged' END AS kind
         FROM claim JOIN service ON service.id = claim.service_id
         WHERE claim.incident_id = $1 GROUP BY 1, 2, 4 ORDER BY 1, 2, 4",
    )
    .bind::<Integer, _>(incident_key)
    .load(connection)?)
}

/// What became of the credits of one policy version in one asset, each figure in minor units and net of reversals.
#[derive(Debug, Clone, QueryableByName)]
pub struct FlowSum {
    /// The service.
    #[diesel(sql_type = Text)]
    pub service: String,
    /// The policy.
    #[diesel(sql_type = Text)]
    pub policy: String,
    /// The version's key.
    #[diesel(sql_type = Integer)]
    pub version_key: i32,
    /// The asset.
    #[diesel(sql_type = Text)]
    pub asset: String,
    /// Its minor digits.
    #[diesel(sql_type = SmallInt)]
    pub scale: i16,
    /// How many credits were issued.
    #[diesel(sql_type = BigInt)]
    pub credits: i64,
    /// Issued, whatever became of it.
    #[diesel(sql_type = Numeric)]
    pub issued: Decimal,
    /// Reversed into the budget.
    #[diesel(sql_type = Numeric)]
    pub reversed: Decimal,
    /// Granted by the service.
    #[diesel(sql_type = Numeric)]
    pub delivered: Decimal,
    /// Expired unused.
    #[diesel(sql_type = Numeric)]
    pub breakage: Decimal,
    /// Written off as undeliverable.
    #[diesel(sql_type = Numeric)]
    pub suspense: Decimal,
}

impl FlowSum {
    /// Still owed, in minor units; none when it is beyond what can be counted.
    #[must_use]
    pub fn owed(&self) -> Option<Decimal> {
        [self.reversed, self.delivered, self.breakage, self.suspense]
            .into_iter()
            .try_fold(self.issued, |left, gone| left.checked_sub(gone))
    }
}

/// What became of the credits of an incident until `at`, by service, policy, asset and version, from the totals of the
/// postings. Now, if no instant is given.
pub fn flows(connection: &mut Connection, incident_key: i32, at: Option<DateTime<Utc>>) -> StoreResult<Vec<FlowSum>> {
    Ok(diesel::sql_query(
        "SELECT service.name AS service, policy.name AS policy, policy_version.id AS version_key, asset.code AS asset,
                asset.scale, coalesce(sum(total.transfers) FILTER (WHERE total.code = 2), 0)::bigint AS credits,
                coalesce(sum(total.amount) FILTER (WHERE debit.kind = 'provision'), 0) AS issued,
                coalesce(sum(total.amount) FILTER (WHERE credit.kind = 'provision'), 0) AS reversed,
                sum(CASE 'delivered' WHEN credit.kind THEN total.amount WHEN debit.kind THEN -total.amount ELSE 0 END)
                    AS delivered,
                sum(CASE 'breakage' WHEN credit.kind THEN total.amount WHEN debit.kind THEN -total.amount ELSE 0 END)
                    AS breakage,
                sum(CASE 'suspense' WHEN credit.kind THEN total.amount WHEN debit.kind THEN -total.amount ELSE 0 END)
                    AS suspense
         FROM posting_total AS total
         JOIN posting ON posting.id = total.posting_id
         JOIN policy_version ON policy_version.id = total.policy_version_id
         JOIN policy ON policy.id = policy_version.policy_id
         JOIN service ON service.id = policy.service_id
         JOIN account AS debit ON debit.id = total.debit_account
         JOIN account AS credit ON credit.id = total.credit_account
         JOIN asset ON asset.id = credit.asset_id
         WHERE policy.incident_id = $1 AND ($2 IS NULL OR posting.recorded_at <= $2)
         GROUP BY service.name, policy.name, policy_version.id, asset.code, asset.scale
         ORDER BY service.name, policy.name, asset.code, policy_version.id",
    )
    .bind::<Integer, _>(incident_key)
    .bind::<Nullable<Timestamptz>, _>(at)
    .load(connection)?)
}

/// Holdings of one service.
#[derive(Debug, Clone, QueryableByName)]
pub struct HoldingCount {
    /// The service.
    #[diesel(sql_type = Text)]
    pub service: String,
    /// How many holdings.
    #[diesel(sql_type = BigInt)]
    pub holdings: i64,
    /// Of how many customers.
    #[diesel(sql_type = BigInt)]
    pub customers: i64,
}

/// Holdings by service.
pub fn holdings(connection: &mut Connection, incident_key: i32) -> StoreResult<Vec<HoldingCount>> {
    Ok(diesel::sql_query(
        "SELECT service.name AS service, count(*) AS holdings, count(DISTINCT holding.customer_id) AS customers
         FROM holding JOIN service ON service.id = holding.service_id
         WHERE holding.incident_id = $1 GROUP BY 1 ORDER BY 1",
    )
    .bind::<Integer, _>(incident_key)
    .load(connection)?)
}

/// How far people came at one service.
#[derive(Debug, Clone, QueryableByName)]
pub struct FunnelRow {
    /// The service.
    #[diesel(sql_type = Text)]
    pub service: String,
    /// Customers in the records.
    #[diesel(sql_type = BigInt)]
    pub customers: i64,
    /// Customers credited for a holding.
    #[diesel(sql_type = BigInt)]
    pub credited_automatically: i64,
    /// Damage reports, drafts included, each loss once.
    #[diesel(sql_type = BigInt)]
    pub begun: i64,
    /// Reports of a loss that was reported before.
    #[diesel(sql_type = BigInt)]
    pub merged: i64,
    /// Enquiries: nothing is claimed.
    #[diesel(sql_type = BigInt)]
    pub enquiries: i64,
    /// Of these, waiting for a person.
    #[diesel(sql_type = BigInt)]
    pub enquiries_open: i64,
    /// Drafts.
    #[diesel(sql_type = BigInt)]
    pub drafts: i64,
    /// Granted and not credited yet.
    #[diesel(sql_type = BigInt)]
    pub approved: i64,
    /// Credited.
    #[diesel(sql_type = BigInt)]
    pub credited: i64,
    /// Waiting for the claimant.
    #[diesel(sql_type = BigInt)]
    pub waiting_for_claimant: i64,
    /// Refused.
    #[diesel(sql_type = BigInt)]
    pub declined: i64,
    /// Taken back.
    #[diesel(sql_type = BigInt)]
    pub withdrawn: i64,
}

/// The funnel of an incident by service: each part is counted by itself and joined on the service, which is small.
pub fn funnel(connection: &mut Connection, incident_key: i32) -> StoreResult<Vec<FunnelRow>> {
    Ok(diesel::sql_query(
        "WITH held AS (
             SELECT service_id, count(DISTINCT customer_id) AS customers FROM holding WHERE incident_id = $1 GROUP BY 1
         ), automatic AS (
             SELECT policy.service_id, count(DISTINCT transfer.customer_id) AS customers
             FROM transfer JOIN policy_version ON policy_version.id = transfer.policy_version_id
             JOIN policy ON policy.id = policy_version.policy_id
             WHERE policy.incident_id = $1 AND transfer.code = 2 AND transfer.subject LIKE 'holding/%' GROUP BY 1
         ), claimed AS (
             SELECT service_id, count(*) AS begun, count(*) FILTER (WHERE state = 'draft') AS drafts,
                    count(*) FILTER (WHERE state IN ('approved', 'partly_approved') AND credited_at IS NULL) AS approved,
                    count(*) FILTER (WHERE credited_at IS NOT NULL) AS credited,
                    count(*) FILTER (WHERE state = 'needs_information' AND credited_at IS NULL) AS waiting_for_claimant,
                    count(*) FILTER (WHERE state IN ('declined', 'closed') AND credited_at IS NULL) AS declined,
                    count(*) FILTER (WHERE state = 'withdrawn') AS withdrawn
             FROM claim WHERE incident_id = $1 AND kind = 'damage' AND duplicate_of IS NULL GROUP BY 1
         ), beside AS (
             SELECT service_id, count(*) FILTER (WHERE kind = 'damage') AS merged,
                    count(*) FILTER (WHERE kind = 'enquiry') AS enquiries,
                    count(*) FILTER (WHERE kind = 'enquiry' AND state NOT IN ('draft', 'closed', 'withdrawn')) AS enquiries_open
             FROM claim WHERE incident_id = $1 AND (kind = 'enquiry' OR duplicate_of IS NOT NULL) GROUP BY 1
         )
         SELECT service.name AS service, coalesce(held.customers, 0) AS customers,
                coalesce(automatic.customers, 0) AS credited_automatically, coalesce(begun, 0) AS begun,
                coalesce(drafts, 0) AS drafts, coalesce(approved, 0) AS approved, coalesce(credited, 0) AS credited,
                coalesce(waiting_for_claimant, 0) AS waiting_for_claimant, coalesce(declined, 0) AS declined,
                coalesce(withdrawn, 0) AS withdrawn, coalesce(merged, 0) AS merged, coalesce(enquiries, 0) AS enquiries,
                coalesce(enquiries_open, 0) AS enquiries_open
         FROM service LEFT JOIN held ON held.service_id = service.id
         LEFT JOIN automatic ON automatic.service_id = service.id LEFT JOIN claimed ON claimed.service_id = service.id
         LEFT JOIN beside ON beside.service_id = service.id
         WHERE service.id IN (SELECT service_id FROM impact WHERE incident_id = $1)
         ORDER BY service.name",
    )
    .bind::<Integer, _>(incident_key)
    .load(connection)?)
}
