//! The app around `examples/rails` as a server, on Debian's Rails, beside [`Sns`].

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use reqwest::redirect::Policy;
use reqwest::{Client, Url};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::logs::Logs;
use crate::sns_https::Sns;

/// Rails takes a second or two to load where nothing else runs.
const START_DEADLINE: Duration = Duration::from_secs(120);

/// The running app, with a database of its own. It is killed when this value is dropped.
#[derive(Debug)]
pub struct Rails {
    _child: Child,
    _folder: TempDir,
    url: Url,
    http: Client,
    logs: Logs,
}

impl Rails {
    /// Starts the app, which takes findings of this topic about files in `bucket`, and waits until
    /// it listens. It asks for certificates and confirms where `sns` is, as it would on the web.
    ///
    /// # Errors
    ///
    /// It does not start; the message carries what it wrote.
    pub async fn start(sns: &Sns, topic_arn: &str, bucket: &str) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir().context("making a temporary folder")?;
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the workspace")?;
        let (reader, writer) = std::io::pipe().context("making a pipe")?;
        let child = Command::new(root.join("examples/rails/test/dummy/bin/serve"))
            .arg("0")
            .env_clear()
            .envs(sns.internet().env())
            .env("PATH", "/usr/bin:/bin")
            .env("LANG", "C.UTF-8")
            .env("FINDINGS_TOPIC_ARNS", topic_arn)
            .env("DUMMY_DATABASE", folder.path().join("app.sqlite3"))
            .env("DUMMY_BUCKET", bucket)
            .stdin(Stdio::null())
            .stderr(writer.try_clone().context("copying a pipe")?)
            .stdout(writer)
            .kill_on_drop(true)
            .spawn()
            .context("starting the Rails app; `make tools` installs Debian's Rails")?;
        let logs = Logs::new();
        std::thread::spawn({
            let logs = logs.clone();
            move || logs.read_to_end(reader)
        });
        let listening = logs.wait_for(|line| address(line).is_some(), START_DEADLINE).await;
        let listening = listening.context("starting the Rails app")?;
        let url = address(&listening).context("an address")?.parse()?;
        let http = Client::builder().no_proxy().redirect(Policy::none()).build()?;
        Ok(Self { _child: child, _folder: folder, url, http, logs })
    }

    /// Where SNS posts to.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("{}virus_scan_findings", self.url)
    }

    /// What it has written to its output.
    #[must_use]
    pub fn logs(&self) -> &Logs {
        &self.logs
    }

    /// The app commits the row of a file with this key.
    ///
    /// # Errors
    ///
    /// It does not.
    pub async fn create_blob(&self, key: &str) -> anyhow::Result<()> {
        let answer = self.http.post(self.blob_url(key)?).send().await?;
        ensure!(answer.status() == 201, "creating a blob was answered {}", answer.status());
        Ok(())
    }

    /// What the app knows of the file: `status` (the enum), `state` (what it shows), and the rest
    /// of `BlobsController`.
    ///
    /// # Errors
    ///
    /// It has no such file.
    pub async fn blob(&self, key: &str) -> anyhow::Result<Value> {
        let answer = self.http.get(self.blob_url(key)?).send().await?;
        answer.error_for_status()?.json().await.context("reading a blob")
    }

    /// The status that the app answers with where Active Storage serves the file.
    ///
    /// # Errors
    ///
    /// As [`Self::blob`].
    pub async fn serves(&self, key: &str) -> anyhow::Result<u16> {
        let blob = self.blob(key).await?;
        let path = blob["path"].as_str().context("a path")?;
        Ok(self.http.get(self.url.join(path)?).send().await?.status().as_u16())
    }

    fn blob_url(&self, key: &str) -> anyhow::Result<Url> {
        let mut url = self.url.join("blob")?;
        url.query_pairs_mut().append_pair("key", key);
        Ok(url)
    }
}

/// The address in puma's line that says where it listens.
fn address(line: &str) -> Option<&str> {
    line.split_once("Listening on ").map(|(_, address)| address.trim())
}
