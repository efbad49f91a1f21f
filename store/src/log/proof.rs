//! What a claimant's proof is made of: the claim's entries and credits, and their paths to a signed head.

use diesel::prelude::*;
use redress_domain::hex_bytes::HexBytes;
use redress_domain::log::proof::FORMAT;
use redress_domain::log::{
    CreditProof, EntryProof, PostingDocument, Proof, Salt, SealedTransfers, SignedHead, TransferDocument, TransferFacts,
};
use redress_domain::merkle::{Hash, Leaves, inclusion_proof};
use uuid::Uuid;

use super::tree::Tree;
use super::{ENTRY, POSTING, keys};
use crate::audit::AuditRow;
use crate::connection::Connection;
use crate::error::{StoreError, StoreResult};
use crate::ledger::TransferRow;
use crate::schema::{audit, log_leaf, posting_seal, transfer};

/// The most entries and the most credits of a proof.
const MAX_SHOWN: i64 = 100;

/// What the log says of a claim, up to this head.
pub fn of_claim(connection: &mut Connection, customer: &str, claim: Uuid, head: SignedHead) -> StoreResult<Proof> {
    let entries = entries(connection, claim, head.size)?;
    let credits = credits(connection, customer, claim, head.size)?;
    let mut keys = keys::changes(connection)?;
    // Only as far as the key that signed this head.
    keys.truncate(keys.iter().position(|change| change.new == head.public_key).map_or(0, |place| place + 1));
    Ok(Proof { format: FORMAT.to_owned(), claim: claim.to_string(), head, entries, credits, keys })
}

fn place(number: i64) -> StoreResult<u64> {
    u64::try_from(number).map_err(StoreError::corrupt)
}

/// The path from a leaf of the log to its head.
fn path(connection: &mut Connection, leaf: u64, size: u64) -> StoreResult<Vec<Hash>> {
    inclusion_proof(&mut Tree::new(connection), leaf, size)?
        .ok_or_else(|| StoreError::corrupt(format!("leaf {leaf} lies beyond the log")))
}

fn entries(connection: &mut Connection, claim: Uuid, size: u64) -> StoreResult<Vec<EntryProof>> {
    let end = i64::try_from(size).map_err(StoreError::corrupt)?;
    let rows: Vec<(AuditRow, i64)> = audit::table
        .inner_join(log_leaf::table.on(log_leaf::source.eq(audit::id)))
        .filter(audit::object.eq(format!("claim {claim}")))
        .filter(log_leaf::kind.eq(ENTRY).and(log_leaf::seq.lt(end)))
        .order(log_leaf::seq)
        .limit(MAX_SHOWN)
        .select((AuditRow::as_select(), log_leaf::seq))
        .load(connection)?;
    rows.into_iter()
        .map(|(row, seq)| {
            let altered = StoreError::corrupt(format!("audit entry {}; redress verify says more", row.id));
            let leaf = place(seq)?;
            Ok(EntryProof { entry: row.document().ok_or(altered)?, leaf, path: path(connection, leaf, size)? })
        })
        .collect()
}

fn credits(connection: &mut Connection, customer: &str, claim: Uuid, size: u64) -> StoreResult<Vec<CreditProof>> {
    let end = i64::try_from(size).map_err(StoreError::corrupt)?;
    let rows: Vec<(TransferRow, i64, Option<String>)> = transfer::table
        .inner_join(log_leaf::table.on(log_leaf::source.eq(transfer::posting_id)))
        .filter(transfer::customer_id.eq(customer).and(transfer::subject.eq(format!("claim/{claim}"))))
        .filter(log_leaf::kind.eq(POSTING).and(log_leaf::seq.lt(end)))
        .order((log_leaf::seq, transfer::id))
        .limit(MAX_SHOWN)
        .select((transfer::all_columns, log_leaf::seq, log_leaf::document))
        .load(connection)?;
    rows.into_iter()
        .map(|(row, seq, document)| {
            let leaf = place(seq)?;
            let document = document.unwrap_or_default();
            let posting: PostingDocument = serde_json::from_str(&document).map_err(StoreError::corrupt)?;
            let (transfer, place, within) = within(connection, &row, &posting)?;
            let posting_path = path(connection, leaf, size)?;
            Ok(CreditProof { transfer, place, path: within, posting, leaf, posting_path })
        })
        .collect()
}

/// A transfer, its place in its posting and the path to the posting's root.
fn within(
    connection: &mut Connection,
    row: &TransferRow,
    posting: &PostingDocument,
) -> StoreResult<(TransferDocument, u64, Vec<Hash>)> {
    let altered = || StoreError::corrupt(format!("posting {}; redress verify says more", row.posting_id));
    let (salt, first, last): (Vec<u8>, String, String) = posting_seal::table
        .find(row.posting_id)
        .select((posting_seal::salt, posting_seal::first_customer, posting_seal::last_customer))
        .first(connection)?;
    let salt: Salt = HexBytes::from_slice(&salt).ok_or_else(altered)?;
    // A chunk is a range of customers, so that the key finds its transfers without an index of their own.
    let all: Vec<TransferRow> = transfer::table
        .filter(transfer::customer_id.between(first, last).and(transfer::posting_id.eq(row.posting_id)))
        .load(connection)?;
    let sealed = SealedTransfers::new(&salt, all.iter().map(TransferFacts::from));
    if sealed.root != posting.root {
        return Err(altered());
    }
    let facts = TransferFacts::from(row);
    let document = TransferDocument::new(&facts, &salt);
    let own = document.leaf().ok_or_else(altered)?;
    let index = sealed.leaves.iter().position(|(id, leaf)| (*id, *leaf) == (row.id, own)).ok_or_else(altered)?;
    let leaves: Vec<Hash> = sealed.leaves.iter().map(|(_, leaf)| *leaf).collect();
    let index = u64::try_from(index).map_err(StoreError::corrupt)?;
    let path = inclusion_proof(&mut Leaves(&leaves), index, posting.transfers).map_err(StoreError::corrupt)?;
    Ok((document, index, path.ok_or_else(altered)?))
}
