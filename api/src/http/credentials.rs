//! What the OpenAPI document says of credentials, from the one table of routes, so that no handler has to repeat it.

use utoipa::Modify;
use utoipa::openapi::OpenApi;
use utoipa::openapi::extensions::ExtensionsBuilder;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};

use super::contract::answer;
use super::cookies::SESSION_COOKIE;
use super::table::{ROUTES, Who};
use crate::rights::Right;

const CLAIMANT: &str = "claimant";
const SESSION: &str = "session";
const TOKEN: &str = "staff";

/// Adds to every operation who may use it.
pub(super) struct Credentials;

impl Modify for Credentials {
    fn modify(&self, document: &mut OpenApi) {
        let components = document.components.get_or_insert_default();
        let bearer = |description: &str| {
            SecurityScheme::Http(
                HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(description)).build(),
            )
        };
        components.add_security_scheme(CLAIMANT, bearer("The token from the answer to the report"));
        components.add_security_scheme(TOKEN, bearer("An API key, or the token of a session"));
        components
            .add_security_scheme(SESSION, SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::new(SESSION_COOKIE))));
        for route in ROUTES {
            let item = document.paths.paths.get_mut(route.path);
            if let Some(operation) = item.and_then(|item| operation_of(item, route.method)) {
                guard(operation, route.who);
            }
        }
    }
}

/// The operation of a method.
pub(super) fn operation_of<'a>(item: &'a mut PathItem, method: &str) -> Option<&'a mut Operation> {
    match method {
        "GET" => item.get.as_mut(),
        "POST" => item.post.as_mut(),
        "PUT" => item.put.as_mut(),
        "PATCH" => item.patch.as_mut(),
        "DELETE" => item.delete.as_mut(),
        _ => None,
    }
}

fn guard(operation: &mut Operation, who: Who) {
    let (schemes, right): (&[&str], Option<Right>) = match who {
        Who::Public => return,
        Who::Claimant => (&[CLAIMANT], None),
        Who::ClaimantOr(right) => (&[CLAIMANT, SESSION, TOKEN], Some(right)),
        Who::Member => (&[SESSION, TOKEN], None),
        Who::Staff(right) => (&[SESSION, TOKEN], Some(right)),
    };
    operation.security =
        Some(schemes.iter().map(|scheme| SecurityRequirement::new(*scheme, Vec::<String>::new())).collect());
    answer(operation, "401", "No credentials came, or they do not hold any more");
    if let Some(right) = right {
        operation.extensions = Some(ExtensionsBuilder::new().add("x-right", right.as_str()).build());
        answer(operation, "403", "A right, a service or a fresh second factor is missing");
    } else if who == Who::Member {
        answer(operation, "403", "The request came from another site");
    }
}
