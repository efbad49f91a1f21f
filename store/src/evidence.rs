//! What claimants file with their claims: rows that say where each sealed file lies, and whether it was acknowledged.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use uuid::Uuid;

use crate::connection::Connection;
use crate::error::StoreResult;
use crate::schema::evidence;

/// A piece of evidence as a row.
#[derive(Debug, Clone, Queryable, Selectable, Insertable)]
#[diesel(table_name = evidence, treat_none_as_default_value = false)]
pub struct EvidenceRow {
    /// Whose it is.
    pub customer_id: String,
    /// Its id.
    pub id: Uuid,
    /// The claim it belongs to.
    pub claim_id: Uuid,
    /// Which document it is, by its code in the policy; empty when it is none that a policy names.
    pub document: String,
    /// `jpeg`, `png` or `pdf`.
    pub kind: String,
    /// The length of what is kept.
    pub bytes: i64,
    /// SHA-256 of what came.
    pub received_hash: Vec<u8>,
    /// SHA-256 of what is kept.
    pub content_hash: Vec<u8>,
    /// Where in the object store the sealed file lies.
    pub blob: String,
    /// What a reader should know before opening it.
    pub remarks: serde_json::Value,
    /// `arriving`, `stored`, or `swept` on its way out.
    pub state: String,
    /// When the last attempt to store it began.
    pub begun_at: DateTime<Utc>,
    /// When it was stored.
    pub stored_at: Option<DateTime<Utc>>,
}

/// What a claim has: how many files and how many bytes, those on their way in included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// Files.
    pub files: i64,
    /// Bytes.
    pub bytes: i64,
}

/// What a claim has already.
pub fn held(connection: &mut Connection, customer: &str, claim: Uuid) -> StoreResult<Held> {
    let sizes: Vec<i64> = evidence::table
        .filter(evidence::customer_id.eq(customer).and(evidence::claim_id.eq(claim)))
        .filter(evidence::state.ne("swept"))
        .select(evidence::bytes)
        .load(connection)?;
    Ok(Held { files: i64::try_from(sizes.len()).unwrap_or(i64::MAX), bytes: sizes.iter().sum() })
}

/// The row of a file that came before for the same document of the same claim.
pub fn same(
    connection: &mut Connection,
    customer: &str,
    claim: Uuid,
    document: &str,
    received_hash: &[u8],
) -> StoreResult<Option<EvidenceRow>> {
    Ok(evidence::table
        .filter(evidence::customer_id.eq(customer).and(evidence::claim_id.eq(claim)))
        .filter(evidence::document.eq(document).and(evidence::received_hash.eq(received_hash)))
        .select(EvidenceRow::as_select())
        .first(connection)
        .optional()?)
}

/// Announces a file that is about to be written to the object store.
pub fn announce(connection: &mut Connection, row: &EvidenceRow) -> StoreResult<()> {
    diesel::insert_into(evidence::table).values(row).execute(connection)?;
    Ok(())
}

/// Begins another attempt at a file that was announced and not acknowledged; false when it is being swept.
pub fn begin_again(connection: &mut Connection, row: &EvidenceRow, at: DateTime<Utc>) -> StoreResult<bool> {
    let begun = diesel::update(evidence::table.find((&row.customer_id, row.id)).filter(evidence::state.eq("arriving")))
        .set(evidence::begun_at.eq(at))
        .execute(connection)?;
    Ok(begun == 1)
}

/// Records that a file lies in the object store; false when it is stored already or was swept meanwhile.
pub fn acknowledge(connection: &mut Connection, row: &EvidenceRow, at: DateTime<Utc>) -> StoreResult<bool> {
    let stored =
        diesel::update(evidence::table.find((&row.customer_id, row.id)).filter(evidence::state.eq("arriving")))
            .set((evidence::state.eq("stored"), evidence::stored_at.eq(at)))
            .execute(connection)?;
    Ok(stored == 1)
}

/// The stored evidence of a claim, in the order it came.
pub fn of_claim(connection: &mut Connection, customer: &str, claim: Uuid) -> StoreResult<Vec<EvidenceRow>> {
    Ok(evidence::table
        .filter(evidence::customer_id.eq(customer).and(evidence::claim_id.eq(claim)))
        .filter(evidence::state.eq("stored"))
        .order(evidence::id)
        .select(EvidenceRow::as_select())
        .load(connection)?)
}

/// One stored piece of evidence of a claim.
pub fn find(connection: &mut Connection, customer: &str, claim: Uuid, id: Uuid) -> StoreResult<Option<EvidenceRow>> {
    Ok(evidence::table
        .find((customer, id))
        .filter(evidence::claim_id.eq(claim).and(evidence::state.eq("stored")))
        .select(EvidenceRow::as_select())
        .first(connection)
        .optional()?)
}

/// A page of all stored evidence, by customer and id, for who reads every file again.
pub fn page(connection: &mut Connection, after: Option<&(String, Uuid)>, limit: i64) -> StoreResult<Vec<EvidenceRow>> {
    let mut query = evidence::table.filter(evidence::state.eq("stored")).into_boxed();
    if let Some((customer, id)) = after {
        query = query.filter(
            evidence::customer_id
                .gt(customer.clone())
                .or(evidence::customer_id.eq(customer.clone()).and(evidence::id.gt(*id))),
        );
    }
    Ok(query
        .order((evidence::customer_id, evidence::id))
        .limit(limit)
        .select(EvidenceRow::as_select())
        .load(connection)?)
}

/// Marks files that were announced before `before` and never acknowledged: from now on nobody can acknowledge them, so
/// that their blobs may go. Returns these and those that an earlier pass marked and did not finish.
pub fn sweep(connection: &mut Connection, before: DateTime<Utc>, limit: i64) -> StoreResult<Vec<EvidenceRow>> {
    let due: Vec<(String, Uuid)> = evidence::table
        .filter(evidence::state.ne("stored").and(evidence::begun_at.lt(before)))
        .order(evidence::begun_at)
        .limit(limit)
        .select((evidence::customer_id, evidence::id))
        .for_update()
        .skip_locked()
        .load(connection)?;
    let (customers, ids): (Vec<String>, Vec<Uuid>) = due.into_iter().unzip();
    let theirs = evidence::customer_id.eq_any(customers).and(evidence::id.eq_any(ids));
    Ok(diesel::update(evidence::table.filter(theirs).filter(evidence::state.ne("stored")))
        .set(evidence::state.eq("swept"))
        .returning(EvidenceRow::as_returning())
        .get_results(connection)?)
}

/// Forgets a file whose blob is gone.
pub fn forget(connection: &mut Connection, row: &EvidenceRow) -> StoreResult<()> {
    diesel::delete(evidence::table.find((&row.customer_id, row.id)).filter(evidence::state.eq("swept")))
        .execute(connection)?;
    Ok(())
}
