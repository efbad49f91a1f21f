//! Instants in JSON and in parameters, within the years that can be kept.

use chrono::{DateTime, Utc};
use redress_domain::instant::parse;
use serde::de::{Deserialize, Deserializer, Error};

/// Reads an instant.
pub fn required<'de, D: Deserializer<'de>>(deserializer: D) -> Result<DateTime<Utc>, D::Error> {
    parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
}

/// Reads an instant or null.
pub fn option<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<DateTime<Utc>>, D::Error> {
    Option::<String>::deserialize(deserializer)?.map(|text| parse(&text).map_err(D::Error::custom)).transpose()
}
