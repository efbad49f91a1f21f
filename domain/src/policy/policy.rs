//! A compiled policy and its application to one subject.

use std::sync::Arc;

use chrono::NaiveDate;

use super::diagnostic::Diagnostic;
use super::eval::{Fault, FaultKind, Frame, Silent, Tracer};
use super::facts::Facts;
use super::ir::NodeId;
use super::outcome::{AssessError, Awards, Evidence, Outcome, RuleName};
use super::plan::Plan;
use super::program::{Program, Source};
use super::rules::{Action, AssetTerms, AwardItem, Basis, Cap, Document, Reason, Rule, Stacking, SubjectCap};
use super::subject::{Built, Defaulted, Subject, bind_facts, bind_subject};
use super::value::{List, Value};
use crate::asset::{Amount, AmountError, Asset};
use crate::id::{IncidentId, PolicyId, ServiceId};
use crate::incident::Localised;

/// A policy, checked and compiled: an immutable value, shared freely between threads.
#[derive(Debug, Clone)]
pub struct Policy {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) id: PolicyId,
    pub(crate) incident: Option<IncidentId>,
    pub(crate) service: Option<ServiceId>,
    pub(crate) basis: Basis,
    pub(crate) title: Option<Localised>,
    pub(crate) reference: Option<String>,
    pub(crate) source: String,
    pub(crate) file: String,
    pub(crate) version: String,
    pub(crate) program: Program,
    /// The policy's own date, which chooses parameters and periods.
    pub(crate) date: Option<NodeId>,
    pub(crate) rules: Vec<Rule>,
    pub(crate) plan: Plan,
    pub(crate) reasons: Vec<Reason>,
    pub(crate) nothing_due: u16,
    pub(crate) documents: Vec<Document>,
    pub(crate) subject_caps: Vec<SubjectCap>,
    pub(crate) caps: Vec<Cap>,
    pub(crate) stacking: Option<Stacking>,
    pub(crate) sample: super::sample::Sample,
    pub(crate) terms: Vec<AssetTerms>,
    pub(crate) notes: Vec<Diagnostic>,
}

type Assessed<'p> = Result<Outcome<'p>, AssessError>;

/// Facts of small policies stand on the stack.
const FEW: usize = 12;

/// What was found beside the outcome, for those who settle.
#[derive(Debug, Clone, Default)]
pub(crate) struct Aside {
    pub(crate) key: Option<String>,
    pub(crate) date: Option<NaiveDate>,
}

impl Policy {
    /// Applies the policy to a subject.
    pub fn assess<'p>(&'p self, subject: &Subject<'p>) -> Result<Outcome<'p>, AssessError> {
        // One local, written in place and returned: a copy of the outcome would cost as much as the rules.
        let mut result = Ok(Outcome::Pending { rule: None });
        self.assess_into(subject, &mut result);
        result
    }

