//! `/v1/webhooks`: whom we tell over HTTP.

use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderValue, LOCATION};
use actix_web::{HttpRequest, HttpResponse, web};
use redress_domain::id::ServiceId;
use redress_store::Connection;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;
use validator::Validate;

use super::act::{answered, asked};
use super::body;
use super::headers::idempotency_key;
use super::identity::Staff;
use super::problem::{ApiError, ApiResult, Problem};
use super::query::query;
use super::session::uuid_of;
use crate::app::App;
use crate::rights::Right;
use crate::shapes::{MessageState, Slug, WebhookEvent, WebhookUrl};
use crate::use_cases::once::{self, Once};
use crate::use_cases::webhooks::events::{self, MessageView};
use crate::use_cases::webhooks::{self, NewWebhook, WebhookView, WebhookWithSecret};

/// A webhook that is to be.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WebhookOrder {
    /// Where calls go; `https://` in production. Redirects are not followed.
    #[validate(length(min = 1, max = 2000, message = "must have 1 to 2000 characters"))]
    #[schema(value_type = WebhookUrl, example = "https://grants.melon.example/redress")]
    pub url: String,
    /// What is told there: `credits.deliver` alone, or events of claims, such as `claim.decided`.
    #[validate(length(min = 1, max = 20, message = "must be 1 to 20"))]
    #[schema(value_type = Vec<WebhookEvent>, min_items = 1, max_items = 20)]
    pub events: Vec<String>,
    /// The service that grants, for `credits.deliver`; the one whose claims are told of, all when absent.
    #[serde(default)]
    #[schema(value_type = Option<Slug>, example = "melon")]
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
    /// The newest first, at most 500.
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
/// answer, which is shown this once: to a retry with the same Idempotency-Key as well. A call that fails is made again under
/// the same `webhook-id`, for about a day.
#[utoipa::path(
    post, path = "/v1/webhooks", tag = "deliveries", operation_id = "create_webhook",
    params(("Idempotency-Key" = String, Header, description = "Chosen by the client, 1 to 128 visible ASCII characters; the same for every retry", min_length = 1, max_length = 128, pattern = "^[!-~]{1,128}$")),
    request_body(content = WebhookOrder, content_type = "application/json"),
    responses(
        (status = 201, description = "Registered", body = WebhookWithSecret, headers(("Location" = String, description = "Where the webhooks are"))),
        (status = 400, description = "The body is not JSON, or the Idempotency-Key is missing", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The service has one for this already, there are too many, or the first request with this key is under way", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is not declared as JSON", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "A field cannot be used, or the key came with another body", body = Problem, content_type = "application/problem+json"),
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
    let key = idempotency_key(&request)?;
    let bytes = body::bytes(&request, payload).await?;
    let order: WebhookOrder = body::parse(&bytes)?;
    let service = order.service.as_deref().map(ServiceId::parse).transpose();
    let service = service.map_err(|error| ApiError::field("/service", error.to_string()))?;
    let new = NewWebhook { url: order.url, events: order.events, service };
    let once = Once { customer: String::new(), who: actor.name.clone(), key, request: asked(&request, &bytes) };
    let done =
        web::block(move || once::run(&app, &once, |connection, _| webhooks::create(&app, connection, &new, &actor)));
    let mut response = answered(done.await??)?;
    *response.status_mut() = StatusCode::CREATED;
    response.headers_mut().insert(LOCATION, HeaderValue::from_static("/v1/webhooks"));
    Ok(response)
}

/// Give a webhook another secret
///
/// Calls are signed with the one before as well for a day, so that whoever verifies them can be told. A retry with the same
/// Idempotency-Key is shown the same secret.
#[utoipa::path(
    post, path = "/v1/webhooks/{id}/rotate", tag = "deliveries", operation_id = "rotate_webhook",
    params(("id" = Uuid, Path, description = "The webhook's id"), ("Idempotency-Key" = String, Header, description = "Chosen by the client, 1 to 128 visible ASCII characters; the same for every retry", min_length = 1, max_length = 128, pattern = "^[!-~]{1,128}$")),
    responses(
        (status = 200, description = "The secret, shown this once", body = WebhookWithSecret),
        (status = 400, description = "The id is not a UUID, or the Idempotency-Key is missing", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such webhook, or it is switched off", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The first request with this key is under way", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The key came with another request", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn rotate(
    app: web::Data<App>,
    staff: Staff,
    path: web::Path<String>,
    request: HttpRequest,
) -> ApiResult<HttpResponse> {
    let actor = staff.may_everywhere(Right::ManageWebhooks)?;
    let id = uuid_of(&path)?;
    let key = idempotency_key(&request)?;
    let once = Once { customer: String::new(), who: actor.name.clone(), key, request: asked(&request, &[]) };
    let done =
        web::block(move || once::run(&app, &once, |connection, _| webhooks::rotate(&app, connection, id, &actor)));
    answered(done.await??)
}

/// Switch a webhook off
///
/// For good. What is to be delivered waits until the service has another one; what was to be told of claims is dropped.
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

/// Which messages.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct WhichMessages {
    /// `queued`, `sent`, `dead` or `dropped`; those that are dead when absent.
    #[param(inline, value_type = Option<MessageState>)]
    pub state: Option<String>,
}

