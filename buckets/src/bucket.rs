//! One bucket's configuration in S3. Every call names the account that the bucket must belong to:
//! a name that was given up can be somebody else's bucket by now.

use aws_sdk_s3::Client;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::types::NotificationConfiguration;
use function_common::service_error::ServiceError;

use crate::error::Problem;

/// A bucket.
#[derive(Debug, Clone, Copy)]
pub struct Bucket<'a> {
    /// The client of its region.
    pub s3: &'a Client,
    /// Whose it must be.
    pub account: &'a str,
    /// Its name.
    pub name: &'a str,
}

impl Bucket<'_> {
    fn failed<E>(&self, operation: &'static str, error: &SdkError<E, HttpResponse>) -> Problem
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        Problem::service(ServiceError::new(operation, error), self.account)
    }

    /// Its notifications.
    ///
    /// # Errors
    /// S3 refused.
    pub async fn notifications(&self) -> Result<NotificationConfiguration, Problem> {
        let request = self.s3.get_bucket_notification_configuration().bucket(self.name);
        let answer = request
            .expected_bucket_owner(self.account)
            .send()
            .await
            .map_err(|error| self.failed("GetBucketNotificationConfiguration", &error))?;
        Ok(NotificationConfiguration::builder()
            .set_queue_configurations(answer.queue_configurations)
            .set_topic_configurations(answer.topic_configurations)
            .set_lambda_function_configurations(answer.lambda_function_configurations)
            .set_event_bridge_configuration(answer.event_bridge_configuration)
            .build())
    }

    /// Replaces all of them.
    ///
    /// # Errors
    /// S3 refused.
    pub async fn put_notifications(&self, all: NotificationConfiguration) -> Result<(), Problem> {
        let request = self.s3.put_bucket_notification_configuration().bucket(self.name);
        request
            .expected_bucket_owner(self.account)
            .notification_configuration(all)
            .send()
            .await
            .map_err(|error| self.failed("PutBucketNotificationConfiguration", &error))?;
        Ok(())
    }

    /// Its policy, if it has one.
    ///
    /// # Errors
    /// S3 refused.
    pub async fn policy(&self) -> Result<Option<String>, Problem> {
        let request = self.s3.get_bucket_policy().bucket(self.name);
        match request.expected_bucket_owner(self.account).send().await {
            Ok(answer) => Ok(answer.policy),
            Err(error) if error.code() == Some("NoSuchBucketPolicy") => Ok(None),
            Err(error) => Err(self.failed("GetBucketPolicy", &error)),
        }
    }

    /// Replaces it.
    ///
    /// # Errors
    /// S3 refused.
    pub async fn put_policy(&self, policy: String) -> Result<(), Problem> {
        let request = self.s3.put_bucket_policy().bucket(self.name).policy(policy);
        let sent = request.expected_bucket_owner(self.account).send().await;
        sent.map_err(|error| self.failed("PutBucketPolicy", &error))?;
        Ok(())
    }

    /// Deletes it.
    ///
    /// # Errors
    /// S3 refused.
    pub async fn delete_policy(&self) -> Result<(), Problem> {
        let request = self.s3.delete_bucket_policy().bucket(self.name);
        let sent = request.expected_bucket_owner(self.account).send().await;
        sent.map_err(|error| self.failed("DeleteBucketPolicy", &error))?;
        Ok(())
    }
}
