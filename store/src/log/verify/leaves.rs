//! Every leaf against its row, and the tree over the leaves against its stored nodes and its signed heads.

use std::collections::{HashMap, VecDeque};

use diesel::prelude::*;
use redress_domain::hex_bytes::HexBytes;
use redress_domain::log::{PostingDocument, PublicKey, SignedHead};
use redress_domain::merkle::{Frontier, Hash};

use super::{PAGE, Trust};
use crate::audit::AuditRow;
use crate::connection::Connection;
use crate::error::StoreResult;
use crate::log::leaves::{Names, PostingRow};
use crate::log::seal::HeadRow;
use crate::log::tree::{STEP, TILE};
use crate::log::{ENTRY, POSTING, keys};
use crate::schema::{audit, log_head, log_leaf, log_node, posting, posting_seal};
use crate::verify::Check;

/// The most leaves that are named when a signed head does not fit.
const MAX_NAMED: usize = 5;

/// A leaf as a row: place, kind, source, hash, document.
type LeafRow = (i64, i16, i64, Vec<u8>, Option<String>);

/// Reads all leaves once.
pub(super) fn check(connection: &mut Connection, trust: &Trust) -> StoreResult<Vec<Check>> {
    let mut leaves = Check::new("every leaf of the log is its audit entry or posting as it stands");
    let keys = Keys::load(connection, trust.public_key)?;
    let mut reader = Reader::new(trust, keys);
    let names = Names::load(connection)?;
    loop {
        let page: Vec<LeafRow> =
            log_leaf::table.filter(log_leaf::seq.gt(reader.last)).order(log_leaf::seq).limit(PAGE).load(connection)?;
        if page.is_empty() {
            break;
        }
        let sources = Sources::load(connection, &page)?;
        for leaf in &page {
            leaves.rows += 1;
            for fault in reader.order(leaf).into_iter().chain(sources.fault(&names, leaf)) {
                leaves.fault(fault);
            }
            reader.push(connection, leaf)?;
        }
    }
    let kept: Vec<Check> = trust.kept.iter().map(|(name, head)| reader.kept(name, head)).collect();
    let keys = reader.keys.check();
    let signed = reader.finish(connection)?;
    Ok([leaves, keys, signed].into_iter().chain(kept).collect())
}

/// The keys that have signed the log's heads, and where each change stands. It is read from the end, where the
/// installation's own key is known: who could have been its predecessor only that key itself can say.
struct Keys {
    /// From the first to the installation's own.
    keys: Vec<PublicKey>,
    /// The leaf of each change.
    places: Vec<u64>,
    faults: Vec<String>,
}

impl Keys {
    fn load(connection: &mut Connection, own: PublicKey) -> StoreResult<Self> {
        let (mut keys, mut places, mut faults) = (vec![own], Vec::new(), Vec::new());
        for stated in keys::stated(connection)?.into_iter().rev() {
            let entry = stated.entry;
            // What is not sealed yet is judged when it is.
            let Some(leaf) = stated.leaf else { continue };
            let sound = stated.change.filter(|change| change.check().is_ok());
            match sound {
                Some(change) if keys.last() == Some(&change.new) => {
                    keys.push(change.old);
                    places.push(leaf);
                }
                Some(change) => faults.push(format!(
                    "audit entry {entry} names key {} as the successor of {}: that is not how this installation came to its key",
                    change.new, change.old
                )),
                None => faults.push(format!("audit entry {entry} changes the log's key without the signatures of both keys")),
            }
        }
        keys.reverse();
        places.reverse();
        Ok(Self { keys, places, faults })
    }

    /// How many changes stand among the first so many leaves.
    fn changed_before(&self, size: u64) -> usize {
        self.places.iter().filter(|place| **place < size).count()
    }

    /// The keys after so many changes to so many.
    fn between(&self, first: usize, last: usize) -> impl Iterator<Item = &PublicKey> {
        self.keys.iter().take(last + 1).skip(first)
    }

