//! `/v1/claims/{id}/evidence`: what belongs to a claim comes in, and goes out only to those who may see it.

use actix_web::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY, HeaderName, LOCATION};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::claimant::{Access, of_claimant_or};
use super::problem::{ApiError, ApiResult, Code, Problem};
use super::upload::Uploads;
use crate::app::App;
use crate::rights::Right;
use crate::use_cases::evidence::{self, Added, EvidenceView, File, Refusal};

/// Nothing in a file may run, load or look at anything, wherever it is shown.
const SANDBOX: &str = "default-src 'none'; sandbox";
const SAME_ORIGIN_ONLY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// A file in the body of an upload.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "the document speaks of it; the body is read as it streams")]
pub struct NewEvidence {
    /// A JPEG or PNG picture or a PDF document, at most 10 MiB; its name does not matter.
    #[schema(value_type = String, format = Binary)]
    file: Vec<u8>,
    /// Which document it is, by the code that the claim asks for; the first that is missing when left out.
    #[schema(example = "proof-of-loss", max_length = 64)]
    document: Option<String>,
}

/// The evidence of a claim.
#[derive(Serialize, ToSchema)]
pub struct EvidenceList {
    /// In the order it came.
    pub evidence: Vec<EvidenceView>,
}

/// File evidence
///
/// One file at a time: JPEG, PNG or PDF, by its content. Pictures are drawn anew from their pixels, so that nothing is kept of what
/// cameras write about place and owner. A claim that waits for documents goes on by itself when they are there. The same
/// file sent again is the same evidence, so that a retry needs no key.
#[utoipa::path(
    post, path = "/v1/claims/{id}/evidence", tag = "claims", operation_id = "add_evidence",
    params(("id" = Uuid, Path, description = "The claim's id")),
    request_body(content = NewEvidence, content_type = "multipart/form-data"),
    responses(
        (status = 200, description = "The same file was stored before", body = Added),
        (status = 201, description = "Stored", body = Added, headers(("Location" = String, description = "Where the file is"))),
        (status = 400, description = "The body cannot be read, or the id is not a UUID", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such claim, or it is not the caller's", body = Problem, content_type = "application/problem+json"),
        (status = 408, description = "The file took too long", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The claim is decided, or has as many files as it may", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The file is too large", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is no form, or the file is of another kind", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The file is damaged, too large a picture, or has active content or a virus", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Too many uploads at once, or files cannot be checked; nothing was kept", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn add(
    app: web::Data<App>,
    uploads: web::Data<Uploads>,
    request: HttpRequest,
    path: web::Path<String>,
    payload: web::Payload,
) -> ApiResult<HttpResponse> {
    let Access { view, actor } = of_claimant_or(&app, &request, &path, Right::WorkClaims).await?;
    let upload = uploads.receive(&request, payload, app.settings.upload_timeout).await?;
    let (customer, claim) = (view.claim.customer_id, view.claim.id);
    let added = web::block(move || {
        let mut upload = upload;
        let content = std::mem::take(&mut upload.content);
        evidence::add(&app, File { customer: &customer, claim, document: upload.document.as_deref(), content }, &actor)
    })
    .await??
    .map_err(|refusal| refused(&refusal))?;
    if added.known {
        return Ok(HttpResponse::Ok().json(added));
    }
    let location = format!("/v1/claims/{claim}/evidence/{}", added.evidence.id);
    Ok(HttpResponse::Created().insert_header((LOCATION, location)).json(added))
}

/// List evidence
///
/// For the claimant, and for staff who may read claims.
#[utoipa::path(
    get, path = "/v1/claims/{id}/evidence", tag = "claims", operation_id = "list_evidence",
    params(("id" = Uuid, Path, description = "The claim's id")),
    responses(
        (status = 200, description = "The evidence", body = EvidenceList),
        (status = 400, description = "The id is not a UUID", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such claim, or it is not the caller's", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn list(app: web::Data<App>, request: HttpRequest, path: web::Path<String>) -> ApiResult<HttpResponse> {
    let Access { view, .. } = of_claimant_or(&app, &request, &path, Right::ReadClaims).await?;
    let evidence = web::block(move || evidence::list(&app, &view.claim.customer_id, view.claim.id)).await??;
    Ok(HttpResponse::Ok().json(EvidenceList { evidence }))
}

/// Download evidence
///
/// As an attachment that browsers neither show nor run.
#[utoipa::path(
    get, path = "/v1/claims/{id}/evidence/{evidence}", tag = "claims", operation_id = "download_evidence",
    params(("id" = Uuid, Path, description = "The claim's id"), ("evidence" = Uuid, Path, description = "The file's id")),
    responses(
        (status = 200, description = "The file", content(
            (Vec<u8> = "image/jpeg"), (Vec<u8> = "image/png"), (Vec<u8> = "application/pdf"))),
        (status = 400, description = "An id is not a UUID", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such file, or it is not the caller's", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn download(
    app: web::Data<App>,
    request: HttpRequest,
    path: web::Path<(String, String)>,
) -> ApiResult<HttpResponse> {
    let (claim, file) = path.into_inner();
    let Access { view, .. } = of_claimant_or(&app, &request, &claim, Right::ReadClaims).await?;
    let id =
        Uuid::parse_str(&file).map_err(|_| ApiError::with_detail(Code::InvalidPath, "the file's id is not a UUID"))?;
    let found = web::block(move || evidence::open(&app, &view.claim.customer_id, view.claim.id, id)).await??;
    let (kind, content) = found.ok_or_else(|| ApiError::new(Code::NotFound))?;
    Ok(HttpResponse::Ok()
        .content_type(kind.media_type())
        .insert_header((CONTENT_DISPOSITION, format!("attachment; filename=\"evidence-{id}.{}\"", kind.extension())))
        .insert_header((CONTENT_SECURITY_POLICY, SANDBOX))
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header((SAME_ORIGIN_ONLY, "same-origin"))
        .body(content))
}

fn refused(refusal: &Refusal) -> ApiError {
    let code = match refusal {
        Refusal::Type(_) => Code::EvidenceTypeRefused,
        Refusal::Unreadable(_) => Code::EvidenceUnreadable,
        Refusal::Pixels { .. } => Code::PictureTooLarge,
        Refusal::Active(_) => Code::EvidenceActive,
        Refusal::Malware(_) => Code::EvidenceMalware,
        Refusal::ScannerAway => Code::ScannerUnavailable,
        Refusal::Limit => Code::EvidenceLimit,
        Refusal::Document(_) => return ApiError::field("/document", refusal.to_string()),
        Refusal::State(_) => Code::EvidenceNotTaken,
        Refusal::Sweeping => Code::Busy,
    };
    ApiError::with_detail(code, refusal.to_string())
}
