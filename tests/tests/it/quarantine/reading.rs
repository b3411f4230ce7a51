//! An object can be read from the verdict `clean` on, and only then.

use std::time::Duration;

use aws_sdk_s3::presigning::PresigningConfig;
use scanner_tests::fake_s3::Identity;
use scanner_tests::samples;
use scanner_tests::template::{SCANNER, Template};

use super::{
    BUCKET, PARAMETERS, VERSIONED, exempt, foreign, read, reader, request, role, scan, scanned,
    upload, uploader, verdicts, world, world_after,
};

const OPEN: [u16; 2] = [200, 200];
const SHUT: [u16; 2] = [403, 403];

#[tokio::test]
async fn not_before_the_scan_and_after_it_only_what_is_clean() {
    let world = world().await;
    let reader = world.s3.client_of(reader());
    for bucket in [BUCKET, VERSIONED] {
        for (verdict, bytes, expected) in verdicts() {
            let stored = upload(&world, bucket, verdict, bytes.clone(), "").await;
            let version = stored.version_id.as_deref();
            assert_eq!(read(&reader, bucket, verdict, None).await, SHUT, "{verdict} untagged");
            assert_eq!(read(&reader, bucket, verdict, version).await, SHUT, "{verdict} untagged");

            scan(&world, bucket, verdict, &stored).await;
            assert_eq!(world.tag(bucket, verdict, version).as_deref(), Some(verdict));
            assert_eq!(read(&reader, bucket, verdict, None).await, [expected; 2], "{verdict}");
            assert_eq!(read(&reader, bucket, verdict, version).await, [expected; 2], "{verdict}");
            if expected == 200 {
                let got = reader.get_object().bucket(bucket).key(verdict).send().await.unwrap();
                assert_eq!(got.body.collect().await.unwrap().to_vec(), bytes);
            }
        }
    }
}

#[tokio::test]
async fn nobody_is_above_it_but_who_is_exempt() {
    let world = world_after(&[], |s3| foreign(s3, BUCKET, &["s3:GetObject"])).await;
    let template = Template::with(&PARAMETERS).unwrap();
    let scanners = template.role_policies(SCANNER).unwrap();
    let scanner = template.function(SCANNER).unwrap().role_arn;
    for (verdict, bytes, expected) in verdicts() {
        scanned(&world, BUCKET, verdict, bytes).await;
        let identity = |arn: &str| Identity::role(arn, &scanners).unwrap();
        for (who, identity, expected) in [
            ("an administrator", role("admin", &["*"]), expected),
            ("the root user", Identity::root(), expected),
            (
                "another role with the scanner's policies",
                identity(&format!("{scanner}2")),
                expected,
            ),
            ("a service of AWS", Identity::service("logs.amazonaws.com", "arn:aws:x"), expected),
            ("one like an exempt one", role("my-backup-nightly", &["s3:*"]), expected),
            ("an exempt one", exempt(), 200),
            ("the scanner", identity(&scanner), 200),
        ] {
            let client = world.s3.client_of(identity);
            assert_eq!(
                read(&client, BUCKET, verdict, None).await,
                [expected; 2],
                "{who} {verdict}"
            );
        }
        let anybody = world.s3.anonymous_client();
        assert_eq!(read(&anybody, BUCKET, verdict, None).await, [expected; 2], "{verdict}");
    }
}

#[tokio::test]
async fn a_presigned_url_can_be_handed_out_at_once() {
    let world = world().await;
    let served = world.s3.serve().unwrap();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    for (verdict, bytes, expected) in verdicts() {
        let stored = upload(&world, BUCKET, verdict, bytes, "").await;
        let get = served.client_of(reader()).get_object().bucket(BUCKET).key(verdict);
        let hour = PresigningConfig::expires_in(Duration::from_hours(1)).unwrap();
        let url = get.presigned(hour).await.unwrap().uri().to_owned();
        assert_eq!(http.get(&url).send().await.unwrap().status(), 403, "{verdict} untagged");
        scan(&world, BUCKET, verdict, &stored).await;
        assert_eq!(http.get(&url).send().await.unwrap().status(), expected, "{verdict}");
    }
}

