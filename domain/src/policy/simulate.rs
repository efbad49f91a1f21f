//! Says before publishing what a policy would do: counts, costs, who gets nothing and why, and who would gain or
//! lose against another version. Subjects are added one by one; the memory does not grow with their number.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::limits::MAX_EXAMPLES;
use super::outcome::{AssessError, Outcome};
use super::policy::Policy;
use super::rules::{AssetTerms, Worth};

/// The most different amounts of one asset that are counted each by itself; beyond it by steps of 1, 2, 5.
const MAX_DISTINCT: usize = 64;
/// The most pairs of rules that a comparison counts.
const MAX_PAIRS: usize = 1_024;

type Assessed<'a> = Result<Outcome<'a>, AssessError>;

/// Counts what a policy does to many subjects.
#[derive(Debug, Clone)]
pub struct Simulation {
    policy: Policy,
    subjects: u64,
    /// By the rule's place; the last is for outcomes without a rule.
    rules: Vec<RuleTally>,
    errors: BTreeMap<&'static str, ErrorTally>,
    assets: Vec<AssetTally>,
}

#[derive(Debug, Clone, Default)]
struct RuleTally {
    kinds: BTreeMap<&'static str, u64>,
    nothing: u64,
    reasons: BTreeMap<String, u64>,
    examples: Vec<String>,
}

#[derive(Debug, Clone, Default)]
struct ErrorTally {
    count: u64,
    message: String,
    examples: Vec<String>,
}

#[derive(Debug, Clone, Default)]
struct AssetTally {
    awards: u64,
    sum: i128,
    least: i64,
    most: i64,
    distinct: BTreeMap<i64, u64>,
    steps: BTreeMap<i64, u64>,
    overflowed: bool,
}

impl AssetTally {
    fn add(&mut self, amount: i64) {
        self.least = if self.awards == 0 { amount } else { self.least.min(amount) };
        self.most = self.most.max(amount);
        self.awards += 1;
        self.sum += i128::from(amount);
        *self.steps.entry(step(amount)).or_default() += 1;
        if self.overflowed {
            return;
        }
        *self.distinct.entry(amount).or_default() += 1;
        if self.distinct.len() > MAX_DISTINCT {
            self.overflowed = true;
            self.distinct.clear();
        }
    }

    fn merge(&mut self, other: Self) {
        if other.awards == 0 {
            return;
        }
        self.least = if self.awards == 0 { other.least } else { self.least.min(other.least) };
        self.most = self.most.max(other.most);
        self.awards += other.awards;
        self.sum += other.sum;
        self.overflowed |= other.overflowed;
        for (from, count) in other.steps {
            *self.steps.entry(from).or_default() += count;
        }
        for (amount, count) in other.distinct {
            *self.distinct.entry(amount).or_default() += count;
        }
        if self.overflowed || self.distinct.len() > MAX_DISTINCT {
            self.overflowed = true;
            self.distinct.clear();
        }
    }
}

/// The largest of 1, 2, 5, 10, 20, 50 … that is not above the amount.
fn step(amount: i64) -> i64 {
    let mut decade: i64 = 1;
    while decade <= amount / 10 {
        decade *= 10;
    }
    [5, 2]
        .into_iter()
        .filter_map(|factor| decade.checked_mul(factor))
        .find(|step| *step <= amount)
        .unwrap_or(decade.min(amount.max(0)))
}

fn keep(examples: &mut Vec<String>, example: impl FnOnce() -> String) {
    if examples.len() < MAX_EXAMPLES {
        examples.push(example());
    }
}

impl Simulation {
    /// Nothing counted yet.
    #[must_use]
    pub fn new(policy: &Policy) -> Self {
        Self {
            policy: policy.clone(),
            subjects: 0,
            rules: vec![RuleTally::default(); policy.rules().len() + 1],
            errors: BTreeMap::new(),
            assets: vec![AssetTally::default(); policy.assets().len()],
        }
    }