    fn check(&self) -> Check {
        let mut check =
            Check::new("every change of the log's key is signed by the key that went and the key that came");
        check.rows = i64::try_from(self.places.len()).unwrap_or(i64::MAX);
        self.faults.iter().for_each(|fault| check.fault(fault.clone()));
        check
    }
}

/// The rows that a page of leaves speaks of.
struct Sources {
    entries: HashMap<i64, AuditRow>,
    postings: HashMap<i64, PostingRow>,
}

impl Sources {
    fn load(connection: &mut Connection, page: &[LeafRow]) -> StoreResult<Self> {
        let of = |kind: i16| page.iter().filter(move |leaf| leaf.1 == kind).map(|leaf| leaf.2).collect::<Vec<_>>();
        let entries: Vec<AuditRow> =
            audit::table.filter(audit::id.eq_any(of(ENTRY))).select(AuditRow::as_select()).load(connection)?;
        let postings: Vec<PostingRow> = posting::table
            .inner_join(posting_seal::table.on(posting_seal::posting_id.eq(posting::id)))
            .filter(posting::id.eq_any(of(POSTING)))
            .select(PostingRow::as_select())
            .load(connection)?;
        Ok(Self {
            entries: entries.into_iter().map(|row| (row.id, row)).collect(),
            postings: postings.into_iter().map(|row| (row.id, row)).collect(),
        })
    }

    /// What is wrong with the row behind a leaf, or with the leaf.
    fn fault(&self, names: &Names, (seq, kind, source, hash, document): &LeafRow) -> Option<String> {
        if *kind == ENTRY {
            let Some(row) = self.entries.get(source) else {
                return Some(format!("audit entry {source} was deleted: leaf {seq} of the log is left"));
            };
            let leaf = row.clone().document().and_then(|document| document.leaf());
            let same = leaf.is_some_and(|leaf| leaf.as_bytes().as_slice() == hash);
            return (!same)
                .then(|| format!("audit entry {source} was edited: it is not what leaf {seq} of the log says"));
        }
        let said = document.as_deref().and_then(|text| serde_json::from_str::<PostingDocument>(text).ok());
        let leaf = said.as_ref().and_then(PostingDocument::leaf);
        let Some(said) = said.filter(|_| leaf.is_some_and(|(_, leaf)| leaf.as_bytes().as_slice() == hash)) else {
            return Some(format!("leaf {seq} of the log, posting {source}, was edited"));
        };
        let Some(row) = self.postings.get(source) else {
            return Some(format!("posting {source} or its seal was deleted: leaf {seq} of the log is left"));
        };
        if !row.agrees(&said) {
            return Some(format!("posting {source} or its seal was edited: it is not what leaf {seq} of the log says"));
        }
        names.renamed(&said).map(|name| format!("{name} when posting {source} was recorded, and was edited since"))
    }
}

/// Grows the tree leaf by leaf and holds it against what was signed.
struct Reader<'a> {
    trust: &'a Trust,
    keys: Keys,
    /// How many changes of the key the last signed head came after.
    changed: usize,
    log: Frontier,
    /// The leaves since the last full tile, and the roots of the full tiles.
    tile: Frontier,
    tiles: Vec<Hash>,
    /// How many leaves were read, and the place of the last.
    read: u64,
    last: i64,
    /// The place where leaves are missing; nothing after it can be held against a signature.
    broken: Option<i64>,
    heads: VecDeque<SignedHead>,
    last_head: i64,
    no_more_heads: bool,
    /// The size of the last head that holds, and the leaves since.
    good: u64,
    since: Vec<String>,
    rewritten: bool,
    /// The roots at the sizes of the heads that were kept.
    roots: HashMap<u64, Hash>,
    signed: Check,
}

impl<'a> Reader<'a> {
    fn new(trust: &'a Trust, keys: Keys) -> Self {
        Self {
            trust,
            keys,
            changed: 0,
            log: Frontier::default(),
            tile: Frontier::default(),
            tiles: Vec::new(),
            read: 0,
            last: -1,
            broken: None,
            heads: VecDeque::new(),
            last_head: -1,
            no_more_heads: false,
            good: 0,
            since: Vec::new(),
            rewritten: false,
            roots: HashMap::from([(0, redress_domain::merkle::empty_root())]),
            signed: Check::new("the nodes and signed heads of the log are those of its leaves"),
        }
    }

