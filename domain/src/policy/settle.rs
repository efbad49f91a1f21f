//! Settles all subjects of one customer together: stacking groups, caps over more than one subject, and what was
//! given before. Pure: what the programme has used so far is an argument.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use chrono::{Datelike, NaiveDate};
use rust_decimal::Decimal;

use super::facts::Facts;
use super::outcome::{AssessError, Awards, Outcome, RuleName};
use super::policy::{Aside, Policy};
use super::rules::{Cap, CapPeriod, CapScope, StackingRule};
use super::subject::Subject;
use crate::asset::{Amount, Asset, AssetCode};

/// Where the facts of an entry are, or what was decided of it.
#[derive(Debug, Clone, Copy)]
pub enum Input<'a> {
    /// In records.
    Records(Subject<'a>),
    /// In a facts file.
    Facts(&'a Facts),
    /// In records, but the awards were decided before: when a claim was filed, or by a person. Where nothing is awarded any
    /// more, or nobody decides any more, what was given stands.
    Decided {
        /// What was granted; empty where only what was given counts.
        awards: &'a [Given],
        /// The records, for the stacking key and the period.
        subject: Subject<'a>,
    },
}

/// One subject of the customer and the policy that is applied to it.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// The policy.
    pub policy: &'a Policy,
    /// The subject's name, unique among the customer's subjects under the policy.
    pub reference: &'a str,
    /// The facts.
    pub input: Input<'a>,
    /// What was credited for it under any version of the policy.
    pub given: &'a [Given],
    /// What of that was taken back. It is not credited again for this subject, and leaves room for others.
    pub reversed: &'a [Given],
}

/// An amount that was credited before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// The asset.
    pub asset: AssetCode,
    /// The amount.
    pub amount: Amount,
}

/// What everybody together has had of one asset under one policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Used {
    /// The sum.
    pub amount: Amount,
    /// The number of customers.
    pub takers: u64,
}

/// What the programmes have used so far, by policy and asset.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Programme(BTreeMap<(Box<str>, Box<str>), Used>);

impl Programme {
    /// What was used of an asset under a policy.
    #[must_use]
    pub fn used(&self, policy: &str, asset: &AssetCode) -> Used {
        self.0.get(&(policy.into(), asset.as_str().into())).copied().unwrap_or_default()
    }

    /// Says what was used so far.
    pub fn set(&mut self, policy: &str, asset: &AssetCode, used: Used) {
        self.0.insert((policy.into(), asset.as_str().into()), used);
    }
}

/// Why less (or more) than the assessed amount is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change<'a> {
    /// Another award of the stacking group stands.
    Stacking {
        /// The group.
        group: &'a str,
        /// The policy whose award stands.
        policy: &'a str,
        /// The subject whose award stands.
        subject: &'a str,
    },
    /// A cap or a minimum.
    Cap {
        /// Its name.
        name: &'a str,
        /// Over what it counts.
        scope: CapScope,
    },
}

/// What is due of one asset for one subject.
#[derive(Debug, Clone)]
pub struct Due<'a> {
    /// The asset.
    pub asset: &'a Asset,
    /// What the assessment says.
    pub assessed: Amount,
    /// What remains of it after stacking and caps.
    pub entitled: Amount,
    /// What was credited before.
    pub given: Amount,
    /// What is still to be credited: never below zero, since what was given is only taken back by a named decision.
    pub to_credit: Amount,
    /// Why the entitlement differs from the assessment.
    pub changes: Vec<Change<'a>>,
}

/// One subject, settled.
#[derive(Debug)]
pub struct Settled<'a> {
    /// What the assessment says, or why it cannot.
    pub outcome: Result<Outcome<'a>, AssessError>,
    /// What is due. While a person decides, it waits, or it could not be assessed, that is what was given, and no more.
    pub due: Vec<Due<'a>>,
}

struct Work<'a> {
    entry: Entry<'a>,
    outcome: Result<Outcome<'a>, AssessError>,
    aside: Aside,
    due: Vec<Due<'a>>,
}

