//! Reports in a file (CSV): each line is a report by itself. Read line by line in bounded memory, so that a file may be as
//! long as it wants to be; what is wrong with a line is said of that line alone.

use std::io::BufRead;

use serde_json::{Map, Value};

use crate::csv_rows::{Fault, Row, Rows};

/// What every file has to say of every report.
const REQUIRED: [&str; 3] = ["incident", "service", "customer"];
/// What it may say besides, of the report and of its claimant.
const OF_REPORT: [&str; 3] = ["policy", "kind", "description"];
const OF_CONTACT: [&str; 5] = ["email", "name", "phone", "payout_account", "language"];
/// What begins the name of a column with a fact.
const FACT: &str = "fact.";

/// A file of reports.
pub struct Sheet<R> {
    rows: Rows<R>,
    columns: Vec<String>,
}

/// A line: as an editor counts it, and the report, or why it is none.
pub type Line = (u64, Result<Value, String>);

impl<R: BufRead> Sheet<R> {
    /// Reads the header; what is wrong with it is wrong with the whole file.
    pub fn open(source: R) -> Result<Self, String> {
        let mut rows = Rows::new(source);
        let header = rows.next_row().map_err(|fault| format!("the header cannot be read: {fault}"))?;
        let cells = header.into_iter().flat_map(Row::cells);
        let columns: Vec<String> = cells.map(|name| String::from_utf8_lossy(name.trim_ascii()).into_owned()).collect();
        for (place, name) in columns.iter().enumerate() {
            check(name, &columns[..place])?;
        }
        match REQUIRED.iter().find(|name| !columns.iter().any(|column| column == *name)) {
            Some(missing) => Err(format!("the column {missing:?} is missing")),
            None => Ok(Self { rows, columns }),
        }
    }

    /// The next line; none at the end. An error ends the file: what follows cannot be told apart from this line.
    pub fn next_line(&mut self) -> Result<Option<Line>, Fault> {
        let Self { rows, columns } = self;
        let row = rows.next_row()?;
        Ok(row.map(|row| (row.line(), report(row, columns).map_err(|reason| row.refused(reason)))))
    }
}

/// A line as the document that it stands for.
fn report(row: &Row, columns: &[String]) -> Result<Value, String> {
    if let Some(problem) = row.problem() {
        return Err(problem.to_owned());
    }
    if row.width() != columns.len() {
        return Err(format!("has {} cells, and the header {}", row.width(), columns.len()));
    }
    let (mut report, mut contact, mut facts) = (Map::new(), Map::new(), Map::new());
    for (column, cell) in columns.iter().zip(row.cells()) {
        let cell = std::str::from_utf8(cell).map_err(|_| format!("the cell {column} is no UTF-8 text"))?.trim();
        if cell.is_empty() {
            continue;
        }
        let (part, name) = match column.strip_prefix(FACT) {
            Some(fact) => (&mut facts, fact),
            None if OF_CONTACT.contains(&column.as_str()) => (&mut contact, column.as_str()),
            None => (&mut report, column.as_str()),
        };
        part.insert(name.to_owned(), cell.into());
    }
    report.insert("contact".into(), contact.into());
    report.insert("facts".into(), facts.into());
    report.insert("channel".into(), "file".into());
    Ok(report.into())
}

/// The column that a field of a report stands in, by the field's JSON pointer.
#[must_use]
pub fn column_of(pointer: &str) -> String {
    let field = pointer.trim_start_matches('/');
    match field.split_once('/') {
        Some(("facts", fact)) => format!("{FACT}{fact}"),
        Some(("contact", part)) => part.to_owned(),
        _ => field.to_owned(),
    }
}

fn check(column: &str, before: &[String]) -> Result<(), String> {
    let known = REQUIRED.iter().chain(&OF_REPORT).chain(&OF_CONTACT).any(|known| *known == column);
    if !known && column.strip_prefix(FACT).is_none_or(str::is_empty) {
        let known = [&REQUIRED[..], &OF_REPORT, &OF_CONTACT].concat().join(", ");
        return Err(format!("the column {column:?} is unknown; known are {known} and {FACT}NAME"));
    }
    if before.iter().any(|earlier| earlier == column) {
        return Err(format!("the column {column:?} stands twice"));
    }
    Ok(())
}
