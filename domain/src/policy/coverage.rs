//! Measures what cases have shown of a policy: every rule, every table row, every bound from both sides.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ast::BinaryOp;
use super::ir::{Node, NodeId};
use super::policy::{Inner, Policy};
use super::program::Body;
use super::rules::Action;
use super::trace::{Step, Trace};
use super::value::Constant;

/// Something that cases must show, and what they have shown of it.
#[derive(Debug, Clone)]
enum Item {
    Rule {
        reached: bool,
    },
    Row {
        read: bool,
    },
    /// The wanted and the seen sides of a bound: below, at, above.
    Bound {
        wanted: [bool; 3],
        seen: [bool; 3],
    },
    /// A condition without an order, seen true and false.
    Truth {
        seen: [bool; 2],
    },
    /// A cap, seen to cut and not to cut.
    Cap {
        seen: [bool; 2],
    },
}

#[derive(Debug, Clone)]
struct Known {
    item: Item,
    line: usize,
}

/// Collects what cases show of one policy.
#[derive(Debug)]
pub(crate) struct Collector<'p> {
    policy: &'p Policy,
    items: BTreeMap<(u8, String), Known>,
    /// For each comparison and condition the item it belongs to.
    nodes: BTreeMap<u32, String>,
    /// For each comparison what stands on its left.
    lefts: BTreeMap<u32, String>,
    /// All written bounds of what stands on the left: a case that compares it with one of them is on some side of each.
    bounds: BTreeMap<String, Vec<(String, &'p Constant)>>,
}

/// How much of a policy its cases show.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coverage {
    /// How many things have to be shown.
    pub total: usize,
    /// How many are.
    pub covered: usize,
    /// What is missing.
    pub missing: Vec<MissingCoverage>,
}

/// Something that no case shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissingCoverage {
    /// What it is.
    pub what: String,
    /// Which case would show it.
    pub wanted: String,
    /// The line of the policy.
    pub line: usize,
}

impl Coverage {
    /// Whether everything is shown.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.covered == self.total
    }

    /// The share in whole per cent, rounded down, so that 100 is said only when it is true.
    #[must_use]
    pub fn percent(&self) -> usize {
        (self.covered * 100).checked_div(self.total).unwrap_or(100)
    }
}

const RULES: u8 = 0;
const ROWS: u8 = 1;
const BOUNDS: u8 = 2;
const TRUTHS: u8 = 3;
const CAPS: u8 = 4;

impl<'p> Collector<'p> {
    pub(crate) fn new(policy: &'p Policy) -> Self {
        let mut collector = Self {
            policy,
            items: BTreeMap::new(),
            nodes: BTreeMap::new(),
            lefts: BTreeMap::new(),
            bounds: BTreeMap::new(),
        };
        let inner: &'p Inner = &policy.inner;
        for rule in &inner.rules {
            collector.expect(
                RULES,
                format!("rule `{}`", rule.name),
                line(inner, rule.span.start),
                Item::Rule { reached: false },
            );
            if let Some(when) = rule.when {
                collector.walk(when, true);
            }
            if let Action::Award(items) = &rule.action {
                for item in items {
                    collector.walk(item.amount, false);
                    if let Some(when) = item.when {
                        collector.walk(when, true);
                    }
                }
            }
        }
        for named in &inner.program.named {
            match &named.body {
                Body::Expression(node) => collector.walk(*node, false),
                Body::Table(table) => {
                    for (at, row) in table.rows.iter().enumerate() {
                        let place = line(inner, row.span.start);
                        collector.expect(ROWS, row_name(&named.name, Some(at)), place, Item::Row { read: false });
                        collector.walk(row.value, false);
                        if let Some(when) = row.when {
                            collector.walk(when, false);
                        }
                    }
                    if let Some(otherwise) = table.otherwise {
                        let place = line(inner, table.span.start);
                        collector.expect(ROWS, row_name(&named.name, None), place, Item::Row { read: false });
                        collector.walk(otherwise, false);
                    }
                }
                Body::Clock(clock) => {
                    for node in [Some(clock.starts), Some(clock.stops), clock.paused].into_iter().flatten() {
                        collector.walk(node, false);
                    }
                }
            }
        }
        // A document is asked for only by rules that list it.
        let listed =
            |at: usize| inner.rules.iter().any(|rule| rule.evidence.iter().any(|listed| usize::from(*listed) == at));
        for (_, document) in inner.documents.iter().enumerate().filter(|(at, _)| listed(*at)) {
            if let Some(when) = document.when {
                collector.walk(when, false);
            }
        }
        for cap in &inner.subject_caps {
            let place = [cap.at_most, cap.at_least, cap.nothing_below]
                .into_iter()
                .flatten()
                .next()
                .map_or(1, |node| inner.place(node).0);
            collector.expect(CAPS, format!("cap `{}`", cap.name), place, Item::Cap { seen: [false; 2] });
        }
        collector
    }

