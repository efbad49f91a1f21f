//! The signed head of the log: how many leaves there are and their root, by the installation's key. Kept elsewhere, it
//! finds out whoever rewrites the log, its owner included.

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};

use crate::hex_bytes::HexBytes;
use crate::merkle::Hash;

/// The key that a head's signature is checked with.
pub type PublicKey = HexBytes<32>;

/// A head of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedHead {
    /// How many leaves the log had.
    pub size: u64,
    /// The root over them.
    pub root: Hash,
    /// When it was signed.
    pub at: String,
    /// The key that signed it.
    pub public_key: PublicKey,
    /// The Ed25519 signature over size, root and time.
    pub signature: HexBytes<64>,
}

/// Why a head does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// The key is no point of the curve, or a weak one.
    #[error("the public key is not a valid Ed25519 key")]
    Key,
    /// The signature is not the key's, or something signed was changed.
    #[error("the signature does not fit the size, root, time and key")]
    Signature,
}

/// What is signed: readable, and of no other kind of message.
fn message(size: u64, root: &Hash, at: &str) -> String {
    format!("redress log head 1\n{size}\n{root}\n{at}\n")
}

impl SignedHead {
    /// Whether the signature is that of the head's own key.
    pub fn check(&self) -> Result<(), HeadError> {
        let key = VerifyingKey::from_bytes(self.public_key.as_bytes()).map_err(|_| HeadError::Key)?;
        let signature = Signature::from_bytes(self.signature.as_bytes());
        key.verify_strict(message(self.size, &self.root, &self.at).as_bytes(), &signature)
            .map_err(|_| HeadError::Signature)
    }
}

/// Holds the installation's signing key.
#[derive(Clone)]
pub struct Signer(SigningKey);

impl Signer {
    /// The signer of a secret of 32 random bytes.
    #[must_use]
    pub fn new(secret: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(secret))
    }

    /// The key that others check with.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        HexBytes(self.0.verifying_key().to_bytes())
    }

    /// The signature of a message that says of what kind it is.
    pub(super) fn signature(&self, message: &[u8]) -> HexBytes<64> {
        HexBytes(self.0.sign(message).to_bytes())
    }

    /// Signs a head.
    #[must_use]
    pub fn sign(&self, size: u64, root: Hash, at: String) -> SignedHead {
        let signature = self.signature(message(size, &root, &at).as_bytes());
        SignedHead { size, root, at, public_key: self.public_key(), signature }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merkle::leaf_hash;

    #[test]
    fn a_head_counts_only_as_it_was_signed() {
        let signer = Signer::new(&[7; 32]);
        let head = signer.sign(12, leaf_hash(b"a"), "2026-11-22T00:00:00.000000Z".into());
        assert_eq!(head.check(), Ok(()));
        let other = Signer::new(&[8; 32]).public_key();
        for changed in [
            SignedHead { size: 13, ..head.clone() },
            SignedHead { root: leaf_hash(b"b"), ..head.clone() },
            SignedHead { at: "2026-11-22T00:00:00.000001Z".into(), ..head.clone() },
            SignedHead { public_key: other, ..head.clone() },
            SignedHead { signature: HexBytes([0; 64]), ..head.clone() },
        ] {
            assert!(changed.check().is_err(), "{changed:?}");
        }
        let weak = SignedHead { public_key: HexBytes([0; 32]), ..head };
        assert!(weak.check().is_err());
    }
}
