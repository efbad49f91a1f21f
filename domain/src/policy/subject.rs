//! Binds facts to the places where a compiled policy reads them: from records without a detour, or from a facts file.

use chrono::{DateTime, NaiveDate, Utc};

use super::facts::{FactValue, Facts, parse_timestamp};
use super::number::{Number, parse_decimal};
use super::outcome::AssessError;
use super::program::{Program, Slot, Source};
use super::types::{Base, Type, quoted};
use super::value::{Constant, List, Value, parse_duration, same_text};
use crate::holding::{Attribute, Attributes, Holding};
use crate::id::ServiceId;
use crate::incident::{Impact, Incident, Severity};
use crate::window::Window;

/// An incident as policies of one service see it: prepared once, read for every subject.
#[derive(Debug, Clone, Default)]
pub struct IncidentView {
    id: Box<str>,
    started: Option<DateTime<Utc>>,
    windows: Vec<Window>,
    unavailable: Vec<Window>,
    degraded: Vec<Window>,
    window: Option<Window>,
    attributes: Facts,
}

impl IncidentView {
    /// The view of an incident for one of its services; a service that it did not hit has no windows.
    #[must_use]
    pub fn new(incident: &Incident, service: &ServiceId) -> Self {
        let affected = incident.service(service);
        let impacts = affected.map_or(&[][..], |affected| affected.impacts.as_slice());
        Self {
            id: incident.id.as_str().into(),
            started: incident.started(),
            window: affected.and_then(crate::incident::AffectedService::hull),
            ..Self::of_impacts(impacts)
        }
    }

    fn of_impacts(impacts: &[Impact]) -> Self {
        let of = |wanted: Option<Severity>| {
            let mut windows: Vec<Window> = impacts
                .iter()
                .filter(|impact| wanted.is_none_or(|severity| severity == impact.severity))
                .map(|impact| impact.window)
                .collect();
            windows.sort_unstable();
            windows
        };
        Self {
            windows: of(None),
            unavailable: of(Some(Severity::Unavailable)),
            degraded: of(Some(Severity::Degraded)),
            ..Self::default()
        }
    }

    /// Further facts of the incident, such as `announced`, by their names without the prefix.
    #[must_use]
    pub fn with_attributes(mut self, attributes: Facts) -> Self {
        self.attributes = attributes;
        self
    }
}

/// What a claimant stated.
#[derive(Debug, Clone, Copy)]
pub struct ClaimView<'a> {
    /// When the claim was submitted; nothing while it is a draft.
    pub submitted_at: Option<DateTime<Utc>>,
    /// The claim's fields, by their names without the prefix `claim.`.
    pub fields: &'a Facts,
}

/// What a policy is applied to: the records that facts are read from, each where there is one.
#[derive(Debug, Clone, Copy, Default)]
pub struct Subject<'a> {
    /// The incident and the service's windows.
    pub incident: Option<&'a IncidentView>,
    /// The holding.
    pub holding: Option<&'a Holding>,
    /// The operator's id of the customer; taken from the holding when there is none.
    pub customer: Option<&'a str>,
    /// The attributes of the customer's holding of kind `account` at the service.
    pub account: Option<&'a Attributes>,
    /// The claim.
    pub claim: Option<ClaimView<'a>>,
    /// The kinds of the documents filed.
    pub evidence: Option<&'a [Box<str>]>,
}

/// Lists that had to be built while binding; they live as long as the assessment.
pub(crate) type Built<'a> = Vec<Vec<Value<'a>>>;

/// One bit for each fact (at most [`super::limits::MAX_FACTS`]) that was not given.
pub(crate) type Defaulted = u128;

/// Reads all facts of a subject into their slots.
#[inline]
pub(crate) fn bind_subject<'a>(
    program: &'a Program,
    subject: &Subject<'a>,
    slots: &mut [Value<'a>],
    built: &mut Built<'a>,
) -> Result<Defaulted, AssessError> {
    let mut defaulted = 0;
    for (at, (slot, place)) in program.slots.iter().zip(slots).enumerate() {
        from_subject(slot, subject, program, built, place)?;
        if matches!(place, Value::Missing) {
            *place = absent(slot);
            defaulted |= 1 << at;
        }
    }
    Ok(defaulted)
}

/// Reads all facts of a facts file into their slots.
pub(crate) fn bind_facts<'a>(
    program: &'a Program,
    facts: &'a Facts,
    slots: &mut [Value<'a>],
    built: &mut Built<'a>,
) -> Result<Defaulted, AssessError> {
    let mut defaulted = 0;
    for (at, (slot, place)) in program.slots.iter().zip(slots).enumerate() {
        let value = match facts.get(&slot.name) {
            Some(value) => typed(slot, value, program, built)?,
            None => implied(slot, facts),
        };
        if matches!(value, Value::Missing) {
            *place = absent(slot);
            defaulted |= 1 << at;
        } else {
            *place = value;
        }
    }
    Ok(defaulted)
}

