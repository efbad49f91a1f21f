//! Logs: to stderr, values in fields, for people on a terminal and as JSON for machines.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::cli::{Cli, Command};

/// The variable that chooses what is logged, such as `redress=debug`.
const FILTER: &str = "REDRESS_LOG";

/// Starts logging: a server says what it does, a command only what is wrong.
pub fn start(cli: &Cli) {
    let usual = match cli.command {
        Command::Serve(_) => "info,actix_server=warn",
        _ => "warn",
    };
    let filter = EnvFilter::try_from_env(FILTER).unwrap_or_else(|_| EnvFilter::new(usual));
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // What cannot be logged is not worth a panic: the reader of the log went away, or its disk is full.
    let logs = logs.log_internal_errors(false);
    if std::io::stderr().is_terminal() { logs.init() } else { logs.json().with_span_list(false).init() }
}
