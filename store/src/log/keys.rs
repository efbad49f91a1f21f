//! The changes of the key that signs the log's heads, as the log has them.

use diesel::prelude::*;
use redress_domain::log::KeyChange;

use super::ENTRY;
use crate::audit::AuditRow;
use crate::connection::Connection;
use crate::error::StoreResult;
use crate::schema::{audit, log_leaf};

/// What the audit entry of a change is named.
pub const ACTION: &str = "audit.rotate-key";
/// What it is about.
pub const OBJECT: &str = "log key";

/// A change and where it stands.
#[derive(Debug, Clone)]
pub struct Stated {
    /// The audit entry.
    pub entry: i64,
    /// Its leaf in the log; none until it is sealed.
    pub leaf: Option<u64>,
    /// The statement; none where the entry is none that Redress has written.
    pub change: Option<KeyChange>,
}

/// Every change that the log states, oldest first.
pub fn stated(connection: &mut Connection) -> StoreResult<Vec<Stated>> {
    let leaf = log_leaf::kind.eq(ENTRY).and(log_leaf::source.eq(audit::id));
    let rows: Vec<(AuditRow, Option<i64>)> = audit::table
        .left_join(log_leaf::table.on(leaf))
        .filter(audit::object.eq(OBJECT).and(audit::action.eq(ACTION)))
        .order(audit::id)
        .select((AuditRow::as_select(), log_leaf::seq.nullable()))
        .load(connection)?;
    Ok(rows
        .into_iter()
        .map(|(row, seq)| Stated {
            entry: row.id,
            leaf: seq.and_then(|seq| u64::try_from(seq).ok()),
            change: row.document().and_then(|document| serde_json::from_value(document.detail).ok()),
        })
        .collect())
}

/// The same without what Redress has not written.
pub fn changes(connection: &mut Connection) -> StoreResult<Vec<KeyChange>> {
    Ok(stated(connection)?.into_iter().filter_map(|stated| stated.change).collect())
}