    /// Counts one subject; `example` names it and is asked only when it is kept.
    pub fn add(&mut self, assessed: &Assessed<'_>, example: impl FnOnce() -> String) {
        self.subjects += 1;
        let outcome = match assessed {
            Ok(outcome) => outcome,
            Err(error) => {
                let tally = self.errors.entry(error.code()).or_default();
                tally.count += 1;
                if tally.message.is_empty() {
                    tally.message = error.message().to_owned();
                }
                return keep(&mut tally.examples, example);
            }
        };
        let place = outcome.rule().map_or(self.policy.rules().len(), |rule| rule.place());
        let Some(tally) = self.rules.get_mut(place) else { return };
        *tally.kinds.entry(outcome.kind()).or_default() += 1;
        if let Outcome::Decline { reason, .. } = outcome {
            tally.nothing += 1;
            *tally.reasons.entry(reason.code().to_owned()).or_default() += 1;
            keep(&mut tally.examples, example);
        }
        for award in outcome.awards().iter() {
            if let Some(asset) = self.assets.get_mut(award.place) {
                asset.add(award.amount.minor());
            }
        }
    }

    /// Adds what another worker counted for the same policy version.
    pub fn merge(&mut self, other: Self) {
        self.subjects += other.subjects;
        for (mine, theirs) in self.rules.iter_mut().zip(other.rules) {
            for (kind, count) in theirs.kinds {
                *mine.kinds.entry(kind).or_default() += count;
            }
            for (reason, count) in theirs.reasons {
                *mine.reasons.entry(reason).or_default() += count;
            }
            mine.nothing += theirs.nothing;
            mine.examples.extend(theirs.examples);
            mine.examples.truncate(MAX_EXAMPLES);
        }
        for (code, theirs) in other.errors {
            let mine = self.errors.entry(code).or_default();
            mine.count += theirs.count;
            if mine.message.is_empty() {
                mine.message = theirs.message;
            }
            mine.examples.extend(theirs.examples);
            mine.examples.truncate(MAX_EXAMPLES);
        }
        for (mine, theirs) in self.assets.iter_mut().zip(other.assets) {
            mine.merge(theirs);
        }
    }

    /// The counts so far, to show or to keep.
    #[must_use]
    pub fn report(&self) -> SimulationReport {
        let mut outcomes: BTreeMap<String, u64> = BTreeMap::new();
        let (mut rules, mut nothing) = (Vec::new(), Vec::new());
        for (place, tally) in self.rules.iter().enumerate() {
            let rule = self.policy.rules().get(place).map_or("(none)", |rule| rule.name()).to_owned();
            for (kind, count) in &tally.kinds {
                *outcomes.entry((*kind).to_owned()).or_default() += count;
                rules.push(RuleCount { rule: rule.clone(), outcome: (*kind).to_owned(), subjects: *count });
            }
            if tally.nothing > 0 {
                let reasons = tally.reasons.clone();
                nothing.push(NothingCount { rule, reasons, subjects: tally.nothing, examples: tally.examples.clone() });
            }
        }
        let errors: Vec<ErrorCount> = self
            .errors
            .iter()
            .map(|(code, tally)| ErrorCount {
                code: (*code).to_owned(),
                message: tally.message.clone(),
                subjects: tally.count,
                examples: tally.examples.clone(),
            })
            .collect();
        let failed = errors.iter().map(|error| error.subjects).sum();
        if failed > 0 {
            outcomes.insert("error".to_owned(), failed);
        }
        let assets = self.assets.iter().enumerate().filter(|(_, tally)| tally.awards > 0);
        SimulationReport {
            policy: self.policy.id().to_string(),
            version: self.policy.version().to_owned(),
            subjects: self.subjects,
            outcomes,
            rules,
            nothing,
            errors,
            assets: assets.map(|(place, tally)| self.asset_report(place, tally)).collect(),
        }
    }

