//! What the log of all commands and credits commits to, and how anybody can check it without the database.
//!
//! A leaf of the log is an audit entry or a posting, as canonical JSON. A posting's leaf holds the root of a second,
//! small tree over its transfers, so that a chunk of thousands of credits is one leaf, and one customer's credit can be
//! shown without the others'.

pub mod canonical;
pub mod documents;
pub mod head;
pub mod keys;
pub mod proof;
pub mod transfers;

pub use documents::{AssetName, EntryDocument, PolicyName, PostingDocument};
pub use head::{PublicKey, SignedHead, Signer};
pub use keys::KeyChange;
pub use proof::{CreditProof, EntryProof, Proof};
pub use transfers::{Fault, PostingReader, Salt, SealedTransfers, TransferDocument, TransferFacts, TransferSealer};
