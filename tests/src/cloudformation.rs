//! The part of CloudFormation that a custom resource sees: requests with a presigned URL, and what
//! is written there.
//!
//! The URL is one of S3, as CloudFormation's is: made by the SDK, and refused if a header was
//! added that it was not signed for. There is no TLS here; [`CloudFormation::responder`] takes the
//! https requests that it is sent to a server without.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use aws_sdk_s3::error::ProvideErrorMetadata as _;
use aws_sdk_s3::presigning::PresigningConfig;
use aws_smithy_http_client::Connector;
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use function_common::custom_resource::Responder;
use serde_json::{Value, json};

use crate::fake_s3::{FakeS3, Operation, S3ErrorCode, Served, Versioning};

const BUCKET: &str = "cloudformation-custom-resource-response";
const STACK: &str = "arn:aws:cloudformation:us-east-1:123456789012:stack/scan/1";

/// What an invocation has left, in all tests that are not about it.
const TIME: Duration = Duration::from_secs(120);

/// One CloudFormation, with a bucket for answers.
#[derive(Debug)]
pub struct CloudFormation {
    s3: FakeS3,
    served: Served,
    requests: AtomicUsize,
}

/// A request that was made.
#[derive(Debug, Clone)]
pub struct Request {
    /// What the function gets.
    pub event: Value,
    /// When its invocation would end.
    pub deadline: SystemTime,
    key: String,
}

impl CloudFormation {
    /// Starts one. Call it inside a Tokio runtime.
    ///
    /// # Errors
    ///
    /// No port is free.
    pub fn start() -> anyhow::Result<Self> {
        let s3 = FakeS3::new().bucket(BUCKET, Versioning::Off);
        let served = s3.serve()?;
        Ok(Self { s3, served, requests: AtomicUsize::new(0) })
    }

    /// A request of `kind` (`Create`, `Update`, `Delete`) for a resource of the type `resource`.
    ///
    /// # Errors
    ///
    /// Its URL cannot be signed.
    pub async fn request(
        &self,
        kind: &str,
        resource: &str,
        properties: &Value,
        old: Option<&Value>,
    ) -> anyhow::Result<Request> {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let key = format!("{STACK}|Resource|{number}");
        let valid = PresigningConfig::expires_in(Duration::from_secs(7200))?;
        let signed = self.served.client().put_object().bucket(BUCKET).key(&key).presigned(valid);
        let url = signed.await.context("signing a URL")?.uri().to_owned();
        let mut event = json!({
            "RequestType": kind,
            "ResponseURL": url.replacen("http://", "https://", 1),
            "StackId": STACK,
            "RequestId": format!("request-{number}"),
            "ResourceType": resource,
            "LogicalResourceId": "Resource",
            "ResourceProperties": properties,
        });
        if kind != "Create" {
            event["PhysicalResourceId"] = "what-create-answered".into();
        }
        if let Some(old) = old {
            event["OldResourceProperties"] = old.clone();
        }
        Ok(Request { event, deadline: SystemTime::now() + TIME, key })
    }

    /// Answers these requests.
    #[must_use]
    pub fn responder(&self) -> Responder {
        let connector = WithoutTls(Connector::builder().build_http());
        Responder::with_connector(SharedHttpConnector::new(connector))
    }

    /// Lets the next `times` answers to `request` be lost.
    pub fn lose_answers(&self, request: &Request, times: usize) {
        let put = self.s3.on(Operation::PutObject, &request.key);
        put.times(times).fail(S3ErrorCode::ServiceUnavailable);
    }

    /// What `request` was answered; none so far, if none.
    ///
    /// # Errors
    ///
    /// It is no JSON.
    pub async fn answer(&self, request: &Request) -> anyhow::Result<Option<Value>> {
        let client = self.s3.client();
        let object = match client.get_object().bucket(BUCKET).key(&request.key).send().await {
            Ok(object) => object,
            Err(error) if error.code() == Some("NoSuchKey") => return Ok(None),
            Err(error) => return Err(error).context("reading an answer"),
        };
        let bytes = object.body.collect().await.context("reading an answer")?.into_bytes();
        serde_json::from_slice(&bytes).context("an answer is JSON").map(Some)
    }
}

#[derive(Debug)]
struct WithoutTls(Connector);

impl HttpConnector for WithoutTls {
    fn call(&self, mut request: HttpRequest) -> HttpConnectorFuture {
        let uri = request.uri().replacen("https://", "http://", 1);
        request.set_uri(uri).expect("it was a URI before");
        self.0.call(request)
    }
}
