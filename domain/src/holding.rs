//! What a customer held at a service, from the operator's own records, never from the claimant's word.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::de::{self, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use smol_str::SmolStr;

use crate::id::{CustomerId, HoldingRef, ServiceId};

/// The most attributes a holding may have.
pub const MAX_ATTRIBUTES: usize = 32;
/// The most characters an attribute's name or text may have.
pub const MAX_ATTRIBUTE_LENGTH: usize = 256;

/// One value of a holding's attributes. A number is an exact decimal, never a float.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attribute {
    /// True or false.
    Bool(bool),
    /// An exact number.
    Number(Decimal),
    /// A text; the policy's declared type says how it is read.
    Text(SmolStr),
}

/// Named values of a holding or a customer, sorted by name. A copy shares them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Attributes(Arc<Vec<(SmolStr, Attribute)>>);

/// Why attributes are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AttributesError {
    /// Too many of them.
    #[error("more than {MAX_ATTRIBUTES} attributes")]
    TooMany,
    /// A name is empty, too long or not of `a-z`, `0-9`, `_`.
    #[error("attribute name {0:?} may have only a-z, 0-9 and _, and begins with a letter")]
    Name(String),
    /// A text is too long.
    #[error("attribute {0:?} is longer than {MAX_ATTRIBUTE_LENGTH} characters")]
    TooLong(String),
    /// The same name twice.
    #[error("attribute {0:?} stands twice")]
    Twice(String),
}

impl Attributes {
    /// Attributes from names and values in any order.
    pub fn new(values: impl IntoIterator<Item = (impl Into<SmolStr>, Attribute)>) -> Result<Self, AttributesError> {
        let mut attributes = Self::default();
        for (name, value) in values {
            attributes.insert(name.into(), value)?;
        }
        Ok(attributes)
    }

    fn insert(&mut self, name: SmolStr, value: Attribute) -> Result<(), AttributesError> {
        let shown = || name.chars().take(40).collect::<String>();
        let well_formed = name.len() <= MAX_ATTRIBUTE_LENGTH
            && name.bytes().next().is_some_and(|b| b.is_ascii_lowercase())
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if !well_formed {
            return Err(AttributesError::Name(shown()));
        }
        let is_too_long = |text: &str| text.len() > MAX_ATTRIBUTE_LENGTH && text.chars().count() > MAX_ATTRIBUTE_LENGTH;
        if matches!(&value, Attribute::Text(text) if is_too_long(text)) {
            return Err(AttributesError::TooLong(shown()));
        }
        match self.0.binary_search_by(|(known, _)| known.cmp(&name)) {
            Ok(_) => return Err(AttributesError::Twice(shown())),
            Err(_) if self.0.len() == MAX_ATTRIBUTES => return Err(AttributesError::TooMany),
            Err(place) => Arc::make_mut(&mut self.0).insert(place, (name, value)),
        }
        Ok(())
    }

    /// The value of a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Attribute> {
        self.0.binary_search_by(|(known, _)| known.as_str().cmp(name)).ok().map(|at| &self.0[at].1)
    }

    /// All names and values, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Attribute)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A number is written as text in JSON, so that no reader on the way turns it into a float.
impl Serialize for Attributes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in self.iter() {
            match value {
                Attribute::Bool(value) => map.serialize_entry(name, value)?,
                Attribute::Number(value) => map.serialize_entry(name, &value.to_string())?,
                Attribute::Text(value) => map.serialize_entry(name, value)?,
            }
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Attributes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AttributesVisitor;
        impl<'de> Visitor<'de> for AttributesVisitor {
            type Value = Attributes;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object of texts, whole numbers and booleans")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Attributes, A::Error> {
                let mut attributes = Attributes::default();
                while let Some((name, value)) = map.next_entry::<SmolStr, Attribute>()? {
                    attributes.insert(name, value).map_err(de::Error::custom)?;
                }
                Ok(attributes)
            }
        }
        deserializer.deserialize_map(AttributesVisitor)
    }
}

impl<'de> Deserialize<'de> for Attribute {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AttributeVisitor;
        impl Visitor<'_> for AttributeVisitor {
            type Value = Attribute;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a text, a whole number or a boolean (write a fraction as text, \"0.5\")")
            }
            fn visit_bool<E>(self, value: bool) -> Result<Attribute, E> {
                Ok(Attribute::Bool(value))
            }
            fn visit_i64<E>(self, value: i64) -> Result<Attribute, E> {
                Ok(Attribute::Number(value.into()))
            }
            fn visit_u64<E>(self, value: u64) -> Result<Attribute, E> {
                Ok(Attribute::Number(value.into()))
            }
            fn visit_str<E>(self, value: &str) -> Result<Attribute, E> {
                Ok(Attribute::Text(value.into()))
            }
        }
        deserializer.deserialize_any(AttributeVisitor)
    }
}

/// What a customer held at a service: one row of a roster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holding {
    /// Who held it.
    pub customer: CustomerId,
    /// Where.
    pub service: ServiceId,
    /// The operator's id of it, unique for the customer and service.
    pub reference: HoldingRef,
    /// What kind of thing: `subscription`, `pass`, `right`, `rental`, `membership`, `trip`, `account` …
    pub kind: SmolStr,
    /// Which product of the service; may be empty.
    pub product: SmolStr,
    /// First instant of validity; open when the records have none.
    pub valid_from: Option<DateTime<Utc>>,
    /// First instant after validity; open when the records have none.
    pub valid_until: Option<DateTime<Utc>>,
    /// Everything else the records say, typed by the policy that reads it.
    pub attributes: Attributes,
}
