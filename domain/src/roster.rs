//! The rows of a roster: how one line of CSV or one JSON object becomes a holding, or why it does not.

use chrono::{DateTime, Utc};
use serde::Deserialize;

use crate::holding::{Attribute, Attributes, AttributesError, Holding};
use crate::id::{CustomerId, HoldingRef, IdError, ServiceId};
use crate::instant;

/// The columns every roster has.
pub const REQUIRED: [&str; 4] = ["customer", "service", "reference", "kind"];
/// The columns a roster may have; every other column is an attribute.
pub const OPTIONAL: [&str; 3] = ["product", "valid_from", "valid_until"];
/// The most characters a kind or product may have.
pub const MAX_KIND_LENGTH: usize = 64;

/// Why a row is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RowError {
    /// A field is not what it must be.
    #[error("{0}")]
    Id(#[from] IdError),
    /// A reference is not what it must be; it is named as its column is.
    #[error("reference {:?} {}", .0.value(), .0.reason())]
    Reference(IdError),
    /// An attribute is not what it must be.
    #[error("{0}")]
    Attributes(#[from] AttributesError),
    /// A kind or product is empty or too long.
    #[error("{field} {problem}")]
    Text {
        /// Which field.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// A time is not RFC 3339 with an offset.
    #[error("{field} {value:?} is no time: write it as 2022-10-11T00:00:00+09:00")]
    Time {
        /// Which field.
        field: &'static str,
        /// What stands there.
        value: String,
    },
    /// The validity ends before it begins.
    #[error("valid_until is not after valid_from")]
    Reversed,
    /// The number of fields differs from the header's.
    #[error("the row has {found} fields, the header {expected}")]
    Fields {
        /// In this row.
        found: usize,
        /// In the header.
        expected: usize,
    },
    /// A line of NDJSON is not such an object.
    #[error("{0}")]
    Json(String),
}

/// Where each column of a CSV roster stands.
#[derive(Debug, Clone)]
pub struct Columns {
    places: [Option<usize>; 7],
    attributes: Vec<(usize, String)>,
    width: usize,
}

/// What is wrong with a header, and the field (from 0) it concerns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderError {
    /// The field, from 0.
    pub field: usize,
    /// What is wrong.
    pub message: String,
}

impl Columns {
    /// Reads a header.
    pub fn from_header<'a>(header: impl IntoIterator<Item = &'a str>) -> Result<Self, HeaderError> {
        let names: Vec<&str> = header.into_iter().map(str::trim).collect();
        let mut places = [None; 7];
        let mut attributes = Vec::new();
        for (field, name) in names.iter().enumerate() {
            if names[..field].contains(name) {
                return Err(HeaderError { field, message: format!("column {name:?} stands twice") });
            }
            match REQUIRED.iter().chain(&OPTIONAL).position(|known| known == name) {
                Some(place) => places[place] = Some(field),
                None => {
                    // An attribute whose name no policy could write is a mistake in the file, not in a row.
                    Attributes::new([((*name).to_owned(), Attribute::Bool(true))])
                        .map_err(|error| HeaderError { field, message: error.to_string() })?;
                    attributes.push((field, (*name).to_owned()));
                }
            }
        }
        if let Some(missing) = REQUIRED.iter().zip(places).find_map(|(name, place)| place.is_none().then_some(name)) {
            return Err(HeaderError {
                field: 0,
                message: format!("column {missing:?} is missing; a roster begins with {}", REQUIRED.join(",")),
            });
        }
        Ok(Self { places, attributes, width: names.len() })
    }

    /// Reads a row; an empty cell is the same as none.
    pub fn parse(&self, row: &[&str]) -> Result<Holding, RowError> {
        if row.len() != self.width {
            return Err(RowError::Fields { found: row.len(), expected: self.width });
        }
        let cell = |place: usize| self.places[place].map_or("", |field| row[field].trim());
        let attributes = self.attributes.iter().filter_map(|(field, name)| {
            let text = row[*field].trim();
            (!text.is_empty()).then(|| (name.clone(), Attribute::Text(text.into())))
        });
        holding([cell(0), cell(1), cell(2), cell(3), cell(4), cell(5), cell(6)], Attributes::new(attributes)?)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonRow {
    customer: String,
    service: String,
    reference: String,
    kind: String,
    #[serde(default)]
    product: String,
    #[serde(default)]
    valid_from: Option<String>,
    #[serde(default)]
    valid_until: Option<String>,
    #[serde(default)]
    attributes: Attributes,
}

/// Reads one line of an NDJSON roster: the columns as keys, and `attributes` as an object.
pub fn parse_json(line: &str) -> Result<Holding, RowError> {
    if !line.trim_start().starts_with('{') {
        // Serde would read a list as the members in their order.
        return Err(RowError::Json("a line is one JSON object".into()));
    }
    // The refusal says which line of the file it is; the line of the row is always the first.
    let row: JsonRow = serde_json::from_str(line)
        .map_err(|error| RowError::Json(error.to_string().replace(" at line 1 column ", " at column ")))?;
    holding(
        [
            &row.customer,
            &row.service,
            &row.reference,
            &row.kind,
            &row.product,
            row.valid_from.as_deref().unwrap_or(""),
            row.valid_until.as_deref().unwrap_or(""),
        ],
        row.attributes,
    )
}

fn holding(
    [customer, service, reference, kind, product, from, until]: [&str; 7],
    attributes: Attributes,
) -> Result<Holding, RowError> {
    let valid_from = time("valid_from", from)?;
    let valid_until = time("valid_until", until)?;
    if valid_from.zip(valid_until).is_some_and(|(from, until)| from >= until) {
        return Err(RowError::Reversed);
    }
    if kind.is_empty() {
        return Err(RowError::Text { field: "kind", problem: "is empty".into() });
    }
    for (field, text) in [("kind", kind), ("product", product)] {
        if text.chars().count() > MAX_KIND_LENGTH || text.chars().any(char::is_control) {
            let problem = format!("is longer than {MAX_KIND_LENGTH} characters or has control characters");
            return Err(RowError::Text { field, problem });
        }
    }
    Ok(Holding {
        customer: CustomerId::parse(customer)?,
        service: ServiceId::parse(service)?,
        reference: HoldingRef::parse(reference).map_err(RowError::Reference)?,
        kind: kind.into(),
        product: product.into(),
        valid_from,
        valid_until,
        attributes,
    })
}

fn time(field: &'static str, text: &str) -> Result<Option<DateTime<Utc>>, RowError> {
    if text.is_empty() {
        return Ok(None);
    }
    let at = instant::parse(text).map(Some);
    at.map_err(|_| RowError::Time { field, value: text.chars().take(40).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns() -> Columns {
        Columns::from_header(["customer", "service", "reference", "kind", "valid_from", "valid_until", "fee"]).unwrap()
    }

    #[test]
    fn a_row_becomes_a_holding() {
        let row = ["c1", "melon", "s-1", "pass", "2022-10-11T00:00:00+09:00", "", "10900"];
        let holding = columns().parse(&row).unwrap();
        assert_eq!(holding.valid_from.unwrap().to_rfc3339(), "2022-10-10T15:00:00+00:00");
        assert_eq!(holding.valid_until, None);
        assert_eq!(holding.attributes.get("fee"), Some(&Attribute::Text("10900".into())));
        let line = r#"{"customer":"c1","service":"melon","reference":"s-1","kind":"pass","attributes":{"fee":10900}}"#;
        assert_eq!(parse_json(line).unwrap().attributes.get("fee"), Some(&Attribute::Number(10900.into())));
    }

    #[test]
    fn each_refusal_says_why() {
        let refused = |row: &[&str]| columns().parse(row).unwrap_err().to_string();
        assert_eq!(refused(&["", "melon", "s", "pass", "", "", ""]), "customer \"\" is empty");
        assert_eq!(refused(&["c", "melon", "", "pass", "", "", ""]), "reference \"\" is empty");
        assert_eq!(refused(&["c", "melon", "s", "", "", "", ""]), "kind is empty");
        assert_eq!(refused(&["c", "melon", "s", "pass"]), "the row has 4 fields, the header 7");
        assert!(refused(&["c", "melon", "s", "pass", "2022-10-11", "", ""]).starts_with("valid_from \"2022-10-11\""));
        let reversed = ["c", "melon", "s", "pass", "2022-10-12T00:00:00Z", "2022-10-11T00:00:00Z", ""];
        assert_eq!(refused(&reversed), "valid_until is not after valid_from");
        assert!(parse_json("{\"customer\":1}").is_err());
        assert!(
            parse_json(r#"{"customer":"c","service":"m","reference":"r","kind":"k","attributes":{"x":0.5}}"#).is_err()
        );
    }

    #[test]
    fn a_wrong_header_is_refused_whole() {
        let refused = |header: &[&str]| Columns::from_header(header.iter().copied()).unwrap_err();
        assert_eq!(
            refused(&["customer", "service", "kind"]).message.split(';').next(),
            Some("column \"reference\" is missing")
        );
        assert_eq!(refused(&["customer", "service", "service"]).field, 2);
        assert!(refused(&["customer", "service", "reference", "kind", "Fee"]).message.contains("\"Fee\""));
    }
}
