//! Facts: which ones are built in, how a facts file is read without losing a digit, and by what words a fact is refused.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde_json::value::RawValue;

use super::diagnostic::Span;
use super::limits::{MAX_FACT_VALUES, MAX_FACTS_BYTES, MAX_LIST};
use super::number::parse_decimal;
use super::program::{Slot, Source};
use super::types::{Base, Type, Unit};
use crate::window::Window;

/// A value of a facts file, before the policy's declaration says how it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FactValue {
    /// True or false.
    Bool(bool),
    /// An exact number.
    Number(Decimal),
    /// A text; also a date, a timestamp, a duration or a number, when the declaration says so.
    Text(Box<str>),
    /// A window.
    Window(Window),
    /// A list.
    List(Vec<FactValue>),
}

/// Why a facts file cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FactsError {
    /// The text is no JSON, or no object.
    #[error("the facts are not a JSON object: {0}")]
    Json(String),
    /// A number that no exact decimal holds.
    #[error("`{name}` is {digits}, which is no exact number of at most 28 digits; write it without an exponent")]
    Number {
        /// The fact.
        name: String,
        /// Its digits.
        digits: String,
    },
    /// A window without `from` and `until`, or one that ends before it begins.
    #[error("`{name}` is no window: {reason}")]
    Window {
        /// The fact.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// The same fact flat and nested.
    #[error("`{0}` stands twice")]
    Twice(String),
    /// Too large, too many, or too deep.
    #[error("{0}")]
    TooMuch(String),
}

/// Facts by name, kept in one order whatever the order they come in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts(Vec<(Box<str>, FactValue)>);

impl Facts {
    /// No facts.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads a JSON object: names flat (`"claim.loss"`) or nested (`"claim": {"loss": …}`), numbers digit by digit.
    pub fn from_json(text: &str) -> Result<Self, FactsError> {
        if text.len() > MAX_FACTS_BYTES {
            return Err(FactsError::TooMuch(format!("the facts have more than {MAX_FACTS_BYTES} bytes")));
        }
        let raw: &RawValue = serde_json::from_str(text).map_err(|error| FactsError::Json(error.to_string()))?;
        let mut reader = Reader { facts: Self::default(), values: 0 };
        reader.object(raw, "", 0)?;
        Ok(reader.facts)
    }

    /// Adds or replaces a fact.
    pub fn set(&mut self, name: impl Into<Box<str>>, value: FactValue) {
        let name = name.into();
        match self.place(&name) {
            Ok(at) => self.0[at].1 = value,
            Err(at) => self.0.insert(at, (name, value)),
        }
    }

    fn place(&self, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(known, _)| (**known).cmp(name))
    }

    /// Takes a fact away.
    pub fn remove(&mut self, name: &str) {
        if let Ok(at) = self.place(name) {
            self.0.remove(at);
        }
    }

    /// The value of a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&FactValue> {
        self.place(name).ok().map(|at| &self.0[at].1)
    }

    /// All names and values, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &FactValue)> {
        self.0.iter().map(|(name, value)| (&**name, value))
    }
}

struct Reader {
    facts: Facts,
    values: usize,
}

const MAX_OBJECT_DEPTH: usize = 4;

/// The pairs of an object in their order; a name twice is an error, not a silent choice.
struct Pairs<'j>(Vec<(String, &'j RawValue)>);

impl<'de: 'j, 'j> serde::Deserialize<'de> for Pairs<'j> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PairsVisitor;
        impl<'de> serde::de::Visitor<'de> for PairsVisitor {
            type Value = Vec<(String, &'de RawValue)>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object of facts")
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry::<String, &'de RawValue>()? {
                    pairs.push(pair);
                }
                Ok(pairs)
            }
        }
        deserializer.deserialize_map(PairsVisitor).map(Pairs)
    }
}

impl Reader {
    fn object(&mut self, raw: &RawValue, prefix: &str, depth: usize) -> Result<(), FactsError> {
        if depth > MAX_OBJECT_DEPTH {
            return Err(FactsError::TooMuch(format!("`{prefix}` is nested deeper than {MAX_OBJECT_DEPTH} objects")));
        }
        let pairs: Pairs<'_> = serde_json::from_str(raw.get()).map_err(|error| FactsError::Json(error.to_string()))?;
        for (key, value) in pairs.0 {
            let name = if prefix.is_empty() { key } else { format!("{prefix}.{key}") };
            if value.get().starts_with('{') && !is_window(value) {
                self.object(value, &name, depth + 1)?;
                continue;
            }
            let Some(value) = self.value(value, &name)? else { continue };
            match self.facts.place(&name) {
                Ok(_) => return Err(FactsError::Twice(name)),
                Err(at) => self.facts.0.insert(at, (name.into(), value)),
            }
        }
        Ok(())
    }

