//! Mail: what it says, that a retry is the same message, and that nothing is lost or hidden when a server refuses.

mod secure;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use rustls::ServerConfig;

use serde_json::json;

use crate::harness::{INCIDENT, Ran, Redress, Server, merchant_claim, merchants, wait_until};
use crate::tls::Wire;

/// How the mail server treats the next messages.
#[derive(Clone, Copy, PartialEq)]
enum Mood {
    Accept,
    /// Refuses the recipient for now.
    Later,
    /// Refuses the recipient for good, and quotes the address.
    Never,
    /// Takes the whole message and hangs up without a word.
    HangUp,
    /// Takes connections and never says a word.
    Stall,
}

/// How a mail server's connections are kept secret.
#[derive(Clone)]
enum Secrecy {
    /// Not at all.
    None,
    /// From the first byte.
    Implicit(Arc<ServerConfig>),
    /// When it is asked for (STARTTLS).
    OnRequest(Arc<ServerConfig>),
    /// It says that it will be when asked, and goes on in the clear.
    Pretended,
}

/// A small mail server: one thread a connection, plain sockets.
struct MailServer {
    url: String,
    mood: Arc<Mutex<Mood>>,
    /// What arrived whole, accepted or not.
    arrived: Arc<Mutex<Vec<String>>>,
    /// Commands that came in the clear.
    in_clear: Arc<Mutex<Vec<String>>>,
}

impl MailServer {
    fn start(mood: Mood) -> Self {
        Self::with(mood, Secrecy::None)
    }

    fn with(mood: Mood, secrecy: Secrecy) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let scheme = if matches!(secrecy, Secrecy::Implicit(_)) { "smtps" } else { "smtp" };
        let url = format!("{scheme}://{}", listener.local_addr().unwrap());
        let mood = Arc::new(Mutex::new(mood));
        let server = Self { url, mood: Arc::clone(&mood), arrived: Arc::default(), in_clear: Arc::default() };
        let seen = Seen { mood, arrived: Arc::clone(&server.arrived), in_clear: Arc::clone(&server.in_clear) };
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (seen, secrecy) = (seen.clone(), secrecy.clone());
                let wire = match &secrecy {
                    Secrecy::Implicit(config) => Wire::Clear(stream).secured(config),
                    _ => Wire::Clear(stream),
                };
                // A client that goes away in the middle ends its own thread only.
                std::thread::spawn(move || drop(converse(wire, &secrecy, &seen)));
            }
        });
        server
    }

    fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    fn arrived(&self) -> Vec<String> {
        self.arrived.lock().unwrap().clone()
    }
}

/// What a mail server's threads share.
#[derive(Clone)]
struct Seen {
    mood: Arc<Mutex<Mood>>,
    arrived: Arc<Mutex<Vec<String>>>,
    in_clear: Arc<Mutex<Vec<String>>>,
}

fn converse(wire: Wire, secrecy: &Secrecy, seen: &Seen) -> std::io::Result<()> {
    if *seen.mood.lock().unwrap() == Mood::Stall {
        // Until the client gives up.
        return wire.take(1).read_to_end(&mut Vec::new()).map(drop);
    }
    let mut wire = BufReader::new(wire);
    wire.get_mut().write_all(b"220 test ready\r\n")?;
    let mut line = String::new();
    while wire.read_line(&mut line)? > 0 {
        let line = std::mem::take(&mut line);
        let mood = *seen.mood.lock().unwrap();
        let verb = line.trim_end().split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
        if wire.get_ref().is_clear() {
            seen.in_clear.lock().unwrap().push(verb.clone());
        }
        let answer: &[u8] = match (verb.as_str(), mood) {
            ("EHLO", _) if wire.get_ref().is_clear() && !matches!(secrecy, Secrecy::None) => {
                b"250-test\r\n250-STARTTLS\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n"
            }
            ("EHLO", _) => b"250-test\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n",
            ("STARTTLS", _) => {
                wire.get_mut().write_all(b"220 go on\r\n")?;
                if let Secrecy::OnRequest(config) = secrecy {
                    wire = BufReader::new(wire.into_inner().secured(config));
                }
                continue;
            }
            ("RCPT", Mood::Later) => b"451 4.7.1 greylisted, come again\r\n",
            ("RCPT", Mood::Never) => {
                let address = line.split(['<', '>']).nth(1).unwrap_or_default();
                &format!("550 5.1.1 <{address}>: no such user {address}\r\n").into_bytes()
            }
            ("DATA", _) => {
                wire.get_mut().write_all(b"354 go on\r\n")?;
                seen.arrived.lock().unwrap().push(message(&mut wire)?);
                if mood == Mood::HangUp {
                    return Ok(());
                }
                b"250 taken\r\n"
            }
            ("QUIT", _) => return wire.get_mut().write_all(b"221 bye\r\n"),
            _ => b"250 ok\r\n",
        };
        wire.get_mut().write_all(answer)?;
    }
    Ok(())
}

