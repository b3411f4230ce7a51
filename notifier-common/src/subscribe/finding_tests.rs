use proptest::prelude::*;

use super::*;
use crate::{Finding, Message, MessageFormat, Reason, Verdict};

fn received(message: &Message) -> Result<ReceivedFinding, ReadError> {
    ReceivedFinding::read(&message.body, &attributes(message))
}

fn attributes(message: &Message) -> BTreeMap<String, String> {
    message.attributes.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

/// Keys as S3 takes them: 1 to 1,024 bytes of UTF-8, whatever the characters are.
fn key() -> impl Strategy<Value = String> {
    let odd = prop_oneof![
        Just("x v1 is clean, no action executed".to_owned()),
        Just("x  is clean, no action executed".to_owned()),
        Just(" ".to_owned()),
        Just("trailing  ".to_owned()),
        Just("/".to_owned()),
        Just("//a//".to_owned()),
        Just("100%25 %0A".to_owned()),
        Just("{\"schema\":1}".to_owned()),
        Just("a\nb\u{1}\u{7f}\u{85}\u{2028}\u{FFFE}\u{1F600}".to_owned()),
    ];
    let any = "\\PC{1,80}|(?s:.){1,80}|[ -~]{1,300}";
    prop_oneof![1 => odd, 9 => any.prop_filter("1,024 bytes", |key| key.len() <= 1024)]
}

fn verdict() -> impl Strategy<Value = Verdict> {
    let signatures = prop::collection::vec("[!-~]{1,40}|\\PC{1,20}", 1..4);
    prop_oneof![
        Just(Verdict::Clean),
        signatures.prop_map(|signatures| Verdict::Infected { signatures }),
        prop::sample::select(&Reason::ALL).prop_map(|reason| Verdict::Unscannable { reason }),
    ]
}

prop_compose! {
    fn finding()(
        bucket in "[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]",
        key in key(),
        version in prop::option::of("[A-Za-z0-9._-]{1,64}"),
        etag in prop::option::of("[0-9a-f]{32}"),
        sequencer in prop::option::of("[0-9A-F]{1,18}"),
        numbers in any::<(u64, u32, u64, u64)>(),
        verdict in verdict(),
        action in prop::sample::select(vec![Action::No, Action::Tag, Action::Delete]),
        stale in any::<bool>(),
    ) -> Finding {
        let (size, definitions_version, age_hours, duration_ms) = numbers;
        let definitions = Definitions {
            version: definitions_version,
            built: "2026-09-20T06:26:26Z".into(),
            age_hours,
            stale,
        };
        let engine = "1.4.6".to_owned();
        Finding {
            bucket, key, version, etag, sequencer, size, verdict, action, engine, definitions,
            duration_ms,
        }
    }
}

proptest! {
    #[test]
    fn every_finding_is_read_as_it_was_written(finding in finding(), text in any::<bool>()) {
        let format = if text { MessageFormat::Widdix } else { MessageFormat::Json };
        let read = received(&Message::render(&finding, format)).unwrap();
        prop_assert_eq!(&read.bucket, &finding.bucket);
        prop_assert_eq!(&read.key, &finding.key);
        prop_assert_eq!(&read.version, &finding.version);
        prop_assert_eq!(read.status, finding.verdict.status());
        prop_assert_eq!(read.action, finding.action);
        let sentence = text && !crate::key_needs_encoding(&finding.key);
        prop_assert_eq!(read.details.is_none(), sentence);
        if let Some(details) = read.details {
            let (signatures, reason) = match finding.verdict {
                Verdict::Clean => (Vec::new(), None),
                Verdict::Infected { signatures } => (signatures, None),
                Verdict::Unscannable { reason } => (Vec::new(), Some(reason.to_string())),
            };
            prop_assert_eq!(details, Details {
                etag: finding.etag,
                sequencer: finding.sequencer,
                size: finding.size,
                signatures,
                reason,
                engine: finding.engine,
                definitions: finding.definitions,
                duration_ms: finding.duration_ms,
            });
        }
    }

    /// What somebody could do who sends a genuine message again with other attributes.
    #[test]
    fn no_changed_attribute_goes_unnoticed(finding in finding(), which in any::<prop::sample::Index>()) {
        let message = Message::render(&finding, MessageFormat::Json);
        let names = &message::ATTRIBUTES;
        let name = names[which.index(names.len())];
        let mut changed = attributes(&message);
        let value = changed.entry(name.to_owned()).or_default();
        value.push('x');
        let error = ReceivedFinding::read(&message.body, &changed).unwrap_err();
        prop_assert!(
            matches!(error, ReadError::AttributesDisagree { name: of } if of == name),
            "{error:?}"
        );
    }
}

/// What the Rails example's tests are fed: rendered here, so that it is what the scanner publishes.
#[test]
fn the_vectors_of_the_other_languages_are_what_is_published() {
    let vectors = include_str!("../../../tests/vectors/findings.json");
    let vectors: Vec<serde_json::Value> = serde_json::from_str(vectors).unwrap();
    assert!(vectors.len() > 10);
    for vector in vectors {
        let body = &vector["body"];
        let Json { bucket, key, version, status, action, details } =
            serde_json::from_value(body.clone()).unwrap();
        let verdict = match status {
            Status::Clean => Verdict::Clean,
            Status::Infected => Verdict::Infected { signatures: details.signatures },
            Status::No => {
                let reason = serde_json::from_value(body["reason"].clone()).unwrap();
                Verdict::Unscannable { reason }
            }
        };
        let Details { etag, sequencer, size, engine, definitions, duration_ms, .. } = details;
        let finding = Finding {
            bucket,
            key,
            version,
            etag,
            sequencer,
            size,
            verdict,
            action,
            engine,
            definitions,
            duration_ms,
        };
        let json = Message::render(&finding, MessageFormat::Json);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&json.body).unwrap(), *body);
        assert_eq!(json.subject, vector["subject"]);
        assert_eq!(serde_json::to_value(attributes(&json)).unwrap(), vector["attributes"]);
        let text = Message::render(&finding, MessageFormat::Widdix);
        assert_eq!(text.body, vector["text"].as_str().unwrap_or(&json.body), "{}", vector["name"]);
    }
}

