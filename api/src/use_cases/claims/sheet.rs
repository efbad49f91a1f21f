//! Reports in a file (CSV): each line is a report by itself. Read line by line in bounded memory, so that a file may be as
//! long as it wants to be; what is wrong with a line is said of that line alone.

use std::io::Read;

use serde_json::{Map, Value};

/// The most bytes of a line.
pub const MAX_LINE: usize = 64 * 1024;
/// What every file has to say of every report.
const REQUIRED: [&str; 3] = ["incident", "service", "customer"];
/// What it may say besides, of the report and of its claimant.
const OF_REPORT: [&str; 3] = ["policy", "kind", "description"];
const OF_CONTACT: [&str; 5] = ["email", "name", "phone", "payout_account", "language"];
/// What begins the name of a column with a fact.
const FACT: &str = "fact.";

/// A file of reports.
pub struct Sheet<R> {
    reader: csv::Reader<Bounded<R>>,
    columns: Vec<String>,
    record: csv::ByteRecord,
}

/// A line: as an editor counts it, and the report, or why it is none.
pub type Line = (u64, Result<Value, String>);

impl<R: Read> Sheet<R> {
    /// Reads the header; what is wrong with it is wrong with the whole file.
    pub fn open(source: R) -> Result<Self, String> {
        // A line ends at its line's end, and so does the last one: then the reader's place tells each line, whichever way
        // lines end, and however many are blank.
        let mut reader = csv::ReaderBuilder::new()
            .flexible(true)
            .terminator(csv::Terminator::Any(b'\n'))
            .from_reader(Bounded { source, left: MAX_LINE, ended: false });
        let header = reader.headers().map_err(|error| format!("the header cannot be read: {error}"))?;
        let columns: Vec<String> = header.iter().map(|name| name.trim().to_owned()).collect();
        for (place, name) in columns.iter().enumerate() {
            check(name, &columns[..place])?;
        }
        match REQUIRED.iter().find(|name| !columns.iter().any(|column| column == *name)) {
            Some(missing) => Err(format!("the column {missing:?} is missing")),
            None => Ok(Self { reader, columns, record: csv::ByteRecord::new() }),
        }
    }

    /// The next line; none at the end. An error ends the file: what follows cannot be told apart from this line.
    pub fn next_line(&mut self) -> Result<Option<Line>, String> {
        loop {
            self.reader.get_mut().left = MAX_LINE;
            let begins = self.reader.position().line();
            let more = self.reader.read_byte_record(&mut self.record);
            if !more.map_err(|error| format!("line {begins}: {error}"))? {
                return Ok(None);
            }
            if self.record.len() > 1 || !self.record.as_slice().trim_ascii().is_empty() {
                return Ok(Some((self.line(), self.report())));
            }
        }
    }

    fn line(&self) -> u64 {
        let within = self.record.as_slice().iter().filter(|byte| **byte == b'\n').count();
        self.reader.position().line().saturating_sub(1 + u64::try_from(within).unwrap_or(0))
    }

    /// A line as the document that it stands for.
    fn report(&self) -> Result<Value, String> {
        let (cells, columns) = (self.record.len(), self.columns.len());
        if cells != columns {
            return Err(format!("has {cells} cells, and the header {columns}"));
        }
        let (mut report, mut contact, mut facts) = (Map::new(), Map::new(), Map::new());
        for (column, cell) in self.columns.iter().zip(&self.record) {
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

/// A source of which so much is read for one line and no more: a quote left open would read all there is. Its last line
/// ends even if nobody ended it.
struct Bounded<R> {
    source: R,
    left: usize,
    ended: bool,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
        if self.left == 0 {
            return Err(std::io::Error::other(format!("longer than {MAX_LINE} bytes; is a quote left open?")));
        }
        let room = bytes.len().min(self.left);
        let read = self.source.read(&mut bytes[..room])?;
        self.left -= read;
        if read == 0 && !self.ended && room > 0 {
            self.ended = true;
            bytes[0] = b'\n';
            return Ok(1);
        }
        Ok(read)
    }
}
