//! The small tree over the transfers of one posting, cheap enough for a hundred thousand credits a second, and the
//! marks that tell which of them was edited, deleted or inserted.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::hex_bytes::HexBytes;
use crate::merkle::{Frontier, Hash, LEAF_PREFIX};

/// What a posting's blinds are derived from; it never leaves the database.
pub type Salt = HexBytes<32>;
/// What a transfer's leaf is hashed with, so that whoever sees a neighbour's hash cannot guess what is in it.
pub type Blind = HexBytes<16>;

/// A transfer as the log sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransferFacts<'a> {
    /// Its id.
    pub id: Uuid,
    /// The customer; empty where none is.
    pub customer: &'a str,
    /// Minor units.
    pub amount: i64,
    /// The account that gives.
    pub debit: i32,
    /// The account that receives.
    pub credit: i32,
    /// The asset.
    pub asset: i32,
    /// The policy version; 0 where it follows from none.
    pub policy_version: i32,
    /// What it does.
    pub code: i16,
    /// What it is for.
    pub subject: &'a str,
}

impl TransferFacts<'_> {
    /// The blind of this transfer in a posting with this salt.
    #[must_use]
    pub fn blind(&self, salt: &Salt) -> Blind {
        let mut bytes = [0_u8; 48];
        bytes[..32].copy_from_slice(salt.as_bytes());
        bytes[32..].copy_from_slice(self.id.as_bytes());
        let digest = Sha256::digest(bytes);
        let mut blind = [0_u8; 16];
        blind.copy_from_slice(&digest[..16]);
        HexBytes(blind)
    }

    /// The leaf: every field in its place, the two texts by their lengths; `buffer` is only there to be used again.
    fn leaf(&self, blind: &Blind, buffer: &mut Vec<u8>) -> Hash {
        let length = |text: &str| u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes();
        buffer.clear();
        buffer.push(LEAF_PREFIX);
        buffer.extend_from_slice(blind.as_bytes());
        buffer.extend_from_slice(self.id.as_bytes());
        buffer.extend_from_slice(&self.amount.to_be_bytes());
        for key in [self.debit, self.credit, self.asset, self.policy_version] {
            buffer.extend_from_slice(&key.to_be_bytes());
        }
        buffer.extend_from_slice(&self.code.to_be_bytes());
        for text in [self.customer, self.subject] {
            buffer.extend_from_slice(&length(text));
            buffer.extend_from_slice(text.as_bytes());
        }
        HexBytes(Sha256::digest(buffer).into())
    }
}

/// A transfer as a proof shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransferDocument {
    /// Its id.
    pub id: String,
    /// The customer.
    pub customer: String,
    /// Minor units.
    pub amount: String,
    /// The account that gives.
    pub debit: i32,
    /// The account that receives.
    pub credit: i32,
    /// The asset.
    pub asset: i32,
    /// The policy version; 0 where it follows from none.
    pub policy_version: i32,
    /// What it does.
    pub code: i16,
    /// What it is for.
    pub subject: String,
    /// What its leaf is hashed with.
    pub blind: Blind,
}

impl TransferDocument {
    /// The document of a transfer in a posting with this salt.
    #[must_use]
    pub fn new(facts: &TransferFacts<'_>, salt: &Salt) -> Self {
        Self {
            id: facts.id.to_string(),
            customer: facts.customer.to_owned(),
            amount: facts.amount.to_string(),
            debit: facts.debit,
            credit: facts.credit,
            asset: facts.asset,
            policy_version: facts.policy_version,
            code: facts.code,
            subject: facts.subject.to_owned(),
            blind: facts.blind(salt),
        }
    }

    /// The leaf; none when a number or id is not spelled as it is written.
    #[must_use]
    pub fn leaf(&self) -> Option<Hash> {
        let id = Uuid::parse_str(&self.id).ok().filter(|id| id.to_string() == self.id)?;
        let amount: i64 = self.amount.parse().ok().filter(|amount: &i64| amount.to_string() == self.amount)?;
        let facts = TransferFacts {
            id,
            customer: &self.customer,
            amount,
            debit: self.debit,
            credit: self.credit,
            asset: self.asset,
            policy_version: self.policy_version,
            code: self.code,
            subject: &self.subject,
        };
        Some(facts.leaf(&self.blind, &mut Vec::new()))
    }
}

/// How many bytes of a transfer's id a mark has.
const MARK_ID: usize = 8;
/// How many bytes of its leaf.
const MARK_LEAF: usize = 4;
/// How many bytes a mark has.
const MARK: usize = MARK_ID + MARK_LEAF;

/// The transfers of a posting, sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedTransfers {
    /// Their leaves, in the order of their ids.
    pub leaves: Vec<(Uuid, Hash)>,
    /// The root over them.
    pub root: Hash,
}

