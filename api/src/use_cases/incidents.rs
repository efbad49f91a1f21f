//! Loading an incident from its file.

use std::path::Path;

use redress_domain::incident_file;
use redress_store::incidents;
use sha2::{Digest, Sha256};

use crate::app::{Actor, App};
use crate::error::{AppError, AppResult};

/// What loading did.
#[derive(Debug, serde::Serialize, utoipa::ToSchema)]
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
