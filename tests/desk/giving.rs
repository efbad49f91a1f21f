//! A claim is given only to somebody to whom it comes, and comes back when he goes.

use serde_json::json;

use super::{ok, with_merchants};
use crate::harness::{Redress, merchant_claim};

#[test]
fn a_claim_is_given_only_to_whoever_gets_it() {
    Redress::test(|redress| {
        let server = with_merchants(redress);
        let filed = server.claim("k", &merchant_claim("m-1", "900000")).json();
        let path = format!("/v1/claims/{}", filed["id"].as_str().unwrap());
        let ann = redress.client(&server, "ann", "agent");
        redress.client(&server, "audrey", "auditor");
        redress.client(&server, "gone", "agent");
        redress.run(&["staff", "revoke", "gone"]).succeeds();
        redress.run(&["staff", "add", "melon-only", "--role", "agent", "--service", "melon"]).succeeds();
        redress.session(&server, "melon-only");
        redress.run(&["staff", "add", "not-yet", "--role", "agent"]).succeeds();
        for (name, why) in [
            ("finance", "is finance and does not work on claims"),
            ("audrey", "is auditor and does not work on claims"),
            ("melon-only", "does not work for the service"),
            ("not-yet", "has not set himself up"),
            ("gone", "no active member of staff"),
            ("nobody", "no active member of staff"),
        ] {
            let refused = ann.post_once(&format!("{path}/assign"), &json!({ "to": name }));
            let problem = refused.is_problem(422, "invalid_request");
            assert_eq!(problem["errors"][0]["pointer"], "/to", "{name}: {problem}");
            assert!(problem["errors"][0]["detail"].as_str().unwrap().contains(why), "{name}: {problem}");
        }
        assert_eq!(ok(&ann.post_once("/v1/claims/next", &json!({})))["claim"]["id"], filed["id"]);
    });
}

#[test]
fn what_waits_for_a_signature_is_given_to_somebody_who_can_sign_it() {
    Redress::test(|redress| {
        let server = with_merchants(redress);
        let filed = server.claim("k", &merchant_claim("m-1", "900000")).json();
        let path = format!("/v1/claims/{}", filed["id"].as_str().unwrap());
        let bob = redress.client(&server, "bob", "agent");
        let (lea, leo) = (redress.client(&server, "lea", "lead"), redress.client(&server, "leo", "lead"));
        let grant = json!({ "outcome": "approve", "awards": [{ "asset": "KRW", "amount": "5000000" }], "reasons": [] });
        let version = filed["version"].to_string();
        let headers =
            [("content-type", "application/json"), ("idempotency-key", "d"), ("if-match", &format!("\"{version}\""))];
        ok(&lea.send("POST", &format!("{path}/decision"), &headers, grant.to_string()));
        for name in ["bob", "lea"] {
            let refused = bob.post_once(&format!("{path}/assign"), &json!({ "to": name }));
            assert_eq!(refused.is_problem(422, "invalid_request")["errors"][0]["pointer"], "/to", "{name}");
        }
        ok(&bob.post_once(&format!("{path}/assign"), &json!({ "to": "leo" })));
        let signatures = json!({ "queue": "signature" });
        assert_eq!(ok(&leo.post_once("/v1/claims/next", &signatures))["claim"]["id"], filed["id"]);
    });
}

#[test]
fn the_claims_of_a_member_who_is_revoked_come_back_to_all() {
    Redress::test(|redress| {
        let server = with_merchants(redress);
        let filed =
            [1, 2].map(|n| server.claim(&format!("k-{n}"), &merchant_claim(&format!("m-{n}"), "900000")).json());
        let path = format!("/v1/claims/{}", filed[0]["id"].as_str().unwrap());
        let (ann, bob) = (redress.client(&server, "ann", "agent"), redress.client(&server, "bob", "agent"));
        let boss = redress.client(&server, "boss", "administrator");
        let shown = ok(&ann.post_once(&format!("{path}/assign"), &json!({ "to": "bob" })));
        assert_eq!(ok(&bob.post_once("/v1/claims/next", &json!({})))["claim"]["id"], filed[0]["id"]);
        assert_eq!(boss.post_once("/v1/staff/bob/revoke", &json!({})).status, 200);
        let after = ok(&ann.get(&path));
        assert!(after["desk"]["assignee"].is_null() && after["desk"]["reader"].is_null(), "{after}");
        assert_eq!(after["version"].as_i64(), shown["version"].as_i64().map(|version| version + 1));
        let next = || ok(&ann.post_once("/v1/claims/next", &json!({})))["claim"]["id"].clone();
        assert_eq!([next(), next()], [filed[0]["id"].clone(), filed[1]["id"].clone()]);
        let log = "FROM audit WHERE action = 'claim.assign' AND actor = 'boss' AND detail::jsonb @> '{\"to\": null}'";
        assert_eq!(redress.number(&format!("SELECT count(*) {log}")), 1);
    });
}
