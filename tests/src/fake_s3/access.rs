//! Who asks, and whether it may: what a bucket's policy and the principal's own policies say,
//! judged as in "Policy evaluation for requests within a single account" of the IAM user guide.
//!
//! Judged are the calls on objects. Those on a bucket itself are open to whoever signed, so that a
//! policy can hold what is not evaluated here as long as no object is asked for.

use aws_sdk_s3::Client;
use aws_sdk_s3::config::Credentials;
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey};
use s3s::{S3Result, s3_error};
use serde_json::Value;

use super::configuration::ACCOUNT;
use super::script::{Call, Operation};
use super::{ACCESS_KEY, FakeS3, SECRET_KEY, State};
use crate::iam::{Context, Decision, Policies, Principal, Request, request_of, with_tags};

/// The pairs of a tag set, as they were sent.
pub(super) type Pairs = Vec<(String, String)>;

/// Who a client of [`FakeS3`] is.
#[derive(Clone, Debug)]
pub struct Identity {
    principal: Principal,
    /// Its own policies; `None` is all that nobody denies.
    policies: Option<Policies>,
    /// For what a service asks.
    source_arn: Option<String>,
}

impl Identity {
    /// The root user of the buckets' account: may do all that is not denied.
    #[must_use]
    pub fn root() -> Self {
        let principal = Principal::Arn(format!("arn:aws:iam::{ACCOUNT}:root"));
        Self { principal, policies: None, source_arn: None }
    }

    /// A role of the buckets' account with these policies.
    ///
    /// # Errors
    ///
    /// They hold something that is not evaluated here.
    pub fn role(arn: &str, policies: &[Value]) -> anyhow::Result<Self> {
        let policies = Some(Policies::read(policies)?);
        Ok(Self { principal: Principal::Arn(arn.to_owned()), policies, source_arn: None })
    }

    /// A service in its own name (`cloudfront.amazonaws.com`), on behalf of a resource. It may do
    /// what the bucket's policy allows.
    #[must_use]
    pub fn service(name: &str, source_arn: &str) -> Self {
        Self {
            principal: Principal::Service(name.to_owned()),
            policies: Some(Policies::default()),
            source_arn: Some(source_arn.to_owned()),
        }
    }

    /// Whoever does not sign. It may do what the bucket's policy allows.
    fn anonymous() -> Self {
        let policies = Some(Policies::default());
        Self { principal: Principal::Anonymous, policies, source_arn: None }
    }

    /// Whether it may do that: an `Allow` of one side is enough, a `Deny` of either is the end.
    fn may(&self, request: &Request, bucket: &Policies) -> anyhow::Result<bool> {
        let mut allowed = self.policies.is_none();
        for policies in self.policies.iter().chain([bucket]) {
            match policies.decide(request)? {
                Decision::Denied(_) => return Ok(false),
                Decision::Allowed(_) => allowed = true,
                Decision::NotAllowed => {}
            }
        }
        Ok(allowed)
    }
}

impl FakeS3 {
    /// A client as [`FakeS3::client`], which is that of the root user, for somebody else.
    #[must_use]
    pub fn client_of(&self, identity: Identity) -> Client {
        self.client_with(&self.access_key(identity), SECRET_KEY)
    }

    /// A client that signs nothing.
    #[must_use]
    pub fn anonymous_client(&self) -> Client {
        let signing = self.client();
        let config = Self::unsigned_config().endpoint_url("https://s3.invalid");
        let http = signing.config().http_client().expect("it was given one");
        Client::from_conf(config.allow_no_auth().http_client(http).build())
    }

    /// Makes an access key of somebody; all have the same secret.
    pub(super) fn access_key(&self, identity: Identity) -> String {
        let identities = &mut self.state().identities;
        let access_key = format!("{ACCESS_KEY}-{}", identities.len());
        identities.insert(access_key.clone(), identity);
        access_key
    }

    fn identity(&self, access_key: &str) -> Option<Identity> {
        if access_key == ACCESS_KEY {
            return Some(Identity::root());
        }
        self.state().identities.get(access_key).cloned()
    }

