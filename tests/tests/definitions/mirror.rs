//! What mirrors do, and what becomes of the definitions then.

use std::time::Duration;

use function_common::reply::Answer;
use scanner_tests::mirror::Fault;
use scanner_tests::samples;

use crate::support::{BUCKET, World, file, infected};

#[tokio::test]
async fn the_first_download_is_published_and_the_scanner_uses_it() {
    let world = World::new(6);
    let run = world.run().await;
    assert_eq!(run.ended(), ("published", None), "{run:?}");
    assert_eq!(run.record["updates"], 1);
    assert_eq!(run.record["mirror"], "current");
    assert_eq!(run.record["versions_before"], serde_json::json!({}));
    assert_eq!(run.record["versions_after"]["test"], 6);

    let manifest = world.manifest().expect("it is published");
    assert_eq!((manifest.version, manifest.previous.as_deref()), (6, None));
    assert_eq!(manifest.built, "2021-06-23T01:34:05Z", "as the header of test-6.cvd says");
    assert_eq!(run.record["generation"], manifest.generation.as_str());
    world.still_serves(&manifest);
    assert_eq!(world.s3.keys(&BUCKET, "state/"), ["state/freshclam.dat", "state/test.cvd"]);

    let found = infected("Eicar-Test-Signature");
    let canary = infected("S3-Virusscan.Canary.Eicar");
    assert_eq!(world.scan(&samples::eicar()).await, [found, canary]);
    assert_eq!(world.scan(&samples::text()).await, [Answer::Clean, Answer::Clean]);
    let program = samples::program(b"harmless");
    assert_eq!(world.scan(&program).await, [Answer::PortableExecutable, Answer::Clean]);
}

/// The makers' three databases. Byte code stays in the container that they signed.
#[tokio::test]
async fn all_databases_are_in_a_generation() {
    let mut world = World::new(6);
    world.databases = ["main", "daily", "bytecode"].map(str::to_owned).to_vec();
    for name in ["main.cvd", "daily.cvd", "bytecode.cvd"] {
        world.mirror.put(name, file("test-6.cvd"));
    }
    let run = world.run().await;
    assert_eq!(run.ended(), ("published", None), "{run:?}");
    let manifest = world.manifest().expect("it is published");
    for shard in &manifest.shards {
        let names: Vec<_> = shard.files.iter().map(|file| file.name.as_str()).collect();
        for name in ["bytecode.cvd", "daily.cud", "daily.cfg", "main.cud", "main.crb"] {
            assert!(names.contains(&name), "{name} is not in {}: {names:?}", shard.name);
        }
    }
}

/// A signature for programs alone is in the shard for programs alone.
#[tokio::test]
async fn signatures_for_programs_are_cut_off() {
    let (world, _) = World::published(6).await;
    // Win.Worm.Mydoom-9802011-0, target 1: its five parts, in a program and in a text.
    let parts =
        ["5a2070242129", "76375f26762566", "2c5e7d522c787a6d64", "413346382678", "484f753c2e38"];
    let bytes: Vec<u8> = parts.iter().flat_map(|part| unhex(part)).collect();
    let program = world.scan(&samples::program(&bytes)).await;
    assert_eq!(program, [Answer::PortableExecutable, infected("Win.Worm.Mydoom-9802011-0")]);
    assert_eq!(world.scan(&bytes).await, [Answer::Clean, Answer::Clean]);
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).expect("ASCII"));
    digits.map(|pair| u8::from_str_radix(pair, 16).expect("hexadecimal")).collect()
}

#[tokio::test]
async fn increments_bring_the_next_versions() {
    let world = World::new(3);
    world.run().await;
    let first = world.manifest().expect("it is published");
    let mut asked = world.mirror.asked();
    world.offer(5);
    let run = world.run().await;
    assert_eq!(run.ended(), ("published", None), "{run:?}");
    assert_eq!(run.record["versions_before"]["test"], 3);
    assert_eq!(run.record["versions_after"]["test"], 5);
    let manifest = world.manifest().expect("it is published");
    assert_eq!((manifest.version, manifest.previous), (5, Some(first.generation.clone())));
    world.still_serves(&world.manifest().expect("it is published"));

    let second = world.mirror.asked();
    let files: Vec<_> =
        second.iter().filter(|asked| !asked.header_only).map(|asked| asked.file.as_str()).collect();
    assert_eq!(files, ["test-4.cdiff", "test-5.cdiff"], "no whole database is downloaded again");
    asked.extend(second);
    let mut clients: Vec<_> = asked.into_iter().map(|asked| asked.user_agent).collect();
    clients.dedup();
    assert_eq!(clients.len(), 1, "it is the same client in each run: {clients:?}");
    assert!(clients[0].contains("UUID: "), "{clients:?}");
    assert_eq!(world.s3.keys(&BUCKET, "state/"), ["state/freshclam.dat", "state/test.cld"]);

    // The state that increments made is one to go on from.
    world.offer(6);
    assert_eq!(world.run().await.ended(), ("published", None));
    assert_eq!(world.manifest().expect("it is published").version, 6);
}

