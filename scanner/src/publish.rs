//! Sends a finding to the topic.

use aws_sdk_sns::Client;
use aws_sdk_sns::types::MessageAttributeValue;
use notifier_common::Message;

use function_common::service_error::ServiceError;

/// Publishes `message` to `topic_arn`. The message structure is left unset: attributes are only
/// delivered with plain messages (SNS developer guide, "Message attributes").
///
/// # Errors
/// When SNS refuses or does not answer.
pub async fn publish(
    client: &Client,
    topic_arn: &str,
    message: Message,
) -> Result<(), ServiceError> {
    let mut request =
        client.publish().topic_arn(topic_arn).subject(message.subject).message(message.body);
    for (name, value) in message.attributes {
        let value = MessageAttributeValue::builder()
            .data_type("String")
            .string_value(value)
            .build()
            .expect("the data type is set");
        request = request.message_attributes(name, value);
    }
    request.send().await.map(drop).map_err(|error| ServiceError::new("Publish", &error))
}
