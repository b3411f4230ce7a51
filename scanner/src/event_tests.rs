use serde_json::json;

use super::*;

/// An S3 notification record with the fields and spelling of the S3 user guide's example.
fn s3_record(event_name: &str, key: &str) -> Value {
    json!({
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": "us-west-2",
        "eventTime": "1970-01-01T00:00:00.000Z",
        "eventName": event_name,
        "userIdentity": {"principalId": "AIDAJDPLRKLG7UEXAMPLE"},
        "requestParameters": {"sourceIPAddress": "127.0.0.1"},
        "responseElements": {"x-amz-request-id": "C3D13FE58DE4C810", "x-amz-id-2": "FMyUVURIY8/IgAtTv8xRjskZQpcIZ9KG4V5Wp6S7S/JRWeUWerMUE5JgHvANOjpD"},
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": "testConfigRule",
            "bucket": {"name": "mybucket", "ownerIdentity": {"principalId": "A3NL1KOZZKExample"}, "arn": "arn:aws:s3:::mybucket"},
            "object": {"key": key, "size": 1024, "eTag": "d41d8cd98f00b204e9800998ecf8427e",
                       "versionId": "096fKKXTRTtl3on89fVO.nfljtsv6qko", "sequencer": "0055AED6DCD90281E5"}
        }
    })
}

fn s3_event(key: &str) -> Value {
    json!({"Records": [s3_record("ObjectCreated:Put", key)]})
}

fn sns_record(message: &Value) -> Value {
    json!({
        "EventVersion": "1.0",
        "EventSubscriptionArn": "arn:aws:sns:us-east-2:123456789012:t:21be56ed-a058-49f5-8c98-aedd2564c486",
        "EventSource": "aws:sns",
        "Sns": {
            "SignatureVersion": "1", "Timestamp": "2019-01-02T12:45:07.000Z", "Signature": "x",
            "SigningCertUrl": "https://sns.us-east-2.amazonaws.com/x.pem", "MessageId": "95df01b4",
            "Message": message.to_string(), "MessageAttributes": {}, "Type": "Notification",
            "UnsubscribeUrl": "https://sns.us-east-2.amazonaws.com/?Action=Unsubscribe",
            "TopicArn": "arn:aws:sns:us-east-2:123456789012:t", "Subject": null
        }
    })
}

fn queue(bodies: &[String]) -> Value {
    let records: Vec<_> = bodies
        .iter()
        .enumerate()
        .map(|(n, body)| json!({"messageId": format!("m{n}"), "eventSource": "aws:sqs", "body": body}))
        .collect();
    json!({ "Records": records })
}

fn direct(event: Value) -> Vec<Entry> {
    match parse(event) {
        Trigger::Direct(entries) => entries,
        Trigger::Queue(messages) => panic!("taken for a queue batch: {messages:?}"),
    }
}

fn queued(event: Value) -> Vec<QueueMessage> {
    match parse(event) {
        Trigger::Queue(messages) => messages,
        Trigger::Direct(entries) => panic!("taken for a direct event: {entries:?}"),
    }
}

fn only(mut entries: Vec<Entry>) -> Entry {
    assert_eq!(entries.len(), 1, "{entries:?}");
    entries.remove(0)
}

fn expected(key: &str) -> ObjectRef {
    ObjectRef {
        bucket: "mybucket".into(),
        key: key.into(),
        version_id: Some("096fKKXTRTtl3on89fVO.nfljtsv6qko".into()),
        etag: Some("d41d8cd98f00b204e9800998ecf8427e".into()),
        size: Some(1024),
        sequencer: Some("0055AED6DCD90281E5".into()),
    }
}

#[test]
fn s3_notification_names_its_object() {
    assert_eq!(only(direct(s3_event("HappyFace.jpg"))).unwrap(), expected("HappyFace.jpg"));
}

#[test]
fn every_envelope_around_an_s3_notification_gives_the_same_object() {
    let s3 = s3_event("a/b.txt");
    let sns_body = json!({"Type": "Notification", "MessageId": "1", "TopicArn": "t", "Message": s3.to_string()});
    let in_sns = direct(json!({"Records": [sns_record(&s3)]}));
    assert_eq!(only(in_sns).unwrap(), expected("a/b.txt"));
    for body in [s3.to_string(), sns_body.to_string()] {
        let mut messages = queued(queue(&[body]));
        assert_eq!(messages[0].id, "m0");
        assert_eq!(only(messages.remove(0).entries).unwrap(), expected("a/b.txt"));
    }
}

