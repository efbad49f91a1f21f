//! The same loss is paid once: across claims, policies, runs and scopes; and caps over everybody hold across chunks.

use crate::harness::{INCIDENT, Redress, merchant_claim, merchants};

/// Merchants who may claim at the messenger and at the channel, whose policies are one stacking group.
pub(crate) fn two_doors(redress: &Redress) -> crate::harness::Server {
    redress.with_incident().with_staff().with_policies(&["kakaotalk-merchant-loss", "talk-channel"]);
    let mut roster = merchants(&["m-1", "m-2"]);
    roster.push_str("m-1,talk-channel,channel-m-1,account,true\nm-2,talk-channel,channel-m-2,account,true\n");
    let roster = redress.file("roster.csv", roster);
    redress.run(&["roster", "import", &roster, "--incident", INCIDENT]).succeeds();
    redress.with_budget("kakaotalk", "KRW", "1000000").with_budget("talk-channel", "KRW", "1000000");
    redress.serve()
}

fn credited(redress: &Redress, customer: &str) -> i64 {
    redress
        .number(&format!("SELECT coalesce(sum(amount), 0) FROM transfer WHERE code = 2 AND customer_id = '{customer}'"))
}

/// A claim at a service for a loss.
fn file(server: &crate::harness::Server, key: &str, customer: &str, service: &str, loss: &str) {
    let mut claim = merchant_claim(customer, loss);
    claim["service"] = service.into();
    let answer = server.claim(key, &claim);
    assert_eq!(answer.json()["status"], "approved", "{}", answer.text());
}

#[test]
fn a_loss_claimed_at_two_doors_is_paid_once_by_this_run_and_the_next() {
    Redress::test(|redress| {
        let server = two_doors(redress);
        file(&server, "a", "m-1", "kakaotalk", "250000");
        file(&server, "b", "m-1", "talk-channel", "400000");
        file(&server, "c", "m-2", "kakaotalk", "250000");
        file(&server, "d", "m-2", "kakaotalk", "260000");
        assert_eq!(redress.issue()["issued"], 2);
        assert_eq!([credited(redress, "m-1"), credited(redress, "m-2")], [50_000, 30_000]);
        // The claim that was paid is no longer waiting, but it still stands in the other's way.
        for _ in 0..2 {
            assert_eq!(redress.issue()["issued"], 0);
        }
        // And so it does when a run looks at the other policy alone.
        assert_eq!(
            redress.json(&["issue", "--incident", INCIDENT, "--policy", "kakaotalk-merchant-loss"])["issued"],
            0
        );
        assert_eq!([credited(redress, "m-1"), credited(redress, "m-2")], [50_000, 30_000]);
        // What got nothing is seen by a person, with the reason.
        let reasons = redress.text("SELECT string_agg(DISTINCT reason, ';') FROM run_exception");
        assert!(reasons.contains("pays the same loss (merchant-loss)"), "{reasons}");
        assert_eq!(redress.number("SELECT count(*) FROM claim WHERE state = 'in_review'"), 2);
        assert_eq!(redress.number("SELECT count(*) FROM run_exception"), 2, "each is set aside once, not by every run");
    });
}

#[test]
fn a_higher_claim_for_a_loss_that_was_paid_gets_the_difference() {
    Redress::test(|redress| {
        let server = two_doors(redress);
        file(&server, "a", "m-1", "kakaotalk", "250000");
        assert_eq!(redress.issue()["issued"], 1);
        file(&server, "b", "m-1", "talk-channel", "400000");
        assert_eq!(redress.issue()["issued"], 1);
        assert_eq!(credited(redress, "m-1"), 50_000);
        assert_eq!(redress.issue()["issued"], 0);
    });
}

#[test]
fn a_run_of_one_policy_does_not_pay_what_another_would() {
    Redress::test(|redress| {
        let server = two_doors(redress);
        file(&server, "a", "m-1", "kakaotalk", "250000");
        file(&server, "b", "m-1", "talk-channel", "400000");
        assert_eq!(
            redress.json(&["issue", "--incident", INCIDENT, "--policy", "kakaotalk-merchant-loss"])["issued"],
            0
        );
        assert_eq!(redress.json(&["issue", "--incident", INCIDENT, "--policy", "talk-channel"])["issued"], 1);
        assert_eq!(credited(redress, "m-1"), 50_000);
    });
}

#[test]
fn the_first_so_many_takers_are_exactly_so_many_however_many_workers() {
    Redress::test(|redress| {
        redress.with_incident().with_staff();
        let policy = format!(
            r#"
policy = "first-come"
incident = "{INCIDENT}"
service = "kakaotalk"
basis = "automatic"
title = {{ ko = "선착순", en = "First come" }}
[[rule]]
otherwise = true
award = [{{ asset = "item:sticker", amount = 1 }}]
[[cap]]
per = "programme"
asset = "item:sticker"
takers = 7_000
"#
        );
        let file = redress.file("first-come.toml", policy);
        redress.run(&["policy", "publish", &file, "--as", "author"]).succeeds();
        redress.run(&["policy", "approve", &file, "--as", "approver"]).succeeds();
        let customers: Vec<String> = (0..20_000).map(|n| format!("c-{n:05}")).collect();
        let roster = merchants(&customers.iter().map(String::as_str).collect::<Vec<_>>());
        let roster = redress.file("roster.csv", roster);
        redress.run(&["roster", "import", &roster, "--incident", INCIDENT]).succeeds();
        redress.with_budget("kakaotalk", "item:sticker", "20000");
        let both: Vec<_> = std::thread::scope(|scope| {
            let processes: Vec<_> = (0..2)
                .map(|_| scope.spawn(|| redress.json(&["issue", "--incident", INCIDENT, "--workers", "4"])))
                .collect();
            processes.into_iter().map(|process| process.join().unwrap()["issued"].as_u64().unwrap()).collect()
        });
        assert_eq!(both.iter().sum::<u64>(), 7_000, "{both:?}");
        assert_eq!(redress.number("SELECT count(*) FROM transfer WHERE code = 2"), 7_000);
        assert_eq!(redress.issue()["issued"], 0);
    });
}
