//! The packaged function in its sandbox: from the invocation to the verdict and the finding.

use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::Value;

use super::engine::Engine;
use super::{Table, bytes, mean, median, milliseconds, percentile, ratio};
use crate::fake_s3::Body;
use crate::function::{BUCKET, Function};
use crate::sandbox::SandboxOptions;
use crate::{processes, samples};
use ::bytes::Bytes;

const COLD_RUNS: usize = 5;
const WARM_RUNS: usize = 50;
const ALTERNATIVE_RUNS: usize = 20;
/// What is switched off for a verdict and nothing else.
const SILENCED: [&str; 2] = ["TAG_FILES", "REPORT_CLEAN_FILES"];
const GIB: u64 = 1 << 30;
/// Each time is measured twice, in turn with what it is compared with.
const LARGE_RUNS: usize = 2;
/// 1.9 GiB: near the largest object that the engine reads.
const LARGEST: u64 = 2_040_109_466;

pub(super) async fn measure(table: &mut Table<'_, impl Write>) -> anyhow::Result<()> {
    let options = SandboxOptions { tmp_bytes: 9 * GIB, ..SandboxOptions::deployed()? };
    let mut function = Function::start(options).await?;
    cold(table, &mut function).await?;
    warm(table, &function).await?;
    alternative(table, &mut function).await?;
    throughput_and_memory(table, &mut function).await
}

/// The first invocation of fresh sandboxes.
async fn cold(table: &mut Table<'_, impl Write>, function: &mut Function) -> anyhow::Result<()> {
    let mut times = Vec::new();
    for run in 0..COLD_RUNS {
        function.restart(|_| {}).await?;
        let key = format!("cold-{run}.txt");
        function.put(&key, samples::text());
        times.push(function.invoke(&[&key]).await?);
        ensure!(function.sandbox().cold_starts() == 1, "something else started the function");
    }
    table.section("latency: from the request for an invocation to its response")?;
    table.row(
        &milliseconds(median(&times)),
        &format!("cold: start, clamd, a text's verdict, tag, finding (median of {COLD_RUNS})"),
    )
}

/// Every kind in turn, in one sandbox.
async fn warm(table: &mut Table<'_, impl Write>, function: &Function) -> anyhow::Result<()> {
    let kinds = [
        ("text", samples::text()),
        ("PDF", samples::pdf("Invoice 4711")),
        ("EICAR", samples::eicar()),
    ];
    let mut times = vec![Vec::new(); kinds.len()];
    let mut steps = Vec::new();
    for run in 0..WARM_RUNS {
        for (times, (kind, content)) in times.iter_mut().zip(&kinds) {
            let key = format!("warm-{kind}-{run}");
            function.put(&key, content.clone());
            times.push(function.invoke(&[&key]).await?);
            steps.push(function.record(&key).await?);
        }
    }
    for (times, (kind, content)) in times.iter().zip(&kinds) {
        let p95 = milliseconds(percentile(times, 95));
        let size = bytes(content.len() as u64);
        let what = format!("warm: {kind}, {size} (median of {WARM_RUNS}; p95 {p95})");
        table.row(&milliseconds(median(times)), &what)?;
    }
    let step = |name: &str| {
        let times: Vec<_> = steps
            .iter()
            .filter_map(|record| record[name].as_u64())
            .map(Duration::from_millis)
            .collect();
        milliseconds(mean(&times))
    };
    table.row(
        &step("total_ms"),
        &format!(
            "of which inside the function (mean): S3 open {}, clamd {}, tag {}, SNS {}",
            step("open_ms"),
            step("engine_ms"),
            step("act_ms"),
            step("publish_ms")
        ),
    )
}

