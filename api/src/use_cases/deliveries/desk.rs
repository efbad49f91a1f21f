//! Deliveries as people see them: what waits, what did not go, what services refused; and sending it again.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use redress_domain::id::ServiceId;
use redress_store::deliveries::{self, DeliveryRow, Filter, ServiceStanding};
use redress_store::{StoreError, audit, webhooks};
use rust_decimal::Decimal;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::app::{Actor, App};
use crate::error::{AppError, AppResult};
use crate::rights::Member;
use crate::use_cases::reports::figure;

/// The states that a list can be asked for.
pub const STATES: [&str; 6] = ["queued", "awaiting", "done", "refused", "retried", "dead"];

/// A batch of credits on its way to a service.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeliveryView {
    /// Its id, which is the `webhook-id` of every attempt.
    pub id: Uuid,
    /// The service.
    pub service: String,
    /// `queued`: it is sent at its time. `awaiting`: the service took it and will say later what it granted. `done`: every
    /// credit has its answer. `refused`: some were refused and are still owed; somebody has to look. `retried`: another
    /// delivery took those over. `dead`: it did not go; somebody has to look.
    pub state: String,
    /// How many credits it was cut with; what is not owed any more when it is sent is left out.
    pub credits: i32,
    /// How many of them the service refused, or granted in part.
    pub refused: i64,
    /// How often it was sent.
    pub attempts: i32,
    /// Since when it waits.
    pub queued_at: DateTime<Utc>,
    /// When it is sent next, as long as it waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_at: Option<DateTime<Utc>>,
    /// Since when the service may have granted what was owed then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub told_at: Option<DateTime<Utc>>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<DateTime<Utc>>,
    /// Why it did not go.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// The delivery whose refused credits it took over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_of: Option<Uuid>,
}

/// How delivering stands at one service.
#[derive(Debug, Serialize, ToSchema)]
pub struct StandingView {
    /// The service.
    pub service: String,
    /// How its credits are delivered: `webhook`, or `by-hand` where nobody is told (`redress credit deliver FILE`).
    pub by: &'static str,
    /// Credits that were issued and that no delivery has.
    pub unplanned: i64,
    /// Deliveries that are sent at their time.
    pub queued: i64,
    /// Since when the oldest of them waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest: Option<DateTime<Utc>>,
    /// Deliveries that the service took and has not acknowledged.
    pub awaiting: i64,
    /// Deliveries of which something was refused and is owed.
    pub refused: i64,
    /// Deliveries that did not go.
    pub dead: i64,
    /// Since when calls to it fail.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failing_since: Option<DateTime<Utc>>,
    /// Why the last one did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
}

impl From<ServiceStanding> for StandingView {
    fn from(row: ServiceStanding) -> Self {
        Self {
            service: row.service,
            by: if row.url.is_some() { "webhook" } else { "by-hand" },
            unplanned: row.unplanned,
            queued: row.queued,
            oldest: row.oldest,
            awaiting: row.awaiting,
            refused: row.refused,
            dead: row.dead,
            failing_since: row.failing_since,
            last_error: row.last_error,
        }
    }
}

/// A delivery with what was refused of it.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeliveryWithRefusals {
    /// The delivery.
    #[serde(flatten)]
    pub delivery: DeliveryView,
    /// What was refused of it, by customer.
    pub refusals: Vec<RefusalView>,
}

/// A credit that a service refused, or granted in part.
#[derive(Debug, Serialize, ToSchema)]
pub struct RefusalView {
    /// Whose it is.
    pub customer: String,
    /// The credit.
    pub credit: Uuid,
    /// Why, as a code.
    pub reason: String,
    /// The asset.
    pub asset: String,
    /// What is owed of it now.
    pub owed: String,
    /// When it was refused.
    pub refused_at: DateTime<Utc>,
}

fn view(row: DeliveryRow, service: String, refused: i64) -> DeliveryView {
    let waits = matches!(row.state.as_str(), "queued" | "awaiting");
    DeliveryView {
        id: row.id,
        service,
        credits: row.credits,
        refused,
        attempts: row.attempts,
        queued_at: row.queued_at,
        next_at: waits.then_some(row.next_at),
        told_at: row.as_of,
        ended_at: row.ended_at,
        last_error: row.last_error,
        retry_of: row.retry_of,
        state: row.state,
    }
}

