//! An assessment in words: kept on file, shown to reviewers, and put into one sentence for a claimant.

use serde::{Deserialize, Serialize};

use super::facts::Facts;
use super::ir::{Node, NodeId};
use super::outcome::{AssessError, Outcome};
use super::policy::{Inner, Policy};
use super::program::{Slot, Source};
use super::rules::{Action, Basis};
use super::subject::Subject;
use super::trace::{Step, Trace};
use super::value::{List, Value};
use crate::incident::Localised;

/// What came of an assessment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutcomeKind {
    /// Something is owed.
    Award,
    /// Nothing is owed.
    Decline,
    /// A person decides.
    Review,
    /// It waits.
    Pending,
    /// It could not be assessed.
    Error,
}

impl OutcomeKind {
    /// The name as it stands in case files and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Award => "award",
            Self::Decline => "decline",
            Self::Review => "review",
            Self::Pending => "pending",
            Self::Error => "error",
        }
    }
}

/// An assessment with everything that explains it. Owns all its texts, so it can be kept for years.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assessment {
    /// The policy's name.
    pub policy: String,
    /// The version: the SHA-256 of the policy's source.
    pub version: String,
    /// The policy's title.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<Localised>,
    /// The incident it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incident: Option<String>,
    /// The service it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Where its subjects come from.
    pub basis: Basis,
    /// Where the remedy was announced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// What came of it.
    pub outcome: OutcomeKind,
    /// The rule that decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// What is owed.
    pub awards: Vec<AssessedAward>,
    /// Why nothing is owed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<AssessedReason>,
    /// Who decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
    /// Documents still wanted.
    pub evidence: Vec<AssessedDocument>,
    /// Why it could not be assessed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
    /// The rules that were tried, in order; the last is the one that decided.
    pub rules: Vec<RuleStep>,
    /// Every value used, and where it came from.
    pub values: Vec<ValueUsed>,
    /// Every rounding, as it was named.
    pub roundings: Vec<Rounding>,
    /// Caps and minima that changed an award.
    pub caps: Vec<CapApplied>,
    /// Steps beyond what a trace keeps.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub steps_left_out: usize,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// One award in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssessedAward {
    /// The asset's code.
    pub asset: String,
    /// The exact amount, as text with the asset's digits.
    pub amount: String,
    /// The asset's title.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<Localised>,
    /// Where this award was announced, when it says so itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
}

/// A reason in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssessedReason {
    /// The code.
    pub code: String,
    /// The wording for the claimant.
    pub wording: Localised,
    /// Whether it can be appealed.
    pub appealable: bool,
    /// Where it is stated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
}

/// A document that is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssessedDocument {
    /// The code.
    pub code: String,
    /// The title.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<Localised>,
}

/// Why a subject could not be assessed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The stable name.
    pub code: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
    /// The fact it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fact: Option<String>,
    /// The line of the policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// The column of the policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<usize>,
}

impl From<&AssessError> for Problem {
    fn from(error: &AssessError) -> Self {
        Self {
            code: error.code().to_owned(),
            message: error.message().to_owned(),
            remedy: error.remedy().to_owned(),
            fact: error.fact().map(str::to_owned),
            line: error.place().map(|place| place.0),
            column: error.place().map(|place| place.1),
        }
    }
}

/// A rule that was tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleStep {
    /// The rule's name.
    pub rule: String,
    /// The rule's title.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<Localised>,
    /// Whether it decided.
    pub matched: bool,
    /// What was found of its conditions, as far as they were asked.
    pub clauses: Vec<Clause>,
    /// Where it was announced: its own reference, else the policy's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
}

/// One condition and what was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clause {
    /// The condition as it stands in the policy.
    pub text: String,
    /// Whether it held.
    pub holds: bool,
    /// The comparison's sign.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sign: Option<String>,
    /// What stands on the left: the fact's title, when it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<Localised>,
    /// The value on the left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<String>,
    /// The value on the right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub right: Option<String>,
}

