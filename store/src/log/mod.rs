//! The Merkle log over all audit entries and postings: what a transaction seals, how leaves get their numbers, what a
//! claimant's proof is made of, and how everything is read again.

pub mod keys;
mod leaves;
pub mod proof;
pub mod seal;
mod tree;
pub mod verify;

pub(crate) use leaves::{ClosedSeal, Seal};

/// The kind of a leaf that is an audit entry.
const ENTRY: i16 = 1;
/// The kind of a leaf that is a posting.
const POSTING: i16 = 2;