/// Messages to a webhook.
#[derive(Debug, Serialize, ToSchema)]
pub struct MessageList {
    /// The newest first, at most 500.
    pub messages: Vec<MessageView>,
}

/// List messages to a webhook
///
/// What it was told of claims, and what it could not be told.
#[utoipa::path(
    get, path = "/v1/webhooks/{id}/messages", tag = "deliveries", operation_id = "list_webhook_messages",
    params(("id" = Uuid, Path, description = "The webhook's id"), WhichMessages),
    responses(
        (status = 200, description = "The messages", body = MessageList),
        (status = 400, description = "The id is not a UUID", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such webhook", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "A parameter cannot be read", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn messages(
    app: web::Data<App>,
    staff: Staff,
    path: web::Path<String>,
    request: HttpRequest,
) -> ApiResult<HttpResponse> {
    staff.may(Right::ManageWebhooks)?;
    let id = uuid_of(&path)?;
    let state = query::<WhichMessages>(&request)?.state.unwrap_or_else(|| "dead".to_owned());
    if !events::STATES.contains(&state.as_str()) {
        return Err(ApiError::field("/state", format!("{state:?} is none of {}", events::STATES.join(", "))));
    }
    let messages = web::block(move || events::list(&app, id, &state)).await??;
    Ok(HttpResponse::Ok().json(MessageList { messages }))
}

/// Which messages are sent again.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RedeliveryOrder {
    /// Their ids, sent ones too; all that are dead when there are none.
    #[serde(default)]
    #[validate(length(max = 1000, message = "has more than 1000 ids"))]
    #[schema(max_items = 1000)]
    pub ids: Vec<Uuid>,
}

/// How many messages are sent again.
#[derive(Debug, Serialize, ToSchema)]
pub struct Redelivered {
    /// Messages that go with the next pass.
    pub queued: usize,
}

/// Send messages to a webhook again
///
/// Under the same `webhook-id`, so that whoever was told before knows them again. A retry with the same Idempotency-Key
/// queues nothing more.
#[utoipa::path(
    post, path = "/v1/webhooks/{id}/redeliver", tag = "deliveries", operation_id = "redeliver_webhook_messages",
    params(("id" = Uuid, Path, description = "The webhook's id"), ("Idempotency-Key" = String, Header, description = "Chosen by the client, 1 to 128 visible ASCII characters; the same for every retry", min_length = 1, max_length = 128, pattern = "^[!-~]{1,128}$")),
    request_body(content = RedeliveryOrder, content_type = "application/json"),
    responses(
        (status = 200, description = "Queued", body = Redelivered),
        (status = 400, description = "The body is not JSON, the id is not a UUID, or the Idempotency-Key is missing", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such webhook, or it is switched off", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The first request with this key is under way", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is not declared as JSON", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "A field cannot be used, or the key came with another body", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn redeliver(
    app: web::Data<App>,
    staff: Staff,
    path: web::Path<String>,
    request: HttpRequest,
    payload: web::Payload,
) -> ApiResult<HttpResponse> {
    let actor = staff.may(Right::ManageWebhooks)?;
    let id = uuid_of(&path)?;
    let key = idempotency_key(&request)?;
    let bytes = body::bytes(&request, payload).await?;
    let order: RedeliveryOrder = body::parse(&bytes)?;
    let once = Once { customer: String::new(), who: actor.name.clone(), key, request: asked(&request, &bytes) };
    let redeliver = move |connection: &mut Connection, _| {
        Ok(Redelivered { queued: events::redeliver(connection, id, &order.ids, &actor)? })
    };
    answered(web::block(move || once::run(&app, &once, redeliver)).await??)
}
