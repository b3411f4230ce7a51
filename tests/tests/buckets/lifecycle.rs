//! Names come and go; what was never there does not stop a delete; CloudFormation is answered.

use buckets::quarantine::BUCKET_NAME;
use function_common::custom_resource::Status;
use scanner_tests::fake_s3::{Operation, S3ErrorCode};
use serde_json::{Value, json};

use crate::support::{SIDS, properties, sids, wired, with, world, writes};

#[tokio::test]
async fn a_stack_gets_the_policy_as_an_attribute_also_without_buckets() {
    let (s3, stack) = world(&[]);
    let data = stack.create(&properties(&[])).await;
    let policy: Value = serde_json::from_str(data["QuarantinePolicy"].as_str().unwrap()).unwrap();
    assert_eq!(sids(Some(&policy)), SIDS);
    assert!(policy.to_string().contains(BUCKET_NAME), "{policy}");
    assert!(s3.calls().is_empty(), "{:?}", s3.calls());
}

#[tokio::test]
async fn buckets_join_and_leave() {
    let (_, stack) = world(&["a", "b-1", "c-1"].map(|name| if name == "a" { "a-1" } else { name }));
    let attach = [("QuarantinePolicy", "attach")];
    let first = with(&properties(&["a-1", "b-1"]), &attach);
    stack.create(&first).await;
    let second = with(&properties(&["b-1", "c-1"]), &attach);
    stack.update(&first, &second).await;
    assert!(stack.queues("a-1").await.is_empty());
    assert_eq!(stack.policy("a-1").await, None);
    for bucket in ["b-1", "c-1"] {
        assert_eq!(stack.queues(bucket).await, wired());
        let policy = stack.policy(bucket).await;
        assert_eq!(sids(policy.as_ref()), SIDS);
        let resource = format!("arn:aws:s3:::{bucket}/*");
        assert_eq!(policy.unwrap()["Statement"][0]["Resource"], resource);
    }
}

#[tokio::test]
async fn the_same_again_writes_nothing() {
    let (s3, stack) = world(&["uploads"]);
    let attached = with(&properties(&["uploads"]), &[("QuarantinePolicy", "attach")]);
    stack.create(&attached).await;
    let before = writes(&s3);
    assert_eq!(before, 2);
    stack.create(&attached).await;
    stack.update(&attached, &attached).await;
    assert_eq!(writes(&s3), before);
}

#[tokio::test]
async fn without_a_policy_to_attach_none_is_looked_at() {
    let (s3, stack) = world(&["uploads"]);
    let properties = properties(&["uploads"]);
    stack.create(&properties).await;
    stack.update(&properties, &properties).await;
    stack.delete(&properties).await;
    let policies =
        [Operation::GetBucketPolicy, Operation::PutBucketPolicy, Operation::DeleteBucketPolicy];
    assert!(!s3.calls().iter().any(|call| policies.contains(&call.operation)), "{:?}", s3.calls());
}

#[tokio::test]
async fn eventbridge_is_switched_on_and_stays() {
    let (_, stack) = world(&["uploads"]);
    let queue = properties(&["uploads"]);
    stack.create(&queue).await;
    let changes = [("Trigger", "eventbridge"), ("TargetArn", "")];
    let eventbridge = with(&queue, &changes);
    stack.update(&queue, &eventbridge).await;
    let all = stack.notifications("uploads").await;
    assert!(all.event_bridge_configuration.is_some() && all.queue_configurations().is_empty());
    stack.delete(&eventbridge).await;
    assert!(stack.notifications("uploads").await.event_bridge_configuration.is_some());
}

#[tokio::test]
async fn a_delete_after_a_create_that_failed_takes_out_what_there_is() {
    let (s3, stack) = world(&["first", "second"]);
    s3.on_bucket(Operation::PutBucketNotificationConfiguration, "second")
        .fail(S3ErrorCode::AccessDenied);
    let attached = with(&properties(&["first", "second"]), &[("QuarantinePolicy", "attach")]);
    let reason = stack.fails("Create", &attached, None).await;
    for part in ["bucket `second`", "PutBucketNotificationConfiguration", "AccessDenied"] {
        assert!(reason.contains(part), "{part}: {reason}");
    }
    assert_eq!(stack.queues("first").await, wired());
    stack.delete(&attached).await;
    assert!(stack.queues("first").await.is_empty());
    assert_eq!(stack.policy("first").await, None);
}

#[tokio::test]
async fn what_is_gone_or_was_never_wired_does_not_stop_a_delete() {
    let (s3, stack) = world(&["foreign", "uploads"]);
    s3.on_bucket(Operation::GetBucketPolicy, "foreign").fail(S3ErrorCode::AccessDenied);
    let moved = S3ErrorCode::PermanentRedirect;
    let names = ["gone", "foreign", "uploads"];
    let attached = with(&properties(&names), &[("QuarantinePolicy", "attach")]);
    stack.create(&with(&properties(&["uploads"]), &[("QuarantinePolicy", "attach")])).await;
    stack.delete(&attached).await;
    assert!(stack.queues("uploads").await.is_empty());
    assert_eq!(stack.policy("uploads").await, None);

    s3.on_bucket(Operation::GetBucketNotificationConfiguration, "uploads").fail(moved);
    stack.delete(&properties(&["uploads"])).await;
    // Refused by Create, so never in force.
    stack.delete(&properties(&["Not A Name"])).await;
    stack.delete(&json!({ "BucketNames": "uploads" })).await;
}

#[tokio::test]
async fn a_delete_that_fails_says_so_and_does_the_others() {
    let (s3, stack) = world(&["first", "second"]);
    let properties = properties(&["first", "second"]);
    stack.create(&properties).await;
    s3.on_bucket(Operation::PutBucketNotificationConfiguration, "first")
        .fail(S3ErrorCode::AccessDenied);
    let reason = stack.fails("Delete", &properties, None).await;
    assert!(reason.contains("bucket `first`"), "{reason}");
    assert_eq!(stack.queues("first").await, wired());
    assert!(stack.queues("second").await.is_empty());
}

#[tokio::test]
async fn an_update_is_rolled_back() {
    let (s3, stack) = world(&["first", "second"]);
    let old = properties(&["first"]);
    stack.create(&old).await;
    s3.on_bucket(Operation::PutBucketPolicy, "second").fail(S3ErrorCode::MalformedPolicy);
    let new = with(&properties(&["first", "second"]), &[("QuarantinePolicy", "attach")]);
    let reason = stack.fails("Update", &new, Some(&old)).await;
    assert!(reason.contains("foreign statements"), "{reason}");
    stack.update(&new, &old).await;
    assert_eq!(stack.queues("first").await, wired());
    assert_eq!(stack.policy("first").await, None);
    assert!(stack.queues("second").await.is_empty());
}

#[tokio::test]
async fn an_answer_that_gets_lost_is_sent_again_and_lost_for_good_is_an_error() {
    let (_, stack) = world(&["uploads"]);
    let properties = properties(&["uploads"]);
    let request = stack.request("Create", &properties, None).await;
    stack.cloudformation.lose_answers(&request, 1);
    assert_eq!(stack.handle(&request).await.unwrap(), Status::Success);
    assert!(stack.cloudformation.answer(&request).await.unwrap().is_some());

    let request = stack.request("Create", &properties, None).await;
    stack.cloudformation.lose_answers(&request, 100);
    let error = stack.handle(&request).await.unwrap_err();
    assert_eq!((error.code(), error.retry()), ("delivery", true));
    assert_eq!(stack.cloudformation.answer(&request).await.unwrap(), None);
}
