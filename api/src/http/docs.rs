//! The documentation of the API, made from the code and served without a network, and the first page.

use actix_web::http::header::LOCATION;
use actix_web::{HttpRequest, HttpResponse, web};
use askama::Template;
use utoipa::OpenApi;
use utoipa_swagger_ui::Config;

use super::contract::{Contract, Everywhere};
use super::credentials::Credentials;
use super::mailbox;
use super::problem::{ApiError, ApiResult, Code};
use crate::app::App;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Redress",
        description = "Damage reports after an outage: filed, assessed by published policies, paid exactly once.\n\nErrors are RFC 9457 problems with a stable `code`. Amounts are texts, exact. Times are RFC 3339.\n\nEvery answer says in `RateLimit` and `RateLimit-Policy` what is left of the quota. A POST can be sent again: with the same Idempotency-Key, or, where none is asked for, as it is.",
        license(name = "MIT OR Apache-2.0"),
    ),
    paths(
        super::claims::file,
        super::claims::show,
        super::moves::change,
        super::moves::submit,
        super::moves::withdraw,
        super::moves::appeal,
        super::moves::write,
        super::moves::read,
        super::queue::find,
        super::queue::export,
        super::sheet::file,
        super::queue::queues,
        super::queue::decide,
        super::queue::second_readings,
        super::queue::agreement,
        super::desk::next,
        super::desk::lease,
        super::desk::release,
        super::desk::assign,
        super::desk::request_information,
        super::desk::answer,
        super::desk::decide,
        super::desk::sign,
        super::desk::reopen,
        super::desk::read_again,
        super::claimants::ask_code,
        super::claimants::open_session,
        super::claimants::own_claims,
        super::claimants::coverage,
        super::notices::preferences,
        super::notices::list,
        super::notices::requeue,
        super::notices::bounces,
        super::evidence::list,
        super::evidence::add,
        super::evidence::download,
        super::audit::proof,
        super::audit::list,
        super::budgets::list,
        super::budgets::authorise,
        super::budgets::release,
        super::budgets::approve,
        super::budgets::reject,
        super::ledger::credits_of,
        super::corrections::reverse,
        super::corrections::list,
        super::corrections::show,
        super::corrections::approve,
        super::corrections::reject,
        super::deliveries::list,
        super::deliveries::show,
        super::deliveries::retry,
        super::deliveries::acknowledgements,
        super::webhooks::list,
        super::webhooks::create,
        super::webhooks::rotate,
        super::webhooks::remove,
        super::webhooks::messages,
        super::webhooks::redeliver,
        super::ledger::balance,
        super::ledger::transfers,
        super::reports::funnel,
        super::reports::exposure,
        super::reports::liability,
        super::reports::notice_clocks,
        super::runs::start,
        super::runs::list,
        super::runs::show,
        super::run_exceptions::list,
        super::runs::approve,
        super::runs::pause,
        super::runs::resume,
        super::runs::cancel,
        super::incidents::list,
        super::incidents::load,
        super::incidents::show,
        super::incidents::windows,
        super::incidents::set_windows,
        super::incidents::services,
        super::incidents::assets,
        super::policies::list,
        super::policies::check,
        super::policies::simulate,
        super::policies::publish,
        super::policies::approve,
        super::rosters::import,
        super::session::show,
        super::session::sign_in,
        super::session::sign_out,
        super::session::set_up,
        super::session::confirm,
        super::session::step_up,
        super::oidc::begin,
        super::oidc::finish,
        super::session::list,
        super::session::end,
        super::staff::list,
        super::staff::add,
        super::staff::revoke,
        super::staff::reset,
        super::api_keys::list,
        super::api_keys::create,
        super::api_keys::rotate,
        super::api_keys::revoke,
        super::operations::livez,
        super::operations::readyz,
        super::operations::metrics,
    ),
    tags(
        (name = "claims", description = "Damage reports"),
        (name = "desk", description = "What the staff does with them"),
        (name = "audit", description = "What shows that the log is what it was"),
        (name = "ledger", description = "Budgets, credits and the books"),
        (name = "deliveries", description = "Services that grant credits, and others who are told"),
        (name = "reports", description = "Figures for people outside"),
        (name = "runs", description = "The batch job that issues what is owed"),
        (name = "incidents", description = "What failed, and who held what"),
        (name = "policies", description = "Who is owed what, and why"),
        (name = "staff", description = "Members of staff, their sessions and keys"),
        (name = "operations", description = "For the machine that runs Redress"),
    ),
    modifiers(&Credentials, &Everywhere),
)]
struct Document;

/// What the document says of every route.
#[must_use]
pub fn contract() -> Contract {
    Contract::of(&mut Document::openapi())
}

/// The OpenAPI document as YAML; the file `openapi.yaml` is this, byte for byte.
pub fn openapi_yaml() -> Result<String, String> {
    Document::openapi().to_yaml().map_err(|error| error.to_string())
}

/// The OpenAPI document.
pub async fn openapi() -> ApiResult<HttpResponse> {
    let yaml = openapi_yaml().map_err(|error| ApiError::with_detail(Code::Internal, error))?;
    Ok(HttpResponse::Ok().content_type("application/yaml").body(yaml))
}

/// `/docs` is the folder `/docs/`.
pub async fn redirect() -> HttpResponse {
    HttpResponse::PermanentRedirect().insert_header((LOCATION, "/docs/")).finish()
}

/// Swagger UI from inside the program.
pub async fn swagger(path: web::Path<String>) -> ApiResult<HttpResponse> {
    let config = std::sync::Arc::new(Config::from("/openapi.yaml"));
    match utoipa_swagger_ui::serve(&path, config) {
        Ok(Some(file)) => Ok(HttpResponse::Ok().content_type(file.content_type).body(file.bytes.into_owned())),
        Ok(None) => Err(ApiError::new(Code::NotFound)),
        Err(error) => Err(ApiError::with_detail(Code::Internal, error.to_string())),
    }
}

#[derive(Template)]
#[template(path = "problems.html")]
struct Problems {
    problems: Vec<(&'static str, u16, &'static str)>,
}

/// Every problem the API answers with.
pub async fn problems() -> ApiResult<HttpResponse> {
    let problems = Code::ALL
        .iter()
        .map(|code| {
            let (code, status, title) = code.parts();
            (code, status.as_u16(), title)
        })
        .collect();
    page(&Problems { problems })
}

#[derive(Template)]
#[template(path = "home.html")]
struct Home {
    incidents: Vec<String>,
    shows_mail: bool,
}

/// The most incidents that the first page shows.
const MAX_SHOWN: i64 = 100;

/// The first page: what this is and where to go.
pub async fn home(app: web::Data<App>, request: HttpRequest) -> ApiResult<HttpResponse> {
    let shows_mail = mailbox::is_shown(&app, &request);
    let incidents =
        web::block(move || app.store.with(|connection| redress_store::incidents::names(connection, "", MAX_SHOWN)))
            .await??;
    page(&Home { incidents, shows_mail })
}

/// A page from its template.
pub fn page(template: &impl Template) -> ApiResult<HttpResponse> {
    let html = template.render().map_err(|error| ApiError::with_detail(Code::Internal, error.to_string()))?;
    Ok(HttpResponse::Ok().content_type("text/html; charset=utf-8").body(html))
}
