//! A stack with its resource, on an S3 in memory.

use aws_sdk_s3::Client;
use aws_sdk_s3::types::NotificationConfiguration;
use buckets::notification;
use buckets::wiring;
use function_common::custom_resource::{RespondError, Status};
use scanner_tests::cloudformation::{CloudFormation, Request};
use scanner_tests::fake_s3::{FakeS3, Operation, Versioning};
use scanner_tests::iam::Recorder;
use scanner_tests::template::{self, Template};
use serde_json::{Value, json};

pub(crate) const QUEUE: &str = "arn:aws:sqs:us-east-1:123456789012:scan";
pub(crate) const FUNCTION: &str = "arn:aws:lambda:us-east-1:123456789012:function:scan";

/// The ids of our statements.
pub(crate) const SIDS: [&str; 2] = ["S3VirusScanReadscan", "S3VirusScanTagscan"];

/// What a stack named `scan` says about these buckets.
pub(crate) fn properties(buckets: &[&str]) -> Value {
    json!({
        "ServiceToken": "arn:aws:lambda:us-east-1:123456789012:function:buckets",
        "BucketNames": buckets,
        "Trigger": "queue",
        "TargetArn": QUEUE,
        "ConfigurationId": "scan",
        "QuarantinePolicy": "none",
        "TagKey": "s3-virusscan",
        "Partition": "aws",
        "ScannerRoleArn": "arn:aws:iam::123456789012:role/scanner",
        "ExemptPrincipalArns": [],
    })
}

/// `properties` with another value for each of `changes`.
pub(crate) fn with(properties: &Value, changes: &[(&str, &str)]) -> Value {
    let mut changed = properties.clone();
    for (name, value) in changes {
        changed[*name] = (*value).into();
    }
    changed
}

pub(crate) struct Stack {
    pub(crate) cloudformation: CloudFormation,
    pub(crate) client: Client,
    /// Refuses what the function's role does not allow.
    pub(crate) recorder: Recorder,
}

impl Stack {
    pub(crate) fn on(client: Client) -> Self {
        Self::deployed_with(client, &[("QuarantinePolicy", "attach"), ("BucketNames", "uploads")])
    }

    /// A stack whose roles are made with these parameters.
    pub(crate) fn deployed_with(client: Client, parameters: &[(&str, &str)]) -> Self {
        let template = Template::with(parameters).unwrap();
        let recorder = Recorder::of(&template, template::BUCKETS).unwrap();
        Self { cloudformation: CloudFormation::start().unwrap(), client, recorder }
    }

    pub(crate) async fn request(&self, kind: &str, new: &Value, old: Option<&Value>) -> Request {
        let resource = "Custom::BucketWiring";
        self.cloudformation.request(kind, resource, new, old).await.unwrap()
    }

    pub(crate) async fn handle(&self, request: &Request) -> Result<Status, RespondError> {
        let s3 = self.recorder.s3(&self.client);
        let work = |request| Box::pin(wiring::handle(&s3, request));
        let responder = self.cloudformation.responder();
        responder.respond(request.event.clone(), request.deadline, work).await
    }

    async fn answered(&self, kind: &str, new: &Value, old: Option<&Value>) -> Value {
        let request = self.request(kind, new, old).await;
        self.handle(&request).await.unwrap();
        self.cloudformation.answer(&request).await.unwrap().unwrap()
    }

    /// Creates; the answer's attributes.
    pub(crate) async fn create(&self, properties: &Value) -> Value {
        succeeded(self.answered("Create", properties, None).await)
    }

    pub(crate) async fn update(&self, old: &Value, new: &Value) -> Value {
        succeeded(self.answered("Update", new, Some(old)).await)
    }

    pub(crate) async fn delete(&self, properties: &Value) {
        succeeded(self.answered("Delete", properties, None).await);
    }

    /// The reason of a request that must fail.
    pub(crate) async fn fails(&self, kind: &str, new: &Value, old: Option<&Value>) -> String {
        let answer = self.answered(kind, new, old).await;
        assert_eq!(answer["Status"], "FAILED", "{answer}");
        answer["Reason"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn notifications(&self, bucket: &str) -> NotificationConfiguration {
        let request = self.client.get_bucket_notification_configuration().bucket(bucket);
        let answer = request.send().await.unwrap();
        NotificationConfiguration::builder()
            .set_queue_configurations(answer.queue_configurations)
            .set_topic_configurations(answer.topic_configurations)
            .set_lambda_function_configurations(answer.lambda_function_configurations)
            .set_event_bridge_configuration(answer.event_bridge_configuration)
            .build()
    }

    pub(crate) async fn policy(&self, bucket: &str) -> Option<Value> {
        match self.client.get_bucket_policy().bucket(bucket).send().await {
            Ok(answer) => Some(serde_json::from_str(&answer.policy.unwrap()).unwrap()),
            Err(error) => {
                let code = aws_sdk_s3::error::ProvideErrorMetadata::code(&error);
                assert_eq!(code, Some("NoSuchBucketPolicy"), "{error:?}");
                None
            }
        }
    }

    /// The queues that are told of uploads to `bucket`, and by which id.
    pub(crate) async fn queues(&self, bucket: &str) -> Vec<(String, String)> {
        let all = self.notifications(bucket).await;
        let all = all.queue_configurations().iter();
        all.map(|queue| (queue.id().unwrap().to_owned(), queue.queue_arn().to_owned())).collect()
    }
}

fn succeeded(answer: Value) -> Value {
    assert_eq!(answer["Status"], "SUCCESS", "{answer}");
    answer["Data"].clone()
}

/// The wiring of [`properties`], as [`Stack::queues`] shows it.
pub(crate) fn wired() -> Vec<(String, String)> {
    vec![("scan".to_owned(), QUEUE.to_owned())]
}

/// An S3 in memory with these buckets, and a stack on it.
pub(crate) fn world(buckets: &[&str]) -> (FakeS3, Stack) {
    let s3 = buckets.iter().fold(FakeS3::new(), |s3, name| s3.bucket(name, Versioning::Off));
    let stack = Stack::on(s3.client());
    (s3, stack)
}

/// How often the S3 was asked to change a configuration.
pub(crate) fn writes(s3: &FakeS3) -> usize {
    let changes = [
        Operation::PutBucketNotificationConfiguration,
        Operation::PutBucketPolicy,
        Operation::DeleteBucketPolicy,
    ];
    s3.calls().iter().filter(|call| changes.contains(&call.operation)).count()
}

/// The ids of a policy's statements.
pub(crate) fn sids(policy: Option<&Value>) -> Vec<String> {
    let statements = policy.and_then(|policy| policy["Statement"].as_array());
    let statements = statements.into_iter().flatten();
    statements.map(|one| one["Sid"].as_str().unwrap_or_default().to_owned()).collect()
}

pub(crate) fn assert_same(got: &NotificationConfiguration, want: &NotificationConfiguration) {
    assert!(notification::same(got, want), "got {got:#?}\nwant {want:#?}");
}
