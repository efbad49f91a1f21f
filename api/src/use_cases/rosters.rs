//! Importing a roster: good rows are taken in one transaction, bad ones are refused alone, with line and reason.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use redress_domain::Holding;
use redress_domain::id::IncidentId;
use redress_domain::roster::{Columns, parse_json};
use redress_store::holdings::{self, AttributesColumn, IncomingRow, RosterFile};
use redress_store::incidents::{self, StoredIncident};
use redress_store::{Connection, audit};
use sha2::{Digest, Sha256};

use crate::app::{Actor, App};
use crate::error::{AppError, AppResult};

/// How many rows are sent to the database at once.
const BATCH: usize = 5_000;
/// The longest line of a roster.
const MAX_LINE_LENGTH: usize = 64 * 1024;
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
    let format = Format::of(file)?;
    let hash = hash_of(file)?;
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
        match format {
            Format::Csv => read_csv(connection, file, &mut import)?,
            Format::Ndjson => read_ndjson(connection, file, &mut import)?,
        }
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
        audit::append(connection, &[entry])?;
        import.refusals.finish(accepted, repeated)
    })?;
    holdings::analyze(&mut app.database().owner()?)?;
    Ok(imported)
}

#[derive(Clone, Copy)]
enum Format {
    Csv,
    Ndjson,
}

impl Format {
    fn of(file: &Path) -> AppResult<Self> {
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("csv") => Ok(Self::Csv),
            Some("ndjson" | "jsonl") => Ok(Self::Ndjson),
            _ => Err(AppError::Invalid(format!("{}: a roster is a .csv, .ndjson or .jsonl file", file.display()))),
        }
    }
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
            customer_id: holding.customer.into(),
            service_id: *service_id,
            reference: holding.reference.into(),
            kind: holding.kind.into(),
            product: holding.product.into(),
            valid_from: holding.valid_from,
            valid_until: holding.valid_until,
            attributes: AttributesColumn(holding.attributes),
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

fn read_csv(connection: &mut Connection, file: &Path, import: &mut Import) -> AppResult<()> {
    // A row ends at its line's end, and so does the last one: then the reader's place tells each row's line, whichever
    // way lines end, and however many are blank. What is left of a line's end is trimmed with the cell.
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(true)
        .flexible(true)
        .terminator(csv::Terminator::Any(b'\n'))
        .from_reader(open(file)?.chain(&b"\n"[..]));
    let header = reader.headers().map_err(|error| csv_error(file, &error))?.clone();
    let columns = Columns::from_header(&header).map_err(|error| {
        let column = header.iter().take(error.field).map(|name| name.chars().count() + 1).sum::<usize>() + 1;
        AppError::Invalid(format!("{}:1:{column}: {}", file.display(), error.message))
    })?;
    let mut record = csv::ByteRecord::new();
    let mut cells: Vec<String> = Vec::new();
    loop {
        let more = reader.read_byte_record(&mut record).map_err(|error| csv_error(file, &error))?;
        if !more {
            return Ok(());
        }
        if record.as_slice().trim_ascii().is_empty() && record.len() == 1 {
            continue;
        }
        let within = record.as_slice().iter().filter(|byte| **byte == b'\n').count();
        let line = i64::try_from(reader.position().line()).unwrap_or(i64::MAX) - 1 - i64::try_from(within).unwrap_or(0);
        cells.clear();
        let mut readable = record.as_slice().len() <= MAX_LINE_LENGTH;
        for cell in &record {
            match std::str::from_utf8(cell) {
                Ok(text) if !text.contains('\0') => cells.push(text.to_owned()),
                _ => readable = false,
            }
        }
        if !readable {
            import.refusals.count(line, "the row is not UTF-8 text, or longer than 64 KiB")?;
            continue;
        }
        let row: Vec<&str> = cells.iter().map(String::as_str).collect();
        match columns.parse(&row) {
            Ok(holding) => import.take(connection, line, holding)?,
            Err(error) => import.refusals.count(line, &error.to_string())?,
        }
    }
}

fn read_ndjson(connection: &mut Connection, file: &Path, import: &mut Import) -> AppResult<()> {
    let mut reader = open(file)?;
    let mut bytes = Vec::new();
    for line in 1_i64.. {
        bytes.clear();
        let limit = u64::try_from(MAX_LINE_LENGTH + 1).unwrap_or(u64::MAX);
        let read = (&mut reader)
            .take(limit)
            .read_until(b'\n', &mut bytes)
            .map_err(AppError::io(format!("reading {}", file.display())))?;
        if read == 0 {
            break;
        }
        if read > MAX_LINE_LENGTH {
            // A line without an end may be a file of another kind: reading on would only guess.
            return Err(AppError::Invalid(format!("{}:{line}:1: the line is longer than 64 KiB", file.display())));
        }
        match std::str::from_utf8(&bytes) {
            Ok(text) if text.trim().is_empty() => {}
            Ok(text) if text.contains("\\u0000") => import.refusals.count(line, "a text has a NUL character")?,
            Ok(text) => match parse_json(text.trim_end()) {
                Ok(holding) => import.take(connection, line, holding)?,
                Err(error) => import.refusals.count(line, &error.to_string())?,
            },
            Err(_) => import.refusals.count(line, "the line is not UTF-8 text")?,
        }
    }
    Ok(())
}

fn open(file: &Path) -> AppResult<BufReader<File>> {
    let opened = File::open(file).map_err(AppError::io(format!("reading {}", file.display())))?;
    Ok(BufReader::with_capacity(1 << 18, opened))
}

fn csv_error(file: &Path, error: &csv::Error) -> AppError {
    let line = error.position().map_or(1, csv::Position::line);
    AppError::Invalid(format!("{}:{line}:1: {error}", file.display()))
}

fn hash_of(file: &Path) -> AppResult<String> {
    let mut reader = open(file)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0_u8; 1 << 18];
    loop {
        let read = reader.read(&mut buffer).map_err(AppError::io(format!("reading {}", file.display())))?;
        if read == 0 {
            return Ok(hex::encode(hash.finalize()));
        }
        hash.update(&buffer[..read]);
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
