//! `/v1/webhooks`: whom we tell over HTTP.

use actix_web::http::header::LOCATION;
use actix_web::{HttpRequest, HttpResponse, web};
use redress_domain::id::ServiceId;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use validator::Validate;

use super::body;
use super::identity::Staff;
use super::problem::{ApiError, ApiResult, Problem};
use super::query::query;
use super::session::uuid_of;
use crate::app::App;
use crate::rights::Right;
use crate::use_cases::webhooks::{self, NewWebhook, WebhookView, WebhookWithSecret};

/// A webhook that is to be.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WebhookOrder {
    /// Where calls go; `https://` in production. Redirects are not followed.
    #[validate(length(min = 1, max = 2000, message = "must have 1 to 2000 characters"))]
    #[schema(min_length = 1, max_length = 2000, example = "https://grants.melon.example/redress")]
    pub url: String,
    /// What is told there: `credits.deliver`.
    #[validate(length(min = 1, max = 20, message = "must be 1 to 20"))]
    #[schema(min_items = 1, max_items = 20)]
    pub events: Vec<String>,
    /// The service that grants, for `credits.deliver`.
    #[serde(default)]
    #[validate(length(max = 64, message = "is longer than 64 characters"))]
    #[schema(max_length = 64, example = "melon")]
    pub service: Option<String>,
}

/// Which webhooks.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct WhichWebhooks {
    /// Those that are switched off as well.
    #[serde(default)]
    pub disabled: bool,
}

/// The webhooks.
#[derive(Debug, Serialize, ToSchema)]
pub struct WebhookList {
    /// The newest first.
    pub webhooks: Vec<WebhookView>,
}

/// List webhooks
#[utoipa::path(
    get, path = "/v1/webhooks", tag = "deliveries", operation_id = "list_webhooks", params(WhichWebhooks),
    responses(
        (status = 200, description = "The webhooks, without their secrets", body = WebhookList),
        (status = 422, description = "A parameter cannot be read", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn list(app: web::Data<App>, staff: Staff, request: HttpRequest) -> ApiResult<HttpResponse> {
    staff.may_everywhere(Right::ManageWebhooks)?;
    let which: WhichWebhooks = query(&request)?;
    let webhooks = web::block(move || webhooks::list(&app, which.disabled)).await??;
    Ok(HttpResponse::Ok().json(WebhookList { webhooks }))
}

/// Register a webhook
///
/// Calls are signed as Standard Webhooks (`webhook-id`, `webhook-timestamp`, `webhook-signature`) with the secret of the
/// answer, which is shown this once. A call that fails is made again under the same `webhook-id`, for about a day.
#[utoipa::path(
    post, path = "/v1/webhooks", tag = "deliveries", operation_id = "create_webhook",
    request_body(content = WebhookOrder, content_type = "application/json"),
    responses(
        (status = 201, description = "Registered", body = WebhookWithSecret, headers(("Location" = String, description = "Where the webhooks are"))),
        (status = 400, description = "The body is not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The service has one for this already, or there are too many", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is not declared as JSON", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "A field cannot be used", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn create(
    app: web::Data<App>,
    staff: Staff,
    request: HttpRequest,
    payload: web::Payload,
) -> ApiResult<HttpResponse> {
    let actor = staff.may_everywhere(Right::ManageWebhooks)?;
    let order: WebhookOrder = body::json(&request, payload).await?;
    let service = order.service.as_deref().map(ServiceId::parse).transpose();
    let service = service.map_err(|error| ApiError::field("/service", error.to_string()))?;
    let new = NewWebhook { url: order.url, events: order.events, service };
    let made = web::block(move || webhooks::create(&app, &new, &actor)).await??;
    Ok(HttpResponse::Created().insert_header((LOCATION, "/v1/webhooks")).json(made))
}

/// Give a webhook another secret
///
/// Calls are signed with the one before as well for a day, so that whoever verifies them can be told.
#[utoipa::path(
    post, path = "/v1/webhooks/{id}/rotate", tag = "deliveries", operation_id = "rotate_webhook",
    params(("id" = Uuid, Path, description = "The webhook's id")),
    responses(
        (status = 200, description = "The secret, shown this once", body = WebhookWithSecret),
        (status = 400, description = "The id is not a UUID", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such webhook, or it is switched off", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn rotate(app: web::Data<App>, staff: Staff, path: web::Path<String>) -> ApiResult<HttpResponse> {
    let actor = staff.may_everywhere(Right::ManageWebhooks)?;
    let id = uuid_of(&path)?;
    Ok(HttpResponse::Ok().json(web::block(move || webhooks::rotate(&app, id, &actor)).await??))
}

/// Switch a webhook off
///
/// For good. What is to be delivered waits until the service has another one.
#[utoipa::path(
    delete, path = "/v1/webhooks/{id}", tag = "deliveries", operation_id = "remove_webhook",
    params(("id" = Uuid, Path, description = "The webhook's id")),
    responses(
        (status = 204, description = "Nothing goes there any more"),
        (status = 400, description = "The id is not a UUID", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such webhook, or it is switched off", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn remove(app: web::Data<App>, staff: Staff, path: web::Path<String>) -> ApiResult<HttpResponse> {
    let actor = staff.may_everywhere(Right::ManageWebhooks)?;
    let id = uuid_of(&path)?;
    web::block(move || webhooks::remove(&app, id, &actor)).await??;
    Ok(HttpResponse::NoContent().finish())
}
