//! `/v1/claims`: damage reports come in, and their claimants see where they stand.

use actix_web::http::header::{ETAG, HeaderName, LOCATION};
use actix_web::{HttpRequest, HttpResponse, web};

use super::act::caller;
use super::body;
use super::claimant::may_file;
use super::headers::idempotency_key;
use super::identity::staff_of;
use super::intake::Intake;
use super::metrics::Metrics;
use super::problem::{ApiError, ApiResult, Code, Problem};
use crate::app::{Actor, App};
use crate::rights::Right;
use crate::use_cases::claims::{Channel, ClaimAnswer, Filed, NewClaim, Order, status};

/// Tells a client that the answer was given before.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// Report damage
///
/// The report is stored, assessed by the policy of its service and answered with the outcome, its reason and a
/// reference. A retry with the same Idempotency-Key and body gets the same answer, byte for byte.
#[utoipa::path(
    post, path = "/v1/claims", tag = "claims", operation_id = "file_claim",
    params(("Idempotency-Key" = String, Header, description = "Chosen by the client, 1 to 128 visible ASCII characters; the same for every retry", min_length = 1, max_length = 128, pattern = "^[!-~]{1,128}$")),
    request_body(content = NewClaim, content_type = "application/json"),
    responses(
        (status = 201, description = "Stored and assessed", body = ClaimAnswer, headers(
            ("Location" = String, description = "Where the claim is"),
            ("Idempotency-Replayed" = bool, description = "Whether the answer was given before"))),
        (status = 400, description = "The body is not JSON, or the Idempotency-Key is missing", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "The report has to come with the customer's token, or the token does not hold", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token is of another customer, or the right to file for callers is missing", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The first request with this key is under way", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is not declared as JSON", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "A field cannot be used, or the key came with another body", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away, or too many reports come at once; nothing was recorded", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn file(
    app: web::Data<App>,
    intake: web::Data<Intake>,
    metrics: web::Data<Metrics>,
    request: HttpRequest,
    payload: web::Payload,
) -> ApiResult<HttpResponse> {
    let key = idempotency_key(&request)?;
    let body = body::bytes(&request, payload).await?;
    let new: NewClaim = body::parse(&body)?;
    let actor = match new.channel {
        Channel::Web => {
            may_file(&app, &request, &new.customer).await?;
            Actor { name: format!("customer:{}", new.customer), origin: "http".into() }
        }
        // Whoever files for a caller says who he is.
        _ => match staff_of(&request).await? {
            Some(staff) => staff.may_at(Right::WorkClaims, &new.service)?,
            None => return Err(ApiError::field("/channel", "only the staff files for others; leave it out")),
        },
    };
    match intake.into_inner().file(Order::new(new, key, &body, actor)).await? {
        Filed::Answer { body, location, replayed } => {
            if !replayed {
                metrics.claims.inc();
            }
            let mut response = HttpResponse::Created();
            response.insert_header((LOCATION, location));
            response.insert_header((REPLAYED, if replayed { "true" } else { "false" }));
            Ok(response.content_type("application/json").body(body))
        }
        Filed::KeyReused => Err(ApiError::new(Code::IdempotencyKeyReused)),
        Filed::KeyInFlight => Err(ApiError::new(Code::IdempotencyKeyInFlight)),
        Filed::Field(pointer, detail) => Err(ApiError::field(pointer, detail)),
    }
}

/// See where a claim stands
///
/// For its claimant, with the token from the answer to the report, and for the staff, who see more of it.
#[utoipa::path(
    get, path = "/v1/claims/{id}", tag = "claims", operation_id = "show_claim",
    params(("id" = Uuid, Path, description = "The claim's id")),
    responses(
        (status = 200, description = "The claim", body = ClaimAnswer, headers(("ETag" = String, description = "Its version"))),
        (status = 400, description = "The id is not a UUID", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such claim, or the token is another's", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn show(app: web::Data<App>, request: HttpRequest, path: web::Path<String>) -> ApiResult<HttpResponse> {
    let (id, caller) = caller(&app, &request, &path, Some(Right::ReadClaims)).await?;
    let answer =
        web::block(move || app.store.with(|connection| status::show(&app, connection, id, caller.viewer()))).await??;
    Ok(HttpResponse::Ok().insert_header((ETAG, format!("\"{}\"", answer.version))).json(answer))
}
