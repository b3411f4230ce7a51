//! What SNS did not send, each refused with the reason that its name says.

use std::collections::BTreeMap;
use std::time::Duration;

use notifier_common::subscribe::{Delivery, Incoming, Policy, SignatureVersions, Verifier};
use scanner_tests::sns_https::SignatureVersion;
use serde_json::{Value, json};

use crate::support::{
    OTHER_TOPIC, Served, TOPIC, bytes, confirmation, lambda_event, notification, now, policy,
    signed, verify,
};

/// What happens to a body by the endpoint's eyes: `ok`, or the code of the error that stops it.
pub(crate) async fn outcome(served: Served, policy: Policy, body: &[u8]) -> String {
    let delivery = match Delivery::http(body) {
        Ok(delivery) => delivery,
        Err(error) => return error.code().to_owned(),
    };
    match verify(served, policy, delivery).await {
        Ok(Incoming::Notification(heard)) => match heard.finding() {
            Ok(_) => "ok".to_owned(),
            Err(error) => error.code().to_owned(),
        },
        Ok(_) => "ok".to_owned(),
        Err(error) => error.code().to_owned(),
    }
}

fn genuine() -> Value {
    signed(notification(), SignatureVersion::V2)
}

/// A message that SNS signed, changed afterwards.
pub(crate) async fn changed(change: impl FnOnce(&mut Value)) -> String {
    let mut document = genuine();
    change(&mut document);
    outcome(Served::good(), policy(), &bytes(&document)).await
}

/// A message that has the right signature over what it says.
async fn resigned(change: impl FnOnce(&mut Value)) -> String {
    let mut document = notification();
    change(&mut document);
    outcome(Served::good(), policy(), &bytes(&signed(document, SignatureVersion::V2))).await
}

#[tokio::test]
async fn unchanged_it_passes() {
    assert_eq!(changed(|_| {}).await, "ok");
    assert_eq!(resigned(|_| {}).await, "ok");
}

#[tokio::test]
async fn whatever_is_signed_cannot_be_changed() {
    let clean = "s3://uploads/cv.pdf  is clean, no action executed";
    let changes: [(&str, Value); 9] = [
        ("Message", clean.into()),
        ("Subject", "another".into()),
        ("Subject", Value::Null),
        ("MessageId", "c0e5a280-53c9-5a98-93bb-c0a560b3d193".into()),
        ("Timestamp", "2026-11-25T12:00:00.001Z".into()),
        ("TopicArn", OTHER_TOPIC.into()),
        // Not there when it was signed; the AWS SDKs' verifiers count it all the same.
        ("Token", "2336412f".into()),
        ("SubscribeURL", "https://sns.us-east-1.amazonaws.com/".into()),
        ("SignatureVersion", "1".into()),
    ];
    for (field, value) in changes {
        let outcome = changed(|document| document[field] = value.clone()).await;
        assert_eq!(outcome, "signature", "{field}: {value}");
    }
    // Another type, with all that it needs.
    let mut document = genuine();
    for field in ["Token", "SubscribeURL"] {
        document[field] = confirmation("SubscriptionConfirmation")[field].clone();
    }
    document["Type"] = "SubscriptionConfirmation".into();
    assert_eq!(outcome(Served::good(), policy(), &bytes(&document)).await, "signature");
}

#[tokio::test]
async fn a_signature_that_is_none_is_refused() {
    let other = signed(confirmation("SubscriptionConfirmation"), SignatureVersion::V2);
    let genuine = genuine()["Signature"].as_str().unwrap().to_owned();
    let cases = [
        ("not base64 !", "signature-encoding"),
        (&genuine[1..], "signature-encoding"),
        ("", "missing-field"),
        ("AAAA", "signature"),
        (other["Signature"].as_str().unwrap(), "signature"),
    ];
    for (signature, code) in cases {
        let outcome = changed(|document| document["Signature"] = signature.into()).await;
        assert_eq!(outcome, code, "{signature}");
    }
}

/// They are not signed, so the signature holds; the body says what is true.
#[tokio::test]
async fn attributes_that_were_changed_are_noticed() {
    let attribute = |value: &str| json!({"Type": "String", "Value": value});
    let changes = [
        ("status", "clean"),
        ("status", "no"),
        ("key", "other.pdf"),
        ("bucket", "other"),
        ("action", "no"),
        ("version", "v1"),
        ("key_encoding", "url"),
    ];
    for (name, value) in changes {
        let outcome =
            changed(|document| document["MessageAttributes"][name] = attribute(value)).await;
        assert_eq!(outcome, "attributes-disagree", "{name} = {value}");
    }
    // Without attributes nothing contradicts: all that counts is in the body.
    assert_eq!(changed(|document| document["MessageAttributes"] = Value::Null).await, "ok");
    let shapes = [json!([]), json!("x"), json!({"key": "cv.pdf"}), json!({"key": {"Value": 1}})];
    for shape in shapes {
        let outcome = changed(|document| document["MessageAttributes"] = shape.clone()).await;
        assert_eq!(outcome, "wrong-type", "{shape}");
    }
}

