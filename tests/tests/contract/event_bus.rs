//! EventBridge as the function sends to it, and as a rule's target gets it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail, ensure};
use async_trait::async_trait;
use aws_sdk_eventbridge::Client;
use aws_sdk_eventbridge::types::PutEventsRequestEntry;
use notifier_common::{Action, Definitions, Finding, Reason, Verdict};
use scanner::event_bus::{EventBus, EventBusError};
use scanner_tests::event_rules::RuleQueue;
use scanner_tests::fake_event_bridge::FakeEventBridge;
use scanner_tests::moto::Moto;
use serde_json::{Value, json};

use crate::{Case, cases, same};

/// Where moto 5.2.5 does something else than EventBridge.
pub(crate) const MOTO_DEVIATES: &[(&str, &str)] =
    &[("an_event_for_an_event_bus_that_does_not_exist_is_taken", "refuses the request")];

/// The event bus that there is beside the default one.
const BUS: &str = "Findings";
/// The name of none.
const NONE: &str = "Nowhere";
/// A day in November 2026, half a second after a full one.
const JUDGED: Duration = Duration::from_millis(1_795_534_867_500);
const DEADLINE: Duration = Duration::from_secs(30);

/// An EventBridge with the event bus [`BUS`] and no [`NONE`].
#[async_trait]
pub(crate) trait EventBridge: Sync {
    fn client(&self) -> &Client;
    /// The event with this id, as the target of a rule of [`BUS`] gets it.
    async fn delivered(&self, id: &str) -> anyhow::Result<Value>;
}

pub(crate) struct InMemory {
    event_bridge: FakeEventBridge,
    client: Client,
}

impl InMemory {
    pub(crate) fn new() -> Self {
        let event_bridge = FakeEventBridge::new();
        event_bridge.make(BUS);
        Self { client: event_bridge.client(), event_bridge }
    }
}

#[async_trait]
impl EventBridge for InMemory {
    fn client(&self) -> &Client {
        &self.client
    }

    async fn delivered(&self, id: &str) -> anyhow::Result<Value> {
        let found = self.event_bridge.events(BUS).into_iter().find(|event| event["id"] == id);
        found.with_context(|| format!("there is no event {id}"))
    }
}

pub(crate) struct Served {
    client: Client,
    all: RuleQueue,
}

impl Served {
    pub(crate) async fn on(moto: &Moto) -> anyhow::Result<Self> {
        let client = moto.event_bridge();
        client.create_event_bus().name(BUS).send().await.context("making an event bus")?;
        let all = RuleQueue::make(moto, BUS, "All", &json!({"account": ["123456789012"]})).await?;
        Ok(Self { client, all })
    }
}

#[async_trait]
impl EventBridge for Served {
    fn client(&self) -> &Client {
        &self.client
    }

    async fn delivered(&self, id: &str) -> anyhow::Result<Value> {
        loop {
            let event = self.all.next(DEADLINE).await?;
            if event["id"] == id {
                return Ok(event);
            }
        }
    }
}

/// Every case.
pub(crate) fn cases(events: &dyn EventBridge) -> Vec<Case<'_>> {
    cases![events;
        a_finding_of_each_verdict_arrives_as_it_was_sent,
        an_event_bus_is_known_by_its_arn_too,
        odd_keys_arrive_as_they_are,
        the_time_is_that_of_the_verdict,
        an_event_without_a_source_is_refused,
        a_detail_that_is_no_json_is_refused,
        of_two_events_one_is_refused,
        an_event_for_an_event_bus_that_does_not_exist_is_taken,
        an_event_bus_that_does_not_exist_is_missing,
    ]
}

fn finding(key: &str, verdict: Verdict) -> Finding {
    Finding {
        bucket: "uploads".to_owned(),
        key: key.to_owned(),
        version: Some("v1".to_owned()),
        etag: Some("44d88612fea8a8f36de82e1278abb02f".to_owned()),
        sequencer: Some("0055AED6DCD90281E5".to_owned()),
        size: 68,
        verdict,
        action: Action::No,
        engine: "1.4.6".to_owned(),
        definitions: Definitions {
            version: 27_000,
            built: "2026-11-22T18:33:05Z".to_owned(),
            age_hours: 1,
            stale: false,
        },
        duration_ms: 5,
    }
}

