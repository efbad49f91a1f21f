//! Incidents, services and their impact windows.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use redress_domain::id::{IncidentId, ServiceId};
use redress_domain::incident::{AffectedService, Impact, Localised, Severity};
use redress_domain::{Incident, Window};

use crate::connection::Connection;
use crate::error::{StoreError, StoreResult};
use crate::policies;
use crate::schema::{claim, holding, impact, incident, service};

/// An incident with the keys it has in this database.
#[derive(Debug, Clone)]
pub struct StoredIncident {
    /// Its key.
    pub key: i32,
    /// The incident.
    pub incident: Incident,
    /// The keys of its services.
    pub service_keys: BTreeMap<ServiceId, i32>,
    /// The hash of what it was last loaded from: another one may have other windows.
    pub source_hash: String,
}

impl StoredIncident {
    /// The name of a service of this incident; empty when it is not one.
    #[must_use]
    pub fn service_name(&self, key: i32) -> String {
        self.service_keys.iter().find(|(_, known)| **known == key).map(|(id, _)| id.to_string()).unwrap_or_default()
    }

    /// The key of a service of this incident.
    pub fn service_key(&self, id: &ServiceId) -> StoreResult<i32> {
        self.service_keys
            .get(id)
            .copied()
            .ok_or_else(|| StoreError::NotFound(format!("service {id} in incident {}", self.incident.id)))
    }
}

/// The hash of the file that an incident was last loaded from.
pub fn source_hash(connection: &mut Connection, id: &IncidentId) -> StoreResult<Option<String>> {
    Ok(incident::table
        .filter(incident::name.eq(id.as_str()))
        .select(incident::source_hash)
        .first(connection)
        .optional()?)
}

/// Whoever changes an incident has it alone from here on: nobody else changes it meanwhile, and no chunk of a run is under way. The
/// first thing in a transaction, since whatever was read before may have changed.
pub fn hold(connection: &mut Connection, id: &IncidentId) -> StoreResult<()> {
    let of_name = incident::table.filter(incident::name.eq(id.as_str())).select(incident::id);
    let Some(key) = of_name.first::<i32>(connection).optional()? else { return Ok(()) };
    policies::keep_chunks_out(connection, key)?;
    of_name.for_update().first::<i32>(connection)?;
    Ok(())
}

/// Stores an incident that the caller [holds](hold); loading the same file again changes nothing, a changed file replaces titles
/// and windows. Returns whether anything was written.
pub fn save(connection: &mut Connection, loaded: &Incident, source_hash: &str, at: DateTime<Utc>) -> StoreResult<bool> {
    if self::source_hash(connection, &loaded.id)?.as_deref() == Some(source_hash) {
        return Ok(false);
    }
    let values = (
        incident::title_ko.eq(&loaded.title.ko),
        incident::title_en.eq(&loaded.title.en),
        incident::cause_ko.eq(&loaded.cause.ko),
        incident::cause_en.eq(&loaded.cause.en),
        incident::source_hash.eq(source_hash),
        incident::loaded_at.eq(at),
    );
    let key: i32 = diesel::insert_into(incident::table)
        .values((incident::name.eq(loaded.id.as_str()), values))
        .on_conflict(incident::name)
        .do_update()
        .set(values)
        .returning(incident::id)
        .get_result(connection)?;
    refuse_orphans(connection, key, loaded)?;
    diesel::delete(impact::table.filter(impact::incident_id.eq(key))).execute(connection)?;
    for affected in &loaded.services {
        let values = (
            service::organisation.eq(&affected.organisation),
            service::title_ko.eq(&affected.title.ko),
            service::title_en.eq(&affected.title.en),
        );
        let service_key: i32 = diesel::insert_into(service::table)
            .values((service::name.eq(affected.id.as_str()), values))
            .on_conflict(service::name)
            .do_update()
            .set(values)
            .returning(service::id)
            .get_result(connection)?;
        for hit in &affected.impacts {
            diesel::insert_into(impact::table)
                .values((
                    impact::incident_id.eq(key),
                    impact::service_id.eq(service_key),
                    impact::starts_at.eq(hit.window.from()),
                    impact::ends_at.eq(hit.window.until()),
                    impact::severity.eq(match hit.severity {
                        Severity::Degraded => "degraded",
                        Severity::Unavailable => "unavailable",
                    }),
                ))
                .execute(connection)?;
        }
    }
    Ok(true)
}

