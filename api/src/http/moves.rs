//! `/v1/claims/{id}/…`: what claimants do with their claims, and what both sides write.

use actix_web::{HttpRequest, HttpResponse, web};

use super::act::{Caller, act, caller, if_match};
use super::body::{bytes, parse};
use super::problem::{ApiResult, Problem};
use crate::app::App;
use crate::rights::Right;
use crate::shapes::Version;
use crate::use_cases::claims::claimant::{self, Words};
use crate::use_cases::claims::draft::{self, DraftChange};
use crate::use_cases::claims::status::{self, MessageView};
use crate::use_cases::claims::{ClaimAnswer, review};

/// Change a draft
///
/// What is left out stays as it is.
#[utoipa::path(
    patch, path = "/v1/claims/{id}", tag = "claims", operation_id = "change_draft",
    params(("id" = uuid::Uuid, Path, description = "The claim's id"),
           ("Idempotency-Key" = String, Header, description = "The same for every retry", min_length = 1, max_length = 128, pattern = "^[!-~]{1,128}$"),
           ("If-Match" = inline(Version), Header, description = "The ETag of the draft as it was seen")),
    request_body(content = DraftChange, content_type = "application/json"),
    responses(
        (status = 200, description = "The draft", body = ClaimAnswer),
        (status = 400, description = "The request cannot be read", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such claim, or the token is another's", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It is no draft any more", body = Problem, content_type = "application/problem+json"),
        (status = 412, description = "It has changed since it was seen", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is not declared as JSON", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "A field cannot be used", body = Problem, content_type = "application/problem+json"),
        (status = 428, description = "If-Match is missing", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn change(
    app: web::Data<App>,
    request: HttpRequest,
    path: web::Path<String>,
    payload: web::Payload,
) -> ApiResult<HttpResponse> {
    let (id, caller) = caller(&app, &request, &path, None).await?;
    let version = if_match(&request)?;
    let body = bytes(&request, payload).await?;
    let change: DraftChange = parse(&body)?;
    act(app, &request, &body, id, caller, move |app, connection, actor, at| {
        draft::change(app, connection, id, change, Some(version), actor, at)
    })
    .await
}

/// Send a draft
///
/// It is assessed as any report is. With If-Match only as it was seen.
#[utoipa::path(
    post, path = "/v1/claims/{id}/submit", tag = "claims", operation_id = "submit_claim",
    params(("id" = uuid::Uuid, Path, description = "The claim's id"),
           ("Idempotency-Key" = String, Header, description = "The same for every retry", min_length = 1, max_length = 128, pattern = "^[!-~]{1,128}$")),
    responses(
        (status = 200, description = "The claim", body = ClaimAnswer),
        (status = 400, description = "The request cannot be read", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such claim, or the token is another's", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It was sent before", body = Problem, content_type = "application/problem+json"),
        (status = 412, description = "It has changed since it was seen", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Something is missing in the draft", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn submit(app: web::Data<App>, request: HttpRequest, path: web::Path<String>) -> ApiResult<HttpResponse> {
    let (id, caller) = caller(&app, &request, &path, None).await?;
    let sent = request.headers().contains_key(actix_web::http::header::IF_MATCH);
    let version = if sent { Some(if_match(&request)?) } else { None };
    act(app, &request, &[], id, caller, move |app, connection, actor, at| {
        draft::submit(app, connection, id, version, actor, at)
    })
    .await
}

/// Withdraw a claim
///
/// It can be claimed again afterwards.
#[utoipa::path(
    post, path = "/v1/claims/{id}/withdraw", tag = "claims", operation_id = "withdraw_claim",
    params(("id" = uuid::Uuid, Path, description = "The claim's id"),
           ("Idempotency-Key" = String, Header, description = "The same for every retry", min_length = 1, max_length = 128, pattern = "^[!-~]{1,128}$")),
    responses(
        (status = 200, description = "The claim", body = ClaimAnswer),
        (status = 400, description = "The request cannot be read", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such claim, or the token is another's", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It is decided already", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The key came with another request", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn withdraw(app: web::Data<App>, request: HttpRequest, path: web::Path<String>) -> ApiResult<HttpResponse> {
    let (id, caller) = caller(&app, &request, &path, None).await?;
    act(app, &request, &[], id, caller, move |_, connection, actor, at| claimant::withdraw(connection, id, actor, at))
        .await
}

/// Appeal
///
/// Against the last decision, once and until the time that it states. Somebody else than who decided reads it.
#[utoipa::path(
    post, path = "/v1/claims/{id}/appeal", tag = "claims", operation_id = "appeal_claim",
    params(("id" = uuid::Uuid, Path, description = "The claim's id"),
           ("Idempotency-Key" = String, Header, description = "The same for every retry", min_length = 1, max_length = 128, pattern = "^[!-~]{1,128}$")),
    request_body(content = Words, content_type = "application/json"),
    responses(
        (status = 200, description = "The claim", body = ClaimAnswer),
        (status = 400, description = "The request cannot be read", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such claim, or the token is another's", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "Nothing was refused, it was appealed before, or the time is over", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is not declared as JSON", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "A field cannot be used", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn appeal(
    app: web::Data<App>,
    request: HttpRequest,
    path: web::Path<String>,
    payload: web::Payload,
) -> ApiResult<HttpResponse> {
    let (id, caller) = caller(&app, &request, &path, None).await?;
    let body = bytes(&request, payload).await?;
    let words: Words = parse(&body)?;
    act(app, &request, &body, id, caller, move |app, connection, actor, at| {
        claimant::appeal(app, connection, id, &words, actor, at)
    })
    .await
}

/// Write a message
///
/// The claimant to the readers, or a reader to the claimant. What a claimant writes answers a question that is open.
#[utoipa::path(
    post, path = "/v1/claims/{id}/messages", tag = "claims", operation_id = "write_message",
    params(("id" = uuid::Uuid, Path, description = "The claim's id"),
           ("Idempotency-Key" = String, Header, description = "The same for every retry", min_length = 1, max_length = 128, pattern = "^[!-~]{1,128}$")),
    request_body(content = Words, content_type = "application/json"),
    responses(
        (status = 200, description = "The claim", body = ClaimAnswer),
        (status = 400, description = "The request cannot be read", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such claim, or it is not yours to see", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It was withdrawn, or has as many messages as are kept", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is not declared as JSON", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "A field cannot be used", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn write(
    app: web::Data<App>,
    request: HttpRequest,
    path: web::Path<String>,
    payload: web::Payload,
) -> ApiResult<HttpResponse> {
    let (id, caller) = caller(&app, &request, &path, Some(Right::WorkClaims)).await?;
    let body = bytes(&request, payload).await?;
    let words: Words = parse(&body)?;
    let writer = caller.clone();
    act(app, &request, &body, id, caller, move |app, connection, actor, at| match &writer {
        Caller::Claimant => claimant::write(app, connection, id, &words, actor, at),
        Caller::Staff(_, reader) => review::write(app, connection, reader, id, &words, actor, at),
    })
    .await
}

/// Read the messages of a claim
#[utoipa::path(
    get, path = "/v1/claims/{id}/messages", tag = "claims", operation_id = "read_messages",
    params(("id" = uuid::Uuid, Path, description = "The claim's id")),
    responses(
        (status = 200, description = "The newest 200, in their order", body = Vec<MessageView>),
        (status = 400, description = "The id is not a UUID", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such claim, or it is not yours to see", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn read(app: web::Data<App>, request: HttpRequest, path: web::Path<String>) -> ApiResult<HttpResponse> {
    let (id, caller) = caller(&app, &request, &path, Some(Right::ReadClaims)).await?;
    let messages =
        web::block(move || app.store.with(|connection| status::messages(&app, connection, id, caller.viewer())))
            .await??;
    Ok(HttpResponse::Ok().json(messages))
}
