//! Everything at once: buckets that notify a queue, a bridge from the queue to the packaged
//! function, the findings topic, and a subscriber that keeps what it gets.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use aws_sdk_s3::types::{
    BucketVersioningStatus, Event, NotificationConfiguration, QueueConfiguration,
    VersioningConfiguration,
};
use aws_sdk_sqs::types::QueueAttributeName;
use serde_json::Value;

use crate::artefacts;
use crate::bridge::{Bridge, Queue};
use crate::findings::{Finding, Findings};
use crate::generations::{self, Generation};
use crate::iam::{Recorder, Relay};
use crate::moto::Moto;
use crate::notifications::Notifications;
use crate::sandbox::{Sandbox, SandboxOptions};
use crate::template::{SCANNER, Template};

/// A bucket that keeps one version of each key.
pub const UPLOADS: &str = "uploads";
/// A bucket that keeps every version.
pub const VERSIONED_UPLOADS: &str = "versioned-uploads";
/// The version of the definitions that a world writes for itself.
pub const TEST_DEFINITIONS_VERSION: u32 = 27_000;

/// The deployed stack, but for what a test changes.
#[derive(Clone, Debug)]
pub struct WorldOptions {
    /// What names, queues and topic are taken from.
    pub template: Template,
    /// The function.
    pub sandbox: SandboxOptions,
    /// What is published before it starts; `None` publishes nothing.
    pub generation: Option<Generation>,
    /// How long a failed message stays out of sight. Whole seconds; at least 1.
    pub visibility: Duration,
    /// Messages in one invocation, 1 to 10.
    pub batch_size: i32,
}

impl WorldOptions {
    /// The built template.
    ///
    /// # Errors
    ///
    /// The template is not built; the message names the make target.
    pub fn deployed() -> anyhow::Result<Self> {
        Self::of(Template::built()?)
    }

    /// A template.
    ///
    /// # Errors
    ///
    /// It lacks a part of this world.
    pub fn of(template: Template) -> anyhow::Result<Self> {
        let visibility = template.property("ScanQueue", "VisibilityTimeout")?.as_u64();
        let batch_size = template.property("ScanQueueMapping", "BatchSize")?.as_i64();
        let batch_size = batch_size.and_then(|size| i32::try_from(size).ok());
        Ok(Self {
            sandbox: SandboxOptions::of(&template)?,
            generation: Some(test_generation()),
            visibility: Duration::from_secs(visibility.context("a queue without visibility")?),
            batch_size: batch_size.context("a mapping without a batch size")?,
            template,
        })
    }
}

/// The running world. All of it ends, and its files go, when it is dropped.
#[derive(Debug)]
pub struct World {
    // Fields are dropped in this order: first who asks, then who answers.
    bridge: Bridge,
    findings: Findings,
    sandbox: Arc<Sandbox>,
    relay: Relay,
    recorder: Recorder,
    moto: Moto,
    options: WorldOptions,
    notifications: Arc<tokio::sync::Mutex<Notifications>>,
    scan_queue: Queue,
    dead_letters: Queue,
    topic_arn: String,
}

/// A function beside the scanner. It fails the test when its role does not allow what it asked for.
#[derive(Debug)]
pub struct OtherFunction {
    /// The function.
    pub sandbox: Sandbox,
    _relay: Relay,
    _recorder: Recorder,
}

impl World {
    /// Starts everything. S3 tells the queue of each bucket that it is connected, so the
    /// function's first invocation, with its cold start, is one with `s3:TestEvent`.
    ///
    /// # Errors
    ///
    /// A part is not built or not installed (the message says what to run) or does not start.
    pub async fn start(mut options: WorldOptions) -> anyhow::Result<Self> {
        let moto = Moto::start().await?;
        let s3 = moto.s3();
        let bucket = s3.create_bucket().bucket(&*generations::BUCKET).send().await;
        bucket.context("making the bucket of definitions")?;
        if let Some(generation) = options.generation.take() {
            generation.publish(&s3).await?;
        }
        let template = &options.template;
        let dead_letters = deployed_queue(&moto, template, "ScanQueueDLQ", None).await?;
        let visibility = Some(options.visibility);
        let scan_queue = deployed_queue(&moto, template, "ScanQueue", visibility).await?;
        let (topic_arn, inbox) = topic(&moto, template).await?;
        let recorder = Recorder::of(template, SCANNER)?;
        let relay = recorder.relay(moto.endpoint()).await?;
        let sandbox = Sandbox::start(with_env(&options.sandbox, &relay)).await?;
        let sandbox = Arc::new(sandbox);
        let findings = Findings::collect(moto.sqs(), inbox.url);
        let notifications = Arc::new(tokio::sync::Mutex::new(Notifications::new(moto.s3())));
        let bridge = Bridge::start(
            moto.sqs_at(&relay.endpoint()),
            scan_queue.clone(),
            options.batch_size,
            Arc::clone(&sandbox),
            Arc::clone(&notifications),
        );
        let world = Self {
            bridge,
            findings,
            sandbox,
            relay,
            recorder,
            moto,
            options,
            notifications,
            scan_queue,
            dead_letters,
            topic_arn,
        };
        world.bucket(UPLOADS, false).await?;
        world.bucket(VERSIONED_UPLOADS, true).await?;
        Ok(world)
    }

