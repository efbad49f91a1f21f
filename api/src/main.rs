//! The program `redress`: one binary that serves, issues and answers its operator.

mod app;
mod assess;
mod cli;
mod commands;
mod demo;
mod error;
mod http;
mod mail;
mod policy_cache;
mod roster_file;
mod secrets;
mod settings;
mod telemetry;
mod use_cases;
mod workers;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::ExitCode;

use clap::Parser;

/// How the panic of `println!` begins when nobody reads stdout any more, as behind `head`.
const NOBODY_READS: &str = "failed printing to stdout: Broken pipe";

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    telemetry::start(&cli);
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !panic.payload_as_str().is_some_and(|message| message.starts_with(NOBODY_READS)) {
            usual(panic);
        }
    }));
    match catch_unwind(AssertUnwindSafe(|| commands::run(cli))) {
        Ok(Ok(code)) => code,
        Ok(Err(error)) => {
            eprintln!("redress: {error}");
            ExitCode::FAILURE
        }
        // What was asked for is done; only the rest of its report found no reader.
        Err(panic) if panic.downcast_ref::<String>().is_some_and(|message| message.starts_with(NOBODY_READS)) => {
            ExitCode::SUCCESS
        }
        Err(panic) => resume_unwind(panic),
    }
}
