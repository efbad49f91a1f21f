//! Sets of facts as boxes: an interval or a set of values for each thing that conditions ask about. On them the
//! analysis decides exactly which rule is reached, and what falls between two rules.

use std::collections::BTreeMap;

use super::ast::{BinaryOp, Expr, ExprKind};
use super::flow::Range;
use super::limits::MAX_REGION_BOXES;
use super::number::Number;
use super::program::Program;
use super::types::{Base, Type};
use super::value::nanoseconds;

/// The most single comparisons of boxes that one analysis makes.
const MAX_WORK: usize = 2_000_000;

/// One end of an interval; nothing: without end.
type End = Option<(Number, bool)>;

/// What is allowed of one thing.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Constraint {
    /// Ends and whether they belong to it.
    Interval(End, End),
    /// Some values, one bit each; the last bit is any other value.
    Values(u64),
}

const OTHER: u64 = 1 << 63;
const MAX_VALUES: usize = 63;

/// A thing that conditions ask about.
#[derive(Debug)]
pub(crate) struct Dimension {
    pub(crate) key: String,
    /// Only whole numbers (or dates) count.
    pub(crate) integer: bool,
    /// The names of values; empty for ordered things.
    pub(crate) values: Vec<String>,
    /// No other values exist.
    closed: bool,
    /// What its declaration allows.
    domain: Constraint,
    /// How bounds were written.
    shown: Vec<(Number, String)>,
    /// Values written with `==`, `!=` or `in`: they are meant to stand alone.
    pub(crate) exact: Vec<Number>,
}

/// A box: for each thing that matters what is allowed; everything else is free.
pub(crate) type Region = BTreeMap<usize, Constraint>;

/// The things, and a budget of work.
pub(crate) struct Space<'p> {
    program: &'p Program,
    pub(crate) dimensions: Vec<Dimension>,
    work: usize,
}

/// The analysis is given up: too many boxes, or too many values.
pub(crate) struct TooMuch;

impl<'p> Space<'p> {
    pub(crate) fn new(program: &'p Program) -> Self {
        Self { program, dimensions: Vec::new(), work: 0 }
    }

    // ---- conditions to boxes ------------------------------------------------------------------------

    /// The boxes in which a condition has the given truth.
    pub(crate) fn boxes(&mut self, condition: &Expr, truth: bool) -> Result<Vec<Region>, TooMuch> {
        match &condition.kind {
            ExprKind::Bool(value) => Ok(if *value == truth { vec![Region::new()] } else { Vec::new() }),
            ExprKind::Not(inner) => self.boxes(inner, !truth),
            ExprKind::Binary(op @ (BinaryOp::And | BinaryOp::Or), left, right) => {
                let (a, b) = (self.boxes(left, truth)?, self.boxes(right, truth)?);
                if (*op == BinaryOp::And) == truth {
                    self.all_of(&a, &b)
                } else {
                    bounded(a.into_iter().chain(b).collect())
                }
            }
            ExprKind::Condition(test, yes, no) => {
                let (when, unless) = (self.boxes(test, true)?, self.boxes(test, false)?);
                let (yes, no) = (self.boxes(yes, truth)?, self.boxes(no, truth)?);
                let mut both = self.all_of(&when, &yes)?;
                both.extend(self.all_of(&unless, &no)?);
                bounded(both)
            }
            ExprKind::Binary(BinaryOp::In, left, right) => self.membership(condition, left, right, truth),
            ExprKind::Binary(op, left, right) => self.comparison(condition, *op, left, right, truth),
            _ => self.opaque(condition.canonical(), truth),
        }
    }

    fn all_of(&mut self, a: &[Region], b: &[Region]) -> Result<Vec<Region>, TooMuch> {
        let mut all = Vec::new();
        for x in a {
            for y in b {
                self.spend(1)?;
                all.extend(self.intersect(x, y));
            }
            if all.len() > MAX_REGION_BOXES {
                return Err(TooMuch);
            }
        }
        Ok(all)
    }

    fn spend(&mut self, work: usize) -> Result<(), TooMuch> {
        self.work += work;
        if self.work > MAX_WORK { Err(TooMuch) } else { Ok(()) }
    }

    fn opaque(&mut self, key: String, truth: bool) -> Result<Vec<Region>, TooMuch> {
        let at = self.discrete(key, vec!["false".to_owned(), "true".to_owned()], true);
        Ok(vec![Region::from([(at, Constraint::Values(1 << u32::from(truth)))])])
    }

