//! clamd dies, stalls, or talks nonsense: never `clean`, never silence, and no neighbour harmed.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use bytes::Bytes;
use scanner_tests::fake_clamd::{FakeClamd, Reply};
use scanner_tests::fake_s3::{Body, Operation};
use scanner_tests::samples;
use serde_json::json;
use tempfile::TempDir;

use crate::support::{
    BUCKET, MARGIN, World, failed, generation, queue, s3_event, s3_record, world, world_on,
};

#[tokio::test]
async fn clamd_killed_in_the_middle_of_a_scan_is_started_again_and_the_verdict_is_right() {
    let world = world().await;
    let body = Body::Repeat { byte: b'x', len: 300_000, tail: Bytes::from_static(samples::MARKER) };
    let stored = world.s3.put(BUCKET, "k", body);
    let kill = world.clamd_killer();
    // 100,000 bytes are in clamd's hands when it dies.
    world.s3.on(Operation::GetObject, "k").break_body_after(100_000);
    world.s3.on(Operation::GetObject, "k").nth(2).after(move |_| kill());
    world.invoke(s3_event(&[s3_record(BUCKET, "k", &stored)])).await.unwrap();
    assert_eq!(world.tag(BUCKET, "k", None).as_deref(), Some("infected"));
    assert_eq!(world.record()["scans"], 2);
    // And what comes next finds a clamd.
    world.upload(BUCKET, "next", samples::text()).await.unwrap();
    assert_eq!(world.tag(BUCKET, "next", None).as_deref(), Some("clean"));
}

#[tokio::test]
async fn an_object_that_kills_clamd_every_time_fails_its_own_record_only() {
    let world = world().await;
    let killer = world.s3.put(BUCKET, "killer", samples::eicar());
    let neighbour = world.s3.put(BUCKET, "neighbour", samples::eicar());
    let kill = world.clamd_killer();
    world.s3.on(Operation::GetObject, "killer").times(10).after(move |_| kill());
    let event = |key, stored| s3_event(&[s3_record(BUCKET, key, stored)]);
    let bodies = [event("killer", &killer), event("neighbour", &neighbour)];
    let answer = world.invoke(queue(&bodies)).await.unwrap();
    assert_eq!(failed(&answer), ["m0"]);
    assert_eq!(world.tag(BUCKET, "killer", None), None);
    assert_eq!(world.tag(BUCKET, "neighbour", None).as_deref(), Some("infected"));
    let records = world.records();
    let record = records.iter().find(|record| record["key"] == "killer").unwrap();
    assert_eq!((&record["outcome"], &record["retry"]), (&json!("failed"), &json!(true)));
}

#[tokio::test]
async fn the_temporary_files_of_a_dead_clamd_are_cleared_away() {
    let world = world().await;
    world.upload(BUCKET, "first", samples::text()).await.unwrap();
    let leftover = world.work_dir().await.join("tmp/clamav-leftover.tmp");
    std::fs::write(&leftover, [0; 4096]).unwrap();
    let kill = world.clamd_killer();
    let stored = world.s3.put(BUCKET, "k", samples::text());
    world.s3.on(Operation::GetObject, "k").after(move |_| kill());
    world.invoke(s3_event(&[s3_record(BUCKET, "k", &stored)])).await.unwrap();
    assert!(!leftover.try_exists().unwrap());
    assert_eq!(world.tag(BUCKET, "k", None).as_deref(), Some("clean"));
}

/// A world whose clamd is scripted: the supervised process only sleeps, the double answers on the
/// socket.
pub(crate) struct Scripted {
    pub(crate) world: World,
    pub(crate) clamd: FakeClamd,
    _dir: TempDir,
}

pub(crate) async fn scripted() -> Scripted {
    let clamd = FakeClamd::start().unwrap();
    // It starts in its work folder.
    let link = format!("ln -s '{}' clamd.sock", clamd.socket().display());
    let dir = program(&format!("{link} && exec sleep 600"));
    let world = world_on(dir.path(), generation(), |_| {}).await;
    Scripted { world, clamd, _dir: dir }
}

/// A folder with a shell script in clamd's place.
fn program(script: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let lib = dir.path().join("lib");
    std::fs::create_dir(&lib).unwrap();
    let program = lib.join("ld-linux-x86-64.so.2");
    std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    dir
}

impl Scripted {
    /// The first stream is the canary; `reply` is for the object's.
    async fn scan_with(&self, reply: Reply, time: Duration) -> serde_json::Value {
        self.clamd.next_stream(Reply::Honest);
        self.clamd.next_stream(reply);
        let stored = self.world.s3.put(BUCKET, "k", vec![b'x'; 1_000_000]);
        let event = queue(&[s3_event(&[s3_record(BUCKET, "k", &stored)])]);
        let answer = self.world.invoke_for(time, event).await.unwrap();
        assert_eq!(failed(&answer), ["m0"]);
        assert_eq!(self.world.tag(BUCKET, "k", None), None);
        assert!(self.world.sns.published().is_empty());
        self.world.record()
    }
}