    fn assess_into<'p>(&'p self, subject: &Subject<'p>, result: &mut Assessed<'p>) {
        let inner: &'p Inner = &self.inner;
        let (slots, named) = (inner.program.slots.len(), inner.program.named.len());
        let mut few = [Value::Missing; FEW];
        let mut many;
        let places = if slots + named <= FEW {
            &mut few[..slots + named]
        } else {
            many = vec![Value::Missing; slots + named];
            &mut many[..]
        };
        let mut built = Vec::new();
        let (slot_places, named_places) = places.split_at_mut(slots);
        if let Err(error) = bind_subject(&inner.program, subject, slot_places, &mut built) {
            *result = Err(error);
            return;
        }
        let mut frame = Frame::new(&inner.program, slot_places, named_places, built, Silent);
        inner.decide(&mut frame, result);
    }

    /// Applies the policy to the facts of a facts file.
    pub fn assess_facts<'p>(&'p self, facts: &'p Facts) -> Result<Outcome<'p>, AssessError> {
        self.run(|program, slots, built| bind_facts(program, facts, slots, built), |_, outcome| outcome)
            .unwrap_or_else(Err)
            .map_err(|error| error.among(facts))
    }

    /// Applies the policy and says too by what the awards of a customer exclude each other, as far as that can be told.
    pub(crate) fn assess_aside<'p>(&'p self, subject: &Subject<'p>) -> (Assessed<'p>, Aside) {
        let bind = |program: &'p Program, slots: &mut [Value<'p>], built: &mut Built<'p>| {
            bind_subject(program, subject, slots, built)
        };
        self.run(bind, |frame, outcome| self.inner.with_aside(frame, outcome))
            .unwrap_or_else(|error| (Err(error), Aside::default()))
    }

    /// The same from a facts file.
    pub(crate) fn assess_facts_aside<'p>(&'p self, facts: &'p Facts) -> (Assessed<'p>, Aside) {
        let bind = |program: &'p Program, slots: &mut [Value<'p>], built: &mut Built<'p>| {
            bind_facts(program, facts, slots, built)
        };
        let (outcome, aside) = self
            .run(bind, |frame, outcome| self.inner.with_aside(frame, outcome))
            .unwrap_or_else(|error| (Err(error), Aside::default()));
        (outcome.map_err(|error| error.among(facts)), aside)
    }

    /// Whether it reads nothing of whose a holding is and by what name: what it says of one holding, it says of every other with
    /// the same facts.
    #[must_use]
    pub fn is_alike_for_all(&self) -> bool {
        let whose = |source: &Source| matches!(source, Source::HoldingReference | Source::CustomerId);
        !self.inner.program.slots.iter().any(|slot| whose(&slot.source))
    }

    fn run<'p, V>(
        &'p self,
        bind: impl FnOnce(&'p Program, &mut [Value<'p>], &mut Built<'p>) -> Result<Defaulted, AssessError>,
        finish: impl FnOnce(&mut Frame<'p, '_, Silent>, Assessed<'p>) -> V,
    ) -> Result<V, AssessError> {
        let inner: &'p Inner = &self.inner;
        let (slots, named) = (inner.program.slots.len(), inner.program.named.len());
        let mut built = Vec::new();
        if slots + named <= FEW {
            let mut places = [Value::Missing; FEW];
            let (slot_places, rest) = places.split_at_mut(slots);
            bind(&inner.program, slot_places, &mut built)?;
            let mut frame = Frame::new(&inner.program, slot_places, &mut rest[..named], built, Silent);
            let mut result = Ok(Outcome::Pending { rule: None });
            inner.decide(&mut frame, &mut result);
            return Ok(finish(&mut frame, result));
        }
        let mut places = vec![Value::Missing; slots + named];
        let (slot_places, rest) = places.split_at_mut(slots);
        bind(&inner.program, slot_places, &mut built)?;
        let mut frame = Frame::new(&inner.program, slot_places, rest, built, Silent);
        let mut result = Ok(Outcome::Pending { rule: None });
        inner.decide(&mut frame, &mut result);
        Ok(finish(&mut frame, result))
    }
}

impl Inner {
    /// The first rule whose condition is true decides. The result, which is `Pending` before, is written in place.
    #[inline]
    pub(crate) fn decide<'p, T: Decision<'p>>(&'p self, frame: &mut Frame<'p, '_, T>, result: &mut Assessed<'p>) {
        if self.basis == Basis::Undecided {
            return;
        }
        let decided = self.plan.run(frame, |tracer, rule| tracer.tried(usize::from(rule), false));
        let place = match decided {
            Ok(place) => place,
            Err(fault) => {
                *result = Err(self.explain_fault(fault));
                return;
            }
        };
        let Some((place, rule)) = place.and_then(|place| Some((place, self.rules.get(place)?))) else {
            let remedy = "end the policy with an `otherwise` rule";
            *result = Err(AssessError::new("no-rule", "no rule applies to these facts", remedy));
            return;
        };
        frame.tracer.tried(place, true);
        if let Err(error) = self.act(frame, RuleName { rule, place }, result) {
            *result = Err(error);
        }
    }

