//! Writes the verdict's tag and leaves every other tag as it was.
//!
//! S3 can only replace a whole tag set, and never on a condition. So tags are read, merged and
//! written back; and on a bucket without versioning, where the object may be overwritten at any
//! moment, it is looked at before and after: a verdict for the old bytes must not stay on the new
//! ones.

use aws_sdk_s3::Client;
use aws_sdk_s3::types::{Tag, Tagging};
use notifier_common::Status;

use crate::object::{self, Identity, ReadError};
use function_common::service_error::ServiceError;

/// S3's limit for the tags of one object (S3 user guide, "Categorizing your objects using tags").
const MAX_TAGS: usize = 10;

/// The object whose tag is to be written: the very bytes that were scanned.
#[derive(Debug, Clone, Copy)]
pub struct Scanned<'a> {
    /// Bucket name.
    pub bucket: &'a str,
    /// Object key.
    pub key: &'a str,
    /// Which bytes.
    pub identity: &'a Identity,
}

/// What became of the tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tagged {
    /// It is written.
    Written,
    /// It was there already.
    Unchanged,
    /// The owner uses all ten tags; none is given up for ours.
    Full,
    /// The object does not exist any more.
    Deleted,
    /// The object was overwritten before the tag was written; the new bytes have an event.
    Superseded,
    /// The object was overwritten while the tag was written. The tag has been taken off the new
    /// bytes; their own scan may have been before that, so they must be scanned now.
    Overwritten,
}

impl Tagged {
    /// The word for the record.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Written => "written",
            Self::Unchanged => "unchanged",
            Self::Full => "ten-tags",
            Self::Deleted => "deleted",
            Self::Superseded => "superseded",
            Self::Overwritten => "overwritten",
        }
    }
}

/// Gives the object the tag `tag_key` = `status`, keeping all others.
///
/// # Errors
/// When S3 refuses to tell or to take the tags. Tags that cannot be read are not written.
pub async fn write(
    client: &Client,
    object: Scanned<'_>,
    tag_key: &str,
    status: Status,
) -> Result<Tagged, ServiceError> {
    match current(client, object).await? {
        Current::Same => {}
        Current::Deleted => return Ok(Tagged::Deleted),
        Current::Other => return Ok(Tagged::Superseded),
    }
    let Some(tags) = read(client, object).await? else {
        return Ok(Tagged::Deleted);
    };
    let tags = match merge(tags, tag_key, status) {
        Merged::Unchanged => return Ok(Tagged::Unchanged),
        Merged::Full => return Ok(Tagged::Full),
        Merged::Write(tags) => tags,
    };
    if !put(client, object, tags).await? {
        return Ok(Tagged::Deleted);
    }
    match current(client, object).await? {
        Current::Same => Ok(Tagged::Written),
        Current::Deleted => Ok(Tagged::Deleted),
        Current::Other => {
            remove(client, object, tag_key).await?;
            Ok(Tagged::Overwritten)
        }
    }
}

enum Current {
    Same,
    Other,
    Deleted,
}

/// Whether the bytes under this key are still those that were scanned. A version never changes.
async fn current(client: &Client, object: Scanned<'_>) -> Result<Current, ServiceError> {
    if object.identity.version_id.is_some() {
        return Ok(Current::Same);
    }
    match client.head_object().bucket(object.bucket).key(object.key).send().await {
        Ok(head)
            if head.e_tag().is_some_and(|etag| etag.trim_matches('"') == object.identity.etag) =>
        {
            Ok(Current::Same)
        }
        Ok(_) => Ok(Current::Other),
        Err(error) => match ServiceError::new("HeadObject", &error) {
            error if error.is_gone() => Ok(Current::Deleted),
            // A refusal of HEAD has no words. Most likely the key is the customer's (SSE-C).
            error if error.status == Some(400) => {
                match object::listed(client, object.bucket, object.key).await {
                    Ok(None) => Ok(Current::Deleted),
                    Ok(Some(now)) if now.etag == object.identity.etag => Ok(Current::Same),
                    Ok(Some(_)) => Ok(Current::Other),
                    Err(ReadError::Service(error)) => Err(error),
                    Err(_) => Err(error),
                }
            }
            error => Err(error),
        },
    }
}

