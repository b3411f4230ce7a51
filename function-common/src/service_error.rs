//! What S3 and SNS say when they refuse, in the few words that a log needs.

use std::error::Error;
use std::fmt;

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::RequestId as _;

/// A failed request to an AWS service. `Display` is one level: what was asked, what was answered;
/// the cause is the `source()`. It holds no request or response body.
#[derive(Debug)]
pub struct ServiceError {
    /// The API operation, `GetObject`.
    pub operation: &'static str,
    /// The service's error code, `AccessDenied`; none when no answer came.
    pub code: Option<String>,
    /// HTTP status of the answer.
    pub status: Option<u16>,
    request_id: Option<String>,
    message: Option<String>,
    cause: Option<String>,
}

impl ServiceError {
    /// From any SDK error of `operation`.
    pub fn new<E>(operation: &'static str, error: &SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        let metadata = error.as_service_error().map(ProvideErrorMetadata::meta);
        let cause = match error {
            // Its words are in code and message already.
            SdkError::ServiceError(_) => None,
            other => Some(chain(other)),
        };
        Self {
            operation,
            code: metadata.and_then(|meta| meta.code()).map(str::to_owned),
            status: error.raw_response().map(|response| response.status().as_u16()),
            request_id: metadata.and_then(|meta| meta.request_id()).map(str::to_owned),
            message: metadata.and_then(|meta| meta.message()).map(str::to_owned),
            cause,
        }
    }

    /// Whether the same request, sent later, may succeed without anybody doing anything. The SDK
    /// has retried already.
    #[must_use]
    pub fn retry(&self) -> bool {
        match self.status {
            None => true,
            Some(status) => status >= 500 || status == 429 || status == 408,
        }
    }

    /// Whether the answer means that the object, or this version of it, does not exist. Some S3
    /// implementations answer HEAD with the bare status.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        match self.code.as_deref() {
            Some("NoSuchKey" | "NoSuchVersion" | "NotFound") => true,
            // GET of a delete marker by its version id.
            Some("MethodNotAllowed") => true,
            Some(_) => false,
            None => self.status == Some(404),
        }
    }

    /// Whether the object is no longer the one that `If-Match` named.
    #[must_use]
    pub fn is_changed(&self) -> bool {
        self.status == Some(412)
    }

    /// Whether the object is still the one that `If-None-Match` named.
    #[must_use]
    pub fn is_unchanged(&self) -> bool {
        self.status == Some(304)
    }

    /// Whether the object is encrypted with a key that its uploader keeps (SSE-C), which a GET without
    /// that key is told. There is no error code for it alone: `InvalidRequest` with the words "The
    /// object was stored using a form of Server Side Encryption. The correct parameters must be
    /// provided to retrieve the object." (as S3 answered in minio#4894 and opendal#1858).
    #[must_use]
    pub fn is_customer_key(&self) -> bool {
        let words = "stored using a form of Server Side Encryption";
        self.code.as_deref() == Some("InvalidRequest")
            && self.message.as_deref().is_some_and(|message| message.contains(words))
    }

    /// Whether the object lies in an archive storage class.
    #[must_use]
    pub fn is_archived(&self) -> bool {
        self.code.as_deref() == Some("InvalidObjectState")
    }
}

impl fmt::Display for ServiceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failed", self.operation)?;
        match (&self.code, self.status) {
            (Some(code), Some(status)) => write!(f, ": {code} (HTTP {status})")?,
            (Some(code), None) => write!(f, ": {code}")?,
            (None, Some(status)) => write!(f, ": HTTP {status}")?,
            (None, None) => write!(f, ": no answer")?,
        }
        if let Some(message) = &self.message {
            write!(f, ", {message}")?;
        }
        if let Some(cause) = &self.cause {
            write!(f, ", {cause}")?;
        }
        if let Some(request_id) = &self.request_id {
            write!(f, ", request id {request_id}")?;
        }
        match self.code.as_deref() {
            Some("AccessDenied") => write!(
                f,
                "; the function's role, the bucket policy and the key's policy must all allow it"
            ),
            _ => Ok(()),
        }
    }
}

impl Error for ServiceError {}

/// An error and all its causes, one after the other. The SDK's own `DisplayErrorContext` prints
/// whole responses, which do not belong into a log.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
