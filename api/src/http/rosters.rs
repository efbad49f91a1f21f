//! `/v1/rosters`: the operator's records of who held what, streamed to the disk and imported from there.

use std::io::Write;
use std::path::PathBuf;

use actix_web::{HttpRequest, HttpResponse, web};
use futures_util::StreamExt;
use redress_domain::id::IncidentId;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use utoipa::{IntoParams, ToSchema};

use super::body;
use super::identity::Staff;
use super::problem::{ApiError, ApiResult, Code, Problem};
use super::query::query;
use crate::app::App;
use crate::error::{AppError, AppResult};
use crate::rights::Right;
use crate::shapes::Slug;
use crate::use_cases::rosters;

/// The largest roster: some 30 million rows.
const MAX_ROSTER: u64 = 4 << 30;

/// Where a roster belongs.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Belongs {
    /// The incident.
    #[param(inline, value_type = Slug, example = "kakao-2022-10-15")]
    pub incident: IncidentId,
}

/// What an import did.
#[derive(Debug, Serialize, ToSchema)]
pub struct RosterImported {
    /// Holdings taken.
    pub accepted: i64,
    /// Rows refused; the others were taken.
    pub refused: i64,
    /// The first refusals, as `line 7: reason`; all of them stand in a file of the data folder.
    pub first_refusals: Vec<String>,
}

/// Import a roster
///
/// Good rows are taken in one transaction, bad ones are refused alone, with line and reason. The body is streamed; the
/// same file again changes nothing. Takes a member who works for all services.
#[utoipa::path(
    post, path = "/v1/rosters", tag = "incidents", operation_id = "import_roster", params(Belongs),
    request_body(content((String = "text/csv"), (String = "application/x-ndjson")), description = "The roster, at most 4 GiB"),
    responses(
        (status = 200, description = "Imported", body = RosterImported),
        (status = 400, description = "The body broke off", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such incident", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is declared as neither CSV nor NDJSON", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "It is no roster; the detail names line and column", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn import(
    app: web::Data<App>,
    staff: Staff,
    request: HttpRequest,
    payload: web::Payload,
) -> ApiResult<HttpResponse> {
    let actor = staff.may_everywhere(Right::ImportRosters)?;
    let Belongs { incident } = query(&request)?;
    let kinds = [("text/csv", "csv"), ("application/x-ndjson", "ndjson")];
    let Some((_, kind)) = kinds.into_iter().find(|(content_type, _)| body::declares(&request, content_type)) else {
        let detail = "send Content-Type: text/csv or application/x-ndjson";
        return Err(ApiError::with_detail(Code::UnsupportedMediaType, detail));
    };
    if body::declared_length(&request).is_some_and(|length| length > MAX_ROSTER) {
        return Err(too_large());
    }
    let upload = Upload::begin(&app, kind)?;
    let upload = upload.receive(payload).await?;
    let done = web::block(move || {
        let file = upload.path.display().to_string();
        rosters::import(&app, &upload.path, &incident, None, &actor).map_err(|error| match error {
            // Where the body was put is nobody's business.
            AppError::Invalid(detail) => AppError::Invalid(detail.replace(&file, "body")),
            other => other,
        })
    })
    .await??;
    let rosters::Imported { accepted, refused, first_refusals, .. } = done;
    Ok(HttpResponse::Ok().json(RosterImported { accepted, refused, first_refusals }))
}

fn too_large() -> ApiError {
    ApiError::with_detail(Code::BodyTooLarge, format!("at most {MAX_ROSTER} bytes are taken"))
}

/// A file under way; gone when it is dropped.
struct Upload {
    path: PathBuf,
    file: Option<std::fs::File>,
}

impl Upload {
    fn begin(app: &App, kind: &str) -> AppResult<Self> {
        let folder = app.settings.data_dir.join("uploads");
        let writing = || format!("writing {}", folder.display());
        std::fs::create_dir_all(&folder).map_err(AppError::io(writing()))?;
        let path = folder.join(format!("roster-{}.{kind}", uuid::Uuid::now_v7()));
        let file = std::fs::File::create_new(&path).map_err(AppError::io(writing()))?;
        Ok(Self { path, file: Some(file) })
    }

    /// Writes the body to the disk, a piece at a time.
    async fn receive(mut self, mut payload: web::Payload) -> ApiResult<Self> {
        let mut length = 0_u64;
        // A large roster may take its time, but not stand still.
        while let Some(piece) = timeout(body::BODY_TIMEOUT, payload.next()).await.map_err(|_| body::too_slow())? {
            let piece = piece.map_err(|error| ApiError::with_detail(Code::MalformedBody, error.to_string()))?;
            length += u64::try_from(piece.len()).unwrap_or(u64::MAX);
            if length > MAX_ROSTER {
                return Err(too_large());
            }
            let Some(mut file) = self.file.take() else { break };
            let path = self.path.display().to_string();
            let written = web::block(move || file.write_all(&piece).map(|()| file)).await?;
            self.file = Some(written.map_err(AppError::io(format!("writing {path}")))?);
        }
        self.file = None;
        Ok(self)
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        // What stays behind takes room and harms nobody: the folder is the operator's own.
        let _ = std::fs::remove_file(&self.path);
    }
}
