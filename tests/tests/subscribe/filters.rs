//! The filter policies of docs/SUBSCRIBING.md, on moto's SNS, fed by the scanner's own publisher.
//! `tests/check_template.py` holds those of examples/subscriptions to the same page.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_sqs::types::QueueAttributeName;
use notifier_common::{Action, Definitions, Finding, Message, MessageFormat, Reason, Verdict};
use scanner::publish::publish;
use scanner_tests::moto::Moto;
use serde_json::Value;

/// The policies under "Only some findings", by the sentence above each.
fn documented() -> BTreeMap<String, Value> {
    let docs = include_str!("../../../docs/SUBSCRIBING.md");
    let (_, section) = docs.split_once("\n## Only some findings\n").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let mut policies = BTreeMap::new();
    let mut parts = section.split("```json\n");
    let mut before = parts.next().unwrap();
    for part in parts {
        let (policy, after) = part.split_once("\n```").unwrap();
        let title = before.trim().lines().last().unwrap().trim_end_matches(':');
        policies.insert(title.to_owned(), serde_json::from_str(policy).unwrap());
        before = after;
    }
    policies
}

fn finding(bucket: &str, key: &str, verdict: Verdict, action: Action) -> Finding {
    Finding {
        bucket: bucket.into(),
        key: key.into(),
        version: None,
        etag: None,
        sequencer: None,
        size: 1,
        verdict,
        action,
        engine: "1.4.6".into(),
        definitions: Definitions {
            version: 1,
            built: "2026-11-24T08:26:26Z".into(),
            age_hours: 1,
            stale: key == "old",
        },
        duration_ms: 1,
    }
}

fn findings() -> Vec<Finding> {
    let infected = || Verdict::Infected { signatures: vec!["Eicar".into()] };
    let no = Verdict::Unscannable { reason: Reason::Encrypted };
    vec![
        finding("uploads", "clean", Verdict::Clean, Action::No),
        finding("uploads", "infected", infected(), Action::Tag),
        finding("media", "deleted", infected(), Action::Delete),
        finding("media", "no", no.clone(), Action::No),
        finding("others", "invoices/a", infected(), Action::Tag),
        finding("others", "my/invoices/b", no, Action::No),
        finding("others", "old", Verdict::Clean, Action::No),
    ]
}

#[tokio::test]
async fn each_lets_through_what_its_title_says() {
    let expected: BTreeMap<&str, &[&str]> = BTreeMap::from([
        ("What is infected", ["infected", "deleted", "invoices/a"].as_slice()),
        (
            "What somebody should look at",
            &["infected", "deleted", "no", "invoices/a", "my/invoices/b"],
        ),
        ("Everything of two buckets that is not clean", &["infected", "deleted", "no"]),
        ("What was deleted", &["deleted"]),
        ("All below a prefix", &["invoices/a"]),
        ("What was judged by old definitions", &["old"]),
    ]);
    let policies = documented();
    assert_eq!(
        policies.keys().map(String::as_str).collect::<Vec<_>>(),
        expected.keys().copied().collect::<Vec<_>>()
    );

    let moto = Moto::start().await.unwrap();
    let (sns, sqs) = (moto.sns(), moto.sqs());
    let topic = sns.create_topic().name("Findings").send().await.unwrap().topic_arn.unwrap();
    let mut queues = Vec::new();
    for (number, (title, policy)) in policies.iter().enumerate() {
        let queue = sqs.create_queue().queue_name(format!("filtered-{number}")).send();
        let url = queue.await.unwrap().queue_url.unwrap();
        let name = QueueAttributeName::QueueArn;
        let asked = sqs.get_queue_attributes().queue_url(&url).attribute_names(name.clone());
        let attributes = asked.send().await.unwrap().attributes.unwrap();
        let subscribe = sns.subscribe().topic_arn(&topic).protocol("sqs");
        let subscribe = subscribe.endpoint(&attributes[&name]);
        let subscribe = subscribe.attributes("FilterPolicy", policy.to_string());
        subscribe.attributes("RawMessageDelivery", "true").send().await.unwrap();
        queues.push((title.as_str(), url));
    }
    for finding in findings() {
        let message = Message::render(&finding, MessageFormat::Json);
        publish(&sns, &topic, message).await.unwrap();
    }
    for (title, url) in queues {
        // moto delivers before it answers the publisher.
        let received = sqs.receive_message().queue_url(&url).max_number_of_messages(10).send();
        let keys: BTreeSet<String> = received
            .await
            .unwrap()
            .messages
            .unwrap_or_default()
            .iter()
            .map(|message| {
                let body: Value = serde_json::from_str(message.body().unwrap()).unwrap();
                body["key"].as_str().unwrap().to_owned()
            })
            .collect();
        let expected = expected[title].iter().map(|key| (*key).to_owned()).collect();
        assert_eq!(keys, expected, "{title}");
    }
}
