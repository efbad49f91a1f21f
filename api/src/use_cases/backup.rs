//! Backup and restore. A backup is the whole database in one snapshot, taken while everything goes on. The keys are no
//! part of it: whoever finds the file reads no contact data and signs no log.

use std::path::{Path, PathBuf};

use chrono::{SecondsFormat, Utc};
use redress_store::log::seal;
use redress_store::{audit, backup};
use serde::Serialize;

use super::audit::{HEAD_FILE, read_head};
use super::own_keys;
use crate::app::{Actor, App, Database};
use crate::error::{AppError, AppResult};
use crate::secrets::Secrets;
use crate::settings::Settings;

/// What a backup came to.
#[derive(Debug, Serialize)]
pub struct Written {
    /// Where it is.
    pub file: PathBuf,
    /// How large, in bytes.
    pub bytes: u64,
}

/// Writes a backup into a file that must not exist.
pub fn write(app: &App, file: &Path, actor: &Actor) -> AppResult<Written> {
    if file.exists() {
        return Err(AppError::Refused(format!("{} exists; a backup never replaces another", file.display())));
    }
    let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    // In the backup itself stands who made it.
    let entry = actor.entry("backup.write", format!("backup {name}"), serde_json::json!({}));
    app.store.with(|connection| audit::append(connection, &[entry]))?;
    let database = app.database();
    backup::dump(database.url(), file, database.embedded().map(|embedded| embedded.binaries()))?;
    let bytes = std::fs::metadata(file).map_err(AppError::io(format!("reading {}", file.display())))?.len();
    Ok(Written { file: file.to_owned(), bytes })
}

/// What a restore came to.
#[derive(Debug, Serialize)]
pub struct Restored {
    /// How many leaves the restored log has.
    pub log: u64,
    /// How many leaves the log had that this data folder knew before, if it knew one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_before: Option<u64>,
    /// Where the head of that log is kept now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head_kept: Option<PathBuf>,
    /// What is not as it should be, each with its remedy.
    pub warnings: Vec<String>,
}

/// Puts a backup into an empty database: a new data folder's, or a fresh one of a server. All of it or nothing.
pub fn restore(settings: Settings, file: &Path, actor: &Actor) -> AppResult<Restored> {
    if !file.is_file() {
        return Err(AppError::Invalid(format!("{} is no file", file.display())));
    }
    Secrets::require(&settings)?;
    {
        let database = Database::open(&settings)?;
        backup::restore(database.url(), file, database.embedded().map(|embedded| embedded.binaries()))?;
    }
    let (head_kept, log_before) = set_head_aside(&settings.data_dir)?;
    let app = App::open(settings)?;
    let newest = app.store.with(seal::newest_head)?;
    let mut warnings = Vec::new();
    let log = newest.as_ref().map_or(0, |head| head.size);
    let foreign = app.store.with(|connection| own_keys::foreign(connection, &app.secrets))?;
    warnings.extend(foreign.into_iter().map(|key| format!("{}: {}", key.seen, key.remedy)));
    if let Some(before) = log_before.filter(|before| *before > log) {
        warnings.push(format!("the log had {before} leaves and has {log} now: what came after the backup is lost"));
    }
    if warnings.is_empty() {
        // With a wrong key nothing is written: what would be signed or sealed by it could not be mended.
        let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let entry = actor.entry("backup.restore", format!("backup {name}"), serde_json::json!({ "log": log }));
        app.store.with(|connection| audit::append(connection, &[entry]))?;
        super::audit::seal_after(&app);
    }
    Ok(Restored { log, log_before, head_kept, warnings })
}

/// The head that this folder knew speaks of another log from now on: it is kept under another name for whoever compares.
fn set_head_aside(folder: &Path) -> AppResult<(Option<PathBuf>, Option<u64>)> {
    let known = folder.join(HEAD_FILE);
    if !known.exists() {
        return Ok((None, None));
    }
    let size = read_head(&known)?.size;
    let at = Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true);
    let kept = folder.join(format!("{HEAD_FILE}.before-restore-{at}"));
    std::fs::rename(&known, &kept).map_err(AppError::io(format!("renaming {}", known.display())))?;
    Ok((Some(kept), Some(size)))
}
