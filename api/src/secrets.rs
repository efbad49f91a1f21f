//! The secrets of an installation: generated on first run with mode 0600, given from outside in production.

mod keys;

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use chrono::{DateTime, Utc};
use hmac::{Hmac, Mac};
use redress_domain::log::{PublicKey, Signer};
use sha2::{Digest, Sha256};

use self::keys::{KEY_LENGTH, MASTER, SIGNING, make_file, parse, read_file, write_file};
use crate::error::{AppError, AppResult};
use crate::settings::{Settings, secret_variable};

pub use self::keys::{KeyFault, KeyPlace};

const NONCE_LENGTH: usize = 24;
/// The first byte of what is sealed: which key and method.
const SEAL_VERSION: u8 = 1;
/// The variable that holds the key that signs the log's heads; with `_FILE`, the file that does.
pub const SIGNING_KEY: &str = SIGNING.variable;
/// Where the next signing key waits until the log names it.
const NEXT_SIGNING_KEY_FILE: &str = "signing.key.next";

/// How the tokens of claimants' sessions begin, so that scanners of leaked secrets know them.
pub const ADDRESS_SESSION: &str = "redress_claimant_";

/// The keys: what is sealed and the claimants' tokens by one master key, the log's heads by a key of their own, since
/// that one outlives the data it signs.
#[derive(Clone)]
pub struct Secrets {
    sealing: [u8; KEY_LENGTH],
    tokens: [u8; KEY_LENGTH],
    tags: [u8; KEY_LENGTH],
    names: [u8; KEY_LENGTH],
    pepper: [u8; KEY_LENGTH],
    devices: [u8; KEY_LENGTH],
    /// All clones follow when it changes.
    signer: Arc<RwLock<Signer>>,
}

impl Secrets {
    /// Reads the keys from the environment or the data folder; makes what is missing where it may be made up.
    pub fn load(settings: &Settings, may_be_made: bool) -> Result<Self, KeyFault> {
        Ok(Self::new(&MASTER.load(settings, may_be_made)?, &SIGNING.load(settings, may_be_made)?))
    }

    /// Refuses when a key is missing, where none may be made up: what is about to be read was sealed by these.
    pub fn require(settings: &Settings) -> AppResult<()> {
        for place in [&MASTER, &SIGNING] {
            if secret_variable(place.variable)?.is_none() && !place.path(settings).exists() {
                return Err(AppError::Refused(format!(
                    "the {} key of that time is needed: {}",
                    place.name,
                    place.missing(settings).remedy()
                )));
            }
        }
        Ok(())
    }

    fn new(master: &[u8; KEY_LENGTH], signing: &[u8; KEY_LENGTH]) -> Self {
        let signer = Arc::new(RwLock::new(Signer::new(signing)));
        Self {
            sealing: derive(master, b"sealing"),
            tokens: derive(master, b"claimant tokens"),
            tags: derive(master, b"tags"),
            names: derive(master, b"names"),
            pepper: derive(master, b"staff passwords"),
            devices: derive(master, b"staff devices"),
            signer,
        }
    }

    /// What stands beside every password's salt and in no database.
    #[must_use]
    pub fn pepper(&self) -> &[u8] {
        &self.pepper
    }

    /// The mark of a device that a member has signed in on.
    #[must_use]
    pub fn device_mac(&self, name: &str, device: &str) -> String {
        hex::encode(self.device(name, device).finalize().into_bytes())
    }

    /// Whether a mark is the device's, in constant time.
    #[must_use]
    pub fn is_device_mac(&self, name: &str, device: &str, mac: &str) -> bool {
        hex::decode(mac).is_ok_and(|bytes| self.device(name, device).verify_slice(&bytes).is_ok())
    }

    fn device(&self, name: &str, device: &str) -> Hmac<Sha256> {
        let mut mac = keyed(&self.devices);
        // The device's own part has a fixed length, so both together have one reading.
        mac.update(device.as_bytes());
        mac.update(name.as_bytes());
        mac
    }

