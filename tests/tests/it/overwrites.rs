//! A verdict for the old bytes does not stay on the new ones.

use scanner_tests::fake_s3::Operation;
use scanner_tests::samples;
use serde_json::json;

use crate::support::{BUCKET, s3_event, s3_record, world, world_deployed_with};

#[tokio::test]
async fn overwritten_before_the_scan_is_left_to_its_own_event() {
    let world = world().await;
    let old = world.s3.put(BUCKET, "k", samples::text());
    world.s3.put(BUCKET, "k", samples::eicar());
    world.invoke(s3_event(&[s3_record(BUCKET, "k", &old)])).await.unwrap();
    assert_eq!(world.tag(BUCKET, "k", None), None);
    assert!(world.sns.published().is_empty());
    assert_eq!(world.record()["reason"], "superseded");
}

#[tokio::test]
async fn overwritten_during_the_scan_does_not_get_the_old_verdict() {
    let world = world().await;
    let old = world.s3.put(BUCKET, "k", samples::text());
    // After the download, before the tag.
    world.s3.on(Operation::HeadObject, "k").before(|s3| {
        s3.put(BUCKET, "k", samples::eicar());
    });
    world.invoke(s3_event(&[s3_record(BUCKET, "k", &old)])).await.unwrap();
    assert_eq!(world.tag(BUCKET, "k", None), None);
    assert!(world.sns.published().is_empty());
    assert_eq!(world.record()["reason"], "superseded");
}

#[tokio::test]
async fn overwritten_while_the_tag_is_written_is_scanned_again_on_the_spot() {
    let world = world().await;
    let old = world.s3.put(BUCKET, "k", samples::text());
    // The worst moment: the tags are read, the write is under way.
    world.s3.on(Operation::PutObjectTagging, "k").before(|s3| {
        s3.put(BUCKET, "k", samples::eicar());
    });
    world.invoke(s3_event(&[s3_record(BUCKET, "k", &old)])).await.unwrap();
    assert_eq!(world.tag(BUCKET, "k", None).as_deref(), Some("infected"));
    assert_eq!(world.finding().attributes["status"], "infected");
    assert_eq!(world.record()["scans"], 2);
}

#[tokio::test]
async fn the_wrong_tag_is_taken_off_the_new_bytes_even_if_the_new_scan_fails() {
    let world = world().await;
    let old = world.s3.put(BUCKET, "k", samples::text());
    world.s3.on(Operation::PutObjectTagging, "k").before(|s3| {
        s3.put(BUCKET, "k", samples::eicar());
    });
    // First of all the removal is written, then the new bytes cannot be read.
    let denied = scanner_tests::fake_s3::S3ErrorCode::AccessDenied;
    world.s3.on(Operation::GetObject, "k").nth(2).fail(denied);
    assert!(world.invoke(s3_event(&[s3_record(BUCKET, "k", &old)])).await.is_err());
    assert_eq!(world.tag(BUCKET, "k", None), None);
}

#[tokio::test]
async fn an_object_that_never_holds_still_is_given_back() {
    let world = world().await;
    let old = world.s3.put(BUCKET, "k", samples::text());
    // Each tagging and each removal is overtaken by one more upload.
    let count = std::sync::atomic::AtomicU32::new(0);
    world.s3.on(Operation::PutObjectTagging, "k").times(20).before(move |s3| {
        let n = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        s3.put(BUCKET, "k", format!("number {n}").into_bytes());
    });
    assert!(world.invoke(s3_event(&[s3_record(BUCKET, "k", &old)])).await.is_err());
    let record = world.record();
    assert_eq!((&record["error"], &record["retry"]), (&json!("overwritten"), &json!(true)));
    assert!(world.sns.published().is_empty());
}

#[tokio::test]
async fn deleted_before_the_tag_is_written_is_no_error() {
    for operation in
        [Operation::HeadObject, Operation::GetObjectTagging, Operation::PutObjectTagging]
    {
        let world = world().await;
        let stored = world.s3.put(BUCKET, "k", samples::eicar());
        world.s3.on(operation, "k").before(|s3| s3.delete(BUCKET, "k"));
        world.invoke(s3_event(&[s3_record(BUCKET, "k", &stored)])).await.unwrap();
        assert_eq!(world.record()["reason"], "deleted", "{operation:?}");
    }
}

#[tokio::test]
async fn deletion_takes_the_scanned_bytes_and_never_their_successor() {
    let world = world_deployed_with(&[("DeleteInfectedFiles", "true")]).await;
    let old = world.s3.put(BUCKET, "k", samples::eicar());
    world.s3.on(Operation::DeleteObject, "k").before(|s3| {
        s3.put(BUCKET, "k", samples::text());
    });
    world.invoke(s3_event(&[s3_record(BUCKET, "k", &old)])).await.unwrap();
    assert!(world.s3.tags(BUCKET, "k", None).is_some(), "the new object is still there");
}
