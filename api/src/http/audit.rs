//! `/v1/audit`: what a claimant takes home, to hold the operator to it.

use actix_web::{HttpRequest, HttpResponse, web};

use super::claimant::of_claimant;
use super::problem::{ApiError, ApiResult, Code, Problem};
use crate::app::App;
use crate::use_cases::audit;

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
