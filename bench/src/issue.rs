//! The batch job beside the floor: a plain loader that COPYs the very same finished rows into an identical table with
//! identical indexes, on the same server, with fsync on, round by round in databases cloned from one template.
//!
//! Both run in processes of their own, so that neither warms the other and the peak memory is the job's alone.
#![allow(clippy::float_arithmetic, reason = "ratios of times; no money is counted here")]

use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

use diesel::connection::SimpleConnection;
use diesel::pg::{CopyFormat, PgConnection};
use diesel::prelude::*;
use redress::app::{Actor, App};
use redress::cli::Global;
use redress::rights::Role;
use redress::settings::Settings;
use redress::use_cases::{budgets, incidents, issue, policies, rosters, staff};
use redress_domain::id::IncidentId;
use redress_store::embedded::{Embedded, Options, Role as DatabaseRole};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::report::{Report, Scale, median, rounded};

/// The hidden name under which this program runs one measurement in a process of its own.
pub(crate) const CHILD: &str = "issue-child";
const INCIDENT: &str = "kakao-2022-10-15";
const ROUNDS: usize = 5;
/// What the ratio must reach.
const BAR: f64 = 0.7;
const MAX_GROWTH: f64 = 4.4;
const MAX_MEMORY_GROWTH: f64 = 1.2;
const MAX_MEMORY_MB: f64 = 300.0;
const MIN_TWO_WORKERS: f64 = 1.4;

/// Runs the benchmark.
pub(crate) fn run(scale: Scale) -> Result<Report, String> {
    let credits: u64 = match scale {
        Scale::Small => 100_000,
        Scale::Full => 1_000_000,
    };
    let ground = Ground::new()?;
    let small = ground.template(credits)?;
    let (mut one, mut two, mut floor) = (Vec::new(), Vec::new(), Vec::new());
    let mut memory: f64 = 0.0;
    for round in 0..ROUNDS {
        // Which of the two is first changes from round to round: a noisy machine is unfair to both alike.
        for workers in if round % 2 == 0 { [1, 2] } else { [2, 1] } {
            let database = ground.clone_of(&small)?;
            let ours = ground.issue(&database, workers)?;
            ours.must_have_issued(credits)?;
            memory = memory.max(ours.peak_mb);
            if workers == 1 {
                one.push(ours.seconds)
            } else {
                two.push(ours.seconds)
            }
            if workers == 1 {
                floor.push(ground.load(&database)?);
            }
            ground.drop_database(&database)?;
        }
    }
    ground.drop_database(&small)?;
    let large = ground.template(4 * credits)?;
    let database = ground.clone_of(&large)?;
    let fourfold = ground.issue(&database, 1)?;
    fourfold.must_have_issued(4 * credits)?;
    Ok(report(credits, &one, &two, &floor, memory, &fourfold))
}

fn report(credits: u64, one: &[f64], two: &[f64], floor: &[f64], memory: f64, fourfold: &Measured) -> Report {
    let ratios: Vec<f64> = one.iter().zip(floor).map(|(ours, floor)| floor / ours).collect();
    let ratio = median(&ratios);
    let growth = fourfold.seconds / median(one);
    let memory_growth = fourfold.peak_mb / memory;
    let speedup = median(one) / median(two);
    #[expect(clippy::cast_precision_loss, reason = "a count of credits is far below 2^53")]
    let per_second = |seconds: f64| (credits as f64 / seconds).round();
    let holds = ratio >= BAR
        && growth <= MAX_GROWTH
        && memory_growth <= MAX_MEMORY_GROWTH
        && fourfold.peak_mb <= MAX_MEMORY_MB
        && speedup >= MIN_TWO_WORKERS;
    let mut figures = Map::new();
    let mut figure = |name: &str, value: Value| figures.insert(name.to_owned(), value);
    figure("credits", json!(credits));
    figure("credits_per_second_one_worker", json!(per_second(median(one))));
    figure("credits_per_second_two_workers", json!(per_second(median(two))));
    figure("rows_per_second_floor", json!(per_second(median(floor))));
    figure("two_workers_to_one", json!(rounded(speedup)));
    figure("two_workers_to_one_bar", json!(MIN_TWO_WORKERS));
    figure("time_4n_to_n", json!(rounded(growth)));
    figure("time_4n_to_n_bar", json!(MAX_GROWTH));
    figure("peak_memory_mb", json!(rounded(memory)));
    figure("peak_memory_mb_4n", json!(rounded(fourfold.peak_mb)));
    figure("peak_memory_mb_bar", json!(MAX_MEMORY_MB));
    figure("peak_memory_4n_to_n", json!(rounded(memory_growth)));
    figure("peak_memory_4n_to_n_bar", json!(MAX_MEMORY_GROWTH));
    Report { name: "issue", ratio, bar: BAR, holds, rounds: ROUNDS, figures }
}

