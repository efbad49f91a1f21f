//! Figures about duties and about people: who came how far, and whether what the law wants announced was in time.

use chrono::{DateTime, Utc};
use redress_domain::Window;
use redress_domain::id::IncidentId;
use redress_domain::notice_clock::{ClockState, clock};
use redress_store::summary::{self, FunnelRow};
use redress_store::{incidents, policies};
use serde::Serialize;
use utoipa::ToSchema;

use super::chosen;
use crate::app::App;
use crate::error::AppResult;

/// How far people came.
#[derive(Debug, Serialize, ToSchema)]
pub struct Funnel {
    /// By incident.
    pub incidents: Vec<IncidentFunnel>,
}

/// How far people came in one incident.
#[derive(Debug, Serialize, ToSchema)]
pub struct IncidentFunnel {
    /// The incident.
    pub incident: String,
    /// By service.
    pub services: Vec<ServiceFunnel>,
}

/// How far people came at one service.
#[derive(Debug, Serialize, ToSchema)]
pub struct ServiceFunnel {
    /// The service.
    pub service: String,
    /// Customers in the operator's records.
    pub customers: i64,
    /// Customers who were credited without having to claim.
    pub credited_automatically: i64,
    /// Enquiries, which claim nothing and are answered: no part of what follows.
    pub enquiries: i64,
    /// Of these, those that wait for a person since the answer did not suffice.
    pub enquiries_open: i64,
    /// Reports of a loss that the same customer had reported before: no part of what follows either.
    pub merged: i64,
    /// Damage reports that were begun.
    pub begun: i64,
    /// Of these, sent.
    pub sent: i64,
    /// Of these, decided.
    pub decided: i64,
    /// Of these, granted something.
    pub granted: i64,
    /// Of these, credited.
    pub credited: i64,
    /// Sent, and the claimant has to answer: where the programme of 2022 lost its claimants.
    pub waiting_for_claimant: i64,
    /// Sent, and a person, a worker or a policy has to decide.
    pub waiting_for_operator: i64,
    /// Refused, with a reason.
    pub declined: i64,
    /// Taken back.
    pub withdrawn: i64,
}

/// The funnel of one incident, or of all.
pub fn funnel(app: &App, incident: Option<&IncidentId>) -> AppResult<Funnel> {
    app.store.with(|connection| {
        let mut found = Vec::new();
        for (name, key) in chosen(connection, incident)? {
            let services = summary::funnel(connection, key)?.into_iter().map(service_funnel).collect();
            found.push(IncidentFunnel { incident: name.to_string(), services });
        }
        Ok(Funnel { incidents: found })
    })
}

fn service_funnel(row: FunnelRow) -> ServiceFunnel {
    let granted = row.approved + row.credited;
    let sent = row.begun - row.drafts;
    ServiceFunnel {
        service: row.service,
        customers: row.customers,
        credited_automatically: row.credited_automatically,
        enquiries: row.enquiries,
        enquiries_open: row.enquiries_open,
        merged: row.merged,
        begun: row.begun,
        sent,
        decided: granted + row.declined,
        granted,
        credited: row.credited,
        waiting_for_claimant: row.waiting_for_claimant,
        waiting_for_operator: sent - granted - row.declined - row.withdrawn - row.waiting_for_claimant,
        declined: row.declined,
        withdrawn: row.withdrawn,
    }
}

/// Whether what has to be announced was in time.
#[derive(Debug, Serialize, ToSchema)]
pub struct NoticeClocks {
    /// By incident.
    pub incidents: Vec<IncidentClocks>,
}

/// The clocks of one incident.
#[derive(Debug, Serialize, ToSchema)]
pub struct IncidentClocks {
    /// The incident.
    pub incident: String,
    /// By service.
    pub services: Vec<ServiceClock>,
}

/// The clock of one service.
#[derive(Debug, Serialize, ToSchema)]
pub struct ServiceClock {
    /// The service.
    pub service: String,
    /// When its interruption ended for good.
    pub ended_at: DateTime<Utc>,
    /// Until when it has to be announced how damages are claimed: 30 days later.
    pub due_at: DateTime<Utc>,
    /// When that was said: when the first policy of the service came into force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub announced_at: Option<DateTime<Utc>>,
    /// `met`, `late`, `running`, `overdue`, or `exempt` since it was short.
    #[schema(value_type = String)]
    pub state: ClockState,
}

/// The clocks of one incident, or of all, at an instant.
pub fn notice_clocks(app: &App, incident: Option<&IncidentId>, now: DateTime<Utc>) -> AppResult<NoticeClocks> {
    app.store.with(|connection| {
        let mut found = Vec::new();
        for (name, key) in chosen(connection, incident)? {
            let stored = incidents::find(connection, &name)?;
            let first_in_force = policies::first_in_force(connection, key)?;
            let mut services = Vec::new();
            for service in &stored.incident.services {
                let windows: Vec<Window> = service.impacts.iter().map(|impact| impact.window).collect();
                let announced_at = stored
                    .service_keys
                    .get(&service.id)
                    .and_then(|service_key| first_in_force.get(service_key))
                    .copied();
                services.extend(clock(&windows, announced_at, now).map(|clock| ServiceClock {
                    service: service.id.to_string(),
                    ended_at: clock.ended_at,
                    due_at: clock.due_at,
                    announced_at,
                    state: clock.state,
                }));
            }
            found.push(IncidentClocks { incident: name.to_string(), services });
        }
        Ok(NoticeClocks { incidents: found })
    })
}
