//! The operator's keys by URL: a small server of the test's own, over HTTPS, that serves, changes, fails and stands still.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use rustls::ServerConfig;
use serde_json::{Value, json};

use super::{KEY, Key, NEXT, changed, claims_of, file_as, get, now, with_merchants, without};
use crate::harness::{Redress, Server};
use crate::tls::{Authority, Wire};

/// What the server of keys does when it is asked.
#[derive(Clone)]
enum Mood {
    Serve(Value),
    Fail,
    /// Sends whoever asks to somewhere else.
    Redirect(String),
    /// Takes the connection and says nothing.
    Stall,
    /// Sends more than anybody should read.
    Flood,
}

struct KeyServer {
    url: String,
    mood: Arc<Mutex<Mood>>,
    asked: Arc<Mutex<usize>>,
}

impl KeyServer {
    fn start(certificate: &Arc<ServerConfig>, mood: Mood) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://{}/keys", listener.local_addr().unwrap());
        let server = Self { url, mood: Arc::new(Mutex::new(mood)), asked: Arc::default() };
        let (mood, asked, certificate) = (Arc::clone(&server.mood), Arc::clone(&server.asked), Arc::clone(certificate));
        // It ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (mood, asked, certificate) = (Arc::clone(&mood), Arc::clone(&asked), Arc::clone(&certificate));
                // Whoever asked may be gone.
                std::thread::spawn(move || drop(answer(stream, &certificate, &mood, &asked)));
            }
        });
        server
    }

    fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    fn asked(&self) -> usize {
        *self.asked.lock().unwrap()
    }
}

fn answer(
    stream: TcpStream,
    certificate: &Arc<ServerConfig>,
    mood: &Mutex<Mood>,
    asked: &Mutex<usize>,
) -> std::io::Result<()> {
    let mut wire = BufReader::new(Wire::Clear(stream).secured(certificate));
    let mut line = String::new();
    while wire.read_line(&mut line)? > 0 && line != "\r\n" {
        line.clear();
    }
    *asked.lock().unwrap() += 1;
    let mood = mood.lock().unwrap().clone();
    let (head, body) = match mood {
        Mood::Serve(keys) => ("200 OK\r\ncontent-type: application/json".to_owned(), keys.to_string()),
        Mood::Fail => ("500 No".to_owned(), "{}".to_owned()),
        Mood::Redirect(to) => (format!("302 Found\r\nlocation: {to}"), String::new()),
        Mood::Stall => return wire.take(1).read_to_end(&mut Vec::new()).map(drop),
        Mood::Flood => ("200 OK".to_owned(), format!("{{\"keys\":[{}]}}", " ".repeat(100_000))),
    };
    let wire = wire.get_mut();
    let length = body.len();
    wire.write_all(
        format!("HTTP/1.1 {head}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}").as_bytes(),
    )?;
    wire.flush()
}

fn set_of(keys: &[&Key]) -> Mood {
    Mood::Serve(json!({ "keys": keys.iter().map(|key| key.jwk()).collect::<Vec<_>>() }))
}

fn serve(redress: &Redress, keys: &KeyServer, authority: &Authority) -> Server {
    let trusted = redress.file("ca.pem", authority.pem());
    redress.serve_with(&[
        ("REDRESS_CUSTOMER_KEYS", &keys.url),
        ("REDRESS_CUSTOMER_AUDIENCE", "redress"),
        ("REDRESS_CUSTOMER_ISSUER", "https://id.example"),
        ("REDRESS_CA_FILE", &trusted),
    ])
}

/// How somebody's own list of claims is answered.
fn listed(server: &Server, token: &str) -> u16 {
    get(server, "/v1/claimants/claims", token).status
}

