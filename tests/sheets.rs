//! Reports from files: each line by itself, the same line of the same file once, by whichever way it comes.

use serde_json::{Value, json};

use crate::harness::{INCIDENT, Ran, Redress, Server, merchants};
use crate::server::{Answer, Client};

const HEADER: &str = "incident,service,customer,fact.loss,email,description,kind\n";

fn with_merchants(redress: &Redress) -> Server {
    redress.with_incident().with_staff().with_policies(&["kakaotalk-merchant-loss"]);
    let names: Vec<String> = (1..=9).map(|number| format!("m-{number}")).collect();
    let roster = redress.file("roster.csv", merchants(&names.iter().map(String::as_str).collect::<Vec<_>>()));
    redress.run(&["roster", "import", &roster, "--incident", INCIDENT]).succeeds();
    redress.serve()
}

fn send(who: &Client<'_>, key: &str, file: &[u8]) -> Answer {
    who.send("POST", "/v1/claims/file", &[("content-type", "text/csv"), ("idempotency-key", key)], file)
}

fn lines(answer: &Answer) -> Vec<Value> {
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json().as_array().unwrap().clone()
}

/// What became of a line: where its claim stands, or the first field or sentence that is wrong.
fn outcome(line: &Value) -> String {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    text(&line["claim"]["status"])
        .or_else(|| text(&line["problem"]["errors"][0]["pointer"]))
        .or_else(|| text(&line["problem"]["detail"]))
        .unwrap_or_else(|| line.to_string())
}

#[test]
fn every_line_is_filed_or_refused_by_itself() {
    Redress::test(|redress| {
        let server = with_merchants(redress);
        let ann = redress.client(&server, "ann", "agent");
        let mut file = HEADER.as_bytes().to_vec();
        for line in [
            &b"kakao-2022-10-15,kakaotalk,m-1,250000,m-1@example.com,\"closed\nall day\",\n"[..],
            b"kakao-2022-10-15,kakaotalk,m-2,250000\n",
            b"\n",
            b"kakao-2022-10-15,kakaotalk,m-3,250000,,\xff\xfe,\n",
            b"kakao-2022-10-15,kakaotalk,m-4,much,,,\r\n",
            b"kakao-2022-10-15,cinema,m-5,1,,,\n",
            b"kakao-2022-10-15,kakaotalk,m-6,,,When will it be paid?,enquiry\n",
            b"kakao-2022-10-15,kakaotalk,m-7,0,,,\n",
            b"kakao-2022-10-15,kakaotalk,m-8,600000,nowhere,,",
        ] {
            file.extend_from_slice(line);
        }
        let filed = lines(&send(&ann, "one", &file));
        let came: Vec<(i64, String)> =
            filed.iter().map(|line| (line["line"].as_i64().unwrap(), outcome(line))).collect();
        let expected = [
            (2, "approved"),
            (4, "has 4 cells, and the header 7"),
            (6, "the cell description is no UTF-8 text"),
            (7, "/facts/loss"),
            (8, "/service"),
            (9, "closed"),
            (10, "declined"),
            (11, "/contact/email"),
        ];
        assert_eq!(came, expected.map(|(line, what)| (line, what.to_owned())));
        assert_eq!(redress.text("SELECT string_agg(DISTINCT channel, ' ') FROM claim"), "file");
        assert_eq!(
            redress.text(
                "SELECT string_agg(DISTINCT actor, ' ') FROM audit WHERE object LIKE 'claim %' AND actor <> 'system'"
            ),
            "ann"
        );
        // Whoever sends the file again, and under whichever key, files nothing twice; a key is good for one file.
        let bob = redress.client(&server, "bob", "lead");
        for answer in [send(&ann, "one", &file), send(&ann, "two", &file), send(&bob, "one", &file)] {
            assert_eq!(lines(&answer), filed);
        }
        assert_eq!(redress.number("SELECT count(*) FROM claim"), 3);
        send(&ann, "one", HEADER.as_bytes()).is_problem(422, "idempotency_key_reused");
        // A line that is mended in another file is filed; the others are the same losses, and are recognised.
        let mended =
            String::from_utf8_lossy(&file).replace("much", "250000").replace("m-4,250000,,,\r", "m-4,250000,,,");
        let again = lines(&send(&ann, "three", mended.as_bytes()));
        assert_eq!((outcome(&again[0]), outcome(&again[3])), ("closed".into(), "approved".into()));
        assert_eq!(again[0]["claim"]["duplicate_of"]["reference"], filed[0]["claim"]["reference"]);
        // What is wrong with the header is wrong with the file.
        for (header, says) in [
            ("incident,colour\n", "\"colour\" is unknown"),
            ("incident,service\n", "\"customer\" is missing"),
            ("incident,service,customer,service\n", "\"service\" stands twice"),
            ("incident,service,customer,fact.\n", "\"fact.\" is unknown"),
        ] {
            let problem = send(&ann, "bad", header.as_bytes()).is_problem(400, "malformed_body");
            assert!(problem["detail"].as_str().unwrap().contains(says), "{problem}");
        }
        let open = format!("{HEADER}x,y,z,1,,\"{}", "a".repeat(200_000));
        let problem = send(&ann, "open", open.as_bytes()).is_problem(400, "malformed_body");
        assert!(problem["detail"].as_str().unwrap().contains("a quote is opened on line 2"), "{problem}");
        let open = format!("{HEADER}{INCIDENT},kakaotalk,m-9,1,,\"open\n{INCIDENT},kakaotalk,m-9,2,,,\n");
        let problem = send(&ann, "open-short", open.as_bytes()).is_problem(400, "malformed_body");
        assert_eq!(problem["detail"], "a quote is opened on line 2 and not closed");
    });
}

