//! Published versions of policies. The compiled form is the caller's: here a version is its source and who stands for it.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use diesel::connection::SimpleConnection;
use diesel::prelude::*;

use crate::connection::Connection;
use crate::error::{StoreError, StoreResult};
use crate::schema::{incident, policy, policy_version, service};

/// A version that is approved and not retired.
#[derive(Debug, Clone, Queryable)]
pub struct VersionInForce {
    /// The version's key.
    pub key: i32,
    /// The policy's key.
    pub policy_key: i32,
    /// The policy's name.
    pub name: String,
    /// The service's key.
    pub service_key: i32,
    /// The content hash.
    pub hash: String,
    /// The source, byte for byte.
    pub source: String,
}

/// What is published.
#[derive(Debug, Clone)]
pub struct NewVersion<'a> {
    /// The incident's key.
    pub incident_key: i32,
    /// The service's key.
    pub service_key: i32,
    /// The policy's name.
    pub name: &'a str,
    /// Its basis.
    pub basis: &'a str,
    /// The content hash.
    pub hash: &'a str,
    /// The source, byte for byte.
    pub source: &'a str,
    /// Who publishes it.
    pub by: &'a str,
    /// When.
    pub at: DateTime<Utc>,
}

/// Publishes a version; it waits for a second person's approval.
pub fn publish(connection: &mut Connection, new: &NewVersion<'_>) -> StoreResult<i32> {
    let known: Option<(i32, i32, String)> = policy::table
        .filter(policy::incident_id.eq(new.incident_key).and(policy::name.eq(new.name)))
        .select((policy::id, policy::service_id, policy::basis))
        .first(connection)
        .optional()?;
    let policy_key = match known {
        Some((key, service_key, basis)) => {
            if service_key != new.service_key {
                return Err(StoreError::Refused("policy_service_fixed".into()));
            }
            if basis != new.basis {
                diesel::update(policy::table.filter(policy::id.eq(key)))
                    .set(policy::basis.eq(new.basis))
                    .execute(connection)?;
            }
            key
        }
        None => diesel::insert_into(policy::table)
            .values((
                policy::incident_id.eq(new.incident_key),
                policy::name.eq(new.name),
                policy::service_id.eq(new.service_key),
                policy::basis.eq(new.basis),
            ))
            .returning(policy::id)
            .get_result(connection)?,
    };
    Ok(diesel::insert_into(policy_version::table)
        .values((
            policy_version::policy_id.eq(policy_key),
            policy_version::hash.eq(new.hash),
            policy_version::source.eq(new.source),
            policy_version::published_by.eq(new.by),
            policy_version::published_at.eq(new.at),
        ))
        .returning(policy_version::id)
        .get_result(connection)?)
}

/// The first key of the advisory locks of incidents ("vers" in ASCII): a chunk of a run shares its incident's, and whoever
/// brings a version into force or takes one out of it has it alone.
const VERSIONS_LOCK: i32 = 0x7665_7273;

/// The keys of the versions in force for an incident, in their order. They stay in force until the transaction ends.
pub fn hold_in_force(connection: &mut Connection, incident_key: i32) -> StoreResult<Vec<i32>> {
    connection.batch_execute(&format!("SELECT pg_advisory_xact_lock_shared({VERSIONS_LOCK}, {incident_key})"))?;
    Ok(policy_version::table
        .inner_join(policy::table.on(policy::id.eq(policy_version::policy_id)))
        .filter(policy::incident_id.eq(incident_key))
        .filter(policy_version::approved_at.is_not_null().and(policy_version::retired_at.is_null()))
        .order(policy_version::id)
        .select(policy_version::id)
        .load(connection)?)
}

/// Waits for the chunks under way, and lets none begin before the transaction ends: the first thing in a transaction that brings
/// a version into force or takes one out of it, since whatever it read before may have changed meanwhile. It gives up after
/// half a minute: all other chunks wait behind it.
pub fn keep_chunks_out(connection: &mut Connection, incident_key: i32) -> StoreResult<()> {
    let locked = connection.batch_execute(&format!(
        "SET LOCAL lock_timeout = '30s'; SELECT pg_advisory_xact_lock({VERSIONS_LOCK}, {incident_key});
         SET LOCAL lock_timeout TO DEFAULT"
    ));
    locked.map_err(|error| match StoreError::from(error) {
        StoreError::Contention(_) => StoreError::Contention("a chunk of a run does not end; try again".into()),
        other => other,
    })
}

