//! Uploads, downloads, versions, deletes, and keys that are hard to carry.

use anyhow::{Context as _, ensure};
use aws_sdk_s3::Client;

use super::{PLAIN, VERSIONED, current, put, put_version, refused, text};
use crate::{Case, cases, same};

pub(super) fn cases(client: &Client) -> Vec<Case<'_>> {
    cases![client;
        an_upload_comes_back,
        the_entity_tag_is_the_quoted_md5,
        an_upload_replaces_in_a_plain_bucket,
        ranges_are_cut,
        a_range_outside_is_refused,
        an_empty_object_has_no_ranges,
        what_is_missing_is_named,
        a_head_has_no_error_code,
        versions_stay,
        a_version_that_is_gone_is_named,
        a_delete_marker_hides,
        a_delete_marker_cannot_be_read,
        a_delete_marker_is_all_that_is_deleted_with_it,
        deleting_a_delete_marker_says_so,
        a_plain_delete_is_final,
        deleting_nothing_is_no_error,
        odd_keys_stay_apart,
        a_key_may_have_1024_bytes,
        a_longer_key_is_refused,
    ]
}

async fn an_upload_comes_back(client: &Client) -> anyhow::Result<()> {
    let upload = client.put_object().bucket(PLAIN).key("comes-back").content_type("text/x-odd");
    let upload = upload.metadata("scan", "never").body(b"hello".to_vec().into());
    upload.send().await.context("uploading")?;
    let get = client.get_object().bucket(PLAIN).key("comes-back").send().await?;
    same("length", get.content_length(), Some(5))?;
    same("content type", get.content_type(), Some("text/x-odd"))?;
    same("range", get.content_range(), None)?;
    same("version", get.version_id(), None)?;
    let metadata = get.metadata().and_then(|metadata| metadata.get("scan")).cloned();
    same("metadata", metadata.as_deref(), Some("never"))?;
    same("content", text(get).await?.as_str(), "hello")?;

    let head = client.head_object().bucket(PLAIN).key("comes-back").send().await?;
    same("length by HEAD", head.content_length(), Some(5))
}

// https://docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html
async fn the_entity_tag_is_the_quoted_md5(client: &Client) -> anyhow::Result<()> {
    let want = "\"5d41402abc4b2a76b9719d911017c592\"";
    let (_, e_tag) = put(client, PLAIN, "e-tag", "hello").await?;
    same("PUT", e_tag.as_str(), want)?;
    let get = client.get_object().bucket(PLAIN).key("e-tag").send().await?;
    same("GET", get.e_tag(), Some(want))?;
    let head = client.head_object().bucket(PLAIN).key("e-tag").send().await?;
    same("HEAD", head.e_tag(), Some(want))
}

async fn an_upload_replaces_in_a_plain_bucket(client: &Client) -> anyhow::Result<()> {
    let (version, _) = put(client, PLAIN, "replaced", "old").await?;
    same("version", version, None)?;
    put(client, PLAIN, "replaced", "new").await?;
    same("content", current(client, PLAIN, "replaced").await?.as_str(), "new")?;
    let null = client.get_object().bucket(PLAIN).key("replaced").version_id("null").send().await;
    same("content of null", text(null.context("version null")?).await?.as_str(), "new")
}

async fn ranges_are_cut(client: &Client) -> anyhow::Result<()> {
    put(client, PLAIN, "ranges", "0123456789").await?;
    for (range, content, content_range) in [
        ("bytes=2-4", "234", "bytes 2-4/10"),
        ("bytes=0-", "0123456789", "bytes 0-9/10"),
        ("bytes=7-", "789", "bytes 7-9/10"),
        ("bytes=8-99", "89", "bytes 8-9/10"),
        ("bytes=-3", "789", "bytes 7-9/10"),
    ] {
        let get = client.get_object().bucket(PLAIN).key("ranges").range(range).send().await;
        let get = get.context(range)?;
        same(range, get.content_range(), Some(content_range))?;
        same(range, get.content_length(), i64::try_from(content.len()).ok())?;
        same(range, text(get).await?.as_str(), content)?;
    }
    Ok(())
}

