//! Render → sign → verify → read → equal, for findings of every kind.

use notifier_common::subscribe::{Delivery, Incoming, Notification};
use notifier_common::{Action, Definitions, Finding, Message, MessageFormat, Reason, Verdict};
use proptest::prelude::*;
use scanner_tests::sns_https::SignatureVersion;
use serde_json::{Map, Value, json};

use crate::support::{Served, bytes, notification, policy, signed, verify};

fn finding() -> impl Strategy<Value = Finding> {
    let verdict = prop_oneof![
        Just(Verdict::Clean),
        prop::collection::vec("\\PC{1,30}", 1..3)
            .prop_map(|signatures| Verdict::Infected { signatures }),
        prop::sample::select(&Reason::ALL).prop_map(|reason| Verdict::Unscannable { reason }),
    ];
    let key = "(?s:.){1,60}|\\PC{1,60}|[ -~]{1,200}";
    let action = prop::sample::select(vec![Action::No, Action::Tag, Action::Delete]);
    let version = prop::option::of("[A-Za-z0-9._-]{1,40}");
    (key, version, verdict, action, any::<bool>(), any::<u64>()).prop_map(
        |(key, version, verdict, action, stale, size)| Finding {
            bucket: "my-uploads".into(),
            key,
            version,
            etag: Some("9e107d9d372bb6826bd81d3542a419d6".into()),
            sequencer: None,
            size,
            verdict,
            action,
            engine: "1.4.6".into(),
            definitions: Definitions {
                version: 28129,
                built: "2026-11-24T08:26:26Z".into(),
                age_hours: 27,
                stale,
            },
            duration_ms: 7,
        },
    )
}

fn published(message: &Message) -> Value {
    let mut document = notification();
    document["Subject"] = message.subject.clone().into();
    document["Message"] = message.body.clone().into();
    let attributes: Map<_, _> = message
        .attributes
        .iter()
        .map(|(name, value)| ((*name).to_owned(), json!({"Type": "String", "Value": value})))
        .collect();
    document["MessageAttributes"] = attributes.into();
    document
}

async fn heard(document: &Value) -> Notification {
    let delivery = Delivery::http(&bytes(document)).unwrap();
    match verify(Served::good(), policy(), delivery).await.unwrap() {
        Incoming::Notification(notification) => notification,
        other => panic!("{other:?}"),
    }
}

proptest! {
    // Each case makes two RSA signatures.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_published_is_what_is_read(finding in finding(), one in any::<bool>()) {
        let version = if one { SignatureVersion::V1 } else { SignatureVersion::V2 };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for format in [MessageFormat::Widdix, MessageFormat::Json] {
            let document = signed(published(&Message::render(&finding, format)), version);
            let read = runtime.block_on(heard(&document)).finding().unwrap();
            prop_assert_eq!(&read.bucket, &finding.bucket);
            prop_assert_eq!(&read.key, &finding.key);
            prop_assert_eq!(&read.version, &finding.version);
            prop_assert_eq!(read.status, finding.verdict.status());
            prop_assert_eq!(read.action, finding.action);
            if let Some(details) = read.details {
                prop_assert_eq!(details.size, finding.size);
                prop_assert_eq!(details.definitions, finding.definitions.clone());
            }
        }
    }
}
