//! Acknowledgements and expiries from a file: CSV or NDJSON with `customer`, `credit` and, where they differ from the
//! whole credit at once today, `amount`, `attempt` and `date`. Rows are recorded in batches, so an interrupted file can
//! simply be given again; a row that cannot be recorded is refused alone, with its line.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use chrono::NaiveDate;
use redress_domain::credit::Flow;
use redress_domain::id::{CustomerId, TransferId};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::{ItemRefusal, Leaving, MAX_BATCH, leave};
use crate::app::{Actor, App};
use crate::error::{AppError, AppResult};

/// The longest line of a file, in bytes.
const MAX_LINE_LENGTH: u64 = 4 * 1024;
/// The most refusals that are listed; all are counted.
const MAX_LISTED: usize = 1_000;

/// A row as it is written, over HTTP too: amounts are texts, so that no digit is lost on the way.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    customer: String,
    credit: String,
    amount: Option<String>,
    attempt: Option<u16>,
    date: Option<NaiveDate>,
}

impl Row {
    /// Parses it; the error says which field is wrong.
    pub fn parse(&self) -> Result<Leaving, String> {
        let amount = self
            .amount
            .as_deref()
            .map(|text| Decimal::from_str_exact(text).map_err(|_| format!("amount {text:?} is no exact number")));
        Ok(Leaving {
            customer: CustomerId::parse(&self.customer).map_err(|error| error.to_string())?,
            credit: self.credit.parse::<TransferId>().map_err(|error| format!("credit {:?}: {error}", self.credit))?,
            amount: amount.transpose()?,
            attempt: self.attempt.unwrap_or(1),
            on: self.date,
        })
    }
}

/// What a file came to.
#[derive(Debug, Default, Serialize)]
pub struct Taken {
    /// Rows recorded.
    pub recorded: usize,
    /// Rows that had been recorded before.
    pub already: usize,
    /// Rows refused.
    pub refused: usize,
    /// The first refusals; `index` is the line.
    pub refusals: Vec<ItemRefusal>,
}

impl Taken {
    fn refuse(&mut self, refusal: ItemRefusal) {
        self.refused += 1;
        if self.refusals.len() < MAX_LISTED {
            self.refusals.push(refusal);
        }
    }
}

/// Records the rows of a file as deliveries or expiries.
pub fn take(app: &App, flow: Flow, path: &Path, actor: &Actor) -> AppResult<Taken> {
    let mut intake = Intake { app, flow, actor, batch: Vec::with_capacity(MAX_BATCH), taken: Taken::default() };
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("csv") => intake.csv(path)?,
        Some("ndjson" | "jsonl") => intake.ndjson(path)?,
        _ => return Err(AppError::Invalid(format!("{}: give a .csv, .ndjson or .jsonl file", path.display()))),
    }
    intake.flush()?;
    Ok(intake.taken)
}

struct Intake<'a> {
    app: &'a App,
    flow: Flow,
    actor: &'a Actor,
    batch: Vec<(usize, Leaving)>,
    taken: Taken,
}

impl Intake<'_> {
    fn csv(&mut self, path: &Path) -> AppResult<()> {
        let failed = |error: csv::Error| AppError::Invalid(format!("{}: {error}", path.display()));
        let file = File::open(path).map_err(AppError::io(format!("reading {}", path.display())))?;
        // A row ends at its line's end, and so does the last one: then the reader's place tells each row's line,
        // whichever way lines end, and however many are blank. What is left of a line's end is trimmed with the cell.
        let mut reader = csv::ReaderBuilder::new()
            .flexible(true)
            .trim(csv::Trim::All)
            .terminator(csv::Terminator::Any(b'\n'))
            .from_reader(file.chain(&b"\n"[..]));
        let headings = reader.headers().map_err(failed)?.clone();
        for needed in ["customer", "credit"] {
            if !headings.iter().any(|heading| heading == needed) {
                return Err(AppError::Invalid(format!("{}: there is no column {needed:?}", path.display())));
            }
        }
        let mut record = csv::StringRecord::new();
        loop {
            let read = reader.read_record(&mut record);
            if matches!(read, Ok(false)) {
                return Ok(());
            }
            let within = record.as_slice().bytes().filter(|byte| *byte == b'\n').count();
            let line = usize::try_from(reader.position().line()).unwrap_or(usize::MAX).saturating_sub(1 + within);
            match read {
                Err(error) if error.is_io_error() => return Err(failed(error)),
                Err(error) => self.row(line, Err(error.to_string()))?,
                Ok(_) if record.len() == 1 && record.get(0) == Some("") => {}
                Ok(_) if record.len() != headings.len() => {
                    let counts = format!("the row has {} fields, the header {}", record.len(), headings.len());
                    self.row(line, Err(counts))?;
                }
                Ok(_) => self.row(line, record.deserialize(Some(&headings)).map_err(|error| error.to_string()))?,
            }
        }
    }

    fn ndjson(&mut self, path: &Path) -> AppResult<()> {
        let failed = || AppError::io(format!("reading {}", path.display()));
        let mut reader = BufReader::new(File::open(path).map_err(failed())?);
        let mut line = Vec::new();
        for number in 1.. {
            line.clear();
            let read = reader.by_ref().take(MAX_LINE_LENGTH + 1).read_until(b'\n', &mut line).map_err(failed())?;
            if read == 0 {
                break;
            }
            if read as u64 > MAX_LINE_LENGTH {
                return Err(AppError::Invalid(format!(
                    "{}, line {number}: longer than {MAX_LINE_LENGTH} bytes",
                    path.display()
                )));
            }
            if !line.trim_ascii().is_empty() {
                self.row(number, serde_json::from_slice::<Row>(&line).map_err(|error| error.to_string()))?;
            }
        }
        Ok(())
    }

    fn row(&mut self, line: usize, row: Result<Row, String>) -> AppResult<()> {
        let (id, parsed) = match row {
            Ok(row) => (row.credit.chars().take(64).collect(), row.parse()),
            Err(error) => (String::new(), Err(error)),
        };
        match parsed {
            Ok(item) => self.batch.push((line, item)),
            Err(detail) => self.taken.refuse(ItemRefusal { index: line, id, code: "row_unreadable", detail }),
        }
        if self.batch.len() == MAX_BATCH { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> AppResult<()> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let (lines, items): (Vec<usize>, Vec<Leaving>) = self.batch.drain(..).unzip();
        let left = leave(self.app, self.flow, &items, self.actor)?;
        self.taken.recorded += left.recorded;
        self.taken.already += left.already;
        for mut refusal in left.refused {
            refusal.index = lines.get(refusal.index).copied().unwrap_or(refusal.index);
            self.taken.refuse(refusal);
        }
        Ok(())
    }
}
