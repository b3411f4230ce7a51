//! One subscription of an HTTP(S) endpoint: its confirmation, and deliveries until the endpoint
//! takes them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::Value;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

use super::certificates::{Leaf, Pki, SigningCertificate};
use super::documents::{self, Published, Topic};
use super::internet::{self, Internet};
use super::queue;
use super::sign::{self, SignatureVersion};
use crate::moto::Moto;

/// How long SNS waits for an answer (developer guide, "HTTP/HTTPS endpoint prerequisites").
const ANSWER_TIME: Duration = Duration::from_secs(15);

/// SNS with its certificate, and what a subscriber finds behind its proxy. Ends when it and all of
/// its subscriptions are dropped.
#[derive(Debug)]
pub struct Sns {
    pki: Pki,
    certificate: Arc<SigningCertificate>,
    internet: Arc<Internet>,
    http: reqwest::Client,
}

/// How often an answer of 5xx, or none, is followed by another delivery, and when. SNS waits 20
/// seconds by default, up to an hour in all; here nobody waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retries {
    count: u32,
    told: bool,
}

impl Retries {
    /// `count` retries (SNS: 3 by default, 100 at most), each at once.
    #[must_use]
    pub const fn at_once(count: u32) -> Self {
        Self { count, told: false }
    }

    /// `count` retries, one for each call of [`Subscription::retry`].
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

/// A subscription, which has to be confirmed. Its deliveries end when it is dropped.
pub struct Subscription {
    shared: Arc<Shared>,
    following: Mutex<Option<JoinHandle<()>>>,
}

/// What deliveries need.
pub(super) struct Shared {
    arn: String,
    topic: Topic,
    token: String,
    endpoint: String,
    options: SubscriptionOptions,
    certificate: Arc<SigningCertificate>,
    internet: Arc<Internet>,
    http: reqwest::Client,
    turns: Semaphore,
    attempts: watch::Sender<Vec<Attempt>>,
    dead_letters: Mutex<Vec<Published>>,
    failure: Mutex<Option<anyhow::Error>>,
}

/// What is posted.
struct Post<'a> {
    kind: &'a str,
    message_id: &'a str,
    raw: bool,
    body: String,
}

impl Sns {
    /// SNS in `region` with new keys. Call it inside a Tokio runtime, which runs it.
    ///
    /// # Errors
    ///
    /// No port can be bound.
    pub async fn start(region: &str) -> anyhow::Result<Self> {
        let pki = Pki::new()?;
        let certificate = Arc::new(pki.signing(Leaf::Good)?);
        let internet = Internet::start(&pki, region).await?;
        internet.serve(&certificate);
        let http = client(&pki)?;
        Ok(Self { pki, certificate, internet: Arc::new(internet), http })
    }

    /// The certificates.
    #[must_use]
    pub fn pki(&self) -> &Pki {
        &self.pki
    }

    /// What a subscriber asks for, and where.
    #[must_use]
    pub fn internet(&self) -> &Internet {
        &self.internet
    }

    /// An HTTP client that trusts the servers of this [`Pki`] and asks them without a proxy.
    #[must_use]
    pub fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// Signs a document anew, after a change: to see what a subscriber makes of what SNS would
    /// never send. `certificate` is that of SNS if it is `None`.
    ///
    /// # Errors
    ///
    /// The key makes no signature of this version.
    pub fn sign(
        &self,
        document: &mut Value,
        certificate: Option<&SigningCertificate>,
        version: SignatureVersion,
    ) -> anyhow::Result<()> {
        let topic = Topic::new(document["TopicArn"].as_str().unwrap_or_default())?;
        let certificate = certificate.unwrap_or(&self.certificate);
        sign::sign(document, certificate, &topic.region, version)
    }

    /// A subscription that is pending until [`Subscription::confirm`].
    ///
    /// # Errors
    ///
    /// `topic_arn` is not the ARN of a topic.
    pub fn subscribe(
        &self,
        topic_arn: &str,
        endpoint: &str,
        options: SubscriptionOptions,
    ) -> anyhow::Result<Subscription> {
        let turns = if options.retries.told { 0 } else { Semaphore::MAX_PERMITS };
        let shared = Shared {
            arn: format!("{topic_arn}:{}", documents::uuid()),
            topic: Topic::new(topic_arn)?,
            // SNS's tokens are 256 hexadecimal digits (tests/vectors/sns).
            token: documents::hex(256),
            endpoint: endpoint.to_owned(),
            options,
            certificate: Arc::clone(&self.certificate),
            internet: Arc::clone(&self.internet),
            http: self.http.clone(),
            turns: Semaphore::new(turns),
            attempts: watch::Sender::default(),
            dead_letters: Mutex::default(),
            failure: Mutex::default(),
        };
        Ok(Subscription { shared: Arc::new(shared), following: Mutex::default() })
    }
}

impl Subscription {
    /// Posts the `SubscriptionConfirmation`, as SNS does first, and waits until the endpoint
    /// visits the `SubscribeURL` in it.
    ///
    /// # Errors
    ///
    /// It answers with something else than success, or does not visit it within `deadline`.
    pub async fn confirm(&self, deadline: Duration) -> anyhow::Result<()> {
        let attempt = self.ask_to_confirm().await?;
        ensure!(
            matches!(attempt.answer, Ok(200..=299)),
            "{} answered the SubscriptionConfirmation with {:?}",
            self.shared.endpoint,
            attempt.answer
        );
        self.shared.internet.confirmed(&self.shared.token, deadline).await
    }

