//! S3 in memory, behind the real SDK client: without a socket ([`FakeS3::client`]), or on one
//! ([`FakeS3::serve`]).
//!
//! The SDK signs, sends, retries and parses as it does against AWS; [`s3s`] checks the signature
//! and decodes the request; what is stored, and what goes wrong, is decided here. Suites hold it
//! to what S3 does (`tests/contract`).
//!
//! A bucket's policy holds for whoever asks for an object ([`FakeS3::client_of`]).
//!
//! Not here: events, access control lists, encryption, and the
//! checksums that S3 keeps beside the entity tag. A request that asks for a condition or a part
//! that this double does not know is answered with `NotImplemented`, never served as if it had not
//! asked; so is one that would have to be judged by such a policy.

mod access;
mod body;
mod configuration;
mod copy;
mod multipart;
mod script;
mod served;
mod service;
mod store;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use aws_sdk_s3::config::retry::{RetryConfig, RetryPartition};
use aws_sdk_s3::config::{BehaviorVersion, Region, RuntimeComponents};
use aws_sdk_s3::primitives::SdkBody;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use s3s::S3Result;
use s3s::dto::NotificationConfiguration;
use s3s::service::{S3Service, S3ServiceBuilder};

pub use access::Identity;
pub use body::Body;
pub use configuration::ACCOUNT;
pub use s3s::S3ErrorCode;
pub use script::{Call, On, Operation};
pub use served::Served;
pub use store::Versioning;

use script::Script;
use store::{Store, Upload, Version, checked_tags};

/// How often clients of [`FakeS3`] try a call before they give up: the SDK's default.
/// <https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html>
pub const ATTEMPTS: u32 = 3;

/// The longest pause between two tries. AWS needs seconds; here nothing gets better by waiting.
const MAX_BACKOFF: Duration = Duration::from_millis(2);

const ACCESS_KEY: &str = "fake-access-key";
const SECRET_KEY: &str = "fake-secret-key";

/// An S3 of its own. Clones are handles to the same one.
///
/// Its methods arrange and look at what is stored. They are no calls: they are not logged, and
/// no rule of [`FakeS3::on`] touches them. They panic where a test is wrong, as with a bucket that
/// was never made.
#[derive(Clone, Debug, Default)]
pub struct FakeS3 {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    store: Store,
    /// By access key, but for the root user.
    identities: BTreeMap<String, Identity>,
    script: Script,
}

/// What an upload made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The version; `None` in a bucket without versioning.
    pub version_id: Option<String>,
    /// The entity tag without quotes, as events carry it. Requests take it with or without.
    pub e_tag: String,
}

impl FakeS3 {
    /// An S3 without buckets.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes an empty bucket. Returns `self`, so that it can follow [`FakeS3::new`].
    #[must_use]
    pub fn bucket(self, name: &str, versioning: Versioning) -> Self {
        self.state().store.create(name, versioning);
        self
    }

    /// Uploads an object: a new version without tags, or in an unversioned bucket the only one.
    ///
    /// # Panics
    ///
    /// If the bucket does not exist.
    pub fn put(&self, bucket: &str, key: &str, body: impl Into<Body>) -> Stored {
        let version = self.state().store.put(bucket, key, body.into(), Upload::default());
        let version = version.expect("the bucket exists");
        Stored { version_id: version.shown_id(), e_tag: version.e_tag }
    }

    /// The same with a key that the uploader keeps (SSE-C). Nobody here has that key: requests for the
    /// object or its head are refused with the code and words of S3, as they stand in minio#4894 and
    /// opendal#1858. (No emulator among the tools does that, so there is nothing to compare it with.)
    ///
    /// # Panics
    ///
    /// If the bucket does not exist.
    pub fn put_with_customer_key(&self, bucket: &str, key: &str, body: impl Into<Body>) -> Stored {
        let upload = Upload { customer_key: true, ..Upload::default() };
        let version = self.state().store.put(bucket, key, body.into(), upload);
        let version = version.expect("the bucket exists");
        Stored { version_id: version.shown_id(), e_tag: version.e_tag }
    }

