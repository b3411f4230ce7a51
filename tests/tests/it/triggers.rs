//! What comes back to the trigger: nothing is dropped, and one bad record fails no other.

use scanner_tests::fake_s3::{Operation, S3ErrorCode};
use scanner_tests::samples;
use serde_json::{Value, json};

use crate::support::{BUCKET, VERSIONED, failed, queue, s3_event, s3_record, world};

#[tokio::test]
async fn a_malformed_event_is_an_error_with_the_reason_on_every_road() {
    let world = world().await;
    let mut record = s3_record(BUCKET, "k", &world.s3.put(BUCKET, "k", samples::text()));
    record["s3"]["object"]["key"] = json!(7);
    let event = s3_event(&[record]);
    let answer = world.invoke(queue(std::slice::from_ref(&event))).await.unwrap();
    assert_eq!(failed(&answer), ["m0"]);
    let error = world.invoke(event).await.unwrap_err().to_string();
    assert!(
        error.starts_with("1 of 1 objects failed; the first: the S3 record is malformed: "),
        "{error}"
    );
    assert_eq!(world.records()[0]["error"], "event-malformed");
    assert!(world.sns.published().is_empty());
}

#[tokio::test]
async fn an_unknown_event_is_an_error_and_not_silence() {
    let world = world().await;
    let answer = world.invoke(queue(&[json!({"hello": 1}), json!("no JSON")])).await.unwrap();
    assert_eq!(failed(&answer), ["m0", "m1"]);
    let error = world.invoke(json!({"hello": 1})).await.unwrap_err();
    assert!(error.to_string().contains("top-level fields are: hello"), "{error}");
    let codes: Vec<_> = world.records().iter().map(|record| record["error"].clone()).collect();
    assert_eq!(codes, ["event-unknown", "event-not-json", "event-unknown"]);
}

