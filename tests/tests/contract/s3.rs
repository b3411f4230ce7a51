//! S3 as the scanner and its tests use it, through the SDK's client. Where stand-ins disagree,
//! the AWS documentation decides; a case that rests on one page of it names the page.

mod conditions;
mod configuration;
mod copies;
mod listings;
mod multipart;
mod objects;
mod policies;
mod tagging;

use anyhow::{Context as _, bail};
use aws_sdk_s3::Client;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::types::{BucketVersioningStatus, VersioningConfiguration};

use crate::{Case, same};

/// The bucket without versioning.
pub(crate) const PLAIN: &str = "contract-plain";
/// The bucket with versioning.
pub(crate) const VERSIONED: &str = "contract-versioned";

/// Where moto 5.2.5 does something else than S3.
pub(crate) const MOTO_DEVIATES: &[(&str, &str)] = &[
    ("a_delete_marker_cannot_be_read", "answers NoSuchVersion (404), not MethodNotAllowed (405)"),
    ("deleting_a_delete_marker_says_so", "answers without x-amz-delete-marker"),
    ("a_longer_key_is_refused", "has no limit on the length of keys"),
    ("a_tagging_answer_names_the_version", "answers PutObjectTagging without x-amz-version-id"),
    ("a_tag_key_comes_once", "takes two tags with one key"),
    ("a_bucket_without_notifications_has_none", "answers a document of another name"),
    ("the_switch_of_eventbridge_is_shown", "does not answer what EventBridge is set to"),
    ("notifications_for_the_same_uploads_are_refused", "knows no overlap"),
    ("notifications_with_the_same_id_are_refused", "takes two notifications with one id"),
    ("a_policy_that_is_no_json_is_refused", "takes any text as a policy"),
    ("the_object_has_a_version_where_there_are_some", "names one where there are no versions"),
    ("an_upload_that_never_began_is_refused", "answers 500 to a part of it"),
    ("parts_have_an_order", "takes them in any order"),
    ("a_denial_on_a_tag_is_for_the_objects_without_it", "obeys a denial, whatever its condition"),
];

/// Every case. They need both buckets and use a key of their own each.
pub(crate) fn cases(client: &Client) -> Vec<Case<'_>> {
    let mut all = objects::cases(client);
    all.extend(conditions::cases(client));
    all.extend(listings::cases(client));
    all.extend(tagging::cases(client));
    all.extend(multipart::cases(client));
    all.extend(copies::cases(client));
    all.extend(configuration::cases(client));
    all.extend(policies::cases(client));
    all
}

/// Makes both buckets.
pub(crate) async fn create_buckets(client: &Client) -> anyhow::Result<()> {
    for bucket in [PLAIN, VERSIONED] {
        client.create_bucket().bucket(bucket).send().await.context(bucket)?;
    }
    let on = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
    let versioning = client.put_bucket_versioning().bucket(VERSIONED).versioning_configuration(on);
    versioning.send().await.context("switching versioning on")?;
    Ok(())
}

/// Uploads, and returns version and quoted entity tag.
async fn put(
    client: &Client,
    bucket: &str,
    key: &str,
    body: &'static str,
) -> anyhow::Result<(Option<String>, String)> {
    let body = aws_sdk_s3::primitives::ByteStream::from_static(body.as_bytes());
    let put = client.put_object().bucket(bucket).key(key).body(body).send().await;
    let put = put.with_context(|| format!("uploading {key:?}"))?;
    Ok((put.version_id, put.e_tag.context("an upload has an entity tag")?))
}

/// Uploads to the bucket with versioning, and returns the version.
async fn put_version(client: &Client, key: &str, body: &'static str) -> anyhow::Result<String> {
    put(client, VERSIONED, key, body).await?.0.context("an upload here has a version")
}

async fn text(answer: GetObjectOutput) -> anyhow::Result<String> {
    let bytes = answer.body.collect().await.context("reading the body")?;
    Ok(String::from_utf8(bytes.to_vec())?)
}

/// What the current version holds.
async fn current(client: &Client, bucket: &str, key: &str) -> anyhow::Result<String> {
    let answer = client.get_object().bucket(bucket).key(key).send().await;
    text(answer.with_context(|| format!("getting {key:?}"))?).await
}

/// An error unless S3 refused the call with this code and status.
fn refused<T, E>(
    what: &str,
    result: Result<T, SdkError<E>>,
    code: &str,
    status: u16,
) -> anyhow::Result<()>
where
    E: ProvideErrorMetadata,
    SdkError<E>: ProvideErrorMetadata,
{
    let Err(error) = result else { bail!("{what}: succeeded, want {code}") };
    let got = error.raw_response().map(|response| response.status().as_u16());
    same(what, (error.code(), got), (Some(code), Some(status)))
}
