//! Errors as RFC 9457 problems, each with a stable code. A 5xx body says nothing; the log says everything.

use std::fmt;

use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpResponse, ResponseError};
use redress_store::StoreError;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::error::AppError;
use crate::refusal::Refusal;

/// A problem, as RFC 9457 (`application/problem+json`) has it.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// Identifies the kind of problem; the last part is the code.
    #[serde(rename = "type")]
    #[schema(example = "/docs/problems#idempotency_key_missing")]
    pub kind: String,
    /// What kind of problem it is, in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// A stable code for programs.
    #[schema(example = "idempotency_key_missing")]
    pub code: String,
    /// What happened this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Which fields are wrong, by JSON pointer (RFC 6901).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
}

/// A field that is wrong.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct FieldError {
    /// Where it stands in the request's body.
    #[schema(example = "/contact/email")]
    pub pointer: String,
    /// What is wrong with it.
    pub detail: String,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = ($code:literal, $status:ident, $title:literal);)*) => {
        /// Every kind of problem the API answers with.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Code {
            $($(#[$doc])* $name,)*
        }

        impl Code {
            /// Every code, for the page that lists them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The code, the status and the title.
            pub fn parts(self) -> (&'static str, StatusCode, &'static str) {
                match self {
                    $(Self::$name => ($code, StatusCode::$status, $title),)*
                }
            }
        }
    };
}

codes! {
    /// The body is not JSON.
    MalformedBody = ("malformed_body", BAD_REQUEST, "The body cannot be read");
    /// The body is larger than is taken.
    BodyTooLarge = ("body_too_large", PAYLOAD_TOO_LARGE, "The body is too large");
    /// The body is JSON but not what the route takes.
    InvalidRequest = ("invalid_request", UNPROCESSABLE_ENTITY, "The request is not valid");
    /// A part of the path is not what it must be.
    InvalidPath = ("invalid_path", BAD_REQUEST, "The path is not valid");
    /// A header is not what it must be.
    InvalidHeader = ("invalid_header", BAD_REQUEST, "A header is not valid");
    /// The header is missing or malformed.
    IdempotencyKeyMissing = ("idempotency_key_missing", BAD_REQUEST, "An Idempotency-Key is needed");
    /// The key came with another request before.
    IdempotencyKeyReused = ("idempotency_key_reused", UNPROCESSABLE_ENTITY, "The Idempotency-Key was used for another request");
    /// The first request with this key is still being worked on.
    IdempotencyKeyInFlight = ("idempotency_key_in_flight", CONFLICT, "A request with this Idempotency-Key is under way");
    /// No credentials came.
    Unauthorised = ("unauthorised", UNAUTHORIZED, "Credentials are needed");
    /// Who asks may not do this.
    Forbidden = ("forbidden", FORBIDDEN, "This takes a right that you do not have");
    /// The second factor was shown too long ago for this.
    StepUpNeeded = ("step_up_needed", FORBIDDEN, "This takes a fresh second factor");
    /// A cookie came with a request that another site may have made.
    CrossSite = ("cross_site", FORBIDDEN, "Requests from other sites are refused");
    /// What is there stands against it.
    Conflict = ("conflict", CONFLICT, "This cannot be done as things stand");
    /// Too much was asked in too short a time.
    TooManyRequests = ("too_many_requests", TOO_MANY_REQUESTS, "Too many requests; come back later");
    /// An API key asks for what only a session has.
    NoSession = ("no_session", CONFLICT, "This is for people who are signed in");
    /// It does not exist, or is not the caller's to see.
    NotFound = ("not_found", NOT_FOUND, "There is no such thing");
    /// The route knows the path but not the method.
    MethodNotAllowed = ("method_not_allowed", METHOD_NOT_ALLOWED, "The method is not allowed here");
    /// The client takes nothing of what the route answers with.
    NotAcceptable = ("not_acceptable", NOT_ACCEPTABLE, "The answer has a content type that is not wanted");
    /// The content type is not JSON.
    UnsupportedMediaType = ("unsupported_media_type", UNSUPPORTED_MEDIA_TYPE, "The content type is not taken here");
    /// A command that is decided on what one saw came without saying what that was.
    PreconditionRequired = ("precondition_required", PRECONDITION_REQUIRED, "Say which version this is decided on");
    /// It was decided on an older version.
    Stale = ("stale", PRECONDITION_FAILED, "It has changed since you looked");
    /// The claim's state does not allow it.
    IllegalMove = ("illegal_move", CONFLICT, "The claim does not stand where this can be done");
    /// Somebody else works on the claim.
    ClaimHeld = ("claim_held", CONFLICT, "Somebody else is working on this claim");
    /// Something else stands in the way.
    ClaimConflict = ("claim_conflict", CONFLICT, "This cannot be done with this claim");
    /// The appeal comes too late, twice, or against nothing.
    AppealRefused = ("appeal_refused", CONFLICT, "The appeal cannot be taken");
    /// It takes a second person.
    FourEyes = ("four_eyes", FORBIDDEN, "This takes somebody else than who decided");
    /// What was previewed is not what would be done now.
    PreviewChanged = ("preview_changed", CONFLICT, "What was previewed has changed; nothing was done");
    /// The original was reversed before; nothing was moved.
    ReversedAlready = ("transfer_reversed_already", CONFLICT, "It was reversed before; nothing was moved");
    /// The ledger's rules refuse the movement; nothing was moved.
    MovementRefused = ("movement_refused", CONFLICT, "The ledger refuses this; nothing was moved");
    /// Whoever wrote it may not approve it.
    SecondPersonNeeded = ("second_person_needed", CONFLICT, "Another person has to approve this");
    /// The request for a budget was approved or rejected before.
    BudgetDecided = ("budget_decided_already", CONFLICT, "It was decided before; nothing was changed");
    /// The run's state, its plan or the second signature refuses.
    RunRefused = ("run_refused", CONFLICT, "The run does not allow this");
    /// The code by mail is wrong, over, used up, or was never sent.
    CodeRefused = ("code_refused", UNPROCESSABLE_ENTITY, "The code is wrong or over; ask for another");
    /// The file is of a kind that is not taken.
    EvidenceTypeRefused = ("evidence_type_refused", UNSUPPORTED_MEDIA_TYPE, "Files of this kind are not taken");
    /// The file is damaged, cut off or locked.
    EvidenceUnreadable = ("evidence_unreadable", UNPROCESSABLE_ENTITY, "The file cannot be read");
    /// The picture has too many pixels.
    PictureTooLarge = ("picture_too_large", UNPROCESSABLE_ENTITY, "The picture is too large");
    /// The document would do something when it is opened.
    EvidenceActive = ("evidence_active_content", UNPROCESSABLE_ENTITY, "The document has active content");
    /// The virus scanner knows the file.
    EvidenceMalware = ("evidence_malware", UNPROCESSABLE_ENTITY, "The virus scanner refuses the file");
    /// The claim has as many files, or as many bytes of them, as it may.
    EvidenceLimit = ("evidence_limit_reached", CONFLICT, "The claim has as many files as it may");
    /// The claim takes no files as it stands.
    EvidenceNotTaken = ("evidence_not_taken", CONFLICT, "The claim takes no files any more");
    /// The virus scanner cannot be asked; nothing is kept unchecked.
    ScannerUnavailable = ("scanner_unavailable", SERVICE_UNAVAILABLE, "Files cannot be checked at the moment; nothing was kept");
    /// The file was not here in time.
    UploadTooSlow = ("upload_too_slow", REQUEST_TIMEOUT, "The upload took too long");
    /// The body, or the next piece of it, was not here in time.
    BodyTooSlow = ("body_too_slow", REQUEST_TIMEOUT, "The body took too long");
    /// Too much is under way.
    Busy = ("busy", SERVICE_UNAVAILABLE, "Too much is under way at the moment; nothing was kept");
    /// The database cannot be reached.
    Unavailable = ("unavailable", SERVICE_UNAVAILABLE, "The service is not available; nothing was recorded");
    /// A mistake of ours.
    Internal = ("internal", INTERNAL_SERVER_ERROR, "Something went wrong on our side; nothing was recorded");
}

