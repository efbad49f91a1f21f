//! What can go wrong with the private server, each as one clear sentence with its remedy.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why the private PostgreSQL server could not be found, created, started or stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmbeddedError {
    /// No usable server binaries on this machine.
    #[error("no PostgreSQL server ({minimum} or later) found: {remedy}, or set REDRESS_POSTGRES_BIN to its bin folder")]
    NoBinaries {
        /// The oldest major version that is accepted.
        minimum: u32,
        /// How to install one on this system.
        remedy: &'static str,
    },
    /// Server binaries exist, but all are too old.
    #[error("PostgreSQL {found} in {} is too old, {minimum} or later is needed: {remedy}", .folder.display())]
    TooOld {
        /// The newest major version found.
        found: u32,
        /// Where it was found.
        folder: PathBuf,
        /// The oldest major version that is accepted.
        minimum: u32,
        /// How to install a newer one on this system.
        remedy: &'static str,
    },
    /// `REDRESS_POSTGRES_BIN` is set, but names no folder with a server in it.
    #[error("REDRESS_POSTGRES_BIN is {}, but that folder has no working `postgres` and `initdb`", .folder.display())]
    BadOverride {
        /// The value of the variable.
        folder: PathBuf,
    },
    /// The database was made by another major version than those installed.
    #[error(
        "the database in {} was made by PostgreSQL {made_by}, but this machine has {}: install PostgreSQL {made_by} \
         beside it, or set REDRESS_POSTGRES_BIN to its bin folder", .data.display(), list(.installed)
    )]
    WrongVersion {
        /// The folder of the database.
        data: PathBuf,
        /// The major version that made it.
        made_by: String,
        /// The major versions found on this machine.
        installed: Vec<u32>,
    },
    /// A file or folder could not be read, written or created.
    #[error("cannot {action} {}: {source}{}", .path.display(), remedy_of(.source))]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// The database belongs to another user of the system.
    #[error(
        "the database in {} belongs to user {owner}, not to user {me}: run Redress as that user, or choose another --data-dir",
        .data.display()
    )]
    NotOwner {
        /// The folder of the database.
        data: PathBuf,
        /// Numeric id of its owner.
        owner: u32,
        /// Numeric id of this process.
        me: u32,
    },
    /// We are root, PostgreSQL refuses to run as root, and no other account can be used.
    #[error(
        "PostgreSQL does not run as root and there is no user `postgres` or `nobody`: run Redress as a normal user"
    )]
    NoAccount,
    /// The account that runs the server cannot enter the data folder.
    #[error(
        "the server runs as {account}, who cannot enter {}: choose a --data-dir that it can, such as /var/lib/redress",
        .folder.display()
    )]
    Unreachable {
        /// The account that runs the server.
        account: String,
        /// The folder it cannot enter.
        folder: PathBuf,
    },
    /// The database was kept outside the data folder, and is gone from there.
    #[error(
        "the database of this data folder was kept in {}, which is gone: bring it back, or remove {} to begin with an empty one",
        .home.display(), .record.display()
    )]
    PlaceGone {
        /// Where the database was kept.
        home: PathBuf,
        /// The file that says so.
        record: PathBuf,
    },
    /// A program of PostgreSQL could not be run at all.
    #[error("cannot run {}: {source}", .program.display())]
    Spawn {
        /// The program.
        program: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// `initdb` failed.
    #[error("initdb could not create the database: {}", or_log(.lines, .log))]
    Initdb {
        /// Its last lines.
        lines: String,
        /// The whole log.
        log: PathBuf,
    },
    /// The server ended while it was starting.
    #[error("PostgreSQL did not start: {}", or_log(.lines, .log))]
    Start {
        /// The last lines of its log.
        lines: String,
        /// The whole log.
        log: PathBuf,
    },
    /// The server, or `initdb`, took longer than the bound.
    #[error("{what} took longer than {} s: {}", .bound.as_secs(), or_log(.lines, .log))]
    Timeout {
        /// What was waited for.
        what: &'static str,
        /// How long.
        bound: Duration,
        /// The last lines of the log.
        lines: String,
        /// The whole log.
        log: PathBuf,
    },
    /// Another process holds the lock of the data folder for too long.
    #[error("another process has been starting or stopping the server of {} for more than {} s", .folder.display(), .bound.as_secs())]
    Busy {
        /// The folder whose lock is held.
        folder: PathBuf,
        /// How long was waited.
        bound: Duration,
    },
    /// The server runs, but its socket cannot be seen from here, and other processes use it.
    #[error(
        "PostgreSQL (process {pid}) runs for this data folder, but its socket {} cannot be seen from here: stop the other \
         Redress first", .socket.display()
    )]
    Hidden {
        /// The server's process id.
        pid: i32,
        /// Where its socket should be.
        socket: PathBuf,
    },
    /// Another process uses the database that was to be removed.
    #[error("the database of {} is in use by another Redress: stop that one first", .data_dir.display())]
    InUse {
        /// The data folder.
        data_dir: PathBuf,
    },
    /// The server could not be told to stop, or did not.
    #[error("PostgreSQL (process {pid}) did not stop within {} s", .bound.as_secs())]
    Stop {
        /// The server's process id.
        pid: i32,
        /// How long was waited.
        bound: Duration,
    },
    /// The server could not be reached although it says that it is ready.
    #[error("cannot connect to the private PostgreSQL: {0}")]
    Connect(#[from] diesel::ConnectionError),
    /// The roles or the database could not be created.
    #[error("cannot create the roles and the database: {0}")]
    Provision(#[from] diesel::result::Error),
}

impl EmbeddedError {
    /// For `map_err`: names the action and the path that an I/O error belongs to.
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { action, path, source }
    }
}

fn list(majors: &[u32]) -> String {
    match majors {
        [] => "none".to_owned(),
        majors => majors.iter().map(u32::to_string).collect::<Vec<_>>().join(", "),
    }
}

fn remedy_of(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "; make it writable or choose another --data-dir"
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "; free some space or choose another --data-dir",
        _ => "",
    }
}

fn or_log(lines: &str, log: &Path) -> String {
    match lines.trim() {
        "" => format!("see {}", log.display()),
        lines => format!("{lines} (see {})", log.display()),
    }
}
