use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};

use crate::{Action, Verdict};

/// The version of the finding's JSON form. Raised when a field changes its meaning or goes;
/// a new field does not raise it.
pub const SCHEMA: u32 = 1;

/// Which signature database judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Definitions {
    /// Version of the database container (ClamAV's `daily` version when that is the newest).
    pub version: u32,
    /// When it was built, RFC 3339, UTC.
    pub built: String,
    /// Its age at the time of the verdict, in whole hours.
    pub age_hours: u64,
    /// Whether that is more than the owner wants it to be; a verdict by them is worth less.
    pub stale: bool,
}

/// One object's verdict, with all that a subscriber needs to act on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Bucket name.
    pub bucket: String,
    /// Object key, decoded, exactly as S3 stores it.
    pub key: String,
    /// Version id; none on buckets without versioning.
    pub version: Option<String>,
    /// ETag of the bytes that were judged, without quotes.
    pub etag: Option<String>,
    /// S3's sequencer of the event; orders the events of one key.
    pub sequencer: Option<String>,
    /// Size of the object in bytes.
    pub size: u64,
    /// What was found out.
    pub verdict: Verdict,
    /// What was done about it.
    pub action: Action,
    /// Version of the ClamAV engine.
    pub engine: String,
    /// The definitions that judged.
    pub definitions: Definitions,
    /// From the start of the work on this object to the verdict, in milliseconds.
    pub duration_ms: u64,
}

/// The JSON form: the body under `MESSAGE_FORMAT=json`.
impl Serialize for Finding {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("schema", &SCHEMA)?;
        map.serialize_entry("bucket", &self.bucket)?;
        map.serialize_entry("key", &self.key)?;
        if let Some(version) = &self.version {
            map.serialize_entry("version", version)?;
        }
        if let Some(etag) = &self.etag {
            map.serialize_entry("etag", etag)?;
        }
        if let Some(sequencer) = &self.sequencer {
            map.serialize_entry("sequencer", sequencer)?;
        }
        map.serialize_entry("size", &self.size)?;
        map.serialize_entry("status", &self.verdict.status())?;
        map.serialize_entry("action", &self.action)?;
        match &self.verdict {
            Verdict::Clean => {}
            Verdict::Infected { signatures } => {
                map.serialize_entry("finding", &signatures.join(", "))?;
                map.serialize_entry("signatures", signatures)?;
            }
            Verdict::Unscannable { reason } => map.serialize_entry("reason", reason)?,
        }
        map.serialize_entry("engine", &self.engine)?;
        map.serialize_entry("definitions", &self.definitions)?;
        map.serialize_entry("duration_ms", &self.duration_ms)?;
        map.end()
    }
}
