//! The real clamd of the layer in an [`EmptyRoot`], with test definitions, on a socket.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use anyhow::{Context as _, bail};
use function_common::clamd::conf::{self, Limits};
use tokio::net::UnixStream;

use crate::artefacts::Arch;
use crate::confinement;
use crate::definitions;
use crate::empty_root::EmptyRoot;
use crate::processes;

const LOADER: &str = "/opt/clamav/lib/ld-linux-x86-64.so.2";
const LIBRARIES: &str = "/opt/clamav/lib";
/// Test definitions load within milliseconds; more than this is a clamd that never will.
const START_DEADLINE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(10);

/// A running clamd. It ends with this value, and with the thread that made it.
#[derive(Debug)]
pub struct LayerClamd {
    bubblewrap: Child,
    socket: PathBuf,
    /// Outlives the processes that run from it: fields are dropped after `Drop::drop`.
    _root: EmptyRoot,
}

impl LayerClamd {
    /// Starts one with the settings that the function gives it, limited to objects of `object_max`
    /// bytes, and waits until it listens.
    ///
    /// # Errors
    ///
    /// The layer is not built, or clamd does not listen within 60 s.
    pub async fn start(object_max: u64) -> anyhow::Result<Self> {
        let root = EmptyRoot::new(Arch::X86_64)?;
        let database = root.scratch().join("definitions");
        std::fs::create_dir(&database).context("making a folder for definitions")?;
        definitions::write(&database, 27_000, jiff::Timestamp::now())?;
        let limits = Limits { scans: 2, object: object_max, scan: 1 << 29 };
        let text = conf::render(&limits, false, Path::new("/definitions"), Path::new("/tmp"));
        // There is nobody in the root to make a folder in /tmp.
        let text = text.replace("/tmp/tmp", "/tmp");
        let file = root.scratch().join("clamd.conf");
        std::fs::write(&file, text).context("writing clamd.conf")?;

        let files = [(&*database, "/definitions"), (&*file, "/clamd.conf")];
        let mut command = root.command(LOADER, &files)?;
        command.args(["--library-path", LIBRARIES, "/opt/clamav/bin/clamd"]);
        command.args(["--config-file", "/clamd.conf"]);
        command.envs(environment());
        let log = root.scratch().join("clamd.log");
        let output = File::create(&log).context("making a log file")?;
        let errors = output.try_clone().context("opening a log file twice")?;
        command.stdout(output).stderr(errors);
        let bubblewrap = command.spawn().context("starting bubblewrap")?;
        let mut clamd = Self { bubblewrap, socket: PathBuf::new(), _root: root };
        clamd.socket = tokio::time::timeout(START_DEADLINE, clamd.listening())
            .await
            .unwrap_or_else(|_| bail!("it did not listen within {START_DEADLINE:?}"))
            .with_context(|| {
                let wrote = std::fs::read_to_string(&log).unwrap_or_default();
                format!("starting the layer's clamd; it wrote:\n{wrote}")
            })?;
        Ok(clamd)
    }

    /// Where it listens.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    async fn listening(&mut self) -> anyhow::Result<PathBuf> {
        let mut poll = tokio::time::interval(POLL);
        loop {
            poll.tick().await;
            if let Some(status) = self.bubblewrap.try_wait().context("asking whether it runs")? {
                bail!("it ended at once: {status}");
            }
            // Its /tmp is to be seen from outside through the process that is root in there.
            for init in processes::children(self.bubblewrap.id()) {
                let socket = PathBuf::from(format!("/proc/{init}/root/tmp/clamd.sock"));
                if UnixStream::connect(&socket).await.is_ok() {
                    return Ok(socket);
                }
            }
        }
    }
}

impl Drop for LayerClamd {
    fn drop(&mut self) {
        confinement::end(&mut self.bubblewrap);
    }
}

/// What the layer's documentation says that clamd needs.
fn environment() -> [(&'static str, &'static str); 3] {
    [
        ("LD_LIBRARY_PATH", LIBRARIES),
        ("GCONV_PATH", "/opt/clamav/lib/gconv"),
        ("OPENSSL_CONF", "/dev/null"),
    ]
}