#[tokio::test]
async fn another_topic_is_refused_however_good_the_signature_is() {
    let topics = [
        "arn:aws:sns:us-east-1:999999999999:Findings",
        "arn:aws:sns:us-east-1:123456789012:Finding",
        "arn:aws:sns:us-east-1:123456789012:Findings ",
    ];
    for topic in topics {
        let outcome = resigned(|document| document["TopicArn"] = topic.into()).await;
        assert_eq!(outcome, "topic", "{topic:?}");
    }
}

#[tokio::test]
async fn the_time_of_a_message_is_judged() {
    let cases = [
        ("2026-11-25T10:56:00.000Z", "ok"), // 65 minutes before now
        ("2026-11-25T10:55:59.000Z", "too-old"),
        ("2025-11-25T12:00:00.000Z", "too-old"),
        ("2026-11-25T12:06:00.000Z", "ok"), // 5 minutes after now
        ("2026-11-25T12:06:01.000Z", "from-the-future"),
        ("yesterday", "timestamp"),
        ("2026-11-25", "timestamp"),
        ("", "missing-field"),
    ];
    for (timestamp, code) in cases {
        let outcome = resigned(|document| document["Timestamp"] = timestamp.into()).await;
        assert_eq!(outcome, code, "{timestamp:?}");
    }
}

#[tokio::test]
async fn a_policy_of_version_two_takes_nothing_else() {
    let only_two = Policy { signature_versions: SignatureVersions::OnlyTwo, ..policy() };
    let one = bytes(&signed(notification(), SignatureVersion::V1));
    assert_eq!(outcome(Served::good(), policy(), &one).await, "ok");
    assert_eq!(outcome(Served::good(), only_two.clone(), &one).await, "old-signature-version");
    assert_eq!(outcome(Served::good(), only_two, &bytes(&genuine())).await, "ok");
    for version in ["3", "0", "v2", "2 "] {
        let outcome = changed(|document| document["SignatureVersion"] = version.into()).await;
        assert_eq!(outcome, "unknown-signature-version", "{version:?}");
    }
}

#[tokio::test]
async fn a_replay_is_told_from_a_retry() {
    let verifier = Verifier::new(policy(), Served::good());
    let again = || Delivery::http(&bytes(&genuine())).unwrap();
    let id = genuine()["MessageId"].as_str().unwrap().to_owned();
    // What is remembered is dropped in halves: half an hour of the first one is over.
    verifier.handled("an-older-one", now() - Duration::from_mins(30));
    // Answered with 5xx, so SNS comes again.
    verifier.verify(again(), now()).await.unwrap();
    verifier.verify(again(), now()).await.unwrap();
    verifier.handled(&id, now());
    assert_eq!(verifier.verify(again(), now()).await.unwrap_err().code(), "replay");
    // As long as its age would let it in, it is remembered, whatever comes in between.
    for minute in 1..=64 {
        let then = now() + Duration::from_mins(minute);
        verifier.handled(&format!("another-{minute}"), then);
        let error = verifier.verify(again(), then).await.unwrap_err();
        assert_eq!(error.code(), "replay", "{minute} minutes later");
    }
    let error = verifier.verify(again(), now() + Duration::from_mins(65)).await.unwrap_err();
    assert_eq!(error.code(), "too-old");
}

fn with(document: &Value, field: &str, value: impl Into<Value>) -> Value {
    let mut document = document.clone();
    document[field] = value.into();
    document
}

#[tokio::test]
async fn a_field_that_is_missing_or_of_another_type_is_named() {
    let required = [
        "Type",
        "MessageId",
        "TopicArn",
        "Message",
        "Timestamp",
        "SignatureVersion",
        "Signature",
        "SigningCertURL",
    ];
    let of = |kind: &str| match kind {
        "Notification" => genuine(),
        kind => signed(confirmation(kind), SignatureVersion::V2),
    };
    let mut cases: Vec<_> = required.iter().map(|field| ("Notification", *field)).collect();
    for kind in ["SubscriptionConfirmation", "UnsubscribeConfirmation"] {
        cases.extend([(kind, "Token"), (kind, "SubscribeURL")]);
    }
    for (kind, field) in cases {
        let mut document = of(kind);
        document.as_object_mut().unwrap().remove(field);
        for absent in
            [document.clone(), with(&document, field, ""), with(&document, field, Value::Null)]
        {
            let error = Delivery::http(&bytes(&absent)).unwrap_err();
            assert_eq!(error.code(), "missing-field", "{field}");
            assert!(error.to_string().contains(field), "{error}");
        }
        for wrong in [json!(1), json!(["x"]), json!({"x": 1}), json!(true)] {
            let mut document = of(kind);
            document[field] = wrong.clone();
            let error = Delivery::http(&bytes(&document)).unwrap_err();
            assert_eq!(error.code(), "wrong-type", "{field} = {wrong}");
            assert!(error.to_string().contains(field), "{error}");
        }
    }
    assert_eq!(changed(|document| document["Type"] = "Notice".into()).await, "unknown-type");
}

