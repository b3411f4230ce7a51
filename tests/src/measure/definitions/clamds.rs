//! clamd on a folder: with its own settings, or as the scanner starts it.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use function_common::clamd::conf::Limits;
use function_common::clamd::{Clamd, Paths, free_bytes, resident};
use tempfile::TempDir;

use super::MEMORY_MB;
use crate::artefacts::{self, Arch};
use crate::stock_clamd::StockClamd;

/// Many times what a slow machine takes.
const DEADLINE: Duration = Duration::from_secs(300);

/// What a start cost.
#[derive(Clone, Copy)]
pub(super) struct Cost {
    pub(super) took: Duration,
    /// Bytes in memory when it was ready.
    pub(super) memory: u64,
}

/// Starts clamd with nothing set but where things are, waits for its first PONG and ends it.
pub(super) async fn stock(definitions: &Path) -> anyhow::Result<Cost> {
    let begin = Instant::now();
    let clamd = StockClamd::start(definitions).await?;
    let took = begin.elapsed();
    let memory = clamd.id().and_then(resident).context("clamd has ended")?;
    clamd.end().await?;
    Ok(Cost { took, memory })
}

/// A clamd as the scanner starts it.
pub(super) struct Ours {
    pub(super) clamd: Clamd,
    _dir: TempDir,
}

impl Ours {
    /// It goes on loading.
    pub(super) fn start(definitions: &Path) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir().context("making a work folder for clamd")?;
        let paths = Paths {
            clamav_dir: artefacts::layer(Arch::X86_64)?.join("clamav"),
            definitions_dir: definitions.to_owned(),
            work_dir: dir.path().join("clamd"),
        };
        let limits = Limits::for_function(MEMORY_MB, free_bytes(dir.path())?);
        Ok(Self { clamd: Clamd::start(paths, limits, false)?, _dir: dir })
    }

    /// Waits until it has found EICAR. `begin` is when what is measured began.
    pub(super) async fn ready(&self, begin: Instant) -> anyhow::Result<Cost> {
        let ready = tokio::time::timeout(DEADLINE, self.clamd.ready()).await;
        ready.context("waiting for clamd")?.context("waiting for clamd")?;
        let took = begin.elapsed();
        let memory = self.clamd.memory().await.context("clamd has ended")?;
        Ok(Cost { took, memory })
    }
}
