//! Starts that must not succeed, and records that fail: nothing is called clean, nothing is lost.

use function_common::manifest::BASE;
use scanner_tests::definitions;
use scanner_tests::generations::{self, Generation};
use scanner_tests::samples;
use scanner_tests::sandbox::{Invocation, Sandbox, SandboxOptions};
use scanner_tests::world::UPLOADS;
use serde_json::{Value, json};

use crate::support::{
    DEADLINE, clamd, dead_letter, failed_starts, gated, record_of, records, send, set,
    stream_begun, verdict_tag, world, world_of,
};

/// Uploads EICAR to a function that cannot scan, and follows its message to where it ends. Gives
/// its records of it.
async fn message_that_survives(generation: Option<Generation>) -> anyhow::Result<Vec<Value>> {
    let world = world_of(generation).await?;
    world.put(UPLOADS, "lost-nowhere", samples::eicar()).await?;
    dead_letter(&world, "lost-nowhere").await?;
    assert!(world.findings().all().is_empty(), "{:?}", world.findings().all());
    assert!(world.tags(UPLOADS, "lost-nowhere", None).await?.is_empty());
    assert_eq!(world.sandbox().cold_starts(), 1, "a failure is no reason to start again");
    let records = records(world.sandbox(), "lost-nowhere");
    assert_eq!(records.len(), 3);
    for record in &records {
        let got = (&record["outcome"], &record["retry"], &record["published"]);
        assert_eq!(got, (&json!("failed"), &json!(true), &json!(false)), "{record}");
    }
    Ok(records)
}

