//! One PostgreSQL for the whole run, a database of its own for every test, and the same questions at every test's end.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};
use redress_store::embedded::{Embedded, Options, Role};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_redress");
/// The incident of the tests.
pub const INCIDENT: &str = "kakao-2022-10-15";

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
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let folder = std::env::temp_dir().join("redress-tests");
        let server = Embedded::start(&folder, &Options::for_tests()).expect("the tests' PostgreSQL starts");
        let template = if migrated { template(&server) } else { "template0".to_owned() };
        let database = format!("test_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let mut owner = PgConnection::establish(&server.url_for(Role::Owner, "postgres")).unwrap();
        // A test process of an earlier run may have had this number and died.
        owner.batch_execute(&format!("DROP DATABASE IF EXISTS {database} WITH (FORCE)")).unwrap();
        owner.batch_execute(&format!("CREATE DATABASE {database} TEMPLATE {template}")).unwrap();
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

    /// The same to another database of the server.
    pub fn owner_of(&self, database: &str) -> PgConnection {
        PgConnection::establish(&self.server.url_for(Role::Owner, database)).unwrap()
    }

    /// Where the owner connects.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The single number that a query answers with.
    pub fn number(&self, query: &str) -> i64 {
        number(&mut self.owner(), query)
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
    fn assert_settled(&self) {
        self.run(&["verify"]).succeeds();
        assert_eq!(self.number("SELECT count(*) FROM run WHERE state = 'running'"), 0, "a run is stuck");
        assert_eq!(self.number("SELECT count(*) FROM claim WHERE state = 'submitted'"), 0, "a claim is stuck");
        self.run(&["notify"]).succeeds();
        assert_eq!(
            self.number("SELECT count(*) FROM notice WHERE state = 'queued' AND next_at <= now()"),
            0,
            "a notice is stuck"
        );
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

/// What a command did.
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    called: String,
}

impl Ran {
    pub fn of(output: Output, args: &[&str]) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
            called: args.join(" "),
        }
    }

    #[track_caller]
    pub fn succeeds(self) -> Self {
        assert_eq!(self.code, Some(0), "redress {}\n{}\n{}", self.called, self.stdout, self.stderr);
        self
    }

    /// It must exit so and say this on stderr.
    #[track_caller]
    pub fn fails(self, code: i32, says: &str) -> Self {
        assert_eq!(self.code, Some(code), "redress {}\n{}\n{}", self.called, self.stdout, self.stderr);
        assert!(self.stderr.contains(says), "redress {}\nsays {}\nnot  {says}", self.called, self.stderr);
        assert!(!self.stderr.contains("panicked"), "redress {}\n{}", self.called, self.stderr);
        self
    }

    /// It must exit with 1, say this in one line on stderr, and nothing on stdout.
    #[track_caller]
    pub fn refuses(self, says: &str) -> Self {
        let ran = self.fails(1, says);
        assert_eq!(ran.stderr.lines().count(), 1, "redress {}\n{}", ran.called, ran.stderr);
        assert!(ran.stderr.starts_with("redress: "), "redress {}\n{}", ran.called, ran.stderr);
        assert_eq!(ran.stdout, "", "redress {}", ran.called);
        ran
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}", self.stdout))
    }
}

/// A running server; killed when it is dropped, unless it was stopped.
pub struct Server {
    pub url: String,
    child: Child,
    agent: ureq::Agent,
    said: Arc<Mutex<String>>,
    reader: Option<std::thread::JoinHandle<()>>,
}

impl Server {
    pub fn start(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let said = Arc::new(Mutex::new(String::new()));
        let url = loop {
            let Some(line) = lines.next().transpose().unwrap() else {
                panic!("the server ended before it served: {}", said.lock().unwrap());
            };
            if let Some(at) = line.find("http://").filter(|_| line.contains("serving")) {
                break line[at..].split_whitespace().next().unwrap().to_owned();
            }
            said.lock().unwrap().push_str(&(line + "\n"));
        };
        // The pipe must be read on, or a talkative server would stand still.
        let log = Arc::clone(&said);
        let reader = std::thread::spawn(move || {
            lines.map_while(Result::ok).for_each(|line| log.lock().unwrap().push_str(&(line + "\n")));
        });
        let agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        Self { url, child, agent, said, reader: Some(reader) }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Kills it with -9 and returns what it logged.
    pub fn kill(mut self) -> String {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.reader.take().unwrap().join().unwrap();
        self.log()
    }

    /// Asks it to stop, without waiting.
    pub fn ask_to_stop(&self) {
        signal(self.child.id(), rustix::process::Signal::TERM);
    }

    /// Asks it to stop and waits; returns the exit code.
    pub fn stop(mut self) -> Option<i32> {
        self.ask_to_stop();
        self.child.wait().unwrap().code()
    }

    /// Sends a request, which the server may die of.
    pub fn try_claim(&self, key: &str, claim: &Value) -> Option<Answer> {
        let request = self.agent.post(format!("{}/v1/claims", self.url));
        let request = request.header("content-type", "application/json").header("idempotency-key", key);
        Answer::try_of(request.send(claim.to_string()).ok()?)
    }

    pub fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = self.agent.get(format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Answer::of(request.call().unwrap())
    }

    pub fn post(&self, path: &str, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Answer {
        let mut request = self.agent.post(format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Answer::of(request.send(body.as_ref()).unwrap())
    }

    /// Sends any method without a body.
    pub fn call(&self, method: &str, path: &str) -> Answer {
        let request =
            ureq::http::Request::builder().method(method).uri(format!("{}{path}", self.url)).body(()).unwrap();
        Answer::of(self.agent.run(request).unwrap())
    }

    /// Files a claim under a key.
    pub fn claim(&self, key: &str, claim: &Value) -> Answer {
        let headers = [("content-type", "application/json"), ("idempotency-key", key)];
        self.post("/v1/claims", &headers, claim.to_string())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An answer over HTTP.
pub struct Answer {
    pub status: u16,
    pub headers: ureq::http::HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    fn of(response: ureq::http::Response<ureq::Body>) -> Self {
        Self::try_of(response).unwrap()
    }

    fn try_of(mut response: ureq::http::Response<ureq::Body>) -> Option<Self> {
        let body = response.body_mut().with_config().limit(100 << 20).read_to_vec().ok()?;
        Some(Self { status: response.status().as_u16(), headers: response.headers().clone(), body })
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// It must be a problem (RFC 9457) with this status and code.
    #[track_caller]
    pub fn is_problem(&self, status: u16, code: &str) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.header("content-type"), "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["code"], code, "{problem}");
        assert_eq!(problem["status"], status);
        problem
    }
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
