//! What is to go wrong, or to happen, at which call; and the log of all calls.

use std::fmt;
use std::sync::Arc;

use s3s::{S3Error, S3ErrorCode};

use super::FakeS3;
use super::body::BodyFault;

/// The operations that [`FakeS3`] serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// `GET` of an object.
    GetObject,
    /// `HEAD` of an object.
    HeadObject,
    /// `PUT` of an object.
    PutObject,
    /// `POST` that begins an upload in parts, with the tags of the object.
    CreateMultipartUpload,
    /// `PUT` of a part.
    UploadPart,
    /// `POST` that makes an object of its parts.
    CompleteMultipartUpload,
    /// `PUT` of a copy of an object.
    CopyObject,
    /// `GET` of a bucket's listing; the key of the call is the prefix.
    ListObjectsV2,
    /// `DELETE` of an object or of a version.
    DeleteObject,
    /// `GET` of a version's tags.
    GetObjectTagging,
    /// `PUT` of a version's tags: replaces all of them.
    PutObjectTagging,
    /// `DELETE` of a version's tags: removes all of them.
    DeleteObjectTagging,
    /// `GET` of a bucket's notifications.
    GetBucketNotificationConfiguration,
    /// `PUT` of a bucket's notifications: replaces all of them.
    PutBucketNotificationConfiguration,
    /// `GET` of a bucket's policy.
    GetBucketPolicy,
    /// `PUT` of a bucket's policy: replaces it.
    PutBucketPolicy,
    /// `DELETE` of a bucket's policy.
    DeleteBucketPolicy,
}

/// One call that reached the service; a retry by the SDK is a call of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// What was asked for.
    pub operation: Operation,
    /// The bucket named.
    pub bucket: String,
    /// The key named, decoded; empty where a bucket is meant.
    pub key: String,
    /// The version named, if one was.
    pub version_id: Option<String>,
    /// The `Range` header: `bytes=0-4`.
    pub range: Option<String>,
    /// The `If-Match` header: an entity tag without quotes, or `*`.
    pub if_match: Option<String>,
    /// The `x-amz-copy-source` header, as it was sent.
    pub copy_source: Option<String>,
}

type Hook = Arc<dyn Fn(&FakeS3) + Send + Sync>;

enum Action {
    Fail(S3ErrorCode),
    Body(BodyFault),
    Before(Hook),
    After(Hook),
}

struct Rule {
    operation: Operation,
    bucket: Option<String>,
    key: String,
    skip: usize,
    times: usize,
    action: Action,
}

/// A rule in the making, from [`FakeS3::on`]: which of the coming calls it is about. One of the
/// methods that say what happens there makes it effective. Several rules may be about one call.
#[must_use = "say what is to happen at that call"]
#[derive(Debug)]
pub struct On<'a> {
    s3: &'a FakeS3,
    operation: Operation,
    bucket: Option<String>,
    key: String,
    skip: usize,
    times: usize,
}

impl<'a> On<'a> {
    pub(super) fn new(s3: &'a FakeS3, operation: Operation, key: &str) -> Self {
        Self { s3, operation, bucket: None, key: key.to_owned(), skip: 0, times: 1 }
    }

    pub(super) fn bucket(s3: &'a FakeS3, operation: Operation, bucket: &str) -> Self {
        Self { bucket: Some(bucket.to_owned()), ..Self::new(s3, operation, "") }
    }

    /// The first call meant: the `n`-th from now, counted from 1 (the default).
    pub fn nth(mut self, n: usize) -> Self {
        self.skip = n.saturating_sub(1);
        self
    }

    /// How many calls in a row are meant; 1 unless said. The SDK tries a call
    /// [`super::ATTEMPTS`] times, so that many failures are one that the caller sees.
    pub fn times(mut self, times: usize) -> Self {
        self.times = times;
        self
    }

    /// The call does nothing and answers this error, with the status S3 gives it (`SlowDown` is
    /// 503, `AccessDenied` 403, and so on; a custom code is 500).
    pub fn fail(self, code: S3ErrorCode) {
        self.add(Action::Fail(code));
    }

    /// `GetObject` only: the connection breaks after `bytes` bytes of the answer's body. The
    /// client gets those bytes and then an error from its body stream.
    pub fn break_body_after(self, bytes: u64) {
        self.add(Action::Body(BodyFault::Break(bytes)));
    }

    /// `GetObject` only: the body ends after `bytes` bytes without an error, although the
    /// `Content-Length` header promised more. The SDK notices: its body stream yields those bytes
    /// and then the error "Invalid Content-Length: Expected … bytes but … bytes were received".
    pub fn end_body_after(self, bytes: u64) {
        self.add(Action::Body(BodyFault::End(bytes)));
    }

    /// `GetObject` only: as [`On::end_body_after`], but the answer has no `Content-Length`
    /// header. The SDK notices nothing: the stream ends as if it were complete, and
    /// `content_length()` is `None`. Only a reader that knows the size from elsewhere can tell.
    pub fn end_body_after_without_length(self, bytes: u64) {
        self.add(Action::Body(BodyFault::EndWithoutLength(bytes)));
    }

    /// Runs `hook` before the call is served. It may use the whole of [`FakeS3`] except clients.
    pub fn before(self, hook: impl Fn(&FakeS3) + Send + Sync + 'static) {
        self.add(Action::Before(Arc::new(hook)));
    }

    /// Runs `hook` when the call has been served with success, before its answer leaves. What a
    /// `GetObject` then sends is what it found, whatever the hook does.
    pub fn after(self, hook: impl Fn(&FakeS3) + Send + Sync + 'static) {
        self.add(Action::After(Arc::new(hook)));
    }

    fn add(self, action: Action) {
        let Self { s3, operation, bucket, key, skip, times } = self;
        s3.state().script.rules.push(Rule { operation, bucket, key, skip, times, action });
    }
}

#[derive(Default)]
pub(super) struct Script {
    rules: Vec<Rule>,
    pub(super) calls: Vec<Call>,
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Hooks have nothing to show.
        f.debug_struct("Script").field("calls", &self.calls).finish_non_exhaustive()
    }
}

/// What the rules say about one call.
#[derive(Default)]
pub(super) struct Plan {
    pub(super) error: Option<S3Error>,
    pub(super) body: Option<BodyFault>,
    pub(super) before: Vec<Hook>,
    pub(super) after: Vec<Hook>,
}

impl Script {
    pub(super) fn plan(&mut self, call: Call) -> Plan {
        let mut plan = Plan::default();
        for rule in &mut self.rules {
            let elsewhere = rule.bucket.as_ref().is_some_and(|bucket| *bucket != call.bucket);
            if rule.operation != call.operation || rule.key != call.key || elsewhere {
                continue;
            }
            if rule.times == 0 {
                continue;
            }
            if rule.skip > 0 {
                rule.skip -= 1;
                continue;
            }
            rule.times -= 1;
            match &rule.action {
                Action::Fail(code) => {
                    let text = "FakeS3 was told to fail this call";
                    plan.error = Some(S3Error::with_message(code.clone(), text));
                }
                Action::Body(fault) => plan.body = Some(*fault),
                Action::Before(hook) => plan.before.push(hook.clone()),
                Action::After(hook) => plan.after.push(hook.clone()),
            }
        }
        self.calls.push(call);
        plan
    }
}
