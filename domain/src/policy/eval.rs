//! Evaluates compiled expressions. Types were checked before; what can still go wrong is a fault with a place.

use std::cmp::Ordering;

use chrono::{NaiveDate, TimeDelta};

use super::ast::BinaryOp;
use super::ir::{Aggregate, ArgRange, Extra, Node, NodeId};
use super::limits::{MAX_LIST, MAX_LOCALS, MAX_STEPS};
use super::number::{Number, NumberError, RoundingMode};
use super::operators::calculate;
use super::program::Program;
use super::time::local_date;
use super::value::{Constant, List, Value, from_nanoseconds, nanoseconds};
use crate::window::Window;

/// Why an expression has no value, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) kind: FaultKind,
    pub(crate) node: NodeId,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FaultKind {
    Missing(u16),
    DivisionByZero,
    Overflow,
    NotWhole,
    EmptyWindow,
    EmptyList,
    NoParameterValue(u16, NaiveDate),
    OutsideCalendar(u16, NaiveDate),
    OutsideTime,
    TooManySteps,
    ListTooLong,
    /// Types were checked, so this is a defect of the engine; it is reported, never a panic.
    Internal,
}

pub(crate) type Evaluated<T> = Result<T, Fault>;

/// Watches an evaluation. The one that does nothing costs nothing.
pub(crate) trait Tracer<'a> {
    /// Whether it wants to be told at all.
    const WATCHES: bool = true;
    /// A comparison, or another condition without parts.
    /// `nested`: within a derived fact, a table, a clock, or over a list.
    fn atom(&mut self, _node: NodeId, _sides: Option<(Value<'a>, Value<'a>)>, _result: bool, _nested: bool) {}
    fn slot(&mut self, _slot: u16) {}
    fn parameter(&mut self, _parameter: u16, _date: Option<NaiveDate>, _value: Number) {}
    fn rounded(&mut self, _before: Value<'a>, _after: Value<'a>, _mode: RoundingMode, _unit: &'a Constant) {}
    fn named(&mut self, _named: u16, _value: Value<'a>) {}
    /// A row of a table gave its value; nothing: `otherwise`.
    fn row(&mut self, _named: u16, _row: Option<u16>) {}
}

/// Sees nothing.
pub(crate) struct Silent;

impl Tracer<'_> for Silent {
    const WATCHES: bool = false;
}

/// One evaluation: the facts, what was worked out so far, and who watches.
pub(crate) struct Frame<'a, 'f, T> {
    pub(crate) program: &'a Program,
    pub(crate) slots: &'f [Value<'a>],
    pub(crate) named: &'f mut [Value<'a>],
    pub(crate) locals: [Value<'a>; MAX_LOCALS],
    pub(crate) lists: Vec<Vec<Value<'a>>>,
    pub(crate) steps: u32,
    /// How many named values and lists are being gone through.
    pub(crate) nesting: u16,
    pub(crate) tracer: T,
}

pub(crate) fn fault<V>(kind: FaultKind, node: NodeId) -> Evaluated<V> {
    Err(Fault { kind, node })
}

pub(crate) fn exact(result: Result<Number, NumberError>, node: NodeId) -> Evaluated<Number> {
    result.map_err(|error| {
        let kind = match error {
            NumberError::Overflow => FaultKind::Overflow,
            NumberError::DivisionByZero => FaultKind::DivisionByZero,
        };
        Fault { kind, node }
    })
}

#[inline]
fn holds(op: BinaryOp, order: Ordering) -> bool {
    match op {
        BinaryOp::Equal => order == Ordering::Equal,
        BinaryOp::NotEqual => order != Ordering::Equal,
        BinaryOp::Less => order == Ordering::Less,
        BinaryOp::LessEqual => order != Ordering::Greater,
        BinaryOp::Greater => order == Ordering::Greater,
        _ => order != Ordering::Less,
    }
}

#[inline]
fn compare(op: BinaryOp, left: &Value<'_>, right: &Value<'_>) -> bool {
    match left.order(right) {
        Some(order) => holds(op, order),
        None => left.same(right) == (op == BinaryOp::Equal),
    }
}

