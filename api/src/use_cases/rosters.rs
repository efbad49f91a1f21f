//! Importing a roster: good rows are taken in one transaction, bad ones are refused alone, with line and reason.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use redress_domain::Holding;
use redress_domain::id::IncidentId;
use redress_store::holdings::{self, HeldFacts, IncomingRow, RosterFile};
use redress_store::incidents::{self, StoredIncident};
use redress_store::{Connection, audit};

use crate::app::{Actor, App};
use crate::error::{AppError, AppResult};
use crate::{outputs, roster_file};

/// How many rows are sent to the database at once.
const BATCH: usize = 5_000;
/// The most repeated lines that are listed in the refusals; more are counted.
const MAX_REPEATED_LISTED: i64 = 100_000;
/// How many refusals are shown at once; all are in the file.
const SHOWN: usize = 5;

/// What an import did.
#[derive(Debug, serde::Serialize)]
pub struct Imported {
    /// Holdings taken.
    pub accepted: i64,
    /// Rows refused.
    pub refused: i64,
    /// Where the refused rows stand, if there are any.
    pub refusals: Option<PathBuf>,
    /// The first refusals, as `line 7: reason`.
    pub first_refusals: Vec<String>,
    /// When the same file was last imported for this incident, if it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub imported_before: Option<DateTime<Utc>>,
}

/// Imports a roster for an incident.
pub fn import(
    app: &App,
    file: &Path,
    incident: &IncidentId,
    refusals: Option<&Path>,
    actor: &Actor,
) -> AppResult<Imported> {
    if let Some(refusals) = refusals {
        outputs::refuse_input("--refusals", refusals, file)?;
    }
    let hash = roster_file::hash_of(file)?;
    let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let imported = app.store.transaction(|connection| -> AppResult<Imported> {
        let found = incidents::find(connection, incident)?;
        let imported_before = holdings::imported_before(connection, found.key, &hash)?;
        holdings::begin_import(connection)?;
        let mut import = Import {
            incident: found,
            batch: Vec::with_capacity(BATCH),
            refusals: Refusals::new(match refusals {
                Some(path) => Goal::Path(path.to_owned()),
                None => Goal::Folder(app.settings.data_dir.join("refusals"), name.clone()),
            }),
        };
        roster_file::each_row(file, &mut |line, row| match row {
            Ok(holding) => import.take(connection, line, holding),
            Err(reason) => import.refusals.count(line, &reason),
        })?;
        import.flush(connection)?;
        for (line, first) in holdings::repeated_lines(connection, MAX_REPEATED_LISTED)? {
            import.refusals.list(line, &format!("repeats the holding of line {first}"))?;
        }
        let entry = actor.entry(
            "roster.import",
            format!("roster {name} for incident {incident}"),
            serde_json::json!({ "hash": hash }),
        );
        let roster = RosterFile { incident_key: import.incident.key, name: &name, hash: &hash, at: entry.at };
        let (accepted, repeated) = holdings::finish_import(connection, &roster, import.refusals.counted)?;
        audit::append(connection, &[entry.after(&hash)])?;
        Ok(Imported { imported_before, ..import.refusals.finish(accepted, repeated)? })
    })?;
    holdings::tidy(&mut app.database().owner()?)?;
    Ok(imported)
}

struct Import {
    incident: StoredIncident,
    batch: Vec<IncomingRow>,
    refusals: Refusals,
}

impl Import {
    fn take(&mut self, connection: &mut Connection, line: i64, holding: Holding) -> AppResult<()> {
        let Some(service_id) = self.incident.service_keys.get(&holding.service) else {
            let reason = format!("service {} is not part of incident {}", holding.service, self.incident.incident.id);
            return self.refusals.count(line, &reason);
        };
        self.batch.push(IncomingRow {
            line,
            incident_id: self.incident.key,
            customer_id: holding.customer.to_string(),
            service_id: *service_id,
            reference: holding.reference.to_string(),
            facts: HeldFacts::of(holding),
        });
        if self.batch.len() == BATCH { self.flush(connection) } else { Ok(()) }
    }

    fn flush(&mut self, connection: &mut Connection) -> AppResult<()> {
        if !self.batch.is_empty() {
            holdings::take_in(connection, &self.batch)?;
            self.batch.clear();
        }
        Ok(())
    }
}

/// Where refused rows are written.
enum Goal {
    /// There, whatever is there.
    Path(PathBuf),
    /// Into a new file of the folder that is named after the roster.
    Folder(PathBuf, String),
}

impl Goal {
    fn create(&self) -> AppResult<(PathBuf, File)> {
        match self {
            Self::Folder(folder, name) => outputs::create_beside(folder, name, "refused"),
            Self::Path(path) => {
                let writing = || format!("writing {}", path.display());
                if let Some(folder) = path.parent() {
                    std::fs::create_dir_all(folder).map_err(AppError::io(writing()))?;
                }
                Ok((path.clone(), File::create(path).map_err(AppError::io(writing()))?))
            }
        }
    }
}

/// The refused rows: all of them in a file, the first of them for the screen.
struct Refusals {
    goal: Goal,
    file: Option<(PathBuf, std::io::BufWriter<File>)>,
    counted: i64,
    first: Vec<String>,
}

impl Refusals {
    fn new(goal: Goal) -> Self {
        Self { goal, file: None, counted: 0, first: Vec::new() }
    }

    /// Refuses a row that never reached the database.
    fn count(&mut self, line: i64, reason: &str) -> AppResult<()> {
        self.counted += 1;
        self.list(line, reason)
    }

    /// Writes a refusal down.
    fn list(&mut self, line: i64, reason: &str) -> AppResult<()> {
        if self.first.len() < SHOWN {
            self.first.push(format!("line {line}: {reason}"));
        }
        let (path, file) = match &mut self.file {
            Some(known) => known,
            None => {
                let (path, created) = self.goal.create()?;
                let mut file = std::io::BufWriter::new(created);
                file.write_all(b"line,reason\n").map_err(AppError::io(format!("writing {}", path.display())))?;
                self.file.insert((path, file))
            }
        };
        // A reason may quote the row: doubled quotes keep it one cell, and it never begins a formula.
        writeln!(file, "{line},\"{}\"", reason.replace('"', "\"\""))
            .map_err(AppError::io(format!("writing {}", path.display())))
    }

    fn finish(self, accepted: i64, repeated: i64) -> AppResult<Imported> {
        let refusals = match self.file {
            Some((path, mut file)) => {
                file.flush().map_err(AppError::io(format!("writing {}", path.display())))?;
                Some(path)
            }
            None => None,
        };
        let refused = self.counted + repeated;
        Ok(Imported { accepted, refused, refusals, first_refusals: self.first, imported_before: None })
    }
}