    fn value(&mut self, raw: &RawValue, name: &str) -> Result<Option<FactValue>, FactsError> {
        self.values += 1;
        if self.values > MAX_FACT_VALUES {
            return Err(FactsError::TooMuch(format!("the facts have more than {MAX_FACT_VALUES} values")));
        }
        let text = raw.get();
        let json = |error: serde_json::Error| FactsError::Json(format!("`{name}`: {error}"));
        Ok(Some(match text.as_bytes().first() {
            Some(b'n') => return Ok(None),
            Some(b't') => FactValue::Bool(true),
            Some(b'f') => FactValue::Bool(false),
            Some(b'"') => FactValue::Text(serde_json::from_str::<String>(text).map_err(json)?.into()),
            Some(b'{') => FactValue::Window(window(raw, name)?),
            Some(b'[') => {
                let items: Vec<&RawValue> = serde_json::from_str(text).map_err(json)?;
                if items.len() > MAX_LIST {
                    return Err(FactsError::TooMuch(format!("`{name}` has more than {MAX_LIST} values")));
                }
                let mut values = Vec::with_capacity(items.len());
                for item in items {
                    if item.get().starts_with('[') {
                        return Err(FactsError::TooMuch(format!("`{name}` holds a list in a list")));
                    }
                    values.extend(self.value(item, name)?);
                }
                FactValue::List(values)
            }
            _ => {
                let number = parse_decimal(text).or_else(|| whole_exponent(text));
                FactValue::Number(number.ok_or_else(|| FactsError::Number {
                    name: name.to_owned(),
                    digits: text.chars().take(40).collect(),
                })?)
            }
        }))
    }
}

/// `3e5`, as some programs write 300000; anything that is not exact is refused.
fn whole_exponent(text: &str) -> Option<Decimal> {
    let (mantissa, exponent) = text.split_once(['e', 'E'])?;
    let exponent: i32 = exponent.parse().ok()?;
    let mantissa = parse_decimal(mantissa)?;
    let power = 10_i128.checked_pow(exponent.unsigned_abs().min(40))?;
    let power = super::number::Number::from_i128(power).ok()?;
    let number = super::number::Number::from(mantissa);
    let exact = if exponent < 0 { number.divide(power) } else { number.multiply(power) };
    exact.ok()?.as_decimal()
}

/// An object is a window exactly when it has `from` and `until` and nothing else.
fn is_window(raw: &RawValue) -> bool {
    let pairs: Result<Pairs<'_>, _> = serde_json::from_str(raw.get());
    pairs.is_ok_and(|pairs| !pairs.0.is_empty() && pairs.0.iter().all(|(name, _)| name == "from" || name == "until"))
}

fn window(raw: &RawValue, name: &str) -> Result<Window, FactsError> {
    let wrong = |reason: String| FactsError::Window { name: name.to_owned(), reason };
    serde_json::from_str(raw.get()).map_err(|error| wrong(error.to_string()))
}

/// The built-in facts: name, source and type.
const BUILTINS: [(&str, Source, Type); 15] = [
    ("holding.ref", Source::HoldingReference, Type::TEXT),
    ("holding.kind", Source::HoldingKind, Type::TEXT),
    ("holding.product", Source::HoldingProduct, Type::TEXT),
    ("holding.valid_from", Source::HoldingFrom, Type::TIMESTAMP),
    ("holding.valid_until", Source::HoldingUntil, Type::TIMESTAMP),
    ("customer.id", Source::CustomerId, Type::TEXT),
    ("incident.id", Source::IncidentId, Type::TEXT),
    ("incident.started", Source::IncidentStarted, Type::TIMESTAMP),
    ("incident.windows", Source::IncidentWindows, Type::list(Base::Window)),
    ("incident.unavailable", Source::IncidentUnavailable, Type::list(Base::Window)),
    ("incident.degraded", Source::IncidentDegraded, Type::list(Base::Window)),
    ("incident.window", Source::IncidentWindow, Type::WINDOW),
    ("claim.submitted_at", Source::ClaimSubmitted, Type::TIMESTAMP),
    ("evidence.count", Source::EvidenceCount, Type::number(true, Unit::Plain)),
    ("evidence.kinds", Source::EvidenceKinds, Type::list(Base::Text)),
];

