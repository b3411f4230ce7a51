//! The one wide record of each object: the log line, and at the same time the metrics, which
//! CloudWatch reads out of it (embedded metric format).
//!
//! Only what is listed under `_aws` becomes a metric, because each metric and dimension is billed;
//! everything else is for queries.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use function_common::manifest::Manifest;
use notifier_common::{Action, Definitions, Finding, Reason, Status, Verdict};
use serde::Serialize;
use serde_json::{Value, json};

use crate::event::ObjectRef;

/// What happened to one object.
#[derive(Debug, Clone, Serialize)]
pub struct Record {
    /// Bucket name.
    pub bucket: String,
    /// Object key.
    pub key: String,
    /// Version id that was scanned, else the one that was named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// ETag that was scanned, else the one that was named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// S3's sequencer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sequencer: Option<String>,
    /// How often SQS has handed out the message that named it; none for events from elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receive_count: Option<u32>,
    /// The outcome in one word; `unknown` until there is one.
    pub outcome: Outcome,
    /// What clamd found.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub signatures: Vec<String>,
    /// Why there is no verdict, or why the object was skipped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// clamd's own name of what it did not look at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// What was done to an infected object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<Action>,
    /// What became of the tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<&'static str>,
    /// Whether the finding was published to the topic.
    pub published: bool,
    /// EventBridge's id of the event that carries the finding; none when none was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_id: Option<String>,
    /// The failed step's code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<&'static str>,
    /// What failed, on what, why, and what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_message: Option<String>,
    /// Whether another delivery may end otherwise by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry: Option<bool>,
    /// Size of the object in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Version of the engine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
    /// The definitions that judged, or were about to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub definitions: Option<Definitions>,
    /// The generation of definitions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<String>,
    /// Whether the shard for Windows programs was asked too.
    pub pe: bool,
    /// Whether the platform let clamd be confined as far as we ask.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confined: Option<bool>,
    /// The share of the function's memory that was in use after the scan.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_percent: Option<u64>,
    /// Bytes that clamd took.
    pub bytes_scanned: u64,
    /// Members that clamd was given one by one, because the archive is too large for it.
    pub members: u64,
    /// Broken S3 connections that were survived.
    pub resumes: u32,
    /// Times that the object was scanned: more than once when clamd died or it was overwritten.
    pub scans: u32,
    /// Waiting for a free clamd, starting it included, in milliseconds.
    pub wait_ms: u64,
    /// Until S3 answered, in milliseconds.
    pub open_ms: u64,
    /// While bytes went from S3 to clamd, in milliseconds.
    pub stream_ms: u64,
    /// From the last byte to clamd's answer, in milliseconds.
    pub engine_ms: u64,
    /// Tagging or deleting, in milliseconds.
    pub act_ms: u64,
    /// Publishing to the topic and the event bus, in milliseconds.
    pub publish_ms: u64,
    /// All of it, in milliseconds.
    pub total_ms: u64,
}

/// The outcome of one object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Work on it has not ended.
    Unknown,
    /// Verdict `clean`.
    Clean,
    /// Verdict `infected`.
    Infected,
    /// Verdict `no`.
    No,
    /// Nothing to do: deleted or overwritten since the event.
    Skipped,
    /// An error; it will be delivered again.
    Failed,
}

impl From<Status> for Outcome {
    fn from(status: Status) -> Self {
        match status {
            Status::Clean => Self::Clean,
            Status::Infected => Self::Infected,
            Status::No => Self::No,
        }
    }
}

impl Record {
    /// The record of an object on which work begins.
    #[must_use]
    pub fn new(object: &ObjectRef) -> Self {
        Self {
            bucket: object.bucket.clone(),
            key: object.key.clone(),
            version: object.version_id.clone(),
            etag: object.etag.clone(),
            sequencer: object.sequencer.clone(),
            size: object.size,
            ..Self::unread()
        }
    }

