//! What holds for every route alike. The document says what each takes and answers with; here, before any handler, a
//! parameter that it does not name is refused, and so is a client that takes nothing of what the route answers with. And
//! what no handler has to repeat is added to the document.

use std::collections::{HashMap, HashSet};

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::{ALLOW, Accept, Header, HeaderValue, Quality};
use actix_web::middleware::Next;
use actix_web::{HttpRequest, HttpResponse, ResponseError, web};
use percent_encoding::percent_decode_str;
use utoipa::Modify;
use utoipa::openapi::path::{Operation, Parameter, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, SchemaType, Type};
use utoipa::openapi::{ContentBuilder, HeaderBuilder, OpenApi, Ref, RefOr, ResponseBuilder, Schema};

use super::credentials::operation_of;
use super::problem::{ApiError, ApiResult, CONTENT_TYPE, Code, FieldError};
use super::table::{ROUTES, Repeated};

/// The routes that take parameters which others make up: providers add their own to the way back.
const TAKES_ANY: &[&str] = &["/v1/session/oidc/callback"];

/// The most characters of a parameter that says nothing narrower: a request line is bounded, and what is beyond that is refused
/// by the server before anybody can say why.
const MAX_PARAMETER: usize = 1_000;

/// The most digits of a place in a list: more may be a telephone number.
const MAX_PLACE: usize = 4;

/// What each route takes and answers with, by method and path; and every name of a member or parameter.
pub struct Contract {
    promises: HashMap<(&'static str, &'static str), Promise>,
    names: HashSet<String>,
}

struct Promise {
    /// Names, and how long each may be.
    parameters: Vec<(String, usize)>,
    media_types: Vec<String>,
}

impl Contract {
    /// What a document says.
    #[must_use]
    pub fn of(document: &mut OpenApi) -> Self {
        let mut promises = HashMap::new();
        for route in ROUTES {
            let item = document.paths.paths.get_mut(route.path);
            if let Some(operation) = item.and_then(|item| operation_of(item, route.method)) {
                promises.insert((route.method, route.path), Promise::of(operation));
            }
        }
        let mut names = HashSet::new();
        promises.values().for_each(|promise: &Promise| {
            names.extend(promise.parameters.iter().map(|(name, _)| name.clone()));
        });
        if let Ok(document) = serde_json::to_value(&*document) {
            collect_members(&document, &mut names);
        }
        Self { promises, names }
    }

    /// Whether a pointer is made of names of the document and of places in lists: what a sender made up is not.
    pub(super) fn names(&self, pointer: &str) -> bool {
        let is_place = |part: &str| part.len() <= MAX_PLACE && part.bytes().all(|byte| byte.is_ascii_digit());
        pointer.split('/').skip(1).all(|part| self.names.contains(part) || is_place(part))
    }

    /// Refuses what no handler has to look at.
    fn check(&self, request: &ServiceRequest) -> ApiResult<()> {
        if percent_decode_str(request.path()).any(|byte| byte == 0) {
            return Err(ApiError::with_detail(Code::InvalidPath, "the path has the character U+0000"));
        }
        let path = request.match_pattern().unwrap_or_default();
        let Some(promise) = self.promises.get(&(request.method().as_str(), path.as_str())) else { return Ok(()) };
        promise.takes(request.query_string(), TAKES_ANY.contains(&path.as_str()))?;
        promise.answers(request)
    }
}

impl Promise {
    fn of(operation: &Operation) -> Self {
        let parameters = operation.parameters.iter().flatten().filter_map(|parameter| match parameter {
            RefOr::T(parameter) if parameter.parameter_in == ParameterIn::Query => {
                Some((parameter.name.clone(), longest(parameter)))
            }
            _ => None,
        });
        let successes = operation.responses.responses.iter().filter(|(status, _)| status.starts_with('2'));
        let media_types = successes.flat_map(|(_, response)| match response {
            RefOr::T(response) => response.content.keys().cloned().collect::<Vec<_>>(),
            RefOr::Ref(_) => Vec::new(),
        });
        Self { parameters: parameters.collect(), media_types: media_types.collect() }
    }

    /// Whether a query has only parameters of this route, or any, and none that is too long.
    fn takes(&self, query: &str, any: bool) -> ApiResult<()> {
        let fault = |name: &str, value: &str| match self.parameters.iter().find(|(known, _)| known == name) {
            None => (!any).then(|| "there is no such parameter".to_owned()),
            Some((_, most)) => {
                (value.chars().nth(*most).is_some()).then(|| format!("is longer than {most} characters"))
            }
        };
        let faults: Vec<FieldError> = form_urlencoded::parse(query.as_bytes())
            .filter_map(|(name, value)| Some((fault(&name, &value)?, name)))
            .map(|(detail, name)| FieldError { pointer: format!("/{name}"), detail })
            .collect();
        if faults.is_empty() { Ok(()) } else { Err(ApiError::fields(faults)) }
    }