fn infected(signature: &str) -> Verdict {
    Verdict::Infected { signatures: vec![signature.to_owned()] }
}

fn event_bus(events: &dyn EventBridge, bus: &str) -> EventBus {
    EventBus::new(events.client(), bus, "aws")
}

/// Sends a finding, and gives the event that comes out.
async fn through(events: &dyn EventBridge, bus: &str, finding: &Finding) -> anyhow::Result<Value> {
    let id = event_bus(events, bus).send(finding, UNIX_EPOCH + JUDGED).await?;
    let event = events.delivered(&id).await?;
    same("source", &event["source"], &json!("s3-virusscan"))?;
    same("detail-type", &event["detail-type"], &json!("Object Scanned"))?;
    same("resources", &event["resources"], &json!(["arn:aws:s3:::uploads"]))?;
    same("detail", &event["detail"], &serde_json::to_value(finding)?)?;
    Ok(event)
}

async fn a_finding_of_each_verdict_arrives_as_it_was_sent(
    events: &dyn EventBridge,
) -> anyhow::Result<()> {
    for verdict in
        [Verdict::Clean, infected("A.B-1"), Verdict::Unscannable { reason: Reason::Encrypted }]
    {
        through(events, BUS, &finding("dir/a b+c & d=e.pdf", verdict)).await?;
    }
    Ok(())
}

async fn an_event_bus_is_known_by_its_arn_too(events: &dyn EventBridge) -> anyhow::Result<()> {
    let arn = FakeEventBridge::arn(BUS);
    through(events, &arn, &finding("k", Verdict::Clean)).await.map(drop)
}

async fn odd_keys_arrive_as_they_are(events: &dyn EventBridge) -> anyhow::Result<()> {
    let control = "\u{1}".repeat(1024);
    for key in ["naïve/日本語 – \"quoted\" <&>.txt", "smile \u{1F600}\n", " ", &control] {
        through(events, BUS, &finding(key, Verdict::Clean)).await?;
    }
    Ok(())
}

async fn the_time_is_that_of_the_verdict(events: &dyn EventBridge) -> anyhow::Result<()> {
    let event = through(events, BUS, &finding("k", Verdict::Clean)).await?;
    same("time", &event["time"], &json!("2026-11-24T15:41:07Z"))
}

/// An entry as it may not be, or one that may be.
fn entry(detail: &str, source: Option<&str>) -> PutEventsRequestEntry {
    PutEventsRequestEntry::builder()
        .event_bus_name(BUS)
        .set_source(source.map(str::to_owned))
        .detail_type("Test")
        .detail(detail)
        .build()
}

/// The error code of each entry, none for one that was taken.
async fn put(
    events: &dyn EventBridge,
    entries: Vec<PutEventsRequestEntry>,
) -> anyhow::Result<Vec<Option<String>>> {
    let answer = events.client().put_events().set_entries(Some(entries)).send().await?;
    let codes: Vec<_> =
        answer.entries().iter().map(|entry| entry.error_code().map(str::to_owned)).collect();
    let failed = usize::try_from(answer.failed_entry_count())?;
    same("FailedEntryCount", failed, codes.iter().flatten().count())?;
    for entry in answer.entries() {
        let told = entry.event_id().is_some() != entry.error_code().is_some();
        ensure!(told, "an entry has an id or an error: {entry:?}");
    }
    Ok(codes)
}

async fn an_event_without_a_source_is_refused(events: &dyn EventBridge) -> anyhow::Result<()> {
    let codes = put(events, vec![entry("{}", None)]).await?;
    same("codes", codes, vec![Some("InvalidArgument".to_owned())])
}

async fn a_detail_that_is_no_json_is_refused(events: &dyn EventBridge) -> anyhow::Result<()> {
    let codes = put(events, vec![entry("{", Some("test"))]).await?;
    same("codes", codes, vec![Some("MalformedDetail".to_owned())])
}

async fn of_two_events_one_is_refused(events: &dyn EventBridge) -> anyhow::Result<()> {
    let codes = put(events, vec![entry("{", Some("test")), entry("{}", Some("test"))]).await?;
    same("codes", codes, vec![Some("MalformedDetail".to_owned()), None])
}

