//! The layer's clamd with nothing set but where things are: what we compare ourselves with.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clamav_client::tokio::{Socket, ping};
use function_common::clamd::LOADER;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::artefacts::{self, Arch};

const POLL: Duration = Duration::from_millis(10);
/// Many times what a slow machine takes for the largest database.
const DEADLINE: Duration = Duration::from_secs(300);

/// A clamd that answers. It ends with this value.
#[derive(Debug)]
pub struct StockClamd {
    clamd: Child,
    socket: PathBuf,
    _dir: TempDir,
}

impl StockClamd {
    /// Starts one on a folder of definitions and waits for its first PONG.
    ///
    /// # Errors
    ///
    /// The layer is not built, or clamd refuses the definitions.
    pub async fn start(definitions: &Path) -> anyhow::Result<Self> {
        Self::start_with(definitions, "").await
    }

    /// The same with more lines of `clamd.conf`.
    ///
    /// # Errors
    ///
    /// As [`StockClamd::start`].
    pub async fn start_with(definitions: &Path, more: &str) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir().context("making a work folder for clamd")?;
        let (conf, socket) = (dir.path().join("clamd.conf"), dir.path().join("clamd.sock"));
        let settings = format!(
            "Foreground yes\nLocalSocket {}\nTemporaryDirectory {}\nDatabaseDirectory {}\n{more}",
            socket.display(),
            dir.path().display(),
            definitions.display(),
        );
        std::fs::write(&conf, settings).context("writing clamd.conf")?;
        let clamav = artefacts::layer(Arch::X86_64)?.join("clamav");
        let lib = clamav.join("lib");
        let clamd = Command::new(lib.join(LOADER))
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
        let mut stock = Self { clamd, socket, _dir: dir };
        let ponged = tokio::time::timeout(DEADLINE, stock.ponged()).await;
        ponged.context("waiting for clamd")??;
        Ok(stock)
    }

    /// Where it listens.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Its process id, while it runs.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.clamd.id()
    }

    /// Ends it and waits until it is gone.
    ///
    /// # Errors
    ///
    /// It cannot be ended.
    pub async fn end(mut self) -> anyhow::Result<()> {
        self.clamd.kill().await.context("ending clamd")
    }

    async fn ponged(&mut self) -> anyhow::Result<()> {
        let mut poll = tokio::time::interval(POLL);
        loop {
            poll.tick().await;
            if let Ok(answer) = ping(Socket { socket_path: &self.socket }).await
                && answer.starts_with(b"PONG")
            {
                return Ok(());
            }
            if let Some(status) = self.clamd.try_wait().context("asking whether clamd runs")? {
                bail!("clamd refuses the database: {status}");
            }
        }
    }
}
