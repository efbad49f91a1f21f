//! The life of a policy on file: published by one person, approved by another, and then the claims that waited are assessed.

use std::path::Path;

use chrono::SecondsFormat;
use redress_domain::claim::ClaimMove;
use redress_domain::id::{IncidentId, PolicyId, ServiceId};
use redress_domain::policy::{CapScope, Policy};
use redress_store::incidents::StoredIncident;
use redress_store::policies::{self, NewVersion, PublishedVersion};
use redress_store::{Connection, StoreError, audit, claims, incidents, ledger, programmes};
use serde::Serialize;

use super::claims::reassess;
use super::staff;
use crate::app::{Actor, App};
use crate::error::{AppError, AppResult};
use crate::rights::Right;

/// How many waiting claims are assessed in one transaction.
const BATCH: i64 = 200;

/// What publishing or approving did.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Done {
    /// The policy.
    #[schema(value_type = String)]
    pub policy: PolicyId,
    /// The content hash of the version.
    pub version: String,
    /// How many claims waited for it and were assessed.
    pub assessed: u64,
}

/// Compiles a file; all its faults are the error.
pub(super) fn compile_file(file: &Path) -> AppResult<Policy> {
    let source = std::fs::read_to_string(file).map_err(AppError::io(format!("reading {}", file.display())))?;
    compile(&source, &file.display().to_string())
}

/// Compiles the content of a file; `name` is what errors begin with.
pub fn compile(source: &str, name: &str) -> AppResult<Policy> {
    let refused = |faults: Vec<String>| AppError::Invalid(format!("{name} cannot be used:\n{}", faults.join("\n")));
    let policy =
        Policy::compile(source, name).map_err(|faults| refused(faults.iter().map(ToString::to_string).collect()))?;
    // Unfair terms are no fault of the language, but nobody publishes them without a waiver that says why.
    let unfair: Vec<String> = policy.notes().iter().filter(|note| note.refuses()).map(ToString::to_string).collect();
    if unfair.is_empty() { Ok(policy) } else { Err(refused(unfair)) }
}

/// Where a policy belongs.
fn place(connection: &mut Connection, policy: &Policy, name: &str) -> AppResult<(StoredIncident, ServiceId)> {
    let missing =
        |what: &str| AppError::Invalid(format!("{name}: the policy names no {what}, so it cannot be published"));
    let incident: &IncidentId = policy.incident().ok_or_else(|| missing("incident"))?;
    let service: &ServiceId = policy.service().ok_or_else(|| missing("service"))?;
    Ok((incidents::find(connection, incident)?, service.clone()))
}

/// Publishes a version; it waits for a second person.
pub fn publish(app: &App, file: &Path, actor: &Actor) -> AppResult<Done> {
    publish_policy(app, &compile_file(file)?, &file.display().to_string(), actor)
}

/// The same of what is compiled already; `name` is what errors begin with.
pub fn publish_policy(app: &App, policy: &Policy, name: &str, actor: &Actor) -> AppResult<Done> {
    app.store.transaction(|connection| {
        let (found, service) = place(connection, policy, name)?;
        staff::require(connection, &actor.name, Right::PublishPolicies, Some(&service))?;
        match policies::find_published(connection, policy.version()) {
            Ok(before) => return Err(said_before("this version is published already", &before)),
            Err(StoreError::NotFound(_)) => {}
            Err(error) => return Err(error.into()),
        }
        let entry = actor.entry(
            "policy.publish",
            format!("policy {}", policy.id()),
            serde_json::json!({ "version": policy.version() }),
        );
        // Its assets are kept from now on with the scale it gives them; a later policy may not differ.
        for asset in policy.assets() {
            ledger::ensure_asset(connection, asset).map_err(|error| match error.constraint() {
                Some(scale) => AppError::Refused(format!("{name}: {scale}")),
                None => error.into(),
            })?;
        }
        policies::publish(
            connection,
            &NewVersion {
                incident_key: found.key,
                service_key: found.service_key(&service)?,
                name: policy.id().as_str(),
                basis: policy.basis().as_str(),
                hash: policy.version(),
                source: policy.source(),
                by: &actor.name,
                at: entry.at,
            },
        )
        .map_err(|error| match error.constraint() {
            Some("policy_version_hash_unique") => AppError::Conflict(error.to_string()),
            _ => error.into(),
        })?;
        audit::append(connection, &[entry.after(&policy.version())])?;
        Ok(Done { policy: policy.id().clone(), version: policy.version().to_owned(), assessed: 0 })
    })
}

