//! The one HTTP client: it fetches certificates and visits the URLs that confirm subscriptions.

use std::time::Duration;

use notifier_common::subscribe::{CertificateSource, SourceError};
use reqwest::StatusCode;

/// Longest answer that is read, in bytes. Certificates are a few kilobytes.
const MAX_ANSWER: usize = 64 << 10;

/// How long one answer may take. SNS waits 15 seconds for ours (SNS developer guide, "HTTP/HTTPS
/// notification"), and a first message needs two certificates.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Why the client cannot be made.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot set up the HTTP client; it needs root certificates (install ca-certificates, or name a \
     file in SSL_CERT_FILE), and proper URLs in HTTPS_PROXY and HTTP_PROXY"
)]
pub struct ClientError(#[source] reqwest::Error);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// No connection, no TLS, or not in time. Its URL, which can be a secret, is taken off.
    #[error("the request failed")]
    Request(#[source] reqwest::Error),
    /// Another status than 200; redirects are not followed.
    #[error("the answer has status {0}, not 200")]
    Status(StatusCode),
    /// Longer than what is read.
    #[error("the answer is longer than {MAX_ANSWER} bytes")]
    TooLong,
}

/// Asks other servers: no redirects, bounded in time and size.
#[derive(Debug, Clone)]
pub struct Outbound {
    http: reqwest::Client,
}

impl Outbound {
    /// Trusts the roots of this machine (`SSL_CERT_FILE` names others), and asks through the proxy
    /// of the environment (`HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`).
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn new() -> Result<Self, ClientError> {
        Self::with(reqwest::Client::builder())
    }

    /// Bounds a client that trusts and is led as `builder` says.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn with(builder: reqwest::ClientBuilder) -> Result<Self, ClientError> {
        let builder = builder.timeout(TIMEOUT).redirect(reqwest::redirect::Policy::none());
        Ok(Self { http: builder.build().map_err(ClientError)? })
    }

    /// The body of a GET.
    ///
    /// # Errors
    /// See [`FetchError`]; none of them holds the URL.
    pub async fn fetch(&self, url: &str) -> Result<Vec<u8>, FetchError> {
        let request = |error: reqwest::Error| FetchError::Request(error.without_url());
        let mut answer = self.http.get(url).send().await.map_err(request)?;
        if answer.status() != StatusCode::OK {
            return Err(FetchError::Status(answer.status()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(request)? {
            if body.len() + chunk.len() > MAX_ANSWER {
                return Err(FetchError::TooLong);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

impl CertificateSource for Outbound {
    async fn get(&self, url: &str) -> Result<Vec<u8>, SourceError> {
        Ok(self.fetch(url).await?)
    }
}