impl<'a, 'f, T: Tracer<'a>> Frame<'a, 'f, T> {
    pub(crate) fn new(
        program: &'a Program,
        slots: &'f [Value<'a>],
        named: &'f mut [Value<'a>],
        lists: Vec<Vec<Value<'a>>>,
        tracer: T,
    ) -> Self {
        Self { program, slots, named, locals: [Value::Missing; MAX_LOCALS], lists, steps: 0, nesting: 0, tracer }
    }

    /// The truth of a condition.
    pub(crate) fn truth(&mut self, id: NodeId) -> Evaluated<bool> {
        let program: &'a Program = self.program;
        match *program.node_ref(id) {
            Node::And(left, right) => Ok(self.truth(left)? && self.truth(right)?),
            Node::Or(left, right) => Ok(self.truth(left)? || self.truth(right)?),
            Node::Not(inner) => Ok(!self.truth(inner)?),
            Node::CompareSlot { op, slot, constant } => {
                let left = self.fact(slot, id)?;
                let right = self.constant(constant);
                let result = compare(op, &left, &right);
                self.tracer.atom(id, Some((left, right)), result, self.nesting > 0);
                Ok(result)
            }
            Node::Compare(op, left, right) => {
                let (left, right) = (self.value(left)?, self.value(right)?);
                let result = compare(op, &left, &right);
                self.tracer.atom(id, Some((left, right)), result, self.nesting > 0);
                Ok(result)
            }
            Node::Slot(slot) => match self.fact(slot, id)? {
                Value::Bool(result) => {
                    self.tracer.atom(id, None, result, self.nesting > 0);
                    Ok(result)
                }
                _ => fault(FaultKind::Internal, id),
            },
            Node::Condition(condition, yes, no) => {
                let chosen = if self.truth(condition)? { yes } else { no };
                self.truth(chosen)
            }
            _ => match self.value(id)? {
                Value::Bool(result) => {
                    self.tracer.atom(id, None, result, self.nesting > 0);
                    Ok(result)
                }
                _ => fault(FaultKind::Internal, id),
            },
        }
    }

    #[inline]
    pub(crate) fn constant(&self, place: u32) -> Value<'a> {
        let program: &'a Program = self.program;
        program.constants.get(place as usize).map_or(Value::Missing, Constant::value)
    }

    #[inline]
    fn fact(&mut self, slot: u16, node: NodeId) -> Evaluated<Value<'a>> {
        self.tracer.slot(slot);
        match self.slots.get(usize::from(slot)) {
            Some(Value::Missing) | None => fault(FaultKind::Missing(slot), node),
            Some(value) => Ok(*value),
        }
    }

    /// The value of an expression.
    pub(crate) fn value(&mut self, id: NodeId) -> Evaluated<Value<'a>> {
        match self.program.node(id) {
            Node::Constant(place) => Ok(self.constant(place)),
            Node::Slot(slot) => self.fact(slot, id),
            Node::Named(at) => self.named_value(at, id),
            Node::Parameter { parameter, date } => self.parameter(parameter, date, id),
            Node::Local(at) => Ok(self.locals.get(usize::from(at)).copied().unwrap_or(Value::Missing)),
            Node::Condition(condition, yes, no) => {
                let chosen = if self.truth(condition)? { yes } else { no };
                self.value(chosen)
            }
            Node::Negate(inner) => match self.value(inner)? {
                Value::Number(value) => Ok(Value::Number(value.negate())),
                Value::Duration(value) => Ok(Value::Duration(-value)),
                _ => fault(FaultKind::Internal, id),
            },
            Node::Arithmetic(op, left, right) => {
                let (left, right) = (self.value(left)?, self.value(right)?);
                arithmetic(op, left, right, id)
            }
            Node::In(item, list) => self.membership(item, list, id).map(Value::Bool),
            Node::List(args) => {
                let mut items = Vec::new();
                for at in args.from..args.until {
                    items.push(self.value(self.argument(at, id)?)?);
                }
                self.computed(items, id)
            }
            Node::WindowFrom(inner) => Ok(Value::Timestamp(self.window(inner)?.from())),
            Node::WindowUntil(inner) => Ok(Value::Timestamp(self.window(inner)?.until())),
            Node::Has(slot) => {
                self.tracer.slot(slot);
                let missing = matches!(self.slots.get(usize::from(slot)), Some(Value::Missing) | None);
                Ok(Value::Bool(!missing))
            }
            Node::Coalesce(slot, other) => match self.slots.get(usize::from(slot)) {
                Some(Value::Missing) | None => self.value(other),
                Some(_) => self.fact(slot, id),
            },
            Node::Round { value, mode, unit } => self.round(value, mode, unit, id),
            Node::Call { function, args, extra } => self.call_function(function, args, extra, id),
            Node::Aggregate { kind, list, local, body } => self.aggregate(kind, list, local, body, id),
            Node::And(..) | Node::Or(..) | Node::Not(_) | Node::Compare(..) | Node::CompareSlot { .. } => {
                self.truth(id).map(Value::Bool)
            }
        }
    }

    pub(crate) fn argument(&self, at: u32, node: NodeId) -> Evaluated<NodeId> {
        self.program.arguments.get(at as usize).copied().ok_or(Fault { kind: FaultKind::Internal, node })
    }

    /// The value of the n-th argument of a call.
    pub(crate) fn nth(&mut self, args: ArgRange, n: u32, node: NodeId) -> Evaluated<Value<'a>> {
        let id = self.argument(args.from + n, node)?;
        self.value(id)
    }

    /// Counts work over lists, so that no policy and no facts take for ever.
    pub(crate) fn step(&mut self, steps: usize, node: NodeId) -> Evaluated<()> {
        self.steps = self.steps.saturating_add(u32::try_from(steps).unwrap_or(u32::MAX));
        if self.steps > MAX_STEPS { fault(FaultKind::TooManySteps, node) } else { Ok(()) }
    }

    pub(crate) fn number(&mut self, id: NodeId) -> Evaluated<Number> {
        match self.value(id)? {
            Value::Number(value) => Ok(value),
            _ => fault(FaultKind::Internal, id),
        }
    }

    fn window(&mut self, id: NodeId) -> Evaluated<Window> {
        match self.value(id)? {
            Value::Window(value) => Ok(value),
            _ => fault(FaultKind::Internal, id),
        }
    }

    // ---- lists ------------------------------------------------------------------------------------

    pub(crate) fn computed(&mut self, items: Vec<Value<'a>>, node: NodeId) -> Evaluated<Value<'a>> {
        if items.len() > MAX_LIST {
            return fault(FaultKind::ListTooLong, node);
        }
        self.step(items.len(), node)?;
        let place = u32::try_from(self.lists.len()).map_err(|_| Fault { kind: FaultKind::TooManySteps, node })?;
        self.step(1, node)?;
        self.lists.push(items);
        Ok(Value::List(List::Computed(place)))
    }

    pub(crate) fn list_length(&self, list: List<'a>) -> usize {
        match list {
            List::Windows(items) => items.len(),
            List::Texts(items) => items.len(),
            List::Constants(items) => items.len(),
            List::Computed(at) => self.lists.get(at as usize).map_or(0, Vec::len),
        }
    }

    pub(crate) fn element(&self, list: List<'a>, at: usize) -> Value<'a> {
        match list {
            List::Windows(items) => items.get(at).map_or(Value::Missing, |window| Value::Window(*window)),
            List::Texts(items) => items.get(at).map_or(Value::Missing, |text| Value::Text(text)),
            List::Constants(items) => items.get(at).map_or(Value::Missing, Constant::value),
            List::Computed(place) => {
                self.lists.get(place as usize).and_then(|items| items.get(at)).copied().unwrap_or(Value::Missing)
            }
        }
    }

    pub(crate) fn list(&mut self, id: NodeId) -> Evaluated<List<'a>> {
        match self.value(id)? {
            Value::List(list) => Ok(list),
            _ => fault(FaultKind::Internal, id),
        }
    }

    fn membership(&mut self, item: NodeId, list: NodeId, node: NodeId) -> Evaluated<bool> {
        let item = self.value(item)?;
        let list = self.list(list)?;
        let length = self.list_length(list);
        self.step(length, node)?;
        Ok((0..length).any(|at| self.element(list, at).same(&item)))
    }

    fn aggregate(
        &mut self,
        kind: Aggregate,
        list: NodeId,
        local: u8,
        body: Option<NodeId>,
        node: NodeId,
    ) -> Evaluated<Value<'a>> {
        let list = self.list(list)?;
        let length = self.list_length(list);
        self.step(length, node)?;
        let (mut sum, mut time, mut count) = (Number::ZERO, TimeDelta::zero(), 0_usize);
        let mut items = Vec::new();
        for at in 0..length {
            let element = self.element(list, at);
            if let Some(place) = self.locals.get_mut(usize::from(local)) {
                *place = element;
            }
            let value = match body {
                None => element,
                Some(body) => {
                    self.nesting += 1;
                    let value = self.value(body);
                    self.nesting -= 1;
                    value?
                }
            };
            match (kind, value) {
                (Aggregate::SumNumbers, Value::Number(value)) => sum = exact(sum.plus(value), node)?,
                (Aggregate::SumDurations, Value::Duration(value)) => {
                    time = time.checked_add(&value).ok_or(Fault { kind: FaultKind::Overflow, node })?;
                }
                (Aggregate::Count, Value::Bool(yes)) if body.is_some() => count += usize::from(yes),
                (Aggregate::Count, _) => count += 1,
                (Aggregate::Any, Value::Bool(true)) => return Ok(Value::Bool(true)),
                (Aggregate::All, Value::Bool(false)) => return Ok(Value::Bool(false)),
                (Aggregate::Any | Aggregate::All, Value::Bool(_)) => {}
                (Aggregate::Map, value) => items.push(value),
                (Aggregate::Filter, Value::Bool(yes)) => items.extend(yes.then_some(element)),
                _ => return fault(FaultKind::Internal, node),
            }
        }
        match kind {
            Aggregate::SumNumbers => Ok(Value::Number(sum)),
            Aggregate::SumDurations => Ok(Value::Duration(time)),
            Aggregate::Count => count_value(count, node),
            Aggregate::Any => Ok(Value::Bool(false)),
            Aggregate::All => Ok(Value::Bool(true)),
            Aggregate::Map | Aggregate::Filter => self.computed(items, node),
        }
    }

    pub(crate) fn is_working(&self, calendar: u16, date: NaiveDate, node: NodeId) -> Evaluated<bool> {
        let known = self.program.calendars.get(usize::from(calendar)).and_then(|calendar| calendar.is_working(date));
        known.ok_or(Fault { kind: FaultKind::OutsideCalendar(calendar, date), node })
    }

    /// The local date of a date or a timestamp.
    pub(crate) fn date_of(&self, value: Value<'a>, node: NodeId) -> Evaluated<NaiveDate> {
        match (value, self.program.zone) {
            (Value::Date(date), _) => Ok(date),
            (Value::Timestamp(at), Some(zone)) => Ok(local_date(at, zone)),
            _ => fault(FaultKind::Internal, node),
        }
    }

    fn parameter(&mut self, parameter: u16, date: Option<NodeId>, node: NodeId) -> Evaluated<Value<'a>> {
        let program: &'a Program = self.program;
        let Some(known) = program.parameters.get(usize::from(parameter)) else {
            return fault(FaultKind::Internal, node);
        };
        let Some(date) = date else {
            let value = known.values.first().ok_or(Fault { kind: FaultKind::Internal, node })?;
            self.tracer.parameter(parameter, None, value.value);
            return Ok(Value::Number(value.value));
        };
        let date = self.value(date)?;
        let date = self.date_of(date, node)?;
        let value = known.on(date).ok_or(Fault { kind: FaultKind::NoParameterValue(parameter, date), node })?;
        self.tracer.parameter(parameter, Some(date), value.value);
        Ok(Value::Number(value.value))
    }

    fn round(&mut self, value: NodeId, mode: RoundingMode, unit: u32, node: NodeId) -> Evaluated<Value<'a>> {
        let program: &'a Program = self.program;
        let before = self.value(value)?;
        let Some(unit) = program.constants.get(unit as usize) else { return fault(FaultKind::Internal, node) };
        let after = match (before, unit) {
            (Value::Number(value), Constant::Number(Number::Decimal(unit))) => {
                Value::Number(exact(value.round(mode, *unit), node)?)
            }
            (Value::Duration(value), Constant::Duration(unit)) => {
                let unit = exact(Number::from_i128(nanoseconds(*unit)), node)?.as_decimal().unwrap_or_default();
                let rounded =
                    exact(Number::from_i128(nanoseconds(value)).and_then(|value| value.round(mode, unit)), node)?;
                Value::Duration(duration(rounded, node)?)
            }
            _ => return fault(FaultKind::Internal, node),
        };
        self.tracer.rounded(before, after, mode, unit);
        Ok(after)
    }

    pub(crate) fn call_function(
        &mut self,
        function: super::ir::Function,
        args: ArgRange,
        extra: Extra,
        node: NodeId,
    ) -> Evaluated<Value<'a>> {
        super::functions::call(self, function, args, extra, node)
    }

    /// One window or a list of them.
    pub(crate) fn windows(&mut self, value: Value<'a>, node: NodeId) -> Evaluated<Vec<Window>> {
        match value {
            Value::Window(window) => Ok(vec![window]),
            Value::List(list) => {
                let length = self.list_length(list);
                self.step(length, node)?;
                let windows = (0..length).map(|at| match self.element(list, at) {
                    Value::Window(window) => Ok(window),
                    _ => fault(FaultKind::Internal, node),
                });
                windows.collect()
            }
            _ => fault(FaultKind::Internal, node),
        }
    }
}

