//! Two shards say together what one database says.

use jiff::Timestamp;
use notifier_common::MessageFormat;
use scanner_tests::definitions::{MARKER_NAME, PE_MARKER_NAME};
use scanner_tests::fake_s3::Operation;
use scanner_tests::generations::Generation;
use scanner_tests::samples;
use serde_json::{Value, json};

use crate::support::{BUCKET, World, world_of};

async fn sharded() -> World {
    let generation = Generation::sharded(7, Timestamp::now()).unwrap();
    world_of(generation, |config| config.message_format = MessageFormat::Json).await
}

/// Scans one object and gives its finding's status, what was found or why nothing, and whether
/// the shard for Windows programs was asked.
async fn judged(world: &World, key: &str, body: Vec<u8>) -> (String, Value, bool) {
    world.upload(BUCKET, key, body).await.unwrap();
    let record = world.records().pop().unwrap();
    assert_eq!(record["key"], key);
    let finding: Value =
        serde_json::from_str(&world.sns.published().pop().unwrap().message).unwrap();
    assert_eq!(finding["key"], key);
    let detail =
        if finding["finding"].is_null() { &finding["reason"] } else { &finding["finding"] };
    let status = finding["status"].as_str().unwrap().to_owned();
    (status, detail.clone(), record["pe"] == json!(true))
}

#[tokio::test]
async fn what_holds_no_windows_program_is_judged_by_the_base_shard_alone() {
    let world = sharded().await;
    let clean = ("clean".to_owned(), Value::Null, false);
    assert_eq!(judged(&world, "text", samples::text()).await, clean);
    // Signatures for programs are for programs only.
    assert_eq!(judged(&world, "words", samples::PE_MARKER.to_vec()).await, clean);
    let (status, found, pe) = judged(&world, "bad", samples::MARKER.to_vec()).await;
    assert_eq!((status.as_str(), found, pe), ("infected", json!(MARKER_NAME), false));
    assert_eq!(world.s3.count(Operation::GetObject, "text"), 1, "read once");
}

#[tokio::test]
async fn a_windows_program_is_judged_by_both_at_any_depth() {
    let world = sharded().await;
    let good = samples::program(b"nothing in it");
    let bad = samples::program(samples::PE_MARKER);
    let clean = ("clean".to_owned(), Value::Null, true);
    let infected = ("infected".to_owned(), json!(PE_MARKER_NAME), true);
    assert_eq!(judged(&world, "good.exe", good.clone()).await, clean);
    assert_eq!(judged(&world, "bad.exe", bad.clone()).await, infected);
    let deep = |bytes: &[u8]| samples::zip_nested(bytes, 4).unwrap();
    assert_eq!(judged(&world, "good.zip", deep(&good)).await, clean);
    assert_eq!(judged(&world, "bad.zip", deep(&bad)).await, infected);
    assert_eq!(world.s3.count(Operation::GetObject, "bad.zip"), 2, "once for each shard");
}

#[tokio::test]
async fn a_certain_finding_beside_a_program_wins_and_needs_no_second_look() {
    let world = sharded().await;
    let program = samples::program(b"");
    for (name, members) in [
        ("first", [("a.exe", program.as_slice()), ("b.txt", samples::MARKER)]),
        ("last", [("b.txt", samples::MARKER), ("a.exe", program.as_slice())]),
    ] {
        let zip = samples::zip_of(&members).unwrap();
        let (status, found, pe) = judged(&world, name, zip).await;
        assert_eq!((status.as_str(), found, pe), ("infected", json!(MARKER_NAME), false), "{name}");
    }
}

/// One weak name is reported at a time: the program's must not hide the encryption, nor the
/// other way round.
#[tokio::test]
async fn what_cannot_be_opened_beside_a_program_is_not_clean() {
    let world = sharded().await;
    let locked = samples::zip_encrypted(b"x", "y").unwrap();
    let good = samples::program(b"");
    let bad = samples::program(samples::PE_MARKER);
    for (name, program, expected) in [
        ("good", &good, ("no".to_owned(), json!("encrypted"), true)),
        ("bad", &bad, ("infected".to_owned(), json!(PE_MARKER_NAME), true)),
    ] {
        let members = [("a.exe", program.as_slice()), ("b.zip", locked.as_slice())];
        let mut reversed = members;
        reversed.reverse();
        for (order, members) in [("program first", members), ("program last", reversed)] {
            let key = format!("{name}, {order}");
            let zip = samples::zip_of(&members).unwrap();
            assert_eq!(judged(&world, &key, zip).await, expected, "{key}");
        }
    }
}

#[tokio::test]
async fn a_program_overwritten_between_its_two_looks_is_no_verdict_on_either() {
    let generation = Generation::sharded(7, Timestamp::now()).unwrap();
    // Tags would be written only to what was scanned; without them the reading alone must tell.
    let world = world_of(generation, |config| config.tag_files = false).await;
    let stored = world.s3.put(BUCKET, "k", samples::program(b""));
    world.s3.on(Operation::GetObject, "k").after(|s3| {
        s3.put(BUCKET, "k", samples::program(samples::PE_MARKER));
    });
    let event = crate::support::s3_event(&[crate::support::s3_record(BUCKET, "k", &stored)]);
    world.invoke(event).await.unwrap();
    assert_eq!(world.record()["outcome"], "skipped");
    assert_eq!(world.record()["reason"], "superseded");
    assert!(world.sns.published().is_empty());
}

#[tokio::test]
async fn without_its_shard_a_program_is_given_back_and_a_text_is_not() {
    let generation = Generation::sharded(7, Timestamp::now()).unwrap();
    let world = world_of(generation.clone(), |_| {}).await;
    let (pe_key, _) = generation.objects.last().unwrap();
    assert!(pe_key.contains("/pe/"), "{pe_key}");
    world.definitions.delete(&scanner_tests::generations::BUCKET, pe_key);
    world.upload(BUCKET, "text", samples::text()).await.unwrap();
    assert_eq!(world.tag(BUCKET, "text", None).as_deref(), Some("clean"));
    assert!(world.upload(BUCKET, "exe", samples::program(b"")).await.is_err());
    assert_eq!(world.tag(BUCKET, "exe", None), None);
    let record = world.records().pop().unwrap();
    assert_eq!((&record["error"], &record["retry"]), (&json!("definitions"), &json!(true)));
    // And when it is there, the redelivery finds it.
    generation.publish_in(&world.definitions);
    world.upload(BUCKET, "exe", samples::program(b"")).await.unwrap();
    assert_eq!(world.tag(BUCKET, "exe", None).as_deref(), Some("clean"));
}