/// A message up to its single dot.
fn message(wire: &mut BufReader<Wire>) -> std::io::Result<String> {
    let (mut text, mut line) = (String::new(), String::new());
    while wire.read_line(&mut line)? > 0 && line.trim_end() != "." {
        let plain = line.trim_end_matches(['\r', '\n']);
        text.push_str(plain.strip_prefix('.').unwrap_or(plain));
        text.push('\n');
        line.clear();
    }
    Ok(text)
}

/// A server with merchants, whose own worker would send within a second: mails go by `redress notify` instead.
fn with_claim(redress: &Redress) -> (Server, serde_json::Value) {
    redress.with_incident().with_staff().with_policies(&["kakaotalk-merchant-loss"]);
    let roster = redress.file("r.csv", merchants(&["m-1", "m-2"]));
    redress.run(&["roster", "import", &roster, "--incident", INCIDENT]).succeeds();
    // What the worker would take is hidden from it until the test lets it go.
    redress.sql(
        "CREATE FUNCTION later() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.next_at = now() + interval ''1 day''; RETURN NEW; END';
         CREATE TRIGGER later BEFORE INSERT ON notice FOR EACH ROW EXECUTE FUNCTION later()",
    );
    let server = redress.serve();
    let filed = server.claim("k", &merchant_claim("m-1", "250000"));
    assert_eq!(filed.status, 201, "{}", filed.text());
    (server, filed.json())
}

/// Lets everything that waits be due.
fn due(redress: &Redress) {
    redress.sql("UPDATE notice SET next_at = now() - interval '1 minute' WHERE state = 'queued'");
}

fn notify(redress: &Redress, mail: &MailServer) -> Ran {
    let args = ["notify", "--format", "json"];
    Ran::of(redress.command(&args).env("REDRESS_SMTP_URL", &mail.url).output().unwrap(), &args)
}

fn pass(redress: &Redress, mail: &MailServer) -> (u64, u64, u64) {
    let pass = notify(redress, mail).succeeds().json();
    let figure = |name: &str| pass[name].as_u64().unwrap();
    (figure("sent"), figure("postponed"), figure("dead"))
}

fn message_ids(mails: &[String]) -> Vec<String> {
    let id = |mail: &String| mail.lines().find(|line| line.starts_with("Message-ID: ")).unwrap().to_owned();
    mails.iter().map(id).collect()
}