    /// The server that plays S3, SNS and SQS.
    #[must_use]
    pub fn moto(&self) -> &Moto {
        &self.moto
    }

    /// Where the function reaches that server: every request is judged by the function's role on
    /// its way.
    #[must_use]
    pub fn relay(&self) -> &Relay {
        &self.relay
    }

    /// What the function and the event source mapping asked AWS for. When the world ends, it fails
    /// the test if their role did not allow all of it.
    #[must_use]
    pub fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// The function.
    #[must_use]
    pub fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    /// What takes messages to the function.
    #[must_use]
    pub fn bridge(&self) -> &Bridge {
        &self.bridge
    }

    /// Every finding so far.
    #[must_use]
    pub fn findings(&self) -> &Findings {
        &self.findings
    }

    /// The queue that the buckets notify.
    #[must_use]
    pub fn scan_queue(&self) -> &Queue {
        &self.scan_queue
    }

    /// Where a message goes that failed three times.
    #[must_use]
    pub fn dead_letters(&self) -> &Queue {
        &self.dead_letters
    }

    /// The topic that the function publishes to.
    #[must_use]
    pub fn topic_arn(&self) -> &str {
        &self.topic_arn
    }

    /// The key of the verdict's tag.
    #[must_use]
    pub fn tag_key(&self) -> &str {
        self.options.sandbox.env.get("TAG_KEY").map_or("", String::as_str)
    }

    /// Ends the sandbox and starts another one with changed options. Messages wait meanwhile.
    ///
    /// # Errors
    ///
    /// As [`World::start`].
    pub async fn replace_sandbox(
        &mut self,
        change: impl FnOnce(&mut SandboxOptions),
    ) -> anyhow::Result<()> {
        change(&mut self.options.sandbox);
        let options = with_env(&self.options.sandbox, &self.relay);
        let sandbox = Arc::new(Sandbox::start(options).await?);
        self.bridge.stop().await?;
        self.bridge = Bridge::start(
            self.moto.sqs_at(&self.relay.endpoint()),
            self.scan_queue.clone(),
            self.options.batch_size,
            Arc::clone(&sandbox),
            Arc::clone(&self.notifications),
        );
        self.sandbox = sandbox;
        Ok(())
    }

    /// Starts another function of the stack, under its own role.
    ///
    /// # Errors
    ///
    /// As [`World::start`].
    pub async fn start_function(
        &self,
        logical_id: &str,
        package: &str,
        change: impl FnOnce(&mut SandboxOptions),
    ) -> anyhow::Result<OtherFunction> {
        let template = &self.options.template;
        let mut options = SandboxOptions::of_function(template, logical_id)?;
        options.bootstrap = Some(artefacts::packaged(package)?);
        change(&mut options);
        let recorder = Recorder::of(template, logical_id)?;
        let relay = recorder.relay(self.moto.endpoint()).await?;
        let sandbox = Sandbox::start(with_env(&options, &relay)).await?;
        Ok(OtherFunction { sandbox, _relay: relay, _recorder: recorder })
    }

    /// Uploads by a plain `PutObject` and gives the version, on the bucket that has them.
    ///
    /// # Errors
    ///
    /// The server refused.
    pub async fn put(
        &self,
        bucket: &str,
        key: &str,
        bytes: impl Into<Vec<u8>>,
    ) -> anyhow::Result<Option<String>> {
        let request = self.moto.s3().put_object().bucket(bucket).key(key);
        let put = request.body(bytes.into().into()).send().await;
        Ok(put.with_context(|| format!("uploading {key:?} to {bucket}"))?.version_id)
    }

    /// The next finding for this key: each is given once, in the order of arrival.
    ///
    /// # Errors
    ///
    /// None comes within `deadline`; the message carries the function's last lines.
    pub async fn finding_for(&self, key: &str, deadline: Duration) -> anyhow::Result<Finding> {
        let finding = self.findings.next(|finding| finding.key() == Some(key), deadline).await;
        finding.with_context(|| {
            let bridge = self.bridge.failure().map(|why| format!("; the bridge failed: {why}"));
            let bridge = bridge.unwrap_or_default();
            let wrote = self.sandbox.logs().tail(30);
            format!("waiting for {key:?}{bridge}; the function wrote:\n{wrote}")
        })
    }