/// Refuses a file that no longer names a service which holdings or claims belong to: they would be passed over in silence.
fn refuse_orphans(connection: &mut Connection, incident_key: i32, loaded: &Incident) -> StoreResult<()> {
    let known: Vec<(i32, String)> = impact::table
        .inner_join(service::table.on(service::id.eq(impact::service_id)))
        .filter(impact::incident_id.eq(incident_key))
        .select((service::id, service::name))
        .distinct()
        .load(connection)?;
    for (service_key, name) in known {
        if loaded.services.iter().any(|service| service.id.as_str() == name) {
            continue;
        }
        let holdings =
            holding::table.filter(holding::incident_id.eq(incident_key).and(holding::service_id.eq(service_key)));
        let claims = claim::table.filter(claim::incident_id.eq(incident_key).and(claim::service_id.eq(service_key)));
        let held: bool = diesel::select(diesel::dsl::exists(holdings)).get_result(connection)?;
        let claimed: bool = diesel::select(diesel::dsl::exists(claims)).get_result(connection)?;
        if held || claimed {
            return Err(StoreError::InUse(format!("service {name} must stay: holdings or claims belong to it")));
        }
    }
    Ok(())
}

/// The names of incidents, in order, at most so many after one.
pub fn names(connection: &mut Connection, after: &str, limit: i64) -> StoreResult<Vec<String>> {
    let after = incident::table.filter(incident::name.gt(after));
    Ok(after.select(incident::name).order(incident::name).limit(limit).load(connection)?)
}

/// A service's name by its key.
pub fn service_name(connection: &mut Connection, key: i32) -> StoreResult<String> {
    Ok(service::table.find(key).select(service::name).first(connection)?)
}

/// The keys of services by name; names that nobody knows have none.
pub fn service_keys(connection: &mut Connection, names: &[&str]) -> StoreResult<Vec<i32>> {
    Ok(service::table.filter(service::name.eq_any(names)).select(service::id).load(connection)?)
}

/// The keys of all services.
pub fn all_service_keys(connection: &mut Connection) -> StoreResult<Vec<i32>> {
    Ok(service::table.select(service::id).order(service::id).load(connection)?)
}

/// The name of an incident by its key.
pub fn name_of(connection: &mut Connection, key: i32) -> StoreResult<String> {
    Ok(incident::table.find(key).select(incident::name).first(connection)?)
}

/// Services by name, at most so many after one: name, organisation, title in Korean and in English.
pub fn services(
    connection: &mut Connection,
    after: &str,
    limit: i64,
) -> StoreResult<Vec<(String, String, String, String)>> {
    Ok(service::table
        .filter(service::name.gt(after))
        .order(service::name)
        .limit(limit)
        .select((service::name, service::organisation, service::title_ko, service::title_en))
        .load(connection)?)
}

/// An incident with its services.
pub fn find(connection: &mut Connection, id: &IncidentId) -> StoreResult<StoredIncident> {
    type IncidentRow = (i32, String, String, String, String, String);
    type ImpactRow = (i32, String, String, String, String, DateTime<Utc>, DateTime<Utc>, String);
    let (key, title_ko, title_en, cause_ko, cause_en, source_hash): IncidentRow = incident::table
        .filter(incident::name.eq(id.as_str()))
        .select((
            incident::id,
            incident::title_ko,
            incident::title_en,
            incident::cause_ko,
            incident::cause_en,
            incident::source_hash,
        ))
        .first(connection)
        .optional()?
        .ok_or_else(|| StoreError::NotFound(format!("incident {id}")))?;
    let rows: Vec<ImpactRow> = impact::table
        .inner_join(service::table.on(service::id.eq(impact::service_id)))
        .filter(impact::incident_id.eq(key))
        .order((service::name, impact::starts_at))
        .select((
            service::id,
            service::name,
            service::organisation,
            service::title_ko,
            service::title_en,
            impact::starts_at,
            impact::ends_at,
            impact::severity,
        ))
        .load(connection)?;
    let mut services: Vec<AffectedService> = Vec::new();
    let mut service_keys = BTreeMap::new();
    for (service_key, name, organisation, ko, en, from, until, severity) in rows {
        let service_id = ServiceId::parse(&name).map_err(StoreError::corrupt)?;
        let hit = Impact {
            window: Window::new(from, until).map_err(StoreError::corrupt)?,
            severity: match severity.as_str() {
                "degraded" => Severity::Degraded,
                "unavailable" => Severity::Unavailable,
                other => return Err(StoreError::corrupt(format!("severity {other:?}"))),
            },
        };
        service_keys.insert(service_id.clone(), service_key);
        match services.last_mut() {
            Some(last) if last.id == service_id => last.impacts.push(hit),
            _ => services.push(AffectedService {
                id: service_id,
                organisation,
                title: Localised { ko, en },
                impacts: vec![hit],
            }),
        }
    }
    let incident = Incident {
        id: id.clone(),
        title: Localised { ko: title_ko, en: title_en },
        cause: Localised { ko: cause_ko, en: cause_en },
        services,
    };
    Ok(StoredIncident { key, incident, service_keys, source_hash })
}
