//! The scanner's cold start on a published generation, and the change to another one.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use definitions::bucket::{Bucket, Current, Published};
use definitions::publish;
use function_common::manifest::{self, FORMAT, MANIFEST_KEY, Manifest};
use jiff::Timestamp;
use serde_json::Value;
use tokio::process::Command;

use super::stage::Stage;
use super::{MEMORY_MB, SMALL_MEMORY_MB, Table, bytes, median, megabytes, seconds};
use crate::fake_s3::{FakeS3, Served, Versioning};
use crate::generations::BUCKET;
use crate::public_shape;

const RUNS: usize = 3;

pub(super) async fn measure(
    table: &mut Table<'_, impl Write>,
    stage: &Stage,
) -> anyhow::Result<()> {
    let s3 = FakeS3::new().bucket(&BUCKET, Versioning::Off);
    let served = s3.serve()?;
    let first = published(stage, &served).await?;
    table.section("the generation that is served")?;
    for shard in &first.shards {
        let size = shard.files.iter().map(|file| file.size).sum();
        table.row(&bytes(size), &format!("shard {}, as the updater stores it", shard.name))?;
    }
    for (memory_mb, cores) in [(MEMORY_MB, 2), (SMALL_MEMORY_MB, 1)] {
        let mut runs = Vec::new();
        for _ in 0..RUNS {
            let arguments = ["cold".to_owned(), memory_mb.to_string(), cores.to_string()];
            runs.push(run(&served, &arguments).await?);
        }
        cold(table, memory_mb, cores, &runs)?;
    }
    let second = again(&served, &first).await?;
    let file = tempfile::NamedTempFile::new().context("making a file for a manifest")?;
    std::fs::write(file.path(), second.to_json()).context("writing a manifest")?;
    table.section("change to another generation, nothing else going on")?;
    for memory_mb in [MEMORY_MB, SMALL_MEMORY_MB] {
        put(&served, MANIFEST_KEY, first.to_json().into_bytes()).await?;
        change(table, &served, memory_mb, file.path()).await?;
    }
    Ok(())
}

fn cold(
    table: &mut Table<'_, impl Write>,
    memory_mb: u32,
    cores: usize,
    runs: &[Log],
) -> anyhow::Result<()> {
    table.section(&format!(
        "cold start of the scanner's engine, {memory_mb} MB, cores: {cores} (medians of {RUNS})"
    ))?;
    let milliseconds = |line, field| middle(runs, line, field, Duration::from_millis);
    let micros = |line, field| middle(runs, line, field, Duration::from_micros);
    let phases = [
        (milliseconds("ready", "manifest_ms")?, "manifest: fetched and read"),
        (milliseconds("ready", "fetch_ms")?, "base: fetched, verified, unpacked, side by side"),
        (milliseconds("ready", "load_ms")?, "base: loaded by clamd, EICAR found"),
        (micros("measured", "ready")?, "from the start of the process to here"),
        (micros("measured", "verdict")?, "to the first verdict: on a text"),
        (micros("measured", "pe_ready")?, "to the pe shard, loaded meanwhile"),
        (micros("measured", "program")?, "to the verdict on a Windows program"),
    ];
    for (time, what) in phases {
        table.row(&seconds(time), what)?;
    }
    let log = runs.last().context("at least one run")?;
    table.row(
        &format!("{}, {}", log.memory("measured", "base")?, log.memory("measured", "pe")?),
        "memory of clamd with base and with pe",
    )?;
    table.row(
        &format!("{}, {}", log.memory("peak", "function")?, log.memory("peak", "all")?),
        "memory at the peak: the function's own process, all together",
    )
}