    fn asset_report(&self, place: usize, tally: &AssetTally) -> AssetReport {
        let asset = self.policy.assets().get(place);
        let scale = asset.map_or(0, crate::asset::Asset::scale);
        let shown = |minor: i128| decimal(minor, scale).to_string();
        let terms = self.policy.asset_terms(place);
        let total = |worth: Option<&Worth>| {
            let worth = worth?;
            let value = decimal(tally.sum, scale).checked_mul(worth.amount)?;
            Some(format!("{} {}", value.normalize(), worth.asset))
        };
        let from = if tally.overflowed { &tally.steps } else { &tally.distinct };
        AssetReport {
            asset: asset.map_or_else(String::new, |asset| asset.code().to_string()),
            awards: tally.awards,
            sum: shown(tally.sum),
            least: shown(tally.least.into()),
            most: shown(tally.most.into()),
            cost: total(terms.and_then(|terms| terms.cost.as_ref())),
            face: total(terms.and_then(|terms| terms.face.as_ref())),
            usable: total(terms.and_then(AssetTerms::usable_value).as_ref()),
            distribution: from
                .iter()
                .map(|(from, awards)| Bar { from: shown((*from).into()), exact: !tally.overflowed, awards: *awards })
                .collect(),
        }
    }
}

fn decimal(minor: i128, scale: u8) -> Decimal {
    Decimal::try_from_i128_with_scale(minor, u32::from(scale)).unwrap_or_default()
}

/// What a simulation counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SimulationReport {
    /// The policy.
    pub policy: String,
    /// Its version.
    pub version: String,
    /// How many subjects were assessed.
    pub subjects: u64,
    /// How many met each outcome.
    pub outcomes: BTreeMap<String, u64>,
    /// The same by rule.
    pub rules: Vec<RuleCount>,
    /// Who gets nothing, by rule, with examples.
    pub nothing: Vec<NothingCount>,
    /// Who could not be assessed, with examples.
    pub errors: Vec<ErrorCount>,
    /// What is awarded, by asset.
    pub assets: Vec<AssetReport>,
}

/// Subjects that a rule decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleCount {
    /// The rule.
    pub rule: String,
    /// The outcome.
    pub outcome: String,
    /// How many.
    pub subjects: u64,
}

/// Subjects that get nothing by a rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NothingCount {
    /// The rule.
    pub rule: String,
    /// For which reasons, and how many.
    pub reasons: BTreeMap<String, u64>,
    /// How many.
    pub subjects: u64,
    /// Some of them.
    pub examples: Vec<String>,
}

/// Subjects that could not be assessed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorCount {
    /// The message's code.
    pub code: String,
    /// The first message.
    pub message: String,
    /// How many.
    pub subjects: u64,
    /// Some of them.
    pub examples: Vec<String>,
}

/// What is awarded of an asset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssetReport {
    /// The asset.
    pub asset: String,
    /// How many awards.
    pub awards: u64,
    /// Their sum.
    pub sum: String,
    /// The smallest.
    pub least: String,
    /// The largest.
    pub most: String,
    /// What they cost the operator, when the policy says what one unit costs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<String>,
    /// Their face value, when the policy says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub face: Option<String>,
    /// Their usable value, when the policy says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usable: Option<String>,
    /// How the amounts are distributed.
    pub distribution: Vec<Bar>,
}

/// Awards of one amount, or from one step of 1, 2, 5 up to the next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bar {
    /// The amount, or the step.
    pub from: String,
    /// Whether it is that very amount.
    pub exact: bool,
    /// How many awards.
    pub awards: u64,
}

/// Compares two versions (or two policies) over the same subjects.
#[derive(Debug, Clone)]
pub struct Comparison {
    before: Policy,
    after: Policy,
    subjects: u64,
    same: u64,
    assets: BTreeMap<String, Shift>,
    pairs: BTreeMap<(usize, usize), u64>,
    pairs_left_out: u64,
}

#[derive(Debug, Clone, Default)]
struct Shift {
    scale: u8,
    gain: Side,
    loss: Side,
}

#[derive(Debug, Clone, Default)]
struct Side {
    subjects: u64,
    sum: i128,
    examples: Vec<String>,
}

impl Comparison {
    /// Nothing compared yet.
    #[must_use]
    pub fn new(before: &Policy, after: &Policy) -> Self {
        let (before, after) = (before.clone(), after.clone());
        Self { before, after, subjects: 0, same: 0, assets: BTreeMap::new(), pairs: BTreeMap::new(), pairs_left_out: 0 }
    }

