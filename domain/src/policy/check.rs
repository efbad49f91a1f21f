//! Checks the types and units of expressions and compiles them, resolving every name once and for all.

use chrono_tz::Tz;

use super::ast::{BinaryOp, Expr, ExprKind};
use super::diagnostic::{Messages, Span, suggestion};
use super::document::shorten;
use super::facts::builtin;
use super::flow::{Range, known_when};
use super::ir::{ArgRange, Node, NodeId};
use super::limits::{MAX_LOCALS, MAX_NODES, MAX_TOTAL_DEPTH};
use super::number::{Number, NumberError};
use super::program::{Body, Counts, Named, Program};
use super::types::{Base, Type, Unit, quoted};
use super::value::{Constant, nanoseconds};

/// A compiled expression and what is known of its values.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Checked {
    pub(crate) node: NodeId,
    pub(crate) kind: Type,
    pub(crate) range: Range,
    /// How deep its evaluation goes, named values included.
    pub(crate) height: u16,
}

/// What an expression sees beside the policy: bound variables, the date for parameters, what is certain.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scope {
    pub(crate) date: Option<NodeId>,
    pub(crate) locals: Vec<(String, Type)>,
    pub(crate) known: Vec<String>,
}

/// The text of a derived fact, table or clock before it is checked.
#[derive(Debug, Clone)]
pub(crate) enum Draft {
    Expression(Expr),
    Table { rows: Vec<DraftRow>, otherwise: Option<Expr>, unit: Option<Unit>, span: Span },
    Clock { starts: Expr, stops: Expr, paused: Option<Expr>, counts: Counts },
}

#[derive(Debug, Clone)]
pub(crate) struct DraftRow {
    pub(crate) when: Option<Expr>,
    pub(crate) value: Expr,
    pub(crate) span: Span,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting,
    Running,
    Done,
    Failed,
}

/// Checks and compiles the expressions of one policy.
pub(crate) struct Checker<'c, 's> {
    pub(crate) program: Program,
    pub(crate) messages: &'c mut Messages<'s>,
    drafts: Vec<(Draft, State, Range, u16, Span)>,
    depth: u16,
    /// The policy's own date, for whatever is not within a rule.
    pub(crate) date: Option<NodeId>,
    too_large: bool,
}

impl<'c, 's> Checker<'c, 's> {
    pub(crate) fn new(program: Program, messages: &'c mut Messages<'s>) -> Self {
        Self { program, messages, drafts: Vec::new(), depth: 0, date: None, too_large: false }
    }

    /// Announces a derived fact, table or clock, so that others may name it before it is checked.
    pub(crate) fn declare(&mut self, named: Named, draft: Draft, span: Span) {
        self.program.named.push(named);
        self.drafts.push((draft, State::Waiting, Range::default(), 0, span));
    }

    /// Checks every derived fact, table and clock, used or not.
    pub(crate) fn check_named(&mut self) {
        for at in 0..self.drafts.len() {
            self.resolve_named(at);
        }
    }

    pub(crate) fn error(
        &mut self,
        code: &'static str,
        span: Span,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.messages.error(code, span, message, remedy);
    }

    pub(crate) fn emit(&mut self, node: Node, kind: Type, span: Span, range: Range, height: u16) -> Option<Checked> {
        if self.program.nodes.len() >= MAX_NODES {
            if !self.too_large {
                self.too_large = true;
                let message = format!("all expressions together have more than {MAX_NODES} parts");
                self.error("too-large", span, message, "split the policy, or name repeated parts as derived facts");
            }
            return None;
        }
        let height = height.saturating_add(1);
        if height > MAX_TOTAL_DEPTH {
            let message = format!("this is nested deeper than {MAX_TOTAL_DEPTH} levels, derived facts included");
            self.error("too-deep", span, message, "shorten the chain of derived facts");
            return None;
        }
        Some(Checked { node: self.program.push(node, kind, span), kind, range, height })
    }

    pub(crate) fn emit_constant(&mut self, value: Constant, kind: Type, span: Span) -> Option<Checked> {
        let range = match &value {
            Constant::Number(number) => Range::exactly(*number),
            Constant::Duration(duration) => {
                Number::from_i128(nanoseconds(*duration)).map_or(Range::default(), Range::exactly)
            }
            _ => Range::default(),
        };
        let place = self.program.constant(value);
        self.emit(Node::Constant(place), kind, span, range, 0)
    }

