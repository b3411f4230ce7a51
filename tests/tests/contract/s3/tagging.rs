//! Tags: whose they are, and which are refused.
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-tagging.html>

use std::collections::BTreeMap;

use anyhow::Context as _;
use aws_sdk_s3::Client;
use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::operation::put_object_tagging::{PutObjectTaggingError, PutObjectTaggingOutput};
use aws_sdk_s3::types::{Tag, Tagging};

use super::{PLAIN, VERSIONED, put, put_version, refused};
use crate::{Case, cases, same};

pub(super) fn cases(client: &Client) -> Vec<Case<'_>> {
    cases![client;
        a_new_object_has_no_tags,
        tags_are_replaced_as_a_whole,
        each_version_has_its_own,
        a_tagging_answer_names_the_version,
        an_upload_brings_its_tags_and_drops_the_old,
        tags_can_all_be_taken_off,
        what_is_missing_has_no_tags,
        ten_tags_and_no_more,
        a_tag_key_comes_once,
        tag_keys_differ_by_case,
        tags_have_lengths,
        tags_have_an_alphabet,
        the_prefix_aws_is_reserved,
    ]
}

type Set = Result<PutObjectTaggingOutput, SdkError<PutObjectTaggingError>>;

async fn set(
    client: &Client,
    bucket: &str,
    key: &str,
    version: Option<&str>,
    tags: &[(&str, &str)],
) -> Set {
    let tags = tags.iter().map(|(key, value)| {
        Tag::builder().key(*key).value(*value).build().expect("key and value are given")
    });
    let tagging = Tagging::builder().set_tag_set(Some(tags.collect())).build();
    let call = client.put_object_tagging().bucket(bucket).key(key);
    let call = call.set_version_id(version.map(str::to_owned));
    call.tagging(tagging.expect("the tag set is given")).send().await
}

async fn tags(
    client: &Client,
    bucket: &str,
    key: &str,
    version: Option<&str>,
) -> anyhow::Result<BTreeMap<String, String>> {
    let call = client.get_object_tagging().bucket(bucket).key(key);
    let answer = call.set_version_id(version.map(str::to_owned)).send().await;
    let answer = answer.with_context(|| format!("getting the tags of {key:?}"))?;
    Ok(answer.tag_set.into_iter().map(|tag| (tag.key, tag.value)).collect())
}

