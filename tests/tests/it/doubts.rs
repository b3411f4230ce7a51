//! What clamd says in its log only: whose it is when scans run side by side.

use std::sync::{Mutex, mpsc};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use scanner_tests::fake_s3::Operation;
use scanner_tests::samples;
use serde_json::json;
use tokio::sync::oneshot;

use crate::support::{BUCKET, world};

fn damaged() -> Vec<u8> {
    let mut zip = samples::zip_of(&[("a.txt", &samples::text().repeat(100))]).unwrap();
    zip[45..50].fill(0xff);
    zip
}

#[tokio::test]
async fn a_doubt_of_one_scan_is_no_other_ones() {
    let world = world().await;
    for (key, body, tag) in
        [("a", damaged(), "no"), ("b", samples::text().to_vec(), "clean"), ("c", damaged(), "no")]
    {
        world.upload(BUCKET, key, body).await.unwrap();
        assert_eq!(world.tag(BUCKET, key, None).as_deref(), Some(tag), "{key}");
        assert_eq!(world.records().last().unwrap()["scans"], json!(1), "{key}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_doubt_beside_another_scan_is_settled_by_a_scan_alone() {
    let world = world().await;
    let generation = world.engine.current().await.unwrap();
    generation.base.clamd().await.unwrap().ready().await.unwrap();

    // A scan whose stream does not end until it is told to.
    let (begun, has_begun) = oneshot::channel();
    let (end, may_end) = oneshot::channel::<()>();
    let (ended, has_ended) = mpsc::channel();
    let first = stream::once(async move {
        begun.send(()).unwrap();
        Ok(Bytes::from_static(b"nothing in it"))
    });
    let last = stream::once(async move {
        may_end.await.unwrap();
        Ok(Bytes::from_static(b"nor here"))
    });
    tokio::spawn(async move {
        let clamd = generation.base.clamd().await.unwrap();
        ended.send(clamd.scan(first.chain(last)).await).unwrap();
    });
    has_begun.await.unwrap();

    let (answer, answered) = mpsc::channel();
    let parts = Mutex::new(Some((end, has_ended)));
    world.s3.on(Operation::GetObject, "k").nth(2).before(move |_| {
        let (end, has_ended) = parts.lock().unwrap().take().unwrap();
        end.send(()).unwrap();
        // What waits on this thread has to run meanwhile.
        let other = tokio::task::block_in_place(|| has_ended.recv().unwrap());
        answer.send(other).unwrap();
    });
    world.upload(BUCKET, "k", damaged()).await.unwrap();
    assert_eq!(world.tag(BUCKET, "k", None).as_deref(), Some("no"));
    assert_eq!(world.record()["scans"], json!(2));
    let other = answered.recv().unwrap().unwrap_err();
    assert!(other.is_doubt(), "the other one could not be told from it either: {other}");
    world.upload(BUCKET, "next", samples::text()).await.unwrap();
    assert_eq!(world.tag(BUCKET, "next", None).as_deref(), Some("clean"));
}
