//! The documents say what the engine does: every message, lint, function and key, and the tutorial works as printed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::path::Path;

use redress_domain::policy::{CaseFile, Facts, LINTS, Outcome, Policy};

const REFERENCE: &str = include_str!("../../docs/POLICIES.md");
const SCHEMA: &str = include_str!("../../docs/policy.schema.json");

/// The codes that stand in the engine's source as the first text after a call that makes a message.
fn codes_in_source() -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/policy");
    let mut codes = BTreeSet::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let source = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        let source = source.split("#[cfg(test)]").next().unwrap();
        for call in [".error(", ".warn(", ".unfair(", ".waivable(", "AssessError::new(", "Self::new("] {
            for (at, _) in source.match_indices(call) {
                let rest = source[at + call.len()..].trim_start();
                let Some(code) = rest.strip_prefix('"').and_then(|rest| rest.split('"').next()) else { continue };
                let is_code = code.contains('-')
                    || matches!(code, "type" | "unit" | "gap" | "overlap" | "twice" | "circle" | "syntax");
                if is_code && code.bytes().all(|b| b.is_ascii_lowercase() || b == b'-') {
                    codes.insert(code.to_owned());
                }
            }
        }
    }
    codes
}

#[test]
fn every_message_is_in_the_reference_with_its_remedy() {
    let codes = codes_in_source();
    assert!(codes.len() > 50, "{codes:?}");
    let missing: Vec<&String> = codes.iter().filter(|code| !REFERENCE.contains(&format!("`{code}`"))).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn every_lint_is_in_the_reference_and_in_the_schema() {
    let schema: serde_json::Value = serde_json::from_str(SCHEMA).unwrap();
    let listed = schema["properties"]["waive"]["items"]["properties"]["lint"]["enum"].as_array().unwrap();
    for (lint, refuses) in LINTS {
        assert!(REFERENCE.contains(&format!("| `{lint}` | {refuses} |")), "{lint}: {refuses}");
        assert!(listed.iter().any(|known| known == lint), "{lint}");
    }
    assert_eq!(listed.len(), LINTS.len());
}

/// The keys that the loader knows of a table, as its message names them.
fn known_keys(source: &str) -> BTreeSet<String> {
    let found = Policy::compile(source, "p.toml").unwrap_err();
    let unknown = found.iter().find(|found| found.code == "unknown-key").unwrap();
    let keys = unknown.remedy.strip_prefix("known here: ").unwrap();
    keys.split(", ").map(str::to_owned).collect()
}

#[test]
fn the_schema_has_the_keys_that_the_loader_has() {
    let schema: serde_json::Value = serde_json::from_str(SCHEMA).unwrap();
    let keys = |pointer: &str| -> BTreeSet<String> {
        let found = schema.pointer(pointer).and_then(serde_json::Value::as_object);
        found.unwrap_or_else(|| panic!("{pointer}")).keys().cloned().collect()
    };
    let name = "~1^[a-z][a-z0-9_]*$".replace("~1", "");
    let code = "^[a-z0-9][a-z0-9_-]*$";
    let cases = [
        ("zzzzzzzz = 1".to_owned(), "/properties".to_owned()),
        ("[facts]\n\"claim.a\" = { type = \"int\", zzzzzzzz = 1 }".to_owned(), "/$defs/fact/properties".to_owned()),
        ("[[rule]]\nzzzzzzzz = 1".to_owned(), "/properties/rule/items/properties".to_owned()),
        (
            "[[rule]]\nwhen = \"true\"\naward = [{ zzzzzzzz = 1 }]".to_owned(),
            "/properties/rule/items/properties/award/items/properties".to_owned(),
        ),
        ("[[cap]]\nzzzzzzzz = 1".to_owned(), "/properties/cap/items/properties".to_owned()),
        ("[stacking]\nzzzzzzzz = 1".to_owned(), "/properties/stacking/properties".to_owned()),
        ("[claim_window]\nzzzzzzzz = 1".to_owned(), "/properties/claim_window/properties".to_owned()),
        ("[second_reading]\nzzzzzzzz = 1".to_owned(), "/properties/second_reading/properties".to_owned()),
        ("[fairness]\nzzzzzzzz = 1".to_owned(), "/properties/fairness/properties".to_owned()),
        ("[[waive]]\nzzzzzzzz = 1".to_owned(), "/properties/waive/items/properties".to_owned()),
        ("[asset.\"KRW\"]\nzzzzzzzz = 1".to_owned(), "/properties/asset/additionalProperties/properties".to_owned()),
        (
            "[parameter.a]\nzzzzzzzz = 1".to_owned(),
            format!("/properties/parameter/patternProperties/{name}/properties"),
        ),
        ("[table.a]\nzzzzzzzz = 1".to_owned(), format!("/properties/table/patternProperties/{name}/properties")),
        ("[clock.a]\nzzzzzzzz = 1".to_owned(), format!("/properties/clock/patternProperties/{name}/properties")),
        ("[calendar.a]\nzzzzzzzz = 1".to_owned(), format!("/properties/calendar/patternProperties/{name}/properties")),
        ("[reason.a]\nzzzzzzzz = 1".to_owned(), format!("/properties/reason/patternProperties/{code}/properties")),
        ("[evidence.a]\nzzzzzzzz = 1".to_owned(), format!("/properties/evidence/patternProperties/{code}/properties")),
    ];
    for (source, pointer) in cases {
        assert_eq!(known_keys(&source), keys(&pointer), "{pointer}");
    }
}

#[test]
fn every_function_is_in_the_reference() {
    // An unknown function suggests the nearest; each name with one letter too many suggests itself.
    let names = include_str!("../src/policy/signatures.rs");
    for name in names.lines().filter_map(|line| line.trim().strip_prefix("of(\"")?.split('"').next()) {
        assert!(
            REFERENCE.contains(&format!("`{name}("))
                || REFERENCE.contains(&format!("{name}`"))
                || REFERENCE.contains(&format!("{name}(")),
            "{name}"
        );
    }
}

/// The n-th block of TOML after a heading of the reference.
fn block(heading: &str, n: usize) -> &'static str {
    let section = &REFERENCE[REFERENCE.find(heading).unwrap()..];
    section.split("```toml\n").nth(n).unwrap().split("\n```").next().unwrap()
}

#[test]
fn the_tutorial_works_as_printed() {
    let policy = match Policy::compile(block("# Tutorial", 1), "policies/merchants.toml") {
        Ok(policy) => policy,
        Err(found) => panic!("{}", found[0]),
    };
    assert!(policy.notes().is_empty());
    let cases = CaseFile::parse(block("# Tutorial", 2), "policies/merchants.cases.toml").unwrap();
    let report = cases.run(&policy, &|_| Err("none".to_owned()));
    assert!(report.cases.iter().all(|case| case.passed()), "{report:?}");
    let broken = block("# Tutorial", 1).replacen("claim.loss <= 300_000", "claim.los <= 300_000", 1);
    let shown = Policy::compile(&broken, "policies/merchants.toml").unwrap_err()[0].to_string();
    assert!(REFERENCE.contains(&shown), "{shown}");
    let facts = Facts::from_json("{ \"claim.loss\": 300000, \"customer.merchant\": true }").unwrap();
    assert!(matches!(policy.assess_facts(&facts), Ok(Outcome::Award { .. })));
}
