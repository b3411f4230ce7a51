//! Posts, again and again until the endpoint takes the message, and what SNS gives up.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::ensure;
use serde_json::Value;
use tokio::sync::{Semaphore, watch};

use super::certificates::SigningCertificate;
use super::documents::{self, Published, Topic};
use super::internet::Internet;
use super::sign::{self, SignatureVersion};

/// How often an answer of 5xx, or none, is followed by another delivery, and when. SNS waits 20
/// seconds by default, up to an hour in all; here nobody waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retries {
    count: u32,
    pub(super) told: bool,
}

impl Retries {
    /// `count` retries (SNS: 3 by default, 100 at most), each at once.
    #[must_use]
    pub const fn at_once(count: u32) -> Self {
        Self { count, told: false }
    }

    /// `count` retries, one for each call of [`Subscription::retry`](super::Subscription::retry).
    #[must_use]
    pub const fn when_told(count: u32) -> Self {
        Self { count, told: true }
    }
}

/// The settings of a subscription and its topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubscriptionOptions {
    /// Raw message delivery: the message alone is posted.
    pub raw: bool,
    /// The topic's `SignatureVersion`.
    pub signature_version: SignatureVersion,
    /// The delivery policy.
    pub retries: Retries,
}

impl Default for SubscriptionOptions {
    fn default() -> Self {
        let signature_version = SignatureVersion::default();
        Self { raw: false, signature_version, retries: Retries::at_once(3) }
    }
}

/// One POST and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// SNS's id of the message.
    pub message_id: String,
    /// The status of the answer, or why there was none.
    pub answer: Result<u16, String>,
}

impl Attempt {
    /// Whether SNS is done with this message: any answer from 200 to 499 ("Message delivery
    /// retries").
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(self.answer, Ok(200..=499))
    }
}

/// What deliveries need.
pub(super) struct Shared {
    pub(super) arn: String,
    pub(super) topic: Topic,
    pub(super) token: String,
    pub(super) endpoint: String,
    pub(super) options: SubscriptionOptions,
    pub(super) certificate: Arc<SigningCertificate>,
    pub(super) internet: Arc<Internet>,
    pub(super) http: reqwest::Client,
    pub(super) turns: Semaphore,
    pub(super) attempts: watch::Sender<Vec<Attempt>>,
    pub(super) dead_letters: Mutex<Vec<Published>>,
    pub(super) failure: Mutex<Option<anyhow::Error>>,
}

/// What is posted.
pub(super) struct Post<'a> {
    kind: &'a str,
    message_id: &'a str,
    raw: bool,
    body: String,
}

impl Shared {
    pub(super) async fn deliver(&self, published: &Published) -> anyhow::Result<Attempt> {
        self.ensure_confirmed()?;
        let document;
        let post = if self.options.raw {
            Post {
                kind: "Notification",
                message_id: &published.message_id,
                raw: true,
                body: published.message.clone(),
            }
        } else {
            document = self.notification(published)?;
            self.post_of(&document)
        };
        let last = self.post_until_final(&post).await;
        if !last.is_final() {
            let mut letters = self.dead_letters.lock().unwrap_or_else(PoisonError::into_inner);
            letters.push(published.clone());
        }
        Ok(last)
    }

    pub(super) fn fail(&self, error: anyhow::Error) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }

    pub(super) fn ensure_confirmed(&self) -> anyhow::Result<()> {
        let confirmed = self.internet.is_confirmed(&self.token);
        ensure!(confirmed, "{} is pending: the endpoint has not confirmed it", self.arn);
        Ok(())
    }

    pub(super) fn notification(&self, published: &Published) -> anyhow::Result<Value> {
        self.signed(documents::notification(&self.topic, &self.arn, published))
    }

    pub(super) fn signed(&self, mut document: Value) -> anyhow::Result<Value> {
        let version = self.options.signature_version;
        sign::sign(&mut document, &self.certificate, &self.topic.region, version)?;
        Ok(document)
    }

    pub(super) fn post_of<'a>(&self, document: &'a Value) -> Post<'a> {
        Post {
            kind: document["Type"].as_str().unwrap_or_default(),
            message_id: document["MessageId"].as_str().unwrap_or_default(),
            raw: false,
            body: document.to_string(),
        }
    }

    pub(super) async fn post_until_final(&self, post: &Post<'_>) -> Attempt {
        let mut retries = self.options.retries.count;
        loop {
            let attempt = self.post(post).await;
            if attempt.is_final() || retries == 0 {
                return attempt;
            }
            retries -= 1;
            if let Ok(turn) = self.turns.acquire().await {
                turn.forget();
            }
        }
    }

    /// The headers are those of the developer guide, "HTTP/HTTPS headers".
    pub(super) async fn post(&self, post: &Post<'_>) -> Attempt {
        let mut headers = BTreeMap::from([
            ("x-amz-sns-message-type", post.kind),
            ("x-amz-sns-message-id", post.message_id),
            ("x-amz-sns-topic-arn", self.topic.arn.as_str()),
            ("content-type", "text/plain; charset=UTF-8"),
            ("user-agent", "Amazon Simple Notification Service Agent"),
        ]);
        if post.kind != "SubscriptionConfirmation" {
            headers.insert("x-amz-sns-subscription-arn", &self.arn);
        }
        if post.raw {
            headers.insert("x-amz-sns-rawdelivery", "true");
        }
        let mut request = self.http.post(&self.endpoint);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let answer = request.body(post.body.clone()).send().await;
        let answer = answer
            .map(|answer| answer.status().as_u16())
            .map_err(|error| format!("{:#}", anyhow::Error::from(error)));
        let attempt = Attempt { message_id: post.message_id.to_owned(), answer };
        self.attempts.send_modify(|attempts| attempts.push(attempt.clone()));
        attempt
    }
}
