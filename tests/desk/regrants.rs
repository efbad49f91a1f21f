//! What is decided again after it was paid: whatever is said of a claim then, its loss is not paid twice.

use serde_json::json;

use super::{Claimant, decide, ok};
use crate::harness::{INCIDENT, Redress, merchant_claim, merchants};

fn credited(redress: &Redress) -> i64 {
    redress.number("SELECT coalesce(sum(amount), 0)::bigint FROM transfer WHERE code = 2")
}

/// A claim of `m-1` for a loss that a person has to look at.
fn in_review<'a>(server: &'a crate::harness::Server, policy: Option<&str>) -> Claimant<'a> {
    let mut claim = merchant_claim("m-1", "900000");
    if let Some(policy) = policy {
        claim["policy"] = policy.into();
    }
    let filed = server.claim("a", &claim).json();
    assert_eq!(filed["status"], "in_review", "{filed}");
    Claimant::of(server, &filed)
}

fn part(amount: &str, policy: Option<&str>) -> serde_json::Value {
    let mut decision = json!({ "outcome": "part", "awards": [{ "asset": "KRW", "amount": amount }],
                               "reasons": ["loss-partly-shown"] });
    if let Some(policy) = policy {
        decision["policy"] = policy.into();
    }
    decision
}

#[test]
fn a_claim_that_was_paid_and_declined_since_stands_in_the_way_of_another_for_the_same_loss() {
    Redress::test(|redress| {
        let server = crate::stacking::two_doors(redress);
        let ann = redress.client(&server, "ann", "agent");
        let bob = redress.client(&server, "bob", "agent");
        let claimant = in_review(&server, None);
        ok(&decide(&ann, &claimant.path, &part("30000", None)));
        assert_eq!(redress.issue()["issued"], 1);
        ok(&claimant.does("appeal", &json!({ "text": "It was more." })));
        ok(&decide(&bob, &claimant.path, &json!({ "outcome": "decline", "reasons": ["proof-insufficient"] })));
        let mut other = merchant_claim("m-1", "400000");
        other["service"] = "talk-channel".into();
        assert_eq!(server.claim("b", &other).json()["status"], "approved");
        assert_eq!(redress.issue()["issued"], 1, "the difference");
        assert_eq!(credited(redress), 50_000);
        assert_eq!(redress.issue()["issued"], 0);
        redress.run(&["verify"]).succeeds();
    });
}

/// A policy of the messenger under which a person decides each claim.
fn by_hand(redress: &Redress, name: &str) {
    let policy = format!(
        "policy = \"{name}\"\nincident = \"{INCIDENT}\"\nservice = \"kakaotalk\"\nbasis = \"claim\"\n\
         title = {{ ko = \"수기 심사\", en = \"By hand\" }}\n[facts]\n\"claim.loss\" = {{ type = \"money\", asset = \"KRW\" }}\n\
         [[rule]]\nname = \"hand\"\nwhen = \"claim.loss > 0\"\nreview = \"council\"\n\
         [[rule]]\nname = \"none\"\notherwise = true\naward = [{{ asset = \"KRW\", amount = 1 }}]\n"
    );
    let file = redress.file(&format!("{name}.toml"), policy);
    redress.run(&["policy", "publish", &file, "--as", "author"]).succeeds();
    redress.run(&["policy", "approve", &file, "--as", "approver"]).succeeds();
}

#[test]
fn a_claim_that_was_credited_is_granted_more_under_the_same_policy_only() {
    Redress::test(|redress| {
        redress.with_incident().with_staff().with_budget("kakaotalk", "KRW", "1000000");
        by_hand(redress, "hand-a");
        by_hand(redress, "hand-b");
        let roster = redress.file("roster.csv", merchants(&["m-1"]));
        redress.run(&["roster", "import", &roster, "--incident", INCIDENT]).succeeds();
        let server = redress.serve();
        let ann = redress.client(&server, "ann", "agent");
        let bob = redress.client(&server, "bob", "agent");
        let claimant = in_review(&server, Some("hand-a"));
        ok(&decide(&ann, &claimant.path, &part("30000", Some("hand-a"))));
        assert_eq!(redress.issue()["issued"], 1);
        ok(&claimant.does("appeal", &json!({ "text": "It was more." })));
        let refused = decide(&bob, &claimant.path, &part("50000", Some("hand-b"))).is_problem(422, "invalid_request");
        assert_eq!(refused["errors"][0]["pointer"], "/policy", "{refused}");
        assert!(refused.to_string().contains("credited under hand-a"), "{refused}");
        ok(&decide(&bob, &claimant.path, &part("50000", Some("hand-a"))));
        assert_eq!(redress.issue()["issued"], 1);
        assert_eq!(credited(redress), 50_000);
        redress.run(&["verify"]).succeeds();
        // What only a hand at the database could do is found.
        let under = |policy: &str| {
            redress.sql(&format!(
                "UPDATE transfer SET policy_version_id = (SELECT version.id FROM policy_version AS version JOIN policy
                     ON policy.id = version.policy_id WHERE policy.name = '{policy}') WHERE code = 2 AND amount = 20000"
            ));
        };
        under("hand-b");
        let found = redress.run(&["verify"]).fails(1, "").stdout;
        assert!(found.contains("was credited under hand-a and hand-b"), "{found}");
        under("hand-a");
    });
}

#[test]
fn a_claim_that_was_granted_is_paid_though_its_policy_was_retired() {
    Redress::test(|redress| {
        let server = crate::stacking::two_doors(redress);
        assert_eq!(server.claim("a", &merchant_claim("m-1", "250000")).json()["status"], "approved");
        redress
            .run(&["policy", "retire", "kakaotalk-merchant-loss", "--incident", INCIDENT, "--as", "approver"])
            .succeeds();
        assert_eq!(redress.issue()["issued"], 1);
        assert_eq!((credited(redress), redress.text("SELECT state FROM claim")), (30_000, "issued".to_owned()));
        assert_eq!(redress.issue()["issued"], 0);
        redress.run(&["verify"]).succeeds();
    });
}