    /// Deletes the current version, or in a versioned bucket hides it behind a delete marker.
    ///
    /// # Panics
    ///
    /// If the bucket does not exist.
    pub fn delete(&self, bucket: &str, key: &str) {
        self.state().store.delete(bucket, key, None, None).expect("the bucket exists");
    }

    /// Deletes a version for good. Nothing happens if there is none with that id.
    ///
    /// # Panics
    ///
    /// If the bucket does not exist.
    pub fn delete_version(&self, bucket: &str, key: &str, version_id: &str) {
        let deleted = self.state().store.delete(bucket, key, Some(version_id), None);
        deleted.expect("the bucket exists");
    }

    /// The keys that begin with `prefix`, in the order of their bytes.
    ///
    /// # Panics
    ///
    /// If the bucket does not exist.
    #[must_use]
    pub fn keys(&self, bucket: &str, prefix: &str) -> Vec<String> {
        let found = self.state().store.list(bucket, prefix, "").expect("the bucket exists");
        found.into_iter().map(|(key, _)| key).collect()
    }

    /// What the current version holds. `None` if there is no such object.
    ///
    /// # Panics
    ///
    /// If its body is one that is made while it is read.
    #[must_use]
    pub fn content(&self, bucket: &str, key: &str) -> Option<Vec<u8>> {
        let mut state = self.state();
        let version = state.store.get(bucket, key, None).ok()?;
        match version.body.as_ref()? {
            Body::Bytes(bytes) => Some(bytes.to_vec()),
            Body::Repeat { .. } | Body::Parts(_) => {
                panic!("{key:?} is generated; read it in chunks")
            }
        }
    }

    /// The tags of the current version, or of that one. `None` if there is no such object: S3
    /// keeps no tags where nothing is stored.
    #[must_use]
    pub fn tags(
        &self,
        bucket: &str,
        key: &str,
        version_id: Option<&str>,
    ) -> Option<BTreeMap<String, String>> {
        let mut state = self.state();
        state.store.get(bucket, key, version_id).ok().map(|version| version.tags.clone())
    }

    /// Replaces the tags of the current version, or of that one.
    ///
    /// # Panics
    ///
    /// If there is no such object, or S3 would refuse these tags.
    pub fn set_tags(
        &self,
        bucket: &str,
        key: &str,
        version_id: Option<&str>,
        tags: &[(&str, &str)],
    ) {
        let tags = tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let tags = checked_tags(tags).expect("S3 accepts these tags");
        let mut state = self.state();
        state.store.get(bucket, key, version_id).expect("the object exists").tags = tags;
    }

