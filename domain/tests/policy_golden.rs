//! The published schemes, assessed on both sides of every bound.

use redress_domain::policy::{Facts, Outcome, Policy};

fn compile(source: &str) -> Policy {
    match Policy::compile(source, "test.toml") {
        Ok(policy) => policy,
        Err(found) => panic!("{}", found.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n\n")),
    }
}

fn outcome(policy: &Policy, facts: &str) -> String {
    let facts = Facts::from_json(facts).unwrap();
    match policy.assess_facts(&facts) {
        Ok(Outcome::Award { awards, rule }) => {
            let awards: Vec<String> = awards
                .iter()
                .map(|award| format!("{} {}", award.amount.to_decimal(award.asset.scale()), award.asset.code()))
                .collect();
            format!("{} by {}", awards.join(" + "), rule.as_str())
        }
        Ok(Outcome::Decline { reason, rule }) => format!("{} by {}", reason.code(), rule.as_str()),
        Ok(Outcome::Review { queue, rule, evidence }) => {
            format!("review {queue} {:?} by {}", evidence.iter().collect::<Vec<_>>(), rule.as_str())
        }
        Ok(Outcome::Pending { .. }) => "pending".to_owned(),
        Err(error) => format!("{}: {}", error.code(), error.message()),
    }
}

const DESIGN: &str = include_str!("policies/merchant-loss.toml");
const MELON: &str = include_str!("policies/melon.toml");

#[test]
fn k3_small_merchants() {
    let policy = compile(DESIGN);
    let facts = |loss: &str| format!("{{\"claim.loss\": {loss}, \"customer.merchant\": true}}");
    for (loss, expected) in [
        ("1", "30000 KRW by rule-2"),
        ("300000", "30000 KRW by rule-2"),
        ("300001", "50000 KRW by rule-3"),
        ("\"500000\"", "50000 KRW by rule-3"),
        ("500001", "review council [] by rule-4"),
        ("0", "no-loss-shown by rule-1"),
        ("-1", "mistyped-fact: the fact `claim.loss` must be money of KRW, at least 0, but it is -1"),
    ] {
        assert_eq!(outcome(&policy, &facts(loss)), expected);
    }
    assert_eq!(
        outcome(&policy, "{\"claim.los\": 1, \"customer.merchant\": true}"),
        "missing-fact: the fact `claim.loss` is missing"
    );
    assert_eq!(policy.version().len(), 64);
}

#[test]
fn k1_melon() {
    let policy = compile(MELON);
    let facts = |kind: &str, from: &str, until: &str, channel: &str| {
        format!(
            "{{\"holding\": {{\"kind\": \"{kind}\", \"valid_from\": \"{from}T00:00:00+09:00\", \"valid_until\": \"{until}T00:00:00+09:00\", \"channel\": \"{channel}\"}}}}"
        )
    };
    // The pass of 11 October to 10 November is valid on the 16th; the end is the first instant after it.
    assert_eq!(outcome(&policy, &facts("pass", "2022-10-11", "2022-11-11", "web")), "3 day:melon by extended");
    assert_eq!(
        outcome(&policy, &facts("pass", "2022-09-16", "2022-10-16", "web")),
        "1500 cash:melon by last-day-was-the-15th"
    );
    assert_eq!(outcome(&policy, &facts("pass", "2022-09-16", "2022-10-15", "web")), "not-affected by rule-4");
    assert_eq!(
        outcome(&policy, &facts("pass", "2022-10-11", "2022-11-11", "app_store")),
        "1500 cash:melon by cash-instead"
    );
}
