//! The server: every route on one screen, what stands before them, and how it starts and stops.

mod act;
mod answers;
pub mod api_keys;
pub mod audit;
pub mod body;
pub mod budgets;
pub mod claimant;
pub mod claimants;
pub mod claims;
pub mod contract;
mod cookies;
pub mod corrections;
mod credentials;
pub mod deliveries;
pub mod desk;
pub mod docs;
pub mod evidence;
pub mod headers;
pub mod identity;
pub mod incidents;
mod intake;
pub mod ledger;
mod limits;
pub mod mailbox;
pub mod metrics;
pub mod moves;
pub mod notices;
pub mod oidc;
pub mod operations;
pub mod policies;
pub mod problem;
mod query;
pub mod queue;
pub mod reports;
pub mod rosters;
pub mod run_exceptions;
pub mod runs;
pub mod session;
pub mod sheet;
pub mod staff;
pub mod table;
pub mod upload;
pub mod webhooks;
mod words;

use std::net::TcpListener;
use std::time::Duration;

use actix_web::dev::Server;
use actix_web::http::header;
use actix_web::middleware::{Compress, DefaultHeaders, from_fn};
use actix_web::{App as Actix, HttpServer, web};
use tracing_actix_web::TracingLogger;

use self::intake::Intake;
use self::limits::Limits;
use self::metrics::Metrics;
use self::problem::{ApiError, Code};
use self::upload::Uploads;
use crate::app::App;
use crate::error::{AppError, AppResult};

/// The largest body of a JSON request.
pub const MAX_BODY: usize = 64 * 1024;
/// How long requests under way may take after the server was told to stop.
const SHUTDOWN_SECONDS: u64 = 30;
/// How long a client may take to send its headers.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// The most connections at once; more wait in the system's queue.
const MAX_CONNECTIONS: usize = 10_000;

/// All routes.
fn routes(config: &mut web::ServiceConfig) {
    let resource = |path: &str| web::resource(path).default_service(web::to(contract::method_not_allowed));
    config
        .service(resource("/").get(docs::home))
        .service(resource("/livez").get(operations::livez))
        .service(resource("/readyz").get(operations::readyz))
        .service(resource("/metrics").get(operations::metrics))
        .service(resource("/openapi.yaml").get(docs::openapi))
        .service(resource("/docs").get(docs::redirect))
        .service(resource("/docs/problems").get(docs::problems))
        .service(resource("/docs/{file:.*}").get(docs::swagger))
        .service(resource("/dev/mail").get(mailbox::list))
        .service(
            web::scope("/v1")
                .service(resource("/claims").get(queue::find).post(claims::file))
                .service(resource("/claims/export").get(queue::export))
                .service(resource("/claims/file").post(sheet::file))
                .service(resource("/queues").get(queue::queues))
                .service(resource("/second-readings").get(queue::second_readings))
                .service(resource("/reports/agreement").get(queue::agreement))
                .service(resource("/decisions/bulk").post(queue::decide))
                .service(resource("/claims/next").post(desk::next))
                .service(resource("/claims/{id}").get(claims::show).patch(moves::change))
                .service(resource("/claims/{id}/submit").post(moves::submit))
                .service(resource("/claims/{id}/withdraw").post(moves::withdraw))
                .service(resource("/claims/{id}/appeal").post(moves::appeal))
                .service(resource("/claims/{id}/messages").get(moves::read).post(moves::write))
                .service(resource("/claims/{id}/lease").post(desk::lease))
                .service(resource("/claims/{id}/release").post(desk::release))
                .service(resource("/claims/{id}/assign").post(desk::assign))
                .service(resource("/claims/{id}/request-information").post(desk::request_information))
                .service(resource("/claims/{id}/answer").post(desk::answer))
                .service(resource("/claims/{id}/decision").post(desk::decide))
                .service(resource("/claims/{id}/approve-decision").post(desk::sign))
                .service(resource("/claims/{id}/reopen").post(desk::reopen))
                .service(resource("/claims/{id}/second-reading").post(desk::read_again))
                .service(resource("/claims/{id}/evidence").get(evidence::list).post(evidence::add))
                .service(resource("/claims/{id}/evidence/{evidence}").get(evidence::download))
                .service(resource("/claimants/codes").post(claimants::ask_code))
                .service(resource("/claimants/sessions").post(claimants::open_session))
                .service(resource("/claimants/claims").get(claimants::own_claims))
                .service(resource("/claims/{id}/preferences").put(notices::preferences))
                .service(resource("/notices").get(notices::list))
                .service(resource("/notices/requeue").post(notices::requeue))
                .service(resource("/notices/bounces").post(notices::bounces))
                .service(resource("/coverage").get(claimants::coverage))
                .service(resource("/audit/proof/{claim}").get(audit::proof))
                .service(resource("/audit").get(audit::list))
                .service(resource("/budgets").get(budgets::list).post(budgets::authorise))
                .service(resource("/budgets/release").post(budgets::release))
                .service(resource("/budgets/{id}/approve").post(budgets::approve))
                .service(resource("/budgets/{id}/reject").post(budgets::reject))
                .service(resource("/credits").get(ledger::credits_of))
                .service(resource("/credits/{id}/reverse").post(corrections::reverse))
                .service(resource("/corrections").get(corrections::list))
                .service(resource("/corrections/{id}").get(corrections::show))
                .service(resource("/corrections/{id}/approve").post(corrections::approve))
                .service(resource("/corrections/{id}/reject").post(corrections::reject))
                .service(resource("/deliveries").get(deliveries::list))
                .service(resource("/deliveries/acknowledgements").post(deliveries::acknowledgements))
                .service(resource("/deliveries/{id}").get(deliveries::show))
                .service(resource("/deliveries/{id}/retry").post(deliveries::retry))
                .service(resource("/webhooks").get(webhooks::list).post(webhooks::create))
                .service(resource("/webhooks/{id}").delete(webhooks::remove))
                .service(resource("/webhooks/{id}/rotate").post(webhooks::rotate))
                .service(resource("/webhooks/{id}/messages").get(webhooks::messages))
                .service(resource("/webhooks/{id}/redeliver").post(webhooks::redeliver))
                .service(resource("/ledger/accounts/{id}/balance").get(ledger::balance))
                .service(resource("/ledger/transfers").get(ledger::transfers))
                .service(resource("/reports/funnel").get(reports::funnel))
                .service(resource("/reports/exposure").get(reports::exposure))
                .service(resource("/reports/liability").get(reports::liability))
                .service(resource("/reports/notice-clocks").get(reports::notice_clocks))
                .service(resource("/runs").get(runs::list).post(runs::start))
                .service(resource("/runs/{id}").get(runs::show))
                .service(resource("/runs/{id}/exceptions").get(run_exceptions::list))
                .service(resource("/runs/{id}/approve").post(runs::approve))
                .service(resource("/runs/{id}/pause").post(runs::pause))
                .service(resource("/runs/{id}/resume").post(runs::resume))
                .service(resource("/runs/{id}/cancel").post(runs::cancel))
                .service(resource("/session").get(session::show).post(session::sign_in).delete(session::sign_out))
                .service(resource("/session/setup").post(session::set_up))
                .service(resource("/session/setup/confirm").post(session::confirm))
                .service(resource("/session/oidc").get(oidc::begin))
                .service(resource("/session/oidc/callback").get(oidc::finish))
                .service(resource("/session/step-up").post(session::step_up))
                .service(resource("/sessions").get(session::list))
                .service(resource("/sessions/{id}").delete(session::end))
                .service(resource("/incidents").get(incidents::list).post(incidents::load))
                .service(resource("/incidents/{id}").get(incidents::show))
                .service(resource("/incidents/{id}/windows").get(incidents::windows).post(incidents::set_windows))
                .service(resource("/services").get(incidents::services))
                .service(resource("/assets").get(incidents::assets))
                .service(resource("/policies").get(policies::list).post(policies::check))
                .service(resource("/policies/{id}/simulate").post(policies::simulate))
                .service(resource("/policies/{id}/publish").post(policies::publish))
                .service(resource("/policies/{id}/approve").post(policies::approve))
                .service(resource("/rosters").post(rosters::import))
                .service(resource("/staff").get(staff::list).post(staff::add))
                .service(resource("/staff/{name}/revoke").post(staff::revoke))
                .service(resource("/staff/{name}/reset").post(staff::reset))
                .service(resource("/api-keys").get(api_keys::list).post(api_keys::create))
                .service(resource("/api-keys/{id}").delete(api_keys::revoke))
                .service(resource("/api-keys/{id}/rotate").post(api_keys::rotate)),
        )
        .default_service(web::to(not_found));
}

