//! What there is to speak of: incidents and their windows, services, assets, and the published versions of policies.

use chrono::{DateTime, Utc};
use redress_domain::id::{IncidentId, ServiceId};
use redress_domain::incident::{AffectedService, Severity};
use redress_store::policies::{self, PublishedVersion};
use redress_store::{StoreError, incidents, ledger};
use serde::Serialize;
use utoipa::ToSchema;

use super::claims::Text;
use crate::app::App;
use crate::error::AppResult;
use crate::rights::Member;

/// A page of a list in the order of its names.
#[derive(Debug)]
pub struct Page {
    /// Where the page before ended; empty for the first.
    pub after: String,
    /// The most entries.
    pub limit: i64,
}

/// An outage.
#[derive(Debug, Serialize, ToSchema)]
pub struct IncidentView {
    /// Its name.
    #[schema(value_type = String, example = "kakao-2022-10-15")]
    pub id: IncidentId,
    /// Its title.
    pub title: Text,
    /// What caused it.
    pub cause: Text,
    /// The services it hit.
    pub services: Vec<ServiceWindows>,
}

/// A service that an outage hit.
#[derive(Debug, Serialize, ToSchema)]
pub struct ServiceWindows {
    /// Its name.
    #[schema(value_type = String, example = "melon")]
    pub service: ServiceId,
    /// When it was hit, in order.
    pub windows: Vec<WindowView>,
}

/// When a service was hit, and how badly.
#[derive(Debug, Serialize, ToSchema)]
pub struct WindowView {
    /// The first instant.
    pub from: DateTime<Utc>,
    /// The first instant after it.
    pub until: DateTime<Utc>,
    /// `degraded` or `unavailable`.
    #[schema(value_type = String, example = "unavailable")]
    pub severity: Severity,
}

impl From<&AffectedService> for ServiceWindows {
    fn from(service: &AffectedService) -> Self {
        let window = |impact: &redress_domain::incident::Impact| WindowView {
            from: impact.window.from(),
            until: impact.window.until(),
            severity: impact.severity,
        };
        Self { service: service.id.clone(), windows: service.impacts.iter().map(window).collect() }
    }
}

/// A service.
#[derive(Debug, Serialize, ToSchema)]
pub struct ServiceView {
    /// Its name.
    #[schema(example = "melon")]
    pub id: String,
    /// The organisation that runs it.
    pub organisation: String,
    /// Its name as customers know it.
    pub title: Text,
}

/// An asset.
#[derive(Debug, Serialize, ToSchema)]
pub struct AssetView {
    /// Its code.
    #[schema(example = "day:melon")]
    pub code: String,
    /// Its class.
    #[schema(example = "time")]
    pub class: String,
    /// How many decimal digits its amounts have.
    pub scale: i16,
}

/// A published version of a policy.
#[derive(Debug, Serialize, ToSchema)]
pub struct VersionView {
    /// The content hash, which is the version's name.
    pub version: String,
    /// The policy.
    pub policy: String,
    /// The incident.
    pub incident: String,
    /// The service.
    pub service: String,
    /// What it goes by: `automatic`, `claim`, `on_request` or `undecided`.
    #[schema(example = "automatic")]
    pub basis: String,
    /// `published` (waits for a second person), `in_force` or `retired`.
    #[schema(example = "in_force")]
    pub state: &'static str,
    /// Who published it.
    pub published_by: String,
    /// When.
    pub published_at: DateTime<Utc>,
    /// Who approved it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approved_by: Option<String>,
    /// When.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approved_at: Option<DateTime<Utc>>,
    /// Until when it was in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retired_at: Option<DateTime<Utc>>,
}

impl From<PublishedVersion> for VersionView {
    fn from(row: PublishedVersion) -> Self {
        let state = match (row.approved_at, row.retired_at) {
            (_, Some(_)) => "retired",
            (Some(_), None) => "in_force",
            (None, None) => "published",
        };
        let PublishedVersion { hash, policy, incident, service, basis, .. } = row;
        let PublishedVersion { published_by, published_at, approved_by, approved_at, retired_at, .. } = row;
        Self {
            version: hash,
            policy,
            incident,
            service,
            basis,
            state,
            published_by,
            published_at,
            approved_by,
            approved_at,
            retired_at,
        }
    }
}

/// A page of incidents.
pub fn incidents(app: &App, page: &Page) -> AppResult<Vec<IncidentView>> {
    let names = app.store.with(|connection| incidents::names(connection, &page.after, page.limit))?;
    names.iter().map(|name| incident(app, &IncidentId::parse(name).map_err(StoreError::corrupt)?)).collect()
}

/// An incident.
pub fn incident(app: &App, id: &IncidentId) -> AppResult<IncidentView> {
    let found = app.store.with(|connection| incidents::find(connection, id))?.incident;
    let services = found.services.iter().map(ServiceWindows::from).collect();
    Ok(IncidentView { id: found.id, title: found.title.into(), cause: found.cause.into(), services })
}

/// A page of services.
pub fn services(app: &App, page: &Page) -> AppResult<Vec<ServiceView>> {
    let rows = app.store.with(|connection| incidents::services(connection, &page.after, page.limit))?;
    let view = |(id, organisation, ko, en)| ServiceView { id, organisation, title: Text { ko, en } };
    Ok(rows.into_iter().map(view).collect())
}

/// A page of assets.
pub fn assets(app: &App, page: &Page) -> AppResult<Vec<AssetView>> {
    let rows = app.store.with(|connection| ledger::assets_after(connection, &page.after, page.limit))?;
    Ok(rows.into_iter().map(|row| AssetView { code: row.code, class: row.class, scale: row.scale }).collect())
}

/// The newest published versions of an incident's policies or of all, as far as they are of the member's services.
pub fn versions(app: &App, incident: Option<&IncidentId>, of: &Member, limit: i64) -> AppResult<Vec<VersionView>> {
    let rows = app.store.with(|connection| policies::published(connection, incident.map(IncidentId::as_str), limit))?;
    let is_own = |row: &PublishedVersion| ServiceId::parse(&row.service).is_ok_and(|service| of.works_for(&service));
    Ok(rows.into_iter().filter(is_own).map(VersionView::from).collect())
}
