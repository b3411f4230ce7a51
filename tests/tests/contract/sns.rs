//! SNS as the function publishes to it and as a subscriber reads it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use async_trait::async_trait;
use aws_sdk_sns::Client;
use notifier_common::{Action, Definitions, Finding, Message, MessageFormat, Reason, Verdict};
use scanner::publish::publish;
use scanner_tests::fake_sns::FakeSns;
use scanner_tests::findings::Findings;
use scanner_tests::moto::Moto;

use crate::{Case, cases, same};

/// Where moto 5.2.5 does something else than SNS.
pub(crate) const MOTO_DEVIATES: &[(&str, &str)] = &[
    ("an_empty_body_is_refused", "publishes it"),
    ("a_subject_of_100_characters_is_refused", "counts to 100, not to less than 100"),
    ("a_subject_of_two_lines_is_refused", "looks at the length of a subject only"),
    ("a_control_character_in_an_attribute_is_refused", "publishes it"),
];

/// What a subscriber got: subject, body, attributes.
type Got = (String, String, BTreeMap<String, String>);

/// An SNS with one topic.
#[async_trait]
pub(crate) trait Sns: Sync {
    fn client(&self) -> &Client;
    fn topic(&self) -> &str;
    /// The only message whose body this is, as its subscriber gets it.
    async fn delivered(&self, body: &str) -> anyhow::Result<Got>;
}

pub(crate) struct InMemory {
    sns: FakeSns,
    client: Client,
}

impl InMemory {
    pub(crate) fn new() -> Self {
        let sns = FakeSns::new();
        Self { client: sns.client(), sns }
    }
}

#[async_trait]
impl Sns for InMemory {
    fn client(&self) -> &Client {
        &self.client
    }

    fn topic(&self) -> &'static str {
        "arn:aws:sns:us-east-1:123456789012:Findings"
    }

    async fn delivered(&self, body: &str) -> anyhow::Result<Got> {
        let all = self.sns.published();
        let found = all.into_iter().find(|published| published.message == body);
        let found = found.with_context(|| format!("{body:?} was not published"))?;
        same("topic", found.topic_arn.as_str(), self.topic())?;
        Ok((found.subject, found.message, found.attributes))
    }
}

pub(crate) struct Served {
    client: Client,
    topic: String,
    findings: Findings,
}

impl Served {
    pub(crate) async fn on(moto: &Moto) -> anyhow::Result<Self> {
        let (client, sqs) = (moto.sns(), moto.sqs());
        let topic = client.create_topic().name("Findings").send().await?;
        let topic = topic.topic_arn.context("a topic without an ARN")?;
        let queue = sqs.create_queue().queue_name("Subscriber").send().await?;
        let url = queue.queue_url.context("a queue without a URL")?;
        let name = aws_sdk_sqs::types::QueueAttributeName::QueueArn;
        let asked = sqs.get_queue_attributes().queue_url(&url).attribute_names(name.clone());
        let arn = asked.send().await?.attributes.and_then(|mut all| all.remove(&name));
        let arn = arn.context("a queue without an ARN")?;
        let request = client.subscribe().topic_arn(&topic).protocol("sqs").endpoint(arn);
        request.send().await.context("subscribing")?;
        Ok(Self { client, topic, findings: Findings::collect(sqs, url) })
    }
}

#[async_trait]
impl Sns for Served {
    fn client(&self) -> &Client {
        &self.client
    }

    fn topic(&self) -> &str {
        &self.topic
    }

    async fn delivered(&self, body: &str) -> anyhow::Result<Got> {
        let deadline = Duration::from_secs(30);
        let found = self.findings.next(|finding| finding.message == body, deadline).await?;
        Ok((found.subject, found.message, found.attributes))
    }
}

/// Every case.
pub(crate) fn cases(sns: &dyn Sns) -> Vec<Case<'_>> {
    cases![sns;
        an_ordinary_finding_arrives_as_it_was_sent,
        a_finding_of_each_verdict_arrives,
        a_long_key_arrives_whole,
        a_key_beyond_ascii_arrives,
        a_key_beyond_the_basic_plane_arrives_encoded,
        a_json_body_arrives,
        an_empty_attribute_is_refused,
        an_empty_body_is_refused,
        a_subject_of_100_characters_is_refused,
        a_subject_of_two_lines_is_refused,
        a_control_character_in_an_attribute_is_refused,
    ]
}

