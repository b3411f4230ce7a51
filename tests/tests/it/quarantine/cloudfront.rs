//! CloudFront with origin access control: under the stack's policy, and under the statement of the
//! documentation that allows it what is clean.

use aws_sdk_s3::Client;
use scanner_tests::fake_s3::Identity;
use serde_json::Value;

use super::{
    BUCKET, VERSIONED, World, documented, read, reader, scan, set_policy, status, upload, uploader,
    verdicts, world, world_after,
};

/// The documented statement for origin access control, for `bucket`.
fn statement(bucket: &str) -> Value {
    documented(bucket, |it| it["Principal"]["Service"] == "cloudfront.amazonaws.com")
}

/// CloudFront on behalf of a distribution.
fn cloudfront(world: &World, distribution: &str) -> Client {
    world.s3.client_of(Identity::service("cloudfront.amazonaws.com", distribution))
}

/// The distribution that the statement is for, and another one.
fn distributions(world: &World, statement: &Value) -> [Client; 2] {
    let ours = statement["Condition"]["StringEquals"]["aws:SourceArn"].as_str().unwrap();
    [cloudfront(world, ours), cloudfront(world, &format!("{ours}2"))]
}

/// CloudFront, before and after each verdict.
async fn gets_only_what_is_clean(world: &World, bucket: &str, statement: &Value) {
    let [ours, another] = distributions(world, statement);
    for (verdict, bytes, expected) in verdicts() {
        let stored = upload(world, bucket, verdict, bytes, "").await;
        assert_eq!(read(&ours, bucket, verdict, None).await, [403, 403], "{verdict} untagged");
        scan(world, bucket, verdict, &stored).await;
        assert_eq!(world.tag(bucket, verdict, None).as_deref(), Some(verdict));
        assert_eq!(read(&ours, bucket, verdict, None).await, [expected; 2], "{verdict}");
        assert_eq!(read(&another, bucket, verdict, None).await, [403, 403], "{verdict}");
    }
}

/// What CloudFront's own console writes has no condition on a tag.
#[tokio::test]
async fn the_stacks_policy_holds_cloudfront_back() {
    let untagged = |bucket| {
        let mut statement = statement(bucket);
        let equals = statement["Condition"]["StringEquals"].as_object_mut().unwrap();
        assert!(equals.remove("s3:ExistingObjectTag/s3-virusscan").is_some());
        statement
    };
    let world = world_after(&[], |s3| {
        for bucket in [BUCKET, VERSIONED] {
            set_policy(s3, bucket, &[&untagged(bucket)]);
        }
    });
    let world = world.await;
    for bucket in [BUCKET, VERSIONED] {
        gets_only_what_is_clean(&world, bucket, &untagged(bucket)).await;
    }
}

#[tokio::test]
async fn the_documented_statement_allows_cloudfront_only_what_is_clean() {
    let world = world().await;
    for bucket in [BUCKET, VERSIONED] {
        let merged: Value = serde_json::from_str(&world.s3.policy(bucket).unwrap()).unwrap();
        let second = &merged["Statement"][1];
        set_policy(&world.s3, bucket, &[second, &statement(bucket)]);
        gets_only_what_is_clean(&world, bucket, &statement(bucket)).await;

        // As the document says: others are not held back, and the tag is still protected.
        upload(&world, bucket, "untagged", b"x".to_vec(), "").await;
        let reader = world.s3.client_of(reader());
        assert_eq!(read(&reader, bucket, "untagged", None).await, [200, 200]);
        let forged = world.s3.client_of(uploader()).put_object().bucket(bucket).key("forged");
        assert_eq!(status(forged.tagging("s3-virusscan=clean").send().await), 403);
    }
}
