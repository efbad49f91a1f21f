//! Damage reports over HTTP: what is taken, what is refused and how, and that a retry is the same report.

use serde_json::{Value, json};

use crate::harness::{INCIDENT, Redress, Server, merchant_claim, merchants};

/// An installation whose messenger takes merchants' claims.
fn with_merchants(redress: &Redress) -> Server {
    redress.with_incident().with_staff().with_policies(&["kakaotalk-merchant-loss", "melon"]);
    let roster = redress.file("roster.csv", merchants(&["m-1", "m-2", "m-3"]));
    redress.run(&["roster", "import", &roster, "--incident", INCIDENT]).succeeds();
    redress.serve()
}

#[test]
fn every_tier_of_the_merchants_policy_is_decided_on_filing() {
    Redress::test(|redress| {
        let server = with_merchants(redress);
        // K3 of facts.md, each bound from both sides.
        for (loss, status, amount) in [
            ("1", "approved", Some("30000")),
            ("300000", "approved", Some("30000")),
            ("300001", "approved", Some("50000")),
            ("500000", "approved", Some("50000")),
            ("500001", "in_review", None),
            ("0", "declined", None),
        ] {
            let answer = server.claim(&format!("tier-{loss}"), &merchant_claim("m-1", loss));
            assert_eq!(answer.status, 201, "{}", answer.text());
            let claim = answer.json();
            assert_eq!(claim["status"], status, "loss {loss}: {claim}");
            assert_eq!(claim["assessment"]["awards"][0]["amount"].as_str(), amount, "loss {loss}: {claim}");
            assert_eq!(answer.header("location"), format!("/v1/claims/{}", claim["id"].as_str().unwrap()));
        }
        let declined = server.claim("again", &merchant_claim("m-2", "0")).json();
        assert_eq!(declined["assessment"]["reason"]["code"], "no-loss-shown");
        assert_eq!(declined["assessment"]["reason"]["appealable"], true);
        assert!(!declined["assessment"]["sentence"]["ko"].as_str().unwrap().is_empty());
        let council = server.claim("council", &merchant_claim("m-2", "500001")).json();
        assert_eq!(council["assessment"]["queue"], "council");
    });
}

#[test]
fn whoever_is_on_no_record_is_not_a_merchant() {
    Redress::test(|redress| {
        let server = with_merchants(redress);
        let claim = server.claim("k", &merchant_claim("stranger", "100000")).json();
        assert_eq!(claim["status"], "declined", "{claim}");
    });
}

#[test]
fn a_retry_gets_the_same_bytes_and_another_body_is_refused() {
    Redress::test(|redress| {
        let server = with_merchants(redress);
        let first = server.claim("key-1", &merchant_claim("m-1", "100000"));
        let again = server.claim("key-1", &merchant_claim("m-1", "100000"));
        assert_eq!((first.status, &first.body), (again.status, &again.body));
        assert_eq!(first.header("location"), again.header("location"));
        assert_eq!([first.header("idempotency-replayed"), again.header("idempotency-replayed")], ["false", "true"]);
        server.claim("key-1", &merchant_claim("m-1", "200000")).is_problem(422, "idempotency_key_reused");
        // Another customer's key is another key.
        assert_eq!(server.claim("key-1", &merchant_claim("m-2", "100000")).status, 201);
        assert_eq!(redress.number("SELECT count(*) FROM claim"), 2);
        // The answer holds the claimant's token: it must not lie open in the database.
        let token = first.json()["token"].as_str().unwrap().to_owned();
        let kept = redress.text("SELECT string_agg(encode(body, 'escape'), '') FROM idempotency");
        assert!(!kept.contains(&token) && !kept.contains("m-1@example.com"));
    });
}

#[test]
fn the_same_key_at_the_same_moment_files_one_claim() {
    Redress::test(|redress| {
        let server = with_merchants(redress);
        let answers: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..16).map(|_| scope.spawn(|| server.claim("race", &merchant_claim("m-1", "100000")))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let mut bodies: Vec<&Vec<u8>> = Vec::new();
        for answer in &answers {
            match answer.status {
                201 => bodies.push(&answer.body),
                _ => {
                    answer.is_problem(409, "idempotency_key_in_flight");
                    assert_eq!(answer.header("retry-after"), "1");
                }
            }
        }
        assert!(!bodies.is_empty() && bodies.iter().all(|body| *body == bodies[0]));
        assert_eq!(redress.number("SELECT count(*) FROM claim"), 1);
    });
}