/// A value that was used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValueUsed {
    /// Its name.
    pub name: String,
    /// The value, in words.
    pub value: String,
    /// Where it came from: `roster`, `account`, `incident`, `claim`, `evidence`, `default`, `missing`, `parameter`, `derived`.
    pub origin: String,
    /// The date that chose a parameter's value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub date: Option<String>,
    /// Its title.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<Localised>,
    /// Where it is stated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
}

/// A rounding that took place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rounding {
    /// The value before; a fraction by its first digits and `…`.
    pub before: String,
    /// The mode.
    pub mode: String,
    /// The unit.
    pub unit: String,
    /// The value after.
    pub after: String,
}

/// A cap that changed an award.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CapApplied {
    /// The cap's name.
    pub cap: String,
    /// The asset.
    pub asset: String,
    /// Before.
    pub before: String,
    /// After.
    pub after: String,
    /// Where it was announced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
}

impl Policy {
    /// Applies the policy to a subject and explains what it did.
    #[must_use]
    pub fn explain(&self, subject: &Subject<'_>) -> Assessment {
        self.trace(subject).assessment()
    }

    /// Applies the policy to the facts of a facts file and explains what it did.
    #[must_use]
    pub fn explain_facts(&self, facts: &Facts) -> Assessment {
        self.trace_facts(facts).assessment()
    }
}