    /// The record of an event entry that names no object.
    #[must_use]
    pub fn unread() -> Self {
        Self {
            bucket: String::new(),
            key: String::new(),
            version: None,
            etag: None,
            sequencer: None,
            receive_count: None,
            outcome: Outcome::Unknown,
            signatures: Vec::new(),
            reason: None,
            detail: None,
            action: None,
            tag: None,
            published: false,
            event_id: None,
            error: None,
            error_message: None,
            retry: None,
            size: None,
            engine: None,
            definitions: None,
            generation: None,
            pe: false,
            confined: None,
            memory_percent: None,
            bytes_scanned: 0,
            members: 0,
            resumes: 0,
            scans: 0,
            wait_ms: 0,
            open_ms: 0,
            stream_ms: 0,
            engine_ms: 0,
            act_ms: 0,
            publish_ms: 0,
            total_ms: 0,
        }
    }

    /// Notes which definitions are about to judge.
    pub fn judged_by(&mut self, manifest: &Manifest) {
        self.generation = Some(manifest.generation.clone());
    }

    /// Takes the verdict over from a finding.
    pub fn judge(&mut self, finding: &Finding) {
        self.outcome = finding.verdict.status().into();
        self.action = Some(finding.action);
        match &finding.verdict {
            Verdict::Clean => {}
            Verdict::Infected { signatures } => self.signatures.clone_from(signatures),
            Verdict::Unscannable { reason } => self.reason = Some(Reason::as_str(*reason)),
        }
    }

    /// Notes an error.
    pub fn fail(&mut self, code: &'static str, message: String, retry: bool) {
        self.outcome = Outcome::Failed;
        self.error = Some(code);
        self.error_message = Some(message);
        self.retry = Some(retry);
    }
}

/// What all records of an invocation have in common.
#[derive(Debug, Clone)]
pub struct Context {
    /// CloudWatch namespace.
    pub namespace: String,
    /// Name of the function.
    pub function: String,
    /// Id of the invocation.
    pub request_id: String,
    /// Whether this is the sandbox's first invocation.
    pub cold_start: bool,
}

/// The line for stdout: one JSON object with the EMF header.
#[must_use]
pub fn line(record: &Record, context: &Context, now: SystemTime) -> String {
    let milliseconds = now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_millis();
    let mut directives = vec![json!({
        "Namespace": context.namespace,
        "Dimensions": [["function", "outcome"]],
        "Metrics": [
            {"Name": "objects", "Unit": "Count"},
            {"Name": "bytes_scanned", "Unit": "Bytes"},
            {"Name": "total_ms", "Unit": "Milliseconds"},
        ],
    })];
    // Tries after the first, which no other metric tells from first ones.
    let redelivered = record.receive_count.is_some_and(|count| count > 1);
    if redelivered {
        directives.push(json!({
            "Namespace": context.namespace,
            "Dimensions": [["function"]],
            "Metrics": [{"Name": "redelivered", "Unit": "Count"}],
        }));
    }
    let mut gauges = Vec::new();
    if record.definitions.is_some() {
        gauges.push(json!({"Name": "definitions_age_hours", "Unit": "None"}));
    }
    if record.memory_percent.is_some() {
        gauges.push(json!({"Name": "memory_percent", "Unit": "Percent"}));
    }
    if !gauges.is_empty() {
        directives.push(json!({
            "Namespace": context.namespace,
            "Dimensions": [["function"]],
            "Metrics": gauges,
        }));
    }
    let mut line = json!({
        "_aws": {
            // 584 million years of milliseconds fit.
            "Timestamp": u64::try_from(milliseconds).unwrap_or(u64::MAX),
            "CloudWatchMetrics": directives,
        },
        "objects": 1,
        "function": context.function,
        "request_id": context.request_id,
        "cold_start": context.cold_start,
    });
    // A metric has to be a member of the root.
    if redelivered {
        line["redelivered"] = 1.into();
    }
    if let Some(definitions) = &record.definitions {
        line["definitions_age_hours"] = definitions.age_hours.into();
    }
    if let (Value::Object(line), Ok(Value::Object(fields))) =
        (&mut line, serde_json::to_value(record))
    {
        line.extend(fields);
    }
    line.to_string()
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
