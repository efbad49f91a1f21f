//! One file in a multipart body, streamed: bounded in bytes, parts and time, alone and together with all others.

use std::cell::RefCell;
use std::io::ErrorKind;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_multipart::{Field, Multipart, MultipartError};
use actix_web::error::PayloadError;
use actix_web::{HttpRequest, web};
use futures_util::{Stream, StreamExt, TryStreamExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::body::declared_length;
use super::problem::{ApiError, ApiResult, Code};
use crate::use_cases::evidence::MAX_FILE;

/// What the parts besides the file, and all headers, may take.
const MAX_OVERHEAD: usize = 64 * 1024;
/// The longest text of a field.
const MAX_FIELD: usize = 64;
/// How much of a body that is refused is still read, so that its sender hears why.
const MAX_DRAINED: usize = 64 << 20;
/// How long that may take.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// How much all uploads under way may hold together, in MiB.
const BUDGET_MIB: usize = 96;
/// How many files are looked at at once: a picture takes up to some 300 MB while it is drawn anew.
const AT_ONCE: usize = 2;
const MIB: usize = 1 << 20;

/// What all uploads of this process share.
#[derive(Clone)]
pub struct Uploads {
    buffers: Arc<Semaphore>,
    inspections: Arc<Semaphore>,
}

impl Default for Uploads {
    fn default() -> Self {
        Self { buffers: Arc::new(Semaphore::new(BUDGET_MIB)), inspections: Arc::new(Semaphore::new(AT_ONCE)) }
    }
}

/// What came.
pub struct Upload {
    /// The file.
    pub content: Vec<u8>,
    /// Which document it is, if the sender said so.
    pub document: Option<String>,
    /// The right to look at it; given back when it is dropped.
    _turn: OwnedSemaphorePermit,
    _room: Vec<OwnedSemaphorePermit>,
}

impl Uploads {
    /// Receives one file, within a time.
    pub async fn receive(&self, request: &HttpRequest, payload: web::Payload, within: Duration) -> ApiResult<Upload> {
        let payload = Rc::new(RefCell::new(payload));
        let received = match declared_too_large(request) {
            true => Err(too_large()),
            false => self.receive_within(request, &payload, within).await,
        };
        if received.is_err() {
            drain(&payload).await;
        }
        received
    }

    async fn receive_within(
        &self,
        request: &HttpRequest,
        payload: &Rc<RefCell<web::Payload>>,
        within: Duration,
    ) -> ApiResult<Upload> {
        let body = Body { payload: Rc::clone(payload), left: MAX_FILE + MAX_OVERHEAD };
        let parts = Multipart::new(request.headers(), body);
        let slow = |_| {
            ApiError::with_detail(
                Code::UploadTooSlow,
                format!("the file was not here after {} seconds; send a smaller one, or try again", within.as_secs()),
            )
        };
        let all = async {
            let (content, document, room) = self.read_parts(parts).await?;
            let turn = Arc::clone(&self.inspections).acquire_owned().await;
            let turn = turn.map_err(|_| ApiError::new(Code::Internal))?;
            Ok(Upload { content, document, _turn: turn, _room: room })
        };
        timeout(within, all).await.map_err(slow)?
    }

    async fn read_parts(
        &self,
        mut parts: Multipart,
    ) -> ApiResult<(Vec<u8>, Option<String>, Vec<OwnedSemaphorePermit>)> {
        let (mut file, mut document, mut room) = (None, None, Vec::new());
        while let Some(part) = parts.try_next().await.map_err(malformed)? {
            // Each part once and no other: so there are never more than two.
            match part.name() {
                Some("file") if file.is_some() => {
                    return Err(malformed_because("the body has two files; send one at a time"));
                }
                Some("file") => file = Some(self.read_file(part, &mut room).await?),
                Some("document") if document.is_some() => {
                    return Err(malformed_because("the part document is there twice"));
                }
                Some("document") => document = Some(read_text(part).await?),
                other => {
                    let name: String = other.unwrap_or_default().chars().take(MAX_FIELD).collect();
                    return Err(ApiError::field(format!("/{name}"), "there is no such part; send file, and document"));
                }
            }
        }
        let file = file.ok_or_else(|| ApiError::field("/file", "is missing: send the file as the part named file"))?;
        Ok((file, document, room))
    }

    /// Reads the file, taking room from the common budget as it grows.
    async fn read_file(&self, mut part: Field, room: &mut Vec<OwnedSemaphorePermit>) -> ApiResult<Vec<u8>> {
        let mut content = Vec::new();
        while let Some(chunk) = part.try_next().await.map_err(malformed)? {
            if content.len() + chunk.len() > MAX_FILE {
                return Err(too_large());
            }
            while room.len() * MIB < content.len() + chunk.len() {
                let more = Arc::clone(&self.buffers).try_acquire_owned();
                room.push(more.map_err(|_| ApiError::new(Code::Busy))?);
            }
            content.reserve_exact((room.len() * MIB).saturating_sub(content.len()));
            content.extend_from_slice(&chunk);
        }
        Ok(content)
    }
}

async fn read_text(mut part: Field) -> ApiResult<String> {
    let mut text = Vec::new();
    while let Some(chunk) = part.try_next().await.map_err(malformed)? {
        if text.len() + chunk.len() > MAX_FIELD {
            return Err(ApiError::field("/document", format!("is longer than {MAX_FIELD} characters")));
        }
        text.extend_from_slice(&chunk);
    }
    let code = String::from_utf8(text).ok().filter(|text| is_code(text));
    code.ok_or_else(|| ApiError::field("/document", "is no code of a document: a-z, 0-9 and inner hyphens"))
}

fn is_code(text: &str) -> bool {
    redress_domain::id::ReasonCode::parse(text).is_ok()
}

/// Whether the body says itself that it is too large, before any of it is read.
fn declared_too_large(request: &HttpRequest) -> bool {
    declared_length(request).is_some_and(|length| length > (MAX_FILE + MAX_OVERHEAD) as u64)
}

fn too_large() -> ApiError {
    ApiError::with_detail(Code::BodyTooLarge, format!("a file may have {} MiB; send it smaller", MAX_FILE / MIB))
}

fn malformed_because(detail: &str) -> ApiError {
    ApiError::with_detail(Code::MalformedBody, detail)
}

fn malformed(error: MultipartError) -> ApiError {
    match error {
        MultipartError::ContentTypeMissing
        | MultipartError::ContentTypeParse
        | MultipartError::ContentTypeIncompatible => {
            ApiError::with_detail(Code::UnsupportedMediaType, "send Content-Type: multipart/form-data; boundary=…")
        }
        MultipartError::BoundaryMissing => malformed_because("the body has no part behind the boundary it declares"),
        MultipartError::Incomplete => malformed_because("the body ends in the middle of a part"),
        MultipartError::Payload(PayloadError::Io(error)) if error.kind() == ErrorKind::FileTooLarge => too_large(),
        MultipartError::Payload(PayloadError::Overflow) => malformed_because("the head of a part is too long"),
        MultipartError::Payload(PayloadError::Incomplete(_)) => malformed_because("the body is shorter than it says"),
        // The library's other words name its own parts and nothing of the sender's.
        other => malformed_because(&other.to_string()),
    }
}

/// The body, as far as it may go.
struct Body {
    payload: Rc<RefCell<web::Payload>>,
    left: usize,
}

impl Stream for Body {
    type Item = Result<web::Bytes, PayloadError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = Pin::new(&mut *self.payload.borrow_mut()).poll_next(context);
        if let Poll::Ready(Some(Ok(chunk))) = &polled {
            match self.left.checked_sub(chunk.len()) {
                Some(left) => self.left = left,
                None => return Poll::Ready(Some(Err(PayloadError::Io(ErrorKind::FileTooLarge.into())))),
            }
        }
        polled
    }
}

/// Reads on for a while and forgets it: a client that is still sending would not see the answer otherwise.
async fn drain(payload: &Rc<RefCell<web::Payload>>) {
    let mut body = Body { payload: Rc::clone(payload), left: MAX_DRAINED };
    let rest = async { while let Some(Ok(_)) = body.next().await {} };
    // Whoever sends on for longer hears nothing.
    let _ = timeout(DRAIN_TIMEOUT, rest).await;
}
