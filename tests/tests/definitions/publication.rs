//! Handing a generation over: whatever happens at whatever point, what is served is one whole
//! generation.

use function_common::manifest::{BASE, MANIFEST_KEY, Manifest};
use scanner_tests::fake_s3::{ATTEMPTS, Operation, S3ErrorCode};

use crate::support::{BUCKET, World};

const RETIRED: (&str, &str) = ("s3-virusscan-generation", "retired");

/// Whether all objects of the generation are marked to be deleted; they must agree.
fn is_retired(world: &World, generation: &str) -> bool {
    let keys = world.s3.keys(&BUCKET, &format!("generations/{generation}/"));
    assert!(!keys.is_empty(), "{generation}");
    let tags = keys.iter().map(|key| world.s3.tags(&BUCKET, key, None).expect("it is there"));
    let retired: Vec<bool> =
        tags.map(|tags| tags.get(RETIRED.0).is_some_and(|value| value == RETIRED.1)).collect();
    assert!(retired.iter().all(|one| *one == retired[0]), "{generation}: {retired:?}");
    retired[0]
}

#[tokio::test]
async fn only_generations_before_the_predecessor_are_retired() {
    let (world, first) = World::published(3).await;
    let mut generations = vec![first];
    for version in [4, 5, 6] {
        world.offer(version);
        let run = world.run().await;
        assert_eq!(run.ended(), ("published", None), "{run:?}");
        generations.push(world.manifest().expect("it is published"));
    }
    let retired: Vec<bool> =
        generations.iter().map(|manifest| is_retired(&world, &manifest.generation)).collect();
    assert_eq!(retired, [true, true, false, false]);
    let names: Vec<_> = generations.iter().map(|manifest| manifest.generation.clone()).collect();
    assert!(names.is_sorted(), "names sort by time: {names:?}");
    world.still_serves(&generations[3]);
}

/// A run that ends between its files and its manifest, as a crash would have it.
#[tokio::test]
async fn a_crash_before_the_manifest_leaves_the_generation_before() {
    let (world, first) = World::published(3).await;
    world.offer(4);
    let attempts = ATTEMPTS as usize;
    world
        .s3
        .on(Operation::PutObject, MANIFEST_KEY)
        .times(attempts)
        .fail(S3ErrorCode::InternalError);
    let run = world.run().await;
    assert_eq!(run.ended(), ("publish", Some("publish")), "{run:?}");
    assert_eq!(run.record["retry"], true);
    world.still_serves(&first);
    let mut unfinished = world.s3.keys(&BUCKET, "generations/");
    unfinished.retain(|key| !key.starts_with(&first.prefix()));
    assert!(!unfinished.is_empty(), "its files were there already");

    // The next run has the databases, and publishes them.
    let _ = world.mirror.asked();
    let run = world.run().await;
    assert_eq!(run.ended(), ("published", None), "{run:?}");
    assert!(world.mirror.asked().iter().all(|asked| asked.header_only));
    assert_eq!(run.record["retired"], 1);
    let unfinished = unfinished[0].split('/').nth(1).expect("generations/<name>/...");
    assert!(is_retired(&world, unfinished));
    assert!(!is_retired(&world, &first.generation));
    world.still_serves(&world.manifest().expect("it is published"));
}

/// S3 decides which of two updaters publishes; the other one changes nothing.
#[tokio::test]
async fn of_two_updaters_at_once_one_is_told_that_it_was_overtaken() {
    let (world, first) = World::published(3).await;
    world.offer(4);
    let other = Manifest { generation: "30001231T235959.999Z-9-0".into(), ..first.clone() };
    let json = other.to_json();
    world.s3.on(Operation::PutObject, MANIFEST_KEY).before(move |s3| {
        s3.put(&BUCKET, MANIFEST_KEY, json.clone());
    });
    let run = world.run().await;
    assert_eq!(run.ended(), ("overtaken", None), "{run:?}");
    let served = world.s3.content(&BUCKET, MANIFEST_KEY).expect("it is there");
    assert_eq!(served, other.to_json().into_bytes());
    assert!(!is_retired(&world, &first.generation), "who is overtaken retires nothing");
}

#[tokio::test]
async fn of_two_first_updaters_one_is_told_that_it_was_overtaken() {
    let (_, other) = World::published(3).await;
    let world = World::new(3);
    let json = other.to_json();
    world.s3.on(Operation::PutObject, MANIFEST_KEY).before(move |s3| {
        s3.put(&BUCKET, MANIFEST_KEY, json.clone());
    });
    assert_eq!(world.run().await.ended(), ("overtaken", None));
    assert_eq!(world.manifest(), Some(other));
}

/// Two at the same time, as far as this goes: both from the same state, each with its own folder.
#[tokio::test]
async fn two_runs_side_by_side_publish_one_whole_generation() {
    let (world, first) = World::published(3).await;
    let other = world.second();
    world.offer(4);
    let (one, two) = tokio::join!(world.run(), other.run());
    let mut ended = [one.ended().0, two.ended().0];
    ended.sort_unstable();
    assert!(
        matches!(ended, ["overtaken" | "nothing-new", "published"] | ["published", "published"]),
        "{ended:?}"
    );
    let served = world.manifest().expect("it is published");
    assert_eq!(served.version, 4);
    world.still_serves(&served);
    assert!(!is_retired(&world, &first.generation) || ended[0] == "published");
}

#[tokio::test]
async fn a_manifest_that_cannot_be_read_is_replaced() {
    let (world, _) = World::published(3).await;
    world.s3.put(&BUCKET, MANIFEST_KEY, r#"{"format": 99}"#);
    let run = world.run().await;
    assert_eq!(run.ended(), ("published", None), "{run:?}");
    let manifest = world.manifest().expect("it is published");
    assert_eq!((manifest.previous, manifest.shards[0].name.as_str()), (None, BASE));
}

#[tokio::test]
async fn without_the_bucket_the_run_says_so() {
    let world = World::new(3);
    let attempts = ATTEMPTS as usize;
    world.s3.on(Operation::GetObject, MANIFEST_KEY).times(attempts).fail(S3ErrorCode::AccessDenied);
    let run = world.run().await;
    assert_eq!(run.ended(), ("manifest", Some("manifest")), "{run:?}");
    assert_eq!((&run.record["updates"], &run.record["retry"]), (&0.into(), &false.into()));
    let message = run.record["error_message"].as_str().expect("it says why");
    assert!(message.contains("AccessDenied") && message.contains("role"), "{message}");
}

#[tokio::test]
async fn a_generation_that_was_proven_by_another_engine_is_made_anew() {
    let (world, first) = World::published(6).await;
    // As if it had been published by another engine: the inputs are another number.
    let (head, _) = first.generation.rsplit_once('-').expect("time, version, inputs");
    let other = Manifest { generation: format!("{head}-0123456789abcdef"), ..first.clone() };
    for file in first.files() {
        let key = file.key.replace(&first.generation, &other.generation);
        world.s3.put(&BUCKET, &key, world.s3.content(&BUCKET, &file.key).expect("it is there"));
    }
    let json = other.to_json().replace(&first.prefix(), &other.prefix());
    world.s3.put(&BUCKET, MANIFEST_KEY, json);
    assert_eq!(world.run().await.ended(), ("published", None));
    let manifest = world.manifest().expect("it is published");
    assert_eq!(manifest.previous, Some(other.generation));
    assert!(manifest.generation.ends_with(&first.generation[head.len()..]), "the same inputs");
}
