//! Calling others over HTTPS: one client for all, which trusts whom the machine trusts.

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

/// How long a call may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The largest answer that is read: a sealed file and a bit.
const MAX_ANSWER: u64 = 32 << 20;

/// A client that follows no redirects and takes every status for an answer.
#[must_use]
pub fn agent() -> Agent {
    let found = rustls_native_certs::load_native_certs();
    if found.certs.is_empty() {
        tracing::warn!("the machine trusts no certificate authority: HTTPS will fail");
    }
    let roots: Vec<_> = found.certs.iter().map(|root| Certificate::from_der(root).to_owned()).collect();
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
pub struct Connector;

impl HttpConnector for Connector {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(Calls(agent())))
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
