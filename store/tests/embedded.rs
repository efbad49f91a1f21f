//! The private server, with real processes in temporary folders: starts, sharing, crashes of either side, accounts.

#![allow(clippy::unwrap_used)] // in a test, a failed step is a failed test

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};
use redress_store::embedded::{Embedded, EmbeddedError, Options, Role};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// Longer than anything here should take; a test that waits so long fails.
const BOUND: Duration = Duration::from_secs(30);
/// An account that every system has.
const NOBODY: u32 = 65534;

// ---------------------------------------------------------------------------------------------------------------------
// The helper: this test binary again, as another process that uses a data folder until it is told to leave.

const HELPER: &str = "REDRESS_TEST_HELPER_DATA_DIR";

#[test]
fn helper_process() {
    let Some(data_dir) = std::env::var_os(HELPER) else { return };
    match Embedded::start(Path::new(&data_dir), &options()) {
        Ok(server) => {
            println!("\nready {}", server.url());
            let _ = std::io::stdin().read_line(&mut String::new());
            println!("\nstopped {}", server.stop().unwrap());
        }
        Err(error) => println!("\nerror {error}"),
    }
}

struct Helper {
    process: Child,
    stdin: ChildStdin,
    lines: BufReader<std::process::ChildStdout>,
}

impl Helper {
    fn start(data_dir: &Path) -> Self {
        Self::spawn(Command::new(std::env::current_exe().unwrap()), data_dir)
    }

    fn spawn(mut command: Command, data_dir: &Path) -> Self {
        command.args(["--exact", "helper_process", "--nocapture"]).env(HELPER, data_dir);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn().unwrap();
        let stdin = process.stdin.take().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap());
        Self { process, stdin, lines }
    }

    /// The next line that begins with this word, without it; or what the helper says instead.
    fn expect(&mut self, word: &str) -> Result<String, String> {
        for line in self.lines.by_ref().lines() {
            let line = line.unwrap();
            match line.split_once(' ') {
                Some((first, rest)) if first == word => return Ok(rest.to_owned()),
                Some(("error", rest)) => return Err(rest.to_owned()),
                _ => {}
            }
        }
        Err(format!("the helper ended without saying {word:?}"))
    }

    /// Leaves in an orderly way; says whether the helper stopped the server.
    fn leave(mut self) -> bool {
        self.stdin.write_all(b"\n").unwrap();
        let stopped = self.expect("stopped").unwrap();
        self.process.wait().unwrap();
        stopped == "true"
    }

    fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

// ---------------------------------------------------------------------------------------------------------------------

fn options() -> Options {
    Options::for_tests()
}

/// A folder that every account may pass through.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|found| found.uid() == 0)
}

fn query(url: &str, sql: &str) -> Result<i64, String> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        n: i64,
    }
    let mut connection = PgConnection::establish(url).map_err(|error| error.to_string())?;
    diesel::sql_query(sql).get_result::<Row>(&mut connection).map(|row| row.n).map_err(|error| error.to_string())
}

fn setting(url: &str, name: &str) -> String {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        value: String,
    }
    let mut connection = PgConnection::establish(url).unwrap();
    let show = diesel::sql_query("SELECT current_setting($1) AS value").bind::<Text, _>(name);
    show.get_result::<Row>(&mut connection).unwrap().value
}

fn execute(url: &str, sql: &str) {
    let mut connection = PgConnection::establish(url).unwrap();
    diesel::sql_query(sql).execute(&mut connection).unwrap();
}

fn is_alive(pid: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !status.is_empty() && !status.contains(") Z ")
}

fn kill_hard(pid: i32) {
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    wait_until(|| !is_alive(pid));
}

fn wait_until(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + BOUND;
    while !condition() {
        assert!(Instant::now() < deadline, "waited too long");
        std::thread::sleep(Duration::from_millis(5));
    }
}

// ---------------------------------------------------------------------------------------------------------------------