/// The content type of problems.
pub const CONTENT_TYPE: &str = "application/problem+json";
/// When to come back after a request under way, in seconds.
const RETRY_IN_FLIGHT: HeaderValue = HeaderValue::from_static("1");
/// When to come back after the database was away, in seconds.
const RETRY_UNAVAILABLE: HeaderValue = HeaderValue::from_static("5");
const BEARER: HeaderValue = HeaderValue::from_static("Bearer");

/// An error of a handler. What it says for logs quotes nothing of what was sent: that may be a password or a telephone number.
pub struct ApiError {
    code: Code,
    detail: Option<String>,
    errors: Vec<FieldError>,
    retry_after: Option<u64>,
}

/// The result of handlers.
pub type ApiResult<T> = Result<T, ApiError>;

impl ApiError {
    /// An error with nothing to add to its title.
    #[must_use]
    pub fn new(code: Code) -> Self {
        Self { code, detail: None, errors: Vec::new(), retry_after: None }
    }

    /// An error and what happened this time.
    pub fn with_detail(code: Code, detail: impl Into<String>) -> Self {
        Self { detail: Some(detail.into()), ..Self::new(code) }
    }

    /// A request whose fields are wrong.
    #[must_use]
    pub fn fields(errors: Vec<FieldError>) -> Self {
        Self { errors, ..Self::new(Code::InvalidRequest) }
    }

    /// A request of which one field is wrong.
    pub fn field(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::fields(vec![FieldError { pointer: pointer.into(), detail: detail.into() }])
    }

    /// The same, with the field that it is about.
    #[must_use]
    pub fn at(mut self, pointer: &str, detail: impl Into<String>) -> Self {
        self.errors.push(FieldError { pointer: pointer.to_owned(), detail: detail.into() });
        self
    }

    /// Too much was asked; so many seconds later it may be asked again.
    #[must_use]
    pub fn too_many(seconds: u64) -> Self {
        Self { retry_after: Some(seconds), ..Self::new(Code::TooManyRequests) }
    }