/// Settles the subjects of **one** customer; the order of the entries makes no difference to any amount.
///
/// `programme` is what everybody before has had under policies that cap it; what this customer is to be credited is added to
/// it.
pub fn settle<'a>(entries: &[Entry<'a>], programme: &mut Programme) -> Vec<Settled<'a>> {
    let mut work: Vec<Work<'a>> = entries.iter().map(assess).collect();
    let mut order: Vec<usize> = (0..work.len()).collect();
    order.sort_unstable_by(|a, b| identity(&work[*a]).cmp(&identity(&work[*b])));
    if work.iter().any(|work| work.entry.policy.stacking().is_some()) {
        stack(&mut work, &order);
    }
    if work.iter().any(|work| !work.entry.policy.caps().is_empty()) {
        cap_customer(&mut work, &order);
    }
    for due in work.iter_mut().flat_map(|work| &mut work.due) {
        due.to_credit = due.entitled.beyond(due.given);
    }
    if work.iter().any(|work| has_programme_cap(work.entry.policy)) {
        cap_programme(&mut work, &order, programme);
    }
    work.into_iter().map(|work| Settled { outcome: work.outcome, due: work.due }).collect()
}

fn identity<'w>(work: &'w Work<'_>) -> (&'w str, &'w str) {
    (work.entry.policy.id().as_str(), work.entry.reference)
}

fn assess<'a>(entry: &Entry<'a>) -> Work<'a> {
    let (outcome, aside) = match &entry.input {
        Input::Records(subject) => entry.policy.assess_aside(subject),
        Input::Facts(facts) => entry.policy.assess_facts_aside(facts),
        // What was decided stands even where the records would not suffice to decide it again.
        Input::Decided { awards, subject } => (decided(entry.policy, awards), entry.policy.assess_aside(subject).1),
    };
    let mut due: Vec<Due<'a>> = Vec::new();
    let is_decided = matches!(outcome, Ok(Outcome::Award { .. } | Outcome::Decline { .. }));
    if let (Ok(outcome), true) = (&outcome, is_decided) {
        due.extend(outcome.awards().iter().map(|award| fresh(award.asset, award.amount)));
    }
    for given in entry.given {
        let place = due.iter().position(|due| *due.asset.code() == given.asset).or_else(|| {
            // Given under an earlier version and awarded no more.
            let asset = entry.policy.assets().iter().find(|asset| *asset.code() == given.asset)?;
            due.push(fresh(asset, Amount::ZERO));
            Some(due.len() - 1)
        });
        if let Some(due) = place.and_then(|place| due.get_mut(place)) {
            due.given = due.given.saturating_add(given.amount);
        }
    }
    if !is_decided {
        // Until somebody has decided, what was given stands: it uses up caps, and the same loss is not paid elsewhere.
        for due in &mut due {
            let kept = kept(entry, due.asset.code());
            (due.assessed, due.entitled) = (kept, kept);
        }
    }
    Work { entry: *entry, outcome, aside, due }
}

/// What was granted, as an outcome of the policy.
fn decided<'a>(policy: &'a Policy, granted: &[Given]) -> Result<Outcome<'a>, AssessError> {
    let unknown = |asset: &AssetCode| {
        let message = format!("`{asset}` was granted, but the policy in force knows no such asset");
        AssessError::new("unknown-award", message, "decide the claim anew under the policy in force")
    };
    let mut awards = Awards::of(policy.assets());
    for given in granted {
        let place = policy.assets().iter().position(|asset| *asset.code() == given.asset);
        let place = place.and_then(|place| u16::try_from(place).ok()).ok_or_else(|| unknown(&given.asset))?;
        awards.add(place, given.amount).ok_or_else(|| unknown(&given.asset))?;
    }
    let last = policy.rules().len().checked_sub(1);
    let rule = last.and_then(|place| Some(RuleName { rule: policy.rules().get(place)?, place }));
    match rule {
        Some(rule) if !awards.is_empty() => Ok(Outcome::Award { awards, rule }),
        rule => Ok(Outcome::Pending { rule }),
    }
}

fn fresh(asset: &Asset, assessed: Amount) -> Due<'_> {
    Due { asset, assessed, entitled: assessed, given: Amount::ZERO, to_credit: Amount::ZERO, changes: Vec::new() }
}