/// What one execution of the batch job took.
struct Measured {
    seconds: f64,
    issued: u64,
    peak_mb: f64,
}

impl Measured {
    fn must_have_issued(&self, credits: u64) -> Result<(), String> {
        if self.issued == credits { Ok(()) } else { Err(format!("{} credits were issued, not {credits}", self.issued)) }
    }
}

/// The server and the folder that all measurements share.
struct Ground {
    folder: TempDir,
    server: Embedded,
    policies: PathBuf,
}

fn said(error: impl std::fmt::Display) -> String {
    error.to_string()
}

impl Ground {
    fn new() -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(said)?;
        let server = Embedded::start(&folder.path().join("server"), &Options::default()).map_err(said)?;
        let policies = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies");
        Ok(Self { folder, server, policies })
    }

    fn owner(&self, database: &str) -> Result<PgConnection, String> {
        PgConnection::establish(&self.server.url_for(DatabaseRole::Owner, database)).map_err(said)
    }

    fn sql(&self, database: &str, sql: &str) -> Result<(), String> {
        self.owner(database)?.batch_execute(sql).map_err(said)
    }

    fn app(&self, database: &str) -> Result<App, String> {
        open(self.folder.path(), &self.server.url_for(DatabaseRole::Owner, database))
    }

    /// A database with the incident, Melon's policy, a roster of so many subscribers and a budget that suffices.
    fn template(&self, credits: u64) -> Result<String, String> {
        let name = format!("template_{credits}");
        self.sql("redress", &format!("CREATE DATABASE {name}"))?;
        let app = self.app(&name)?;
        let actor = |name: &str| Actor { name: name.into(), origin: "bench".into() };
        for (name, role) in [
            ("author", Role::PolicyAuthor),
            ("approver", Role::PolicyApprover),
            ("f-1", Role::Finance),
            ("f-2", Role::Finance),
        ] {
            staff::add(&app, &staff::NewMember::new(name, role), &actor("bench")).map_err(said)?;
        }
        let incident = self.policies.join("incidents").join(format!("{INCIDENT}.toml"));
        incidents::load(&app, &incident, &actor("bench")).map_err(said)?;
        let melon = self.policies.join("melon.toml");
        policies::publish(&app, &melon, &actor("author")).map_err(said)?;
        policies::approve(&app, &melon, &actor("approver")).map_err(said)?;
        let roster = self.folder.path().join("roster.csv");
        write_roster(&roster, credits).map_err(said)?;
        let incident = IncidentId::parse(INCIDENT).map_err(said)?;
        rosters::import(&app, &roster, &incident, None, &actor("bench")).map_err(said)?;
        let order =
            budgets::BudgetOrder::parse(INCIDENT, "melon", "day:melon", &(credits * 3).to_string()).map_err(said)?;
        budgets::order(&app, &order, &actor("f-1"), budgets::Act::Ask).map_err(said)?;
        budgets::order(&app, &order, &actor("f-2"), budgets::Act::Approve).map_err(said)?;
        Ok(name)
    }

    fn clone_of(&self, template: &str) -> Result<String, String> {
        let name = format!("round_of_{template}");
        self.sql("redress", &format!("CREATE DATABASE {name} TEMPLATE {template}"))?;
        // The clone's own writes are not the measurement's.
        self.checkpoint()?;
        Ok(name)
    }

    fn checkpoint(&self) -> Result<(), String> {
        let url = self.server.url_for(DatabaseRole::Superuser, "redress");
        PgConnection::establish(&url).map_err(said)?.batch_execute("CHECKPOINT").map_err(said)
    }

    fn drop_database(&self, name: &str) -> Result<(), String> {
        self.sql("redress", &format!("DROP DATABASE {name} WITH (FORCE)"))
    }

    /// Runs the batch job in a process of its own.
    fn issue(&self, database: &str, workers: usize) -> Result<Measured, String> {
        let url = self.server.url_for(DatabaseRole::Owner, database);
        let document = self.child(&["issue", &url, &workers.to_string()])?;
        let number = |name: &str| document[name].as_f64().ok_or_else(|| format!("the job did not say {name}"));
        let issued = document["issued"].as_u64().ok_or("the job did not say what it issued")?;
        Ok(Measured { seconds: number("seconds")?, issued, peak_mb: number("peak_mb")? })
    }

    /// COPYs the rows that the batch job wrote into an identical table, in a process of its own; returns the seconds.
    fn load(&self, database: &str) -> Result<f64, String> {
        self.sql(database, "CREATE TABLE floor (LIKE transfer INCLUDING ALL)")?;
        let rows = self.folder.path().join("rows.copy");
        export(&mut self.owner(database)?, &rows)?;
        self.checkpoint()?;
        let url = self.server.url_for(DatabaseRole::Owner, database);
        let document = self.child(&["floor", &url, &rows.display().to_string()])?;
        document["seconds"].as_f64().ok_or_else(|| "the loader did not say how long it took".to_owned())
    }

    fn child(&self, arguments: &[&str]) -> Result<Value, String> {
        let program = std::env::current_exe().map_err(said)?;
        let output = Command::new(program).arg(CHILD).args(arguments).arg(self.folder.path()).output().map_err(said)?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        serde_json::from_slice(&output.stdout).map_err(said)
    }
}