#[tokio::test]
async fn nothing_new_is_no_new_generation() {
    let (world, first) = World::published(6).await;
    let before = world.s3.calls().len();
    let run = world.run().await;
    assert_eq!(run.ended(), ("nothing-new", None), "{run:?}");
    assert_eq!(run.record["updates"], 1);
    assert!(run.record["definitions_age_hours"].as_f64().expect("a number") > 40_000.0);
    assert_eq!(run.record["stale"], false);
    world.still_serves(&first);
    assert!(world.mirror.asked().iter().all(|asked| asked.header_only));
    let calls = world.s3.calls().split_off(before);
    let writes: Vec<_> =
        calls.iter().filter(|c| format!("{:?}", c.operation).contains("Put")).collect();
    assert!(writes.is_empty(), "{writes:?}");
}

/// freshclam ends with 0 then. The next run does not come back early.
#[tokio::test]
async fn a_429_is_obeyed_and_is_no_failure_while_definitions_are_fresh() {
    let (world, first) = World::published(3).await;
    world.offer(6);
    world.without_increments();
    world.mirror.fault(Fault::AnswerFiles(429));
    let run = world.run().await;
    assert_eq!(run.ended(), ("cool-down", None), "{run:?}");
    assert_eq!(run.record["updates"], 1);
    let until: jiff::Timestamp =
        run.record["cool_down_until"].as_str().expect("it is told").parse().expect("a time");
    let wait = until.duration_since(jiff::Timestamp::now());
    assert!((7000..=7200).contains(&wait.as_secs()), "Retry-After says two hours: {wait:?}");
    world.still_serves(&first);

    world.mirror.fault(None);
    let _ = world.mirror.asked();
    let run = world.run().await;
    assert_eq!(run.ended(), ("cool-down", None), "{run:?}");
    assert_eq!(run.record["cool_down_until"], until.to_string());
    assert_eq!(world.mirror.asked(), [], "nothing is asked before that time");
    world.still_serves(&first);
}

#[tokio::test]
async fn a_429_is_a_failure_once_definitions_are_stale() {
    let (mut world, first) = World::published(3).await;
    world.stale = Duration::from_hours(72);
    world.mirror.fault(Fault::Answer(429));
    let run = world.run().await;
    assert_eq!(run.ended(), ("cool-down", Some("cool-down")), "{run:?}");
    assert_eq!((&run.record["updates"], &run.record["stale"]), (&0.into(), &true.into()));
    world.still_serves(&first);
}

#[tokio::test]
async fn a_429_at_the_first_run_is_a_failure_that_is_remembered() {
    let world = World::new(6);
    world.mirror.fault(Fault::AnswerFiles(429));
    let run = world.run().await;
    assert_eq!(run.ended(), ("cool-down", Some("cool-down")), "{run:?}");
    assert_eq!(run.record["definitions_age_hours"], serde_json::Value::Null);
    assert_eq!(world.s3.keys(&BUCKET, ""), ["state/freshclam.dat"]);
    world.mirror.fault(None);
    let _ = world.mirror.asked();
    assert_eq!(world.run().await.ended(), ("cool-down", Some("cool-down")));
    assert_eq!(world.mirror.asked(), []);
}

#[tokio::test]
async fn a_403_is_a_cool_down_of_a_day() {
    let (world, first) = World::published(3).await;
    world.mirror.fault(Fault::Answer(403));
    let run = world.run().await;
    assert_eq!(run.ended(), ("cool-down", None), "{run:?}");
    let until: jiff::Timestamp =
        run.record["cool_down_until"].as_str().expect("it is told").parse().expect("a time");
    assert!(until.duration_since(jiff::Timestamp::now()).as_secs() > 86_000);
    world.still_serves(&first);
}

/// freshclam loses the cool-down of a 429 for an increment and ends with 0, as if that increment
/// were only late.
#[tokio::test]
async fn increments_that_are_not_handed_out_are_waited_for() {
    let (world, first) = World::published(5).await;
    world.offer(6);
    world.mirror.fault(Fault::AnswerFiles(429));
    let run = world.run().await;
    assert_eq!(run.ended(), ("mirror-behind", None), "{run:?}");
    world.still_serves(&first);
    world.mirror.fault(None);
    assert_eq!(world.run().await.ended(), ("published", None));
}