/// The content hash of the version in force.
fn version_in_force(connection: &mut Connection, incident_key: i32, name: &PolicyId) -> AppResult<Option<String>> {
    let in_force = policies::in_force(connection, incident_key)?;
    Ok(in_force.into_iter().find(|version| version.name == name.as_str()).map(|version| version.hash))
}

/// Approves a published version, which is in force from then on, and assesses the claims that waited for it.
pub fn approve(app: &App, file: &Path, actor: &Actor) -> AppResult<Done> {
    let policy = compile_file(file)?;
    let (found, service) = app.store.with(|connection| place(connection, &policy, &file.display().to_string()))?;
    approve_at(app, &found, &service, policy.id(), policy.version(), actor)
}

/// The same of the version of a content hash.
pub fn approve_version(app: &App, version: &str, actor: &Actor) -> AppResult<Done> {
    let published = app.store.with(|connection| policies::find_published(connection, version))?;
    let incident = IncidentId::parse(&published.incident).map_err(StoreError::corrupt)?;
    let service = ServiceId::parse(&published.service).map_err(StoreError::corrupt)?;
    let policy = PolicyId::parse(&published.policy).map_err(StoreError::corrupt)?;
    let found = app.store.with(|connection| incidents::find(connection, &incident))?;
    approve_at(app, &found, &service, &policy, version, actor)
}

fn approve_at(
    app: &App,
    found: &StoredIncident,
    service: &ServiceId,
    policy: &PolicyId,
    version: &str,
    actor: &Actor,
) -> AppResult<Done> {
    app.store.transaction(|connection| -> AppResult<()> {
        policies::keep_chunks_out(connection, found.key)?;
        staff::require(connection, &actor.name, Right::ApprovePolicies, Some(service))?;
        let detail = serde_json::json!({ "version": version });
        let entry = actor.entry("policy.approve", format!("policy {policy}"), detail);
        let before = version_in_force(connection, found.key, policy)?;
        let approved = policies::approve(connection, found.key, policy.as_str(), version, &actor.name, entry.at);
        let approved = match approved {
            Err(error) if error.constraint() == Some("policy_version_approved_already") => {
                let before = policies::find_published(connection, version)?;
                return Err(said_before(&format!("this version of {policy} was approved before"), &before));
            }
            Err(error) if error.constraint() == Some("policy_version_four_eyes") => {
                return Err(AppError::Conflict(error.to_string()));
            }
            approved => approved?,
        };
        count_programmes(app, connection, approved)?;
        Ok(audit::append(connection, &[entry.before(&before).after(&version)])?)
    })?;
    let assessed = assess_waiting(app, found, service, actor)?;
    Ok(Done { policy: policy.clone(), version: version.to_owned(), assessed })
}

/// What became of a version that was published or approved before, and how it comes back.
fn said_before(why: &str, before: &PublishedVersion) -> AppError {
    let stands = match (before.approved_at, before.retired_at) {
        (_, Some(at)) => format!(
            "and is out of force since {}; a version comes into force once: change the file, if only by a comment, then \
             publish and approve it as a new version",
            at.to_rfc3339_opts(SecondsFormat::Secs, true)
        ),
        (Some(_), None) => "and is in force".to_owned(),
        (None, None) => "and waits for a second person: redress policy approve".to_owned(),
    };
    AppError::Conflict(format!("{why} {stands}"))
}