#[tokio::test]
async fn a_body_that_is_no_message_is_refused() {
    let large = |bytes: usize| {
        let mut document = notification();
        let rest = bytes - self::bytes(&signed(notification(), SignatureVersion::V2)).len();
        document["Message"] =
            format!("{}{}", document["Message"].as_str().unwrap(), "x".repeat(rest)).into();
        self::bytes(&signed(document, SignatureVersion::V2))
    };
    let raw_json = json!({"schema": 1, "bucket": "b", "key": "k", "status": "clean"});
    let cases = [
        (large(262_144), "not-a-finding"),
        (large(262_145), "too-large"),
        (large(300 * 1024), "too-large"),
        (Vec::new(), "not-json"),
        (b"\0\xff\xfe".to_vec(), "not-json"),
        (b"Type=Notification&Message=x".to_vec(), "not-json"),
        (vec![b'['; 100_000], "not-json"),
        // Raw delivery, which nobody signed.
        (b"s3://uploads/cv.pdf  is clean, no action executed".to_vec(), "not-json"),
        (bytes(&raw_json), "missing-field"),
        (b"[]".to_vec(), "not-an-object"),
        (b"null".to_vec(), "not-an-object"),
        (b"\"Notification\"".to_vec(), "not-an-object"),
        (b"{}".to_vec(), "missing-field"),
    ];
    for (body, code) in cases {
        let start = String::from_utf8_lossy(&body).chars().take(60).collect::<String>();
        assert_eq!(outcome(Served::good(), policy(), &body).await, code, "{start}");
    }
}

#[tokio::test]
async fn a_confirmation_leads_to_sns_or_nowhere() {
    let sns = "https://sns.us-east-1.amazonaws.com/?Action=ConfirmSubscription";
    let urls = [
        format!("http://sns.us-east-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn={TOPIC}"),
        format!("https://evil.com/?Action=ConfirmSubscription&TopicArn={TOPIC}"),
        format!("https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn={TOPIC}"),
        format!(
            "https://sns.us-east-1.amazonaws.com:1/?Action=ConfirmSubscription&TopicArn={TOPIC}"
        ),
        format!(
            "https://x@sns.us-east-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn={TOPIC}"
        ),
        format!("https://sns.us-east-1.amazonaws.com/?Action=Unsubscribe&TopicArn={TOPIC}"),
        format!("{sns}&TopicArn={OTHER_TOPIC}"),
        sns.to_owned(),
        "not a URL".to_owned(),
    ];
    for url in urls {
        let mut document = confirmation("SubscriptionConfirmation");
        document["SubscribeURL"] = url.clone().into();
        let body = bytes(&signed(document, SignatureVersion::V2));
        assert_eq!(outcome(Served::good(), policy(), &body).await, "subscribe-url", "{url}");
    }
}

#[tokio::test]
async fn an_event_that_is_no_sns_event_is_refused() {
    let event = lambda_event(&genuine());
    let cases = [
        (json!({}), "missing-field", "Records"),
        (json!({"Records": 1}), "wrong-type", "Records"),
        (json!({"Records": [{"s3": {}}]}), "missing-field", "Sns"),
        (json!({"Records": [{"Sns": "x"}]}), "wrong-type", "Sns"),
        (json!({"Records": [{"Sns": {}}]}), "missing-field", "Type"),
        // One bad record is not passed over.
        (json!({"Records": [event["Records"][0], {"Sns": {}}]}), "missing-field", "Type"),
    ];
    for (event, code, field) in cases {
        let error = Delivery::lambda(&bytes(&event)).unwrap_err();
        assert_eq!(error.code(), code, "{event}");
        assert!(error.to_string().contains(field), "{error}");
    }
}

/// A log line of a refusal holds nothing that the sender chose, and no token.
#[tokio::test]
async fn no_error_repeats_what_was_sent() {
    let mark = "2336412f37fb687f";
    let mut document = signed(confirmation("SubscriptionConfirmation"), SignatureVersion::V2);
    let mut said = Vec::new();
    for field in ["Message", "TopicArn", "SigningCertURL", "SubscribeURL", "Signature", "Timestamp"]
    {
        let was = document[field].clone();
        document[field] = format!("https://{mark}.example").into();
        let delivery = Delivery::http(&bytes(&document)).unwrap();
        said.push(format!("{delivery:?}").replace(&format!("https://{mark}.example"), ""));
        let error = verify(Served::good(), policy(), delivery).await.unwrap_err();
        said.push(format!("{error} {error:?}"));
        document[field] = was;
    }
    let counted: BTreeMap<&String, ()> = said.iter().map(|text| (text, ())).collect();
    assert!(counted.len() > 6, "{said:?}");
    for text in said {
        assert!(!text.contains(mark), "{text}");
    }
}
