//! One PostgreSQL for the whole run, a database of its own for every test, and the same questions at every test's end.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};
use redress_store::embedded::{Embedded, Options, Role};
use serde_json::{Value, json};
use tempfile::TempDir;

mod ran;

pub use self::ran::Ran;
pub use crate::server::{Answer, Client, Server};

/// The program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_redress");
/// The incident of the tests.
pub const INCIDENT: &str = "kakao-2022-10-15";
const WAITING_FOR_LOCKS: &str =
    "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()";

/// The top folder of the repository.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The program on a data folder, with nothing of the tester's own settings.
fn program(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(args).current_dir(repository()).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("REDRESS_") && name != "REDRESS_POSTGRES_BIN" {
            command.env_remove(name);
        }
    }
    command.env("REDRESS_DATA_DIR", folder);
    command
}

/// A number, the same for every call of a test that is given its seed: `REDRESS_TEST_SEED=…`.
pub struct Random(u64);

impl Random {
    /// The seed comes from the environment or the clock, and is printed, so that a failure can be played again.
    pub fn new(test: &str) -> Self {
        let given = std::env::var("REDRESS_TEST_SEED").ok().and_then(|text| text.parse().ok());
        let seed = given.unwrap_or_else(|| {
            let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
            u64::from(since.subsec_nanos()) ^ u64::from(std::process::id()) << 32
        });
        println!("{test}: play it again with REDRESS_TEST_SEED={seed}");
        Self(seed)
    }

