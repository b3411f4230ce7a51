use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde_json::{Map, Value};
use url::Url;

use crate::subscribe::Refused;
use crate::subscribe::certificate::{is_host_alone, sns_host};
use crate::subscribe::finding::{ReadError, ReceivedFinding};

/// Longest body that is looked at, in bytes: SNS's limit for a message and its attributes (SNS API
/// reference, Publish). A finding is a few kilobytes.
pub const MAX_BODY: usize = 262_144;

/// What a delivery is about; the signed field `Type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Notification,
    SubscriptionConfirmation,
    UnsubscribeConfirmation,
}

/// What somebody sent, parsed. Nothing of it is believed yet.
#[derive(Clone, PartialEq, Eq)]
pub struct Delivery {
    pub(super) kind: Kind,
    pub(super) message_id: String,
    pub(super) topic_arn: String,
    pub(super) subject: Option<String>,
    pub(super) message: String,
    pub(super) timestamp: String,
    pub(super) token: Option<String>,
    pub(super) subscribe_url: Option<String>,
    pub(super) signature_version: String,
    pub(super) signature: String,
    pub(super) signing_cert_url: String,
    pub(super) attributes: BTreeMap<String, String>,
}

/// Without the token and the URL that holds it: with them anybody can end the subscription.
impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("kind", &self.kind)
            .field("message_id", &self.message_id)
            .field("topic_arn", &self.topic_arn)
            .field("timestamp", &self.timestamp)
            .finish_non_exhaustive()
    }
}

impl Delivery {
    /// Reads the body of an HTTP(S) POST, or of an SQS message, without raw message delivery.
    ///
    /// # Errors
    /// It is not what SNS sends.
    pub fn http(body: &[u8]) -> Result<Self, Refused> {
        Self::of_object(&object(body)?)
    }

    /// Reads the event of a Lambda function that is subscribed to the topic, which names two fields
    /// in another way (`SigningCertUrl`, `UnsubscribeUrl`).
    ///
    /// # Errors
    /// It is not what SNS sends.
    pub fn lambda(event: &[u8]) -> Result<Vec<Self>, Refused> {
        let event = object(event)?;
        let records = event.get("Records").ok_or(Refused::Missing { field: "Records" })?;
        let records = records.as_array().ok_or(Refused::WrongType { field: "Records" })?;
        records
            .iter()
            .map(|record| {
                let sns = record.get("Sns").ok_or(Refused::Missing { field: "Sns" })?;
                Self::of_object(sns.as_object().ok_or(Refused::WrongType { field: "Sns" })?)
            })
            .collect()
    }

    fn of_object(fields: &Map<String, Value>) -> Result<Self, Refused> {
        let kind = match required(fields, "Type")?.as_str() {
            "Notification" => Kind::Notification,
            "SubscriptionConfirmation" => Kind::SubscriptionConfirmation,
            "UnsubscribeConfirmation" => Kind::UnsubscribeConfirmation,
            _ => return Err(Refused::UnknownType),
        };
        let token = optional(fields, "Token")?;
        let subscribe_url = optional(fields, "SubscribeURL")?;
        if kind != Kind::Notification {
            token.as_ref().ok_or(Refused::Missing { field: "Token" })?;
            subscribe_url.as_ref().ok_or(Refused::Missing { field: "SubscribeURL" })?;
        }
        let signing_cert_url = match optional(fields, "SigningCertUrl")? {
            Some(of_lambda) => of_lambda,
            None => required(fields, "SigningCertURL")?,
        };
        Ok(Self {
            kind,
            message_id: required(fields, "MessageId")?,
            topic_arn: required(fields, "TopicArn")?,
            subject: optional(fields, "Subject")?,
            message: required(fields, "Message")?,
            timestamp: required(fields, "Timestamp")?,
            token,
            subscribe_url,
            signature_version: required(fields, "SignatureVersion")?,
            signature: required(fields, "Signature")?,
            signing_cert_url,
            attributes: attributes(fields)?,
        })
    }

    /// Takes what it says as true, because the transport has made sure who sent it: SQS and Lambda,
    /// where IAM decides that. Never for HTTP(S).
    ///
    /// # Errors
    /// Its time cannot be read, or its `SubscribeURL` leads elsewhere than to SNS.
    pub fn trust(self) -> Result<Incoming, Refused> {
        let timestamp = self.published()?;
        match self.kind {
            Kind::Notification => Ok(Incoming::Notification(Notification {
                message_id: self.message_id,
                topic_arn: self.topic_arn,
                timestamp,
                subject: self.subject,
                message: self.message,
                attributes: self.attributes,
            })),
            Kind::SubscriptionConfirmation => {
                Ok(Incoming::SubscriptionConfirmation(self.confirmation(timestamp)?))
            }
            Kind::UnsubscribeConfirmation => {
                Ok(Incoming::UnsubscribeConfirmation(self.confirmation(timestamp)?))
            }
        }
    }

    pub(super) fn published(&self) -> Result<Timestamp, Refused> {
        self.timestamp.parse().map_err(|_| Refused::Timestamp)
    }

