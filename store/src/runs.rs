//! Runs of the batch job: a run is cut into chunks of customers, and a chunk commits whole or not at all.

use std::sync::LazyLock;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Integer, Nullable, Text};

use redress_domain::id::MAX_NAME_LENGTH;
use redress_domain::run::RunState;

use crate::connection::{Connection, ROWS_PER_STATEMENT};
use crate::error::{StoreError, StoreResult};
use crate::failpoint::{Guard, Point, is_without, reach};
use crate::schema::{claim, incident, roster, run, run_chunk, run_exception};

/// A run as a row.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = run)]
pub struct RunRow {
    /// Its key.
    pub id: i64,
    /// The incident's key.
    pub incident_id: i32,
    /// Its state's name.
    pub state: String,
    /// Which policies it is for; null means all.
    pub scope: serde_json::Value,
    /// Who started it.
    pub started_by: String,
    /// When.
    pub started_at: DateTime<Utc>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// Why it stands where it does.
    pub note: Option<String>,
    /// What was planned, where a limit asked for a plan.
    pub plan: Option<serde_json::Value>,
    /// The hash of it, which an approval names.
    pub plan_hash: Option<String>,
    /// Whether it is above a limit.
    pub needs_approval: bool,
    /// Who approved it.
    pub approved_by: Option<String>,
    /// When.
    pub approved_at: Option<DateTime<Utc>>,
    /// Whether servers execute it, rather than a command.
    pub served: bool,
}

impl RunRow {
    /// Where it stands.
    pub fn state(&self) -> StoreResult<RunState> {
        self.state.parse().map_err(StoreError::corrupt)
    }
}

/// A run that is to be opened.
#[derive(Debug, Clone)]
pub struct NewRun<'a> {
    /// The incident's key.
    pub incident_key: i32,
    /// Which policies it is for; null means all.
    pub scope: &'a serde_json::Value,
    /// Who starts it.
    pub by: &'a str,
    /// When.
    pub at: DateTime<Utc>,
    /// Its plan with the plan's hash, where a limit asked for one.
    pub plan: Option<(&'a serde_json::Value, &'a str)>,
    /// Whether it is above a limit and waits.
    pub needs_approval: bool,
    /// Whether servers execute it, because of the request with this key.
    pub request_key: Option<&'a str>,
}

/// A chunk taken by this worker, locked until its transaction ends.
#[derive(Debug, Clone, Queryable)]
pub struct Chunk {
    /// Its place in the run.
    pub seq: i32,
    /// The first customer; open when none.
    pub from: Option<String>,
    /// The first customer after it; open when none.
    pub till: Option<String>,
}

impl Chunk {
    /// Its customers.
    #[must_use]
    pub fn customers(&self) -> Customers<'_> {
        Customers { from: self.from.as_deref().unwrap_or(""), till: self.till.as_deref().unwrap_or(&AFTER_ALL) }
    }
}

/// A range of customers. It has two ends even where a chunk is open: of a range with one end PostgreSQL thinks that a
/// third of the table is in it, and reads all of it.
#[derive(Debug, Clone, Copy)]
pub struct Customers<'a> {
    pub(crate) from: &'a str,
    pub(crate) till: &'a str,
}

/// What comes after every customer.
static AFTER_ALL: LazyLock<String> = LazyLock::new(|| char::MAX.to_string().repeat(MAX_NAME_LENGTH + 1));

/// The states in which nothing more can happen to a run.
pub(crate) const FINAL: [&str; 2] = ["done", "cancelled"];

/// Opening a run takes this lock together with the incident's key, so that two starters do not collide.
const RUN_LOCK: i32 = 0x72_756e;

/// The open run of an incident, if there is one. Call in a transaction: it holds the lock on opening runs.
pub fn find_open(connection: &mut Connection, incident_key: i32) -> StoreResult<Option<RunRow>> {
    diesel::sql_query("SELECT pg_advisory_xact_lock($1, $2)")
        .bind::<Integer, _>(RUN_LOCK)
        .bind::<Integer, _>(incident_key)
        .execute(connection)?;
    Ok(run::table
        .filter(run::incident_id.eq(incident_key).and(run::state.ne_all(FINAL)))
        .select(RunRow::as_select())
        .first(connection)
        .optional()?)
}

/// The least and the usual number of chunks that even a small incident is cut into, so that workers can share it.
const SMALLEST_CHUNK: i64 = 4_000;
const CHUNKS_TO_SHARE: i64 = 16;
/// How many rows of a sample speak for a chunk, out of how many that stand on the pages looked at: its size then differs from the
/// wanted one by a fifth, give or take. Of a small roster every page is looked at.
const SAMPLES_A_CHUNK: i64 = 100;
const LOOKED_AT_A_CHUNK: i64 = 8 * SAMPLES_A_CHUNK;
const LOOKED_AT: i64 = 32_000;
/// Of how many parts a sample's share is told.
const PARTS: i64 = 1 << 14;