    #[inline]
    fn act<'p, T: Decision<'p>>(
        &'p self,
        frame: &mut Frame<'p, '_, T>,
        name: RuleName<'p>,
        result: &mut Assessed<'p>,
    ) -> Result<(), AssessError> {
        match &name.rule.action {
            Action::Award(items) => {
                *result = Ok(Outcome::Award { awards: Awards::of(&self.program.names.assets), rule: name });
                let Ok(Outcome::Award { awards, .. }) = result else { return Ok(()) };
                self.award(frame, items, awards)?;
                if awards.is_empty() {
                    *result = Ok(self.decline(self.nothing_due, name));
                } else if !name.rule.evidence.is_empty() {
                    let evidence = self.evidence(frame, &name.rule.evidence)?;
                    if !evidence.is_empty() {
                        *result = Ok(Outcome::Review { queue: &name.rule.evidence_queue, rule: name, evidence });
                    }
                }
            }
            Action::Decline(reason) => *result = Ok(self.decline(*reason, name)),
            Action::Review(queue) => {
                let evidence = self.evidence(frame, &name.rule.evidence)?;
                *result = Ok(Outcome::Review { queue, rule: name, evidence });
            }
            Action::Pending => *result = Ok(Outcome::Pending { rule: Some(name) }),
        }
        Ok(())
    }

    fn decline<'p>(&'p self, reason: u16, rule: RuleName<'p>) -> Outcome<'p> {
        // The loader resolves every reason; `nothing-due` is always among them.
        let reason = self.reasons.get(usize::from(reason)).unwrap_or(&self.reasons[usize::from(self.nothing_due)]);
        Outcome::Decline { reason, rule }
    }

    #[inline]
    fn award<'p, T: Decision<'p>>(
        &'p self,
        frame: &mut Frame<'p, '_, T>,
        items: &'p [AwardItem],
        awards: &mut Awards<'p>,
    ) -> Result<(), AssessError> {
        for item in items {
            if let Some(when) = item.when
                && !frame.truth(when).map_err(|fault| self.explain_fault(fault))?
            {
                continue;
            }
            let amount = match item.fixed {
                Some(amount) => amount,
                None => self.amount(frame, item.amount, item.asset)?,
            };
            if amount < Amount::ZERO {
                return Err(self.negative(item, amount));
            }
            awards.add(item.asset, amount).ok_or_else(|| self.too_large(item.asset, item.amount))?;
        }
        for cap in &self.subject_caps {
            self.cap(frame, cap, awards)?;
        }
        awards.drop_zeros();
        Ok(())
    }

    #[cold]
    fn negative(&self, item: &AwardItem, amount: Amount) -> AssessError {
        let message = format!("an award of {} is below zero", amount.to_decimal(self.scale(item.asset)));
        AssessError::new("award-negative", message, "keep it at zero: max(0, …)").at(self.place(item.amount))
    }

    fn cap<'p, T: Decision<'p>>(
        &'p self,
        frame: &mut Frame<'p, '_, T>,
        cap: &'p SubjectCap,
        awards: &mut Awards<'p>,
    ) -> Result<(), AssessError> {
        let Some(amount) = awards.amount_mut(cap.asset) else { return Ok(()) };
        let before = *amount;
        let mut limit = |node: Option<NodeId>| node.map(|node| self.amount(frame, node, cap.asset)).transpose();
        let (below, least, most) = (limit(cap.nothing_below)?, limit(cap.at_least)?, limit(cap.at_most)?);
        if below.is_some_and(|below| *amount < below) {
            *amount = Amount::ZERO;
        }
        if let Some(least) = least
            && *amount > Amount::ZERO
        {
            *amount = (*amount).max(least);
        }
        if let Some(most) = most {
            *amount = (*amount).min(most.max(Amount::ZERO));
        }
        let after = *amount;
        if before != after {
            frame.tracer.capped(cap, before, after);
        }
        Ok(())
    }

    pub(crate) fn scale(&self, asset: u16) -> u8 {
        self.program.names.assets.get(usize::from(asset)).map_or(0, Asset::scale)
    }

