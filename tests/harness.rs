//! One PostgreSQL for the whole run, a database of its own for every test, and the same questions at every test's end.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

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
        let redress = Self::new();
        body(&redress);
        redress.assert_settled();
    }

    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let folder = std::env::temp_dir().join("redress-tests");
        let server = Embedded::start(&folder, &Options::for_tests()).expect("the tests' PostgreSQL starts");
        let template = template(&server);
        let database = format!("test_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let mut owner = PgConnection::establish(&server.url_for(Role::Owner, "postgres")).unwrap();
        // A test process of an earlier run may have had this number and died.
        owner.batch_execute(&format!("DROP DATABASE IF EXISTS {database} WITH (FORCE)")).unwrap();
        owner.batch_execute(&format!("CREATE DATABASE {database} TEMPLATE {template}")).unwrap();
        let url = server.url_for(Role::Owner, &database);
        Self { folder: tempfile::tempdir().unwrap(), database, url, server }
    }

    /// The command with this installation's flags.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.arg("--data-dir").arg(self.folder.path()).args(args).current_dir(repository());
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("REDRESS_")) {
            command.env_remove(name);
        }
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

    /// Where the owner connects.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The single number that a query answers with.
    pub fn number(&self, query: &str) -> i64 {
        #[derive(QueryableByName)]
        struct Row {
            #[diesel(sql_type = BigInt)]
            number: i64,
        }
        let query = format!("SELECT ({query})::bigint AS number");
        diesel::sql_query(query).get_result::<Row>(&mut self.owner()).unwrap().number
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
        for (name, role) in
            [("author", "policy_author"), ("approver", "policy_approver"), ("finance", "finance"), ("finance-2", "finance")]
        {
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
            self.run(&["budget", verb, "--incident", INCIDENT, "--service", service, "--asset", asset, "--amount", amount, "--as", by])
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
        assert_eq!(self.number("SELECT count(*) FROM notice WHERE state = 'queued' AND next_at <= now()"), 0, "a notice is stuck");
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

    /// It must exit so and say this in one line on stderr.
    #[track_caller]
    pub fn fails(self, code: i32, says: &str) -> Self {
        assert_eq!(self.code, Some(code), "redress {}\n{}\n{}", self.called, self.stdout, self.stderr);
        assert!(self.stderr.contains(says), "redress {}\nsays {}\nnot  {says}", self.called, self.stderr);
        self
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
}

impl Server {
    pub fn start(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut said = Vec::new();
        let url = loop {
            let Some(line) = lines.next().transpose().unwrap() else {
                panic!("the server ended before it served: {}", said.join("\n"));
            };
            if let Some(at) = line.find("http://").filter(|_| line.contains("serving")) {
                break line[at..].split_whitespace().next().unwrap().to_owned();
            }
            said.push(line);
        };
        // The pipe must be read on, or a talkative server would stand still.
        std::thread::spawn(move || lines.for_each(drop));
        let agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        Self { url, child, agent }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to stop and waits; returns the exit code.
    pub fn stop(mut self) -> Option<i32> {
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.child.wait().unwrap().code()
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
        let request = ureq::http::Request::builder().method(method).uri(format!("{}{path}", self.url)).body(()).unwrap();
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
    fn of(mut response: ureq::http::Response<ureq::Body>) -> Self {
        let body = response.body_mut().with_config().limit(100 << 20).read_to_vec().unwrap();
        Self { status: response.status().as_u16(), headers: response.headers().clone(), body }
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
