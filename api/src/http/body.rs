//! Bodies of requests: bounded, declared as JSON, and read so that every wrong field is named by its pointer.

use std::time::Duration;

use actix_web::http::header::CONTENT_LENGTH;
use actix_web::{HttpMessage, HttpRequest, web};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::Value;
use tokio::time::timeout;
use validator::{Validate, ValidationErrors, ValidationErrorsKind};

use super::problem::{ApiError, ApiResult, Code, FieldError};
use super::words;

/// How long a body that is read whole may take, and how long a longer one may stand still.
pub(super) const BODY_TIMEOUT: Duration = Duration::from_secs(30);
const JSON: &str = "application/json";

/// The document that a request brings.
pub async fn json<T: DeserializeOwned + Validate>(request: &HttpRequest, payload: web::Payload) -> ApiResult<T> {
    parse(&bytes(request, payload).await?)
}

/// The same of at most so many bytes, where lists are long.
pub async fn json_up_to<T: DeserializeOwned + Validate>(
    request: &HttpRequest,
    payload: web::Payload,
    most: usize,
) -> ApiResult<T> {
    parse(&whole(request, payload, JSON, most).await?)
}

/// The text that a request brings, declared as `content_type`, of at most so many bytes.
pub async fn text(request: &HttpRequest, payload: web::Payload, content_type: &str, most: usize) -> ApiResult<String> {
    let bytes = whole(request, payload, content_type, most).await?;
    String::from_utf8(bytes.into()).map_err(|_| ApiError::with_detail(Code::MalformedBody, "the body is not UTF-8"))
}

/// The whole body of a request that declares JSON.
pub async fn bytes(request: &HttpRequest, payload: web::Payload) -> ApiResult<web::Bytes> {
    whole(request, payload, JSON, super::MAX_BODY).await
}

/// The whole body of a request that declares it as `content_type`, of at most so many bytes, while it comes in time.
pub(super) async fn whole(
    request: &HttpRequest,
    payload: web::Payload,
    content_type: &str,
    most: usize,
) -> ApiResult<web::Bytes> {
    if !declares(request, content_type) {
        return Err(ApiError::with_detail(Code::UnsupportedMediaType, format!("send Content-Type: {content_type}")));
    }
    let too_large = || ApiError::with_detail(Code::BodyTooLarge, format!("at most {most} bytes are taken"));
    if declared_length(request).is_some_and(|length| length > most as u64) {
        return Err(too_large());
    }
    match timeout(BODY_TIMEOUT, payload.to_bytes_limited(most)).await {
        Ok(Ok(Ok(body))) => Ok(body),
        Ok(Ok(Err(error))) => Err(ApiError::with_detail(Code::MalformedBody, error.to_string())),
        Ok(Err(_)) => Err(too_large()),
        Err(_) => Err(too_slow()),
    }
}

/// Whether a request declares its body as of a type, which is the same in capitals.
pub(super) fn declares(request: &HttpRequest, content_type: &str) -> bool {
    request.content_type().eq_ignore_ascii_case(content_type)
}

/// How long a body says that it is, before any of it is read.
pub(super) fn declared_length(request: &HttpRequest) -> Option<u64> {
    request.headers().get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The problem of a body that is not here in time.
pub(super) fn too_slow() -> ApiError {
    let detail = format!("the rest of it did not come within {} seconds; try again", BODY_TIMEOUT.as_secs());
    ApiError::with_detail(Code::BodyTooSlow, detail)
}

/// Reads a request: its shape by serde, its rules by validator; every wrong field is named by its pointer.
pub fn parse<T: DeserializeOwned + Validate>(body: &[u8]) -> ApiResult<T> {
    // Serde would read a list as the members in their order, which no document promises.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(ApiError::with_detail(Code::MalformedBody, "the body is no JSON object"));
    }
    refuse_nul(body)?;
    let mut reader = serde_json::Deserializer::from_slice(body);
    let value: T = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let inner = error.inner();
        // Serde calls it a fault of syntax too when a name is wanted and a number stands there.
        if inner.is_data() || serde_json::from_slice::<IgnoredAny>(body).is_ok() {
            fault(pointer_of(error.path()), &inner.to_string())
        } else {
            ApiError::with_detail(Code::MalformedBody, inner.to_string())
        }
    })?;
    reader.end().map_err(|error| ApiError::with_detail(Code::MalformedBody, error.to_string()))?;
    value.validate().map_err(|errors| {
        let mut fields = Vec::new();
        collect("", &errors, &mut fields);
        ApiError::fields(fields)
    })?;
    Ok(value)
}

/// Refuses texts with U+0000, which JSON can write and PostgreSQL cannot keep.
fn refuse_nul(body: &[u8]) -> ApiResult<()> {
    let written = |bytes: &[u8]| bytes.eq_ignore_ascii_case(b"\\u0000");
    // Most bodies escape nothing, and a single byte is looked for many times faster.
    if !body.contains(&b'\\') || !body.windows(6).any(written) {
        return Ok(());
    }
    // What cannot be read at all is told so by whoever reads it.
    let Ok(document) = serde_json::from_slice::<Value>(body) else { return Ok(()) };
    let mut fields = Vec::new();
    find_nul("", &document, &mut fields);
    if fields.is_empty() { Ok(()) } else { Err(ApiError::fields(fields)) }
}

fn find_nul(pointer: &str, value: &Value, fields: &mut Vec<FieldError>) {
    let below = |key: &str| format!("{pointer}/{}", escaped(key));
    match value {
        Value::String(text) if text.contains('\0') => {
            fields.push(FieldError { pointer: pointer.to_owned(), detail: "has the character U+0000".into() });
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, item)| find_nul(&below(&index.to_string()), item, fields));
        }
        Value::Object(members) => {
            for (key, member) in members {
                if key.contains('\0') {
                    fields.push(FieldError {
                        pointer: below(key),
                        detail: "has the character U+0000 in its name".into(),
                    });
                }
                find_nul(&below(key), member, fields);
            }
        }
        _ => {}
    }
}

/// A name as a JSON pointer has it.
fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// The problem of a member that a reader refused, or did not find.
pub(super) fn fault(mut pointer: String, message: &str) -> ApiError {
    let words::Fault { missing, detail } = words::told(message);
    if let Some(name) = missing {
        pointer.push('/');
        pointer.push_str(&escaped(&name));
    }
    ApiError::field(pointer, detail)
}

/// Where a path of serde leads, as a JSON pointer.
pub(super) fn pointer_of(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    path.iter()
        .map(|segment| match segment {
            Segment::Seq { index } => format!("/{index}"),
            Segment::Map { key } => format!("/{}", escaped(key)),
            Segment::Enum { variant } => format!("/{variant}"),
            Segment::Unknown => String::new(),
        })
        .collect()
}

fn collect(prefix: &str, errors: &ValidationErrors, fields: &mut Vec<FieldError>) {
    for (field, kind) in errors.errors() {
        let pointer = format!("{prefix}/{field}");
        match kind {
            ValidationErrorsKind::Struct(inner) => collect(&pointer, inner, fields),
            ValidationErrorsKind::List(items) => {
                for (index, inner) in items {
                    collect(&format!("{pointer}/{index}"), inner, fields);
                }
            }
            ValidationErrorsKind::Field(found) => fields.extend(found.iter().map(|error| FieldError {
                pointer: pointer.clone(),
                detail: error.message.as_ref().map_or_else(|| error.code.to_string(), ToString::to_string),
            })),
        }
    }
}
