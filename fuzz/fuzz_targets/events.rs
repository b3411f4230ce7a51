//! What wakes the function: an event of any form, or the body of a message that anybody who may send
//! to the queue wrote. Input: JSON, else the bytes are the body of an SQS message as they are.
//!
//! Besides crashes it looks for objects that no scan could be of, for events that grow while they are
//! unwrapped, and for objects that are another one when S3 tells of them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

// The file alone: with the whole crate and its clients of AWS the build takes minutes more.
#[expect(unreachable_pub, reason = "it is public in its own crate")]
#[path = "../../scanner/src/event.rs"]
mod event;

use event::{Entry, EventError, ObjectRef, Trigger, parse};

/// More than S3 in SNS in SQS, and more than is unwrapped.
const TOO_MANY_ENVELOPES: usize = 5;

/// Each envelope escapes the quotes of the one inside again.
const SHORT: usize = 256;

fuzz_target!(|input: &[u8]| {
    let text = String::from_utf8_lossy(input);
    let queued = queued(&text);
    check(&queued, text.len());
    // Bytes that are no text reach the function as text of other bytes.
    if std::str::from_utf8(input).is_err() {
        return;
    }
    let Ok(event) = serde_json::from_str::<Value>(&text) else {
        assert!(matches!(queued[..], [Err(EventError::NotJson(_))]), "{queued:?}");
        return;
    };
    let Trigger::Direct(direct) = parse(event) else { return };
    check(&direct, text.len());
    let too_deep = |entry: &Entry| matches!(entry, Err(EventError::TooDeep));
    if !queued.iter().any(too_deep) {
        assert_eq!(objects(&queued), objects(&direct), "the queue makes a difference");
    }
    if input.len() <= SHORT {
        let wrap = |inner: String, _| json!({"Type": "Notification", "Message": inner}).to_string();
        let wrapped = (0..TOO_MANY_ENVELOPES).fold(text.into_owned(), wrap);
        let entries = parse(serde_json::from_str(&wrapped).expect("made of JSON"));
        let Trigger::Direct(entries) = entries else { panic!("taken for a batch: {wrapped}") };
        assert!(matches!(entries[..], [Err(EventError::TooDeep)]), "{entries:?}");
    }
});

/// The entries of `body` when SQS brings it.
fn queued(body: &str) -> Vec<Entry> {
    let attributes = json!({"ApproximateReceiveCount": body});
    let record =
        json!({"eventSource": "aws:sqs", "messageId": "m", "attributes": attributes, "body": body});
    let Trigger::Queue(mut messages) = parse(json!({"Records": [record]})) else {
        panic!("not taken for a batch: {body}")
    };
    assert_eq!(messages.len(), 1);
    let message = messages.remove(0);
    assert_eq!(message.id, "m");
    assert_eq!(message.receive_count, body.parse().ok());
    message.entries
}

fn objects(entries: &[Entry]) -> Vec<&ObjectRef> {
    entries.iter().filter_map(|entry| entry.as_ref().ok()).collect()
}

fn check(entries: &[Entry], bytes: usize) {
    assert!(entries.len() <= bytes.max(1), "{} entries of {bytes} bytes", entries.len());
    for entry in entries {
        match entry {
            Ok(object) => sound(object),
            Err(error) => assert!(error.code().starts_with("event-"), "{error:?}"),
        }
    }
}

/// It can be asked for, and is the same object when S3 tells of it.
fn sound(object: &ObjectRef) {
    let ObjectRef { bucket, key, version_id, etag, size, sequencer } = object;
    assert!(!bucket.is_empty() && !key.is_empty(), "{object:?}");
    assert!(version_id.as_deref().is_none_or(|id| !["", "null"].contains(&id)), "{object:?}");
    assert!(etag.as_deref().is_none_or(|etag| !etag.is_empty()), "{object:?}");
    let told = json!({"Records": [{"eventName": "ObjectCreated:Put", "s3": {
        "bucket": {"name": bucket},
        "object": {
            "key": utf8_percent_encode(key, NON_ALPHANUMERIC).to_string(),
            "versionId": version_id,
            "eTag": etag,
            // S3's sizes are those of a signed number; other forms take larger ones.
            "size": size.filter(|size| i64::try_from(*size).is_ok()),
            "sequencer": sequencer,
        },
    }}]});
    let expected =
        ObjectRef { size: size.filter(|size| i64::try_from(*size).is_ok()), ..object.clone() };
    match parse(told) {
        Trigger::Direct(entries) => assert_eq!(objects(&entries), [&expected]),
        Trigger::Queue(messages) => panic!("taken for a batch: {messages:?}"),
    }
}