    /// Checks a condition.
    pub(crate) fn condition(&mut self, expression: &Expr, scope: &Scope) -> Option<Checked> {
        let checked = self.check(expression, scope)?;
        if checked.kind == Type::BOOL {
            return Some(checked);
        }
        let message =
            format!("a condition is true or false, but this is {}", self.program.names.type_name(checked.kind));
        self.error("type", expression.span, message, "compare it with something: `… > 0`, `… == 'text'`");
        None
    }

    pub(crate) fn check(&mut self, expression: &Expr, scope: &Scope) -> Option<Checked> {
        if self.depth >= MAX_TOTAL_DEPTH {
            let message = format!("this is nested deeper than {MAX_TOTAL_DEPTH} levels, derived facts included");
            self.error("too-deep", expression.span, message, "shorten the chain of derived facts");
            return None;
        }
        self.depth += 1;
        let checked = self.check_kind(expression, scope);
        self.depth -= 1;
        checked
    }

    fn check_kind(&mut self, expression: &Expr, scope: &Scope) -> Option<Checked> {
        let span = expression.span;
        match &expression.kind {
            ExprKind::Bool(value) => self.emit_constant(Constant::Bool(*value), Type::BOOL, span),
            ExprKind::Number(value) => {
                let kind = Type::number(value.is_integer(), Unit::Literal);
                self.emit_constant(Constant::Number(Number::Decimal(*value)), kind, span)
            }
            ExprKind::Text(value) => self.emit_constant(Constant::Text(value.as_str().into()), Type::TEXT, span),
            ExprKind::List(items) => self.list(items, span, scope),
            ExprKind::Name(name) => self.name(name, span, scope),
            ExprKind::Field(inner, field) => {
                let inner = self.check(inner, scope)?;
                self.field(inner, field, span)
            }
            ExprKind::Not(inner) => {
                let inner = self.condition(inner, scope)?;
                self.emit(Node::Not(inner.node), Type::BOOL, span, Range::default(), inner.height)
            }
            ExprKind::Negate(inner) => self.negate(inner, span, scope),
            ExprKind::Binary(op @ (BinaryOp::And | BinaryOp::Or), left, right) => {
                self.logic(*op, left, right, span, scope)
            }
            ExprKind::Binary(BinaryOp::In, left, right) => self.membership(left, right, span, scope),
            ExprKind::Binary(
                op @ (BinaryOp::Add | BinaryOp::Subtract | BinaryOp::Multiply | BinaryOp::Divide | BinaryOp::Remainder),
                left,
                right,
            ) => {
                let (a, b) = (self.check(left, scope), self.check(right, scope));
                self.arithmetic(*op, (left, a?), (right, b?), span, scope)
            }
            ExprKind::Binary(op, left, right) => {
                let (a, b) = (self.check(left, scope), self.check(right, scope));
                self.comparison(*op, (left, a?), (right, b?), span)
            }
            ExprKind::Condition(condition, yes, no) => self.choice(condition, yes, no, span, scope),
            ExprKind::Call { name, name_span, args } => self.call(name, *name_span, args, span, scope),
        }
    }

    // ---- names ------------------------------------------------------------------------------------

    fn name(&mut self, name: &str, span: Span, scope: &Scope) -> Option<Checked> {
        let (first, rest) = name.split_once('.').map_or((name, None), |(first, rest)| (first, Some(rest)));
        if let Some(at) = scope.locals.iter().rposition(|(local, _)| local == first) {
            let kind = scope.locals[at].1;
            let local = u8::try_from(at).unwrap_or(u8::MAX);
            let checked = self.emit(Node::Local(local), kind, span, Range::default(), 0)?;
            return match rest {
                None => Some(checked),
                Some(field) => self.field(checked, field, span),
            };
        }
        match (first, rest) {
            ("parameter", Some(rest)) => self.parameter(rest, scope.date, span),
            ("derived" | "table" | "clock", Some(_)) => self.named(name, span),
            ("calendar", _) => {
                self.error(
                    "unknown-name",
                    span,
                    "a calendar is no value",
                    "use it as an argument: working_days_between(a, b, calendar.x)",
                );
                None
            }
            _ => self.fact(name, span, scope),
        }
    }

