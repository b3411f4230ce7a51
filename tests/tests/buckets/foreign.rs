//! What others configured survives create, update and delete: on the S3 in memory and on moto.

use aws_sdk_s3::Client;
use aws_sdk_s3::types::{
    EventBridgeConfiguration, FilterRule, FilterRuleName, NotificationConfiguration,
    NotificationConfigurationFilter, QueueConfiguration, S3KeyFilter, TopicConfiguration,
};
use scanner_tests::fake_s3::{FakeS3, Versioning};
use scanner_tests::moto::Moto;
use serde_json::{Value, json};

use crate::support::{FUNCTION, SIDS, Stack, assert_same, properties, sids, with};

const BUCKET: &str = "uploads";

/// Two, with filters and several events, and the switch of EventBridge (which moto does not
/// show: `tests/contract`).
fn notifications(queue: &str, topic: &str) -> NotificationConfiguration {
    let rule =
        |name: FilterRuleName, value: &str| FilterRule::builder().name(name).value(value).build();
    let rules = S3KeyFilter::builder()
        .filter_rules(rule(FilterRuleName::Prefix, "in/ü "))
        .filter_rules(rule(FilterRuleName::Suffix, ".jpg"));
    let filter = NotificationConfigurationFilter::builder().key(rules.build()).build();
    let removed = QueueConfiguration::builder()
        .id("their queue")
        .queue_arn(queue)
        .events("s3:ObjectRemoved:*".into())
        .events("s3:ObjectRestore:Completed".into())
        .filter(filter);
    let tagged = TopicConfiguration::builder()
        .id("their-topic")
        .topic_arn(topic)
        .events("s3:ObjectTagging:*".into());
    NotificationConfiguration::builder()
        .queue_configurations(removed.build().unwrap())
        .topic_configurations(tagged.build().unwrap())
        .event_bridge_configuration(EventBridgeConfiguration::builder().build())
        .build()
}

/// Two, one of them without an id.
fn policy() -> Value {
    json!({
        "Version": "2008-10-17",
        "Id": "theirs",
        "Statement": [
            {
                "Sid": "TlsOnly",
                "Effect": "Deny",
                "Principal": "*",
                "Action": "s3:*",
                "Resource": ["arn:aws:s3:::uploads", "arn:aws:s3:::uploads/*"],
                "Condition": { "Bool": { "aws:SecureTransport": "false" } },
            },
            {
                "Effect": "Allow",
                "Principal": { "AWS": "arn:aws:iam::123456789012:role/reader" },
                "Action": ["s3:GetObject"],
                "Resource": "arn:aws:s3:::uploads/public/*",
            },
        ],
    })
}

async fn configure(client: &Client, queue: &str, topic: &str) {
    let put = client.put_bucket_notification_configuration().bucket(BUCKET);
    put.notification_configuration(notifications(queue, topic)).send().await.unwrap();
    client.put_bucket_policy().bucket(BUCKET).policy(policy().to_string()).send().await.unwrap();
}

/// The foreign ones of `all`: none has our id.
fn without_ours(all: &NotificationConfiguration) -> NotificationConfiguration {
    let mut all = all.clone();
    let queues = all.queue_configurations.iter_mut();
    queues.for_each(|list| list.retain(|one| one.id() != Some("scan")));
    let functions = all.lambda_function_configurations.iter_mut();
    functions.for_each(|list| list.retain(|one| one.id() != Some("scan")));
    all
}

/// Create, the same create again, four updates and delete; theirs is there after each.
async fn survives(client: Client, queue: &str, topic: &str, ours: &str) -> Stack {
    configure(&client, queue, topic).await;
    let stack = Stack::on(client);
    let theirs = stack.notifications(BUCKET).await;
    assert_eq!(theirs.queue_configurations().len() + theirs.topic_configurations().len(), 2);
    let names = ["TlsOnly", ""];
    let check = async |what: &str, expected: usize, attached: bool| {
        let all = stack.notifications(BUCKET).await;
        assert_same(&without_ours(&all), &theirs);
        let count = all.queue_configurations().len() + all.lambda_function_configurations().len();
        assert_eq!(count, expected, "{what}: {all:?}");
        let found = stack.policy(BUCKET).await;
        let statements = &found.as_ref().unwrap()["Statement"];
        assert_eq!(statements[0], policy()["Statement"][0], "{what}");
        assert_eq!(statements[1], policy()["Statement"][1], "{what}");
        let ids = if attached { [names, SIDS].concat() } else { names.to_vec() };
        assert_eq!(sids(found.as_ref()), ids, "{what}");
    };

    let by_queue = with(&properties(&[BUCKET]), &[("TargetArn", ours)]);
    let attached = with(&by_queue, &[("QuarantinePolicy", "attach")]);
    stack.create(&attached).await;
    check("create", 2, true).await;
    stack.create(&attached).await;
    check("the same again", 2, true).await;

    let key = with(&attached, &[("TagKey", "verdict")]);
    stack.update(&attached, &key).await;
    check("another tag key", 2, true).await;
    let text = stack.policy(BUCKET).await.unwrap().to_string();
    assert!(text.contains("s3:ExistingObjectTag/verdict"), "{text}");
    assert!(!text.contains("s3-virusscan"), "{text}");

    stack.update(&key, &by_queue).await;
    check("detached", 2, false).await;
    stack.update(&by_queue, &attached).await;
    check("attached again", 2, true).await;

    let function = with(&attached, &[("Trigger", "function"), ("TargetArn", FUNCTION)]);
    stack.update(&attached, &function).await;
    check("by function", 2, true).await;
    assert_eq!(stack.notifications(BUCKET).await.queue_configurations().len(), 1);

    stack.delete(&function).await;
    check("delete", 1, false).await;
    assert_same(&stack.notifications(BUCKET).await, &theirs);
    assert_eq!(stack.policy(BUCKET).await, Some(policy()));
    stack.delete(&function).await;
    check("delete again", 1, false).await;
    stack
}

#[tokio::test]
async fn on_the_s3_in_memory() {
    let s3 = FakeS3::new().bucket(BUCKET, Versioning::Off);
    let queue = "arn:aws:sqs:us-east-1:123456789012:theirs";
    let topic = "arn:aws:sns:us-east-1:123456789012:theirs";
    let ours = "arn:aws:sqs:us-east-1:123456789012:ours";
    let stack = survives(s3.client(), queue, topic, ours).await;
    assert_same(&stack.notifications(BUCKET).await, &notifications(queue, topic));
}

#[tokio::test]
async fn on_moto() {
    let moto = Moto::start().await.unwrap();
    let client = moto.s3();
    client.create_bucket().bucket(BUCKET).send().await.unwrap();
    let topic = moto.sns().create_topic().name("theirs").send().await.unwrap().topic_arn.unwrap();
    for name in ["theirs", "ours"] {
        moto.sqs().create_queue().queue_name(name).send().await.unwrap();
    }
    let queue = "arn:aws:sqs:us-east-1:123456789012:theirs";
    survives(client, queue, &topic, "arn:aws:sqs:us-east-1:123456789012:ours").await;
}
