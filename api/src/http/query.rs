//! The parameters behind the question mark, read after it is known who asks.

use actix_web::HttpRequest;
use redress_domain::id::MAX_NAME_LENGTH;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use utoipa::IntoParams;

use super::problem::{ApiError, ApiResult};
use crate::use_cases::catalogue::Page;

/// The most entries of a page.
const MAX_PAGE: i64 = 500;

/// Which page of a list that is in the order of its names.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct PageOfNames {
    /// The last name of the page before.
    #[param(max_length = 64)]
    pub after: Option<String>,
    /// How many, at most 500; 500 unless said.
    #[param(minimum = 1, maximum = 500)]
    pub limit: Option<i64>,
}

/// The page that a request asks for.
pub fn page_of_names(request: &HttpRequest) -> ApiResult<Page> {
    let PageOfNames { after, limit } = query(request)?;
    if after.as_ref().is_some_and(|after| after.chars().count() > MAX_NAME_LENGTH) {
        return Err(ApiError::field("/after", format!("is longer than {MAX_NAME_LENGTH} characters")));
    }
    Ok(Page { after: after.unwrap_or_default(), limit: bounded(limit, MAX_PAGE, MAX_PAGE)? })
}

/// How many entries are asked for, from 1 to the most.
pub fn bounded(limit: Option<i64>, usual: i64, most: i64) -> ApiResult<i64> {
    let limit = limit.unwrap_or(usual);
    if (1..=most).contains(&limit) { Ok(limit) } else { Err(ApiError::field("/limit", format!("must be 1 to {most}"))) }
}

/// The parameters of a request; one that is unknown, missing or cannot be read is named.
pub fn query<T: DeserializeOwned>(request: &HttpRequest) -> ApiResult<T> {
    let text = request.query_string().as_bytes();
    // PostgreSQL keeps no such character, so no parameter means anything with it.
    if let Some((name, _)) = form_urlencoded::parse(text).find(|(_, value)| value.contains('\0')) {
        return Err(ApiError::field(format!("/{name}"), "has the character U+0000"));
    }
    let reader = serde_urlencoded::Deserializer::new(form_urlencoded::parse(text));
    serde_path_to_error::deserialize(reader)
        .map_err(|error| super::body::fault(super::body::pointer_of(error.path()), &error.inner().to_string()))
}
