//! `/v1/audit`: what a claimant takes home, to hold the operator to it.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use utoipa::IntoParams;

use super::claimant::of_claimant;
use super::identity::Staff;
use super::problem::{ApiError, ApiResult, Code, Problem};
use super::query::query;
use crate::app::App;
use crate::rights::Right;
use crate::use_cases::audit;

/// Which entries.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct Entries {
    /// Only entries before this one: `next` of the page before.
    pub before: Option<i64>,
    /// Only entries on this object, such as `run 7`.
    pub object: Option<String>,
}

/// Read the audit log
///
/// Who did what, newest first. `redress verify` and the signed heads show that nothing of it was changed.
#[utoipa::path(
    get, path = "/v1/audit", tag = "audit", operation_id = "list_audit", params(Entries),
    responses(
        (status = 200, description = "A page of entries", body = audit::EntryPage),
        (status = 422, description = "A parameter cannot be read", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn list(app: web::Data<App>, staff: Staff, request: HttpRequest) -> ApiResult<HttpResponse> {
    staff.may_everywhere(Right::ReadAudit)?;
    let query: Entries = query(&request)?;
    let page = web::block(move || audit::page(&app, query.before, query.object.as_deref())).await??;
    Ok(HttpResponse::Ok().json(page))
}

/// Prove that a claim stands in the log
///
/// The claim's audit entries and credits, each with its inclusion path (RFC 9162), and the signed head that all paths
/// lead to. It holds all it needs: `redress audit check-proof` checks it without the operator's help. For the claimant,
/// with the token from the answer to the report; nothing of other customers is in it.
#[utoipa::path(
    get, path = "/v1/audit/proof/{claim}", tag = "audit", operation_id = "prove_claim",
    params(("claim" = uuid::Uuid, Path, description = "The claim's id")),
    responses(
        (status = 200, description = "The proof, to be kept byte for byte", body = serde_json::Value),
        (status = 400, description = "The id is not a UUID", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such claim, or the token is another's", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn proof(app: web::Data<App>, request: HttpRequest, path: web::Path<String>) -> ApiResult<HttpResponse> {
    let id = of_claimant(&app, &request, &path).await?.view.claim.id;
    let proof = web::block(move || audit::proof_of(&app, id)).await??;
    Ok(HttpResponse::Ok().json(proof.ok_or_else(|| ApiError::new(Code::NotFound))?))
}
