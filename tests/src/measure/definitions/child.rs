//! A scanner's engine in a process of its own, so that its memory is nobody else's. It says what it
//! measures in its log, as the real one says when it is ready.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ::bytes::Bytes;
use anyhow::{Context as _, bail, ensure};
use aws_config::BehaviorVersion;
use function_common::clamd::{Clamd, resident};
use function_common::logging;
use function_common::manifest::MANIFEST_KEY;
use function_common::reply::Answer;
use rustix::thread::{CpuSet, sched_setaffinity};
use scanner::definitions::Store;
use scanner::engine::{Engine, Generation, Options};

use crate::artefacts::{self, Arch};
use crate::{generations, processes, samples};

/// How often memory is looked at.
const SAMPLING: Duration = Duration::from_millis(10);

/// The child's side of `make bench-definitions`: `role` is `cold` or `change`, then come the
/// function's memory in MB, its cores, and for a change the file of the manifest to change to.
///
/// # Errors
///
/// Something does not work as it must.
pub async fn scanner(
    role: &str,
    mut arguments: impl Iterator<Item = String>,
) -> anyhow::Result<()> {
    let begin = Instant::now();
    logging::init(tracing::Level::INFO);
    let memory_mb = arguments.next().context("memory")?.parse().context("memory")?;
    let cores: usize = arguments.next().context("cores")?.parse().context("cores")?;
    confine_to(cores)?;
    let aws = aws_config::load_defaults(BehaviorVersion::v2026_01_12()).await;
    let s3 = aws_sdk_s3::Client::new(&aws);
    let dir = tempfile::tempdir().context("making a work folder")?;
    let options = Options {
        clamav_dir: artefacts::layer(Arch::X86_64)?.join("clamav"),
        work_dir: dir.path().join("engine"),
        memory_mb,
        max_check: Duration::ZERO,
        alert_macros: false,
    };
    let store = Store::new(s3.clone(), generations::BUCKET.to_owned());
    let engine = Arc::new(Engine::new(store, options));
    let peak = Peak::watch();
    match role {
        "cold" => cold(&engine, begin).await?,
        "change" => {
            let manifest = PathBuf::from(arguments.next().context("a manifest")?);
            let manifest = std::fs::read(manifest).context("reading a manifest")?;
            change(&engine, &s3, manifest).await?;
        }
        other => bail!("{other:?} is no role"),
    }
    let function = processes::peak_memory(std::process::id())?;
    tracing::info!(function, all = peak.bytes(), "peak");
    Ok(())
}

/// This process and those that it starts.
fn confine_to(cores: usize) -> anyhow::Result<()> {
    let mut set = CpuSet::new();
    (0..cores).for_each(|core| set.set(core));
    sched_setaffinity(None, &set).context("choosing cores")
}

/// Start to first verdict, then to the verdict on a Windows program.
async fn cold(engine: &Engine, begin: Instant) -> anyhow::Result<()> {
    let generation = engine.current().await?;
    let base = generation.base.clamd().await?;
    let ready = begin.elapsed();
    expect(base, samples::text(), &Answer::Clean).await?;
    let verdict = begin.elapsed();
    let program = samples::program(b"harmless");
    expect(base, program.clone(), &Answer::PortableExecutable).await?;
    let pe = generation.pe.as_ref().context("two shards")?.clamd().await?;
    pe.ready().await?;
    let pe_ready = begin.elapsed();
    expect(pe, program, &Answer::Clean).await?;
    let (ready, verdict, pe_ready, program) =
        (micros(ready), micros(verdict), micros(pe_ready), micros(begin.elapsed()));
    let base = base.memory().await;
    let pe = pe.memory().await;
    tracing::info!(ready, verdict, pe_ready, program, base, pe, "measured");
    Ok(())
}

/// A new manifest, and the change to what it names.
async fn change(engine: &Engine, s3: &aws_sdk_s3::Client, manifest: Vec<u8>) -> anyhow::Result<()> {
    let old = loaded(engine).await?;
    let put = s3.put_object().bucket(&*generations::BUCKET).key(MANIFEST_KEY);
    put.body(manifest.into()).send().await.context("publishing")?;
    let before = old.manifest.generation.clone();
    drop(old);
    engine.refresh().await;
    let new = loaded(engine).await?;
    ensure!(new.manifest.generation != before, "it did not change");
    Ok(())
}

/// All of its shards.
async fn loaded(engine: &Engine) -> anyhow::Result<Arc<Generation>> {
    let generation = engine.current().await?;
    for shard in [Some(&generation.base), generation.pe.as_ref()].into_iter().flatten() {
        shard.clamd().await?.ready().await?;
    }
    Ok(generation)
}

async fn expect(clamd: &Clamd, content: Vec<u8>, expected: &Answer) -> anyhow::Result<()> {
    let stream = futures_util::stream::iter([Ok(Bytes::from(content))]);
    let answer = clamd.scan(stream).await?;
    ensure!(answer == *expected, "clamd answers {answer:?}, not {expected:?}");
    Ok(())
}

/// The most memory that this process and its clamds held at once.
struct Peak(Arc<AtomicU64>);

impl Peak {
    fn watch() -> Self {
        let peak = Arc::new(AtomicU64::new(0));
        let seen = Arc::clone(&peak);
        tokio::spawn(async move {
            let mut interval = tokio::time::interval(SAMPLING);
            loop {
                interval.tick().await;
                let me = std::process::id();
                let all = processes::children(me).into_iter().chain([me]);
                seen.fetch_max(all.filter_map(resident).sum(), Ordering::Relaxed);
            }
        });
        Self(peak)
    }

    fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

fn micros(time: Duration) -> u64 {
    time.as_micros().try_into().unwrap_or(u64::MAX)
}
