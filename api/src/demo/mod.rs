//! `redress demo`: the outage of 2022, played through the real parts: a roster file is imported, damage reports come
//! over HTTP, policies decide, the batch job pays, mail is written, the books are read again.

mod population;
mod reports;
mod summary;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufWriter;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use redress_domain::AssetCode;
use redress_domain::id::{IncidentId, ServiceId};
use redress_store::embedded::{Embedded, Options};
use rust_decimal::Decimal;

use self::summary::Summary;
use crate::app::{Actor, App};
use crate::cli::{DemoArgs, Format, Global};
use crate::commands::print::Progress;
use crate::error::{AppError, AppResult};
use crate::http;
use crate::mail::Mailer;
use crate::rights::Role;
use crate::settings::Settings;
use crate::use_cases::claims::triage;
use crate::use_cases::staff::NewMember;
use crate::use_cases::{audit, budgets, incidents, issue, notices, policies, reports::scaled, rosters, staff};
use crate::workers::Workers;

/// The incident that is played.
const INCIDENT: &str = "kakao-2022-10-15";
/// Marks a data folder as a demo's, which the next demo may replace.
const MARKER: &str = "demo";
const AUTHOR: &str = "demo-author";
const APPROVER: &str = "demo-approver";
const FINANCE: &str = "demo-finance";
const SECOND_FINANCE: &str = "demo-finance-2";
/// How many workers issue.
const WORKERS: usize = 2;

