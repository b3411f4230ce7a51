//! Custom resources of CloudFormation: one request, one answer, whatever happens in between.
//!
//! CloudFormation invokes the function without waiting for what it returns. It waits, up to an
//! hour, for a document at a presigned URL of its own (CloudFormation user guide, "Custom resource
//! request and response reference"). [`Responder::respond`] sends it: also when the work fails,
//! panics or does not end in time. That URL is a secret, whoever has it can answer: it is in no
//! log, no error and no `Debug`.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, SystemTime};

use aws_smithy_http_client::Connector;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::http::{HttpConnector as _, SharedHttpConnector};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use backon::{ExponentialBuilder, Retryable as _};
use futures_util::FutureExt as _;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::service_error::chain;

/// The largest answer that CloudFormation takes, in bytes (CloudFormation user guide, "Custom
/// resource response objects").
pub const MAX_ANSWER: usize = 4096;

/// How long one try to answer may take.
const TRY_TIME: Duration = Duration::from_secs(5);

/// Tries to answer, the first among them.
const TRIES: usize = 4;

/// The pause before the second try; each one after it is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// Kept back from the invocation's time for all tries, 4 × 5 s, and their pauses, 3.5 s.
const ANSWER_TIME: Duration = Duration::from_secs(24);

/// What a reason that was cut ends with.
const CUT: &str = " ... (the whole is in the function's log)";

/// What the stack wants.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// The resource is new to the stack. CloudFormation may ask twice for the same.
    Create,
    /// The properties changed, or a failed update is rolled back.
    Update {
        /// The properties until now.
        old: Value,
    },
    /// The resource leaves the stack; also sent after a `Create` that failed.
    Delete,
}

impl Action {
    /// CloudFormation's name for it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Create => "Create",
            Self::Update { .. } => "Update",
            Self::Delete => "Delete",
        }
    }
}

/// A request without its secret.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// What is to be done.
    pub action: Action,
    /// The resource's properties, all texts or lists of texts.
    pub properties: Value,
}

/// Properties that are not what the resource takes.
#[derive(Debug, thiserror::Error)]
#[error("the resource's properties are wrong")]
pub struct PropertiesError(#[from] serde_json::Error);

impl Request {
    /// The properties as `P`.
    ///
    /// # Errors
    /// They are not a `P`.
    pub fn properties<P: DeserializeOwned>(&self) -> Result<P, PropertiesError> {
        Ok(P::deserialize(&self.properties)?)
    }

    /// The properties until now as `P`; none unless this is an update.
    ///
    /// # Errors
    /// They are not a `P`.
    pub fn old_properties<P: DeserializeOwned>(&self) -> Result<Option<P>, PropertiesError> {
        match &self.action {
            Action::Update { old } => Ok(Some(P::deserialize(old)?)),
            Action::Create | Action::Delete => Ok(None),
        }
    }
}

/// What `Fn::GetAtt` gives in the template.
pub type Attributes = BTreeMap<String, String>;

/// What the stack was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Status {
    /// The work is done.
    Success,
    /// It is not; the stack rolls back.
    Failed,
}

/// Why nobody was answered. It is an error of the invocation, so that Lambda tries again.
#[derive(Debug, thiserror::Error)]
pub enum RespondError {
    /// There is nobody to answer.
    #[error("the event is no request of CloudFormation for a custom resource")]
    Event(#[source] serde_json::Error),
    /// The URL is not one that an answer may go to.
    #[error("CloudFormation's ResponseURL is not an https URL")]
    Url,
    /// An answer does not fit, even without its reason.
    #[error("the answer has {0} bytes, and CloudFormation takes {MAX_ANSWER}")]
    TooLarge(usize),
    /// It could not be delivered.
    #[error(
        "CloudFormation was not told {status:?}; its stack waits until the time-out of the \
         resource unless another try succeeds"
    )]
    Delivery {
        /// What it was to be told.
        status: Status,
        /// The last try's failure.
        source: DeliveryError,
    },
}

impl RespondError {
    /// A stable word for logs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Event(_) => "event",
            Self::Url => "url",
            Self::TooLarge(_) => "too_large",
            Self::Delivery { .. } => "delivery",
        }
    }

    /// Whether the same event, handled again, may end otherwise.
    #[must_use]
    pub fn retry(&self) -> bool {
        match self {
            Self::Event(_) | Self::Url | Self::TooLarge(_) => false,
            Self::Delivery { source, .. } => source.retry(),
        }
    }
}

