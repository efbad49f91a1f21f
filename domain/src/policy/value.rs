//! Values while a policy is applied, and the constants that stand in it.

use std::cmp::Ordering;
use std::fmt;

use chrono::{DateTime, NaiveDate, SecondsFormat, TimeDelta, Utc};

use super::number::Number;
use crate::window::Window;

/// A value. Copied freely: texts and lists are borrowed from the policy, the facts or the frame.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Value<'a> {
    Missing,
    Bool(bool),
    Number(Number),
    Text(&'a str),
    Date(NaiveDate),
    Timestamp(DateTime<Utc>),
    Duration(TimeDelta),
    Window(Window),
    List(List<'a>),
}

/// Where a list's elements are.
#[derive(Debug, Clone, Copy)]
pub(crate) enum List<'a> {
    Windows(&'a [Window]),
    Texts(&'a [Box<str>]),
    Constants(&'a [Constant]),
    /// Worked out in this assessment: the list's place in the frame.
    Computed(u32),
}

/// A value that stands in the policy itself.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Constant {
    Bool(bool),
    Number(Number),
    Text(Box<str>),
    Date(NaiveDate),
    Timestamp(DateTime<Utc>),
    Duration(TimeDelta),
    Window(Window),
    List(Vec<Constant>),
}

impl Constant {
    pub(crate) fn value(&self) -> Value<'_> {
        match self {
            Self::Bool(value) => Value::Bool(*value),
            Self::Number(value) => Value::Number(*value),
            Self::Text(value) => Value::Text(value),
            Self::Date(value) => Value::Date(*value),
            Self::Timestamp(value) => Value::Timestamp(*value),
            Self::Duration(value) => Value::Duration(*value),
            Self::Window(value) => Value::Window(*value),
            Self::List(values) => Value::List(List::Constants(values)),
        }
    }
}

impl Value<'_> {
    /// The order of two values of one ordered type.
    #[inline]
    pub(crate) fn order(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Value::Number(a), Value::Number(b)) => Some(a.cmp(b)),
            (Value::Timestamp(a), Value::Timestamp(b)) => Some(a.cmp(b)),
            (Value::Date(a), Value::Date(b)) => Some(a.cmp(b)),
            (Value::Duration(a), Value::Duration(b)) => Some(a.cmp(b)),
            _ => None,
        }
    }

    /// Whether two values are the same; lists are never compared.
    #[inline]
    pub(crate) fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Value::Bool(a), Value::Bool(b)) => a == b,
            (Value::Text(a), Value::Text(b)) => same_text(a, b),
            (Value::Window(a), Value::Window(b)) => a == b,
            _ => self.order(other) == Some(Ordering::Equal),
        }
    }
}

/// Whether two texts are the same. Codes are short, and for short ones a call of `memcmp` costs more than the comparison.
#[inline]
pub(crate) fn same_text(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    if a.len() != b.len() {
        return false;
    }
    match (a.first_chunk::<8>(), b.first_chunk::<8>(), a.last_chunk::<8>(), b.last_chunk::<8>()) {
        (Some(a_first), Some(b_first), Some(a_last), Some(b_last)) if a.len() <= 16 => {
            u64::from_ne_bytes(*a_first) == u64::from_ne_bytes(*b_first)
                && u64::from_ne_bytes(*a_last) == u64::from_ne_bytes(*b_last)
        }
        (None, ..) => match (a.first_chunk::<4>(), b.first_chunk::<4>(), a.last_chunk::<4>(), b.last_chunk::<4>()) {
            (Some(a_first), Some(b_first), Some(a_last), Some(b_last)) => {
                u32::from_ne_bytes(*a_first) == u32::from_ne_bytes(*b_first)
                    && u32::from_ne_bytes(*a_last) == u32::from_ne_bytes(*b_last)
            }
            // At most three bytes.
            _ => a.iter().zip(b).all(|(x, y)| x == y),
        },
        _ => a == b,
    }
}

