//! The keys that sign the log's heads, one after the other. Each change is a statement in the log itself, signed by the
//! key that goes and by the key that comes: without the old key nobody can name a successor, and without the new one
//! nobody can claim to have been its predecessor.

use ed25519_dalek::{Signature, VerifyingKey};
use serde::{Deserialize, Serialize};

use super::head::{PublicKey, Signer};
use crate::hex_bytes::HexBytes;

/// That one key takes the place of another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyChange {
    /// The key that goes.
    pub old: PublicKey,
    /// The key that comes.
    pub new: PublicKey,
    /// When it was signed.
    pub at: String,
    /// The old key's Ed25519 signature.
    pub by_old: HexBytes<64>,
    /// The new key's.
    pub by_new: HexBytes<64>,
}

/// Why a statement about keys does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// One of both signatures is not its key's.
    #[error("the change from key {0} to key {1} is not signed by both")]
    Signature(PublicKey, PublicKey),
    /// It does not begin where the one before it ended.
    #[error("the change from key {0} follows from no other")]
    Chain(PublicKey),
}

/// What is signed: readable, and of no other kind of message.
fn message(old: &PublicKey, new: &PublicKey, at: &str) -> String {
    format!("redress log key 1\n{old}\n{new}\n{at}\n")
}

impl KeyChange {
    /// States that `new` takes the place of `old`.
    #[must_use]
    pub fn sign(old: &Signer, new: &Signer, at: String) -> Self {
        let text = message(&old.public_key(), &new.public_key(), &at);
        let (by_old, by_new) = (old.signature(text.as_bytes()), new.signature(text.as_bytes()));
        Self { old: old.public_key(), new: new.public_key(), at, by_old, by_new }
    }

    /// Whether both keys have signed it.
    pub fn check(&self) -> Result<(), KeyError> {
        let text = message(&self.old, &self.new, &self.at);
        let signed = |key: &PublicKey, signature: &HexBytes<64>| {
            let signature = Signature::from_bytes(signature.as_bytes());
            VerifyingKey::from_bytes(key.as_bytes())
                .is_ok_and(|key| key.verify_strict(text.as_bytes(), &signature).is_ok())
        };
        if self.old != self.new && signed(&self.old, &self.by_old) && signed(&self.new, &self.by_new) {
            Ok(())
        } else {
            Err(KeyError::Signature(self.old, self.new))
        }
    }
}

/// Checks that changes follow one from the other, each signed by both keys.
pub fn check_chain(changes: &[KeyChange]) -> Result<(), KeyError> {
    changes.iter().try_for_each(KeyChange::check)?;
    match changes.windows(2).find(|pair| pair[0].new != pair[1].old) {
        Some(pair) => Err(KeyError::Chain(pair[1].old)),
        None => Ok(()),
    }
}

/// The key that a key became: itself, or the last that changes lead to from it.
#[must_use]
pub fn successor(key: PublicKey, changes: &[KeyChange]) -> PublicKey {
    let sound = changes.iter().filter(|change| change.check().is_ok());
    sound.fold(key, |key, change| if change.old == key { change.new } else { key })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer(byte: u8) -> Signer {
        Signer::new(&[byte; 32])
    }

    #[test]
    fn a_change_counts_only_as_both_keys_have_signed_it() {
        let change = KeyChange::sign(&signer(1), &signer(2), "2026-11-27T00:00:00.000000Z".into());
        assert_eq!(change.check(), Ok(()));
        let forged = KeyChange::sign(&signer(3), &signer(2), change.at.clone());
        for wrong in [
            KeyChange { old: signer(3).public_key(), ..change.clone() },
            KeyChange { new: signer(3).public_key(), ..change.clone() },
            KeyChange { at: "2026-11-27T00:00:00.000001Z".into(), ..change.clone() },
            KeyChange { by_old: forged.by_old, ..change.clone() },
            KeyChange { by_new: HexBytes([0; 64]), ..change.clone() },
            KeyChange { by_old: change.by_new, by_new: change.by_old, ..change.clone() },
        ] {
            assert!(wrong.check().is_err(), "{wrong:?}");
        }
        assert!(KeyChange::sign(&signer(1), &signer(1), change.at.clone()).check().is_err(), "no key follows itself");
    }

    #[test]
    fn keys_follow_from_one_another() {
        let change = |old, new| KeyChange::sign(&signer(old), &signer(new), "2026-11-27T00:00:00.000000Z".into());
        let chain = [change(1, 2), change(2, 3)];
        assert_eq!(check_chain(&chain), Ok(()));
        assert_eq!(check_chain(&[change(1, 2), change(3, 4)]), Err(KeyError::Chain(signer(3).public_key())));
        assert_eq!(successor(signer(1).public_key(), &chain), signer(3).public_key());
        assert_eq!(successor(signer(3).public_key(), &chain), signer(3).public_key());
        assert_eq!(successor(signer(9).public_key(), &chain), signer(9).public_key());
        // Nobody else's change leads anywhere.
        assert_eq!(successor(signer(1).public_key(), &[change(8, 9)]), signer(1).public_key());
    }
}