async fn change(
    table: &mut Table<'_, impl Write>,
    served: &Served,
    memory_mb: u32,
    manifest: &Path,
) -> anyhow::Result<()> {
    let (memory, manifest) = (memory_mb.to_string(), manifest.display().to_string());
    let log = run(served, &["change".to_owned(), memory, "2".to_owned(), manifest]).await?;
    let changed = log.line("changed to newer definitions")?;
    let took = changed["change_ms"].as_u64().map(Duration::from_millis);
    let how = match changed["side_by_side"].as_bool() {
        Some(true) => "side by side: scans go on",
        Some(false) => "one after the other: scans wait while it loads",
        None => bail!("the log does not say how it changed"),
    };
    table.row(
        &format!("{}, {}", seconds(took.context("a time")?), log.memory("peak", "all")?),
        &format!("with {memory_mb} MB: {how}; peak of all processes"),
    )
}

/// As the updater publishes it.
async fn published(stage: &Stage, served: &Served) -> anyhow::Result<Manifest> {
    let bucket = Bucket::new(served.client(), &BUCKET);
    // What is uploaded is removed.
    let shards = stage.copy_of_shards()?;
    let generation = publish::name(Timestamp::now(), public_shape::VERSION, "first");
    let shards = publish::upload(&bucket, shards.path(), &generation).await;
    let now = Timestamp::now().to_string();
    let manifest = Manifest {
        format: FORMAT,
        generation,
        version: public_shape::VERSION,
        built: now.clone(),
        published: now,
        engine: String::new(),
        previous: None,
        shards: shards.context("publishing a generation")?,
        left_out: Vec::new(),
    };
    let published = bucket.publish(&manifest, &Current::default()).await;
    ensure!(published.context("publishing a manifest")? == Published::Yes, "overtaken");
    Ok(manifest)
}

/// The same files as another generation, not published yet.
async fn again(served: &Served, first: &Manifest) -> anyhow::Result<Manifest> {
    let mut second = first.clone();
    second.generation = publish::name(Timestamp::now(), public_shape::VERSION, "second");
    second.version += 1;
    let prefix = manifest::prefix(&second.generation);
    let client = served.client();
    for file in second.shards.iter_mut().flat_map(|shard| &mut shard.files) {
        let key = file.key.replace(&first.prefix(), &prefix);
        let got = client.get_object().bucket(&*BUCKET).key(&file.key).send().await;
        let body = got.with_context(|| format!("getting {}", file.key))?.body.collect().await;
        put(served, &key, body.context("reading a file")?.to_vec()).await?;
        file.key = key;
    }
    Ok(second)
}

async fn put(served: &Served, key: &str, bytes: Vec<u8>) -> anyhow::Result<()> {
    let request = served.client().put_object().bucket(&*BUCKET).key(key).body(bytes.into());
    request.send().await.map(drop).with_context(|| format!("putting {key}"))
}

/// What a child has said.
struct Log(Vec<Value>);

impl Log {
    fn line(&self, message: &str) -> anyhow::Result<&Value> {
        let found = self.0.iter().find(|line| line["message"] == message);
        found.with_context(|| format!("the scanner has not said {message:?}: {:?}", self.0))
    }

    fn number(&self, message: &str, field: &str) -> anyhow::Result<u64> {
        let number = self.line(message)?[field].as_u64();
        number.with_context(|| format!("the scanner's {message:?} has no {field}"))
    }

    fn memory(&self, message: &str, field: &str) -> anyhow::Result<String> {
        Ok(megabytes(self.number(message, field)?))
    }
}

fn middle(
    runs: &[Log],
    message: &str,
    field: &str,
    unit: impl Fn(u64) -> Duration,
) -> anyhow::Result<Duration> {
    let times: anyhow::Result<Vec<_>> =
        runs.iter().map(|log| log.number(message, field).map(&unit)).collect();
    Ok(median(&times?))
}

/// This program in its other role.
async fn run(served: &Served, arguments: &[String]) -> anyhow::Result<Log> {
    let mut env: BTreeMap<_, _> = served.env();
    env.insert("AWS_REGION".to_owned(), "us-east-1".to_owned());
    let program = std::env::current_exe().context("asking for this program")?;
    let output = Command::new(program).args(arguments).envs(env).kill_on_drop(true).output().await;
    let output = output.context("starting a scanner")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "the scanner failed: {text}{errors}");
    Ok(Log(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()))
}