/// Plays the demo.
pub fn run(global: &Global, args: &DemoArgs) -> AppResult<ExitCode> {
    let policies = find_policies(args.policies.as_deref())?;
    let settings = Settings::load(global, Some(args.listen.clone()))?;
    if settings.production || settings.database_url.is_some() {
        return Err(AppError::Refused("the demo plays in its own private database only, and not in production".into()));
    }
    begin_folder(&settings.data_dir)?;
    let listener = http::bind(&settings.listen, true)?;
    let mut demo = Demo { steps: Steps::new(global.format), seed: args.seed, policies, outcome: Summary::default() };
    let app = demo.steps.timed("start a private PostgreSQL", || App::open(settings))?;
    if global.format == Format::Text {
        eprintln!("  data folder {}, seed {}", app.settings.data_dir.display(), args.seed);
    }
    let address = listener.local_addr().map_err(AppError::io("reading the address"))?;
    let server = Served::start(&app, listener)?;
    demo.play(&app, args, &format!("http://{address}"))?;
    demo.outcome.address = format!("http://{address}");
    demo.outcome.steps = demo.steps.done;
    demo.outcome.print(global.format);
    if args.exit {
        server.stop()?;
    } else {
        let workers = Workers::start(&app)?;
        eprintln!("redress: serving {} (Ctrl-C stops)", demo.outcome.address);
        server.wait()?;
        workers.stop();
    }
    Ok(if demo.outcome.books_hold { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

struct Demo {
    steps: Steps,
    seed: u64,
    policies: PathBuf,
    outcome: Summary,
}

impl Demo {
    fn play(&mut self, app: &App, args: &DemoArgs, address: &str) -> AppResult<()> {
        let incident = IncidentId::parse(INCIDENT).map_err(|error| AppError::Invalid(error.to_string()))?;
        let system = Actor::at_command_line(None);
        for (name, role) in [
            (AUTHOR, Role::PolicyAuthor),
            (APPROVER, Role::PolicyApprover),
            (FINANCE, Role::Finance),
            (SECOND_FINANCE, Role::Finance),
        ] {
            staff::add(app, &NewMember::new(name, role), &system)?;
        }
        let file = self.policies.join("incidents").join(format!("{INCIDENT}.toml"));
        self.steps.timed("load the incident", || incidents::load(app, &file, &system))?;
        let folder = self.policies.clone();
        self.steps.timed("publish and approve the policies", || publish(app, &folder))?;
        let roster = app.settings.data_dir.join("roster.csv");
        let seed = self.seed;
        self.steps.timed("write a roster", || write_roster(&roster, seed, args.customers))?;
        self.outcome.roster =
            Some(self.steps.timed("import the roster", || rosters::import(app, &roster, &incident, None, &system))?);
        self.outcome.customers = args.customers;
        self.outcome.sent = self
            .steps
            .timed("report damage over HTTP", || reports::send(address, seed, args.customers, args.claims))?;
        self.steps.timed("look beside every report", || triage::pass(app, true))?;
        let order = issue::Order { incident: incident.clone(), policies: Default::default(), workers: WORKERS };
        let plan = self.steps.timed("plan the batch job (dry run)", || issue::plan(app, &order, &issue::Nobody))?;
        self.steps.timed("authorise and approve budgets", || authorise(app, &incident, &plan))?;
        if !args.skip_issue {
            let progress = Progress::new();
            let actor = Actor { name: FINANCE.into(), origin: system.origin.clone() };
            let report = self.steps.timed("issue the credits", || issue::run(app, &order, &actor, &progress))?;
            progress.finish();
            if let Some(reason) = &report.stopped {
                return Err(AppError::Refused(reason.clone()));
            }
            self.outcome.issued = Some(report.issued);
        }
        let mailer = Mailer::new(&app.settings)?;
        self.outcome.mail_goes_to = mailer.describe();
        self.outcome.mails = self.steps.timed("write the mails", || notices::send_due(app, &mailer, &|| false))?.sent;
        let checks = self.steps.timed("verify the books", || audit::verify(app, None))?;
        self.outcome.books_hold = checks.iter().all(|check| check.faults.is_empty());
        self.outcome.checks = checks;
        self.outcome.tally = plan.tally;
        self.outcome.collect(app, &incident)
    }
}

/// Finds the folder of policies: the flag, the working folder, or beside the program's own.
fn find_policies(flag: Option<&Path>) -> AppResult<PathBuf> {
    let has_incident = |folder: &Path| folder.join("incidents").join(format!("{INCIDENT}.toml")).is_file();
    if let Some(folder) = flag {
        return if has_incident(folder) {
            Ok(folder.to_owned())
        } else {
            Err(AppError::Usage(format!("--policies {}: there is no incidents/{INCIDENT}.toml", folder.display())))
        };
    }
    let beside = std::env::current_exe().ok();
    std::iter::once(PathBuf::from("policies"))
        .chain(beside.iter().flat_map(|program| program.ancestors().skip(1).map(|folder| folder.join("policies"))))
        .find(|folder| has_incident(folder))
        .ok_or_else(|| AppError::Refused("the folder of policies is not found; name it with --policies DIR".into()))
}

/// A fresh data folder: an earlier demo's is replaced, anything else is left alone.
fn begin_folder(folder: &Path) -> AppResult<()> {
    let occupied = std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some());
    if occupied && !folder.join(MARKER).is_file() {
        return Err(AppError::Refused(format!(
            "{} is not empty and not an earlier demo's; name another folder with --data-dir",
            folder.display()
        )));
    }
    if occupied {
        // Its server may still run for somebody: taking the folder from under it would be a fault of ours.
        Embedded::remove(folder, &Options::default())?;
        std::fs::remove_dir_all(folder).map_err(AppError::io(format!("removing {}", folder.display())))?;
    }
    std::fs::create_dir_all(folder).map_err(AppError::io(format!("creating {}", folder.display())))?;
    let text = "This data folder was made by `redress demo`, which may replace it.\n";
    std::fs::write(folder.join(MARKER), text).map_err(AppError::io(format!("writing {}", folder.display())))
}

/// Publishes every policy of the incident as one person and approves it as another.
fn publish(app: &App, folder: &Path) -> AppResult<usize> {
    let reading = || format!("reading {}", folder.display());
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(AppError::io(reading()))? {
        let path = entry.map_err(AppError::io(reading()))?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if name.ends_with(".toml") && !name.ends_with(".cases.toml") {
            files.push(path);
        }
    }
    files.sort();
    let origin = Actor::at_command_line(None).origin;
    for file in &files {
        policies::publish(app, file, &Actor { name: AUTHOR.into(), origin: origin.clone() })?;
        policies::approve(app, file, &Actor { name: APPROVER.into(), origin: origin.clone() })?;
    }
    Ok(files.len())
}

fn write_roster(path: &Path, seed: u64, customers: u64) -> AppResult<()> {
    let file = File::create(path).map_err(AppError::io(format!("writing {}", path.display())))?;
    population::write_roster(&mut BufWriter::new(file), seed, customers)
        .map(drop)
        .map_err(AppError::io(format!("writing {}", path.display())))
}

/// Authorises what the plan needs and a tenth more, rounded up to two digits, as a careful person would.
fn authorise(app: &App, incident: &IncidentId, plan: &issue::Report) -> AppResult<()> {
    let mut needed: BTreeMap<(&str, &str), (i64, i16)> = BTreeMap::new();
    for budget in &plan.budgets {
        needed.insert((&budget.service, &budget.asset), (budget.needed, budget.scale));
    }
    let origin = Actor::at_command_line(None).origin;
    for ((service, asset), (minor, scale)) in needed {
        let invalid = |error: String| AppError::Invalid(error);
        let order = budgets::BudgetOrder {
            incident: incident.clone(),
            service: ServiceId::parse(service).map_err(|error| invalid(error.to_string()))?,
            asset: AssetCode::parse(asset).map_err(|error| invalid(error.to_string()))?,
            amount: scaled(Decimal::from(round_up(minor.saturating_add(minor / 10))), scale),
        };
        let by = |name: &str| Actor { name: name.into(), origin: origin.clone() };
        budgets::order(app, &order, &by(FINANCE), budgets::Act::Authorise)?;
        budgets::order(app, &order, &by(SECOND_FINANCE), budgets::Act::Approve)?;
    }
    Ok(())
}

/// The next number with at most two leading digits that are not zero.
fn round_up(minor: i64) -> i64 {
    let mut unit: i64 = 1;
    while minor / unit >= 100 {
        unit = unit.saturating_mul(10);
    }
    minor.div_euclid(unit).saturating_add(i64::from(minor % unit != 0)).saturating_mul(unit)
}

/// Says what is under way and remembers how long it took.
struct Steps {
    quiet: bool,
    done: Vec<(String, Duration)>,
}

impl Steps {
    fn new(format: Format) -> Self {
        Self { quiet: format == Format::Json, done: Vec::new() }
    }

    fn timed<T>(&mut self, name: &str, step: impl FnOnce() -> AppResult<T>) -> AppResult<T> {
        if !self.quiet {
            eprintln!("· {name} …");
        }
        let started = Instant::now();
        let outcome = step()?;
        self.done.push((name.to_owned(), started.elapsed()));
        Ok(outcome)
    }
}

/// The server of the demo, on a thread of its own.
struct Served {
    handle: actix_web::dev::ServerHandle,
    thread: std::thread::JoinHandle<std::io::Result<()>>,
}

impl Served {
    fn start(app: &App, listener: TcpListener) -> AppResult<Self> {
        let (send, receive) = std::sync::mpsc::channel();
        let app = app.clone();
        let thread = std::thread::Builder::new()
            .name("server".into())
            .spawn(move || {
                actix_web::rt::System::new().block_on(async {
                    match http::start(app, listener, true) {
                        Ok(server) => {
                            // Whoever asked is gone only if the demo failed meanwhile.
                            let _ = send.send(Ok(server.handle()));
                            server.await
                        }
                        Err(error) => {
                            let _ = send.send(Err(error));
                            Ok(())
                        }
                    }
                })
            })
            .map_err(AppError::io("starting the server"))?;
        let handle = receive.recv().map_err(|_| AppError::Refused("the server ended before it began".into()))??;
        Ok(Self { handle, thread })
    }

    fn stop(self) -> AppResult<()> {
        actix_web::rt::System::new().block_on(self.handle.stop(true));
        self.wait()
    }

    fn wait(self) -> AppResult<()> {
        match self.thread.join() {
            Ok(served) => served.map_err(AppError::io("serving")),
            Err(_) => Err(AppError::Refused("the server panicked".into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::round_up;

    #[test]
    fn budgets_are_rounded_up_to_two_digits() {
        assert_eq!([0, 1, 99, 100, 101, 12_345, 99_001].map(round_up), [0, 1, 99, 100, 110, 13_000, 100_000]);
    }
}
