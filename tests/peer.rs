//! A service that is told over HTTP: it verifies signatures as Standard Webhooks says, knows a call again by its
//! `webhook-id`, and refuses, stalls, fails and hangs up as a test wants it to.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

/// How it treats the next calls.
#[derive(Clone, Debug, PartialEq)]
pub enum Mood {
    /// Grants all and says so: 204.
    Grant,
    /// Grants all but what these results say otherwise, and answers with them.
    Results(Value),
    /// Says that it will say later: 202.
    Later,
    /// Grants, and hangs up without a word.
    HangUpAfter,
    /// Takes the call and hangs up without having granted anything.
    HangUpBefore,
    /// Takes the call and says nothing until the caller gives up.
    Stall,
    /// Answers with this status, content type and body, and grants nothing.
    Say(u16, &'static str, &'static str),
}

/// A call as it came.
#[derive(Clone, Debug)]
pub struct Call {
    pub id: String,
    pub timestamp: i64,
    pub signatures: Vec<String>,
    pub body: Vec<u8>,
}

impl Call {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Whether one of its signatures is the secret's, and its time is now.
    pub fn is_signed_with(&self, secret: &str) -> bool {
        let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
        mac.update(format!("{}.{}.", self.id, self.timestamp).as_bytes());
        mac.update(&self.body);
        let expected = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
        (chrono::Utc::now().timestamp() - self.timestamp).abs() < 300 && self.signatures.contains(&expected)
    }
}

#[derive(Default)]
struct Known {
    calls: Vec<Call>,
    /// What was answered under an id that was granted.
    answers: BTreeMap<String, Vec<u8>>,
    /// How often each credit was granted, by customer and credit.
    granted: BTreeMap<(String, String), u32>,
}

pub struct Peer {
    pub url: String,
    mood: Arc<Mutex<Mood>>,
    known: Arc<Mutex<Known>>,
}

impl Peer {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let peer = Self { url, mood: Arc::new(Mutex::new(Mood::Grant)), known: Arc::default() };
        let (mood, known) = (Arc::clone(&peer.mood), Arc::clone(&peer.known));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (mood, known) = (Arc::clone(&mood), Arc::clone(&known));
                // A caller that goes away in the middle ends its own thread only.
                std::thread::spawn(move || drop(converse(stream, &mood, &known)));
            }
        });
        peer
    }

    pub fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    /// As long as it is held, nobody gets an answer.
    pub fn hold(&self) -> MutexGuard<'_, Mood> {
        self.mood.lock().unwrap()
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap()
    }

    /// Every call so far.
    pub fn calls(&self) -> Vec<Call> {
        self.known().calls.clone()
    }

    /// How often each credit was granted.
    pub fn granted(&self) -> BTreeMap<(String, String), u32> {
        self.known().granted.clone()
    }
}

fn converse(stream: TcpStream, mood: &Mutex<Mood>, known: &Mutex<Known>) -> std::io::Result<()> {
    let mut answer = stream.try_clone()?;
    let mut reader = BufReader::new(stream);
    loop {
        let Some(call) = read_call(&mut reader)? else { return Ok(()) };
        let mood = mood.lock().unwrap().clone();
        let reply = {
            let mut known = known.lock().unwrap();
            known.calls.push(call.clone());
            respond(&mut known, &call, &mood)
        };
        match reply {
            Some(reply) => answer.write_all(&reply)?,
            None if mood == Mood::Stall => return reader.take(1).read_to_end(&mut Vec::new()).map(drop),
            None => return Ok(()),
        }
    }
}

fn read_call(reader: &mut BufReader<TcpStream>) -> std::io::Result<Option<Call>> {
    let mut headers: BTreeMap<String, String> = BTreeMap::new();
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    assert!(line.starts_with("POST /hook HTTP/1.1"), "{line}");
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length: usize = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let header = |name: &str| headers.get(name).cloned().unwrap_or_default();
    assert_eq!(header("content-type"), "application/json");
    Ok(Some(Call {
        id: header("webhook-id"),
        timestamp: header("webhook-timestamp").parse().unwrap(),
        signatures: header("webhook-signature").split(' ').map(str::to_owned).collect(),
        body,
    }))
}

fn http(status: u16, kind: &str, body: &str) -> Vec<u8> {
    let length = if status == 204 { String::new() } else { format!("content-length: {}\r\n", body.len()) };
    let location = if (300..400).contains(&status) { "location: http://127.0.0.1:1/elsewhere\r\n" } else { "" };
    format!("HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\n{length}{location}\r\n{body}").into_bytes()
}

/// What is answered; none hangs up.
fn respond(known: &mut Known, call: &Call, mood: &Mood) -> Option<Vec<u8>> {
    let grants = match mood {
        Mood::HangUpBefore | Mood::Stall => return None,
        Mood::Say(status, kind, body) => return Some(http(*status, kind, body)),
        Mood::Later => return Some(http(202, "application/json", "")),
        Mood::Grant | Mood::HangUpAfter => json!([]),
        Mood::Results(results) => results.clone(),
    };
    if let Some(answer) = known.answers.get(&call.id) {
        return Some(answer.clone());
    }
    let refused: Vec<&str> = grants
        .as_array()
        .unwrap()
        .iter()
        .filter(|result| result["status"] == "refused")
        .map(|result| result["credit"].as_str().unwrap())
        .collect();
    for credit in call.json()["data"]["credits"].as_array().into_iter().flatten() {
        let text = |name: &str| credit[name].as_str().unwrap().to_owned();
        if !refused.contains(&text("id").as_str()) {
            *known.granted.entry((text("customer"), text("id"))).or_default() += 1;
        }
    }
    let answer = match mood {
        Mood::Results(results) => http(200, "application/json", &json!({ "results": results }).to_string()),
        _ => http(204, "text/plain", ""),
    };
    known.answers.insert(call.id.clone(), answer.clone());
    (*mood != Mood::HangUpAfter).then_some(answer)
}
