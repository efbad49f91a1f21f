//! Runs the cases of a policy and says what differs, in words that name the case.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::assessment::{Assessment, OutcomeKind};
use super::cases::{Case, CaseFile, ExpectedRounding, SettlementCase};
use super::coverage::{Collector, Coverage};
use super::facts::Facts;
use super::number::parse_decimal;
use super::policy::Policy;
use super::settle::{Entry, Given, Input, Programme, Used, settle};
use crate::asset::{Amount, AssetCode};

/// What came of one case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaseResult {
    /// The case's name.
    pub name: String,
    /// Its line in the case file.
    pub line: usize,
    /// What differs; nothing when it passed.
    pub failures: Vec<String>,
}

impl CaseResult {
    /// Whether nothing differs.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.failures.is_empty()
    }
}

/// What came of all cases of a policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaseReport {
    /// The cases and settlements, in the order of the file.
    pub cases: Vec<CaseResult>,
    /// How much of the policy they show.
    pub coverage: Coverage,
}

impl CaseReport {
    /// Whether all cases passed and everything is covered.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.coverage.is_complete() && self.cases.iter().all(CaseResult::passed)
    }
}

impl CaseFile {
    /// Runs all cases. `sibling` compiles another policy that a settlement names, by the name of its file.
    pub fn run(&self, policy: &Policy, sibling: &dyn Fn(&str) -> Result<Policy, String>) -> CaseReport {
        let mut collector = Collector::new(policy);
        let mut cases: Vec<CaseResult> = Vec::new();
        for case in &self.cases {
            let trace = policy.trace_facts(&case.facts);
            collector.add(&trace);
            let mut failures = differences(case, &trace.assessment());
            failures.extend(order_matters(policy, &case.facts));
            cases.push(CaseResult { name: case.name.clone(), line: case.line, failures });
        }
        for case in &self.settlements {
            for subject in case.subjects.iter().filter(|subject| subject.policy.is_none()) {
                collector.add(&policy.trace_facts(&subject.facts));
            }
            cases.push(CaseResult {
                name: case.name.clone(),
                line: case.line,
                failures: settlement(case, policy, sibling),
            });
        }
        CaseReport { cases, coverage: collector.finish() }
    }
}

/// The untraced path must say the same as the traced one; a difference would be a defect of the engine.
fn order_matters(policy: &Policy, facts: &Facts) -> Option<String> {
    let fast = policy.assess_facts(facts);
    let traced = policy.trace_facts(facts);
    let same = match (&fast, traced.outcome()) {
        (Ok(a), Ok(b)) => {
            a.kind() == b.kind()
                && a.awards().iter().map(|award| award.amount).eq(b.awards().iter().map(|award| award.amount))
        }
        (Err(a), Err(b)) => a == b,
        _ => false,
    };
    (!same).then(|| "the assessment without trace differs from the one with trace: report this".to_owned())
}

fn differences(case: &Case, found: &Assessment) -> Vec<String> {
    let mut failures = Vec::new();
    let mut expect = |what: &str, wanted: &str, is: &str| {
        if wanted != is {
            failures.push(format!("{what}: expected {wanted}, but it is {is}"));
        }
    };
    let is = match &found.problem {
        Some(problem) if case.outcome != OutcomeKind::Error => format!("error ({}: {})", problem.code, problem.message),
        _ => found.outcome.as_str().to_owned(),
    };
    expect("outcome", case.outcome.as_str(), &is);
    let none = "(none)";
    if let Some(rule) = &case.rule {
        expect("rule", rule, found.rule.as_deref().unwrap_or(none));
    }
    if let Some(reason) = &case.reason {
        expect("reason", reason, found.reason.as_ref().map_or(none, |reason| &reason.code));
    }
    if let Some(appealable) = case.appealable {
        let is = found.reason.as_ref().map_or_else(|| none.to_owned(), |reason| reason.appealable.to_string());
        expect("appealable", &appealable.to_string(), &is);
    }
    if let Some(queue) = &case.queue {
        expect("queue", queue, found.queue.as_deref().unwrap_or(none));
    }
    if let Some(error) = &case.error {
        expect("error", error, found.problem.as_ref().map_or(none, |problem| &problem.code));
    }
    if let Some(evidence) = &case.evidence {
        let is: Vec<&str> = found.evidence.iter().map(|document| document.code.as_str()).collect();
        expect("evidence", &evidence.join(", "), &is.join(", "));
    }
    if let Some(amounts) = &case.amounts {
        let is =
            found.awards.iter().map(|award| (award.asset.as_str(), parse_decimal(&award.amount).unwrap_or_default()));
        expect("amounts", &sums(amounts.iter().map(|(code, amount)| (code.as_str(), *amount))), &sums(is));
    }
    if let Some(rounding) = &case.rounding {
        failures.extend(rounding_missing(rounding, found));
    }
    failures
}

