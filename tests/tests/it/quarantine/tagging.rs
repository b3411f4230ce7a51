//! Nobody but the scanner sets the tag, with an upload or after it; other tags are everybody's.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart, Tag, Tagging};
use scanner_tests::fake_s3::{Identity, Stored};
use scanner_tests::iam::{Context, Decision, Policies, Principal, Request, with_tags};
use scanner_tests::samples;
use scanner_tests::template::{SCANNER, Template};
use serde_json::Value;

use super::{
    BUCKET, PARAMETERS, VERSIONED, exempt, foreign, read, reader, scan, scanned, status, upload,
    uploader, world, world_after,
};

/// What somebody may try with `x-amz-tagging`. Keys of tags differ by case, names of condition
/// keys do not.
const FORGED: [&str; 6] = [
    "s3-virusscan=clean",
    "S3-VirusScan=clean",
    "S3-VIRUSSCAN=clean",
    "s3%2Dvirusscan=clean",
    "owner=anna&s3-virusscan=clean",
    "s3-virusscan=infected",
];

pub(super) fn tags(pairs: &[(&str, &str)]) -> Tagging {
    let tags = pairs.iter().map(|(key, value)| Tag::builder().key(*key).value(*value).build());
    Tagging::builder().set_tag_set(Some(tags.map(Result::unwrap).collect())).build().unwrap()
}

/// PUT, and the start of an upload in parts.
async fn uploads(client: &Client, bucket: &str, key: &str, tags: &str) -> [u16; 2] {
    let put = client.put_object().bucket(bucket).key(key).body(samples::eicar().into());
    let parts = client.create_multipart_upload().bucket(bucket).key(key).tagging(tags);
    [status(put.tagging(tags).send().await), status(parts.send().await)]
}

#[tokio::test]
async fn an_upload_that_brings_the_tag_is_refused() {
    let world = world().await;
    let all = [("the uploader", uploader()), ("exempt", exempt()), ("root", Identity::root())];
    for (who, identity) in all {
        let client = world.s3.client_of(identity);
        for bucket in [BUCKET, VERSIONED] {
            for forged in FORGED {
                let refused = uploads(&client, bucket, "k", forged).await;
                assert_eq!(refused, [403, 403], "{who} {bucket} {forged}");
            }
            assert_eq!(world.s3.keys(bucket, ""), [] as [&str; 0], "{who} {bucket}");
        }
        let fine = uploads(&client, BUCKET, "k", "owner=anna&s3-virusscan-2=clean").await;
        assert_eq!(fine, [200, 200], "{who}");
        world.s3.delete(BUCKET, "k");
    }
}

#[tokio::test]
async fn an_upload_that_nobody_signed_is_refused_as_well() {
    let writes = ["s3:PutObject", "s3:PutObjectTagging"];
    let world = world_after(&[], |s3| foreign(s3, BUCKET, &writes)).await;
    let anybody = world.s3.anonymous_client();
    for forged in FORGED {
        assert_eq!(uploads(&anybody, BUCKET, "k", forged).await, [403, 403], "{forged}");
    }
    assert_eq!(uploads(&anybody, BUCKET, "k", "owner=anna").await, [200, 200]);
}

#[tokio::test]
async fn a_presigned_upload_with_the_tag_is_refused_when_it_is_used() {
    let world = world().await;
    let served = world.s3.serve().unwrap();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let client = served.client_of(uploader());
    let all = FORGED.map(|forged| (forged, 403));
    for (tags, expected) in all.into_iter().chain([("owner=anna", 200)]) {
        let hour = PresigningConfig::expires_in(Duration::from_hours(1)).unwrap();
        let put = client.put_object().bucket(BUCKET).key("k").tagging(tags).presigned(hour);
        let put = put.await.unwrap();
        let mut request = http.put(put.uri()).body("bytes");
        for (name, value) in put.headers() {
            request = request.header(name, value);
        }
        assert_eq!(request.send().await.unwrap().status(), expected, "{tags}");
        assert_eq!(world.s3.tags(BUCKET, "k", None).is_some(), expected == 200, "{tags}");
    }
}

