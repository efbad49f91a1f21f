//! The published schemes, assessed on both sides of every bound.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use redress_domain::policy::{CaseFile, Diagnostic, Facts, Language, Outcome, Policy};

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

/// The schemes beside this file, each with its cases: every one passes, and every rule and bound is covered.
#[test]
fn every_scheme_passes_its_cases_with_full_coverage() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/policies");
    let load = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let mut seen = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let Some(stem) = name.strip_suffix(".cases.toml") else { continue };
        let policy = compile(&load(&format!("{stem}.toml")));
        assert!(!policy.notes().iter().any(Diagnostic::refuses), "{stem}: {}", policy.notes()[0]);
        let cases = match CaseFile::parse(&load(&name), &name) {
            Ok(cases) => cases,
            Err(found) => panic!("{}", found[0]),
        };
        let report = cases.run(&policy, &|name| Ok(compile(&load(name))));
        for case in &report.cases {
            assert!(case.passed(), "{name}, line {}, {}: {:?}", case.line, case.name, case.failures);
        }
        assert!(report.coverage.is_complete(), "{stem}: {:#?}", report.coverage.missing);
        seen += 1;
    }
    assert!(seen >= 5, "{seen}");
}

#[test]
fn a_claimant_reads_why_in_both_languages() {
    let policy = compile(include_str!("policies/ticket.toml"));
    let facts = |late: i64, fare: &str| {
        let text = format!(
            "{{\"claim\": {{\"journey_date\": \"2026-05-01\", \"submitted_at\": \"2026-05-02T10:00:00+01:00\", \"fare\": {fare}, \"minutes_late\": {late}, \"ticket\": \"single\"}}}}"
        );
        Facts::from_json(&text).unwrap()
    };
    let award = policy.explain_facts(&facts(60, "20"));
    assert_eq!(
        award.sentence(Language::English),
        "Under \"Delay repay\" you receive 20.00 GBP. This is because table.repaid (100) is above 0. \
         Source: Passenger charter, part 4."
    );
    assert_eq!(
        award.sentence(Language::Korean),
        "「지연 보상」에 따라 20.00 GBP이(가) 지급됩니다. 적용 기준: table.repaid(100) 0 초과. 근거: Passenger charter, part 4."
    );
    let decline = policy.explain_facts(&facts(5, "20"));
    assert!(decline.sentence(Language::English).contains("You can appeal"), "{}", decline.sentence(Language::English));
    let review = policy.explain_facts(&facts(60, "90"));
    assert!(
        review.sentence(Language::Korean).contains("제출이 필요한 서류: 승차권."),
        "{}",
        review.sentence(Language::Korean)
    );
}

#[test]
fn a_policy_is_shared_between_threads() {
    fn shared<T: Send + Sync + 'static>(_: &T) {}
    shared(&compile(DESIGN));
}