/// What follows from other facts of the file: the hull and the start of the incident's windows, the count of documents.
fn implied<'a>(slot: &Slot, facts: &'a Facts) -> Value<'a> {
    let windows = || match facts.get("incident.windows") {
        Some(FactValue::List(items)) => items
            .iter()
            .map(|item| match item {
                FactValue::Window(window) => Some(*window),
                _ => None,
            })
            .collect::<Option<Vec<_>>>()
            .filter(|windows| !windows.is_empty()),
        _ => None,
    };
    let from = |windows: &[Window]| windows.iter().map(Window::from).min();
    match slot.source {
        Source::IncidentStarted => {
            windows().and_then(|windows| from(&windows)).map_or(Value::Missing, Value::Timestamp)
        }
        Source::IncidentWindow => windows()
            .and_then(|windows| Window::new(from(&windows)?, windows.iter().map(Window::until).max()?).ok())
            .map_or(Value::Missing, Value::Window),
        Source::EvidenceCount => match facts.get("evidence.kinds") {
            Some(FactValue::List(kinds)) => {
                i64::try_from(kinds.len()).map_or(Value::Missing, |count| Value::Number(Number::Decimal(count.into())))
            }
            _ => Value::Missing,
        },
        _ => Value::Missing,
    }
}

/// The default of a fact that is missing. Without one it is an error, but only of the rule that really reads it: a
/// record need not have what a later rule would ask about.
fn absent(slot: &Slot) -> Value<'_> {
    slot.default.as_ref().map_or(Value::Missing, Constant::value)
}

/// Writes the value of one fact into its place, which holds nothing before.
///
/// The two that stand in every roster and claim are written without a detour over an intermediate value: on small
/// policies that copy would cost more than the rules.
#[inline]
fn from_subject<'a>(
    slot: &'a Slot,
    subject: &Subject<'a>,
    program: &'a Program,
    built: &mut Built<'a>,
    place: &mut Value<'a>,
) -> Result<(), AssessError> {
    let attribute = match &slot.source {
        Source::Holding(name) => subject.holding.and_then(|holding| holding.attributes.get(name)),
        Source::Customer(name) => subject.account.and_then(|account| account.get(name)),
        Source::Claim(name) => {
            return match subject.claim.and_then(|claim| claim.fields.get(name)) {
                Some(FactValue::Number(value)) if slot.not_negative && !slot.kind.list && !slot.is_integer => {
                    number_into(slot, *value, program, place)
                }
                Some(value) => typed(slot, value, program, built).map(|value| *place = value),
                None => Ok(()),
            };
        }
        Source::HoldingFrom => return instant(subject.holding.and_then(|holding| holding.valid_from), place),
        Source::HoldingUntil => return instant(subject.holding.and_then(|holding| holding.valid_until), place),
        Source::HoldingKind => return text(slot, subject.holding.map(|holding| &*holding.kind), program, place),
        Source::HoldingProduct => return text(slot, subject.holding.map(|holding| &*holding.product), program, place),
        _ => return rarer(slot, subject, program, built, place),
    };
    match attribute {
        None => Ok(()),
        Some(Attribute::Bool(value)) if slot.kind == Type::BOOL => {
            *place = Value::Bool(*value);
            Ok(())
        }
        Some(Attribute::Number(value)) if slot.not_negative && !slot.is_integer => {
            number_into(slot, *value, program, place)
        }
        Some(Attribute::Text(value)) if matches!(slot.kind.base, Base::Text | Base::Enum(_)) => {
            text(slot, Some(value), program, place)
        }
        Some(other) => from_attribute(slot, other, program).map(|value| *place = value),
    }
}

#[inline]
fn instant(at: Option<DateTime<Utc>>, place: &mut Value<'_>) -> Result<(), AssessError> {
    if let Some(at) = at {
        *place = Value::Timestamp(at);
    }
    Ok(())
}

#[inline]
fn text<'a>(
    slot: &'a Slot,
    text: Option<&'a str>,
    program: &'a Program,
    place: &mut Value<'a>,
) -> Result<(), AssessError> {
    if let Some(text) = text {
        *place = Value::Text(check_text(slot, text, program)?);
    }
    Ok(())
}

