//! `redress claim file FILE`: reports from a file of any length, each line by itself, what became of it written beside.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use redress_domain::asset::grouped;
use serde::Serialize;

use super::print_or;
use crate::app::{Actor, App};
use crate::cli::{ClaimCommand, Format};
use crate::error::{AppError, AppResult};
use crate::http::sheet::{LineResult, file_lines};
use crate::outputs;
use crate::rights::Right;
use crate::roster_file::hash_of;
use crate::spreadsheet::defused;
use crate::use_cases::claims::sheet::{Sheet, column_of};
use crate::use_cases::claims::{MAX_BATCH, NewClaim};
use crate::use_cases::staff;

/// How many refusals are shown; all are in the file.
const SHOWN: usize = 20;
/// The columns of what became of the lines.
const COLUMNS: [&str; 6] = ["line", "reference", "id", "status", "code", "detail"];

/// What became of a file.
#[derive(Debug, Default, Serialize)]
struct Filings {
    /// Lines that are claims now, or were before.
    filed: u64,
    /// The same by where they stand.
    by_status: BTreeMap<String, u64>,
    /// Lines that were refused.
    refused: u64,
    /// The first refusals, as `line 7: reason`.
    first_refusals: Vec<String>,
    /// Where the reading of the file ended before its end.
    stopped: Option<String>,
    /// What became of each line.
    results: PathBuf,
}

pub(super) fn run(app: &App, command: &ClaimCommand, format: Format) -> AppResult<ExitCode> {
    let ClaimCommand::File { file, results, by } = command;
    let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if let Some(results) = results {
        outputs::refuse_input("--results", results, file)?;
    }
    let create = || match results {
        Some(path) => create(path),
        None => outputs::create_beside(&app.settings.data_dir.join("filed"), &name, "results"),
    };
    let filings = file_all(app, file, &create, by)?;
    print_or(format, &filings, || print(&filings));
    let whole = filings.refused == 0 && filings.stopped.is_none();
    Ok(if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Files every line of a file, some together: whatever ends it, what was filed is filed, and another try goes on.
fn file_all(app: &App, file: &Path, create: &dyn Fn() -> AppResult<(PathBuf, File)>, by: &str) -> AppResult<Filings> {
    let member = app.store.with(|connection| staff::require(connection, by, Right::WorkClaims, None))?;
    let may = |new: &NewClaim| Ok(member.require(Right::WorkClaims, Some(&new.service))?);
    let actor = Actor::at_command_line(Some(by));
    let hash = hash_of(file)?;
    let opened = File::open(file).map_err(AppError::io(format!("reading {}", file.display())))?;
    let invalid = |why: String| AppError::Invalid(format!("{}: {why}", file.display()));
    let mut sheet = Sheet::open(BufReader::new(opened)).map_err(invalid)?;
    let (results, created) = create()?;
    let mut written = csv::Writer::from_writer(created);
    written.write_record(COLUMNS).map_err(unwritten(&results))?;
    let mut filings = Filings { results: results.clone(), ..Filings::default() };
    let mut ended = false;
    while !ended {
        let mut lines = Vec::with_capacity(MAX_BATCH);
        while lines.len() < MAX_BATCH && !ended {
            match sheet.next_line() {
                Ok(Some(line)) => lines.push(line),
                Ok(None) => ended = true,
                Err(why) => {
                    filings.stopped = Some(why.to_string());
                    ended = true;
                }
            }
        }
        for result in file_lines(app, &actor, &may, &hash, lines) {
            written.write_record(cells(&result)).map_err(unwritten(&results))?;
            filings.count(&result);
        }
    }
    written.flush().map_err(AppError::io(format!("writing {}", results.display())))?;
    Ok(filings)
}

fn create(results: &Path) -> AppResult<(PathBuf, File)> {
    let writing = || format!("writing {}", results.display());
    if let Some(folder) = results.parent() {
        std::fs::create_dir_all(folder).map_err(AppError::io(writing()))?;
    }
    Ok((results.to_owned(), File::create(results).map_err(AppError::io(writing()))?))
}

fn unwritten(results: &Path) -> impl Fn(csv::Error) -> AppError {
    move |error| AppError::io(format!("writing {}", results.display()))(std::io::Error::other(error))
}

fn cells(result: &LineResult) -> [String; 6] {
    let claim = result.claim.as_ref();
    let problem = result.problem.as_ref();
    [
        result.line.to_string(),
        claim.map(|claim| claim.reference.clone()).unwrap_or_default(),
        claim.map(|claim| claim.id.to_string()).unwrap_or_default(),
        claim.map(|claim| claim.status.clone()).unwrap_or_default(),
        problem.map(|problem| problem.code.clone()).unwrap_or_default(),
        defused(&why(result)).into_owned(),
    ]
}

/// Why a line was refused: each field by its column.
fn why(result: &LineResult) -> String {
    let Some(problem) = &result.problem else { return String::new() };
    let fields = problem.errors.iter().map(|error| match column_of(&error.pointer) {
        column if column.is_empty() => error.detail.clone(),
        column => format!("{column}: {}", error.detail),
    });
    let words: Vec<String> = problem.detail.iter().cloned().chain(fields).collect();
    if words.is_empty() { problem.title.clone() } else { words.join("; ") }
}

impl Filings {
    fn count(&mut self, result: &LineResult) {
        match &result.claim {
            Some(claim) => {
                self.filed += 1;
                *self.by_status.entry(claim.status.clone()).or_default() += 1;
            }
            None => {
                self.refused += 1;
                if self.first_refusals.len() < SHOWN {
                    self.first_refusals.push(format!("line {}: {}", result.line, why(result)));
                }
            }
        }
    }
}

fn print(filings: &Filings) {
    let number = |n: u64| grouped(&n.to_string());
    let by_status: Vec<String> =
        filings.by_status.iter().map(|(status, count)| format!("{} {status}", number(*count))).collect();
    let stand = if by_status.is_empty() { String::new() } else { format!(" ({})", by_status.join(", ")) };
    println!("{} reports filed{stand}, {} refused.", number(filings.filed), number(filings.refused));
    for refusal in &filings.first_refusals {
        println!("  {refusal}");
    }
    if let Some(why) = &filings.stopped {
        println!(
            "The file was not read to its end: {why}. Mend it and file it again: a loss that is filed is recognised."
        );
    }
    println!("What became of each line: {}", filings.results.display());
}
