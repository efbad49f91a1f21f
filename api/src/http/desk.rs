//! `/v1/claims/…` for the staff: the next claim, who has it, what is asked, what is decided.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use utoipa::ToSchema;
use validator::Validate;

use super::act::{Caller, Refused, act, answered, asked, claim_id, if_match, reader_of};
use super::body::{bytes, parse};
use super::headers::idempotency_key;
use super::identity::Staff;
use super::problem::ApiResult;
use crate::app::App;
use crate::error::AppResult;
use crate::rights::Right;
use crate::shapes::{Slug, Version};
use crate::use_cases::claims::ClaimAnswer;
use crate::use_cases::claims::assign::{self, Assignment};
use crate::use_cases::claims::claimant::Words;
use crate::use_cases::claims::decision::{self, NewDecision, Signature};
use crate::use_cases::claims::review::{self, Command, Question};
use crate::use_cases::claims::status::{self, Viewer};
use crate::use_cases::claims::triage::{self, SecondWord};
use crate::use_cases::once::{self, Once};

/// From which queue the next claim comes.
#[derive(Debug, Clone, Default, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WhichQueue {
    /// The queue; any of the reader's own when absent. Enquiries come only when they are asked for.
    #[serde(default)]
    #[validate(length(max = 64, message = "is longer than 64 characters"))]
    #[schema(max_length = 64, example = "council")]
    pub queue: Option<String>,
}

/// The claim that a reader was given.
#[derive(Debug, serde::Serialize, ToSchema)]
pub struct Given {
    /// The claim, his for a quarter of an hour; null when nothing waits.
    pub claim: Option<ClaimAnswer>,
    /// Its version, for If-Match.
    pub version: Option<i32>,
}

/// Why a claim is taken up again.
#[derive(Debug, Clone, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Reopening {
    /// Why, as a code such as `second-reader-disagrees`.
    #[schema(value_type = Slug)]
    pub reason: redress_domain::id::ReasonCode,
}

/// Take the next claim
///
/// Leases the next claim of the reader's queues for a quarter of an hour: first what was given to him, then the oldest
/// that is nobody's. No two readers get the same one. A retry with the same key gets the same answer.
#[utoipa::path(
    post, path = "/v1/claims/next", tag = "desk", operation_id = "next_claim",
    params(("Idempotency-Key" = String, Header, description = "The same for every retry", min_length = 1, max_length = 128, pattern = "^[!-~]{1,128}$")),
    request_body(content = WhichQueue, content_type = "application/json"),
    responses((status = 200, description = "The claim, or null", body = Given), Refused),
)]
pub async fn next(
    app: web::Data<App>,
    staff: Staff,
    request: HttpRequest,
    payload: web::Payload,
) -> ApiResult<HttpResponse> {
    let (actor, reader) = (staff.may(Right::WorkClaims)?, reader_of(&staff));
    let key = idempotency_key(&request)?;
    let body = bytes(&request, payload).await?;
    let which: WhichQueue = parse(&body)?;
    let once = Once { customer: String::new(), who: actor.name, key, request: asked(&request, &body) };
    let done = web::block(move || {
        once::run(&app, &once, |connection, _| -> AppResult<Given> {
            let id = review::next(connection, &reader, which.queue.as_deref())?;
            let claim = id.map(|id| status::show(&app, connection, id, Viewer::Staff(&reader))).transpose()?;
            Ok(Given { version: claim.as_ref().map(|claim| claim.version), claim })
        })
    })
    .await??;
    answered(done)
}

/// Take a claim, or keep it
///
/// Leases this claim for a quarter of an hour, or renews the lease.
#[utoipa::path(
    post, path = "/v1/claims/{id}/lease", tag = "desk", operation_id = "lease_claim",
    params(
        ("id" = uuid::Uuid, Path, description = "The claim's id"),
        ("Idempotency-Key" = String, Header, description = "The same for every retry", min_length = 1, max_length = 128, pattern = "^[!-~]{1,128}$")),
    responses((status = 200, description = "The claim", body = ClaimAnswer), Refused),
)]
pub async fn lease(
    app: web::Data<App>,
    staff: Staff,
    request: HttpRequest,
    path: web::Path<String>,
) -> ApiResult<HttpResponse> {
    let (actor, reader) = (staff.may(Right::WorkClaims)?, reader_of(&staff));
    let id = claim_id(&path)?;
    let caller = Caller::Staff(actor, reader.clone());
    act(app, &request, &[], id, caller, move |_, connection, _, _| review::lease(connection, &reader, id)).await
}

