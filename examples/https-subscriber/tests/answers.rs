//! What SNS is answered, for everything that can come: the routes in this process, SNS and its
//! certificates beside it.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail as the test itself does")]

use std::net::SocketAddr;
use std::time::Duration;

use https_subscriber::app::{App, REQUEST_TIME};
use https_subscriber::outbound::Outbound;
use https_subscriber::store::Store;
use notifier_common::subscribe::{Policy, roots_of_pem};
use rusqlite::Connection;
use scanner_tests::sns_https::{
    Asked, Fault, Leaf, Published, SignatureVersion, Sns, Subscription, SubscriptionOptions,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinHandle;

const REGION: &str = "eu-west-1";
const TOPIC: &str = "arn:aws:sns:eu-west-1:123456789012:Findings";

const DEADLINE: Duration = Duration::from_secs(60);

struct Service {
    sns: Sns,
    subscription: Subscription,
    address: SocketAddr,
    folder: TempDir,
    task: JoinHandle<()>,
}

impl Service {
    async fn start() -> Self {
        Self::with(REQUEST_TIME).await
    }

    async fn with(request_time: Duration) -> Self {
        let sns = Sns::start(REGION).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let trust_anchors = roots_of_pem(sns.pki().root_pem().as_bytes()).unwrap();
        let policy = Policy { trust_anchors, ..Policy::new([TOPIC.to_owned()]) };
        let outbound = Outbound::with(sns.internet().client().unwrap()).unwrap();
        // Nobody waits for a lock here.
        let store = Store::open(&folder.path().join("db"), Duration::ZERO).unwrap();
        let routes = App::new(policy, outbound, store).router(request_time);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        let options = SubscriptionOptions::default();
        let subscription = sns.subscribe(TOPIC, &format!("http://{address}/"), options).unwrap();
        Self { sns, subscription, address, folder, task }
    }

    /// Posts a signed notification.
    async fn post(&self, published: &Published) -> u16 {
        let document = self.subscription.notification(published).unwrap();
        self.post_document(&document).await
    }

    async fn post_document(&self, document: &Value) -> u16 {
        self.subscription.post(document).await.answer.unwrap()
    }

    /// Posts a document that is no good; gives the answer's status and its word.
    async fn refused(&self, document: &Value) -> (u16, String) {
        let request = self.sns.http().post(format!("http://{}/", self.address));
        let answer = request.body(document.to_string()).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    async fn post_bytes(&self, body: impl Into<reqwest::Body>) -> u16 {
        let request = self.sns.http().post(format!("http://{}/", self.address)).body(body);
        request.send().await.unwrap().status().as_u16()
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        let answer = self.sns.http().get(format!("http://{}{path}", self.address)).send().await;
        let answer = answer.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap_or(Value::Null))
    }

    /// Locks the database until it is dropped.
    fn locked(&self) -> Connection {
        let other = Connection::open(self.folder.path().join("db")).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        other
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn finding(object: &str, status: &str) -> Published {
    Published::now(format!("s3://{object} is {status}, no action executed"))
}

#[tokio::test]
async fn takes_200_what_arrived_and_503_what_should_come_again() {
    let service = Service::start().await;
    assert_eq!(service.post(&finding("bucket/k ", "clean")).await, 200);
    let alarm = Published::now("{\"AlarmName\":\"a\",\"NewStateValue\":\"ALARM\"}");
    assert_eq!(service.post(&alarm).await, 200, "not a finding");

    let document = service.subscription.notification(&finding("bucket/k ", "infected")).unwrap();
    let lock = service.locked();
    assert_eq!(service.post_document(&document).await, 503);
    assert_eq!(service.get("/status/k").await.1["status"], "clean");
    drop(lock);
    // It was not handled, so the same message is no replay.
    assert_eq!(service.post_document(&document).await, 200);
    assert_eq!(service.get("/status/k").await.1["status"], "infected");
    assert_eq!(service.post_document(&document).await, 200, "a replay");
}

#[tokio::test]
async fn answers_503_while_certificates_cannot_be_had_and_fetches_them_once() {
    let service = Service::start().await;
    for fault in [Fault::Unreachable, Fault::NoIssuer, Fault::Redirect, Fault::Large] {
        service.sns.internet().fault(fault);
        assert_eq!(service.post(&finding("bucket/k ", "clean")).await, 503, "{fault:?}");
        let asked = service.sns.internet().asked();
        // A redirect is not followed.
        let elsewhere = |asked: &Asked| matches!(asked, Asked::Other(target) if !target.contains("amazonaws.com"));
        assert!(!asked.iter().any(elsewhere), "{asked:?}");
    }
    service.sns.internet().fault(None);
    for _ in 0..3 {
        assert_eq!(service.post(&finding("bucket/k ", "clean")).await, 200);
    }
    assert_eq!(service.sns.internet().asked().len(), 2, "certificate and issuer");
}

#[tokio::test]
async fn confirms_by_a_visit_and_answers_503_if_that_fails() {
    let service = Service::start().await;
    // The certificates first: only the visit is to fail.
    assert_eq!(service.post(&finding("bucket/k ", "clean")).await, 200);
    service.sns.internet().fault(Fault::Confirmation);
    let last = service.subscription.ask_to_confirm().await.unwrap();
    assert_eq!(last.answer, Ok(503));
    service.sns.internet().fault(None);
    let last = service.subscription.ask_to_confirm().await.unwrap();
    assert_eq!(last.answer, Ok(200));
    assert!(service.subscription.is_confirmed());
    let _ = service.sns.internet().asked();
    assert_eq!(service.subscription.end().await.unwrap().answer, Ok(200));
    assert_eq!(service.sns.internet().asked(), [], "an ended subscription is not restored");
}

#[tokio::test]
async fn refuses_400_what_cannot_be_read() {
    let service = Service::start().await;
    let document = service.subscription.notification(&finding("bucket/k ", "clean")).unwrap();
    let without = |field: &str| {
        let mut document = document.clone();
        document.as_object_mut().unwrap().remove(field);
        document
    };
    assert_eq!(service.post_bytes("").await, 400);
    assert_eq!(service.post_bytes("s3://bucket/k  is clean, no action executed").await, 400);
    assert_eq!(service.post_bytes("[]").await, 400);
    for field in ["Type", "MessageId", "TopicArn", "Message", "Signature", "SigningCertURL"] {
        let refused = service.refused(&without(field)).await;
        assert_eq!(refused, (400, "missing-field".to_owned()), "{field}");
    }
    assert_eq!(service.post_bytes(" ".repeat(262_145)).await, 413);
    assert_eq!(service.get("/status/k").await.0, 404);
}

#[tokio::test]
async fn refuses_403_what_is_not_believed() {
    let service = Service::start().await;
    let sns = &service.sns;
    let document = || service.subscription.notification(&finding("bucket/k ", "clean")).unwrap();
    let changed = |field: &str, value: &str| {
        let mut document = document();
        document[field] = value.into();
        document
    };
    for (field, value, code) in [
        ("Message", "s3://bucket/k  is infected, no action executed", "signature"),
        ("TopicArn", "arn:aws:sns:eu-west-1:123456789012:Other", "topic"),
        (
            "SigningCertURL",
            "https://sns.eu-west-1.amazonaws.com.a.example/x.pem",
            "certificate-host",
        ),
        ("SigningCertURL", "http://sns.eu-west-1.amazonaws.com/x.pem", "certificate-scheme"),
        ("SignatureVersion", "3", "unknown-signature-version"),
        ("Signature", "AAAA", "signature"),
        ("Timestamp", "2020-01-01T00:00:00.000Z", "too-old"),
    ] {
        let refused = service.refused(&changed(field, value)).await;
        assert_eq!(refused, (403, code.to_owned()), "{field}: {value}");
    }
    for (leaf, code) in [
        (Leaf::Expired, "certificate-expired"),
        (Leaf::NotYetValid, "certificate-not-yet-valid"),
        (Leaf::OtherName, "certificate-name"),
        (Leaf::EcKey, "certificate-key"),
    ] {
        let certificate = sns.pki().signing(leaf).unwrap();
        sns.internet().serve(&certificate);
        let mut document = document();
        sns.sign(&mut document, Some(&certificate), SignatureVersion::V2).unwrap();
        assert_eq!(service.refused(&document).await, (403, code.to_owned()), "{leaf:?}");
    }
    let tampered = finding("bucket/k ", "infected").with("status", "clean");
    let tampered = service.subscription.notification(&tampered).unwrap();
    let refused = service.refused(&tampered).await;
    assert_eq!(refused, (403, "attributes-disagree".to_owned()));
    assert_eq!(service.get("/status/k").await.0, 404);
}

#[tokio::test]
async fn refuses_422_a_finding_that_is_damaged() {
    let service = Service::start().await;
    let damaged = json!({"schema": 1, "bucket": "bucket", "key": "k", "status": "fine"});
    assert_eq!(service.post(&Published::now(damaged.to_string())).await, 422);
    let other = json!({"schema": 2, "bucket": "bucket", "key": "k", "status": "clean"});
    assert_eq!(service.post(&Published::now(other.to_string())).await, 422);
}

#[tokio::test]
async fn tells_the_status_of_any_key() {
    let service = Service::start().await;
    let longest = "ü".repeat(512);
    for (key, path) in [
        ("a b", "/status/a%20b"),
        ("a+b", "/status/a+b"),
        ("a%20b", "/status/a%2520b"),
        ("dir/a//b/", "/status/dir/a//b/"),
        ("dir/x", "/status/dir%2Fx"),
        ("/leading", "/status//leading"),
        ("a/../b", "/status?key=a/../b"),
        ("../up", "/status?key=..%2Fup"),
        ("q?a=b&c#d", "/status/q%3Fa=b&c%23d"),
        ("q?a=b&c#e", "/status?key=q%3Fa%3Db%26c%23e"),
        ("日本", "/status/%E6%97%A5%E6%9C%AC"),
        (&longest, &format!("/status/{}", "%C3%BC".repeat(512))),
    ] {
        assert_eq!(service.get(path).await, (404, json!({"key": key, "status": "unknown"})));
        assert_eq!(service.post(&finding(&format!("bucket/{key} "), "clean")).await, 200);
        let (code, told) = service.get(path).await;
        assert_eq!((code, &told["key"], &told["status"]), (200, &json!(key), &json!("clean")));
    }
    assert_eq!(service.get("/status/%FF").await.0, 400, "not UTF-8");
    assert_eq!(service.get("/status").await.0, 400, "no key");
}

#[tokio::test]
async fn asks_which_object_is_meant_when_there_are_several() {
    let service = Service::start().await;
    for (object, status) in
        [("a-bucket/k ", "clean"), ("b-bucket/k v1", "no"), ("b-bucket/k v2", "clean")]
    {
        assert_eq!(service.post(&finding(object, status)).await, 200);
    }
    let (code, told) = service.get("/status/k").await;
    let choices = told["choices"].as_array().unwrap();
    let names: Vec<_> = choices.iter().map(|c| (&c["bucket"], &c["version"])).collect();
    let (a, b) = (json!("a-bucket"), json!("b-bucket"));
    let (v1, v2) = (json!("v1"), json!("v2"));
    assert_eq!((code, names), (300, vec![(&a, &Value::Null), (&b, &v1), (&b, &v2)]));
    assert_eq!(service.get("/status/k?bucket=a-bucket").await.1["status"], "clean");
    assert_eq!(service.get("/status/k?bucket=b-bucket").await.0, 300);
    assert_eq!(service.get("/status/k?bucket=b-bucket&version=v1").await.1["status"], "no");
    assert_eq!(service.get("/status?key=k&version=v2").await.1["bucket"], "b-bucket");
    assert_eq!(service.get("/status/k?bucket=c-bucket").await.0, 404);
}

#[tokio::test]
async fn is_healthy_while_the_database_can_be_read() {
    let service = Service::start().await;
    assert_eq!(service.get("/health").await, (200, json!({"health": "ok"})));
    let other = Connection::open(service.folder.path().join("db")).unwrap();
    other.execute_batch("DROP TABLE objects").unwrap();
    assert_eq!(service.get("/health").await.0, 503);
    assert_eq!(service.get("/status/k").await.0, 503);
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let service = Service::with(Duration::ZERO).await;
    let mut connection = tokio::net::TcpStream::connect(service.address).await.unwrap();
    let head = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n";
    connection.write_all(head).await.unwrap();
    let mut answer = [0; 12];
    // Not a wait: only keeps a broken service from hanging the test.
    let answered = tokio::time::timeout(DEADLINE, connection.read_exact(&mut answer)).await;
    answered.unwrap().unwrap();
    assert_eq!(answer, *b"HTTP/1.1 503");
}