impl Trace<'_> {
    /// The trace in words.
    #[must_use]
    pub fn assessment(&self) -> Assessment {
        let inner = &self.policy.inner;
        let mut assessment = Assessment {
            policy: inner.id.to_string(),
            version: inner.version.clone(),
            title: inner.title.clone(),
            incident: inner.incident.as_ref().map(ToString::to_string),
            service: inner.service.as_ref().map(ToString::to_string),
            basis: inner.basis,
            reference: inner.reference.clone(),
            outcome: OutcomeKind::Error,
            rule: None,
            awards: Vec::new(),
            reason: None,
            queue: None,
            evidence: Vec::new(),
            problem: None,
            rules: Vec::new(),
            values: Vec::new(),
            roundings: Vec::new(),
            caps: Vec::new(),
            steps_left_out: self.left_out,
        };
        self.tell_outcome(&mut assessment);
        self.tell_facts(&mut assessment);
        self.tell_steps(&mut assessment);
        assessment
    }

    fn tell_outcome(&self, to: &mut Assessment) {
        let inner = &self.policy.inner;
        let outcome = match &self.outcome {
            Ok(outcome) => outcome,
            Err(error) => {
                to.problem = Some(error.into());
                return;
            }
        };
        to.rule = outcome.rule().map(|rule| rule.as_str().to_owned());
        match outcome {
            Outcome::Award { awards, rule } => {
                to.outcome = OutcomeKind::Award;
                to.awards = awards
                    .iter()
                    .map(|award| AssessedAward {
                        asset: award.asset.code().to_string(),
                        amount: award.amount.to_decimal(award.asset.scale()).to_string(),
                        title: inner.terms.get(award.place).and_then(|terms| terms.title.clone()),
                        reference: match &rule.rule.action {
                            Action::Award(items) => items
                                .iter()
                                .find(|item| usize::from(item.asset) == award.place)
                                .and_then(|item| item.reference.clone()),
                            _ => None,
                        },
                    })
                    .collect();
            }
            Outcome::Decline { reason, .. } => {
                to.outcome = OutcomeKind::Decline;
                to.reason = Some(AssessedReason {
                    code: reason.code().to_owned(),
                    wording: reason.wording().clone(),
                    appealable: reason.appealable(),
                    reference: reason.reference().map(str::to_owned),
                });
            }
            Outcome::Review { queue, evidence, .. } => {
                to.outcome = OutcomeKind::Review;
                to.queue = Some((*queue).to_owned());
                let document = |code: &str| AssessedDocument {
                    code: code.to_owned(),
                    title: inner
                        .documents
                        .iter()
                        .find(|known| &*known.code == code)
                        .and_then(|known| known.title.clone()),
                };
                to.evidence = evidence.iter().map(document).collect();
            }
            Outcome::Pending { .. } => to.outcome = OutcomeKind::Pending,
        }
    }

    fn tell_facts(&self, to: &mut Assessment) {
        for (at, (slot, value)) in self.policy.inner.program.slots.iter().zip(&self.slots).enumerate() {
            let bit = |mask: u128| mask >> at & 1 == 1;
            if !bit(self.read) {
                continue;
            }
            let origin = match (bit(self.defaulted), &slot.default) {
                (true, Some(_)) => "default",
                (true, None) => "missing",
                (false, _) => origin(slot),
            };
            to.values.push(ValueUsed {
                name: slot.name.to_string(),
                value: self.shown(value),
                origin: origin.to_owned(),
                date: None,
                title: slot.title.clone(),
                reference: slot.reference.clone(),
            });
        }
    }

    fn tell_steps(&self, to: &mut Assessment) {
        let inner = &self.policy.inner;
        let mut clauses = Vec::new();
        for step in &self.steps {
            match step {
                Step::Atom { node, sides, result, nested: false } => {
                    clauses.push(self.clause(*node, sides.as_ref(), *result))
                }
                Step::Atom { .. } => {}
                Step::Rule { rule, matches } => {
                    let known = &inner.rules[*rule];
                    to.rules.push(RuleStep {
                        rule: known.name.to_string(),
                        title: known.title.clone(),
                        matched: *matches,
                        clauses: std::mem::take(&mut clauses),
                        reference: known.reference.clone().or_else(|| inner.reference.clone()),
                    });
                }
                Step::Parameter { parameter, date, value } => {
                    let known = &inner.program.parameters[usize::from(*parameter)];
                    let dated = date.and_then(|date| known.on(date)).and_then(|value| value.reference.clone());
                    let used = ValueUsed {
                        name: format!("parameter.{}", known.name),
                        value: value.to_string(),
                        origin: "parameter".to_owned(),
                        date: date.map(|date| date.to_string()),
                        title: None,
                        reference: dated.or_else(|| known.reference.clone()),
                    };
                    if !to.values.contains(&used) {
                        to.values.push(used);
                    }
                }
                Step::Named { named, value } => {
                    let known = &inner.program.named[usize::from(*named)];
                    to.values.push(ValueUsed {
                        name: known.name.clone(),
                        value: self.shown(value),
                        origin: "derived".to_owned(),
                        date: None,
                        title: known.title.clone(),
                        reference: known.reference.clone(),
                    });
                }
                Step::Row { .. } => {}
                Step::Rounded { before, after, mode, unit } => to.roundings.push(Rounding {
                    before: self.shown(before),
                    mode: mode.as_str().to_owned(),
                    unit: unit.value().to_string(),
                    after: self.shown(after),
                }),
                Step::Capped { cap, before, after } => {
                    let scale = inner.scale(cap.asset);
                    to.caps.push(CapApplied {
                        cap: cap.name.to_string(),
                        asset: self
                            .policy
                            .assets()
                            .get(usize::from(cap.asset))
                            .map_or_else(String::new, |asset| asset.code().to_string()),
                        before: before.to_decimal(scale).to_string(),
                        after: after.to_decimal(scale).to_string(),
                        reference: cap.reference.clone(),
                    });
                }
            }
        }
    }

    fn clause(&self, node: NodeId, sides: Option<&(Value<'_>, Value<'_>)>, holds: bool) -> Clause {
        let inner = &self.policy.inner;
        let sign = match inner.program.node(node) {
            Node::Compare(op, ..) | Node::CompareSlot { op, .. } => Some(op.as_str().to_owned()),
            _ => None,
        };
        Clause {
            text: condition_text(inner, node),
            holds,
            sign,
            title: title_of(inner, node),
            left: sides.map(|sides| self.shown(&sides.0)),
            right: sides.map(|sides| self.shown(&sides.1)),
        }
    }

    /// A single value in words, instants on the clock of the policy's zone.
    fn local(&self, value: &Value<'_>) -> String {
        let Some(zone) = self.policy.inner.program.zone else { return value.to_string() };
        let instant = |at: &chrono::DateTime<chrono::Utc>| {
            at.with_timezone(&zone).to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true)
        };
        match value {
            Value::Timestamp(at) => instant(at),
            Value::Window(window) => format!("{} to {}", instant(&window.from()), instant(&window.until())),
            other => other.to_string(),
        }
    }

    /// A value in words; a list by its elements, as far as they fit.
    fn shown(&self, value: &Value<'_>) -> String {
        const MOST: usize = 8;
        let Value::List(list) = value else { return self.local(value) };
        let (items, length): (Vec<String>, usize) = match list {
            List::Windows(items) => {
                (items.iter().take(MOST).map(|item| self.local(&Value::Window(*item))).collect(), items.len())
            }
            List::Texts(items) => (items.iter().take(MOST).map(ToString::to_string).collect(), items.len()),
            List::Constants(items) => {
                (items.iter().take(MOST).map(|item| item.value().to_string()).collect(), items.len())
            }
            List::Computed(place) => {
                let items = self.lists.get(*place as usize).map_or(&[][..], Vec::as_slice);
                (items.iter().take(MOST).map(|item| self.local(item)).collect(), items.len())
            }
        };
        let more = if length > MOST { format!(", … ({length})") } else { String::new() };
        format!("[{}{more}]", items.join(", "))
    }
}