#[test]
fn what_is_written_is_there_at_the_second_start() {
    let folder = folder();
    let data_dir = folder.path().join("new").join(".redress");
    let server = Embedded::start(&data_dir, &Options { fsync: true, max_connections: 37, ..options() }).unwrap();
    let pid = server.pid().unwrap();
    assert_eq!(setting(server.url(), "server_encoding"), "UTF8");
    assert_eq!(setting(server.url(), "lc_collate"), "C");
    assert_eq!(setting(server.url(), "TimeZone"), "UTC");
    assert_eq!(setting(server.url(), "listen_addresses"), "");
    assert_eq!(setting(server.url(), "max_connections"), "37");
    for durable in ["fsync", "synchronous_commit", "full_page_writes", "data_checksums"] {
        assert_eq!(setting(server.url(), durable), "on", "{durable}");
    }
    execute(server.url(), "CREATE TABLE kept AS SELECT 42::bigint AS n");
    assert!(server.stop().unwrap());
    assert!(!is_alive(pid), "the server outlives its last user");

    let server = Embedded::start(&data_dir, &options()).unwrap();
    assert_eq!(query(server.url(), "SELECT n FROM kept"), Ok(42));
    assert_eq!(setting(server.url(), "fsync"), "off");
    let pid = server.pid().unwrap();
    drop(server);
    assert!(!is_alive(pid), "dropping does not stop the server");
}

#[test]
fn the_app_role_may_do_only_what_it_is_granted() {
    let folder = folder();
    let server = Embedded::start(folder.path(), &options()).unwrap();
    let app = server.url_for(Role::App, "redress");
    execute(server.url(), "CREATE TABLE ledger AS SELECT 1::bigint AS n");
    assert!(query(&app, "SELECT n FROM ledger").unwrap_err().contains("permission denied"));
    execute(server.url(), "GRANT SELECT, INSERT ON ledger TO redress_app");
    assert_eq!(query(&app, "INSERT INTO ledger VALUES (2) RETURNING n"), Ok(2));
    for forbidden in ["UPDATE ledger SET n = 3 RETURNING n", "DELETE FROM ledger RETURNING n"] {
        assert!(query(&app, forbidden).unwrap_err().contains("permission denied"), "{forbidden}");
    }
    // The owner can clone its database for a test.
    execute(&server.url_for(Role::Owner, "postgres"), "CREATE DATABASE \"a copy\" TEMPLATE redress");
    assert_eq!(query(&server.url_for(Role::Owner, "a copy"), "SELECT count(*) AS n FROM ledger"), Ok(2));
    assert_eq!(query(&server.url_for(Role::Superuser, "redress"), "SELECT count(*) AS n FROM ledger"), Ok(2));
}

#[test]
fn the_last_of_several_processes_stops_the_server() {
    let folder = folder();
    let ours = Embedded::start(folder.path(), &options()).unwrap();
    let pid = ours.pid().unwrap();
    let mut second = Helper::start(folder.path());
    let mut third = Helper::start(folder.path());
    assert_eq!(second.expect("ready").unwrap(), ours.url());
    assert_eq!(third.expect("ready").unwrap(), ours.url());
    assert!(!second.leave(), "a guest has stopped the server under its host");
    assert_eq!(query(ours.url(), "SELECT 1::bigint AS n"), Ok(1));
    assert_eq!(ours.pid(), Some(pid), "the guest has started another server");
    assert!(!ours.stop().unwrap(), "the host has stopped the server under its guest");
    assert!(is_alive(pid));
    assert!(third.leave(), "the last has left the server running");
    wait_until(|| !is_alive(pid));
}

#[test]
fn many_processes_that_start_at_once_share_one_new_server() {
    let folder = folder();
    let mut helpers: Vec<Helper> = (0..4).map(|_| Helper::start(folder.path())).collect();
    let urls: Vec<String> = helpers.iter_mut().map(|helper| helper.expect("ready").unwrap()).collect();
    assert!(urls.iter().all(|url| *url == urls[0]));
    let stopped = helpers.into_iter().map(Helper::leave).filter(|stopped| *stopped).count();
    assert_eq!(stopped, 1);
}