#[test]
fn what_a_server_refuses_for_now_goes_later_as_the_same_message() {
    Redress::test(|redress| {
        let (_server, _) = with_claim(redress);
        let mail = MailServer::start(Mood::Later);
        due(redress);
        assert_eq!(pass(redress, &mail), (0, 2, 0));
        assert!(mail.arrived().is_empty());
        assert!(redress.text("SELECT string_agg(last_error, ' ') FROM notice").contains("greylisted"));
        // Nothing is tried again before its time.
        assert_eq!(pass(redress, &mail), (0, 0, 0));
        assert_eq!(redress.number("SELECT count(*) FROM notice WHERE state = 'queued' AND next_at > now()"), 2);
        // Taken whole, but never acknowledged: it must go again, and be known as the same message.
        mail.set(Mood::HangUp);
        due(redress);
        assert_eq!(pass(redress, &mail), (0, 2, 0));
        mail.set(Mood::Accept);
        due(redress);
        assert_eq!(pass(redress, &mail), (2, 0, 0));
        let ids = message_ids(&mail.arrived());
        assert_eq!(ids.len(), 4);
        let (mut first, mut again) = (ids[..2].to_vec(), ids[2..].to_vec());
        first.sort();
        again.sort();
        assert_eq!(first, again);
        assert!(
            first[0] != first[1]
                && redress.number("SELECT count(*) FROM notice WHERE state = 'sent' AND attempts = 3") == 2
        );
        due(redress);
        assert_eq!(pass(redress, &mail), (0, 0, 0));
    });
}

#[test]
fn what_a_server_refuses_for_good_is_dead_and_seen_and_names_nobody() {
    Redress::test(|redress| {
        let (server, _) = with_claim(redress);
        let mail = MailServer::start(Mood::Never);
        due(redress);
        let args = ["notify", "--format", "json"];
        let ran = notify(redress, &mail);
        assert!(!ran.stderr.contains("m-1@example.com"), "the log names the claimant: {}", ran.stderr);
        assert_eq!(ran.succeeds().json(), json!({ "sent": 0, "postponed": 0, "dead": 2 }), "{args:?}");
        let error = redress.text("SELECT string_agg(DISTINCT last_error, ' ') FROM notice WHERE state = 'dead'");
        assert!(
            error.contains("550") && error.contains("no such user") && !error.contains("m-1@example.com"),
            "{error}"
        );
        mail.set(Mood::Accept);
        due(redress);
        assert_eq!(pass(redress, &mail), (0, 0, 0), "dead is dead until a person sees it");
        assert!(server.get("/metrics", &[]).text().contains("redress_outbox_dead 2"));
        assert!(redress.run(&["doctor"]).fails(1, "").stdout.contains("2 could not be sent"));
        // A server that is away for good is no reason to lose or to kill anything.
        redress.sql("UPDATE notice SET state = 'queued', attempts = 0");
        due(redress);
        let away = MailServer { url: "smtp://127.0.0.1:1".into(), ..MailServer::start(Mood::Accept) };
        assert_eq!(pass(redress, &away), (0, 2, 0));
    });
}

#[test]
fn a_mail_says_what_was_decided_in_the_claimants_language_and_asks_for_nothing() {
    Redress::test(|redress| {
        let (server, first) = with_claim(redress);
        let mail = MailServer::start(Mood::Accept);
        let mut english = merchant_claim("m-2", "0");
        english["contact"] = json!({ "email": "shop@example.com", "name": "O'Hara & Sons <b>", "language": "en" });
        let answer = server.claim("e", &english);
        answer.is_problem(422, "invalid_request");
        english["contact"]["name"] = json!("O'Hara & Sons");
        let second = server.claim("e", &english).json();
        assert_eq!(second["status"], "declined");
        due(redress);
        assert_eq!(pass(redress, &mail), (4, 0, 0));
        let shown = |raw: &String| {
            let text = mail_text(raw);
            assert!(!text.contains("http") && !text.contains("href"), "a link: {text}");
            assert!(
                !text.contains(first["token"].as_str().unwrap()) && !text.contains(second["token"].as_str().unwrap())
            );
            assert!(raw.contains("multipart/alternative") && raw.contains("text/html") && raw.contains("text/plain"));
            text
        };
        let mails: Vec<String> = mail.arrived().iter().map(shown).collect();
        let of = |claim: &serde_json::Value, words: &[&str]| {
            let reference = claim["reference"].as_str().unwrap();
            let found = mails
                .iter()
                .find(|mail| words.iter().all(|word| mail.contains(word)))
                .unwrap_or_else(|| panic!("{words:?}: {mails:#?}"));
            // In the subject, in the text and in the HTML.
            assert!(found.matches(reference).count() >= 3, "{found}");
        };
        of(
            &first,
            &["m-1@example.com", "피해 접수를 받았습니다", "lang=\"ko\"", "비밀번호"]
                .map(|w| if w == "비밀번호" { "로그인" } else { w }),
        );
        of(&first, &["m-1@example.com", "결과입니다", first["assessment"]["sentence"]["ko"].as_str().unwrap()]);
        of(&second, &["shop@example.com", "We have received your damage report", "Dear O'Hara & Sons,", "lang=\"en\""]);
        of(&second, &["This is the decision", "you can appeal", "O&#39;Hara &#38; Sons"]);
    });
}

