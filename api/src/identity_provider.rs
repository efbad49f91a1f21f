//! The identity provider: OpenID Connect's authorisation code flow with PKCE, state and nonce, and the word of a signed
//! ID token about a person.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use openidconnect::core::{
    CoreAuthDisplay, CoreAuthPrompt, CoreAuthenticationFlow, CoreErrorResponseType, CoreGenderClaim, CoreJsonWebKey,
    CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm, CoreProviderMetadata, CoreRevocableToken,
    CoreRevocationErrorResponse, CoreTokenIntrospectionResponse, CoreTokenType,
};
use openidconnect::{
    AdditionalClaims, AuthorizationCode, Client, ClientId, ClientSecret, CsrfToken, EmptyExtraTokenFields,
    EndpointMaybeSet, EndpointNotSet, EndpointSet, HttpRequest, HttpResponse, IdTokenFields, IssuerUrl, Nonce,
    PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, Scope, StandardErrorResponse, StandardTokenResponse,
    TokenResponse as _,
};
use serde::{Deserialize, Serialize};

use crate::error::{AppError, AppResult};
use crate::https;
use crate::rights::Role;
use crate::settings::ProviderSettings;

/// Where the provider sends people back to.
pub const CALLBACK: &str = "/v1/session/oidc/callback";
const MAX_ANSWER: u64 = 1 << 20;
/// What an ID token may be signed with: nothing that we, or anybody with our secret, could have made ourselves.
const SIGNED_WITH: &[CoreJwsSigningAlgorithm] = &[
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha384,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha512,
    CoreJwsSigningAlgorithm::RsaSsaPssSha256,
    CoreJwsSigningAlgorithm::EcdsaP256Sha256,
    CoreJwsSigningAlgorithm::EcdsaP384Sha384,
    CoreJwsSigningAlgorithm::EdDsa,
];

/// What is remembered while somebody is at the provider.
#[derive(Debug, Serialize, Deserialize)]
pub struct Errand {
    state: String,
    nonce: String,
    verifier: String,
}

/// What the provider says of a person.
#[derive(Debug)]
pub struct Person {
    /// Who it is, for ever: issuer and subject.
    pub subject: String,
    /// How the person is called.
    pub name: String,
    /// The role that the provider's groups make.
    pub role: Role,
    /// When the person last showed who it is, if the provider says so.
    pub shown_at: Option<DateTime<Utc>>,
}

/// The claims that are not of the standard.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Claims(BTreeMap<String, serde_json::Value>);

impl AdditionalClaims for Claims {}

type Fields = IdTokenFields<
    Claims,
    EmptyExtraTokenFields,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    CoreJwsSigningAlgorithm,
>;

type Provider = Client<
    Claims,
    CoreAuthDisplay,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    CoreJsonWebKey,
    CoreAuthPrompt,
    StandardErrorResponse<CoreErrorResponseType>,
    StandardTokenResponse<Fields, CoreTokenType>,
    CoreTokenIntrospectionResponse,
    CoreRevocableToken,
    CoreRevocationErrorResponse,
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointMaybeSet,
    EndpointMaybeSet,
>;

/// Where to send somebody who wants to sign in, and what to remember meanwhile. The provider is asked for its
/// configuration each time: people sign in rarely, and its keys change.
pub fn begin(settings: &ProviderSettings, anew: bool) -> AppResult<(String, Errand)> {
    let provider = discover(settings)?;
    let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
    let mut request = provider
        .authorize_url(CoreAuthenticationFlow::AuthorizationCode, CsrfToken::new_random, Nonce::new_random)
        .add_scope(Scope::new("profile".into()))
        .set_pkce_challenge(challenge);
    if anew {
        request = request.set_max_age(Duration::ZERO).add_prompt(CoreAuthPrompt::Login);
    }
    let (url, state, nonce) = request.url();
    let errand = Errand { state: state.into_secret(), nonce: nonce.secret().clone(), verifier: verifier.into_secret() };
    Ok((url.into(), errand))
}

