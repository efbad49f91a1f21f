//! The batch job beside the floor: a plain loader that COPYs the very same finished rows into an identical table with
//! identical indexes, on the same server, with fsync on, round by round in databases cloned from one template. The job is
//! judged with one worker, as the loader has one connection; with as many as it has unless told otherwise it is told as well.
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

use crate::processor;
use crate::report::{Report, Scale, median, rounded};

/// The hidden name under which this program runs one measurement in a process of its own.
pub(crate) const CHILD: &str = "issue-child";
const INCIDENT: &str = "kakao-2022-10-15";
const ROUNDS: usize = 9;
/// How often four times as many credits are issued.
const FOURFOLD_ROUNDS: usize = 3;
const _: () = assert!(issue::WORKERS == 2, "the figures speak of two workers");
/// How many bytes the loader sends at once: as the batch job does.
const PIECE: usize = 64 * 1024;
/// What the ratio must reach.
const BAR: f64 = 0.7;
const MAX_GROWTH: f64 = 4.4;
const MAX_MEMORY_GROWTH: f64 = 1.2;
const MAX_MEMORY_MB: f64 = 300.0;
const MIN_TWO_WORKERS: f64 = 1.4;

/// A server's configuration; fsync is on in each.
struct Configuration {
    name: &'static str,
    options: fn() -> Options,
}

/// As Redress ships its private server, and as an operator would tune one for a night of issuing.
const CONFIGURATIONS: [Configuration; 2] = [
    Configuration { name: "default", options: Options::default },
    Configuration {
        name: "tuned",
        options: || Options { shared_buffers_mb: 1024, max_wal_size_mb: 8192, ..Options::default() },
    },
];

/// What the rounds under one configuration took, in seconds.
#[derive(Default)]
struct Rounds {
    one: Vec<f64>,
    two: Vec<f64>,
    floor: Vec<f64>,
    ours_processor: Vec<Processor>,
    floor_processor: Vec<Processor>,
    peak_mb: f64,
}

impl Rounds {
    /// The floor's time ÷ that of the job with so many workers.
    fn ratio_of(&self, ours: &[f64]) -> f64 {
        median(&ours.iter().zip(&self.floor).map(|(ours, floor)| floor / ours).collect::<Vec<_>>())
    }

    fn ratio(&self) -> f64 {
        self.ratio_of(&self.one)
    }

    fn speedup(&self) -> f64 {
        median(&self.one.iter().zip(&self.two).map(|(one, two)| one / two).collect::<Vec<_>>())
    }
}

/// Runs the benchmark.
pub(crate) fn run(scale: Scale) -> Result<Report, String> {
    let credits: u64 = match scale {
        Scale::Small => 100_000,
        Scale::Full => 1_000_000,
    };
    let mut measured = Vec::new();
    let mut once = None;
    for configuration in CONFIGURATIONS {
        let ground = Ground::new(&(configuration.options)())?;
        measured.push((configuration.name, ground.rounds(credits)?));
        if once.is_none() {
            let fourfold = ground.repeated(FOURFOLD_ROUNDS, 4 * credits, Roster::AsSold)?;
            once = Some((fourfold, ground.repeated(1, credits, Roster::AllDifferent)?));
        }
    }
    let (fourfold, different) = once.ok_or("no configuration was measured")?;
    Ok(report(credits, &measured, &fourfold, &different))
}

fn report(credits: u64, measured: &[(&str, Rounds)], fourfold: &[Measured], different: &[Measured]) -> Report {
    // Every configuration must meet the bars: the worst is what is told.
    let worst = |of: fn(&Rounds) -> f64| measured.iter().map(|(_, rounds)| of(rounds)).fold(f64::INFINITY, f64::min);
    let (ratio, speedup) = (worst(Rounds::ratio), worst(Rounds::speedup));
    let first = measured.first().map(|(_, rounds)| (median(&rounds.one), rounds.peak_mb)).unwrap_or_default();
    let growth = median(&fourfold.iter().map(|run| run.seconds).collect::<Vec<_>>()) / first.0;
    let fourfold_mb = fourfold.iter().map(|run| run.peak_mb).fold(0.0, f64::max);
    let memory_growth = fourfold_mb / first.1;
    #[expect(clippy::cast_precision_loss, reason = "a count of credits is far below 2^53")]
    let per_second = |seconds: &[f64]| (credits as f64 / median(seconds)).round();
    let holds = ratio >= BAR
        && growth <= MAX_GROWTH
        && memory_growth <= MAX_MEMORY_GROWTH
        && fourfold_mb <= MAX_MEMORY_MB
        && speedup >= MIN_TWO_WORKERS;
    let mut figures = Map::new();
    figures.insert("credits".into(), json!(credits));
    for (name, rounds) in measured {
        let figure = json!({
            "ratio": rounded(rounds.ratio()),
            "ratio_two_workers": rounded(rounds.ratio_of(&rounds.two)),
            "credits_per_second_one_worker": per_second(&rounds.one),
            "credits_per_second_two_workers": per_second(&rounds.two),
            "rows_per_second_floor": per_second(&rounds.floor),
            "two_workers_to_one": rounded(rounds.speedup()),
            "processor_microseconds_a_credit": {
                "ours": microseconds(&rounds.ours_processor), "floor": microseconds(&rounds.floor_processor),
            },
            "peak_memory_mb": rounded(rounds.peak_mb),
        });
        figures.insert(format!("{name}_configuration"), figure);
    }
    let mut figure = |name: &str, value: f64| figures.insert(name.to_owned(), json!(rounded(value)));
    figure("two_workers_to_one", speedup);
    figure("two_workers_to_one_bar", MIN_TWO_WORKERS);
    figure("time_4n_to_n", growth);
    figure("time_4n_to_n_bar", MAX_GROWTH);
    figure("peak_memory_mb_4n", fourfold_mb);
    figure("peak_memory_mb_bar", MAX_MEMORY_MB);
    figure("peak_memory_4n_to_n", memory_growth);
    figure("peak_memory_4n_to_n_bar", MAX_MEMORY_GROWTH);
    figures.insert(
        "processor_microseconds_a_credit_all_different".into(),
        microseconds(&different.iter().map(|run| run.processor).collect::<Vec<_>>()),
    );
    Report { name: "issue", ratio, bar: BAR, holds, rounds: ROUNDS, figures }
}