/// A number that may be anything but negative.
#[inline]
fn number_into(
    slot: &Slot,
    value: rust_decimal::Decimal,
    program: &Program,
    place: &mut Value<'_>,
) -> Result<(), AssessError> {
    if value.is_sign_negative() && !value.is_zero() {
        return Err(mistyped(slot, program, &value.to_string()));
    }
    *place = Value::Number(Number::Decimal(value));
    Ok(())
}

fn rarer<'a>(
    slot: &'a Slot,
    subject: &Subject<'a>,
    program: &'a Program,
    built: &mut Built<'a>,
    place: &mut Value<'a>,
) -> Result<(), AssessError> {
    *place = match &slot.source {
        Source::HoldingReference => {
            return text(slot, subject.holding.map(|holding| holding.reference.as_str()), program, place);
        }
        Source::CustomerId => {
            let own = subject.customer.or_else(|| subject.holding.map(|holding| holding.customer.as_str()));
            return text(slot, own, program, place);
        }
        Source::IncidentId => return text(slot, subject.incident.map(|incident| &*incident.id), program, place),
        Source::IncidentStarted => return instant(subject.incident.and_then(|incident| incident.started), place),
        Source::ClaimSubmitted => return instant(subject.claim.and_then(|claim| claim.submitted_at), place),
        Source::Incident(name) => match subject.incident.and_then(|incident| incident.attributes.get(name)) {
            Some(value) => typed(slot, value, program, built)?,
            None => Value::Missing,
        },
        Source::IncidentWindows => windows(subject, |incident| &incident.windows),
        Source::IncidentUnavailable => windows(subject, |incident| &incident.unavailable),
        Source::IncidentDegraded => windows(subject, |incident| &incident.degraded),
        Source::IncidentWindow => {
            subject.incident.and_then(|incident| incident.window).map_or(Value::Missing, Value::Window)
        }
        Source::EvidenceCount => {
            let count = subject.evidence.map(|kinds| i64::try_from(kinds.len()).unwrap_or(i64::MAX));
            count.map_or(Value::Missing, |count| Value::Number(Number::Decimal(count.into())))
        }
        Source::EvidenceKinds => subject.evidence.map_or(Value::Missing, |kinds| Value::List(List::Texts(kinds))),
        _ => Value::Missing,
    };
    Ok(())
}

fn windows<'a>(subject: &Subject<'a>, pick: impl Fn(&'a IncidentView) -> &'a Vec<Window>) -> Value<'a> {
    subject.incident.map_or(Value::Missing, |incident| Value::List(List::Windows(pick(incident))))
}

/// Attributes of a roster are text, numbers or booleans, read by the declared type.
#[inline]
fn from_attribute<'a>(slot: &'a Slot, value: &'a Attribute, program: &'a Program) -> Result<Value<'a>, AssessError> {
    match value {
        Attribute::Bool(value) if slot.kind == Type::BOOL => Ok(Value::Bool(*value)),
        Attribute::Number(value) if slot.kind.is_number() => check_number(slot, Number::Decimal(*value), program),
        Attribute::Text(text) => from_text(slot, slot.kind, text, program),
        Attribute::Bool(value) => Err(mistyped(slot, program, &value.to_string())),
        Attribute::Number(value) => Err(mistyped(slot, program, &value.to_string())),
    }
}

fn typed<'a>(
    slot: &'a Slot,
    value: &'a FactValue,
    program: &'a Program,
    built: &mut Built<'a>,
) -> Result<Value<'a>, AssessError> {
    match value {
        FactValue::List(items) if slot.kind.list => {
            let values: Result<Vec<_>, _> = items.iter().map(|item| single(slot, item, program)).collect();
            built.push(values?);
            let place = u32::try_from(built.len() - 1).unwrap_or(u32::MAX);
            Ok(Value::List(List::Computed(place)))
        }
        FactValue::List(items) => Err(mistyped(slot, program, &format!("a list of {} values", items.len()))),
        _ if slot.kind.list => Err(mistyped(slot, program, &shown(value))),
        value => single(slot, value, program),
    }
}

fn single<'a>(slot: &'a Slot, value: &'a FactValue, program: &'a Program) -> Result<Value<'a>, AssessError> {
    let kind = slot.kind.element();
    match value {
        FactValue::Bool(value) if kind == Type::BOOL => Ok(Value::Bool(*value)),
        FactValue::Number(value) if kind.is_number() => check_number(slot, Number::Decimal(*value), program),
        FactValue::Window(window) if kind == Type::WINDOW => Ok(Value::Window(*window)),
        FactValue::Text(text) => from_text(slot, kind, text, program),
        other => Err(mistyped(slot, program, &shown(other))),
    }
}

