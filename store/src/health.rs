//! What `/readyz`, `/metrics` and `redress doctor` ask of the database.

use chrono::{DateTime, Utc};
use diesel::prelude::*;

use crate::connection::Connection;
use crate::error::StoreResult;
use crate::schema::{audit, delivery, notice, webhook_message};

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

/// Whether an installation has done anything in the database: every command that writes leaves an entry in the log.
pub fn is_used(connection: &mut Connection) -> StoreResult<bool> {
    let migrated = "to_regclass('public.audit') IS NOT NULL";
    let migrated: bool =
        diesel::select(diesel::dsl::sql::<diesel::sql_types::Bool>(migrated)).get_result(connection)?;
    Ok(migrated && diesel::select(diesel::dsl::exists(audit::table.select(audit::id))).get_result(connection)?)
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

/// How deliveries stand.
#[derive(Debug, Clone, Default)]
pub struct Deliveries {
    /// Batches that are sent at their time.
    pub queued: i64,
    /// When the oldest of them was cut.
    pub oldest: Option<DateTime<Utc>>,
    /// Batches that a service took and has not acknowledged.
    pub awaiting: i64,
    /// Batches of which a service refused credits that are owed; a person has to see them.
    pub refused: i64,
    /// Batches that did not go; a person has to see them.
    pub dead: i64,
}

/// How deliveries stand.
pub fn deliveries(connection: &mut Connection) -> StoreResult<Deliveries> {
    let open: Vec<(String, i64, Option<DateTime<Utc>>)> = delivery::table
        .filter(delivery::state.eq_any(["queued", "awaiting", "refused", "dead"]))
        .group_by(delivery::state)
        .select((delivery::state, diesel::dsl::count_star(), diesel::dsl::min(delivery::queued_at)))
        .load(connection)?;
    let mut found = Deliveries::default();
    for (state, count, oldest) in open {
        match state.as_str() {
            "queued" => (found.queued, found.oldest) = (count, oldest),
            "awaiting" => found.awaiting = count,
            "refused" => found.refused = count,
            _ => found.dead = count,
        }
    }
    Ok(found)
}

/// Messages to webhooks that are sent at their time, and those that did not go and that a person has to see.
pub fn webhook_messages(connection: &mut Connection) -> StoreResult<(i64, i64)> {
    let mut count = |state: &str| {
        webhook_message::table.filter(webhook_message::state.eq(state.to_owned())).count().get_result::<i64>(connection)
    };
    Ok((count("queued")?, count("dead")?))
}