async fn a_range_outside_is_refused(client: &Client) -> anyhow::Result<()> {
    put(client, PLAIN, "outside", "0123456789").await?;
    let get = client.get_object().bucket(PLAIN).key("outside").range("bytes=10-").send().await;
    refused("from the end", get, "InvalidRange", 416)
}

async fn an_empty_object_has_no_ranges(client: &Client) -> anyhow::Result<()> {
    put(client, PLAIN, "empty", "").await?;
    same("content", current(client, PLAIN, "empty").await?.as_str(), "")?;
    let get = client.get_object().bucket(PLAIN).key("empty").range("bytes=0-").send().await;
    refused("bytes=0-", get, "InvalidRange", 416)
}

async fn what_is_missing_is_named(client: &Client) -> anyhow::Result<()> {
    let key = client.get_object().bucket(PLAIN).key("missing").send().await;
    refused("key", key, "NoSuchKey", 404)?;
    let bucket = client.get_object().bucket("contract-no-such-bucket").key("k").send().await;
    refused("bucket", bucket, "NoSuchBucket", 404)?;
    let bucket = client.put_object().bucket("contract-no-such-bucket").key("k").send().await;
    refused("bucket of an upload", bucket, "NoSuchBucket", 404)
}

async fn a_head_has_no_error_code(client: &Client) -> anyhow::Result<()> {
    let head = client.head_object().bucket(PLAIN).key("missing").send().await;
    let error = head.err().context("HEAD of a missing key succeeded")?;
    let not_found = error.as_service_error().is_some_and(|error| error.is_not_found());
    ensure!(not_found, "want the SDK's NotFound, got {error:?}");
    Ok(())
}

async fn versions_stay(client: &Client) -> anyhow::Result<()> {
    let old = put_version(client, "versions", "old").await?;
    let new = put_version(client, "versions", "new").await?;
    ensure!(old != new, "both versions have the id {old}");
    for (version, content) in [(&old, "old"), (&new, "new")] {
        let get = client.get_object().bucket(VERSIONED).key("versions").version_id(version);
        let get = get.send().await?;
        same("version", get.version_id(), Some(version.as_str()))?;
        same("content", text(get).await?.as_str(), content)?;
    }
    let get = client.get_object().bucket(VERSIONED).key("versions").send().await?;
    same("current version", get.version_id(), Some(new.as_str()))?;
    let head = client.head_object().bucket(VERSIONED).key("versions").version_id(&old);
    same("HEAD", head.send().await?.version_id(), Some(old.as_str()))
}

async fn a_version_that_is_gone_is_named(client: &Client) -> anyhow::Result<()> {
    let old = put_version(client, "gone", "old").await?;
    put_version(client, "gone", "new").await?;
    let delete = client.delete_object().bucket(VERSIONED).key("gone").version_id(&old);
    delete.send().await.context("deleting the version")?;
    let get = client.get_object().bucket(VERSIONED).key("gone").version_id(&old).send().await;
    refused("GET", get, "NoSuchVersion", 404)?;
    let tags = client.get_object_tagging().bucket(VERSIONED).key("gone").version_id(&old);
    refused("tags", tags.send().await, "NoSuchVersion", 404)?;
    same("current", current(client, VERSIONED, "gone").await?.as_str(), "new")
}

// https://docs.aws.amazon.com/AmazonS3/latest/userguide/DeleteMarker.html
async fn a_delete_marker_hides(client: &Client) -> anyhow::Result<()> {
    let old = put_version(client, "hidden", "old").await?;
    let delete = client.delete_object().bucket(VERSIONED).key("hidden").send().await?;
    same("is a marker", delete.delete_marker(), Some(true))?;
    let get = client.get_object().bucket(VERSIONED).key("hidden").send().await;
    refused("GET", get, "NoSuchKey", 404)?;
    let get = client.get_object().bucket(VERSIONED).key("hidden").version_id(&old).send().await?;
    same("what is hidden", text(get).await?.as_str(), "old")
}