    /// Whether the client takes anything of what this route answers with. Whoever says nothing takes everything.
    fn answers(&self, request: &ServiceRequest) -> ApiResult<()> {
        let Ok(Accept(wanted)) = Accept::parse(request) else { return Ok(()) };
        if wanted.is_empty() || self.media_types.is_empty() {
            return Ok(());
        }
        let takes = |ours: &String| {
            wanted.iter().filter(|range| range.quality > Quality::ZERO).any(|range| {
                let (kind, subtype) = (range.item.type_().as_str(), range.item.subtype().as_str());
                ours.split_once('/')
                    .is_some_and(|(a, b)| (kind == "*" || kind == a) && (subtype == "*" || subtype == b))
            })
        };
        if self.media_types.iter().any(takes) {
            return Ok(());
        }
        let detail = format!("this answers with {}", self.media_types.join(", "));
        Err(ApiError::with_detail(Code::NotAcceptable, detail))
    }
}

/// The names of all members of all objects that a document describes.
fn collect_members(document: &serde_json::Value, names: &mut HashSet<String>) {
    if let Some(members) = document.get("properties").and_then(serde_json::Value::as_object) {
        names.extend(members.keys().cloned());
    }
    match document {
        serde_json::Value::Object(members) => members.values().for_each(|below| collect_members(below, names)),
        serde_json::Value::Array(items) => items.iter().for_each(|below| collect_members(below, names)),
        _ => {}
    }
}

/// How long a parameter may be.
fn longest(parameter: &Parameter) -> usize {
    match &parameter.schema {
        Some(RefOr::T(Schema::Object(schema))) => schema.max_length.unwrap_or(MAX_PARAMETER),
        _ => MAX_PARAMETER,
    }
}

/// Says of texts in a query how long they may be, where nothing is said yet.
fn bound(operation: &mut Operation) {
    for parameter in operation.parameters.iter_mut().flatten() {
        let RefOr::T(parameter) = parameter else { continue };
        if let (ParameterIn::Query, Some(RefOr::T(Schema::Object(schema)))) =
            (&parameter.parameter_in, &mut parameter.schema)
        {
            let is_text = match &schema.schema_type {
                SchemaType::Type(kind) => *kind == Type::String,
                SchemaType::Array(kinds) => kinds.contains(&Type::String),
                SchemaType::AnyValue => false,
            };
            if is_text && schema.enum_values.is_none() && schema.format.is_none() {
                schema.max_length.get_or_insert(MAX_PARAMETER);
            }
        }
    }
}

/// Holds every request to the contract.
pub async fn hold<B: MessageBody>(
    contract: web::Data<Contract>,
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, actix_web::Error> {
    match contract.check(&request) {
        Ok(()) => Ok(next.call(request).await?.map_into_left_body()),
        Err(refused) => Ok(request.into_response(refused.error_response()).map_into_right_body()),
    }
}

/// Answers a method that the path does not have, with those that it has.
pub async fn method_not_allowed(request: HttpRequest) -> HttpResponse {
    let path = request.match_pattern().unwrap_or_default();
    let mut methods: Vec<&str> = ROUTES.iter().filter(|route| route.path == path).map(|route| route.method).collect();
    // What is not in the table is a page.
    if methods.is_empty() {
        methods.push(Method::GET.as_str());
    }
    if methods.contains(&Method::GET.as_str()) {
        methods.push(Method::HEAD.as_str());
    }
    let allowed = methods.join(", ");
    let mut response = ApiError::new(Code::MethodNotAllowed).error_response();
    if let Ok(allowed) = HeaderValue::from_str(&allowed) {
        response.headers_mut().insert(ALLOW, allowed);
    }
    response
}

/// Adds to the document what holds for every route.
pub(super) struct Everywhere;

impl Modify for Everywhere {
    fn modify(&self, document: &mut OpenApi) {
        for route in ROUTES.iter().filter(|route| route.path.starts_with("/v1/")) {
            let item = document.paths.paths.get_mut(route.path);
            let Some(operation) = item.and_then(|item| operation_of(item, route.method)) else { continue };
            bound(operation);
            if !Promise::of(operation).media_types.is_empty() {
                answer(operation, "406", "The client takes nothing of what this answers with");
            }
            if operation.request_body.is_some() {
                answer(operation, "408", "The body took too long");
            }
            answer(operation, "422", "A parameter is unknown");
            answer(operation, "429", "Too many requests");
            answer(operation, "503", "The database is away");
            if let (Some(RefOr::T(response)), schema) =
                (operation.responses.responses.get_mut("429"), ObjectBuilder::new().schema_type(Type::Integer).build())
            {
                let header = HeaderBuilder::new()
                    .schema(Some(RefOr::T(Schema::Object(schema))))
                    .description(Some("In how many seconds to try again"));
                response.headers.insert("Retry-After".into(), RefOr::T(header.build()));
            }
            if let (Repeated::Harmless(why), "POST") = (route.repeated, route.method) {
                let description = operation.description.take().unwrap_or_default();
                operation.description = Some(format!("{description}\n\nMay be sent again: {why}.").trim().to_owned());
            }
        }
    }
}

/// Adds a problem that an operation may answer with, unless it says something of its own about it.
pub(super) fn answer(operation: &mut Operation, status: &str, description: &str) {
    let problem = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    let response = ResponseBuilder::new().description(description).content(CONTENT_TYPE, problem).build();
    operation.responses.responses.entry(status.to_owned()).or_insert(RefOr::T(response));
}
