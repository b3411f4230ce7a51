//! Trigger event → objects. Pure: no I/O, no clock, no environment.
//!
//! Whatever wakes the function (S3 itself, a queue, a topic, both nested, EventBridge, a job sent
//! by hand) becomes the same [`ObjectRef`]s here; nothing behind this module knows the trigger.
//! What cannot be understood is an [`EventError`], never a silent skip.

use aws_lambda_events::eventbridge::EventBridgeEvent;
use aws_lambda_events::s3::S3Entity;
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// S3 in SNS in SQS is two envelopes; twice that is no event any more.
const MAX_ENVELOPES: u8 = 4;

/// One object that a trigger named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectRef {
    /// Bucket name; never empty.
    pub bucket: String,
    /// Object key, decoded; never empty.
    pub key: String,
    /// Version id. `null`, the one id that can be overwritten, counts as none.
    pub version_id: Option<String>,
    /// ETag without quotes.
    pub etag: Option<String>,
    /// Size in bytes as the event says it.
    pub size: Option<u64>,
    /// Orders the events of one key.
    pub sequencer: Option<String>,
}

/// One entry of an event: an object to scan, or why it could not be read as one.
pub type Entry = Result<ObjectRef, EventError>;

/// A parsed event, by how failures have to be answered.
#[derive(Debug)]
pub enum Trigger {
    /// A batch from SQS: each message is answered for on its own.
    Queue(Vec<QueueMessage>),
    /// Anything else: the invocation as a whole succeeds or fails.
    Direct(Vec<Entry>),
}

/// One SQS message.
#[derive(Debug)]
pub struct QueueMessage {
    /// What SQS calls the message in a partial batch response.
    pub id: String,
    /// How often SQS has handed it out, this time included (`ApproximateReceiveCount`, SQS developer
    /// guide); none when it does not say so in digits. Then no try is taken for the last one.
    pub receive_count: Option<u32>,
    /// The objects it names; empty for events that create none.
    pub entries: Vec<Entry>,
}

/// Why an event, or one of its entries, could not be understood.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// Not JSON.
    #[error("the message body is not JSON")]
    NotJson(#[source] serde_json::Error),
    /// None of the known forms.
    #[error(
        "the event has none of the known forms (S3 notification, SQS, SNS, EventBridge \
         \"Object Created\", {{\"objects\":[...]}}); its top-level fields are: {fields}"
    )]
    Unknown {
        /// Names of the fields that were seen.
        fields: String,
    },
    /// A known form with a field missing or of the wrong type.
    #[error("the {form} is malformed")]
    Malformed {
        /// Which form.
        form: &'static str,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// A known form without something that a scan needs.
    #[error("the {form} has no {field}")]
    Missing {
        /// Which form.
        form: &'static str,
        /// What is missing.
        field: &'static str,
    },
    /// The key does not decode to UTF-8.
    #[error("the object key `{key}` is not percent-encoded UTF-8")]
    Key {
        /// The key as it came.
        key: String,
    },
    /// Envelope in envelope in envelope.
    #[error("the event is wrapped in more than {MAX_ENVELOPES} envelopes")]
    TooDeep,
}

impl EventError {
    /// A stable word for logs and metrics.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotJson(_) => "event-not-json",
            Self::Unknown { .. } => "event-unknown",
            Self::Malformed { .. } | Self::Missing { .. } => "event-malformed",
            Self::Key { .. } => "event-key",
            Self::TooDeep => "event-too-deep",
        }
    }
}

/// Reads an event of any known form.
#[must_use]
pub fn parse(event: Value) -> Trigger {
    if is_queue_batch(&event) {
        let records = event["Records"].as_array().cloned().unwrap_or_default();
        return Trigger::Queue(records.into_iter().map(queue_message).collect());
    }
    Trigger::Direct(entries(event, 0))
}

fn is_queue_batch(event: &Value) -> bool {
    event["Records"]
        .as_array()
        .is_some_and(|records| records.iter().any(|r| r["eventSource"] == "aws:sqs"))
}

fn queue_message(record: Value) -> QueueMessage {
    let id = record["messageId"].as_str().unwrap_or_default().to_owned();
    let count = record["attributes"]["ApproximateReceiveCount"].as_str();
    let receive_count = count.and_then(|count| count.parse().ok());
    let entries = match record["body"].as_str() {
        Some(body) => entries_of_text(body, 1),
        None => vec![Err(EventError::Missing { form: "SQS message", field: "body" })],
    };
    QueueMessage { id, receive_count, entries }
}

fn entries_of_text(text: &str, depth: u8) -> Vec<Entry> {
    match serde_json::from_str(text) {
        Ok(value) => entries(value, depth),
        Err(error) => vec![Err(EventError::NotJson(error))],
    }
}

fn entries(mut event: Value, depth: u8) -> Vec<Entry> {
    if depth > MAX_ENVELOPES {
        return vec![Err(EventError::TooDeep)];
    }
    if let Some(records) = take_array(&mut event, "Records") {
        if records.is_empty() {
            return vec![Err(EventError::Missing { form: "event", field: "records" })];
        }
        return records.into_iter().flat_map(|record| record_entries(record, depth)).collect();
    }
    if let Some(objects) = take_array(&mut event, "objects") {
        if objects.is_empty() {
            return vec![Err(EventError::Missing { form: "job", field: "objects" })];
        }
        return objects.into_iter().map(job_entry).collect();
    }
    if event["detail-type"].is_string() && event["source"] == "aws.s3" {
        return event_bridge_entry(event).into_iter().collect();
    }
    // What S3 sends once when a notification is configured: nothing to scan.
    if event["Event"] == "s3:TestEvent" {
        return Vec::new();
    }
    // SNS in SQS without raw message delivery.
    if event["Type"] == "Notification"
        && let Some(message) = event["Message"].as_str()
    {
        return entries_of_text(message, depth + 1);
    }
    vec![Err(unknown(&event))]
}