#[test]
fn a_killed_server_is_started_again() {
    let folder = folder();
    let server = Embedded::start(folder.path(), &options()).unwrap();
    execute(server.url(), "CREATE TABLE kept AS SELECT 42::bigint AS n");
    assert!(!server.ensure_running().unwrap(), "restarted for no reason");
    let pid = server.pid().unwrap();
    kill_hard(pid);
    assert!(!server.is_running());
    assert!(query(server.url(), "SELECT n FROM kept").is_err());
    assert!(server.ensure_running().unwrap());
    assert_eq!(query(server.url(), "SELECT n FROM kept"), Ok(42));
    assert_ne!(server.pid(), Some(pid));

    // The same when nobody is there to notice: the next start meets the stale files.
    kill_hard(server.pid().unwrap());
    drop(server);
    assert!(folder.path().join("postgres/data/postmaster.pid").exists(), "nothing stale to recover from");
    let server = Embedded::start(folder.path(), &options()).unwrap();
    assert_eq!(query(server.url(), "SELECT n FROM kept"), Ok(42));
}

#[test]
fn a_stale_number_that_another_process_has_now_is_no_obstacle() {
    let folder = folder();
    let server = Embedded::start(folder.path(), &options()).unwrap();
    let data = server.database_folder();
    let owner = fs::metadata(&data).unwrap();
    let old = server.pid().unwrap();
    kill_hard(old);
    drop(server);
    // As after a reboot: the number belongs to an unrelated process of the same account.
    let mut sleep = Command::new("sleep").arg("60").uid(owner.uid()).spawn().unwrap();
    for stale in [data.join("postmaster.pid"), folder.path().join("postgres/socket/.s.PGSQL.5432.lock")] {
        let text = fs::read_to_string(&stale).unwrap();
        fs::write(&stale, text.replacen(&old.to_string(), &sleep.id().to_string(), 1)).unwrap();
    }
    let started = Embedded::start(folder.path(), &options());
    let sleeps = matches!(sleep.try_wait(), Ok(None));
    sleep.kill().unwrap();
    sleep.wait().unwrap();
    assert_eq!(query(started.unwrap().url(), "SELECT 1::bigint AS n"), Ok(1));
    assert!(sleeps, "an innocent process was ended");
}

#[test]
fn the_server_of_a_killed_process_is_adopted_and_stopped_by_the_next() {
    let folder = folder();
    let mut helper = Helper::start(folder.path());
    let url = helper.expect("ready").unwrap();
    helper.kill();
    assert_eq!(query(&url, "SELECT 1::bigint AS n"), Ok(1), "the server has died with its starter");
    let server = Embedded::start(folder.path(), &options()).unwrap();
    assert_eq!(server.url(), url);
    let pid = server.pid().unwrap();
    server.keep_running();
    let server = Embedded::start(folder.path(), &options()).unwrap();
    assert_eq!(server.pid(), Some(pid), "a server that was to be kept is gone");
    assert!(server.stop().unwrap());
    wait_until(|| !is_alive(pid));
}

#[test]
fn a_data_folder_may_be_moved_even_below_a_running_server() {
    let folder = folder();
    let (old, new) = (folder.path().join("old"), folder.path().join("new"));
    let server = Embedded::start(&old, &options()).unwrap();
    execute(server.url(), "CREATE TABLE kept AS SELECT 42::bigint AS n");
    server.keep_running();
    fs::rename(&old, &new).unwrap();
    let server = Embedded::start(&new, &options()).unwrap();
    assert_eq!(query(server.url(), "SELECT n FROM kept"), Ok(42));
    assert!(server.database_folder().starts_with(new.canonicalize().unwrap()));
}

#[test]
fn ctrl_c_in_the_terminal_does_not_reach_the_server() {
    let folder = folder();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.process_group(0);
    let mut helper = Helper::spawn(command, folder.path());
    let url = helper.expect("ready").unwrap();
    kill_process_group(Pid::from_child(&helper.process), Signal::INT).unwrap();
    helper.process.wait().unwrap();
    std::thread::sleep(Duration::from_millis(200)); // a server that got the signal too would be gone by now
    assert_eq!(query(&url, "SELECT 1::bigint AS n"), Ok(1));
    drop(Embedded::start(folder.path(), &options()).unwrap());
}

#[test]
fn an_interrupted_initdb_is_done_again() {
    let folder = folder();
    let mut helper = Helper::start(folder.path());
    let home = folder.path().join("postgres");
    let partials = || -> Vec<PathBuf> {
        let entries = fs::read_dir(&home).into_iter().flatten().flatten().map(|entry| entry.path());
        entries.filter(|path| path.to_string_lossy().contains("data.partial-")).collect()
    };
    wait_until(|| partials().iter().any(|partial| partial.join("PG_VERSION").exists()));
    helper.process.kill().unwrap();
    helper.process.wait().unwrap();
    assert!(!partials().is_empty() && !home.join("data").exists(), "the helper was faster than this test");
    let server = Embedded::start(folder.path(), &options()).unwrap();
    assert_eq!(query(server.url(), "SELECT 1::bigint AS n"), Ok(1));
    drop(server);
    drop(Embedded::start(folder.path(), &options()).unwrap());
}

