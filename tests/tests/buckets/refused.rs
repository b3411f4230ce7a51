//! What cannot be done is refused before anything is changed, with the way out.

use aws_sdk_s3::types::{NotificationConfiguration, TopicConfiguration};
use scanner_tests::fake_s3::{Operation, S3ErrorCode};
use serde_json::json;

use crate::support::{Stack, properties, wired, with, world, writes};

async fn foreign(stack: &Stack, bucket: &str, id: &str, event: &str) {
    let topic = TopicConfiguration::builder()
        .id(id)
        .topic_arn("arn:aws:sns:us-east-1:123456789012:theirs")
        .events(event.into());
    let all = NotificationConfiguration::builder().topic_configurations(topic.build().unwrap());
    let put = stack.client.put_bucket_notification_configuration().bucket(bucket);
    put.notification_configuration(all.build()).send().await.unwrap();
}

#[tokio::test]
async fn an_overlap_is_refused_and_nothing_is_changed() {
    let (s3, stack) = world(&["first", "second"]);
    foreign(&stack, "second", "thumbnails", "s3:ObjectCreated:Put").await;
    let before = writes(&s3);
    let both = properties(&["first", "second"]);
    let reason = stack.fails("Create", &both, None).await;
    for part in [
        "nothing was changed",
        "bucket `second`",
        "`thumbnails` to arn:aws:sns",
        "s3:ObjectCreated:Put",
        "Trigger=eventbridge",
        "fan-out",
    ] {
        assert!(reason.contains(part), "{part}: {reason}");
    }
    assert!(!reason.contains("`first`"), "{reason}");
    assert_eq!(writes(&s3), before);

    // The way out that the message names.
    let eventbridge = with(&both, &[("Trigger", "eventbridge"), ("TargetArn", "")]);
    stack.create(&eventbridge).await;
    let all = stack.notifications("second").await;
    assert_eq!(all.topic_configurations().len(), 1);
    assert!(all.event_bridge_configuration.is_some());
}

#[tokio::test]
async fn somebody_elses_configuration_with_our_id_is_not_touched() {
    let (s3, stack) = world(&["uploads"]);
    foreign(&stack, "uploads", "scan", "s3:ObjectRemoved:*").await;
    let before = writes(&s3);
    let properties = properties(&["uploads"]);
    let reason = stack.fails("Create", &properties, None).await;
    assert!(reason.contains("is not of this stack"), "{reason}");
    // What CloudFormation sends after that.
    stack.delete(&properties).await;
    assert_eq!(writes(&s3), before);
}

#[tokio::test]
async fn every_bucket_that_cannot_be_wired_is_named() {
    let (s3, stack) = world(&["fine", "denied", "abroad", "old-policy"]);
    let get = Operation::GetBucketNotificationConfiguration;
    s3.on_bucket(get, "denied").fail(S3ErrorCode::AccessDenied);
    s3.on_bucket(get, "abroad").fail(S3ErrorCode::PermanentRedirect);
    let long = json!({ "Statement": [{ "Sid": "a".repeat(20_000) }] });
    s3.set_policy("old-policy", &long.to_string());
    let names = ["fine", "missing", "denied", "abroad", "old-policy"];
    let attached = with(&properties(&names), &[("QuarantinePolicy", "attach")]);
    let reason = stack.fails("Create", &attached, None).await;
    for part in [
        "4 of 5",
        "bucket `missing`: GetBucketNotificationConfiguration failed: NoSuchBucket",
        "correct BucketNames",
        "bucket `denied`",
        "a bucket of account 123456789012",
        "bucket `abroad`",
        "another region",
        "bucket `old-policy`: its policy would have",
    ] {
        assert!(reason.contains(part), "{part}: {reason}");
    }
    assert_eq!(writes(&s3), 0);
}

#[tokio::test]
async fn a_bucket_of_another_account_is_refused() {
    let (s3, stack) = world(&["uploads"]);
    let role = [("ScannerRoleArn", "arn:aws:iam::999999999999:role/scanner")];
    let reason = stack.fails("Create", &with(&properties(&["uploads"]), &role), None).await;
    assert!(reason.contains("AccessDenied"), "{reason}");
    assert!(reason.contains("a bucket of account 999999999999"), "{reason}");
    assert_eq!(writes(&s3), 0);
}

#[tokio::test]
async fn wrong_names_are_named_together_and_nothing_is_asked() {
    let (s3, stack) = world(&["uploads"]);
    let names = ["uploads", "Uploads", "uploads", "x"];
    let reason = stack.fails("Create", &properties(&names), None).await;
    for part in ["`Uploads`", "`x`", "`uploads`, expected each bucket once"] {
        assert!(reason.contains(part), "{part}: {reason}");
    }
    assert!(s3.calls().is_empty());
}

#[tokio::test]
async fn an_update_that_is_refused_leaves_what_was() {
    let (s3, stack) = world(&["first", "second"]);
    let old = properties(&["first"]);
    stack.create(&old).await;
    foreign(&stack, "second", "theirs", "s3:ObjectCreated:*").await;
    let before = writes(&s3);
    let new = properties(&["second"]);
    stack.fails("Update", &new, Some(&old)).await;
    assert_eq!(stack.queues("first").await, wired());
    // The roll back.
    stack.update(&new, &old).await;
    assert_eq!(stack.queues("first").await, wired());
    assert_eq!(writes(&s3), before);
}
