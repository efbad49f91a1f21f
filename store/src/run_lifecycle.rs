//! What happens to a run as a whole: its moves, what it may issue, and how far it is.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable};
use redress_domain::run::{RunMove, RunState};

use crate::connection::Connection;
use crate::error::{StoreError, StoreResult};
pub use crate::limits::LimitRow;
use crate::limits::{self, Limited};
use crate::runs::RunRow;
use crate::schema::{incident, roster, run, run_allowance, run_exception};

/// Makes a move if the run's state allows it, and returns the run as it is then; none when it does not.
pub fn advance(
    connection: &mut Connection,
    run_id: i64,
    action: RunMove,
    note: Option<&str>,
    at: DateTime<Utc>,
) -> StoreResult<Option<RunRow>> {
    let legal: Vec<&str> = action.from().iter().map(|state| state.as_str()).collect();
    let ended_at = action.to().is_final().then_some(at);
    Ok(diesel::update(run::table.find(run_id).filter(run::state.eq_any(legal)))
        .set((run::state.eq(action.to().as_str()), run::note.eq(note), run::ended_at.eq(ended_at)))
        .returning(RunRow::as_returning())
        .get_result(connection)
        .optional()?)
}

/// Approves a plan by its hash. The database refuses whoever started the run.
pub fn approve(
    connection: &mut Connection,
    run_id: i64,
    plan_hash: &str,
    by: &str,
    at: DateTime<Utc>,
) -> StoreResult<Option<RunRow>> {
    let legal: Vec<&str> = RunMove::Approve.from().iter().map(|state| state.as_str()).collect();
    let waiting = run::table.find(run_id).filter(run::state.eq_any(legal)).filter(run::plan_hash.eq(plan_hash));
    Ok(diesel::update(waiting)
        .set((
            run::state.eq(RunMove::Approve.to().as_str()),
            run::approved_by.eq(by),
            run::approved_at.eq(at),
            run::note.eq(None::<&str>),
        ))
        .returning(RunRow::as_returning())
        .get_result(connection)
        .optional()?)
}

/// Hands a run over to the servers.
pub fn serve(connection: &mut Connection, run_id: i64) -> StoreResult<()> {
    diesel::update(run::table.find(run_id)).set(run::served.eq(true)).execute(connection)?;
    Ok(())
}

/// A run with its incident's name, held until the transaction ends.
pub fn lock(connection: &mut Connection, run_id: i64) -> StoreResult<(RunRow, String)> {
    let row = run::table.find(run_id).select(RunRow::as_select()).for_update().first(connection).optional()?;
    let row: RunRow = row.ok_or_else(|| StoreError::NotFound(format!("run {run_id}")))?;
    let name = incident::table.find(row.incident_id).select(incident::name).first(connection)?;
    Ok((row, name))
}

/// A run with its incident's name.
pub fn find(connection: &mut Connection, run_id: i64) -> StoreResult<(RunRow, String)> {
    run::table
        .inner_join(incident::table.on(incident::id.eq(run::incident_id)))
        .filter(run::id.eq(run_id))
        .select((RunRow::as_select(), incident::name))
        .first(connection)
        .optional()?
        .ok_or_else(|| StoreError::NotFound(format!("run {run_id}")))
}

/// The run that a request with this key has opened.
pub fn of_request(connection: &mut Connection, key: &str) -> StoreResult<Option<i64>> {
    Ok(run::table.filter(run::request_key.eq(key)).select(run::id).first(connection).optional()?)
}

/// The newest runs with their incidents' names, before a run when one is given.
pub fn list(connection: &mut Connection, before: Option<i64>, limit: i64) -> StoreResult<Vec<(RunRow, String)>> {
    Ok(run::table
        .inner_join(incident::table.on(incident::id.eq(run::incident_id)))
        .filter(run::id.lt(before.unwrap_or(i64::MAX)))
        .order(run::id.desc())
        .limit(limit)
        .select((RunRow::as_select(), incident::name))
        .load(connection)?)
}

/// The runs that a server has to execute.
pub fn served(connection: &mut Connection) -> StoreResult<Vec<i64>> {
    let theirs = [RunState::Approved.as_str(), RunState::Running.as_str()];
    Ok(run::table.filter(run::served.and(run::state.eq_any(theirs))).order(run::id).select(run::id).load(connection)?)
}