/// Give a claim back
///
/// The lease ends; another may take it at once.
#[utoipa::path(
    post, path = "/v1/claims/{id}/release", tag = "desk", operation_id = "release_claim",
    params(
        ("id" = uuid::Uuid, Path, description = "The claim's id"),
        ("Idempotency-Key" = String, Header, description = "The same for every retry", min_length = 1, max_length = 128, pattern = "^[!-~]{1,128}$")),
    responses((status = 200, description = "The claim", body = ClaimAnswer), Refused),
)]
pub async fn release(
    app: web::Data<App>,
    staff: Staff,
    request: HttpRequest,
    path: web::Path<String>,
) -> ApiResult<HttpResponse> {
    let (actor, reader) = (staff.may(Right::WorkClaims)?, reader_of(&staff));
    let id = claim_id(&path)?;
    let caller = Caller::Staff(actor, reader.clone());
    act(app, &request, &[], id, caller, move |_, connection, _, _| review::release(connection, &reader, id)).await
}

/// Give a claim to somebody
///
/// It is the first that he gets next, and nobody else gets it. Refused where it would not come to him: to whoever does not
/// work on claims or for their service, or has not set himself up.
#[utoipa::path(
    post, path = "/v1/claims/{id}/assign", tag = "desk", operation_id = "assign_claim",
    params(
        ("id" = uuid::Uuid, Path, description = "The claim's id"),
        ("Idempotency-Key" = String, Header, description = "The same for every retry", min_length = 1, max_length = 128, pattern = "^[!-~]{1,128}$")),
    request_body(content = Assignment, content_type = "application/json"),
    responses((status = 200, description = "The claim", body = ClaimAnswer), Refused),
)]
pub async fn assign(
    app: web::Data<App>,
    staff: Staff,
    request: HttpRequest,
    path: web::Path<String>,
    payload: web::Payload,
) -> ApiResult<HttpResponse> {
    let (actor, reader) = (staff.may(Right::WorkClaims)?, reader_of(&staff));
    let id = claim_id(&path)?;
    let body = bytes(&request, payload).await?;
    let wanted: Assignment = parse(&body)?;
    let caller = Caller::Staff(actor, reader.clone());
    act(app, &request, &body, id, caller, move |_, connection, actor, at| {
        assign::assign(connection, &reader, id, &wanted, actor, at)
    })
    .await
}

/// Ask the claimant
///
/// Reminders follow by themselves; when the term is over without an answer the claim comes back, never declined for silence.
#[utoipa::path(
    post, path = "/v1/claims/{id}/request-information", tag = "desk", operation_id = "request_information",
    params(
        ("id" = uuid::Uuid, Path, description = "The claim's id"),
        ("Idempotency-Key" = String, Header, description = "The same for every retry", min_length = 1, max_length = 128, pattern = "^[!-~]{1,128}$")),
    request_body(content = Question, content_type = "application/json"),
    responses((status = 200, description = "The claim", body = ClaimAnswer), Refused),
)]
pub async fn request_information(
    app: web::Data<App>,
    staff: Staff,
    request: HttpRequest,
    path: web::Path<String>,
    payload: web::Payload,
) -> ApiResult<HttpResponse> {
    let (actor, reader) = (staff.may(Right::WorkClaims)?, reader_of(&staff));
    let id = claim_id(&path)?;
    let body = bytes(&request, payload).await?;
    let wanted: Question = parse(&body)?;
    let caller = Caller::Staff(actor, reader.clone());
    act(app, &request, &body, id, caller, move |app, connection, actor, at| {
        review::request_information(app, connection, &reader, id, &wanted, actor, at)
    })
    .await
}

/// Answer an enquiry
///
/// It is closed; whoever asked may write again.
#[utoipa::path(
    post, path = "/v1/claims/{id}/answer", tag = "desk", operation_id = "answer_enquiry",
    params(
        ("id" = uuid::Uuid, Path, description = "The claim's id"),
        ("Idempotency-Key" = String, Header, description = "The same for every retry", min_length = 1, max_length = 128, pattern = "^[!-~]{1,128}$")),
    request_body(content = Words, content_type = "application/json"),
    responses((status = 200, description = "The claim", body = ClaimAnswer), Refused),
)]
pub async fn answer(
    app: web::Data<App>,
    staff: Staff,
    request: HttpRequest,
    path: web::Path<String>,
    payload: web::Payload,
) -> ApiResult<HttpResponse> {
    let (actor, reader) = (staff.may(Right::WorkClaims)?, reader_of(&staff));
    let id = claim_id(&path)?;
    let body = bytes(&request, payload).await?;
    let wanted: Words = parse(&body)?;
    let caller = Caller::Staff(actor, reader.clone());
    act(app, &request, &body, id, caller, move |app, connection, actor, at| {
        review::answer(app, connection, &reader, id, &wanted, actor, at)
    })
    .await
}