#[test]
fn a_key_that_is_under_way_is_answered_at_once() {
    Redress::test(|redress| {
        use diesel::connection::SimpleConnection;
        let server = with_merchants(redress);
        // Another request stands still in the middle: it holds its customer's row.
        let mut other = redress.owner();
        other.batch_execute("BEGIN; LOCK TABLE claim IN ACCESS EXCLUSIVE MODE").unwrap();
        std::thread::scope(|scope| {
            let first = scope.spawn(|| server.claim("slow", &merchant_claim("m-1", "100000")));
            while redress.waiting_for_locks() == 0 {
                std::thread::yield_now();
            }
            server.claim("slow", &merchant_claim("m-1", "100000")).is_problem(409, "idempotency_key_in_flight");
            other.batch_execute("ROLLBACK").unwrap();
            assert_eq!(first.join().unwrap().status, 201);
        });
    });
}

#[test]
fn every_fault_of_a_request_is_named_by_its_pointer() {
    Redress::test(|redress| {
        let server = with_merchants(redress);
        let good = merchant_claim("m-1", "100000");
        let changed = |pointer: &str, value: Value| {
            let mut claim = good.clone();
            match claim.pointer_mut(pointer) {
                Some(place) => *place = value,
                None => {
                    let (parent, name) = pointer.rsplit_once('/').unwrap();
                    claim.pointer_mut(parent).unwrap()[name] = value;
                }
            }
            claim
        };
        for (pointer, value) in [
            ("/incident", json!("Kakao 2022")),
            ("/incident", json!("flood-2030")),
            ("/incident", json!(7)),
            ("/service", json!("cinema")),
            ("/customer", json!("")),
            ("/customer", json!("a b")),
            ("/customer", json!("x".repeat(65))),
            ("/policy", json!("melon")),
            ("/policy", json!("Melon!")),
            ("/facts/loss", json!("a lot")),
            ("/facts/loss", json!("-1")),
            ("/facts/loss", json!("300000.5")),
            ("/facts/loss", json!(300_000.5)),
            ("/facts/loss", json!("0.0000000000000000000000000001")),
            ("/facts/loss", json!(null)),
            ("/facts/Loss", json!("1")),
            ("/facts/note", json!("nul \u{0}")),
            ("/description", json!("x".repeat(4001))),
            ("/contact/email", json!("not an address")),
            ("/contact/name", json!("x".repeat(101))),
            ("/contact/language", json!("fr")),
            ("/surprise", json!(1)),
            ("/contact/fax", json!("02-123-4567")),
            ("/contact/phone", json!("call me")),
            ("/channel", json!("phone")),
            ("/channel", json!("pigeon")),
            ("/kind", json!("gossip")),
            ("/device", json!("x".repeat(129))),
        ] {
            let problem = server.claim("fault", &changed(pointer, value.clone())).is_problem(422, "invalid_request");
            let named = problem["errors"][0]["pointer"].as_str().unwrap_or_default();
            assert!(pointer.starts_with(named) && !named.is_empty(), "{pointer} {value}: {problem}");
        }
        assert_eq!(redress.number("SELECT count(*) FROM claim"), 0);
        // Nothing of all that used up the key.
        assert_eq!(server.claim("fault", &good).status, 201);
    });
}