/// Values as a person reads them; lists are shown by their length.
impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Missing => f.write_str("missing"),
            Value::Bool(value) => write!(f, "{value}"),
            Value::Number(value) => write!(f, "{value}"),
            Value::Text(value) => f.write_str(value),
            Value::Date(value) => write!(f, "{value}"),
            Value::Timestamp(value) => f.write_str(&instant(value)),
            Value::Duration(value) => f.write_str(&show_duration(*value)),
            Value::Window(value) => write!(f, "{} to {}", instant(&value.from()), instant(&value.until())),
            Value::List(list) => match list {
                List::Windows(items) => write!(f, "{} windows", items.len()),
                List::Texts(items) => f.write_str(&items.join(", ")),
                List::Constants(items) => write!(f, "{} values", items.len()),
                List::Computed(_) => f.write_str("a list"),
            },
        }
    }
}

fn instant(at: &DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

/// A duration as `1d12h`, the way it is written in a policy.
pub(crate) fn show_duration(value: TimeDelta) -> String {
    let nanos = nanoseconds(value);
    let mut out = String::new();
    let mut rest = nanos.unsigned_abs();
    for (unit, sign) in DURATION_UNITS.iter().filter(|(_, sign)| *sign != 'w') {
        let unit = unit.unsigned_abs();
        if rest / unit > 0 {
            out.push_str(&format!("{}{sign}", rest / unit));
        }
        rest %= unit;
    }
    if rest > 0 {
        out.push_str(&format!("{rest}ns"));
    }
    match (out.is_empty(), nanos < 0) {
        (true, _) => "0s".to_owned(),
        (false, true) => format!("-{out}"),
        (false, false) => out,
    }
}

const DURATION_UNITS: [(i128, char); 5] = [
    (604_800_000_000_000, 'w'),
    (86_400_000_000_000, 'd'),
    (3_600_000_000_000, 'h'),
    (60_000_000_000, 'm'),
    (1_000_000_000, 's'),
];

/// The exact number of nanoseconds.
pub(crate) fn nanoseconds(value: TimeDelta) -> i128 {
    i128::from(value.num_seconds()) * 1_000_000_000 + i128::from(value.subsec_nanos())
}

/// The duration of so many nanoseconds, within what a duration can hold.
pub(crate) fn from_nanoseconds(nanos: i128) -> Option<TimeDelta> {
    let seconds = i64::try_from(nanos.div_euclid(1_000_000_000)).ok()?;
    let rest = u32::try_from(nanos.rem_euclid(1_000_000_000)).ok()?;
    TimeDelta::new(seconds, rest)
}

/// Parses `72h`, `1d12h`, `-30m`: whole numbers, largest unit first, each unit at most once.
pub(crate) fn parse_duration(text: &str) -> Option<TimeDelta> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let mut nanos: i128 = 0;
    let mut units = DURATION_UNITS.iter();
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let amount: i128 = rest.get(..digits)?.parse::<u32>().ok()?.into();
        let sign = rest.get(digits..)?.chars().next()?;
        let (unit, _) = units.find(|(_, known)| *known == sign)?;
        nanos = nanos.checked_add(amount.checked_mul(*unit)?)?;
        rest = rest.get(digits + 1..)?;
    }
    from_nanoseconds(if negative { -nanos } else { nanos })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_the_same_when_all_their_bytes_are() {
        let word = "abcdefghijklmnopqrstuvwxyz";
        for length in 0..=word.len() {
            let text = &word[..length];
            let copy = text.to_owned();
            assert!(same_text(text, &copy));
            assert!(!same_text(text, &word[..word.len() - length]) || length * 2 == word.len());
            for at in 0..length {
                let mut other = text.to_owned().into_bytes();
                other[at] = b'-';
                assert!(!same_text(text, std::str::from_utf8(&other).unwrap()), "{length} {at}");
            }
        }
    }

    #[test]
    fn durations_read_and_show_the_same() {
        for text in ["72h", "1d12h", "2w", "90m", "0s", "-30m", "1d2h3m4s"] {
            let value = parse_duration(text).unwrap();
            assert_eq!(parse_duration(&show_duration(value)), Some(value), "{text}");
        }
        assert_eq!(show_duration(parse_duration("36h").unwrap()), "1d12h");
        for wrong in ["", "-", "h", "1", "1h1d", "1h1h", "1.5h", "99999999999h", "1é"] {
            assert_eq!(parse_duration(wrong), None, "{wrong}");
        }
    }
}