fn map(tags: &[(&str, &str)]) -> BTreeMap<String, String> {
    tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

async fn a_new_object_has_no_tags(client: &Client) -> anyhow::Result<()> {
    put(client, PLAIN, "untagged", "x").await?;
    same("tags", tags(client, PLAIN, "untagged", None).await?, map(&[]))
}

async fn tags_are_replaced_as_a_whole(client: &Client) -> anyhow::Result<()> {
    put(client, PLAIN, "replace-tags", "x").await?;
    for wanted in [&[("a", "1"), ("b", "2")][..], &[("b", "3"), ("c", "")]] {
        set(client, PLAIN, "replace-tags", None, wanted).await.context("tagging")?;
        same("tags", tags(client, PLAIN, "replace-tags", None).await?, map(wanted))?;
    }
    Ok(())
}

async fn each_version_has_its_own(client: &Client) -> anyhow::Result<()> {
    let old = put_version(client, "own-tags", "old").await?;
    let new = put_version(client, "own-tags", "new").await?;
    set(client, VERSIONED, "own-tags", Some(&old), &[("which", "old")]).await?;
    same("new", tags(client, VERSIONED, "own-tags", Some(&new)).await?, map(&[]))?;
    set(client, VERSIONED, "own-tags", None, &[("which", "current")]).await?;
    same(
        "new",
        tags(client, VERSIONED, "own-tags", Some(&new)).await?,
        map(&[("which", "current")]),
    )?;
    same("old", tags(client, VERSIONED, "own-tags", Some(&old)).await?, map(&[("which", "old")]))
}

// https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObjectTagging.html
async fn a_tagging_answer_names_the_version(client: &Client) -> anyhow::Result<()> {
    let version = put_version(client, "named", "x").await?;
    let answer = set(client, VERSIONED, "named", Some(&version), &[("a", "1")]).await?;
    same("PUT", answer.version_id(), Some(version.as_str()))?;
    let answer = client.get_object_tagging().bucket(VERSIONED).key("named").send().await?;
    same("GET", answer.version_id(), Some(version.as_str()))
}

async fn an_upload_brings_its_tags_and_drops_the_old(client: &Client) -> anyhow::Result<()> {
    for bucket in [PLAIN, VERSIONED] {
        let upload = client.put_object().bucket(bucket).key("brought").tagging("a=1&b+b=2%2B2");
        upload.send().await.context("uploading with tags")?;
        let wanted = map(&[("a", "1"), ("b b", "2+2")]);
        same("brought", tags(client, bucket, "brought", None).await?, wanted)?;
        put(client, bucket, "brought", "again").await?;
        same("dropped", tags(client, bucket, "brought", None).await?, map(&[]))?;
    }
    Ok(())
}

async fn tags_can_all_be_taken_off(client: &Client) -> anyhow::Result<()> {
    put(client, PLAIN, "taken-off", "x").await?;
    set(client, PLAIN, "taken-off", None, &[("a", "1")]).await?;
    client.delete_object_tagging().bucket(PLAIN).key("taken-off").send().await?;
    same("tags", tags(client, PLAIN, "taken-off", None).await?, map(&[]))
}

async fn what_is_missing_has_no_tags(client: &Client) -> anyhow::Result<()> {
    let get = client.get_object_tagging().bucket(PLAIN).key("missing").send().await;
    refused("GET", get, "NoSuchKey", 404)?;
    let put = set(client, PLAIN, "missing", None, &[("a", "1")]).await;
    refused("PUT", put, "NoSuchKey", 404)
}

async fn ten_tags_and_no_more(client: &Client) -> anyhow::Result<()> {
    put(client, PLAIN, "ten", "x").await?;
    let keys: Vec<_> = (0..11).map(|number| format!("key-{number}")).collect();
    let all: Vec<_> = keys.iter().map(|key| (key.as_str(), "v")).collect();
    set(client, PLAIN, "ten", None, &all[..10]).await.context("ten")?;
    let eleven = set(client, PLAIN, "ten", None, &all).await;
    refused("eleven", eleven, "BadRequest", 400)?;
    same("tags", tags(client, PLAIN, "ten", None).await?, map(&all[..10]))
}

async fn a_tag_key_comes_once(client: &Client) -> anyhow::Result<()> {
    put(client, PLAIN, "once", "x").await?;
    let twice = set(client, PLAIN, "once", None, &[("a", "1"), ("a", "2")]).await;
    refused("twice", twice, "InvalidTag", 400)
}

async fn tag_keys_differ_by_case(client: &Client) -> anyhow::Result<()> {
    put(client, PLAIN, "case", "x").await?;
    let both = [("a", "1"), ("A", "2")];
    set(client, PLAIN, "case", None, &both).await.context("tagging")?;
    same("tags", tags(client, PLAIN, "case", None).await?, map(&both))
}

async fn tags_have_lengths(client: &Client) -> anyhow::Result<()> {
    put(client, PLAIN, "lengths", "x").await?;
    let (key, value) = ("ä".repeat(128), "ä".repeat(256));
    set(client, PLAIN, "lengths", None, &[(&key, &value)]).await.context("the longest")?;
    for (longer_key, longer_value) in
        [(format!("{key}x"), "v".to_owned()), ("k".to_owned(), value + "x")]
    {
        let longer = set(client, PLAIN, "lengths", None, &[(&longer_key, &longer_value)]).await;
        refused("longer", longer, "InvalidTag", 400)?;
    }
    Ok(())
}

async fn tags_have_an_alphabet(client: &Client) -> anyhow::Result<()> {
    put(client, PLAIN, "alphabet", "x").await?;
    let good = [("aZ09 +-=._:/@", "aZ09 +-=._:/@"), ("Grüße", "日本語")];
    set(client, PLAIN, "alphabet", None, &good).await.context("what is allowed")?;
    same("tags", tags(client, PLAIN, "alphabet", None).await?, map(&good))?;
    for bad in ["a;b", "a,b", "a\"b", "a<b", "a*b"] {
        let refusal = set(client, PLAIN, "alphabet", None, &[("key", bad)]).await;
        refused(bad, refusal, "InvalidTag", 400)?;
    }
    Ok(())
}

async fn the_prefix_aws_is_reserved(client: &Client) -> anyhow::Result<()> {
    put(client, PLAIN, "reserved", "x").await?;
    let reserved = set(client, PLAIN, "reserved", None, &[("aws:key", "v")]).await;
    refused("aws:", reserved, "InvalidTag", 400)
}
