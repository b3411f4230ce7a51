use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::json;

use super::*;

const SECRET: &str = "X-Amz-Signature=0123456789abcdef";

/// What CloudFormation's bucket got.
#[derive(Debug, Clone)]
struct Got {
    method: String,
    path_and_query: String,
    content_type: Option<String>,
    document: Value,
}

/// CloudFormation's end: takes documents, answers with the statuses given, then with 200.
struct CloudFormation {
    address: SocketAddr,
    got: Arc<Mutex<Vec<Got>>>,
}

impl CloudFormation {
    async fn start(statuses: &[u16]) -> Self {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let got = Arc::new(Mutex::new(Vec::new()));
        let log = got.clone();
        let statuses = Arc::new(Mutex::new(VecDeque::from(statuses.to_vec())));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (log, statuses) = (log.clone(), statuses.clone());
                let service = service_fn(move |request: hyper::Request<Incoming>| {
                    let (log, statuses) = (log.clone(), statuses.clone());
                    async move {
                        let (parts, body) = request.into_parts();
                        let body = body.collect().await.unwrap().to_bytes();
                        let header = parts.headers.get("content-type");
                        log.lock().unwrap().push(Got {
                            method: parts.method.to_string(),
                            path_and_query: parts.uri.path_and_query().unwrap().to_string(),
                            content_type: header.map(|value| value.to_str().unwrap().to_owned()),
                            document: serde_json::from_slice(&body).unwrap(),
                        });
                        let status = statuses.lock().unwrap().pop_front().unwrap_or(200);
                        let mut response = hyper::Response::new(Empty::<Bytes>::new());
                        *response.status_mut() = hyper::StatusCode::from_u16(status).unwrap();
                        Ok::<_, Infallible>(response)
                    }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { address, got }
    }

    fn event(&self, request_type: &str) -> Value {
        json!({
            "RequestType": request_type,
            "ResponseURL": format!("https://{}/a%2Fb?Expires=1&{SECRET}", self.address),
            "StackId": "arn:aws:cloudformation:eu-west-1:123456789012:stack/scan/1",
            "RequestId": "request-1",
            "ResourceType": "Custom::BucketWiring",
            "LogicalResourceId": "BucketWiring",
            "ResourceProperties": { "ServiceToken": "arn", "Name": "new" },
            "OldResourceProperties": { "ServiceToken": "arn", "Name": "old" },
        })
    }

    fn got(&self) -> Vec<Got> {
        self.got.lock().unwrap().clone()
    }

    fn document(&self) -> Value {
        let got = self.got();
        assert_eq!(got.len(), 1, "{got:?}");
        got[0].document.clone()
    }
}

/// Takes https requests to a server without TLS.
#[derive(Debug)]
struct WithoutTls(Connector);

impl HttpConnector for WithoutTls {
    fn call(&self, mut request: HttpRequest) -> HttpConnectorFuture {
        let uri = request.uri().replacen("https://", "http://", 1);
        request.set_uri(uri).unwrap();
        self.0.call(request)
    }
}

fn responder() -> Responder {
    let connector = WithoutTls(Connector::builder().build_http());
    Responder::with_connector(SharedHttpConnector::new(connector))
}

fn in_seconds(seconds: u64) -> SystemTime {
    SystemTime::now() + Duration::from_secs(seconds)
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Broken(String);

async fn nothing(_: Request) -> Result<Attributes, Broken> {
    Ok(Attributes::new())
}

async fn broken(_: Request) -> Result<Attributes, Broken> {
    Err(Broken("bucket a: AccessDenied".into()))
}

#[tokio::test]
async fn a_success_is_put_to_the_url_with_its_attributes() {
    let stack = CloudFormation::start(&[]).await;
    let status = responder()
        .respond(stack.event("Create"), in_seconds(60), |request| async move {
            assert_eq!(request.action, Action::Create);
            assert_eq!(request.properties["Name"], "new");
            Ok::<_, Broken>(Attributes::from([("Policy".into(), "{\"a\":1}".into())]))
        })
        .await
        .unwrap();
    assert_eq!(status, Status::Success);
    let got = stack.got();
    assert_eq!(got[0].method, "PUT");
    assert_eq!(got[0].path_and_query, format!("/a%2Fb?Expires=1&{SECRET}"));
    assert_eq!(got[0].content_type, None);
    assert_eq!(
        stack.document(),
        json!({
            "Status": "SUCCESS",
            "PhysicalResourceId":
                "arn:aws:cloudformation:eu-west-1:123456789012:stack/scan/1/BucketWiring",
            "StackId": "arn:aws:cloudformation:eu-west-1:123456789012:stack/scan/1",
            "RequestId": "request-1",
            "LogicalResourceId": "BucketWiring",
            "Data": { "Policy": "{\"a\":1}" },
        })
    );
}

#[tokio::test]
async fn a_resource_keeps_its_physical_id_and_an_update_sees_both_properties() {
    let stack = CloudFormation::start(&[]).await;
    let mut event = stack.event("Update");
    event["PhysicalResourceId"] = "what-it-had".into();
    let work = |request: Request| async move {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Properties {
            name: String,
        }
        assert_eq!(request.properties::<Properties>().unwrap().name, "new");
        assert_eq!(request.old_properties::<Properties>().unwrap().unwrap().name, "old");
        Err::<Attributes, _>(Broken("no".into()))
    };
    responder().respond(event, in_seconds(60), work).await.unwrap();
    assert_eq!(stack.document()["PhysicalResourceId"], "what-it-had");
}

#[tokio::test]
async fn work_that_fails_is_answered_and_not_repeated() {
    let stack = CloudFormation::start(&[]).await;
    let status = responder().respond(stack.event("Delete"), in_seconds(60), broken).await;
    assert_eq!(status.unwrap(), Status::Failed);
    let document = stack.document();
    assert_eq!(document["Status"], "FAILED");
    assert_eq!(document["Reason"], "bucket a: AccessDenied");
    assert!(!document["PhysicalResourceId"].as_str().unwrap().is_empty());
}

#[tokio::test]
async fn work_that_panics_is_answered() {
    let stack = CloudFormation::start(&[]).await;
    let work = |_| async {
        if stack.got().is_empty() {
            panic!("index {} is out of bounds", 7);
        }
        Ok::<_, Broken>(Attributes::new())
    };
    let status = responder().respond(stack.event("Create"), in_seconds(60), work).await.unwrap();
    assert_eq!(status, Status::Failed);
    let reason = stack.document()["Reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("panicked: index 7 is out of bounds"), "{reason}");
}

#[tokio::test]
async fn work_without_end_is_answered_before_the_function_ends() {
    let stack = CloudFormation::start(&[]).await;
    let deadline = SystemTime::now() + Duration::from_millis(100);
    let work = |_| std::future::pending::<Result<Attributes, Broken>>();
    let status = responder().respond(stack.event("Create"), deadline, work).await.unwrap();
    assert_eq!(status, Status::Failed);
    let reason = stack.document()["Reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("longer time-out"), "{reason}");
}

#[tokio::test]
async fn a_request_that_nobody_knows_is_answered() {
    let stack = CloudFormation::start(&[]).await;
    let status = responder().respond(stack.event("Upsert"), in_seconds(60), nothing).await.unwrap();
    assert_eq!(status, Status::Failed);
    let reason = stack.document()["Reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("RequestType is `Upsert`"), "{reason}");
}

#[tokio::test]
async fn an_answer_is_sent_again_until_it_is_taken() {
    let stack = CloudFormation::start(&[503, 500, 429]).await;
    let status = responder().respond(stack.event("Create"), in_seconds(60), nothing).await;
    assert_eq!(status.unwrap(), Status::Success);
    assert_eq!(stack.got().len(), 4);
}

#[tokio::test]
async fn an_answer_that_is_not_taken_is_an_error_without_the_secret() {
    let stack = CloudFormation::start(&[503; TRIES]).await;
    let error =
        responder().respond(stack.event("Create"), in_seconds(60), broken).await.unwrap_err();
    assert_eq!((error.code(), error.retry()), ("delivery", true));
    let shown = format!("{} {error:?}", chain(&error));
    assert!(shown.contains("Failed") && shown.contains("HTTP 503"), "{shown}");
    assert!(!shown.contains(SECRET), "{shown}");
    assert_eq!(stack.got().len(), TRIES);
}

#[tokio::test]
async fn an_answer_that_is_refused_is_not_sent_again() {
    let stack = CloudFormation::start(&[403]).await;
    let error = responder().respond(stack.event("Create"), in_seconds(60), nothing).await;
    let error = error.unwrap_err();
    assert_eq!((error.code(), error.retry()), ("delivery", false));
    assert_eq!(stack.got().len(), 1);
}

#[tokio::test]
async fn no_connection_is_an_error_without_the_secret() {
    // A port that was free a moment ago, and that nobody listens to.
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let url = format!("https://{address}/?{SECRET}");
    let error = responder().put(&url, Vec::new()).await.unwrap_err();
    assert!(matches!(error, DeliveryError::Connection(_)), "{error:?}");
    assert!(!format!("{error} {error:?}").contains(SECRET), "{error:?}");
}

#[tokio::test]
async fn only_https_is_answered_and_then_nothing_is_done() {
    for url in ["http://example.com/", "file:///etc/passwd", ""] {
        let stack = CloudFormation::start(&[]).await;
        let mut event = stack.event("Create");
        event["ResponseURL"] = url.into();
        let work = |_| async { unreachable!("nobody could be told how it ended") };
        let result =
            responder().respond::<_, Broken>(event, in_seconds(60), work).await.unwrap_err();
        assert_eq!(result.code(), "url");
    }
}

#[tokio::test]
async fn what_is_no_request_is_an_error_without_the_secret() {
    let event = json!({ "ResponseURL": format!("https://example.com/?{SECRET}"), "RequestId": 7 });
    assert!(is_request(&event));
    assert!(!is_request(&json!({ "source": "aws.events" })));
    let error = responder().respond(event, in_seconds(60), nothing).await.unwrap_err();
    assert_eq!(error.code(), "event");
    let shown = format!("{} {error:?}", chain(&error));
    assert!(!shown.contains(SECRET), "{shown}");
}

#[tokio::test]
async fn a_long_reason_is_cut_to_what_cloudformation_takes() {
    // Characters of 1, 2 and 4 bytes, and one that JSON writes as 6.
    for character in ['a', 'ü', '🦠', '\u{1}'] {
        let stack = CloudFormation::start(&[]).await;
        let work = |_| async move {
            let reason = character.to_string().repeat(5000);
            Err::<Attributes, _>(Broken(format!("bucket a: {reason}")))
        };
        responder().respond(stack.event("Create"), in_seconds(60), work).await.unwrap();
        let document = stack.document();
        let size = serde_json::to_vec(&document).unwrap().len();
        assert!((MAX_ANSWER - 6..=MAX_ANSWER).contains(&size), "{character:?}: {size}");
        let reason = document["Reason"].as_str().unwrap();
        assert!(reason.starts_with("bucket a: ") && reason.ends_with(CUT), "{reason}");
    }
}

#[tokio::test]
async fn attributes_that_do_not_fit_are_a_failure() {
    let stack = CloudFormation::start(&[]).await;
    let work = |_| async {
        Ok::<_, Broken>(Attributes::from([("Policy".into(), "a".repeat(MAX_ANSWER))]))
    };
    let status = responder().respond(stack.event("Create"), in_seconds(60), work).await.unwrap();
    assert_eq!(status, Status::Failed);
    assert!(stack.document()["Reason"].as_str().unwrap().contains("CloudFormation takes 4096"));
}

#[test]
fn debug_does_not_show_the_secret() {
    let event = json!({
        "RequestType": "Create", "ResponseURL": format!("https://example.com/?{SECRET}"),
        "StackId": "stack", "RequestId": "request", "LogicalResourceId": "resource",
    });
    let event = Event::deserialize(event).unwrap();
    assert!(!format!("{event:?}").contains(SECRET));
}