    /// The slot of a fact, declared or built in.
    pub(crate) fn slot(&mut self, name: &str) -> Option<u16> {
        if let Some(at) = self.program.slots.iter().position(|slot| &*slot.name == name) {
            self.program.slots[at].used = true;
            return u16::try_from(at).ok();
        }
        let mut slot = builtin(name)?;
        slot.used = true;
        self.program.slots.push(slot);
        u16::try_from(self.program.slots.len() - 1).ok()
    }

    fn fact(&mut self, name: &str, span: Span, scope: &Scope) -> Option<Checked> {
        let Some(at) = self.slot(name) else {
            self.unknown_name(name, span, scope);
            return None;
        };
        let slot = &self.program.slots[usize::from(at)];
        let (kind, range) = (slot.kind, Range { low: slot.low, high: slot.high });
        let guarded = scope.known.iter().any(|mark| mark.strip_prefix("has:") == Some(name));
        if slot.optional && slot.default.is_none() && !guarded {
            self.messages.warn(
                "may-be-missing",
                span,
                format!("`{name}` is optional: when it is missing, this stops the assessment with an error"),
                format!("ask first: `has({name}) && …`, or use coalesce({name}, …), or give it a default"),
            );
        }
        self.emit(Node::Slot(at), kind, span, range, 0)
    }

    fn unknown_name(&mut self, name: &str, span: Span, scope: &Scope) {
        let shown = shorten(name);
        let mut known: Vec<String> = self.program.slots.iter().map(|slot| slot.name.to_string()).collect();
        known.extend(super::facts::builtin_names().map(str::to_owned));
        known.extend(self.program.named.iter().map(|named| named.name.clone()));
        known.extend(self.program.parameters.iter().map(|parameter| format!("parameter.{}", parameter.name)));
        known.extend(scope.locals.iter().map(|(local, _)| local.clone()));
        let same_ending = known.iter().find(|full| full.split_once('.').is_some_and(|(_, last)| last == name));
        let remedy = match (suggestion(name, known.iter().map(String::as_str)), same_ending) {
            (_, Some(full)) => format!("did you mean `{full}`?"),
            (Some(near), _) => format!("did you mean `{near}`?"),
            _ if name.contains('.') => format!("declare it under [facts]: \"{shown}\" = {{ type = \"…\" }}"),
            _ => format!("a text stands in single quotes: '{shown}'; a fact has a prefix: claim.{shown}"),
        };
        self.error("unknown-name", span, format!("nothing is called `{shown}` here"), remedy);
    }

    pub(crate) fn parameter(&mut self, name: &str, date: Option<NodeId>, span: Span) -> Option<Checked> {
        let Some(at) = self.program.parameters.iter().position(|parameter| parameter.name == name) else {
            let near = suggestion(name, self.program.parameters.iter().map(|parameter| parameter.name.as_str()));
            let remedy = match near {
                Some(near) => format!("did you mean `parameter.{near}`?"),
                None => format!("declare it: [parameter.{}]", shorten(name)),
            };
            self.error("unknown-name", span, format!("no parameter is called `{}`", shorten(name)), remedy);
            return None;
        };
        let parameter = &self.program.parameters[at];
        let range =
            parameter.values.iter().map(|value| Range::exactly(value.value)).reduce(Range::or).unwrap_or_default();
        let (kind, dated) = (parameter.kind, parameter.is_dated());
        if dated && date.is_none() {
            self.error(
                "no-date",
                span,
                format!("`parameter.{name}` has dated values, but nothing says which date chooses"),
                "name it for the policy (`date = \"claim.…\"` at the top), for the rule, or here: on(parameter.…, date)",
            );
            return None;
        }
        let parameter = u16::try_from(at).ok()?;
        self.emit(Node::Parameter { parameter, date: if dated { date } else { None } }, kind, span, range, 2)
    }

    fn named(&mut self, name: &str, span: Span) -> Option<Checked> {
        let Some(at) = self.program.named.iter().position(|named| named.name == name) else {
            let near = suggestion(name, self.program.named.iter().map(|named| named.name.as_str()));
            let remedy = match near {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("declare it under [{}]", shorten(name)),
            };
            self.error("unknown-name", span, format!("nothing is called `{}` here", shorten(name)), remedy);
            return None;
        };
        if self.drafts[at].1 == State::Running {
            let message = format!("`{name}` is worked out from itself");
            self.error("circle", span, message, "break the circle: a derived fact may use only others");
            return None;
        }
        self.resolve_named(at);
        let (_, state, range, height, _) = &self.drafts[at];
        let (state, range, height) = (*state, *range, *height);
        let kind = self.program.named[at].kind;
        let place = u16::try_from(at).ok()?;
        if state == State::Done { self.emit(Node::Named(place), kind, span, range, height) } else { None }
    }

