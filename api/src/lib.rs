//! Redress decides what an operator owes after an outage, and pays it exactly once: the program `redress` as a library,
//! so that the benchmark runs the very code that the command line and the server run.

pub mod app;
pub mod assess;
pub mod cli;
pub mod commands;
pub mod demo;
pub mod error;
pub mod http;
pub mod mail;
pub mod policy_cache;
pub mod roster_file;
pub mod secrets;
pub mod settings;
pub mod telemetry;
pub mod use_cases;
pub mod workers;

use std::process::ExitCode;

use clap::Parser;

/// The program: reads the command line, does what it says, and chooses the exit code.
#[must_use]
pub fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    telemetry::start(&cli);
    match commands::run(cli) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("redress: {error}");
            ExitCode::FAILURE
        }
    }
}
