//! What each verdict is, and how it is told.

use bytes::Bytes;
use scanner_tests::fake_s3::{Body, Operation, S3ErrorCode};
use scanner_tests::samples;
use serde_json::{Value, json};

use crate::support::{BUCKET, VERSIONED, s3_event, s3_record, world, world_deployed_with};

#[tokio::test]
async fn clean_is_tagged_and_told_in_widdix_words() {
    let world = world().await;
    let answer = world.upload(BUCKET, "dir/notes.txt", samples::text()).await.unwrap();
    assert_eq!(answer, Value::Null);
    assert_eq!(world.tag(BUCKET, "dir/notes.txt", None).as_deref(), Some("clean"));
    let finding = world.finding();
    assert_eq!(finding.message, "s3://uploads/dir/notes.txt  is clean, no action executed");
    assert_eq!(finding.subject, "s3-virusscan s3://uploads");
    let attributes: Vec<_> =
        finding.attributes.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(
        attributes,
        [
            ("action", "no"),
            ("bucket", "uploads"),
            ("definitions", "7/2026-09-20T06:26:26Z"),
            // They are far older than three days.
            ("definitions_stale", "true"),
            ("key", "dir/notes.txt"),
            ("status", "clean"),
        ]
    );
}

#[tokio::test]
async fn infected_is_tagged_and_the_signature_is_named() {
    let world = world().await;
    let zip = samples::zip_nested(&samples::eicar(), 3).unwrap();
    let stored = world.s3.put(VERSIONED, "deep.zip", zip);
    world.invoke(s3_event(&[s3_record(VERSIONED, "deep.zip", &stored)])).await.unwrap();
    let version = stored.version_id.unwrap();
    assert_eq!(world.tag(VERSIONED, "deep.zip", Some(&version)).as_deref(), Some("infected"));
    let finding = world.finding();
    let text =
        format!("s3://versioned-uploads/deep.zip {version} is infected, tag action executed");
    assert_eq!(finding.message, text);
    assert_eq!(finding.attributes["version"], version);
    assert!(finding.attributes["finding"].contains("Eicar"), "{finding:?}");
}

#[tokio::test]
async fn a_rar_is_opened() {
    let world = world().await;
    for (key, rar) in [
        ("4.rar", samples::rar4(&samples::eicar()).unwrap()),
        ("5.rar", samples::rar5(&samples::eicar())),
    ] {
        world.upload(BUCKET, key, rar).await.unwrap();
        assert_eq!(world.tag(BUCKET, key, None).as_deref(), Some("infected"), "{key}");
    }
}

#[tokio::test]
async fn encrypted_is_no_with_the_reason_and_not_clean() {
    let world = world().await;
    let zip = samples::zip_encrypted(&samples::eicar(), "secret").unwrap();
    world.upload(BUCKET, "locked.zip", zip).await.unwrap();
    assert_eq!(world.tag(BUCKET, "locked.zip", None).as_deref(), Some("no"));
    let finding = world.finding();
    assert_eq!(finding.attributes["status"], "no");
    assert_eq!(finding.attributes["reason"], "encrypted");
    assert_eq!(finding.attributes["action"], "no");
}

#[tokio::test]
async fn each_version_keeps_its_own_tag() {
    let world = world().await;
    let clean = world.s3.put(VERSIONED, "report", samples::text());
    let infected = world.s3.put(VERSIONED, "report", samples::eicar());
    // In the other order than they were made: the event's version decides, not the newest.
    for stored in [&infected, &clean] {
        world.invoke(s3_event(&[s3_record(VERSIONED, "report", stored)])).await.unwrap();
    }
    let tag = |version: &Option<String>| world.tag(VERSIONED, "report", version.as_deref());
    assert_eq!(tag(&clean.version_id).as_deref(), Some("clean"));
    assert_eq!(tag(&infected.version_id).as_deref(), Some("infected"));
}

#[tokio::test]
async fn larger_than_the_engine_reads_is_no_and_is_not_even_downloaded() {
    let world = world().await;
    let body = Body::Repeat { byte: b'x', len: 3 << 30, tail: Bytes::from(samples::eicar()) };
    let stored = world.s3.put(BUCKET, "huge", body);
    world.invoke(s3_event(&[s3_record(BUCKET, "huge", &stored)])).await.unwrap();
    assert_eq!(world.tag(BUCKET, "huge", None).as_deref(), Some("no"));
    assert_eq!(world.finding().attributes["reason"], "too-large");
    assert_eq!(world.record()["bytes_scanned"], 0);
}

#[tokio::test]
async fn an_archived_object_is_no_with_the_reason() {
    let world = world().await;
    let stored = world.s3.put(BUCKET, "cold", samples::text());
    world.s3.on(Operation::GetObject, "cold").fail(S3ErrorCode::InvalidObjectState);
    world.invoke(s3_event(&[s3_record(BUCKET, "cold", &stored)])).await.unwrap();
    assert_eq!(world.finding().attributes["reason"], "archived-storage-class");
    assert_eq!(world.tag(BUCKET, "cold", None).as_deref(), Some("no"));
}

