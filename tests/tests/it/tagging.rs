//! The owner's tags survive, always.

use std::collections::BTreeMap;

use scanner_tests::fake_s3::{Operation, S3ErrorCode};
use scanner_tests::samples;

use crate::support::{BUCKET, VERSIONED, World, failed, queue, s3_event, s3_record, world};

const OWNERS: [(&str, &str); 3] = [("owner", "anna"), ("project", ""), ("Cost Center", "a+b=c")];

fn tags(world: &World, bucket: &str, key: &str) -> BTreeMap<String, String> {
    world.s3.tags(bucket, key, None).unwrap()
}

#[tokio::test]
async fn three_foreign_tags_stay_on_both_kinds_of_bucket() {
    for bucket in [BUCKET, VERSIONED] {
        let world = world().await;
        let stored = world.s3.put(bucket, "k", samples::text());
        world.s3.set_tags(bucket, "k", stored.version_id.as_deref(), &OWNERS);
        world.invoke(s3_event(&[s3_record(bucket, "k", &stored)])).await.unwrap();
        let mut expected: BTreeMap<String, String> =
            OWNERS.iter().map(|&(key, value)| (key.into(), value.into())).collect();
        expected.insert("s3-virusscan".into(), "clean".into());
        assert_eq!(tags(&world, bucket, "k"), expected, "{bucket}");
    }
}

#[tokio::test]
async fn with_ten_foreign_tags_the_verdict_is_published_and_no_tag_is_lost() {
    let ten: Vec<(String, &str)> = (0..10).map(|n| (format!("t{n}"), "x")).collect();
    let ten: Vec<(&str, &str)> = ten.iter().map(|(key, value)| (key.as_str(), *value)).collect();
    for (body, status) in [(samples::text(), "clean"), (samples::eicar(), "infected")] {
        let world = world().await;
        let stored = world.s3.put(BUCKET, "k", body);
        world.s3.set_tags(BUCKET, "k", None, &ten);
        world.invoke(s3_event(&[s3_record(BUCKET, "k", &stored)])).await.unwrap();
        assert_eq!(tags(&world, BUCKET, "k").len(), 10);
        assert_eq!(world.tag(BUCKET, "k", None), None);
        assert_eq!(world.finding().attributes["status"], status);
        // Not tagged, so the finding does not say that it was.
        assert_eq!(world.finding().attributes["action"], "no");
        assert_eq!(world.record()["tag"], "ten-tags");
    }
}

#[tokio::test]
async fn nine_foreign_tags_leave_room_for_ours() {
    let nine: Vec<(String, &str)> = (0..9).map(|n| (format!("t{n}"), "x")).collect();
    let nine: Vec<(&str, &str)> = nine.iter().map(|(key, value)| (key.as_str(), *value)).collect();
    let world = world().await;
    let stored = world.s3.put(BUCKET, "k", samples::text());
    world.s3.set_tags(BUCKET, "k", None, &nine);
    world.invoke(s3_event(&[s3_record(BUCKET, "k", &stored)])).await.unwrap();
    assert_eq!(tags(&world, BUCKET, "k").len(), 10);
    assert_eq!(world.tag(BUCKET, "k", None).as_deref(), Some("clean"));
}

#[tokio::test]
async fn tags_that_cannot_be_read_are_not_written() {
    let world = world().await;
    let stored = world.s3.put(BUCKET, "k", samples::text());
    world.s3.set_tags(BUCKET, "k", None, &OWNERS);
    world.s3.on(Operation::GetObjectTagging, "k").fail(S3ErrorCode::AccessDenied);
    let answer =
        world.invoke(queue(&[s3_event(&[s3_record(BUCKET, "k", &stored)])])).await.unwrap();
    assert_eq!(failed(&answer), ["m0"]);
    assert_eq!(tags(&world, BUCKET, "k").len(), 3);
    assert_eq!(world.s3.count(Operation::PutObjectTagging, "k"), 0);
    assert!(world.sns.published().is_empty(), "no finding before the tag");
    let record = world.record();
    assert_eq!((&record["outcome"], &record["error"]), (&"failed".into(), &"tag".into()));
    let message = record["error_message"].as_str().unwrap();
    assert!(
        message.starts_with(
            "s3://uploads/k: cannot tag the object: GetObjectTagging failed: AccessDenied"
        ),
        "{message}"
    );
}

#[tokio::test]
async fn a_tag_forged_by_the_uploader_is_replaced_by_the_verdict() {
    let world = world().await;
    let stored = world.s3.put(BUCKET, "k", samples::eicar());
    world.s3.set_tags(BUCKET, "k", None, &[("s3-virusscan", "clean")]);
    world.invoke(s3_event(&[s3_record(BUCKET, "k", &stored)])).await.unwrap();
    assert_eq!(world.tag(BUCKET, "k", None).as_deref(), Some("infected"));
}

#[tokio::test]
async fn a_second_delivery_writes_no_second_tag_and_says_the_same() {
    let world = world().await;
    let stored = world.s3.put(BUCKET, "k", samples::eicar());
    let event = s3_event(&[s3_record(BUCKET, "k", &stored)]);
    world.invoke(event.clone()).await.unwrap();
    world.invoke(event).await.unwrap();
    assert_eq!(world.s3.count(Operation::PutObjectTagging, "k"), 1);
    let published = world.sns.published();
    assert_eq!(published.len(), 2);
    assert_eq!(published[0], published[1]);
}
