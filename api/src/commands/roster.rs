//! `redress roster import FILE`: who held what, from the operator's records.

use std::process::ExitCode;

use redress_domain::asset::grouped;

use super::{incident_flag, print_or};
use crate::app::{Actor, App};
use crate::cli::{Format, RosterCommand};
use crate::error::AppResult;
use crate::use_cases::rosters;

/// Imports; the good rows are in even where the exit code says that others were refused.
pub(super) fn run(app: &App, command: &RosterCommand, format: Format) -> AppResult<ExitCode> {
    let RosterCommand::Import { file, incident, refusals } = command;
    let incident = incident_flag(incident)?;
    let done = rosters::import(app, file, &incident, refusals.as_deref(), &Actor::at_command_line(None))?;
    print_or(format, &done, || {
        let number = |count: i64| grouped(&count.to_string());
        println!("{} holdings imported, {} rows refused.", number(done.accepted), number(done.refused));
        if let Some(at) = done.imported_before {
            println!("The same file was imported before, at {}.", at.format("%Y-%m-%dT%H:%M:%SZ"));
        }
        for refusal in &done.first_refusals {
            println!("  {refusal}");
        }
        if let Some(path) = &done.refusals {
            println!("All refused rows, with their reasons: {}", path.display());
        }
    });
    Ok(if done.refused == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