#[test]
fn notification_keys_are_form_decoded() {
    for (encoded, key) in [
        ("a+b.txt", "a b.txt"),
        ("a%2Bb.txt", "a+b.txt"),
        ("dir/na%C3%AFve+%2B+%E6%97%A5%E6%9C%AC.txt", "dir/naïve + 日本.txt"),
        ("100%2525", "100%25"),
        ("..%2F..%2Fetc/passwd", "../../etc/passwd"),
        ("line%0Abreak", "line\nbreak"),
    ] {
        assert_eq!(only(direct(s3_event(encoded))).unwrap().key, key);
    }
}

#[test]
fn a_key_that_is_not_utf8_is_an_error_and_its_neighbour_is_not() {
    let records = [s3_record("ObjectCreated:Put", "%FF%FE"), s3_record("ObjectCreated:Copy", "ok")];
    let entries = direct(json!({ "Records": records }));
    assert!(matches!(&entries[0], Err(EventError::Key { key }) if key == "%FF%FE"), "{entries:?}");
    assert_eq!(entries[1].as_ref().unwrap().key, "ok");
}

#[test]
fn event_bridge_keys_are_taken_as_they_are() {
    let event = json!({
        "version": "0", "id": "17793124-05d4-b198-2fde-7ededc63b103", "detail-type": "Object Created",
        "source": "aws.s3", "account": "111122223333", "time": "2021-11-12T00:00:00Z",
        "region": "ca-central-1", "resources": ["arn:aws:s3:::mybucket"],
        "detail": {
            "version": "0", "bucket": {"name": "mybucket"},
            "object": {"key": "a+b%20c.txt", "size": 1024, "etag": "d41d8cd98f00b204e9800998ecf8427e",
                       "version-id": "096fKKXTRTtl3on89fVO.nfljtsv6qko", "sequencer": "0055AED6DCD90281E5"},
            "request-id": "N4N7GDK58NMKJ12R", "requester": "123456789012",
            "source-ip-address": "1.2.3.4", "reason": "PutObject"
        }
    });
    assert_eq!(only(direct(event.clone())).unwrap(), expected("a+b%20c.txt"));
    let mut messages = queued(queue(&[event.to_string()]));
    assert_eq!(only(messages.remove(0).entries).unwrap(), expected("a+b%20c.txt"));
}

#[test]
fn the_job_form_names_objects_without_encoding() {
    let event = json!({"objects": [
        {"bucket": "b", "key": "a+b%20c"},
        {"bucket": "b", "key": "k", "version": "v1"},
        {"bucket": "b"},
    ]});
    let entries = direct(event);
    assert_eq!(entries[0].as_ref().unwrap().key, "a+b%20c");
    assert_eq!(entries[1].as_ref().unwrap().version_id.as_deref(), Some("v1"));
    assert!(matches!(&entries[2], Err(EventError::Malformed { form: "job's object", .. })));
}

#[test]
fn the_version_id_null_is_no_version() {
    let event = json!({"objects": [{"bucket": "b", "key": "k", "version": "null"}]});
    assert_eq!(only(direct(event)).unwrap().version_id, None);
}

#[test]
fn events_that_create_no_object_are_ignored() {
    for name in ["ObjectRemoved:Delete", "ObjectTagging:Put", "ObjectRestore:Completed"] {
        assert!(direct(json!({"Records": [s3_record(name, "k")]})).is_empty(), "{name}");
    }
    let deleted = json!({"detail-type": "Object Deleted", "source": "aws.s3", "detail": {}});
    assert!(direct(deleted).is_empty());
    let test_event = json!({"Service": "Amazon S3", "Event": "s3:TestEvent",
        "Time": "2014-10-13T15:57:02.089Z", "Bucket": "b", "RequestId": "x", "HostId": "y"});
    assert!(direct(test_event.clone()).is_empty());
    assert!(queued(queue(&[test_event.to_string()]))[0].entries.is_empty());
}

