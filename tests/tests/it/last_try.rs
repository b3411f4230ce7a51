//! A scan that does not end in time is tried again, and on the last try is `no`. Every object that is
//! skipped, failed, delivered again or unscannable is one record that says so.

use std::time::Duration;

use scanner_tests::fake_clamd::Reply;
use scanner_tests::fake_s3::{Operation, S3ErrorCode};
use scanner_tests::samples;
use serde_json::{Value, json};

use crate::clamd_faults::{SHORT, scripted};
use crate::support::{BUCKET, failed, queue, queue_again, s3_event, s3_record, world, world_with};

#[tokio::test]
async fn a_scan_that_does_not_end_is_given_back_and_on_the_last_try_is_no() {
    let scripted = scripted().await;
    let world = &scripted.world;
    let stored = world.s3.put(BUCKET, "k", samples::text());
    let body = s3_event(&[s3_record(BUCKET, "k", &stored)]);
    for _ in 0..5 {
        scripted.clamd.next_stream(Reply::Honest);
        scripted.clamd.next_stream(Reply::Stall);
    }
    // What says nothing of itself, or nothing that is a number, is never the last try.
    let mut odd = queue_again(std::slice::from_ref(&body), 3);
    odd["Records"][0]["attributes"]["ApproximateReceiveCount"] = json!("3rd");
    for event in
        [queue(std::slice::from_ref(&body)), odd, queue_again(std::slice::from_ref(&body), 2)]
    {
        let answer = world.invoke_for(SHORT, event).await.unwrap();
        assert_eq!(failed(&answer), ["m0"]);
        let record = world.records().pop().unwrap();
        assert_eq!((&record["error"], &record["retry"]), (&json!("deadline"), &json!(true)));
        let message = record["error_message"].as_str().unwrap();
        assert!(message.contains("it is tried again when the event comes again"), "{message}");
        assert!(message.ends_with("Raise the function's Timeout or MemorySize"), "{message}");
    }
    assert_eq!(world.tag(BUCKET, "k", None), None);
    assert!(world.sns.published().is_empty());

    let answer =
        world.invoke_for(SHORT, queue_again(std::slice::from_ref(&body), 3)).await.unwrap();
    assert!(failed(&answer).is_empty());
    let record = world.records().pop().unwrap();
    assert_eq!((&record["outcome"], &record["reason"]), (&json!("no"), &json!("time-limit")));
    assert_eq!((&record["receive_count"], &record["published"]), (&json!(3), &json!(true)));
    assert_eq!(world.finding().attributes["reason"], "time-limit");
    assert_eq!(world.tag(BUCKET, "k", None).as_deref(), Some("no"));
}

#[tokio::test]
async fn what_was_not_begun_is_an_error_on_the_last_try_as_well() {
    let world = world().await;
    let stored = world.s3.put(BUCKET, "k", samples::text());
    let event = queue_again(&[s3_event(&[s3_record(BUCKET, "k", &stored)])], 3);
    let answer = world.invoke_for(Duration::ZERO, event).await.unwrap();
    assert_eq!(failed(&answer), ["m0"]);
    let record = world.record();
    assert_eq!((&record["error"], &record["scans"]), (&json!("deadline"), &json!(0)));
    assert_eq!(world.tag(BUCKET, "k", None), None);
}

/// Whether `metric` of this record is one for CloudWatch.
fn is_metric(record: &Value, metric: &str) -> bool {
    let directives = record["_aws"]["CloudWatchMetrics"].as_array().unwrap();
    let named = |directive: &Value| {
        directive["Metrics"].as_array().unwrap().iter().any(|named| named["Name"] == metric)
    };
    directives.iter().any(named) && record[metric].is_u64()
}

#[tokio::test]
async fn each_kind_of_trouble_is_one_record_with_its_reason_and_its_metric() {
    let world = world_with(|config| config.max_receive_count = 5).await;
    let locked = world.s3.put(BUCKET, "no", samples::zip_encrypted(b"x", "y").unwrap());
    let gone = world.s3.put(BUCKET, "skipped", samples::text());
    world.s3.delete(BUCKET, "skipped");
    let denied = world.s3.put(BUCKET, "failed", samples::text());
    world.s3.on(Operation::GetObject, "failed").times(2).fail(S3ErrorCode::AccessDenied);
    let fine = world.s3.put(BUCKET, "clean", samples::text());
    let bodies = [("no", &locked), ("skipped", &gone), ("failed", &denied), ("clean", &fine)]
        .map(|(key, stored)| s3_event(&[s3_record(BUCKET, key, stored)]));
    let unread = json!({"hello": 1});
    let bodies = [bodies.as_slice(), &[unread]].concat();
    for count in [1, 2] {
        let before = world.records().len();
        world.invoke(queue_again(&bodies, count)).await.unwrap();
        let records = world.records().split_off(before);
        assert_eq!(records.len(), bodies.len(), "one record each: {records:?}");
        for (key, outcome, field, why) in [
            ("no", "no", "reason", "encrypted"),
            ("skipped", "skipped", "reason", "deleted"),
            ("failed", "failed", "error", "read"),
            ("", "failed", "error", "event-unknown"),
            ("clean", "clean", "tag", if count == 1 { "written" } else { "unchanged" }),
        ] {
            let record = records.iter().find(|record| record["key"] == key).unwrap();
            assert_eq!((&record["outcome"], &record[field]), (&json!(outcome), &json!(why)));
            assert!(is_metric(record, "objects"), "{record}");
            assert_eq!(record["receive_count"], count);
            assert_eq!(is_metric(record, "redelivered"), count > 1, "{record}");
        }
    }
}
