//! SNS, and one subscription of an HTTP(S) endpoint: from its confirmation to its end.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::Value;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

use super::certificates::{Leaf, Pki, SigningCertificate};
use super::delivery::{Attempt, Shared, SubscriptionOptions};
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

/// A subscription, which has to be confirmed. Its deliveries end when it is dropped.
pub struct Subscription {
    shared: Arc<Shared>,
    following: Mutex<Option<JoinHandle<()>>>,
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

    /// Lets one delivery try again, now or when it next fails ([`Retries::when_told`](super::Retries::when_told)).
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