pub(crate) fn count_value<'a>(count: usize, node: NodeId) -> Evaluated<Value<'a>> {
    let count = i128::try_from(count).map_err(|_| Fault { kind: FaultKind::Overflow, node })?;
    exact(Number::from_i128(count), node).map(Value::Number)
}

/// The duration of an exact number of nanoseconds; a part of a nanosecond must be rounded by name first.
pub(crate) fn duration(nanos: Number, node: NodeId) -> Evaluated<TimeDelta> {
    let whole = nanos.as_integer().ok_or(Fault { kind: FaultKind::NotWhole, node })?;
    from_nanoseconds(whole).ok_or(Fault { kind: FaultKind::Overflow, node })
}

/// The length of a window without the pauses within it.
pub(crate) fn elapsed(window: Window, paused: Vec<Window>, node: NodeId) -> Evaluated<TimeDelta> {
    super::time::common(vec![window], paused)
        .and_then(|paused| window.length().checked_sub(&paused))
        .ok_or(Fault { kind: FaultKind::Overflow, node })
}

fn arithmetic<'a>(op: BinaryOp, left: Value<'a>, right: Value<'a>, node: NodeId) -> Evaluated<Value<'a>> {
    let overflow = Fault { kind: FaultKind::Overflow, node };
    let nanos = |value: TimeDelta| exact(Number::from_i128(nanoseconds(value)), node);
    match (op, left, right) {
        (_, Value::Number(a), Value::Number(b)) => exact(calculate(op, a, b), node).map(Value::Number),
        (BinaryOp::Subtract, Value::Timestamp(a), Value::Timestamp(b)) => Ok(Value::Duration(a - b)),
        (BinaryOp::Subtract, Value::Date(a), Value::Date(b)) => Ok(Value::Duration(a - b)),
        (BinaryOp::Add, Value::Timestamp(at), Value::Duration(by))
        | (BinaryOp::Add, Value::Duration(by), Value::Timestamp(at)) => {
            at.checked_add_signed(by).map(Value::Timestamp).ok_or(overflow)
        }
        (BinaryOp::Subtract, Value::Timestamp(at), Value::Duration(by)) => {
            at.checked_sub_signed(by).map(Value::Timestamp).ok_or(overflow)
        }
        (BinaryOp::Add, Value::Date(date), Value::Duration(by))
        | (BinaryOp::Add, Value::Duration(by), Value::Date(date)) => {
            whole_days(by, node)?;
            date.checked_add_signed(by).map(Value::Date).ok_or(overflow)
        }
        (BinaryOp::Subtract, Value::Date(date), Value::Duration(by)) => {
            whole_days(by, node)?;
            date.checked_sub_signed(by).map(Value::Date).ok_or(overflow)
        }
        (BinaryOp::Add, Value::Duration(a), Value::Duration(b)) => {
            a.checked_add(&b).map(Value::Duration).ok_or(overflow)
        }
        (BinaryOp::Subtract, Value::Duration(a), Value::Duration(b)) => {
            a.checked_sub(&b).map(Value::Duration).ok_or(overflow)
        }
        (BinaryOp::Multiply, Value::Duration(time), Value::Number(by))
        | (BinaryOp::Multiply, Value::Number(by), Value::Duration(time)) => {
            duration(exact(nanos(time)?.multiply(by), node)?, node).map(Value::Duration)
        }
        (BinaryOp::Divide, Value::Duration(time), Value::Number(by)) => {
            duration(exact(nanos(time)?.divide(by), node)?, node).map(Value::Duration)
        }
        (BinaryOp::Divide, Value::Duration(a), Value::Duration(b)) => {
            exact(nanos(a)?.divide(nanos(b)?), node).map(Value::Number)
        }
        _ => fault(FaultKind::Internal, node),
    }
}

fn whole_days(by: TimeDelta, node: NodeId) -> Evaluated<()> {
    if TimeDelta::try_days(by.num_days()) == Some(by) { Ok(()) } else { fault(FaultKind::NotWhole, node) }
}
