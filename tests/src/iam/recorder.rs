//! Between a function and its servers: every request is judged by the policies of the function's
//! role, and answered as AWS answers where they do not allow it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, ensure};
use aws_sdk_s3::primitives::SdkBody;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
    SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_runtime_api::http::StatusCode;

use super::policy::{Decision, Grant, Policies, Request};
use super::relay::Relay;
use super::request::{Caller, Wire};
use crate::template::Template;

/// One function's requests, judged by its role.
///
/// Dropping it fails the test in which a request was refused, unless the test has asked for that
/// ([`Recorder::take_refused`]) or fails anyway.
#[derive(Debug)]
pub struct Recorder {
    judge: Arc<Judge>,
}

/// What is shared with clients and relays.
#[derive(Debug)]
pub(super) struct Judge {
    policies: Policies,
    caller: Caller,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    requests: Vec<Request>,
    used: BTreeSet<Grant>,
    refused: Vec<String>,
}

impl Recorder {
    /// For a function of the template.
    ///
    /// # Errors
    ///
    /// Its role's policies hold something that is not evaluated here.
    pub fn of(template: &Template, function: &str) -> anyhow::Result<Self> {
        let policies = Policies::read(&template.role_policies(function)?)
            .with_context(|| format!("reading the policies of {function}"))?;
        let role_arn = template.function(function)?.role_arn;
        let account = role_arn.split(':').nth(4).context("a role without an account")?.to_owned();
        ensure!(!policies.grants().is_empty(), "{function} may do nothing at all");
        let caller = Caller { role_arn, account };
        let judge = Judge { policies, caller, seen: Mutex::default() };
        Ok(Self { judge: Arc::new(judge) })
    }

    /// What the role grants.
    #[must_use]
    pub fn policies(&self) -> &Policies {
        &self.judge.policies
    }

    /// What of it was used so far.
    #[must_use]
    pub fn used(&self) -> BTreeSet<Grant> {
        self.judge.seen().used.clone()
    }

    /// Everything that was asked for so far, whatever the answer was.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.judge.seen().requests.clone()
    }

    /// What was refused so far, and why; from now on it does not fail the test.
    #[must_use]
    pub fn take_refused(&self) -> Vec<String> {
        std::mem::take(&mut self.judge.seen().refused)
    }

    /// The same S3 client, with its requests judged.
    #[must_use]
    pub fn s3(&self, client: &aws_sdk_s3::Client) -> aws_sdk_s3::Client {
        let config = client.config();
        let http = self.before(config.http_client());
        aws_sdk_s3::Client::from_conf(config.to_builder().http_client(http).build())
    }

    /// The same SNS client, with its requests judged.
    #[must_use]
    pub fn sns(&self, client: &aws_sdk_sns::Client) -> aws_sdk_sns::Client {
        let config = client.config();
        let http = self.before(config.http_client());
        aws_sdk_sns::Client::from_conf(config.to_builder().http_client(http).build())
    }

    /// The same EventBridge client, with its requests judged.
    #[must_use]
    pub fn event_bridge(
        &self,
        client: &aws_sdk_eventbridge::Client,
    ) -> aws_sdk_eventbridge::Client {
        let config = client.config();
        let http = self.before(config.http_client());
        aws_sdk_eventbridge::Client::from_conf(config.to_builder().http_client(http).build())
    }

    /// A relay to the server with this base URL, for programs that are given an endpoint.
    ///
    /// # Errors
    ///
    /// No port can be had.
    pub async fn relay(&self, endpoint: &str) -> anyhow::Result<Relay> {
        let server = endpoint.trim_start_matches("http://").parse().context("an address")?;
        Relay::before(server, Arc::clone(&self.judge)).await
    }

    fn before(&self, http: Option<SharedHttpClient>) -> Judged<SharedHttpClient> {
        let inner = http.expect("every client of the tests is given an HTTP client");
        Judged { inner, judge: Arc::clone(&self.judge) }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        let refused = self.take_refused();
        if !std::thread::panicking() {
            assert!(
                refused.is_empty(),
                "the role does not allow what the function did: {refused:#?}"
            );
        }
    }
}

