//! What `/readyz`, `/metrics` and `redress doctor` ask of the database.

use chrono::{DateTime, Utc};
use diesel::prelude::*;

use crate::connection::Connection;
use crate::error::StoreResult;
use crate::schema::notice;

/// How the outbox of notices stands.
#[derive(Debug, Clone, Default)]
pub struct Outbox {
    /// Notices that wait to be sent.
    pub queued: i64,
    /// When the oldest of them was queued.
    pub oldest: Option<DateTime<Utc>>,
    /// Notices that failed for good and that a person has to see.
    pub dead: i64,
}

/// Asks the database for the simplest answer it can give.
pub fn ping(connection: &mut Connection) -> StoreResult<()> {
    diesel::select(1_i32.into_sql::<diesel::sql_types::Integer>()).execute(connection)?;
    Ok(())
}

/// The database server's version, such as `15.18`.
pub fn server_version(connection: &mut Connection) -> StoreResult<String> {
    Ok(diesel::select(diesel::dsl::sql::<diesel::sql_types::Text>("current_setting('server_version')"))
        .get_result(connection)?)
}

/// Whether a commit is on disk when it is acknowledged (`fsync` and `synchronous_commit`).
pub fn is_durable(connection: &mut Connection) -> StoreResult<bool> {
    Ok(diesel::select(diesel::dsl::sql::<diesel::sql_types::Bool>(
        "current_setting('fsync') = 'on' AND current_setting('synchronous_commit') <> 'off'",
    ))
    .get_result(connection)?)
}

/// How the outbox stands.
pub fn outbox(connection: &mut Connection) -> StoreResult<Outbox> {
    let (queued, oldest) = notice::table
        .filter(notice::state.eq("queued"))
        .select((diesel::dsl::count_star(), diesel::dsl::min(notice::queued_at)))
        .first::<(i64, Option<DateTime<Utc>>)>(connection)?;
    let dead = notice::table.filter(notice::state.eq("dead")).count().get_result(connection)?;
    Ok(Outbox { queued, oldest, dead })
}
