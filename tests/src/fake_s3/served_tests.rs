//! That the SDK sees the same over a socket as in process, faults included.

use std::error::Error;

use aws_sdk_s3::Client;
use aws_sdk_s3::error::ProvideErrorMetadata as _;

use bytes::Bytes;

use super::*;

const BUCKET: &str = "uploads";
const KEY: &str = "report.pdf";

/// What a reader sees of a download.
#[derive(Debug, PartialEq)]
struct Seen {
    length: Option<i64>,
    range: Option<String>,
    bytes: Vec<u8>,
    broken: bool,
}

fn s3() -> FakeS3 {
    let s3 = FakeS3::new().bucket(BUCKET, Versioning::On);
    s3.put(BUCKET, KEY, "0123456789");
    s3
}

async fn get(client: &Client, range: Option<&str>) -> Seen {
    let request = client.get_object().bucket(BUCKET).key(KEY).set_range(range.map(str::to_owned));
    let answer = request.send().await.expect("the headers come");
    let (length, range) = (answer.content_length(), answer.content_range().map(str::to_owned));
    let (mut body, mut bytes, mut broken) = (answer.body, Vec::new(), false);
    while let Some(chunk) = body.next().await {
        match chunk {
            Ok(chunk) => bytes.extend_from_slice(&chunk),
            Err(_) => {
                broken = true;
                break;
            }
        }
    }
    Seen { length, range, bytes, broken }
}

#[tokio::test]
async fn downloads_and_faults_look_the_same() {
    type Rule = fn(On<'_>);
    let cases: [(&str, Option<&str>, Rule); 7] = [
        ("whole", None, |_| {}),
        ("a range", Some("bytes=3-5"), |_| {}),
        ("the rest", Some("bytes=7-"), |_| {}),
        ("broken", None, |on| on.break_body_after(4)),
        ("broken at once", None, |on| on.break_body_after(0)),
        ("too short", Some("bytes=2-"), |on| on.end_body_after(4)),
        ("too short without a length", None, |on| on.end_body_after_without_length(4)),
    ];
    for (name, range, rule) in cases {
        let s3 = s3();
        let served = s3.serve().expect("a port is free");
        rule(s3.on(Operation::GetObject, KEY));
        let in_process = get(&s3.client(), range).await;
        rule(s3.on(Operation::GetObject, KEY));
        assert_eq!(get(&served.client(), range).await, in_process, "{name}");
        assert_eq!(s3.count(Operation::GetObject, KEY), 2, "{name}: one call each");
    }
}

#[tokio::test]
async fn a_connection_breaks_in_the_middle_of_megabytes() {
    let s3 = s3();
    let len = 8 << 20;
    s3.put(BUCKET, KEY, Body::Repeat { byte: b'x', len, tail: Bytes::new() });
    let served = s3.serve().expect("a port is free");
    s3.on(Operation::GetObject, KEY).break_body_after(5_000_001);
    let seen = get(&served.client(), None).await;
    assert_eq!((seen.bytes.len(), seen.broken), (5_000_001, true));
    assert_eq!(seen.length, Some(8 << 20));
}

#[tokio::test]
async fn a_wrong_signature_is_refused() {
    let s3 = s3();
    let client = s3.serve().expect("a port is free");
    let client_of_another = client.client_with(ACCESS_KEY, "not the secret");
    let answer = client_of_another.get_object().bucket(BUCKET).key(KEY).send().await;
    let error = answer.expect_err("signed with another key");
    assert_eq!(error.code(), Some("SignatureDoesNotMatch"), "{error:?}");
    assert_eq!(s3.calls(), []);
}

#[tokio::test]
async fn dropping_it_closes_the_port() {
    let served = s3().serve().expect("a port is free");
    let client = served.client();
    get(&client, None).await;
    drop(served);
    // The runtime ends the task at its next turn.
    let mut poll = tokio::time::interval(Duration::from_millis(5));
    let closed = async {
        loop {
            poll.tick().await;
            let answer = client.head_object().bucket(BUCKET).key(KEY).send().await;
            if let Err(error) = answer {
                break error;
            }
        }
    };
    let error = tokio::time::timeout(Duration::from_secs(10), closed).await.expect("it closes");
    assert!(error.raw_response().is_none() && error.source().is_some(), "{error:?}");
}