/// Cuts an incident into ranges of at most about `chunk_size` holdings and claims, by customer. A customer is never cut in
/// two; the first range is open below and the last above, so that nobody falls between. The last ones are small, so that
/// workers come home together. Where the cuts are makes no difference to what is issued, so they are told from a sample, of
/// pages and of the rows on them: a run of millions begins at once.
pub fn ranges(connection: &mut Connection, incident_key: i32, chunk_size: i64) -> StoreResult<Vec<Chunk>> {
    let subjects = subjects(connection, incident_key)?;
    let size = (subjects / CHUNKS_TO_SHARE).max(SMALLEST_CHUNK).min(chunk_size).max(1);
    let part = (PARTS * SAMPLES_A_CHUNK / size).clamp(1, PARTS);
    let looked_at = (subjects / size * LOOKED_AT_A_CHUNK).max(LOOKED_AT);
    let pages = (PARTS.saturating_mul(looked_at) / subjects.max(1)).clamp(part, PARTS);
    let number = |parts: i64| i32::try_from(parts).map_err(StoreError::corrupt);
    // Diesel has no words for window functions over a union, nor for a sample of less than one per cent.
    let rows: Vec<Range> = diesel::sql_query(
        "WITH subject AS (
             SELECT customer_id FROM holding TABLESAMPLE SYSTEM ($5::real * 100 / $4) REPEATABLE (0)
             WHERE incident_id = $1 AND (hashtext(customer_id || reference) & ($4 - 1)) < $6
             UNION ALL
             SELECT customer_id FROM claim
             WHERE incident_id = $1 AND state IN ('approved', 'partly_approved') AND (uuid_hash(id) & ($4 - 1)) < $3
         ), numbered AS (
             SELECT customer_id, row_number() OVER (ORDER BY customer_id) AS place, count(*) OVER () AS places FROM subject
         ), edge AS (
             SELECT NULL::text COLLATE \"C\" AS from_customer
             UNION ALL SELECT DISTINCT customer_id FROM numbered
             WHERE place % $2 = 0 OR (places > 8 * $2 AND place > places - 2 * $2 AND place % greatest($2 / 4, 1) = 0)
         )
         SELECT (row_number() OVER w)::integer AS seq, from_customer, lead(from_customer) OVER w AS till_customer
         FROM edge WINDOW w AS (ORDER BY from_customer NULLS FIRST) ORDER BY seq",
    )
    .bind::<Integer, _>(incident_key)
    .bind::<BigInt, _>((size * part / PARTS).max(1))
    .bind::<Integer, _>(number(part)?)
    .bind::<Integer, _>(number(PARTS)?)
    .bind::<Integer, _>(number(pages)?)
    .bind::<Integer, _>(number(PARTS * part / pages)?)
    .load(connection)?;
    Ok(rows.into_iter().map(|row| Chunk { seq: row.seq, from: row.from_customer, till: row.till_customer }).collect())
}

/// How many holdings and claims an incident has, about: what its rosters brought, those that came twice counted twice.
fn subjects(connection: &mut Connection, incident_key: i32) -> StoreResult<i64> {
    let held: Option<rust_decimal::Decimal> = roster::table
        .filter(roster::incident_id.eq(incident_key))
        .select(diesel::dsl::sum(roster::accepted))
        .first(connection)?;
    let claimed: i64 = claim::table
        .filter(claim::incident_id.eq(incident_key).and(claim::state.eq_any(["approved", "partly_approved"])))
        .count()
        .get_result(connection)?;
    Ok(held.and_then(|held| i64::try_from(held).ok()).unwrap_or(0).saturating_add(claimed))
}

#[derive(QueryableByName)]
struct Range {
    #[diesel(sql_type = Integer)]
    seq: i32,
    #[diesel(sql_type = Nullable<Text>)]
    from_customer: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    till_customer: Option<String>,
}

/// Opens a run over the ranges it is cut into.
pub fn open(connection: &mut Connection, new: &NewRun<'_>, chunks: &[Chunk]) -> StoreResult<RunRow> {
    let state = if new.needs_approval { RunState::Planned } else { RunState::Running };
    let opened: RunRow = diesel::insert_into(run::table)
        .values((
            run::incident_id.eq(new.incident_key),
            run::state.eq(state.as_str()),
            run::scope.eq(new.scope),
            run::started_by.eq(new.by),
            run::started_at.eq(new.at),
            run::plan.eq(new.plan.map(|(plan, _)| plan)),
            run::plan_hash.eq(new.plan.map(|(_, hash)| hash)),
            run::needs_approval.eq(new.needs_approval),
            run::served.eq(new.request_key.is_some()),
            run::request_key.eq(new.request_key),
        ))
        .returning(RunRow::as_returning())
        .get_result(connection)?;
    for part in chunks.chunks(ROWS_PER_STATEMENT) {
        let rows: Vec<_> = part
            .iter()
            .map(|chunk| {
                (
                    run_chunk::run_id.eq(opened.id),
                    run_chunk::seq.eq(chunk.seq),
                    run_chunk::from_customer.eq(chunk.from.as_deref()),
                    run_chunk::till_customer.eq(chunk.till.as_deref()),
                )
            })
            .collect();
        diesel::insert_into(run_chunk::table).values(rows).execute(connection)?;
    }
    Ok(opened)
}