/// What the usual scanner does: download to disk, start an engine for this file, look. Next to it
/// our warm function on the same object; both give a verdict and do nothing else.
async fn alternative(
    table: &mut Table<'_, impl Write>,
    function: &mut Function,
) -> anyhow::Result<()> {
    const SIZE: usize = 68;
    let silent = SILENCED.map(|name| (name.to_owned(), "false".to_owned()));
    function.restart(|options| options.env.extend(silent)).await?;
    function.put("start", vec![b'x'; SIZE]);
    function.invoke(&["start"]).await?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for run in 0..ALTERNATIVE_RUNS {
        let key = format!("small-{run}");
        function.put(&key, vec![b'x'; SIZE]);
        ours.push(function.invoke(&[&key]).await?);
        theirs.push(an_engine_for(function, &key).await?);
    }
    function
        .restart(|options| options.env.retain(|name, _| !SILENCED.contains(&name.as_str())))
        .await?;
    let (ours, theirs) = (median(&ours), median(&theirs));
    table.section("the alternative: download to disk, an engine started for each file")?;
    let what = format!("{SIZE} clean bytes, verdict only (medians of {ALTERNATIVE_RUNS})");
    table
        .row(&milliseconds(theirs), &format!("{what}; test definitions, so it loads in no time"))?;
    table.row(&milliseconds(ours), "the same in our warm function, by invocation")?;
    table.row(
        &ratio(theirs, ours),
        "times ours; real definitions add seconds to theirs, none to ours",
    )
}

async fn an_engine_for(function: &Function, key: &str) -> anyhow::Result<Duration> {
    let client = function.served().client();
    let folder = tempfile::tempdir().context("making a folder for a download")?;
    let file = folder.path().join("download");
    let begin = Instant::now();
    let answer = client.get_object().bucket(BUCKET).key(key).send().await;
    let body = answer.context("getting an object")?.body.collect().await;
    std::fs::write(&file, body.context("reading an object")?.into_bytes())
        .context("writing a download")?;
    let engine = Engine::start().await?;
    let answer = engine.scan(file).await?;
    let took = begin.elapsed();
    ensure!(answer.ends_with(": OK"), "clamd answered {answer:?}");
    Ok(took)
}

/// Large objects, and the memory that the function has needed after each.
async fn throughput_and_memory(
    table: &mut Table<'_, impl Write>,
    function: &mut Function,
) -> anyhow::Result<()> {
    function.restart(|_| {}).await?;
    function.put("small", samples::eicar());
    function.invoke(&["small"]).await?;
    let small = peak_memory(function)?;

    let engine = Engine::start().await?;
    let (mut ours, mut direct) = (Vec::new(), Vec::new());
    let mut record = Value::Null;
    for run in 0..LARGE_RUNS {
        let key = format!("gib-{run}");
        function.put(&key, zeros(GIB));
        ours.push(function.invoke(&[&key]).await?);
        record = function.record(&key).await?;
        ensure!(record["bytes_scanned"] == GIB, "not all was scanned: {record}");
        direct.push(engine.stream_zeros(GIB).await?);
    }
    drop(engine);
    let (ours, direct) = (mean(&ours), mean(&direct));

    table.section(&format!("throughput: 1 GiB of zeros (means of {LARGE_RUNS})"))?;
    table.row(&rate(GIB, ours), "through the whole function: S3 to finding")?;
    table.row(&rate(GIB, direct), "the same bytes straight into clamd, no S3")?;
    table.row(&ratio(ours, direct), "ratio of the times: what the function adds")?;
    table.row(
        &format!("{} ms", record["stream_ms"]),
        &format!("of the last one while bytes came from S3; then clamd {} ms", record["engine_ms"]),
    )?;

    function.put("largest", zeros(LARGEST));
    function.invoke(&["largest"]).await?;
    let record = function.record("largest").await?;
    ensure!(record["bytes_scanned"] == LARGEST, "not all was scanned: {record}");
    table.section("memory of the function's process, at its peak")?;
    table.row(&bytes(small), "after 68 bytes")?;
    table.row(&bytes(peak_memory(function)?), &format!("after {}", bytes(LARGEST)))
}

fn zeros(len: u64) -> Body {
    Body::Repeat { byte: 0, len, tail: Bytes::new() }
}

fn peak_memory(function: &Function) -> anyhow::Result<u64> {
    let pid = function.sandbox().bootstrap_pid().context("the function does not run")?;
    processes::peak_memory(pid)
}

fn rate(count: u64, time: Duration) -> String {
    let megabytes = Duration::from_micros(count).as_secs_f64() / time.as_secs_f64();
    format!("{megabytes:.1} MB/s")
}