    /// The exact minor units of an expression; more digits than the asset has are an error, never a rounding.
    fn amount<'p, T: Tracer<'p>>(
        &'p self,
        frame: &mut Frame<'p, '_, T>,
        node: NodeId,
        asset: u16,
    ) -> Result<Amount, AssessError> {
        let number = frame.number(node).map_err(|fault| self.explain_fault(fault))?;
        let Some(decimal) = number.as_decimal() else {
            return Err(self.too_precise(asset, node, &number.to_string()));
        };
        // Whole amounts of assets without minor digits are the commonest.
        if decimal.scale() == 0 && self.scale(asset) == 0 {
            return i64::try_from(decimal.mantissa()).map(Amount::from_minor).map_err(|_| self.too_large(asset, node));
        }
        Amount::from_decimal(decimal, self.scale(asset)).map_err(|error| match error {
            AmountError::TooPrecise { .. } => self.too_precise(asset, node, &number.to_string()),
            AmountError::TooLarge(_) => self.too_large(asset, node),
        })
    }

    fn asset_name(&self, asset: u16) -> &str {
        self.program.names.assets.get(usize::from(asset)).map_or("?", |asset| asset.code().as_str())
    }

    #[cold]
    fn too_precise(&self, asset: u16, node: NodeId, shown: &str) -> AssessError {
        let scale = self.scale(asset);
        let message = format!("{shown} has more than the {scale} decimal digits of {}", self.asset_name(asset));
        let unit = rust_decimal::Decimal::try_new(1, u32::from(scale)).unwrap_or_default();
        AssessError::new("award-precision", message, format!("round it by name: round(…, 'half_up', {unit})"))
            .at(self.place(node))
    }

    #[cold]
    fn too_large(&self, asset: u16, node: NodeId) -> AssessError {
        let message = format!("the award of {} is larger than can be held", self.asset_name(asset));
        AssessError::new("award-overflow", message, "cap it: [[cap]] per = \"subject\", at_most = …")
            .at(self.place(node))
    }