/// All parts of a mail, decoded: quoted-printable and base64, header words included.
fn mail_text(raw: &str) -> String {
    let message = mail_parser::MessageParser::default().parse(raw.as_bytes()).unwrap();
    format!(
        "{}\n{}\n{}\n{}",
        message.to().unwrap().first().unwrap().address().unwrap(),
        message.subject().unwrap(),
        message.body_text(0).unwrap(),
        message
            .parts
            .iter()
            .find_map(|part| match &part.body {
                mail_parser::PartType::Html(html) => Some(html.to_string()),
                _ => None,
            })
            .unwrap(),
    )
}

#[test]
fn a_name_cannot_make_our_mail_carry_a_link() {
    Redress::test(|redress| {
        let (server, _) = with_claim(redress);
        for (number, name) in [
            "http://evil.example/login",
            "Verify at evil.com",
            "www.evil.example",
            "Mina\r\nBcc: x",
            "a@b.example",
            "<a href=x>",
        ]
        .iter()
        .enumerate()
        {
            let mut claim = merchant_claim("m-1", "1000");
            claim["contact"]["name"] = json!(name);
            let problem = server.claim(&number.to_string(), &claim).is_problem(422, "invalid_request");
            assert_eq!(problem["errors"][0]["pointer"], "/contact/name", "{name}");
        }
        for name in ["김미나", "Dr. J. R. Smith-Jones", "O'Hara", "주식회사 한빛"] {
            let mut claim = merchant_claim("m-1", "1000");
            claim["contact"]["name"] = json!(name);
            assert_eq!(server.claim(&format!("ok-{}", name.len()), &claim).status, 201, "{name}");
        }
    });
}

#[test]
fn without_a_mail_server_mail_lies_in_a_folder_and_on_a_page_for_developers() {
    Redress::test(|redress| {
        let (server, filed) = with_claim(redress);
        assert!(server.get("/dev/mail", &[]).text().contains("None yet."));
        due(redress);
        // The server's own worker finds it.
        wait_until("the worker has sent", || redress.number("SELECT count(*) FROM notice WHERE state = 'sent'") == 2);
        let files = std::fs::read_dir(redress.folder.path().join("mail")).unwrap();
        assert_eq!(
            files.filter(|file| file.as_ref().unwrap().path().extension().is_some_and(|e| e == "eml")).count(),
            2
        );
        let page = server.get("/dev/mail", &[]);
        assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"));
        assert!(page.text().contains(filed["reference"].as_str().unwrap()));
        assert!(server.get("/", &[]).text().contains("/dev/mail"));
        // It is for this machine: not for what a proxy passes on, nor for whoever comes by another address.
        for header in ["x-forwarded-for", "forwarded"] {
            server.get("/dev/mail", &[(header, "127.0.0.1")]).is_problem(404, "not_found");
            assert!(!server.get("/", &[(header, "127.0.0.1")]).text().contains("/dev/mail"));
        }
        drop(server);
        let open = Server::start(redress.command(&["serve", "--listen", "0.0.0.0:0"]));
        assert_eq!(open.get("/dev/mail", &[]).status, 200);
        // Asking where a datagram would go sends none.
        let probe = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
        if let Some(own) = probe.connect("192.0.2.1:9").ok().and_then(|()| probe.local_addr().ok()) {
            let port = open.url.rsplit_once(':').unwrap().1;
            let elsewhere: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
            let answer = elsewhere.get(format!("http://{}:{port}/dev/mail", own.ip())).call().unwrap();
            assert_eq!(answer.status().as_u16(), 404);
        }
        drop(open);
        let mail = MailServer::start(Mood::Accept);
        let key = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
        let secret = std::fs::read_to_string(redress.folder.path().join("secrets/master.key")).unwrap();
        for environment in [
            &[("REDRESS_SMTP_URL", mail.url.as_str())][..],
            &[
                ("REDRESS_SMTP_URL", mail.url.as_str()),
                ("REDRESS_PRODUCTION", "true"),
                ("REDRESS_MASTER_KEY", secret.trim()),
            ],
        ] {
            let server = redress.serve_with(environment);
            server.get("/dev/mail", &[]).is_problem(404, "not_found");
            assert!(!server.get("/", &[]).text().contains("/dev/mail"));
        }
        assert_ne!(secret.trim(), key);
    });
}