    /// The tags of an object, or of one version of it.
    ///
    /// # Errors
    ///
    /// It does not exist.
    pub async fn tags(
        &self,
        bucket: &str,
        key: &str,
        version: Option<&str>,
    ) -> anyhow::Result<BTreeMap<String, String>> {
        let request = self.moto.s3().get_object_tagging().bucket(bucket).key(key);
        let tagging = request.set_version_id(version.map(str::to_owned)).send().await;
        let tagging =
            tagging.with_context(|| format!("reading the tags of {key:?} in {bucket}"))?;
        Ok(tagging.tag_set.into_iter().map(|tag| (tag.key, tag.value)).collect())
    }

    async fn bucket(&self, name: &str, versioned: bool) -> anyhow::Result<()> {
        let s3 = self.moto.s3();
        let making = || format!("making the bucket {name}");
        s3.create_bucket().bucket(name).send().await.with_context(making)?;
        if versioned {
            let enabled =
                VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
            let request = s3.put_bucket_versioning().bucket(name);
            request.versioning_configuration(enabled).send().await.with_context(making)?;
        }
        let to_queue = QueueConfiguration::builder()
            .queue_arn(&self.scan_queue.arn)
            .events(Event::from("s3:ObjectCreated:*"))
            .build()
            .context("composing a notification")?;
        let configuration = NotificationConfiguration::builder().queue_configurations(to_queue);
        let request = s3.put_bucket_notification_configuration().bucket(name);
        let request = request.notification_configuration(configuration.build());
        request.send().await.with_context(making)?;
        Ok(())
    }
}

/// Test definitions in two shards, built now.
fn test_generation() -> Generation {
    Generation::sharded(TEST_DEFINITIONS_VERSION, jiff::Timestamp::now())
        .expect("an archive in memory can be written")
}

/// What points the function at the servers here, and nothing else.
fn with_env(options: &SandboxOptions, relay: &Relay) -> SandboxOptions {
    let mut options = options.clone();
    let endpoint = relay.endpoint();
    let defaults = [
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("AWS_SESSION_TOKEN", "test"),
        ("AWS_ENDPOINT_URL", &endpoint),
    ];
    for (name, value) in defaults {
        options.env.entry(name.to_owned()).or_insert_with(|| value.to_owned());
    }
    options
}

async fn queue(
    moto: &Moto,
    name: &str,
    attributes: &[(QueueAttributeName, String)],
) -> anyhow::Result<Queue> {
    let sqs = moto.sqs();
    let mut request = sqs.create_queue().queue_name(name);
    for (name, value) in attributes {
        request = request.attributes(name.clone(), value);
    }
    let made = request.send().await.with_context(|| format!("making the queue {name}"))?;
    let url = made.queue_url.context("a queue without a URL")?;
    let request = sqs.get_queue_attributes().queue_url(&url);
    let asked = request.attribute_names(QueueAttributeName::QueueArn).send().await;
    let attributes = asked.context("asking a queue for its ARN")?.attributes.unwrap_or_default();
    let arn = attributes.get(&QueueAttributeName::QueueArn).context("a queue without an ARN")?;
    Ok(Queue { url, arn: arn.clone() })
}

/// A queue of the template: each of its properties is the queue's attribute of that name.
async fn deployed_queue(
    moto: &Moto,
    template: &Template,
    logical_id: &str,
    visibility: Option<Duration>,
) -> anyhow::Result<Queue> {
    let mut properties = template.properties(logical_id)?;
    if let Some(visibility) = visibility {
        properties.insert("VisibilityTimeout".to_owned(), visibility.as_secs().into());
    }
    let attributes: Vec<_> = properties
        .iter()
        .map(|(name, value)| (QueueAttributeName::from(name.as_str()), attribute(value)))
        .collect();
    let queue = queue(moto, template.name(logical_id)?, &attributes).await?;
    let arn = template.arn(logical_id)?;
    ensure!(queue.arn == arn, "{logical_id} is {} here, the template says {arn}", queue.arn);
    Ok(queue)
}

/// The topic of the template, and a queue that is subscribed to it.
async fn topic(moto: &Moto, template: &Template) -> anyhow::Result<(String, Queue)> {
    let sns = moto.sns();
    let mut request = sns.create_topic().name(template.name("FindingsTopic")?);
    for (name, value) in template.properties("FindingsTopic")? {
        request = request.attributes(name, attribute(&value));
    }
    let made = request.send().await.context("making a topic")?;
    let arn = made.topic_arn.context("a topic without an ARN")?;
    let expected = template.output("FindingsTopicArn")?;
    ensure!(arn == expected, "the topic is {arn} here, the template says {expected}");
    let inbox = queue(moto, "FindingsSubscriber", &[]).await?;
    let request = sns.subscribe().topic_arn(&arn).protocol("sqs").endpoint(&inbox.arn);
    request.send().await.context("subscribing a queue to the topic")?;
    Ok((arn, inbox))
}

/// A property as the APIs take it: a text is itself, everything else is JSON.
fn attribute(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
