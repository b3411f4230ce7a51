//! Ways of an object to its verdict that the demo does not show.

use anyhow::Context as _;
use aws_sdk_s3::types::{Event, NotificationConfiguration, TopicConfiguration};
use scanner_tests::samples;
use scanner_tests::sandbox::Invocation;
use scanner_tests::world::{UPLOADS, VERSIONED_UPLOADS, World, WorldOptions};
use serde_json::{Value, json};

use crate::support::{DEADLINE, set, verdict_tag, world};

/// A bucket that notifies a topic to which the scan queue is subscribed.
async fn bucket_with_a_topic(world: &World, bucket: &str) -> anyhow::Result<()> {
    let (s3, sns) = (world.moto().s3(), world.moto().sns());
    s3.create_bucket().bucket(bucket).send().await.context("making a bucket")?;
    let topic = sns.create_topic().name("Uploads").send().await.context("making a topic")?;
    let topic = topic.topic_arn.context("a topic without an ARN")?;
    let request = sns.subscribe().topic_arn(&topic).protocol("sqs");
    request.endpoint(&world.scan_queue().arn).send().await.context("subscribing the queue")?;
    let to_topic = TopicConfiguration::builder()
        .topic_arn(topic)
        .events(Event::from("s3:ObjectCreated:*"))
        .build()?;
    let configuration = NotificationConfiguration::builder().topic_configurations(to_topic);
    let request = s3.put_bucket_notification_configuration().bucket(bucket);
    request.notification_configuration(configuration.build()).send().await.context("connecting")?;
    Ok(())
}

#[tokio::test]
async fn by_a_topic_in_a_queue() {
    let world = world(|_| {}).await.unwrap();
    bucket_with_a_topic(&world, "by-topic").await.unwrap();
    let key = "folder/a file + ü.txt";
    world.put("by-topic", key, samples::eicar()).await.unwrap();
    let finding = world.finding_for(key, DEADLINE).await.unwrap();
    assert_eq!(finding.attribute("status"), Some("infected"));
    assert_eq!(finding.attribute("bucket"), Some("by-topic"));
    assert_eq!(world.tags("by-topic", key, None).await.unwrap(), verdict_tag("infected"));
    // The objects came in SNS's wrapper, and with them the test event: all were understood.
    assert!(!world.sandbox().logs().lines().iter().any(|line| line.contains("event-unknown")));
}

#[tokio::test]
async fn by_event_bridge_and_by_a_job() {
    let world = World::start(WorldOptions::deployed().unwrap()).await.unwrap();
    let mut versions = Vec::new();
    for body in [samples::eicar(), samples::text()] {
        versions.push(world.put(VERSIONED_UPLOADS, "a + b", body).await.unwrap().unwrap());
    }
    // By S3 itself; their findings come in any order.
    for _ in &versions {
        world.finding_for("a + b", DEADLINE).await.unwrap();
    }
    // The example of the S3 user guide, "EventBridge event message structure"; keys as they are.
    let event_bridge = json!({
        "version": "0", "id": "17793124-05d4-b198-2fde-7ededc63b103",
        "detail-type": "Object Created", "source": "aws.s3", "account": "123456789012",
        "time": "2026-11-22T00:00:00Z", "region": "us-east-1",
        "resources": [format!("arn:aws:s3:::{VERSIONED_UPLOADS}")],
        "detail": {
            "version": "0",
            "bucket": {"name": VERSIONED_UPLOADS},
            "object": {"key": "a + b", "size": 68, "etag": "44d88612fea8a8f36de82e1278abb02f",
                       "version-id": versions[0], "sequencer": "00617F08299329D189"},
            "request-id": "N4N7GDK58NMKJ12R", "requester": "123456789012",
            "source-ip-address": "1.2.3.4", "reason": "PutObject"
        }
    });
    let job = json!({"objects": [
        {"bucket": VERSIONED_UPLOADS, "key": "a + b", "version": versions[0]},
    ]});
    for event in [event_bridge, job] {
        let outcome = world.sandbox().invoke(&event).await.unwrap();
        assert_eq!(outcome, Invocation::Response(Value::Null), "{event}");
        let finding = world.finding_for("a + b", DEADLINE).await.unwrap();
        // The older version, though the newest is clean.
        assert_eq!(finding.attribute("version"), Some(versions[0].as_str()));
        assert_eq!(finding.attribute("status"), Some("infected"));
    }
}

#[tokio::test]
async fn an_invocation_that_no_queue_stands_behind_fails_as_a_whole() {
    let world = World::start(WorldOptions::deployed().unwrap()).await.unwrap();
    world.put(UPLOADS, "k", samples::text()).await.unwrap();
    world.finding_for("k", DEADLINE).await.unwrap();
    let job = json!({"objects": [
        {"bucket": "no-such-bucket", "key": "denied"}, {"bucket": UPLOADS, "key": "k"},
    ]});
    let outcome = world.sandbox().invoke(&job).await.unwrap();
    let Invocation::FunctionError { error_type, message } = outcome else { panic!("{outcome:?}") };
    assert_eq!(error_type, "read");
    assert!(message.starts_with("1 of 2 objects failed"), "{message}");
    world.finding_for("k", DEADLINE).await.unwrap();
}

