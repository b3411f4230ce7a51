//! An error is not a verdict: nothing that breaks makes an object clean, and nothing is lost.

use bytes::Bytes;
use scanner_tests::fake_s3::{Body, Operation, S3ErrorCode};
use scanner_tests::samples;
use serde_json::json;

use crate::support::{
    BUCKET, VERSIONED, failed, queue, s3_event, s3_record, world, world_deployed_with,
};

/// Larger than one chunk of a download, with the marker as its last bytes.
fn marked() -> Body {
    Body::Repeat { byte: b'x', len: 300_000, tail: Bytes::from_static(samples::MARKER) }
}

#[tokio::test]
async fn a_broken_body_is_taken_up_where_it_broke() {
    for bucket in [BUCKET, VERSIONED] {
        let world = world().await;
        let stored = world.s3.put(bucket, "k", marked());
        world.s3.on(Operation::GetObject, "k").break_body_after(100_000);
        world.s3.on(Operation::GetObject, "k").nth(2).end_body_after(70_000);
        world.invoke(s3_event(&[s3_record(bucket, "k", &stored)])).await.unwrap();
        assert_eq!(world.finding().attributes["status"], "infected");
        let record = world.record();
        assert_eq!((&record["resumes"], &record["scans"]), (&json!(2), &json!(1)));
        assert_eq!(record["bytes_scanned"], 300_000 + samples::MARKER.len());
        let ranges: Vec<_> = world
            .s3
            .calls()
            .into_iter()
            .filter(|c| c.operation == Operation::GetObject)
            .map(|c| c.range)
            .collect();
        assert_eq!(ranges, [None, Some("bytes=100000-".into()), Some("bytes=170000-".into())]);
    }
}

#[tokio::test]
async fn a_body_that_breaks_again_and_again_is_given_back() {
    let world = world().await;
    let stored = world.s3.put(BUCKET, "k", marked());
    world.s3.on(Operation::GetObject, "k").times(20).break_body_after(0);
    let event = s3_event(&[s3_record(BUCKET, "k", &stored)]);
    assert_eq!(failed(&world.invoke(queue(&[event])).await.unwrap()), ["m0"]);
    let record = world.record();
    assert_eq!((&record["error"], &record["retry"]), (&json!("read"), &json!(true)));
    let message = record["error_message"].as_str().unwrap();
    assert!(message.contains("reading broke off at byte 0 of 300061"), "{message}");
    assert_eq!(world.tag(BUCKET, "k", None), None);
    assert!(world.sns.published().is_empty());
}

/// Without a length its end looks like the end of the object.
#[tokio::test]
async fn a_body_that_ends_early_again_and_again_without_an_error_is_given_back() {
    let world = world().await;
    let stored = world.s3.put(BUCKET, "k", marked());
    world.s3.on(Operation::GetObject, "k").break_body_after(100_000);
    world.s3.on(Operation::GetObject, "k").nth(2).times(20).end_body_after_without_length(0);
    let event = s3_event(&[s3_record(BUCKET, "k", &stored)]);
    assert_eq!(failed(&world.invoke(queue(&[event])).await.unwrap()), ["m0"]);
    let record = world.record();
    assert_eq!((&record["error"], &record["retry"]), (&json!("read"), &json!(true)));
    let message = record["error_message"].as_str().unwrap();
    let expected = "reading broke off at byte 100000 of 300061: the body ended early";
    assert!(message.ends_with(expected), "{message}");
    assert_eq!(world.tag(BUCKET, "k", None), None);
    assert!(world.sns.published().is_empty());
}

#[tokio::test]
async fn overwritten_between_break_and_resumption_is_not_a_mixture() {
    let world = world().await;
    let stored = world.s3.put(BUCKET, "k", marked());
    world.s3.on(Operation::GetObject, "k").break_body_after(100_000);
    world.s3.on(Operation::GetObject, "k").nth(2).before(|s3| {
        s3.put(BUCKET, "k", samples::text());
    });
    world.invoke(s3_event(&[s3_record(BUCKET, "k", &stored)])).await.unwrap();
    assert_eq!(world.record()["reason"], "superseded");
    assert_eq!(world.tag(BUCKET, "k", None), None);
}