#[test]
fn what_is_not_understood_is_an_error_that_says_what_was_seen() {
    for event in [
        json!({"foo": 1, "bar": 2}),
        json!([]),
        json!("x"),
        json!(null),
        json!({"Records": [{"foo": 1}]}),
    ] {
        let error = only(direct(event.clone())).unwrap_err();
        assert!(matches!(error, EventError::Unknown { .. }), "{event}: {error:?}");
    }
    // In this order also where another crate of the workspace has serde_json keep it.
    let error = only(direct(json!({"bar": 2, "foo": 1}))).unwrap_err();
    assert!(error.to_string().ends_with("its top-level fields are: bar, foo"), "{error}");
    for event in [json!({"Records": []}), json!({"objects": []})] {
        assert!(matches!(only(direct(event)).unwrap_err(), EventError::Missing { .. }));
    }
    let other_source = json!({"detail-type": "Object Created", "source": "acme", "detail": {}});
    assert!(matches!(only(direct(other_source)).unwrap_err(), EventError::Unknown { .. }));
}

#[test]
fn a_record_shortened_to_what_a_scan_needs_is_enough() {
    let record = json!({"eventName": "ObjectCreated:Put",
                        "s3": {"bucket": {"name": "b"}, "object": {"key": "k"}}});
    let object = only(direct(json!({"Records": [record]}))).unwrap();
    assert_eq!((object.bucket.as_str(), object.key.as_str()), ("b", "k"));
    assert_eq!((object.version_id, object.etag, object.size), (None, None, None));
}

#[test]
fn malformed_records_are_errors() {
    let mut no_bucket = s3_record("ObjectCreated:Put", "k");
    no_bucket["s3"]["bucket"] = json!({});
    let mut no_key = s3_record("ObjectCreated:Put", "k");
    no_key["s3"]["object"]["key"] = json!(null);
    let mut number = s3_record("ObjectCreated:Put", "k");
    number["s3"]["object"]["key"] = json!(5);
    let mut no_name = s3_record("ObjectCreated:Put", "k");
    no_name.as_object_mut().unwrap().remove("eventName");
    let no_message = json!({"EventSource": "aws:sns", "Sns": {"Message": 5}});
    for record in [no_bucket, no_key, number, no_name, no_message] {
        let error = only(direct(json!({"Records": [record.clone()]}))).unwrap_err();
        assert_eq!(error.code(), "event-malformed", "{record}: {error:?}");
    }
}

#[test]
fn a_bad_message_keeps_its_id_and_leaves_its_neighbour_alone() {
    let mut event = queue(&["{not json".into(), s3_event("k").to_string()]);
    let no_body = json!({"messageId": "m2", "eventSource": "aws:sqs"});
    event["Records"].as_array_mut().unwrap().push(no_body);
    let messages = queued(event);
    assert!(matches!(messages[0].entries[..], [Err(EventError::NotJson(_))]));
    assert_eq!(messages[1].entries[0].as_ref().unwrap().key, "k");
    assert!(matches!(messages[2].entries[..], [Err(EventError::Missing { field: "body", .. })]));
    assert_eq!(messages[2].id, "m2");
}

#[test]
fn envelopes_end_somewhere() {
    let mut event = s3_event("k");
    for _ in 0..6 {
        event = json!({"Type": "Notification", "Message": event.to_string()});
    }
    assert!(matches!(only(direct(event)).unwrap_err(), EventError::TooDeep));
}

#[test]
fn a_receive_count_is_what_sqs_says_in_digits_and_else_is_not_known() {
    for (said, count) in [
        (json!("1"), Some(1)),
        (json!("4294967295"), Some(u32::MAX)),
        (json!("4294967296"), None),
        (json!("-1"), None),
        (json!(""), None),
        (json!(3), None),
        (json!(null), None),
    ] {
        let mut event = queue(&["{}".to_owned()]);
        event["Records"][0]["attributes"] = json!({"ApproximateReceiveCount": said});
        assert_eq!(queued(event)[0].receive_count, count, "{said}");
    }
    assert_eq!(queued(queue(&["{}".to_owned()]))[0].receive_count, None);
}
