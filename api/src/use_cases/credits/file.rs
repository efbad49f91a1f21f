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
use crate::csv_rows::{Row as CsvRow, Rows};
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

fn to_usize(line: u64) -> usize {
    usize::try_from(line).unwrap_or(usize::MAX)
}

/// A row as the CSV library has it, to be read by the names of its columns.
fn record_of(row: &CsvRow) -> Result<csv::StringRecord, String> {
    if let Some(problem) = row.problem() {
        return Err(problem.to_owned());
    }
    let cells = row.cells().map(|cell| std::str::from_utf8(cell.trim_ascii()));
    cells.collect::<Result<Vec<&str>, _>>().map(csv::StringRecord::from).map_err(|_| "it is no UTF-8 text".to_owned())
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
        let failed = |why: String| AppError::Invalid(format!("{}: {why}", path.display()));
        let file = File::open(path).map_err(AppError::io(format!("reading {}", path.display())))?;
        let mut rows = Rows::new(BufReader::new(file));
        let header = rows.next_row().map_err(|fault| failed(fault.to_string()))?;
        let headings = header.map(record_of).transpose().map_err(failed)?.unwrap_or_default();
        for needed in ["customer", "credit"] {
            if !headings.iter().any(|heading| heading == needed) {
                return Err(failed(format!("there is no column {needed:?}")));
            }
        }
        loop {
            let row = match rows.next_row() {
                Ok(Some(row)) => row,
                Ok(None) => return Ok(()),
                // What was read is recorded; the file is mended and given again.
                Err(fault) => {
                    let line = fault.line().ok_or_else(|| failed(fault.to_string()))?;
                    return self.row(to_usize(line), Err(format!("{fault}; nothing after it was read")));
                }
            };
            let line = to_usize(row.line());
            let read = record_of(row).and_then(|record| match record.len() == headings.len() {
                true => record.deserialize(Some(&headings)).map_err(|error| error.to_string()),
                false => Err(format!("the row has {} fields, the header {}", record.len(), headings.len())),
            });
            let read = read.map_err(|reason| row.refused(reason));
            self.row(line, read)?;
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