#[test]
fn keys_are_fetched_once_and_again_when_a_token_names_a_new_one() {
    Redress::test(|redress| {
        with_merchants(redress);
        let authority = Authority::new();
        let keys = KeyServer::start(&authority.vouches_for("127.0.0.1"), set_of(&[&KEY]));
        let server = serve(redress, &keys, &authority);
        assert_eq!(keys.asked(), 0, "nothing is fetched before the first token");
        let mine = KEY.sign(&claims_of("m-1"));
        // The first tokens come at the same moment, and wait for one fetch.
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| listed(&server, &mine))).collect();
            assert!(threads.into_iter().all(|thread| thread.join().unwrap() == 200));
        });
        assert_eq!(keys.asked(), 1);
        assert_eq!(file_as(&server, "a", "m-1", Some(&mine)).status, 201);
        for (token, why) in [
            (KEY.sign(&changed("aud", json!("another"))), "meant for somebody else"),
            (KEY.sign(&changed("exp", json!(now() - 3600))), "expired"),
            (KEY.sign(&without("exp")), "lacks"),
        ] {
            let problem = get(&server, "/v1/claimants/claims", &token).is_problem(401, "unauthorised");
            assert!(problem["detail"].as_str().unwrap().contains(why), "{problem}");
        }
        assert_eq!(keys.asked(), 1, "a known key is not fetched again");
        // Made-up keys cause a fetch, and no other for five seconds.
        let unknown = Key { id: "made-up", seed: [3; 32] };
        let mut refused = 0;
        let started = Instant::now();
        crate::harness::wait_until("it is fetched for a made-up key", || {
            refused += 1;
            get(&server, "/v1/claimants/claims", &unknown.sign(&claims_of("m-1"))).is_problem(401, "unauthorised");
            keys.asked() > 1
        });
        for _ in 0..20 {
            get(&server, "/v1/claimants/claims", &unknown.sign(&claims_of("m-1"))).is_problem(401, "unauthorised");
        }
        let most = 1 + started.elapsed().as_secs() / 5;
        assert!(keys.asked() as u64 <= 1 + most, "{} fetches for {} made-up keys", keys.asked() - 1, refused + 20);
        // The operator's keys change: the new one is known within seconds, the old one is good no more.
        keys.set(set_of(&[&NEXT]));
        let renewed = NEXT.sign(&claims_of("m-1"));
        crate::harness::wait_until("the new key is known", || listed(&server, &renewed) == 200);
        assert_eq!(listed(&server, &mine), 401);
    });
}

#[test]
fn a_server_of_keys_that_fails_keeps_nobody_out_who_was_known() {
    Redress::test(|redress| {
        with_merchants(redress);
        let authority = Authority::new();
        let keys = KeyServer::start(&authority.vouches_for("127.0.0.1"), Mood::Fail);
        let server = serve(redress, &keys, &authority);
        let mine = KEY.sign(&claims_of("m-1"));
        // Before any key is known nobody can be told from anybody: it is our fault, not the token's.
        let elsewhere = KeyServer::start(&authority.vouches_for("127.0.0.1"), set_of(&[&KEY]));
        for mood in [Mood::Fail, Mood::Flood, Mood::Redirect(elsewhere.url.clone()), Mood::Serve(json!([]))] {
            keys.set(mood);
            let asked = keys.asked();
            crate::harness::wait_until("it was asked again", || {
                get(&server, "/v1/claimants/claims", &mine).is_problem(503, "unavailable");
                keys.asked() > asked
            });
        }
        assert_eq!(elsewhere.asked(), 0, "a redirect is not followed");
        keys.set(set_of(&[&KEY]));
        crate::harness::wait_until("the keys are there", || listed(&server, &mine) == 200);
        // It stands still: who has a known key does not wait while another waits for a made-up one.
        keys.set(Mood::Stall);
        let asked = keys.asked();
        std::thread::scope(|scope| {
            let stranger = scope.spawn(|| {
                crate::harness::wait_until("it is asked for a made-up key", || {
                    assert_eq!(listed(&server, &NEXT.sign(&claims_of("m-1"))), 401);
                    keys.asked() > asked
                });
            });
            crate::harness::wait_until("it is asked", || keys.asked() > asked || stranger.is_finished());
            let mut served = 0;
            while !stranger.is_finished() {
                assert_eq!(listed(&server, &mine), 200);
                served += 1;
            }
            assert!(served > 1, "the known waited for the unknown");
            stranger.join().unwrap();
        });
        // Nor does a fetch that failed forget who was known.
        assert_eq!(listed(&server, &mine), 200);
        assert!(server.log().contains("the keys of customers' tokens cannot be read"));
    });
}

#[test]
fn keys_of_a_server_that_cannot_show_who_it_is_are_not_believed() {
    Redress::test(|redress| {
        with_merchants(redress);
        let (authority, stranger) = (Authority::new(), Authority::new());
        let mine = KEY.sign(&claims_of("m-1"));
        for certificate in [stranger.vouches_for("127.0.0.1"), authority.vouches_for("id.example")] {
            let keys = KeyServer::start(&certificate, set_of(&[&KEY]));
            let server = serve(redress, &keys, &authority);
            get(&server, "/v1/claimants/claims", &mine).is_problem(503, "unavailable");
            assert_eq!(keys.asked(), 0);
        }
        // The same keys of one that can are.
        let keys = KeyServer::start(&authority.vouches_for("127.0.0.1"), set_of(&[&KEY]));
        assert_eq!(listed(&serve(redress, &keys, &authority), &mine), 200);
    });
}
