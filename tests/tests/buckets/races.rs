//! Somebody else writes at the same time.

use scanner_tests::fake_s3::{FakeS3, Operation, S3ErrorCode};
use serde_json::json;

use crate::support::{SIDS, properties, sids, wired, with, world};

const PUT: Operation = Operation::PutBucketNotificationConfiguration;

#[tokio::test]
async fn ours_is_written_again_when_somebody_overwrites_it() {
    let (s3, stack) = world(&["uploads"]);
    let empty = s3.notifications("uploads");
    s3.on_bucket(PUT, "uploads").after(move |s3: &FakeS3| {
        s3.set_notifications("uploads", empty.clone());
    });
    s3.on_bucket(Operation::PutBucketPolicy, "uploads").after(|s3: &FakeS3| {
        let theirs = json!({ "Statement": [{ "Sid": "Theirs" }] });
        s3.set_policy("uploads", &theirs.to_string());
    });
    stack.create(&with(&properties(&["uploads"]), &[("QuarantinePolicy", "attach")])).await;
    assert_eq!(stack.queues("uploads").await, wired());
    let policy = stack.policy("uploads").await;
    assert_eq!(sids(policy.as_ref()), [&["Theirs"][..], &SIDS[..]].concat());
}

#[tokio::test]
async fn it_ends_when_somebody_always_does() {
    let (s3, stack) = world(&["uploads"]);
    let empty = s3.notifications("uploads");
    s3.on_bucket(PUT, "uploads").times(100).after(move |s3: &FakeS3| {
        s3.set_notifications("uploads", empty.clone());
    });
    let reason = stack.fails("Create", &properties(&["uploads"]), None).await;
    assert!(reason.contains("changed by somebody else again and again"), "{reason}");
}

#[tokio::test]
async fn a_conflict_that_passes_is_waited_for() {
    let (s3, stack) = world(&["uploads"]);
    s3.on_bucket(PUT, "uploads").times(2).fail(S3ErrorCode::OperationAborted);
    stack.create(&properties(&["uploads"])).await;
    assert_eq!(stack.queues("uploads").await, wired());
}

#[tokio::test]
async fn what_another_stack_wires_in_between_is_an_overlap() {
    let (s3, stack) = world(&["uploads"]);
    let other = with(&properties(&["uploads"]), &[("ConfigurationId", "other")]);
    stack.create(&other).await;
    let theirs = s3.notifications("uploads");
    stack.delete(&other).await;
    // Between the check of all buckets and the change of this one.
    s3.on_bucket(Operation::GetBucketNotificationConfiguration, "uploads")
        .after(move |s3: &FakeS3| s3.set_notifications("uploads", theirs.clone()));
    let reason = stack.fails("Create", &properties(&["uploads"]), None).await;
    assert!(reason.contains("`other` to arn:aws:sqs"), "{reason}");
}

#[tokio::test]
async fn two_stacks_have_statements_of_their_own() {
    let (_, stack) = world(&["uploads"]);
    let one = with(&properties(&["uploads"]), &[("QuarantinePolicy", "attach")]);
    let eventbridge = [("Trigger", "eventbridge"), ("TargetArn", ""), ("ConfigurationId", "other")];
    let other = with(&one, &eventbridge);
    stack.create(&one).await;
    stack.create(&other).await;
    assert_eq!(sids(stack.policy("uploads").await.as_ref()).len(), 4);
    stack.delete(&other).await;
    assert_eq!(sids(stack.policy("uploads").await.as_ref()), SIDS);
    assert_eq!(stack.queues("uploads").await, wired());
}
