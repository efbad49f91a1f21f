//! The benchmark: `cargo run --release -p bench -- NAME [--format text|json] [--scale small|full]`.
//!
//! One module a benchmark. Each measures Redress beside what its issue names, on the same work, in the same run,
//! interleaved round by round, and prints one [`Report`].

mod intake;
mod issue;
mod policy;
mod processor;
mod queue;
mod report;

use std::process::ExitCode;

use report::{Report, Scale};

const USAGE: &str = "usage: bench policy|issue|intake|queue [--format text|json] [--scale small|full]";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|name| name == issue::CHILD) {
        return issue::child(&arguments[1..]);
    }
    if arguments.first().is_some_and(|name| name == intake::CHILD) {
        return intake::child(&arguments[1..]);
    }
    match run(&arguments) {
        Ok((report, json)) => {
            println!("{}", if json { report.to_json() } else { report.to_text() });
            if report.holds { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(problem) => {
            eprintln!("{problem}\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &[String]) -> Result<(Report, bool), String> {
    let (mut name, mut json, mut scale) = (None, false, Scale::Small);
    let mut arguments = arguments.iter().map(String::as_str);
    while let Some(argument) = arguments.next() {
        match argument {
            "--format" => {
                json = match arguments.next() {
                    Some("json") => true,
                    Some("text") => false,
                    other => return Err(format!("--format is text or json, not {other:?}")),
                }
            }
            "--scale" => {
                scale = match arguments.next() {
                    Some("small") => Scale::Small,
                    Some("full") => Scale::Full,
                    other => return Err(format!("--scale is small or full, not {other:?}")),
                }
            }
            _ if name.is_none() && !argument.starts_with('-') => name = Some(argument),
            other => return Err(format!("{other:?} is not expected")),
        }
    }
    match name {
        Some("issue") => issue::run(scale).map(|report| (report, json)),
        Some("intake") => intake::run(scale).map(|report| (report, json)),
        Some("queue") => queue::run(scale).map(|report| (report, json)),
        Some("policy") => policy::run(scale).map(|report| (report, json)),
        Some(other) => Err(format!("no benchmark is called {other:?}")),
        None => Err("name a benchmark".to_owned()),
    }
}