/// facts.md §4: "claims vanished for years; evidence uploads lost daily; the claimant told only after the last
/// failure".
#[test]
fn while_the_mail_server_is_away_credits_go_on_and_no_notice_is_lost() {
    Redress::test(|redress| {
        redress.with_incident().with_staff().with_policies(&["kakaotalk-merchant-loss"]);
        let names: Vec<String> = (0..6).map(|number| format!("m-{number}")).collect();
        let roster = redress.file("r.csv", merchants(&names.iter().map(String::as_str).collect::<Vec<_>>()));
        redress.run(&["roster", "import", &roster, "--incident", INCIDENT]).succeeds();
        redress.with_budget("kakaotalk", "KRW", "1000000");
        let mail = MailServer::start(Mood::Stall);
        let server = redress.serve_with(&[("REDRESS_SMTP_URL", &mail.url), ("REDRESS_SMTP_SECONDS", "1")]);
        for name in &names {
            assert_eq!(server.claim(name, &merchant_claim(name, "1000")).json()["status"], "approved");
        }
        wait_until("the worker has noticed", || {
            redress.number("SELECT count(*) FROM notice WHERE last_error IS NOT NULL") > 0
        });
        // Credits wait for no mail.
        assert_eq!(redress.issue()["issued"], 6);
        assert_eq!(redress.number("SELECT count(*) FROM claim WHERE state = 'issued'"), 6);
        // One pass gives up after a few messages and leaves the rest untried.
        due(redress);
        let args = ["notify", "--format", "json"];
        let ran = redress.command(&args).env("REDRESS_SMTP_URL", &mail.url).env("REDRESS_SMTP_SECONDS", "1").output();
        let pass = Ran::of(ran.unwrap(), &args).succeeds().json();
        assert_eq!((pass["sent"].as_u64(), pass["dead"].as_u64()), (Some(0), Some(0)), "{pass}");
        assert!(redress.number("SELECT count(*) FROM notice WHERE attempts = 0") > 0, "all were tried in vain");
        assert_eq!(redress.number("SELECT count(*) FROM notice WHERE state = 'queued'"), 18);
        // It takes messages and drops the line, then refuses for now, then takes them: each is known by its Message-ID.
        mail.set(Mood::HangUp);
        wait_until("one is taken and dropped", || {
            due(redress);
            !mail.arrived().is_empty()
        });
        mail.set(Mood::Later);
        wait_until("one is refused for now", || {
            due(redress);
            redress.number("SELECT count(*) FROM notice WHERE last_error LIKE '%greylisted%'") > 0
        });
        mail.set(Mood::Accept);
        wait_until("everything has gone", || {
            due(redress);
            redress.number("SELECT count(*) FROM notice WHERE state = 'sent'") == 18
        });
        let ids: std::collections::BTreeSet<String> = message_ids(&mail.arrived()).into_iter().collect();
        assert_eq!(ids.len(), 18);
    });
}