fn sum_of(amounts: &[Given], asset: &AssetCode) -> Amount {
    let of_asset = amounts.iter().filter(|given| given.asset == *asset);
    of_asset.fold(Amount::ZERO, |sum, given| sum.saturating_add(given.amount))
}

/// What of the given was not taken back.
fn kept(entry: &Entry<'_>, asset: &AssetCode) -> Amount {
    sum_of(entry.given, asset).beyond(sum_of(entry.reversed, asset))
}

fn has_kept(entry: &Entry<'_>) -> bool {
    entry.given.iter().any(|given| kept(entry, &given.asset) > Amount::ZERO)
}

// ---- stacking -------------------------------------------------------------------------------------

fn stack(work: &mut [Work<'_>], order: &[usize]) {
    let mut groups: BTreeMap<(String, Option<String>), Vec<usize>> = BTreeMap::new();
    for at in order {
        let one = &work[*at];
        // What was given stands in the others' way, also where nothing is owed any more.
        if let (Some(stacking), true) = (one.entry.policy.stacking(), is_owed(one) || has_kept(&one.entry)) {
            groups.entry((stacking.group().to_owned(), one.aside.key.clone())).or_default().push(*at);
        }
    }
    for members in groups.values().filter(|members| members.len() > 1) {
        let owed = members.iter().copied().filter(|at| is_owed(&work[*at]));
        let Some(winner) = owed.reduce(|a, b| if stands_before(&work[b], &work[a]) { b } else { a }) else { continue };
        let winner = standing_before(work, members, winner);
        let standing = work[winner].entry;
        for at in members.iter().filter(|at| **at != winner) {
            let loser = &mut work[*at];
            let Some(stacking) = loser.entry.policy.stacking() else { continue };
            for due in loser.due.iter_mut().filter(|due| due.entitled > Amount::ZERO) {
                due.entitled = Amount::ZERO;
                let (policy, subject) = (standing.policy.id().as_str(), standing.reference);
                due.changes.push(Change::Stacking { group: stacking.group(), policy, subject });
            }
        }
    }
}

fn is_owed(work: &Work<'_>) -> bool {
    work.due.iter().any(|due| due.assessed > Amount::ZERO)
}

/// What was credited before counts towards the same loss, and is never taken back: of the same asset it is counted as
/// given to the winner, who then gets the difference; of another asset it cannot be, so whoever has it keeps standing.
fn standing_before(work: &mut [Work<'_>], members: &[usize], winner: usize) -> usize {
    let same_asset =
        |one: &Work<'_>, other: &Work<'_>| matches!((&one.due[..], &other.due[..]), ([x], [y]) if x.asset == y.asset);
    let mut counted = Amount::ZERO;
    for at in members.iter().copied().filter(|at| *at != winner) {
        if !has_kept(&work[at].entry) {
            continue;
        }
        if !same_asset(&work[at], &work[winner]) {
            return at;
        }
        if let Some(due) = work[at].due.first() {
            counted = counted.saturating_add(kept(&work[at].entry, due.asset.code()));
        }
    }
    if let Some(due) = work[winner].due.first_mut() {
        due.given = due.given.saturating_add(counted);
    }
    winner
}

/// Whether `a` excludes `b`; in a full tie the earlier by name stands, which is the order they come in.
fn stands_before(a: &Work<'_>, b: &Work<'_>) -> bool {
    let (Some(first), Some(second)) = (a.entry.policy.stacking(), b.entry.policy.stacking()) else { return false };
    let both_not = first.rule() == StackingRule::NotBoth && second.rule() == StackingRule::NotBoth;
    let by_value = if both_not { Ordering::Equal } else { compare_worth(a, b) };
    by_value.then(second.priority().cmp(&first.priority())) == Ordering::Greater
}

fn compare_worth(a: &Work<'_>, b: &Work<'_>) -> Ordering {
    if let ([x], [y]) = (&a.due[..], &b.due[..])
        && x.asset == y.asset
    {
        return x.assessed.cmp(&y.assessed);
    }
    match (worth(a), worth(b)) {
        (Some((unit, x)), Some((other, y))) if unit == other => x.cmp(&y),
        _ => Ordering::Equal,
    }
}

/// The face value of everything awarded, when all of it is stated in one asset.
fn worth<'w>(work: &'w Work<'_>) -> Option<(&'w str, Decimal)> {
    let mut sum: Option<(&str, Decimal)> = None;
    for due in &work.due {
        let amount = due.assessed.to_decimal(due.asset.scale());
        let policy = work.entry.policy;
        let place = policy.assets().iter().position(|asset| asset == due.asset)?;
        let face = policy.asset_terms(place).and_then(|terms| terms.face.as_ref());
        let (unit, value) = match face {
            Some(face) => (face.asset.as_str(), amount.checked_mul(face.amount)?),
            None => (due.asset.code().as_str(), amount),
        };
        sum = match sum {
            None => Some((unit, value)),
            Some((known, before)) if known == unit => Some((known, before.checked_add(value)?)),
            Some(_) => return None,
        };
    }
    sum
}

// ---- caps -----------------------------------------------------------------------------------------

/// The period of a cap in which a date falls.
fn period(cap: &Cap, date: Option<NaiveDate>) -> Option<(i32, u32)> {
    let date = date?;
    Some(match cap.period {
        CapPeriod::Day => (date.year(), date.ordinal()),
        CapPeriod::Month => (date.year(), date.month()),
        CapPeriod::Quarter => (date.year(), date.month0() / 3),
        CapPeriod::Year => (date.year(), 0),
    })
}

fn cap_customer(work: &mut [Work<'_>], order: &[usize]) {
    let mut seen: Vec<&str> = Vec::new();
    for first in order {
        let policy = work[*first].entry.policy;
        if seen.contains(&policy.id().as_str()) {
            continue;
        }
        seen.push(policy.id().as_str());
        let members: Vec<usize> =
            order.iter().copied().filter(|at| work[*at].entry.policy.id() == policy.id()).collect();
        for cap in policy.caps().iter().filter(|cap| cap.scope != CapScope::Programme) {
            let mut groups: BTreeMap<Option<(i32, u32)>, Vec<usize>> = BTreeMap::new();
            for at in &members {
                let key = if cap.scope == CapScope::Period { period(cap, work[*at].aside.date) } else { None };
                groups.entry(key).or_default().push(*at);
            }
            for group in groups.values() {
                cap_group(work, group, policy, cap);
            }
        }
    }
}

fn cap_group<'a>(work: &mut [Work<'a>], group: &[usize], policy: &'a Policy, cap: &'a Cap) {
    let Some(asset) = policy.assets().get(cap.asset_place()) else { return };
    let due_of = |work: &Work<'a>| work.due.iter().position(|due| due.asset == asset && due.entitled > Amount::ZERO);
    let places: Vec<(usize, usize)> = group.iter().filter_map(|at| Some((*at, due_of(work.get(*at)?)?))).collect();
    let total = places.iter().try_fold(Amount::ZERO, |sum, (at, due)| sum.checked_add(work[*at].due[*due].entitled));
    let Some(total) = total.filter(|total| *total > Amount::ZERO) else { return };
    let change = Change::Cap { name: cap.name(), scope: cap.scope() };
    let mut allowed = total;
    if cap.nothing_below.is_some_and(|below| total < below) {
        allowed = Amount::ZERO;
    }
    if allowed > Amount::ZERO {
        allowed = allowed.max(cap.at_least.unwrap_or(allowed));
    }
    allowed = allowed.min(cap.at_most.unwrap_or(allowed));
    let mut room = room(work, group, asset, cap, allowed);
    // Whoever was given something keeps it and gets his difference first; then the earlier by name.
    let (given, fresh): (Vec<_>, Vec<_>) =
        places.into_iter().partition(|(at, due)| work[*at].due[*due].given > Amount::ZERO);
    let places = [given, fresh].concat();
    for (at, due) in &places {
        let due = &mut work[*at].due[*due];
        let wanted = due.entitled.beyond(due.given);
        let gets = room.map_or(wanted, |room| wanted.min(room));
        room = room.map(|room| room.beyond(gets));
        if gets < wanted {
            due.entitled = due.given.saturating_add(gets);
            due.changes.push(change);
        }
    }
    // What is missing to the minimum.
    if let (true, Some(missing), Some((at, due))) = (allowed > total, room, places.first())
        && missing > Amount::ZERO
    {
        let due = &mut work[*at].due[*due];
        due.entitled = due.entitled.max(due.given).saturating_add(missing);
        due.changes.push(change);
    }
}

