//! Redress decides what an operator owes after an outage, and pays it exactly once: the program `redress` as a library,
//! so that the benchmark runs the very code that the command line and the server run.

#[macro_use]
pub mod console;

pub mod app;
pub mod assess;
pub mod blobs;
pub mod clamd;
pub mod cli;
pub mod commands;
pub mod csv_rows;
pub mod customer_tokens;
pub mod demo;
pub mod error;
pub mod exact;
pub mod http;
pub mod https;
pub mod identity_provider;
pub mod in_force;
pub mod instant;
pub mod mail;
pub mod outgoing;
pub mod outputs;
pub mod parquet_rows;
pub mod passwords;
pub mod policy_cache;
pub mod refusal;
pub mod rights;
pub mod roster_file;
pub mod second_factor;
pub mod secrets;
pub mod settings;
pub mod shapes;
pub mod spreadsheet;
pub mod telemetry;
pub mod use_cases;
pub mod whole;
pub mod workers;

use std::process::ExitCode;

use clap::Parser;

/// The batch job and the server allocate small things by the million; the system's allocator gives their pages back after each
/// chunk and faults them in again for the next. It stands in for `malloc` too, since libpq keeps whole results with it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The program: reads the command line, does what it says, and chooses the exit code.
#[must_use]
pub fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    telemetry::start(&cli);
    let code = commands::run(cli).unwrap_or_else(|error| {
        match error.next_step() {
            Some(step) => eprintln!("redress: {error}: {step}"),
            None => eprintln!("redress: {error}"),
        }
        ExitCode::from(error.exit_code())
    });
    match console::finish() {
        Ok(()) => code,
        Err(error) => {
            eprintln!("redress: what was to be printed was lost: {error}; what was asked for may be done all the same");
            ExitCode::FAILURE
        }
    }
}