/// A condition as it stands in the policy; of a claim window or a document only the bound stands there.
fn condition_text(inner: &Inner, node: NodeId) -> String {
    let text = inner.text(node);
    let (sign, left) = match inner.program.node(node) {
        Node::Compare(op, left, _) => (op.as_str(), inner.text(left)),
        Node::CompareSlot { op, slot, .. } => {
            let name = inner.program.slots.get(usize::from(slot)).map_or("", |slot| &slot.name);
            (op.as_str(), name.to_owned())
        }
        _ => return text,
    };
    if text.contains(sign) {
        return text;
    }
    let left = if left == text { "claim.submitted_at" } else { &left };
    format!("{left} {sign} {text}")
}

/// The title of what a comparison has on its left.
fn title_of(inner: &Inner, node: NodeId) -> Option<Localised> {
    let slot = |at: u16| inner.program.slots.get(usize::from(at)).and_then(|slot| slot.title.clone());
    match inner.program.node(node) {
        Node::CompareSlot { slot: at, .. } | Node::Slot(at) => slot(at),
        Node::Named(at) => inner.program.named.get(usize::from(at)).and_then(|named| named.title.clone()),
        Node::Compare(_, left, _) => match inner.program.node(left) {
            Node::Slot(at) => slot(at),
            Node::Named(at) => inner.program.named.get(usize::from(at)).and_then(|named| named.title.clone()),
            _ => None,
        },
        _ => None,
    }
}

fn origin(slot: &Slot) -> &'static str {
    match slot.source {
        Source::HoldingReference
        | Source::HoldingKind
        | Source::HoldingProduct
        | Source::HoldingFrom
        | Source::HoldingUntil
        | Source::Holding(_) => "roster",
        Source::CustomerId | Source::Customer(_) => "account",
        Source::IncidentId
        | Source::IncidentStarted
        | Source::IncidentWindows
        | Source::IncidentUnavailable
        | Source::IncidentDegraded
        | Source::IncidentWindow
        | Source::Incident(_) => "incident",
        Source::ClaimSubmitted | Source::Claim(_) => "claim",
        Source::EvidenceCount | Source::EvidenceKinds => "evidence",
    }
}
