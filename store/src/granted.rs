//! The claims that were granted, as a run reads them: by what people decided, else by what the policy said.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use diesel::expression::ValidGrouping;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::sql_types::Bool;
use uuid::Uuid;

use crate::connection::Connection;
use crate::error::StoreResult;
use crate::json::JsonText;
use crate::runs::Customers;
use crate::schema::{assessment, claim, decision};

/// A claim that was granted. One that has its credit still counts: another for the same loss must not be paid too.
#[derive(Debug, Clone, Queryable)]
pub struct GrantedClaim {
    /// Whose it is.
    pub customer_id: String,
    /// Its id.
    pub id: Uuid,
    /// The service's key.
    pub service_id: i32,
    /// Where it stands.
    pub state: String,
    /// What was claimed.
    pub facts: serde_json::Value,
    /// When.
    pub submitted_at: Option<DateTime<Utc>>,
    /// The version that granted it.
    pub policy_version_id: Option<i32>,
    /// What was granted: a list of assets and amounts.
    pub awards: serde_json::Value,
}

/// Whether a claim is one that a run reads: word for word as the partial index over them has it, which is only used for what is
/// no parameter. Diesel's own `sql` would have it planned anew for each chunk.
#[derive(QueryId, ValidGrouping)]
struct IsRead;

impl Expression for IsRead {
    type SqlType = Bool;
}

impl QueryFragment<Pg> for IsRead {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql(
            "(claim.state IN ('approved', 'partly_approved', 'issued', 'closed') OR claim.credited_at IS NOT NULL)",
        );
        Ok(())
    }
}

impl<Source> AppearsOnTable<Source> for IsRead {}

/// The granted claims of the customers of a range, by customer and id. A claim that was credited and declined since is
/// one of them and grants nothing: what it got still counts.
pub fn of_range(
    connection: &mut Connection,
    incident_key: i32,
    customers: Customers<'_>,
) -> StoreResult<Vec<GrantedClaim>> {
    let mut decided = decided(connection, incident_key, customers)?;
    let mut granted = assessed(connection, incident_key, customers)?;
    // What people said comes after what the policy said.
    granted.retain_mut(|claim| match decided.remove(&claim.id) {
        Some((credited, later)) => {
            let keep = credited || later.awards.as_array().is_some_and(|awards| !awards.is_empty());
            *claim = later;
            keep
        }
        None => true,
    });
    let grants = |awards: &serde_json::Value| awards.as_array().is_some_and(|awards| !awards.is_empty());
    granted.extend(
        decided.into_values().filter(|(credited, claim)| *credited || grants(&claim.awards)).map(|(_, claim)| claim),
    );
    granted.sort_by(|a, b| (&a.customer_id, a.id).cmp(&(&b.customer_id, b.id)));
    Ok(granted)
}

/// What policies granted.
fn assessed(
    connection: &mut Connection,
    incident_key: i32,
    customers: Customers<'_>,
) -> StoreResult<Vec<GrantedClaim>> {
    let mut granted: Vec<(GrantedRow, JsonText)> = claim::table
        .inner_join(
            assessment::table
                .on(assessment::customer_id.eq(claim::customer_id).and(assessment::claim_id.eq(claim::id))),
        )
        .filter(claim::incident_id.eq(incident_key).and(IsRead))
        .filter(claim::customer_id.ge(customers.from).and(claim::customer_id.lt(customers.till)))
        .filter(assessment::outcome.eq("award"))
        .order((claim::customer_id, claim::id, assessment::seq.desc()))
        .select((
            (
                claim::customer_id,
                claim::id,
                claim::service_id,
                claim::state,
                claim::facts,
                claim::submitted_at,
                assessment::policy_version_id,
            ),
            assessment::trace,
        ))
        .load(connection)?;
    // The newest assessment of a claim comes first; the older ones are history.
    granted.dedup_by(|later, first| later.0.1 == first.0.1);
    Ok(granted.into_iter().map(|(row, said)| by_policy(row, &said)).collect())
}

/// A claim's columns, and the version that granted it.
type GrantedRow = (String, Uuid, i32, String, serde_json::Value, Option<DateTime<Utc>>, Option<i32>);

/// A claim that its policy granted. What cannot be read is null, which is no list of awards: whoever needs it finds out.
fn by_policy(row: GrantedRow, said: &JsonText) -> GrantedClaim {
    #[derive(serde::Deserialize)]
    struct Said {
        #[serde(default)]
        awards: Vec<serde_json::Value>,
    }
    let awards = said.read().map_or(serde_json::Value::Null, |said: Said| said.awards.into());
    let (customer_id, id, service_id, state, facts, submitted_at, policy_version_id) = row;
    GrantedClaim { customer_id, id, service_id, state, facts, submitted_at, policy_version_id, awards }
}

/// What people decided last of these claims, and whether anything was credited before.
fn decided(
    connection: &mut Connection,
    incident_key: i32,
    customers: Customers<'_>,
) -> StoreResult<HashMap<Uuid, (bool, GrantedClaim)>> {
    let rows: Vec<(Option<DateTime<Utc>>, GrantedClaim)> = claim::table
        .inner_join(
            decision::table.on(decision::customer_id.eq(claim::customer_id).and(decision::claim_id.eq(claim::id))),
        )
        .filter(claim::incident_id.eq(incident_key).and(IsRead))
        .filter(claim::customer_id.ge(customers.from).and(claim::customer_id.lt(customers.till)))
        .filter(decision::in_force_at.is_not_null())
        .order((claim::customer_id, claim::id, decision::seq))
        .select((
            claim::credited_at,
            (
                claim::customer_id,
                claim::id,
                claim::service_id,
                claim::state,
                claim::facts,
                claim::submitted_at,
                decision::policy_version_id,
                decision::awards,
            ),
        ))
        .load(connection)?;
    // The last decision of a claim overwrites those before it.
    Ok(rows.into_iter().map(|(credited, claim)| (claim.id, (credited.is_some(), claim))).collect())
}
