//! The rows of a CSV file in bounded memory, each with its lines. A quote that is left open takes all that follows for one
//! cell, so it ends the reading and is named, and nothing is lost in silence. The crate `csv`, which writes our files, reads such
//! a cell in any amount of memory and does not say that it was open.

use std::io::{self, BufRead};

/// The most bytes of a row.
pub const MAX_ROW: usize = 64 * 1024;
/// What some programs put before the first column's name.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Why the rest of a file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The file ends within a quoted cell.
    #[error("a quote is opened on line {0} and not closed")]
    Open(u64),
    /// A quoted cell goes on past the longest row.
    #[error("a quote is opened on line {0} and not closed within 64 KiB")]
    TooLong(u64),
    /// The machine does not give the bytes.
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl Fault {
    /// The line it concerns, where it concerns one.
    #[must_use]
    pub fn line(&self) -> Option<u64> {
        match self {
            Self::Open(line) | Self::TooLong(line) => Some(*line),
            Self::Io(_) => None,
        }
    }
}

/// Reads a file row by row; blank lines are none.
#[derive(Debug)]
pub struct Rows<R> {
    source: R,
    row: Row,
    next_line: u64,
}

impl<R: BufRead> Rows<R> {
    /// Begins at the first byte.
    pub fn new(source: R) -> Self {
        Self { source, row: Row::default(), next_line: 1 }
    }

    /// The next row; none at the end. After an error nothing can be told of what follows.
    pub fn next_row(&mut self) -> Result<Option<&Row>, Fault> {
        if self.next_line == 1 && self.source.fill_buf()?.starts_with(BYTE_ORDER_MARK) {
            self.source.consume(BYTE_ORDER_MARK.len());
        }
        while self.read()? {
            if !self.row.is_blank() {
                return Ok(Some(&self.row));
            }
        }
        Ok(None)
    }

    fn read(&mut self) -> Result<bool, Fault> {
        self.row.begin(self.next_line);
        let is_whole = loop {
            let bytes = self.source.fill_buf()?;
            if bytes.is_empty() {
                break self.row.ends_with_the_file()?;
            }
            let (used, ends) = self.row.take(bytes)?;
            self.source.consume(used);
            if ends {
                break true;
            }
        };
        self.next_line = self.row.last_line + 1;
        Ok(is_whole)
    }
}

/// Where in a cell the reading is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Start,
    Plain,
    Quoted,
    /// After a quote in a quoted cell: it ends the cell, or is the first of two that stand for one.
    Quote,
    /// After the end of a quoted cell.
    After,
}

/// A row: its cells, and the lines it stands on.
#[derive(Debug, Default)]
pub struct Row {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    place: Place,
    line: u64,
    last_line: u64,
    quote_line: u64,
    is_too_long: bool,
    has_stray_quote: bool,
}

impl Row {
    /// The line it begins on, as an editor counts it.
    #[must_use]
    pub fn line(&self) -> u64 {
        self.line
    }

    /// The number of its cells.
    #[must_use]
    pub fn width(&self) -> usize {
        self.ends.len()
    }

    /// Its cells, without their quotes.
    pub fn cells(&self) -> impl Iterator<Item = &[u8]> {
        let begins = [0].into_iter().chain(self.ends.iter().copied());
        begins.zip(&self.ends).map(|(begin, end)| self.bytes.get(begin..*end).unwrap_or_default())
    }

