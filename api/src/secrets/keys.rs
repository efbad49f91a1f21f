//! Where the two keys of an installation come from: a variable, or a file that only its owner reads.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::error::{AppError, AppResult};
use crate::settings::{Settings, secret_variable};

/// How long a key is, in bytes.
pub(super) const KEY_LENGTH: usize = 32;

/// One of the keys: what it is called, and where it may come from.
#[derive(Debug)]
pub struct KeyPlace {
    /// What messages call it.
    pub name: &'static str,
    /// The variable that holds it; with `_FILE`, the file that does.
    pub variable: &'static str,
    /// Its file in the folder of secrets.
    pub file: &'static str,
    /// What is left where it is lost for good.
    if_lost: &'static str,
}

/// The key that contact data are sealed by.
pub const MASTER: KeyPlace = KeyPlace {
    name: "master",
    variable: "REDRESS_MASTER_KEY",
    file: "master.key",
    if_lost: "if it is lost for good, so are the contact data and passwords under it: then put a new one there (openssl \
              rand -hex 32)",
};
/// The key that signs the log's heads.
pub const SIGNING: KeyPlace = KeyPlace {
    name: "signing",
    variable: "REDRESS_SIGNING_KEY",
    file: "signing.key",
    if_lost: "no other key goes on with this log",
};

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFault {
    /// It is not there, where an installation has one.
    #[error("the {} key of this installation is missing", .0.name)]
    Missing(&'static KeyPlace, PathBuf),
    /// It is not there, in production.
    #[error("in production the {} key is never made up", .0.name)]
    NeverMade(&'static KeyPlace),
    /// Its file can be read by others.
    #[error("{} can be read by others (mode {mode:o})", .path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It is no key.
    #[error("the {0} key {1}")]
    Weak(&'static str, &'static str),
    /// It cannot be read.
    #[error("{0}")]
    Unreadable(Box<AppError>),
}

impl KeyFault {
    /// What mends it.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::Missing(place, path) => format!(
                "put it back into {} (mode 600), or set {variable} or {variable}_FILE; {}",
                path.display(),
                place.if_lost,
                variable = place.variable
            ),
            Self::NeverMade(place) => format!(
                "set {variable} or {variable}_FILE to this installation's, or for a new one to 64 hex digits (openssl \
                 rand -hex 32)",
                variable = place.variable
            ),
            Self::Open { path, .. } => format!("chmod 600 {}", path.display()),
            Self::Weak(..) => "put this installation's key back; a new installation takes 64 random hex digits \
                               (openssl rand -hex 32)"
                .to_owned(),
            Self::Unreadable(_) => "mend the file or the variable it names".to_owned(),
        }
    }
}

impl From<AppError> for KeyFault {
    fn from(error: AppError) -> Self {
        Self::Unreadable(Box::new(error))
    }
}

impl From<KeyFault> for AppError {
    fn from(fault: KeyFault) -> Self {
        match fault {
            KeyFault::Unreadable(error) => *error,
            fault => Self::Refused(format!("{fault}: {}", fault.remedy())),
        }
    }
}

/// A key.
pub(super) type Key = [u8; KEY_LENGTH];

impl KeyPlace {
    /// The file in the data folder.
    pub(super) fn path(&self, settings: &Settings) -> PathBuf {
        settings.data_dir.join("secrets").join(self.file)
    }

    /// That it is not there.
    pub(super) fn missing(&'static self, settings: &Settings) -> KeyFault {
        KeyFault::Missing(self, self.path(settings))
    }

    /// The key, if there is one.
    pub(super) fn find(&'static self, settings: &Settings) -> Result<Option<Key>, KeyFault> {
        let path = self.path(settings);
        match secret_variable(self.variable)? {
            Some(text) => parse(self.name, &text).map(Some),
            None if path.exists() => parse(self.name, &read_file(&path)?).map(Some),
            None if settings.production => Err(KeyFault::NeverMade(self)),
            None => Ok(None),
        }
    }

    /// The key; made where there is none and it may be made up.
    pub(super) fn load(&'static self, settings: &Settings, may_be_made: bool) -> Result<Key, KeyFault> {
        match self.find(settings)? {
            Some(key) => Ok(key),
            None if may_be_made => parse(self.name, &make_file(&self.path(settings))?),
            None => Err(self.missing(settings)),
        }
    }
}

/// Reads a key from its text.
pub(super) fn parse(name: &'static str, text: &str) -> Result<Key, KeyFault> {
    let bytes = hex::decode(text.trim()).map_err(|_| KeyFault::Weak(name, "is not hex"))?;
    let key: Key = bytes.try_into().map_err(|_| KeyFault::Weak(name, "has the wrong length"))?;
    let mut distinct = key;
    distinct.sort_unstable();
    // 32 random bytes have fewer than 16 distinct values about once in 10^11 draws.
    if distinct.chunk_by(|a, b| a == b).count() < KEY_LENGTH / 2 {
        return Err(KeyFault::Weak(name, "is weak"));
    }
    Ok(key)
}

/// Reads the text of a key from its file.
pub(super) fn read_file(path: &Path) -> Result<String, KeyFault> {
    let reading = || format!("reading {}", path.display());
    let mode = std::fs::metadata(path).map_err(AppError::io(reading()))?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeyFault::Open { path: path.to_owned(), mode });
    }
    Ok(std::fs::read_to_string(path).map_err(AppError::io(reading()))?)
}

/// Makes a key up and puts it into a file.
pub(super) fn make_file(path: &Path) -> Result<String, KeyFault> {
    let key = hex::encode(rand::random::<Key>());
    match write_file(path, &key) {
        Ok(()) => Ok(key),
        // Another process of this installation was quicker.
        Err(AppError::Io { source, .. }) if source.kind() == std::io::ErrorKind::AlreadyExists => read_file(path),
        Err(error) => Err(error.into()),
    }
}

/// Writes a key aside and puts it in place whole: whoever starts at the same moment, or after a crash, never meets half a
/// key. Nothing that is there is replaced.
pub(super) fn write_file(path: &Path, key: &str) -> AppResult<()> {
    let writing = || format!("writing {}", path.display());
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(AppError::io(writing()))?;
    }
    let draft = path.with_extension(format!("draft-{}", std::process::id()));
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&draft)
        .and_then(|mut file| file.write_all(key.as_bytes()).and_then(|()| file.sync_all()));
    let placed = written.and_then(|()| std::fs::hard_link(&draft, path));
    // A draft that stays behind harms nobody: only its owner reads it.
    let _ = std::fs::remove_file(&draft);
    placed.map_err(AppError::io(writing()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weak_key_is_refused() {
        for weak in ["", "abc", &"00".repeat(32), &"ab".repeat(31), "secret"] {
            assert!(parse("master", weak).is_err(), "{weak}");
        }
    }
}
