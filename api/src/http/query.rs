//! The parameters behind the question mark, read after it is known who asks.

use actix_web::{HttpRequest, web};
use serde::de::DeserializeOwned;

use super::problem::{ApiError, ApiResult, Code};

/// The parameters of a request; one that is unknown, missing or cannot be read is named.
pub fn query<T: DeserializeOwned>(request: &HttpRequest) -> ApiResult<T> {
    web::Query::from_query(request.query_string())
        .map(web::Query::into_inner)
        .map_err(|error| ApiError::with_detail(Code::InvalidRequest, error.to_string()))
}
