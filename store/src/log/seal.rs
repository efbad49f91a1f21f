//! The sealer: gives the next numbers of the log to what was committed since, and signs the new head. It works beside
//! the transactions it seals, never in them.

use diesel::connection::SimpleConnection;
use diesel::dsl::{exists, max, not};
use diesel::prelude::*;
use redress_domain::hex_bytes::HexBytes;
use redress_domain::log::documents::spell;
use redress_domain::log::keys::successor;
use redress_domain::log::{KeyChange, PublicKey, SignedHead, Signer};
use redress_domain::merkle::{Hash, Nodes, root};

use super::leaves::{Names, PostingRow, totals_of};
use super::tree::{STEP, TILE, Tree};
use super::{ENTRY, POSTING, keys};
use crate::audit::{self, AuditEntry, AuditRow};
use crate::connection::{Connection, in_transaction};
use crate::error::{StoreError, StoreResult};
use crate::schema::{audit as audit_row, log_head, log_leaf, log_node, posting, posting_seal};

/// One sealer at a time, whatever the number of servers.
const SEAL_LOCK: i64 = 0x7365_616c_6572;
/// How many rows are sealed at a time.
const BATCH: i64 = 5_000;
/// Numbers are given before a commit, so that a row may appear below others that are sealed already. A pass over what
/// is recent looks so far back; whatever came later still is found by a pass over everything.
const LOOK_BACK: i64 = 20_000;

/// How far back a pass looks for rows that no leaf has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// What was committed lately: cheap at any size of the log.
    Recent,
    /// Everything.
    All,
}

/// What a pass did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pass {
    /// The new head, if leaves were added.
    pub head: Option<SignedHead>,
    /// How many rows were passed over, since they are not what Redress writes: they were edited or inserted. One of
    /// them must not keep the rest from being sealed; `redress verify` names it.
    pub refused: u64,
    /// The key that has taken the place of the one it was to be signed with, if one has: then nothing was sealed.
    pub rotated: Option<PublicKey>,
}

/// A leaf on its way in: kind, source, hash, document.
type NewLeaf = (i16, i64, Hash, Option<String>);

/// Seals what no leaf has yet; a new head is signed when there are new leaves. `kept` is a head that was kept outside
/// the database: a log that does not continue it is not signed, or whoever emptied the tables would get a new one.
pub fn pass(
    connection: &mut Connection,
    signer: &Signer,
    reach: Reach,
    kept: Option<&SignedHead>,
) -> StoreResult<Pass> {
    in_transaction(connection, |connection| {
        connection.batch_execute(&format!("SELECT pg_advisory_xact_lock({SEAL_LOCK})"))?;
        let own = signer.public_key();
        let changes = keys::changes(connection)?;
        let now = successor(own, &changes);
        if now != own {
            return Ok(Pass { rotated: Some(now), ..Pass::default() });
        }
        append_all(connection, signer, &changes, reach, kept)
    })
}

/// States that a key takes the place of the one that signs now, by an entry that is made of the statement, and seals all
/// of it by the one that goes. From then on no pass signs by that one.
pub fn rotate(
    connection: &mut Connection,
    old: &Signer,
    change: &KeyChange,
    entry: AuditEntry,
    kept: Option<&SignedHead>,
) -> StoreResult<Pass> {
    in_transaction(connection, |connection| {
        connection.batch_execute(&format!("SELECT pg_advisory_xact_lock({SEAL_LOCK})"))?;
        let changes = keys::changes(connection)?;
        let now = successor(old.public_key(), &changes);
        if now != old.public_key() {
            return Ok(Pass { rotated: Some(now), ..Pass::default() });
        }
        let used = log_head::table.filter(log_head::public_key.eq(change.new.as_bytes().to_vec()));
        let signed_before: bool = diesel::select(exists(used)).get_result(connection)?;
        if signed_before || changes.iter().any(|earlier| [earlier.old, earlier.new].contains(&change.new)) {
            return Err(StoreError::Refused("log_key_used_once".into()));
        }
        audit::append(connection, &[entry])?;
        append_all(connection, old, &changes, Reach::All, kept)
    })
}