    fn expect(&mut self, group: u8, name: String, line: usize, item: Item) {
        self.items.entry((group, name)).or_insert(Known { item, line });
    }

    /// Finds the comparisons of an expression; `conditions`: also what has no order. Depth is checked at compile time.
    fn walk(&mut self, id: NodeId, conditions: bool) {
        let inner: &'p Inner = &self.policy.inner;
        let program = &inner.program;
        match program.node(id) {
            Node::Compare(op, left, right) => {
                self.comparison(id, op, conditions);
                self.walk(left, false);
                self.walk(right, false);
            }
            Node::CompareSlot { op, .. } => self.comparison(id, op, conditions),
            Node::And(left, right) | Node::Or(left, right) => {
                self.walk(left, conditions);
                self.walk(right, conditions);
            }
            Node::Not(inner) => self.walk(inner, conditions),
            Node::Condition(condition, yes, no) => {
                self.walk(condition, conditions);
                self.walk(yes, conditions);
                self.walk(no, conditions);
            }
            Node::Negate(inner) | Node::WindowFrom(inner) | Node::WindowUntil(inner) => self.walk(inner, false),
            Node::Round { value, .. } => self.walk(value, false),
            Node::Coalesce(_, other) => self.walk(other, false),
            Node::Arithmetic(_, left, right) => {
                self.walk(left, false);
                self.walk(right, false);
            }
            Node::In(left, right) => {
                self.condition(id, conditions);
                self.walk(left, false);
                self.walk(right, false);
            }
            Node::List(args) | Node::Call { args, .. } => {
                self.condition(id, conditions && matches!(program.node(id), Node::Call { .. }));
                for at in args.from..args.until {
                    if let Some(argument) = program.arguments.get(at as usize) {
                        self.walk(*argument, false);
                    }
                }
            }
            Node::Aggregate { list, body, .. } => {
                self.condition(id, conditions);
                self.walk(list, false);
                if let Some(body) = body {
                    self.walk(body, false);
                }
            }
            Node::Slot(_) | Node::Has(_) | Node::Named(_) | Node::Local(_) => self.condition(id, conditions),
            Node::Constant(_) | Node::Parameter { .. } => {}
        }
    }

    fn comparison(&mut self, id: NodeId, op: BinaryOp, conditions: bool) {
        let inner: &'p Inner = &self.policy.inner;
        let (left, right) = sides(inner, id);
        if !op.is_order() {
            if conditions {
                self.truth(id, format!("`{left} == {right}`"));
            }
            return;
        }
        let name = format!("bound {right} of `{left}`");
        let (line, _) = inner.place(id);
        let wants = match op {
            BinaryOp::LessEqual | BinaryOp::Greater => [false, true, true],
            _ => [true, true, false],
        };
        let known = self
            .items
            .entry((BOUNDS, name.clone()))
            .or_insert(Known { item: Item::Bound { wanted: [false; 3], seen: [false; 3] }, line });
        if let Item::Bound { wanted, .. } = &mut known.item {
            for (side, wants) in wanted.iter_mut().zip(wants) {
                *side |= wants;
            }
        }
        let program = &inner.program;
        let constant = match program.node(id) {
            Node::Compare(_, _, right) => program.constant_of(right),
            Node::CompareSlot { constant, .. } => program.constants.get(constant as usize),
            _ => None,
        };
        if let Some(constant) = constant {
            let known = self.bounds.entry(left.clone()).or_default();
            if !known.iter().any(|(known, _)| *known == name) {
                known.push((name.clone(), constant));
            }
            self.lefts.insert(id.0, left);
        }
        self.nodes.insert(id.0, name);
    }

    fn condition(&mut self, id: NodeId, wanted: bool) {
        if wanted {
            self.truth(id, format!("`{}`", self.policy.inner.text(id)));
        }
    }

    fn truth(&mut self, id: NodeId, name: String) {
        let (line, _) = self.policy.inner.place(id);
        self.expect(TRUTHS, name.clone(), line, Item::Truth { seen: [false; 2] });
        self.nodes.insert(id.0, name);
    }