/// Deliveries, the newest first; those that did not end when no state is asked for.
pub fn list(app: &App, filter: &Filter, limit: i64) -> AppResult<Vec<DeliveryView>> {
    app.store.with(|connection| {
        let rows = deliveries::list(connection, filter, limit)?;
        let ids: Vec<Uuid> = rows.iter().map(|(row, _)| row.id).collect();
        let refused: HashMap<Uuid, i64> = deliveries::refusals(connection, &ids)?.into_iter().collect();
        let refused_of = |id: &Uuid| refused.get(id).copied().unwrap_or_default();
        Ok(rows
            .into_iter()
            .map(|(row, service)| {
                let count = refused_of(&row.id);
                view(row, service, count)
            })
            .collect())
    })
}

/// How delivering stands, by service.
pub fn standing(app: &App) -> AppResult<Vec<StandingView>> {
    Ok(app.store.with(deliveries::standing)?.into_iter().map(StandingView::from).collect())
}

/// A delivery and what was refused of it.
pub fn show(app: &App, id: Uuid) -> AppResult<DeliveryWithRefusals> {
    app.store.with(|connection| {
        let found = deliveries::find(connection, id)?;
        let (row, service) = found.ok_or_else(|| StoreError::NotFound(format!("delivery {id}")))?;
        let refusals: Vec<RefusalView> = deliveries::refused(connection, id)?
            .into_iter()
            .map(|row| RefusalView {
                owed: figure(Decimal::from(row.owed), row.scale),
                customer: row.customer_id,
                credit: row.credit_id,
                reason: row.reason,
                asset: row.asset,
                refused_at: row.refused_at,
            })
            .collect();
        let refused = i64::try_from(refusals.len()).unwrap_or(i64::MAX);
        Ok(DeliveryWithRefusals { delivery: view(row, service, refused), refusals })
    })
}

/// Whether a member works for a service.
#[must_use]
pub fn is_own(member: &Member, service: &str) -> bool {
    ServiceId::parse(service).is_ok_and(|service| member.works_for(&service))
}

/// Sends a delivery again: one that is dead or waits as it is, under its id; of one that was refused in part, what was
/// refused and is owed, as a delivery of its own, which is returned. Asking twice changes nothing more.
pub fn retry(app: &App, id: Uuid, member: &Member, actor: &Actor) -> AppResult<DeliveryWithRefusals> {
    let again = app.store.transaction(|connection| -> AppResult<Uuid> {
        let service = deliveries::find(connection, id)?.map(|(_, service)| service);
        let service = service.ok_or_else(|| StoreError::NotFound(format!("delivery {id}")))?;
        if !is_own(member, &service) {
            return Err(StoreError::NotFound(format!("delivery {id}")).into());
        }
        let (row, successor) = deliveries::lock(connection, id)?;
        let now = Utc::now();
        let again = match row.state.as_str() {
            "dead" | "queued" | "awaiting" => {
                deliveries::retry_dead(connection, &row, now)?;
                id
            }
            "refused" => {
                let owed = deliveries::refused(connection, id)?.iter().filter(|credit| credit.owed > 0).count();
                if owed == 0 {
                    deliveries::end(connection, id, "done", now)?;
                    return Ok(id);
                }
                deliveries::retry_refused(connection, &row, owed, now)?
            }
            _ => match successor {
                Some(successor) => return Ok(successor),
                None => {
                    return Err(AppError::Conflict("every credit of it has its answer; nothing is to be sent".into()));
                }
            },
        };
        if let Some(webhook) = webhooks::of_service(connection, row.service_id)? {
            webhooks::note_success(connection, webhook.id)?;
        }
        let detail = serde_json::json!({ "state": row.state, "again": again });
        audit::append(connection, &[actor.entry("delivery.retry", format!("delivery {id}"), detail)])?;
        Ok(again)
    })?;
    show(app, again)
}

/// Sends all that is dead again; returns how many.
pub fn retry_all_dead(app: &App, member: &Member, actor: &Actor) -> AppResult<usize> {
    const PAGE: i64 = 1_000;
    let mut retried = 0;
    let mut filter = Filter { state: Some("dead".into()), ..Filter::default() };
    loop {
        let page = list(app, &filter, PAGE)?;
        for delivery in &page {
            if is_own(member, &delivery.service) {
                retry(app, delivery.id, member, actor)?;
                retried += 1;
            }
        }
        let Some(last) = page.last() else { return Ok(retried) };
        filter.after = Some(last.id);
    }
}
