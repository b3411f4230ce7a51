//! clamd on a folder: with its own settings, or as the scanner starts it.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clamav_client::tokio::{Socket, ping};
use function_common::clamd::conf::Limits;
use function_common::clamd::{Clamd, LOADER, Paths, free_bytes, resident};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::MEMORY_MB;
use crate::artefacts::{self, Arch};

const POLL: Duration = Duration::from_millis(10);
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
    let dir = tempfile::tempdir().context("making a work folder for clamd")?;
    let (conf, socket) = (dir.path().join("clamd.conf"), dir.path().join("clamd.sock"));
    let settings = format!(
        "Foreground yes\nLocalSocket {}\nTemporaryDirectory {}\nDatabaseDirectory {}\n",
        socket.display(),
        dir.path().display(),
        definitions.display(),
    );
    std::fs::write(&conf, settings).context("writing clamd.conf")?;
    let clamav = artefacts::layer(Arch::X86_64)?.join("clamav");
    let lib = clamav.join("lib");
    let begin = Instant::now();
    let mut clamd = Command::new(lib.join(LOADER))
        .arg("--library-path")
        .arg(&lib)
        .arg(clamav.join("bin/clamd"))
        .arg("--config-file")
        .arg(&conf)
        .env_clear()
        .env("LD_LIBRARY_PATH", &lib)
        .env("GCONV_PATH", lib.join("gconv"))
        .env("OPENSSL_CONF", "/dev/null")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .context("starting clamd")?;
    let ponged = tokio::time::timeout(DEADLINE, ponged(&mut clamd, &socket)).await;
    ponged.context("waiting for clamd")??;
    let took = begin.elapsed();
    let memory = clamd.id().and_then(resident).context("clamd has ended")?;
    clamd.kill().await.context("ending clamd")?;
    Ok(Cost { took, memory })
}

async fn ponged(clamd: &mut Child, socket: &Path) -> anyhow::Result<()> {
    let mut poll = tokio::time::interval(POLL);
    loop {
        poll.tick().await;
        if let Ok(answer) = ping(Socket { socket_path: socket }).await
            && answer.starts_with(b"PONG")
        {
            return Ok(());
        }
        if let Some(status) = clamd.try_wait().context("asking whether clamd runs")? {
            bail!("clamd refuses the database: {status}");
        }
    }
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
        Ok(Self { clamd: Clamd::start(paths, limits)?, _dir: dir })
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