    /// Compares one subject.
    pub fn add(&mut self, before: &Assessed<'_>, after: &Assessed<'_>, example: impl Fn() -> String) {
        self.subjects += 1;
        let mut amounts: BTreeMap<&str, (u8, i128)> = BTreeMap::new();
        for (assessed, sign) in [(before, -1), (after, 1)] {
            let Ok(outcome) = assessed else { continue };
            let awards = outcome.awards();
            for award in awards.iter() {
                let place = amounts.entry(award.asset.code().as_str()).or_insert((award.asset.scale(), 0));
                place.1 += sign * i128::from(award.amount.minor());
            }
        }
        let changed = amounts.values().any(|(_, shift)| *shift != 0);
        self.same += u64::from(!changed);
        for (asset, (scale, shift)) in amounts.into_iter().filter(|(_, (_, shift))| *shift != 0) {
            let known = self.assets.entry(asset.to_owned()).or_default();
            known.scale = scale;
            let side = if shift > 0 { &mut known.gain } else { &mut known.loss };
            side.subjects += 1;
            side.sum += shift.abs();
            keep(&mut side.examples, &example);
        }
        if changed {
            let place = |assessed: &Assessed<'_>| {
                assessed.as_ref().ok().and_then(Outcome::rule).map_or(usize::MAX, |rule| rule.place())
            };
            let pair = (place(before), place(after));
            if self.pairs.len() < MAX_PAIRS || self.pairs.contains_key(&pair) {
                *self.pairs.entry(pair).or_default() += 1;
            } else {
                self.pairs_left_out += 1;
            }
        }
    }

    /// Who gains and who loses.
    #[must_use]
    pub fn report(&self) -> ComparisonReport {
        let name =
            |policy: &Policy, place: usize| policy.rules().get(place).map_or("(none)", |rule| rule.name()).to_owned();
        let side = |side: &Side, scale: u8| SideReport {
            subjects: side.subjects,
            sum: decimal(side.sum, scale).to_string(),
            examples: side.examples.clone(),
        };
        ComparisonReport {
            before: self.before.version().to_owned(),
            after: self.after.version().to_owned(),
            subjects: self.subjects,
            unchanged: self.same,
            assets: self
                .assets
                .iter()
                .map(|(asset, shift)| AssetShift {
                    asset: asset.clone(),
                    gain: side(&shift.gain, shift.scale),
                    lose: side(&shift.loss, shift.scale),
                })
                .collect(),
            moves: self
                .pairs
                .iter()
                .map(|((before, after), subjects)| RuleMove {
                    before: name(&self.before, *before),
                    after: name(&self.after, *after),
                    subjects: *subjects,
                })
                .collect(),
            moves_left_out: self.pairs_left_out,
        }
    }
}

/// Who gains and who loses by another version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComparisonReport {
    /// The version compared with.
    pub before: String,
    /// The version compared.
    pub after: String,
    /// How many subjects.
    pub subjects: u64,
    /// How many get the same.
    pub unchanged: u64,
    /// The shifts, by asset.
    pub assets: Vec<AssetShift>,
    /// From which rule to which, where the amounts differ.
    pub moves: Vec<RuleMove>,
    /// Subjects whose pair of rules is not listed.
    pub moves_left_out: u64,
}

/// The shift of one asset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssetShift {
    /// The asset.
    pub asset: String,
    /// Who gets more.
    pub gain: SideReport,
    /// Who gets less.
    pub lose: SideReport,
}

/// One side of a shift.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SideReport {
    /// How many.
    pub subjects: u64,
    /// By how much together.
    pub sum: String,
    /// Some of them.
    pub examples: Vec<String>,
}

/// Subjects that another rule decides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleMove {
    /// The rule before.
    pub before: String,
    /// The rule after.
    pub after: String,
    /// How many.
    pub subjects: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_one_two_five() {
        let steps: Vec<i64> = [0, 1, 3, 7, 10, 49, 50, 99, 100, i64::MAX].into_iter().map(step).collect();
        assert_eq!(steps, [0, 1, 2, 5, 10, 20, 50, 50, 100, 5_000_000_000_000_000_000]);
    }

    #[test]
    fn many_amounts_fall_into_steps() {
        let mut tally = AssetTally::default();
        for amount in 1..=1_000 {
            tally.add(amount);
        }
        assert!(tally.overflowed && tally.distinct.is_empty() && tally.steps.len() <= 10);
        assert_eq!(tally.steps.values().sum::<u64>(), 1_000);
    }
}
