//! Every route: what needs credentials refuses without, what the server knows is documented, and what the machine that
//! runs it asks for is answered.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};

use diesel::connection::SimpleConnection;

use crate::documents::openapi;
use crate::harness::{Redress, merchant_claim, merchants, repository, wait_until};

/// Pages, which are no part of the API and stand in no document.
const PAGES: &[&str] = &["/", "/docs", "/docs/problems", "/docs/{file:.*}", "/dev/mail", "/openapi.yaml"];

/// The paths that the server registers, read from the one screen where they stand.
fn registered() -> Vec<String> {
    let source = std::fs::read_to_string(repository().join("api/src/http/mod.rs")).unwrap();
    let body = source.split("fn routes(").nth(1).unwrap().split("\n}\n").next().unwrap();
    let mut paths = Vec::new();
    let mut scope = String::new();
    // In the order of the text: a scope holds all resources that follow it.
    for line in body.lines() {
        let quoted = |call: &str| line.split(call).nth(1).map(|rest| rest.split('"').next().unwrap().to_owned());
        if let Some(prefix) = quoted("scope(\"") {
            scope = prefix;
        }
        // No other way of registering may come into use without this test.
        assert!(!line.contains(".route("), "{line}");
        paths.extend(quoted("resource(\"").map(|path| format!("{scope}{path}")));
    }
    paths
}

#[test]
fn every_route_of_the_server_is_documented_or_a_page() {
    Redress::test(|redress| {
        let server = redress.serve();
        let document = openapi(&server);
        let documented: BTreeSet<String> = document["paths"].as_object().unwrap().keys().cloned().collect();
        let registered: BTreeSet<String> = registered().into_iter().collect();
        assert!(registered.len() >= 10, "{registered:?}");
        for path in &registered {
            assert!(
                documented.contains(path) || PAGES.contains(&path.as_str()),
                "{path} is neither documented nor a page"
            );
        }
        for path in documented.iter().map(String::as_str).chain(PAGES.iter().copied()) {
            assert!(registered.contains(path), "{path} is documented and the server does not know it");
        }
        // What is not there is a problem like any other, whatever the method.
        for path in ["/nowhere", "/v1", "/v1/", "/v1/nowhere", "/v2/claims", "/console"] {
            if !registered.contains(path) {
                server.call("POST", path).is_problem(404, "not_found");
            }
        }
        for path in &registered {
            let concrete = path.replace("{file:.*}", "x").replace("{id}", "x");
            server.call("TRACE", &concrete).is_problem(405, "method_not_allowed");
        }
    });
}

#[test]
fn every_answer_has_an_id_of_its_own_and_safe_headers() {
    Redress::test(|redress| {
        let server = redress.serve();
        let mut ids = BTreeSet::new();
        for path in
            ["/livez", "/livez", "/readyz", "/metrics", "/", "/docs/", "/openapi.yaml", "/v1/claims", "/nowhere"]
        {
            let answer = server.get(path, &[]);
            assert!(
                ids.insert(answer.header("x-request-id").to_owned()) && ids.iter().all(|id| id.len() == 36),
                "{path}: {ids:?}"
            );
            assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
            assert_eq!(answer.header("x-frame-options"), "DENY", "{path}");
            assert_eq!(answer.header("referrer-policy"), "no-referrer", "{path}");
        }
        // The log speaks of the request under the same id, and of no path.
        let claim = server.get("/v1/claims/0123-secret-reference", &[("authorization", "Bearer x")]);
        let id = claim.header("x-request-id").to_owned();
        wait_until("it is logged", || server.log().contains(&id));
        assert!(!server.log().contains("secret-reference"), "{}", server.log());
    });
}

