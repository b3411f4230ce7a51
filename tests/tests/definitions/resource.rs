//! `Custom::FirstDefinitions`: the stack is not up before there are definitions, and takes them with
//! it when it goes.

use aws_smithy_http_client::test_util::{CaptureRequestReceiver, capture_request};
use aws_smithy_runtime_api::client::http::SharedHttpConnector;
use function_common::custom_resource::Responder;
use function_common::manifest::MANIFEST_KEY;
use scanner_tests::fake_s3::{ATTEMPTS, Operation, S3ErrorCode};
use scanner_tests::mirror::Fault;
use serde_json::{Value, json};

use crate::support::{BUCKET, World};

const SECRET: &str = "X-Amz-Signature=0123456789abcdef";

fn request(kind: &str) -> Value {
    json!({
        "RequestType": kind,
        "ResponseURL": format!("https://cloudformation.example.com/response?{SECRET}"),
        "StackId": "arn:aws:cloudformation:us-east-1:123456789012:stack/s/1",
        "RequestId": "1",
        "ResourceType": "Custom::FirstDefinitions",
        "LogicalResourceId": "FirstDefinitions",
        "PhysicalResourceId": "p",
        "ResourceProperties": {"ServiceToken": "t"},
    })
}

fn responder() -> (Responder, CaptureRequestReceiver) {
    let (client, receiver) = capture_request(None);
    (Responder::with_connector(SharedHttpConnector::new(client)), receiver)
}

/// What CloudFormation was told, and how many records were written.
async fn ask(world: &World, kind: &str) -> (Value, usize) {
    let (responder, told) = responder();
    let (lines, result) = world.invoke(request(kind), responder).await;
    assert_eq!(result.expect("CloudFormation was told"), Value::Null);
    for line in &lines {
        assert!(!line.contains(SECRET), "{line}");
    }
    let told = told.expect_request();
    assert_eq!(told.method(), "PUT");
    let body = told.body().bytes().expect("in memory");
    (serde_json::from_slice(body).expect("JSON"), lines.len())
}

#[tokio::test]
async fn create_publishes_the_first_generation() {
    let world = World::new(6);
    let (told, records) = ask(&world, "Create").await;
    assert_eq!((&told["Status"], records), (&"SUCCESS".into(), 1), "{told}");
    world.still_serves(&world.manifest().expect("it is published"));
}

#[tokio::test]
async fn create_without_definitions_fails_and_says_why() {
    let world = World::new(6);
    world.mirror.fault(Fault::AnswerFiles(429));
    let (told, records) = ask(&world, "Create").await;
    assert_eq!((&told["Status"], records), (&"FAILED".into(), 1), "{told}");
    assert!(
        told["Reason"].as_str().expect("a text").contains("limits this client until"),
        "{told}"
    );
}

#[tokio::test]
async fn update_does_nothing() {
    let world = World::new(6);
    assert_eq!(ask(&world, "Update").await.0["Status"], "SUCCESS");
    assert_eq!(world.s3.calls(), []);
    assert_eq!(world.mirror.asked(), []);
}

#[tokio::test]
async fn delete_takes_what_is_ours_and_leaves_what_is_the_owners() {
    let (world, _) = World::published(6).await;
    world.s3.put(&BUCKET, "custom/mine.ndb", "My.Ndb:0:*:6162636465\n");
    world.s3.put(&BUCKET, "somebody's", "x");
    assert_eq!(ask(&world, "Delete").await.0["Status"], "SUCCESS");
    assert_eq!(world.s3.keys(&BUCKET, ""), ["custom/mine.ndb", "somebody's"]);
    assert_eq!(ask(&world, "Delete").await.0["Status"], "SUCCESS", "nothing is left to do");
}

#[tokio::test]
async fn a_delete_that_fails_says_why() {
    let (world, _) = World::published(6).await;
    let attempts = ATTEMPTS as usize;
    world
        .s3
        .on(Operation::DeleteObject, MANIFEST_KEY)
        .times(attempts)
        .fail(S3ErrorCode::AccessDenied);
    let (told, _) = ask(&world, "Delete").await;
    assert_eq!(told["Status"], "FAILED");
    assert!(told["Reason"].as_str().expect("a text").contains("AccessDenied"), "{told}");
}

/// Publishing, retiring, the owner's signatures and the end of the stack: all that the role
/// allows but what Lambda does with it itself.
#[tokio::test]
async fn all_that_the_updater_may_do_it_does() {
    let (world, _) = World::published(3).await;
    world.s3.put(&BUCKET, "custom/mine.ndb", "My.Ndb:0:*:6162636465\n");
    for version in [4, 5, 6] {
        world.offer(version);
        let run = world.run().await;
        assert_eq!(run.ended(), ("published", None), "{run:?}");
    }
    assert_eq!(ask(&world, "Delete").await.0["Status"], "SUCCESS");
    let (granted, used) = (world.recorder.policies().grants(), world.recorder.used());
    let unused: Vec<_> = granted.difference(&used).map(ToString::to_string).collect();
    // Lambda writes what the function prints.
    let logs = ["logs:CreateLogStream of statement Logs", "logs:PutLogEvents of statement Logs"];
    assert_eq!(unused, logs);
}
