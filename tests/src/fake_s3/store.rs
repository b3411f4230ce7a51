//! Buckets, versions and tags: the rules of S3, with no I/O and no clock but the upload's time.

use std::collections::BTreeMap;
use std::time::SystemTime;

use s3s::dto::{ETag, ETagCondition, Metadata, NotificationConfiguration};
use s3s::{S3Error, S3ErrorCode, S3Result, s3_error};

use super::Body;
use super::multipart::Multipart;

/// Whether a bucket keeps the versions of its objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Versioning {
    /// One version per key, with the id `null`; an upload replaces it.
    Off,
    /// Every upload is a version with an id; a delete without an id adds a delete marker.
    On,
}

pub(super) type Tags = BTreeMap<String, String>;

/// The id of the only version of an object in a bucket without versioning.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/versioning-workflows.html>
const NULL_VERSION: &str = "null";

/// The limits of a tag set; the lengths count characters.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-tagging.html>
const MAX_TAGS: usize = 10;
const MAX_TAG_KEY: usize = 128;
const MAX_TAG_VALUE: usize = 256;

#[derive(Clone, Debug)]
pub(super) struct Version {
    pub(super) id: String,
    /// `None` is a delete marker.
    pub(super) body: Option<Body>,
    pub(super) e_tag: String,
    pub(super) tags: Tags,
    pub(super) modified: SystemTime,
    pub(super) content_type: Option<String>,
    pub(super) metadata: Option<Metadata>,
    /// Whether it was stored with a key that its uploader keeps (SSE-C).
    pub(super) customer_key: bool,
}

impl Version {
    /// The id as answers carry it: S3 names no version in buckets without versioning.
    pub(super) fn shown_id(&self) -> Option<String> {
        (self.id != NULL_VERSION).then(|| self.id.clone())
    }

    /// `If-Match`: an error (412) unless the condition names this version's entity tag.
    pub(super) fn check_match(&self, condition: Option<&ETagCondition>) -> S3Result<()> {
        match condition {
            Some(ETagCondition::ETag(wanted))
                if !wanted.strong_cmp(&ETag::Strong(self.e_tag.clone())) =>
            {
                Err(precondition_failed())
            }
            _ => Ok(()),
        }
    }

    /// An error (400) if it is stored with a key that no request here brings.
    pub(super) fn check_key(&self) -> S3Result<()> {
        if self.customer_key {
            return Err(s3_error!(
                InvalidRequest,
                "The object was stored using a form of Server Side Encryption. The correct \
                 parameters must be provided to retrieve the object."
            ));
        }
        Ok(())
    }

    /// Whether `If-None-Match` names it.
    pub(super) fn is_one_of(&self, condition: Option<&ETagCondition>) -> bool {
        match condition {
            None => false,
            Some(ETagCondition::Any) => true,
            Some(ETagCondition::ETag(known)) => known.weak_cmp(&ETag::Strong(self.e_tag.clone())),
        }
    }
}

#[derive(Debug)]
pub(super) struct Bucket {
    pub(super) notifications: NotificationConfiguration,
    pub(super) policy: Option<String>,
    versioning: Versioning,
    /// The versions of each key, oldest first; never empty.
    objects: BTreeMap<String, Vec<Version>>,
}

/// What an upload brings beside its key.
#[derive(Debug, Default)]
pub(super) struct Upload {
    pub(super) tags: Tags,
    pub(super) content_type: Option<String>,
    pub(super) metadata: Option<Metadata>,
    pub(super) if_match: Option<ETagCondition>,
    pub(super) if_none_match: Option<ETagCondition>,
    /// Instead of the one that its bytes have, if it comes in parts.
    pub(super) e_tag: Option<String>,
    /// See [`Version::customer_key`].
    pub(super) customer_key: bool,
}

/// What a delete did.
#[derive(Debug, Default)]
pub(super) struct Deleted {
    pub(super) version_id: Option<String>,
    pub(super) delete_marker: bool,
}

#[derive(Debug, Default)]
pub(super) struct Store {
    buckets: BTreeMap<String, Bucket>,
    /// By their ids.
    pub(super) multiparts: BTreeMap<String, Multipart>,
    numbers: u64,
}

impl Store {
    pub(super) fn create(&mut self, bucket: &str, versioning: Versioning) {
        let made = Bucket {
            notifications: NotificationConfiguration::default(),
            policy: None,
            versioning,
            objects: BTreeMap::new(),
        };
        self.buckets.insert(bucket.to_owned(), made);
    }

    pub(super) fn put(
        &mut self,
        bucket: &str,
        key: &str,
        body: Body,
        upload: Upload,
    ) -> S3Result<Version> {
        self.check_write(bucket, key, &upload)?;
        let version = Version {
            id: String::new(),
            e_tag: upload.e_tag.unwrap_or_else(|| body.e_tag()),
            body: Some(body),
            tags: upload.tags,
            modified: SystemTime::now(),
            content_type: upload.content_type,
            metadata: upload.metadata,
            customer_key: upload.customer_key,
        };
        self.add(bucket, key, version)
    }

