//! Sends a finding to an event bus of EventBridge, where rules can match on any of its fields.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_sdk_eventbridge::Client;
use aws_sdk_eventbridge::config::interceptors::InterceptorContext;
use aws_sdk_eventbridge::config::retry::{ClassifyRetry, RetryAction};
use aws_sdk_eventbridge::operation::put_events::PutEventsOutput;
use aws_sdk_eventbridge::primitives::DateTime;
use aws_sdk_eventbridge::types::PutEventsRequestEntry;
use function_common::service_error::{ServiceError, chain};
use notifier_common::Finding;
use tokio::sync::OnceCell;

/// The `source` of our events. (`aws.` before it is for AWS's own.)
pub const SOURCE: &str = "s3-virusscan";

/// The `detail-type` of an event about a verdict: what happened to what, as S3 says "Object
/// Created" and "Object Tags Added".
pub const DETAIL_TYPE: &str = "Object Scanned";

/// What EventBridge's answer calls a refusal that the same event may not meet again
/// (`PutEventsResultEntry` in its API reference, "Retryable errors include").
const THROTTLED: &str = "ThrottlingException";
const FAILED_INSIDE: &str = "InternalFailure";

/// Why an event was not sent.
#[derive(Debug, thiserror::Error)]
pub enum EventBusError {
    /// EventBridge refused the request, or did not answer.
    #[error(transparent)]
    Request(#[from] ServiceError),
    /// EventBridge took the request, and refused the event in it.
    #[error("PutEvents refused the event: {code}, {message}")]
    Refused {
        /// EventBridge's error code.
        code: String,
        /// Its words.
        message: String,
    },
    /// The answer tells neither.
    #[error("PutEvents answered neither that it took the event nor that it refused it")]
    Unanswered,
    /// There is no such event bus.
    #[error(
        "there is no event bus `{bus}`, and EventBridge would drop the event without a word; make \
         the event bus, or change RESULT_EVENT_BUS (parameter ResultEventBus)"
    )]
    Missing {
        /// Its name or ARN.
        bus: String,
    },
}

impl EventBusError {
    /// Whether the same event, sent later, may be taken without anybody doing anything. The SDK
    /// has retried already.
    #[must_use]
    pub fn retry(&self) -> bool {
        match self {
            // Throttling is HTTP 400 here, as other things are that last.
            Self::Request(error) => error.retry() || error.code.as_deref() == Some(THROTTLED),
            Self::Refused { code, .. } => code == THROTTLED || code == FAILED_INSIDE,
            Self::Unanswered => true,
            Self::Missing { .. } => false,
        }
    }
}

/// An event bus.
#[derive(Debug)]
pub struct EventBus {
    client: Client,
    /// Name or ARN.
    bus: String,
    partition: String,
    /// Filled when the event bus has been seen.
    seen: OnceCell<()>,
}

impl EventBus {
    /// The event bus with this name or ARN. `partition` is that of the buckets.
    #[must_use]
    pub fn new(client: &Client, bus: &str, partition: &str) -> Self {
        let config = client.config().to_builder().retry_classifier(RefusedForNow).build();
        Self {
            client: Client::from_conf(config),
            bus: bus.to_owned(),
            partition: partition.to_owned(),
            seen: OnceCell::new(),
        }
    }

    /// Sends `finding`, judged at that time, and gives EventBridge's id of the event.
    ///
    /// # Errors
    /// When EventBridge refuses or does not answer, and when there is no such event bus.
    pub async fn send(
        &self,
        finding: &Finding,
        judged: SystemTime,
    ) -> Result<String, EventBusError> {
        self.seen.get_or_try_init(|| self.see()).await?;
        let entry = entry(finding, judged, &self.bus, &self.partition);
        let answer = self.client.put_events().entries(entry).send().await;
        answered(&answer.map_err(|error| ServiceError::new("PutEvents", &error))?)
    }

