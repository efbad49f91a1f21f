//! `/v1/claims/file`: reports that came on paper or from elsewhere, many in one file, with the checks of any other.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use super::act::{Refused, asked};
use super::body::{self, parse};
use super::headers::idempotency_key;
use super::identity::Staff;
use super::problem::{ApiError, ApiResult, Code, Problem};
use crate::app::{Actor, App};
use crate::error::AppResult;
use crate::rights::Right;
use crate::use_cases::claims::sheet::Sheet;
use crate::use_cases::claims::{self, ClaimAnswer, Filed, NewClaim, Order};
use crate::use_cases::once::{self, Done, Once};

/// The most lines of a file of reports.
const MAX_LINES: usize = 500;
/// The largest file of reports.
const MAX_FILE: usize = 1024 * 1024;

/// What became of one line of a file.
#[derive(Debug, Serialize, ToSchema)]
pub struct LineResult {
    /// The line, as an editor counts it.
    pub line: u64,
    /// The claim; none where the line was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claim: Option<ClaimAnswer>,
    /// Why it was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
}

/// File many reports
///
/// A CSV file with a header: `incident`, `service`, `customer`, and as many of `policy`, `kind`, `description`, `email`,
/// `name`, `phone`, `payout_account`, `language` and `fact.NAME` as there are. Each line is checked and assessed as any
/// report is, by itself. The same line of the same file is filed once, whoever sends it however often; longer files take
/// `redress claim file`.
#[utoipa::path(
    post, path = "/v1/claims/file", tag = "desk", operation_id = "file_many",
    params(("Idempotency-Key" = String, Header, description = "The same for every retry", min_length = 1, max_length = 128, pattern = "^[!-~]{1,128}$")),
    request_body(content = String, content_type = "text/csv"),
    responses((status = 200, description = "What became of each line", body = Vec<LineResult>), Refused),
)]
pub async fn file(
    app: web::Data<App>,
    staff: Staff,
    request: HttpRequest,
    payload: web::Payload,
) -> ApiResult<HttpResponse> {
    let actor = staff.may(Right::WorkClaims)?;
    let key = idempotency_key(&request)?;
    let body = body::whole(&request, payload, "text/csv", MAX_FILE).await?;
    let lines = lines_of(&body)?;
    let hash = hex::encode(Sha256::digest(&body));
    let once = Once { customer: String::new(), who: actor.name.clone(), key, request: asked(&request, &body) };
    let results = web::block(move || -> ApiResult<Vec<LineResult>> {
        // Only that the key names this file is kept under it: what became of the lines is kept by line.
        match once::run(&app, &once, |_, _| Ok(&hash))? {
            Done::KeyReused => return Err(ApiError::new(Code::IdempotencyKeyReused)),
            Done::KeyInFlight => return Err(ApiError::new(Code::IdempotencyKeyInFlight)),
            Done::Answer { .. } => {}
        }
        let may = |new: &NewClaim| staff.may_at(Right::WorkClaims, &new.service).map(drop);
        Ok(file_lines(&app, &actor, &may, &hash, lines))
    })
    .await??;
    Ok(HttpResponse::Ok().json(results))
}

/// The lines of a file that is short enough to wait for.
fn lines_of(body: &[u8]) -> ApiResult<Vec<claims::sheet::Line>> {
    let fault = |why: String| ApiError::with_detail(Code::MalformedBody, why);
    let mut sheet = Sheet::open(body).map_err(fault)?;
    let mut lines = Vec::new();
    while let Some(line) = sheet.next_line().map_err(|why| fault(why.to_string()))? {
        if lines.len() >= MAX_LINES {
            let detail = format!("at most {MAX_LINES} lines are taken at once");
            return Err(ApiError::with_detail(Code::BodyTooLarge, detail));
        }
        lines.push(line);
    }
    Ok(lines)
}

/// Files lines of the file with this hash, each once, and says what became of each.
pub(crate) fn file_lines(
    app: &App,
    actor: &Actor,
    may: &dyn Fn(&NewClaim) -> ApiResult<()>,
    hash: &str,
    lines: Vec<claims::sheet::Line>,
) -> Vec<LineResult> {
    let mut results = Vec::with_capacity(lines.len());
    let (mut orders, mut places) = (Vec::new(), Vec::new());
    for (place, (line, report)) in lines.into_iter().enumerate() {
        // A space is in no client's key: no other request meets this one's.
        let key = format!("file {hash} {line}");
        let report = report.map_err(|why| ApiError::with_detail(Code::InvalidRequest, why));
        let problem = match report.and_then(|report| order_of(actor, may, key, &report)) {
            Ok(order) => {
                orders.push(order);
                places.push(place);
                None
            }
            Err(error) => Some(error.problem()),
        };
        results.push(LineResult { line, claim: None, problem });
    }
    claims::file(app, &mut app.store.session(), &orders, &mut |order, filed| {
        let Some(result) = places.get(order).and_then(|place| results.get_mut(*place)) else { return };
        match claim_of(filed) {
            Ok(claim) => result.claim = Some(claim),
            Err(error) => result.problem = Some(error.problem()),
        }
    });
    results
}

/// One line as a report that is to be filed, with the checks of any report.
fn order_of(actor: &Actor, may: &dyn Fn(&NewClaim) -> ApiResult<()>, key: String, report: &Value) -> ApiResult<Order> {
    let body = report.to_string();
    let new: NewClaim = parse(body.as_bytes())?;
    may(&new)?;
    Ok(Order::new(new, key, body.as_bytes(), actor.clone()))
}

fn claim_of(filed: AppResult<Filed>) -> ApiResult<ClaimAnswer> {
    match filed? {
        Filed::Answer { body, .. } => serde_json::from_slice(&body)
            .map_err(|error| ApiError::with_detail(Code::Internal, format!("an answer cannot be read: {error}"))),
        Filed::KeyReused => Err(ApiError::new(Code::IdempotencyKeyReused)),
        Filed::KeyInFlight => Err(ApiError::new(Code::IdempotencyKeyInFlight)),
        Filed::Field(pointer, detail) => Err(ApiError::field(pointer, detail)),
    }
}
