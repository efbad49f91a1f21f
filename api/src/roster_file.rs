//! Reading a roster's file row by row, CSV or NDJSON, in bounded memory: importing and simulating share it.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use redress_domain::Holding;
use redress_domain::roster::{Columns, parse_json};
use sha2::{Digest, Sha256};

use crate::error::{AppError, AppResult};

/// The longest line of a roster.
const MAX_LINE_LENGTH: usize = 64 * 1024;
const BUFFER: usize = 1 << 18;

/// Takes a row: its line, counted from 1, and the holding or the reason why it is none.
pub type Taker<'a> = dyn FnMut(i64, Result<Holding, String>) -> AppResult<()> + 'a;

/// Reads every row of a roster. A file that is no roster at all is an error that names line and column.
pub fn each_row(file: &Path, take: &mut Taker<'_>) -> AppResult<()> {
    match file.extension().and_then(|extension| extension.to_str()) {
        Some("csv") => each_csv_row(file, take),
        Some("ndjson" | "jsonl") => each_json_row(file, take),
        _ => Err(AppError::Invalid(format!("{}: a roster is a .csv, .ndjson or .jsonl file", file.display()))),
    }
}

fn each_csv_row(file: &Path, take: &mut Taker<'_>) -> AppResult<()> {
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
        let cells: Option<Vec<&str>> =
            record.iter().map(|cell| std::str::from_utf8(cell).ok().filter(|text| !text.contains('\0'))).collect();
        match cells.filter(|_| record.as_slice().len() <= MAX_LINE_LENGTH) {
            Some(cells) => take(line, columns.parse(&cells).map_err(|error| error.to_string()))?,
            None => take(line, Err("the row is not UTF-8 text, or longer than 64 KiB".into()))?,
        }
    }
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

fn csv_error(file: &Path, error: &csv::Error) -> AppError {
    let line = error.position().map_or(1, csv::Position::line);
    AppError::Invalid(format!("{}:{line}:1: {error}", file.display()))
}