impl SealedTransfers {
    /// Seals the transfers of a posting, given in any order.
    #[must_use]
    pub fn new<'a>(salt: &Salt, transfers: impl Iterator<Item = TransferFacts<'a>>) -> Self {
        let mut sealer = TransferSealer::new(*salt, transfers.size_hint().0);
        transfers.for_each(|facts| sealer.take(&facts));
        sealer.finish()
    }

    /// A mark for each transfer, in their order: enough to say which one is not what it was.
    #[must_use]
    pub fn marks(&self) -> Vec<u8> {
        let mut marks = Vec::with_capacity(self.leaves.len() * MARK);
        self.leaves.iter().for_each(|(id, leaf)| marks.extend_from_slice(&mark(id, leaf)));
        marks
    }
}

/// Seals the transfers of a posting one after the other, while they are written.
#[derive(Debug)]
pub struct TransferSealer {
    salt: Salt,
    leaves: Vec<(Uuid, Hash)>,
    buffer: Vec<u8>,
}

impl TransferSealer {
    /// A posting of so many transfers, about.
    #[must_use]
    pub fn new(salt: Salt, transfers: usize) -> Self {
        Self { salt, leaves: Vec::with_capacity(transfers), buffer: Vec::with_capacity(256) }
    }

    /// Takes the next transfer; their order makes no difference.
    pub fn take(&mut self, facts: &TransferFacts<'_>) {
        let leaf = facts.leaf(&facts.blind(&self.salt), &mut self.buffer);
        self.leaves.push((facts.id, leaf));
    }

    /// All transfers are taken.
    #[must_use]
    pub fn finish(mut self) -> SealedTransfers {
        // By the first half of the id, which is nearly always enough and quickly compared.
        let half = |id: &Uuid| id.as_u64_pair().0;
        self.leaves.sort_unstable_by(|(a, _), (b, _)| half(a).cmp(&half(b)).then_with(|| a.cmp(b)));
        let mut frontier = Frontier::default();
        frontier.extend(self.leaves.iter().map(|(_, leaf)| *leaf));
        SealedTransfers { root: frontier.root(), leaves: self.leaves }
    }
}

fn mark(id: &Uuid, leaf: &Hash) -> [u8; MARK] {
    let mut mark = [0_u8; MARK];
    mark[..MARK_ID].copy_from_slice(&id.as_bytes()[..MARK_ID]);
    mark[MARK_ID..].copy_from_slice(&leaf.as_bytes()[..MARK_LEAF]);
    mark
}

/// What is wrong with a transfer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// It is not what was written.
    Edited(Uuid),
    /// It was not written with its posting.
    Inserted(Uuid),
    /// It is gone; the beginning of its id is known.
    Deleted(String),
    /// No transfer differs from its mark, yet the root is another: marks and transfers were rewritten together.
    Rewritten,
}

/// Reads the transfers of one posting again, in the order of their ids, and says which differ from what was sealed.
#[derive(Debug)]
pub struct PostingReader<'a> {
    salt: Salt,
    marks: std::iter::Peekable<std::slice::Chunks<'a, u8>>,
    frontier: Frontier,
    buffer: Vec<u8>,
    sound: bool,
}

impl<'a> PostingReader<'a> {
    /// A posting with this salt and these marks.
    #[must_use]
    pub fn new(salt: Salt, marks: &'a [u8]) -> Self {
        let (frontier, buffer) = (Frontier::default(), Vec::with_capacity(256));
        Self { salt, marks: marks.chunks(MARK).peekable(), frontier, buffer, sound: true }
    }

    /// Takes the next transfer; the ids never fall.
    pub fn take(&mut self, facts: &TransferFacts<'_>, faults: &mut Vec<Fault>) {
        let leaf = facts.leaf(&facts.blind(&self.salt), &mut self.buffer);
        self.frontier.push(leaf);
        let before = faults.len();
        let own = mark(&facts.id, &leaf);
        while let Some(missing) = self.marks.next_if(|mark| mark.get(..MARK_ID) < own.get(..MARK_ID)) {
            faults.push(deleted(missing));
        }
        match self.marks.next_if(|mark| mark.get(..MARK_ID) == own.get(..MARK_ID)) {
            Some(mark) if *mark == own => {}
            Some(_) => faults.push(Fault::Edited(facts.id)),
            None => faults.push(Fault::Inserted(facts.id)),
        }
        self.sound &= faults.len() == before;
    }

    /// All transfers are taken: their number and root must be what was sealed.
    pub fn finish(mut self, count: u64, root: &Hash, faults: &mut Vec<Fault>) {
        let before = faults.len();
        faults.extend(self.marks.by_ref().map(deleted));
        let sound = self.sound && faults.len() == before;
        if sound && (self.frontier.size() != count || self.frontier.root() != *root) {
            faults.push(Fault::Rewritten);
        }
    }
}

