//! Definitions change while the sandbox lives: whoever scans has one generation whole, and a scan
//! that runs meanwhile ends right.

use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use function_common::manifest::{BASE, MANIFEST_KEY, PE};
use jiff::Timestamp;
use scanner::config::Config;
use scanner::engine::Refreshed;
use scanner_tests::definitions;
use scanner_tests::fake_s3::{Body, Operation, Stored};
use scanner_tests::generations::{BUCKET as DEFINITIONS, Generation};
use scanner_tests::samples;
use serde_json::json;
use tokio::sync::oneshot;

use crate::support::{
    BUCKET, World, clamd_dir, failed, generation, queue, s3_event, s3_record, world, world_of,
    world_on, world_with,
};

/// What version 7 does not know and version 8 does.
const NEWS: &[u8] = b"s3-virusscan test marker of the second generation 5d0c8f";
const NEWS_NAME: &str = "S3-Virusscan.Test.News";

/// Too small for two generations side by side, by the engine's own reckoning.
const SMALL_MB: u32 = 256;

/// It only keeps a broken test from hanging.
const DEADLINE: Duration = Duration::from_secs(60);

fn second() -> Generation {
    let now = Timestamp::now();
    let bytes = definitions::whole_with(8, now, NEWS_NAME, NEWS).unwrap();
    Generation::new(8, now, &[(BASE, vec![("daily.cud".to_owned(), bytes)])]).unwrap()
}

/// Scans `bytes` and gives the verdict's tag and the version of the definitions that judged.
async fn scan(world: &World, key: &str, bytes: &[u8]) -> (String, u64) {
    world.upload(BUCKET, key, bytes.to_vec()).await.unwrap();
    let record = world.records().pop().unwrap();
    let tag = world.tag(BUCKET, key, None).unwrap();
    (tag, record["definitions"]["version"].as_u64().unwrap())
}

#[tokio::test]
async fn what_only_the_next_generation_knows_is_found_after_the_change_in_the_same_process() {
    for (memory_mb, side_by_side) in [(3008, true), (SMALL_MB, false)] {
        let world = world_with(|config| config.memory_mb = memory_mb).await;
        assert_eq!(scan(&world, "before", NEWS).await, ("clean".to_owned(), 7));
        let first = world.clamd_pids();
        second().publish_in(&world.definitions);
        assert_eq!(world.engine.refresh().await, Refreshed::Changed { side_by_side });
        assert_eq!(scan(&world, "after", NEWS).await, ("infected".to_owned(), 8));
        let now = world.clamd_pids();
        assert_eq!(now.len(), 1, "the old one is gone");
        assert_ne!(first, now);
        assert_eq!(world.engine.refresh().await, Refreshed::Nothing);
    }
}

#[tokio::test]
async fn an_invocation_changes_over_before_it_answers() {
    let world = world().await;
    assert_eq!(scan(&world, "before", NEWS).await.1, 7);
    second().publish_in(&world.definitions);
    scan(&world, "meanwhile", b"text").await;
    assert_eq!(world.engine.current().await.unwrap().manifest.version, 8);
}

/// While a scan holds the old generation: with memory for both there are two clamds, without it
/// the old one has ended before the new one begins.
#[tokio::test]
async fn two_databases_are_in_memory_only_where_there_is_room() {
    for (memory_mb, clamds) in [(3008, 2), (SMALL_MB, 1)] {
        let world = world_with(|config| config.memory_mb = memory_mb).await;
        let old = world.engine.current().await.unwrap();
        second().publish_in(&world.definitions);
        let refreshed = world.engine.refresh().await;
        assert!(matches!(refreshed, Refreshed::Changed { .. }), "{refreshed:?}");
        assert_eq!(world.clamd_pids().len(), clamds, "{memory_mb} MB");
        drop(old);
    }
}

/// A scan that has begun, and has given clamd a part of its object.
struct Begun {
    world: Arc<World>,
    scan: tokio::task::JoinHandle<()>,
    go_on: mpsc::Sender<()>,
}

