//! Importing a roster: good rows are taken in one transaction, bad ones are refused alone, with line and reason.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use redress_domain::Holding;
use redress_domain::id::IncidentId;
use redress_store::holdings::{self, HeldFacts, IncomingRow, RosterFile};
use redress_store::incidents::{self, StoredIncident};
use redress_store::{Connection, audit};

use crate::app::{Actor, App};
use crate::error::{AppError, AppResult};
use crate::roster_file;

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
}

/// Imports a roster for an incident.
pub fn import(
    app: &App,
    file: &Path,
    incident: &IncidentId,
    refusals: Option<&Path>,
    actor: &Actor,
) -> AppResult<Imported> {
    let hash = roster_file::hash_of(file)?;
    let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let imported = app.store.transaction(|connection| -> AppResult<Imported> {
        let found = incidents::find(connection, incident)?;
        holdings::begin_import(connection)?;
        let mut import = Import {
            incident: found,
            batch: Vec::with_capacity(BATCH),
            refusals: Refusals::new(match refusals {
                Some(path) => path.to_owned(),
                None => app.settings.data_dir.join("refusals").join(format!("{name}.refused.csv")),
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
        import.refusals.finish(accepted, repeated)
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

/// The refused rows: all of them in a file, the first of them for the screen.
struct Refusals {
    path: PathBuf,
    file: Option<std::io::BufWriter<File>>,
    counted: i64,
    first: Vec<String>,
}

impl Refusals {
    fn new(path: PathBuf) -> Self {
        Self { path, file: None, counted: 0, first: Vec::new() }
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
        let writing = || format!("writing {}", self.path.display());
        let file = match &mut self.file {
            Some(file) => file,
            None => {
                if let Some(folder) = self.path.parent() {
                    std::fs::create_dir_all(folder).map_err(AppError::io(writing()))?;
                }
                let created = File::create(&self.path).map_err(AppError::io(writing()))?;
                let file = self.file.insert(std::io::BufWriter::new(created));
                file.write_all(b"line,reason\n").map_err(AppError::io(writing()))?;
                file
            }
        };
        // A reason may quote the row: doubled quotes keep it one cell, and it never begins a formula.
        writeln!(file, "{line},\"{}\"", reason.replace('"', "\"\"")).map_err(AppError::io(writing()))
    }

    fn finish(mut self, accepted: i64, repeated: i64) -> AppResult<Imported> {
        if let Some(file) = &mut self.file {
            file.flush().map_err(AppError::io(format!("writing {}", self.path.display())))?;
        }
        Ok(Imported {
            accepted,
            refused: self.counted + repeated,
            refusals: self.file.is_some().then_some(self.path),
            first_refusals: self.first,
        })
    }
}
