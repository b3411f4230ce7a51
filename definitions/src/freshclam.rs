//! Runs the layer's freshclam: the only thing here that talks to ClamAV's servers.

mod conf;
mod outcome;

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use function_common::clamd::LOADER;
use jiff::Timestamp;
use tokio::process::Command;
use tokio::time::timeout;

pub use conf::{Mirror, render};
pub use outcome::{Ended, Outcome, Report, cool_down, judge};

/// What freshclam remembers between runs: who it is, and until when it must stay away.
pub const MEMORY: &str = "freshclam.dat";

/// How long it may take. The first download is about 110 MB.
const TIME: Duration = Duration::from_secs(8 * 60);

/// Why freshclam was not run.
#[derive(Debug, thiserror::Error)]
pub enum FreshclamError {
    /// Its configuration cannot be written.
    #[error("cannot write {}", path.display())]
    Configuration {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It cannot be started.
    #[error("cannot start {}; is the clamd layer attached?", program.display())]
    Spawn {
        /// The program.
        program: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It does not say its version.
    #[error("freshclam does not say its version: {0}")]
    Version(String),
}

/// The layer's freshclam on a folder of databases.
#[derive(Debug)]
pub struct Freshclam<'a> {
    /// The unpacked layer.
    pub clamav_dir: &'a Path,
    /// Where databases and [`MEMORY`] lie. freshclam makes its temporary folder in it.
    pub database_dir: &'a Path,
    /// Where its configuration is written.
    pub conf: &'a Path,
    /// Where databases come from.
    pub mirror: &'a Mirror,
}

impl Freshclam<'_> {
    /// The version of the engine in the layer, `1.4.6`.
    ///
    /// # Errors
    /// When it cannot be run.
    pub async fn version(&self) -> Result<String, FreshclamError> {
        let ended = self.run_with(&["--version"]).await?;
        let version = ended.words.strip_prefix("ClamAV ").and_then(|rest| rest.split('/').next());
        let version = version.map(str::trim).filter(|version| !version.is_empty());
        version.map(str::to_owned).ok_or(FreshclamError::Version(ended.words))
    }

    /// Brings the databases up to date, as far as the mirror lets it.
    ///
    /// # Errors
    /// When it cannot be run. What becomes of the databases is for [`judge`] to say.
    pub async fn run(&self) -> Result<Ended, FreshclamError> {
        let ended = self.run_with(self.mirror.arguments()).await?;
        for line in ended.words.lines() {
            tracing::debug!(freshclam = line);
        }
        Ok(ended)
    }

    async fn run_with(&self, arguments: &[&str]) -> Result<Ended, FreshclamError> {
        std::fs::write(self.conf, render(self.database_dir, self.mirror)).map_err(|source| {
            FreshclamError::Configuration { path: self.conf.to_owned(), source }
        })?;
        let lib = self.clamav_dir.join("lib");
        let program = self.clamav_dir.join("bin/freshclam");
        let mut command = Command::new(lib.join(LOADER));
        command
            .arg("--library-path")
            .arg(&lib)
            .arg(&program)
            .arg("--config-file")
            .arg(self.conf)
            .arg("--stdout")
            .args(arguments)
            // It reads what a stranger sends: no credentials, nothing of ours.
            .env_clear()
            .env("LD_LIBRARY_PATH", &lib)
            .env("CURL_CA_BUNDLE", self.clamav_dir.join("etc/ca-bundle.crt"))
            .env("OPENSSL_CONF", "/dev/null")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let child = command.spawn().map_err(|source| FreshclamError::Spawn { program, source })?;
        match timeout(TIME, child.wait_with_output()).await {
            // It was killed.
            Err(_) => Ok(Ended { code: None, in_time: false, words: String::new() }),
            Ok(Err(error)) => Ok(Ended { code: None, in_time: true, words: error.to_string() }),
            Ok(Ok(output)) => {
                let mut words = String::from_utf8_lossy(&output.stdout).into_owned();
                words.push_str(&String::from_utf8_lossy(&output.stderr));
                Ok(Ended { code: output.status.code(), in_time: true, words })
            }
        }
    }

    /// Until when freshclam must stay away from the servers, as its memory says.
    #[must_use]
    pub fn cool_down(&self) -> Option<Timestamp> {
        cool_down(&std::fs::read(self.database_dir.join(MEMORY)).ok()?)
    }
}
