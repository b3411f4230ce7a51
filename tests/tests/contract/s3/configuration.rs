//! A bucket's notifications and policy: replaced as a whole, and kept as they were sent.

use anyhow::{Context as _, ensure};
use aws_sdk_s3::Client;
use aws_sdk_s3::error::{ProvideErrorMetadata as _, SdkError};
use aws_sdk_s3::operation::put_bucket_notification_configuration::{
    PutBucketNotificationConfigurationError, PutBucketNotificationConfigurationOutput,
};
use aws_sdk_s3::types::{
    EventBridgeConfiguration, FilterRule, FilterRuleName, LambdaFunctionConfiguration,
    NotificationConfiguration, NotificationConfigurationFilter, S3KeyFilter,
};
use serde_json::{Value, json};

use super::{PLAIN, VERSIONED, refused};
use crate::{Case, cases, same};

const MISSING: &str = "contract-missing";

pub(super) fn cases(client: &Client) -> Vec<Case<'_>> {
    cases![client;
        a_bucket_without_notifications_has_none,
        notifications_are_replaced_as_a_whole_and_kept,
        the_switch_of_eventbridge_is_shown,
        a_notification_without_an_id_gets_one,
        notifications_for_the_same_uploads_are_refused,
        notifications_with_the_same_id_are_refused,
        notifications_of_a_missing_bucket_are_refused,
        a_policy_is_kept_until_it_is_deleted,
        a_policy_that_is_no_json_is_refused,
        the_policy_of_a_missing_bucket_is_refused,
    ]
}

fn notify(id: Option<&str>, event: &str, rules: &[(&str, &str)]) -> LambdaFunctionConfiguration {
    let rules = rules
        .iter()
        .map(|(name, value)| FilterRule::builder().name((*name).into()).value(*value).build());
    let key = S3KeyFilter::builder().set_filter_rules(Some(rules.collect())).build();
    let filter = NotificationConfigurationFilter::builder().key(key).build();
    LambdaFunctionConfiguration::builder()
        .set_id(id.map(str::to_owned))
        .lambda_function_arn("arn:aws:lambda:us-east-1:123456789012:function:f")
        .events(event.into())
        .filter(filter)
        .build()
        .expect("complete")
}

async fn put(
    client: &Client,
    bucket: &str,
    functions: Vec<LambdaFunctionConfiguration>,
    eventbridge: bool,
) -> Result<
    PutBucketNotificationConfigurationOutput,
    SdkError<PutBucketNotificationConfigurationError>,
> {
    let on = eventbridge.then(|| EventBridgeConfiguration::builder().build());
    let all = NotificationConfiguration::builder()
        .set_lambda_function_configurations(Some(functions))
        .set_event_bridge_configuration(on)
        .build();
    let put = client.put_bucket_notification_configuration().bucket(bucket);
    put.notification_configuration(all).send().await
}

/// What is configured for functions, with the names of rules in lower case (S3 answers `Prefix`),
/// and whether EventBridge is on.
async fn got(
    client: &Client,
    bucket: &str,
) -> anyhow::Result<(Vec<LambdaFunctionConfiguration>, bool)> {
    let answer = client.get_bucket_notification_configuration().bucket(bucket).send().await;
    let answer = answer.context("getting notifications")?;
    let mut functions = answer.lambda_function_configurations.unwrap_or_default();
    for function in &mut functions {
        let key = function.filter.as_mut().and_then(|filter| filter.key.as_mut());
        for rule in key.into_iter().flat_map(|key| key.filter_rules.iter_mut().flatten()) {
            let name = rule.name.as_ref().map(|name| name.as_str().to_lowercase());
            rule.name = name.map(|name| FilterRuleName::from(name.as_str()));
        }
    }
    Ok((functions, answer.event_bridge_configuration.is_some()))
}

async fn a_bucket_without_notifications_has_none(client: &Client) -> anyhow::Result<()> {
    same("at first", got(client, PLAIN).await?, (Vec::new(), false))?;
    put(client, PLAIN, vec![notify(Some("one"), "s3:ObjectCreated:*", &[])], true).await?;
    put(client, PLAIN, Vec::new(), false).await?;
    same("taken away", got(client, PLAIN).await?, (Vec::new(), false))
}

