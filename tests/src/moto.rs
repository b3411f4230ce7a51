//! S3, SNS, SQS and EventBridge as a server on loopback: [moto](https://docs.getmoto.org/).
//!
//! moto does what a stub cannot: S3 sends its notifications to SQS, SNS and EventBridge, SNS
//! and the rules of EventBridge fan out to SQS. It checks no signatures and ignores the conditions of bucket policies.

use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_s3::config::{Credentials, SharedCredentialsProvider};
use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::NamedTempFile;

/// The region of every client here. Nothing depends on which it is.
pub const REGION: &str = "us-east-1";

/// A start takes about a second; more than this is a server that will never answer.
const START_DEADLINE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);

/// One running moto server. It is killed when this value is dropped, so keep it as long as its
/// clients are used, and do not put it in a `static` (statics are never dropped).
#[derive(Debug)]
pub struct Moto {
    server: Server,
    endpoint: String,
    log: NamedTempFile,
}

impl Moto {
    /// Starts a server of its own on a free port of 127.0.0.1 and waits until it answers.
    ///
    /// # Errors
    ///
    /// The server is not installed (the message says how), or it does not answer within 30 s (the
    /// message carries its log).
    pub async fn start() -> anyhow::Result<Self> {
        let program = program()?;
        let log = NamedTempFile::new().context("creating a log file for moto_server")?;
        // Port 0: the server itself picks a free port and logs it. A port picked here could be
        // taken by a neighbouring test before the server binds it.
        let child = Command::new(&program)
            .args(["-H", "127.0.0.1", "-p", "0"])
            .stdin(Stdio::null())
            .stdout(log_handle(log.path())?)
            .stderr(log_handle(log.path())?)
            .process_group(0)
            .spawn()
            .with_context(|| format!("starting {}", program.display()))?;
        let mut server = Server(child);
        let endpoint = tokio::time::timeout(START_DEADLINE, answering(&mut server, log.path()))
            .await
            .unwrap_or_else(|_| bail!("moto_server did not answer within {START_DEADLINE:?}"))
            .with_context(|| format!("moto_server's log:\n{}", log_text(log.path())))?;
        Ok(Self { server, endpoint, log })
    }

    /// The base URL of every service, without a trailing slash: `http://127.0.0.1:<port>`.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The id of the server's process, which also names its process group.
    #[must_use]
    pub fn process_id(&self) -> u32 {
        self.server.0.id()
    }

    /// What the server has written so far, one line a request: for the message of a failed test.
    #[must_use]
    pub fn log(&self) -> String {
        log_text(self.log.path())
    }

    /// The settings that point any SDK client at this server. They read nothing from the
    /// environment: neither credentials, nor a profile, nor a proxy.
    #[must_use]
    pub fn sdk_config(&self) -> SdkConfig {
        let keys = Credentials::new("test", "test", None, None, "scanner-tests");
        SdkConfig::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .credentials_provider(SharedCredentialsProvider::new(keys))
            .region(Region::from_static(REGION))
            .endpoint_url(&self.endpoint)
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .build()
    }

    /// An S3 client with the bucket in the path; bucket names do not resolve as host names here.
    #[must_use]
    pub fn s3(&self) -> aws_sdk_s3::Client {
        let config = aws_sdk_s3::config::Builder::from(&self.sdk_config()).force_path_style(true);
        aws_sdk_s3::Client::from_conf(config.build())
    }

    /// An SNS client.
    #[must_use]
    pub fn sns(&self) -> aws_sdk_sns::Client {
        aws_sdk_sns::Client::new(&self.sdk_config())
    }

    /// An EventBridge client.
    #[must_use]
    pub fn event_bridge(&self) -> aws_sdk_eventbridge::Client {
        aws_sdk_eventbridge::Client::new(&self.sdk_config())
    }

    /// An SQS client.
    #[must_use]
    pub fn sqs(&self) -> aws_sdk_sqs::Client {
        aws_sdk_sqs::Client::new(&self.sdk_config())
    }

    /// An SQS client that reaches this server by another base URL.
    #[must_use]
    pub fn sqs_at(&self, endpoint: &str) -> aws_sdk_sqs::Client {
        let config = self.sdk_config().into_builder().endpoint_url(endpoint);
        aws_sdk_sqs::Client::new(&config.build())
    }
}

/// The server's process and whatever it started: all of them end with this value.
#[derive(Debug)]
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // The child was made the leader of a group of its own, so nothing else is hit. Errors
        // mean that it is gone already.
        if let Some(group) = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.0.wait();
    }
}

fn program() -> anyhow::Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("finding the workspace")?;
    let program = root.join("target/tools/bin/moto_server");
    if !program.is_file() {
        bail!("{} is missing; run `make tools`, which installs it", program.display());
    }
    Ok(program)
}

fn log_handle(path: &Path) -> anyhow::Result<File> {
    // Append: standard output and standard error must not overwrite each other.
    File::options().append(true).open(path).with_context(|| format!("opening {}", path.display()))
}

fn log_text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| format!("(unreadable: {error})"))
}

async fn answering(server: &mut Server, log: &Path) -> anyhow::Result<String> {
    let http = reqwest::Client::builder().no_proxy().build().context("building an HTTP client")?;
    let mut poll = tokio::time::interval(POLL);
    loop {
        poll.tick().await;
        if let Some(status) = server.0.try_wait().context("asking whether moto_server runs")? {
            bail!("moto_server ended at its start: {status}");
        }
        if let Some(endpoint) = logged_endpoint(&log_text(log))
            && http.get(format!("{endpoint}/moto-api/")).send().await.is_ok()
        {
            return Ok(endpoint);
        }
    }
}

/// The address in the line ` * Running on http://127.0.0.1:<port>`, once that line is complete.
fn logged_endpoint(log: &str) -> Option<String> {
    let (_, rest) = log.split_once("Running on ")?;
    let (address, _) = rest.split_once('\n')?;
    Some(address.trim().trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn serves_three_services_and_ends_when_dropped() {
        let moto = Moto::start().await.expect("moto starts");
        moto.s3().create_bucket().bucket("uploads").send().await.expect("S3 answers");
        moto.sns().create_topic().name("t").send().await.expect("SNS answers");
        moto.sqs().create_queue().queue_name("q").send().await.expect("SQS answers");
        assert!(moto.log().contains("Running on"), "{}", moto.log());

        let process = PathBuf::from(format!("/proc/{}", moto.process_id()));
        assert!(process.exists(), "{} is running", process.display());
        drop(moto);
        assert!(!process.exists(), "{} was left behind", process.display());
    }

    #[test]
    fn waits_for_the_whole_line() {
        assert_eq!(logged_endpoint(" * Running on http://127.0.0.1:34"), None);
        let line = " * Running on http://127.0.0.1:34343\n";
        assert_eq!(logged_endpoint(line).as_deref(), Some("http://127.0.0.1:34343"));
    }
}