#[test]
fn a_long_or_odd_path_gets_a_short_private_socket() {
    let folder = folder();
    let data_dir = folder.path().join("long ".repeat(20)).join("배상, it's \"odd\"");
    let server = Embedded::start(&data_dir, &options()).unwrap();
    assert_eq!(query(server.url(), "SELECT 1::bigint AS n"), Ok(1));
    let recorded = PathBuf::from(fs::read_to_string(data_dir.join("postgres/socket.path")).unwrap());
    let found = fs::metadata(&recorded).unwrap();
    assert_eq!(found.mode() & 0o777, 0o700);
    assert_eq!(found.uid(), fs::metadata(server.database_folder()).unwrap().uid());
    assert!(server.url().contains(recorded.to_str().unwrap()));
    let url = server.url().to_owned();

    // The system may clean /tmp below a running server: it is started anew, in a folder of its own again.
    fs::remove_dir_all(&recorded).unwrap();
    assert!(server.ensure_running().unwrap());
    assert_eq!(query(&url, "SELECT 1::bigint AS n"), Ok(1));
    drop(server);

    // A name that somebody else has taken is left alone.
    fs::remove_dir_all(&recorded).unwrap();
    fs::create_dir(&recorded).unwrap();
    fs::set_permissions(&recorded, fs::Permissions::from_mode(0o777)).unwrap();
    std::os::unix::fs::chown(&recorded, Some(found.uid()), Some(found.gid())).unwrap();
    let server = Embedded::start(&data_dir, &options()).unwrap();
    assert!(!server.url().contains(recorded.to_str().unwrap()), "trusted a folder that is open to all");
    let second = PathBuf::from(fs::read_to_string(data_dir.join("postgres/socket.path")).unwrap());
    drop(server);
    fs::remove_dir_all(recorded).unwrap();
    fs::remove_dir_all(second).unwrap();
}

#[test]
fn a_database_of_another_version_is_refused_in_one_clear_line() {
    let folder = folder();
    drop(Embedded::start(folder.path(), &options()).unwrap());
    let version = folder.path().join("postgres/data/PG_VERSION");
    fs::write(&version, "12\n").unwrap();
    let error = Embedded::start(folder.path(), &options()).unwrap_err();
    assert!(matches!(error, EmbeddedError::WrongVersion { .. }), "{error}");
    let error = error.to_string();
    assert!(error.contains("made by PostgreSQL 12") && !error.contains('\n'), "{error}");
}

#[test]
fn a_failed_start_quotes_the_servers_own_words() {
    let folder = folder();
    drop(Embedded::start(folder.path(), &options()).unwrap());
    fs::remove_file(folder.path().join("postgres/data/global/pg_control")).unwrap();
    let error = Embedded::start(folder.path(), &options()).unwrap_err();
    assert!(matches!(error, EmbeddedError::Start { .. }), "{error}");
    let error = error.to_string();
    assert!(error.contains("pg_control") && error.contains("server.log") && !error.contains('\n'), "{error}");
}

#[test]
fn without_postgresql_one_line_says_what_to_install() {
    let folder = folder();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env("REDRESS_POSTGRES_BIN", folder.path());
    let error = Helper::spawn(command, &folder.path().join("data")).expect("ready").unwrap_err();
    assert!(error.contains("REDRESS_POSTGRES_BIN"), "{error}");
}

#[test]
fn an_unusable_data_folder_is_named() {
    let folder = folder();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let error = Embedded::start(&file.join("data"), &options()).unwrap_err().to_string();
    assert!(error.contains(&*file.to_string_lossy()), "{error}");
}

// ---------------------------------------------------------------------------------------------------------------------
// Accounts. These need root, as in a container; elsewhere all other tests run as a normal user anyway.