    /// The current version, or the one with that id.
    pub(super) fn get(
        &mut self,
        bucket: &str,
        key: &str,
        id: Option<&str>,
    ) -> S3Result<&mut Version> {
        let versions = self.bucket(bucket)?.objects.get_mut(key);
        let Some(id) = id else {
            return match versions.and_then(|versions| versions.last_mut()) {
                Some(version) if version.body.is_some() => Ok(version),
                _ => Err(s3_error!(NoSuchKey, "The specified key does not exist.")),
            };
        };
        match versions.and_then(|versions| versions.iter_mut().find(|version| version.id == id)) {
            Some(version) if version.body.is_some() => Ok(version),
            // A delete marker can be deleted by its id, and nothing else.
            // https://docs.aws.amazon.com/AmazonS3/latest/userguide/DeleteMarker.html
            Some(_) => Err(s3_error!(MethodNotAllowed, "This version is a delete marker.")),
            None => Err(s3_error!(NoSuchVersion, "The specified version does not exist.")),
        }
    }

    /// The current versions of the keys that begin with `prefix` and come after `after`, in the
    /// order of their bytes.
    pub(super) fn list(
        &mut self,
        bucket: &str,
        prefix: &str,
        after: &str,
    ) -> S3Result<Vec<(String, Version)>> {
        let objects = &self.bucket(bucket)?.objects;
        let wanted = objects.iter().filter(|(key, _)| {
            key.starts_with(prefix) && (after.is_empty() || key.as_str() > after)
        });
        let current = wanted.filter_map(|(key, versions)| {
            let version = versions.last().filter(|version| version.body.is_some())?;
            Some((key.clone(), version.clone()))
        });
        Ok(current.collect())
    }

    pub(super) fn delete(
        &mut self,
        bucket: &str,
        key: &str,
        id: Option<&str>,
        if_match: Option<&ETagCondition>,
    ) -> S3Result<Deleted> {
        if if_match.is_some() {
            // Only ever judged by the current version, whichever is to be deleted.
            // https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-deletes.html
            self.get(bucket, key, None)?.check_match(if_match)?;
        }
        let found = self.bucket(bucket)?;
        if id.is_none() && found.versioning == Versioning::On {
            let marker = Version {
                id: String::new(),
                body: None,
                e_tag: String::new(),
                tags: Tags::new(),
                modified: SystemTime::now(),
                content_type: None,
                metadata: None,
                customer_key: false,
            };
            let version_id = self.add(bucket, key, marker)?.shown_id();
            return Ok(Deleted { version_id, delete_marker: true });
        }
        let id = id.unwrap_or(NULL_VERSION);
        let Some(versions) = found.objects.get_mut(key) else { return Ok(Deleted::default()) };
        let gone = versions.iter().position(|version| version.id == id);
        let gone = gone.map(|index| versions.remove(index));
        if versions.is_empty() {
            found.objects.remove(key);
        }
        Ok(gone.map_or_else(Deleted::default, |gone| Deleted {
            version_id: gone.shown_id(),
            delete_marker: gone.body.is_none(),
        }))
    }

    fn check_write(&mut self, bucket: &str, key: &str, upload: &Upload) -> S3Result<()> {
        let current = self.get(bucket, key, None);
        match (&upload.if_match, current) {
            (Some(condition), Ok(version)) => version.check_match(Some(condition))?,
            (Some(_), Err(error)) => return Err(error),
            (None, Ok(_)) if upload.if_none_match.is_some() => return Err(precondition_failed()),
            (None, Err(error)) if *error.code() == S3ErrorCode::NoSuchBucket => return Err(error),
            _ => {}
        }
        Ok(())
    }

    fn add(&mut self, bucket: &str, key: &str, mut version: Version) -> S3Result<Version> {
        let id = format!("version-{:04}", self.next_number());
        let bucket = self.bucket(bucket)?;
        let versions = bucket.objects.entry(key.to_owned()).or_default();
        version.id = match bucket.versioning {
            Versioning::On => id,
            Versioning::Off => {
                versions.clear();
                NULL_VERSION.to_owned()
            }
        };
        versions.push(version.clone());
        Ok(version)
    }

    /// No id comes twice.
    pub(super) fn next_number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    pub(super) fn bucket(&mut self, name: &str) -> S3Result<&mut Bucket> {
        self.buckets
            .get_mut(name)
            .ok_or_else(|| s3_error!(NoSuchBucket, "The specified bucket does not exist"))
    }
}

/// The tag set that S3 stores for `tags`, or the error that it answers.
pub(super) fn checked_tags<I>(tags: I) -> S3Result<Tags>
where
    I: IntoIterator<Item = (String, String)>,
{
    let mut checked = Tags::new();
    for (key, value) in tags {
        if !valid(&key, 1..=MAX_TAG_KEY) || key.starts_with("aws:") {
            return Err(s3_error!(InvalidTag, "The TagKey you have provided is invalid"));
        }
        if !valid(&value, 0..=MAX_TAG_VALUE) {
            return Err(s3_error!(InvalidTag, "The TagValue you have provided is invalid"));
        }
        if checked.insert(key, value).is_some() {
            return Err(s3_error!(InvalidTag, "Cannot provide multiple Tags with the same key"));
        }
    }
    if checked.len() > MAX_TAGS {
        // S3 has no code of its own for this one.
        let code = S3ErrorCode::Custom("BadRequest".into());
        let mut error = S3Error::with_message(code, "Object tags cannot be greater than 10");
        error.set_status_code(http::StatusCode::BAD_REQUEST);
        return Err(error);
    }
    Ok(checked)
}

fn valid(text: &str, length: std::ops::RangeInclusive<usize>) -> bool {
    length.contains(&text.chars().count())
        && text.chars().all(|c| c.is_alphanumeric() || " +-=._:/@".contains(c))
}

fn precondition_failed() -> S3Error {
    s3_error!(PreconditionFailed, "At least one of the pre-conditions you specified did not hold")
}
