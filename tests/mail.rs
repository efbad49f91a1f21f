//! Mail: what it says, that a retry is the same message, and that nothing is lost or hidden when a server refuses.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::json;

use crate::harness::{INCIDENT, Ran, Redress, Server, merchant_claim, merchants, wait_until};

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
}

/// A small mail server: one thread a connection, plain sockets.
struct MailServer {
    url: String,
    mood: Arc<Mutex<Mood>>,
    /// What arrived whole, accepted or not.
    arrived: Arc<Mutex<Vec<String>>>,
}

impl MailServer {
    fn start(mood: Mood) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("smtp://{}", listener.local_addr().unwrap());
        let server = Self { url, mood: Arc::new(Mutex::new(mood)), arrived: Arc::default() };
        let (mood, arrived) = (Arc::clone(&server.mood), Arc::clone(&server.arrived));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (mood, arrived) = (Arc::clone(&mood), Arc::clone(&arrived));
                // A client that goes away in the middle ends its own thread only.
                std::thread::spawn(move || drop(converse(stream, &mood, &arrived)));
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

fn converse(stream: TcpStream, mood: &Mutex<Mood>, arrived: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut answer = stream.try_clone()?;
    let mut lines = BufReader::new(stream).lines();
    answer.write_all(b"220 test ready\r\n")?;
    while let Some(line) = lines.next().transpose()? {
        let mood = *mood.lock().unwrap();
        let verb = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
        match (verb.as_str(), mood) {
            ("EHLO", _) => answer.write_all(b"250-test\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n")?,
            ("RCPT", Mood::Later) => answer.write_all(b"451 4.7.1 greylisted, come again\r\n")?,
            ("RCPT", Mood::Never) => {
                let address = line.split(['<', '>']).nth(1).unwrap_or_default();
                answer.write_all(format!("550 5.1.1 <{address}>: no such user {address}\r\n").as_bytes())?;
            }
            ("DATA", _) => {
                answer.write_all(b"354 go on\r\n")?;
                let mut text = String::new();
                for line in lines.by_ref().map_while(Result::ok).take_while(|line| line != ".") {
                    text.push_str(line.strip_prefix('.').unwrap_or(&line));
                    text.push('\n');
                }
                arrived.lock().unwrap().push(text);
                if mood == Mood::HangUp {
                    return Ok(());
                }
                answer.write_all(b"250 taken\r\n")?;
            }
            ("QUIT", _) => {
                answer.write_all(b"221 bye\r\n")?;
                return Ok(());
            }
            _ => answer.write_all(b"250 ok\r\n")?,
        }
    }
    Ok(())
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
        drop(server);
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