    /// Whether the call may be served: 403 if not. `tags` are those that the request brings.
    pub(super) fn judge(
        &self,
        signed_by: Option<&s3s::auth::Credentials>,
        call: &Call,
        tags: Pairs,
    ) -> S3Result<()> {
        let identity = match signed_by {
            Some(credentials) => self.identity(&credentials.access_key),
            None => Some(Identity::anonymous()),
        };
        let denied = || s3_error!(AccessDenied, "Access Denied");
        let identity = identity.ok_or_else(denied)?;
        let actions = actions(call, !tags.is_empty());
        if actions.is_empty() && identity.principal != Principal::Anonymous {
            return Ok(());
        }
        let mut state = self.state();
        let bucket = state.store.bucket(&call.bucket)?;
        let policy = bucket.policy.as_ref().map(|text| {
            let document = serde_json::from_str(text)?;
            Policies::of_resource(&document)
        });
        let unknown = |error: anyhow::Error| {
            s3_error!(NotImplemented, "FakeS3 cannot judge by this bucket's policy: {error:#}")
        };
        let policy = policy.transpose().map_err(unknown)?.unwrap_or_default();
        let context = context(&mut state, call, tags, identity.source_arn.as_deref());
        let resource = format!("arn:aws:s3:::{}/{}", call.bucket, call.key);
        let mut allowed = !actions.is_empty();
        for action in actions {
            let asked = (action, resource.clone(), context.clone());
            let request = request_of(&identity.principal, ACCOUNT, asked);
            allowed &= identity.may(&request, &policy).map_err(unknown)?;
        }
        if allowed { Ok(()) } else { Err(denied()) }
    }
}

/// The permissions that a call on an object needs: "Required permissions for Amazon S3 API
/// operations" in the S3 user guide. None for a call on a bucket.
fn actions(call: &Call, brings_tags: bool) -> Vec<String> {
    let version = if call.version_id.is_some() { "Version" } else { "" };
    let object = |verb: &str, what: &str| vec![format!("s3:{verb}Object{version}{what}")];
    match call.operation {
        Operation::GetObject | Operation::HeadObject => object("Get", ""),
        Operation::PutObject | Operation::CreateMultipartUpload | Operation::CopyObject
            if brings_tags =>
        {
            vec!["s3:PutObject".to_owned(), "s3:PutObjectTagging".to_owned()]
        }
        Operation::PutObject
        | Operation::CreateMultipartUpload
        | Operation::UploadPart
        | Operation::CompleteMultipartUpload
        | Operation::CopyObject => object("Put", ""),
        Operation::DeleteObject => object("Delete", ""),
        Operation::GetObjectTagging => object("Get", "Tagging"),
        Operation::PutObjectTagging => object("Put", "Tagging"),
        Operation::DeleteObjectTagging => object("Delete", "Tagging"),
        Operation::ListObjectsV2
        | Operation::GetBucketNotificationConfiguration
        | Operation::PutBucketNotificationConfiguration
        | Operation::GetBucketPolicy
        | Operation::PutBucketPolicy
        | Operation::DeleteBucketPolicy => Vec::new(),
    }
}

/// The condition keys of a call ("Tagging and access control policies" in the S3 user guide):
/// the tags that the request brings, and those of the version that it is about, which are unknown
/// to an upload and to a deletion; and where a copy comes from ("Bucket policy examples using
/// condition keys").
fn context(state: &mut State, call: &Call, tags: Pairs, source_arn: Option<&str>) -> Context {
    let mut context = Context::new();
    if !tags.is_empty() {
        context = with_tags(context, tags);
    }
    let unknown = matches!(
        call.operation,
        Operation::PutObject
            | Operation::CreateMultipartUpload
            | Operation::UploadPart
            | Operation::CompleteMultipartUpload
            | Operation::CopyObject
            | Operation::DeleteObject
    );
    if !unknown
        && let Ok(version) = state.store.get(&call.bucket, &call.key, call.version_id.as_deref())
    {
        for (key, value) in &version.tags {
            context = context.with_string(format!("s3:ExistingObjectTag/{key}"), value);
        }
    }
    if let Some(source) = &call.copy_source {
        context = context.with_string("s3:x-amz-copy-source", source);
    }
    match source_arn {
        Some(arn) => context.with_string("aws:SourceArn", arn),
        None => context,
    }
}

/// Knows the secret of every access key.
pub(super) struct Keys(pub(super) FakeS3);

#[async_trait::async_trait]
impl S3Auth for Keys {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        let known = self.0.identity(access_key);
        known.map(|_| SECRET_KEY.into()).ok_or_else(|| s3_error!(InvalidAccessKeyId))
    }
}

/// Lets unsigned requests through, to be judged like all others.
pub(super) struct Unsigned;

#[async_trait::async_trait]
impl S3Access for Unsigned {
    async fn check(&self, _: &mut S3AccessContext<'_>) -> S3Result<()> {
        Ok(())
    }
}

/// What a client signs with.
pub(super) fn credentials(access_key: &str, secret_key: &str) -> Credentials {
    Credentials::new(access_key, secret_key, None, None, "fake-s3")
}

#[cfg(test)]
#[path = "access_tests.rs"]
mod tests;