/// Gives every row that has no leaf the next one, and signs; the caller holds the lock.
fn append_all(
    connection: &mut Connection,
    signer: &Signer,
    changes: &[KeyChange],
    reach: Reach,
    kept: Option<&SignedHead>,
) -> StoreResult<Pass> {
    let mut size = size(connection)?;
    let newest = newest_head(connection)?;
    if let Some(due) =
        newest.as_ref().map(|head| successor(head.public_key, changes)).filter(|due| *due != signer.public_key())
    {
        return Err(StoreError::corrupt(format!(
            "the log's heads are signed by key {due}, and this process has key {}: put this installation's signing key back",
            signer.public_key()
        )));
    }
    let signed = newest.map_or(0, |head| head.size);
    if signed != size {
        return Err(StoreError::corrupt(format!(
            "the log has {size} leaves, but its newest signed head has {signed}; redress verify says more"
        )));
    }
    if let Some(kept) = kept {
        continues(connection, size, kept)?;
    }
    let mut done = Pass::default();
    let mut last = floor(connection, ENTRY, reach)?;
    while let Some((leaves, refused, reached)) = entries(connection, last)? {
        done.refused += refused;
        size = append(connection, size, leaves)?;
        last = reached;
    }
    let mut last = floor(connection, POSTING, reach)?;
    while let Some((leaves, refused, reached)) = postings(connection, last)? {
        done.refused += refused;
        size = append(connection, size, leaves)?;
        last = reached;
    }
    if size > signed {
        let head = signer.sign(size, root(&mut Tree::new(connection), size)?, spell(chrono::Utc::now()));
        save_head(connection, &head)?;
        done.head = Some(head);
    }
    Ok(done)
}

/// Refuses a log that is not the one whose head was kept.
fn continues(connection: &mut Connection, size: u64, kept: &SignedHead) -> StoreResult<()> {
    if size >= kept.size && root(&mut Tree::new(connection), kept.size)? == kept.root {
        return Ok(());
    }
    Err(StoreError::corrupt(format!(
        "the log of {size} leaves does not continue the head of {} leaves that was signed on {}: it was truncated or \
         rewritten; redress verify says more",
        kept.size, kept.at
    )))
}

/// How many leaves the log has.
fn size(connection: &mut Connection) -> StoreResult<u64> {
    let last: Option<i64> = log_leaf::table.select(max(log_leaf::seq)).first(connection)?;
    u64::try_from(last.map_or(0, |seq| seq + 1)).map_err(StoreError::corrupt)
}

/// The number after which a pass looks.
fn floor(connection: &mut Connection, kind: i16, reach: Reach) -> StoreResult<i64> {
    match reach {
        Reach::All => Ok(i64::MIN),
        Reach::Recent => {
            let last: Option<i64> =
                log_leaf::table.filter(log_leaf::kind.eq(kind)).select(max(log_leaf::source)).first(connection)?;
            Ok(last.map_or(i64::MIN, |last| last.saturating_sub(LOOK_BACK)))
        }
    }
}

/// Leaves to append, how many rows were refused, and the number of the last row.
type Found = (Vec<NewLeaf>, u64, i64);

/// The next audit entries after `last` without a leaf.
fn entries(connection: &mut Connection, last: i64) -> StoreResult<Option<Found>> {
    let leaf = log_leaf::table.filter(log_leaf::kind.eq(ENTRY).and(log_leaf::source.eq(audit_row::id)));
    let rows: Vec<AuditRow> = audit_row::table
        .filter(audit_row::id.gt(last).and(not(exists(leaf))))
        .order(audit_row::id)
        .limit(BATCH)
        .select(AuditRow::as_select())
        .load(connection)?;
    let Some(reached) = rows.last().map(|row| row.id) else { return Ok(None) };
    let (mut leaves, mut refused) = (Vec::with_capacity(rows.len()), 0);
    for row in rows {
        let id = row.id;
        match row.document().and_then(|document| document.leaf()) {
            Some(leaf) => leaves.push((ENTRY, id, leaf, None)),
            None => refused += 1,
        }
    }
    Ok(Some((leaves, refused, reached)))
}

/// The next sealed postings after `last` without a leaf.
fn postings(connection: &mut Connection, last: i64) -> StoreResult<Option<Found>> {
    let leaf = log_leaf::table.filter(log_leaf::kind.eq(POSTING).and(log_leaf::source.eq(posting::id)));
    let rows: Vec<PostingRow> = posting::table
        .inner_join(posting_seal::table.on(posting_seal::posting_id.eq(posting::id)))
        .filter(posting::id.gt(last).and(not(exists(leaf))))
        .order(posting::id)
        .limit(BATCH)
        .select(PostingRow::as_select())
        .load(connection)?;
    let Some(reached) = rows.last().map(|row| row.id) else { return Ok(None) };
    let names = Names::load(connection)?;
    let numbers: Vec<i64> = rows.iter().map(|row| row.id).collect();
    let totals = totals_of(connection, &numbers)?;
    let (mut leaves, mut refused) = (Vec::with_capacity(rows.len()), 0);
    for row in rows {
        let document = names.document(&row, totals.get(&row.id).map_or(&[], Vec::as_slice));
        match document.and_then(|document| document.leaf()) {
            Some((text, leaf)) => leaves.push((POSTING, row.id, leaf, Some(text))),
            None => refused += 1,
        }
    }
    Ok(Some((leaves, refused, reached)))
}