/// What the provider says of whoever comes back with a code; the state must be the one he left with.
pub fn finish(settings: &ProviderSettings, errand: Errand, state: &str, code: String) -> AppResult<Person> {
    if errand.state != state {
        return Err(AppError::Refused("the sign-in was not begun here: begin anew".into()));
    }
    let provider = discover(settings)?;
    let agent = https::agent(&settings.trust);
    let answer = provider
        .exchange_code(AuthorizationCode::new(code))
        .map_err(unusable)?
        .set_pkce_verifier(PkceCodeVerifier::new(errand.verifier))
        .request(&|request| send(&agent, request))
        .map_err(unusable)?;
    let token = answer.id_token().ok_or_else(|| unusable("it sent no ID token"))?;
    let verifier = provider.id_token_verifier().set_allowed_algs(SIGNED_WITH.iter().cloned());
    let claims = token.claims(&verifier, &Nonce::new(errand.nonce)).map_err(unusable)?;
    let Claims(other) = claims.additional_claims();
    let standard = claims.preferred_username().map(|name| name.as_str().to_owned());
    let name = match settings.name_claim.as_str() {
        "preferred_username" => standard,
        "email" => claims.email().map(|email| email.as_str().to_owned()),
        claim => other.get(claim).and_then(|value| value.as_str()).map(str::to_owned),
    };
    let name = name.ok_or_else(|| unusable(format!("the claim {} is missing", settings.name_claim)))?;
    let role = role_of(settings, other.get(&settings.roles_claim)).ok_or_else(|| {
        AppError::Forbidden(format!("nothing in your claim {} makes a role here", settings.roles_claim))
    })?;
    let subject = format!("{} {}", settings.issuer, claims.subject().as_str());
    Ok(Person { subject, name, role, shown_at: claims.auth_time() })
}

/// The role of the first value of the settings that the claim has, a list or a single text.
fn role_of(settings: &ProviderSettings, claim: Option<&serde_json::Value>) -> Option<Role> {
    let claim = claim?;
    let has = |value: &str| match claim {
        serde_json::Value::Array(values) => values.iter().any(|one| one == value),
        one => one == value,
    };
    settings.roles.iter().find(|(value, _)| has(value)).map(|(_, role)| *role)
}

fn discover(settings: &ProviderSettings) -> AppResult<Provider> {
    let agent = https::agent(&settings.trust);
    let issuer = IssuerUrl::new(settings.issuer.clone()).map_err(unusable)?;
    let metadata = CoreProviderMetadata::discover(&issuer, &|request| send(&agent, request)).map_err(unusable)?;
    let redirect = RedirectUrl::new(format!("{}{CALLBACK}", settings.public_url)).map_err(unusable)?;
    let secret = settings.client_secret.clone().map(ClientSecret::new);
    let provider = Client::from_provider_metadata(metadata, ClientId::new(settings.client_id.clone()), secret);
    Ok(provider.set_redirect_uri(redirect))
}

fn send(agent: &ureq::Agent, request: HttpRequest) -> Result<HttpResponse, ureq::Error> {
    let (parts, body) = request.into_parts();
    let answer = if body.is_empty() {
        agent.run(ureq::http::Request::from_parts(parts, ()))?
    } else {
        agent.run(ureq::http::Request::from_parts(parts, body))?
    };
    let (parts, mut body) = answer.into_parts();
    let bytes = body.with_config().limit(MAX_ANSWER).read_to_vec()?;
    Ok(HttpResponse::from_parts(parts, bytes))
}

fn unusable(why: impl std::fmt::Display + std::fmt::Debug) -> AppError {
    tracing::warn!(error = ?why, "a sign-in with the identity provider failed");
    AppError::Refused(format!("the identity provider could not be used: {why}"))
}
