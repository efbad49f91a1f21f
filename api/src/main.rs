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
mod secrets;
mod settings;
mod telemetry;
mod use_cases;
mod workers;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
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
