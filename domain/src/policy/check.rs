//! Checks the types and units of expressions and compiles them, resolving every name once and for all.

use chrono_tz::Tz;

use super::ast::{BinaryOp, Expr, ExprKind};
use super::diagnostic::{Messages, Span, suggestion};
use super::document::shorten;
use super::facts::builtin;
use super::flow::Range;
use super::ir::{Node, NodeId};
use super::limits::{MAX_LOCALS, MAX_NODES, MAX_TOTAL_DEPTH};
use super::number::Number;
use super::program::{Body, Counts, Named, Program};
use super::types::{Type, Unit};
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

pub(crate) fn with_known(scope: &Scope, known: Vec<String>) -> Scope {
    let mut inner = scope.clone();
    inner.known.extend(known);
    inner
}
