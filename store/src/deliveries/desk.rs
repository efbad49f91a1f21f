//! Batches as people see them, and what a person can do about one.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable, Text};
use uuid::Uuid;

use super::DeliveryRow;
use crate::connection::Connection;
use crate::error::{StoreError, StoreResult};
use crate::schema::{delivery, delivery_refusal, service};

/// Which batches are listed.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Of this service.
    pub service: Option<String>,
    /// In this state; when none, all that did not end.
    pub state: Option<String>,
    /// Only after this one, in the order of the list.
    pub after: Option<Uuid>,
}

/// Batches with their services' names, the newest first.
pub fn list(connection: &mut Connection, filter: &Filter, limit: i64) -> StoreResult<Vec<(DeliveryRow, String)>> {
    let mut rows = delivery::table
        .inner_join(service::table.on(service::id.eq(delivery::service_id)))
        .select((DeliveryRow::as_select(), service::name))
        .order(delivery::id.desc())
        .limit(limit)
        .into_boxed();
    rows = match &filter.state {
        Some(state) => rows.filter(delivery::state.eq(state.clone())),
        None => rows.filter(delivery::state.eq_any(["queued", "awaiting", "refused", "dead"])),
    };
    if let Some(service) = &filter.service {
        rows = rows.filter(service::name.eq(service.clone()));
    }
    if let Some(after) = filter.after {
        rows = rows.filter(delivery::id.lt(after));
    }
    Ok(rows.load(connection)?)
}

/// A batch with its service's name.
pub fn find(connection: &mut Connection, id: Uuid) -> StoreResult<Option<(DeliveryRow, String)>> {
    Ok(delivery::table
        .inner_join(service::table.on(service::id.eq(delivery::service_id)))
        .filter(delivery::id.eq(id))
        .select((DeliveryRow::as_select(), service::name))
        .first(connection)
        .optional()?)
}

/// A batch, held until the transaction ends, and the one that took over what was refused of it.
pub fn lock(connection: &mut Connection, id: Uuid) -> StoreResult<(DeliveryRow, Option<Uuid>)> {
    let row: DeliveryRow = delivery::table
        .find(id)
        .select(DeliveryRow::as_select())
        .for_update()
        .first(connection)
        .optional()?
        .ok_or_else(|| StoreError::NotFound(format!("delivery {id}")))?;
    let successor =
        delivery::table.filter(delivery::retry_of.eq(id)).select(delivery::id).first(connection).optional()?;
    Ok((row, successor))
}

/// Queues a batch again that is dead or waits, with as many attempts as a new one: the same id and the same content.
pub fn retry_dead(connection: &mut Connection, row: &DeliveryRow, at: DateTime<Utc>) -> StoreResult<()> {
    let state = if row.state == "awaiting" { "awaiting" } else { "queued" };
    diesel::update(delivery::table.find(row.id))
        .set((delivery::state.eq(state), delivery::attempts.eq(0), delivery::next_at.eq(at)))
        .execute(connection)?;
    Ok(())
}

/// Queues what was refused of a batch, and is owed, as a batch of its own: the old one has its answer.
pub fn retry_refused(
    connection: &mut Connection,
    row: &DeliveryRow,
    credits: usize,
    at: DateTime<Utc>,
) -> StoreResult<Uuid> {
    let again = DeliveryRow {
        id: Uuid::now_v7(),
        retry_of: Some(row.id),
        credits: i32::try_from(credits).map_err(StoreError::corrupt)?,
        state: "queued".to_owned(),
        attempts: 0,
        next_at: at,
        queued_at: at,
        as_of: None,
        ended_at: None,
        last_error: None,
        ..row.clone()
    };
    diesel::insert_into(delivery::table).values(&again).execute(connection)?;
    diesel::update(delivery::table.find(row.id))
        .set((delivery::state.eq("retried"), delivery::ended_at.eq(at)))
        .execute(connection)?;
    Ok(again.id)
}

/// How many credits were refused of these batches, by batch.
pub fn refusals(connection: &mut Connection, ids: &[Uuid]) -> StoreResult<Vec<(Uuid, i64)>> {
    Ok(delivery_refusal::table
        .filter(delivery_refusal::delivery_id.eq_any(ids))
        .group_by(delivery_refusal::delivery_id)
        .select((delivery_refusal::delivery_id, diesel::dsl::count_star()))
        .load(connection)?)
}

/// How delivering stands at one service.
#[derive(Debug, Clone, QueryableByName)]
pub struct ServiceStanding {
    /// The service.
    #[diesel(sql_type = Text)]
    pub service: String,
    /// Where its deliveries go; none where they go nowhere.
    #[diesel(sql_type = Nullable<Text>)]
    pub url: Option<String>,
    /// Since when calls fail.
    #[diesel(sql_type = Nullable<diesel::sql_types::Timestamptz>)]
    pub failing_since: Option<DateTime<Utc>>,
    /// Why the last one did.
    #[diesel(sql_type = Nullable<Text>)]
    pub last_error: Option<String>,
    /// Credits issued, whatever became of them.
    #[diesel(sql_type = BigInt)]
    pub issued: i64,
    /// Of these, credits that no batch has.
    #[diesel(sql_type = BigInt)]
    pub unplanned: i64,
    /// Batches to be sent.
    #[diesel(sql_type = BigInt)]
    pub queued: i64,
    /// Since when the oldest of them waits.
    #[diesel(sql_type = Nullable<diesel::sql_types::Timestamptz>)]
    pub oldest: Option<DateTime<Utc>>,
    /// Batches that the service took and has not acknowledged.
    #[diesel(sql_type = BigInt)]
    pub awaiting: i64,
    /// Batches with credits that were refused.
    #[diesel(sql_type = BigInt)]
    pub refused: i64,
    /// Batches that did not go.
    #[diesel(sql_type = BigInt)]
    pub dead: i64,
}

/// How delivering stands, by service; services that were never credited anything are left out.
pub fn standing(connection: &mut Connection) -> StoreResult<Vec<ServiceStanding>> {
    Ok(diesel::sql_query(
        "SELECT service.name AS service, webhook.url, webhook.failing_since, webhook.last_error,
                credited.credits AS issued, credited.credits - coalesce(batch.credits, 0) AS unplanned,
                coalesce(batch.queued, 0) AS queued, batch.oldest, coalesce(batch.awaiting, 0) AS awaiting,
                coalesce(batch.refused, 0) AS refused, coalesce(batch.dead, 0) AS dead
         FROM service
         JOIN (SELECT budget.service_id, sum(total.transfers)::bigint AS credits
               FROM budget JOIN posting_total AS total ON total.debit_account = budget.provision_id AND total.code = 2
               GROUP BY 1) AS credited ON credited.service_id = service.id
         LEFT JOIN webhook ON webhook.service_id = service.id AND webhook.purpose = 'deliveries'
              AND webhook.disabled_at IS NULL
         LEFT JOIN (SELECT service_id, (sum(credits) FILTER (WHERE retry_of IS NULL))::bigint AS credits,
                           count(*) FILTER (WHERE state = 'queued') AS queued,
                           min(queued_at) FILTER (WHERE state = 'queued') AS oldest,
                           count(*) FILTER (WHERE state = 'awaiting') AS awaiting,
                           count(*) FILTER (WHERE state = 'refused') AS refused,
                           count(*) FILTER (WHERE state = 'dead') AS dead
                    FROM delivery GROUP BY 1) AS batch ON batch.service_id = service.id
         ORDER BY service.name",
    )
    .load(connection)?)
}