fn take_array(event: &mut Value, field: &str) -> Option<Vec<Value>> {
    match event.get_mut(field)?.take() {
        Value::Array(items) => Some(items),
        _ => None,
    }
}

fn unknown(value: &Value) -> EventError {
    let fields = match value {
        Value::Object(map) => map.keys().take(20).cloned().collect::<Vec<_>>().join(", "),
        _ => "none".to_owned(),
    };
    EventError::Unknown { fields }
}

fn record_entries(record: Value, depth: u8) -> Vec<Entry> {
    if record["s3"].is_object() {
        return s3_entry(record).into_iter().collect();
    }
    if record["Sns"].is_object() {
        return match record["Sns"]["Message"].as_str() {
            Some(message) => entries_of_text(message, depth + 1),
            None => vec![Err(EventError::Missing { form: "SNS record", field: "message" })],
        };
    }
    vec![Err(unknown(&record))]
}

/// None for events that create no object. Only what a scan needs is asked for: a record that was
/// shortened by whoever passed it on is as good as S3's own.
fn s3_entry(mut record: Value) -> Option<Entry> {
    const FORM: &str = "S3 record";
    let Some(name) = record["eventName"].as_str() else {
        return Some(Err(EventError::Missing { form: FORM, field: "eventName" }));
    };
    if !name.trim_start_matches("s3:").starts_with("ObjectCreated:") {
        return None;
    }
    Some(created(record["s3"].take(), FORM))
}

fn created(entity: Value, form: &'static str) -> Entry {
    let S3Entity { bucket, object, .. } =
        serde_json::from_value(entity).map_err(|source| EventError::Malformed { form, source })?;
    checked(
        form,
        ObjectRef {
            bucket: bucket.name.unwrap_or_default(),
            key: decode_key(object.key.as_deref().unwrap_or_default())?,
            version_id: object.version_id,
            etag: object.e_tag,
            size: object.size.and_then(|size| size.try_into().ok()),
            sequencer: object.sequencer,
        },
    )
}

/// The detail of EventBridge's "Object Created"; its keys are not encoded (S3 user guide,
/// "EventBridge event message structure").
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
struct ObjectCreated {
    bucket: Bucket,
    object: Object,
}

#[derive(Debug, Deserialize, Serialize)]
struct Bucket {
    name: String,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Object {
    key: String,
    size: Option<u64>,
    etag: Option<String>,
    version_id: Option<String>,
    sequencer: Option<String>,
}

/// None for S3's other events.
fn event_bridge_entry(event: Value) -> Option<Entry> {
    const FORM: &str = "EventBridge event";
    if event["detail-type"] != "Object Created" {
        return None;
    }
    let event: EventBridgeEvent<ObjectCreated> = match serde_json::from_value(event) {
        Ok(event) => event,
        Err(source) => return Some(Err(EventError::Malformed { form: FORM, source })),
    };
    let ObjectCreated { bucket, object } = event.detail;
    Some(checked(
        FORM,
        ObjectRef {
            bucket: bucket.name,
            key: object.key,
            version_id: object.version_id,
            etag: object.etag,
            size: object.size,
            sequencer: object.sequencer,
        },
    ))
}

/// One object of the job form that Widdix's successor takes on its queue, keys not encoded.
#[derive(Debug, Deserialize)]
struct JobObject {
    bucket: String,
    key: String,
    version: Option<String>,
}

fn job_entry(object: Value) -> Entry {
    const FORM: &str = "job's object";
    let object: JobObject = serde_json::from_value(object)
        .map_err(|source| EventError::Malformed { form: FORM, source })?;
    checked(
        FORM,
        ObjectRef {
            bucket: object.bucket,
            key: object.key,
            version_id: object.version,
            etag: None,
            size: None,
            sequencer: None,
        },
    )
}

fn checked(form: &'static str, object: ObjectRef) -> Entry {
    if object.bucket.is_empty() {
        return Err(EventError::Missing { form, field: "bucket name" });
    }
    if object.key.is_empty() {
        return Err(EventError::Missing { form, field: "object key" });
    }
    let some = |text: Option<String>| text.filter(|text| !text.is_empty());
    Ok(ObjectRef {
        version_id: some(object.version_id).filter(|version| version != "null"),
        etag: some(object.etag.map(|etag| etag.trim_matches('"').to_owned())),
        sequencer: some(object.sequencer),
        ..object
    })
}

/// Keys in S3 notifications are form-encoded: space is `+`, the rest percent-encoded UTF-8 (S3
/// user guide, "Event message structure").
fn decode_key(encoded: &str) -> Result<String, EventError> {
    let spaced = encoded.replace('+', " ");
    match percent_decode_str(&spaced).decode_utf8() {
        Ok(key) => Ok(key.into_owned()),
        Err(_) => Err(EventError::Key { key: encoded.to_owned() }),
    }
}

#[cfg(test)]
#[path = "event_tests.rs"]
mod tests;