    /// What is wrong with it whatever it says.
    #[must_use]
    pub fn problem(&self) -> Option<&'static str> {
        if self.is_too_long {
            Some("the row is longer than 64 KiB")
        } else if self.has_stray_quote {
            Some("a quoted cell goes on after its quote; within a quoted cell, write a quote twice")
        } else {
            None
        }
    }

    /// A reason to refuse it, which tells where a row of several lines ends: a quote may be closed lines too late.
    #[must_use]
    pub fn refused(&self, reason: String) -> String {
        if self.last_line == self.line {
            return reason;
        }
        format!("{reason} (by its quotes this row goes on to line {})", self.last_line)
    }

    fn is_blank(&self) -> bool {
        self.width() == 1 && !self.is_too_long && self.bytes.trim_ascii().is_empty()
    }

    fn begin(&mut self, line: u64) {
        self.bytes.clear();
        self.ends.clear();
        let (bytes, ends) = (std::mem::take(&mut self.bytes), std::mem::take(&mut self.ends));
        *self = Self { bytes, ends, line, last_line: line, ..Self::default() };
    }

    /// Takes what belongs to the row: how many bytes, and whether it ends with them.
    fn take(&mut self, bytes: &[u8]) -> Result<(usize, bool), Fault> {
        let mut used = 0;
        while let Some(byte) = bytes.get(used) {
            let rest = &bytes[used..];
            match (self.place, byte) {
                (Place::Quoted, b'"') => self.place = Place::Quote,
                (Place::Quoted, _) => {
                    let run = before(rest, |byte| byte == b'"');
                    self.last_line += run.iter().filter(|byte| **byte == b'\n').map(|_| 1).sum::<u64>();
                    self.push(run);
                    if self.is_too_long {
                        return Err(Fault::TooLong(self.quote_line));
                    }
                    used += run.len();
                    continue;
                }
                (Place::Quote, b'"') => {
                    self.push(b"\"");
                    self.place = Place::Quoted;
                }
                (Place::Start, b'"') => (self.place, self.quote_line) = (Place::Quoted, self.last_line),
                (_, b',') => self.end_cell(),
                (_, b'\n') => {
                    self.end_cell();
                    return Ok((used + 1, true));
                }
                (Place::Quote | Place::After, b' ' | b'\t' | b'\r') => self.place = Place::After,
                (place, _) => {
                    self.has_stray_quote |= matches!(place, Place::Quote | Place::After);
                    let run = before(rest, |byte| matches!(byte, b',' | b'\n'));
                    self.push(run);
                    self.place = Place::Plain;
                    used += run.len();
                    continue;
                }
            }
            used += 1;
        }
        Ok((used, false))
    }

    /// The file ends here: whether there is a row before its end.
    fn ends_with_the_file(&mut self) -> Result<bool, Fault> {
        if self.place == Place::Quoted {
            return Err(Fault::Open(self.quote_line));
        }
        let is_none = self.place == Place::Start && self.ends.is_empty();
        if !is_none {
            self.end_cell();
        }
        Ok(!is_none)
    }

    fn push(&mut self, run: &[u8]) {
        // Of a row that is too long only this is kept, that it is.
        self.is_too_long |= self.bytes.len() + run.len() > MAX_ROW;
        if !self.is_too_long {
            self.bytes.extend_from_slice(run);
        }
    }

    fn end_cell(&mut self) {
        self.ends.push(self.bytes.len());
        self.place = Place::Start;
        // Commas alone take room too.
        self.is_too_long |= self.ends.len() > MAX_ROW;
    }
}

/// What stands before the first byte of a kind.
fn before(bytes: &[u8], is_end: impl Fn(u8) -> bool) -> &[u8] {
    &bytes[..bytes.iter().position(|byte| is_end(*byte)).unwrap_or(bytes.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rows as `line:cell|cell`, read in pieces of every size, and how the reading ended.
    #[track_caller]
    fn check(text: &str, expected: &[&str], end: &str) {
        for size in 1..=text.len().max(1) {
            let mut rows = Rows::new(io::BufReader::with_capacity(size.max(3), text.as_bytes()));
            let mut found = Vec::new();
            let ended = loop {
                match rows.next_row() {
                    Ok(Some(row)) => {
                        let cells: Vec<_> = row.cells().map(String::from_utf8_lossy).collect();
                        let stray = if row.problem().is_some() { "!" } else { "" };
                        found.push(format!("{}:{}{stray}", row.line(), cells.join("|")));
                    }
                    Ok(None) => break String::new(),
                    Err(fault) => break fault.to_string(),
                }
            };
            assert_eq!(found, expected, "{text:?} by {size}");
            assert_eq!(ended, end, "{text:?} by {size}");
        }
    }

    #[test]
    fn rows_have_their_cells_and_lines() {
        check("", &[], "");
        check("a,b", &["1:a|b"], "");
        check("\u{feff}a,b\n\n\nc,\n", &["1:a|b", "4:c|"], "");
        check("a,\"b, \"\"c\"\"\nd\"\ne\"f,g\n", &["1:a|b, \"c\"\nd", "3:e\"f|g"], "");
        check("\"a\" \r\n\"\",\"\"", &["1:a", "2:|"], "");
    }

    #[test]
    fn a_quote_that_is_left_open_is_named() {
        check("a\nb,\"c\nd\",\"e\nf", &["1:a"], "a quote is opened on line 3 and not closed");
        check("a,\"", &[], "a quote is opened on line 1 and not closed");
        check("\"a\"b,c\nd", &["1:ab|c!", "2:d"], "");
    }

    #[test]
    fn a_row_that_is_too_long_is_none_and_an_open_quote_ends_the_file() {
        let long = "x".repeat(MAX_ROW + 1);
        let text = format!("a\n{long},b\nc\n\"{long}");
        let mut rows = Rows::new(text.as_bytes());
        rows.next_row().unwrap();
        let row = rows.next_row().unwrap().unwrap();
        assert_eq!((row.line(), row.problem()), (2, Some("the row is longer than 64 KiB")));
        assert_eq!(rows.next_row().unwrap().unwrap().line(), 3);
        let fault = rows.next_row().unwrap_err();
        assert_eq!(fault.to_string(), "a quote is opened on line 4 and not closed within 64 KiB");
    }
}
