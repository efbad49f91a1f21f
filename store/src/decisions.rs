//! What people decided of claims, the second signatures, and the appeals against it.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use uuid::Uuid;

use crate::connection::Connection;
use crate::error::StoreResult;
use crate::schema::{appeal, decision};

/// A decision as a row.
#[derive(Debug, Clone, Queryable, Selectable, Insertable, serde::Serialize)]
#[diesel(table_name = decision, treat_none_as_default_value = false)]
pub struct DecisionRow {
    /// Whose claim it is of.
    pub customer_id: String,
    /// The claim.
    pub claim_id: Uuid,
    /// Counts the decisions of a claim.
    pub seq: i32,
    /// `approve`, `part` or `decline`.
    pub outcome: String,
    /// What it grants.
    pub awards: serde_json::Value,
    /// Why it refuses what it refuses, each with its wording.
    pub reasons: serde_json::Value,
    /// The version whose assets and budget it grants from.
    pub policy_version_id: Option<i32>,
    /// Who.
    pub decided_by: String,
    /// When.
    pub decided_at: DateTime<Utc>,
    /// Whether it is beyond what the reader decides alone.
    pub needs_approval: bool,
    /// Who signed second.
    pub approved_by: Option<String>,
    /// When.
    pub approved_at: Option<DateTime<Utc>>,
    /// Who refused to.
    pub rejected_by: Option<String>,
    /// When.
    pub rejected_at: Option<DateTime<Utc>>,
    /// Since when it holds.
    pub in_force_at: Option<DateTime<Utc>>,
}

/// Adds a decision.
pub fn insert(connection: &mut Connection, row: &DecisionRow) -> StoreResult<()> {
    diesel::insert_into(decision::table).values(row).execute(connection)?;
    Ok(())
}

/// All decisions of a claim, in their order.
pub fn of_claim(connection: &mut Connection, customer: &str, claim: Uuid) -> StoreResult<Vec<DecisionRow>> {
    Ok(decision::table
        .filter(decision::customer_id.eq(customer).and(decision::claim_id.eq(claim)))
        .order(decision::seq)
        .select(DecisionRow::as_select())
        .load(connection)?)
}

/// Signs a decision that waits for it: approved, it holds from then on; else it never does. False when it no longer
/// waits. The database refuses the reader's own signature.
pub fn sign(
    connection: &mut Connection,
    row: &DecisionRow,
    by: &str,
    at: DateTime<Utc>,
    approves: bool,
) -> StoreResult<bool> {
    let waiting = decision::table
        .find((&row.customer_id, row.claim_id, row.seq))
        .filter(decision::in_force_at.is_null().and(decision::rejected_at.is_null()));
    let signed = if approves {
        diesel::update(waiting)
            .set((decision::approved_by.eq(by), decision::approved_at.eq(at), decision::in_force_at.eq(at)))
            .execute(connection)?
    } else {
        diesel::update(waiting).set((decision::rejected_by.eq(by), decision::rejected_at.eq(at))).execute(connection)?
    };
    Ok(signed == 1)
}

/// An appeal as a row.
#[derive(Debug, Clone, Queryable, Selectable, Insertable, serde::Serialize)]
#[diesel(table_name = appeal, treat_none_as_default_value = false)]
pub struct AppealRow {
    /// Whose claim it is of.
    pub customer_id: String,
    /// The claim.
    pub claim_id: Uuid,
    /// The number of the decision it is against; 0 for the policy's own.
    pub against: i32,
    /// When it came.
    pub filed_at: DateTime<Utc>,
    /// Who decided; nobody where the policy did.
    pub decided_by: Option<String>,
    /// Who signed second.
    pub countersigned_by: Option<String>,
    /// Who read it.
    pub read_by: Option<String>,
    /// When.
    pub read_at: Option<DateTime<Utc>>,
    /// What came of it.
    pub outcome: Option<String>,
}

/// Adds an appeal; the database refuses a second one against the same decision.
pub fn insert_appeal(connection: &mut Connection, row: &AppealRow) -> StoreResult<()> {
    diesel::insert_into(appeal::table).values(row).execute(connection)?;
    Ok(())
}

/// All appeals of a claim, in their order.
pub fn appeals(connection: &mut Connection, customer: &str, claim: Uuid) -> StoreResult<Vec<AppealRow>> {
    Ok(appeal::table
        .filter(appeal::customer_id.eq(customer).and(appeal::claim_id.eq(claim)))
        .order(appeal::against)
        .select(AppealRow::as_select())
        .load(connection)?)
}

/// Records who read the appeal that is open, and what came of it. The database refuses whoever decided before.
pub fn close_appeal(
    connection: &mut Connection,
    customer: &str,
    claim: Uuid,
    by: &str,
    outcome: &str,
    at: DateTime<Utc>,
) -> StoreResult<bool> {
    let open = appeal::table
        .filter(appeal::customer_id.eq(customer).and(appeal::claim_id.eq(claim)))
        .filter(appeal::read_at.is_null());
    let read = diesel::update(open)
        .set((appeal::read_by.eq(by), appeal::read_at.eq(at), appeal::outcome.eq(outcome)))
        .execute(connection)?;
    Ok(read > 0)
}