    fn resolve_named(&mut self, at: usize) {
        if self.drafts[at].1 != State::Waiting {
            return;
        }
        self.drafts[at].1 = State::Running;
        let draft = self.drafts[at].0.clone();
        let scope = Scope { date: self.date, ..Scope::default() };
        match self.named_body(&draft, &scope) {
            Some((body, kind, range, height)) => {
                self.program.named[at].body = body;
                self.program.named[at].kind = kind;
                (self.drafts[at].1, self.drafts[at].2, self.drafts[at].3) = (State::Done, range, height);
            }
            None => self.drafts[at].1 = State::Failed,
        }
    }

    fn named_body(&mut self, draft: &Draft, scope: &Scope) -> Option<(Body, Type, Range, u16)> {
        match draft {
            Draft::Expression(expression) => {
                let checked = self.check(expression, scope)?;
                Some((Body::Expression(checked.node), checked.kind, checked.range, checked.height))
            }
            Draft::Table { rows, otherwise, unit, span } => self.table(rows, otherwise.as_ref(), *unit, *span, scope),
            Draft::Clock { starts, stops, paused, counts } => {
                self.clock(starts, stops, paused.as_ref(), *counts, scope)
            }
        }
    }

    // ---- operators --------------------------------------------------------------------------------

    fn field(&mut self, inner: Checked, field: &str, span: Span) -> Option<Checked> {
        let node = match (inner.kind == Type::WINDOW, field) {
            (true, "from") => Node::WindowFrom(inner.node),
            (true, "until") => Node::WindowUntil(inner.node),
            _ => {
                let message = format!("{} has no field `{}`", self.program.names.type_name(inner.kind), shorten(field));
                self.error("unknown-name", span, message, "only windows have fields: `.from` and `.until`");
                return None;
            }
        };
        self.emit(node, Type::TIMESTAMP, span, Range::default(), inner.height)
    }

    fn list(&mut self, items: &[Expr], span: Span, scope: &Scope) -> Option<Checked> {
        let checked: Vec<Option<Checked>> = items.iter().map(|item| self.check(item, scope)).collect();
        let mut kind: Option<Type> = None;
        let (mut nodes, mut height, mut constants) = (Vec::new(), 0, Vec::new());
        for (item, checked) in items.iter().zip(checked) {
            let checked = checked?;
            let joined = match kind {
                None => Some(checked.kind),
                Some(kind) => self.join(kind, checked.kind),
            };
            if joined.is_none_or(|joined| joined.list) {
                let first = kind.map_or_else(|| "a list".to_owned(), |kind| self.program.names.type_name(kind));
                let this = self.program.names.type_name(checked.kind);
                let message = format!("the elements of a list are alike, but {first} stands beside {this}");
                self.error("type", item.span, message, "take out what does not belong; lists hold no lists");
                return None;
            }
            kind = joined;
            height = height.max(checked.height);
            constants.extend(self.program.constant_of(checked.node).cloned());
            nodes.push(checked.node);
        }
        let Some(kind) = kind else {
            self.error("type", span, "an empty list has no type", "write at least one element");
            return None;
        };
        let kind = Type::list(kind.base);
        if constants.len() == nodes.len() {
            return self.emit_constant(Constant::List(constants), kind, span);
        }
        let args = self.arguments(&nodes);
        self.emit(Node::List(args), kind, span, Range::default(), height)
    }

    pub(crate) fn arguments(&mut self, nodes: &[NodeId]) -> ArgRange {
        let from = u32::try_from(self.program.arguments.len()).unwrap_or(u32::MAX);
        self.program.arguments.extend_from_slice(nodes);
        ArgRange { from, until: u32::try_from(self.program.arguments.len()).unwrap_or(u32::MAX) }
    }

