//! `redress run …`: runs that wait, run, were halted or are done.

use std::process::ExitCode;

use redress_domain::asset::grouped;
use redress_domain::run::RunState;
use rust_decimal::Decimal;

use super::print::{self, amount, table};
use super::{limit, print_or, run_exceptions};
use crate::app::{Actor, App};
use crate::cli::{Format, RunCommand, SteerArgs};
use crate::error::AppResult;
use crate::use_cases::issue;
use crate::use_cases::limits::Limited;
use crate::use_cases::runs::{self, HASH_SHOWN, RunView};
use crate::workers::Workers;

pub(super) fn run(app: &App, command: RunCommand, format: Format) -> AppResult<ExitCode> {
    let steered = |done: RunView| print_or(format, &done, || println!("{}", line(&done)));
    match command {
        RunCommand::List => list(app, format)?,
        RunCommand::Show { id } => show(app, id, format)?,
        RunCommand::Exceptions(args) => run_exceptions::run(app, &args, format)?,
        RunCommand::Approve { id, plan, by } => {
            let done = runs::approve(app, id, &plan, &Actor::at_command_line(Some(&by)))?;
            print_or(format, &done, || {
                println!("{}", line(&done));
                println!("redress issue --incident {} begins it.", done.incident);
            });
        }
        RunCommand::Pause(SteerArgs { id, by }) => {
            steered(runs::pause(app, id, &Actor::at_command_line(Some(&by)))?);
        }
        RunCommand::Cancel(SteerArgs { id, by }) => {
            steered(runs::cancel(app, id, &Actor::at_command_line(Some(&by)))?);
        }
        RunCommand::Resume { steer: SteerArgs { id, by }, workers } => {
            let actor = Actor::at_command_line(Some(&by));
            runs::resume(app, id, false, &actor)?;
            return execute(app, format, |progress| issue::go_on(app, id, usize::from(workers), &actor, progress));
        }
        RunCommand::Limit(args) => limit::run(app, Limited::Run, &args, format)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Executes a run in the foreground: progress on stderr, the log sealed beside it, the report on stdout.
pub(super) fn execute(
    app: &App,
    format: Format,
    work: impl FnOnce(&print::Progress) -> AppResult<issue::Report>,
) -> AppResult<ExitCode> {
    let progress = print::Progress::new();
    let sealer = Workers::sealing(app)?;
    let report = work(&progress);
    sealer.stop();
    let report = report?;
    progress.finish();
    print_or(format, &report, || print::issue(&report, false));
    Ok(if report.stopped.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// A run in one line.
fn line(run: &RunView) -> String {
    let why = run.note.as_deref().map(|note| format!(" ({note})")).unwrap_or_default();
    let why = if run.state == RunState::Planned { " and waits for a second person".to_owned() } else { why };
    let progress = &run.progress;
    format!(
        "Run {} of {} is {}{why}: {} of {} chunks done, {} credits issued.",
        run.id,
        run.incident,
        run.state,
        progress.done,
        progress.chunks,
        grouped(&progress.issued.to_string())
    )
}

/// Whom a run waits for, and what that person has to say.
fn awaited(run: &RunView) -> Option<String> {
    let plan = run.plan.as_deref().filter(|_| run.state == RunState::Planned)?;
    Some(format!(
        "waits for somebody other than {}: redress run approve {} --plan {} --as NAME",
        run.started_by,
        run.id,
        plan.get(..HASH_SHOWN).unwrap_or(plan)
    ))
}

fn list(app: &App, format: Format) -> AppResult<()> {
    let found = runs::list(app, None)?;
    print_or(format, &found, || {
        let rows: Vec<Vec<String>> = found
            .iter()
            .map(|run| {
                vec![
                    run.id.to_string(),
                    run.incident.clone(),
                    run.state.to_string(),
                    format!("{}/{}", run.progress.done, run.progress.chunks),
                    grouped(&run.progress.issued.to_string()),
                    run.started_by.clone(),
                    match awaited(run) {
                        Some(awaited) => awaited,
                        None => run.note.clone().unwrap_or_default(),
                    },
                ]
            })
            .collect();
        table(&[">run", "incident", "state", ">chunks", ">credits", "started by", ""], &rows);
    });
    Ok(())
}

fn show(app: &App, id: i64, format: Format) -> AppResult<()> {
    let run = runs::show(app, id)?;
    let plan = runs::plan_of(app, id)?;
    let document = serde_json::json!({ "run": run, "plan": plan });
    print_or(format, &document, || {
        println!("{}", line(&run));
        if let Some(rate) = run.progress.credits_per_second {
            let left = run.progress.seconds_left.map(|seconds| format!(", {seconds} s left")).unwrap_or_default();
            println!("{} credits a second{left}.", grouped(&rate.to_string()));
        }
        for aside in &run.progress.set_aside {
            println!("Set aside for a person: {} ({})", grouped(&aside.subjects.to_string()), aside.reason);
        }
        if !run.progress.set_aside.is_empty() {
            println!("Who they are: redress run exceptions {}", run.id);
        }
        println!("Started by {} at {}.", run.started_by, run.started_at);
        if let Some(awaited) = awaited(&run) {
            println!("It {awaited}");
        }
        if let (Some(by), Some(at)) = (&run.approved_by, run.approved_at) {
            println!("Approved by {by} at {at}.");
        }
        if let (Some(plan), Some(hash)) = (&plan, &run.plan) {
            println!("\nThe plan {hash}: {} credits.", grouped(&plan.tally.credits.to_string()));
            let rows: Vec<Vec<String>> = plan
                .budgets
                .iter()
                .map(|budget| {
                    let shown = |minor: i64| amount(Decimal::from(minor), budget.scale);
                    vec![budget.service.clone(), budget.asset.clone(), shown(budget.needed), shown(budget.left)]
                })
                .collect();
            table(&["service", "asset", ">would issue", ">left in budget"], &rows);
            for (policy, version) in &plan.basis.versions {
                println!("  {policy} {version}");
            }
        }
    });
    Ok(())
}
