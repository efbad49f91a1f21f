//! Whom we tell over HTTP: addresses, sealed secrets, and how calls to each fare.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use uuid::Uuid;

use crate::connection::Connection;
use crate::error::{StoreError, StoreResult};
use crate::schema::{service, webhook};

/// The purpose of a webhook where a service grants what its customers are owed.
pub const DELIVERIES: &str = "deliveries";
/// The purpose of a webhook that is told what happens to claims.
pub const EVENTS: &str = "events";
/// The most webhooks of a list.
const MAX_LISTED: i64 = 500;

/// A webhook as a row.
#[derive(Debug, Clone, Queryable, Selectable, Insertable)]
#[diesel(table_name = webhook)]
pub struct WebhookRow {
    /// Its id.
    pub id: Uuid,
    /// Where calls go.
    pub url: String,
    /// `deliveries` or `events`.
    pub purpose: String,
    /// The service that it is for.
    pub service_id: Option<i32>,
    /// What calls are signed with, sealed.
    pub secret: Vec<u8>,
    /// What they were signed with before the last rotation, sealed.
    pub previous_secret: Option<Vec<u8>>,
    /// Until when they are signed with that one too.
    pub previous_until: Option<DateTime<Utc>>,
    /// Who registered it.
    pub created_by: String,
    /// When.
    pub created_at: DateTime<Utc>,
    /// When it was switched off, for good.
    pub disabled_at: Option<DateTime<Utc>>,
    /// By whom, or why.
    pub disabled_why: Option<String>,
    /// How many calls failed in a row.
    pub failures: i32,
    /// Since when.
    pub failing_since: Option<DateTime<Utc>>,
    /// No call before then.
    pub retry_at: Option<DateTime<Utc>>,
    /// Why the last call failed.
    pub last_error: Option<String>,
    /// The events of claims that are told there, a list of names.
    pub events: serde_json::Value,
}

/// Keeps a new webhook.
pub fn add(connection: &mut Connection, row: &WebhookRow) -> StoreResult<()> {
    diesel::insert_into(webhook::table).values(row).execute(connection)?;
    Ok(())
}

/// Webhooks with the names of their services, the newest first; those that are switched off only when asked for, and after
/// those that are on.
pub fn list(connection: &mut Connection, with_disabled: bool) -> StoreResult<Vec<(WebhookRow, Option<String>)>> {
    let rows = webhook::table.left_join(service::table.on(webhook::service_id.eq(service::id.nullable()))).into_boxed();
    let rows = if with_disabled { rows } else { rows.filter(webhook::disabled_at.is_null()) };
    Ok(rows
        .order((webhook::disabled_at.is_null().desc(), webhook::id.desc()))
        .limit(MAX_LISTED)
        .select((WebhookRow::as_select(), service::name.nullable()))
        .load(connection)?)
}

/// A webhook, switched off or not.
pub fn find(connection: &mut Connection, id: Uuid) -> StoreResult<WebhookRow> {
    let found = webhook::table.find(id).select(WebhookRow::as_select()).first(connection).optional()?;
    found.ok_or_else(|| StoreError::NotFound(format!("webhook {id}")))
}

/// A webhook that is not switched off, held until the transaction ends.
pub fn lock(connection: &mut Connection, id: Uuid) -> StoreResult<WebhookRow> {
    webhook::table
        .find(id)
        .filter(webhook::disabled_at.is_null())
        .select(WebhookRow::as_select())
        .for_update()
        .first(connection)
        .optional()?
        .ok_or_else(|| StoreError::NotFound(format!("webhook {id}")))
}

/// The webhooks of a purpose that may be called now: not switched off, and not waiting after a failure.
pub fn callable(connection: &mut Connection, purpose: &str, now: DateTime<Utc>) -> StoreResult<Vec<WebhookRow>> {
    let waits = webhook::retry_at.gt(now).assume_not_null();
    Ok(webhook::table
        .filter(webhook::purpose.eq(purpose).and(webhook::disabled_at.is_null()))
        .filter(webhook::retry_at.is_null().or(diesel::dsl::not(waits)))
        .order(webhook::id)
        .select(WebhookRow::as_select())
        .load(connection)?)
}

/// The webhook that deliveries of a service go to.
pub fn of_service(connection: &mut Connection, service_key: i32) -> StoreResult<Option<WebhookRow>> {
    Ok(webhook::table
        .filter(webhook::purpose.eq(DELIVERIES).and(webhook::disabled_at.is_null()))
        .filter(webhook::service_id.eq(service_key))
        .select(WebhookRow::as_select())
        .first(connection)
        .optional()?)
}

/// Gives a webhook another secret; the one before signs too until `previous_until`.
pub fn rotate(
    connection: &mut Connection,
    row: &WebhookRow,
    secret: &[u8],
    previous_until: DateTime<Utc>,
) -> StoreResult<()> {
    diesel::update(webhook::table.find(row.id))
        .set((
            webhook::secret.eq(secret),
            webhook::previous_secret.eq(&row.secret),
            webhook::previous_until.eq(previous_until),
        ))
        .execute(connection)?;
    Ok(())
}

/// Switches a webhook off, for good.
pub fn disable(connection: &mut Connection, id: Uuid, why: &str, at: DateTime<Utc>) -> StoreResult<()> {
    diesel::update(webhook::table.find(id).filter(webhook::disabled_at.is_null()))
        .set((webhook::disabled_at.eq(at), webhook::disabled_why.eq(why)))
        .execute(connection)?;
    Ok(())
}

/// Notes that a call was answered, unless none failed before: then nothing is written.
pub fn note_success(connection: &mut Connection, id: Uuid) -> StoreResult<()> {
    diesel::update(webhook::table.find(id).filter(webhook::failures.gt(0)))
        .set((
            webhook::failures.eq(0),
            webhook::failing_since.eq(None::<DateTime<Utc>>),
            webhook::retry_at.eq(None::<DateTime<Utc>>),
            webhook::last_error.eq(None::<String>),
        ))
        .execute(connection)?;
    Ok(())
}

/// Notes that a call failed, and that none is made before `retry_at`; returns how many have failed in a row.
pub fn note_failure(
    connection: &mut Connection,
    id: Uuid,
    why: &str,
    at: DateTime<Utc>,
    retry_at: DateTime<Utc>,
) -> StoreResult<i32> {
    Ok(diesel::update(webhook::table.find(id))
        .set((
            webhook::failures.eq(webhook::failures + 1),
            webhook::failing_since.eq(diesel::dsl::sql::<diesel::sql_types::Nullable<diesel::sql_types::Timestamptz>>(
                "coalesce(failing_since, ",
            )
            .bind::<diesel::sql_types::Timestamptz, _>(at)
            .sql(")")),
            webhook::retry_at.eq(retry_at),
            webhook::last_error.eq(why),
        ))
        .returning(webhook::failures)
        .get_result(connection)?)
}