    fn negate(&mut self, inner: &Expr, span: Span, scope: &Scope) -> Option<Checked> {
        let checked = self.check(inner, scope)?;
        if !checked.kind.is_number() && checked.kind != Type::DURATION {
            let message =
                format!("`-` stands before numbers, but this is {}", self.program.names.type_name(checked.kind));
            self.error("type", inner.span, message, "for the opposite of a condition write `!`");
            return None;
        }
        self.emit(Node::Negate(checked.node), checked.kind, span, checked.range.negate(), checked.height)
    }

    fn logic(&mut self, op: BinaryOp, left: &Expr, right: &Expr, span: Span, scope: &Scope) -> Option<Checked> {
        let a = self.condition(left, scope);
        let inner = with_known(scope, known_when(left, op == BinaryOp::And));
        let b = self.condition(right, &inner);
        let (a, b) = (a?, b?);
        let node = if op == BinaryOp::And { Node::And(a.node, b.node) } else { Node::Or(a.node, b.node) };
        self.emit(node, Type::BOOL, span, Range::default(), a.height.max(b.height))
    }

    fn choice(&mut self, condition: &Expr, yes: &Expr, no: &Expr, span: Span, scope: &Scope) -> Option<Checked> {
        let test = self.condition(condition, scope);
        let first = self.check(yes, &with_known(scope, known_when(condition, true)));
        let second = self.check(no, &with_known(scope, known_when(condition, false)));
        let (test, first, second) = (test?, first?, second?);
        let Some(kind) = self.join(first.kind, second.kind) else {
            self.unlike("the two values of `? :`", (yes, first.kind), (no, second.kind), span);
            return None;
        };
        let height = test.height.max(first.height).max(second.height);
        let node = Node::Condition(test.node, first.node, second.node);
        self.emit(node, kind, span, first.range.or(second.range), height)
    }

    fn membership(&mut self, left: &Expr, right: &Expr, span: Span, scope: &Scope) -> Option<Checked> {
        let (a, b) = (self.check(left, scope), self.check(right, scope));
        let (a, b) = (a?, b?);
        if !b.kind.list {
            let message = format!(
                "`in` asks whether something is in a list, but this is {}",
                self.program.names.type_name(b.kind)
            );
            self.error("type", right.span, message, "write a list: `x in ['a', 'b']`");
            return None;
        }
        if let (Base::Enum(set), ExprKind::List(items)) = (a.kind.base, &right.kind) {
            let all_known = items.iter().map(|item| self.enum_member(set, item)).fold(true, |all, known| all && known);
            if !all_known {
                return None;
            }
        } else if a.kind.list || self.comparable(a.kind, b.kind.element()).is_none() {
            self.unlike("`in`", (left, a.kind), (right, b.kind), span);
            return None;
        }
        self.emit(Node::In(a.node, b.node), Type::BOOL, span, Range::default(), a.height.max(b.height))
    }

    fn comparison(
        &mut self,
        op: BinaryOp,
        left: (&Expr, Checked),
        right: (&Expr, Checked),
        span: Span,
    ) -> Option<Checked> {
        let (a, b) = (left.1, right.1);
        for (set, other) in [(a.kind, right.0), (b.kind, left.0)] {
            if let (Type { base: Base::Enum(set), list: false }, ExprKind::Text(_)) = (set, &other.kind)
                && !self.enum_member(set, other)
            {
                return None;
            }
        }
        let alike = self.comparable(a.kind, b.kind);
        let Some(kind) = alike.filter(|kind| !kind.list) else {
            self.unlike(&format!("`{}`", op.as_str()), (left.0, a.kind), (right.0, b.kind), span);
            return None;
        };
        if op.is_order() && !kind.is_ordered() {
            let message =
                format!("`{}` needs an order, and {} has none", op.as_str(), self.program.names.type_name(kind));
            self.error(
                "type",
                span,
                message,
                "only numbers, money, dates, timestamps and durations have an order; use `==` or `in`",
            );
            return None;
        }
        let node = match (self.program.node(a.node), self.program.node(b.node)) {
            (Node::Slot(slot), Node::Constant(constant)) => Node::CompareSlot { op, slot, constant },
            (Node::Constant(constant), Node::Slot(slot)) => Node::CompareSlot { op: op.mirrored(), slot, constant },
            _ => Node::Compare(op, a.node, b.node),
        };
        self.emit(node, Type::BOOL, span, Range::default(), a.height.max(b.height))
    }

