//! Search, export, and what is done to many claims at once: decisions after a preview, and files of the staff.

use serde_json::{Value, json};

use super::{ok, with_merchants};
use crate::harness::{Redress, Server, merchant_claim};

/// Installations with claims of nine merchants for people to read.
fn with_claims(redress: &Redress) -> (Server, Vec<Value>) {
    let server = with_merchants(redress);
    let claims = (1..=9).map(|number| {
        let mut claim = merchant_claim(&format!("m-{number}"), "900000");
        claim["contact"]["phone"] = json!(format!("010-0000-000{number}"));
        let answer = server.claim(&format!("k-{number}"), &claim);
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.json()
    });
    let claims = claims.collect();
    (server, claims)
}

#[test]
fn a_search_turns_its_pages_and_finds_what_is_named() {
    Redress::test(|redress| {
        let (server, claims) = with_claims(redress);
        let ann = redress.client(&server, "ann", "agent");
        let page = |query: &str| ok(&ann.get(&format!("/v1/claims?{query}")));
        let ids = |page: &Value| -> Vec<String> {
            page["claims"].as_array().unwrap().iter().map(|c| c["id"].as_str().unwrap().to_owned()).collect()
        };
        let all: Vec<String> = claims.iter().map(|claim| claim["id"].as_str().unwrap().to_owned()).collect();
        for query in ["", "status=in_review", "service=kakaotalk", "status=in_review,declined&service=kakaotalk"] {
            let (mut found, mut cursor) = (Vec::new(), String::new());
            loop {
                let page = page(&format!("{query}&limit=2{cursor}"));
                found.extend(ids(&page));
                match page["next"].as_str() {
                    Some(next) => cursor = format!("&cursor={next}"),
                    None => break,
                }
            }
            assert_eq!(found, all, "{query}");
        }
        let mut newest = ids(&page("sort=-created&status=in_review"));
        newest.reverse();
        assert_eq!(newest, all);
        // A cursor is good for its own search only, and nobody makes one up.
        let next = page("limit=2")["next"].as_str().unwrap().to_owned();
        ann.get(&format!("/v1/claims?limit=2&status=declined&cursor={next}")).is_problem(422, "invalid_request");
        ann.get(&format!("/v1/claims?cursor={}", "0".repeat(48))).is_problem(422, "invalid_request");
        for bad in ["limit=0", "limit=201", "status=lost", "sort=name", "service=cinema", "q=", "page=2"] {
            ann.get(&format!("/v1/claims?{bad}")).is_problem(422, "invalid_request");
        }
        crate::harness::wait_until("all were looked at", || redress.number("SELECT count(*) FROM triage") == 9);
        let reference = claims[3]["reference"].as_str().unwrap();
        let plain = reference.replace('-', "").to_lowercase();
        for q in [reference, &plain, &all[3], "m-4", "M-4@EXAMPLE.COM", "+82%2010-0000-0004"] {
            let found = ids(&page(&format!("q={q}")));
            assert_eq!(found.len(), usize::from(q != "M-4"), "{q}");
            assert_eq!(found, [all[3].clone()], "{q}");
        }
        assert!(ids(&page("q=nobody")).is_empty());
        let path = format!("/v1/claims/{}/assign", all[5]);
        ok(&ann.post_once(&path, &json!({ "to": "ann" })));
        assert_eq!(ids(&page("assignee=me")), [all[5].clone()]);
        assert_eq!(ids(&page("assignee=ann&status=in_review&service=kakaotalk")), [all[5].clone()]);
        assert!(ids(&page("assignee=ann&status=declined")).is_empty());
        assert_eq!(ok(&ann.get("/v1/queues"))[0]["waiting"], 9);
        // Nothing personal lies open in what makes it findable.
        let kept = redress.text("SELECT string_agg(t, ' ') FROM (SELECT claim_trait::text AS t FROM claim_trait UNION ALL SELECT triage::text FROM triage) AS rows");
        // A hash may have four zeros in a row.
        let phone = ["0000000", "0000-000"];
        assert!(!kept.contains("example.com") && !phone.iter().any(|digits| kept.contains(digits)), "{kept}");
        // Whoever works for other services finds none of these.
        redress.sql("UPDATE staff SET services = '[\"melon\"]' WHERE name = 'ann'");
        assert!(ids(&page("")).is_empty());
        ann.get(&format!("/v1/claims/{}", all[0])).is_problem(404, "not_found");
        assert!(ok(&ann.post_once("/v1/claims/next", &json!({})))["claim"].is_null());
    });
}

