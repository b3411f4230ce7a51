//! Uploads in parts.
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/mpuoverview.html>

use anyhow::{Context as _, ensure};
use aws_sdk_s3::Client;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};

use super::{PLAIN, VERSIONED, current, refused};
use crate::{Case, cases, same};

pub(super) fn cases(client: &Client) -> Vec<Case<'_>> {
    cases![client;
        parts_become_one_object_with_the_tags_of_the_first_call,
        the_object_has_a_version_where_there_are_some,
        an_upload_that_never_began_is_refused,
        a_part_that_did_not_come_is_refused,
        parts_have_an_order,
        a_part_before_the_last_has_five_mebibytes,
    ]
}

/// The least that a part has before the last one.
const LEAST: usize = 5 * 1024 * 1024;

async fn begin(client: &Client, bucket: &str, key: &str) -> anyhow::Result<String> {
    let begin = client.create_multipart_upload().bucket(bucket).key(key).tagging("a=1&b+b=2");
    begin.send().await.context("beginning")?.upload_id.context("an upload without an id")
}

async fn part(
    client: &Client,
    (bucket, key, id): (&str, &str, &str),
    number: i32,
    bytes: Vec<u8>,
) -> anyhow::Result<CompletedPart> {
    let put = client.upload_part().bucket(bucket).key(key).upload_id(id).part_number(number);
    let put = put.body(bytes.into()).send().await.with_context(|| format!("part {number}"))?;
    Ok(CompletedPart::builder().part_number(number).set_e_tag(put.e_tag).build())
}

fn all(parts: &[&CompletedPart]) -> CompletedMultipartUpload {
    let parts = parts.iter().map(|&part| part.clone()).collect();
    CompletedMultipartUpload::builder().set_parts(Some(parts)).build()
}

async fn parts_become_one_object_with_the_tags_of_the_first_call(
    client: &Client,
) -> anyhow::Result<()> {
    let id = begin(client, PLAIN, "parts").await?;
    let upload = (PLAIN, "parts", id.as_str());
    let second = part(client, upload, 2, b"tail".to_vec()).await?;
    let first = part(client, upload, 1, vec![b'x'; LEAST]).await?;
    let get = client.get_object().bucket(PLAIN).key("parts").send().await;
    refused("before it is complete", get, "NoSuchKey", 404)?;
    let complete = client.complete_multipart_upload().bucket(PLAIN).key("parts");
    let complete = complete.upload_id(&id).multipart_upload(all(&[&first, &second]));
    let complete = complete.send().await.context("completing")?;
    let e_tag = complete.e_tag().unwrap_or_default();
    ensure!(e_tag.ends_with("-2\""), "the entity tag says of how many parts: {e_tag}");
    let content = current(client, PLAIN, "parts").await?;
    ensure!(content.len() == LEAST + 4 && content.ends_with("xtail"), "the content");
    let tags = client.get_object_tagging().bucket(PLAIN).key("parts").send().await?;
    let tags: Vec<_> = tags.tag_set().iter().map(|tag| (tag.key(), tag.value())).collect();
    same("tags", tags, vec![("a", "1"), ("b b", "2")])
}

async fn the_object_has_a_version_where_there_are_some(client: &Client) -> anyhow::Result<()> {
    for bucket in [PLAIN, VERSIONED] {
        let id = begin(client, bucket, "one-part").await?;
        let only = part(client, (bucket, "one-part", &id), 1, b"x".to_vec()).await?;
        let complete = client.complete_multipart_upload().bucket(bucket).key("one-part");
        let complete = complete.upload_id(&id).multipart_upload(all(&[&only])).send().await?;
        same(bucket, complete.version_id().is_some(), bucket == VERSIONED)?;
    }
    Ok(())
}

async fn an_upload_that_never_began_is_refused(client: &Client) -> anyhow::Result<()> {
    let put = client.upload_part().bucket(PLAIN).key("never-began").upload_id("x").part_number(1);
    refused("a part", put.body(b"x".to_vec().into()).send().await, "NoSuchUpload", 404)
}

async fn a_part_that_did_not_come_is_refused(client: &Client) -> anyhow::Result<()> {
    let id = begin(client, PLAIN, "missing-part").await?;
    let first = part(client, (PLAIN, "missing-part", &id), 1, b"x".to_vec()).await?;
    let other = CompletedPart::builder().part_number(2).set_e_tag(first.e_tag.clone()).build();
    let complete = client.complete_multipart_upload().bucket(PLAIN).key("missing-part");
    let complete = complete.upload_id(&id).multipart_upload(all(&[&other])).send().await;
    refused("completing", complete, "InvalidPart", 400)
}

async fn parts_have_an_order(client: &Client) -> anyhow::Result<()> {
    let id = begin(client, PLAIN, "order").await?;
    let upload = (PLAIN, "order", id.as_str());
    let first = part(client, upload, 1, b"x".to_vec()).await?;
    let second = part(client, upload, 2, b"x".to_vec()).await?;
    let complete = client.complete_multipart_upload().bucket(PLAIN).key("order").upload_id(&id);
    let complete = complete.multipart_upload(all(&[&second, &first])).send().await;
    refused("completing", complete, "InvalidPartOrder", 400)
}

// https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
async fn a_part_before_the_last_has_five_mebibytes(client: &Client) -> anyhow::Result<()> {
    let id = begin(client, PLAIN, "small-part").await?;
    let upload = (PLAIN, "small-part", id.as_str());
    let first = part(client, upload, 1, vec![b'x'; LEAST - 1]).await?;
    let second = part(client, upload, 2, b"x".to_vec()).await?;
    let complete = client.complete_multipart_upload().bucket(PLAIN).key("small-part");
    let complete = complete.upload_id(&id).multipart_upload(all(&[&first, &second])).send().await;
    refused("completing", complete, "EntityTooSmall", 400)
}