#[test]
fn a_file_of_any_length_is_filed_at_the_command_line_and_goes_on_where_it_was_killed() {
    Redress::test(|redress| {
        let server = with_merchants(redress);
        redress.run(&["staff", "add", "ann", "--role", "agent"]).succeeds();
        redress.run(&["staff", "add", "mel", "--role", "agent", "--service", "melon"]).succeeds();
        let mut file = HEADER.to_owned();
        for line in 0..700 {
            // Each says another loss; one in a hundred cannot be read.
            let loss = if line % 100 == 50 { "much".to_owned() } else { (1000 + line).to_string() };
            file.push_str(&format!("{INCIDENT},kakaotalk,m-{},{loss},,,\n", line % 9 + 1));
        }
        let path = redress.file("letters.csv", &file);
        let by = |name: &str, more: &[&str]| {
            let args: Vec<&str> =
                ["claim", "file", &path, "--as", name].into_iter().chain(more.iter().copied()).collect();
            redress.run(&args)
        };
        by("nobody", &[]).refuses("is no active member of staff");
        by("finance", &[]).refuses("it takes agent or lead");
        // Killed in the midst of it, it goes on with the next try.
        let mut killed = redress.command(&["claim", "file", &path, "--as", "ann"]).spawn().unwrap();
        crate::harness::wait_until("some are filed", || redress.number("SELECT count(*) FROM claim") > 20);
        killed.kill().unwrap();
        killed.wait().unwrap();
        let results = redress.folder.path().join("results.csv").display().to_string();
        let done = by("ann", &["--results", &results, "--format", "json"]).fails(1, "").json();
        assert_eq!((done["filed"].as_i64(), done["refused"].as_i64()), (Some(693), Some(7)), "{done}");
        assert_eq!(done["first_refusals"][0].as_str().unwrap().split(':').next(), Some("line 52"), "{done}");
        assert!(done["first_refusals"][0].as_str().unwrap().contains(": fact.loss: "), "{done}");
        assert_eq!(redress.number("SELECT count(*) FROM claim"), 693);
        let rows = |path: &str| -> Vec<csv::StringRecord> {
            csv::Reader::from_path(path).unwrap().records().map(Result::unwrap).collect()
        };
        let first = rows(&results);
        assert_eq!((first.len(), &first[0][0], &first[0][3]), (700, "2", "approved"));
        assert_eq!((&first[50][0], &first[50][4]), ("52", "invalid_request"));
        // Filed over HTTP in part, or again: the same claims.
        assert_eq!(
            by("ann", &[]).fails(1, "").stdout.lines().next().unwrap(),
            "693 reports filed (693 approved), 7 refused."
        );
        assert_eq!(redress.number("SELECT count(*) FROM claim"), 693);
        // What the killed one wrote is kept beside it.
        let own = redress.folder.path().join("filed/letters.csv.results-2.csv");
        assert_eq!(rows(&own.display().to_string()), first);
        by("ann", &["--results", &path]).is_misused("--results: ");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), file);
        // Whoever works for another service files none of them.
        let refused = by("mel", &["--format", "json"]).fails(1, "").json();
        assert_eq!((refused["filed"].as_i64(), refused["refused"].as_i64()), (Some(0), Some(700)), "{refused}");
        assert!(refused["results"].as_str().unwrap().ends_with("filed/letters.csv.results-3.csv"), "{refused}");
        assert_eq!(rows(&own.display().to_string()), first);
        drop(server);
    });
}

