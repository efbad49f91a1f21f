//! `/v1/deliveries`: what services are told to grant, what they say of it, and sending it again.

use actix_web::{HttpRequest, HttpResponse, web};
use redress_domain::id::ServiceId;
use redress_store::deliveries::Filter;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;
use validator::Validate;

use super::body;
use super::identity::Staff;
use super::problem::{ApiError, ApiResult, Code, Problem};
use super::query::{bounded, query};
use super::session::uuid_of;
use crate::app::App;
use crate::rights::Right;
use crate::shapes::{DeliveryState, Slug};
use crate::use_cases::deliveries::desk::{self, DeliveryView, DeliveryWithRefusals, STATES, StandingView};
use crate::use_cases::deliveries::{Acknowledged, Acknowledgement, acknowledge};

const DEFAULT_PAGE: i64 = 100;
const MAX_PAGE: i64 = 500;
/// The largest body of acknowledgements: as many as are taken at once.
const MAX_ACKNOWLEDGEMENTS: usize = 2 << 20;

/// Which deliveries.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct WhichDeliveries {
    /// Only of this service.
    #[param(inline, value_type = Option<Slug>)]
    pub service: Option<String>,
    /// `queued`, `awaiting`, `done`, `refused`, `retried` or `dead`; those that did not end when absent.
    #[param(inline, value_type = Option<DeliveryState>)]
    pub state: Option<String>,
    /// Where the page before ended.
    pub cursor: Option<Uuid>,
    /// How many, at most 500; 100 when absent.
    #[param(minimum = 1, maximum = 500)]
    pub limit: Option<i64>,
}

impl WhichDeliveries {
    fn filter(self) -> ApiResult<(Filter, i64)> {
        let wrong = |name: &str, why: String| ApiError::field(format!("/{name}"), why);
        if let Some(state) = self.state.as_deref().filter(|state| !STATES.contains(state)) {
            return Err(wrong("state", format!("{state:?} is none of {}", STATES.join(", "))));
        }
        let service = self.service.as_deref().map(ServiceId::parse).transpose();
        service.map_err(|error| wrong("service", error.to_string()))?;
        let limit = bounded(self.limit, DEFAULT_PAGE, MAX_PAGE)?;
        Ok((Filter { service: self.service, state: self.state, after: self.cursor }, limit))
    }
}

/// Deliveries, and how delivering stands.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeliveryList {
    /// The deliveries, the newest first.
    pub deliveries: Vec<DeliveryView>,
    /// What `cursor` takes for the next page; none on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<Uuid>,
    /// How delivering stands, by service. Where credits go nowhere by themselves `by` is `by-hand`.
    pub services: Vec<StandingView>,
}

/// List deliveries
///
/// Of the services that one works for.
/// A delivery is a batch of credits that their service is told to grant: those that wait, that did not go, or of which
/// something was refused, unless another state is asked for.
#[utoipa::path(
    get, path = "/v1/deliveries", tag = "deliveries", operation_id = "list_deliveries", params(WhichDeliveries),
    responses(
        (status = 200, description = "Deliveries, and how delivering stands at each service", body = DeliveryList),
        (status = 422, description = "A parameter cannot be read", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn list(app: web::Data<App>, staff: Staff, request: HttpRequest) -> ApiResult<HttpResponse> {
    staff.may(Right::ReadLedger)?;
    let member = staff.member().clone();
    let (filter, limit) = query::<WhichDeliveries>(&request)?.filter()?;
    let found = web::block(move || -> crate::error::AppResult<DeliveryList> {
        let mut deliveries = desk::list(&app, &filter, limit)?;
        let full = i64::try_from(deliveries.len()).is_ok_and(|found| found == limit);
        let next = deliveries.last().filter(|_| full).map(|last| last.id);
        let mut services = desk::standing(&app)?;
        deliveries.retain(|delivery| desk::is_own(&member, &delivery.service));
        services.retain(|service| desk::is_own(&member, &service.service));
        Ok(DeliveryList { deliveries, next, services })
    });
    Ok(HttpResponse::Ok().json(found.await??))
}

/// See a delivery, and what was refused of it
#[utoipa::path(
    get, path = "/v1/deliveries/{id}", tag = "deliveries", operation_id = "show_delivery",
    params(("id" = Uuid, Path, description = "The delivery's id")),
    responses(
        (status = 200, description = "The delivery", body = DeliveryWithRefusals),
        (status = 400, description = "The id is not a UUID", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such delivery", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn show(app: web::Data<App>, staff: Staff, path: web::Path<String>) -> ApiResult<HttpResponse> {
    staff.may(Right::ReadLedger)?;
    let id = uuid_of(&path)?;
    let shown = web::block(move || desk::show(&app, id)).await??;
    if !desk::is_own(staff.member(), &shown.delivery.service) {
        return Err(ApiError::new(Code::NotFound));
    }
    Ok(HttpResponse::Ok().json(shown))
}

/// Send a delivery again
///
/// One that is dead, or waits, goes as it is, under its id. Of one that was refused in part, what is still owed goes as a
/// delivery of its own, which is the answer. Asking twice changes nothing more.
#[utoipa::path(
    post, path = "/v1/deliveries/{id}/retry", tag = "deliveries", operation_id = "retry_delivery",
    params(("id" = Uuid, Path, description = "The delivery's id")),
    responses(
        (status = 200, description = "The delivery that is sent now", body = DeliveryWithRefusals),
        (status = 400, description = "The id is not a UUID", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such delivery, or it is of a service that is not yours", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "Every credit of it has its answer", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn retry(app: web::Data<App>, staff: Staff, path: web::Path<String>) -> ApiResult<HttpResponse> {
    let actor = staff.may(Right::ManageDeliveries)?;
    let id = uuid_of(&path)?;
    let member = staff.member().clone();
    Ok(HttpResponse::Ok().json(web::block(move || desk::retry(&app, id, &member, &actor)).await??))
}

/// What a service says of credits that it was told to grant.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Acknowledgements {
    /// One for each credit.
    #[validate(length(min = 1, max = 5000, message = "has 1 to 5000 results"), nested)]
    #[schema(min_items = 1, max_items = 5000)]
    pub results: Vec<Acknowledgement>,
}

/// Acknowledge credits
///
/// For services that answer a delivery with 202 and grant later, with an API key that has the scope `manage_deliveries`,
/// of a member who works for the service. What cannot be taken is rejected alone. Saying the same again changes nothing.
#[utoipa::path(
    post, path = "/v1/deliveries/acknowledgements", tag = "deliveries", operation_id = "acknowledge_credits",
    request_body(content = Acknowledgements, content_type = "application/json"),
    responses(
        (status = 200, description = "Taken, but for what is rejected", body = Acknowledged),
        (status = 400, description = "The body is not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is not declared as JSON", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "A field cannot be used; nothing was taken", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away; nothing was recorded", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn acknowledgements(
    app: web::Data<App>,
    staff: Staff,
    request: HttpRequest,
    payload: web::Payload,
) -> ApiResult<HttpResponse> {
    let actor = staff.may(Right::ManageDeliveries)?;
    let said: Acknowledgements = body::json_up_to(&request, payload, MAX_ACKNOWLEDGEMENTS).await?;
    let member = staff.member().clone();
    let taken = web::block(move || acknowledge(&app, &said.results, &member, &actor)).await??;
    Ok(HttpResponse::Ok().json(taken))
}
