//! Archives that can be read in two ways: what the check beside clamd does to the verdict.

use jiff::Timestamp;
use scanner_tests::fake_s3::{Body, Operation};
use scanner_tests::generations::Generation;
use scanner_tests::samples;
use serde_json::json;

use crate::support::{
    BUCKET, World, failed, queue, s3_event, s3_record, world, world_of, world_with,
};

/// The tag, and why.
async fn judged(world: &World, key: &str, bytes: Vec<u8>) -> (String, serde_json::Value) {
    world.upload(BUCKET, key, bytes).await.unwrap();
    let record = world.records().pop().unwrap();
    (world.tag(BUCKET, key, None).unwrap(), record["reason"].clone())
}

#[tokio::test]
async fn an_archive_that_can_be_read_in_two_ways_is_damaged_unless_malware_was_found() {
    let world = world().await;
    let damaged = ("no".to_owned(), json!("damaged"));
    let (text, noise) = (samples::text(), samples::noise(1 << 20));
    let lying = samples::zip_lying(&[("noise", &noise), ("hidden", samples::MARKER)]).unwrap();
    assert_eq!(judged(&world, "lying", lying.clone()).await, damaged);
    assert_eq!(world.record()["detail"], "its own contents");
    let deep = samples::zip_nested(&lying, 3).unwrap();
    assert_eq!(judged(&world, "deep", deep).await, damaged);
    let zip = samples::zip_of(&[("noise", &noise), ("text", &text)]).unwrap();
    assert_eq!(judged(&world, "good", zip).await, ("clean".to_owned(), json!(null)));
    let both = samples::zip_lying(&[("bad", samples::MARKER), ("text", &text)]).unwrap();
    assert_eq!(judged(&world, "both", both).await, ("infected".to_owned(), json!(null)));
}

#[tokio::test]
async fn a_windows_program_in_one_is_shown_to_its_shard_all_the_same() {
    let generation = Generation::sharded(7, Timestamp::now()).unwrap();
    let world = world_of(generation, |_| {}).await;
    let (bad, good) = (samples::program(samples::PE_MARKER), samples::program(b""));
    let zip = |program| samples::zip_lying(&[("a.exe", program), ("b", b"text")]).unwrap();
    assert_eq!(judged(&world, "bad", zip(&bad)).await.0, "infected");
    assert_eq!(judged(&world, "good", zip(&good)).await, ("no".to_owned(), json!("damaged")));
}

/// The check sees each byte once, and in order, however often the connection breaks.
#[tokio::test]
async fn a_connection_that_breaks_is_no_contradiction() {
    let world = world().await;
    let zip = samples::zip_of(&[("noise", &samples::noise(1 << 20)), ("text", &samples::text())])
        .unwrap();
    let stored = world.s3.put(BUCKET, "k", Body::from(zip.clone()));
    world.s3.on(Operation::GetObject, "k").break_body_after(100_000);
    world.s3.on(Operation::GetObject, "k").nth(2).break_body_after(100);
    world.invoke(s3_event(&[s3_record(BUCKET, "k", &stored)])).await.unwrap();
    assert_eq!(world.tag(BUCKET, "k", None).as_deref(), Some("clean"));
    assert_eq!(world.record()["resumes"], 2);

    let stored = world.s3.put(BUCKET, "broken", Body::from(zip));
    world.s3.on(Operation::GetObject, "broken").times(20).break_body_after(0);
    let event = s3_event(&[s3_record(BUCKET, "broken", &stored)]);
    assert_eq!(failed(&world.invoke(queue(&[event])).await.unwrap()), ["m0"]);
    assert_eq!(world.records().pop().unwrap()["error"], "read");
    assert_eq!(world.tag(BUCKET, "broken", None), None);
}

/// clamd passes an encrypted directory over.
#[tokio::test]
async fn an_encrypted_directory_is_encrypted_and_infected_where_the_owner_says_so() {
    let mut zip = samples::zip_of(&[("a", b"text")]).unwrap();
    let directory = zip.windows(4).position(|window| window == b"PK\x01\x02").unwrap();
    zip.splice(directory..directory, *b"PK\x06\x08");
    let end = zip.len() - 6;
    zip[end] += 4;
    let world = world_with(|config| config.encrypted_is_infected = true).await;
    assert_eq!(judged(&world, "k", zip.clone()).await.0, "infected");
    assert_eq!(world.finding().attributes["finding"], "Heuristics.Encrypted.Zip");
    let world = self::world().await;
    assert_eq!(judged(&world, "k", zip).await, ("no".to_owned(), json!("encrypted")));
}