    /// Its stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.code.parts().0
    }

    /// Where the fields stand that are wrong; the names in it may be the sender's own.
    pub fn pointers(&self) -> impl Iterator<Item = &str> {
        self.errors.iter().map(|error| error.pointer.as_str())
    }

    /// The problem as it is sent.
    #[must_use]
    pub fn problem(&self) -> Problem {
        let (code, status, title) = self.code.parts();
        Problem {
            kind: format!("/docs/problems#{code}"),
            title: title.to_owned(),
            status: status.as_u16(),
            code: code.to_owned(),
            detail: self.detail.clone(),
            errors: self.errors.clone(),
        }
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl fmt::Debug for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.code.parts().1
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status_code());
        let header: Option<(HeaderName, HeaderValue)> = match self.code {
            Code::IdempotencyKeyInFlight => Some((RETRY_AFTER, RETRY_IN_FLIGHT)),
            Code::Unavailable | Code::ScannerUnavailable | Code::Busy => Some((RETRY_AFTER, RETRY_UNAVAILABLE)),
            Code::Unauthorised => Some((WWW_AUTHENTICATE, BEARER)),
            _ => None,
        };
        if let Some(seconds) = self.retry_after {
            response.insert_header((RETRY_AFTER, seconds));
        }
        if let Some(header) = header {
            response.insert_header(header);
        }
        response.content_type(CONTENT_TYPE).json(self.problem())
    }
}

impl From<AppError> for ApiError {
    fn from(error: AppError) -> Self {
        match error {
            // What the command line calls a flag is a parameter here.
            AppError::Usage(detail) => match detail.strip_prefix("--").and_then(|rest| rest.split_once(' ')) {
                Some((flag, why)) => Self::field(format!("/{}", flag.trim_end_matches(':')), why),
                None => Self::with_detail(Code::InvalidRequest, detail),
            },
            AppError::Invalid(detail) | AppError::Refused(detail) => Self::with_detail(Code::InvalidRequest, detail),
            AppError::Conflict(detail) => Self::with_detail(Code::Conflict, detail),
            AppError::Field(pointer, detail) => Self::field(pointer, detail),
            AppError::Later(seconds) => Self::too_many(seconds),
            AppError::Forbidden(detail) => Self::with_detail(Code::Forbidden, detail),
            AppError::Claim(refusal) => claim_refused(refusal),
            AppError::Items { ref refused, .. } => {
                Self::with_detail(movement_code(refused.first().map(|item| item.code)), error.to_string())
            }
            AppError::Store(error) => error.into(),
            AppError::Embedded(error) => unavailable(&error),
            error @ (AppError::Io { .. } | AppError::Backup(_)) => internal(&error),
        }
    }
}

/// The problem of a move of a claim that is refused.
fn claim_refused(refusal: Refusal) -> ApiError {
    let code = match &refusal {
        Refusal::Illegal(_) => Code::IllegalMove,
        Refusal::Stale { .. } => Code::Stale,
        Refusal::Held { .. } => Code::ClaimHeld,
        Refusal::Appeal(_) => Code::AppealRefused,
        Refusal::FourEyes(_) => Code::FourEyes,
        Refusal::Conflict(_) => Code::ClaimConflict,
        Refusal::PreviewChanged => Code::PreviewChanged,
        Refusal::Field { .. } => Code::InvalidRequest,
    };
    match refusal {
        Refusal::Field { pointer, detail } => ApiError::field(pointer, detail),
        other => ApiError::with_detail(code, other.to_string()),
    }
}

/// The code of a batch that was refused whole, by what its first item is refused for.
fn movement_code(refused: Option<&str>) -> Code {
    match refused {
        Some("credit_unknown") => Code::NotFound,
        Some("transfer_reversed_already") => Code::ReversedAlready,
        _ => Code::MovementRefused,
    }
}

/// The problem of a path that cannot be read.
pub(super) fn invalid_path(error: &actix_web::error::PathError) -> ApiError {
    ApiError::with_detail(Code::InvalidPath, error.to_string())
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound(what) => Self::with_detail(Code::NotFound, format!("there is no {what}")),
            StoreError::Unreachable(_) | StoreError::Contention(_) => unavailable(&error),
            StoreError::Refused(name) if name.ends_with("_four_eyes") => {
                Self::with_detail(Code::SecondPersonNeeded, StoreError::Refused(name).to_string())
            }
            StoreError::Refused(_)
            | StoreError::InUse(_)
            | StoreError::Corrupt(_)
            | StoreError::Migration(_)
            | StoreError::Database(_) => internal(&error),
        }
    }
}

impl From<actix_web::error::BlockingError> for ApiError {
    fn from(error: actix_web::error::BlockingError) -> Self {
        internal(&error)
    }
}

fn unavailable(error: &dyn std::error::Error) -> ApiError {
    tracing::error!(%error, "the database is not available");
    ApiError::new(Code::Unavailable)
}

fn internal(error: &dyn std::error::Error) -> ApiError {
    tracing::error!(%error, "a request failed");
    ApiError::new(Code::Internal)
}
