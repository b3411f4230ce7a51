//! Reads one object from S3: exactly the version that was named, as a stream that survives broken
//! connections, or a part of it; never as a whole in memory and never on disk.

use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_sdk_s3::Client;
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::primitives::{AggregatedBytes, ByteStream};
use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use bytes::Bytes;
use futures_util::{Stream, stream};

use crate::event::ObjectRef;
use function_common::service_error::{ServiceError, chain};

/// Broken connections in a row, without one new byte between them, after which a read is given up.
const RESUMES: usize = 5;

/// Pause before the first of them; each next one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// One object, opened. All reads of it are of the same bytes.
#[derive(Debug)]
pub struct Object {
    /// Where it comes from.
    pub source: Source,
    body: ByteStream,
}

/// Where an object's bytes are.
#[derive(Debug, Clone)]
pub struct Source {
    client: Client,
    bucket: String,
    key: String,
    /// Which bytes these are.
    pub identity: Identity,
}

/// What opening found.
#[derive(Debug)]
pub enum Opened {
    /// The object, ready to be read.
    Object(Box<Object>),
    /// It does not exist any more.
    Deleted,
    /// It was overwritten since the event; the new bytes have an event of their own.
    Superseded,
    /// It lies in an archive storage class and cannot be read before somebody restores it.
    Archived(Identity),
    /// It is encrypted with a key that only its uploader has (SSE-C).
    CustomerKey(Identity),
}

/// Which bytes exactly: what every later step holds on to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Version id, when the bucket has versioning. The id `null` can be overwritten, so it
    /// identifies nothing and counts as none.
    pub version_id: Option<String>,
    /// ETag without quotes.
    pub etag: String,
    /// Size in bytes.
    pub size: u64,
}

impl Identity {
    fn new(
        version_id: Option<&str>,
        etag: Option<&str>,
        length: Option<i64>,
    ) -> Result<Self, ReadError> {
        let size = length.and_then(|length| u64::try_from(length).ok());
        Ok(Self {
            version_id: version_id.filter(|id| *id != "null").map(str::to_owned),
            etag: etag.ok_or(ReadError::Incomplete { field: "ETag" })?.trim_matches('"').to_owned(),
            size: size.ok_or(ReadError::Incomplete { field: "Content-Length" })?,
        })
    }
}

/// Why an object cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// S3 refused.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// The answer lacks what a safe read needs.
    #[error("GetObject answered without {field}")]
    Incomplete {
        /// The header that is missing.
        field: &'static str,
    },
    /// The connection broke again and again.
    #[error("reading broke off at byte {at} of {size}: {cause}")]
    Broken {
        /// Bytes that came.
        at: u64,
        /// Bytes that there are.
        size: u64,
        /// The last cause.
        cause: String,
    },
    /// More bytes came than there are, or another range than was asked for.
    #[error("S3 sent other bytes than were asked for at byte {at} of {size}")]
    Range {
        /// Bytes that came before.
        at: u64,
        /// Bytes that there are.
        size: u64,
    },
    /// Its bytes are a customer's secret, and nobody says which bytes they are.
    #[error(
        "the object is encrypted with a customer-provided key (SSE-C), and neither the event nor \
         the bucket's listing says this version's ETag and size; name no version, or send the event \
         of S3"
    )]
    Unnamed,
    /// The object was overwritten while it was read.
    #[error("the object was overwritten or deleted while it was read")]
    Changed,
}

impl ReadError {
    /// Whether a later delivery may end otherwise.
    #[must_use]
    pub fn retry(&self) -> bool {
        match self {
            Self::Service(error) => error.retry(),
            Self::Incomplete { .. } | Self::Unnamed => false,
            Self::Broken { .. } | Self::Range { .. } | Self::Changed => true,
        }
    }
}

/// Opens the object that `reference` names: by version id, else if it still has the ETag.
///
/// # Errors
/// When S3 refuses or answers without size or ETag.
pub async fn open(client: &Client, reference: &ObjectRef) -> Result<Opened, ReadError> {
    let request = client
        .get_object()
        .bucket(&reference.bucket)
        .key(&reference.key)
        .set_version_id(reference.version_id.clone());
    let request = match (&reference.version_id, &reference.etag) {
        (None, Some(etag)) => request.if_match(quoted(etag)),
        _ => request,
    };
    let answer = match request.send().await {
        Ok(answer) => answer,
        Err(error) => {
            return match ServiceError::new("GetObject", &error) {
                error if error.is_gone() => Ok(Opened::Deleted),
                error if error.is_changed() => Ok(Opened::Superseded),
                error if error.is_archived() => archived(client, reference).await,
                error if error.is_customer_key() => customer_key(client, reference).await,
                error => Err(error.into()),
            };
        }
    };
    let identity = Identity::new(answer.version_id(), answer.e_tag(), answer.content_length())?;
    let source = Source {
        client: client.clone(),
        bucket: reference.bucket.clone(),
        key: reference.key.clone(),
        identity,
    };
    Ok(Opened::Object(Box::new(Object { source, body: answer.body })))
}

