//! The three documents that SNS posts, unsigned.

use anyhow::Context as _;
use serde_json::{Value, json};

/// A topic by its ARN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// The ARN.
    pub arn: String,
    /// The region in it.
    pub region: String,
}

impl Topic {
    /// Takes the region out of an ARN.
    ///
    /// # Errors
    ///
    /// It is not the ARN of a topic.
    pub fn new(arn: impl Into<String>) -> anyhow::Result<Self> {
        let arn = arn.into();
        let parts: Vec<_> = arn.split(':').collect();
        let ["arn", _, "sns", region, _, _] = parts[..] else {
            anyhow::bail!("{arn:?} is not the ARN of a topic")
        };
        Ok(Self { region: region.to_owned(), arn })
    }
}

/// A message as it was published, with what SNS adds to it then.
#[derive(Clone, Debug, PartialEq)]
pub struct Published {
    /// SNS's id of it, the same in every delivery.
    pub message_id: String,
    /// When, as SNS writes it: RFC 3339 in milliseconds, UTC.
    pub timestamp: String,
    /// The subject.
    pub subject: Option<String>,
    /// The body.
    pub message: String,
    /// As SNS writes them: `{"name": {"Type": "String", "Value": "…"}}`; null if there are none.
    pub attributes: Value,
}

impl Published {
    /// Publishes this text now.
    #[must_use]
    pub fn now(message: impl Into<String>) -> Self {
        Self {
            message_id: uuid(),
            timestamp: timestamp(),
            subject: None,
            message: message.into(),
            attributes: Value::Null,
        }
    }

    /// With one more attribute.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.attributes[name] = json!({"Type": "String", "Value": value});
        self
    }

    /// Reads what SNS delivers to a queue without raw delivery.
    ///
    /// # Errors
    ///
    /// It is something else.
    pub fn of_queue(body: &str) -> anyhow::Result<Self> {
        let value: Value = serde_json::from_str(body).context("reading SNS's wrapper")?;
        let text = |name: &str| value[name].as_str().map(str::to_owned);
        let needed =
            |name: &str| text(name).with_context(|| format!("SNS's wrapper has no {name}"));
        Ok(Self {
            message_id: needed("MessageId")?,
            timestamp: needed("Timestamp")?,
            subject: text("Subject"),
            message: needed("Message")?,
            attributes: value["MessageAttributes"].clone(),
        })
    }
}

/// A notification; fields that have no value are left out.
pub(super) fn notification(topic: &Topic, subscription_arn: &str, published: &Published) -> Value {
    let Published { message_id, timestamp, subject, message, attributes } = published;
    let mut document = json!({
        "Type": "Notification",
        "MessageId": message_id,
        "TopicArn": topic.arn,
        "Message": message,
        "Timestamp": timestamp,
        "UnsubscribeURL": format!(
            "https://sns.{}.amazonaws.com/?Action=Unsubscribe&SubscriptionArn={subscription_arn}",
            topic.region
        ),
    });
    if let Some(subject) = subject {
        document["Subject"] = subject.clone().into();
    }
    if attributes.is_object() {
        document["MessageAttributes"] = attributes.clone();
    }
    document
}

/// What SNS posts first.
pub(super) fn subscription_confirmation(topic: &Topic, token: &str) -> Value {
    let arn = &topic.arn;
    let message = format!(
        "You have chosen to subscribe to the topic {arn}.\nTo confirm the subscription, visit the \
         SubscribeURL included in this message."
    );
    confirmation("SubscriptionConfirmation", topic, token, &message)
}

/// What SNS posts when a subscription was ended.
pub(super) fn unsubscribe_confirmation(topic: &Topic, subscription: &str, token: &str) -> Value {
    let message = format!(
        "You have chosen to deactivate subscription {subscription}.\nTo cancel this operation and \
         restore the subscription, visit the SubscribeURL included in this message."
    );
    confirmation("UnsubscribeConfirmation", topic, token, &message)
}

fn confirmation(kind: &str, topic: &Topic, token: &str, message: &str) -> Value {
    let Topic { arn, region } = topic;
    json!({
        "Type": kind,
        "MessageId": uuid(),
        "Token": token,
        "TopicArn": arn,
        "Message": message,
        "SubscribeURL": format!(
            "https://sns.{region}.amazonaws.com/?Action=ConfirmSubscription&TopicArn={arn}\
             &Token={token}"
        ),
        "Timestamp": timestamp(),
    })
}

fn timestamp() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

/// A version 4 UUID.
pub(super) fn uuid() -> String {
    let hex = hex(32);
    format!("{}-{}-4{}-a{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..])
}

/// Random hexadecimal digits.
pub(super) fn hex(digits: usize) -> String {
    std::iter::repeat_with(|| fastrand::digit(16)).take(digits).collect()
}
