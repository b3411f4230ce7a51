use std::collections::BTreeMap;

use serde::Deserialize;

use crate::message::{self, Said};
use crate::{Action, Definitions, SCHEMA, Status};

/// A finding as a subscriber has it: what the signed body says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedFinding {
    /// Bucket name.
    pub bucket: String,
    /// Object key, decoded, exactly as S3 stores it.
    pub key: String,
    /// Version id; none on buckets without versioning.
    pub version: Option<String>,
    /// The verdict in one word.
    pub status: Status,
    /// What was done about it.
    pub action: Action,
    /// What only the JSON form says.
    pub details: Option<Details>,
}

/// What the JSON form of a finding says besides.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Details {
    /// ETag of the bytes that were judged, without quotes.
    pub etag: Option<String>,
    /// S3's sequencer of the event; orders the events of one key.
    pub sequencer: Option<String>,
    /// Size of the object in bytes.
    pub size: u64,
    /// The engine's names of what it found; empty unless infected.
    #[serde(default)]
    pub signatures: Vec<String>,
    /// Why there is no verdict; only for [`Status::No`]. A text, because a newer scanner may know
    /// more reasons than this crate ([`Reason::ALL`](crate::Reason::ALL)).
    pub reason: Option<String>,
    /// Version of the ClamAV engine.
    pub engine: String,
    /// The definitions that judged.
    pub definitions: Definitions,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
}

/// Why a message is not taken for a finding.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Something else: a CloudWatch alarm, say, or a message of another program. Acknowledge it.
    #[error("the message is no finding of s3-virusscan")]
    NotAFinding,
    /// A finding of a form that this version cannot read.
    #[error("the finding's JSON form has another schema than {SCHEMA}")]
    Schema,
    /// A finding with something missing or wrong in it.
    #[error("the finding is malformed")]
    Malformed(#[source] serde_json::Error),
    /// The attributes, which are not signed, say something else than the body, which is.
    #[error("the attribute `{name}` says something else than the signed body: it was changed")]
    AttributesDisagree {
        /// Its name.
        name: &'static str,
    },
}

impl ReadError {
    /// A stable word for logs and metrics.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotAFinding => "not-a-finding",
            Self::Schema => "schema",
            Self::Malformed(_) => "malformed",
            Self::AttributesDisagree { .. } => "attributes-disagree",
        }
    }

    /// Whether the same message may be read when it comes again. Never: what arrived is what was
    /// published.
    #[must_use]
    pub fn retry(&self) -> bool {
        false
    }
}

#[derive(Deserialize)]
struct Json {
    bucket: String,
    key: String,
    version: Option<String>,
    status: Status,
    action: Action,
    #[serde(flatten)]
    details: Details,
}

impl ReceivedFinding {
    /// Reads a message's body in either form, and compares the attributes that came with it; what
    /// is returned is the body's alone.
    ///
    /// An attribute that is missing is no contradiction (a raw delivery over HTTP has none). What
    /// the text form does not say (`finding`, `reason`, `definitions`) cannot be compared there.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn read(body: &str, attributes: &BTreeMap<String, String>) -> Result<Self, ReadError> {
        let finding = match body.trim_start().starts_with('{') {
            true => json(body)?,
            false => text(body).ok_or(ReadError::NotAFinding)?,
        };
        finding.compare(attributes)?;
        Ok(finding)
    }

    fn compare(&self, attributes: &BTreeMap<String, String>) -> Result<(), ReadError> {
        let details = self.details.as_ref();
        let said: BTreeMap<_, _> = message::attributes(&Said {
            bucket: &self.bucket,
            key: &self.key,
            version: self.version.as_deref(),
            status: self.status,
            action: self.action,
            signatures: details.map_or(&[], |details| &details.signatures),
            reason: details.and_then(|details| details.reason.as_deref()),
            definitions: details.map(|details| &details.definitions),
        })
        .into_iter()
        .collect();
        let names = match details {
            Some(_) => message::ATTRIBUTES.as_slice(),
            None => &message::ATTRIBUTES[..message::IN_BOTH_FORMS],
        };
        for &name in names {
            if attributes.get(name).is_some_and(|value| Some(value) != said.get(name)) {
                return Err(ReadError::AttributesDisagree { name });
            }
        }
        Ok(())
    }
}

fn json(body: &str) -> Result<ReceivedFinding, ReadError> {
    let value: serde_json::Value =
        serde_json::from_str(body).map_err(|_| ReadError::NotAFinding)?;
    if ["schema", "bucket", "key", "status"].iter().any(|field| value.get(field).is_none()) {
        return Err(ReadError::NotAFinding);
    }
    if value["schema"] != SCHEMA {
        return Err(ReadError::Schema);
    }
    let Json { bucket, key, version, status, action, details } =
        serde_json::from_value(value).map_err(ReadError::Malformed)?;
    Ok(ReceivedFinding { bucket, key, version, status, action, details: Some(details) })
}

/// The sentence of Widdix's stack, read from its end, because a key may hold anything:
/// `s3://<bucket>/<key> <version> is <status>, <action> action executed`. Bucket names have no
/// slash and version ids no space, so there is one way to read it.
fn text(body: &str) -> Option<ReceivedFinding> {
    let rest = body.strip_prefix("s3://")?.strip_suffix(" action executed")?;
    let (rest, action) = rest.rsplit_once(", ")?;
    let (rest, status) = rest.rsplit_once(" is ")?;
    let (object, version) = rest.rsplit_once(' ')?;
    let (bucket, key) = object.split_once('/')?;
    if bucket.is_empty() || key.is_empty() {
        return None;
    }
    Some(ReceivedFinding {
        bucket: bucket.to_owned(),
        key: key.to_owned(),
        version: Some(version).filter(|version| !version.is_empty()).map(str::to_owned),
        status: word(status)?,
        action: word(action)?,
        details: None,
    })
}

/// One of the words that the JSON form uses too.
fn word<'a, T: Deserialize<'a>>(text: &'a str) -> Option<T> {
    T::deserialize(serde::de::value::BorrowedStrDeserializer::<serde::de::value::Error>::new(text))
        .ok()
}

#[cfg(test)]
#[path = "finding_tests.rs"]
mod tests;
