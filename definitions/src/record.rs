//! The one wide record of each run: the log line, and at the same time the metrics, which
//! CloudWatch reads out of it (embedded metric format).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use function_common::manifest::{LeftOut, Manifest};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value, json};

/// What happened in one run.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Record {
    /// In one word: `published`, `nothing-new`, `overtaken`, else why there is no new generation.
    pub outcome: &'static str,
    /// What the mirror gave.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mirror: Option<&'static str>,
    /// Until when freshclam stays away, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cool_down_until: Option<String>,
    /// Versions of the databases as they were.
    pub versions_before: BTreeMap<String, u32>,
    /// Versions of the databases as they are.
    pub versions_after: BTreeMap<String, u32>,
    /// The engine that proves and scans.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
    /// The generation that is served when this is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<String>,
    /// Version of its newest database.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
    /// When that was built, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub built: Option<String>,
    /// Whether it is older than it may be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stale: Option<bool>,
    /// The owner's files that are not in it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOut>,
    /// Generations that were marked for deletion.
    pub retired: usize,
    /// Bytes that scanners download for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Bytes that their clamds read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unpacked_size: Option<u64>,
    /// The failed step's code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<&'static str>,
    /// What failed, on what, why, and what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_message: Option<String>,
    /// Whether a later run may end otherwise by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry: Option<bool>,
    /// How long each step took, in milliseconds.
    #[serde(flatten)]
    phases: BTreeMap<String, u64>,
    #[serde(skip)]
    age: Option<Duration>,
}

impl Record {
    /// Notes how long the step `name` took.
    pub fn phase(&mut self, name: &str, since: Instant) {
        self.phases.insert(format!("{name}_ms"), milliseconds(since.elapsed()));
    }

    /// Notes the generation that is served.
    pub fn serve(&mut self, manifest: &Manifest, now: Timestamp, stale: Duration) {
        self.generation = Some(manifest.generation.clone());
        self.version = Some(manifest.version);
        self.built = Some(manifest.built.clone());
        self.left_out = manifest.left_out.clone();
        self.size = Some(manifest.files().fold(0, |sum, file| sum.saturating_add(file.size)));
        self.unpacked_size = Some(manifest.unpacked_size());
        self.age = age(manifest, now);
        // An age that nobody can tell is none that may be trusted.
        self.stale = Some(self.age.is_none_or(|age| age > stale));
    }

    /// Whether there are definitions that are not too old.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        self.stale == Some(false)
    }
}

/// Age of the newest database in a generation; none when the manifest does not say it rightly. A
/// clock that goes wrong makes no negative one.
#[must_use]
pub fn age(manifest: &Manifest, now: Timestamp) -> Option<Duration> {
    let built: Timestamp = manifest.built.parse().ok()?;
    Some(Duration::try_from(now.duration_since(built)).unwrap_or(Duration::ZERO))
}

/// What is the same in all records of a function.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// CloudWatch namespace.
    pub namespace: &'a str,
    /// Name of the function.
    pub function: &'a str,
    /// Id of the invocation.
    pub request_id: &'a str,
}

/// The line for stdout: one JSON object with the EMF header (CloudWatch user guide, "Embedded
/// metric format specification").
#[must_use]
pub fn line(record: &Record, context: Context<'_>, now: Timestamp) -> String {
    let mut metrics = vec![json!({"Name": "updates", "Unit": "Count"})];
    let mut line = Map::new();
    line.insert("updates".into(), u64::from(record.error.is_none()).into());
    // Without definitions there is no age: a missing value is what the alarm is for.
    if let Some(age) = record.age {
        metrics.push(json!({"Name": "definitions_age_hours", "Unit": "None"}));
        line.insert("definitions_age_hours".into(), hours(age).into());
    }
    let header = json!({
        "Timestamp": now.as_millisecond(),
        "CloudWatchMetrics": [{
            "Namespace": context.namespace,
            "Dimensions": [["function"]],
            "Metrics": metrics,
        }],
    });
    line.insert("_aws".into(), header);
    line.insert("function".into(), context.function.into());
    line.insert("request_id".into(), context.request_id.into());
    if let Ok(Value::Object(fields)) = serde_json::to_value(record) {
        line.extend(fields);
    }
    Value::Object(line).to_string()
}

/// To a hundredth: the alarm asks for hours, people ask for less.
fn hours(age: Duration) -> f64 {
    (age.as_secs_f64() / 36.0).round() / 100.0
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(built: &str) -> Manifest {
        Manifest {
            format: 1,
            generation: "g".into(),
            version: 7,
            built: built.into(),
            published: built.into(),
            engine: "1.4.6".into(),
            previous: None,
            shards: vec![],
            left_out: vec![],
        }
    }

    const CONTEXT: Context<'_> = Context { namespace: "ns", function: "f", request_id: "r" };
    const STALE: Duration = Duration::from_hours(72);

    fn now() -> Timestamp {
        "2026-09-23T00:00:00Z".parse().unwrap()
    }

    /// The rules of the EMF specification that a wrong record breaks silently: every dimension is
    /// a string member of the root, every metric a number.
    #[test]
    fn every_dimension_and_metric_that_is_declared_is_there_with_its_type() {
        let mut record = Record { outcome: "published", ..Record::default() };
        record.serve(&manifest("2026-09-20T06:26:26Z"), now(), STALE);
        record.phase("freshclam", Instant::now());
        let line: Value = serde_json::from_str(&line(&record, CONTEXT, now())).unwrap();
        let directive = &line["_aws"]["CloudWatchMetrics"][0];
        assert_eq!(directive["Dimensions"], json!([["function"]]));
        assert!(line["function"].is_string() && line["freshclam_ms"].is_u64());
        for metric in directive["Metrics"].as_array().unwrap() {
            assert!(line[metric["Name"].as_str().unwrap()].is_number(), "{metric}");
        }
        assert_eq!(line["updates"], 1);
        assert_eq!(line["definitions_age_hours"], 65.56);
        assert_eq!(line["stale"], false);
    }

    #[test]
    fn a_failed_run_is_none_and_no_definitions_have_no_age() {
        let record = Record { outcome: "mirror-down", error: Some("x"), ..Record::default() };
        let line: Value = serde_json::from_str(&line(&record, CONTEXT, now())).unwrap();
        assert_eq!(line["updates"], 0);
        assert_eq!(line["definitions_age_hours"], Value::Null);
        let metrics = &line["_aws"]["CloudWatchMetrics"][0]["Metrics"];
        assert_eq!(metrics, &json!([{"Name": "updates", "Unit": "Count"}]));
    }

    #[test]
    fn definitions_are_stale_past_the_limit_or_when_their_age_is_unknown() {
        for (built, stale) in [
            ("2026-09-20T00:00:00Z", false),
            ("2026-09-19T23:59:59Z", true),
            ("2027-01-01T00:00:00Z", false),
            ("yesterday", true),
        ] {
            let mut record = Record::default();
            record.serve(&manifest(built), now(), STALE);
            assert_eq!((record.stale, record.is_fresh()), (Some(stale), !stale), "{built}");
        }
        assert!(!Record::default().is_fresh());
    }
}