fn open(folder: &Path, url: &str) -> Result<App, String> {
    let global = Global { data_dir: folder.join("data"), database_url: Some(url.to_owned()), ..Global::default() };
    App::open(Settings::load(&global, None).map_err(said)?).map_err(said)
}

fn write_roster(path: &Path, credits: u64) -> std::io::Result<()> {
    let mut out = BufWriter::new(File::create(path)?);
    writeln!(out, "customer,service,reference,kind,product,valid_from,valid_until,channel,fee")?;
    for number in 0..credits {
        writeln!(
            out,
            "c-{number:08},melon,sub-{number},subscription,streaming,2022-10-01T00:00:00+09:00,2022-11-01T00:00:00+09:00,web,10900"
        )?;
    }
    out.flush()
}

/// A table with the columns of a transfer, as COPY names them.
macro_rules! transfers {
    ($name:ident) => {
        diesel::table! {
            $name (customer_id, id) {
                customer_id -> Text,
                id -> Uuid,
                posting_id -> Int8,
                amount -> Int8,
                debit_account -> Int4,
                credit_account -> Int4,
                asset_id -> Int4,
                policy_version_id -> Int4,
                code -> Int2,
                subject -> Text,
            }
        }
    };
}

transfers!(transfer);
transfers!(floor);

/// Writes the finished rows to a file, as COPY has them.
fn export(connection: &mut PgConnection, file: &Path) -> Result<(), String> {
    let mut rows =
        diesel::copy_to(transfer::table).with_format(CopyFormat::Binary).load_raw(connection).map_err(said)?;
    let mut out = BufWriter::new(File::create(file).map_err(said)?);
    std::io::copy(&mut rows, &mut out).map_err(said)?;
    out.flush().map_err(said)
}

/// One measurement, in a process of its own: prints one JSON document.
pub(crate) fn child(arguments: &[String]) -> ExitCode {
    let measured = match arguments {
        [what, url, workers, folder] if what == "issue" => measure_issue(url, workers, Path::new(folder)),
        [what, url, rows, _] if what == "floor" => measure_floor(url, Path::new(rows)),
        _ => Err("this is not for people".to_owned()),
    };
    match measured {
        Ok(document) => {
            println!("{document}");
            ExitCode::SUCCESS
        }
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}

struct Nobody;

impl issue::Watcher for Nobody {
    fn begin(&self, _chunks: u64, _done: u64) {}
    fn advance(&self, _credits: u64) {}
}

fn measure_issue(url: &str, workers: &str, folder: &Path) -> Result<Value, String> {
    let app = open(folder, url)?;
    let order = issue::Order {
        incident: IncidentId::parse(INCIDENT).map_err(said)?,
        policies: Default::default(),
        workers: workers.parse().map_err(said)?,
    };
    let started = Instant::now();
    let report =
        issue::run(&app, &order, &Actor { name: "f-1".into(), origin: "bench".into() }, &Nobody).map_err(said)?;
    let seconds = started.elapsed().as_secs_f64();
    Ok(json!({ "seconds": seconds, "issued": report.issued, "peak_mb": peak_mb()? }))
}

fn measure_floor(url: &str, rows: &Path) -> Result<Value, String> {
    let mut connection = PgConnection::establish(url).map_err(said)?;
    let mut finished = Vec::new();
    File::open(rows).and_then(|mut file| file.read_to_end(&mut finished)).map_err(said)?;
    let started = Instant::now();
    diesel::copy_from(floor::table)
        .from_raw_data(floor::table, |copy| {
            copy.write_all(&finished).map_err(|error| diesel::result::Error::SerializationError(Box::new(error)))
        })
        .with_format(CopyFormat::Binary)
        .execute(&mut connection)
        .map_err(said)?;
    Ok(json!({ "seconds": started.elapsed().as_secs_f64() }))
}

/// The most memory this process ever had, in megabytes.
fn peak_mb() -> Result<f64, String> {
    let status = std::fs::read_to_string("/proc/self/status").map_err(said)?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).ok_or("/proc has no VmHWM")?;
    let kilobytes: f64 = line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).ok_or("VmHWM is no number")?;
    Ok(kilobytes / 1024.0)
}
