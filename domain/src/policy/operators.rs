//! Checks operators: which types and units go together, what they give, and what cannot be divided by.

use super::ast::{BinaryOp, Expr, ExprKind};
use super::check::{Checked, Checker, Scope, with_known};
use super::diagnostic::{Span, suggestion};
use super::document::shorten;
use super::flow::{Range, known_when};
use super::ir::{ArgRange, Node, NodeId};
use super::number::{Number, NumberError};
use super::types::{Base, Type, Unit, quoted};
use super::value::Constant;

impl Checker<'_, '_> {
    // ---- operators --------------------------------------------------------------------------------

    pub(crate) fn field(&mut self, inner: Checked, field: &str, span: Span) -> Option<Checked> {
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

    pub(crate) fn list(&mut self, items: &[Expr], span: Span, scope: &Scope) -> Option<Checked> {
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

    pub(crate) fn negate(&mut self, inner: &Expr, span: Span, scope: &Scope) -> Option<Checked> {
        let checked = self.check(inner, scope)?;
        if !checked.kind.is_number() && checked.kind != Type::DURATION {
            let message =
                format!("`-` stands before numbers, but this is {}", self.program.names.type_name(checked.kind));
            self.error("type", inner.span, message, "for the opposite of a condition write `!`");
            return None;
        }
        self.emit(Node::Negate(checked.node), checked.kind, span, checked.range.negate(), checked.height)
    }

    pub(crate) fn logic(
        &mut self,
        op: BinaryOp,
        left: &Expr,
        right: &Expr,
        span: Span,
        scope: &Scope,
    ) -> Option<Checked> {
        let a = self.condition(left, scope);
        let inner = with_known(scope, known_when(left, op == BinaryOp::And));
        let b = self.condition(right, &inner);
        let (a, b) = (a?, b?);
        let node = if op == BinaryOp::And { Node::And(a.node, b.node) } else { Node::Or(a.node, b.node) };
        self.emit(node, Type::BOOL, span, Range::default(), a.height.max(b.height))
    }

    pub(crate) fn choice(
        &mut self,
        condition: &Expr,
        yes: &Expr,
        no: &Expr,
        span: Span,
        scope: &Scope,
    ) -> Option<Checked> {
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

    pub(crate) fn membership(&mut self, left: &Expr, right: &Expr, span: Span, scope: &Scope) -> Option<Checked> {
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
            // Every one is asked, so that every wrong one is named.
            let unknown = items.iter().filter(|item| !self.enum_member(set, item)).count();
            if unknown > 0 {
                return None;
            }
        } else if a.kind.list || self.comparable(a.kind, b.kind.element()).is_none() {
            self.unlike("`in`", (left, a.kind), (right, b.kind), span);
            return None;
        }
        self.emit(Node::In(a.node, b.node), Type::BOOL, span, Range::default(), a.height.max(b.height))
    }

    pub(crate) fn comparison(
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
    pub(crate) fn enum_member(&mut self, set: u16, text: &Expr) -> bool {
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

    pub(crate) fn comparable(&self, a: Type, b: Type) -> Option<Type> {
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

    pub(crate) fn unlike_remedy(&self, left: (&Expr, Type), right: (&Expr, Type)) -> Option<String> {
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

    pub(crate) fn arithmetic(
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
    pub(crate) fn check_overflow(
        &mut self,
        op: BinaryOp,
        a: &Checked,
        b: &Checked,
        range: &Range,
        span: Span,
    ) -> Option<()> {
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

    pub(crate) fn arithmetic_type(&self, op: BinaryOp, a: Type, b: Type) -> Option<Type> {
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
        BinaryOp::Add => a.plus(b),
        BinaryOp::Subtract => a.subtract(b),
        BinaryOp::Multiply => a.multiply(b),
        BinaryOp::Divide => a.divide(b),
        _ => a.remainder(b),
    }
}