/// A run by its key.
pub fn find(connection: &mut Connection, id: i64) -> StoreResult<Option<RunRow>> {
    Ok(run::table.find(id).select(RunRow::as_select()).first(connection).optional()?)
}

/// Takes the next chunk that nobody works on and that is not done; none while the run is not running, so that whoever
/// pauses it halts every worker of every machine at its next chunk.
pub fn take_chunk(connection: &mut Connection, run_id: i64) -> StoreResult<Option<Chunk>> {
    let running = run::table.find(run_id).filter(run::state.eq(RunState::Running.as_str()));
    let taken = run_chunk::table
        .filter(run_chunk::run_id.eq(run_id).and(run_chunk::done_at.is_null()))
        .filter(diesel::dsl::exists(running))
        .order(run_chunk::seq)
        .select((run_chunk::seq, run_chunk::from_customer, run_chunk::till_customer))
        .for_update()
        .skip_locked()
        .first(connection)
        .optional()?;
    reach(Point::Leased);
    Ok(taken)
}

/// Waits until no other worker holds an unfinished chunk and says whether any chunk is left.
pub fn chunks_left(connection: &mut Connection, run_id: i64) -> StoreResult<i64> {
    Ok(run_chunk::table
        .filter(run_chunk::run_id.eq(run_id).and(run_chunk::done_at.is_null()))
        .count()
        .get_result(connection)?)
}

/// Marks a chunk as done with its figures, in the transaction that recorded its transfers.
pub fn finish_chunk(
    connection: &mut Connection,
    run_id: i64,
    seq: i32,
    tally: &serde_json::Value,
    at: DateTime<Utc>,
) -> StoreResult<()> {
    if is_without(Guard::Mark) {
        return Ok(());
    }
    diesel::update(run_chunk::table.find((run_id, seq)))
        .set((run_chunk::tally.eq(tally), run_chunk::done_at.eq(at)))
        .execute(connection)?;
    reach(Point::Marked);
    Ok(())
}

/// The figures of the chunks that are done, and the number of all chunks.
pub fn tallies(connection: &mut Connection, run_id: i64) -> StoreResult<(Vec<serde_json::Value>, i64)> {
    let done: Vec<Option<serde_json::Value>> = run_chunk::table
        .filter(run_chunk::run_id.eq(run_id).and(run_chunk::done_at.is_not_null()))
        .order(run_chunk::seq)
        .select(run_chunk::tally)
        .load(connection)?;
    let all = run_chunk::table.filter(run_chunk::run_id.eq(run_id)).count().get_result(connection)?;
    Ok((done.into_iter().flatten().collect(), all))
}

/// A subject that could not be issued.
#[derive(Debug, Clone, Insertable, Queryable)]
#[diesel(table_name = run_exception)]
pub struct ExceptionRow {
    /// The run.
    pub run_id: i64,
    /// Whose it is.
    pub customer_id: String,
    /// The version that could not be applied.
    pub policy_version_id: i32,
    /// The holding's reference or the claim's id.
    pub subject: String,
    /// Why.
    pub reason: String,
}

/// Sets subjects aside with their reasons. One customer can have any number of them.
pub fn set_aside(connection: &mut Connection, rows: &[ExceptionRow]) -> StoreResult<()> {
    for part in rows.chunks(ROWS_PER_STATEMENT) {
        diesel::insert_into(run_exception::table).values(part).execute(connection)?;
    }
    Ok(())
}

/// The open run of any incident: its incident's name, state and age, for `doctor`.
pub fn open_runs(connection: &mut Connection) -> StoreResult<Vec<(String, String, DateTime<Utc>)>> {
    Ok(run::table
        .inner_join(incident::table.on(incident::id.eq(run::incident_id)))
        .filter(run::state.ne_all(FINAL))
        .select((incident::name, run::state, run::started_at))
        .load(connection)?)
}

/// What one run credited, by asset: credits and minor units.
pub fn credited(connection: &mut Connection, run_id: i64) -> StoreResult<Vec<CreditedAsset>> {
    Ok(diesel::sql_query(
        "SELECT asset.code, asset.scale, sum(posting_total.transfers)::bigint AS credits, sum(posting_total.amount) AS amount
         FROM posting JOIN posting_total ON posting_total.posting_id = posting.id
         JOIN account ON account.id = posting_total.credit_account JOIN asset ON asset.id = account.asset_id
         WHERE posting.run_id = $1 GROUP BY asset.code, asset.scale ORDER BY asset.code",
    )
    .bind::<BigInt, _>(run_id)
    .load(connection)?)
}

/// Credits of one asset.
#[derive(Debug, Clone, QueryableByName)]
pub struct CreditedAsset {
    /// The asset's code.
    #[diesel(sql_type = Text)]
    pub code: String,
    /// Its minor digits.
    #[diesel(sql_type = diesel::sql_types::SmallInt)]
    pub scale: i16,
    /// How many credits.
    #[diesel(sql_type = BigInt)]
    pub credits: i64,
    /// Minor units.
    #[diesel(sql_type = diesel::sql_types::Numeric)]
    pub amount: rust_decimal::Decimal,
}