/// How much more a group may be credited under a cap; none where it is not bounded. What was credited is never taken back, so
/// it uses the cap up first, also where nothing is awarded any more; what was reversed leaves room under a maximum, and is not
/// made good by a minimum.
fn room(work: &[Work<'_>], group: &[usize], asset: &Asset, cap: &Cap, allowed: Amount) -> Option<Amount> {
    if allowed == Amount::ZERO {
        return Some(Amount::ZERO);
    }
    let under_most = cap.at_most.map(|most| {
        let kept = group.iter().map(|at| kept(&work[*at].entry, asset.code()));
        most.beyond(kept.fold(Amount::ZERO, Amount::saturating_add))
    });
    let above_least = cap.at_least.map(|least| {
        let given = group.iter().map(|at| {
            let due = work[*at].due.iter().find(|due| due.asset == asset);
            // What was given beyond the minimum was not given because of it, and takes nothing from the others.
            let at_most = due.map_or(least, |due| due.entitled.max(least));
            sum_of(work[*at].entry.given, asset.code()).min(at_most)
        });
        allowed.beyond(given.fold(Amount::ZERO, Amount::saturating_add))
    });
    [under_most, above_least].into_iter().flatten().min()
}

fn has_programme_cap(policy: &Policy) -> bool {
    policy.caps().iter().any(|cap| cap.scope == CapScope::Programme)
}

/// Counts what is credited under policies with a cap over everybody, and cuts what is beyond it.
fn cap_programme(work: &mut [Work<'_>], order: &[usize], programme: &mut Programme) {
    // Whether the customer is counted already, by policy and asset, before this settlement counts anything.
    let mut counted: BTreeMap<(Box<str>, Box<str>), bool> = BTreeMap::new();
    let capped: Vec<usize> = order.iter().copied().filter(|at| has_programme_cap(work[*at].entry.policy)).collect();
    for at in &capped {
        // What stacking counts as given was given under another policy, and took no place under this one.
        let Entry { policy, given, .. } = work[*at].entry;
        for given in given.iter().filter(|given| given.amount > Amount::ZERO) {
            counted.insert((policy.id().as_str().into(), given.asset.as_str().into()), true);
        }
    }
    for at in &capped {
        let policy = work[*at].entry.policy;
        for due in &mut work[*at].due {
            let key: (Box<str>, Box<str>) = (policy.id().as_str().into(), due.asset.code().as_str().into());
            let mut used = programme.0.get(&key).copied().unwrap_or_default();
            let known = counted.get(&key).copied().unwrap_or(false);
            for cap in policy.caps().iter().filter(|cap| cap.scope == CapScope::Programme) {
                if policy.assets().get(cap.asset_place()) == Some(due.asset) {
                    cap_one(due, cap, &used, known);
                }
            }
            if due.to_credit > Amount::ZERO {
                used.amount = used.amount.saturating_add(due.to_credit);
                used.takers += u64::from(!known);
                counted.insert(key.clone(), true);
                programme.0.insert(key, used);
            }
        }
    }
}

fn cap_one<'a>(due: &mut Due<'a>, cap: &'a Cap, used: &Used, known: bool) {
    let mut allowed = due.to_credit;
    if cap.nothing_below.is_some_and(|below| allowed < below)
        || cap.takers.is_some_and(|takers| !known && used.takers >= takers)
    {
        allowed = Amount::ZERO;
    }
    if let Some(most) = cap.at_most {
        allowed = allowed.min(most.beyond(used.amount));
    }
    if allowed != due.to_credit {
        due.to_credit = allowed;
        due.entitled = due.given.saturating_add(allowed).min(due.entitled);
        due.changes.push(Change::Cap { name: cap.name(), scope: cap.scope() });
    }
}
