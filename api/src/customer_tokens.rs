//! Tokens by which the operator's own sign-in says who a customer is: JWTs, signed by a key of its published set.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use redress_domain::id::CustomerId;
use serde::Deserialize;

use crate::error::{AppError, AppResult};
use crate::https;
use crate::settings::CustomerTokenSettings;

/// The longest token that is read.
const MAX_TOKEN: usize = 8 * 1024;
/// The largest set of keys, in bytes and in keys.
const MAX_SET: u64 = 64 * 1024;
const MAX_KEYS: usize = 32;
/// How long a set is used before it is fetched again.
const FRESH: Duration = Duration::from_secs(600);
/// How soon after a fetch the next may begin: whoever makes up key ids makes us fetch no more often.
const PAUSE: Duration = Duration::from_secs(5);
/// How long a fetch may take: somebody waits for it.
const PATIENCE: Duration = Duration::from_secs(5);
/// How far the clocks of two machines may be apart, in seconds.
const LEEWAY: u64 = 30;
/// The shortest RSA modulus, in bytes.
const MIN_RSA: usize = 256;

/// Why a token is not believed; said to whoever sent it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenFault {
    /// It cannot be read, or its signature does not hold.
    #[error("the token is not valid: {0}")]
    Invalid(&'static str),
    /// The operator's keys cannot be had at the moment.
    #[error("the keys that tokens are signed with cannot be read at the moment")]
    NoKeys,
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
}

/// What the operator's tokens are checked against.
pub struct CustomerTokens {
    settings: CustomerTokenSettings,
    known: Mutex<Known>,
    /// Held by the one who fetches.
    fetching: Mutex<()>,
}

#[derive(Default)]
struct Known {
    keys: Option<JwkSet>,
    /// When fetching them was last over, well or not.
    tried: Option<Instant>,
    /// When they were last fetched.
    fetched: Option<Instant>,
}

impl Known {
    fn find(&self, kid: Option<&str>, algorithm: Algorithm) -> Option<Jwk> {
        self.keys.as_ref().and_then(|keys| find(keys, kid, algorithm))
    }

    fn is_fresh(&self) -> bool {
        self.fetched.is_some_and(|at| at.elapsed() <= FRESH)
    }

    fn may_be_fetched(&self) -> bool {
        self.tried.is_none_or(|at| at.elapsed() > PAUSE)
    }
}

impl CustomerTokens {
    /// Checks tokens as the settings say; nothing is fetched before the first token comes.
    #[must_use]
    pub fn new(settings: CustomerTokenSettings) -> Self {
        Self { settings, known: Mutex::default(), fetching: Mutex::default() }
    }

    /// The customer whom a token speaks of. May fetch the keys, so it may block.
    pub fn customer(&self, token: &str) -> Result<CustomerId, TokenFault> {
        if token.len() > MAX_TOKEN {
            return Err(TokenFault::Invalid("it is too long"));
        }
        let header = decode_header(token).map_err(|_| TokenFault::Invalid("its header cannot be read"))?;
        // The algorithm is ours to choose, by the key; a token that names another is refused before anything is computed.
        if header.crit.is_some() {
            return Err(TokenFault::Invalid("it has extensions that are not understood"));
        }
        if !matches!(header.alg, Algorithm::EdDSA | Algorithm::RS256) {
            return Err(TokenFault::Invalid("it is signed with neither EdDSA nor RS256"));
        }
        let jwk = self.key(header.kid.as_deref(), header.alg)?;
        let key = DecodingKey::from_jwk(&jwk).map_err(|_| TokenFault::Invalid("its key cannot be used"))?;
        let mut validation = Validation::new(header.alg);
        validation.leeway = LEEWAY;
        validation.validate_nbf = true;
        validation.set_audience(&[&self.settings.audience]);
        let mut required = vec!["exp", "aud", "sub"];
        if let Some(issuer) = &self.settings.issuer {
            validation.set_issuer(&[issuer]);
            required.push("iss");
        }
        validation.set_required_spec_claims(&required);
        let claims = decode::<Claims>(token, &key, &validation).map_err(|error| reason(&error))?.claims;
        CustomerId::parse(&claims.sub).map_err(|_| TokenFault::Invalid("its subject is no id of a customer"))
    }