    /// A number below `bound` (SplitMix64).
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

/// An installation with a private database of its own, durable as a user's.
pub struct Private {
    pub folder: TempDir,
}

impl Private {
    /// An empty data folder that the database's account can reach.
    pub fn new() -> Self {
        use std::os::unix::fs::PermissionsExt;
        let open = std::fs::Permissions::from_mode(0o755);
        Self { folder: tempfile::Builder::new().prefix("redress-private-").permissions(open).tempdir().unwrap() }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The command on this folder.
    pub fn command(&self, args: &[&str]) -> Command {
        program(self.path(), args)
    }

    /// Runs a command.
    pub fn run(&self, args: &[&str]) -> Ran {
        Ran::of(self.command(args).output().unwrap(), args)
    }

    /// Runs a command that must succeed, and returns its JSON document.
    pub fn json(&self, args: &[&str]) -> Value {
        let args: Vec<&str> = args.iter().copied().chain(["--format", "json"]).collect();
        self.run(&args).succeeds().json()
    }

    /// Starts the server.
    pub fn serve(&self) -> Server {
        Server::start(self.command(&["serve", "--listen", "127.0.0.1:0"]))
    }

    /// Joins the private database, or starts it; the last to leave stops it.
    pub fn database(&self) -> Embedded {
        Embedded::start(self.path(), &Options::default()).unwrap()
    }

    /// Does something to the database as its owner.
    pub fn sql(&self, statements: &str) {
        let database = self.database();
        let mut owner = PgConnection::establish(database.url()).unwrap();
        owner.batch_execute(statements).unwrap();
    }

    /// The single number that a query answers with.
    pub fn number(&self, query: &str) -> i64 {
        let database = self.database();
        number(&mut PgConnection::establish(database.url()).unwrap(), query)
    }

    /// How many transactions wait for another's lock.
    pub fn waiting_for_locks(&self) -> i64 {
        self.number(WAITING_FOR_LOCKS)
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        // Where a test killed the program, its database goes on.
        let _ = Embedded::remove(self.path(), &Options::default());
    }
}

fn number(connection: &mut PgConnection, query: &str) -> i64 {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        number: i64,
    }
    let query = format!("SELECT ({query})::bigint AS number");
    diesel::sql_query(query).get_result::<Row>(connection).unwrap().number
}

/// Sends a signal to a process, which may be gone already.
pub fn signal(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    let _ = rustix::process::kill_process(pid, signal);
}

/// Waits until something holds; the bound is only there so that a failing test ends.
#[track_caller]
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while !holds() {
        assert!(std::time::Instant::now() < deadline, "waited in vain until {what}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

/// One installation under test, with a database cloned from a migrated template.
pub struct Redress {
    pub folder: TempDir,
    database: String,
    url: String,
    server: Embedded,
}

impl Redress {
    /// Runs a test; when it ends, the books must hold and nothing may be stuck.
    pub fn test(body: impl FnOnce(&Self)) {
        let redress = Self::new(true);
        body(&redress);
        redress.assert_settled();
    }

    /// The same on a database that was never migrated.
    pub fn test_on_empty_database(body: impl FnOnce(&Self)) {
        let redress = Self::new(false);
        body(&redress);
        redress.assert_settled();
    }

    fn new(migrated: bool) -> Self {
        let server = test_server();
        let template = if migrated { template(&server) } else { "template0".to_owned() };
        Self::from_template(server, &template)
    }

    /// An installation whose database has nothing in it; nobody asks it how it ends.
    pub fn empty() -> Self {
        Self::new(false)
    }

    /// Another installation that is as this one is now, with the same keys; nobody asks it how it ends.
    pub fn copy(&self) -> Self {
        let copy = Self::from_template(test_server(), &self.database);
        let secrets = copy.folder.path().join("secrets");
        std::fs::create_dir(&secrets).unwrap();
        for key in ["master.key", "signing.key"] {
            std::fs::copy(self.folder.path().join("secrets").join(key), secrets.join(key)).unwrap();
        }
        copy
    }

    fn from_template(server: Embedded, template: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let database = format!("test_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let mut owner = PgConnection::establish(&server.url_for(Role::Owner, "postgres")).unwrap();
        // A test process of an earlier run may have had this number and died.
        owner.batch_execute(&format!("DROP DATABASE IF EXISTS {database} WITH (FORCE)")).unwrap();
        // The connections of a command that has just ended may still be closing.
        wait_until("the template is free", || {
            owner.batch_execute(&format!("CREATE DATABASE {database} TEMPLATE {template}")).is_ok()
        });
        let url = server.url_for(Role::Owner, &database);
        Self { folder: tempfile::Builder::new().prefix("redress-test-").tempdir().unwrap(), database, url, server }
    }

    /// The command with this installation's flags.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = program(self.folder.path(), args);
        command.env("REDRESS_DATABASE_URL", &self.url);
        command
    }

    /// Runs a command.
    pub fn run(&self, args: &[&str]) -> Ran {
        Ran::of(self.command(args).output().unwrap(), args)
    }

    /// Runs a command that must succeed, and returns its JSON document.
    pub fn json(&self, args: &[&str]) -> Value {
        let args: Vec<&str> = args.iter().copied().chain(["--format", "json"]).collect();
        self.run(&args).succeeds().json()
    }

    /// Runs a command with a line on its stdin.
    pub fn run_with_input(&self, args: &[&str], input: &str) -> Ran {
        let mut command = self.command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        writeln!(child.stdin.take().unwrap(), "{input}").unwrap();
        Ran::of(child.wait_with_output().unwrap(), args)
    }

    /// Starts the server.
    pub fn serve(&self) -> Server {
        self.serve_with(&[])
    }

    /// Starts the server with more environment.
    pub fn serve_with(&self, environment: &[(&str, &str)]) -> Server {
        let mut command = self.command(&["serve", "--listen", "127.0.0.1:0"]);
        command.envs(environment.iter().copied());
        Server::start(command)
    }

    /// A connection with the rights of the owner, to look behind the door or to break something on purpose.
    pub fn owner(&self) -> PgConnection {
        PgConnection::establish(&self.url).unwrap()
    }

    /// Where the owner connects.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The same to another database of the server.
    pub fn owner_of(&self, database: &str) -> PgConnection {
        PgConnection::establish(&self.server.url_for(Role::Owner, database)).unwrap()
    }

    /// The single number that a query answers with.
    pub fn number(&self, query: &str) -> i64 {
        number(&mut self.owner(), query)
    }

    /// How many transactions wait for another's lock.
    pub fn waiting_for_locks(&self) -> i64 {
        self.number(WAITING_FOR_LOCKS)
    }

    /// Does something to the database as its owner.
    pub fn sql(&self, statements: &str) {
        self.owner().batch_execute(statements).unwrap();
    }

    /// What the database says to statements given by the role that the server works as.
    pub fn sql_as_app(&self, statements: &str) -> Result<(), String> {
        let mut connection = self.owner();
        connection.batch_execute("SET ROLE redress_app").unwrap();
        connection.batch_execute(statements).map_err(|error| error.to_string())
    }

    /// The single text that a query answers with.
    pub fn text(&self, query: &str) -> String {
        #[derive(QueryableByName)]
        struct Row {
            #[diesel(sql_type = Text)]
            text: String,
        }
        let query = format!("SELECT ({query})::text AS text");
        diesel::sql_query(query).get_result::<Row>(&mut self.owner()).unwrap().text
    }

    /// Writes a file into the data folder and returns its path.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.display().to_string()
    }

    /// Loads the incident of 2022.
    pub fn with_incident(&self) -> &Self {
        self.run(&["incident", "load", &format!("policies/incidents/{INCIDENT}.toml")]).succeeds();
        self
    }

    /// Adds the staff of the tests: `author`, `approver`, `finance`, `finance-2`.
    pub fn with_staff(&self) -> &Self {
        for (name, role) in [
            ("author", "policy_author"),
            ("approver", "policy_approver"),
            ("finance", "finance"),
            ("finance-2", "finance"),
        ] {
            self.run(&["staff", "add", name, "--role", role]).succeeds();
        }
        self
    }

    /// Somebody signed in, in a role: adds the member where there is none of that name, and starts a session whose second
    /// factor is fresh. The front door to this is tested in `staff.rs`; here it would cost a password hash a test.
    pub fn client<'a>(&self, server: &'a Server, name: &str, role: &str) -> Client<'a> {
        if self.number(&format!("SELECT count(*) FROM staff WHERE name = '{name}'")) == 0 {
            self.run(&["staff", "add", name, "--role", role]).succeeds();
        }
        self.session(server, name)
    }