#[tokio::test]
async fn a_new_version_between_break_and_resumption_changes_nothing() {
    let world = world().await;
    let stored = world.s3.put(VERSIONED, "k", marked());
    world.s3.on(Operation::GetObject, "k").break_body_after(100_000);
    world.s3.on(Operation::GetObject, "k").nth(2).before(|s3| {
        s3.put(VERSIONED, "k", samples::text());
    });
    world.invoke(s3_event(&[s3_record(VERSIONED, "k", &stored)])).await.unwrap();
    let version = stored.version_id.as_deref();
    assert_eq!(world.tag(VERSIONED, "k", version).as_deref(), Some("infected"));
    assert_eq!(world.tag(VERSIONED, "k", None), None);
}

#[tokio::test]
async fn a_resumed_body_that_ends_early_without_an_error_is_resumed_once_more() {
    let world = world().await;
    let stored = world.s3.put(BUCKET, "k", marked());
    world.s3.on(Operation::GetObject, "k").break_body_after(100_000);
    world.s3.on(Operation::GetObject, "k").nth(2).end_body_after_without_length(70_000);
    world.invoke(s3_event(&[s3_record(BUCKET, "k", &stored)])).await.unwrap();
    assert_eq!(world.finding().attributes["status"], "infected");
    assert_eq!(world.record()["resumes"], 2);
}

#[tokio::test]
async fn an_answer_without_a_length_is_an_error_because_its_end_cannot_be_told() {
    let world = world().await;
    let stored = world.s3.put(BUCKET, "k", marked());
    world.s3.on(Operation::GetObject, "k").end_body_after_without_length(100_000);
    assert!(world.invoke(s3_event(&[s3_record(BUCKET, "k", &stored)])).await.is_err());
    let message = world.record()["error_message"].as_str().unwrap().to_owned();
    assert!(message.ends_with("GetObject answered without Content-Length"), "{message}");
}

#[tokio::test]
async fn throttling_is_retried_and_then_given_back() {
    let world = world().await;
    let stored = world.s3.put(BUCKET, "k", samples::text());
    let event = s3_event(&[s3_record(BUCKET, "k", &stored)]);
    world.s3.on(Operation::GetObject, "k").times(2).fail(S3ErrorCode::SlowDown);
    world.invoke(event.clone()).await.unwrap();
    assert_eq!(world.finding().attributes["status"], "clean");
    world.s3.on(Operation::GetObject, "k").times(3).fail(S3ErrorCode::SlowDown);
    assert!(world.invoke(event).await.is_err());
    let record = &world.records()[1];
    assert_eq!((&record["error"], &record["retry"]), (&json!("read"), &json!(true)));
}

#[tokio::test]
async fn a_finding_that_cannot_be_published_is_given_back_and_told_the_next_time() {
    for (value, delete) in [("false", false), ("true", true)] {
        let world = world_deployed_with(&[("DeleteInfectedFiles", value)]).await;
        let stored = world.s3.put(BUCKET, "k", samples::eicar());
        let event = queue(&[s3_event(&[s3_record(BUCKET, "k", &stored)])]);
        world.sns.fail_next(3);
        assert_eq!(failed(&world.invoke(event.clone()).await.unwrap()), ["m0"]);
        let record = world.record();
        assert_eq!((&record["error"], &record["published"]), (&json!("publish"), &json!(false)));
        // Deleting first would leave the second delivery nothing to tell of.
        assert!(failed(&world.invoke(event).await.unwrap()).is_empty());
        assert_eq!(world.finding().attributes["status"], "infected");
        assert_eq!(world.s3.tags(BUCKET, "k", None).is_none(), delete);
    }
}

#[tokio::test]
async fn a_deletion_that_fails_is_given_back() {
    let world = world_deployed_with(&[("DeleteInfectedFiles", "true")]).await;
    let stored = world.s3.put(BUCKET, "k", samples::eicar());
    world.s3.on(Operation::DeleteObject, "k").fail(S3ErrorCode::AccessDenied);
    let event = queue(&[s3_event(&[s3_record(BUCKET, "k", &stored)])]);
    assert_eq!(failed(&world.invoke(event.clone()).await.unwrap()), ["m0"]);
    assert_eq!(world.record()["error"], "delete");
    assert!(failed(&world.invoke(event).await.unwrap()).is_empty());
    assert_eq!(world.s3.tags(BUCKET, "k", None), None);
}