#[test]
fn an_export_has_every_claim_and_no_formula() {
    Redress::test(|redress| {
        let (server, _) = with_claims(redress);
        let ann = redress.client(&server, "ann", "agent");
        let mut evil = merchant_claim("=HYPERLINK(\"x\")", "1");
        evil["contact"] = json!({});
        assert_eq!(server.claim("evil", &evil).status, 201);
        // More than a page, so that it is read in several.
        redress.sql(
            "INSERT INTO claim (customer_id, id, reference, incident_id, service_id, state, facts, version, created_at, submitted_at, updated_at)
             SELECT 'x-' || n, gen_random_uuid(), 'R-' || n, incident_id, service_id, 'declined', '{}', 1, now(), now(), now()
             FROM claim, generate_series(1, 450) AS n WHERE customer_id = 'm-1'",
        );
        let export = ann.get("/v1/claims/export");
        assert_eq!((export.status, export.header("content-type")), (200, "text/csv; charset=utf-8"));
        let mut rows = csv::Reader::from_reader(export.body.as_slice());
        let customers: Vec<String> = rows.records().map(|row| row.unwrap()[4].to_owned()).collect();
        assert_eq!(customers.len(), 460);
        assert!(customers.contains(&"'=HYPERLINK(\"x\")".to_owned()), "{customers:?}");
        let some = ann.get("/v1/claims/export?status=in_review");
        assert_eq!(some.text().lines().count(), 10);
        ann.get("/v1/claims/export?status=lost").is_problem(422, "invalid_request");
        redress.sql("DELETE FROM claim WHERE customer_id LIKE 'x-%'");
    });
}

#[test]
fn many_are_decided_as_they_were_previewed_or_not_at_all() {
    Redress::test(|redress| {
        let (server, claims) = with_claims(redress);
        let (ann, bob) = (redress.client(&server, "ann", "agent"), redress.client(&server, "bob", "agent"));
        let ids: Vec<&str> = claims.iter().map(|claim| claim["id"].as_str().unwrap()).collect();
        let decline = json!({ "outcome": "decline", "reasons": ["proof-insufficient"] });
        let mut order = json!({ "claims": &ids[..4], "decision": decline });
        let declined = || redress.number("SELECT count(*) FROM claim WHERE state = 'declined'");
        let bulk = |order: &Value| ann.post_once("/v1/decisions/bulk", order);
        let preview = ok(&bulk(&order));
        assert_eq!((preview["committed"].as_bool(), preview["decided"].as_i64()), (Some(false), Some(4)), "{preview}");
        assert_eq!((preview["items"][0]["status"].as_str(), declined()), (Some("declined"), 0));
        assert_eq!(redress.number("SELECT count(*) FROM decision"), 0);
        // One changed since: it is not what was seen.
        ok(&bob.post_once(&format!("/v1/claims/{}/messages", ids[2]), &json!({ "text": "We are looking." })));
        order["commit"] = preview["hash"].clone();
        bulk(&order).is_problem(409, "preview_changed");
        order.as_object_mut().unwrap().remove("commit");
        order["commit"] = ok(&bulk(&order))["hash"].clone();
        assert_eq!(ok(&bulk(&order))["committed"], true);
        assert_eq!(declined(), 4);
        // One that cannot be keeps the others from it, or is named.
        let mut mixed =
            json!({ "claims": [ids[0], ids[4], "00000000-0000-7000-8000-000000000000"], "decision": decline });
        let preview = ok(&bulk(&mixed));
        let codes: Vec<Option<&str>> =
            preview["items"].as_array().unwrap().iter().map(|item| item["code"].as_str()).collect();
        assert_eq!(codes, [Some("illegal_move"), None, Some("not_found")]);
        mixed["commit"] = preview["hash"].clone();
        assert_eq!(ok(&bulk(&mixed))["committed"], false);
        assert_eq!(declined(), 4);
        mixed.as_object_mut().unwrap().remove("commit");
        mixed["mode"] = json!("each");
        mixed["commit"] = ok(&bulk(&mixed))["hash"].clone();
        let done = ok(&bulk(&mixed));
        assert_eq!((done["committed"].as_bool(), done["decided"].as_i64(), declined()), (Some(true), Some(1), 5));
        // What is beyond her limit is told apart: it waits for a second signature.
        let grant = json!({ "outcome": "approve", "awards": [{ "asset": "KRW", "amount": "300001" }], "reasons": [] });
        let preview = ok(&bulk(&json!({ "claims": &ids[5..7], "decision": grant })));
        assert_eq!((preview["decided"].as_i64(), preview["waiting"].as_i64()), (Some(2), Some(2)), "{preview}");
        assert_eq!((preview["items"][0]["waits"].as_bool(), done["waiting"].as_i64()), (Some(true), Some(0)));
        bulk(&json!({ "claims": [ids[5], ids[5]], "decision": decline })).is_problem(422, "invalid_request");
        bulk(&json!({ "claims": [], "decision": decline })).is_problem(422, "invalid_request");
        bulk(&json!({ "claims": vec![ids[5]; 201], "decision": decline })).is_problem(422, "invalid_request");
        bulk(&json!({ "claims": [ids[5]], "decision": decline, "force": true })).is_problem(422, "invalid_request");
    });
}