/// Microseconds of processor time a credit, ours and the server's: what a busy machine does not change.
#[derive(Default, Clone, Copy)]
struct Processor {
    client: f64,
    server: f64,
}

fn microseconds(measured: &[Processor]) -> Value {
    let of = |part: fn(&Processor) -> f64| rounded(median(&measured.iter().map(part).collect::<Vec<_>>()));
    json!({ "client": of(|processor| processor.client), "server": of(|processor| processor.server) })
}

/// What one execution of the batch job took.
struct Measured {
    seconds: f64,
    processor: Processor,
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
    // Before the folder, which can only be removed when it has ended.
    server: Embedded,
    folder: TempDir,
    policies: PathBuf,
}

fn said(error: impl std::fmt::Display) -> String {
    error.to_string()
}

impl Ground {
    fn new(options: &Options) -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(said)?;
        let server = Embedded::start(&folder.path().join("server"), options).map_err(said)?;
        let policies = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies");
        Ok(Self { folder, server, policies })
    }

    fn rounds(&self, credits: u64) -> Result<Rounds, String> {
        let template = self.template(credits, Roster::AsSold)?;
        let mut rounds = Rounds::default();
        for round in 0..ROUNDS {
            // Which of the two is first changes from round to round: a noisy machine is unfair to both alike.
            for workers in if round % 2 == 0 { [1, issue::WORKERS] } else { [issue::WORKERS, 1] } {
                let database = self.clone_of(&template)?;
                let ours = self.issue(&database, workers)?;
                ours.must_have_issued(credits)?;
                rounds.peak_mb = rounds.peak_mb.max(ours.peak_mb);
                if workers == 1 {
                    rounds.one.push(ours.seconds);
                    rounds.ours_processor.push(ours.processor);
                    let floor = self.load(&database, credits)?;
                    rounds.floor.push(floor.seconds);
                    rounds.floor_processor.push(floor.processor);
                } else {
                    rounds.two.push(ours.seconds);
                }
                self.drop_database(&database)?;
            }
        }
        self.drop_database(&template)?;
        Ok(rounds)
    }

    /// Runs with one worker, each in a database of its own.
    fn repeated(&self, rounds: usize, credits: u64, roster: Roster) -> Result<Vec<Measured>, String> {
        let template = self.template(credits, roster)?;
        let mut measured = Vec::new();
        for _ in 0..rounds {
            let database = self.clone_of(&template)?;
            let ours = self.issue(&database, 1)?;
            ours.must_have_issued(credits)?;
            measured.push(ours);
            self.drop_database(&database)?;
        }
        self.drop_database(&template)?;
        Ok(measured)
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
    fn template(&self, credits: u64, what: Roster) -> Result<String, String> {
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
        write_roster(&roster, credits, what).map_err(said)?;
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

    fn as_superuser(&self, sql: &str) -> Result<(), String> {
        let url = self.server.url_for(DatabaseRole::Superuser, "redress");
        PgConnection::establish(&url).map_err(said)?.batch_execute(sql).map_err(said)
    }

    fn checkpoint(&self) -> Result<(), String> {
        self.as_superuser("CHECKPOINT")
    }

    /// As the superuser, since the server may be vacuuming it.
    fn drop_database(&self, name: &str) -> Result<(), String> {
        self.as_superuser(&format!("DROP DATABASE {name} WITH (FORCE)"))
    }

    /// Runs the batch job in a process of its own.
    fn issue(&self, database: &str, workers: u16) -> Result<Measured, String> {
        let url = self.server.url_for(DatabaseRole::Owner, database);
        self.measure(&["issue", &url, &workers.to_string()])
    }

    /// COPYs the rows that the batch job wrote into an identical table, in a process of its own.
    fn load(&self, database: &str, credits: u64) -> Result<Measured, String> {
        self.sql(database, "CREATE TABLE floor (LIKE transfer INCLUDING ALL)")?;
        let rows = self.folder.path().join("rows.copy");
        export(&mut self.owner(database)?, &rows)?;
        self.checkpoint()?;
        let url = self.server.url_for(DatabaseRole::Owner, database);
        let loaded = self.measure(&["floor", &url, &rows.display().to_string()])?;
        // Beside the credits there is the transfer that recognised the budget.
        loaded.must_have_issued(credits + 1)?;
        Ok(loaded)
    }

    fn measure(&self, arguments: &[&str]) -> Result<Measured, String> {
        let before = self.server_seconds()?;
        let document = self.child(arguments)?;
        let number = |name: &str| document[name].as_f64().ok_or_else(|| format!("the measurement did not say {name}"));
        let issued = document["issued"].as_u64().ok_or("the measurement did not say how many rows it wrote")?;
        #[expect(clippy::cast_precision_loss, reason = "a count of credits is far below 2^53")]
        let a_credit = |seconds: f64| seconds * 1e6 / issued as f64;
        let processor = Processor {
            client: a_credit(number("processor_seconds")?),
            server: a_credit(self.server_seconds()? - before),
        };
        Ok(Measured { seconds: number("seconds")?, processor, issued, peak_mb: number("peak_mb")? })
    }

    fn server_seconds(&self) -> Result<f64, String> {
        let pid = self.server.pid().and_then(|pid| u32::try_from(pid).ok());
        processor::seconds_of(pid.ok_or("the server does not run")?)
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

/// What a roster says.
#[derive(Clone, Copy)]
enum Roster {
    /// As a service sells its subscriptions: some products at some prices, paid from any day of a month on.
    AsSold,
    /// No two subscriptions begin at the same instant.
    AllDifferent,
}

fn write_roster(path: &Path, credits: u64, what: Roster) -> std::io::Result<()> {
    const PRODUCTS: [&str; 3] = ["streaming", "download", "both"];
    const FEES: [u32; 3] = [7_900, 10_900, 13_900];
    let mut out = BufWriter::new(File::create(path)?);
    writeln!(out, "customer,service,reference,kind,product,valid_from,valid_until,channel,fee")?;
    for (number, (product, fee)) in (0..credits).zip(PRODUCTS.iter().flat_map(|one| FEES.map(|fee| (one, fee))).cycle())
    {
        let day = number / 9 % 28 + 1;
        let millionth = match what {
            Roster::AsSold => 0,
            Roster::AllDifferent => number % 1_000_000,
        };
        writeln!(
            out,
            "c-{number:08},melon,sub-{number},subscription,{product},2022-09-{day:02}T00:00:00.{millionth:06}+09:00,\
             2022-11-{day:02}T00:00:00+09:00,web,{fee}"
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
    measured(seconds, report.issued)
}

fn measure_floor(url: &str, rows: &Path) -> Result<Value, String> {
    let mut connection = PgConnection::establish(url).map_err(said)?;
    let mut finished = Vec::new();
    File::open(rows).and_then(|mut file| file.read_to_end(&mut finished)).map_err(said)?;
    let started = Instant::now();
    let loaded = diesel::copy_from(floor::table)
        .from_raw_data(floor::table, |copy| {
            // All of it at once would be one message, which the server takes in before it begins with the first row.
            finished
                .chunks(PIECE)
                .try_for_each(|piece| copy.write_all(piece))
                .map_err(|error| diesel::result::Error::SerializationError(Box::new(error)))
        })
        .with_format(CopyFormat::Binary)
        .execute(&mut connection)
        .map_err(said)?;
    measured(started.elapsed().as_secs_f64(), u64::try_from(loaded).map_err(said)?)
}

fn measured(seconds: f64, issued: u64) -> Result<Value, String> {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    #[expect(clippy::cast_precision_loss, reason = "a process lives for less than 2^53 seconds")]
    let processor = used.tv_sec as f64 + used.tv_nsec as f64 / 1e9;
    Ok(json!({ "seconds": seconds, "processor_seconds": processor, "issued": issued, "peak_mb": peak_mb()? }))
}

/// The most memory this process ever had, in megabytes.
fn peak_mb() -> Result<f64, String> {
    let status = std::fs::read_to_string("/proc/self/status").map_err(said)?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).ok_or("/proc has no VmHWM")?;
    let kilobytes: f64 = line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).ok_or("VmHWM is no number")?;
    Ok(kilobytes / 1024.0)
}
