//! What is known where: the range of a number, what an earlier condition rules out, so that a division by a
//! possible zero is told apart from a guarded one.

use super::ast::{BinaryOp, Expr, ExprKind};
use super::number::Number;

/// The least and the greatest value that a number (or the nanoseconds of a duration) can have.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Range {
    pub(crate) low: Option<Number>,
    pub(crate) high: Option<Number>,
}

impl Range {
    pub(crate) fn exactly(value: Number) -> Self {
        Self { low: Some(value), high: Some(value) }
    }

    pub(crate) fn between(low: i64, high: i64) -> Self {
        Self { low: Some(whole(low)), high: Some(whole(high)) }
    }

    pub(crate) fn at_least(low: i64) -> Self {
        Self { low: Some(whole(low)), high: None }
    }

    pub(crate) fn excludes_zero(&self) -> bool {
        self.low.is_some_and(|low| low > Number::ZERO) || self.high.is_some_and(|high| high < Number::ZERO)
    }

    /// The smallest range that holds both.
    pub(crate) fn or(self, other: Self) -> Self {
        let low = self.low.zip(other.low).map(|(a, b)| a.min(b));
        let high = self.high.zip(other.high).map(|(a, b)| a.max(b));
        Self { low, high }
    }

    pub(crate) fn negate(self) -> Self {
        Self { low: self.high.map(Number::negate), high: self.low.map(Number::negate) }
    }

    pub(crate) fn add(self, other: Self) -> Self {
        let sum = |a: Option<Number>, b: Option<Number>| a.zip(b).and_then(|(a, b)| a.plus(b).ok());
        Self { low: sum(self.low, other.low), high: sum(self.high, other.high) }
    }

    pub(crate) fn multiply(self, other: Self) -> Self {
        if let (Some(a), Some(b), Some(c), Some(d)) = (self.low, self.high, other.low, other.high) {
            let corners = [a.multiply(c), a.multiply(d), b.multiply(c), b.multiply(d)];
            let known: Vec<Number> = corners.iter().filter_map(|corner| corner.ok()).collect();
            if known.len() == corners.len() {
                return Self { low: known.iter().min().copied(), high: known.iter().max().copied() };
            }
            return Self::default();
        }
        // Without upper bounds only the signs tell something.
        match (self.low, other.low) {
            (Some(a), Some(b)) if !a.is_negative() && !b.is_negative() => Self { low: a.multiply(b).ok(), high: None },
            _ => Self::default(),
        }
    }

    pub(crate) fn divide(self, other: Self) -> Self {
        match (self.low, other.low) {
            (Some(a), Some(b)) if !a.is_negative() && !b.is_negative() && !b.is_zero() => {
                let low = other.high.and_then(|high| a.divide(high).ok()).unwrap_or(Number::ZERO);
                let high = self.high.and_then(|high| high.divide(b).ok());
                Self { low: Some(low), high }
            }
            _ => Self::default(),
        }
    }
}

pub(crate) fn whole(value: i64) -> Number {
    Number::Decimal(value.into())
}

/// What is certain when a condition has been found true (or false), as marks `nonzero:x` and `has:x`.
pub(crate) fn known_when(condition: &Expr, truth: bool) -> Vec<String> {
    let mut marks = Vec::new();
    collect(condition, truth, &mut marks);
    marks
}

fn collect(condition: &Expr, truth: bool, marks: &mut Vec<String>) {
    match &condition.kind {
        ExprKind::Not(inner) => collect(inner, !truth, marks),
        // Both sides of a true `&&` are true, both of a false `||` are false.
        ExprKind::Binary(BinaryOp::And, left, right) if truth => {
            collect(left, true, marks);
            collect(right, true, marks);
        }
        ExprKind::Binary(BinaryOp::Or, left, right) if !truth => {
            collect(left, false, marks);
            collect(right, false, marks);
        }
        ExprKind::Binary(op, left, right) => {
            compared(*op, left, right, truth, marks);
            compared(op.mirrored(), right, left, truth, marks);
        }
        ExprKind::Call { name, args, .. } if name == "has" && truth => {
            if let [Expr { kind: ExprKind::Name(fact), .. }] = args.as_slice() {
                marks.push(format!("has:{fact}"));
            }
        }
        _ => {}
    }
}

/// Marks `left` as not zero when its comparison with a number says so.
fn compared(op: BinaryOp, left: &Expr, right: &Expr, truth: bool, marks: &mut Vec<String>) {
    let bound = match &right.kind {
        ExprKind::Number(bound) => Number::Decimal(*bound),
        // A duration's zero is written duration('0s').
        ExprKind::Call { name, args, .. } if name == "duration" => match args.as_slice() {
            [Expr { kind: ExprKind::Text(text), .. }] => match super::value::parse_duration(text) {
                Some(value) => match Number::from_i128(super::value::nanoseconds(value)) {
                    Ok(value) => value,
                    Err(_) => return,
                },
                None => return,
            },
            _ => return,
        },
        _ => return,
    };
    let (zero, negative) = (bound.is_zero(), bound.is_negative());
    let nonzero = match (op, truth) {
        (BinaryOp::NotEqual, true) | (BinaryOp::Equal, false) => zero,
        (BinaryOp::Equal, true) => !zero,
        (BinaryOp::Greater, true) | (BinaryOp::LessEqual, false) => !negative,
        (BinaryOp::GreaterEqual, true) | (BinaryOp::Less, false) => !negative && !zero,
        (BinaryOp::Less, true) | (BinaryOp::GreaterEqual, false) => zero || negative,
        (BinaryOp::LessEqual, true) | (BinaryOp::Greater, false) => negative,
        _ => false,
    };
    if nonzero {
        marks.push(format!("nonzero:{}", left.canonical()));
    }
}
