//! Copies are readings of one object and uploads of another.

use aws_sdk_s3::Client;
use aws_sdk_s3::types::TaggingDirective;
use scanner_tests::fake_s3::{Stored, Versioning};
use scanner_tests::samples;
use serde_json::Value;

use super::{
    BUCKET, VERSIONED, documented, read, reader, scan, scanned, set_policy, status, upload,
    uploader, verdicts, world,
};

/// A bucket without a policy, of whoever wants to get round ours.
const ELSEWHERE: &str = "elsewhere";

async fn copy(client: &Client, source: String, bucket: &str, key: &str) -> u16 {
    status(client.copy_object().copy_source(source).bucket(bucket).key(key).send().await)
}

#[tokio::test]
async fn what_cannot_be_read_cannot_be_copied_out() {
    let world = world().await;
    let s3 = world.s3.clone().bucket(ELSEWHERE, Versioning::Off);
    let client = s3.client_of(uploader());
    for bucket in [BUCKET, VERSIONED] {
        for (verdict, bytes, expected) in verdicts() {
            let stored = upload(&world, bucket, verdict, bytes, "").await;
            let sources = || {
                let current = format!("{bucket}/{verdict}");
                let version = stored.version_id.as_ref();
                let version = version.map(|version| format!("{current}?versionId={version}"));
                [current].into_iter().chain(version)
            };
            for source in sources() {
                assert_eq!(copy(&client, source.clone(), ELSEWHERE, "k").await, 403, "{source}");
                assert_eq!(s3.keys(ELSEWHERE, ""), [] as [&str; 0], "{source}");
            }
            scan(&world, bucket, verdict, &stored).await;
            for source in sources() {
                let copied = copy(&client, source.clone(), ELSEWHERE, "k").await;
                assert_eq!(copied, expected, "{source}");
                s3.delete(ELSEWHERE, "k");
            }
        }
    }
}

#[tokio::test]
async fn a_copy_that_names_the_tag_is_refused() {
    let world = world().await;
    let s3 = world.s3.clone().bucket(ELSEWHERE, Versioning::Off);
    s3.put(ELSEWHERE, "bad", samples::eicar());
    let client = s3.client_of(uploader());
    for (tags, expected) in [("S3-VirusScan=clean", 403), ("owner=anna", 200)] {
        let copy = client.copy_object().copy_source(format!("{ELSEWHERE}/bad"));
        let copy = copy.tagging(tags).tagging_directive(TaggingDirective::Replace);
        assert_eq!(status(copy.bucket(BUCKET).key("k").send().await), expected, "{tags}");
    }
    assert_eq!(read(&s3.client_of(reader()), BUCKET, "k", None).await, [403, 403]);
}

/// What happens until then is not shown: AWS does not say what it does with tags that are copied
/// along.
#[tokio::test]
async fn a_verdict_that_is_copied_in_ends_with_the_scanners_own() {
    let world = world().await;
    let s3 = world.s3.clone().bucket(ELSEWHERE, Versioning::Off);
    s3.put(ELSEWHERE, "bad", samples::eicar());
    s3.set_tags(ELSEWHERE, "bad", None, &[("s3-virusscan", "clean")]);
    let client = s3.client_of(uploader());
    for bucket in [BUCKET, VERSIONED] {
        let copy = client.copy_object().copy_source(format!("{ELSEWHERE}/bad"));
        let copy = copy.bucket(bucket).key("k").send().await.unwrap();
        let e_tag = copy.copy_object_result.unwrap().e_tag.unwrap().trim_matches('"').to_owned();
        let stored = Stored { version_id: copy.version_id, e_tag };
        scan(&world, bucket, "k", &stored).await;
        assert_eq!(world.tag(bucket, "k", None).as_deref(), Some("infected"));
        assert_eq!(read(&s3.client_of(reader()), bucket, "k", None).await, [403, 403]);
    }
}

#[tokio::test]
async fn the_documented_denial_keeps_copies_from_other_buckets_out() {
    let world = world().await;
    let s3 = world.s3.clone().bucket(ELSEWHERE, Versioning::Off);
    s3.put(ELSEWHERE, "k", samples::text());
    let merged: Value = serde_json::from_str(&s3.policy(BUCKET).unwrap()).unwrap();
    let denial = documented(BUCKET, |statement| statement["Sid"] == "NoCopiesFromOtherBuckets");
    set_policy(&s3, BUCKET, &[&merged["Statement"][0], &merged["Statement"][1], &denial]);
    let client = s3.client_of(uploader());
    scanned(&world, BUCKET, "clean", samples::text()).await;
    for (source, expected) in [
        (format!("{ELSEWHERE}/k"), 403),
        (format!("/{ELSEWHERE}/k"), 403),
        (format!("{BUCKET}/clean"), 200),
        (format!("/{BUCKET}/clean"), 200),
    ] {
        assert_eq!(copy(&client, source.clone(), BUCKET, "copy").await, expected, "{source}");
    }
}
