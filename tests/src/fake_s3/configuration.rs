//! A bucket's notifications and policy: what S3 accepts. No event is sent; what the policy says to
//! a call is the business of [`super::access`].

use s3s::auth::Credentials;
use s3s::dto::{
    DeleteBucketPolicyInput, DeleteBucketPolicyOutput, Event, FilterRuleName,
    GetBucketNotificationConfigurationInput, GetBucketNotificationConfigurationOutput,
    GetBucketPolicyInput, GetBucketPolicyOutput, LambdaFunctionConfiguration,
    NotificationConfiguration, NotificationConfigurationFilter,
    PutBucketNotificationConfigurationInput, PutBucketNotificationConfigurationOutput,
    PutBucketPolicyInput, PutBucketPolicyOutput, QueueConfiguration, TopicConfiguration,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::script::{Operation, Plan};
use super::service::{Service, call};

/// The account that all buckets belong to, as requests name it that expect an owner.
pub const ACCOUNT: &str = "123456789012";

/// The largest policy, in bytes.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucket-policies.html>
const MAX_POLICY: usize = 20 * 1024;

/// An error unless the bucket's owner is the one that the request expects.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucket-owner-condition.html>
fn check_owner(expected: Option<&String>) -> S3Result<()> {
    match expected {
        Some(owner) if owner != ACCOUNT => Err(s3_error!(AccessDenied, "Access Denied")),
        _ => Ok(()),
    }
}

/// The policy that S3 stores, or the error that it answers.
pub(super) fn checked_policy(text: String) -> S3Result<String> {
    let document = serde_json::from_str::<serde_json::Value>(&text);
    if !document.is_ok_and(|document| document.is_object()) {
        return Err(s3_error!(MalformedPolicy, "Policies must be valid JSON"));
    }
    if text.len() > MAX_POLICY {
        return Err(s3_error!(InvalidArgument, "Policy exceeds the maximum allowed size"));
    }
    Ok(text)
}

/// One notification, whatever its destination.
struct Entry<'a> {
    id: &'a mut Option<String>,
    events: &'a [Event],
    filter: Option<&'a mut NotificationConfigurationFilter>,
}

impl<'a> From<&'a mut QueueConfiguration> for Entry<'a> {
    fn from(entry: &'a mut QueueConfiguration) -> Self {
        Self { id: &mut entry.id, events: &entry.events, filter: entry.filter.as_mut() }
    }
}

impl<'a> From<&'a mut TopicConfiguration> for Entry<'a> {
    fn from(entry: &'a mut TopicConfiguration) -> Self {
        Self { id: &mut entry.id, events: &entry.events, filter: entry.filter.as_mut() }
    }
}

impl<'a> From<&'a mut LambdaFunctionConfiguration> for Entry<'a> {
    fn from(entry: &'a mut LambdaFunctionConfiguration) -> Self {
        Self { id: &mut entry.id, events: &entry.events, filter: entry.filter.as_mut() }
    }
}

/// What an entry is about, to be compared with another.
struct Scope {
    id: String,
    events: Vec<Event>,
    prefix: String,
    suffix: String,
}

impl Scope {
    /// Two prefixes overlap if a key can begin with both, and so do suffixes.
    /// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-how-to-filtering.html>
    fn overlaps(&self, other: &Self) -> bool {
        let either =
            |test: fn(&str, &str) -> bool, one: &str, two: &str| test(one, two) || test(two, one);
        let same_event =
            |one: &Event| other.events.iter().any(|two| either(covers, one.as_ref(), two.as_ref()));
        self.events.iter().any(same_event)
            && either(|one, two| one.starts_with(two), &self.prefix, &other.prefix)
            && either(|one, two| one.ends_with(two), &self.suffix, &other.suffix)
    }
}

/// Whether `one` is `two` or, with `*` at its end, holds it.
fn covers(one: &str, two: &str) -> bool {
    one == two || one.strip_suffix('*').is_some_and(|family| two.starts_with(family))
}

/// The notifications that S3 stores, or the error that it answers: no two for the same event of
/// the same object, none with the id of another. S3 gives an id to those that have none, and
/// writes the names of filter rules with a capital letter.
pub(super) fn checked_notifications(
    mut all: NotificationConfiguration,
) -> S3Result<NotificationConfiguration> {
    let queues = all.queue_configurations.iter_mut().flatten().map(Entry::from);
    let topics = all.topic_configurations.iter_mut().flatten().map(Entry::from);
    let functions = all.lambda_function_configurations.iter_mut().flatten().map(Entry::from);
    let mut scopes: Vec<Scope> = Vec::new();
    for (number, entry) in queues.chain(topics).chain(functions).enumerate() {
        let id = entry.id.get_or_insert_with(|| format!("given-id-{number}")).clone();
        let (mut prefix, mut suffix) = (String::new(), String::new());
        let key = entry.filter.and_then(|filter| filter.key.as_mut());
        for rule in key.into_iter().flat_map(|key| key.filter_rules.iter_mut().flatten()) {
            let name = rule.name.as_ref().map_or("", |name| name.as_str()).to_lowercase();
            let value = rule.value.clone().unwrap_or_default();
            rule.name = Some(match name.as_str() {
                "prefix" => {
                    prefix = value;
                    FilterRuleName::from_static("Prefix")
                }
                "suffix" => {
                    suffix = value;
                    FilterRuleName::from_static("Suffix")
                }
                _ => return Err(s3_error!(InvalidArgument, "filter rule name must be known")),
            });
        }
        let scope = Scope { id, events: entry.events.to_vec(), prefix, suffix };
        for other in &scopes {
            if other.id == scope.id {
                return Err(s3_error!(InvalidArgument, "Same ID used for multiple configurations"));
            }
            if other.overlaps(&scope) {
                return Err(s3_error!(InvalidArgument, "Configuration is ambiguously defined"));
            }
        }
        scopes.push(scope);
    }
    Ok(all)
}

