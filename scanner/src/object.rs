//! Reads one object from S3: exactly the version that was named, as a stream that survives broken
//! connections, or a part of it; never as a whole in memory and never on disk.

mod body;

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use function_common::service_error::ServiceError;

use crate::event::ObjectRef;
pub use body::Progress;

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

/// ETags go into `If-Match` in quotes.
pub(crate) fn quoted(etag: &str) -> String {
    format!("\"{etag}\"")
}