/// Amounts by asset, in one order; zeros say nothing.
fn sums<'a>(amounts: impl Iterator<Item = (&'a str, Decimal)>) -> String {
    let mut by_asset: BTreeMap<&str, Decimal> = BTreeMap::new();
    for (asset, amount) in amounts {
        let sum = by_asset.entry(asset).or_default();
        *sum = sum.checked_add(amount).unwrap_or(*sum);
    }
    let shown: Vec<String> = by_asset
        .iter()
        .filter(|(_, amount)| !amount.is_zero())
        .map(|(asset, amount)| format!("{} {asset}", amount.normalize()))
        .collect();
    if shown.is_empty() { "nothing".to_owned() } else { shown.join(" + ") }
}

fn rounding_missing(wanted: &ExpectedRounding, found: &Assessment) -> Option<String> {
    let matches = |before: &str| match &wanted.before {
        None => true,
        Some(text) => match text.strip_suffix('…').or(text.strip_suffix("...")) {
            Some(digits) => before.starts_with(digits),
            None => {
                before == text.as_str()
                    || parse_decimal(before).is_some_and(|before| Some(before) == parse_decimal(text))
            }
        },
    };
    let fits = found.roundings.iter().any(|rounding| {
        matches(&rounding.before)
            && wanted.mode.as_ref().is_none_or(|mode| *mode == rounding.mode)
            && wanted.unit.is_none_or(|unit| Some(unit) == parse_decimal(&rounding.unit))
    });
    if fits {
        return None;
    }
    let made: Vec<String> =
        found.roundings.iter().map(|made| format!("{} {} to {}", made.before, made.mode, made.unit)).collect();
    let made = if made.is_empty() { "there was none".to_owned() } else { format!("there was: {}", made.join("; ")) };
    Some(format!("rounding: the expected one did not happen; {made}"))
}

fn settlement(case: &SettlementCase, policy: &Policy, sibling: &dyn Fn(&str) -> Result<Policy, String>) -> Vec<String> {
    let mut others: BTreeMap<&str, Policy> = BTreeMap::new();
    let mut failures = Vec::new();
    for name in case.subjects.iter().filter_map(|subject| subject.policy.as_deref()) {
        match sibling(name) {
            Ok(other) => {
                others.insert(name, other);
            }
            Err(error) => failures.push(format!("the policy {name} cannot be used: {error}")),
        }
    }
    let policy_of = |name: Option<&str>| match name {
        None => Some(policy),
        Some(name) => others.get(name),
    };
    let minor = |policy: &Policy, code: &AssetCode, amount: Decimal| {
        let scale = policy
            .assets()
            .iter()
            .find(|asset| asset.code() == code)
            .map_or(code.default_scale(), crate::asset::Asset::scale);
        Amount::from_decimal(amount, scale).unwrap_or_default()
    };
    let mut programme = Programme::default();
    for (code, amount) in &case.used {
        programme.set(policy.id().as_str(), code, Used { amount: minor(policy, code, *amount), takers: case.takers });
    }
    let given: Vec<Vec<Given>> = case
        .subjects
        .iter()
        .map(|subject| {
            let of = policy_of(subject.policy.as_deref()).unwrap_or(policy);
            subject
                .given
                .iter()
                .map(|(asset, amount)| Given { asset: asset.clone(), amount: minor(of, asset, *amount) })
                .collect()
        })
        .collect();
    if case.used.is_empty() && case.takers > 0 {
        for asset in policy.assets() {
            programme.set(policy.id().as_str(), asset.code(), Used { amount: Amount::ZERO, takers: case.takers });
        }
    }
    let mut entries = Vec::new();
    for (subject, given) in case.subjects.iter().zip(&given) {
        if let Some(policy) = policy_of(subject.policy.as_deref()) {
            let (reference, input) = (&*subject.reference, Input::Facts(&subject.facts));
            entries.push(Entry { policy, reference, input, given, reversed: &[] });
        }
    }
    if entries.len() != case.subjects.len() {
        return failures;
    }
    for (subject, settled) in case.subjects.iter().zip(settle(&entries, &mut programme)) {
        let is = settled.due.iter().map(|due| (due.asset.code().as_str(), due.to_credit.to_decimal(due.asset.scale())));
        let (wanted, is) = (sums(subject.amounts.iter().map(|(code, amount)| (code.as_str(), *amount))), sums(is));
        if let Err(error) = &settled.outcome {
            failures.push(format!("{}: {}", subject.reference, error.message()));
        } else if wanted != is {
            failures.push(format!("{}: expected {wanted}, but it is {is}", subject.reference));
        }
    }
    failures
}
