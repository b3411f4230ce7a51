use std::collections::{BTreeSet, HashSet};
use std::mem;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use rustls_pki_types::{
    AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm, TrustAnchor, alg_id,
};
use webpki::aws_lc_rs::RSA_PKCS1_2048_8192_SHA256;

use crate::subscribe::certificate::{CertificateSource, Certificates, amazon_roots};
use crate::subscribe::delivery::{Delivery, Incoming};
use crate::subscribe::refused::Refused;

/// SNS tries an HTTP(S) delivery for at most 3,600 seconds (SNS developer guide, "Message delivery
/// retries"); the rest is for clocks.
const MAX_AGE: Duration = Duration::from_mins(65);

/// How far this machine's clock may be behind that of SNS.
const MAX_SKEW: Duration = Duration::from_mins(5);

/// Which signatures are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SignatureVersions {
    /// Version 1 (SHA1, the default of a topic) and 2 (SHA256).
    #[default]
    OneAndTwo,
    /// Only version 2: the topic has `SignatureVersion` 2.
    OnlyTwo,
}

/// What is believed.
#[derive(Debug, Clone)]
pub struct Policy {
    /// The topics that may send here. Every AWS account has topics whose messages SNS signs with
    /// the same key, so nothing else tells ours apart.
    pub topic_arns: BTreeSet<String>,
    /// Which signatures are taken.
    pub signature_versions: SignatureVersions,
    /// How old a message may be.
    pub max_age: Duration,
    /// Who may vouch for the signing certificate. Other partitions than `aws` may need others than
    /// Amazon's.
    pub trust_anchors: Vec<TrustAnchor<'static>>,
}

impl Policy {
    /// Messages of `topic_arns` in either signature version, at most 65 minutes old, signed with a
    /// certificate that Amazon's roots vouch for.
    #[must_use]
    pub fn new(topic_arns: impl IntoIterator<Item = String>) -> Self {
        Self {
            topic_arns: topic_arns.into_iter().collect(),
            signature_versions: SignatureVersions::default(),
            max_age: MAX_AGE,
            trust_anchors: amazon_roots(),
        }
    }
}

/// Tells what SNS sent from what somebody else made up. Keep one for the life of the process: it
/// remembers certificates and handled messages.
#[derive(Debug)]
pub struct Verifier<S> {
    policy: Policy,
    source: S,
    certificates: Certificates,
    handled: Mutex<Handled>,
}

/// Ids of handled messages, in two halves of which the older one is dropped whole. Only signed
/// messages get in, so nobody but SNS fills it.
#[derive(Debug, Default)]
struct Handled {
    since: Timestamp,
    newer: HashSet<String>,
    older: HashSet<String>,
}

impl<S: CertificateSource> Verifier<S> {
    /// Believes what `policy` says; certificates come from `source`.
    #[must_use]
    pub fn new(policy: Policy, source: S) -> Self {
        Self { policy, source, certificates: Certificates::default(), handled: Mutex::default() }
    }

    /// What SNS sent, if `delivery` is that. `now` is the time by which age and certificates are
    /// judged.
    ///
    /// Call [`Self::handled`] when it has been acted upon. Two deliveries of one message that
    /// come at the same moment both pass: act idempotently, as [`apply`](crate::subscribe::apply)
    /// does.
    ///
    /// # Errors
    /// Why it is not believed. What costs nothing is looked at first; nothing is fetched for a
    /// topic that is not expected.
    pub async fn verify(&self, delivery: Delivery, now: Timestamp) -> Result<Incoming, Refused> {
        if !self.policy.topic_arns.contains(&delivery.topic_arn) {
            return Err(Refused::Topic);
        }
        let algorithm: &dyn SignatureVerificationAlgorithm =
            match (delivery.signature_version.as_str(), self.policy.signature_versions) {
                ("1", SignatureVersions::OneAndTwo) => &RsaSha1,
                ("1", SignatureVersions::OnlyTwo) => return Err(Refused::OldSignatureVersion),
                ("2", _) => RSA_PKCS1_2048_8192_SHA256,
                _ => return Err(Refused::UnknownSignatureVersion),
            };
        let age = now.duration_since(delivery.published()?);
        if age.is_positive() && age.unsigned_abs() > self.policy.max_age {
            return Err(Refused::TooOld);
        }
        if age.is_negative() && age.unsigned_abs() > MAX_SKEW {
            return Err(Refused::FromTheFuture);
        }
        let signature =
            STANDARD.decode(&delivery.signature).map_err(|_| Refused::SignatureEncoding)?;

        let (url, topic_arn) = (&delivery.signing_cert_url, &delivery.topic_arn);
        let anchors = &self.policy.trust_anchors;
        let chain = self.certificates.at(url, topic_arn, anchors, &self.source, now).await?;
        let certificate = chain.certificate()?;
        certificate
            .verify_signature(algorithm, delivery.signed_text().as_bytes(), &signature)
            .map_err(|error| match error {
                webpki::Error::InvalidSignatureForPublicKey => Refused::Signature,
                _ => Refused::CertificateKey,
            })?;
        // Last, so that nobody learns from an answer which ids have been here.
        if self.lock().knows(&delivery.message_id) {
            return Err(Refused::Replay);
        }
        delivery.trust()
    }

    /// Remembers that the message with this id has been acted upon, for at least as long as the
    /// policy lets a message age; it is refused as a replay from now on. Not for what was answered
    /// with 5xx: SNS sends that again under the same id.
    pub fn handled(&self, message_id: &str, now: Timestamp) {
        self.lock().remember(message_id, now, self.policy.max_age + MAX_SKEW);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Handled> {
        self.handled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Handled {
    fn knows(&self, id: &str) -> bool {
        self.newer.contains(id) || self.older.contains(id)
    }

    /// An id stays for `window` at least and twice that at most.
    fn remember(&mut self, id: &str, now: Timestamp, window: Duration) {
        if now.duration_since(self.since).unsigned_abs() >= window {
            self.older = mem::take(&mut self.newer);
            self.since = now;
        }
        self.newer.insert(id.to_owned());
    }
}

/// Signature version 1. Certificates must not be signed like that, so webpki does not have it.
#[derive(Debug)]
struct RsaSha1;

impl SignatureVerificationAlgorithm for RsaSha1 {
    fn verify_signature(
        &self,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, public_key)
            .verify(message, signature)
            .map_err(|_| InvalidSignature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        alg_id::RSA_ENCRYPTION
    }

    /// Only asked for certificates, which this does not judge.
    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        alg_id::RSA_ENCRYPTION
    }
}