/// Approves a published version and retires the one before it, with chunks kept out ([`keep_chunks_out`]). The database refuses
/// the publisher's own approval.
pub fn approve(
    connection: &mut Connection,
    incident_key: i32,
    name: &str,
    hash: &str,
    by: &str,
    at: DateTime<Utc>,
) -> StoreResult<i32> {
    let (policy_key, version_key, approved): (i32, i32, Option<DateTime<Utc>>) = policy_version::table
        .inner_join(policy::table.on(policy::id.eq(policy_version::policy_id)))
        .filter(policy::incident_id.eq(incident_key).and(policy::name.eq(name)).and(policy_version::hash.eq(hash)))
        .select((policy::id, policy_version::id, policy_version::approved_at))
        .first(connection)
        .optional()?
        .ok_or_else(|| StoreError::NotFound(format!("published version {} of policy {name}", short(hash))))?;
    if approved.is_some() {
        return Err(StoreError::Refused("policy_version_approved_already".into()));
    }
    diesel::update(
        policy_version::table.filter(
            policy_version::policy_id
                .eq(policy_key)
                .and(policy_version::approved_at.is_not_null())
                .and(policy_version::retired_at.is_null()),
        ),
    )
    .set(policy_version::retired_at.eq(at))
    .execute(connection)?;
    diesel::update(policy_version::table.filter(policy_version::id.eq(version_key)))
        .set((policy_version::approved_by.eq(by), policy_version::approved_at.eq(at)))
        .execute(connection)?;
    Ok(version_key)
}

/// Retires the version in force, with chunks kept out ([`keep_chunks_out`]), and returns its content hash.
pub fn retire(connection: &mut Connection, incident_key: i32, name: &str, at: DateTime<Utc>) -> StoreResult<String> {
    let policy_key: Option<i32> = policy::table
        .filter(policy::incident_id.eq(incident_key).and(policy::name.eq(name)))
        .select(policy::id)
        .first(connection)
        .optional()?;
    let in_force = policy_version::table
        .filter(policy_version::policy_id.eq(policy_key.unwrap_or(0)))
        .filter(policy_version::approved_at.is_not_null().and(policy_version::retired_at.is_null()));
    diesel::update(in_force)
        .set(policy_version::retired_at.eq(at))
        .returning(policy_version::hash)
        .get_result(connection)
        .optional()?
        .ok_or_else(|| StoreError::NotFound(format!("version of policy {name} in force")))
}

/// The first characters of a content hash, enough to tell versions apart on a screen.
#[must_use]
pub fn short(hash: &str) -> &str {
    hash.get(..12).unwrap_or(hash)
}

/// The columns of a [`VersionInForce`].
const VERSION: (
    policy_version::id,
    policy::id,
    policy::name,
    policy::service_id,
    policy_version::hash,
    policy_version::source,
) = (policy_version::id, policy::id, policy::name, policy::service_id, policy_version::hash, policy_version::source);

/// The versions in force for an incident, by name.
pub fn in_force(connection: &mut Connection, incident_key: i32) -> StoreResult<Vec<VersionInForce>> {
    Ok(policy_version::table
        .inner_join(policy::table.on(policy::id.eq(policy_version::policy_id)))
        .filter(policy::incident_id.eq(incident_key))
        .filter(policy_version::approved_at.is_not_null().and(policy_version::retired_at.is_null()))
        .order(policy::name)
        .select(VERSION)
        .load(connection)?)
}

/// The last version of each policy of an incident that was in force and has none in force any more, by name: what it granted
/// stands.
pub fn retired(connection: &mut Connection, incident_key: i32) -> StoreResult<Vec<VersionInForce>> {
    let in_force = diesel::alias!(policy_version as current);
    let current = in_force
        .filter(in_force.field(policy_version::policy_id).eq(policy::id))
        .filter(in_force.field(policy_version::approved_at).is_not_null())
        .filter(in_force.field(policy_version::retired_at).is_null());
    Ok(policy_version::table
        .inner_join(policy::table.on(policy::id.eq(policy_version::policy_id)))
        .filter(policy::incident_id.eq(incident_key).and(policy_version::approved_at.is_not_null()))
        .filter(diesel::dsl::not(diesel::dsl::exists(current)))
        .distinct_on(policy::name)
        .order((policy::name, policy_version::approved_at.desc(), policy_version::id.desc()))
        .select(VERSION)
        .load(connection)?)
}