fn deleted(mark: &[u8]) -> Fault {
    Fault::Deleted(hex::encode(mark.get(..MARK_ID).unwrap_or(mark)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merkle::leaf_hash;

    fn facts(id: u128, amount: i64) -> TransferFacts<'static> {
        TransferFacts {
            id: Uuid::from_u128(id << 64),
            customer: "c-1",
            amount,
            debit: 1,
            credit: 2,
            asset: 3,
            policy_version: 4,
            code: 2,
            subject: "holding/s-1",
        }
    }

    const SALT: Salt = HexBytes([7; 32]);

    fn read(sealed: &SealedTransfers, rows: &[TransferFacts<'_>]) -> Vec<Fault> {
        let (marks, mut faults) = (sealed.marks(), Vec::new());
        let mut reader = PostingReader::new(SALT, &marks);
        rows.iter().for_each(|row| reader.take(row, &mut faults));
        reader.finish(sealed.leaves.len() as u64, &sealed.root, &mut faults);
        faults
    }

    #[test]
    fn the_order_of_writing_does_not_matter() {
        let rows = [facts(3, 30), facts(1, 10), facts(2, 20)];
        let mut sorted = rows;
        sorted.sort_by_key(|row| row.id);
        assert_eq!(SealedTransfers::new(&SALT, rows.into_iter()), SealedTransfers::new(&SALT, sorted.into_iter()));
        assert_ne!(
            SealedTransfers::new(&SALT, rows.into_iter()).root,
            SealedTransfers::new(&HexBytes([8; 32]), rows.into_iter()).root
        );
    }

    #[test]
    fn every_field_counts() {
        let row = facts(1, 10);
        let leaf = |row: TransferFacts<'_>| TransferDocument::new(&row, &SALT).leaf().unwrap();
        for other in [
            TransferFacts { id: Uuid::from_u128(9), ..row },
            TransferFacts { customer: "c-1h", subject: "olding/s-1", ..row },
            TransferFacts { amount: 11, ..row },
            TransferFacts { debit: 2, credit: 1, ..row },
            TransferFacts { credit: 9, ..row },
            TransferFacts { asset: 4, ..row },
            TransferFacts { policy_version: 5, ..row },
            TransferFacts { code: 3, ..row },
            TransferFacts { subject: "holding/s-2", ..row },
        ] {
            assert_ne!(leaf(row), leaf(other), "{other:?}");
        }
        assert_eq!(SealedTransfers::new(&SALT, [row].into_iter()).root, leaf(row));
    }

    #[test]
    fn the_row_that_was_touched_is_named() {
        let rows: Vec<_> = (1..=9).map(|n| facts(n, 10)).collect();
        let sealed = SealedTransfers::new(&SALT, rows.iter().copied());
        assert_eq!(read(&sealed, &rows), []);
        let mut edited = rows.clone();
        edited[4].amount = 11;
        assert_eq!(read(&sealed, &edited), [Fault::Edited(rows[4].id)]);
        for gone in [0, 4, 8] {
            let mut shorter = rows.clone();
            let row = shorter.remove(gone);
            assert_eq!(read(&sealed, &shorter), [Fault::Deleted(row.id.simple().to_string()[..16].to_owned())]);
        }
        for id in [0, 10] {
            let mut longer = rows.clone();
            longer.push(facts(id, 10));
            longer.sort_by_key(|row| row.id);
            assert_eq!(read(&sealed, &longer), [Fault::Inserted(Uuid::from_u128(id << 64))]);
        }
        let mut swapped = rows.clone();
        (swapped[2].id, swapped[3].id) = (rows[3].id, rows[2].id);
        swapped[2].subject = "holding/other";
        swapped.sort_by_key(|row| row.id);
        assert_eq!(read(&sealed, &swapped), [Fault::Edited(rows[3].id)]);
        let rewritten = SealedTransfers { root: leaf_hash(b"x"), ..sealed.clone() };
        assert_eq!(read(&rewritten, &rows), [Fault::Rewritten]);
        assert_eq!(read(&sealed, &[]).len(), 9);
    }

    #[test]
    fn a_document_has_one_spelling() {
        let document = TransferDocument::new(&facts(10, 10), &SALT);
        assert!(document.leaf().is_some());
        for (id, amount) in
            [(document.id.to_uppercase(), "10"), (document.id.clone(), "+10"), (document.id.clone(), "010")]
        {
            let odd = TransferDocument { id, amount: amount.into(), ..document.clone() };
            assert!(odd.leaf().is_none(), "{odd:?}");
        }
    }
}
