//! The example `examples/https-subscriber` as a process with TLS, beside [`Sns`].

use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use reqwest::Url;
use rustix::process::{Pid, Signal};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::logs::Logs;
use crate::sns_https::Sns;

/// It listens within milliseconds; more than this is one that never will.
const START_DEADLINE: Duration = Duration::from_secs(30);

/// Longer than it lets requests go on.
const STOP_DEADLINE: Duration = Duration::from_secs(30);

/// Its files, which outlive it: the database, and the certificate that it shows as `localhost`.
#[derive(Debug)]
pub struct Home {
    folder: TempDir,
    program: PathBuf,
    topic_arns: String,
}

/// The running program. It is killed when this value is dropped.
#[derive(Debug)]
pub struct Subscriber {
    child: Child,
    url: String,
    http: reqwest::Client,
    logs: Logs,
}

impl Home {
    /// A folder for `program`, which takes messages of these topics (separated by commas).
    ///
    /// # Errors
    ///
    /// The files cannot be written.
    pub fn new(program: PathBuf, sns: &Sns, topic_arns: &str) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir().context("making a temporary folder")?;
        let shown = sns.pki().server(["localhost"])?;
        for (name, content) in [("certificate.pem", shown.certificate), ("key.pem", shown.key)] {
            let path = folder.path().join(name);
            std::fs::write(&path, content)
                .with_context(|| format!("writing {}", path.display()))?;
        }
        Ok(Self { folder, program, topic_arns: topic_arns.to_owned() })
    }

    /// The database.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.folder.path().join("findings.sqlite")
    }

    /// Starts the program and waits until it listens. Its environment holds its settings and what
    /// leads it to [`Sns`], nothing else.
    ///
    /// # Errors
    ///
    /// It does not start; the message carries what it wrote.
    pub async fn start(&self, sns: &Sns) -> anyhow::Result<Subscriber> {
        let file = |name: &str| self.folder.path().join(name);
        let (reader, writer) = std::io::pipe().context("making a pipe")?;
        let child = Command::new(&self.program)
            .env_clear()
            .envs(sns.internet().env())
            .env("LISTEN", "127.0.0.1:0")
            .env("TOPIC_ARNS", &self.topic_arns)
            .env("DATABASE", self.database())
            .env("TLS_CERTIFICATE", file("certificate.pem"))
            .env("TLS_KEY", file("key.pem"))
            .env("TRUST_ANCHORS", sns.internet().root_file())
            // The most that it writes: no token may be in it.
            .env("LOG_LEVEL", "TRACE")
            .stdin(Stdio::null())
            .stderr(writer.try_clone().context("copying a pipe")?)
            .stdout(writer)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {}", self.program.display()))?;
        let logs = Logs::new();
        std::thread::spawn({
            let logs = logs.clone();
            move || logs.read_to_end(reader)
        });
        let listening = logs.wait_for(|line| port(line).is_some(), START_DEADLINE).await;
        let port = port(&listening.context("starting the subscriber")?).context("a port")?;
        let url = format!("https://localhost:{port}/");
        Ok(Subscriber { child, url, http: sns.http().clone(), logs })
    }
}

impl Subscriber {
    /// Where SNS posts to.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What it has written.
    #[must_use]
    pub fn logs(&self) -> &Logs {
        &self.logs
    }

    /// Asks `GET /status/<key>` with these parameters; gives the answer's status and body.
    ///
    /// # Errors
    ///
    /// There is no answer, or not in JSON.
    pub async fn status(
        &self,
        key: &str,
        parameters: &[(&str, &str)],
    ) -> anyhow::Result<(u16, Value)> {
        let mut url: Url = self.url.parse().context("the subscriber's URL")?;
        // As one segment, so that slashes are encoded and dots are no folders.
        url.path_segments_mut().ok().context("a URL with a path")?.pop().extend(["status", key]);
        if !parameters.is_empty() {
            url.query_pairs_mut().extend_pairs(parameters);
        }
        let answer = self.http.get(url).send().await.context("asking for a status")?;
        let status = answer.status().as_u16();
        Ok((status, answer.json().await.context("reading a status")?))
    }

    /// Tells it to end, as a service manager does (SIGTERM), and waits for that.
    ///
    /// # Errors
    ///
    /// It does not end.
    pub async fn stop(&mut self) -> anyhow::Result<ExitStatus> {
        let id = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let id = id.context("a subscriber that runs")?;
        rustix::process::kill_process(id, Signal::TERM).context("sending SIGTERM")?;
        let ended = tokio::time::timeout(STOP_DEADLINE, self.child.wait()).await;
        let wrote =
            || format!("waiting for the subscriber's end; it wrote:\n{}", self.logs.tail(20));
        ended.with_context(wrote)?.context("waiting for a process")
    }
}

/// The port in the line that says where it listens.
fn port(line: &str) -> Option<u16> {
    let value: Value = serde_json::from_str(line).ok()?;
    let address = value["address"].as_str().filter(|_| value["message"] == "listening")?;
    address.parse::<std::net::SocketAddr>().ok().map(|address| address.port())
}