    /// Begins a rule about the coming calls of `operation` on `key`, in any bucket.
    ///
    /// ```
    /// s3.on(Operation::GetObject, "report.pdf").times(2).fail(S3ErrorCode::SlowDown);
    /// s3.on(Operation::PutObjectTagging, "report.pdf").before(|s3| {
    ///     s3.put("uploads", "report.pdf", "overwritten meanwhile");
    /// });
    /// ```
    pub fn on(&self, operation: Operation, key: &str) -> On<'_> {
        On::new(self, operation, key)
    }

    /// Begins a rule about the coming calls of `operation`, one on a bucket, on `bucket`.
    pub fn on_bucket(&self, operation: Operation, bucket: &str) -> On<'_> {
        On::bucket(self, operation, bucket)
    }

    /// A bucket's notifications.
    ///
    /// # Panics
    ///
    /// If the bucket does not exist.
    #[must_use]
    pub fn notifications(&self, bucket: &str) -> NotificationConfiguration {
        self.state().store.bucket(bucket).expect("the bucket exists").notifications.clone()
    }

    /// Replaces a bucket's notifications.
    ///
    /// # Panics
    ///
    /// If the bucket does not exist, or S3 would refuse them.
    pub fn set_notifications(&self, bucket: &str, all: NotificationConfiguration) {
        let all = configuration::checked_notifications(all).expect("S3 accepts them");
        self.state().store.bucket(bucket).expect("the bucket exists").notifications = all;
    }

    /// A bucket's policy.
    ///
    /// # Panics
    ///
    /// If the bucket does not exist.
    #[must_use]
    pub fn policy(&self, bucket: &str) -> Option<String> {
        self.state().store.bucket(bucket).expect("the bucket exists").policy.clone()
    }

    /// Replaces a bucket's policy.
    ///
    /// # Panics
    ///
    /// If the bucket does not exist, or S3 would refuse it.
    pub fn set_policy(&self, bucket: &str, policy: &str) {
        let policy = configuration::checked_policy(policy.to_owned()).expect("S3 accepts it");
        self.state().store.bucket(bucket).expect("the bucket exists").policy = Some(policy);
    }

    /// Every call so far that reached the service, in order.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.state().script.calls.clone()
    }

    /// How many calls of `operation` on `key` there were, retries counted.
    #[must_use]
    pub fn count(&self, operation: Operation, key: &str) -> usize {
        let state = self.state();
        let calls = state.script.calls.iter();
        calls.filter(|call| call.operation == operation && call.key == key).count()
    }

    /// A client of this S3 for the root user of its account ([`Identity::root`]): the real one of
    /// the SDK, with its retries ([`ATTEMPTS`]) but hardly a pause between them. It reads nothing
    /// from the environment.
    #[must_use]
    pub fn client(&self) -> aws_sdk_s3::Client {
        self.client_with(ACCESS_KEY, SECRET_KEY)
    }

    fn client_with(&self, access_key: &str, secret_key: &str) -> aws_sdk_s3::Client {
        let http = HeadHasNoBody(s3s_aws::Client::from(self.service()));
        let config = Self::client_config(access_key, secret_key);
        let config = config.endpoint_url("https://s3.invalid").http_client(http);
        aws_sdk_s3::Client::from_conf(config.build())
    }

    /// The settings of every client, less where the S3 is.
    fn client_config(access_key: &str, secret_key: &str) -> aws_sdk_s3::config::Builder {
        Self::unsigned_config().credentials_provider(access::credentials(access_key, secret_key))
    }

    fn unsigned_config() -> aws_sdk_s3::config::Builder {
        static CLIENTS: AtomicU64 = AtomicU64::new(0);
        // The SDK's clients share one bucket of retry tokens per process. A test that fails calls
        // on purpose must not take the retries of its neighbours.
        let partition = format!("fake-s3-{}", CLIENTS.fetch_add(1, Ordering::Relaxed));
        let retry = RetryConfig::standard()
            .with_max_attempts(ATTEMPTS)
            .with_initial_backoff(Duration::from_millis(1))
            .with_max_backoff(MAX_BACKOFF);
        aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::from_static("us-east-1"))
            .force_path_style(true)
            .retry_config(retry)
            .retry_partition(RetryPartition::new(partition))
    }

    /// What answers requests, with signatures checked.
    fn service(&self) -> S3Service {
        let mut builder = S3ServiceBuilder::new(service::Service(self.clone()));
        builder.set_auth(access::Keys(self.clone()));
        builder.set_access(access::Unsigned);
        builder.build()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds the lock")
    }

    fn with_version<T>(
        &self,
        bucket: &str,
        key: &str,
        version_id: Option<&str>,
        use_it: impl FnOnce(&mut Version) -> T,
    ) -> S3Result<T> {
        self.state().store.get(bucket, key, version_id).map(use_it)
    }
}

/// Takes the body off the answer to a `HEAD`. HTTP sends none, so there S3 cannot name an error
/// code and the SDK makes something else of a failure; s3s leaves that to the HTTP server, and
/// here there is none.
#[derive(Debug)]
struct HeadHasNoBody<T>(T);

impl HttpClient for HeadHasNoBody<s3s_aws::Client> {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(HeadHasNoBody(self.0.http_connector(settings, components)))
    }
}

impl HttpConnector for HeadHasNoBody<SharedHttpConnector> {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let head = request.method() == "HEAD";
        let answer = self.0.call(request);
        HttpConnectorFuture::new(async move {
            let mut answer = answer.await?;
            if head {
                *answer.body_mut() = SdkBody::empty();
            }
            Ok(answer)
        })
    }
}

#[cfg(test)]
mod served_tests;
#[cfg(test)]
mod tests;