/// The answer to a refused GET names no bytes; HEAD of an archived object does.
async fn archived(client: &Client, reference: &ObjectRef) -> Result<Opened, ReadError> {
    let request = client
        .head_object()
        .bucket(&reference.bucket)
        .key(&reference.key)
        .set_version_id(reference.version_id.clone());
    match request.send().await {
        Ok(head) => {
            let identity = Identity::new(head.version_id(), head.e_tag(), head.content_length())?;
            Ok(Opened::Archived(identity))
        }
        Err(error) => match ServiceError::new("HeadObject", &error) {
            error if error.is_gone() => Ok(Opened::Deleted),
            error => Err(error.into()),
        },
    }
}

/// Without the key HEAD is refused too (S3 user guide, "Using server-side encryption with
/// customer-provided keys"). A version is what the event says; else the bucket's listing knows.
async fn customer_key(client: &Client, reference: &ObjectRef) -> Result<Opened, ReadError> {
    if reference.version_id.is_some() {
        let (Some(etag), Some(size)) = (reference.etag.clone(), reference.size) else {
            return Err(ReadError::Unnamed);
        };
        let version_id = reference.version_id.clone();
        return Ok(Opened::CustomerKey(Identity { version_id, etag, size }));
    }
    match listed(client, &reference.bucket, &reference.key).await? {
        None => Ok(Opened::Deleted),
        Some(now) if reference.etag.as_ref().is_some_and(|etag| *etag != now.etag) => {
            Ok(Opened::Superseded)
        }
        Some(now) => Ok(Opened::CustomerKey(now)),
    }
}

/// Which bytes are under a key now, from the bucket's listing, for objects that tell nobody else.
/// None when there is no such object.
///
/// # Errors
/// When S3 refuses, or lists the object without size or ETag.
pub(crate) async fn listed(
    client: &Client,
    bucket: &str,
    key: &str,
) -> Result<Option<Identity>, ReadError> {
    // Keys are listed in order, so that the key itself comes before all others that begin with it.
    let request = client.list_objects_v2().bucket(bucket).prefix(key).max_keys(1);
    let answer =
        request.send().await.map_err(|error| ServiceError::new("ListObjectsV2", &error))?;
    let found = answer.contents().iter().find(|object| object.key() == Some(key));
    found.map(|object| Identity::new(None, object.e_tag(), object.size())).transpose()
}

/// How far a read came; shared with whoever consumes the stream.
#[derive(Debug, Clone, Default)]
pub struct Progress(Arc<Mutex<ProgressState>>);

#[derive(Debug, Default)]
struct ProgressState {
    bytes: u64,
    resumes: u32,
    finished: Option<Instant>,
    failure: Option<ReadError>,
}