    /// A session of somebody who is a member already.
    pub fn session<'a>(&self, server: &'a Server, name: &str) -> Client<'a> {
        let token = format!("redress_session_{}", self.text("replace(gen_random_uuid()::text, '-', '')"));
        self.sql(&format!(
            "INSERT INTO session (id, token_hash, staff, method, started_at, seen_at, verified_at, ends_at) VALUES
             (gen_random_uuid(), sha256('{token}'), '{name}', 'password', now(), now(), now(), now() + interval '12 hours')"
        ));
        Client { server, token }
    }

    /// Publishes and approves policies of the repository.
    pub fn with_policies(&self, names: &[&str]) -> &Self {
        for name in names {
            let file = format!("policies/{name}.toml");
            self.run(&["policy", "publish", &file, "--as", "author"]).succeeds();
            self.run(&["policy", "approve", &file, "--as", "approver"]).succeeds();
        }
        self
    }

    /// Authorises and approves a budget.
    pub fn with_budget(&self, service: &str, asset: &str, amount: &str) -> &Self {
        for (verb, by) in [("authorise", "finance"), ("approve", "finance-2")] {
            self.run(&[
                "budget",
                verb,
                "--incident",
                INCIDENT,
                "--service",
                service,
                "--asset",
                asset,
                "--amount",
                amount,
                "--as",
                by,
            ])
            .succeeds();
        }
        self
    }

    /// Issues, and returns the report.
    pub fn issue(&self) -> Value {
        self.json(&["issue", "--incident", INCIDENT])
    }

    /// What must be true when any test ends.
    pub fn assert_settled(&self) {
        self.run(&["verify"]).succeeds();
        assert_eq!(self.number("SELECT count(*) FROM run WHERE state = 'running'"), 0, "a run is stuck");
        assert_eq!(self.number("SELECT count(*) FROM claim WHERE state = 'submitted'"), 0, "a claim is stuck");
        self.run(&["notify"]).succeeds();
        assert_eq!(
            self.number("SELECT count(*) FROM notice WHERE state = 'queued' AND next_at <= now()"),
            0,
            "a notice is stuck"
        );
        assert_eq!(
            self.number(
                "SELECT count(*) FROM delivery JOIN webhook USING (service_id)
                 WHERE state IN ('queued', 'awaiting') AND next_at <= now() AND purpose = 'deliveries'
                   AND disabled_at IS NULL AND retry_at IS NULL"
            ),
            0,
            "a delivery is stuck"
        );
        let messages = "SELECT count(*) FROM webhook_message AS m JOIN webhook ON webhook.id = m.webhook_id
                        WHERE m.state = 'queued' AND m.next_at <= now() AND webhook.retry_at IS NULL";
        if self.number(messages) > 0 {
            self.run(&["deliver"]);
            assert_eq!(self.number(messages), 0, "a message to a webhook is stuck");
        }
    }
}