impl Judge {
    /// Judges a request. `Err` is what AWS answers.
    pub(super) fn judge(&self, wire: &Wire<'_>) -> Result<Vec<Request>, Refusal> {
        let refuse = |why: String| {
            self.seen().refused.push(why.clone());
            Refusal { why }
        };
        let requests = wire.asks_for(&self.caller).map_err(|error| refuse(format!("{error:#}")))?;
        for request in &requests {
            let decision = self.decide(request).map_err(|error| refuse(format!("{error:#}")))?;
            if !matches!(decision, Decision::Allowed(_)) {
                let Request { principal, action, resource, .. } = request;
                let why =
                    format!("{principal} is not authorized to perform {action} on {resource}");
                return Err(refuse(format!("{why}: {decision:?}")));
            }
        }
        Ok(requests)
    }

    /// S3 says that an object does not exist only to who may list its bucket, and to others that
    /// they may not read it (API reference, GetObject, "Permissions").
    pub(super) fn may_know_that_it_is_missing(&self, requests: &[Request]) -> bool {
        requests.iter().all(|request| {
            let Some((bucket, _)) = request.resource.split_once('/') else { return true };
            if !bucket.starts_with("arn:aws:s3:::") {
                return true;
            }
            let (action, resource) = ("s3:ListBucket".to_owned(), bucket.to_owned());
            let listing = Request { action, resource, ..request.clone() };
            self.decide(&listing).is_ok_and(|decision| matches!(decision, Decision::Allowed(_)))
        })
    }

    fn decide(&self, request: &Request) -> anyhow::Result<Decision> {
        let decision = self.policies.decide(request)?;
        let mut seen = self.seen();
        seen.requests.push(request.clone());
        if let Decision::Allowed(grants) = &decision {
            seen.used.extend(grants.iter().cloned());
        }
        Ok(decision)
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A refused request.
#[derive(Debug)]
pub(super) struct Refusal {
    why: String,
}

impl Refusal {
    pub(super) fn missing() -> Self {
        Self { why: "s3:ListBucket is not allowed, so that this could be 404".to_owned() }
    }

    /// The body of the answer, whose status is 403. S3's form; the SDKs of the other services
    /// take it for an error without a code.
    pub(super) fn body(&self) -> String {
        let why = self.why.replace('&', "&amp;").replace('<', "&lt;");
        format!("<Error><Code>AccessDenied</Code><Message>{why}</Message></Error>")
    }
}

/// An HTTP client of the SDK, or a connector of one, whose requests are judged.
#[derive(Debug)]
struct Judged<T> {
    inner: T,
    judge: Arc<Judge>,
}

impl HttpClient for Judged<SharedHttpClient> {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        let inner = self.inner.http_connector(settings, components);
        SharedHttpConnector::new(Judged { inner, judge: Arc::clone(&self.judge) })
    }
}

impl HttpConnector for Judged<SharedHttpConnector> {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let names = request.headers().iter();
        let headers = names.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()));
        let wire = Wire {
            method: request.method(),
            uri: request.uri(),
            headers: headers.collect(),
            // What streams is an object, and says nothing.
            body: request.body().bytes().unwrap_or_default(),
        };
        let requests = match self.judge.judge(&wire) {
            Ok(requests) => requests,
            Err(refusal) => return HttpConnectorFuture::ready(Ok(forbidden(&refusal))),
        };
        let (answer, judge) = (self.inner.call(request), Arc::clone(&self.judge));
        HttpConnectorFuture::new(async move {
            let answer = answer.await?;
            let missing = answer.status().as_u16() == 404;
            if missing && !judge.may_know_that_it_is_missing(&requests) {
                return Ok(forbidden(&Refusal::missing()));
            }
            Ok(answer)
        })
    }
}

fn forbidden(refusal: &Refusal) -> HttpResponse {
    let status = StatusCode::try_from(403).expect("a status");
    HttpResponse::new(status, SdkBody::from(refusal.body()))
}