#[tokio::test]
async fn findings_can_be_json() {
    let world = world(|options| set(options, &[("MESSAGE_FORMAT", "json")])).await.unwrap();
    let version = world.put(VERSIONED_UPLOADS, "k\u{1F600}", samples::eicar()).await.unwrap();
    let encoded = "k%F0%9F%98%80";
    let finding = world.finding_for(encoded, DEADLINE).await.unwrap();
    assert_eq!(finding.attribute("key_encoding"), Some("url"));
    assert_eq!(finding.attribute("status"), Some("infected"));
    let body: Value = serde_json::from_str(&finding.message).unwrap();
    for (field, expected) in [
        ("schema", json!(1)),
        ("bucket", json!(VERSIONED_UPLOADS)),
        ("key", json!("k\u{1F600}")),
        ("version", json!(version)),
        ("size", json!(68)),
        ("status", json!("infected")),
        ("action", json!("tag")),
    ] {
        assert_eq!(body[field], expected, "{field} in {body}");
    }
    let version_of_definitions = scanner_tests::world::TEST_DEFINITIONS_VERSION;
    assert_eq!(body["definitions"]["version"], version_of_definitions);
    assert!(body["engine"].as_str().unwrap().starts_with("1."), "{body}");
}

#[tokio::test]
async fn no_key_is_too_odd() {
    let world = World::start(WorldOptions::deployed().unwrap()).await.unwrap();
    // The longest that S3 takes: 1,024 bytes.
    let longest = "ü".repeat(512);
    let keys = [
        "a b",
        "a+b",
        "a%20b",
        "100%",
        "%2F",
        "a//b/",
        "/leading",
        "../../tmp/x",
        "./.",
        "-rf",
        "q?a=b&c#d",
        "quote'\"`$(x)",
        "日本語/ファイル.txt",
        "e\u{301}",
        "\\back",
        "{\"k\":1}",
        "z\u{feff}w",
        &longest,
    ];
    for key in keys {
        world.put(UPLOADS, key, samples::eicar()).await.unwrap();
        let finding = world.finding_for(key, DEADLINE).await.unwrap();
        assert_eq!(finding.attribute("status"), Some("infected"), "{key:?}");
        let sentence = format!("s3://{UPLOADS}/{key}  is infected, tag action executed");
        assert_eq!(finding.message, sentence);
        let tags = world.tags(UPLOADS, key, None).await.unwrap();
        assert_eq!(tags, verdict_tag("infected"), "{key:?}");
    }
}

/// A page that shows the marker only to who reads its character set and then resolves entities.
fn pages() -> Vec<(&'static str, Vec<u8>)> {
    let entities: String = samples::MARKER.iter().map(|byte| format!("&#{byte};")).collect();
    let text = format!("<html><head></head><body><p>ä{entities}</p></body></html>\n");
    let marked = format!("\u{FEFF}{text}");
    let utf_16 =
        |text: &str, order: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(order).collect();
    let utf_32 = |text: &str, order: fn(u32) -> [u8; 4]| {
        text.chars().flat_map(|c| order(u32::from(c))).collect()
    };
    let mut pages: Vec<(_, Vec<u8>)> = vec![
        ("UTF-8", text.clone().into_bytes()),
        ("UTF-16, little-endian", utf_16(&marked, u16::to_le_bytes)),
        ("UTF-16, little-endian, unmarked", utf_16(&text, u16::to_le_bytes)),
        ("UTF-16, big-endian", utf_16(&marked, u16::to_be_bytes)),
        ("UTF-32, little-endian", utf_32(&marked, u32::to_le_bytes)),
        ("UTF-32, little-endian, unmarked", utf_32(&text, u32::to_le_bytes)),
        ("UTF-32, big-endian", utf_32(&marked, u32::to_be_bytes)),
        ("UTF-32, big-endian, unmarked", utf_32(&text, u32::to_be_bytes)),
    ];
    // A word in each, as its bytes.
    let sets: [(_, &[u8]); 10] = [
        ("ISO-8859-1", b"\xe4"),
        ("ISO-8859-5", b"\xd6"),
        ("ISO-8859-15", b"\xa4"),
        ("windows-1252", b"\x80"),
        ("KOI8-R", b"\xd6"),
        ("Shift_JIS", b"\x93\xfa\x96\x7b"),
        ("EUC-JP", b"\xc6\xfc\xcb\xdc"),
        ("ISO-2022-JP", b"\x1b$BF|K\\\x1b(B"),
        ("Big5", b"\xa4\xa4"),
        ("GB18030", b"\xd6\xd0"),
    ];
    for (set, word) in sets {
        let head = format!("<html><head><meta charset=\"{set}\"></head><body><p>");
        let tail = format!("{entities}</p></body></html>\n");
        pages.push((set, [head.as_bytes(), word, tail.as_bytes()].concat()));
    }
    pages
}

/// Here and not on the host, which may have converters of its own.
#[tokio::test]
async fn html_in_any_character_set_is_read() {
    let world = world(|_| {}).await.unwrap();
    for (set, page) in pages() {
        assert!(!page.windows(samples::MARKER.len()).any(|bytes| bytes == samples::MARKER));
        world.put(UPLOADS, set, page).await.unwrap();
        let finding = world.finding_for(set, DEADLINE).await.unwrap();
        assert_eq!(finding.attribute("status"), Some("infected"), "{set}");
    }
}