/// Why one try to answer failed. Nothing here holds the URL.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    /// No connection, or one that broke.
    #[error("the request failed: {0}")]
    Connection(String),
    /// No answer in time.
    #[error("no answer within {} s", TRY_TIME.as_secs())]
    Timeout,
    /// S3, behind the URL, refused.
    #[error("the request was answered with HTTP {0}")]
    Status(u16),
}

impl DeliveryError {
    /// Whether another try may succeed. 403 is an URL that is no longer valid.
    #[must_use]
    pub fn retry(&self) -> bool {
        match self {
            Self::Connection(_) | Self::Timeout => true,
            Self::Status(status) => *status >= 500 || matches!(status, 408 | 429),
        }
    }
}

/// Why work ended without attributes.
#[derive(Debug, thiserror::Error)]
enum WorkError<E: Error + 'static> {
    #[error(transparent)]
    Failed(E),
    #[error("a bug: the work panicked: {0}")]
    Panic(String),
    #[error("the work did not end in the function's time; give the function a longer time-out")]
    Deadline,
}

/// The event, as far as an answer needs it: properties of any form, so that wrong ones can still
/// be answered.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Event {
    request_type: String,
    #[serde(rename = "ResponseURL")]
    response_url: String,
    stack_id: String,
    request_id: String,
    logical_resource_id: String,
    physical_resource_id: Option<String>,
    #[serde(default)]
    resource_properties: Value,
    #[serde(default)]
    old_resource_properties: Value,
}

/// The document that CloudFormation waits for.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Answer<'a> {
    status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    physical_resource_id: &'a str,
    stack_id: &'a str,
    request_id: &'a str,
    logical_resource_id: &'a str,
    data: &'a Attributes,
}

/// Whether `event` is a request for a custom resource: nothing else names a `ResponseURL`.
#[must_use]
pub fn is_request(event: &Value) -> bool {
    event.get("ResponseURL").is_some()
}

/// Answers CloudFormation.
#[derive(Debug, Clone)]
pub struct Responder {
    connector: SharedHttpConnector,
}

impl Default for Responder {
    fn default() -> Self {
        Self::new()
    }
}

impl Responder {
    /// Over TLS, with the system's root certificates.
    #[must_use]
    pub fn new() -> Self {
        let tls = Provider::Rustls(CryptoMode::AwsLc);
        Self::with_connector(SharedHttpConnector::new(
            Connector::builder().tls_provider(tls).build(),
        ))
    }

    /// Over `connector`. The URL must be an https one all the same.
    #[must_use]
    pub fn with_connector(connector: SharedHttpConnector) -> Self {
        Self { connector }
    }

    /// Does `work` and tells CloudFormation how it ended: `SUCCESS` with the attributes, or
    /// `FAILED` with the reason when it failed, panicked, or was not done some seconds before
    /// `deadline`, when the invocation's time ends.
    ///
    /// The resource keeps one physical id for life, made of its stack and its logical id.
    ///
    /// # Errors
    /// CloudFormation was not told. Work that failed is not an error here: Lambda would repeat it
    /// behind the back of a stack that knows of the failure and is rolling back.
    pub async fn respond<F, E>(
        &self,
        event: Value,
        deadline: SystemTime,
        work: impl FnOnce(Request) -> F,
    ) -> Result<Status, RespondError>
    where
        F: Future<Output = Result<Attributes, E>>,
        E: Error + 'static,
    {
        let event = Event::deserialize(event).map_err(RespondError::Event)?;
        if !event.response_url.starts_with("https://") {
            return Err(RespondError::Url);
        }
        let left = deadline.duration_since(SystemTime::now()).unwrap_or_default();
        let left = left.saturating_sub(ANSWER_TIME).max(left / 2);
        let result = match request(&event) {
            Ok(request) => done(left, request, work).await.map_err(|error| chain(&error)),
            Err(reason) => Err(reason),
        };
        let (status, body) = document(&event, result)?;
        self.deliver(&event.response_url, body)
            .await
            .map_err(|source| RespondError::Delivery { status, source })?;
        Ok(status)
    }

    async fn deliver(&self, url: &str, body: Vec<u8>) -> Result<(), DeliveryError> {
        let pauses = ExponentialBuilder::default()
            .with_min_delay(FIRST_PAUSE)
            .with_max_times(TRIES - 1)
            .without_max_delay();
        (|| self.put(url, body.clone()))
            .retry(pauses)
            .when(DeliveryError::retry)
            .notify(|error, pause| {
                tracing::warn!(error = chain(error), ?pause, "answering CloudFormation again");
            })
            .await
    }

