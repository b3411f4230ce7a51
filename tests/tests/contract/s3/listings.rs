//! Listings, in pages.
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html>

use aws_sdk_s3::Client;

use super::{PLAIN, VERSIONED, put, put_version, refused};
use crate::{Case, cases, same};

pub(super) fn cases(client: &Client) -> Vec<Case<'_>> {
    cases![client;
        a_listing_is_by_prefix_and_in_order,
        a_listing_comes_in_pages,
        a_listing_shows_what_is_there_now,
        a_listing_of_nothing_is_empty,
        a_listing_of_no_bucket_is_refused,
    ]
}

async fn listed(client: &Client, bucket: &str, prefix: &str) -> anyhow::Result<Vec<String>> {
    let mut pages =
        client.list_objects_v2().bucket(bucket).prefix(prefix).max_keys(2).into_paginator().send();
    let mut keys = Vec::new();
    while let Some(page) = pages.next().await {
        keys.extend(page?.contents().iter().filter_map(|object| object.key()).map(str::to_owned));
    }
    Ok(keys)
}

async fn a_listing_is_by_prefix_and_in_order(client: &Client) -> anyhow::Result<()> {
    for key in
        ["list/order/b", "list/order/a b", "list/order/B", "list/orders", "list/order/\u{e9}"]
    {
        put(client, PLAIN, key, "x").await?;
    }
    let expected = ["list/order/B", "list/order/a b", "list/order/b", "list/order/\u{e9}"];
    same("keys", listed(client, PLAIN, "list/order/").await?, expected.map(str::to_owned).to_vec())
}

async fn a_listing_comes_in_pages(client: &Client) -> anyhow::Result<()> {
    for n in 0..5 {
        put(client, PLAIN, &format!("list/pages/{n}"), "12345").await?;
    }
    let list = || client.list_objects_v2().bucket(PLAIN).prefix("list/pages/").max_keys(3);
    let first = list().send().await?;
    same("truncated", first.is_truncated(), Some(true))?;
    same("count", first.key_count(), Some(3))?;
    same("size", first.contents()[0].size(), Some(5))?;
    let (_, e_tag) = put(client, PLAIN, "list/pages/0", "12345").await?;
    same("entity tag", first.contents()[0].e_tag(), Some(e_tag.as_str()))?;
    let second = list().set_continuation_token(first.next_continuation_token).send().await?;
    same("truncated", second.is_truncated(), Some(false))?;
    let keys: Vec<_> = second.contents().iter().filter_map(|object| object.key()).collect();
    same("the rest", keys, vec!["list/pages/3", "list/pages/4"])
}

async fn a_listing_shows_what_is_there_now(client: &Client) -> anyhow::Result<()> {
    put_version(client, "list/now/twice", "old").await?;
    put_version(client, "list/now/twice", "new").await?;
    put_version(client, "list/now/deleted", "x").await?;
    client.delete_object().bucket(VERSIONED).key("list/now/deleted").send().await?;
    same("keys", listed(client, VERSIONED, "list/now/").await?, vec!["list/now/twice".to_owned()])
}

async fn a_listing_of_nothing_is_empty(client: &Client) -> anyhow::Result<()> {
    same("keys", listed(client, PLAIN, "list/nothing/").await?, vec![])
}

async fn a_listing_of_no_bucket_is_refused(client: &Client) -> anyhow::Result<()> {
    let list = client.list_objects_v2().bucket("contract-missing").send().await;
    refused("LIST", list, "NoSuchBucket", 404)
}