#[test]
fn the_staff_files_for_callers_and_from_files_with_the_same_checks() {
    Redress::test(|redress| {
        let server = with_merchants(redress);
        let ann = redress.client(&server, "ann", "agent");
        let mut call = merchant_claim("m-1", "1000");
        call["channel"] = json!("phone");
        let filed = ann.post_once("/v1/claims", &call);
        assert_eq!((filed.status, filed.json()["channel"].as_str()), (201, Some("phone")), "{}", filed.text());
        assert_eq!(redress.text("SELECT actor FROM audit WHERE action = 'claim.file'"), "ann");
        server.claim("stranger", &call).is_problem(422, "invalid_request");
        let file = "incident,service,customer,fact.loss,email,description\n\
                    kakao-2022-10-15,kakaotalk,m-2,250000,m-2@example.com,closed all day\n\
                    kakao-2022-10-15,kakaotalk,m-3,much,,\n\
                    kakao-2022-10-15,cinema,m-4,1,,\n\
                    kakao-2022-10-15,kakaotalk,m-5,0,nowhere,\n";
        let headers = [("content-type", "text/csv"), ("idempotency-key", "file-1")];
        let send = |body: &str| ann.send("POST", "/v1/claims/file", &headers, body);
        let lines = ok(&send(file));
        assert_eq!(
            (lines[0]["line"].as_i64(), lines[0]["claim"]["status"].as_str()),
            (Some(2), Some("approved")),
            "{lines}"
        );
        let pointer = |line: usize| lines[line]["problem"]["errors"][0]["pointer"].as_str();
        assert_eq!(
            [pointer(1), pointer(2), pointer(3)],
            [Some("/facts/loss"), Some("/service"), Some("/contact/email")]
        );
        assert_eq!(ok(&send(file))[0]["claim"]["id"], lines[0]["claim"]["id"], "a retry files nothing twice");
        assert_eq!(redress.number("SELECT count(*) FROM claim"), 2);
        send("incident,colour\nx,red\n").is_problem(400, "malformed_body");
        let many = format!("incident,service,customer\n{}", "kakao-2022-10-15,kakaotalk,m-1\n".repeat(501));
        send(&many).is_problem(413, "body_too_large");
    });
}