/// A helper that runs as `nobody`, who has no access to the folder that this binary was built in.
fn helper_as_nobody(folder: &Path, data_dir: &Path) -> Helper {
    let copy = folder.join("helper");
    if !copy.exists() {
        fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
        fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let mut command = Command::new(copy);
    command.uid(NOBODY).gid(NOBODY).current_dir("/");
    Helper::spawn(command, data_dir)
}

#[test]
fn a_normal_user_runs_the_server_as_himself_and_root_may_join_him() {
    if !is_root() {
        return;
    }
    let folder = folder();
    let data_dir = folder.path().join("his");
    fs::create_dir(&data_dir).unwrap();
    std::os::unix::fs::chown(&data_dir, Some(NOBODY), Some(NOBODY)).unwrap();
    // Even if root comes first, whose name initdb and the server then do not take.
    drop(Embedded::start(&data_dir, &options()).unwrap());
    let mut his = helper_as_nobody(folder.path(), &data_dir);
    let url = his.expect("ready").unwrap();
    assert_eq!(fs::metadata(data_dir.join("postgres/data")).unwrap().uid(), NOBODY);

    let ours = Embedded::start(&data_dir, &options()).unwrap();
    assert_eq!(ours.url(), url);
    assert!(!his.leave());
    let pid = ours.pid().unwrap();
    kill_hard(pid);
    ours.ensure_running().unwrap();
    let server = fs::metadata(format!("/proc/{}", ours.pid().unwrap())).unwrap();
    assert_eq!(server.uid(), NOBODY, "root must run the server as the owner of the database");
    drop(ours);
    // What root did must not lock him out.
    let mut again = helper_as_nobody(folder.path(), &data_dir);
    assert_eq!(again.expect("ready"), Ok(url));
    assert!(again.leave());
}

#[test]
fn root_runs_the_server_as_an_unprivileged_user_whom_nobody_else_can_reach() {
    if !is_root() {
        return;
    }
    let folder = folder();
    let data_dir = folder.path().join("closed");
    fs::create_dir(&data_dir).unwrap();
    fs::set_permissions(&data_dir, fs::Permissions::from_mode(0o700)).unwrap(); // as with umask 077
    let server = Embedded::start(&data_dir, &options()).unwrap();
    assert!(!server.is_outside_data_dir());
    let process = fs::metadata(format!("/proc/{}", server.pid().unwrap())).unwrap();
    assert_ne!(process.uid(), 0);
    if process.uid() != NOBODY {
        let mut stranger = Command::new("psql");
        stranger.arg(server.url()).args(["-c", "SELECT 1"]).uid(NOBODY).gid(NOBODY).current_dir("/");
        assert!(!stranger.output().unwrap().status.success(), "another user has connected");
    }
    let error = helper_as_nobody(folder.path(), &data_dir).expect("ready").unwrap_err();
    assert!(error.contains("--data-dir"), "{error}");
}

#[test]
fn below_a_folder_that_only_root_may_enter_the_database_is_kept_elsewhere() {
    if !is_root() {
        return;
    }
    let folder = folder();
    let root_only = folder.path().join("root");
    fs::create_dir(&root_only).unwrap();
    fs::set_permissions(&root_only, fs::Permissions::from_mode(0o700)).unwrap();
    let data_dir = root_only.join("redress/.redress");
    let options = Options { fallback_dir: folder.path().join("var"), ..options() };
    let server = Embedded::start(&data_dir, &options).unwrap();
    assert!(server.is_outside_data_dir());
    assert!(server.database_folder().starts_with(folder.path().join("var")));
    execute(server.url(), "CREATE TABLE kept AS SELECT 42::bigint AS n");
    drop(server);
    assert_eq!(fs::metadata(&root_only).unwrap().mode() & 0o777, 0o700, "opened a folder that is not ours");

    let server = Embedded::start(&data_dir, &options).unwrap();
    assert_eq!(query(server.url(), "SELECT n FROM kept"), Ok(42));
    drop(server);

    // A lost database is never replaced by an empty one in silence.
    fs::remove_dir_all(folder.path().join("var")).unwrap();
    let error = Embedded::start(&data_dir, &options).unwrap_err();
    assert!(matches!(error, EmbeddedError::PlaceGone { .. }), "{error}");
    fs::remove_file(data_dir.join("postgres/place")).unwrap();
    drop(Embedded::start(&data_dir, &options).unwrap());
}