    fn comparison(
        &mut self,
        whole: &Expr,
        op: BinaryOp,
        left: &Expr,
        right: &Expr,
        truth: bool,
    ) -> Result<Vec<Region>, TooMuch> {
        let (op, left, right) = match (is_constant(left), is_constant(right)) {
            (_, true) => (op, left, right),
            (true, false) => (op.mirrored(), right, left),
            (false, false) => return self.relation(whole, op, left, right, truth),
        };
        match &right.kind {
            ExprKind::Text(text) => {
                let at = self.text_dimension(left);
                let bit = self.value_bit(at, text)?;
                let equal = (op == BinaryOp::Equal) == truth;
                Ok(vec![Region::from([(at, Constraint::Values(if equal { bit } else { !bit }))])])
            }
            ExprKind::Bool(value) => self.boxes(left, ((op == BinaryOp::Equal) == truth) == *value),
            _ => match ordered_constant(right) {
                Some((bound, is_date)) => {
                    let at = self.ordered(left, is_date);
                    self.show(at, bound, right);
                    if !op.is_order() {
                        self.dimensions[at].exact.push(bound);
                    }
                    Ok(self.intervals(at, op, bound, truth))
                }
                None => self.opaque(whole.canonical(), truth),
            },
        }
    }

    /// Two things compared with each other: the sign of their difference is the thing asked about.
    fn relation(
        &mut self,
        whole: &Expr,
        op: BinaryOp,
        left: &Expr,
        right: &Expr,
        truth: bool,
    ) -> Result<Vec<Region>, TooMuch> {
        if !op.is_order() {
            let (a, b) = (left.canonical(), right.canonical());
            let key = if a <= b { format!("{a} == {b}") } else { format!("{b} == {a}") };
            if matches!(op, BinaryOp::Equal | BinaryOp::NotEqual) {
                return self.opaque(key, (op == BinaryOp::Equal) == truth);
            }
            return self.opaque(whole.canonical(), truth);
        }
        let (a, b) = (left.canonical(), right.canonical());
        let (key, op) =
            if a <= b { (format!("{a} against {b}"), op) } else { (format!("{b} against {a}"), op.mirrored()) };
        let at = self.named_dimension(key, false, Range::default());
        Ok(self.intervals(at, op, Number::ZERO, truth))
    }

    fn membership(&mut self, whole: &Expr, left: &Expr, right: &Expr, truth: bool) -> Result<Vec<Region>, TooMuch> {
        let ExprKind::List(items) = &right.kind else { return self.opaque(whole.canonical(), truth) };
        let texts: Option<Vec<&str>> = items
            .iter()
            .map(|item| match &item.kind {
                ExprKind::Text(text) => Some(text.as_str()),
                _ => None,
            })
            .collect();
        if let Some(texts) = texts {
            let at = self.text_dimension(left);
            let mut bits = 0;
            for text in texts {
                bits |= self.value_bit(at, text)?;
            }
            return Ok(vec![Region::from([(at, Constraint::Values(if truth { bits } else { !bits }))])]);
        }
        if !items.iter().all(|item| ordered_constant(item).is_some()) {
            return self.opaque(whole.canonical(), truth);
        }
        let mut result = if truth { Vec::new() } else { vec![Region::new()] };
        for item in items {
            let equal = self.comparison(whole, BinaryOp::Equal, left, item, truth)?;
            result =
                if truth { bounded(result.into_iter().chain(equal).collect())? } else { self.all_of(&result, &equal)? };
        }
        Ok(result)
    }

    fn intervals(&self, at: usize, op: BinaryOp, bound: Number, truth: bool) -> Vec<Region> {
        let end = |inclusive: bool| Some((bound, inclusive));
        let below = |inclusive| Constraint::Interval(None, end(inclusive));
        let above = |inclusive| Constraint::Interval(end(inclusive), None);
        let found = match (op, truth) {
            (BinaryOp::Less, true) | (BinaryOp::GreaterEqual, false) => vec![below(false)],
            (BinaryOp::LessEqual, true) | (BinaryOp::Greater, false) => vec![below(true)],
            (BinaryOp::Greater, true) | (BinaryOp::LessEqual, false) => vec![above(false)],
            (BinaryOp::GreaterEqual, true) | (BinaryOp::Less, false) => vec![above(true)],
            (BinaryOp::Equal, true) | (BinaryOp::NotEqual, false) => vec![Constraint::Interval(end(true), end(true))],
            _ => vec![below(false), above(false)],
        };
        let integer = self.dimensions[at].integer;
        let whole = |constraint: Constraint| if integer { to_whole(constraint) } else { constraint };
        found.into_iter().map(|constraint| Region::from([(at, whole(constraint))])).collect()
    }

