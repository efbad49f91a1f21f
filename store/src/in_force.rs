//! What is in force: whoever keeps what was loaded asks, with what else he asks ([`crate::filing::ask`]), whether it still holds.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, Bool, Integer, Text, Timestamptz};

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

/// Its columns.
pub(crate) type StateColumns = (Array<Text>, Array<Text>, Array<Timestamptz>, Array<Integer>, Bool);