    /// What SNS signs: name and value of each field on lines of their own, in the order of the
    /// names' bytes; both signature versions sign the same text (SNS developer guide, "Verifying
    /// the signatures of Amazon SNS messages"). As in the AWS SDKs, every field of the list that
    /// has a value counts, whatever the type: a notification with a token is not what SNS sends,
    /// and its signature does not fit.
    pub(super) fn signed_text(&self) -> String {
        let fields = [
            ("Message", Some(self.message.as_str())),
            ("MessageId", Some(self.message_id.as_str())),
            ("Subject", self.subject.as_deref()),
            ("SubscribeURL", self.subscribe_url.as_deref()),
            ("Timestamp", Some(self.timestamp.as_str())),
            ("Token", self.token.as_deref()),
            ("TopicArn", Some(self.topic_arn.as_str())),
            ("Type", Some(self.kind.as_str())),
        ];
        let mut text = String::new();
        for (name, value) in fields {
            if let Some(value) = value {
                text.extend([name, "\n", value, "\n"]);
            }
        }
        text
    }

    fn confirmation(self, timestamp: Timestamp) -> Result<Confirmation, Refused> {
        let url = self.subscribe_url.as_deref().and_then(|url| Url::parse(url).ok());
        let url = url.ok_or(Refused::SubscribeUrl)?;
        let parameter = |name: &str| url.query_pairs().find(|(n, _)| n == name).map(|(_, v)| v);
        let at_sns = url.scheme() == "https"
            && is_host_alone(&url)
            && url.host_str() == sns_host(&self.topic_arn).as_deref();
        if !at_sns
            || parameter("Action").as_deref() != Some("ConfirmSubscription")
            || parameter("TopicArn").as_deref() != Some(self.topic_arn.as_str())
        {
            return Err(Refused::SubscribeUrl);
        }
        Ok(Confirmation {
            message_id: self.message_id,
            topic_arn: self.topic_arn,
            timestamp,
            subscribe_url: url.into(),
        })
    }
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Notification => "Notification",
            Self::SubscriptionConfirmation => "SubscriptionConfirmation",
            Self::UnsubscribeConfirmation => "UnsubscribeConfirmation",
        }
    }
}

/// What SNS really sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming {
    /// Something was published.
    Notification(Notification),
    /// Somebody subscribed this endpoint; visit [`Confirmation::subscribe_url`] to agree.
    SubscriptionConfirmation(Confirmation),
    /// The subscription was ended. Visiting the URL would restore it: do not do that by itself.
    UnsubscribeConfirmation(Confirmation),
}

/// One published message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// The same for every delivery of one message.
    pub message_id: String,
    /// The topic.
    pub topic_arn: String,
    /// When it was published.
    pub timestamp: Timestamp,
    /// The subject.
    pub subject: Option<String>,
    /// The body.
    pub message: String,
    /// The attributes as texts. **Not signed**: whoever saw one message can send it with others.
    pub attributes: BTreeMap<String, String>,
}

impl Notification {
    /// The finding in it, from the signed body alone; the attributes are only compared.
    ///
    /// # Errors
    /// It is no finding (a CloudWatch alarm on the same topic, say), a damaged one, or one whose
    /// attributes say something else than the body.
    pub fn finding(&self) -> Result<ReceivedFinding, ReadError> {
        ReceivedFinding::read(&self.message, &self.attributes)
    }
}

/// The confirmation of a subscription, or of its end.
#[derive(Clone, PartialEq, Eq)]
pub struct Confirmation {
    /// The same for every delivery of one message.
    pub message_id: String,
    /// The topic.
    pub topic_arn: String,
    /// When it was sent.
    pub timestamp: Timestamp,
    subscribe_url: String,
}

impl Confirmation {
    /// The URL at SNS that confirms the subscription when it is visited (GET). A secret: it holds
    /// the token, which also ends the subscription.
    #[must_use]
    pub fn subscribe_url(&self) -> &str {
        &self.subscribe_url
    }
}

/// Without the URL.
impl fmt::Debug for Confirmation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Confirmation")
            .field("message_id", &self.message_id)
            .field("topic_arn", &self.topic_arn)
            .field("timestamp", &self.timestamp)
            .finish_non_exhaustive()
    }
}

fn object(body: &[u8]) -> Result<Map<String, Value>, Refused> {
    if body.len() > MAX_BODY {
        return Err(Refused::TooLarge);
    }
    match serde_json::from_slice(body) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(_) => Err(Refused::NotAnObject),
        Err(_) => Err(Refused::NotJson),
    }
}

fn required(fields: &Map<String, Value>, field: &'static str) -> Result<String, Refused> {
    optional(fields, field)?.ok_or(Refused::Missing { field })
}

/// Nothing and `null` count as missing: a Lambda function gets `"Subject": null`.
///
/// The signed text has no escapes: a field with a line break in it could take in those that follow
/// it and are left out, and the text would be the same. So no field may hold one but the message,
/// which comes first and is followed by one that is required.
fn optional(fields: &Map<String, Value>, field: &'static str) -> Result<Option<String>, Refused> {
    match fields.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(Value::String(text)) if field == "Message" || !text.contains('\n') => {
            Ok(Some(text.clone()))
        }
        Some(_) => Err(Refused::WrongType { field }),
    }
}

fn attributes(fields: &Map<String, Value>) -> Result<BTreeMap<String, String>, Refused> {
    const WRONG: Refused = Refused::WrongType { field: "MessageAttributes" };
    let attributes = match fields.get("MessageAttributes") {
        None | Some(Value::Null) => return Ok(BTreeMap::new()),
        Some(attributes) => attributes.as_object().ok_or(WRONG)?,
    };
    let text = |(name, attribute): (&String, &Value)| {
        Ok((name.clone(), attribute["Value"].as_str().ok_or(WRONG)?.to_owned()))
    };
    attributes.iter().map(text).collect()
}