#[test]
fn ready_means_that_the_database_answers() {
    Redress::test(|redress| {
        let server = redress.serve();
        assert_eq!((server.get("/livez", &[]).status, server.get("/livez", &[]).text()), (200, "ok\n"));
        let ready = server.get("/readyz", &[]);
        assert_eq!(ready.status, 200, "{}", ready.text());
        assert_eq!(ready.json()["checks"].as_array().unwrap().len(), 3);
        // Notices that pile up say that the worker stands still.
        redress.sql("INSERT INTO notice (customer_id, id, claim_id, event, state, next_at, queued_at) VALUES
                     ('c', gen_random_uuid(), gen_random_uuid(), 'received', 'queued', now() + interval '1 day', now() - interval '16 minutes')");
        let late = server.get("/readyz", &[]);
        assert_eq!((late.status, late.json()["checks"][2]["ok"].as_bool()), (503, Some(false)), "{}", late.text());
        redress.sql("DELETE FROM notice");
        assert_eq!(server.get("/readyz", &[]).status, 200);
    });
}

#[test]
fn without_its_database_a_server_says_so_and_comes_back() {
    Redress::test(|redress| {
        redress.with_incident();
        let server = redress.serve();
        assert_eq!(server.claim("before", &merchant_claim("m-1", "1")).status, 201);
        let name = redress.text("current_database()");
        let mut maintenance = redress.owner_of("postgres");
        maintenance.batch_execute(&format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false")).unwrap();
        maintenance
            .batch_execute(&format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"))
            .unwrap();
        let (ready, claim) = std::thread::scope(|scope| {
            let ready = scope.spawn(|| server.get("/readyz", &[]));
            (ready.join().unwrap(), server.claim("during", &merchant_claim("m-1", "1")))
        });
        let alive = server.get("/livez", &[]).status;
        let metrics = server.get("/metrics", &[]).status;
        maintenance.batch_execute(&format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true")).unwrap();
        assert_eq!((ready.status, ready.json()["ready"].as_bool()), (503, Some(false)), "{}", ready.text());
        assert!(!ready.text().contains(&name), "the answer names what belongs in the log: {}", ready.text());
        claim.is_problem(503, "unavailable");
        assert_eq!(claim.header("retry-after"), "5");
        assert_eq!((alive, metrics), (200, 200));
        wait_until("it is ready again", || server.get("/readyz", &[]).status == 200);
        assert_eq!(server.claim("during", &merchant_claim("m-1", "1")).status, 201);
        assert_eq!(redress.number("SELECT count(*) FROM claim"), 2);
    });
}

/// Samples by name with their labels; every line must be what OpenMetrics allows.
fn samples(text: &str) -> BTreeMap<String, f64> {
    assert!(text.ends_with("# EOF\n"), "the end is missing");
    let mut found = BTreeMap::new();
    let mut types = BTreeSet::new();
    for line in text.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            let mut words = comment.splitn(3, ' ');
            let (kind, name) = (words.next().unwrap(), words.next().unwrap_or_default());
            assert!(["TYPE", "HELP", "UNIT", "EOF"].contains(&kind), "{line}");
            assert!(kind != "TYPE" || types.insert(name.to_owned()), "{name} is declared twice");
            continue;
        }
        let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no sample: {line}"));
        let plain = name.split('{').next().unwrap();
        assert!(plain.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'), "{line}");
        assert!(types.iter().any(|known| plain.starts_with(known.as_str())), "{plain} has no TYPE");
        assert!(found.insert(name.to_owned(), value.parse().unwrap()).is_none(), "{name} stands twice");
    }
    found
}

#[test]
fn metrics_count_requests_by_route_and_name_nobody() {
    Redress::test(|redress| {
        redress.with_incident();
        let roster = redress.file("r.csv", merchants(&["m-1"]));
        redress.run(&["roster", "import", &roster, "--incident", crate::harness::INCIDENT]).succeeds();
        let server = redress.serve();
        let answer = server.get("/metrics", &[]);
        assert!(answer.header("content-type").starts_with("application/openmetrics-text; version=1.0.0"));
        let before = samples(answer.text());
        assert_eq!(before["redress_claims_stored_total"], 0.0);
        let filed = server.claim("k", &merchant_claim("m-1", "1000")).json();
        server.claim("k", &merchant_claim("m-1", "1000"));
        server.claim("k", &merchant_claim("m-1", "2000")).is_problem(422, "idempotency_key_reused");
        let id = filed["id"].as_str().unwrap();
        server.get(
            &format!("/v1/claims/{id}"),
            &[("authorization", &format!("Bearer {}", filed["token"].as_str().unwrap()))],
        );
        server.get("/v1/claims/not-an-id", &[]);
        server.get(&format!("/nowhere/{id}"), &[]);
        let text = server.get("/metrics", &[]).text().to_owned();
        let after = samples(&text);
        assert_eq!(after["redress_claims_stored_total"], 1.0, "a retry is no second claim");
        let requests = |method: &str, route: &str, status: u16| {
            after[&format!("redress_http_requests_total{{method=\"{method}\",route=\"{route}\",status=\"{status}\"}}")]
        };
        assert_eq!(requests("POST", "/v1/claims", 201), 2.0);
        assert_eq!(requests("POST", "/v1/claims", 422), 1.0);
        assert_eq!(requests("GET", "/v1/claims/{id}", 200), 1.0);
        assert_eq!(requests("GET", "/v1/claims/{id}", 401), 1.0);
        assert_eq!(requests("GET", "unmatched", 404), 1.0);
        assert_eq!(after["redress_http_request_duration_seconds_count{route=\"/v1/claims\"}"], 3.0);
        for private in [id, "m-1", filed["reference"].as_str().unwrap(), "not-an-id"] {
            assert!(!text.contains(private), "{private} is a label: {text}");
        }
        // Whatever methods a stranger makes up, there is no series for each.
        for number in 0..5 {
            let mut stream = std::net::TcpStream::connect(server.url.strip_prefix("http://").unwrap()).unwrap();
            write!(stream, "MADEUP{number} /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
        }
        assert!(!server.get("/metrics", &[]).text().contains("MADEUP3"));
    });
}

#[test]
fn what_a_refused_request_says_is_not_logged() {
    Redress::test(|redress| {
        redress.with_incident();
        let server = redress.serve();
        let post = |path: &str, body: serde_json::Value| {
            let headers = [("content-type", "application/json"), ("idempotency-key", "k")];
            let answer = server.post(path, &headers, body.to_string());
            answer.is_problem(422, "invalid_request");
            answer.header("x-request-id").to_owned()
        };
        let mut ids = vec![
            post("/v1/session", serde_json::json!({ "name": "ann", "password": 19_840_229, "code": "1" })),
            post("/v1/session", serde_json::json!({ "name": "ann", "hunter2": "x" })),
            post("/v1/claimants/codes", serde_json::json!({ "reference": "r", "email": { "kim@private": 1 } })),
        ];
        for (pointer, value) in [
            ("/contact/phone", serde_json::json!(821_012_345_678_i64)),
            ("/contact/email", serde_json::json!(["kim@private.example"])),
            ("/contact/account", serde_json::json!(110_234_567_890_i64)),
            ("/customer", serde_json::json!("Kim Private")),
            ("/facts/01012345678", serde_json::json!("x")),
            ("/contact/name", serde_json::json!({ "hong-gil-dong": 1 })),
        ] {
            let mut claim = merchant_claim("m-1", "1");
            let (parent, name) = pointer.rsplit_once('/').unwrap();
            claim.pointer_mut(parent).unwrap()[name] = value;
            ids.push(post("/v1/claims", claim));
        }
        let unknown = server.get("/v1/coverage?incident=x&kim-private=1", &[]);
        unknown.is_problem(422, "invalid_request");
        ids.push(unknown.header("x-request-id").to_owned());
        wait_until("all is logged", || ids.iter().all(|id| server.log().contains(id.as_str())));
        let log = server.log();
        for private in ["19840229", "hunter2", "kim", "Kim", "private", "1012345678", "110234567890", "gil-dong"] {
            assert!(!log.contains(private), "{private} is logged: {log}");
        }
        // What is wrong is still told by its code and by names of ours.
        assert!(log.contains("invalid_request") && log.contains("/contact/phone"), "{log}");
    });
}

#[test]
fn head_is_answered_as_get_is_without_the_body() {
    Redress::test(|redress| {
        let server = redress.serve();
        for path in ["/livez", "/readyz", "/", "/docs/", "/openapi.yaml", "/v1/claims", "/v1/nowhere", "/docs"] {
            let headers = [("accept-encoding", "identity")];
            let (head, get) = (server.send("HEAD", path, &headers, ""), server.send("GET", path, &headers, ""));
            assert_eq!((head.status, head.body.len()), (get.status, 0), "{path}");
            for name in ["content-type", "content-length", "cache-control", "location"] {
                assert_eq!(head.header(name), get.header(name), "{path} {name}");
            }
        }
        // Where nothing is got, nothing is headed.
        assert_eq!(server.call("HEAD", "/v1/claims/next").status, 405);
    });
}

#[test]
fn what_the_api_answers_is_kept_in_no_cache() {
    Redress::test(|redress| {
        redress.with_incident();
        let server = redress.serve();
        let boss = redress.client(&server, "boss", "administrator");
        let filed = server.claim("k", &merchant_claim("m-1", "1"));
        let claim = filed.header("location").to_owned();
        for answer in [
            &filed,
            &boss.get(&claim),
            &boss.get("/v1/claims"),
            &boss.post_once("/v1/staff", &serde_json::json!({ "name": "ann", "role": "agent" })),
            &boss.post_once("/v1/staff", &serde_json::json!({})),
            &server.get("/v1/claims", &[]),
            &server.get("/v1/nowhere", &[]),
        ] {
            assert_eq!(answer.header("cache-control"), "no-store", "{}", answer.text());
        }
    });
}
