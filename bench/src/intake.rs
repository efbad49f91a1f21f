//! Intake beside a bare handler: our whole stack (HTTP, validation, idempotency, assessment, audit, outbox, one durable commit)
//! and an actix-web handler that parses the same JSON and does one durable INSERT. Both serve from processes of their own, in
//! databases of one server with fsync on, with pools of the same size; the client is a third process with 32 connections.
#![allow(clippy::float_arithmetic, reason = "ratios of times; no money is counted here")]

mod bare;
mod client;
mod ours;

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use redress_store::embedded::{Embedded, Options, Role as DatabaseRole};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::processor;
use crate::report::{Report, Scale, median, rounded};

/// The hidden name under which this program runs a server or the client in a process of its own.
pub(crate) const CHILD: &str = "intake-child";
/// The incident whose services take the claims.
const INCIDENT: &str = "kakao-2022-10-15";
/// What the ratio must reach.
const BAR: f64 = 0.8;
/// Connections to the database that each server may have; what `redress serve` takes unless told otherwise.
const POOL_SIZE: u32 = 16;
/// Connections of the client, each of which sends its next claim when the last is answered.
const CONNECTIONS: usize = 32;

/// Runs the benchmark.
pub(crate) fn run(scale: Scale) -> Result<Report, String> {
    let (rounds, claims) = match scale {
        Scale::Small => (5, 6_000),
        Scale::Full => (7, 25_000),
    };
    let ground = Ground::new(rounds, claims)?;
    let servers = [ground.serve("ours")?, ground.serve("bare")?];
    let mut measured: [Vec<Measured>; 2] = [Vec::new(), Vec::new()];
    for round in 0..=rounds {
        // Which of the two is first changes from round to round: a noisy machine is unfair to both alike.
        for which in if round % 2 == 0 { [0, 1] } else { [1, 0] } {
            let first = round * claims;
            measured[which].push(ground.send(&servers[which], first, claims)?);
        }
    }
    let stored = (rounds + 1) * claims;
    ground.must_have("ours", "claim", stored)?;
    ground.must_have("ours", "idempotency", stored)?;
    ground.must_have("ours", "assessment", stored)?;
    ground.must_have("ours", "audit WHERE action = 'claim.file'", stored)?;
    // Each is told that it was received and that it was decided.
    ground.must_have("ours", "notice", 2 * stored)?;
    ground.must_have("bare", "report", stored)?;
    drop(servers);
    // The first round only warms.
    let [ours, bare] = measured.map(|all| all.into_iter().skip(1).collect::<Vec<_>>());
    Ok(report(rounds, claims, &ours, &bare))
}

fn report(rounds: usize, claims: usize, ours: &[Measured], bare: &[Measured]) -> Report {
    let ratios: Vec<f64> = ours.iter().zip(bare).map(|(ours, bare)| bare.seconds / ours.seconds).collect();
    let ratio = median(&ratios);
    #[expect(clippy::cast_precision_loss, reason = "a count of claims is far below 2^53")]
    let per_second =
        |all: &[Measured]| (claims as f64 / median(&all.iter().map(|one| one.seconds).collect::<Vec<_>>())).round();
    let of = |all: &[Measured], figure: fn(&Measured) -> f64| {
        json!(rounded(median(&all.iter().map(figure).collect::<Vec<_>>())))
    };
    let mut figures = Map::new();
    let mut figure = |name: &str, value: Value| figures.insert(name.to_owned(), value);
    figure("claims_a_round", json!(claims));
    figure("connections", json!(CONNECTIONS));
    figure("pool_size", json!(POOL_SIZE));
    figure("claims_per_second", json!(per_second(ours)));
    figure("claims_per_second_bare", json!(per_second(bare)));
    figure("p50_ms", of(ours, |one| one.p50_ms));
    figure("p50_ms_bare", of(bare, |one| one.p50_ms));
    figure("p99_ms", of(ours, |one| one.p99_ms));
    figure("p99_ms_bare", of(bare, |one| one.p99_ms));
    let processor = |all: &[Measured]| json!({ "server": of(all, |one| one.server_us), "database": of(all, |one| one.database_us) });
    figure("processor_microseconds_a_claim", json!({ "ours": processor(ours), "bare": processor(bare) }));
    figure("ratio_lowest", json!(rounded(ratios.iter().copied().fold(f64::INFINITY, f64::min))));
    figure("ratio_highest", json!(rounded(ratios.iter().copied().fold(0.0, f64::max))));
    Report { name: "intake", ratio, bar: BAR, holds: ratio >= BAR, rounds, figures }
}

/// What one round against one server took.
struct Measured {
    seconds: f64,
    p50_ms: f64,
    p99_ms: f64,
    /// Microseconds of processor time a claim.
    server_us: f64,
    database_us: f64,
}