#[test]
fn mail_is_never_sent_in_the_clear_where_tls_is_asked_for() {
    Redress::test(|redress| {
        let (_server, _) = with_claim(redress);
        let mail = MailServer::start(Mood::Accept);
        due(redress);
        let strict = MailServer { url: format!("{}?tls=required", mail.url), ..MailServer::start(Mood::Accept) };
        assert_eq!(pass(redress, &strict), (0, 2, 0));
        assert!(mail.arrived().is_empty());
        let key = std::fs::read_to_string(redress.folder.path().join("secrets/master.key")).unwrap();
        let signing = std::fs::read_to_string(redress.folder.path().join("secrets/signing.key")).unwrap();
        let args = ["notify"];
        let production = |url: &str| {
            let environment = [
                ("REDRESS_PRODUCTION", "true"),
                ("REDRESS_MASTER_KEY", key.trim()),
                ("REDRESS_SIGNING_KEY", signing.trim()),
                ("REDRESS_SMTP_URL", url),
            ];
            Ran::of(redress.command(&args).envs(environment).output().unwrap(), &args)
        };
        production("smtp://user:secret@mail.example").refuses("in production mail goes over TLS");
        // What was not sent goes when the settings are mended.
        due(redress);
        assert_eq!(pass(redress, &mail), (2, 0, 0));
    });
}

#[test]
fn what_did_not_arrive_is_listed_queued_again_and_names_nobody() {
    Redress::test(|redress| {
        let (server, _) = with_claim(redress);
        let mail = MailServer::start(Mood::Never);
        due(redress);
        assert_eq!(pass(redress, &mail), (0, 0, 2));
        let lead = redress.client(&server, "lead-1", "lead");
        let list = lead.get("/v1/notices").json();
        assert_eq!(list["notices"].as_array().unwrap().len(), 2);
        assert!(list["notices"][0]["last_error"].as_str().unwrap().contains("no such user"), "{list}");
        assert!(!list.to_string().contains('@'), "{list}");
        let shown = redress.run(&["notify", "--dead"]).succeeds().stdout;
        assert!(shown.contains("decided") && shown.contains("no such user") && !shown.contains('@'), "{shown}");
        redress.run(&["notify", "--requeue"]).fails(2, "--as");
        redress.run(&["notify", "--requeue", "--as", "finance"]).refuses("may not do this");
        // One by its id over HTTP, the rest at the command line.
        let id = list["notices"][0]["id"].clone();
        assert_eq!(lead.post_once("/v1/notices/requeue", &json!({ "ids": [id] })).json(), json!({ "changed": 1 }));
        assert_eq!(lead.post_once("/v1/notices/requeue", &json!({ "ids": [id] })).json(), json!({ "changed": 0 }));
        let done = redress.json(&["notify", "--requeue", "--as", "lead-1"]);
        assert_eq!(done, json!({ "changed": 1 }));
        mail.set(Mood::Accept);
        due(redress);
        assert_eq!(pass(redress, &mail), (2, 0, 0));
        // One comes back later; another report of the same, one for now, and what is not ours change nothing.
        let sent = message_ids(&mail.arrived())[0].strip_prefix("Message-ID: ").unwrap().to_owned();
        let bounce = |kind: &str, message_id: &str| {
            let reason = "550 <m-1@example.com> unknown";
            json!({ "bounces": [{ "message_id": message_id, "kind": kind, "reason": reason }] })
        };
        let report = |body: serde_json::Value| lead.post_once("/v1/notices/bounces", &body);
        assert_eq!(report(bounce("transient", &sent)).json(), json!({ "changed": 0 }));
        assert_eq!(report(bounce("permanent", &sent)).json(), json!({ "changed": 1 }));
        assert_eq!(report(bounce("permanent", &sent)).json(), json!({ "changed": 0 }));
        assert_eq!(report(bounce("complaint", "<someone@elsewhere.example>")).json(), json!({ "changed": 0 }));
        report(json!({ "bounces": [] })).is_problem(422, "invalid_request");
        let list = lead.get("/v1/notices").json();
        assert_eq!(
            (list["notices"][0]["state"].as_str(), list["notices"].as_array().unwrap().len()),
            (Some("bounced"), 1)
        );
        assert!(!list.to_string().contains("m-1@"), "{list}");
        assert!(server.get("/metrics", &[]).text().contains("redress_outbox_dead 0"));
    });
}