    /// Whether the leaf stands where the next one has to.
    fn order(&mut self, (seq, ..): &LeafRow) -> Option<String> {
        let (expected, seq) = (self.last.saturating_add(1), *seq);
        self.last = seq;
        if seq == expected {
            return None;
        }
        self.broken = self.broken.or(Some(expected));
        Some(if seq == expected + 1 {
            format!("leaf {expected} of the log was deleted")
        } else {
            format!("leaves {expected} to {} of the log were deleted", seq - 1)
        })
    }

    fn push(&mut self, connection: &mut Connection, (seq, kind, source, hash, _): &LeafRow) -> StoreResult<()> {
        self.read += 1;
        let Some(hash) = HexBytes::from_slice(hash) else {
            self.broken = self.broken.or(Some(*seq));
            return Ok(());
        };
        if self.broken.is_some() {
            return Ok(());
        }
        self.log.push(hash);
        self.tile.push(hash);
        if self.tile.size() == TILE {
            self.tiles.push(self.tile.root());
            self.tile = Frontier::default();
        }
        let kind = if *kind == ENTRY { "audit entry" } else { "posting" };
        if self.since.len() <= MAX_NAMED {
            self.since.push(format!("leaf {seq} ({kind} {source})"));
        }
        let size = self.log.size();
        if self.trust.kept.iter().any(|(_, head)| head.size == size) {
            self.roots.insert(size, self.log.root());
        }
        while let Some(head) = self.next_head(connection, Some(size))? {
            self.hold(&head);
        }
        Ok(())
    }

    /// The next signed head, if it is of at most this size.
    fn next_head(&mut self, connection: &mut Connection, size: Option<u64>) -> StoreResult<Option<SignedHead>> {
        if self.heads.is_empty() && !self.no_more_heads {
            let rows: Vec<HeadRow> = log_head::table
                .filter(log_head::size.gt(self.last_head))
                .order(log_head::size)
                .limit(PAGE)
                .load(connection)?;
            self.no_more_heads = rows.is_empty();
            for row in rows {
                self.last_head = row.size();
                match SignedHead::try_from(row) {
                    Ok(head) => self.heads.push_back(head),
                    Err(error) => self.signed.fault(error.to_string()),
                }
            }
        }
        let fits = self.heads.front().is_some_and(|head| size.is_none_or(|size| head.size <= size));
        Ok(if fits { self.heads.pop_front() } else { None })
    }

    /// Holds the tree, as it is now, against a head of its size.
    fn hold(&mut self, head: &SignedHead) {
        self.signed.rows += 1;
        self.signature(head);
        if head.root == self.log.root() {
            self.good = head.size;
            self.since.clear();
        } else if !self.rewritten {
            // Every later head fails as well; the first one says where it begins.
            self.rewritten = true;
            let mut named = self.since.clone();
            if named.len() > MAX_NAMED {
                named.truncate(MAX_NAMED);
                named.push("or a later one".to_owned());
            }
            self.signed.fault(format!(
                "the log was rewritten between leaf {} and leaf {}: the head signed for {} leaves is not that of {}",
                self.good,
                head.size.saturating_sub(1),
                head.size,
                named.join(", ")
            ));
        }
    }

    fn signature(&mut self, head: &SignedHead) {
        if let Err(error) = head.check() {
            self.signed.fault(format!("the signed head of {} leaves was edited: {error}", head.size));
            return;
        }
        // The first head after a change is the old key's, which seals the change; every later one is the new key's.
        let changed = self.keys.changed_before(head.size);
        if !self.keys.between(self.changed.min(changed), changed).any(|key| *key == head.public_key) {
            self.signed.fault(format!(
                "the signed head of {} leaves is of key {}, not of this installation's",
                head.size, head.public_key
            ));
        }
        self.changed = changed;
    }