async fn notifications_are_replaced_as_a_whole_and_kept(client: &Client) -> anyhow::Result<()> {
    let rules = [("prefix", "in/"), ("suffix", ".jpg")];
    let one = notify(Some("one"), "s3:ObjectCreated:*", &rules);
    put(client, PLAIN, vec![one.clone()], false).await?;
    same("one", got(client, PLAIN).await?, (vec![one], false))?;
    let two = notify(Some("two"), "s3:ObjectRemoved:*", &rules);
    put(client, PLAIN, vec![two.clone()], false).await?;
    same("two", got(client, PLAIN).await?, (vec![two], false))?;
    put(client, PLAIN, Vec::new(), false).await?;
    Ok(())
}

async fn the_switch_of_eventbridge_is_shown(client: &Client) -> anyhow::Result<()> {
    let one = || vec![notify(Some("one"), "s3:ObjectRemoved:*", &[("prefix", "a/")])];
    put(client, VERSIONED, one(), true).await?;
    let (_, on) = got(client, VERSIONED).await?;
    put(client, VERSIONED, one(), false).await?;
    let (_, off) = got(client, VERSIONED).await?;
    put(client, VERSIONED, Vec::new(), false).await?;
    same("on, then off", (on, off), (true, false))
}

async fn a_notification_without_an_id_gets_one(client: &Client) -> anyhow::Result<()> {
    let nameless = notify(None, "s3:ObjectRemoved:*", &[("prefix", "a/")]);
    put(client, VERSIONED, vec![nameless], false).await?;
    let (functions, _) = got(client, VERSIONED).await?;
    put(client, VERSIONED, Vec::new(), false).await?;
    let id = functions.first().and_then(|function| function.id());
    ensure!(id.is_some_and(|id| !id.is_empty()), "it has the id {id:?}");
    Ok(())
}

async fn notifications_for_the_same_uploads_are_refused(client: &Client) -> anyhow::Result<()> {
    let all = [
        notify(Some("one"), "s3:ObjectCreated:*", &[("suffix", "jpg")]),
        notify(Some("two"), "s3:ObjectCreated:Put", &[("suffix", "pg")]),
    ];
    let result = put(client, VERSIONED, all.into(), false).await;
    refused("two suffixes of one key", result, "InvalidArgument", 400)
}

async fn notifications_with_the_same_id_are_refused(client: &Client) -> anyhow::Result<()> {
    let all = [
        notify(Some("one"), "s3:ObjectCreated:*", &[("prefix", "a/")]),
        notify(Some("one"), "s3:ObjectCreated:*", &[("prefix", "b/")]),
    ];
    let result = put(client, VERSIONED, all.into(), false).await;
    refused("one id twice", result, "InvalidArgument", 400)
}

async fn notifications_of_a_missing_bucket_are_refused(client: &Client) -> anyhow::Result<()> {
    let get = client.get_bucket_notification_configuration().bucket(MISSING).send().await;
    refused("getting", get, "NoSuchBucket", 404)?;
    let result = put(client, MISSING, Vec::new(), true).await;
    refused("putting", result, "NoSuchBucket", 404)
}

async fn a_policy_is_kept_until_it_is_deleted(client: &Client) -> anyhow::Result<()> {
    let get = || client.get_bucket_policy().bucket(PLAIN).send();
    let error = get().await.err().context("there is no policy at first")?;
    same("at first", error.code(), Some("NoSuchBucketPolicy"))?;
    let policy = json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Sid": "Other",
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:DeleteBucketWebsite",
            "Resource": format!("arn:aws:s3:::{PLAIN}"),
        }],
    });
    client.put_bucket_policy().bucket(PLAIN).policy(policy.to_string()).send().await?;
    let kept = get().await?.policy.context("there is a policy")?;
    same("what was put", serde_json::from_str::<Value>(&kept)?, policy)?;
    client.delete_bucket_policy().bucket(PLAIN).send().await?;
    refused("after the delete", get().await, "NoSuchBucketPolicy", 404)?;
    client.delete_bucket_policy().bucket(PLAIN).send().await.context("deleting what is gone")?;
    Ok(())
}

async fn a_policy_that_is_no_json_is_refused(client: &Client) -> anyhow::Result<()> {
    let put = client.put_bucket_policy().bucket(VERSIONED).policy("{").send().await;
    refused("half of a document", put, "MalformedPolicy", 400)
}

async fn the_policy_of_a_missing_bucket_is_refused(client: &Client) -> anyhow::Result<()> {
    let get = client.get_bucket_policy().bucket(MISSING).send().await;
    refused("getting", get, "NoSuchBucket", 404)?;
    let put = client.put_bucket_policy().bucket(MISSING).policy("{}").send().await;
    refused("putting", put, "NoSuchBucket", 404)?;
    let delete = client.delete_bucket_policy().bucket(MISSING).send().await;
    refused("deleting", delete, "NoSuchBucket", 404)
}
