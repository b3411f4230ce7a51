//! What a bucket's policy says to calls on its objects. (That it is kept: `configuration`.)

use anyhow::Context as _;
use aws_sdk_s3::Client;
use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::types::{Tag, Tagging};
use serde_json::{Value, json};

use super::{PLAIN, put};
use crate::{Case, cases, same};

pub(super) fn cases(client: &Client) -> Vec<Case<'_>> {
    cases![client;
        a_denial_refuses_what_it_names_and_nothing_else,
        a_denial_on_a_tag_is_for_the_objects_without_it,
    ]
}

fn denial(prefix: &str, condition: &Value) -> String {
    let mut statement = json!({"Sid": "Denial", "Effect": "Deny", "Principal": "*",
        "Action": "s3:GetObject", "Resource": format!("arn:aws:s3:::{PLAIN}/{prefix}*")});
    if !condition.is_null() {
        statement["Condition"] = condition.clone();
    }
    json!({"Version": "2012-10-17", "Statement": [statement]}).to_string()
}

async fn get(client: &Client, key: &str) -> anyhow::Result<u16> {
    match client.get_object().bucket(PLAIN).key(key).send().await {
        Ok(_) => Ok(200),
        Err(SdkError::ServiceError(error)) => Ok(error.raw().status().as_u16()),
        Err(error) => Err(error).with_context(|| format!("getting {key:?}")),
    }
}

/// What there is to see while the bucket has this policy; afterwards it has none again.
async fn under<T>(
    client: &Client,
    policy: String,
    look: impl AsyncFnOnce() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    client.put_bucket_policy().bucket(PLAIN).policy(policy).send().await.context("a policy")?;
    let seen = look().await;
    client.delete_bucket_policy().bucket(PLAIN).send().await.context("taking it away")?;
    seen
}

async fn a_denial_refuses_what_it_names_and_nothing_else(client: &Client) -> anyhow::Result<()> {
    let (denied, other) = ("denied/k", "not-denied/k");
    put(client, PLAIN, other, "x").await?;
    let seen = under(client, denial("denied/", &Value::Null), async || {
        put(client, PLAIN, denied, "x").await?;
        Ok((get(client, denied).await?, get(client, other).await?))
    });
    same("under the policy", seen.await?, (403, 200))?;
    same("without it", get(client, denied).await?, 200)
}

// https://docs.aws.amazon.com/AmazonS3/latest/userguide/tagging-and-policies.html, and for the
// object without tags "Negated condition operators" in
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
async fn a_denial_on_a_tag_is_for_the_objects_without_it(client: &Client) -> anyhow::Result<()> {
    let (untagged, other, tagged) = ("by-tag/untagged", "by-tag/other", "by-tag/tagged");
    for (key, value) in [(untagged, None), (other, Some("no")), (tagged, Some("clean"))] {
        put(client, PLAIN, key, "x").await?;
        if let Some(value) = value {
            let tag = Tag::builder().key("verdict").value(value).build()?;
            let tags = Tagging::builder().tag_set(tag).build()?;
            client.put_object_tagging().bucket(PLAIN).key(key).tagging(tags).send().await?;
        }
    }
    let condition = json!({"StringNotEquals": {"s3:ExistingObjectTag/verdict": "clean"}});
    let seen = under(client, denial("by-tag/", &condition), async || {
        Ok((get(client, untagged).await?, get(client, other).await?, get(client, tagged).await?))
    });
    same("untagged, other value, this value", seen.await?, (403, 403, 200))
}