pub(crate) fn builtin_names() -> impl Iterator<Item = &'static str> {
    BUILTINS.iter().map(|(name, _, _)| *name)
}

pub(crate) fn builtin_type(name: &str) -> Option<Type> {
    BUILTINS.iter().find(|(known, _, _)| *known == name).map(|(_, _, kind)| *kind)
}

/// The slot of a built-in fact that is not declared.
pub(crate) fn builtin(name: &str) -> Option<Slot> {
    let kind = builtin_type(name)?;
    let mut slot = slot(name, kind)?;
    if name == "evidence.count" {
        slot.low = Some(super::number::Number::ZERO);
    }
    Some(slot)
}

/// A slot without default or bounds; nothing when the name has no known prefix.
pub(crate) fn slot(name: &str, kind: Type) -> Option<Slot> {
    Some(Slot {
        name: name.into(),
        source: source(name)?,
        kind,
        default: None,
        optional: false,
        low: None,
        high: None,
        title: None,
        reference: None,
        not_negative: false,
        is_integer: kind.element().is_integer(),
        declared: false,
        used: false,
        span: Span::default(),
    })
}

/// Where a fact of this name comes from.
fn source(name: &str) -> Option<Source> {
    if let Some((_, source, _)) = BUILTINS.iter().find(|(known, _, _)| *known == name) {
        return Some(source.clone());
    }
    let (prefix, rest) = name.split_once('.')?;
    let named = rest.bytes().next().is_some_and(|b| b.is_ascii_lowercase())
        && rest.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if !named {
        return None;
    }
    match prefix {
        "holding" => Some(Source::Holding(rest.into())),
        "customer" => Some(Source::Customer(rest.into())),
        "incident" => Some(Source::Incident(rest.into())),
        "claim" | "evidence" => Some(Source::Claim(if prefix == "claim" { rest.into() } else { name.into() })),
        _ => None,
    }
}

/// An instant as text.
pub(crate) fn parse_timestamp(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(text).ok().map(|at| at.with_timezone(&Utc))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flat_and_nested_names_are_the_same() {
        let flat = Facts::from_json(r#"{"claim.loss": "300000", "customer.merchant": true}"#).unwrap();
        let nested = Facts::from_json(r#"{"customer": {"merchant": true}, "claim": {"loss": "300000"}}"#).unwrap();
        assert_eq!(flat, nested);
        let twice = Facts::from_json(r#"{"claim.loss": 1, "claim": {"loss": 2}}"#);
        assert_eq!(twice, Err(FactsError::Twice("claim.loss".to_owned())));
    }

    #[test]
    fn numbers_never_pass_through_a_float() {
        let facts = Facts::from_json(r#"{"a": 0.1, "b": 9007199254740993, "c": 1.10, "d": 3e5, "e": null}"#).unwrap();
        let number = |name: &str| match facts.get(name) {
            Some(FactValue::Number(value)) => value.to_string(),
            other => format!("{other:?}"),
        };
        assert_eq!(
            (number("a"), number("b"), number("c"), number("d")),
            ("0.1".into(), "9007199254740993".into(), "1.10".into(), "300000".into())
        );
        assert_eq!(facts.get("e"), None);
        assert!(Facts::from_json(r#"{"a": 1e400}"#).is_err());
        assert!(Facts::from_json(r#"{"a": 0.12345678901234567890123456789}"#).is_err());
    }

    #[test]
    fn windows_are_told_from_nested_facts() {
        let facts = Facts::from_json(
            r#"{"incident": {"windows": [{"from": "2022-10-15T15:30:00+09:00", "until": "2022-10-16T01:30:00+09:00"}]}}"#,
        )
        .unwrap();
        assert!(
            matches!(facts.get("incident.windows"), Some(FactValue::List(items)) if matches!(items[..], [FactValue::Window(_)]))
        );
        let reversed = r#"{"claim.outage": {"from": "2022-10-16T00:00:00Z", "until": "2022-10-15T00:00:00Z"}}"#;
        assert!(Facts::from_json(reversed).unwrap_err().to_string().contains("must end after it begins"));
        for hostile in
            ["", "[]", "1", "{", &"{\"a\":".repeat(200), &format!("{{\"a\":{}1{}}}", "[".repeat(200), "]".repeat(200))]
        {
            assert!(Facts::from_json(hostile).is_err(), "{hostile:.20}");
        }
    }
}