    /// Whether a written text is among an enumeration's values; otherwise says so.
    fn enum_member(&mut self, set: u16, text: &Expr) -> bool {
        let ExprKind::Text(value) = &text.kind else { return true };
        let values = self.program.names.enum_values(set);
        if values.iter().any(|known| **known == **value) {
            return true;
        }
        let remedy = match suggestion(value, values.iter().map(|known| &**known)) {
            Some(near) => format!("did you mean '{near}'?"),
            None => format!("declared are {}", quoted(values)),
        };
        let message = format!("this is never '{}'", shorten(value));
        self.error("unknown-value", text.span, message, remedy);
        false
    }

    // ---- types ------------------------------------------------------------------------------------

    /// The unit of a sum or comparison, or nothing when the two never meet.
    pub(crate) fn join_units(a: Unit, b: Unit) -> Option<Unit> {
        match (a, b) {
            (Unit::Literal, other) | (other, Unit::Literal) => Some(other),
            (a, b) if a == b => Some(a),
            (Unit::Plain, Unit::Named(unit)) | (Unit::Named(unit), Unit::Plain) => Some(Unit::Named(unit)),
            _ => None,
        }
    }

    /// The type that holds values of both.
    pub(crate) fn join(&self, a: Type, b: Type) -> Option<Type> {
        if a.list != b.list {
            return None;
        }
        let base = match (a.base, b.base) {
            (Base::Number { integer: i, unit: u }, Base::Number { integer: j, unit: v }) => {
                Base::Number { integer: i && j, unit: Self::join_units(u, v)? }
            }
            (Base::Enum(x), Base::Enum(y)) if x == y => a.base,
            (Base::Enum(_) | Base::Text, Base::Enum(_) | Base::Text) => Base::Text,
            (x, y) if x == y => x,
            _ => return None,
        };
        Some(Type { base, list: a.list })
    }

    fn comparable(&self, a: Type, b: Type) -> Option<Type> {
        self.join(a, b)
    }

    /// Says that two things do not go together, and what would help.
    pub(crate) fn unlike(&mut self, what: &str, left: (&Expr, Type), right: (&Expr, Type), span: Span) {
        let (a, b) = (self.program.names.type_name(left.1), self.program.names.type_name(right.1));
        let remedy = self.unlike_remedy(left, right).or_else(|| self.unlike_remedy(right, left));
        let remedy = remedy.unwrap_or_else(|| "compare and add only like with like".to_owned());
        let both_numbers = left.1.is_number() && right.1.is_number();
        let code = if both_numbers { "unit" } else { "type" };
        self.error(code, span, format!("{what} does not join {a} and {b}"), remedy);
    }

    fn unlike_remedy(&self, left: (&Expr, Type), right: (&Expr, Type)) -> Option<String> {
        let text = match &right.0.kind {
            ExprKind::Text(text) => Some(shorten(text)),
            _ => None,
        };
        Some(match (left.1.base, right.1.base, text) {
            (Base::Date, Base::Text, Some(text)) => format!("write a date: date('{text}')"),
            (Base::Timestamp, Base::Text, Some(text)) => format!("write an instant: timestamp('{text}')"),
            (Base::Duration, Base::Text, Some(text)) => format!("write a duration: duration('{text}')"),
            (Base::Number { .. }, Base::Text, Some(text)) => format!("write a number without quotes: {text}"),
            (Base::Bool, Base::Text, _) => "write true or false without quotes".to_owned(),
            (Base::Date, Base::Timestamp, _) => "take the local date of the timestamp: local_date(…)".to_owned(),
            (Base::Duration, Base::Number { .. }, _) => {
                "write duration('2h'), or take the number out of the duration: hours(…)".to_owned()
            }
            (Base::Window, Base::Timestamp, _) => "ask contains(window, timestamp), or use .from and .until".to_owned(),
            (Base::Number { unit: Unit::Asset(at), .. }, Base::Number { unit: Unit::Plain, .. }, _) => {
                let code = self.program.names.assets.get(usize::from(at)).map_or("KRW", |asset| asset.code().as_str());
                format!("say what the number counts: money(…, '{code}'), or declare the fact as money")
            }
            (Base::Number { .. }, Base::Number { .. }, _) => {
                "money of one asset meets only money of the same asset, and days only days; convert one of them first"
                    .to_owned()
            }
            _ => return None,
        })
    }

