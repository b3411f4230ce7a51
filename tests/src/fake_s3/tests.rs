//! That every fault shows itself to the SDK's user as its documentation says. What S3 does
//! without faults is the business of `tests/contract`.

use std::error::Error;
use std::time::Instant;

use aws_sdk_s3::Client;
use aws_sdk_s3::error::ProvideErrorMetadata as _;
use aws_sdk_s3::operation::get_object::{GetObjectError, GetObjectOutput};
use aws_sdk_s3::types::{Tag, Tagging};

use super::*;

const BUCKET: &str = "uploads";
const KEY: &str = "report.pdf";

fn s3_with(body: impl Into<Body>) -> (FakeS3, Client) {
    let s3 = FakeS3::new().bucket(BUCKET, Versioning::On);
    s3.put(BUCKET, KEY, body);
    let client = s3.client();
    (s3, client)
}

async fn get(client: &Client) -> Result<GetObjectOutput, aws_sdk_s3::Error> {
    Ok(client.get_object().bucket(BUCKET).key(KEY).send().await?)
}

/// The bytes that came, and the whole chain of the error that came after them.
async fn read(answer: GetObjectOutput) -> (Vec<u8>, Option<String>) {
    let mut body = answer.body;
    let mut bytes = Vec::new();
    while let Some(chunk) = body.next().await {
        match chunk {
            Ok(chunk) => bytes.extend_from_slice(&chunk),
            Err(error) => return (bytes, Some(chain(&error))),
        }
    }
    (bytes, None)
}

fn chain(error: &dyn Error) -> String {
    let next = error.source().map(|source| format!(": {}", chain(source)));
    format!("{error}{}", next.unwrap_or_default())
}

#[tokio::test]
async fn a_wrong_signature_is_refused() {
    let (s3, _) = s3_with("bytes");
    let client = s3.client_with(ACCESS_KEY, "not the secret");
    let error = get(&client).await.expect_err("signed with another key");
    assert_eq!(error.code(), Some("SignatureDoesNotMatch"), "{error:?}");
    assert_eq!(s3.calls(), []);
}

#[tokio::test]
async fn the_sdk_retries_what_can_be_retried_and_quickly() {
    let (s3, client) = s3_with("bytes");
    let start = Instant::now();
    for code in [S3ErrorCode::SlowDown, S3ErrorCode::InternalError] {
        let before = s3.count(Operation::GetObject, KEY);
        s3.on(Operation::GetObject, KEY).times(2).fail(code.clone());
        let answer = get(&client).await.expect("the third try succeeds");
        assert_eq!(read(answer).await, (b"bytes".to_vec(), None), "{code:?}");
        assert_eq!(s3.count(Operation::GetObject, KEY) - before, 3, "{code:?}");
    }
    assert!(start.elapsed().as_millis() < 1000, "took {:?}", start.elapsed());
}

#[tokio::test]
async fn failures_carry_code_and_status() {
    let (s3, client) = s3_with("bytes");
    let cases = [
        (S3ErrorCode::SlowDown, 503, ATTEMPTS as usize),
        (S3ErrorCode::InternalError, 500, ATTEMPTS as usize),
        (S3ErrorCode::AccessDenied, 403, 1),
        (S3ErrorCode::InvalidObjectState, 403, 1),
    ];
    for (code, status, tries) in cases {
        let before = s3.count(Operation::GetObject, KEY);
        s3.on(Operation::GetObject, KEY).times(tries).fail(code.clone());
        let error = client.get_object().bucket(BUCKET).key(KEY).send().await.expect_err("fails");
        assert_eq!(error.code(), Some(code.as_str()));
        let raw = error.raw_response().expect("S3 answered").status().as_u16();
        assert_eq!(raw, status, "{code:?}");
        assert_eq!(s3.count(Operation::GetObject, KEY) - before, tries, "{code:?}");
        let archived =
            matches!(error.as_service_error(), Some(GetObjectError::InvalidObjectState(_)));
        assert_eq!(archived, code == S3ErrorCode::InvalidObjectState);
    }
    get(&client).await.expect("the rules are used up");
}