#[test]
fn what_is_no_request_is_refused_with_a_code() {
    Redress::test(|redress| {
        let server = with_merchants(redress);
        let body = merchant_claim("m-1", "1").to_string();
        // Serde reads a list as the members in their order; the API has objects only.
        let as_list = format!("[\"{INCIDENT}\", \"kakaotalk\", \"m-1\", null, {{}}, \"\", {{}}]");
        let json = ("content-type", "application/json");
        let key = ("idempotency-key", "k");
        server.post("/v1/claims", &[json], &body).is_problem(400, "idempotency_key_missing");
        server.post("/v1/claims", &[json, ("idempotency-key", "")], &body).is_problem(400, "idempotency_key_missing");
        server
            .post("/v1/claims", &[json, ("idempotency-key", "a b")], &body)
            .is_problem(400, "idempotency_key_missing");
        let long = "k".repeat(129);
        server
            .post("/v1/claims", &[json, ("idempotency-key", &long)], &body)
            .is_problem(400, "idempotency_key_missing");
        server
            .post("/v1/claims", &[json, key, ("idempotency-key", "l")], &body)
            .is_problem(400, "idempotency_key_missing");
        server.post("/v1/claims", &[key], &body).is_problem(415, "unsupported_media_type");
        server
            .post("/v1/claims", &[("content-type", "text/plain"), key], &body)
            .is_problem(415, "unsupported_media_type");
        for broken in ["", "{", "{\"a", "null", "[]", "[1", &as_list, "\u{feff}{}", &format!("{body} {body}")] {
            server.post("/v1/claims", &[json, key], broken).is_problem(400, "malformed_body");
        }
        let deep = format!("{{\"facts\":{{\"loss\":{}", "[".repeat(10_000));
        assert!([400, 422].contains(&server.post("/v1/claims", &[json, key], deep).status));
        let large = format!("{{\"description\":\"{}\"}}", "x".repeat(70_000));
        server.post("/v1/claims", &[json, key], large).is_problem(413, "body_too_large");
        server.call("DELETE", "/v1/claims").is_problem(405, "method_not_allowed");
        server.get("/v1/nowhere", &[]).is_problem(404, "not_found");
        assert_eq!(redress.number("SELECT count(*) FROM claim"), 0);
    });
}

#[test]
fn a_claim_is_shown_to_the_holder_of_its_token_only() {
    Redress::test(|redress| {
        let server = with_merchants(redress);
        let filed = server.claim("mine", &merchant_claim("m-1", "100000")).json();
        let other = server.claim("other", &merchant_claim("m-2", "100000")).json();
        let path = format!("/v1/claims/{}", filed["id"].as_str().unwrap());
        let bearer = |claim: &Value| format!("Bearer {}", claim["token"].as_str().unwrap());
        let shown = server.get(&path, &[("authorization", &bearer(&filed))]);
        assert_eq!((shown.status, shown.header("etag")), (200, "\"1\""));
        let mut expected = filed.clone();
        expected.as_object_mut().unwrap().remove("token");
        expected.as_object_mut().unwrap().remove("link");
        let mut seen = shown.json();
        // What happened to it is told when it is looked at.
        let history = seen.as_object_mut().unwrap().remove("history").unwrap();
        assert_eq!((history[0]["event"].as_str(), history[0]["by"].as_str()), (Some("file"), Some("claimant")));
        // So is every step of its assessment.
        let trace = seen["assessment"].as_object_mut().unwrap().remove("trace").unwrap();
        assert_eq!(trace["rules"].as_array().unwrap().last().unwrap()["rule"], "first-tier");
        assert_eq!(seen, expected);
        server.get(&path, &[]).is_problem(401, "unauthorised");
        server.get(&path, &[("authorization", "Basic x")]).is_problem(401, "unauthorised");
        server.get(&path, &[("authorization", &bearer(&other))]).is_problem(404, "not_found");
        // A token that opens nothing here, and what is no token at all.
        let unknown = format!("Bearer {}", "0".repeat(64));
        server.get(&path, &[("authorization", &unknown)]).is_problem(404, "not_found");
        server.get(&path, &[("authorization", "Bearer 00")]).is_problem(401, "unauthorised");
        let unknown = "/v1/claims/00000000-0000-7000-8000-000000000000";
        server.get(unknown, &[("authorization", &bearer(&filed))]).is_problem(404, "not_found");
        server.get("/v1/claims/x", &[("authorization", &bearer(&filed))]).is_problem(400, "invalid_path");
    });
}

#[test]
fn a_service_that_pays_from_its_records_says_so() {
    Redress::test(|redress| {
        let server = with_merchants(redress);
        let roster = "customer,service,reference,kind,valid_from,valid_until,channel\n\
                      l-1,melon,s-1,subscription,2022-10-01T00:00:00+09:00,2022-11-01T00:00:00+09:00,web\n";
        let roster = redress.file("melon.csv", roster);
        redress.run(&["roster", "import", &roster, "--incident", INCIDENT]).succeeds();
        let claim = |customer: &str| json!({ "incident": INCIDENT, "service": "melon", "customer": customer });
        let on_record = server.claim("a", &claim("l-1")).json();
        assert_eq!(on_record["status"], "declined", "{on_record}");
        assert_eq!(on_record["assessment"]["reason"]["code"], "already-compensated");
        let off_record = server.claim("b", &claim("l-2")).json();
        assert_eq!(off_record["status"], "in_review", "{off_record}");
    });
}

