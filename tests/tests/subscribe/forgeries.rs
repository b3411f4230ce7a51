//! What SNS did not send, each refused with the reason that its name says.

use std::collections::BTreeMap;
use std::time::Duration;

use notifier_common::subscribe::{Delivery, Incoming, Policy, SignatureVersions, Verifier};
use scanner_tests::sns_https::{
    ELSEWHERE_URL, ISSUER_URL, Leaf, Pki, SignatureVersion, SigningCertificate, sign,
};
use serde_json::{Value, json};

use crate::support::{
    OTHER_TOPIC, REGION, Served, TOPIC, bytes, certificate, confirmation, lambda_event,
    notification, now, policy, signed, verify,
};

/// What happens to a body by the endpoint's eyes: `ok`, or the code of the error that stops it.
async fn outcome(served: Served, policy: Policy, body: &[u8]) -> String {
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
async fn changed(change: impl FnOnce(&mut Value)) -> String {
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
async fn the_certificate_comes_from_snss_own_host_only() {
    let path = "/SimpleNotificationService-0123456789abcdef0123456789abcdef.pem";
    let cases = [
        ("https://sns.evil.com", "certificate-host"),
        ("https://evil.com/sns.us-east-1.amazonaws.com", "certificate-host"),
        ("https://sns.us-east-1.amazonaws.com.evil.com", "certificate-host"),
        ("https://sns.us-east-1.amazonaws.com.s3.amazonaws.com", "certificate-host"),
        ("https://sns.us-east-1.amazonaws.com.cn", "certificate-host"),
        ("https://xsns.us-east-1.amazonaws.com", "certificate-host"),
        ("https://sns-us-east-1.amazonaws.com", "certificate-host"),
        ("https://sns.us-east-1.amazonaws.com.", "certificate-host"),
        ("https://sns.us-east-1.amazonaws.com@evil.com", "certificate-host"),
        ("https://evil.com#sns.us-east-1.amazonaws.com", "certificate-host"),
        ("https://evil.com\\@sns.us-east-1.amazonaws.com", "certificate-host"),
        // Cyrillic s.
        ("https://\u{455}ns.us-east-1.amazonaws.com", "certificate-host"),
        // SNS, but not where this topic is.
        ("https://sns.eu-west-1.amazonaws.com", "certificate-host"),
        ("https://sns.amazonaws.com", "certificate-host"),
        ("https://user@sns.us-east-1.amazonaws.com", "certificate-authority"),
        ("https://:secret@sns.us-east-1.amazonaws.com", "certificate-authority"),
        ("https://sns.us-east-1.amazonaws.com:8443", "certificate-authority"),
        ("http://sns.us-east-1.amazonaws.com", "certificate-scheme"),
        ("ftp://sns.us-east-1.amazonaws.com", "certificate-scheme"),
        ("file:///etc", "certificate-scheme"),
        ("data:,", "certificate-scheme"),
        ("sns.us-east-1.amazonaws.com", "certificate-url"),
        ("https://[", "certificate-url"),
    ];
    for (base, code) in cases {
        let url = format!("{base}{path}");
        let outcome = changed(|document| document["SigningCertURL"] = url.clone().into()).await;
        assert_eq!(outcome, code, "{url}");
    }
    let ends = [
        ("x.key", "certificate-extension"),
        ("x.pem.exe", "certificate-extension"),
        ("x.PEM", "certificate-extension"),
        ("", "certificate-extension"),
        ("x.key?y=z.pem", "certificate-authority"),
        ("x.pem?y=z", "certificate-authority"),
        ("x.key#z.pem", "certificate-authority"),
    ];
    for (end, code) in ends {
        let url = format!("https://sns.us-east-1.amazonaws.com/{end}");
        let outcome = changed(|document| document["SigningCertURL"] = url.clone().into()).await;
        assert_eq!(outcome, code, "{url}");
    }
}

/// `signer` signs, and is served as SNS's certificate with what is `served` beside it.
async fn signed_by(signer: &SigningCertificate, served: Served) -> String {
    let mut document = notification();
    sign(&mut document, signer, REGION, SignatureVersion::V2).unwrap();
    outcome(served, policy(), &bytes(&document)).await
}

#[tokio::test]
async fn a_certificate_counts_only_if_it_is_snss_and_holds() {
    let cases = [
        (Leaf::Good, "ok"),
        (Leaf::Expired, "certificate-expired"),
        (Leaf::NotYetValid, "certificate-not-yet-valid"),
        (Leaf::OtherName, "certificate-name"),
        (Leaf::EcKey, "certificate-key"),
    ];
    for (leaf, code) in cases {
        let signer = certificate(leaf);
        assert_eq!(signed_by(&signer, Served::of(&signer)).await, code, "{leaf:?}");
    }
}

#[tokio::test]
async fn nobody_else_can_vouch_for_snss_certificate() {
    // Everything as it should be, below a root that is not trusted.
    let theirs = Pki::new().unwrap().signing(Leaf::Good).unwrap();
    assert_eq!(signed_by(&theirs, Served::of(&theirs)).await, "certificate-foreign");
    // The same with our issuer in the place of theirs.
    let ours = certificate(Leaf::Good);
    let mut served = Served::of(&theirs);
    served.0.insert(ISSUER_URL.to_owned(), ours.issuer.clone());
    assert_eq!(signed_by(&theirs, served).await, "certificate-foreign");
    // A certificate leads to Amazon for its issuer, or nowhere: the real one is elsewhere here.
    let elsewhere = certificate(Leaf::IssuerElsewhere);
    let mut served = Served::of(&elsewhere);
    served.0.insert(ELSEWHERE_URL.to_owned(), elsewhere.issuer.clone());
    assert_eq!(signed_by(&elsewhere, served).await, "certificate-foreign");
    // An issuer that is no certificate at all.
    let mut served = Served::of(&ours);
    served.0.insert(ISSUER_URL.to_owned(), b"<html>".to_vec());
    assert_eq!(signed_by(&ours, served).await, "certificate-foreign");
}

#[tokio::test]
async fn what_is_no_certificate_is_said_to_be_none() {
    let good = certificate(Leaf::Good);
    let bodies: [&[u8]; 6] = [
        b"",
        b"<html>404</html>",
        &good.issuer,
        b"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n",
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        b"-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n",
    ];
    for body in bodies {
        let mut served = Served::of(&good);
        served.0.insert(good.url(REGION), body.to_vec());
        let outcome = signed_by(&good, served).await;
        assert_eq!(outcome, "certificate-malformed", "{}", String::from_utf8_lossy(body));
    }
}

#[tokio::test]
async fn a_certificate_that_cannot_be_had_is_a_reason_to_come_again_and_the_only_one() {
    let good = certificate(Leaf::Good);
    for missing in [good.url(REGION), ISSUER_URL.to_owned()] {
        let mut served = Served::of(&good);
        served.0.remove(&missing);
        let mut document = notification();
        sign(&mut document, &good, REGION, SignatureVersion::V2).unwrap();
        let delivery = Delivery::http(&bytes(&document)).unwrap();
        let error = verify(served, policy(), delivery).await.unwrap_err();
        assert_eq!((error.code(), error.retry()), ("certificate-unavailable", true), "{missing}");
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
