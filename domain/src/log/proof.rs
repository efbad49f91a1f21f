//! A claimant's proof: that the claim and its credits stand in the log which the operator signed. It holds all it needs
//! and is checked without the operator's help.

use serde::{Deserialize, Serialize};

use super::documents::{EntryDocument, PostingDocument};
use super::head::{HeadError, PublicKey, SignedHead};
use super::keys::{KeyChange, KeyError, check_chain};
use super::transfers::TransferDocument;
use crate::merkle::{Hash, root_of_path};

/// The form of proofs this program writes and reads.
pub const FORMAT: &str = "redress-proof-1";

/// A proof, whole in itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proof {
    /// [`FORMAT`].
    pub format: String,
    /// The claim it is for.
    pub claim: String,
    /// The signed head that all paths lead to.
    pub head: SignedHead,
    /// What the log says of the claim.
    pub entries: Vec<EntryProof>,
    /// What was credited for it.
    pub credits: Vec<CreditProof>,
    /// How the key that signed the head came to be: for whoever knows an earlier key of the operator's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<KeyChange>,
}

/// An audit entry and its path to the head.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EntryProof {
    /// The entry.
    pub entry: EntryDocument,
    /// Its place in the log.
    pub leaf: u64,
    /// From its leaf to the root.
    pub path: Vec<Hash>,
}

/// A transfer, its path to its posting, and the posting's path to the head.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreditProof {
    /// The transfer.
    pub transfer: TransferDocument,
    /// Its place in the posting.
    pub place: u64,
    /// From its leaf to the posting's root.
    pub path: Vec<Hash>,
    /// The posting.
    pub posting: PostingDocument,
    /// The posting's place in the log.
    pub leaf: u64,
    /// From the posting's leaf to the root.
    pub posting_path: Vec<Hash>,
}

/// Why a proof does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// It is of a kind this program does not know.
    #[error("the format is not {FORMAT}")]
    Format,
    /// The head does not count.
    #[error("the head of the log does not hold: {0}")]
    Head(#[from] HeadError),
    /// The head was signed by somebody else.
    #[error(
        "the head was signed by key {0}, not by the key that was asked for, and no statement leads from one to the other"
    )]
    OtherKey(PublicKey),
    /// What it says of keys does not count.
    #[error("what it says of keys does not hold: {0}")]
    Keys(#[from] KeyError),
    /// There is nothing in it.
    #[error("the proof shows nothing")]
    Empty,
    /// An entry speaks of something else.
    #[error("audit entry {0} is not about this claim")]
    OtherObject(i64),
    /// A path does not lead to the head.
    #[error("{0} is not in the log: its path does not lead to the signed root")]
    Path(String),
    /// A transfer is not this claim's.
    #[error("transfer {0} is not for this claim")]
    OtherSubject(String),
    /// A posting does not name what its transfer's numbers stand for.
    #[error("posting {0} does not say what its numbers stand for")]
    Nameless(i64),
}

/// Whether a chain of changes leads from one key to another.
fn passes(from: PublicKey, to: PublicKey, chain: &[KeyChange]) -> bool {
    let after = chain.iter().skip_while(|change| change.old != from);
    after.into_iter().any(|change| change.new == to)
}

impl Proof {
    /// Checks everything; with `key`, also that it was this key that signed, or one that it became or came from, as the
    /// proof itself or `published` tells.
    pub fn check(&self, key: Option<&PublicKey>, published: &[KeyChange]) -> Result<(), ProofError> {
        if self.format != FORMAT {
            return Err(ProofError::Format);
        }
        self.head.check()?;
        check_chain(&self.keys)?;
        check_chain(published)?;
        if let Some(last) = self.keys.last().filter(|last| last.new != self.head.public_key) {
            return Err(KeyError::Chain(last.new).into());
        }
        let signed = self.head.public_key;
        let became = |from: PublicKey, to: PublicKey| {
            from == to || [&self.keys[..], published].iter().any(|chain| passes(from, to, chain))
        };
        if key.is_some_and(|key| !became(*key, signed) && !became(signed, *key)) {
            return Err(ProofError::OtherKey(signed));
        }
        if self.entries.is_empty() && self.credits.is_empty() {
            return Err(ProofError::Empty);
        }
        self.entries.iter().try_for_each(|entry| self.check_entry(entry))?;
        self.credits.iter().try_for_each(|credit| self.check_credit(credit))
    }

    fn check_entry(&self, proof: &EntryProof) -> Result<(), ProofError> {
        let number = proof.entry.entry.unwrap_or_default();
        if proof.entry.object != format!("claim {}", self.claim) {
            return Err(ProofError::OtherObject(number));
        }
        let root = proof.entry.leaf().and_then(|leaf| root_of_path(leaf, proof.leaf, self.head.size, &proof.path));
        if root == Some(self.head.root) { Ok(()) } else { Err(ProofError::Path(format!("audit entry {number}"))) }
    }

    fn check_credit(&self, proof: &CreditProof) -> Result<(), ProofError> {
        let (transfer, posting) = (&proof.transfer, &proof.posting);
        if transfer.subject != format!("claim/{}", self.claim) {
            return Err(ProofError::OtherSubject(transfer.id.clone()));
        }
        let within = transfer.leaf().and_then(|leaf| root_of_path(leaf, proof.place, posting.transfers, &proof.path));
        if within != Some(posting.root) {
            return Err(ProofError::Path(format!("transfer {}", transfer.id)));
        }
        let root =
            posting.leaf().and_then(|(_, leaf)| root_of_path(leaf, proof.leaf, self.head.size, &proof.posting_path));
        if root != Some(self.head.root) {
            return Err(ProofError::Path(format!("posting {}", posting.posting)));
        }
        let named = posting.accounts.contains_key(&transfer.debit)
            && posting.accounts.contains_key(&transfer.credit)
            && posting.assets.contains_key(&transfer.asset)
            && (transfer.policy_version == 0 || posting.policies.contains_key(&transfer.policy_version));
        if named { Ok(()) } else { Err(ProofError::Nameless(posting.posting)) }
    }
}