async fn begin(memory_mb: u32) -> Begun {
    let world = Arc::new(world_with(|config| config.memory_mb = memory_mb).await);
    world.upload(BUCKET, "warm-up", samples::text()).await.unwrap();
    let body = Body::Repeat { byte: b'x', len: 300_000, tail: Bytes::from_static(samples::MARKER) };
    let stored = world.s3.put(BUCKET, "slow", body);
    world.s3.on(Operation::GetObject, "slow").break_body_after(100_000);
    held(world, stored, 2).await
}

/// Begins the scan of `slow`, and holds it before the `nth` time that it is read.
async fn held(world: Arc<World>, stored: Stored, nth: usize) -> Begun {
    let (go_on, wait) = mpsc::channel();
    let (say, begun) = oneshot::channel();
    let (wait, say) = (Mutex::new(wait), Mutex::new(Some(say)));
    world.s3.on(Operation::GetObject, "slow").nth(nth).before(move |_| {
        say.lock().unwrap().take().unwrap().send(()).unwrap();
        wait.lock().unwrap().recv().unwrap();
    });
    let scan = tokio::spawn({
        let world = Arc::clone(&world);
        async move {
            world.invoke(s3_event(&[s3_record(BUCKET, "slow", &stored)])).await.unwrap();
        }
    });
    begun.await.unwrap();
    Begun { world, scan, go_on }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scan_that_runs_during_the_change_ends_right_and_with_its_own_generation() {
    let Begun { world, scan, go_on } = begin(3008).await;
    second().publish_in(&world.definitions);
    let change = async {
        // The invocation's own question may have come before the publication, or be under way.
        while world.engine.current().await.unwrap().manifest.version != 8 {
            world.engine.refresh().await;
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, change).await.unwrap();
    assert_eq!(world.clamd_pids().len(), 2, "the old one still scans");
    go_on.send(()).unwrap();
    scan.await.unwrap();
    assert_eq!(world.tag(BUCKET, "slow", None).as_deref(), Some("infected"));
    let record = world.records().pop().unwrap();
    assert_eq!((&record["definitions"]["version"], &record["scans"]), (&json!(7), &json!(1)));
    assert_eq!(world.clamd_pids().len(), 1, "it ends with its last scan");
}

/// The second generation knows nothing of the program: joined with what it says, it would be clean.
#[tokio::test(flavor = "multi_thread")]
async fn a_program_is_judged_by_the_shards_of_one_generation() {
    let first = Generation::sharded(7, Timestamp::now()).unwrap();
    let world = Arc::new(world_of(first, |_| {}).await);
    world.upload(BUCKET, "warm-up", samples::program(b"")).await.unwrap();
    let stored = world.s3.put(BUCKET, "slow", samples::program(samples::PE_MARKER));
    let Begun { world, scan, go_on } = held(world, stored, 1).await;

    let now = Timestamp::now();
    let file = |bytes| vec![("daily.cud".to_owned(), bytes)];
    let [base, _] = definitions::shards(8, now).unwrap();
    let shards = [(BASE, file(base)), (PE, file(definitions::whole(8, now).unwrap()))];
    Generation::new(8, now, &shards).unwrap().publish_in(&world.definitions);
    let change = async {
        while world.engine.current().await.unwrap().manifest.version != 8 {
            world.engine.refresh().await;
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, change).await.unwrap();
    go_on.send(()).unwrap();
    scan.await.unwrap();
    assert_eq!(world.tag(BUCKET, "slow", None).as_deref(), Some("infected"));
    let record = world.records().pop().unwrap();
    assert_eq!((&record["definitions"]["version"], &record["pe"]), (&json!(7), &json!(true)));
    world.upload(BUCKET, "next", samples::program(samples::PE_MARKER)).await.unwrap();
    assert_eq!(world.tag(BUCKET, "next", None).as_deref(), Some("clean"), "by the second alone");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_room_the_change_waits_for_the_scan_and_the_next_scan_for_the_change() {
    let Begun { world, scan, go_on } = begin(SMALL_MB).await;
    let clamds = world.clamd_pids();
    second().publish_in(&world.definitions);
    let change = tokio::spawn({
        let world = Arc::clone(&world);
        async move {
            while world.engine.current().await.unwrap().manifest.version != 8 {
                world.engine.refresh().await;
                tokio::task::yield_now().await;
            }
        }
    });
    let file = second().objects.remove(0).0;
    while world.definitions.count(Operation::GetObject, &file) == 0 {
        tokio::task::yield_now().await;
    }
    // All is there that the change needs, but for the end of the scan.
    for _ in 0..500 {
        assert_eq!(world.clamd_pids(), clamds);
        tokio::task::yield_now().await;
    }
    go_on.send(()).unwrap();
    scan.await.unwrap();
    tokio::time::timeout(DEADLINE, change).await.unwrap().unwrap();
    let of_slow = world.records().into_iter().find(|record| record["key"] == "slow").unwrap();
    assert_eq!((&of_slow["outcome"], &of_slow["scans"]), (&json!("infected"), &json!(1)));
    assert_eq!(scan_tag(&world).await, ("infected".to_owned(), 8));
}

async fn scan_tag(world: &World) -> (String, u64) {
    scan(world, "news", NEWS).await
}

/// Done when 2: a new generation becomes the current one between any two requests of a scanner
/// that starts.
#[tokio::test]
async fn a_scanner_that_starts_during_a_publication_gets_one_generation_whole() {
    let old = generation().unwrap();
    let keys: Vec<String> = [MANIFEST_KEY.to_owned()]
        .into_iter()
        .chain(old.objects.iter().map(|(key, _)| key.clone()))
        .collect();
    let mut versions = Vec::new();
    for key in keys {
        for before in [true, false] {
            let world = world_on(&clamd_dir(), Some(old.clone()), |_| {}).await;
            let publish = |s3: &scanner_tests::fake_s3::FakeS3| second().publish_in(s3);
            let at = world.definitions.on(Operation::GetObject, &key);
            if before {
                at.before(publish)
            } else {
                at.after(publish)
            }
            // Without a refresh: as the start found it.
            let version = world.engine.current().await.unwrap().manifest.version;
            let expected = if version == 8 { "infected" } else { "clean" };
            assert_eq!(scan(&world, "k", NEWS).await, (expected.to_owned(), version.into()));
            versions.push(version);
        }
    }
    assert_eq!(versions, [8, 7, 7, 7], "the manifest decides");
}

#[tokio::test]
async fn files_without_a_manifest_are_no_generation() {
    let world = world().await;
    for (key, bytes) in second().objects {
        world.definitions.put(&DEFINITIONS, &key, bytes);
    }
    assert_eq!(scan(&world, "k", NEWS).await, ("clean".to_owned(), 7));
    assert_eq!(world.engine.refresh().await, Refreshed::Nothing);
}

#[tokio::test]
async fn a_generation_that_cannot_be_used_leaves_the_old_one_in_use() {
    type Breaking = fn(&World);
    let broken: [(&str, Breaking); 7] = [
        ("a file that is not the one named", |world| {
            let mut next = second();
            next.objects[0].1.push(0);
            next.publish_in(&world.definitions);
        }),
        ("other signatures of the same length", |world| {
            let (mut next, other) = (second(), NEWS.to_ascii_uppercase());
            let bytes = definitions::whole_with(8, Timestamp::now(), NEWS_NAME, &other).unwrap();
            next.objects[0].1 = zstd::encode_all(bytes.as_slice(), 1).unwrap();
            next.publish_in(&world.definitions);
        }),
        ("a file that is missing", |world| {
            let next = second();
            next.publish_in(&world.definitions);
            world.definitions.delete(&DEFINITIONS, &next.objects[0].0);
        }),
        ("signatures that clamd cannot read", |world| {
            let mut bytes = definitions::whole(8, Timestamp::now()).unwrap();
            bytes[512..].fill(0xa5);
            let files = vec![("daily.cud".to_owned(), bytes)];
            let next = Generation::new(8, Timestamp::now(), &[(BASE, files)]).unwrap();
            next.publish_in(&world.definitions);
        }),
        ("signatures that find nothing", |world| {
            let bytes = definitions::without_eicar(8, Timestamp::now()).unwrap();
            let files = vec![("daily.cud".to_owned(), bytes)];
            let next = Generation::new(8, Timestamp::now(), &[(BASE, files)]).unwrap();
            next.publish_in(&world.definitions);
        }),
        ("another unpacked size", |world| {
            let mut next = second();
            next.manifest.shards[0].files[0].unpacked_size += 1;
            next.publish_in(&world.definitions);
        }),
        ("no manifest", |world| {
            world.definitions.put(&DEFINITIONS, MANIFEST_KEY, "<Error/>");
        }),
    ];
    for (what, breaking) in broken {
        for memory_mb in [3008, SMALL_MB] {
            let world = world_with(|config| config.memory_mb = memory_mb).await;
            assert_eq!(scan(&world, "before", NEWS).await, ("clean".to_owned(), 7));
            breaking(&world);
            let refreshed = world.engine.refresh().await;
            assert!(!matches!(refreshed, Refreshed::Changed { .. }), "{what}: {refreshed:?}");
            assert_eq!(
                scan(&world, "after", samples::MARKER).await,
                ("infected".to_owned(), 7),
                "{what}"
            );
            // The next good one is taken.
            let mut next = second();
            next.manifest.published = "2026-11-23T00:00:00Z".to_owned();
            next.publish_in(&world.definitions);
            let refreshed = world.engine.refresh().await;
            assert!(matches!(refreshed, Refreshed::Changed { .. }), "{what}: {refreshed:?}");
            assert_eq!(scan(&world, "news", NEWS).await, ("infected".to_owned(), 8), "{what}");
        }
    }
}

#[tokio::test]
async fn the_manifest_is_asked_for_no_more_often_than_the_owner_says() {
    let world = world_with(|config| config.definitions_max_check = Duration::from_hours(1)).await;
    for key in ["a", "b", "c"] {
        scan(&world, key, b"text").await;
    }
    assert_eq!(world.definitions.count(Operation::GetObject, MANIFEST_KEY), 1);

    let eager = world_with(|config| config.definitions_max_check = Duration::ZERO).await;
    for key in ["a", "b", "c"] {
        scan(&eager, key, b"text").await;
    }
    // The first scan loads; each later invocation asks.
    assert_eq!(eager.definitions.count(Operation::GetObject, MANIFEST_KEY), 3);
}

#[tokio::test]
async fn definitions_that_come_later_are_taken_by_the_same_process() {
    let world = world_on(&clamd_dir(), None, |_| {}).await;
    let stored = world.s3.put(BUCKET, "k", samples::eicar());
    let event = || queue(&[s3_event(&[s3_record(BUCKET, "k", &stored)])]);
    assert_eq!(failed(&world.invoke(event()).await.unwrap()), ["m0"]);
    assert_eq!(world.record()["error"], "no-definitions");
    assert_eq!(world.tag(BUCKET, "k", None), None);
    second().publish_in(&world.definitions);
    assert_eq!(failed(&world.invoke(event()).await.unwrap()), [] as [&str; 0]);
    assert_eq!(world.tag(BUCKET, "k", None).as_deref(), Some("infected"));
}

/// Without waiting for the time between two checks: nothing was in use.
#[tokio::test]
async fn a_first_generation_that_finds_nothing_is_replaced_at_once() {
    let bytes = definitions::without_eicar(7, Timestamp::now()).unwrap();
    let files = vec![("daily.cud".to_owned(), bytes)];
    let first = Generation::new(7, Timestamp::now(), &[(BASE, files)]).unwrap();
    let rarely = |config: &mut Config| config.definitions_max_check = Duration::from_hours(1);
    let world = world_on(&clamd_dir(), Some(first), rarely).await;
    assert!(world.upload(BUCKET, "k", samples::eicar()).await.is_err());
    assert_eq!(world.record()["error"], "clamd-canary");
    second().publish_in(&world.definitions);
    assert_eq!(scan(&world, "k", NEWS).await, ("infected".to_owned(), 8));
}

#[tokio::test]
async fn a_body_that_breaks_off_is_fetched_again() {
    let old = generation().unwrap();
    let (key, bytes) = old.objects[0].clone();
    let world = world_on(&clamd_dir(), Some(old), |_| {}).await;
    let half = bytes.len() as u64 / 2;
    world.definitions.on(Operation::GetObject, &key).times(2).break_body_after(half);
    assert_eq!(scan(&world, "k", samples::MARKER).await, ("infected".to_owned(), 7));
    assert_eq!(world.definitions.count(Operation::GetObject, &key), 3);
}
