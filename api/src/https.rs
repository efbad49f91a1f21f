//! Calling others over HTTPS: one client for all, which trusts whom the machine trusts and whom the operator adds.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http_body_util::BodyExt;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
};
use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use crate::error::{AppError, AppResult};

/// How long a call may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The largest answer that is read: a sealed file and a bit.
const MAX_ANSWER: u64 = 32 << 20;

/// The certificate authorities that are trusted besides the machine's own: an operator's services often have one of theirs.
#[derive(Debug, Clone, Default)]
pub struct Trust(Arc<Vec<Vec<u8>>>);

impl Trust {
    /// Reads a file of certificates (PEM).
    pub fn read(path: &Path) -> AppResult<Self> {
        let found = rustls_native_certs::load_certs_from_paths(Some(path), None);
        let why = found.errors.first().map_or_else(|| "it has no certificate (PEM)".to_owned(), ToString::to_string);
        if found.certs.is_empty() || !found.errors.is_empty() {
            return Err(AppError::Usage(format!("REDRESS_CA_FILE {}: {why}", path.display())));
        }
        Ok(Self(Arc::new(found.certs.iter().map(|certificate| certificate.to_vec()).collect())))
    }

    /// Their certificates (DER).
    pub fn certificates(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().map(Vec::as_slice)
    }
}

/// A client that follows no redirects and takes every status for an answer.
#[must_use]
pub fn agent(trust: &Trust) -> Agent {
    let found = rustls_native_certs::load_native_certs();
    let known = found.certs.iter().map(AsRef::as_ref).chain(trust.certificates());
    let roots: Vec<_> = known.map(|root| Certificate::from_der(root).to_owned()).collect();
    if roots.is_empty() {
        tracing::warn!("the machine trusts no certificate authority: HTTPS will fail");
    }
    let tls = TlsConfig::builder().root_certs(RootCerts::Specific(Arc::new(roots))).build();
    Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .timeout_global(Some(TIMEOUT))
        .tls_config(tls)
        .build()
        .into()
}

/// Gives the object store our client, so that one is enough.
#[derive(Debug)]
pub struct Connector(pub Trust);

impl HttpConnector for Connector {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(Calls(agent(&self.0))))
    }
}

#[derive(Debug)]
struct Calls(Agent);

#[async_trait]
impl HttpService for Calls {
    /// Blocks the thread that asks, which waits for the answer in any case (`blobs::wait`).
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (parts, body) = request.into_parts();
        let content = body.collect().await?.to_bytes().to_vec();
        let request = ureq::http::Request::from_parts(parts, content);
        let response = self.0.run(request).map_err(failed)?;
        let (parts, mut body) = response.into_parts();
        let content = body.with_config().limit(MAX_ANSWER).read_to_vec().map_err(failed)?;
        Ok(HttpResponse::from_parts(parts, content.into()))
    }
}

fn failed(error: ureq::Error) -> HttpError {
    let kind = match &error {
        ureq::Error::ConnectionFailed | ureq::Error::HostNotFound => HttpErrorKind::Connect,
        ureq::Error::Timeout(_) => HttpErrorKind::Timeout,
        ureq::Error::Io(_) => HttpErrorKind::Interrupted,
        _ => HttpErrorKind::Unknown,
    };
    HttpError::new(kind, error)
}