#[tokio::test]
async fn every_operation_can_fail() {
    let (s3, client) = s3_with("bytes");
    let all = [
        Operation::GetObject,
        Operation::HeadObject,
        Operation::PutObject,
        Operation::DeleteObject,
        Operation::GetObjectTagging,
        Operation::PutObjectTagging,
        Operation::DeleteObjectTagging,
    ];
    for operation in all {
        s3.on(operation, KEY).fail(S3ErrorCode::AccessDenied);
    }
    let tag = Tag::builder().key("k").value("v").build().expect("complete");
    let tags = Tagging::builder().tag_set(tag).build().expect("complete");
    let statuses = [
        client.get_object().bucket(BUCKET).key(KEY).send().await.err().map(status),
        client.head_object().bucket(BUCKET).key(KEY).send().await.err().map(status),
        client.put_object().bucket(BUCKET).key(KEY).send().await.err().map(status),
        client.delete_object().bucket(BUCKET).key(KEY).send().await.err().map(status),
        client.get_object_tagging().bucket(BUCKET).key(KEY).send().await.err().map(status),
        client
            .put_object_tagging()
            .bucket(BUCKET)
            .key(KEY)
            .tagging(tags)
            .send()
            .await
            .err()
            .map(status),
        client.delete_object_tagging().bucket(BUCKET).key(KEY).send().await.err().map(status),
    ];
    assert_eq!(statuses, [Some(403); 7]);
    assert_eq!(s3.calls().into_iter().map(|call| call.operation).collect::<Vec<_>>(), all);
}

fn status<E>(error: aws_sdk_s3::error::SdkError<E>) -> u16 {
    error.raw_response().expect("S3 answered").status().as_u16()
}

#[tokio::test]
async fn a_body_breaks_at_the_byte() {
    let (s3, client) = s3_with("0123456789");
    s3.on(Operation::GetObject, KEY).break_body_after(4);
    let answer = get(&client).await.expect("the headers come");
    assert_eq!(answer.content_length(), Some(10));
    let (bytes, error) = read(answer).await;
    assert_eq!(bytes, b"0123");
    let error = error.expect("an error follows");
    assert!(error.contains("broke this download off"), "{error}");
    // A body is not retried by the SDK: that is the reader's business.
    assert_eq!(s3.count(Operation::GetObject, KEY), 1);
}

#[tokio::test]
async fn an_early_end_is_seen_if_a_length_was_promised() {
    let (s3, client) = s3_with("0123456789");
    s3.on(Operation::GetObject, KEY).end_body_after(4);
    let (bytes, error) = read(get(&client).await.expect("the headers come")).await;
    assert_eq!(bytes, b"0123");
    let error = error.expect("an error follows");
    assert!(error.contains("Expected 10 bytes but 4 bytes were received"), "{error}");
}

#[tokio::test]
async fn an_early_end_is_silent_if_no_length_was_promised() {
    let (s3, client) = s3_with("0123456789");
    s3.on(Operation::GetObject, KEY).end_body_after_without_length(4);
    let answer = get(&client).await.expect("the headers come");
    assert_eq!(answer.content_length(), None);
    assert_eq!(read(answer).await, (b"0123".to_vec(), None));
}

#[tokio::test]
async fn faults_count_from_the_start_of_the_answer() {
    let (s3, client) = s3_with("0123456789");
    s3.on(Operation::GetObject, KEY).nth(2).break_body_after(2);
    assert_eq!(read(get(&client).await.expect("answers")).await.1, None, "the first is whole");
    let second = client.get_object().bucket(BUCKET).key(KEY).range("bytes=5-").send().await;
    let (bytes, error) = read(second.expect("answers")).await;
    assert_eq!((bytes.as_slice(), error.is_some()), (b"56".as_slice(), true));
    let range = s3.calls()[1].range.clone();
    assert_eq!(range.as_deref(), Some("bytes=5-"));
}

#[tokio::test]
async fn hooks_run_between_the_steps() {
    let (s3, client) = s3_with("old");
    s3.on(Operation::GetObject, KEY).after(|s3| {
        s3.put(BUCKET, KEY, "new");
    });
    s3.on(Operation::GetObjectTagging, KEY).before(|s3| s3.delete(BUCKET, KEY));
    let answer = get(&client).await.expect("answers");
    assert_eq!(read(answer).await, (b"old".to_vec(), None), "what it found, not what came after");
    assert_eq!(read(get(&client).await.expect("answers")).await.0, b"new");
    let tagging = client.get_object_tagging().bucket(BUCKET).key(KEY).send().await;
    assert_eq!(tagging.expect_err("deleted before").code(), Some("NoSuchKey"));
}

#[tokio::test]
async fn a_terabyte_takes_no_memory() {
    let len = 1 << 40;
    let (_, client) = s3_with(Body::Repeat { byte: b'x', len, tail: "end".into() });
    let answer = get(&client).await.expect("answers");
    assert_eq!(answer.content_length(), Some((1 << 40) + 3));
    let last = client.get_object().bucket(BUCKET).key(KEY).range(format!("bytes={}-", len - 1));
    let answer = last.send().await.expect("answers");
    assert_eq!(answer.content_range(), Some("bytes 1099511627775-1099511627778/1099511627779"));
    assert_eq!(read(answer).await, (b"xend".to_vec(), None));
}