#[test]
fn a_claim_without_a_policy_waits_and_is_assessed_when_one_comes_into_force() {
    Redress::test(|redress| {
        redress.with_incident().with_staff();
        let roster = redress.file("roster.csv", merchants(&["m-1"]));
        redress.run(&["roster", "import", &roster, "--incident", INCIDENT]).succeeds();
        let server = redress.serve();
        let filed = server.claim("early", &merchant_claim("m-1", "250000")).json();
        assert_eq!(filed["status"], "pending_policy", "{filed}");
        // What the policy will not be able to read cannot be known yet; a person will have to ask.
        let odd = server.claim("odd", &merchant_claim("m-1", "much")).json();
        assert_eq!(odd["status"], "pending_policy");
        redress.with_policies(&["kakaotalk-merchant-loss"]);
        let show = |claim: &Value| {
            let bearer = format!("Bearer {}", claim["token"].as_str().unwrap());
            server.get(&format!("/v1/claims/{}", claim["id"].as_str().unwrap()), &[("authorization", &bearer)]).json()
        };
        let assessed = show(&filed);
        assert_eq!(
            (assessed["status"].as_str(), assessed["assessment"]["rule"].is_string()),
            (Some("approved"), true),
            "{assessed}"
        );
        assert_eq!(show(&odd)["status"], "in_review");
    });
}

#[test]
fn personal_data_lie_sealed_and_never_in_the_log() {
    Redress::test(|redress| {
        redress.with_incident();
        let server = redress.serve_with(&[("REDRESS_LOG", "trace")]);
        let mut claim = merchant_claim("m-1", "100000");
        claim["description"] = json!("a-very-private-story");
        claim["contact"] = json!({ "email": "very.private@example.com", "name": "Private Person" });
        let filed = server.claim("private", &claim);
        assert_eq!(filed.status, 201);
        let token = filed.json()["token"].as_str().unwrap().to_owned();
        server.get(
            &format!("/v1/claims/{}", filed.json()["id"].as_str().unwrap()),
            &[("authorization", &format!("Bearer {token}"))],
        );
        let everything = redress.text(
            "SELECT string_agg(t, ' ') FROM (SELECT claim::text AS t FROM claim UNION ALL SELECT audit::text FROM audit \
             UNION ALL SELECT encode(sealed, 'escape') FROM personal UNION ALL SELECT notice::text FROM notice) AS all_rows",
        );
        let log = server.kill();
        for private in ["very.private", "Private Person", "a-very-private-story", &token] {
            assert!(!everything.contains(private), "{private} lies open in the database");
            assert!(!log.contains(private), "{private} stands in the log");
        }
        assert!(log.contains("request_id"), "the log has the requests: {log}");
    });
}

#[test]
fn a_claim_that_was_overlooked_at_the_approval_is_assessed_by_the_next_run() {
    Redress::test(|redress| {
        let server = with_merchants(redress);
        redress.with_budget("kakaotalk", "KRW", "100000");
        assert_eq!(server.claim("late", &merchant_claim("m-1", "100000")).json()["status"], "approved");
        drop(server);
        // As if it had been committed just after the approval had looked for claims that wait.
        redress.sql("UPDATE claim SET state = 'pending_policy'");
        assert_eq!(redress.issue()["issued"], 1);
        assert_eq!(redress.text("SELECT state FROM claim"), "issued");
    });
}

#[test]
fn a_service_that_claims_belong_to_cannot_be_dropped_from_its_incident() {
    Redress::test(|redress| {
        let server = with_merchants(redress);
        assert_eq!(server.claim("mine", &merchant_claim("m-1", "100000")).status, 201);
        let path = crate::harness::repository().join(format!("policies/incidents/{INCIDENT}.toml"));
        let source = std::fs::read_to_string(path).unwrap();
        let without = |service: &str| {
            let (head, services) = source.split_once("[[service]]\n").unwrap();
            let named = format!("service = \"{service}\"\n");
            let kept: Vec<&str> = services.split("[[service]]\n").filter(|one| !one.starts_with(&named)).collect();
            redress.file("less.toml", format!("{head}[[service]]\n{}", kept.join("[[service]]\n")))
        };
        let refused = redress.run(&["incident", "load", &without("kakaotalk")]);
        refused.fails(1, "service kakaotalk must stay: holdings or claims belong to it");
        // One that nothing belongs to may go.
        redress.run(&["incident", "load", &without("map")]).succeeds();
    });
}