    /// What signs the log's heads.
    #[must_use]
    pub fn signer(&self) -> Signer {
        self.signer.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes the signing key that has this public key from where this installation's keys come from: another process has
    /// changed it there, or died before it could. False when it is not there.
    pub fn follow(&self, settings: &Settings, public: &PublicKey) -> AppResult<bool> {
        let there = SIGNING.find(settings)?.ok_or_else(|| SIGNING.missing(settings))?;
        let signer = Signer::new(&there);
        if signer.public_key() == *public {
            self.replace(signer);
            return Ok(true);
        }
        let next = settings.data_dir.join("secrets").join(NEXT_SIGNING_KEY_FILE);
        if secret_variable(SIGNING_KEY)?.is_some() || !next.exists() {
            return Ok(false);
        }
        let waiting = Signer::new(&parse("next signing", &read_file(&next)?)?);
        if waiting.public_key() != *public {
            return Ok(false);
        }
        put_in_place(settings, &signer.public_key())?;
        self.replace(waiting);
        Ok(true)
    }

    fn replace(&self, signer: Signer) {
        *self.signer.write().unwrap_or_else(PoisonError::into_inner) = signer;
    }

    /// The key that is to sign next: from a file, or made and kept beside the one that signs now, where [`Self::follow`]
    /// finds it. Where the key comes from a variable it can only come from a file: the operator keeps it.
    pub fn next_signer(settings: &Settings, file: Option<&Path>) -> AppResult<Signer> {
        let next = settings.data_dir.join("secrets").join(NEXT_SIGNING_KEY_FILE);
        let text = match (file, secret_variable(SIGNING_KEY)?.is_some()) {
            (Some(file), true) => read_file(file)?,
            (None, true) => {
                return Err(AppError::Usage(format!(
                    "--new-key-file: {SIGNING_KEY} holds the key, so make the new one (openssl rand -hex 32), name its \
                     file here, and put it into the variable of every server afterwards"
                )));
            }
            (Some(file), false) => {
                let text = read_file(file)?;
                parse("new signing", &text)?;
                if !next.exists() {
                    write_file(&next, text.trim())?;
                }
                if read_file(&next)?.trim() != text.trim() {
                    return Err(AppError::Refused(format!(
                        "{} holds another key: a change that was not finished; leave --new-key-file away to finish it",
                        next.display()
                    )));
                }
                text
            }
            (None, false) if next.exists() => read_file(&next)?,
            (None, false) => make_file(&next)?,
        };
        Ok(Signer::new(&parse("new signing", &text)?))
    }

    /// Encrypts; `context` says whose it is and must be given again to open it.
    pub fn seal(&self, plain: &[u8], context: &str) -> AppResult<Vec<u8>> {
        let nonce: [u8; NONCE_LENGTH] = rand::random();
        let cipher = XChaCha20Poly1305::new(&Key::from(self.sealing));
        let sealed = cipher
            .encrypt(&XNonce::from(nonce), Payload { msg: plain, aad: context.as_bytes() })
            .map_err(|_| AppError::Refused("what was sent is too large to be sealed".into()))?;
        let mut out = Vec::with_capacity(1 + NONCE_LENGTH + sealed.len());
        out.push(SEAL_VERSION);
        out.extend_from_slice(&nonce);
        out.extend_from_slice(&sealed);
        Ok(out)
    }

    /// Decrypts what was sealed in the same context.
    pub fn open(&self, sealed: &[u8], context: &str) -> AppResult<Vec<u8>> {
        let broken = || {
            AppError::from(redress_store::StoreError::corrupt(
                "sealed data cannot be opened: wrong master key, or altered",
            ))
        };
        let (version, rest) = sealed.split_first().ok_or_else(broken)?;
        let (nonce, body) = rest.split_first_chunk::<NONCE_LENGTH>().ok_or_else(broken)?;
        if *version != SEAL_VERSION {
            return Err(broken());
        }
        XChaCha20Poly1305::new(&Key::from(self.sealing))
            .decrypt(&XNonce::from(*nonce), Payload { msg: body, aad: context.as_bytes() })
            .map_err(|_| broken())
    }

    /// A keyed hash for a purpose: equal texts have equal tags, and a tag tells nothing of its text.
    #[must_use]
    pub fn tag(&self, purpose: &str, text: &[u8]) -> [u8; 32] {
        let mut mac = keyed(&self.tags);
        mac.update(purpose.as_bytes());
        mac.update(&[0]);
        mac.update(text);
        mac.finalize().into_bytes().into()
    }

    /// The token that lets a claimant see a claim: derived, so that it need not be stored.
    #[must_use]
    pub fn claimant_token(&self, claim: redress_domain::id::ClaimId) -> String {
        hex::encode(self.claimant_mac(claim).finalize().into_bytes())
    }

    /// Whether a token is the claim's, in constant time.
    #[must_use]
    pub fn is_claimant_token(&self, claim: redress_domain::id::ClaimId, token: &str) -> bool {
        hex::decode(token).is_ok_and(|bytes| self.claimant_mac(claim).verify_slice(&bytes).is_ok())
    }

    /// A name for something that must be found again and must not be known from its name: nobody without the master key
    /// can tell what it stands for, or whether two installations speak of the same.
    #[must_use]
    pub fn blind(&self, purpose: &str, what: &str) -> String {
        let mut mac = keyed(&self.names);
        mac.update(purpose.as_bytes());
        mac.update(&[0]);
        mac.update(what.as_bytes());
        hex::encode(mac.finalize().into_bytes())
    }

    /// Whether a name is the one that [`Self::blind`] gives, in constant time.
    #[must_use]
    pub fn is_blind(&self, purpose: &str, what: &str, name: &str) -> bool {
        let mut mac = keyed(&self.names);
        mac.update(purpose.as_bytes());
        mac.update(&[0]);
        mac.update(what.as_bytes());
        hex::decode(name).is_ok_and(|bytes| mac.verify_slice(&bytes).is_ok())
    }

    /// The token of a session that opens the claims of an address, given by its blind name, until a time.
    #[must_use]
    pub fn address_session(&self, address: &str, until: DateTime<Utc>) -> String {
        let body = format!("{address}.{}", until.timestamp());
        format!("{ADDRESS_SESSION}{}", hex::encode(format!("{body}.{}", self.blind("claimant session", &body))))
    }

    /// The blind name of the address whose claims a session opens now; none when it is over or not ours.
    #[must_use]
    pub fn open_address_session(&self, token: &str, now: DateTime<Utc>) -> Option<String> {
        let text = String::from_utf8(hex::decode(token.strip_prefix(ADDRESS_SESSION)?).ok()?).ok()?;
        let (body, mac) = text.rsplit_once('.')?;
        let (address, until) = body.split_once('.')?;
        let lasts = until.parse::<i64>().is_ok_and(|until| now.timestamp() < until);
        (self.is_blind("claimant session", body, mac) && lasts).then(|| address.to_owned())
    }

    fn claimant_mac(&self, claim: redress_domain::id::ClaimId) -> Hmac<Sha256> {
        let mut mac = keyed(&self.tokens);
        mac.update(claim.0.as_bytes());
        mac
    }
}

fn keyed(key: &[u8; KEY_LENGTH]) -> Hmac<Sha256> {
    // A key of 32 bytes is shorter than a block of SHA-256, so it is taken as it is.
    let mut block = [0_u8; 64];
    block[..KEY_LENGTH].copy_from_slice(key);
    Hmac::<Sha256>::new(&block.into())
}

fn derive(master: &[u8], purpose: &[u8]) -> [u8; KEY_LENGTH] {
    let mut hash = Sha256::new();
    hash.update(b"redress key 1");
    hash.update(master);
    hash.update(purpose);
    hash.finalize().into()
}

/// Puts the next signing key in the place of the one that signed until now, which is kept under another name: a backup of
/// before needs it.
fn put_in_place(settings: &Settings, old: &PublicKey) -> AppResult<()> {
    let folder = settings.data_dir.join("secrets");
    let path = SIGNING.path(settings);
    let name: String = old.to_string().chars().take(16).collect();
    let kept = folder.join(format!("{}.was-{name}", SIGNING.file));
    let moving = || format!("putting the new key into {}", path.display());
    // Linked first, so that there is a signing key at every moment; what a crash leaves half-way is done again.
    match std::fs::hard_link(&path, &kept) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(AppError::io(moving())(error)),
        _ => std::fs::rename(folder.join(NEXT_SIGNING_KEY_FILE), &path).map_err(AppError::io(moving())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

    #[test]
    fn what_is_sealed_opens_in_its_own_context_only() {
        let key = parse("master", KEY).unwrap();
        let secrets = Secrets::new(&key, &key);
        let sealed = secrets.seal(b"010-1234-5678", "customer a").unwrap();
        assert_eq!(secrets.open(&sealed, "customer a").unwrap(), b"010-1234-5678");
        assert!(secrets.open(&sealed, "customer b").is_err());
        let mut altered = sealed;
        if let Some(last) = altered.last_mut() {
            *last ^= 1;
        }
        assert!(secrets.open(&altered, "customer a").is_err());
        assert!(secrets.open(&[], "customer a").is_err());
    }
}