/// Decide a claim
///
/// Beyond what the reader decides alone it waits for a second signature. What an amended decision grants more than was credited is paid by the next run.
#[utoipa::path(
    post, path = "/v1/claims/{id}/decision", tag = "desk", operation_id = "decide_claim",
    params(
        ("id" = uuid::Uuid, Path, description = "The claim's id"),
        ("Idempotency-Key" = String, Header, description = "The same for every retry", min_length = 1, max_length = 128, pattern = "^[!-~]{1,128}$"),
        ("If-Match" = inline(Version), Header, description = "The ETag of the claim as it was seen")),
    request_body(content = NewDecision, content_type = "application/json"),
    responses((status = 200, description = "The claim", body = ClaimAnswer), Refused),
)]
pub async fn decide(
    app: web::Data<App>,
    staff: Staff,
    request: HttpRequest,
    path: web::Path<String>,
    payload: web::Payload,
) -> ApiResult<HttpResponse> {
    let (actor, reader) = (staff.may(Right::DecideClaims)?, reader_of(&staff));
    let id = claim_id(&path)?;
    let version = if_match(&request)?;
    let body = bytes(&request, payload).await?;
    let wanted: NewDecision = parse(&body)?;
    let caller = Caller::Staff(actor, reader.clone());
    act(app, &request, &body, id, caller, move |app, connection, actor, at| {
        decision::decide(connection, &Command { app, reader: &reader, actor, at }, id, &wanted, Some(version))
    })
    .await
}

/// Give the second signature
///
/// Whoever decided cannot; the database refuses it too.
#[utoipa::path(
    post, path = "/v1/claims/{id}/approve-decision", tag = "desk", operation_id = "approve_decision",
    params(
        ("id" = uuid::Uuid, Path, description = "The claim's id"),
        ("Idempotency-Key" = String, Header, description = "The same for every retry", min_length = 1, max_length = 128, pattern = "^[!-~]{1,128}$"),
        ("If-Match" = inline(Version), Header, description = "The ETag of the claim as it was seen")),
    request_body(content = Signature, content_type = "application/json"),
    responses((status = 200, description = "The claim", body = ClaimAnswer), Refused),
)]
pub async fn sign(
    app: web::Data<App>,
    staff: Staff,
    request: HttpRequest,
    path: web::Path<String>,
    payload: web::Payload,
) -> ApiResult<HttpResponse> {
    let (actor, reader) = (staff.may(Right::ApproveDecisions)?, reader_of(&staff));
    let id = claim_id(&path)?;
    let version = if_match(&request)?;
    let body = bytes(&request, payload).await?;
    let wanted: Signature = parse(&body)?;
    let caller = Caller::Staff(actor, reader.clone());
    act(app, &request, &body, id, caller, move |app, connection, actor, at| {
        decision::sign(connection, &Command { app, reader: &reader, actor, at }, id, &wanted, Some(version))
    })
    .await
}

/// Take a claim up again
///
/// What was decided holds until it is decided anew.
#[utoipa::path(
    post, path = "/v1/claims/{id}/reopen", tag = "desk", operation_id = "reopen_claim",
    params(
        ("id" = uuid::Uuid, Path, description = "The claim's id"),
        ("Idempotency-Key" = String, Header, description = "The same for every retry", min_length = 1, max_length = 128, pattern = "^[!-~]{1,128}$")),
    request_body(content = Reopening, content_type = "application/json"),
    responses((status = 200, description = "The claim", body = ClaimAnswer), Refused),
)]
pub async fn reopen(
    app: web::Data<App>,
    staff: Staff,
    request: HttpRequest,
    path: web::Path<String>,
    payload: web::Payload,
) -> ApiResult<HttpResponse> {
    let (actor, reader) = (staff.may(Right::DecideClaims)?, reader_of(&staff));
    let id = claim_id(&path)?;
    let body = bytes(&request, payload).await?;
    let wanted: Reopening = parse(&body)?;
    let caller = Caller::Staff(actor, reader.clone());
    act(app, &request, &body, id, caller, move |_, connection, actor, at| {
        review::reopen(connection, &reader, id, wanted.reason.as_str(), actor, at)
    })
    .await
}

/// Say what a second reader thinks
///
/// Of a claim that was drawn, by somebody who did not decide it.
#[utoipa::path(
    post, path = "/v1/claims/{id}/second-reading", tag = "desk", operation_id = "read_claim_again",
    params(
        ("id" = uuid::Uuid, Path, description = "The claim's id"),
        ("Idempotency-Key" = String, Header, description = "The same for every retry", min_length = 1, max_length = 128, pattern = "^[!-~]{1,128}$")),
    request_body(content = SecondWord, content_type = "application/json"),
    responses((status = 200, description = "The claim", body = ClaimAnswer), Refused),
)]
pub async fn read_again(
    app: web::Data<App>,
    staff: Staff,
    request: HttpRequest,
    path: web::Path<String>,
    payload: web::Payload,
) -> ApiResult<HttpResponse> {
    let (actor, reader) = (staff.may(Right::DecideClaims)?, reader_of(&staff));
    let id = claim_id(&path)?;
    let body = bytes(&request, payload).await?;
    let wanted: SecondWord = parse(&body)?;
    let caller = Caller::Staff(actor, reader.clone());
    act(app, &request, &body, id, caller, move |_, connection, actor, at| {
        triage::read_again(connection, &reader, id, &wanted, actor, at)
    })
    .await
}
