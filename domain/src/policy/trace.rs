//! Records what an assessment did: cheaply, as values and places; words come later, when somebody reads it.

use chrono::NaiveDate;

use super::eval::{Frame, Tracer};
use super::facts::Facts;
use super::ir::NodeId;
use super::number::{Number, RoundingMode};
use super::outcome::{AssessError, Outcome};
use super::policy::{Decision, Policy};
use super::rules::SubjectCap;
use super::subject::{Built, Defaulted, Subject, bind_facts, bind_subject};
use super::value::{Constant, Value};
use crate::asset::Amount;

/// The most steps a trace keeps; beyond it only their number is known.
pub const MAX_TRACE_STEPS: usize = 1_024;

/// One step of an assessment.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Step<'a> {
    Atom { node: NodeId, sides: Option<(Value<'a>, Value<'a>)>, result: bool, nested: bool },
    Parameter { parameter: u16, date: Option<NaiveDate>, value: Number },
    Rounded { before: Value<'a>, after: Value<'a>, mode: RoundingMode, unit: &'a Constant },
    Named { named: u16, value: Value<'a> },
    Row { named: u16, row: Option<u16> },
    Rule { rule: usize, matches: bool },
    Capped { cap: &'a SubjectCap, before: Amount, after: Amount },
}

/// Everything that an assessment did, for an explanation or for coverage.
#[derive(Debug)]
pub struct Trace<'a> {
    pub(crate) policy: &'a Policy,
    pub(crate) outcome: Result<Outcome<'a>, AssessError>,
    pub(crate) steps: Vec<Step<'a>>,
    pub(crate) left_out: usize,
    /// The facts as they were bound; none when binding failed.
    pub(crate) slots: Vec<Value<'a>>,
    pub(crate) lists: Vec<Vec<Value<'a>>>,
    pub(crate) read: u128,
    pub(crate) defaulted: Defaulted,
}

impl<'a> Trace<'a> {
    /// What the policy says, or why it cannot.
    pub fn outcome(&self) -> &Result<Outcome<'a>, AssessError> {
        &self.outcome
    }

    /// How many steps were recorded.
    #[must_use]
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Whether nothing was recorded, as when a fact is missing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }
}

struct Recorder<'a> {
    steps: Vec<Step<'a>>,
    left_out: usize,
    read: u128,
}

impl<'a> Recorder<'a> {
    #[inline]
    fn push(&mut self, step: Step<'a>) {
        if self.steps.len() < MAX_TRACE_STEPS {
            self.steps.push(step);
        } else {
            self.left_out += 1;
        }
    }
}

impl<'a> Tracer<'a> for Recorder<'a> {
    fn atom(&mut self, node: NodeId, sides: Option<(Value<'a>, Value<'a>)>, result: bool, nested: bool) {
        self.push(Step::Atom { node, sides, result, nested });
    }

    fn slot(&mut self, slot: u16) {
        self.read |= 1_u128.checked_shl(u32::from(slot)).unwrap_or(0);
    }

    fn parameter(&mut self, parameter: u16, date: Option<NaiveDate>, value: Number) {
        self.push(Step::Parameter { parameter, date, value });
    }

    fn rounded(&mut self, before: Value<'a>, after: Value<'a>, mode: RoundingMode, unit: &'a Constant) {
        self.push(Step::Rounded { before, after, mode, unit });
    }

    fn named(&mut self, named: u16, value: Value<'a>) {
        self.push(Step::Named { named, value });
    }

    fn row(&mut self, named: u16, row: Option<u16>) {
        self.push(Step::Row { named, row });
    }
}

impl<'a> Decision<'a> for Recorder<'a> {
    fn tried(&mut self, rule: usize, matches: bool) {
        self.push(Step::Rule { rule, matches });
    }

    fn capped(&mut self, cap: &'a SubjectCap, before: Amount, after: Amount) {
        self.push(Step::Capped { cap, before, after });
    }
}

/// What a usual assessment records, so that its list grows once.
const USUAL_STEPS: usize = 12;

impl Policy {
    /// Applies the policy and records everything; [`Trace::assessment`] puts it into words.
    #[must_use]
    pub fn trace<'p>(&'p self, subject: &Subject<'p>) -> Trace<'p> {
        self.record(|slots, built| bind_subject(&self.inner.program, subject, slots, built))
    }

    /// The same from a facts file.
    #[must_use]
    pub fn trace_facts<'p>(&'p self, facts: &'p Facts) -> Trace<'p> {
        let mut trace = self.record(|slots, built| bind_facts(&self.inner.program, facts, slots, built));
        trace.outcome = trace.outcome.map_err(|error| error.among(facts));
        trace
    }

    fn record<'p>(
        &'p self,
        bind: impl FnOnce(&mut [Value<'p>], &mut Built<'p>) -> Result<Defaulted, AssessError>,
    ) -> Trace<'p> {
        let program = &self.inner.program;
        let mut slots = vec![Value::Missing; program.slots.len()];
        let mut lists = Vec::new();
        let defaulted = match bind(&mut slots, &mut lists) {
            Ok(defaulted) => defaulted,
            Err(error) => {
                let (steps, slots) = (Vec::new(), Vec::new());
                return Trace {
                    policy: self,
                    outcome: Err(error),
                    steps,
                    left_out: 0,
                    slots,
                    lists,
                    read: 0,
                    defaulted: 0,
                };
            }
        };
        let recorder = Recorder { steps: Vec::with_capacity(USUAL_STEPS), left_out: 0, read: 0 };
        let mut named = vec![Value::Missing; program.named.len()];
        let mut frame = Frame::new(program, &slots, &mut named, lists, recorder);
        let mut outcome = Ok(Outcome::Pending { rule: None });
        self.inner.decide(&mut frame, &mut outcome);
        let Recorder { steps, left_out, read } = frame.tracer;
        let lists = frame.lists;
        Trace { policy: self, outcome, steps, left_out, slots, lists, read, defaulted }
    }
}
