//! The log of commands: who did what, when and from where, written in the transaction of the command itself.

use chrono::{DateTime, Utc};
use diesel::prelude::*;

use crate::connection::Connection;
use crate::error::StoreResult;
use crate::schema::audit;

/// One entry. Never holds personal data.
#[derive(Debug, Clone, Insertable)]
#[diesel(table_name = audit)]
pub struct AuditEntry {
    /// When.
    pub at: DateTime<Utc>,
    /// Who: a member of staff, `customer:<id>`, or `system`.
    pub actor: String,
    /// From where: `http`, `cli:<user of the machine>`, `worker`.
    pub origin: String,
    /// What was done, such as `policy.publish`.
    pub action: String,
    /// To what, such as `policy melon`.
    pub object: String,
    /// Figures and hashes of it.
    pub detail: serde_json::Value,
}

/// Appends entries.
pub fn append(connection: &mut Connection, entries: &[AuditEntry]) -> StoreResult<()> {
    diesel::insert_into(audit::table).values(entries).execute(connection)?;
    Ok(())
}