/// Each on a first run and on one that follows a generation.
async fn fails(fault: Fault, code: &str) {
    let world = World::new(6);
    world.mirror.fault(fault);
    let run = world.run().await;
    assert_eq!(run.ended(), (code, Some(code)), "{run:?}");
    assert_eq!(run.record["updates"], 0);
    assert_eq!(world.s3.keys(&BUCKET, ""), ["state/freshclam.dat"]);

    let (world, first) = World::published(3).await;
    world.offer(6);
    world.without_increments();
    world.mirror.fault(fault);
    let run = world.run().await;
    assert_eq!(run.ended(), (code, Some(code)), "{run:?}");
    world.still_serves(&first);
    assert_eq!(world.s3.keys(&BUCKET, "state/"), ["state/freshclam.dat", "state/test.cvd"]);

    world.mirror.fault(None);
    let run = world.run().await;
    assert_eq!(run.ended(), ("published", None), "nothing of it stays: {run:?}");
    assert_eq!(world.manifest().expect("it is published").version, 6);
}

#[tokio::test]
async fn a_transfer_that_ends_early_is_not_used() {
    fails(Fault::EndEarly, "truncated").await;
}

#[tokio::test]
async fn a_truncated_file_is_not_used() {
    fails(Fault::Truncate, "bad-signature").await;
}

#[tokio::test]
async fn a_file_that_the_makers_did_not_sign_is_not_used() {
    fails(Fault::Damage, "bad-signature").await;
}

#[tokio::test]
async fn a_mirror_that_answers_with_errors_is_a_failure() {
    fails(Fault::Answer(500), "mirror-refused").await;
}

#[tokio::test]
async fn a_mirror_that_is_down_is_a_failure() {
    let (world, first) = World::published(3).await;
    world.mirror.stop().await;
    let run = world.run().await;
    assert_eq!(run.ended(), ("mirror-down", Some("mirror-down")), "{run:?}");
    let message = run.record["error_message"].as_str().expect("it says why");
    assert!(message.contains("can the function reach the internet"), "{message}");
    world.still_serves(&first);
}

/// Versions 1 and 2 are signed by the makers, load, and hold no signature of EICAR.
#[tokio::test]
async fn a_database_that_loads_but_finds_nothing_is_refused() {
    let world = World::new(2);
    let run = world.run().await;
    assert_eq!(run.ended(), ("proof", Some("proof")), "{run:?}");
    let message = run.record["error_message"].as_str().expect("it says why");
    assert!(message.contains("base") && message.contains("EICAR"), "{message}");
    assert_eq!(world.manifest(), None);
    // It is no new download that makes it right, and none is made.
    let _ = world.mirror.asked();
    assert_eq!(world.run().await.ended(), ("proof", Some("proof")));
    assert!(world.mirror.asked().iter().all(|asked| asked.header_only));
    world.offer(3);
    assert_eq!(world.run().await.ended(), ("published", None));
}

#[tokio::test]
async fn such_a_database_does_not_take_the_place_of_one_that_finds_something() {
    let world = World::new(1);
    // Version 1 finds EICAR by the owner's own signature, as long as that is there.
    world.s3.put(&BUCKET, "custom/eicar.hdb", "44d88612fea8a8f36de82e1278abb02f:68:My.Eicar\n");
    assert_eq!(world.run().await.ended(), ("published", None));
    let first = world.manifest().expect("it is published");
    world.s3.delete(&BUCKET, "custom/eicar.hdb");
    world.offer(2);
    let run = world.run().await;
    assert_eq!(run.ended(), ("proof", Some("proof")), "{run:?}");
    world.still_serves(&first);
}

#[tokio::test]
async fn damaged_state_is_thrown_away() {
    let (world, first) = World::published(6).await;
    let mut damaged = world.s3.content(&BUCKET, "state/test.cvd").expect("it is kept");
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    world.s3.put(&BUCKET, "state/test.cvd", damaged);
    world.s3.put(&BUCKET, "state/freshclam.dat", "nonsense");
    world.s3.put(&BUCKET, "state/../../etc/passwd", "nonsense");
    let run = world.run().await;
    assert_eq!(run.ended(), ("nothing-new", None), "{run:?}");
    world.still_serves(&first);
    assert!(world.mirror.asked().iter().any(|asked| !asked.header_only), "it is fetched anew");
    assert_eq!(world.s3.content(&BUCKET, "state/test.cvd"), Some(file("test-6.cvd")));
}