/// For what ends by itself.
const AMPLE: Duration = Duration::from_secs(60);

/// For what ends only with the invocation's time.
pub(crate) const SHORT: Duration = MARGIN.saturating_add(Duration::from_millis(500));

#[tokio::test]
async fn answers_that_are_none_are_errors() {
    for answer in
        ["stream: Can't allocate memory ERROR", "stream: OK and more", "PONG", "\u{1b}[2J"]
    {
        let record = scripted().await.scan_with(Reply::text(answer), AMPLE).await;
        assert_eq!(
            (&record["error"], &record["retry"]),
            (&json!("clamd-reply"), &json!(true)),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn a_clamd_that_never_answers_is_ended_with_the_invocations_time() {
    for reply in [Reply::Stall, Reply::StallAfter(100_000)] {
        let record = scripted().await.scan_with(reply, SHORT).await;
        assert_eq!((&record["error"], &record["retry"]), (&json!("deadline"), &json!(true)));
    }
}

#[tokio::test]
async fn a_scan_whose_time_ended_does_not_go_on_inside_clamd() {
    let scripted = scripted().await;
    scripted.scan_with(Reply::Stall, SHORT).await;
    assert_eq!(scripted.world.clamd_pids(), [] as [u32; 0]);
}

#[tokio::test]
async fn the_second_try_waits_until_no_other_scan_runs() {
    let scripted = scripted().await;
    // Both objects are sent: one loses its clamd, the other keeps it busy until the time ends.
    for reply in [Reply::Honest, Reply::HangUpAfter(20), Reply::Stall] {
        scripted.clamd.next_stream(reply);
    }
    let s3 = &scripted.world.s3;
    let objects =
        [("a", s3.put(BUCKET, "a", samples::text())), ("b", s3.put(BUCKET, "b", samples::text()))];
    let bodies = objects.map(|(key, stored)| s3_event(&[s3_record(BUCKET, key, &stored)]));
    let answer = scripted.world.invoke_for(SHORT, queue(&bodies)).await.unwrap();
    assert_eq!(failed(&answer).len(), 2);
    for record in scripted.world.records() {
        assert_eq!((&record["error"], &record["scans"]), (&json!("deadline"), &json!(1)));
    }
}

#[tokio::test]
async fn no_time_left_is_given_back_at_once() {
    let scripted = scripted().await;
    let stored = scripted.world.s3.put(BUCKET, "k", samples::text());
    let event = queue(&[s3_event(&[s3_record(BUCKET, "k", &stored)])]);
    let answer = scripted.world.invoke_for(Duration::ZERO, event).await.unwrap();
    assert_eq!(failed(&answer), ["m0"]);
    assert_eq!(scripted.world.record()["error"], "deadline");
}

#[tokio::test]
async fn a_clamd_that_does_not_find_eicar_scans_nothing() {
    let scripted = scripted().await;
    scripted.clamd.next_stream(Reply::text("stream: OK"));
    let stored = scripted.world.s3.put(BUCKET, "k", samples::text());
    let event = queue(&[s3_event(&[s3_record(BUCKET, "k", &stored)])]);
    assert_eq!(failed(&scripted.world.invoke(event).await.unwrap()), ["m0"]);
    let record = scripted.world.record();
    assert_eq!(record["error"], "clamd-canary");
    assert_eq!(scripted.clamd.streams().len(), 1, "only the canary was sent");
}

#[tokio::test]
async fn a_hang_up_is_no_verdict_and_the_object_is_scanned_once_more_from_its_start() {
    let scripted = scripted().await;
    for reply in [Reply::Honest, Reply::HangUpAfter(20), Reply::Honest] {
        scripted.clamd.next_stream(reply);
    }
    scripted.world.upload(BUCKET, "k", samples::eicar()).await.unwrap();
    assert_eq!(scripted.world.finding().attributes["status"], "infected");
    assert_eq!(scripted.clamd.streams().last().unwrap().bytes, 68);
}

#[tokio::test]
async fn an_empty_answer_twice_is_given_back() {
    let scripted = scripted().await;
    scripted.clamd.next_stream(Reply::Honest);
    scripted.clamd.next_stream(Reply::Bytes(Vec::new()));
    scripted.clamd.next_stream(Reply::Bytes(Vec::new()));
    assert!(scripted.world.upload(BUCKET, "k", samples::text()).await.is_err());
    let record = scripted.world.record();
    assert_eq!((&record["error"], &record["scans"]), (&json!("clamd-reply"), &json!(2)));
}

#[tokio::test]
async fn a_clamd_that_cannot_start_says_why() {
    let dir = program("echo 'ERROR: Malformed database'; exit 1");
    let world = world_on(dir.path(), generation(), |_| {}).await;
    assert!(world.upload(BUCKET, "k", samples::text()).await.is_err());
    let record = world.record();
    assert_eq!(record["error"], "clamd-died-starting");
    let message = record["error_message"].as_str().unwrap();
    assert!(message.contains("ERROR: Malformed database"), "{message}");
}