    // ---- arithmetic -------------------------------------------------------------------------------

    fn arithmetic(
        &mut self,
        op: BinaryOp,
        left: (&Expr, Checked),
        right: (&Expr, Checked),
        span: Span,
        scope: &Scope,
    ) -> Option<Checked> {
        let (a, b) = (left.1, right.1);
        let kind = if a.kind.list || b.kind.list { None } else { self.arithmetic_type(op, a.kind, b.kind) };
        let Some(kind) = kind else {
            if let (Some(Unit::Asset(_)), Some(Unit::Asset(_)), BinaryOp::Multiply) = (a.kind.unit(), b.kind.unit(), op)
            {
                self.error(
                    "unit",
                    span,
                    "money times money means nothing",
                    "multiply money by a number: number(…) takes the unit away",
                );
            } else {
                self.unlike(&format!("`{}`", op.as_str()), (left.0, a.kind), (right.0, b.kind), span);
            }
            return None;
        };
        if matches!(op, BinaryOp::Divide | BinaryOp::Remainder) {
            self.check_divisor(right.0, &b, scope)?;
        }
        let range = match op {
            BinaryOp::Add => a.range.add(b.range),
            BinaryOp::Subtract => a.range.add(b.range.negate()),
            BinaryOp::Multiply => a.range.multiply(b.range),
            BinaryOp::Divide => a.range.divide(b.range),
            _ => Range::default(),
        };
        let folded = match (self.program.constant_of(a.node), self.program.constant_of(b.node)) {
            (Some(Constant::Number(x)), Some(Constant::Number(y))) => Some(calculate(op, *x, *y)),
            _ => None,
        };
        match folded {
            Some(Ok(value)) => self.emit_constant(Constant::Number(value), kind, span),
            Some(Err(error)) => {
                self.error("overflow", span, format!("{error}"), "use smaller numbers");
                None
            }
            None => {
                self.check_overflow(op, &a, &b, &range, span)?;
                self.emit(Node::Arithmetic(op, a.node, b.node), kind, span, range, a.height.max(b.height))
            }
        }
    }

    /// Both sides have known bounds and yet their result has none: it cannot be held.
    fn check_overflow(&mut self, op: BinaryOp, a: &Checked, b: &Checked, range: &Range, span: Span) -> Option<()> {
        let bounded = |range: &Range| range.low.is_some() && range.high.is_some();
        let numbers = a.kind.is_number() && b.kind.is_number();
        let grows = matches!(op, BinaryOp::Add | BinaryOp::Subtract | BinaryOp::Multiply);
        if numbers && grows && bounded(&a.range) && bounded(&b.range) && !bounded(range) {
            self.error(
                "overflow",
                span,
                "with the bounds declared, the result can have more than 28 digits",
                "declare smaller `min` and `max`, or round before multiplying",
            );
            return None;
        }
        Some(())
    }

    pub(crate) fn check_divisor(&mut self, divisor: &Expr, checked: &Checked, scope: &Scope) -> Option<()> {
        let canonical = divisor.canonical();
        let guarded = scope.known.iter().any(|mark| mark.strip_prefix("nonzero:") == Some(canonical.as_str()));
        if guarded || checked.range.excludes_zero() {
            return Some(());
        }
        let shown = shorten(&canonical);
        let always = checked.range.low.is_some_and(Number::is_zero) && checked.range.high.is_some_and(Number::is_zero);
        let message = if always {
            "this divides by zero".to_owned()
        } else {
            format!("`{shown}` can be zero, and nothing divides by zero")
        };
        self.error(
            "division-by-zero",
            divisor.span,
            message,
            format!("declare a `min` above 0 for the fact, or ask first: `{shown} == 0 ? 0 : …`"),
        );
        None
    }

