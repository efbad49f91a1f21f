//! Backups by the database's own programs: `pg_dump` takes one consistent snapshot while everything goes on, and
//! `pg_restore` puts it into an empty database, all of it or nothing.

use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use diesel::prelude::*;
use diesel::sql_types::Bool;
use percent_encoding::percent_decode_str;

use crate::connection::{APP_ROLE, Connection};
use crate::embedded;
use crate::error::{StoreError, StoreResult};

/// Why a backup could not be written or restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The programs of PostgreSQL are not there.
    #[error("{0}")]
    NoPrograms(#[from] embedded::EmbeddedError),
    /// A program could not be started, or said no.
    #[error("{program} failed: {said}")]
    Failed {
        /// Its name.
        program: &'static str,
        /// Its last words.
        said: String,
    },
    /// The file could not be written.
    #[error("writing {}: {source}", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the machine said.
        source: std::io::Error,
    },
    /// The password would be seen by everybody on the machine.
    #[error(
        "the password of --database-url must stand as postgresql://user:password@host/…, or in a file that PGPASSFILE \
         names: anywhere else it would show in the list of processes"
    )]
    PasswordExposed,
    /// What is there would be mixed with what is restored.
    #[error("the database is not empty: restore into a new --data-dir, or a database fresh from CREATE DATABASE")]
    NotEmpty,
    /// The database.
    #[error("{0}")]
    Store(#[from] StoreError),
}

/// Writes a backup of the database at `url` into `file`, which appears only when it is whole and on disk. `programs` is
/// the folder of the programs to use; found like the private server's when none.
pub fn dump(url: &str, file: &Path, programs: Option<&Path>) -> Result<(), BackupError> {
    let draft = file.with_extension(format!("partial-{}", std::process::id()));
    let written = write_dump(url, &draft, programs).and_then(|()| {
        let placed = std::fs::hard_link(&draft, file).and_then(|()| std::fs::File::open(file)?.sync_all());
        placed.map_err(|source| BackupError::Write { path: file.to_owned(), source })
    });
    // Of a backup that failed nothing is kept; of one that did not, this is a second name.
    let _ = std::fs::remove_file(&draft);
    written
}

fn write_dump(url: &str, draft: &Path, programs: Option<&Path>) -> Result<(), BackupError> {
    // It holds all that the database does: only its owner may read it.
    let out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(draft);
    let out = out.map_err(|source| BackupError::Write { path: draft.to_owned(), source })?;
    run("pg_dump", url, programs, |command| {
        command.args(["--format=custom", "--compress=1", "--no-owner"]).stdout(out);
    })
}

/// Puts a backup into an empty database, all of it or nothing.
pub fn restore(url: &str, file: &Path, programs: Option<&Path>) -> Result<(), BackupError> {
    let mut owner = crate::connection::connect_as_owner(url)?;
    if !is_empty(&mut owner)? {
        return Err(BackupError::NotEmpty);
    }
    create_app_role(&mut owner)?;
    drop(owner);
    run("pg_restore", url, programs, |command| {
        command.args(["--single-transaction", "--exit-on-error", "--no-owner"]).arg(file).stdout(Stdio::null());
    })?;
    // Figures for the planner are no part of a backup.
    let mut owner = crate::connection::connect_as_owner(url)?;
    diesel::sql_query("ANALYZE").execute(&mut owner).map_err(StoreError::from)?;
    Ok(())
}

fn is_empty(owner: &mut Connection) -> StoreResult<bool> {
    let occupied = "EXISTS (SELECT FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r')";
    let occupied: bool = diesel::select(diesel::dsl::sql::<Bool>(occupied)).get_result(owner)?;
    Ok(!occupied)
}

/// Roles belong to a server, not to a database, so a backup has the rights of this one but not the role itself.
fn create_app_role(owner: &mut Connection) -> StoreResult<()> {
    use diesel::connection::SimpleConnection;
    Ok(owner.batch_execute(&format!(
        "DO $$ BEGIN
             IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{APP_ROLE}') THEN CREATE ROLE {APP_ROLE} NOLOGIN; END IF;
             IF NOT pg_has_role('{APP_ROLE}', 'MEMBER') THEN GRANT {APP_ROLE} TO CURRENT_USER; END IF;
         END $$"
    ))?)
}

/// Runs one of the programs on a database. The password goes by the environment, which nobody else can read.
fn run(
    program: &'static str,
    url: &str,
    programs: Option<&Path>,
    arguments: impl FnOnce(&mut Command),
) -> Result<(), BackupError> {
    let (url, password) = without_password(url)?;
    let folder = match programs {
        Some(folder) => folder.to_owned(),
        None => embedded::find_binaries()?,
    };
    let mut command = Command::new(folder.join(program));
    command.env("LC_ALL", "C").arg("--no-password").arg("--dbname").arg(OsStr::new(&url)).stdin(Stdio::null());
    if let Some(password) = password {
        command.env("PGPASSWORD", password);
    }
    arguments(&mut command);
    let failed = |said: String| BackupError::Failed { program, said };
    let output = command.stderr(Stdio::piped()).output().map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).collect();
    Err(failed(lines.join("; ")))
}

/// An address without its password, and the password.
fn without_password(url: &str) -> Result<(String, Option<String>), BackupError> {
    let parts = url.split_once("://").and_then(|(scheme, rest)| {
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (user, hosts) = authority.rsplit_once('@')?;
        let (name, password) = user.split_once(':')?;
        Some((format!("{scheme}://{name}@{hosts}{path}"), password))
    });
    let (url, password) = match parts {
        Some((url, password)) => (url, Some(percent_decode_str(password).decode_utf8_lossy().into_owned())),
        None => (url.to_owned(), None),
    };
    if url.contains("password") { Err(BackupError::PasswordExposed) } else { Ok((url, password)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_taken_out_wherever_it_may_stand() {
        for (url, rest, password) in [
            ("postgresql://u:p%40%3Ass@h1:1,h2/db?x=1", "postgresql://u@h1:1,h2/db?x=1", Some("p@:ss")),
            ("postgresql://u@/db?host=/tmp/a@b:c", "postgresql://u@/db?host=/tmp/a@b:c", None),
            ("postgresql:///db", "postgresql:///db", None),
        ] {
            let taken = without_password(url).unwrap();
            assert_eq!((taken.0.as_str(), taken.1.as_deref()), (rest, password), "{url}");
        }
        for url in ["host=a password=b", "postgresql://h/db?user=a&password=b"] {
            assert!(matches!(without_password(url), Err(BackupError::PasswordExposed)), "{url}");
        }
    }
}
