//! Redress decides what an operator owes after an outage, and pays it exactly once: the program `redress` as a library,
//! so that the benchmark runs the very code that the command line and the server run.

pub mod app;
pub mod assess;
pub mod blobs;
pub mod clamd;
pub mod cli;
pub mod commands;
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

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::ExitCode;

use clap::Parser;

/// The batch job and the server allocate small things by the million; the system's allocator gives their pages back after each
/// chunk and faults them in again for the next. It stands in for `malloc` too, since libpq keeps whole results with it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How the panic of `println!` begins when nobody reads stdout any more, as behind `head`.
const NOBODY_READS: &str = "failed printing to stdout: Broken pipe";

/// The program: reads the command line, does what it says, and chooses the exit code.
#[must_use]
pub fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    telemetry::start(&cli);
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !nobody_reads(panic.payload()) {
            usual(panic);
        }
    }));
    match catch_unwind(AssertUnwindSafe(|| commands::run(cli))) {
        Ok(Ok(code)) => code,
        Ok(Err(error)) => {
            eprintln!("redress: {error}");
            ExitCode::from(error.exit_code())
        }
        // What was asked for is done; only the rest of its report found no reader.
        Err(panic) if nobody_reads(panic.as_ref()) => ExitCode::SUCCESS,
        Err(panic) => resume_unwind(panic),
    }
}

fn nobody_reads(panic: &(dyn std::any::Any + Send)) -> bool {
    panic.downcast_ref::<String>().is_some_and(|message| message.starts_with(NOBODY_READS))
}