#[test]
fn attributes_that_contradict_a_sentence_are_refused() {
    let body = "s3://b/a.pdf  is infected, tag action executed";
    let read = |name: &str, value: &str| {
        ReceivedFinding::read(body, &BTreeMap::from([(name.to_owned(), value.to_owned())]))
    };
    assert_eq!(read("status", "infected").unwrap().status, Status::Infected);
    let changed = [
        ("bucket", "c"),
        ("key", "b.pdf"),
        ("status", "clean"),
        ("action", "no"),
        ("version", "v1"),
        ("key_encoding", "url"),
    ];
    for (name, value) in changed {
        let error = read(name, value).unwrap_err();
        assert_eq!(error.code(), "attributes-disagree", "{name}");
        assert!(error.to_string().contains(name), "{error}");
    }
    // Not in the sentence, so not comparable; and not given to the caller either.
    assert!(read("finding", "Other").unwrap().details.is_none());
}

#[test]
fn what_is_no_finding_is_said_to_be_none() {
    let alarm = r#"{"AlarmName":"s3-virusscan-ScanQueueDLQAlarm","NewStateValue":"ALARM",
        "Trigger":{"MetricName":"ApproximateNumberOfMessagesVisible"}}"#;
    let others = [
        alarm,
        "Hello world",
        "",
        "{",
        "[]",
        r#"{"schema":1}"#,
        "s3://b/k is infected, deleting...",
        "s3://b  is clean, no action executed",
        "s3:///k  is clean, no action executed",
        "s3://b/k  is dirty, no action executed",
        "s3://b/k  is clean, wash action executed",
        "s3://b/k is clean, no action executed",
        "s3://b/  is clean, no action executed",
    ];
    for body in others {
        let error = ReceivedFinding::read(body, &BTreeMap::new()).unwrap_err();
        assert_eq!(error.code(), "not-a-finding", "{body}");
    }
}

#[test]
fn a_finding_that_cannot_be_read_is_an_error_with_its_reason() {
    let with = |changes: &[(&str, serde_json::Value)]| {
        let mut body = serde_json::json!({
            "schema": 1, "bucket": "b", "key": "k", "size": 1, "status": "no", "action": "no",
            "reason": "of-next-year", "engine": "9", "duration_ms": 1, "new": {"field": 1},
            "definitions": {"version": 1, "built": "x", "age_hours": 1, "stale": false},
        });
        for (name, value) in changes {
            body[name] = value.clone();
        }
        ReceivedFinding::read(&body.to_string(), &BTreeMap::new())
    };
    // A newer scanner's reasons and fields are no error.
    assert_eq!(with(&[]).unwrap().details.unwrap().reason.as_deref(), Some("of-next-year"));
    assert_eq!(with(&[("schema", 2.into())]).unwrap_err().code(), "schema");
    let wrong = [("status", "dirty".into()), ("size", "1".into()), ("definitions", 1.into())];
    for (name, value) in wrong {
        assert_eq!(with(&[(name, value)]).unwrap_err().code(), "malformed", "{name}");
    }
}