fn said(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// The database server that all share.
struct Ground {
    // Before the folder, which can only be removed when it has ended.
    database: Embedded,
    folder: TempDir,
}

impl Ground {
    fn new(rounds: usize, claims: usize) -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(said)?;
        let database = Embedded::start(&folder.path().join("server"), &Options::default()).map_err(said)?;
        let ground = Self { folder, database };
        for name in ["ours", "bare"] {
            ground.owner("redress")?.batch_execute(&format!("CREATE DATABASE {name}")).map_err(said)?;
        }
        let roster = ground.folder.path().join("roster.csv");
        write_roster(&roster, (rounds + 1) * claims).map_err(said)?;
        ours::prepare(ground.folder.path(), &ground.url("ours"), &roster)?;
        bare::prepare(&mut ground.owner("bare")?)?;
        Ok(ground)
    }

    fn url(&self, database: &str) -> String {
        self.database.url_for(DatabaseRole::Owner, database)
    }

    fn owner(&self, database: &str) -> Result<PgConnection, String> {
        PgConnection::establish(&self.url(database)).map_err(said)
    }

    /// Starts a server in a process of its own and waits until it listens.
    fn serve(&self, which: &str) -> Result<Server, String> {
        let log = File::create(self.folder.path().join(format!("{which}.log"))).map_err(said)?;
        let mut child = Command::new(std::env::current_exe().map_err(said)?)
            .args([CHILD, which, &self.url(which)])
            .arg(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .map_err(said)?;
        let stdout = child.stdout.take().ok_or("the server has no stdout")?;
        let mut server = Server { child, address: String::new(), which: which.to_owned() };
        BufReader::new(stdout).read_line(&mut server.address).map_err(said)?;
        server.address.truncate(server.address.trim_end().len());
        if server.address.is_empty() {
            let log = std::fs::read_to_string(self.folder.path().join(format!("{which}.log"))).map_err(said)?;
            return Err(format!("the server {which} does not start: {log}"));
        }
        Ok(server)
    }

    /// Sends so many claims, from the customer with number `first` on, from a process of its own.
    fn send(&self, server: &Server, first: usize, claims: usize) -> Result<Measured, String> {
        let used = || {
            let database = self.database.pid().and_then(|pid| u32::try_from(pid).ok());
            let database = database.ok_or("the database server does not run")?;
            Ok::<_, String>([processor::seconds_of(server.child.id())?, processor::seconds_of(database)?])
        };
        let before = used()?;
        let output = Command::new(std::env::current_exe().map_err(said)?)
            .args([CHILD, "client", &server.address, &first.to_string(), &claims.to_string()])
            .stderr(Stdio::inherit())
            .output()
            .map_err(said)?;
        if !output.status.success() {
            return Err(format!("the client of {} failed", server.which));
        }
        let document: Value = serde_json::from_slice(&output.stdout).map_err(said)?;
        let number = |name: &str| document[name].as_f64().ok_or_else(|| format!("the client did not say {name}"));
        let after = used()?;
        #[expect(clippy::cast_precision_loss, reason = "a count of claims is far below 2^53")]
        let a_claim = |which: usize| (after[which] - before[which]) * 1e6 / claims as f64;
        Ok(Measured {
            seconds: number("seconds")?,
            p50_ms: number("p50_ms")?,
            p99_ms: number("p99_ms")?,
            server_us: a_claim(0),
            database_us: a_claim(1),
        })
    }

    /// What was acknowledged is there, once.
    fn must_have(&self, database: &str, rows: &str, expected: usize) -> Result<(), String> {
        let count = diesel::dsl::sql::<diesel::sql_types::BigInt>(&format!("(SELECT count(*) FROM {rows})"));
        let found: i64 = diesel::select(count).get_result(&mut self.owner(database)?).map_err(said)?;
        if usize::try_from(found) == Ok(expected) {
            return Ok(());
        }
        Err(format!("{database} has {found} rows of {rows}, and {expected} were acknowledged"))
    }
}

/// A server in a process of its own, which ends with this.
struct Server {
    child: Child,
    address: String,
    which: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The customers that will claim, merchants all.
fn write_roster(path: &Path, customers: usize) -> std::io::Result<()> {
    let mut out = BufWriter::new(File::create(path)?);
    writeln!(out, "customer,service,reference,kind,merchant")?;
    for number in 0..customers {
        writeln!(out, "{0},kakaotalk,account-{0},account,true", client::customer(number))?;
    }
    out.flush()
}

/// A server or the client, in a process of its own.
pub(crate) fn child(arguments: &[String]) -> ExitCode {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let ended = match arguments.as_slice() {
        ["ours", url, folder] => ours::serve(Path::new(folder), url),
        ["bare", url, _] => bare::serve(url),
        ["client", address, first, claims] => client::run(address, first, claims),
        _ => Err("this is not for people".to_owned()),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}