/// Writes leaves after the first `size`, and the nodes over them; returns the new size.
fn append(connection: &mut Connection, size: u64, leaves: Vec<NewLeaf>) -> StoreResult<u64> {
    let first = i64::try_from(size).map_err(StoreError::corrupt)?;
    let rows: Vec<_> = leaves
        .into_iter()
        .zip(first..)
        .map(|((kind, source, hash, document), seq)| {
            (
                log_leaf::seq.eq(seq),
                log_leaf::kind.eq(kind),
                log_leaf::source.eq(source),
                log_leaf::hash.eq(hash.0.to_vec()),
                log_leaf::document.eq(document),
            )
        })
        .collect();
    let grown = size + u64::try_from(rows.len()).map_err(StoreError::corrupt)?;
    diesel::insert_into(log_leaf::table).values(rows).execute(connection)?;
    // Each level has one node for every full tile of the level below.
    let mut level = STEP;
    while grown >> level > 0 {
        let mut tree = Tree::new(connection);
        let nodes: Vec<(u64, Hash)> = (size >> level..grown >> level)
            .map(|place| Ok((place, tile_root(&mut tree, level, place)?)))
            .collect::<StoreResult<_>>()?;
        for (place, hash) in nodes {
            diesel::insert_into(log_node::table)
                .values((
                    log_node::level.eq(i16::try_from(level).map_err(StoreError::corrupt)?),
                    log_node::place.eq(i64::try_from(place).map_err(StoreError::corrupt)?),
                    log_node::hash.eq(hash.0.to_vec()),
                ))
                .execute(connection)?;
        }
        level += STEP;
    }
    Ok(grown)
}

/// The root of a full tile, from the two halves that are in it.
fn tile_root(tree: &mut Tree<'_>, level: u32, place: u64) -> StoreResult<Hash> {
    debug_assert_eq!(TILE, 1 << STEP);
    let (left, right) = (tree.node(level - 1, place * 2)?, tree.node(level - 1, place * 2 + 1)?);
    Ok(redress_domain::merkle::node_hash(&left, &right))
}

/// A head as a row.
#[derive(Debug, Queryable)]
pub(super) struct HeadRow {
    size: i64,
    root: Vec<u8>,
    at: String,
    public_key: Vec<u8>,
    signature: Vec<u8>,
}

impl HeadRow {
    /// How many leaves it is for.
    pub(super) fn size(&self) -> i64 {
        self.size
    }
}

impl TryFrom<HeadRow> for SignedHead {
    type Error = StoreError;

    fn try_from(row: HeadRow) -> StoreResult<Self> {
        let corrupt = || StoreError::corrupt(format!("the signed head of size {}", row.size));
        Ok(Self {
            size: u64::try_from(row.size).map_err(StoreError::corrupt)?,
            root: HexBytes::from_slice(&row.root).ok_or_else(corrupt)?,
            at: row.at.clone(),
            public_key: HexBytes::from_slice(&row.public_key).ok_or_else(corrupt)?,
            signature: HexBytes::from_slice(&row.signature).ok_or_else(corrupt)?,
        })
    }
}

/// The newest signed head, if there is one.
pub fn newest_head(connection: &mut Connection) -> StoreResult<Option<SignedHead>> {
    let row: Option<HeadRow> = log_head::table.order(log_head::size.desc()).first(connection).optional()?;
    row.map(SignedHead::try_from).transpose()
}

/// The key that has to sign the next head: the newest head's, or what became of it; none as long as nothing is signed.
pub fn due_key(connection: &mut Connection) -> StoreResult<Option<PublicKey>> {
    let Some(head) = newest_head(connection)? else { return Ok(None) };
    Ok(Some(successor(head.public_key, &keys::changes(connection)?)))
}

fn save_head(connection: &mut Connection, head: &SignedHead) -> StoreResult<()> {
    diesel::insert_into(log_head::table)
        .values((
            log_head::size.eq(i64::try_from(head.size).map_err(StoreError::corrupt)?),
            log_head::root.eq(head.root.0.to_vec()),
            log_head::at.eq(&head.at),
            log_head::public_key.eq(head.public_key.0.to_vec()),
            log_head::signature.eq(head.signature.0.to_vec()),
        ))
        .execute(connection)?;
    Ok(())
}
