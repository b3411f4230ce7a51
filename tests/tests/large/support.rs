//! The packaged function and its `/tmp`.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::fs::statvfs;
use scanner_tests::fake_s3::Body;
use scanner_tests::findings::Finding;
use scanner_tests::function::Function;
use scanner_tests::processes;
use scanner_tests::sandbox::SandboxOptions;
use serde_json::Value;
use tokio::sync::Mutex;

pub(crate) const MIB: u64 = 1 << 20;
pub(crate) const GIB: u64 = 1 << 30;

/// What the function may take of memory, whatever the size of the object.
pub(crate) const MEMORY: u64 = 64 * MIB;

/// No finding takes that long; it only keeps a broken test from hanging.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// The longest that Lambda knows, however busy this machine is.
const LONGEST: Duration = Duration::from_mins(15);

/// Gigabytes in `/tmp` are memory: one test at a time.
pub(crate) static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

pub(crate) async fn function(tmp_bytes: u64) -> Function {
    let deployed = SandboxOptions::deployed().expect("the template is built");
    let function = Function::start(SandboxOptions { tmp_bytes, timeout: LONGEST, ..deployed });
    function.await.expect("the function's world starts")
}

/// An object of `size` bytes that ends with `tail`.
pub(crate) fn ending_with(tail: &'static [u8], size: u64) -> Body {
    Body::Repeat { byte: 0, len: size - tail.len() as u64, tail: tail.into() }
}

/// The record and the finding of one object, after a check that they and the tag agree.
pub(crate) async fn verdict(function: &Function, key: &str) -> (Value, Finding) {
    let record = function.scan(&[key]).await.expect("it is handled").remove(0);
    let finding = function.world().finding_for(key, DEADLINE).await.expect("a finding");
    assert_eq!(function.tag(key).as_deref(), record["outcome"].as_str(), "{record}");
    assert_eq!(finding.attribute("status"), record["outcome"].as_str(), "{record}");
    (record, finding)
}

pub(crate) fn peak_memory(function: &Function) -> u64 {
    let pid = function.sandbox().bootstrap_pid().expect("the function runs");
    processes::peak_memory(pid).expect("the function runs")
}

/// The function's `/tmp`, as this host reaches it.
pub(crate) fn tmp(function: &Function) -> PathBuf {
    let pid = function.sandbox().bootstrap_pid().expect("the function runs");
    format!("/proc/{pid}/root/tmp").into()
}

pub(crate) fn used(function: &Function) -> u64 {
    let tmp = statvfs(tmp(function)).expect("it can be asked");
    (tmp.f_blocks - tmp.f_bfree) * tmp.f_frsize
}

/// Runs `scan` and gives the fewest free bytes of `/tmp` that were seen meanwhile.
pub(crate) async fn fewest_free<T>(function: &Function, scan: impl Future<Output = T>) -> (T, u64) {
    let fewest = AtomicU64::new(u64::MAX);
    let tmp = tmp(function);
    let mut poll = tokio::time::interval(Duration::from_millis(2));
    let watch = async {
        loop {
            let now = statvfs(&tmp).expect("it can be asked");
            fewest.fetch_min(now.f_bavail * now.f_frsize, Ordering::Relaxed);
            poll.tick().await;
        }
    };
    let done = tokio::select! {
        done = scan => done,
        () = watch => unreachable!("it watches for ever"),
    };
    (done, fewest.into_inner())
}
