//! The figures of an incident: claims by service and state, credits by service and asset. Read from the ledger and
//! the claims alone, so that two histories that did the same print the same.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Integer, Numeric, SmallInt, Text};
use rust_decimal::Decimal;

use crate::connection::Connection;
use crate::error::StoreResult;

/// Claims of one service in one state.
#[derive(Debug, Clone, QueryableByName)]
pub struct ClaimCount {
    /// The service.
    #[diesel(sql_type = Text)]
    pub service: String,
    /// The state.
    #[diesel(sql_type = Text)]
    pub state: String,
    /// How many.
    #[diesel(sql_type = BigInt)]
    pub claims: i64,
}

/// Claims by service and state.
pub fn claims(connection: &mut Connection, incident_key: i32) -> StoreResult<Vec<ClaimCount>> {
    Ok(diesel::sql_query(
        "SELECT service.name AS service, claim.state, count(*) AS claims
         FROM claim JOIN service ON service.id = claim.service_id
         WHERE claim.incident_id = $1 GROUP BY 1, 2 ORDER BY 1, 2",
    )
    .bind::<Integer, _>(incident_key)
    .load(connection)?)
}

/// Credits of one service, policy and asset.
#[derive(Debug, Clone, QueryableByName)]
pub struct CreditSum {
    /// The service.
    #[diesel(sql_type = Text)]
    pub service: String,
    /// The policy.
    #[diesel(sql_type = Text)]
    pub policy: String,
    /// The asset.
    #[diesel(sql_type = Text)]
    pub asset: String,
    /// The asset's class.
    #[diesel(sql_type = Text)]
    pub class: String,
    /// Its minor digits.
    #[diesel(sql_type = SmallInt)]
    pub scale: i16,
    /// How many credits.
    #[diesel(sql_type = BigInt)]
    pub credits: i64,
    /// Minor units.
    #[diesel(sql_type = Numeric)]
    pub amount: Decimal,
}

/// Credits by service, policy and asset, from the totals of the postings.
pub fn credits(connection: &mut Connection, incident_key: i32) -> StoreResult<Vec<CreditSum>> {
    Ok(diesel::sql_query(
        "SELECT service.name AS service, policy.name AS policy, asset.code AS asset, asset.class, asset.scale,
                sum(posting_total.transfers)::bigint AS credits, sum(posting_total.amount) AS amount
         FROM posting_total
         JOIN policy_version ON policy_version.id = posting_total.policy_version_id
         JOIN policy ON policy.id = policy_version.policy_id
         JOIN service ON service.id = policy.service_id
         JOIN account ON account.id = posting_total.credit_account
         JOIN asset ON asset.id = account.asset_id
         WHERE policy.incident_id = $1 AND posting_total.code = 2
         GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3",
    )
    .bind::<Integer, _>(incident_key)
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
