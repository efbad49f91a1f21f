//! The commands: each reads its flags, calls one use case, prints what came of it and chooses the exit code.

mod audit;
mod backup;
mod budget;
mod claim;
mod credit;
mod deliver;
mod doctor;
mod inputs;
mod ledger;
mod limit;
mod notify;
pub mod policy;
pub mod print;
mod report;
mod roster;
mod run;
mod run_exceptions;
mod serve;
mod staff;
mod webhook;

use std::process::ExitCode;

use redress_domain::id::{IncidentId, PolicyId};
use redress_store::migrations;

use self::print::document;
use crate::app::{Actor, App, Database};
use crate::cli::{
    AuditCommand, Cli, Command, Format, IncidentCommand, IssueArgs, PolicyCommand, ReportCommand, StaffCommand,
};
use crate::error::{AppError, AppResult};
use crate::settings::Settings;
use crate::use_cases::claims::triage;
use crate::use_cases::{self, incidents, issue, policies, reports, simulate};

/// Runs a command.
pub fn run(cli: Cli) -> AppResult<ExitCode> {
    let global = cli.global;
    let format = global.format;
    inputs::require(&cli.command)?;
    match cli.command {
        Command::Demo(args) => crate::demo::run(&global, &args),
        Command::Serve(args) => serve::run(Settings::load(&global, args.listen)?),
        Command::Migrate { plan } => migrate(&Settings::load(&global, None)?, plan),
        Command::Doctor => doctor::run(&global),
        Command::Restore { file } => backup::restore(Settings::load(&global, None)?, &file),
        Command::Policy(PolicyCommand::Check { paths }) => printed(|out| policy::check(&paths, output(format), out)),
        Command::Policy(PolicyCommand::Test { paths }) => printed(|out| policy::test(&paths, output(format), out)),
        Command::Policy(PolicyCommand::Assess { policy, facts }) => {
            printed(|out| policy::assess(&policy, &facts, output(format), out))
        }
        Command::Policy(PolicyCommand::Simulate { policy, roster, incident_file: Some(file) }) => {
            let done = simulate::run(&simulate::Ground::IncidentFile(&file), &policy, &roster)?;
            print_or(format, &done, || print::simulation(&done));
            Ok(ExitCode::SUCCESS)
        }
        Command::Audit(AuditCommand::CheckProof { file, key, keys }) => {
            audit::check_proof(&file, key.as_deref(), keys.as_deref(), format)
        }
        command => {
            let settings = Settings::load(&global, None)?;
            if !begins(&command) {
                require_installation(&settings)?;
            }
            let app = App::open(settings)?;
            let code = with_database(&app, command, format)?;
            use_cases::audit::seal_after(&app);
            Ok(code)
        }
    }
}

fn output(format: Format) -> policy::Output {
    match format {
        Format::Text => policy::Output::Text,
        Format::Json => policy::Output::Json,
    }
}

/// Runs what prints by itself and returns an exit code; a reader that went away is no error of ours.
fn printed(print: impl FnOnce(&mut dyn std::io::Write) -> std::io::Result<u8>) -> AppResult<ExitCode> {
    match print(&mut std::io::stdout().lock()) {
        Ok(code) => Ok(ExitCode::from(code)),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        Err(error) => Err(AppError::io("printing")(error)),
    }
}

/// Whether an installation may begin with a command; all others on a mistyped folder would find nothing and call it well.
fn begins(command: &Command) -> bool {
    matches!(command, Command::Staff(StaffCommand::Add { .. }) | Command::Incident(IncidentCommand::Load { .. }))
}

fn require_installation(settings: &Settings) -> AppResult<()> {
    match settings.lacks_installation() {
        Some(why) => Err(AppError::Usage(format!("{why}; name the right folder with --data-dir"))),
        None => Ok(()),
    }
}

