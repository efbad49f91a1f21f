//! An outage: what failed, when, and how badly, service by service.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::id::{IncidentId, ServiceId};
use crate::window::Window;

/// How badly a service was hit during an impact window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// It worked, but slowly or in part.
    Degraded,
    /// It did not work.
    Unavailable,
}

/// One impact window of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Impact {
    /// When.
    pub window: Window,
    /// How badly.
    pub severity: Severity,
}

/// A service within an incident.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AffectedService {
    /// The service's name.
    pub id: ServiceId,
    /// The organisation that runs it; affiliates differ.
    pub organisation: String,
    /// Its name as customers know it, Korean and English.
    pub title: Localised,
    /// Its impact windows in order, at least one.
    pub impacts: Vec<Impact>,
}

/// A text in the languages of the pages and notices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Localised {
    /// Korean.
    pub ko: String,
    /// English.
    pub en: String,
}

/// An outage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incident {
    /// Its name.
    pub id: IncidentId,
    /// Its title.
    pub title: Localised,
    /// What caused it.
    pub cause: Localised,
    /// The services it hit.
    pub services: Vec<AffectedService>,
}

impl AffectedService {
    /// From the first instant of the first impact to the last of the last.
    #[must_use]
    pub fn hull(&self) -> Option<Window> {
        let from = self.impacts.iter().map(|impact| impact.window.from()).min()?;
        let until = self.impacts.iter().map(|impact| impact.window.until()).max()?;
        Window::new(from, until).ok()
    }
}

impl Incident {
    /// When the first service failed.
    #[must_use]
    pub fn started(&self) -> Option<DateTime<Utc>> {
        self.services.iter().filter_map(AffectedService::hull).map(|hull| hull.from()).min()
    }

    /// A service of this incident.
    #[must_use]
    pub fn service(&self, id: &ServiceId) -> Option<&AffectedService> {
        self.services.iter().find(|service| service.id == *id)
    }
}