    /// EventBridge takes an event for an event bus that does not exist, answers with an id, and
    /// drops it: <https://github.com/aws/aws-cli/issues/9186>. So it is looked for once.
    async fn see(&self) -> Result<(), EventBusError> {
        let Err(error) = self.client.describe_event_bus().name(&self.bus).send().await else {
            return Ok(());
        };
        let error = ServiceError::new("DescribeEventBus", &error);
        match error.code.as_deref() {
            Some("ResourceNotFoundException") => {
                Err(EventBusError::Missing { bus: self.bus.clone() })
            }
            // Who may send to an event bus of another account need not be allowed to see it.
            Some("AccessDeniedException") => {
                let error = chain(&error);
                tracing::warn!(bus = self.bus, error, "cannot see whether the event bus exists");
                Ok(())
            }
            _ => Err(error.into()),
        }
    }
}

/// The event. Its `resources` is the bucket, as in S3's own events; the key is in its detail, which
/// is the finding's JSON form whatever the format of messages is.
///
/// An entry may have 256 KB (EventBridge user guide, "Calculating PutEvents event entry size"; the
/// API's model says 1 MB now). A test below has the largest.
fn entry(
    finding: &Finding,
    judged: SystemTime,
    bus: &str,
    partition: &str,
) -> PutEventsRequestEntry {
    let since_1970 = judged.duration_since(UNIX_EPOCH).unwrap_or_default();
    // Events have whole seconds.
    let time = DateTime::from_secs(since_1970.as_secs().try_into().unwrap_or_default());
    let detail = serde_json::to_string(finding).expect("a finding has string keys only");
    PutEventsRequestEntry::builder()
        .event_bus_name(bus)
        .time(time)
        .source(SOURCE)
        .detail_type(DETAIL_TYPE)
        .resources(format!("arn:{partition}:s3:::{}", finding.bucket))
        .detail(detail)
        .build()
}

/// The id of the only event. An answer is no promise that the event was taken: that stands in each
/// of its entries.
fn answered(answer: &PutEventsOutput) -> Result<String, EventBusError> {
    let entry = answer.entries().first();
    if let Some(code) = entry.and_then(|entry| entry.error_code()) {
        let message = entry.and_then(|entry| entry.error_message()).unwrap_or("without a reason");
        return Err(EventBusError::Refused { code: code.to_owned(), message: message.to_owned() });
    }
    let id = entry.and_then(|entry| entry.event_id()).filter(|_| answer.failed_entry_count() == 0);
    id.map(str::to_owned).ok_or(EventBusError::Unanswered)
}

/// Has the SDK send again what EventBridge refused for now only. Its own classifiers see HTTP 200
/// and a success.
#[derive(Debug)]
struct RefusedForNow;