fn with_database(app: &App, command: Command, format: Format) -> AppResult<ExitCode> {
    match command {
        Command::Incident(IncidentCommand::Load { file }) => {
            let loaded = incidents::load(app, &file, &Actor::at_command_line(None))?;
            match format {
                Format::Json => document(&loaded),
                Format::Text if loaded.changed => {
                    println!("Loaded incident {} with {} services.", loaded.incident, loaded.services);
                }
                Format::Text => println!("Incident {} is loaded already; nothing changed.", loaded.incident),
            }
        }
        Command::Policy(PolicyCommand::Publish { policy, by }) => {
            let done = policies::publish(app, &policy, &Actor::at_command_line(Some(&by)))?;
            print_or(format, &done, || {
                println!(
                    "Published {} {}. It waits for a second person: redress policy approve",
                    done.policy, done.version
                );
            });
        }
        Command::Policy(PolicyCommand::Approve { policy, by }) => {
            let done = policies::approve(app, &policy, &Actor::at_command_line(Some(&by)))?;
            print_or(format, &done, || {
                println!(
                    "{} {} is in force; {} waiting claims were assessed.",
                    done.policy, done.version, done.assessed
                );
            });
        }
        Command::Policy(PolicyCommand::Simulate { policy, roster, incident_file: _ }) => {
            let done = simulate::run(&simulate::Ground::Installation(app), &policy, &roster)?;
            print_or(format, &done, || print::simulation(&done));
        }
        Command::Policy(PolicyCommand::Retire { policy, incident, by }) => {
            let name = PolicyId::parse(&policy).map_err(|error| AppError::Usage(format!("POLICY: {error}")))?;
            let incident = incident_flag(&incident)?;
            let done = policies::retire(app, &incident, &name, &Actor::at_command_line(Some(&by)))?;
            print_or(format, &done, || println!("{} {} is out of force.", done.policy, done.version));
        }
        Command::Policy(_)
        | Command::Audit(AuditCommand::CheckProof { .. })
        | Command::Demo(_)
        | Command::Serve(_)
        | Command::Migrate { .. }
        | Command::Restore { .. }
        | Command::Doctor => {}
        Command::Roster(command) => return roster::run(app, &command, format),
        Command::Claim(command) => return claim::run(app, &command, format),
        Command::Budget(command) => budget::run(app, command, format)?,
        Command::Issue(args) => return issue_credits(app, &args, format),
        Command::Run(command) => return run::run(app, command, format),
        Command::Deliver(args) => return deliver::run(app, args, format),
        Command::Webhook(command) => webhook::run(app, command, format)?,
        Command::Notify(args) => notify::run(app, args, format)?,
        Command::Credit(command) => return credit::run(app, command, format),
        Command::Ledger(command) => return ledger::run(app, command, format),
        Command::Verify { head } => return audit::verify(app, head.as_deref(), format),
        Command::Audit(AuditCommand::ExportHead { file }) => return audit::export_head(app, file.as_deref(), format),
        Command::Audit(AuditCommand::RotateKey { new_key_file, by }) => {
            return audit::rotate_key(app, new_key_file.as_deref(), &by, format);
        }
        Command::Audit(AuditCommand::Keys { file }) => return audit::keys(app, file.as_deref()),
        Command::Report(ReportCommand::Exposure { incident }) => {
            let incident = incident.as_deref().map(incident_flag).transpose()?;
            let report = reports::exposure(app, incident.as_ref())?;
            print_or(format, &report, || print::exposure(&report));
        }
        Command::Report(ReportCommand::Funnel { incident }) => {
            let incident = incident.as_deref().map(incident_flag).transpose()?;
            let found = reports::funnel(app, incident.as_ref())?;
            print_or(format, &found, || report::funnel(&found));
        }
        Command::Report(ReportCommand::Agreement) => {
            let figures = app.store.with(triage::agreement)?;
            print_or(format, &figures, || report::agreement(&figures));
        }
        Command::Report(ReportCommand::NoticeClocks { incident }) => {
            let incident = incident.as_deref().map(incident_flag).transpose()?;
            let found = reports::notice_clocks(app, incident.as_ref(), chrono::Utc::now())?;
            print_or(format, &found, || report::notice_clocks(&found));
        }
        Command::Report(ReportCommand::Liability { incident, at }) => {
            let incident = incident.as_deref().map(incident_flag).transpose()?;
            let report = reports::liability(app, incident.as_ref(), at)?;
            print_or(format, &report, || print::liability(&report));
        }
        Command::Backup { file } => backup::write(app, &file, format)?,
        Command::Staff(command) => staff::run(app, command, format)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn print_or(format: Format, value: &impl serde::Serialize, text: impl FnOnce()) {
    match format {
        Format::Json => document(value),
        Format::Text => text(),
    }
}

fn incident_flag(name: &str) -> AppResult<IncidentId> {
    IncidentId::parse(name).map_err(|error| AppError::Usage(format!("--incident: {error}")))
}

fn migrate(settings: &Settings, plan: bool) -> AppResult<ExitCode> {
    if plan {
        require_installation(settings)?;
    }
    let database = Database::open(settings)?;
    let mut owner = database.owner()?;
    let names = if plan { migrations::pending(&mut owner)? } else { migrations::run(&mut owner)? };
    let verb = if plan { "would apply" } else { "applied" };
    match settings.format {
        Format::Json => document(&serde_json::json!({ "plan": plan, "migrations": names })),
        Format::Text if names.is_empty() => println!("The database is up to date."),
        Format::Text => names.iter().for_each(|name| println!("{verb} {name}")),
    }
    Ok(ExitCode::SUCCESS)
}

fn issue_credits(app: &App, args: &IssueArgs, format: Format) -> AppResult<ExitCode> {
    let order = issue::Order {
        incident: incident_flag(&args.incident)?,
        policies: args
            .policy
            .iter()
            .map(|name| PolicyId::parse(name).map_err(|error| AppError::Usage(format!("--policy: {error}"))))
            .collect::<AppResult<_>>()?,
        workers: usize::from(args.workers),
    };
    let actor = Actor::at_command_line(args.by.as_deref());
    if !args.dry_run {
        return run::execute(app, format, |progress| issue::run(app, &order, &actor, progress));
    }
    let progress = print::Progress::new();
    let report = issue::plan(app, &order, &progress)?;
    progress.finish();
    print_or(format, &report, || print::issue(&report, true));
    Ok(ExitCode::SUCCESS)
}