/// None when the object is gone.
async fn read(client: &Client, object: Scanned<'_>) -> Result<Option<Vec<Tag>>, ServiceError> {
    let request = client
        .get_object_tagging()
        .bucket(object.bucket)
        .key(object.key)
        .set_version_id(object.identity.version_id.clone());
    match request.send().await {
        Ok(answer) => Ok(Some(answer.tag_set)),
        Err(error) => match ServiceError::new("GetObjectTagging", &error) {
            error if error.is_gone() => Ok(None),
            error => Err(error),
        },
    }
}

/// False when the object is gone.
async fn put(client: &Client, object: Scanned<'_>, tags: Vec<Tag>) -> Result<bool, ServiceError> {
    let tagging =
        Tagging::builder().set_tag_set(Some(tags)).build().expect("the only required field is set");
    let request = client
        .put_object_tagging()
        .bucket(object.bucket)
        .key(object.key)
        .set_version_id(object.identity.version_id.clone())
        .tagging(tagging);
    match request.send().await {
        Ok(_) => Ok(true),
        Err(error) => match ServiceError::new("PutObjectTagging", &error) {
            error if error.is_gone() => Ok(false),
            error => Err(error),
        },
    }
}

async fn remove(client: &Client, object: Scanned<'_>, tag_key: &str) -> Result<(), ServiceError> {
    let Some(mut tags) = read(client, object).await? else { return Ok(()) };
    let before = tags.len();
    tags.retain(|tag| tag.key() != tag_key);
    if tags.len() < before {
        put(client, object, tags).await?;
    }
    Ok(())
}

#[derive(Debug, PartialEq)]
enum Merged {
    Unchanged,
    Full,
    Write(Vec<Tag>),
}

fn merge(mut tags: Vec<Tag>, tag_key: &str, status: Status) -> Merged {
    let ours =
        Tag::builder().key(tag_key).value(status.as_str()).build().expect("key and value are set");
    match tags.iter().position(|tag| tag.key() == tag_key) {
        Some(at) if tags[at].value() == ours.value() => return Merged::Unchanged,
        Some(at) => tags[at] = ours,
        None if tags.len() >= MAX_TAGS => return Merged::Full,
        None => tags.push(ours),
    }
    Merged::Write(tags)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(key: &str, value: &str) -> Tag {
        Tag::builder().key(key).value(value).build().unwrap()
    }

    #[test]
    fn foreign_tags_stay_and_ours_is_added_or_replaced_in_place() {
        let foreign = vec![tag("a", "1"), tag("b", ""), tag("S3-VirusScan", "x")];
        let mut with_clean = foreign.clone();
        with_clean.push(tag("s3-virusscan", "clean"));
        assert_eq!(
            merge(foreign, "s3-virusscan", Status::Clean),
            Merged::Write(with_clean.clone())
        );
        let mut with_infected = with_clean.clone();
        with_infected[3] = tag("s3-virusscan", "infected");
        assert_eq!(
            merge(with_clean.clone(), "s3-virusscan", Status::Infected),
            Merged::Write(with_infected)
        );
        assert_eq!(merge(with_clean, "s3-virusscan", Status::Clean), Merged::Unchanged);
    }

    #[test]
    fn ten_foreign_tags_are_left_alone_but_ours_among_ten_is_replaced() {
        let mut tags: Vec<_> = (0..10).map(|n| tag(&n.to_string(), "x")).collect();
        assert_eq!(merge(tags.clone(), "s3-virusscan", Status::Clean), Merged::Full);
        tags[9] = tag("s3-virusscan", "clean");
        let Merged::Write(merged) = merge(tags, "s3-virusscan", Status::No) else { panic!() };
        assert_eq!((merged.len(), merged[9].value()), (10, "no"));
    }
}