    /// Holds the log against a head that was kept outside the database.
    fn kept(&self, name: &'static str, head: &SignedHead) -> Check {
        let mut check = Check::new(name);
        check.rows = 1;
        if let Err(error) = head.check() {
            check.fault(format!("the head was edited: {error}"));
        } else {
            let changed = self.keys.changed_before(head.size);
            if !self.keys.between(changed.saturating_sub(1), changed).any(|key| *key == head.public_key) {
                check.fault(format!("the head was signed by key {}, not by this installation's", head.public_key));
            }
        }
        match self.roots.get(&head.size) {
            Some(root) if *root == head.root => {}
            Some(_) => check.fault(format!(
                "the log was rewritten: its first {} leaves are not those that were signed on {}",
                head.size, head.at
            )),
            None if self.broken.is_some() => check.fault("the log breaks before this head".to_owned()),
            None => check.fault(format!(
                "the log was truncated: leaves {} to {} are gone, which were signed on {}",
                self.read,
                head.size.saturating_sub(1),
                head.at
            )),
        }
        check
    }

    /// All leaves are read: what is left of heads and nodes belongs to leaves that are gone.
    fn finish(mut self, connection: &mut Connection) -> StoreResult<Check> {
        let mut beyond = None;
        let mut last = self.good;
        while let Some(head) = self.next_head(connection, None)? {
            self.signed.rows += 1;
            self.signature(&head);
            last = head.size;
            beyond = Some(head);
        }
        if let Some(broken) = self.broken {
            self.signed.fault(format!("the log breaks at leaf {broken}: no head after it can be checked"));
            return Ok(self.signed);
        }
        if let Some(head) = beyond {
            self.signed.fault(format!(
                "the log was truncated: it has {} leaves, and a head of {} was signed on {}",
                self.read, head.size, head.at
            ));
        } else if !self.rewritten && last != self.read {
            let what =
                format!("leaves {last} to {} of the log have no signed head after them", self.read.saturating_sub(1));
            self.signed.fault(what);
        }
        self.nodes(connection)?;
        Ok(self.signed)
    }

    /// The stored nodes, level by level, against those of the leaves.
    fn nodes(&mut self, connection: &mut Connection) -> StoreResult<()> {
        let mut expected: Vec<((i16, i64), Hash)> = Vec::new();
        let (mut level, mut nodes) = (STEP, std::mem::take(&mut self.tiles));
        while !nodes.is_empty() {
            let number = i16::try_from(level).unwrap_or(i16::MAX);
            expected.extend((0_i64..).zip(&nodes).map(|(place, hash)| ((number, place), *hash)));
            let size = usize::try_from(TILE).unwrap_or(usize::MAX);
            nodes = nodes
                .chunks_exact(size)
                .map(|tile| {
                    let mut frontier = Frontier::default();
                    frontier.extend(tile.iter().copied());
                    frontier.root()
                })
                .collect();
            level += STEP;
        }
        let mut expected = expected.into_iter().peekable();
        let mut last = (0, -1);
        loop {
            let page: Vec<(i16, i64, Vec<u8>)> = log_node::table
                .filter(log_node::level.gt(last.0).or(log_node::level.eq(last.0).and(log_node::place.gt(last.1))))
                .order((log_node::level, log_node::place))
                .limit(PAGE)
                .load(connection)?;
            let Some((level, place, _)) = page.last() else { break };
            last = (*level, *place);
            for (level, place, hash) in &page {
                let key = (*level, *place);
                while let Some((missing, _)) = expected.next_if(|(at, _)| *at < key) {
                    self.signed.fault(node(missing, "was deleted"));
                }
                match expected.next_if(|(at, _)| *at == key) {
                    Some((_, own)) if own.as_bytes().as_slice() == hash => {}
                    Some(_) => self.signed.fault(node(key, "was edited")),
                    None => self.signed.fault(node(key, "was inserted")),
                }
            }
        }
        expected.for_each(|(missing, _)| self.signed.fault(node(missing, "was deleted")));
        Ok(())
    }
}

fn node((level, place): (i16, i64), what: &str) -> String {
    format!("node {place} at level {level} of the log {what}")
}
