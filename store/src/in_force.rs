//! What is in force, asked in one small question: whoever keeps what was loaded asks whether it still holds.

use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{Array, Bool, Integer, Text, Timestamptz};

use crate::connection::Connection;
use crate::error::StoreResult;

/// Whatever changes an incident, or what is in force for it, changes this.
#[derive(Debug, Default, Clone, PartialEq, Eq, Queryable)]
pub struct State {
    /// The incidents by name.
    pub names: Vec<String>,
    /// The hash of the file of each, or of what was changed since.
    pub source_hashes: Vec<String>,
    /// When each was loaded.
    pub loaded_at: Vec<DateTime<Utc>>,
    /// The keys of all versions of policies in force, of whatever incident.
    pub versions: Vec<i32>,
    /// Whether any webhook wants to hear what happens to claims.
    pub has_listeners: bool,
}

/// The state as this transaction sees it.
pub fn state(connection: &mut Connection) -> StoreResult<State> {
    Ok(AskState.get_result(connection)?)
}

/// Diesel has no words for several lists in one row.
#[derive(QueryId)]
struct AskState;

impl QueryFragment<Pg> for AskState {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql(
            "SELECT ARRAY(SELECT name FROM incident ORDER BY name), ARRAY(SELECT source_hash FROM incident ORDER BY name),
                    ARRAY(SELECT loaded_at FROM incident ORDER BY name),
                    ARRAY(SELECT id FROM policy_version WHERE approved_at IS NOT NULL AND retired_at IS NULL ORDER BY id),
                    EXISTS(SELECT FROM webhook WHERE purpose = 'events' AND disabled_at IS NULL)",
        );
        Ok(())
    }
}

impl Query for AskState {
    type SqlType = (Array<Text>, Array<Text>, Array<Timestamptz>, Array<Integer>, Bool);
}

impl RunQueryDsl<Connection> for AskState {}
