//! A server under test: started, asked, stopped or killed, and what it answers.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::harness::signal;

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

    /// Sends any method with headers and a body.
    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Answer {
        let mut request = ureq::http::Request::builder().method(method).uri(format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Answer::of(self.agent.run(request.body(body.as_ref()).unwrap()).unwrap())
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

/// Somebody with a token: a member of staff's session or key, or a claimant's.
pub struct Client<'a> {
    pub server: &'a Server,
    pub token: String,
}

impl Client<'_> {
    pub fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], "")
    }

    /// Sends a JSON document under a fresh Idempotency-Key.
    pub fn post_once(&self, path: &str, body: &Value) -> Answer {
        let key = fresh_key();
        let headers = [("content-type", "application/json"), ("idempotency-key", key.as_str())];
        self.send("POST", path, &headers, body.to_string())
    }

    /// Sends anything.
    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Answer {
        let bearer = format!("Bearer {}", self.token);
        let headers: Vec<_> = headers.iter().copied().chain([("authorization", bearer.as_str())]).collect();
        self.server.send(method, path, &headers, body)
    }
}

/// A text that no other call returns.
fn fresh_key() -> String {
    static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    format!("{}-{count}", std::process::id())
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