#[test]
fn a_file_that_cannot_be_read_on_says_where() {
    Redress::test(|redress| {
        let _server = with_merchants(redress);
        redress.run(&["staff", "add", "ann", "--role", "agent"]).succeeds();
        let args = |path: &str| ["claim".to_owned(), "file".into(), path.to_owned(), "--as".into(), "ann".into()];
        let run = |path: &str| -> Ran {
            let args = args(path);
            redress.run(&args.iter().map(String::as_str).collect::<Vec<_>>())
        };
        // A quote that is left open would read a file of any length into memory.
        let rest = format!("{INCIDENT},kakaotalk,m-2,1000,,,\n").repeat(200_000);
        let open = redress.file(
            "open.csv",
            format!("{HEADER}{INCIDENT},kakaotalk,m-1,1000,,,\n{INCIDENT},kakaotalk,m-3,1,,\"a,\n{rest}"),
        );
        let ran = run(&open).fails(1, "");
        assert!(ran.stdout.starts_with("1 reports filed"), "{}", ran.stdout);
        assert!(ran.stdout.contains("a quote is opened on line 3 and not closed within 64 KiB"), "{}", ran.stdout);
        assert_eq!(redress.number("SELECT count(*) FROM claim"), 1);
        // One that is open to the end of a short file would file none of what follows, and say so of one line.
        let short = redress.file(
            "short.csv",
            format!("{HEADER}{INCIDENT},kakaotalk,m-4,1000,,,\n{INCIDENT},kakaotalk,m-5,\"1,,,\n{INCIDENT},kakaotalk,m-6,1,,,\n"),
        );
        let ran = run(&short).fails(1, "");
        assert!(ran.stdout.starts_with("1 reports filed"), "{}", ran.stdout);
        assert!(
            ran.stdout.contains("not read to its end: a quote is opened on line 3 and not closed"),
            "{}",
            ran.stdout
        );
        assert_eq!(redress.number("SELECT count(*) FROM claim"), 2);
        let bad = redress.file("bad.csv", "incident,colour\n");
        run(&bad).refuses("the column \"colour\" is unknown");
        run("/no/such.csv").is_misused("/no/such.csv: there is no such file");
        let empty = redress.file("empty.csv", HEADER);
        assert!(run(&empty).succeeds().stdout.starts_with("0 reports filed"));
        assert_eq!(json!(redress.number("SELECT count(*) FROM claim")), 2);
    });
}
