//! Loading an incident from its file, and correcting when a service was hit.

use std::path::Path;

use chrono::{DateTime, Utc};
use redress_domain::Window;
use redress_domain::id::{IncidentId, ServiceId};
use redress_domain::incident::{Impact, Severity};
use redress_domain::incident_file::{self, MAX_IMPACTS};
use redress_store::incidents;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use utoipa::ToSchema;
use validator::Validate;

use crate::app::{Actor, App};
use crate::error::{AppError, AppResult};
use crate::shapes::{HowBadly, Slug};

/// What loading did.
#[derive(Debug, Serialize, ToSchema)]
pub struct Loaded {
    /// The incident.
    pub incident: String,
    /// How many services it hit.
    pub services: usize,
    /// False when the same file was loaded before.
    pub changed: bool,
}

/// Loads an incident; the same file again changes nothing, a file with a mistake changes nothing.
pub fn load(app: &App, file: &Path, actor: &Actor) -> AppResult<Loaded> {
    let source = std::fs::read_to_string(file).map_err(AppError::io(format!("reading {}", file.display())))?;
    load_source(app, &source, &file.display().to_string(), actor)
}

/// The same from the file's content; `name` is what errors begin with.
pub fn load_source(app: &App, source: &str, name: &str, actor: &Actor) -> AppResult<Loaded> {
    let incident = incident_file::parse(source, name).map_err(|error| AppError::Invalid(error.to_string()))?;
    let hash = hex::encode(Sha256::digest(source));
    let changed = app.store.transaction(|connection| -> AppResult<bool> {
        incidents::hold(connection, &incident.id)?;
        let entry = actor.entry(
            "incident.load",
            format!("incident {}", incident.id),
            serde_json::json!({ "hash": hash, "services": incident.services.len() }),
        );
        let before = incidents::source_hash(connection, &incident.id)?;
        let changed = incidents::save(connection, &incident, &hash, entry.at)?;
        if changed {
            redress_store::audit::append(connection, &[entry.before(&before).after(&hash)])?;
        }
        Ok(changed)
    })?;
    Ok(Loaded { incident: incident.id.to_string(), services: incident.services.len(), changed })
}

/// The most windows of a service.
const MAX_WINDOWS: u64 = MAX_IMPACTS as u64;

/// When a service was hit, as it is known now.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewWindows {
    /// A service of the incident.
    #[schema(value_type = Slug, example = "melon")]
    pub service: ServiceId,
    /// All its windows, in order and apart.
    #[validate(length(min = 1, max = MAX_WINDOWS, message = "must be 1 to 200"))]
    #[schema(min_items = 1, max_items = 200)]
    pub windows: Vec<NewWindow>,
}

/// A window.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewWindow {
    /// The first instant.
    #[serde(deserialize_with = "crate::instant::required")]
    pub from: DateTime<Utc>,
    /// The first instant after it.
    #[serde(deserialize_with = "crate::instant::required")]
    pub until: DateTime<Utc>,
    /// How badly: `degraded` or `unavailable`.
    #[schema(value_type = HowBadly, example = "unavailable")]
    pub severity: Severity,
}

/// Replaces the windows of a service; the same again changes nothing.
pub fn set_windows(app: &App, id: &IncidentId, new: &NewWindows, actor: &Actor) -> AppResult<Loaded> {
    let impacts = impacts(&new.windows)?;
    app.store.transaction(|connection| {
        incidents::hold(connection, id)?;
        let mut incident = incidents::find(connection, id)?.incident;
        let services = incident.services.len();
        let unknown = || AppError::Field("/service".into(), format!("{} is not part of incident {id}", new.service));
        let service = incident.services.iter_mut().find(|service| service.id == new.service).ok_or_else(unknown)?;
        if service.impacts == impacts {
            return Ok(Loaded { incident: id.to_string(), services, changed: false });
        }
        service.impacts = impacts;
        let before = incidents::source_hash(connection, id)?;
        // No file says this, so what was there and what replaces it make the hash.
        let content = serde_json::json!({ "before": before, "service": new.service, "impacts": service.impacts });
        let hash = hex::encode(Sha256::digest(content.to_string()));
        let detail = serde_json::json!({ "service": new.service, "windows": service.impacts });
        let entry = actor.entry("incident.windows", format!("incident {id}"), detail);
        incidents::save(connection, &incident, &hash, entry.at)?;
        redress_store::audit::append(connection, &[entry.before(&before).after(&hash)])?;
        Ok(Loaded { incident: id.to_string(), services, changed: true })
    })
}

fn impacts(windows: &[NewWindow]) -> AppResult<Vec<Impact>> {
    let mut impacts: Vec<Impact> = Vec::with_capacity(windows.len());
    for (index, new) in windows.iter().enumerate() {
        let wrong = |why: String| AppError::Field(format!("/windows/{index}"), why);
        let window = Window::new(new.from, new.until).map_err(|error| wrong(error.to_string()))?;
        if impacts.last().is_some_and(|last| last.window.until() > window.from()) {
            return Err(wrong("overlaps the one before, or is out of order".into()));
        }
        impacts.push(Impact { window, severity: new.severity });
    }
    Ok(impacts)
}