    // ---- things -------------------------------------------------------------------------------------

    /// The type and range of a fact or a named value, when the expression is one.
    fn declared(&self, expression: &Expr) -> Option<(Type, Range)> {
        let ExprKind::Name(name) = &expression.kind else { return None };
        if let Some(slot) = self.program.slots.iter().find(|slot| *slot.name == **name) {
            return Some((slot.kind, Range { low: slot.low, high: slot.high }));
        }
        self.program.named.iter().find(|named| named.name == *name).map(|named| (named.kind, Range::default()))
    }

    fn ordered(&mut self, expression: &Expr, is_date: bool) -> usize {
        let (kind, range) = self.declared(expression).unzip();
        let whole = matches!(kind, Some(Type { base: Base::Number { integer: true, .. }, .. }));
        self.named_dimension(expression.canonical(), whole || is_date, range.unwrap_or_default())
    }

    fn named_dimension(&mut self, key: String, integer: bool, range: Range) -> usize {
        if let Some(at) = self.dimensions.iter().position(|known| known.key == key && known.values.is_empty()) {
            return at;
        }
        let end = |value: Option<Number>| value.map(|value| (value, true));
        let domain = Constraint::Interval(end(range.low), end(range.high));
        self.dimensions.push(Dimension {
            key,
            integer,
            values: Vec::new(),
            closed: true,
            domain,
            shown: Vec::new(),
            exact: Vec::new(),
        });
        self.dimensions.len() - 1
    }

    fn text_dimension(&mut self, expression: &Expr) -> usize {
        let values = match self.declared(expression) {
            Some((Type { base: Base::Enum(set), .. }, _)) => {
                self.program.names.enum_values(set).iter().map(ToString::to_string).collect()
            }
            _ => Vec::new(),
        };
        let closed = !values.is_empty() && values.len() < MAX_VALUES;
        // A text's values are found as they are asked about; a mark keeps the list from looking ordered.
        let values = if closed { values } else { vec![String::new()] };
        self.discrete(expression.canonical(), values, closed)
    }

    fn discrete(&mut self, key: String, values: Vec<String>, closed: bool) -> usize {
        if let Some(at) = self.dimensions.iter().position(|known| known.key == key && !known.values.is_empty()) {
            return at;
        }
        let mask = if closed { (1_u64 << values.len()) - 1 } else { u64::MAX };
        self.dimensions.push(Dimension {
            key,
            integer: false,
            values,
            closed,
            domain: Constraint::Values(mask),
            shown: Vec::new(),
            exact: Vec::new(),
        });
        self.dimensions.len() - 1
    }

    fn value_bit(&mut self, at: usize, value: &str) -> Result<u64, TooMuch> {
        let dimension = &mut self.dimensions[at];
        let place = dimension.values.iter().position(|known| known == value);
        let place = match place {
            Some(place) => place,
            // Outside a closed set a value has no bit: it never holds.
            None if dimension.closed => return Ok(0),
            None => {
                dimension.values.push(value.to_owned());
                dimension.values.len() - 1
            }
        };
        if place >= MAX_VALUES { Err(TooMuch) } else { Ok(1 << place) }
    }

    fn show(&mut self, at: usize, bound: Number, written: &Expr) {
        let text = match &written.kind {
            ExprKind::Call { args, .. } => match args.first().map(|argument| &argument.kind) {
                Some(ExprKind::Text(text)) => text.clone(),
                _ => written.canonical(),
            },
            _ => written.canonical(),
        };
        let shown = &mut self.dimensions[at].shown;
        if !shown.iter().any(|(known, _)| *known == bound) {
            shown.push((bound, text));
        }
    }

    // ---- algebra of boxes ---------------------------------------------------------------------------

    /// What two boxes have in common, or nothing.
    pub(crate) fn intersect(&self, a: &Region, b: &Region) -> Option<Region> {
        let mut both = a.clone();
        for (at, constraint) in b {
            let narrowed = match both.get(at) {
                Some(known) => common(known, constraint)?,
                None => constraint.clone(),
            };
            both.insert(*at, narrowed);
        }
        both.iter().all(|(at, constraint)| self.is_possible(*at, constraint)).then_some(both)
    }