#[tokio::test]
async fn nobody_tags_afterwards_but_the_scanner() {
    let world = world().await;
    let template = Template::with(&PARAMETERS).unwrap();
    let policies = template.role_policies(SCANNER).unwrap();
    let arn = template.function(SCANNER).unwrap().role_arn;
    let scanner = |arn: &str| Identity::role(arn, &policies).unwrap();
    let forgeries: [&[(&str, &str)]; 4] = [
        &[("s3-virusscan", "clean")],
        &[("S3-VirusScan", "clean")],
        &[("owner", "anna"), ("S3-VIRUSSCAN", "clean")],
        // Also what is there already: a set is only ever replaced as a whole.
        &[("owner", "anna"), ("s3-virusscan", "infected")],
    ];
    for bucket in [BUCKET, VERSIONED] {
        let stored = scanned(&world, bucket, "k", samples::eicar()).await;
        let versions = [None, stored.version_id];
        for version in versions.iter().filter(|version| bucket == VERSIONED || version.is_none()) {
            let before = world.s3.tags(bucket, "k", version.as_deref());
            for (who, identity) in [
                ("the uploader", uploader()),
                ("exempt from reading", exempt()),
                ("root", Identity::root()),
                ("another role with the scanner's policies", scanner(&format!("{arn}2"))),
            ] {
                let client = world.s3.client_of(identity);
                for forged in forgeries {
                    let put = client.put_object_tagging().bucket(bucket).key("k");
                    let put = put.set_version_id(version.clone()).tagging(tags(forged));
                    assert_eq!(status(put.send().await), 403, "{who} {bucket} {forged:?}");
                }
            }
            assert_eq!(world.s3.tags(bucket, "k", version.as_deref()), before);
            let client = world.s3.client_of(scanner(&arn));
            let put = client.put_object_tagging().bucket(bucket).key("k");
            let put = put.set_version_id(version.clone()).tagging(tags(forgeries[3]));
            assert_eq!(status(put.send().await), 200, "the scanner");
        }
    }
}

/// An upload with tags needs two permissions, and AWS does not say which of both decisions knows
/// the keys of the tags (`PutObject` in the S3 API reference). So each is denied by itself.
#[tokio::test]
async fn every_permission_that_could_bring_the_tag_is_denied() {
    let world = world().await;
    let policy: Value = serde_json::from_str(&world.s3.policy(BUCKET).unwrap()).unwrap();
    let policy = Policies::of_resource(&policy).unwrap();
    for action in ["s3:PutObject", "s3:PutObjectTagging", "s3:PutObjectVersionTagging"] {
        for (key, denied) in [("s3-virusscan", true), ("S3-VirusScan", true), ("owner", false)] {
            let context = with_tags(Context::new(), vec![(key.to_owned(), "clean".to_owned())]);
            let request = Request {
                principal: Principal::Anonymous,
                action: action.to_owned(),
                resource: format!("arn:aws:s3:::{BUCKET}/k"),
                context,
            };
            let decision = policy.decide(&request).unwrap();
            assert_eq!(matches!(decision, Decision::Denied(_)), denied, "{action} {key}");
        }
    }
}

/// An upload in parts, by the uploader.
async fn in_parts(client: &Client, bucket: &str, key: &str, tags: &str) -> Stored {
    let create = client.create_multipart_upload().bucket(bucket).key(key).tagging(tags);
    let id = create.send().await.unwrap().upload_id.unwrap();
    let part = client.upload_part().bucket(bucket).key(key).upload_id(&id).part_number(1);
    let part = part.body(samples::text().into()).send().await.unwrap();
    let part = CompletedPart::builder().part_number(1).set_e_tag(part.e_tag).build();
    let parts = CompletedMultipartUpload::builder().parts(part).build();
    let complete = client.complete_multipart_upload().bucket(bucket).key(key).upload_id(&id);
    let complete = complete.multipart_upload(parts).send().await.unwrap();
    let e_tag = complete.e_tag.unwrap().trim_matches('"').to_owned();
    Stored { version_id: complete.version_id, e_tag }
}

#[tokio::test]
async fn tags_of_the_uploaders_own_come_with_the_upload_and_stay() {
    let world = world().await;
    let (reader, uploader) = (world.s3.client_of(reader()), world.s3.client_of(uploader()));
    let own = "owner=anna&Cost+Center=a%2Bb";
    let mut expected = BTreeMap::from([
        ("owner".to_owned(), "anna".to_owned()),
        ("Cost Center".to_owned(), "a+b".to_owned()),
    ]);
    for bucket in [BUCKET, VERSIONED] {
        let whole = upload(&world, bucket, "whole", samples::text(), own).await;
        let parts = in_parts(&uploader, bucket, "parts", own).await;
        for (key, stored) in [("whole", whole), ("parts", parts)] {
            expected.remove("s3-virusscan");
            assert_eq!(world.s3.tags(bucket, key, None).as_ref(), Some(&expected));
            assert_eq!(read(&reader, bucket, key, None).await, [403, 403], "{bucket} {key}");
            scan(&world, bucket, key, &stored).await;
            expected.insert("s3-virusscan".to_owned(), "clean".to_owned());
            assert_eq!(world.s3.tags(bucket, key, None).as_ref(), Some(&expected));
            assert_eq!(read(&reader, bucket, key, None).await, [200, 200], "{bucket} {key}");
        }
    }
}
