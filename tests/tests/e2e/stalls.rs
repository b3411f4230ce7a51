//! A clamd that stands still is replaced, and no record waits for it until Lambda ends the function.

use std::time::Duration;

use scanner_tests::processes;
use scanner_tests::samples;
use scanner_tests::sandbox::Invocation;
use scanner_tests::world::{UPLOADS, World};
use serde_json::{Value, json};

use crate::support::{
    DEADLINE, clamd, gated, queued, record_of, records, stream_begun, verdict_tag, world,
};

/// The function keeps 3 s of it back.
const TIMEOUT: Duration = Duration::from_secs(8);

/// So this is what a scan has.
const SCAN: Duration = Duration::from_secs(5);

/// The verdict has come from another clamd than `stalled`, all in one life of the function, which
/// answered every time.
async fn recovered(world: &World, key: &str, stalled: u32) {
    let finding = world.finding_for(key, DEADLINE).await.unwrap();
    assert_eq!(finding.attribute("status"), Some("infected"));
    assert_eq!(world.tags(UPLOADS, key, None).await.unwrap(), verdict_tag("infected"));
    assert_ne!(clamd(world.sandbox()).unwrap(), stalled);
    for delivery in world.bridge().deliveries() {
        assert!(matches!(delivery.outcome, Invocation::Response(_)), "{delivery:?}");
    }
    assert_eq!(world.sandbox().cold_starts(), 1, "Lambda ended the function");
}

#[tokio::test]
async fn clamd_stalled_while_it_reads_an_object_is_replaced() {
    let mut world = world(|options| options.timeout = TIMEOUT).await.unwrap();
    let gate = gated(&mut world).await.unwrap();
    let infected_at_its_end = [vec![b'x'; 4 << 20], samples::MARKER.to_vec()].concat();
    world.put(UPLOADS, "large", infected_at_its_end).await.unwrap();
    gate.holds(DEADLINE).await.unwrap();
    let stalled = clamd(world.sandbox()).unwrap();
    stream_begun(stalled).await.unwrap();
    processes::halt(stalled).await.unwrap();
    gate.open();

    let record = record_of(world.sandbox(), "large", "failed").await.unwrap();
    assert_eq!(
        (&record["error"], &record["retry"]),
        (&json!("deadline"), &json!(true)),
        "{record}"
    );
    recovered(&world, "large", stalled).await;
    // The finding may be here before the line of the log is.
    record_of(world.sandbox(), "large", "infected").await.unwrap();
    let outcomes: Vec<Value> = records(world.sandbox(), "large")
        .into_iter()
        .map(|record| record["outcome"].clone())
        .collect();
    assert_eq!(outcomes, ["failed", "infected"]);
    for delivery in world.bridge().deliveries() {
        assert!(delivery.took < TIMEOUT, "{delivery:?}");
    }
}

#[tokio::test]
async fn clamd_stalled_between_two_objects_is_replaced() {
    let world = world(|_| {}).await.unwrap();
    world.put(UPLOADS, "first", samples::text()).await.unwrap();
    world.finding_for("first", DEADLINE).await.unwrap();
    let stalled = clamd(world.sandbox()).unwrap();
    processes::halt(stalled).await.unwrap();
    world.put(UPLOADS, "second", samples::eicar()).await.unwrap();
    recovered(&world, "second", stalled).await;
    // There was time enough to find that out and go on.
    let record = record_of(world.sandbox(), "second", "infected").await.unwrap();
    assert_eq!(records(world.sandbox(), "second"), [record]);
}

/// A zip of web pages, 3.2 GB of them: clamd normalises each, which takes it minutes.
fn endless() -> anyhow::Result<Vec<u8>> {
    let page = "<p class=\"a\">hedge</p>\n".repeat(16 << 20 >> 5);
    samples::zip_of_copies(200, format!("<html><body>{page}</body></html>").as_bytes())
}

#[tokio::test]
async fn an_object_whose_scan_does_not_end_is_no_after_the_last_try_and_no_dead_letter() {
    let world = world(|options| options.timeout = TIMEOUT).await.unwrap();
    world.put(UPLOADS, "endless", endless().unwrap()).await.unwrap();
    let finding = world.finding_for("endless", DEADLINE).await.unwrap();
    assert_eq!(finding.attribute("status"), Some("no"));
    assert_eq!(finding.attribute("reason"), Some("time-limit"));
    assert_eq!(world.tags(UPLOADS, "endless", None).await.unwrap(), verdict_tag("no"));

    record_of(world.sandbox(), "endless", "no").await.unwrap();
    let told: Vec<_> = records(world.sandbox(), "endless")
        .iter()
        .map(|r| json!([r["outcome"], r["error"], r["reason"], r["receive_count"]]))
        .collect();
    assert_eq!(
        told,
        [
            json!(["failed", "deadline", null, 1]),
            json!(["failed", "deadline", null, 2]),
            json!(["no", null, "time-limit", 3]),
        ]
    );
    // What was not handled would come again, and then be a dead letter.
    let last = world.bridge().wait_for(|d| !d.handled.is_empty() && d.took > SCAN, DEADLINE);
    assert_eq!(last.await.unwrap().messages.len(), 1);
    assert_eq!(queued(&world, &world.scan_queue().url).await.unwrap(), 0);
    assert_eq!(queued(&world, &world.dead_letters().url).await.unwrap(), 0);
    for delivery in world.bridge().deliveries() {
        assert!(delivery.took < TIMEOUT, "{delivery:?}");
        assert!(matches!(delivery.outcome, Invocation::Response(_)), "{delivery:?}");
    }
}