    /// The key that a token names; fetched anew when it is not known, or the set is old. Whoever has a key that is known
    /// waits for nobody else's fetch: a server of keys that stands still keeps no one out.
    fn key(&self, kid: Option<&str>, algorithm: Algorithm) -> Result<Jwk, TokenFault> {
        let look = || {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            (known.find(kid, algorithm), known.is_fresh())
        };
        let _fetching = match look() {
            (Some(jwk), true) => return Ok(jwk),
            (Some(jwk), false) => match self.fetching.try_lock() {
                Ok(fetching) => fetching,
                Err(_) => return Ok(jwk),
            },
            (None, _) => self.fetching.lock().unwrap_or_else(PoisonError::into_inner),
        };
        // Another may have fetched it meanwhile.
        if let (Some(jwk), true) = look() {
            return Ok(jwk);
        }
        self.renew();
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let missing = if known.keys.is_none() { TokenFault::NoKeys } else { TokenFault::Invalid("its key is unknown") };
        known.find(kid, algorithm).ok_or(missing)
    }

    /// Fetches the keys, unless that was tried a moment ago. Only who holds `fetching` calls it.
    fn renew(&self) {
        if !self.known.lock().unwrap_or_else(PoisonError::into_inner).may_be_fetched() {
            return;
        }
        let fetched = self.fetch();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.tried = Some(Instant::now());
        match fetched {
            Ok(keys) => {
                known.keys = Some(keys);
                known.fetched = known.tried;
            }
            // What was known stays good: an operator's outage locks nobody out.
            Err(error) => tracing::error!(%error, "the keys of customers' tokens cannot be read"),
        }
    }

    fn fetch(&self) -> AppResult<JwkSet> {
        let source = &self.settings.keys;
        let reading = || format!("reading the keys of {source}");
        let text = if source.starts_with("https://") {
            let request = https::agent(&self.settings.trust).get(source);
            let answer = request.config().timeout_global(Some(PATIENCE)).build().call();
            let mut answer = answer.map_err(|error| AppError::io(reading())(std::io::Error::other(error)))?;
            if !answer.status().is_success() {
                return Err(AppError::Refused(format!("{source} answered {}", answer.status())));
            }
            let body = answer.body_mut().with_config().limit(MAX_SET).read_to_vec();
            body.map_err(|error| AppError::io(reading())(std::io::Error::other(error)))?
        } else {
            std::fs::read(source).map_err(AppError::io(reading()))?
        };
        let keys: JwkSet = serde_json::from_slice(&text)
            .map_err(|error| AppError::Invalid(format!("{source} is no set of keys (JWKS): {error}")))?;
        if keys.keys.len() > MAX_KEYS {
            return Err(AppError::Invalid(format!("{source} has more than {MAX_KEYS} keys")));
        }
        Ok(keys)
    }
}

/// The key of this id that is made for the algorithm. A token without one is checked with the only key there is for it.
fn find(keys: &JwkSet, kid: Option<&str>, algorithm: Algorithm) -> Option<Jwk> {
    let mut fit = keys
        .keys
        .iter()
        .filter(|key| is_for(key, algorithm) && kid.is_none_or(|kid| key.common.key_id.as_deref() == Some(kid)));
    match (fit.next(), fit.next()) {
        (Some(key), None) => Some(key.clone()),
        _ => None,
    }
}

/// Whether a key is of the algorithm's own kind, strong enough, and meant for signatures.
fn is_for(key: &Jwk, algorithm: Algorithm) -> bool {
    let kind = match (&key.algorithm, algorithm) {
        (AlgorithmParameters::OctetKeyPair(pair), Algorithm::EdDSA) => pair.curve == EllipticCurve::Ed25519,
        // Base64 has four characters for three bytes.
        (AlgorithmParameters::RSA(rsa), Algorithm::RS256) => rsa.n.len() * 3 / 4 >= MIN_RSA,
        _ => false,
    };
    let declared = key.common.key_algorithm.is_none_or(|declared| declared.to_string() == format!("{algorithm:?}"));
    let signs = key.common.public_key_use.as_ref().is_none_or(|purpose| *purpose == PublicKeyUse::Signature);
    kind && declared && signs
}

fn reason(error: &jsonwebtoken::errors::Error) -> TokenFault {
    use jsonwebtoken::errors::ErrorKind;
    TokenFault::Invalid(match error.kind() {
        ErrorKind::ExpiredSignature => "it has expired",
        ErrorKind::ImmatureSignature => "it is not valid yet",
        ErrorKind::InvalidAudience => "it is meant for somebody else",
        ErrorKind::InvalidIssuer => "somebody else issued it",
        ErrorKind::MissingRequiredClaim(_) => "it lacks one of exp, aud, sub and iss",
        ErrorKind::InvalidSignature => "its signature does not hold",
        _ => "it cannot be read",
    })
}