#[test]
fn a_claimant_chooses_language_and_how_much_is_mailed() {
    Redress::test(|redress| {
        let (server, first) = with_claim(redress);
        let mail = MailServer::start(Mood::Accept);
        let path = format!("/v1/claims/{}/preferences", first["id"].as_str().unwrap());
        let bearer = format!("Bearer {}", first["token"].as_str().unwrap());
        let headers = [("content-type", "application/json"), ("authorization", bearer.as_str())];
        let wish = json!({ "language": "en", "notices": "essential" });
        assert_eq!(server.send("PUT", &path, &headers, wish.to_string()).json(), wish);
        server.send("PUT", &path, &headers, "{}").is_problem(422, "invalid_request");
        due(redress);
        assert_eq!(pass(redress, &mail), (1, 0, 0), "the courtesy is left out, the decision is not");
        assert_eq!(redress.text("SELECT event FROM notice WHERE state = 'unwanted'"), "received");
        assert!(mail_text(&mail.arrived()[0]).contains("This is the decision"));
        // Who gave no address is no trouble for anybody.
        let mut silent = merchant_claim("m-2", "1000");
        silent["contact"] = json!({});
        assert_eq!(server.claim("s", &silent).status, 201);
        due(redress);
        assert_eq!(pass(redress, &mail), (0, 0, 0));
        assert_eq!(redress.number("SELECT count(*) FROM notice WHERE state = 'dead'"), 0);
    });
}

#[test]
fn every_event_has_its_own_words_in_both_languages() {
    Redress::test(|redress| {
        let (server, _) = with_claim(redress);
        let mail = MailServer::start(Mood::Accept);
        let mut english = merchant_claim("m-2", "900000");
        english["contact"] = json!({ "email": "shop@example.com", "name": "Mina", "language": "en" });
        assert_eq!(server.claim("e", &english).json()["status"], "in_review");
        redress.sql("DELETE FROM notice");
        for event in redress_domain::notice::Event::ALL {
            redress.sql(&format!(
                "INSERT INTO notice (customer_id, id, claim_id, event, state, next_at, queued_at, occasion)
                 SELECT customer_id, gen_random_uuid(), id, '{event}', 'queued', now(), now(), 5 FROM claim"
            ));
        }
        due(redress);
        assert_eq!(pass(redress, &mail), (18, 0, 0));
        let mails: Vec<String> = mail.arrived().iter().map(|raw| mail_text(raw)).collect();
        let subjects: std::collections::BTreeSet<&str> =
            mails.iter().map(|mail| mail.lines().nth(1).unwrap()).collect();
        assert_eq!(subjects.len(), 18, "{subjects:#?}");
        for mail in &mails {
            assert!(!mail.contains("http") && !mail.contains("href") && !mail.contains("<script"), "{mail}");
            let korean = mail.contains("m-1@example.com");
            let genuine = if korean { "진짜 안내인지 확인하려면" } else { "To check that it is ours" };
            assert_eq!(mail.matches(genuine).count(), 2, "{mail}");
        }
        // What is wanted is named in a question and in its reminder.
        let wanted = mails.iter().filter(|mail| mail.contains("What we need: Proof of loss")).count();
        assert_eq!(wanted, 2, "{mails:#?}");
        if let Ok(folder) = std::env::var("REDRESS_TEST_KEEP_MAIL") {
            for (number, raw) in mail.arrived().iter().enumerate() {
                std::fs::write(format!("{folder}/{number}.eml"), raw).unwrap();
            }
        }
    });
}