impl ClassifyRetry for RefusedForNow {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        let Some(Ok(output)) = context.output_or_error() else {
            return RetryAction::NoActionIndicated;
        };
        let entries = output.downcast_ref::<PutEventsOutput>().map(PutEventsOutput::entries);
        match entries.unwrap_or_default().iter().find_map(|entry| entry.error_code()) {
            Some(THROTTLED) => RetryAction::throttling_error(),
            Some(FAILED_INSIDE) => RetryAction::server_error(),
            _ => RetryAction::NoActionIndicated,
        }
    }

    fn name(&self) -> &'static str {
        "PutEvents entries refused for now"
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use aws_sdk_eventbridge::types::PutEventsResultEntry;
    use notifier_common::{Action, Definitions, Verdict};
    use serde_json::{Value, json};

    use super::*;

    fn finding(bucket: &str, key: &str, signatures: Vec<String>) -> Finding {
        Finding {
            bucket: bucket.into(),
            key: key.into(),
            version: Some("3sL4kqtJlcpXroDTDmJ+rmSpXd3dIbrHY".into()),
            etag: Some("44d88612fea8a8f36de82e1278abb02f".into()),
            sequencer: Some("0055AED6DCD90281E5".into()),
            size: 68,
            verdict: Verdict::Infected { signatures },
            action: Action::Tag,
            engine: "1.4.3".into(),
            definitions: Definitions {
                version: 27_821,
                built: "2026-11-24T09:27:00Z".into(),
                age_hours: 6,
                stale: false,
            },
            duration_ms: 84,
        }
    }

    fn judged() -> SystemTime {
        // 24 November 2026, 15:41:07.9
        UNIX_EPOCH + Duration::from_millis(1_795_534_867_900)
    }

    /// The event as rules and targets see it, without what EventBridge adds.
    fn event(entry: &PutEventsRequestEntry) -> Value {
        let detail: Value = serde_json::from_str(entry.detail().unwrap()).unwrap();
        json!({
            "source": entry.source(), "detail-type": entry.detail_type(),
            "resources": entry.resources(), "time": entry.time().unwrap().to_string(),
            "detail": detail,
        })
    }

    /// The example of the documentation.
    #[test]
    fn the_event_in_the_docs_is_the_one_that_is_sent() {
        let docs = include_str!("../../docs/SUBSCRIBING.md");
        let (_, section) = docs.split_once("\n### The event\n").unwrap();
        let (_, example) = section.split_once("```json\n").unwrap();
        let (example, _) = example.split_once("```").unwrap();
        let mut documented: Value = serde_json::from_str(example).unwrap();
        // What EventBridge adds.
        for (name, value) in [("version", "0"), ("account", "123456789012")] {
            let added = documented.as_object_mut().unwrap().remove(name);
            assert_eq!(added, Some(json!(value)), "{name}");
        }
        for name in ["id", "region"] {
            assert!(documented.as_object_mut().unwrap().remove(name).is_some(), "{name}");
        }
        let finding = finding("my-uploads", "dir/a b.pdf", vec!["Win.Test.EICAR_HDB-1".into()]);
        let entry = entry(&finding, judged(), "default", "aws");
        assert_eq!(documented, event(&entry));
        assert_eq!(entry.event_bus_name(), Some("default"));
    }

    #[test]
    fn the_bucket_is_named_in_the_functions_partition() {
        let entry = entry(&finding("b", "k", vec![]), judged(), "default", "aws-us-gov");
        assert_eq!(entry.resources(), ["arn:aws-us-gov:s3:::b"]);
    }

    /// S3 allows 63 characters of bucket and 1,024 bytes of key and version id; a control character
    /// takes six times its length in JSON. An engine's word has no such bound, but ClamAV's
    /// longest names have about a hundred characters; here it is 4 KB, and in the event twice.
    #[test]
    fn the_largest_event_is_far_below_what_eventbridge_takes() {
        let mut finding = finding(&"b".repeat(63), &"\u{1}".repeat(1024), vec!["S".repeat(4096)]);
        finding.version = Some("v".repeat(1024));
        let entry = entry(&finding, judged(), &"b".repeat(256), "aws-us-gov");
        let resources: usize = entry.resources().iter().map(String::len).sum();
        let size =
            14 + SOURCE.len() + DETAIL_TYPE.len() + entry.detail().unwrap().len() + resources;
        assert!((14_000..20_000).contains(&size), "{size} bytes");
    }

    #[test]
    fn only_an_id_says_that_the_event_was_taken() {
        let output = |failed: i32, entry: Option<PutEventsResultEntry>| {
            PutEventsOutput::builder()
                .failed_entry_count(failed)
                .set_entries(Some(entry.into_iter().collect()))
                .build()
        };
        let refused = |code: &str| {
            PutEventsResultEntry::builder().error_code(code).error_message("why").build()
        };
        let taken = PutEventsResultEntry::builder().event_id("e-1").build();
        assert_eq!(answered(&output(0, Some(taken.clone()))).unwrap(), "e-1");
        for unanswered in [
            output(0, None),
            output(0, Some(PutEventsResultEntry::builder().build())),
            output(1, Some(taken)),
        ] {
            let error = answered(&unanswered).unwrap_err();
            assert!(matches!(error, EventBusError::Unanswered) && error.retry(), "{error}");
        }
        for (code, retry) in [
            ("ThrottlingException", true),
            ("InternalFailure", true),
            ("NotAuthorizedForSourceException", false),
            ("MalformedDetail", false),
            ("SomethingNew", false),
        ] {
            let error = answered(&output(1, Some(refused(code)))).unwrap_err();
            assert_eq!(error.to_string(), format!("PutEvents refused the event: {code}, why"));
            assert_eq!(error.retry(), retry, "{code}");
        }
    }
}