    /// The documents of a rule that apply and are not there.
    fn evidence<'p, T: Decision<'p>>(
        &'p self,
        frame: &mut Frame<'p, '_, T>,
        listed: &'p [u16],
    ) -> Result<Evidence<'p>, AssessError> {
        if listed.is_empty() {
            return Ok(Evidence::none());
        }
        let mut wanted = 0_u64;
        for (bit, at) in listed.iter().enumerate() {
            let Some(document) = self.documents.get(usize::from(*at)) else { continue };
            let applies = match document.when {
                None => true,
                Some(when) => frame.truth(when).map_err(|fault| self.explain_fault(fault))?,
            };
            if applies && !self.has_document(frame, &document.code) {
                wanted |= 1 << bit;
            }
        }
        Ok(Evidence { known: &self.documents, listed, wanted })
    }

    fn has_document<'p, T: Decision<'p>>(&'p self, frame: &Frame<'p, '_, T>, code: &str) -> bool {
        let kinds = self.program.slots.iter().position(|slot| &*slot.name == "evidence.kinds");
        let Some(Value::List(kinds)) = kinds.and_then(|at| frame.slots.get(at)) else { return false };
        let kinds: List<'p> = *kinds;
        (0..frame.list_length(kinds)).any(|at| matches!(frame.element(kinds, at), Value::Text(kind) if kind == code))
    }

    /// An outcome that stands where the aside cannot be told would be paid beside others: then there is none.
    fn with_aside<'p, T: Tracer<'p>>(
        &'p self,
        frame: &mut Frame<'p, '_, T>,
        outcome: Assessed<'p>,
    ) -> (Assessed<'p>, Aside) {
        match self.aside(frame) {
            Ok(aside) => (outcome, aside),
            Err(error) => (outcome.and(Err(error)), Aside::default()),
        }
    }

    fn aside<'p, T: Tracer<'p>>(&'p self, frame: &mut Frame<'p, '_, T>) -> Result<Aside, AssessError> {
        let mut aside = Aside::default();
        if let Some(key) = self.stacking.as_ref().and_then(|stacking| stacking.key) {
            let key = frame.value(key).map_err(|fault| self.explain_fault(fault))?;
            aside.key = Some(key.to_string());
        }
        if let Some(date) =
            self.date.filter(|_| self.caps.iter().any(|cap| cap.scope == super::rules::CapScope::Period))
        {
            let value = frame.value(date).map_err(|fault| self.explain_fault(fault))?;
            aside.date = Some(frame.date_of(value, date).map_err(|fault| self.explain_fault(fault))?);
        }
        Ok(aside)
    }

    /// Line and column of a node in the policy's file.
    pub(crate) fn place(&self, node: NodeId) -> (usize, usize) {
        let start = self.program.span(node).start.min(self.source.len());
        let before = self.source.get(..start).unwrap_or("");
        let line = before.bytes().filter(|b| *b == b'\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        (line, column)
    }

    /// The text of a node in the policy's file, on one line.
    pub(crate) fn text(&self, node: NodeId) -> String {
        let span = self.program.span(node);
        let text = self.source.get(span.start..span.end).unwrap_or("");
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[cold]
    pub(crate) fn explain_fault(&self, fault: Fault) -> AssessError {
        let text = super::document::shorten(&self.text(fault.node));
        let error = match fault.kind {
            FaultKind::Missing(slot) => match self.program.slots.get(usize::from(slot)) {
                Some(slot) => AssessError::missing_fact(&slot.name),
                None => AssessError::new("internal", "a fact has no place", "report this"),
            },
            FaultKind::DivisionByZero => AssessError::new(
                "division-by-zero",
                format!("`{text}` divides by zero"),
                "ask first: `x == 0 ? 0 : y / x`",
            ),
            FaultKind::Overflow => AssessError::new(
                "overflow",
                format!("`{text}` has more digits than an exact number can hold (28)"),
                "round what goes into it, or declare a `max` for the facts",
            ),
            FaultKind::NotWhole => AssessError::new(
                "not-whole",
                format!("`{text}` needs a whole number"),
                "round it by name: round(…, 'up', 1)",
            ),
            FaultKind::EmptyWindow => AssessError::new(
                "empty-window",
                format!("`{text}` ends before it begins, or is empty"),
                "compare the two instants before making a window of them",
            ),
            FaultKind::EmptyList => AssessError::new(
                "empty-list",
                format!("`{text}`: an empty list has no least and no greatest"),
                "ask first: `count(list) == 0 ? … : …`",
            ),
            FaultKind::NoParameterValue(parameter, date) => {
                let name = self
                    .program
                    .parameters
                    .get(usize::from(parameter))
                    .map_or("?", |parameter| parameter.name.as_str());
                AssessError::new(
                    "no-value-on-date",
                    format!("`parameter.{name}` has no value on {date}"),
                    "add the value with its `from`, or correct the date",
                )
            }
            FaultKind::OutsideCalendar(calendar, date) => {
                let name =
                    self.program.calendars.get(usize::from(calendar)).map_or("?", |calendar| calendar.name.as_str());
                AssessError::new(
                    "outside-calendar",
                    format!("`calendar.{name}` does not know {date}"),
                    "add that year's holidays and move `from` or `until`",
                )
            }
            FaultKind::OutsideTime => AssessError::new(
                "outside-time",
                format!("`{text}` is beyond the dates that exist"),
                "correct the number of days or months",
            ),
            FaultKind::TooManySteps | FaultKind::ListTooLong => AssessError::new(
                "too-much-work",
                format!("`{text}` goes over more values than one assessment may"),
                "shorten the lists or the time they cover",
            ),
            FaultKind::Internal => {
                AssessError::new("internal", format!("`{text}` could not be evaluated"), "report this: it is a defect")
            }
        };
        error.at(self.place(fault.node))
    }
}

/// Watches a whole assessment, not only its expressions.
pub(crate) trait Decision<'a>: Tracer<'a> {
    fn tried(&mut self, _rule: usize, _matches: bool) {}
    fn capped(&mut self, _cap: &'a SubjectCap, _before: Amount, _after: Amount) {}
}

impl Decision<'_> for Silent {}
