//! Reading a roster's file row by row, CSV, NDJSON or Parquet, in bounded memory: importing and simulating share it.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use redress_domain::Holding;
use redress_domain::roster::{Columns, parse_json};
use sha2::{Digest, Sha256};

use crate::csv_rows::{Fault, Row, Rows};
use crate::error::{AppError, AppResult};
use crate::parquet_rows;

/// The longest line of an NDJSON roster; as long as a row of CSV may be.
const MAX_LINE_LENGTH: usize = 64 * 1024;
const BUFFER: usize = 1 << 18;

/// Takes a row: its line (of a Parquet file, its number), counted from 1, and the holding or the reason why it is none.
pub type Taker<'a> = dyn FnMut(i64, Result<Holding, String>) -> AppResult<()> + 'a;

/// Reads every row of a roster. A file that is no roster at all is an error that names line and column.
pub fn each_row(file: &Path, take: &mut Taker<'_>) -> AppResult<()> {
    match file.extension().and_then(|extension| extension.to_str()) {
        Some("csv") => each_csv_row(file, take),
        Some("ndjson" | "jsonl") => each_json_row(file, take),
        Some("parquet") => each_parquet_row(file, take),
        _ => {
            Err(AppError::Invalid(format!("{}: a roster is a .csv, .ndjson, .jsonl or .parquet file", file.display())))
        }
    }
}

fn each_csv_row(file: &Path, take: &mut Taker<'_>) -> AppResult<()> {
    let mut rows = Rows::new(open(file)?);
    let header = match rows.next_row().map_err(|fault| csv_fault(file, &fault))? {
        Some(row) => row.cells().map(|cell| text_of(cell).map(str::to_owned)).collect::<Option<Vec<_>>>(),
        None => Some(Vec::new()),
    };
    let header =
        header.ok_or_else(|| AppError::Invalid(format!("{}:1:1: the header is no UTF-8 text", file.display())))?;
    let columns = Columns::from_header(header.iter().map(String::as_str)).map_err(|error| {
        let column = header.iter().take(error.field).map(|name| name.chars().count() + 1).sum::<usize>() + 1;
        AppError::Invalid(format!("{}:1:{column}: {}", file.display(), error.message))
    })?;
    while let Some(row) = rows.next_row().map_err(|fault| csv_fault(file, &fault))? {
        let holding = holding_of(row, &columns).map_err(|reason| row.refused(reason));
        take(i64::try_from(row.line()).unwrap_or(i64::MAX), holding)?;
    }
    Ok(())
}

fn holding_of(row: &Row, columns: &Columns) -> Result<Holding, String> {
    if let Some(problem) = row.problem() {
        return Err(problem.to_owned());
    }
    let cells: Option<Vec<&str>> = row.cells().map(text_of).collect();
    let cells = cells.ok_or_else(|| "the row is not UTF-8 text".to_owned())?;
    columns.parse(&cells).map_err(|error| error.to_string())
}

/// A cell as text that the database can keep.
fn text_of(cell: &[u8]) -> Option<&str> {
    std::str::from_utf8(cell).ok().filter(|text| !text.contains('\0'))
}

fn each_json_row(file: &Path, take: &mut Taker<'_>) -> AppResult<()> {
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
            Ok(text) if text.contains("\\u0000") => take(line, Err("a text has a NUL character".into()))?,
            Ok(text) => take(line, parse_json(text.trim_end()).map_err(|error| error.to_string()))?,
            Err(_) => take(line, Err("the line is not UTF-8 text".into()))?,
        }
    }
    Ok(())
}

fn each_parquet_row(file: &Path, take: &mut Taker<'_>) -> AppResult<()> {
    let fault = |fault: parquet_rows::Fault| AppError::Invalid(format!("{}: {fault}", file.display()));
    let rows = parquet_rows::Rows::open(file).map_err(fault)?;
    let columns = Columns::from_header(rows.names())
        .map_err(|error| AppError::Invalid(format!("{}: {}", file.display(), error.message)))?;
    for (number, cells) in (1_i64..).zip(rows) {
        let cells = cells.map_err(|read| AppError::Invalid(format!("{}: row {number}: {read}", file.display())))?;
        let holding = match cells.iter().find(|cell| cell.contains('\0')) {
            Some(_) => Err("a text has a NUL character".to_owned()),
            None => {
                columns.parse(&cells.iter().map(String::as_str).collect::<Vec<_>>()).map_err(|error| error.to_string())
            }
        };
        take(number, holding)?;
    }
    Ok(())
}

/// SHA-256 of a file, in hex.
pub fn hash_of(file: &Path) -> AppResult<String> {
    let mut reader = open(file)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0_u8; BUFFER];
    loop {
        let read = reader.read(&mut buffer).map_err(AppError::io(format!("reading {}", file.display())))?;
        if read == 0 {
            return Ok(hex::encode(hash.finalize()));
        }
        hash.update(&buffer[..read]);
    }
}

fn open(file: &Path) -> AppResult<BufReader<File>> {
    let opened = File::open(file).map_err(AppError::io(format!("reading {}", file.display())))?;
    Ok(BufReader::with_capacity(BUFFER, opened))
}

fn csv_fault(file: &Path, fault: &Fault) -> AppError {
    let place = fault.line().map(|line| format!(":{line}:1")).unwrap_or_default();
    AppError::Invalid(format!("{}{place}: {fault}: mend the file, none of it was taken", file.display()))
}
