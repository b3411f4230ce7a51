//! What the single-account rules of IAM say to the calls on objects.

use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::types::{Tag, Tagging};
use serde_json::json;

use super::*;
use crate::fake_s3::Versioning;

const BUCKET: &str = "uploads";
const ROLE: &str = "arn:aws:iam::123456789012:role/r";
const SERVICE: &str = "cloudfront.amazonaws.com";
const DISTRIBUTION: &str = "arn:aws:cloudfront::123456789012:distribution/E1";

fn policy(statements: &Value) -> Value {
    json!({"Version": "2012-10-17", "Statement": statements})
}

fn statement(sid: &str, effect: &str, action: &str, principal: &Value) -> Value {
    json!({"Sid": sid, "Effect": effect, "Action": action, "Principal": principal,
        "Resource": format!("arn:aws:s3:::{BUCKET}/*")})
}

/// A bucket with an object of two versions and this policy.
fn world(statements: &Value) -> (FakeS3, String) {
    let s3 = FakeS3::new().bucket(BUCKET, Versioning::On);
    let old = s3.put(BUCKET, "k", "old").version_id.expect("a version");
    s3.put(BUCKET, "k", "new");
    s3.set_policy(BUCKET, &policy(statements).to_string());
    (s3, old)
}

/// A role that may do these actions.
fn role(actions: &[&str]) -> Identity {
    let allow = json!({"Sid": "A", "Effect": "Allow", "Action": actions, "Resource": "*"});
    Identity::role(ROLE, &[policy(&json!([allow]))]).expect("a role")
}

fn status<T, E>(result: Result<T, SdkError<E>>) -> u16 {
    match result {
        Ok(_) => 200,
        Err(error) => error.raw_response().map_or(0, |raw| raw.status().as_u16()),
    }
}

async fn get(client: &Client, version: Option<&str>) -> u16 {
    let get = client.get_object().bucket(BUCKET).key("k");
    status(get.set_version_id(version.map(str::to_owned)).send().await)
}

#[tokio::test]
async fn an_allow_of_either_side_is_enough_and_a_deny_of_either_is_the_end() {
    let named = json!({"AWS": ROLE});
    let other = json!({"AWS": "arn:aws:iam::123456789012:role/other"});
    let action = "s3:GetObject";
    let deny = json!({"Sid": "D", "Effect": "Deny", "Action": action, "Resource": "*"});
    let denied = Identity::role(ROLE, &[policy(&json!([deny]))]).expect("a role");
    for (who, effect, principal, expected) in [
        (role(&[action]), "Allow", &other, 200),
        (role(&["s3:PutObject"]), "Allow", &named, 200),
        (role(&["s3:PutObject"]), "Allow", &other, 403),
        (role(&[action]), "Deny", &named, 403),
        (role(&[action]), "Deny", &other, 200),
        (role(&[action]), "Deny", &json!("*"), 403),
        (denied, "Allow", &named, 403),
        (Identity::root(), "Allow", &other, 200),
        (Identity::root(), "Deny", &json!("*"), 403),
    ] {
        let (s3, _) = world(&json!([statement("S", effect, action, principal)]));
        let got = get(&s3.client_of(who.clone()), None).await;
        assert_eq!(got, expected, "{who:?} {effect} {principal}");
    }
}

#[tokio::test]
async fn who_has_no_policies_of_its_own_may_do_what_the_buckets_allows() {
    let service = |arn| Identity::service(SERVICE, arn);
    let (other, condition) = (
        "arn:aws:cloudfront::123456789012:distribution/E2",
        json!({"aws:SourceArn": DISTRIBUTION}),
    );
    let mut for_service = statement("S", "Allow", "s3:GetObject", &json!({"Service": SERVICE}));
    for_service["Condition"] = json!({"StringEquals": condition});
    let (s3, _) = world(&json!([for_service]));
    assert_eq!(get(&s3.client_of(service(DISTRIBUTION)), None).await, 200);
    assert_eq!(get(&s3.client_of(service(other)), None).await, 403);
    let another = Identity::service("logs.amazonaws.com", DISTRIBUTION);
    assert_eq!(get(&s3.client_of(another), None).await, 403);
    assert_eq!(get(&s3.anonymous_client(), None).await, 403);

    let (s3, _) = world(&json!([statement("S", "Allow", "s3:GetObject", &json!("*"))]));
    assert_eq!(get(&s3.anonymous_client(), None).await, 200);
    assert_eq!(get(&s3.client_of(service(other)), None).await, 200);
    let list = s3.anonymous_client().list_objects_v2().bucket(BUCKET).send().await;
    assert_eq!(status(list), 403, "a call on the bucket");
}