impl Service {
    /// The same as [`Service::begin`], for a call that may name the owner that it expects.
    fn begin_on(
        &self,
        signed_by: &Option<Credentials>,
        operation: Operation,
        bucket: &str,
        owner: Option<String>,
    ) -> S3Result<Plan> {
        let plan = self.begin(signed_by, call(operation, bucket, "", None))?;
        check_owner(owner.as_ref())?;
        Ok(plan)
    }

    pub(super) fn notifications_of(
        &self,
        request: S3Request<GetBucketNotificationConfigurationInput>,
    ) -> S3Result<S3Response<GetBucketNotificationConfigurationOutput>> {
        let GetBucketNotificationConfigurationInput { bucket, expected_bucket_owner } =
            request.input;
        let operation = Operation::GetBucketNotificationConfiguration;
        let plan =
            self.begin_on(&request.credentials, operation, &bucket, expected_bucket_owner)?;
        let all = self.0.state().store.bucket(&bucket)?.notifications.clone();
        let output = GetBucketNotificationConfigurationOutput {
            event_bridge_configuration: all.event_bridge_configuration,
            lambda_function_configurations: all.lambda_function_configurations,
            queue_configurations: all.queue_configurations,
            topic_configurations: all.topic_configurations,
        };
        Ok(self.end(&plan, output))
    }

    pub(super) fn set_notifications_of(
        &self,
        request: S3Request<PutBucketNotificationConfigurationInput>,
    ) -> S3Result<S3Response<PutBucketNotificationConfigurationOutput>> {
        let PutBucketNotificationConfigurationInput {
            bucket,
            expected_bucket_owner,
            notification_configuration,
            ..
        } = request.input;
        let operation = Operation::PutBucketNotificationConfiguration;
        let plan =
            self.begin_on(&request.credentials, operation, &bucket, expected_bucket_owner)?;
        let all = checked_notifications(notification_configuration)?;
        self.0.state().store.bucket(&bucket)?.notifications = all;
        Ok(self.end(&plan, PutBucketNotificationConfigurationOutput::default()))
    }

    pub(super) fn policy_of(
        &self,
        request: S3Request<GetBucketPolicyInput>,
    ) -> S3Result<S3Response<GetBucketPolicyOutput>> {
        let GetBucketPolicyInput { bucket, expected_bucket_owner, .. } = request.input;
        let plan = self.begin_on(
            &request.credentials,
            Operation::GetBucketPolicy,
            &bucket,
            expected_bucket_owner,
        )?;
        let policy = self.0.state().store.bucket(&bucket)?.policy.clone();
        let none = || s3_error!(NoSuchBucketPolicy, "The bucket policy does not exist");
        let policy = Some(policy.ok_or_else(none)?);
        Ok(self.end(&plan, GetBucketPolicyOutput { policy }))
    }

    pub(super) fn set_policy_of(
        &self,
        request: S3Request<PutBucketPolicyInput>,
    ) -> S3Result<S3Response<PutBucketPolicyOutput>> {
        let PutBucketPolicyInput { bucket, expected_bucket_owner, policy, .. } = request.input;
        let plan = self.begin_on(
            &request.credentials,
            Operation::PutBucketPolicy,
            &bucket,
            expected_bucket_owner,
        )?;
        let policy = checked_policy(policy)?;
        self.0.state().store.bucket(&bucket)?.policy = Some(policy);
        Ok(self.end(&plan, PutBucketPolicyOutput::default()))
    }

    pub(super) fn delete_policy_of(
        &self,
        request: S3Request<DeleteBucketPolicyInput>,
    ) -> S3Result<S3Response<DeleteBucketPolicyOutput>> {
        let DeleteBucketPolicyInput { bucket, expected_bucket_owner } = request.input;
        let plan = self.begin_on(
            &request.credentials,
            Operation::DeleteBucketPolicy,
            &bucket,
            expected_bucket_owner,
        )?;
        self.0.state().store.bucket(&bucket)?.policy = None;
        Ok(self.end(&plan, DeleteBucketPolicyOutput::default()))
    }
}
