//! Copies: what they bring along.
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html>

use aws_sdk_s3::Client;
use aws_sdk_s3::types::TaggingDirective;

use super::{PLAIN, VERSIONED, current, put_version, refused};
use crate::{Case, cases, same};

pub(super) fn cases(client: &Client) -> Vec<Case<'_>> {
    cases![client;
        a_copy_brings_the_tags_along,
        a_copy_may_bring_other_tags,
        a_copy_may_be_of_an_old_version,
        what_is_missing_cannot_be_copied,
    ]
}

async fn source(client: &Client, key: &str) -> anyhow::Result<String> {
    let upload = client.put_object().bucket(PLAIN).key(key).body(b"hello".to_vec().into());
    upload.tagging("a=1").send().await?;
    Ok(format!("{PLAIN}/{key}"))
}

async fn tags(client: &Client, key: &str) -> anyhow::Result<Vec<(String, String)>> {
    let answer = client.get_object_tagging().bucket(VERSIONED).key(key).send().await?;
    Ok(answer.tag_set.into_iter().map(|tag| (tag.key, tag.value)).collect())
}

async fn a_copy_brings_the_tags_along(client: &Client) -> anyhow::Result<()> {
    let source = source(client, "copy-source").await?;
    // Both forms are in use: https://docs.aws.amazon.com/AmazonS3/latest/userguide/copy-object.html
    for (key, source) in [("copied", source.clone()), ("copied-by-slash", format!("/{source}"))] {
        let copy = client.copy_object().bucket(VERSIONED).key(key).copy_source(source);
        let copy = copy.send().await?;
        same("a version", copy.version_id().is_some(), true)?;
        same("content", current(client, VERSIONED, key).await?.as_str(), "hello")?;
        same("tags", tags(client, key).await?, vec![("a".to_owned(), "1".to_owned())])?;
    }
    Ok(())
}

async fn a_copy_may_bring_other_tags(client: &Client) -> anyhow::Result<()> {
    let source = source(client, "copy-retagged").await?;
    let copy = client.copy_object().bucket(VERSIONED).key("retagged").copy_source(source);
    let copy = copy.tagging("b=2").tagging_directive(TaggingDirective::Replace);
    copy.send().await?;
    same("tags", tags(client, "retagged").await?, vec![("b".to_owned(), "2".to_owned())])
}

async fn a_copy_may_be_of_an_old_version(client: &Client) -> anyhow::Result<()> {
    let old = put_version(client, "copy-old", "old").await?;
    put_version(client, "copy-old", "new").await?;
    let source = format!("{VERSIONED}/copy-old?versionId={old}");
    client.copy_object().bucket(PLAIN).key("copy-of-old").copy_source(source).send().await?;
    same("content", current(client, PLAIN, "copy-of-old").await?.as_str(), "old")
}

async fn what_is_missing_cannot_be_copied(client: &Client) -> anyhow::Result<()> {
    let copy = client.copy_object().bucket(PLAIN).key("copy-of-nothing");
    let copy = copy.copy_source(format!("{PLAIN}/never-there")).send().await;
    refused("copying", copy, "NoSuchKey", 404)
}