    /// Posts the `SubscriptionConfirmation` until there is a final answer; gives the last attempt.
    ///
    /// # Errors
    ///
    /// The document cannot be signed.
    pub async fn ask_to_confirm(&self) -> anyhow::Result<Attempt> {
        let shared = &self.shared;
        let document = documents::subscription_confirmation(&shared.topic, &shared.token);
        let document = shared.signed(document)?;
        Ok(shared.post_until_final(&shared.post_of(&document)).await)
    }

    /// The subscription ends: posts the `UnsubscribeConfirmation`.
    ///
    /// # Errors
    ///
    /// The document cannot be signed.
    pub async fn end(&self) -> anyhow::Result<Attempt> {
        let shared = &self.shared;
        let document =
            documents::unsubscribe_confirmation(&shared.topic, &shared.arn, &documents::hex(256));
        let document = shared.signed(document)?;
        Ok(shared.post_until_final(&shared.post_of(&document)).await)
    }

    /// Whether the endpoint has confirmed it.
    #[must_use]
    pub fn is_confirmed(&self) -> bool {
        self.shared.internet.is_confirmed(&self.shared.token)
    }

    /// The secret in its `SubscribeURL`.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.shared.token
    }

    /// Delivers until there is a final answer, or else puts the message to the dead letters. Gives
    /// the last attempt.
    ///
    /// # Errors
    ///
    /// The subscription is not confirmed: SNS delivers nothing then.
    pub async fn deliver(&self, published: &Published) -> anyhow::Result<Attempt> {
        self.shared.deliver(published).await
    }

    /// The signed notification that [`Subscription::deliver`] posts.
    ///
    /// # Errors
    ///
    /// It cannot be signed.
    pub fn notification(&self, published: &Published) -> anyhow::Result<Value> {
        self.shared.notification(published)
    }

    /// Posts a document once, as it is, with the headers that SNS would send with it.
    pub async fn post(&self, document: &Value) -> Attempt {
        self.shared.post(&self.shared.post_of(document)).await
    }

    /// Lets one delivery try again, now or when it next fails ([`Retries::when_told`]).
    pub fn retry(&self) {
        self.shared.turns.add_permits(1);
    }

    /// Delivers from now on what is published to the topic in moto, which a queue of this
    /// subscription's own takes there.
    ///
    /// # Errors
    ///
    /// The subscription is not confirmed, or moto refuses the queue.
    pub async fn follow(&self, moto: &Moto) -> anyhow::Result<()> {
        self.shared.ensure_confirmed()?;
        let queue = queue::subscribed(moto, &self.shared.topic.arn).await?;
        let (sqs, shared) = (moto.sqs(), Arc::clone(&self.shared));
        let task = tokio::spawn(async move {
            if let Err(error) = queue::deliver_all(&sqs, &queue, &shared).await {
                shared.fail(error);
            }
        });
        let mut following = self.following.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = following.replace(task) {
            before.abort();
        }
        Ok(())
    }

    /// Every attempt so far, oldest first.
    #[must_use]
    pub fn attempts(&self) -> Vec<Attempt> {
        self.shared.attempts.borrow().clone()
    }

    /// Waits until `predicate` holds for the attempts so far.
    ///
    /// # Errors
    ///
    /// It does not within `deadline`; the message carries the attempts.
    pub async fn attempted(
        &self,
        predicate: impl Fn(&[Attempt]) -> bool,
        deadline: Duration,
    ) -> anyhow::Result<()> {
        let mut attempts = self.shared.attempts.subscribe();
        let made = attempts.wait_for(|attempts| predicate(attempts));
        let Ok(made) = tokio::time::timeout(deadline, made).await else {
            let failure = self.shared.failure.lock().unwrap_or_else(PoisonError::into_inner);
            let failure = failure.as_ref().map(|error| format!("; it failed: {error:#}"));
            let failure = failure.unwrap_or_default();
            anyhow::bail!("within {deadline:?} there was {:?}{failure}", self.attempts());
        };
        made.map(drop).context("the attempts of a subscription")
    }

    /// What was given up: it would be in the subscription's dead-letter queue.
    #[must_use]
    pub fn dead_letters(&self) -> Vec<Published> {
        self.shared.dead_letters.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut following = self.following.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(following) = following.take() {
            following.abort();
        }
    }
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

    fn ensure_confirmed(&self) -> anyhow::Result<()> {
        let confirmed = self.internet.is_confirmed(&self.token);
        ensure!(confirmed, "{} is pending: the endpoint has not confirmed it", self.arn);
        Ok(())
    }

    fn notification(&self, published: &Published) -> anyhow::Result<Value> {
        self.signed(documents::notification(&self.topic, &self.arn, published))
    }

    fn signed(&self, mut document: Value) -> anyhow::Result<Value> {
        let version = self.options.signature_version;
        sign::sign(&mut document, &self.certificate, &self.topic.region, version)?;
        Ok(document)
    }

    fn post_of<'a>(&self, document: &'a Value) -> Post<'a> {
        Post {
            kind: document["Type"].as_str().unwrap_or_default(),
            message_id: document["MessageId"].as_str().unwrap_or_default(),
            raw: false,
            body: document.to_string(),
        }
    }

    async fn post_until_final(&self, post: &Post<'_>) -> Attempt {
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
    async fn post(&self, post: &Post<'_>) -> Attempt {
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

fn client(pki: &Pki) -> anyhow::Result<reqwest::Client> {
    internet::trusting(pki.root_der())?
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(ANSWER_TIME)
        // An endpoint that was started anew must not be met by a connection to the old one.
        .pool_max_idle_per_host(0)
        .build()
        .context("an HTTP client")
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("arn", &self.shared.arn)
            .field("endpoint", &self.shared.endpoint)
            .field("attempts", &self.attempts())
            .finish_non_exhaustive()
    }
}