fn finding(key: &str, verdict: Verdict) -> Finding {
    // Bodies are told apart by their version.
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    Finding {
        bucket: "uploads".to_owned(),
        key: key.to_owned(),
        version: Some(format!("v{}", COUNT.fetch_add(1, Ordering::Relaxed))),
        etag: Some("44d88612fea8a8f36de82e1278abb02f".to_owned()),
        sequencer: None,
        size: 68,
        verdict,
        action: Action::No,
        engine: "1.4.6".to_owned(),
        definitions: Definitions {
            version: 27_000,
            built: "2026-11-22T18:33:05Z".to_owned(),
            age_hours: 1,
            stale: true,
        },
        duration_ms: 5,
    }
}

/// An error unless the message arrives just as it is.
async fn arrives(sns: &dyn Sns, message: Message) -> anyhow::Result<()> {
    let sent = message.clone();
    publish(sns.client(), sns.topic(), message).await?;
    let (subject, body, attributes) = sns.delivered(&sent.body).await?;
    same("subject", subject, sent.subject)?;
    same("body", body, sent.body)?;
    let expected = sent.attributes.into_iter().map(|(name, value)| (name.to_owned(), value));
    same("attributes", attributes, expected.collect())
}

async fn widdix(sns: &dyn Sns, key: &str, verdict: Verdict) -> anyhow::Result<()> {
    arrives(sns, Message::render(&finding(key, verdict), MessageFormat::Widdix)).await
}

async fn an_ordinary_finding_arrives_as_it_was_sent(sns: &dyn Sns) -> anyhow::Result<()> {
    widdix(sns, "folder/a b+c & d=e.pdf", Verdict::Clean).await
}

async fn a_finding_of_each_verdict_arrives(sns: &dyn Sns) -> anyhow::Result<()> {
    let signatures = vec!["Eicar-Signature.UNOFFICIAL".to_owned(), "Second".to_owned()];
    widdix(sns, "k", Verdict::Infected { signatures }).await?;
    widdix(sns, "k", Verdict::Unscannable { reason: Reason::Encrypted }).await
}

async fn a_long_key_arrives_whole(sns: &dyn Sns) -> anyhow::Result<()> {
    widdix(sns, &"k".repeat(1024), Verdict::Clean).await
}

async fn a_key_beyond_ascii_arrives(sns: &dyn Sns) -> anyhow::Result<()> {
    widdix(sns, "naïve/日本語 – \"quoted\" <&>.txt", Verdict::Clean).await
}

async fn a_key_beyond_the_basic_plane_arrives_encoded(sns: &dyn Sns) -> anyhow::Result<()> {
    widdix(sns, "smile \u{1F600}\n", Verdict::Clean).await
}

async fn a_json_body_arrives(sns: &dyn Sns) -> anyhow::Result<()> {
    let finding = finding("ü \u{1F600}", Verdict::Clean);
    arrives(sns, Message::render(&finding, MessageFormat::Json)).await
}

/// An error unless SNS refuses the message for good.
async fn refused(sns: &dyn Sns, change: impl FnOnce(&mut Message)) -> anyhow::Result<()> {
    let mut message = Message::render(&finding("k", Verdict::Clean), MessageFormat::Widdix);
    change(&mut message);
    let Err(error) = publish(sns.client(), sns.topic(), message).await else {
        anyhow::bail!("it was published");
    };
    same("status", error.status, Some(400))?;
    ensure!(!error.retry(), "to try again is no use: {error}");
    Ok(())
}

async fn an_empty_attribute_is_refused(sns: &dyn Sns) -> anyhow::Result<()> {
    refused(sns, |message| message.attributes.push(("empty", String::new()))).await
}

async fn an_empty_body_is_refused(sns: &dyn Sns) -> anyhow::Result<()> {
    refused(sns, |message| message.body.clear()).await
}

async fn a_subject_of_100_characters_is_refused(sns: &dyn Sns) -> anyhow::Result<()> {
    refused(sns, |message| message.subject = "s".repeat(100)).await
}

async fn a_subject_of_two_lines_is_refused(sns: &dyn Sns) -> anyhow::Result<()> {
    refused(sns, |message| message.subject = "two\nlines".to_owned()).await
}

async fn a_control_character_in_an_attribute_is_refused(sns: &dyn Sns) -> anyhow::Result<()> {
    refused(sns, |message| message.attributes.push(("odd", "\u{1}".to_owned()))).await
}