#[tokio::test]
async fn events_without_an_object_are_acknowledged() {
    let world = world().await;
    let test_event = json!({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": BUCKET});
    let mut removed = s3_record(BUCKET, "k", &world.s3.put(BUCKET, "k", samples::text()));
    removed["eventName"] = json!("ObjectRemoved:Delete");
    let answer = world.invoke(queue(&[test_event.clone(), s3_event(&[removed])])).await.unwrap();
    assert!(failed(&answer).is_empty());
    assert_eq!(world.invoke(test_event).await.unwrap(), Value::Null);
    assert!(world.records().is_empty() && world.sns.published().is_empty());
}

#[tokio::test]
async fn a_deleted_object_or_version_is_acknowledged_and_noted() {
    let world = world().await;
    let event = |record| s3_event(&[record]);
    let gone = world.s3.put(BUCKET, "gone", samples::eicar());
    world.s3.delete(BUCKET, "gone");
    let version = world.s3.put(VERSIONED, "k", samples::eicar());
    world.s3.delete_version(VERSIONED, "k", version.version_id.as_deref().unwrap());
    let bodies =
        [event(s3_record(BUCKET, "gone", &gone)), event(s3_record(VERSIONED, "k", &version))];
    let answer = world.invoke(queue(&bodies)).await.unwrap();
    assert!(failed(&answer).is_empty());
    assert!(world.sns.published().is_empty());
    for record in world.records() {
        assert_eq!((&record["outcome"], &record["reason"]), (&json!("skipped"), &json!("deleted")));
    }
    assert_eq!(world.records().len(), 2);
}

#[tokio::test]
async fn a_delete_marker_is_a_deleted_object() {
    let world = world().await;
    world.s3.put(VERSIONED, "k", samples::eicar());
    let client = world.s3.client();
    let deleted = client.delete_object().bucket(VERSIONED).key("k").send().await.unwrap();
    let marker = deleted.version_id().unwrap();
    let job = json!({"objects": [{"bucket": VERSIONED, "key": "k", "version": marker}]});
    world.invoke(job).await.unwrap();
    assert_eq!(world.record()["reason"], "deleted");
}

#[tokio::test]
async fn a_denied_object_is_given_back_with_what_to_do() {
    let world = world().await;
    let stored = world.s3.put(BUCKET, "k", samples::text());
    world.s3.on(Operation::GetObject, "k").times(2).fail(S3ErrorCode::AccessDenied);
    let event = s3_event(&[s3_record(BUCKET, "k", &stored)]);
    assert_eq!(failed(&world.invoke(queue(std::slice::from_ref(&event))).await.unwrap()), ["m0"]);
    assert!(world.invoke(event.clone()).await.is_err());
    let record = &world.records()[0];
    assert_eq!((&record["error"], &record["retry"]), (&json!("read"), &json!(false)));
    let message = record["error_message"].as_str().unwrap();
    assert!(message.contains("AccessDenied (HTTP 403)"), "{message}");
    assert!(
        message.contains("the function's role, the bucket policy and the key's policy"),
        "{message}"
    );
    assert_eq!(world.tag(BUCKET, "k", None), None);
    // Delivered again when the permission is there.
    assert!(failed(&world.invoke(queue(&[event])).await.unwrap()).is_empty());
    assert_eq!(world.finding().attributes["status"], "clean");
}

#[tokio::test]
async fn one_bad_record_fails_itself_and_its_message_only() {
    let world = world().await;
    let denied = world.s3.put(BUCKET, "denied", samples::text());
    world.s3.on(Operation::GetObject, "denied").fail(S3ErrorCode::AccessDenied);
    let good = world.s3.put(BUCKET, "good", samples::text());
    let bad = world.s3.put(BUCKET, "bad", samples::eicar());
    let mixed = s3_event(&[s3_record(BUCKET, "denied", &denied), s3_record(BUCKET, "good", &good)]);
    let bodies = [mixed, s3_event(&[s3_record(BUCKET, "bad", &bad)]), json!("garbage")];
    let answer = world.invoke(queue(&bodies)).await.unwrap();
    let mut ids = failed(&answer);
    ids.sort_unstable();
    assert_eq!(ids, ["m0", "m2"]);
    assert_eq!(world.tag(BUCKET, "good", None).as_deref(), Some("clean"));
    assert_eq!(world.tag(BUCKET, "bad", None).as_deref(), Some("infected"));
    assert_eq!(world.tag(BUCKET, "denied", None), None);
    assert_eq!(world.records().len(), 4);
}

#[tokio::test]
async fn a_direct_event_with_one_bad_record_does_the_others_and_then_fails() {
    let world = world().await;
    let good = world.s3.put(BUCKET, "good", samples::text());
    let mut odd = s3_record(BUCKET, "%FF", &good);
    odd["s3"]["object"]["key"] = json!("%FF");
    let error = world.invoke(s3_event(&[odd, s3_record(BUCKET, "good", &good)])).await.unwrap_err();
    assert!(error.to_string().starts_with("1 of 2 objects failed"), "{error}");
    assert_eq!(world.tag(BUCKET, "good", None).as_deref(), Some("clean"));
    let diagnostic = lambda_runtime::Diagnostic::from(error);
    assert_eq!(diagnostic.error_type, "event-key");
}

#[tokio::test]
async fn a_job_without_version_or_etag_scans_what_is_there() {
    let world = world().await;
    world.s3.put(BUCKET, "a b+c/ü.txt", samples::eicar());
    let job = json!({"objects": [{"bucket": BUCKET, "key": "a b+c/ü.txt"}]});
    world.invoke(job).await.unwrap();
    assert_eq!(world.finding().attributes["key"], "a b+c/ü.txt");
    assert_eq!(world.tag(BUCKET, "a b+c/ü.txt", None).as_deref(), Some("infected"));
}

#[tokio::test]
async fn keys_that_sns_cannot_carry_are_published_all_the_same() {
    let world = world().await;
    for key in ["line\nbreak", "smile \u{1F600}.png", "\u{1}"] {
        world.s3.put(BUCKET, key, samples::text());
        world.invoke(json!({"objects": [{"bucket": BUCKET, "key": key}]})).await.unwrap();
        let finding = world.sns.published().pop().unwrap();
        assert_eq!(finding.attributes["key_encoding"], "url");
        assert_eq!(world.tag(BUCKET, key, None).as_deref(), Some("clean"));
    }
    assert_eq!(world.sns.published().len(), 3);
}
