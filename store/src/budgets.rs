//! What is asked for of budgets, as people see it.

use chrono::{DateTime, Utc};
use diesel::prelude::*;

use crate::connection::Connection;
use crate::error::{StoreError, StoreResult};
use crate::schema::{asset, budget, budget_request, incident, service};

/// A request with the names that it speaks in.
#[derive(Debug, Clone, Queryable)]
pub struct RequestRow {
    /// Its number.
    pub id: i64,
    /// The incident.
    pub incident: String,
    /// The service.
    pub service: String,
    /// The asset.
    pub asset: String,
    /// Its minor digits.
    pub scale: i16,
    /// Minor units.
    pub amount: i64,
    /// Who asked.
    pub authorised_by: String,
    /// When.
    pub authorised_at: DateTime<Utc>,
    /// Who approved it.
    pub approved_by: Option<String>,
    /// Who rejected it.
    pub rejected_by: Option<String>,
}

#[diesel::dsl::auto_type]
fn requests() -> _ {
    budget_request::table
        .inner_join(budget::table.on(budget::id.eq(budget_request::budget_id)))
        .inner_join(incident::table.on(incident::id.eq(budget::incident_id)))
        .inner_join(service::table.on(service::id.eq(budget::service_id)))
        .inner_join(asset::table.on(asset::id.eq(budget::asset_id)))
        .select((
            budget_request::id,
            incident::name,
            service::name,
            asset::code,
            asset::scale,
            budget_request::amount,
            budget_request::authorised_by,
            budget_request::authorised_at,
            budget_request::approved_by,
            budget_request::rejected_by,
        ))
}

/// The requests of an incident, newest first.
pub fn of_incident(connection: &mut Connection, incident_key: i32, limit: i64) -> StoreResult<Vec<RequestRow>> {
    let newest = requests().filter(budget::incident_id.eq(incident_key)).order(budget_request::id.desc()).limit(limit);
    Ok(newest.load(connection)?)
}

/// A request by its number.
pub fn request(connection: &mut Connection, id: i64) -> StoreResult<RequestRow> {
    let found = requests().filter(budget_request::id.eq(id)).first(connection).optional()?;
    found.ok_or_else(|| StoreError::NotFound(format!("budget request {id}")))
}