    /// Whether a constraint leaves anything that the declaration allows.
    fn is_possible(&self, at: usize, constraint: &Constraint) -> bool {
        let Some(dimension) = self.dimensions.get(at) else { return true };
        common(constraint, &dimension.domain).is_some_and(|within| match within {
            Constraint::Values(bits) => bits != 0,
            interval @ Constraint::Interval(..) => {
                !is_empty(&if dimension.integer { to_whole(interval) } else { interval })
            }
        })
    }

    /// Whether a box holds anything.
    pub(crate) fn is_inhabited(&self, region: &Region) -> bool {
        region.iter().all(|(at, constraint)| self.is_possible(*at, constraint))
    }

    /// What of a box remains outside another.
    fn subtract(&mut self, from: &Region, other: &Region) -> Result<Vec<Region>, TooMuch> {
        self.spend(1 + other.len())?;
        if self.intersect(from, other).is_none() {
            return Ok(vec![from.clone()]);
        }
        let mut rest = Vec::new();
        let mut inside = from.clone();
        for (at, constraint) in other {
            let known = inside.get(at).cloned();
            for outside in complement(constraint) {
                let outside = if self.dimensions[*at].integer { to_whole(outside) } else { outside };
                let piece = match &known {
                    Some(known) => common(known, &outside),
                    None => Some(outside),
                };
                if let Some(piece) = piece.filter(|piece| self.is_possible(*at, piece)) {
                    let mut region = inside.clone();
                    region.insert(*at, piece);
                    rest.push(region);
                }
            }
            let narrowed = match &known {
                Some(known) => common(known, constraint),
                None => Some(constraint.clone()),
            };
            match narrowed {
                Some(narrowed) => inside.insert(*at, narrowed),
                None => return Ok(rest),
            };
        }
        Ok(rest)
    }

    /// What of some boxes remains outside others.
    pub(crate) fn remainder(&mut self, of: &[Region], others: &[Region]) -> Result<Vec<Region>, TooMuch> {
        let mut rest = of.to_vec();
        for other in others {
            let mut next = Vec::new();
            for region in &rest {
                next.extend(self.subtract(region, other)?);
            }
            rest = bounded(next)?;
            if rest.is_empty() {
                break;
            }
        }
        Ok(rest)
    }

    // ---- words --------------------------------------------------------------------------------------

    /// A box in words, for a message: `claim.loss is 30 and claim.kind is 'a'`.
    pub(crate) fn describe(&self, region: &Region) -> String {
        const MOST: usize = 4;
        let mut said: Vec<String> =
            region.iter().take(MOST).filter_map(|(at, constraint)| self.describe_one(*at, constraint)).collect();
        if region.len() > MOST {
            said.push("…".to_owned());
        }
        if said.is_empty() { "anything".to_owned() } else { said.join(" and ") }
    }

    fn describe_one(&self, at: usize, constraint: &Constraint) -> Option<String> {
        let dimension = self.dimensions.get(at)?;
        let key = super::document::shorten(&dimension.key);
        let bound = |value: &Number| {
            dimension
                .shown
                .iter()
                .find(|(known, _)| known == value)
                .map_or_else(|| value.to_string(), |(_, text)| text.clone())
        };
        match common(constraint, &dimension.domain)? {
            Constraint::Values(bits) if dimension.values == ["false", "true"] => {
                Some(if bits & 1 == 1 { format!("not {key}") } else { key })
            }
            Constraint::Values(bits) => {
                let names: Vec<String> = (0..dimension.values.len())
                    .filter(|place| bits >> place & 1 == 1)
                    .filter_map(|place| dimension.values.get(place).filter(|name| !name.is_empty()))
                    .map(|name| format!("'{name}'"))
                    .collect();
                if bits & OTHER != 0 && !dimension.closed {
                    return Some(format!("{key} is some other value"));
                }
                Some(format!("{key} is {}", names.join(" or ")))
            }
            Constraint::Interval(low, high) => Some(match (low, high) {
                (Some((a, _)), Some((b, _))) if a == b => format!("{key} is {}", bound(&a)),
                (Some((a, i)), Some((b, j))) => {
                    let (from, until) = (if i { "from" } else { "above" }, if j { "up to" } else { "below" });
                    format!("{key} is {from} {} and {until} {}", bound(&a), bound(&b))
                }
                (Some((a, inclusive)), None) => {
                    format!("{key} is {} {}", if inclusive { "at least" } else { "above" }, bound(&a))
                }
                (None, Some((b, inclusive))) => {
                    format!("{key} is {} {}", if inclusive { "at most" } else { "below" }, bound(&b))
                }
                (None, None) => return None,
            }),
        }
    }
}

