//! What the machine that runs Redress asks of it: is it alive, is it ready, how does it fare.

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{HttpMessage, HttpResponse, web};
use chrono::Utc;
use redress_store::{StoreError, health, migrations};
use serde::Serialize;
use tracing_actix_web::{RequestId, RootSpanBuilder};
use utoipa::ToSchema;

use super::contract::Contract;
use super::intake::Intake;
use super::metrics::Metrics;
use super::problem::{ApiError, ApiResult, Code};
use crate::app::App;

/// A notice that waits longer than this says that the worker stands still.
const MAX_OUTBOX_AGE_SECONDS: i64 = 15 * 60;
/// The most wrong fields of one request that the log names.
const MAX_LOGGED: usize = 10;

/// Is it alive?
///
/// Answers as long as the process does; says nothing of the database, so that a restart is not asked for in vain.
#[utoipa::path(get, path = "/livez", tag = "operations", operation_id = "livez",
    responses((status = 200, description = "Alive", body = String, content_type = "text/plain")))]
pub async fn livez() -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain; charset=utf-8").body("ok\n")
}

/// Whether requests can be taken, and if not, why.
#[derive(Debug, Serialize, ToSchema)]
pub struct Readiness {
    /// Whether all checks hold.
    pub ready: bool,
    /// The checks.
    pub checks: Vec<ReadinessCheck>,
}

/// One check.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReadinessCheck {
    /// What was checked.
    pub name: &'static str,
    /// Whether it holds.
    pub ok: bool,
    /// What was seen.
    pub detail: String,
}

/// Is it ready?
///
/// Checks the database, its migrations, and that notices do not pile up.
#[utoipa::path(get, path = "/readyz", tag = "operations", operation_id = "readyz",
    responses((status = 200, description = "Ready", body = Readiness), (status = 503, description = "Not ready", body = Readiness)))]
pub async fn readyz(app: web::Data<App>) -> ApiResult<HttpResponse> {
    let readiness = web::block(move || check(&app)).await?;
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Ok(HttpResponse::build(status).json(readiness))
}

fn check(app: &App) -> Readiness {
    let mut checks = Vec::new();
    let mut note = |name, outcome: Result<(bool, String), StoreError>| match outcome {
        Ok((ok, detail)) => checks.push(ReadinessCheck { name, ok, detail }),
        Err(error) => {
            tracing::warn!(%error, check = name, "not ready");
            // The reason may name hosts; it belongs in the log.
            checks.push(ReadinessCheck { name, ok: false, detail: "see the log".into() });
        }
    };
    match app.store.connection() {
        Err(error) => note("database", Err(error)),
        Ok(mut connection) => {
            note("database", health::ping(&mut connection).map(|()| (true, "answers".into())));
            note(
                "migrations",
                migrations::pending(&mut connection)
                    .map(|pending| (pending.is_empty(), format!("{} pending", pending.len()))),
            );
            note(
                "outbox",
                health::outbox(&mut connection).map(|outbox| {
                    let age = outbox.oldest.map_or(0, |oldest| (Utc::now() - oldest).num_seconds());
                    let detail = format!("{} wait, the oldest for {age} s; {} dead", outbox.queued, outbox.dead);
                    (age <= MAX_OUTBOX_AGE_SECONDS, detail)
                }),
            );
        }
    }
    Readiness { ready: checks.iter().all(|check| check.ok), checks }
}

/// Figures for Prometheus
///
/// Counters of this process and the state of the outbox, of deliveries and of webhooks, in the OpenMetrics text format.
#[utoipa::path(get, path = "/metrics", tag = "operations", operation_id = "metrics",
    responses((status = 200, description = "OpenMetrics", body = String, content_type = "application/openmetrics-text")))]
pub async fn metrics(
    app: web::Data<App>,
    intake: web::Data<Intake>,
    metrics: web::Data<Metrics>,
) -> ApiResult<HttpResponse> {
    let (in_use, _) = app.store.pool_state();
    metrics.pool_in_use.set(i64::from(in_use));
    metrics.intake_waiting.set(intake.waiting());
    // Without a database the process still has figures of its own to tell.
    let found = web::block(move || {
        app.store.with(|connection| {
            let (outbox, deliveries) = (health::outbox(connection)?, health::deliveries(connection)?);
            Ok::<_, StoreError>((outbox, deliveries, health::webhook_messages(connection)?))
        })
    });
    if let Ok((outbox, deliveries, messages)) = found.await? {
        metrics.note_messages(messages);
        metrics.note_deliveries(&deliveries);
        metrics.outbox_queued.set(outbox.queued);
        metrics.outbox_dead.set(outbox.dead);
        metrics.outbox_age.set(outbox.oldest.map_or(0, |oldest| (Utc::now() - oldest).num_seconds()));
    }
    let text = metrics.encode().map_err(|error| ApiError::with_detail(Code::Internal, error.to_string()))?;
    Ok(HttpResponse::Ok().content_type("application/openmetrics-text; version=1.0.0; charset=utf-8").body(text))
}

/// The span of a request: method, route and id, never the path or the query, which can hold ids and tokens.
pub struct RootSpan;

impl RootSpanBuilder for RootSpan {
    fn on_request_start(request: &ServiceRequest) -> tracing::Span {
        let id = request.extensions().get::<RequestId>().map(ToString::to_string).unwrap_or_default();
        tracing::info_span!(
            "request",
            method = %request.method(),
            route = request.match_pattern().unwrap_or_default(),
            request_id = id,
        )
    }

    fn on_request_end<B: MessageBody>(span: tracing::Span, outcome: &Result<ServiceResponse<B>, actix_web::Error>) {
        let (status, error) = match outcome {
            Ok(response) => (response.status(), response.response().error()),
            Err(error) => (error.as_response_error().status_code(), Some(error)),
        };
        let contract = outcome.as_ref().ok().and_then(|response| response.request().app_data::<web::Data<Contract>>());
        span.in_scope(|| {
            if let Some(error) = error.and_then(actix_web::Error::as_error::<ApiError>) {
                refused(status, error, contract.map(|contract| &***contract));
            }
            tracing::info!(status = status.as_u16(), "answered");
        });
    }
}

/// Logs why a request was refused: the code and the fields, and none of the words, which quote what was sent.
fn refused(status: StatusCode, error: &ApiError, contract: Option<&Contract>) {
    let fields = error.pointers().take(MAX_LOGGED).map(|pointer| match contract {
        Some(contract) if contract.names(pointer) => pointer,
        _ => "(a name of the sender's)",
    });
    let fields = fields.collect::<Vec<_>>().join(" ");
    if status.is_server_error() {
        tracing::error!(code = error.code(), fields, "not answered");
    } else {
        tracing::warn!(code = error.code(), fields, "refused");
    }
}

/// Gives every answer the id under which the log speaks of it.
pub async fn request_id(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let id = request.extensions().get::<RequestId>().map(ToString::to_string);
    let mut response = next.call(request).await?;
    if let Some(value) = id.and_then(|id| HeaderValue::from_str(&id).ok()) {
        response.headers_mut().insert(HeaderName::from_static("x-request-id"), value);
    }
    Ok(response)
}
