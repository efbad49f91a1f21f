//! What the server serves: the database folder that `initdb` makes, and the roles and the database in it.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::sql_types::{Bool, Text};
use diesel::{PgConnection, QueryableByName, RunQueryDsl};

use super::binaries::{Binaries, Search};
use super::error::EmbeddedError;
use super::log::Log;
use super::place::Place;
use super::process::POLL;
use super::settings::Options;
use super::url::{DATABASE, Role};

/// How long initdb may take; it takes one to three seconds.
const INITDB_BOUND: Duration = Duration::from_secs(120);

/// Creates the database folder unless it exists, and finds the programs that can open it.
///
/// initdb works in a folder of another name, which is renamed when all is done and on the disk: so a folder named
/// `data` is always whole, and an interrupted initdb is done again.
pub(super) fn open_or_create(place: &Place, options: &Options) -> Result<Binaries, EmbeddedError> {
    let search = Search::of_this_machine();
    let data = place.data();
    if data.exists() {
        let version = data.join("PG_VERSION");
        let made_by = fs::read_to_string(&version).map_err(EmbeddedError::io("read", &version))?;
        return search.for_database(&data, made_by.trim());
    }
    let binaries = search.newest_acceptable()?;
    let partial = place.new_partial()?;
    run_initdb(place, options, &binaries, &partial)?;
    fs::rename(&partial, &data).map_err(EmbeddedError::io("create", &data))?;
    let synced = File::open(place.home()).and_then(|home| home.sync_all());
    synced.map_err(EmbeddedError::io("write", place.home()))?;
    Ok(binaries)
}

fn run_initdb(place: &Place, options: &Options, binaries: &Binaries, folder: &Path) -> Result<(), EmbeddedError> {
    let log = place.open_log()?;
    let program = binaries.initdb();
    let mut command = place.account.command(&program);
    // One encoding and byte order on every machine, and pages that betray a failing disk.
    command.args(["--encoding=UTF8", "--locale=C", "--data-checksums", "--no-instructions"]);
    command.args(["--auth-local=trust", "--auth-host=reject", "--username", Role::Superuser.name()]);
    if !options.fsync {
        command.arg("--no-sync");
    }
    command.arg("--pgdata").arg(folder).stdout(Stdio::null()).stderr(log.handle()?);
    let child = spawn(&mut command, &program)?;
    let outcome = wait_for(child, &log);
    if outcome.is_err() {
        let _ = fs::remove_dir_all(folder);
    }
    outcome
}

fn wait_for(mut child: Child, log: &Log) -> Result<(), EmbeddedError> {
    let deadline = Instant::now() + INITDB_BOUND;
    loop {
        match child.try_wait().map_err(EmbeddedError::io("wait for initdb, which writes", &log.path()))? {
            Some(status) if status.success() => return Ok(()),
            Some(_) => return Err(EmbeddedError::Initdb { lines: log.last_lines(), log: log.path() }),
            None if Instant::now() >= deadline => {
                let _ = child.kill();
                let _ = child.wait();
                let (lines, log) = (log.last_lines(), log.path());
                return Err(EmbeddedError::Timeout { what: "initdb", bound: INITDB_BOUND, lines, log });
            }
            None => std::thread::sleep(POLL),
        }
    }
}

/// Starts a program of PostgreSQL; `program` is for the message.
pub(super) fn spawn(command: &mut Command, program: &Path) -> Result<Child, EmbeddedError> {
    command.spawn().map_err(|source| EmbeddedError::Spawn { program: program.to_path_buf(), source })
}

/// Creates the roles and the database unless they exist. Each step stands alone, so an interruption between them does
/// no harm.
pub(super) fn provision(connection: &mut PgConnection) -> Result<(), EmbeddedError> {
    let (owner, app) = (Role::Owner.name(), Role::App.name());
    if !exists(connection, "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1) AS found", owner)? {
        connection.batch_execute(&format!("CREATE ROLE {owner} LOGIN CREATEDB"))?;
    }
    if !exists(connection, "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1) AS found", app)? {
        connection.batch_execute(&format!("CREATE ROLE {app} LOGIN"))?;
    }
    // The pool connects as the owner and steps down: a member may, and granting twice does no harm.
    connection.batch_execute(&format!("GRANT {app} TO {owner}"))?;
    if !exists(connection, "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1) AS found", DATABASE)? {
        connection.batch_execute(&format!("CREATE DATABASE {DATABASE} OWNER {owner}"))?;
    }
    Ok(())
}

#[derive(QueryableByName)]
struct Existence {
    #[diesel(sql_type = Bool)]
    found: bool,
}

fn exists(connection: &mut PgConnection, query: &str, name: &str) -> Result<bool, EmbeddedError> {
    Ok(diesel::sql_query(query).bind::<Text, _>(name).get_result::<Existence>(connection)?.found)
}