fn shown(value: &FactValue) -> String {
    match value {
        FactValue::Bool(value) => value.to_string(),
        FactValue::Number(value) => value.to_string(),
        FactValue::Text(text) => format!("'{}'", super::document::shorten(text)),
        FactValue::Window(_) => "a window".to_owned(),
        FactValue::List(items) => format!("a list of {} values", items.len()),
    }
}

#[inline]
fn from_text<'a>(slot: &'a Slot, kind: Type, text: &'a str, program: &'a Program) -> Result<Value<'a>, AssessError> {
    let read = match kind.base {
        Base::Text | Base::Enum(_) => return check_text(slot, text, program).map(Value::Text),
        Base::Bool => match text {
            "true" => Some(Value::Bool(true)),
            "false" => Some(Value::Bool(false)),
            _ => None,
        },
        Base::Number { .. } => match parse_decimal(text) {
            Some(value) => return check_number(slot, Number::Decimal(value), program),
            None => None,
        },
        Base::Date => text.parse::<NaiveDate>().ok().map(Value::Date),
        Base::Timestamp => parse_timestamp(text).map(Value::Timestamp),
        Base::Duration => parse_duration(text).map(Value::Duration),
        Base::Window => None,
    };
    read.ok_or_else(|| mistyped(slot, program, &format!("'{}'", super::document::shorten(text))))
}

#[inline]
fn check_text<'a>(slot: &Slot, text: &'a str, program: &Program) -> Result<&'a str, AssessError> {
    let Base::Enum(set) = slot.kind.base else { return Ok(text) };
    if program.names.enum_values(set).iter().any(|known| same_text(known, text)) {
        return Ok(text);
    }
    Err(mistyped(slot, program, &format!("'{}'", super::document::shorten(text))))
}

#[inline]
fn check_number<'a>(slot: &Slot, value: Number, program: &Program) -> Result<Value<'a>, AssessError> {
    let integer = matches!(slot.kind.base, Base::Number { integer: true, .. });
    let inside = if slot.not_negative {
        !value.is_negative()
    } else {
        slot.low.is_none_or(|low| low <= value) && slot.high.is_none_or(|high| value <= high)
    };
    if !inside || (integer && value.as_integer().is_none()) {
        return Err(mistyped(slot, program, &value.to_string()));
    }
    Ok(Value::Number(value))
}

/// What the declaration wants, in words.
pub(crate) fn wanted(slot: &Slot, program: &Program) -> String {
    let mut wanted = match slot.kind.element().base {
        Base::Number { integer: true, .. } => {
            format!("a whole number ({})", program.names.type_name(slot.kind.element()))
        }
        Base::Enum(set) => format!("one of {}", quoted(program.names.enum_values(set))),
        Base::Date => "a date such as 2022-10-15".to_owned(),
        Base::Timestamp => "a timestamp with an offset, such as 2022-10-15T15:30:00+09:00".to_owned(),
        Base::Duration => "a duration such as 72h".to_owned(),
        Base::Window => "a window {\"from\": …, \"until\": …}".to_owned(),
        _ => program.names.type_name(slot.kind.element()),
    };
    if slot.kind.list {
        wanted = format!("a list, each {wanted}");
    }
    match (slot.low, slot.high) {
        (Some(low), Some(high)) => format!("{wanted} from {low} to {high}"),
        (Some(low), None) => format!("{wanted}, at least {low}"),
        (None, Some(high)) => format!("{wanted}, at most {high}"),
        (None, None) => wanted,
    }
}

#[cold]
fn mistyped(slot: &Slot, program: &Program, found: &str) -> AssessError {
    AssessError::mistyped_fact(&slot.name, &wanted(slot, program), found)
}

/// Reads a default, by the same rules as a fact.
pub(crate) fn constant_of(slot: &Slot, value: &FactValue, program: &Program) -> Result<Constant, AssessError> {
    let one = |value: &FactValue| -> Result<Constant, AssessError> {
        Ok(match single(slot, value, program)? {
            Value::Bool(value) => Constant::Bool(value),
            Value::Number(value) => Constant::Number(value),
            Value::Text(value) => Constant::Text(value.into()),
            Value::Date(value) => Constant::Date(value),
            Value::Timestamp(value) => Constant::Timestamp(value),
            Value::Duration(value) => Constant::Duration(value),
            Value::Window(value) => Constant::Window(value),
            Value::Missing | Value::List(_) => return Err(mistyped(slot, program, &shown(value))),
        })
    };
    match value {
        FactValue::List(items) if slot.kind.list => {
            Ok(Constant::List(items.iter().map(one).collect::<Result<_, _>>()?))
        }
        value if !slot.kind.list => one(value),
        value => Err(mistyped(slot, program, &shown(value))),
    }
}
