//! The addresses of the private server, in the form that libpq reads.

use std::fmt::Write;
use std::path::Path;

/// The database of Redress in the private server.
pub const DATABASE: &str = "redress";
/// PostgreSQL names its socket after the port. Since the folder is ours alone, the usual one never clashes.
pub(super) const PORT: &str = "5432";
/// The name of the socket in its folder.
pub(super) const SOCKET_NAME: &str = ".s.PGSQL.5432";

/// Who connects to the private server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// May do everything; for tests, repairs and backups.
    Superuser,
    /// Owns the database: migrations run as this role. May create databases and clone its own.
    Owner,
    /// Has only what the migrations grant it: the running server, which may not change the ledger's rows.
    App,
}

impl Role {
    /// Its name in the database.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Superuser => "postgres",
            Self::Owner => "redress",
            Self::App => "redress_app",
        }
    }
}

pub(super) fn url(socket_folder: &Path, role: Role, database: &str) -> String {
    let host = percent_encode(socket_folder.as_os_str().as_encoded_bytes());
    let database = percent_encode(database.as_bytes());
    format!("postgresql://{}@/{database}?host={host}&port={PORT}", role.name())
}

fn percent_encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || b"/._-~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_names_are_encoded() {
        let url = url(Path::new("/tmp/a b+c"), Role::App, "copy&paste");
        assert_eq!(url, "postgresql://redress_app@/copy%26paste?host=/tmp/a%20b%2Bc&port=5432");
    }
}