async fn not_found() -> Result<actix_web::HttpResponse, ApiError> {
    Err(ApiError::new(Code::NotFound))
}

/// Binds an address; with `search`, the next free port after it when it is in use.
pub fn bind(address: &str, search: bool) -> AppResult<TcpListener> {
    const TRIED: u16 = 50;
    let fail = |error: std::io::Error| {
        AppError::Refused(format!("--listen {address}: {error}; choose another address with --listen HOST:PORT"))
    };
    let first = match TcpListener::bind(address) {
        Err(error) if search && error.kind() == std::io::ErrorKind::AddrInUse => error,
        bound => return bound.map_err(fail),
    };
    let Some((host, port)) = address.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)))
    else {
        return Err(fail(first));
    };
    (1..=TRIED)
        .filter_map(|step| TcpListener::bind((host, port.checked_add(step)?)).ok())
        .next()
        .ok_or_else(|| fail(first))
}

/// Starts the server on a bound address. It finishes what it accepted when it is stopped.
pub fn start(app: App, listener: TcpListener, handle_signals: bool) -> AppResult<Server> {
    let metrics = web::Data::new(Metrics::default());
    let uploads = web::Data::new(Uploads::default());
    let limits = web::Data::new(Limits::new(&app.settings.rates));
    let intake = web::Data::new(Intake::new(app.clone()));
    let contract = web::Data::new(docs::contract());
    let app = web::Data::new(app);
    let server = HttpServer::new(move || {
        Actix::new()
            .app_data(app.clone())
            .app_data(metrics.clone())
            .app_data(uploads.clone())
            .app_data(intake.clone())
            .app_data(limits.clone())
            .app_data(contract.clone())
            .app_data(web::PayloadConfig::new(MAX_BODY))
            .app_data(web::PathConfig::default().error_handler(|error, _| problem::invalid_path(&error).into()))
            .wrap(from_fn(contract::hold))
            .wrap(from_fn(limits::limit))
            .wrap(from_fn(metrics::record))
            .wrap(
                DefaultHeaders::new()
                    .add((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
                    .add((header::REFERRER_POLICY, "no-referrer"))
                    .add((header::X_FRAME_OPTIONS, "DENY")),
            )
            .wrap(from_fn(answers::no_store))
            .wrap(Compress::default())
            .wrap(from_fn(operations::request_id))
            .wrap(from_fn(answers::head_as_get))
            .wrap(TracingLogger::<operations::RootSpan>::new())
            .configure(routes)
    })
    .client_request_timeout(HEADER_TIMEOUT)
    .max_connections(MAX_CONNECTIONS)
    .shutdown_timeout(SHUTDOWN_SECONDS)
    .listen(listener)
    .map_err(AppError::io("starting the server"))?;
    Ok(if handle_signals { server } else { server.disable_signals() }.run())
}
