//! The world is the deployed one: what the template says arrives in the packaged function, and
//! its role is the template's.

use scanner_tests::iam::Grant;
use scanner_tests::processes;
use scanner_tests::samples;
use scanner_tests::template::Template;
use scanner_tests::world::{UPLOADS, VERSIONED_UPLOADS, World, WorldOptions};
use serde_json::{Value, json};

use crate::support::{DEADLINE, VISIBILITY, dead_letter, records};

async fn deployed_with(parameters: &[(&str, &str)]) -> World {
    let template = Template::with(parameters).unwrap();
    World::start(WorldOptions::of(template).unwrap()).await.unwrap()
}

async fn attribute(world: &World, queue_url: &str, name: &str) -> Option<String> {
    let request = world.moto().sqs().get_queue_attributes().queue_url(queue_url);
    let answer = request.attribute_names(name.into()).send().await.unwrap();
    answer.attributes.unwrap().remove(&name.into())
}

#[tokio::test]
async fn parameters_of_the_template_arrive_in_the_function() {
    let world = deployed_with(&[
        ("TagKey", "scanned"),
        ("MessageFormat", "json"),
        ("Timeout", "60"),
        ("MemorySize", "2048"),
        ("EphemeralStorage", "4096"),
    ])
    .await;
    world.put(UPLOADS, "k", samples::eicar()).await.unwrap();
    let finding = world.finding_for("k", DEADLINE).await.unwrap();
    let message: Value = serde_json::from_str(&finding.message).unwrap();
    assert_eq!(message["status"], "infected");
    let tags = world.tags(UPLOADS, "k", None).await.unwrap();
    assert_eq!(json!(tags), json!({"scanned": "infected"}));

    let function = world.sandbox().bootstrap_pid().unwrap();
    let variables = processes::environment(function).unwrap();
    assert_eq!(variables["AWS_LAMBDA_FUNCTION_NAME"], "ScannerFunction");
    assert_eq!(variables["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"], "2048");
    let tmp = rustix::fs::statvfs(format!("/proc/{function}/root/tmp")).unwrap();
    assert_eq!(tmp.f_blocks * tmp.f_frsize, 4096 << 20);
    // Six times the time-out, and the longest that SQS keeps a message: 14 days.
    let visibility = attribute(&world, &world.scan_queue().url, "VisibilityTimeout").await;
    assert_eq!(visibility.as_deref(), Some("360"));
    let kept = attribute(&world, &world.dead_letters().url, "MessageRetentionPeriod").await;
    assert_eq!(kept.as_deref(), Some("1209600"));
}

#[tokio::test]
async fn the_packaged_function_and_its_mapping_use_the_role() {
    let world = deployed_with(&[("BucketNames", "uploads,versioned-uploads")]).await;
    for bucket in [UPLOADS, VERSIONED_UPLOADS] {
        world.put(bucket, "k", samples::text()).await.unwrap();
        world.finding_for("k", DEADLINE).await.unwrap();
    }
    let used = world.recorder().used();
    for (sid, action) in [
        ("Queue", "sqs:ReceiveMessage"),
        ("Queue", "sqs:DeleteMessage"),
        ("Definitions", "s3:GetObject"),
        ("Objects", "s3:GetObject"),
        ("Objects", "s3:GetObjectVersion"),
        ("Objects", "s3:PutObjectTagging"),
        ("Objects", "s3:PutObjectVersionTagging"),
        ("Findings", "sns:Publish"),
    ] {
        let grant = Grant { sid: sid.to_owned(), action: action.to_owned() };
        assert!(used.contains(&grant), "{grant} in {used:?}");
    }
}

#[tokio::test]
async fn a_role_for_other_buckets_stops_the_packaged_function() {
    let template = Template::with(&[("BucketNames", "another-bucket")]).unwrap();
    let options = WorldOptions::of(template).unwrap();
    let world = World::start(WorldOptions { visibility: VISIBILITY, ..options }).await.unwrap();
    world.put(UPLOADS, "k", samples::eicar()).await.unwrap();
    dead_letter(&world, "\"k\"").await.unwrap();
    for record in records(world.sandbox(), "k") {
        assert_eq!((&record["outcome"], &record["error"]), (&json!("failed"), &json!("read")));
    }
    assert!(world.tags(UPLOADS, "k", None).await.unwrap().is_empty());
    let refused = world.recorder().take_refused();
    assert!(!refused.is_empty());
    for why in refused {
        assert!(why.contains("perform s3:GetObject on arn:aws:s3:::uploads/k"), "{why}");
    }
}