impl Progress {
    /// Bytes that were handed on.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.state().bytes
    }

    /// Broken connections that were survived.
    #[must_use]
    pub fn resumes(&self) -> u32 {
        self.state().resumes
    }

    /// When the last byte was handed on; none while bytes are missing.
    #[must_use]
    pub fn finished(&self) -> Option<Instant> {
        self.state().finished
    }

    /// Why the stream failed, if it was S3's side that failed.
    #[must_use]
    pub fn take_failure(&self) -> Option<ReadError> {
        self.state().failure.take()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, ProgressState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Object {
    /// The bytes, in order and all of them: a stream that ends without an error has brought exactly
    /// the object's size. A connection that breaks is taken up again where it broke, on the same version
    /// or ETag. An error leaves its cause in `progress`.
    pub fn into_stream(self, progress: Progress) -> impl Stream<Item = io::Result<Bytes>> {
        let reader = Reader { object: self, progress, backoff: backoff() };
        stream::try_unfold(reader, |mut reader| async {
            match reader.next().await {
                Ok(Some(bytes)) => Ok(Some((bytes, reader))),
                Ok(None) => Ok(None),
                Err(error) => {
                    reader.progress.state().failure = Some(error);
                    Err(io::Error::other("reading the object failed"))
                }
            }
        })
    }
}

fn backoff() -> ExponentialBackoff {
    ExponentialBuilder::default()
        .with_min_delay(FIRST_PAUSE)
        .with_max_times(RESUMES)
        .with_jitter()
        .build()
}

struct Reader {
    object: Object,
    progress: Progress,
    backoff: ExponentialBackoff,
}

impl Reader {
    async fn next(&mut self) -> Result<Option<Bytes>, ReadError> {
        let size = self.object.source.identity.size;
        loop {
            let at = self.progress.bytes();
            match self.object.body.next().await {
                Some(Ok(bytes)) => {
                    let after = at + bytes.len() as u64;
                    if after > size {
                        return Err(ReadError::Range { at, size });
                    }
                    self.progress.state().bytes = after;
                    self.backoff = backoff();
                    return Ok(Some(bytes));
                }
                None if at == size => {
                    self.progress.state().finished = Some(Instant::now());
                    return Ok(None);
                }
                None => self.resume("the body ended early".to_owned()).await?,
                // All bytes came and yet it fails: the checksum of the whole does not match.
                // There is nothing left to ask for.
                Some(Err(error)) if at == size => {
                    return Err(ReadError::Broken { at, size, cause: chain(&error) });
                }
                Some(Err(error)) => self.resume(chain(&error)).await?,
            }
        }
    }

    /// Asks for the rest, after a pause that grows while no byte comes.
    async fn resume(&mut self, cause: String) -> Result<(), ReadError> {
        let (at, size) = (self.progress.bytes(), self.object.source.identity.size);
        let Some(pause) = self.backoff.next() else {
            return Err(ReadError::Broken { at, size, cause });
        };
        tracing::warn!(at, size, cause, "reading broke off; resuming");
        tokio::time::sleep(pause).await;
        let range = format!("bytes={at}-");
        let answer = self.object.source.get(range).await?;
        if !is_range(&answer, at..size, size) {
            return Err(ReadError::Range { at, size });
        }
        self.object.body = answer.body;
        self.progress.state().resumes += 1;
        Ok(())
    }
}

impl Source {
    /// Reads a part of the object, which must not be empty, into memory.
    ///
    /// # Errors
    /// When S3 refuses, answers with another part, or the connection breaks again and again.
    pub async fn read(&self, range: Range<u64>) -> Result<Bytes, ReadError> {
        let (at, size) = (range.start, self.identity.size);
        let mut backoff = backoff();
        loop {
            let answer = self.get(format!("bytes={at}-{}", range.end - 1)).await?;
            if !is_range(&answer, range.clone(), size) {
                return Err(ReadError::Range { at, size });
            }
            let cause = match answer.body.collect().await.map(AggregatedBytes::into_bytes) {
                Ok(bytes) if bytes.len() as u64 == range.end - at => return Ok(bytes),
                Ok(_) => "the body ended early".to_owned(),
                Err(error) => chain(&error),
            };
            let Some(pause) = backoff.next() else {
                return Err(ReadError::Broken { at, size, cause });
            };
            tracing::warn!(at, size, cause, "reading broke off; once more");
            tokio::time::sleep(pause).await;
        }
    }

    /// A part of exactly these bytes, as S3 writes ranges.
    async fn get(&self, range: String) -> Result<GetObjectOutput, ReadError> {
        let request = self
            .client
            .get_object()
            .bucket(&self.bucket)
            .key(&self.key)
            .set_version_id(self.identity.version_id.clone())
            .if_match(quoted(&self.identity.etag))
            .range(range);
        request.send().await.map_err(|error| {
            let error = ServiceError::new("GetObject", &error);
            if error.is_gone() || error.is_changed() {
                ReadError::Changed
            } else {
                ReadError::Service(error)
            }
        })
    }
}

/// Whether the answer is this range of an object of `size` bytes: `bytes 5-99/100`.
fn is_range(answer: &GetObjectOutput, range: Range<u64>, size: u64) -> bool {
    let last = range.end.saturating_sub(1);
    answer.content_range() == Some(format!("bytes {}-{last}/{size}", range.start).as_str())
}

/// ETags go into `If-Match` in quotes.
pub(crate) fn quoted(etag: &str) -> String {
    format!("\"{etag}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_rest_of_the_same_object_is_the_rest() {
        let answer = |range: Option<&str>| {
            GetObjectOutput::builder().set_content_range(range.map(str::to_owned)).build()
        };
        let is_rest = |answer| is_range(&answer, 5..100, 100);
        assert!(is_rest(answer(Some("bytes 5-99/100"))));
        for other in ["bytes 0-99/100", "bytes 5-98/100", "bytes 5-99/101", "bytes 5-99/*"] {
            assert!(!is_rest(answer(Some(other))), "{other}");
        }
        // A server that knows no ranges sends everything again.
        assert!(!is_rest(answer(None)));
    }
}