    /// Adds what one assessment showed.
    pub(crate) fn add(&mut self, trace: &Trace<'_>) {
        let inner: &'p Inner = &self.policy.inner;
        let awarded = matches!(trace.outcome(), Ok(outcome) if !outcome.awards().is_empty());
        let mut cut: Vec<&str> = Vec::new();
        for step in &trace.steps {
            match step {
                Step::Rule { rule, matches: true } => {
                    if let Some(Item::Rule { reached }) =
                        self.item(RULES, &format!("rule `{}`", inner.rules[*rule].name))
                    {
                        *reached = true;
                    }
                }
                Step::Row { named, row } => {
                    let name = &inner.program.named[usize::from(*named)].name;
                    if let Some(Item::Row { read }) = self.item(ROWS, &row_name(name, row.map(usize::from))) {
                        *read = true;
                    }
                }
                Step::Atom { node, sides, result, .. } => {
                    let Some(name) = self.nodes.get(&node.0).cloned() else { continue };
                    let left_bounds = self.lefts.get(&node.0).and_then(|left| self.bounds.get(left)).cloned();
                    match (sides, left_bounds) {
                        (Some((left, _)), Some(bounds)) => {
                            for (name, constant) in bounds {
                                self.see_side(&name, left.order(&constant.value()));
                            }
                        }
                        (Some((left, right)), None) if self.item(BOUNDS, &name).is_some() => {
                            self.see_side(&name, left.order(right));
                        }
                        _ => {
                            // `a != b` is counted as `a == b`, so that both are one item.
                            let opposite = matches!(inner.program.node(*node), Node::Compare(BinaryOp::NotEqual, ..))
                                || matches!(
                                    inner.program.node(*node),
                                    Node::CompareSlot { op: BinaryOp::NotEqual, .. }
                                );
                            if let Some(Item::Truth { seen }) = self.item(TRUTHS, &name) {
                                seen[usize::from(*result != opposite)] = true;
                            }
                        }
                    }
                }
                Step::Capped { cap, .. } => cut.push(&cap.name),
                Step::Rule { .. } | Step::Parameter { .. } | Step::Rounded { .. } | Step::Named { .. } => {}
            }
        }
        for cap in &inner.subject_caps {
            let cuts = cut.contains(&&*cap.name);
            if let (true, Some(Item::Cap { seen })) = (awarded || cuts, self.item(CAPS, &format!("cap `{}`", cap.name)))
            {
                seen[usize::from(cuts)] = true;
            }
        }
    }

    fn see_side(&mut self, name: &str, order: Option<Ordering>) {
        let side = match order {
            Some(Ordering::Less) => 0,
            Some(Ordering::Equal) => 1,
            Some(Ordering::Greater) => 2,
            None => return,
        };
        if let Some(Item::Bound { seen, .. }) = self.item(BOUNDS, name) {
            seen[side] = true;
        }
    }

    fn item(&mut self, group: u8, name: &str) -> Option<&mut Item> {
        self.items.get_mut(&(group, name.to_owned())).map(|known| &mut known.item)
    }

    pub(crate) fn finish(self) -> Coverage {
        let total = self.items.len();
        let missing: Vec<MissingCoverage> = self
            .items
            .into_iter()
            .filter_map(|((_, what), known)| {
                Some(MissingCoverage { wanted: wanted(&known.item)?, what, line: known.line })
            })
            .collect();
        Coverage { total, covered: total - missing.len(), missing }
    }
}

/// The cases that would complete an item, or nothing when it is complete.
fn wanted(item: &Item) -> Option<String> {
    let list = |names: Vec<&str>| (!names.is_empty()).then(|| names.join(" and "));
    match item {
        Item::Rule { reached } => (!reached).then(|| "a case that ends in it".to_owned()),
        Item::Row { read } => (!read).then(|| "a case that reads it".to_owned()),
        Item::Bound { wanted, seen } => {
            let names = ["a case below it", "a case exactly at it", "a case above it"];
            list(
                names
                    .into_iter()
                    .zip(wanted.iter().zip(seen))
                    .filter(|(_, (wanted, seen))| **wanted && !**seen)
                    .map(|(name, _)| name)
                    .collect(),
            )
        }
        Item::Truth { seen } => {
            let names = ["a case where it is false", "a case where it is true"];
            list(names.into_iter().zip(seen).filter(|(_, seen)| !**seen).map(|(name, _)| name).collect())
        }
        Item::Cap { seen } => {
            let names = ["a case that it leaves as it is", "a case that it changes"];
            list(names.into_iter().zip(seen).filter(|(_, seen)| !**seen).map(|(name, _)| name).collect())
        }
    }
}

fn row_name(table: &str, row: Option<usize>) -> String {
    match row {
        Some(row) => format!("{table} row {}", row + 1),
        None => format!("{table} otherwise"),
    }
}

fn line(inner: &Inner, byte: usize) -> usize {
    inner.source.get(..byte.min(inner.source.len())).unwrap_or("").bytes().filter(|b| *b == b'\n').count() + 1
}

/// Both sides of a comparison, written so that the same bound in two rules is one.
fn sides(inner: &Inner, id: NodeId) -> (String, String) {
    let program = &inner.program;
    let shown = |node: NodeId| match (program.node(node), program.constant_of(node)) {
        (_, Some(constant)) => constant.value().to_string(),
        (Node::Slot(slot), _) => {
            program.slots.get(usize::from(slot)).map_or_else(String::new, |slot| slot.name.to_string())
        }
        _ => inner.text(node),
    };
    match program.node(id) {
        Node::Compare(_, left, right) => (shown(left), shown(right)),
        Node::CompareSlot { slot, constant, .. } => (
            program.slots.get(usize::from(slot)).map_or_else(String::new, |slot| slot.name.to_string()),
            program.constants.get(constant as usize).map_or_else(String::new, |constant| constant.value().to_string()),
        ),
        _ => (inner.text(id), String::new()),
    }
}