async fn an_event_for_an_event_bus_that_does_not_exist_is_taken(
    events: &dyn EventBridge,
) -> anyhow::Result<()> {
    let mut entry = entry("{}", Some("test"));
    entry.event_bus_name = Some(NONE.to_owned());
    same("codes", put(events, vec![entry]).await?, vec![None])
}

async fn an_event_bus_that_does_not_exist_is_missing(
    events: &dyn EventBridge,
) -> anyhow::Result<()> {
    for bus in [NONE, &FakeEventBridge::arn(NONE)] {
        let finding = finding("k", Verdict::Clean);
        match event_bus(events, bus).send(&finding, SystemTime::now()).await {
            Err(EventBusError::Missing { bus: missing }) => same("bus", missing.as_str(), bus)?,
            other => bail!("{bus}: {other:?}"),
        }
    }
    Ok(())
}

/// What each rule of the documentation's table gets, of these findings by their keys.
const MATCHES: [(&str, &[&str]); 8] = [
    ("infected", &["incoming/infected", "deleted"]),
    ("everything that is not clean", &["incoming/infected", "deleted", "encrypted", "deep"]),
    ("infected, and not deleted", &["incoming/infected"]),
    ("encrypted, or too large", &["encrypted"]),
    ("one folder of one bucket", &["incoming/clean", "incoming/infected"]),
    ("a family of malware", &["deleted"]),
    ("clean by old definitions", &["stale"]),
    ("clean and above 100 MB", &["large"]),
];

/// The patterns that the documentation gives, each as a rule.
pub(crate) async fn documented_patterns_match(moto: &Moto) -> anyhow::Result<()> {
    let docs = include_str!("../../../docs/SUBSCRIBING.md");
    let (_, section) = docs.split_once("\n### Patterns\n").context("no section of patterns")?;
    let (section, _) = section.split_once("\n### ").context("nothing after the patterns")?;
    let rows = section.lines().filter_map(|line| {
        let (what, pattern) = line.strip_prefix("| ")?.split_once(" | `{")?;
        Some((what, format!("{{{}", pattern.trim_end_matches("` |"))))
    });
    let mut rules = Vec::new();
    for (n, (what, detail)) in rows.enumerate() {
        let detail: Value = serde_json::from_str(&detail).with_context(|| what.to_owned())?;
        let pattern = json!({"source": ["s3-virusscan"], "detail-type": ["Object Scanned"],
            "detail": detail});
        rules.push((what, RuleQueue::make(moto, "default", &format!("Rule{n}"), &pattern).await?));
    }
    let rows: Vec<_> = rules.iter().map(|(what, _)| *what).collect();
    same("rows of the table", rows, MATCHES.map(|(what, _)| what).to_vec())?;

    let bus = EventBus::new(&moto.event_bridge(), "default", "aws");
    let no = |reason| Verdict::Unscannable { reason };
    let mut findings = vec![
        finding("incoming/clean", Verdict::Clean),
        finding("incoming/infected", infected("Win.Test.EICAR_HDB-1")),
        finding("deleted", infected("Win.Ransomware.WannaCry-1")),
        finding("encrypted", no(Reason::Encrypted)),
        finding("deep", no(Reason::LimitDepth)),
        finding("stale", Verdict::Clean),
        finding("large", Verdict::Clean),
        finding("incoming/elsewhere", Verdict::Clean),
    ];
    for finding in &mut findings {
        finding.bucket = "my-uploads".to_owned();
        match finding.key.as_str() {
            "deleted" => finding.action = Action::Delete,
            "stale" => finding.definitions.stale = true,
            "large" => finding.size = 100_000_001,
            "incoming/elsewhere" => finding.bucket = "others".to_owned(),
            _ => finding.size = 100_000_000,
        }
        bus.send(finding, SystemTime::now()).await?;
    }
    for ((what, rule), (_, expected)) in rules.iter().zip(MATCHES) {
        let events = rule.rest().await?;
        let keys: Vec<_> = events.iter().map(|event| &event["detail"]["key"]).collect();
        same(what, json!(keys), json!(expected))?;
    }
    Ok(())
}