/// The versions of a service's policies that are in force, or may come into force yet.
pub fn standing(connection: &mut Connection, incident_key: i32, service_key: i32) -> StoreResult<Vec<VersionInForce>> {
    Ok(policy_version::table
        .inner_join(policy::table.on(policy::id.eq(policy_version::policy_id)))
        .filter(policy::incident_id.eq(incident_key).and(policy::service_id.eq(service_key)))
        .filter(policy_version::retired_at.is_null())
        .order(policy_version::id)
        .select(VERSION)
        .load(connection)?)
}

/// These versions, in force or not, by key: what was credited under a version is valued by that version.
pub fn by_keys(connection: &mut Connection, keys: &[i32]) -> StoreResult<Vec<VersionInForce>> {
    Ok(policy_version::table
        .inner_join(policy::table.on(policy::id.eq(policy_version::policy_id)))
        .filter(policy_version::id.eq_any(keys))
        .order(policy_version::id)
        .select(VERSION)
        .load(connection)?)
}

/// Every version ever published, with the names that explain what a transfer refers to.
#[derive(Debug, Clone, Queryable)]
pub struct VersionName {
    /// The version's key.
    pub key: i32,
    /// The policy's name.
    pub policy: String,
    /// The incident's name.
    pub incident: String,
    /// The service's name.
    pub service: String,
    /// The content hash.
    pub hash: String,
}

/// The names of all versions.
pub fn version_names(connection: &mut Connection) -> StoreResult<Vec<VersionName>> {
    Ok(policy_version::table
        .inner_join(policy::table.on(policy::id.eq(policy_version::policy_id)))
        .inner_join(incident::table.on(incident::id.eq(policy::incident_id)))
        .inner_join(service::table.on(service::id.eq(policy::service_id)))
        .order(policy_version::id)
        .select((policy_version::id, policy::name, incident::name, service::name, policy_version::hash))
        .load(connection)?)
}

/// When the first policy of each service came into force, by the service's key.
pub fn first_in_force(connection: &mut Connection, incident_key: i32) -> StoreResult<HashMap<i32, DateTime<Utc>>> {
    let found: Vec<(i32, Option<DateTime<Utc>>)> = policy::table
        .inner_join(policy_version::table.on(policy_version::policy_id.eq(policy::id)))
        .filter(policy::incident_id.eq(incident_key))
        .group_by(policy::service_id)
        .select((policy::service_id, diesel::dsl::min(policy_version::approved_at)))
        .load(connection)?;
    Ok(found.into_iter().filter_map(|(service, at)| Some((service, at?))).collect())
}

/// A version that was published, whatever became of it.
#[derive(Debug, Clone, Queryable)]
pub struct PublishedVersion {
    /// The content hash.
    pub hash: String,
    /// The policy's name.
    pub policy: String,
    /// The incident's name.
    pub incident: String,
    /// The service's name.
    pub service: String,
    /// The policy's basis.
    pub basis: String,
    /// Who published it.
    pub published_by: String,
    /// When.
    pub published_at: DateTime<Utc>,
    /// Who approved it.
    pub approved_by: Option<String>,
    /// When.
    pub approved_at: Option<DateTime<Utc>>,
    /// Until when it was in force.
    pub retired_at: Option<DateTime<Utc>>,
}

/// The newest published versions, of one incident or of all.
pub fn published(
    connection: &mut Connection,
    incident_name: Option<&str>,
    limit: i64,
) -> StoreResult<Vec<PublishedVersion>> {
    let mut query = all_published().order(policy_version::id.desc()).limit(limit).into_boxed();
    if let Some(name) = incident_name {
        query = query.filter(incident::name.eq(name.to_owned()));
    }
    Ok(query.load(connection)?)
}

/// The published version of a content hash, which names its incident and policy too.
pub fn find_published(connection: &mut Connection, hash: &str) -> StoreResult<PublishedVersion> {
    all_published()
        .filter(policy_version::hash.eq(hash))
        .first(connection)
        .optional()?
        .ok_or_else(|| StoreError::NotFound("published version of this hash".into()))
}

#[diesel::dsl::auto_type(no_type_alias)]
fn all_published() -> _ {
    policy_version::table
        .inner_join(policy::table.on(policy::id.eq(policy_version::policy_id)))
        .inner_join(incident::table.on(incident::id.eq(policy::incident_id)))
        .inner_join(service::table.on(service::id.eq(policy::service_id)))
        .select((
            policy_version::hash,
            policy::name,
            incident::name,
            service::name,
            policy::basis,
            policy_version::published_by,
            policy_version::published_at,
            policy_version::approved_by,
            policy_version::approved_at,
            policy_version::retired_at,
        ))
}