#[tokio::test]
async fn an_empty_object_is_clean() {
    let world = world().await;
    world.upload(BUCKET, "folder/", Vec::new()).await.unwrap();
    assert_eq!(world.finding().attributes["status"], "clean");
}

#[tokio::test]
async fn settings_keep_clean_to_themselves_and_tags_off_but_never_hide_infected_or_no() {
    let world = world_deployed_with(&[("ReportCleanFiles", "false"), ("TagFiles", "false")]).await;
    world.upload(BUCKET, "clean", samples::text()).await.unwrap();
    assert!(world.sns.published().is_empty());
    world.upload(BUCKET, "bad", samples::eicar()).await.unwrap();
    world.upload(BUCKET, "locked", samples::zip_encrypted(b"x", "y").unwrap()).await.unwrap();
    let told: Vec<_> =
        world.sns.published().iter().map(|f| f.attributes["status"].clone()).collect();
    assert_eq!(told, ["infected", "no"]);
    // Not tagged, so no action was executed.
    assert_eq!(world.sns.published()[0].attributes["action"], "no");
    for key in ["clean", "bad", "locked"] {
        assert_eq!(world.tag(BUCKET, key, None), None);
    }
}

#[tokio::test]
async fn an_infected_version_is_deleted_for_good_and_the_others_stay() {
    let world = world_deployed_with(&[("DeleteInfectedFiles", "true")]).await;
    let before = world.s3.put(VERSIONED, "report", samples::text());
    let infected = world.s3.put(VERSIONED, "report", samples::eicar());
    world.invoke(s3_event(&[s3_record(VERSIONED, "report", &infected)])).await.unwrap();
    assert_eq!(world.s3.tags(VERSIONED, "report", infected.version_id.as_deref()), None);
    assert!(world.s3.tags(VERSIONED, "report", before.version_id.as_deref()).is_some());
    assert!(world.s3.tags(VERSIONED, "report", None).is_some(), "no delete marker hides the rest");
    assert_eq!(world.finding().attributes["action"], "delete");
    assert!(world.finding().message.ends_with(" is infected, delete action executed"));
}

#[tokio::test]
async fn clean_and_unscannable_objects_are_never_deleted() {
    let world = world_deployed_with(&[("DeleteInfectedFiles", "true")]).await;
    world.upload(BUCKET, "clean", samples::text()).await.unwrap();
    world.upload(BUCKET, "locked", samples::zip_encrypted(b"x", "y").unwrap()).await.unwrap();
    assert_eq!(world.tag(BUCKET, "clean", None).as_deref(), Some("clean"));
    assert_eq!(world.tag(BUCKET, "locked", None).as_deref(), Some("no"));
}

#[tokio::test]
async fn the_json_body_is_the_whole_finding() {
    let world = world_deployed_with(&[("MessageFormat", "json")]).await;
    let stored = world.s3.put(VERSIONED, "bad", samples::eicar());
    world.invoke(s3_event(&[s3_record(VERSIONED, "bad", &stored)])).await.unwrap();
    let finding = world.finding();
    let mut body: Value = serde_json::from_str(&finding.message).unwrap();
    assert!(body["duration_ms"].take().is_u64());
    assert!(body["engine"].take().as_str().unwrap().starts_with("1."));
    assert!(body["signatures"].take()[0].as_str().unwrap().contains("Eicar"));
    assert!(body["definitions"]["age_hours"].take().as_u64().unwrap() > 72);
    assert_eq!(body["finding"].take(), finding.attributes["finding"]);
    assert_eq!(
        body,
        json!({
            "schema": 1, "bucket": "versioned-uploads", "key": "bad", "version": stored.version_id,
            "etag": stored.e_tag, "sequencer": "0055AED6DCD90281E5", "size": 68,
            "status": "infected", "action": "tag", "finding": null, "signatures": null,
            "engine": null, "duration_ms": null,
            "definitions": {"version": 7, "built": "2026-09-20T06:26:26Z",
                "age_hours": null, "stale": true},
        })
    );
}

#[tokio::test]
async fn the_record_tells_the_whole_story_in_one_line() {
    let world = world().await;
    world.upload(BUCKET, "bad", samples::eicar()).await.unwrap();
    world.upload(BUCKET, "good", samples::text()).await.unwrap();
    let records = world.records();
    let (bad, good) = (&records[0], &records[1]);
    assert_eq!(bad["outcome"], "infected");
    assert_eq!(bad["action"], "tag");
    assert_eq!(bad["tag"], "written");
    assert_eq!(bad["bytes_scanned"], 68);
    assert_eq!(bad["scans"], 1);
    assert_eq!(bad["published"], true);
    assert_eq!(bad["definitions"]["version"], 7);
    assert_eq!(bad["definitions"]["stale"], true);
    assert_eq!(bad["definitions_age_hours"], bad["definitions"]["age_hours"]);
    assert!(bad["memory_percent"].as_u64().is_some_and(|percent| percent < 100), "{bad}");
    assert_eq!(bad["request_id"], "8476a536-e9f4-11e8-9739-2dfe598c3fcd");
    assert_eq!((&bad["cold_start"], &good["cold_start"]), (&json!(true), &json!(false)));
    assert!(bad["engine"].as_str().unwrap().starts_with("1."));
}
