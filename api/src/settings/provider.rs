//! The identity provider that members of staff sign in with, by OpenID Connect.

use serde::Deserialize;

use super::{secret_variable, variable};
use crate::error::{AppError, AppResult};
use crate::https::Trust;
use crate::rights::Role;

/// How to speak with the provider, and what its word makes of a person.
#[derive(Debug, Clone)]
pub struct ProviderSettings {
    /// Its issuer URL, where its configuration is found.
    pub issuer: String,
    /// Who we are to it.
    pub client_id: String,
    /// What we show it; none for a public client.
    pub client_secret: Option<String>,
    /// Where it sends people back to: our own address as browsers see it, without a path.
    pub public_url: String,
    /// The claim that lists a person's groups or roles.
    pub roles_claim: String,
    /// The claim that becomes the member's name.
    pub name_claim: String,
    /// Which of its values makes which role; the first that fits counts.
    pub roles: Vec<(String, Role)>,
    /// Who may vouch for its certificate.
    pub trust: Trust,
}

/// `[oidc]` of the file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProviderFile {
    issuer: Option<String>,
    client_id: Option<String>,
    public_url: Option<String>,
    roles_claim: Option<String>,
    name_claim: Option<String>,
    roles: Option<Vec<String>>,
}

impl ProviderSettings {
    pub(super) fn load(file: &ProviderFile, production: bool, trust: &Trust) -> AppResult<Option<Self>> {
        let Some(issuer) = given("REDRESS_OIDC_ISSUER", file.issuer.as_ref())? else { return Ok(None) };
        let client_id = needed("REDRESS_OIDC_CLIENT_ID", given("REDRESS_OIDC_CLIENT_ID", file.client_id.as_ref())?)?;
        let public_url = needed("REDRESS_PUBLIC_URL", given("REDRESS_PUBLIC_URL", file.public_url.as_ref())?)?;
        let roles = match variable("REDRESS_OIDC_ROLES")? {
            Some(text) => Some(text.split(',').map(str::to_owned).collect()),
            None => file.roles.clone(),
        };
        let roles = needed("REDRESS_OIDC_ROLES", roles)?;
        for (name, url) in [("REDRESS_OIDC_ISSUER", &issuer), ("REDRESS_PUBLIC_URL", &public_url)] {
            let sound = url.starts_with("https://") || (!production && url.starts_with("http://"));
            if !sound {
                return Err(AppError::Usage(format!("{name} must begin with https://, not be {url:?}")));
            }
        }
        Ok(Some(Self {
            issuer,
            client_id,
            client_secret: secret_variable("REDRESS_OIDC_CLIENT_SECRET")?,
            public_url: public_url.trim_end_matches('/').to_owned(),
            roles_claim: given("REDRESS_OIDC_ROLES_CLAIM", file.roles_claim.as_ref())?
                .unwrap_or_else(|| "roles".into()),
            name_claim: given("REDRESS_OIDC_NAME_CLAIM", file.name_claim.as_ref())?
                .unwrap_or_else(|| "preferred_username".into()),
            roles: roles.iter().map(|pair| role(pair)).collect::<AppResult<_>>()?,
            trust: trust.clone(),
        }))
    }
}

/// What must be set where an issuer is.
fn needed<T>(name: &str, value: Option<T>) -> AppResult<T> {
    value.ok_or_else(|| AppError::Usage(format!("{name} must be set where REDRESS_OIDC_ISSUER is")))
}

fn given(name: &str, file: Option<&String>) -> AppResult<Option<String>> {
    Ok(variable(name)?.or_else(|| file.cloned()))
}

fn role(pair: &str) -> AppResult<(String, Role)> {
    let known = pair.split_once('=').and_then(|(value, role)| Some((value.trim().to_owned(), Role::of(role.trim())?)));
    known.filter(|(value, _)| !value.is_empty()).ok_or_else(|| {
        let roles: Vec<&str> = Role::ALL.iter().map(|role| role.as_str()).collect();
        AppError::Usage(format!("REDRESS_OIDC_ROLES: {pair:?} is no VALUE=ROLE; roles are {}", roles.join(", ")))
    })
}
