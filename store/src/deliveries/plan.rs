//! Cutting what was issued into batches, after the fact: issuing writes nothing for it.

use chrono::{DateTime, Utc};
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Integer, Text, Uuid as SqlUuid};
use uuid::Uuid;

use super::DeliveryRow;
use crate::connection::Connection;
use crate::error::StoreResult;
use crate::schema::{budget, delivery, posting_seal};

/// How many credits a batch has at most: a service can grant so many within the time that a call may take.
const CREDITS: i64 = 1_000;
/// One planner at a time, whatever the number of servers; and none while a credit is taken back that no batch has yet.
pub(super) const PLAN_LOCK: i64 = 0x0064_656c_6976_6572;
/// Postings get their numbers before they commit, so one may appear below others that were cut already. A pass over what
/// is recent looks so far back; what came later still is found by a pass over everything.
const LOOK_BACK: i64 = 20_000;

/// How far back a pass looks for postings that were not cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// What was committed lately.
    Recent,
    /// Everything.
    All,
}

#[derive(QueryableByName)]
struct Uncut {
    #[diesel(sql_type = BigInt)]
    posting_id: i64,
    #[diesel(sql_type = Integer)]
    service_id: i32,
}

#[derive(QueryableByName)]
struct Part {
    #[diesel(sql_type = Text)]
    first_customer: String,
    #[diesel(sql_type = SqlUuid)]
    first_credit: Uuid,
    #[diesel(sql_type = Text)]
    last_customer: String,
    #[diesel(sql_type = SqlUuid)]
    last_credit: Uuid,
    #[diesel(sql_type = Integer)]
    credits: i32,
}

/// Cuts a posting that has credits of a service with a webhook and was not cut; says whether there was one. Call in a
/// transaction, until there is none: each posting is committed by itself.
pub fn plan(connection: &mut Connection, reach: Reach, now: DateTime<Utc>) -> StoreResult<bool> {
    connection.batch_execute(&format!("SELECT pg_advisory_xact_lock({PLAN_LOCK})"))?;
    let look_back = if reach == Reach::Recent { LOOK_BACK } else { i64::MAX };
    // A service that was never told of anything has no newest batch, so that all its postings are looked at.
    let uncut: Option<Uncut> = diesel::sql_query(
        "WITH told AS (
             SELECT service_id, coalesce((SELECT max(posting_id) FROM delivery AS cut
                                          WHERE cut.service_id = webhook.service_id AND cut.retry_of IS NULL), 0) - $1 AS last
             FROM webhook WHERE purpose = 'deliveries' AND disabled_at IS NULL
         )
         SELECT total.posting_id, budget.service_id
         FROM told JOIN budget ON budget.service_id = told.service_id
         JOIN posting_total AS total ON total.debit_account = budget.provision_id AND total.code = 2
              AND total.posting_id > told.last
         WHERE NOT EXISTS (SELECT 1 FROM delivery AS cut
                           WHERE cut.posting_id = total.posting_id AND cut.service_id = budget.service_id
                             AND cut.retry_of IS NULL)
         ORDER BY total.posting_id LIMIT 1",
    )
    .bind::<BigInt, _>(look_back)
    .get_result(connection)
    .optional()?;
    let Some(uncut) = uncut else { return Ok(false) };
    let rows: Vec<DeliveryRow> = cut(connection, &uncut)?
        .into_iter()
        .map(|part| DeliveryRow {
            id: Uuid::now_v7(),
            service_id: uncut.service_id,
            posting_id: uncut.posting_id,
            retry_of: None,
            first_customer: part.first_customer,
            first_credit: part.first_credit,
            last_customer: part.last_customer,
            last_credit: part.last_credit,
            credits: part.credits,
            state: "queued".to_owned(),
            attempts: 0,
            next_at: now,
            queued_at: now,
            as_of: None,
            ended_at: None,
            last_error: None,
        })
        .collect();
    diesel::insert_into(delivery::table).values(&rows).execute(connection)?;
    Ok(true)
}

/// The parts of a posting's credits of one service, in the order of their keys.
fn cut(connection: &mut Connection, uncut: &Uncut) -> StoreResult<Vec<Part>> {
    // The posting's customers and the budgets' accounts first: then the credits are one range of one index.
    let (first, last): (String, String) = posting_seal::table
        .find(uncut.posting_id)
        .select((posting_seal::first_customer, posting_seal::last_customer))
        .first(connection)?;
    let accounts: Vec<i32> =
        budget::table.filter(budget::service_id.eq(uncut.service_id)).select(budget::provision_id).load(connection)?;
    Ok(diesel::sql_query(
        "SELECT count(*)::integer AS credits,
                (array_agg(customer_id ORDER BY place))[1] AS first_customer,
                (array_agg(id ORDER BY place))[1] AS first_credit,
                (array_agg(customer_id ORDER BY place DESC))[1] AS last_customer,
                (array_agg(id ORDER BY place DESC))[1] AS last_credit
         FROM (SELECT customer_id, id, place, (place - 1) / $5 + 1 AS part
               FROM (SELECT customer_id, id, row_number() OVER (ORDER BY customer_id, id) AS place FROM transfer
                     WHERE customer_id BETWEEN $1 AND $2 AND posting_id = $3 AND code = 2
                       AND debit_account = ANY ($4)) AS numbered) AS cut
         GROUP BY part ORDER BY part",
    )
    .bind::<Text, _>(first)
    .bind::<Text, _>(last)
    .bind::<BigInt, _>(uncut.posting_id)
    .bind::<Array<Integer>, _>(accounts)
    .bind::<BigInt, _>(CREDITS)
    .load(connection)?)
}

/// Ends batches of which nothing that was refused is owed any more: it was granted, written off or reversed since.
pub fn settle_refused(connection: &mut Connection, now: DateTime<Utc>) -> StoreResult<usize> {
    let refused: Vec<Uuid> = delivery::table
        .filter(delivery::state.eq("refused"))
        .select(delivery::id)
        .order(delivery::id)
        .load(connection)?;
    let mut settled = 0;
    for id in refused {
        if super::refused(connection, id)?.iter().all(|credit| credit.owed == 0) {
            settled += diesel::update(delivery::table.find(id).filter(delivery::state.eq("refused")))
                .set((delivery::state.eq("done"), delivery::ended_at.eq(now)))
                .execute(connection)?;
        }
    }
    Ok(settled)
}