async fn a_delete_marker_cannot_be_read(client: &Client) -> anyhow::Result<()> {
    let marker = put_marker(client, "marker").await?;
    let get = client.get_object().bucket(VERSIONED).key("marker").version_id(marker);
    refused("GET", get.send().await, "MethodNotAllowed", 405)
}

/// Uploads `old`, hides it behind a delete marker, and returns the marker's id.
async fn put_marker(client: &Client, key: &str) -> anyhow::Result<String> {
    put_version(client, key, "old").await?;
    let delete = client.delete_object().bucket(VERSIONED).key(key).send().await?;
    delete.version_id.context("a marker has an id")
}

async fn a_delete_marker_is_all_that_is_deleted_with_it(client: &Client) -> anyhow::Result<()> {
    let marker = put_marker(client, "back").await?;
    client.delete_object().bucket(VERSIONED).key("back").version_id(marker).send().await?;
    same("content", current(client, VERSIONED, "back").await?.as_str(), "old")
}

async fn deleting_a_delete_marker_says_so(client: &Client) -> anyhow::Result<()> {
    let marker = put_marker(client, "says-so").await?;
    let delete = client.delete_object().bucket(VERSIONED).key("says-so").version_id(marker);
    same("was a marker", delete.send().await?.delete_marker(), Some(true))
}

async fn a_plain_delete_is_final(client: &Client) -> anyhow::Result<()> {
    put(client, PLAIN, "final", "old").await?;
    let delete = client.delete_object().bucket(PLAIN).key("final").send().await?;
    same("version", delete.version_id(), None)?;
    let get = client.get_object().bucket(PLAIN).key("final").send().await;
    refused("GET", get, "NoSuchKey", 404)
}

async fn deleting_nothing_is_no_error(client: &Client) -> anyhow::Result<()> {
    let delete = client.delete_object().bucket(PLAIN).key("never-there").send().await;
    delete.context("deleting a key that is not there")?;
    Ok(())
}

// https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html
const ODD_KEYS: &[&str] = &[
    "two words",
    "a+b",
    "a b",
    "a%20b",
    "a%2Bb",
    "%",
    "grüße/日本語/🦠",
    "e\u{301}", // not the same as the next one
    "\u{e9}",
    "//",
    "/leading",
    "leading",
    "double//slash",
    "double/slash",
    "trailing/",
    "up/../key",
    "key",
    "./here",
    "here",
    "../outside",
    "quote\"'<&>",
    "?question#hash",
    "semi;colon=equals,comma@at$dollar",
    "back\\slash",
    "tilde~*!()[]{}|^`",
    "tab\there",
];

async fn odd_keys_stay_apart(client: &Client) -> anyhow::Result<()> {
    let mut wrong = Vec::new();
    for key in ODD_KEYS {
        let body = key.as_bytes().to_vec().into();
        if let Err(error) = client.put_object().bucket(PLAIN).key(*key).body(body).send().await {
            wrong.push(format!("{key:?} is not taken: {error:?}"));
        }
    }
    for key in ODD_KEYS {
        match current(client, PLAIN, key).await {
            Ok(content) if content == *key => {}
            Ok(content) => wrong.push(format!("{key:?} holds what went to {content:?}")),
            Err(error) => wrong.push(format!("{key:?} does not come back: {error:#}")),
        }
        let tags = client.get_object_tagging().bucket(PLAIN).key(*key).send().await;
        if tags.is_err() {
            wrong.push(format!("{key:?} has no tags: {tags:?}"));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("; "));
    Ok(())
}

async fn a_key_may_have_1024_bytes(client: &Client) -> anyhow::Result<()> {
    let longest = "ä".repeat(512);
    put(client, PLAIN, &longest, "x").await?;
    same("content", current(client, PLAIN, &longest).await?.as_str(), "x")
}

async fn a_longer_key_is_refused(client: &Client) -> anyhow::Result<()> {
    let longer = client.put_object().bucket(PLAIN).key("ä".repeat(512) + "x").send().await;
    refused("1025 bytes", longer, "KeyTooLongError", 400)
}