#[tokio::test]
async fn each_call_needs_its_own_permission() {
    let (s3, old) = world(&json!([]));
    let tag = || Tag::builder().key("k").value("v").build().expect("complete");
    let tags = || Tagging::builder().tag_set(tag()).build().expect("complete");
    for (actions, expected) in [
        (&["s3:GetObject"][..], [200, 403, 200, 403, 403, 403, 403, 403, 403, 403]),
        (&["s3:GetObjectVersion"], [403, 200, 403, 403, 403, 403, 403, 403, 403, 403]),
        (&["s3:PutObject"], [403, 403, 403, 200, 403, 403, 403, 403, 403, 403]),
        (
            &["s3:PutObject", "s3:PutObjectTagging"],
            [403, 403, 403, 200, 200, 403, 200, 403, 403, 403],
        ),
        (&["s3:GetObjectTagging"], [403, 403, 403, 403, 403, 200, 403, 403, 403, 403]),
        (&["s3:PutObjectVersionTagging"], [403, 403, 403, 403, 403, 403, 403, 200, 403, 403]),
        (&["s3:DeleteObjectTagging"], [403, 403, 403, 403, 403, 403, 403, 403, 200, 403]),
        (&["s3:DeleteObject"], [403, 403, 403, 403, 403, 403, 403, 403, 403, 200]),
    ] {
        let client = s3.client_of(role(actions));
        let (key, tagged) = ("k", "k=v");
        let got = [
            get(&client, None).await,
            get(&client, Some(&old)).await,
            status(client.head_object().bucket(BUCKET).key(key).send().await),
            status(client.put_object().bucket(BUCKET).key(key).send().await),
            status(client.put_object().bucket(BUCKET).key(key).tagging(tagged).send().await),
            status(client.get_object_tagging().bucket(BUCKET).key(key).send().await),
            status(
                client.put_object_tagging().bucket(BUCKET).key(key).tagging(tags()).send().await,
            ),
            status(
                client
                    .put_object_tagging()
                    .bucket(BUCKET)
                    .key(key)
                    .version_id(&old)
                    .tagging(tags())
                    .send()
                    .await,
            ),
            status(client.delete_object_tagging().bucket(BUCKET).key(key).send().await),
            status(client.delete_object().bucket(BUCKET).key(key).send().await),
        ];
        assert_eq!(got, expected, "{actions:?}");
    }
}

#[tokio::test]
async fn an_upload_in_parts_is_an_upload_and_a_copy_a_reading_as_well() {
    let (s3, old) = world(&json!([]));
    let source = format!("{BUCKET}/k");
    let version = format!("{source}?versionId={old}");
    for (actions, expected) in [
        (&["s3:GetObject"][..], [403, 403, 403, 403, 403]),
        (&["s3:PutObject"], [200, 403, 404, 403, 403]),
        (&["s3:PutObject", "s3:GetObject"], [200, 403, 404, 200, 403]),
        (&["s3:PutObject", "s3:GetObjectVersion"], [200, 403, 404, 403, 200]),
    ] {
        let client = s3.client_of(role(actions));
        let create = || client.create_multipart_upload().bucket(BUCKET).key("parts");
        let part = client.upload_part().bucket(BUCKET).key("parts").part_number(1);
        let copy = |source| client.copy_object().bucket(BUCKET).key("copy").copy_source(source);
        let got = [
            status(create().send().await),
            status(create().tagging("k=v").send().await),
            status(part.upload_id("of nobody").send().await),
            status(copy(&source).send().await),
            status(copy(&version).send().await),
        ];
        assert_eq!(got, expected, "{actions:?}");
    }
}

/// "Tagging and access control policies" in the S3 user guide.
#[tokio::test]
async fn existing_tags_are_those_of_the_version_and_unknown_to_an_upload() {
    let mut open = statement("S", "Allow", "s3:*", &json!("*"));
    open["Condition"] = json!({"StringEquals": {"s3:ExistingObjectTag/open": "yes"}});
    let (s3, old) = world(&json!([open]));
    let client = s3.anonymous_client();
    assert_eq!((get(&client, None).await, get(&client, Some(&old)).await), (403, 403));
    s3.set_tags(BUCKET, "k", Some(&old), &[("open", "yes")]);
    assert_eq!((get(&client, None).await, get(&client, Some(&old)).await), (403, 200));
    s3.set_tags(BUCKET, "k", None, &[("open", "yes")]);
    assert_eq!(get(&client, None).await, 200);
    assert_eq!(status(client.put_object().bucket(BUCKET).key("k").send().await), 403);
    assert_eq!(status(client.delete_object().bucket(BUCKET).key("k").send().await), 403);
}

#[tokio::test]
async fn a_policy_that_is_not_evaluated_here_is_not_passed_over() {
    let mut statement = statement("S", "Deny", "s3:GetObject", &json!("*"));
    statement["Condition"] = json!({"NumericLessThan": {"s3:TlsVersion": 1.2}});
    let (s3, _) = world(&json!([statement]));
    let error = s3.client().get_object().bucket(BUCKET).key("k").send().await.expect_err("asked");
    let message = aws_sdk_s3::error::ProvideErrorMetadata::message(&error).unwrap_or_default();
    assert!(message.contains("NumericLessThan is not evaluated here"), "{message}");
    assert_eq!(status(Err::<(), _>(error)), 501);
    let nobody = json!({"Sid": "S", "Effect": "Allow", "Action": "s3:*", "Resource": "*"});
    s3.set_policy(BUCKET, &policy(&json!([nobody])).to_string());
    assert_eq!(get(&s3.client(), None).await, 501, "a statement about nobody");
}
