//! What Prometheus reads at `/metrics`.

use std::time::Instant;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use actix_web::web;
use chrono::Utc;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use redress_store::health::Deliveries;

/// A request by its route, never by its path: a path holds ids.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: String,
    route: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    route: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabels {
    state: &'static str,
}

/// The counters of this process.
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    durations: Family<RouteLabels, Histogram>,
    /// Claims that were stored.
    pub claims: Counter,
    /// Reports that wait to be filed.
    pub intake_waiting: Gauge,
    /// Notices that wait.
    pub outbox_queued: Gauge,
    /// How long the oldest of them waits, in seconds.
    pub outbox_age: Gauge,
    /// Notices that a person has to see.
    pub outbox_dead: Gauge,
    /// Deliveries that did not end, by state.
    deliveries: Family<StateLabels, Gauge>,
    /// Messages to webhooks that wait or did not go, by state.
    messages: Family<StateLabels, Gauge>,
    /// How long the oldest queued one waits, in seconds.
    deliveries_age: Gauge,
    /// Connections to the database in use.
    pub pool_in_use: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("redress"),
            requests: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.001, 2.0, 14))),
            claims: Counter::default(),
            intake_waiting: Gauge::default(),
            outbox_queued: Gauge::default(),
            outbox_age: Gauge::default(),
            outbox_dead: Gauge::default(),
            deliveries: Family::default(),
            messages: Family::default(),
            deliveries_age: Gauge::default(),
            pool_in_use: Gauge::default(),
        };
        let registry = &mut metrics.registry;
        registry.register("http_requests", "Requests by method, route and status", metrics.requests.clone());
        registry.register_with_unit(
            "http_request_duration",
            "How long requests took",
            Unit::Seconds,
            metrics.durations.clone(),
        );
        registry.register("claims_stored", "Claims that were stored", metrics.claims.clone());
        registry.register("intake_waiting", "Reports that wait to be filed", metrics.intake_waiting.clone());
        registry.register("outbox_queued", "Notices that wait to be sent", metrics.outbox_queued.clone());
        registry.register_with_unit(
            "outbox_oldest_age",
            "How long the oldest notice waits",
            Unit::Seconds,
            metrics.outbox_age.clone(),
        );
        registry.register("outbox_dead", "Notices that a person has to see", metrics.outbox_dead.clone());
        registry.register(
            "deliveries",
            "Deliveries to services that did not end, by state",
            metrics.deliveries.clone(),
        );
        let help = "Messages to webhooks that wait or did not go, by state";
        registry.register("webhook_messages", help, metrics.messages.clone());
        registry.register_with_unit(
            "deliveries_oldest_age",
            "How long the oldest queued delivery waits",
            Unit::Seconds,
            metrics.deliveries_age.clone(),
        );
        registry.register("database_connections_in_use", "Connections in use", metrics.pool_in_use.clone());
        metrics
    }
}

impl Metrics {
    /// Notes how messages to webhooks stand.
    pub fn note_messages(&self, (queued, dead): (i64, i64)) {
        for (state, count) in [("queued", queued), ("dead", dead)] {
            self.messages.get_or_create(&StateLabels { state }).set(count);
        }
    }

    /// Notes how deliveries stand.
    pub fn note_deliveries(&self, found: &Deliveries) {
        let counts =
            [("queued", found.queued), ("awaiting", found.awaiting), ("refused", found.refused), ("dead", found.dead)];
        for (state, count) in counts {
            self.deliveries.get_or_create(&StateLabels { state }).set(count);
        }
        self.deliveries_age.set(found.oldest.map_or(0, |oldest| (Utc::now() - oldest).num_seconds()));
    }

    /// The text that Prometheus reads (OpenMetrics).
    pub fn encode(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// Counts each request.
pub async fn record(
    metrics: web::Data<Metrics>,
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let started = Instant::now();
    // A stranger may make up any method; each would be a series of its own.
    let method = match request.method().as_str() {
        known @ ("GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS") => known.to_owned(),
        _ => "other".to_owned(),
    };
    let response = next.call(request).await?;
    let route = response.request().match_pattern().unwrap_or_else(|| "unmatched".to_owned());
    let status = response.status().as_u16();
    metrics.durations.get_or_create(&RouteLabels { route: route.clone() }).observe(started.elapsed().as_secs_f64());
    metrics.requests.get_or_create(&RequestLabels { method, route, status }).inc();
    Ok(response)
}