impl Drop for Redress {
    fn drop(&mut self) {
        let owner = PgConnection::establish(&self.server.url_for(Role::Owner, "postgres"));
        if let Ok(mut owner) = owner {
            // Left behind, it would only take room until the next run; a failing test must not fail twice.
            let _ = owner.batch_execute(&format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.database));
        }
    }
}

/// The PostgreSQL that all tests share.
fn test_server() -> Embedded {
    let folder = std::env::temp_dir().join("redress-tests");
    Embedded::start(&folder, &Options::for_tests()).expect("the tests' PostgreSQL starts")
}

/// The migrated template, made once for each state of the migrations.
fn template(server: &Embedded) -> String {
    let name = format!("template_{:016x}", fingerprint());
    let mut owner = PgConnection::establish(&server.url_for(Role::Owner, "postgres")).unwrap();
    owner.batch_execute("SELECT pg_advisory_lock(1)").unwrap();
    let made: bool = diesel::select(diesel::dsl::sql::<diesel::sql_types::Bool>(&format!(
        "EXISTS (SELECT FROM pg_database WHERE datname = '{name}' AND datistemplate)"
    )))
    .get_result(&mut owner)
    .unwrap();
    if !made {
        owner.batch_execute(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).unwrap();
        owner.batch_execute(&format!("CREATE DATABASE {name}")).unwrap();
        let mut fresh = PgConnection::establish(&server.url_for(Role::Owner, &name)).unwrap();
        redress_store::migrations::run(&mut fresh).unwrap();
        drop(fresh);
        owner.batch_execute(&format!("ALTER DATABASE {name} IS_TEMPLATE true")).unwrap();
    }
    owner.batch_execute("SELECT pg_advisory_unlock(1)").unwrap();
    name
}

/// A number for the state of all migrations: another state gets another template.
fn fingerprint() -> u64 {
    use std::hash::{DefaultHasher, Hasher};
    let mut files: Vec<PathBuf> = std::fs::read_dir(repository().join("migrations"))
        .unwrap()
        .map(|entry| entry.unwrap().path().join("up.sql"))
        .collect();
    files.sort();
    let mut hasher = DefaultHasher::new();
    files.iter().for_each(|file| hasher.write(&std::fs::read(file).unwrap()));
    hasher.finish()
}

/// A merchant's claim for a loss.
pub fn merchant_claim(customer: &str, loss: &str) -> Value {
    json!({
        "incident": INCIDENT, "service": "kakaotalk", "customer": customer, "facts": { "loss": loss },
        "description": "주문 알림을 받지 못했습니다.",
        "contact": { "email": format!("{customer}@example.com"), "language": "ko" },
    })
}

/// A roster with an account for each of these customers, merchants all.
pub fn merchants(customers: &[&str]) -> String {
    let mut roster = String::from("customer,service,reference,kind,merchant\n");
    for customer in customers {
        roster.push_str(&format!("{customer},kakaotalk,account-{customer},account,true\n"));
    }
    roster
}
