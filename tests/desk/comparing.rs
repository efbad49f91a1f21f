//! Claims beside each other: what several share, the same loss twice, and samples that somebody else reads again.

use serde_json::json;

use super::{Claimant, decide, ok, with_merchants};
use crate::harness::{Answer, Client, Redress, merchant_claim};

#[test]
fn what_claims_share_is_shown_and_declines_nothing() {
    Redress::test(|redress| {
        let server = with_merchants(redress);
        let ann = redress.client(&server, "ann", "agent");
        let words = "Our shop in the old market lost every order of that Saturday because nobody could reach us";
        let mut one = merchant_claim("m-1", "900000");
        one["description"] = json!(words);
        one["contact"]["payout_account"] = json!("Hana 123-456-7890");
        let mut two = merchant_claim("m-2", "950000");
        two["description"] = json!(format!("{words}!"));
        two["contact"]["payout_account"] = json!("hana 1234567890");
        let first = server.claim("one", &one).json();
        let second = server.claim("two", &two).json();
        crate::harness::wait_until("both were looked at", || redress.number("SELECT count(*) FROM triage") == 2);
        let shown = ok(&ann.get(&format!("/v1/claims/{}", second["id"].as_str().unwrap())));
        let findings = shown["desk"]["findings"].as_array().unwrap();
        let kinds: Vec<&str> = findings.iter().map(|finding| finding["kind"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["payout_account", "text"], "{shown}");
        assert_eq!(findings[0]["claims"], json!([first["reference"]]));
        assert_eq!(shown["status"], "in_review");
        let own = Claimant::of(&server, &second).shown();
        assert!(own["desk"].is_null(), "claimants see nothing of others: {own}");
    });
}

#[test]
fn samples_are_read_again_by_somebody_else() {
    Redress::test(|redress| {
        let server = with_merchants(redress);
        let source =
            std::fs::read_to_string(crate::harness::repository().join("policies/kakaotalk-merchant-loss.toml"))
                .unwrap();
        let sampled = source.replace("random   = 0.02\ndeclines = 0.1", "random   = 0\ndeclines = 1");
        assert_ne!(sampled, source);
        let file = redress.file("kakaotalk-merchant-loss.toml", sampled);
        redress.run(&["policy", "publish", &file, "--as", "author"]).succeeds();
        redress.run(&["policy", "approve", &file, "--as", "approver"]).succeeds();
        let (ann, bob) = (redress.client(&server, "ann", "agent"), redress.client(&server, "bob", "agent"));
        let lea = redress.client(&server, "lea", "lead");
        let by_policy = Claimant::of(&server, &server.claim("a", &merchant_claim("m-1", "0")).json());
        server.claim("b", &merchant_claim("m-2", "1000"));
        let by_ann = Claimant::of(&server, &server.claim("c", &merchant_claim("m-3", "900000")).json());
        ok(&decide(&ann, &by_ann.path, &json!({ "outcome": "decline", "reasons": ["not-covered"] })));
        crate::harness::wait_until("the policy's decline is drawn", || {
            redress.number("SELECT count(*) FROM second_reading") == 2
        });
        let again = |client: &Client<'_>, claim: &Claimant<'_>, agrees: bool| {
            client.post_once(&format!("{}/second-reading", claim.path), &json!({ "agrees": agrees }))
        };
        assert_eq!(ok(&ann.get("/v1/second-readings")).as_array().unwrap().len(), 1, "not one's own");
        again(&ann, &by_ann, true).is_problem(403, "four_eyes");
        ok(&again(&bob, &by_ann, false));
        ok(&again(&ann, &by_policy, true));
        again(&bob, &by_policy, true).is_problem(409, "claim_conflict");
        let figures = ok(&lea.get("/v1/reports/agreement"));
        let of =
            |by: &str| figures.as_array().unwrap().iter().find(|figure| figure["decided_by"] == by).unwrap().clone();
        assert_eq!((of("policy")["read"].as_i64(), of("policy")["agreed"].as_i64()), (Some(1), Some(1)), "{figures}");
        assert_eq!((of("person")["read"].as_i64(), of("person")["agreed"].as_i64()), (Some(1), Some(0)));
        // Whoever disagrees takes the claim up again; it is decided anew.
        let reopened =
            ok(&bob.post_once(&format!("{}/reopen", by_ann.path), &json!({ "reason": "second-reader-disagrees" })));
        assert_eq!(reopened["status"], "in_review");
    });
}

#[test]
fn the_same_loss_at_the_same_moment_is_one_claim() {
    Redress::test(|redress| {
        let server = with_merchants(redress);
        let answers: Vec<Answer> = std::thread::scope(|scope| {
            let file = |number: u32| server.claim(&format!("k-{number}"), &merchant_claim("m-1", "900000"));
            let threads: Vec<_> = (0..12).map(|number| scope.spawn(move || file(number))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(answers.iter().all(|answer| answer.status == 201));
        assert_eq!(redress.number("SELECT count(*) FROM claim WHERE duplicate_of IS NULL"), 1);
        assert_eq!(
            redress.number("SELECT count(*) FROM claim WHERE duplicate_of IS NOT NULL AND state = 'closed'"),
            11
        );
    });
}

#[test]
fn a_claim_that_cannot_be_read_hides_no_other_from_comparison() {
    Redress::test(|redress| {
        let server = with_merchants(redress);
        let file = |customer: &str| {
            let mut claim = merchant_claim(customer, "900000");
            claim["contact"] = json!({});
            server.claim(customer, &claim).json()["id"].as_str().unwrap().to_owned()
        };
        let broken = file("m-1");
        redress.sql("CREATE TABLE kept AS SELECT sealed FROM personal; UPDATE personal SET sealed = 'x'");
        redress.sql(&format!("DELETE FROM triage WHERE claim_id = '{broken}'"));
        let other = file("m-2");
        let looked = |claim: &str| redress.number(&format!("SELECT count(*) FROM triage WHERE claim_id = '{claim}'"));
        crate::harness::wait_until("the other was looked at", || looked(&other) == 1);
        assert_eq!(looked(&broken), 0);
        // Once it is mended it is compared too.
        redress.sql("UPDATE personal SET sealed = kept.sealed FROM kept WHERE customer_id = 'm-1'; DROP TABLE kept");
        crate::harness::wait_until("it was looked at", || looked(&broken) == 1);
    });
}
