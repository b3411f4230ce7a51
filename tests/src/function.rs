//! The packaged function in its sandbox on objects that take no memory: S3 makes them up while it
//! sends them ([`Body::Repeat`]). Findings go to moto.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde_json::{Value, json};

use crate::fake_s3::{Body, FakeS3, Served, Stored, Versioning};
use crate::generations::{self, Generation};
use crate::sandbox::{Invocation, Sandbox, SandboxOptions};
use crate::world::{World, WorldOptions};

/// The bucket that there is; it keeps versions.
pub const BUCKET: &str = "generated";

/// A cold start and two empty invocations.
const TEST_EVENTS_DEADLINE: Duration = Duration::from_secs(60);

/// The function's lines come through a pipe, behind its response.
const LINE_DEADLINE: Duration = Duration::from_secs(10);

/// The running function, its S3 and the rest of its world.
#[derive(Debug)]
pub struct Function {
    s3: FakeS3,
    served: Served,
    world: World,
    /// Whether nothing is in the queue any more.
    quiet: bool,
}

impl Function {
    /// Starts everything; the function itself has its cold start with the first invocation.
    ///
    /// # Errors
    ///
    /// A part is not built or not installed (the message says what to run) or does not start.
    pub async fn start(options: SandboxOptions) -> anyhow::Result<Self> {
        let s3 = FakeS3::new()
            .bucket(BUCKET, Versioning::On)
            .bucket(&generations::BUCKET, Versioning::Off);
        let definitions = Generation::sharded(1, jiff::Timestamp::now())?;
        definitions.publish_in(&s3);
        let served = s3.serve()?;
        let mut sandbox = options;
        sandbox.env.extend(served.env());
        let world = World::start(WorldOptions { sandbox, ..WorldOptions::deployed()? }).await?;
        Ok(Self { s3, served, world, quiet: false })
    }

    /// What it reads and tags.
    #[must_use]
    pub fn s3(&self) -> &FakeS3 {
        &self.s3
    }

    /// The same over its socket.
    #[must_use]
    pub fn served(&self) -> &Served {
        &self.served
    }

    /// Everything else.
    #[must_use]
    pub fn world(&self) -> &World {
        &self.world
    }

    /// The process.
    #[must_use]
    pub fn sandbox(&self) -> &Sandbox {
        self.world.sandbox()
    }

    /// Uploads without notifying.
    pub fn put(&self, key: &str, body: impl Into<Body>) -> Stored {
        self.s3.put(BUCKET, key, body)
    }

    /// Ends the sandbox and starts a fresh one with changed options, in which nothing runs before
    /// the next invocation.
    ///
    /// # Errors
    ///
    /// It does not start, or S3's test events were never delivered to the sandbox before it.
    pub async fn restart(
        &mut self,
        change: impl FnOnce(&mut SandboxOptions),
    ) -> anyhow::Result<()> {
        if !self.quiet {
            let quiet = tokio::time::timeout(TEST_EVENTS_DEADLINE, self.test_events()).await;
            quiet.context("waiting for the delivery of S3's test events")?;
            self.quiet = true;
        }
        self.world.replace_sandbox(change).await
    }

    /// Invokes the function on these keys at once and gives the time from request to response.
    ///
    /// # Errors
    ///
    /// The invocation fails.
    pub async fn invoke(&self, keys: &[&str]) -> anyhow::Result<Duration> {
        let objects: Vec<_> =
            keys.iter().map(|key| json!({"bucket": BUCKET, "key": key})).collect();
        let event = json!({ "objects": objects });
        let begin = Instant::now();
        let outcome = self.sandbox().invoke(&event).await?;
        let took = begin.elapsed();
        if let Invocation::FunctionError { error_type, message } = outcome {
            let wrote = self.sandbox().logs().tail(20);
            bail!("scanning {keys:?}: {error_type}: {message}; the function wrote:\n{wrote}");
        }
        Ok(took)
    }

    /// The function's first record of this key.
    ///
    /// # Errors
    ///
    /// It does not come.
    pub async fn record(&self, key: &str) -> anyhow::Result<Value> {
        let is_its = |line: &str| record(line).is_some_and(|record| record["key"] == *key);
        let line = self.sandbox().logs().wait_for(is_its, LINE_DEADLINE).await;
        let line = line.with_context(|| format!("waiting for the record of {key:?}"))?;
        record(&line).context("the record just found")
    }

    /// Invokes the function on these keys at once and gives its record of each. A key is scanned
    /// once only: the records are found by it.
    ///
    /// # Errors
    ///
    /// The invocation fails, or a record does not come.
    pub async fn scan(&self, keys: &[&str]) -> anyhow::Result<Vec<Value>> {
        self.invoke(keys).await?;
        let mut records = Vec::new();
        for key in keys {
            records.push(self.record(key).await?);
        }
        Ok(records)
    }

    /// Waits until both buckets of the world have told their queue that they are connected.
    async fn test_events(&self) {
        let mut poll = tokio::time::interval(Duration::from_millis(10));
        let delivered = || self.world.bridge().deliveries();
        while delivered().iter().map(|delivery| delivery.handled.len()).sum::<usize>() < 2 {
            poll.tick().await;
        }
    }

    /// The value of the verdict's tag on the current version.
    #[must_use]
    pub fn tag(&self, key: &str) -> Option<String> {
        self.s3.tags(BUCKET, key, None)?.get("s3-virusscan").cloned()
    }
}

/// The record that a line is, unless it is another one.
fn record(line: &str) -> Option<Value> {
    let value: Value = serde_json::from_str(line).ok()?;
    value.get("bytes_scanned").is_some().then_some(value)
}