    fn arithmetic_type(&self, op: BinaryOp, a: Type, b: Type) -> Option<Type> {
        use Base::{Date, Duration, Number, Timestamp};
        Some(match (op, a.base, b.base) {
            (_, Number { integer: i, unit: u }, Number { integer: j, unit: v }) => {
                let (integer, unit) = match op {
                    BinaryOp::Add | BinaryOp::Subtract => (i && j, Self::join_units(u, v)?),
                    BinaryOp::Multiply => (i && j, product_unit(u, v)?),
                    BinaryOp::Divide => (false, quotient_unit(u, v)?),
                    _ if i && j => (true, Self::join_units(u, v)?),
                    _ => return None,
                };
                Type::number(integer, unit)
            }
            (BinaryOp::Subtract, Timestamp, Timestamp) | (BinaryOp::Subtract, Date, Date) => Type::DURATION,
            (BinaryOp::Add | BinaryOp::Subtract, Timestamp | Date, Duration) => a,
            (BinaryOp::Add, Duration, Timestamp | Date) => b,
            (BinaryOp::Add | BinaryOp::Subtract, Duration, Duration) => Type::DURATION,
            (BinaryOp::Multiply, Duration, Number { unit: Unit::Literal | Unit::Plain, .. }) => Type::DURATION,
            (BinaryOp::Multiply, Number { unit: Unit::Literal | Unit::Plain, .. }, Duration) => Type::DURATION,
            (BinaryOp::Divide, Duration, Number { unit: Unit::Literal | Unit::Plain, .. }) => Type::DURATION,
            (BinaryOp::Divide, Duration, Duration) => Type::number(false, Unit::Plain),
            _ => return None,
        })
    }

    /// A zone by its IANA name.
    pub(crate) fn zone(&mut self, text: &str, span: Span) -> Option<Tz> {
        let zone = text.parse::<Tz>().ok();
        if zone.is_none() {
            let remedy = match suggestion(text, chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name())) {
                Some(near) => format!("did you mean '{near}'?"),
                None => "write an IANA name, such as 'Asia/Seoul' or 'Europe/London'".to_owned(),
            };
            self.error("unknown-zone", span, format!("no time zone is called '{}'", shorten(text)), remedy);
        }
        zone
    }

    /// A scope with one more bound variable.
    pub(crate) fn bind(&mut self, scope: &Scope, variable: &Expr, kind: Type) -> Option<(Scope, u8)> {
        let ExprKind::Name(name) = &variable.kind else {
            self.error(
                "syntax",
                variable.span,
                "a variable's name belongs here",
                "write it like this: count(list, x, x > 15)",
            );
            return None;
        };
        let taken = name.contains('.') || scope.locals.iter().any(|(known, _)| known == name);
        if taken || scope.locals.len() >= MAX_LOCALS {
            let message = format!("`{}` cannot be a variable here", shorten(name));
            let remedy = format!("use a short new name, and at most {MAX_LOCALS} inside each other");
            self.error("syntax", variable.span, message, remedy);
            return None;
        }
        let mut inner = scope.clone();
        inner.locals.push((name.clone(), kind));
        let place = u8::try_from(inner.locals.len() - 1).ok()?;
        Some((inner, place))
    }
}

fn with_known(scope: &Scope, known: Vec<String>) -> Scope {
    let mut inner = scope.clone();
    inner.known.extend(known);
    inner
}

pub(crate) fn product_unit(a: Unit, b: Unit) -> Option<Unit> {
    Some(match (a, b) {
        (Unit::Literal, Unit::Literal) => Unit::Literal,
        (Unit::Asset(_), Unit::Asset(_)) => return None,
        (money @ Unit::Asset(_), _) | (_, money @ Unit::Asset(_)) => money,
        (Unit::Named(_), Unit::Named(_)) => Unit::Plain,
        (named @ Unit::Named(_), _) | (_, named @ Unit::Named(_)) => named,
        _ => Unit::Plain,
    })
}

pub(crate) fn quotient_unit(a: Unit, b: Unit) -> Option<Unit> {
    Some(match (a, b) {
        (Unit::Literal, Unit::Literal) => Unit::Literal,
        (Unit::Asset(x), Unit::Asset(y)) if x != y => return None,
        (Unit::Asset(_), Unit::Asset(_)) => Unit::Plain,
        (money @ Unit::Asset(_), _) => money,
        (named @ Unit::Named(_), Unit::Plain | Unit::Literal) => named,
        _ => Unit::Plain,
    })
}

pub(crate) fn calculate(op: BinaryOp, a: Number, b: Number) -> Result<Number, NumberError> {
    match op {
        BinaryOp::Add => a.add(b),
        BinaryOp::Subtract => a.subtract(b),
        BinaryOp::Multiply => a.multiply(b),
        BinaryOp::Divide => a.divide(b),
        _ => a.remainder(b),
    }
}
