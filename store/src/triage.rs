//! What is found beside claims: by what those of different customers are alike, and which a second person reads.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};
use uuid::Uuid;

use crate::claims::ClaimRow;
use crate::connection::Connection;
use crate::error::StoreResult;
use crate::schema::{claim, claim_trait, second_reading, triage};

/// Claims that were sent after `since` and not looked at yet, by id.
pub fn fresh(connection: &mut Connection, since: Option<Uuid>, limit: i64) -> StoreResult<Vec<ClaimRow>> {
    let looked_at =
        triage::table.filter(triage::customer_id.eq(claim::customer_id).and(triage::claim_id.eq(claim::id)));
    Ok(claim::table
        .filter(claim::id.gt(since.unwrap_or_else(Uuid::nil)).and(claim::state.ne("draft")))
        .filter(diesel::dsl::not(diesel::dsl::exists(looked_at)))
        .order(claim::id)
        .limit(limit)
        .select(ClaimRow::as_select())
        .load(connection)?)
}

/// A trait of a claim: its kind and keyed hash.
pub type Trait = (&'static str, i64);

/// Keeps the traits of a claim.
pub fn keep_traits(connection: &mut Connection, row: &ClaimRow, traits: &[Trait]) -> StoreResult<()> {
    let rows: Vec<_> = traits
        .iter()
        .map(|(kind, hash)| {
            (
                claim_trait::customer_id.eq(&row.customer_id),
                claim_trait::claim_id.eq(row.id),
                claim_trait::kind.eq(*kind),
                claim_trait::hash.eq(*hash),
            )
        })
        .collect();
    diesel::insert_into(claim_trait::table).values(rows).on_conflict_do_nothing().execute(connection)?;
    Ok(())
}

/// The most claims that are named as alike for one trait: what more of them share says little of each.
const MAX_ALIKE: i64 = 20;

/// Claims of other customers that share a trait, the newest first: customer, claim and reference.
pub fn alike(connection: &mut Connection, row: &ClaimRow, shared: Trait) -> StoreResult<Vec<(String, Uuid, String)>> {
    Ok(claim_trait::table
        .inner_join(
            claim::table.on(claim::customer_id.eq(claim_trait::customer_id).and(claim::id.eq(claim_trait::claim_id))),
        )
        .filter(claim_trait::kind.eq(shared.0).and(claim_trait::hash.eq(shared.1)))
        .filter(claim_trait::customer_id.ne(&row.customer_id).and(claim::incident_id.eq(row.incident_id)))
        .filter(claim::state.ne("withdrawn"))
        .order(claim_trait::claim_id.desc())
        .limit(MAX_ALIKE)
        .select((claim::customer_id, claim::id, claim::reference))
        .load(connection)?)
}

/// Keeps what was found beside a claim, and that it was looked at.
pub fn keep(
    connection: &mut Connection,
    customer: &str,
    id: Uuid,
    findings: &serde_json::Value,
    at: DateTime<Utc>,
) -> StoreResult<()> {
    diesel::insert_into(triage::table)
        .values((
            triage::customer_id.eq(customer),
            triage::claim_id.eq(id),
            triage::findings.eq(findings),
            triage::at.eq(at),
        ))
        .on_conflict((triage::customer_id, triage::claim_id))
        .do_update()
        .set((triage::findings.eq(findings), triage::at.eq(at)))
        .execute(connection)?;
    Ok(())
}

/// What was found beside a claim; none when it was not looked at yet.
pub fn findings(connection: &mut Connection, customer: &str, id: Uuid) -> StoreResult<Option<serde_json::Value>> {
    Ok(triage::table.find((customer, id)).select(triage::findings).first(connection).optional()?)
}

/// A claim drawn for a second reader, as a row.
#[derive(Debug, Clone, Queryable, Selectable, Insertable)]
#[diesel(table_name = second_reading, treat_none_as_default_value = false)]
pub struct ReadingRow {
    /// Whose claim it is.
    pub customer_id: String,
    /// The claim.
    pub claim_id: Uuid,
    /// The decision that is read: 0 for the policy's own.
    pub ruling: i32,
    /// Its service's key.
    pub service_id: i32,
    /// `random` or `decline`.
    pub sample: String,
    /// The policy it was decided under.
    pub policy: String,
    /// Who decided first; nobody where the policy did.
    pub first_by: Option<String>,
    /// When it was drawn.
    pub drawn_at: DateTime<Utc>,
    /// Who read it.
    pub read_by: Option<String>,
    /// When.
    pub read_at: Option<DateTime<Utc>>,
    /// Whether he agrees.
    pub agrees: Option<bool>,
}

/// Draws a decision for a second reader; once is enough.
pub fn draw(connection: &mut Connection, row: &ReadingRow) -> StoreResult<()> {
    diesel::insert_into(second_reading::table).values(row).on_conflict_do_nothing().execute(connection)?;
    Ok(())
}

/// The oldest readings that wait and that this reader may do, of his services.
pub fn readings(
    connection: &mut Connection,
    reader: &str,
    services: Option<&[i32]>,
    limit: i64,
) -> StoreResult<Vec<ReadingRow>> {
    let mut query = second_reading::table
        .filter(second_reading::read_at.is_null())
        .filter(second_reading::first_by.is_null().or(second_reading::first_by.ne(reader)))
        .into_boxed();
    if let Some(services) = services {
        query = query.filter(second_reading::service_id.eq_any(services.to_vec()));
    }
    Ok(query.order(second_reading::drawn_at).limit(limit).select(ReadingRow::as_select()).load(connection)?)
}

/// Records a second reader's word on the last decision that was drawn of a claim; false when none waits for one. The
/// database refuses whoever decided first.
pub fn read(
    connection: &mut Connection,
    customer: &str,
    id: Uuid,
    by: &str,
    agrees: bool,
    at: DateTime<Utc>,
) -> StoreResult<bool> {
    let open = second_reading::table
        .filter(second_reading::customer_id.eq(customer).and(second_reading::claim_id.eq(id)))
        .filter(second_reading::read_at.is_null());
    let read = diesel::update(open)
        .set((second_reading::read_by.eq(by), second_reading::read_at.eq(at), second_reading::agrees.eq(agrees)))
        .execute(connection)?;
    Ok(read > 0)
}

/// How second readers agree, by policy, sample and who decided first.
#[derive(Debug, Clone, QueryableByName)]
pub struct Agreement {
    /// The policy.
    #[diesel(sql_type = Text)]
    pub policy: String,
    /// `random` or `decline`.
    #[diesel(sql_type = Text)]
    pub sample: String,
    /// `policy` or `person`.
    #[diesel(sql_type = Text)]
    pub decided_by: String,
    /// How many were drawn.
    #[diesel(sql_type = BigInt)]
    pub drawn: i64,
    /// How many of them were read.
    #[diesel(sql_type = BigInt)]
    pub read: i64,
    /// How many of those the second reader agreed with.
    #[diesel(sql_type = BigInt)]
    pub agreed: i64,
}

/// The figures of agreement.
pub fn agreement(connection: &mut Connection) -> StoreResult<Vec<Agreement>> {
    Ok(diesel::sql_query(
        "SELECT policy, sample, CASE WHEN first_by IS NULL THEN 'policy' ELSE 'person' END AS decided_by, count(*) AS drawn,
                count(read_at) AS read, count(*) FILTER (WHERE agrees) AS agreed
         FROM second_reading GROUP BY 1, 2, 3 ORDER BY 1, 2, 3",
    )
    .load(connection)?)
}