    async fn put(&self, url: &str, body: Vec<u8>) -> Result<(), DeliveryError> {
        let mut request = HttpRequest::new(body.into());
        let ready = request.set_method("PUT").is_ok() && request.set_uri(url.to_owned()).is_ok();
        if !ready {
            return Err(DeliveryError::Connection("its URL cannot be parsed".into()));
        }
        // No Content-Type: the signature in the URL was made for a request without one.
        let call = tokio::time::timeout(TRY_TIME, self.connector.call(request));
        match call.await {
            Err(_) => Err(DeliveryError::Timeout),
            Ok(Err(error)) => Err(DeliveryError::Connection(chain(&error))),
            Ok(Ok(response)) if response.status().is_success() => Ok(()),
            Ok(Ok(response)) => Err(DeliveryError::Status(response.status().as_u16())),
        }
    }
}

fn request(event: &Event) -> Result<Request, String> {
    let action = match event.request_type.as_str() {
        "Create" => Action::Create,
        "Update" => Action::Update { old: event.old_resource_properties.clone() },
        "Delete" => Action::Delete,
        other => {
            return Err(format!(
                "RequestType is `{}`, expected Create, Update or Delete",
                other.escape_debug()
            ));
        }
    };
    Ok(Request { action, properties: event.resource_properties.clone() })
}

async fn done<F, E>(
    left: Duration,
    request: Request,
    work: impl FnOnce(Request) -> F,
) -> Result<Attributes, WorkError<E>>
where
    F: Future<Output = Result<Attributes, E>>,
    E: Error + 'static,
{
    let work = AssertUnwindSafe(async { work(request).await }).catch_unwind();
    match tokio::time::timeout(left, work).await {
        Err(_) => Err(WorkError::Deadline),
        Ok(Err(panic)) => Err(WorkError::Panic(panic_message(panic.as_ref()))),
        Ok(Ok(result)) => result.map_err(WorkError::Failed),
    }
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}

/// The answer for `result`, at most [`MAX_ANSWER`] bytes: a reason is cut; attributes cannot be,
/// so that too many of them are a failure.
fn document(
    event: &Event,
    result: Result<Attributes, String>,
) -> Result<(Status, Vec<u8>), RespondError> {
    let mut result = result;
    if let Ok(attributes) = &result {
        let body = rendered(event, Status::Success, None, attributes);
        if body.len() <= MAX_ANSWER {
            tracing::info!(action = event.request_type, status = ?Status::Success, "done");
            return Ok((Status::Success, body));
        }
        result = Err(format!(
            "the answer with the resource's attributes has {} bytes, and CloudFormation takes \
             {MAX_ANSWER}",
            body.len()
        ));
    }
    let reason = result.expect_err("a success was answered above");
    tracing::error!(action = event.request_type, status = ?Status::Failed, reason, "not done");
    let none = Attributes::new();
    let failed = |reason: &str| rendered(event, Status::Failed, Some(reason), &none);
    let whole = failed(&reason);
    if whole.len() <= MAX_ANSWER {
        return Ok((Status::Failed, whole));
    }
    // What a character takes in JSON differs, so the longest start that fits is searched for.
    let ends: Vec<usize> = reason.char_indices().map(|(index, _)| index).collect();
    let shortened = |end: usize| failed(&format!("{}{CUT}", &reason[..end]));
    let fitting = ends.partition_point(|end| shortened(*end).len() <= MAX_ANSWER);
    match fitting.checked_sub(1).and_then(|last| ends.get(last)) {
        Some(end) => Ok((Status::Failed, shortened(*end))),
        None => Err(RespondError::TooLarge(failed("").len())),
    }
}

fn rendered(event: &Event, status: Status, reason: Option<&str>, data: &Attributes) -> Vec<u8> {
    let made = format!("{}/{}", event.stack_id, event.logical_resource_id);
    let answer = Answer {
        status,
        reason,
        physical_resource_id: event.physical_resource_id.as_deref().unwrap_or(&made),
        stack_id: &event.stack_id,
        request_id: &event.request_id,
        logical_resource_id: &event.logical_resource_id,
        data,
    };
    serde_json::to_vec(&answer).expect("an answer has string keys only")
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event").field("request_id", &self.request_id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
