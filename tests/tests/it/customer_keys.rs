//! Objects that are encrypted with a key which only their uploader has (SSE-C).

use scanner_tests::samples;
use serde_json::json;

use crate::support::{BUCKET, VERSIONED, queue, s3_event, s3_record, world};

#[tokio::test]
async fn what_only_its_uploader_can_read_is_no_with_the_reason() {
    for bucket in [BUCKET, VERSIONED] {
        let world = world().await;
        let stored = world.s3.put_with_customer_key(bucket, "k", samples::eicar());
        world.s3.put(bucket, "k2", samples::text());
        let mut event = s3_record(bucket, "k", &stored);
        event["s3"]["object"]["size"] = json!(68);
        world.invoke(s3_event(&[event])).await.unwrap();
        let finding = world.finding();
        assert_eq!(finding.attributes["status"], "no", "{bucket}");
        assert_eq!(finding.attributes["reason"], "customer-key", "{bucket}");
        let record = world.record();
        assert_eq!((&record["etag"], &record["size"]), (&json!(stored.e_tag), &json!(68)));
        let tag = world.tag(bucket, "k", stored.version_id.as_deref());
        assert_eq!((tag.as_deref(), &record["tag"]), (Some("no"), &json!("written")), "{bucket}");
    }
}

#[tokio::test]
async fn a_job_that_names_no_version_is_answered_from_the_listing() {
    let world = world().await;
    let stored = world.s3.put_with_customer_key(BUCKET, "k", samples::eicar());
    world.s3.put(BUCKET, "k2", samples::text());
    world.invoke(json!({"objects": [{"bucket": BUCKET, "key": "k"}]})).await.unwrap();
    assert_eq!(world.finding().attributes["reason"], "customer-key");
    let record = world.record();
    assert_eq!((&record["etag"], &record["size"]), (&json!(stored.e_tag), &json!(68)));
}

#[tokio::test]
async fn a_job_that_names_a_version_is_an_error_that_says_what_to_do() {
    let world = world().await;
    let stored = world.s3.put_with_customer_key(VERSIONED, "k", samples::eicar());
    let job = json!({"objects": [{"bucket": VERSIONED, "key": "k", "version": stored.version_id}]});
    world.invoke(queue(&[job])).await.unwrap();
    let record = world.record();
    assert_eq!((&record["error"], &record["retry"]), (&json!("read"), &json!(false)));
    let message = record["error_message"].as_str().unwrap();
    assert!(message.contains("customer-provided key (SSE-C)"), "{message}");
    assert!(message.contains("name no version, or send the event of S3"), "{message}");
}

#[tokio::test]
async fn one_that_was_overwritten_since_the_event_is_superseded() {
    let world = world().await;
    let before = world.s3.put_with_customer_key(BUCKET, "k", samples::eicar());
    world.s3.put_with_customer_key(BUCKET, "k", samples::text());
    world.invoke(s3_event(&[s3_record(BUCKET, "k", &before)])).await.unwrap();
    let record = world.record();
    assert_eq!((&record["outcome"], &record["reason"]), (&json!("skipped"), &json!("superseded")));
    assert_eq!(world.tag(BUCKET, "k", None), None);
}
