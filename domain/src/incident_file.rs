//! Reads an incident from its TOML file; an error names line and column, and nothing is half read.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use toml::Spanned;
use toml::de::DeTable;

use crate::id::{IncidentId, ServiceId};
use crate::incident::{AffectedService, Impact, Incident, Localised, Severity};
use crate::instant;
use crate::source::{NUL, places_of_nul, position};
use crate::window::Window;

/// The largest file that is read.
pub const MAX_SOURCE_LENGTH: usize = 1 << 20;
/// The most services an incident may have.
pub const MAX_SERVICES: usize = 500;
/// The most impact windows a service may have.
pub const MAX_IMPACTS: usize = 200;

/// What is wrong with an incident file, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}:{column}: {message}")]
pub struct IncidentFileError {
    file: String,
    line: usize,
    column: usize,
    message: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawIncident {
    incident: Spanned<String>,
    title: Localised,
    cause: Localised,
    #[serde(default)]
    service: Vec<Spanned<RawService>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawService {
    service: Spanned<String>,
    organisation: String,
    title: Localised,
    #[serde(default)]
    impact: Vec<Spanned<RawImpact>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawImpact {
    from: Spanned<toml::value::Datetime>,
    until: Spanned<toml::value::Datetime>,
    severity: Severity,
}

/// Parses an incident file; `file` is the name that errors begin with.
pub fn parse(source: &str, file: &str) -> Result<Incident, IncidentFileError> {
    let fail = |offset: usize, message: String| {
        let (line, column) = position(source, offset);
        IncidentFileError { file: file.to_owned(), line, column, message }
    };
    if source.len() > MAX_SOURCE_LENGTH {
        return Err(fail(0, format!("the file is longer than {MAX_SOURCE_LENGTH} bytes")));
    }
    let raw: RawIncident = toml::from_str(source)
        .map_err(|error| fail(error.span().map_or(0, |span| span.start), error.message().to_owned()))?;
    let document = DeTable::parse(source).map_err(|error| fail(0, error.message().to_owned()))?;
    if let Some(place) = places_of_nul(document.get_ref()).first() {
        return Err(fail(place.start, NUL.to_owned()));
    }
    let id = IncidentId::parse(raw.incident.as_ref()).map_err(|e| fail(raw.incident.span().start, e.to_string()))?;
    if raw.service.is_empty() {
        return Err(fail(source.len(), "an incident names at least one [[service]]".into()));
    }
    if raw.service.len() > MAX_SERVICES {
        return Err(fail(raw.service[MAX_SERVICES].span().start, format!("more than {MAX_SERVICES} services")));
    }
    let mut seen = BTreeSet::new();
    let mut services = Vec::with_capacity(raw.service.len());
    for spanned in raw.service {
        let start = spanned.span().start;
        let service = spanned.into_inner();
        let named = service.service.span().start;
        let service_id = ServiceId::parse(service.service.as_ref()).map_err(|e| fail(named, e.to_string()))?;
        if !seen.insert(service_id.clone()) {
            return Err(fail(named, format!("service {service_id} stands twice")));
        }
        if service.impact.is_empty() {
            return Err(fail(start, format!("service {service_id} has no [[service.impact]]")));
        }
        if service.impact.len() > MAX_IMPACTS {
            return Err(fail(start, format!("service {service_id} has more than {MAX_IMPACTS} impacts")));
        }
        let mut impacts: Vec<Impact> = Vec::with_capacity(service.impact.len());
        for spanned in service.impact {
            let start = spanned.span().start;
            let raw = spanned.into_inner();
            let from = time(raw.from.as_ref()).map_err(|e| fail(raw.from.span().start, e))?;
            let until = time(raw.until.as_ref()).map_err(|e| fail(raw.until.span().start, e))?;
            let window = Window::new(from, until).map_err(|e| fail(start, e.to_string()))?;
            if impacts.last().is_some_and(|last| last.window.until() > window.from()) {
                return Err(fail(start, format!("the impacts of service {service_id} overlap or are out of order")));
            }
            impacts.push(Impact { window, severity: raw.severity });
        }
        services.push(AffectedService {
            id: service_id,
            organisation: service.organisation,
            title: service.title,
            impacts,
        });
    }
    Ok(Incident { id, title: raw.title, cause: raw.cause, services })
}

fn time(raw: &toml::value::Datetime) -> Result<DateTime<Utc>, String> {
    if raw.offset.is_none() {
        return Err(format!("{raw} has no offset: write it as 2022-10-15T15:30:00+09:00"));
    }
    instant::parse(&raw.to_string()).map_err(|error| format!("{raw} {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"incident = "fire-1"
title = { ko = "화재", en = "Fire" }
cause = { ko = "화재", en = "Fire" }
[[service]]
service = "melon"
organisation = "M"
title = { ko = "멜론", en = "Melon" }
[[service.impact]]
from = 2022-10-15T15:30:00+09:00
until = 2022-10-16T01:30:00+09:00
severity = "unavailable"
"#;

    fn message(source: &str) -> String {
        parse(source, "f.toml").unwrap_err().to_string()
    }

    #[test]
    fn reads_windows_with_their_offset() {
        let incident = parse(GOOD, "f.toml").unwrap();
        assert_eq!(incident.started().unwrap().to_rfc3339(), "2022-10-15T06:30:00+00:00");
    }

    #[test]
    fn every_error_names_its_place() {
        for (from, to, expected) in [
            ("fire-1", "Fire 1", "f.toml:1:12: incident \"Fire 1\" may have only a-z, 0-9 and inner hyphens"),
            ("+09:00\nuntil", "\nuntil", "f.toml:9:8: 2022-10-15T15:30:00 has no offset"),
            ("\"unavailable\"", "\"gone\"", "f.toml:11:12: unknown variant `gone`"),
            ("2022-10-16T01", "2022-10-15T01", "f.toml:8:1: a window must end after it begins"),
            ("organisation", "organization", "f.toml:6:1: unknown field `organization`"),
            ("= \"M\"", "= ", "f.toml:6:16: "),
            ("en = \"Melon\"", "en = \"Mel\\u0000on\"", "f.toml:7:27: a text has the character U+0000"),
        ] {
            let found = message(&GOOD.replacen(from, to, 1));
            assert!(found.starts_with(expected), "{found}\nis not\n{expected}");
        }
        assert!(message("").starts_with("f.toml:1:1: missing field"));
        let twice = format!("{GOOD}{}", &GOOD[GOOD.find("[[service]]").unwrap()..]);
        assert_eq!(message(&twice), "f.toml:13:11: service melon stands twice");
        let overlapping = format!("{GOOD}{}", &GOOD[GOOD.find("[[service.impact]]").unwrap()..]);
        assert!(message(&overlapping).starts_with("f.toml:12:1: the impacts of service melon overlap"));
    }
}