#[tokio::test]
async fn each_version_is_read_by_its_own_tag() {
    let world = world().await;
    let reader = world.s3.client_of(reader());
    let clean = scanned(&world, VERSIONED, "k", samples::text()).await.version_id;
    let infected = scanned(&world, VERSIONED, "k", samples::eicar()).await.version_id;
    assert_eq!(read(&reader, VERSIONED, "k", clean.as_deref()).await, OPEN);
    assert_eq!(read(&reader, VERSIONED, "k", infected.as_deref()).await, SHUT);
    assert_eq!(read(&reader, VERSIONED, "k", None).await, SHUT, "the current one is infected");
    scanned(&world, VERSIONED, "k", samples::text()).await;
    assert_eq!(read(&reader, VERSIONED, "k", None).await, OPEN);
    assert_eq!(read(&reader, VERSIONED, "k", infected.as_deref()).await, SHUT);
}

#[tokio::test]
async fn what_overwrites_a_clean_object_waits_for_its_own_scan() {
    let world = world().await;
    let reader = world.s3.client_of(reader());
    for bucket in [BUCKET, VERSIONED] {
        let old = scanned(&world, bucket, "k", samples::text()).await;
        assert_eq!(read(&reader, bucket, "k", None).await, OPEN);
        let new = upload(&world, bucket, "k", b"other text".to_vec(), "").await;
        assert_eq!(read(&reader, bucket, "k", None).await, SHUT, "{bucket}");
        if let Some(version) = &old.version_id {
            assert_eq!(read(&reader, bucket, "k", Some(version)).await, OPEN, "the old version");
        }
        scan(&world, bucket, "k", &new).await;
        assert_eq!(read(&reader, bucket, "k", None).await, OPEN, "{bucket}");
    }
}

/// Whoever may do that makes the object unreadable, not readable.
#[tokio::test]
async fn without_its_tag_a_clean_object_cannot_be_read() {
    let world = world().await;
    let (reader, uploader) = (world.s3.client_of(reader()), world.s3.client_of(uploader()));
    for bucket in [BUCKET, VERSIONED] {
        for key in ["deleted", "replaced"] {
            scanned(&world, bucket, key, samples::text()).await;
            assert_eq!(read(&reader, bucket, key, None).await, OPEN);
        }
        uploader.delete_object_tagging().bucket(bucket).key("deleted").send().await.unwrap();
        let own = super::tagging::tags(&[("owner", "anna")]);
        let put = uploader.put_object_tagging().bucket(bucket).key("replaced").tagging(own);
        put.send().await.unwrap();
        for key in ["deleted", "replaced"] {
            assert_eq!(read(&reader, bucket, key, None).await, SHUT, "{bucket} {key}");
        }
    }
}

#[tokio::test]
async fn a_tag_key_of_ones_own_takes_the_place_of_the_default() {
    let world = world_after(&[("TagKey", "Verdict of 2026")], |_| {}).await;
    let reader = world.s3.client_of(reader());
    for (verdict, bytes, expected) in verdicts() {
        // The default key means nothing here, so it can be set, and does not help.
        let stored = upload(&world, BUCKET, verdict, bytes, "s3-virusscan=clean").await;
        assert_eq!(read(&reader, BUCKET, verdict, None).await, SHUT, "{verdict}");
        scan(&world, BUCKET, verdict, &stored).await;
        let tags = world.s3.tags(BUCKET, verdict, None).unwrap();
        assert_eq!(tags["Verdict of 2026"], verdict);
        assert_eq!(read(&reader, BUCKET, verdict, None).await, [expected; 2], "{verdict}");
    }
    let forged = world.s3.client_of(uploader()).put_object().bucket(BUCKET).key("forged");
    let forged = forged.tagging("Verdict+of+2026=clean").send().await;
    assert_eq!(super::status(forged), 403);
}

#[tokio::test]
async fn when_the_stack_is_deleted_objects_are_read_as_before() {
    let world = world_after(&[], |s3| foreign(s3, BUCKET, &["s3:GetObject"])).await;
    let before = world.s3.client_of(reader());
    upload(&world, BUCKET, "k", samples::text(), "").await;
    assert_eq!(read(&before, BUCKET, "k", None).await, SHUT);
    request("Delete", &PARAMETERS, &world.s3).await;
    assert_eq!(read(&before, BUCKET, "k", None).await, OPEN);
    assert_eq!(read(&world.s3.anonymous_client(), BUCKET, "k", None).await, OPEN, "as they allow");
}