fn bounded(regions: Vec<Region>) -> Result<Vec<Region>, TooMuch> {
    if regions.len() > MAX_REGION_BOXES { Err(TooMuch) } else { Ok(regions) }
}

fn is_constant(expression: &Expr) -> bool {
    matches!(expression.kind, ExprKind::Text(_) | ExprKind::Bool(_)) || ordered_constant(expression).is_some()
}

/// The place of a written number, date, instant or duration on its line; and whether it is a date.
fn ordered_constant(expression: &Expr) -> Option<(Number, bool)> {
    match &expression.kind {
        ExprKind::Number(value) => Some((Number::Decimal(*value), false)),
        ExprKind::Call { name, args, .. } => {
            let [Expr { kind: ExprKind::Text(text), .. }] = args.as_slice() else { return None };
            match name.as_str() {
                "date" => {
                    let date: chrono::NaiveDate = text.parse().ok()?;
                    Some((
                        Number::from_i128(date.signed_duration_since(chrono::NaiveDate::MIN).num_days().into()).ok()?,
                        true,
                    ))
                }
                "timestamp" => {
                    let at = super::facts::parse_timestamp(text)?;
                    let nanos = i128::from(at.timestamp()) * 1_000_000_000 + i128::from(at.timestamp_subsec_nanos());
                    Some((Number::from_i128(nanos).ok()?, false))
                }
                "duration" => Some((Number::from_i128(nanoseconds(super::value::parse_duration(text)?)).ok()?, false)),
                _ => None,
            }
        }
        _ => None,
    }
}

/// The intersection; nothing when it is certainly empty.
fn common(a: &Constraint, b: &Constraint) -> Option<Constraint> {
    match (a, b) {
        (Constraint::Values(a), Constraint::Values(b)) => (a & b != 0).then_some(Constraint::Values(a & b)),
        (Constraint::Interval(a, b), Constraint::Interval(c, d)) => {
            let both = Constraint::Interval(higher(*a, *c), lower(*b, *d));
            (!is_empty(&both)).then_some(both)
        }
        _ => None,
    }
}

fn higher(a: End, b: End) -> End {
    match (a, b) {
        (None, other) | (other, None) => other,
        (Some((x, i)), Some((y, j))) => Some(match x.cmp(&y) {
            std::cmp::Ordering::Greater => (x, i),
            std::cmp::Ordering::Less => (y, j),
            std::cmp::Ordering::Equal => (x, i && j),
        }),
    }
}

fn lower(a: End, b: End) -> End {
    match (a, b) {
        (None, other) | (other, None) => other,
        (Some((x, i)), Some((y, j))) => Some(match x.cmp(&y) {
            std::cmp::Ordering::Less => (x, i),
            std::cmp::Ordering::Greater => (y, j),
            std::cmp::Ordering::Equal => (x, i && j),
        }),
    }
}

fn is_empty(constraint: &Constraint) -> bool {
    match constraint {
        Constraint::Values(bits) => *bits == 0,
        Constraint::Interval(Some((low, i)), Some((high, j))) => low > high || (low == high && !(*i && *j)),
        Constraint::Interval(..) => false,
    }
}

fn complement(constraint: &Constraint) -> Vec<Constraint> {
    match constraint {
        Constraint::Values(bits) => vec![Constraint::Values(!bits)],
        Constraint::Interval(low, high) => {
            let below = low.map(|(value, inclusive)| Constraint::Interval(None, Some((value, !inclusive))));
            let above = high.map(|(value, inclusive)| Constraint::Interval(Some((value, !inclusive)), None));
            below.into_iter().chain(above).collect()
        }
    }
}

/// The same set of whole numbers, with ends that belong to it.
fn to_whole(constraint: Constraint) -> Constraint {
    use super::number::RoundingMode::{Ceiling, Floor};
    let Constraint::Interval(low, high) = constraint else { return constraint };
    let one = Number::Decimal(rust_decimal::Decimal::ONE);
    let round = |value: Number, mode| value.round(mode, rust_decimal::Decimal::ONE).unwrap_or(value);
    let low = low.map(|(value, inclusive)| {
        let up = round(value, Ceiling);
        let whole = if !inclusive && up == value { up.plus(one).unwrap_or(up) } else { up };
        (whole, true)
    });
    let high = high.map(|(value, inclusive)| {
        let down = round(value, Floor);
        let whole = if !inclusive && down == value { down.subtract(one).unwrap_or(down) } else { down };
        (whole, true)
    });
    Constraint::Interval(low, high)
}
