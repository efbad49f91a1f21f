//! Reversals and write-offs as they were asked for: done at once, or waiting for a second person.

use chrono::{DateTime, NaiveDate, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Integer, Text, Timestamptz};

use crate::connection::Connection;
use crate::error::{StoreError, StoreResult};
use crate::schema::{asset, correction, correction_total};

/// The first key of the advisory locks of people who correct ("corr" in ASCII).
const LOCK: i32 = 0x636f_7272;

/// A correction as a row.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = correction)]
pub struct CorrectionRow {
    /// Its number.
    pub id: i64,
    /// `reverse` or `write-off`.
    pub kind: String,
    /// What is moved, as the program wrote it.
    pub items: serde_json::Value,
    /// Why.
    pub reason: String,
    /// From when it counts for people.
    pub effective_on: NaiveDate,
    /// Who asked.
    pub asked_by: String,
    /// When.
    pub asked_at: DateTime<Utc>,
    /// Whether it takes a second person.
    pub needs_approval: bool,
    /// Who approved it.
    pub approved_by: Option<String>,
    /// Who rejected it.
    pub rejected_by: Option<String>,
    /// What recorded it.
    pub posting_id: Option<i64>,
}

impl CorrectionRow {
    /// Whether nobody has decided it yet.
    #[must_use]
    pub fn waits(&self) -> bool {
        self.posting_id.is_none() && self.rejected_by.is_none()
    }
}

/// A new correction.
#[derive(Debug, Clone, Insertable)]
#[diesel(table_name = correction)]
pub struct NewCorrection<'a> {
    /// `reverse` or `write-off`.
    pub kind: &'a str,
    /// What is moved.
    pub items: &'a serde_json::Value,
    /// The hash of all that is asked.
    pub items_hash: &'a [u8],
    /// Why.
    pub reason: &'a str,
    /// From when it counts for people.
    pub effective_on: NaiveDate,
    /// Who asks.
    pub asked_by: &'a str,
    /// When.
    pub asked_at: DateTime<Utc>,
    /// Whether it takes a second person.
    pub needs_approval: bool,
    /// What records it, where it does not.
    pub posting_id: Option<i64>,
}

/// Keeps a correction and how much of each asset (by key) it moves; returns its number.
pub fn insert(connection: &mut Connection, new: &NewCorrection<'_>, totals: &[(i32, i64)]) -> StoreResult<i64> {
    let id: i64 =
        diesel::insert_into(correction::table).values(new).returning(correction::id).get_result(connection)?;
    let rows: Vec<_> = totals
        .iter()
        .map(|(asset_key, amount)| {
            (
                correction_total::correction_id.eq(id),
                correction_total::asset_id.eq(*asset_key),
                correction_total::amount.eq(*amount),
            )
        })
        .collect();
    diesel::insert_into(correction_total::table).values(rows).execute(connection)?;
    Ok(id)
}

/// The correction that waits for a second person and asks the very same.
pub fn waiting(connection: &mut Connection, items_hash: &[u8]) -> StoreResult<Option<i64>> {
    Ok(correction::table
        .filter(correction::items_hash.eq(items_hash))
        .filter(correction::posting_id.is_null().and(correction::rejected_at.is_null()))
        .select(correction::id)
        .first(connection)
        .optional()?)
}

/// A correction.
pub fn find(connection: &mut Connection, id: i64) -> StoreResult<CorrectionRow> {
    let found = correction::table.find(id).select(CorrectionRow::as_select()).first(connection).optional()?;
    found.ok_or_else(|| StoreError::NotFound(format!("correction {id}")))
}

/// A correction, held until the transaction ends.
pub fn lock(connection: &mut Connection, id: i64) -> StoreResult<CorrectionRow> {
    let held = correction::table.find(id).select(CorrectionRow::as_select()).for_update().first(connection);
    held.optional()?.ok_or_else(|| StoreError::NotFound(format!("correction {id}")))
}

/// Approves a correction, which is recorded by this posting. The database refuses whoever asked for it.
pub fn approve(connection: &mut Connection, id: i64, by: &str, at: DateTime<Utc>, posting: i64) -> StoreResult<()> {
    diesel::update(correction::table.find(id))
        .set((correction::approved_by.eq(by), correction::approved_at.eq(at), correction::posting_id.eq(posting)))
        .execute(connection)?;
    Ok(())
}

/// Rejects a correction; it can never be approved from then on.
pub fn reject(connection: &mut Connection, id: i64, by: &str, at: DateTime<Utc>) -> StoreResult<()> {
    diesel::update(correction::table.find(id))
        .set((correction::rejected_by.eq(by), correction::rejected_at.eq(at)))
        .execute(connection)?;
    Ok(())
}

/// The newest corrections, those that wait first.
pub fn list(connection: &mut Connection, limit: i64) -> StoreResult<Vec<CorrectionRow>> {
    Ok(correction::table
        .order((correction::posting_id.is_null().and(correction::rejected_at.is_null()).desc(), correction::id.desc()))
        .limit(limit)
        .select(CorrectionRow::as_select())
        .load(connection)?)
}

/// How much of an asset a correction moves.
#[derive(Debug, Clone, Queryable)]
pub struct TotalRow {
    /// The correction.
    pub correction_id: i64,
    /// The asset.
    pub asset: String,
    /// Its minor digits.
    pub scale: i16,
    /// Minor units.
    pub amount: i64,
}

/// The totals of these corrections.
pub fn totals(connection: &mut Connection, ids: &[i64]) -> StoreResult<Vec<TotalRow>> {
    Ok(correction_total::table
        .inner_join(asset::table.on(asset::id.eq(correction_total::asset_id)))
        .filter(correction_total::correction_id.eq_any(ids))
        .order((correction_total::correction_id, asset::code))
        .select((correction_total::correction_id, asset::code, asset::scale, correction_total::amount))
        .load(connection)?)
}

/// What somebody moved alone of an asset since an instant, in minor units. Whoever does several things at once does them
/// one after the other from here on, so that all of them are counted.
pub fn moved_alone(connection: &mut Connection, by: &str, asset_key: i32, since: DateTime<Utc>) -> StoreResult<i64> {
    #[derive(QueryableByName)]
    struct Sum {
        #[diesel(sql_type = BigInt)]
        amount: i64,
    }
    diesel::sql_query("SELECT pg_advisory_xact_lock($1, hashtext($2))")
        .bind::<Integer, _>(LOCK)
        .bind::<Text, _>(by)
        .execute(connection)?;
    let sum: Sum = diesel::sql_query(
        "SELECT coalesce(sum(total.amount), 0)::bigint AS amount FROM correction
         JOIN correction_total AS total ON total.correction_id = correction.id
         WHERE NOT needs_approval AND asked_by = $1 AND total.asset_id = $2 AND asked_at > $3",
    )
    .bind::<Text, _>(by)
    .bind::<Integer, _>(asset_key)
    .bind::<Timestamptz, _>(since)
    .get_result(connection)?;
    Ok(sum.amount)
}