/// Above these a run waits for a second person.
pub fn limits(connection: &mut Connection) -> StoreResult<Vec<LimitRow>> {
    limits::of(connection, Limited::Run)
}

/// Says what a run may issue, by the asset's key.
pub fn allow(connection: &mut Connection, run_id: i64, most: &[(i32, i64)]) -> StoreResult<()> {
    let rows: Vec<_> = most
        .iter()
        .map(|(asset_key, most)| {
            (run_allowance::run_id.eq(run_id), run_allowance::asset_id.eq(asset_key), run_allowance::most.eq(most))
        })
        .collect();
    diesel::insert_into(run_allowance::table).values(rows).execute(connection)?;
    Ok(())
}

/// Counts what a chunk issues towards what the run may issue; the database refuses to go beyond. No row, no bound.
pub fn count(connection: &mut Connection, run_id: i64, asset_key: i32, amount: i64) -> StoreResult<()> {
    diesel::update(run_allowance::table.find((run_id, asset_key)))
        .set(run_allowance::issued.eq(run_allowance::issued + amount))
        .execute(connection)?;
    Ok(())
}

/// The newest roster of an incident; 0 when it has none.
pub fn newest_roster(connection: &mut Connection, incident_key: i32) -> StoreResult<i64> {
    let newest: Option<i64> = roster::table
        .filter(roster::incident_id.eq(incident_key))
        .select(diesel::dsl::max(roster::id))
        .first(connection)?;
    Ok(newest.unwrap_or(0))
}

/// How far a run is.
#[derive(Debug, Clone, QueryableByName)]
pub struct Progress {
    /// How many chunks it has.
    #[diesel(sql_type = BigInt)]
    pub chunks: i64,
    /// How many are done.
    #[diesel(sql_type = BigInt)]
    pub done: i64,
    /// Credits issued.
    #[diesel(sql_type = BigInt)]
    pub issued: i64,
    /// Credits a second, over the newest chunks; none before the second chunk.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub credits_per_second: Option<i64>,
    /// Seconds until the last chunk is done, at the rate of the newest.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub seconds_left: Option<i64>,
}

/// How many chunks the rate is told from.
const CHUNKS_OF_RATE: i64 = 20;

/// How far a run is, and how fast of late.
pub fn progress(connection: &mut Connection, run_id: i64) -> StoreResult<Progress> {
    // Diesel has no words for aggregates over the newest rows.
    Ok(diesel::sql_query(
        "WITH chunk AS (
             SELECT done_at, (tally ->> 'credits')::bigint AS credits FROM run_chunk WHERE run_id = $1
         ), newest AS (
             SELECT done_at, credits FROM chunk WHERE done_at IS NOT NULL ORDER BY done_at DESC LIMIT $2
         ), span AS (
             SELECT nullif(extract(epoch FROM max(done_at) - min(done_at)), 0) AS seconds, count(*) - 1 AS chunks,
                    sum(credits) - (array_agg(credits ORDER BY done_at))[1] AS credits FROM newest
         ), whole AS (
             SELECT count(*) AS chunks, count(done_at) AS done, coalesce(sum(credits), 0)::bigint AS issued FROM chunk
         )
         SELECT whole.chunks, done, issued, (span.credits / seconds)::bigint AS credits_per_second,
                ceil((whole.chunks - done) * seconds / nullif(span.chunks, 0))::bigint AS seconds_left
         FROM whole, span",
    )
    .bind::<BigInt, _>(run_id)
    .bind::<BigInt, _>(CHUNKS_OF_RATE)
    .get_result(connection)?)
}

/// How many subjects a run set aside, by reason.
pub fn set_aside(connection: &mut Connection, run_id: i64) -> StoreResult<Vec<(String, i64)>> {
    Ok(run_exception::table
        .filter(run_exception::run_id.eq(run_id))
        .group_by(run_exception::reason)
        .order((diesel::dsl::count_star().desc(), run_exception::reason))
        .select((run_exception::reason, diesel::dsl::count_star()))
        .load(connection)?)
}