/// Counts what was credited before towards the caps over everybody of a version that comes into force.
fn count_programmes(app: &App, connection: &mut Connection, version_key: i32) -> AppResult<()> {
    let known = ledger::assets(connection)?;
    for version in policies::by_keys(connection, &[version_key])? {
        let active = app.policies.compile(&version)?;
        let caps = active.policy.caps().iter().filter(|cap| cap.scope() == CapScope::Programme);
        let codes: Vec<&str> = caps
            .filter_map(|cap| active.policy.assets().get(cap.asset_place()))
            .map(|asset| asset.code().as_str())
            .collect();
        let capped = known.iter().filter(|asset| codes.contains(&asset.code.as_str())).map(|asset| asset.key);
        programmes::count_anew(connection, version.policy_key, &capped.collect::<Vec<_>>())?;
    }
    Ok(())
}

/// Takes the version in force out of force: nobody is assessed by it any more; what it granted stands.
pub fn retire(app: &App, incident: &IncidentId, name: &PolicyId, actor: &Actor) -> AppResult<Done> {
    app.store.transaction(|connection| {
        let found = incidents::find(connection, incident)?;
        policies::keep_chunks_out(connection, found.key)?;
        let by = staff::require(connection, &actor.name, Right::ApprovePolicies, None)?;
        let in_force = policies::in_force(connection, found.key)?;
        if let Some(version) = in_force.iter().find(|version| version.name == name.as_str()) {
            let service = ServiceId::parse(&found.service_name(version.service_key)).map_err(StoreError::corrupt)?;
            by.require(Right::ApprovePolicies, Some(&service))?;
        }
        let at = chrono::Utc::now();
        let version = policies::retire(connection, found.key, name.as_str(), at)?;
        let detail = serde_json::json!({ "version": version });
        let entry = actor.entry("policy.retire", format!("policy {name}"), detail);
        audit::append(connection, &[entry.before(&version).after(&serde_json::Value::Null)])?;
        Ok(Done { policy: name.clone(), version, assessed: 0 })
    })
}

/// Assesses every claim that waits although a policy of its service is in force: one that was filed at the very moment
/// of the approval would else wait for ever.
pub fn assess_overlooked(app: &App, actor: &Actor) -> AppResult<u64> {
    let overlooked = app.store.with(claims::overlooked)?;
    let mut assessed = 0;
    for (incident, service) in overlooked {
        let incident = IncidentId::parse(&incident).map_err(StoreError::corrupt)?;
        let service = ServiceId::parse(&service).map_err(StoreError::corrupt)?;
        let found = app.store.with(|connection| incidents::find(connection, &incident))?;
        assessed += assess_waiting(app, &found, &service, actor)?;
    }
    Ok(assessed)
}

/// Assesses the claims of a service that waited for a policy; an interruption leaves the rest waiting for the next call.
fn assess_waiting(app: &App, incident: &StoredIncident, service: &ServiceId, actor: &Actor) -> AppResult<u64> {
    let service_key = incident.service_key(service)?;
    let mut assessed = 0;
    let mut after = None;
    loop {
        let batch = app.store.transaction(|connection| -> AppResult<Vec<uuid::Uuid>> {
            let waiting = claims::waiting(connection, incident.key, service_key, after, BATCH)?;
            for claim in &waiting {
                if reassess(app, connection, incident, service, claim, actor)? {
                    assessed += 1;
                }
            }
            Ok(waiting.into_iter().map(|claim| claim.id).collect())
        })?;
        match batch.last() {
            Some(last) => after = Some(*last),
            None => return Ok(assessed),
        }
    }
}

/// The move that an outcome makes of a claim that waited.
pub(super) fn move_of(outcome: crate::assess::ClaimOutcome) -> Option<ClaimMove> {
    use crate::assess::ClaimOutcome;
    match outcome {
        ClaimOutcome::Award => Some(ClaimMove::Approve),
        ClaimOutcome::Decline => Some(ClaimMove::Decline),
        ClaimOutcome::Review => Some(ClaimMove::Review),
        ClaimOutcome::Pending => None,
    }
}

impl From<redress_domain::claim::IllegalMove> for AppError {
    fn from(error: redress_domain::claim::IllegalMove) -> Self {
        StoreError::corrupt(error).into()
    }
}
