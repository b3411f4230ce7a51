//! SNS in memory, behind the real SDK client and without a socket: it keeps what was published,
//! refuses what SNS refuses, and fails on demand.
//!
//! The refusals are SNS's own rules (API reference, Publish; developer guide, "Message
//! attributes"): an empty value, a subject of 100 characters or with control characters, a
//! character in an attribute that is a control character or beyond U+FFFF.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use aws_sdk_sns::config::retry::{RetryConfig, RetryPartition};
use aws_sdk_sns::config::{BehaviorVersion, Credentials, Region};
use aws_smithy_http_client::test_util::infallible_client_fn;

/// One published message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// Where to.
    pub topic_arn: String,
    /// Subject.
    pub subject: String,
    /// Body.
    pub message: String,
    /// Attributes by name; all are of type `String`.
    pub attributes: BTreeMap<String, String>,
}

/// An SNS of its own. Clones are handles to the same one.
#[derive(Debug, Clone, Default)]
pub struct FakeSns {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    published: Vec<Published>,
    failures: usize,
}

impl FakeSns {
    /// An SNS to which nothing was published.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What was published so far, in order.
    #[must_use]
    pub fn published(&self) -> Vec<Published> {
        self.state().published.clone()
    }

    /// The next `calls` calls end in HTTP 500. The SDK tries each publication three times.
    pub fn fail_next(&self, calls: usize) {
        self.state().failures = calls;
    }

    /// A client of this SNS: the real one of the SDK, with hardly a pause between its retries.
    #[must_use]
    pub fn client(&self) -> aws_sdk_sns::Client {
        let sns = self.clone();
        let http = infallible_client_fn(move |request: http::Request<_>| {
            let body: &aws_sdk_s3::primitives::SdkBody = request.body();
            let (status, answer) = sns.answer(body.bytes().unwrap_or_default());
            http::Response::builder().status(status).body(answer).expect("a valid response")
        });
        let retry = RetryConfig::standard()
            .with_initial_backoff(Duration::from_millis(1))
            .with_max_backoff(Duration::from_millis(2));
        let config = aws_sdk_sns::Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .credentials_provider(Credentials::new("key", "secret", None, None, "fake-sns"))
            .region(Region::from_static("us-east-1"))
            .retry_config(retry)
            .retry_partition(RetryPartition::new("fake-sns"))
            .http_client(http)
            .build();
        aws_sdk_sns::Client::from_conf(config)
    }

    fn answer(&self, form: &[u8]) -> (u16, String) {
        let mut state = self.state();
        if state.failures > 0 {
            state.failures -= 1;
            return (500, error("InternalError", "as the test asked for"));
        }
        match read(form) {
            Ok(published) => {
                state.published.push(published);
                let id = state.published.len();
                let xmlns = "http://sns.amazonaws.com/doc/2010-03-31/";
                let result = format!("<PublishResult><MessageId>{id}</MessageId></PublishResult>");
                (200, format!(r#"<PublishResponse xmlns="{xmlns}">{result}</PublishResponse>"#))
            }
            Err(problem) => (400, error("InvalidParameterValue", &problem)),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds the lock")
    }
}

fn error(code: &str, message: &str) -> String {
    format!(
        "<ErrorResponse><Error><Code>{code}</Code><Message>{message}</Message></Error></ErrorResponse>"
    )
}

/// The form of the Query protocol: `MessageAttributes.entry.1.Name=...`.
fn read(form: &[u8]) -> Result<Published, String> {
    let fields: BTreeMap<String, String> =
        form_urlencoded::parse(form).map(|(name, value)| (name.into(), value.into())).collect();
    let field = |name: &str| fields.get(name).cloned();
    let mut attributes = BTreeMap::new();
    for n in 1.. {
        let entry = format!("MessageAttributes.entry.{n}");
        let Some(name) = field(&format!("{entry}.Name")) else { break };
        let value = field(&format!("{entry}.Value.StringValue")).unwrap_or_default();
        if value.is_empty() || value.chars().any(|c| c.is_control() || c > '\u{FFFD}') {
            return Err(format!(
                "Invalid attribute value was passed in for message attribute {name}"
            ));
        }
        attributes.insert(name, value);
    }
    let subject = field("Subject").unwrap_or_default();
    if subject.chars().count() >= 100 || subject.chars().any(char::is_control) {
        return Err("Invalid parameter: Subject".to_owned());
    }
    let message = field("Message").filter(|message| !message.is_empty());
    Ok(Published {
        topic_arn: field("TopicArn").unwrap_or_default(),
        subject,
        message: message.ok_or("Invalid parameter: Empty message")?,
        attributes,
    })
}
