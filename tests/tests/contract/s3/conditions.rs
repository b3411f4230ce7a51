//! Calls that depend on the object being the one that the caller saw.
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-requests.html>

use anyhow::Context as _;
use aws_sdk_s3::Client;

use super::{PLAIN, VERSIONED, current, put, put_version, refused, text};
use crate::{Case, cases, same};

pub(super) fn cases(client: &Client) -> Vec<Case<'_>> {
    cases![client;
        a_get_may_ask_for_an_entity_tag,
        a_get_may_ask_without_quotes,
        a_get_of_what_was_overwritten_is_refused,
        a_condition_counts_for_the_version_named,
        a_missing_key_comes_before_the_condition,
        a_condition_comes_before_the_range,
        a_head_may_ask_for_an_entity_tag,
        an_upload_may_ask_for_an_empty_place,
        an_upload_may_ask_for_an_entity_tag,
        a_delete_may_ask_for_an_entity_tag,
        a_conditional_delete_of_nothing_is_refused,
    ]
}

/// The entity tag of no object here.
const OTHER: &str = "\"00000000000000000000000000000000\"";

async fn a_get_may_ask_for_an_entity_tag(client: &Client) -> anyhow::Result<()> {
    let (_, e_tag) = put(client, PLAIN, "match", "hello").await?;
    let get = client.get_object().bucket(PLAIN).key("match").if_match(e_tag).send().await?;
    same("content", text(get).await?.as_str(), "hello")?;
    let get = client.get_object().bucket(PLAIN).key("match").if_match(OTHER).send().await;
    refused("another", get, "PreconditionFailed", 412)
}

// As events carry it, and as the examples on the page of conditional reads send it.
async fn a_get_may_ask_without_quotes(client: &Client) -> anyhow::Result<()> {
    let (_, e_tag) = put(client, PLAIN, "unquoted", "hello").await?;
    let e_tag = e_tag.trim_matches('"');
    let get = client.get_object().bucket(PLAIN).key("unquoted").if_match(e_tag).send().await?;
    same("content", text(get).await?.as_str(), "hello")
}

async fn a_get_of_what_was_overwritten_is_refused(client: &Client) -> anyhow::Result<()> {
    let (_, old) = put(client, PLAIN, "overwritten", "old").await?;
    put(client, PLAIN, "overwritten", "new").await?;
    let get = client.get_object().bucket(PLAIN).key("overwritten").if_match(old).send().await;
    refused("GET", get, "PreconditionFailed", 412)
}

async fn a_condition_counts_for_the_version_named(client: &Client) -> anyhow::Result<()> {
    let (version, old) = put(client, VERSIONED, "match", "old").await?;
    put_version(client, "match", "new").await?;
    let get = client.get_object().bucket(VERSIONED).key("match").set_version_id(version);
    let get = get.if_match(old).send().await?;
    same("content", text(get).await?.as_str(), "old")
}

async fn a_missing_key_comes_before_the_condition(client: &Client) -> anyhow::Result<()> {
    let get = client.get_object().bucket(PLAIN).key("missing").if_match(OTHER).send().await;
    refused("GET", get, "NoSuchKey", 404)
}

async fn a_condition_comes_before_the_range(client: &Client) -> anyhow::Result<()> {
    let (_, e_tag) = put(client, PLAIN, "match-range", "0123456789").await?;
    let get = || client.get_object().bucket(PLAIN).key("match-range");
    let both = get().if_match(e_tag).range("bytes=5-").send().await?;
    same("content", text(both).await?.as_str(), "56789")?;
    let neither = get().if_match(OTHER).range("bytes=10-").send().await;
    refused("neither holds", neither, "PreconditionFailed", 412)
}

async fn a_head_may_ask_for_an_entity_tag(client: &Client) -> anyhow::Result<()> {
    let (_, e_tag) = put(client, PLAIN, "match-head", "hello").await?;
    let head = client.head_object().bucket(PLAIN).key("match-head").if_match(e_tag).send().await?;
    same("length", head.content_length(), Some(5))?;
    let head = client.head_object().bucket(PLAIN).key("match-head").if_match(OTHER).send().await;
    let error = head.err().context("HEAD with another entity tag succeeded")?;
    same("status", error.raw_response().map(|raw| raw.status().as_u16()), Some(412))
}

async fn an_upload_may_ask_for_an_empty_place(client: &Client) -> anyhow::Result<()> {
    let upload = || client.put_object().bucket(PLAIN).key("first").if_none_match("*");
    upload().body(b"first".to_vec().into()).send().await.context("the first upload")?;
    let second = upload().body(b"second".to_vec().into()).send().await;
    refused("the second", second, "PreconditionFailed", 412)?;
    same("content", current(client, PLAIN, "first").await?.as_str(), "first")
}

async fn an_upload_may_ask_for_an_entity_tag(client: &Client) -> anyhow::Result<()> {
    let (_, e_tag) = put(client, PLAIN, "swap", "old").await?;
    let upload = |e_tag: &str| client.put_object().bucket(PLAIN).key("swap").if_match(e_tag);
    let wrong = upload(OTHER).body(b"wrong".to_vec().into()).send().await;
    refused("another", wrong, "PreconditionFailed", 412)?;
    upload(&e_tag).body(b"new".to_vec().into()).send().await.context("the right one")?;
    same("content", current(client, PLAIN, "swap").await?.as_str(), "new")
}

// https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-deletes.html
async fn a_delete_may_ask_for_an_entity_tag(client: &Client) -> anyhow::Result<()> {
    let (_, e_tag) = put(client, PLAIN, "match-delete", "hello").await?;
    let delete = || client.delete_object().bucket(PLAIN).key("match-delete");
    refused("another", delete().if_match(OTHER).send().await, "PreconditionFailed", 412)?;
    same("content", current(client, PLAIN, "match-delete").await?.as_str(), "hello")?;
    delete().if_match(e_tag).send().await.context("the right one")?;
    let get = client.get_object().bucket(PLAIN).key("match-delete").send().await;
    refused("GET", get, "NoSuchKey", 404)
}

async fn a_conditional_delete_of_nothing_is_refused(client: &Client) -> anyhow::Result<()> {
    let delete = client.delete_object().bucket(PLAIN).key("never-there").if_match("*");
    refused("DELETE", delete.send().await, "NoSuchKey", 404)
}