fn message(record: &Value) -> &str {
    record["error_message"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn without_definitions_nothing_is_scanned_and_the_message_survives() {
    for record in message_that_survives(None).await.unwrap() {
        assert_eq!(record["error"], "no-definitions");
        let message = message(&record);
        let none = format!("there are no definitions in s3://{} yet", *generations::BUCKET);
        assert!(message.contains(&none), "{message}");
    }
}

#[tokio::test]
async fn definitions_that_do_not_find_eicar_scan_nothing() {
    let now = jiff::Timestamp::now();
    let file = ("daily.cud".to_owned(), definitions::without_eicar(1, now).unwrap());
    let generation = Generation::new(1, now, &[(BASE, vec![file])]).unwrap();
    for record in message_that_survives(Some(generation)).await.unwrap() {
        assert_eq!(record["error"], "clamd-canary");
        assert!(message(&record).contains("clamd does not find the EICAR test file"), "{record}");
    }
}

#[tokio::test]
async fn definitions_that_clamd_cannot_read_scan_nothing() {
    let now = jiff::Timestamp::now();
    let mut bytes = definitions::whole(1, now).unwrap();
    bytes[512..].fill(0xa5);
    let file = ("daily.cud".to_owned(), bytes);
    let generation = Generation::new(1, now, &[(BASE, vec![file])]).unwrap();
    for record in message_that_survives(Some(generation)).await.unwrap() {
        let message = message(&record);
        assert!(message.contains("clamd ended while it started"), "{message}");
        assert!(message.contains("daily.cud"), "its own words are missing: {message}");
    }
}

#[tokio::test]
async fn definitions_that_were_changed_on_their_way_scan_nothing() {
    let mut generation = Generation::sharded(1, jiff::Timestamp::now()).unwrap();
    let (_, bytes) = &mut generation.objects[0];
    let last = bytes.last_mut().unwrap();
    *last = !*last;
    for record in message_that_survives(Some(generation)).await.unwrap() {
        assert_eq!(record["error"], "definitions");
        let message = message(&record);
        assert!(message.contains("is not what the manifest says: its SHA-256 is"), "{message}");
    }
}

#[tokio::test]
async fn every_bad_setting_is_named_at_once() {
    let bad = [
        ("FINDINGS_TOPIC_ARN", "topic"),
        ("DEFINITIONS_BUCKET", "Not_A_Bucket"),
        ("TAG_FILES", "maybe"),
        ("TAG_KEY", "aws:mine"),
        ("REPORT_CLEAN_FILES", "1"),
        ("DELETE_INFECTED_FILES", "TRUE"),
        ("MESSAGE_FORMAT", "xml"),
    ];
    let mut options = SandboxOptions::deployed().unwrap();
    set(&mut options, &bad);
    let sandbox = Sandbox::start(options).await.unwrap();
    let outcome = sandbox.invoke(&json!({"Records": []})).await.unwrap();
    assert!(matches!(outcome, Invocation::FunctionError { .. }), "{outcome:?}");
    sandbox
        .logs()
        .wait_for(|line| line.contains("the function cannot start"), DEADLINE)
        .await
        .unwrap();
    let said = failed_starts(&sandbox);
    assert!(said.len() <= sandbox.cold_starts(), "more than one message for a start: {said:?}");
    for (name, value) in bad {
        assert!(said[0].contains(&format!("{name} is `{value}`, expected ")), "{name}: {said:?}");
    }
    assert!(said[0].starts_with("7 bad setting(s): "), "{said:?}");
    assert!(sandbox.clamd_pids().is_empty());
}

#[tokio::test]
async fn a_record_that_fails_comes_three_times_and_then_is_a_dead_letter() {
    let world = world(|_| {}).await.unwrap();
    let job = json!({"objects": [{"bucket": "no-such-bucket", "key": "denied"}]});
    let id = send(&world, &job).await.unwrap();
    world.put(UPLOADS, "neighbour", samples::eicar()).await.unwrap();
    dead_letter(&world, "no-such-bucket").await.unwrap();

    let deliveries = world.bridge().deliveries();
    let of_it = deliveries.iter().filter(|delivery| delivery.messages.contains(&id));
    assert_eq!(of_it.clone().count(), 3);
    for delivery in of_it {
        let answered = matches!(delivery.outcome, Invocation::Response(_));
        assert!(answered && !delivery.handled.contains(&id), "{delivery:?}");
    }
    let failures = records(world.sandbox(), "denied");
    assert_eq!(failures.len(), 3);
    for failure in failures {
        let got = (&failure["outcome"], &failure["error"], &failure["published"]);
        assert_eq!(got, (&json!("failed"), &json!("read"), &json!(false)));
        assert!(failure["error_message"].as_str().unwrap().contains("NoSuchBucket"), "{failure}");
    }
    let neighbour = world.finding_for("neighbour", DEADLINE).await.unwrap();
    assert_eq!(neighbour.attribute("status"), Some("infected"));
    assert_eq!(world.tags(UPLOADS, "neighbour", None).await.unwrap(), verdict_tag("infected"));
    assert_eq!(world.findings().all().len(), 1, "a failure is not published");
    assert_eq!(world.sandbox().cold_starts(), 1);
}

#[tokio::test]
async fn one_failing_record_of_a_batch_is_given_back_alone() {
    let world = world(|_| {}).await.unwrap();
    for key in ["before", "after"] {
        world.put(UPLOADS, key, "text").await.unwrap();
        world.finding_for(key, DEADLINE).await.unwrap();
    }
    let message = |id: &str, bucket: &str, key: &str| {
        let body = json!({"objects": [{"bucket": bucket, "key": key}]}).to_string();
        json!({"messageId": id, "receiptHandle": "r", "body": body, "eventSource": "aws:sqs"})
    };
    let batch = json!({"Records": [
        message("m0", UPLOADS, "before"),
        message("m1", "no-such-bucket", "denied"),
        message("m2", UPLOADS, "after"),
    ]});
    let outcome = world.sandbox().invoke(&batch).await.unwrap();
    let failed = json!({"batchItemFailures": [{"itemIdentifier": "m1"}]});
    assert_eq!(outcome, Invocation::Response(failed));
    for key in ["before", "after"] {
        let again = world.finding_for(key, DEADLINE).await.unwrap();
        assert_eq!(again.attribute("status"), Some("clean"));
    }
}

#[tokio::test]
async fn clamd_killed_while_it_reads_an_object_costs_a_scan_and_no_verdict() {
    let mut world = world(|_| {}).await.unwrap();
    let gate = gated(&mut world).await.unwrap();
    let infected_at_its_end = [vec![b'x'; 4 << 20], samples::MARKER.to_vec()].concat();
    world.put(UPLOADS, "large", infected_at_its_end).await.unwrap();
    gate.holds(DEADLINE).await.unwrap();
    let first = clamd(world.sandbox()).unwrap();
    stream_begun(first).await.unwrap();
    assert_eq!(world.sandbox().kill_clamd().unwrap(), 2, "one for each shard");
    gate.open();

    let finding = world.finding_for("large", DEADLINE).await.unwrap();
    assert_eq!(finding.attribute("status"), Some("infected"));
    assert_eq!(finding.attribute("finding"), Some("S3-Virusscan.Test.Marker"));
    assert_eq!(world.tags(UPLOADS, "large", None).await.unwrap(), verdict_tag("infected"));
    let record = record_of(world.sandbox(), "large", "infected").await.unwrap();
    assert_eq!(record["scans"], 2, "{record}");
    assert_ne!(clamd(world.sandbox()).unwrap(), first);
    assert_eq!(world.sandbox().cold_starts(), 1, "the function itself lives on");

    world.put(UPLOADS, "next", samples::eicar()).await.unwrap();
    let next = world.finding_for("next", DEADLINE).await.unwrap();
    assert_eq!(next.attribute("status"), Some("infected"));
}
