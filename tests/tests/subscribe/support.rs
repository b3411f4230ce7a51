//! Messages signed by a certificate of the tests' own, and a verifier that trusts its root.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use jiff::Timestamp;
use notifier_common::subscribe::{
    CertificateSource, Delivery, Incoming, Policy, Refused, SourceError, Verifier, roots_of_pem,
};
use scanner_tests::sns_https::{ISSUER_URL, Leaf, Pki, SignatureVersion, SigningCertificate, sign};
use serde_json::{Value, json};

pub(crate) const REGION: &str = "us-east-1";
pub(crate) const TOPIC: &str = "arn:aws:sns:us-east-1:123456789012:Findings";
/// Signed by SNS as well, and expected; another one than [`TOPIC`].
pub(crate) const OTHER_TOPIC: &str = "arn:aws:sns:us-east-1:123456789012:Alarms";
pub(crate) const PUBLISHED: &str = "2026-11-25T12:00:00.000Z";

/// Keys take their time to be made, so all tests have the same.
pub(crate) static PKI: LazyLock<Pki> = LazyLock::new(|| Pki::new().unwrap());
static GOOD: LazyLock<SigningCertificate> = LazyLock::new(|| certificate(Leaf::Good));

pub(crate) fn certificate(leaf: Leaf) -> SigningCertificate {
    PKI.signing(leaf).unwrap()
}

/// What is served, by URL.
#[derive(Debug, Clone, Default)]
pub(crate) struct Served(pub(crate) BTreeMap<String, Vec<u8>>);

impl Served {
    /// A signing certificate where SNS serves it, and its issuer.
    pub(crate) fn of(certificate: &SigningCertificate) -> Self {
        let leaf = (certificate.url(REGION), certificate.pem.clone().into_bytes());
        Self(BTreeMap::from([leaf, (ISSUER_URL.to_owned(), certificate.issuer.clone())]))
    }

    pub(crate) fn good() -> Self {
        Self::of(&GOOD)
    }
}

impl CertificateSource for Served {
    async fn get(&self, url: &str) -> Result<Vec<u8>, SourceError> {
        self.0.get(url).cloned().ok_or_else(|| format!("nothing at {url}").into())
    }
}

pub(crate) fn policy() -> Policy {
    Policy {
        trust_anchors: roots_of_pem(PKI.root_pem().as_bytes()).unwrap(),
        ..Policy::new([TOPIC.to_owned(), OTHER_TOPIC.to_owned()])
    }
}

/// A minute after the messages here were published.
pub(crate) fn now() -> Timestamp {
    PUBLISHED.parse::<Timestamp>().unwrap() + jiff::SignedDuration::from_mins(1)
}

pub(crate) async fn verify(
    served: Served,
    policy: Policy,
    delivery: Delivery,
) -> Result<Incoming, Refused> {
    Verifier::new(policy, served).verify(delivery, now()).await
}

pub(crate) fn signed(mut document: Value, version: SignatureVersion) -> Value {
    sign(&mut document, &GOOD, REGION, version).unwrap();
    document
}

/// A finding as the topic carries it, not signed yet.
pub(crate) fn notification() -> Value {
    let attribute = |value: &str| json!({"Type": "String", "Value": value});
    json!({
        "Type": "Notification",
        "MessageId": "c0e5a280-53c9-5a98-93bb-c0a560b3d192",
        "TopicArn": TOPIC,
        "Subject": "s3-virusscan s3://uploads",
        "Message": "s3://uploads/cv.pdf  is infected, tag action executed",
        "Timestamp": PUBLISHED,
        "UnsubscribeURL": "https://sns.us-east-1.amazonaws.com/?Action=Unsubscribe",
        "MessageAttributes": {
            "bucket": attribute("uploads"),
            "key": attribute("cv.pdf"),
            "status": attribute("infected"),
            "action": attribute("tag"),
            "finding": attribute("Eicar"),
        },
    })
}

pub(crate) fn confirmation(kind: &str) -> Value {
    let token = "2336412f37fb687f5d51e6e2425929f5";
    json!({
        "Type": kind,
        "MessageId": "f3f2fc87-c426-4c2f-9044-b55890c0939c",
        "Token": token,
        "TopicArn": TOPIC,
        "Message": "You have chosen to subscribe to the topic.\nTo confirm, visit the SubscribeURL.",
        "SubscribeURL": format!(
            "https://sns.us-east-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn={TOPIC}\
             &Token={token}"
        ),
        "Timestamp": PUBLISHED,
    })
}

pub(crate) fn bytes(document: &Value) -> Vec<u8> {
    document.to_string().into_bytes()
}

/// The event of a Lambda function, with the two fields that are called otherwise there.
pub(crate) fn lambda_event(document: &Value) -> Value {
    let mut sns = document.clone();
    let fields = sns.as_object_mut().unwrap();
    for (http, lambda) in
        [("SigningCertURL", "SigningCertUrl"), ("UnsubscribeURL", "UnsubscribeUrl")]
    {
        if let Some(url) = fields.remove(http) {
            fields.insert(lambda.to_owned(), url);
        }
    }
    if !fields.contains_key("Subject") {
        fields.insert("Subject".to_owned(), Value::Null);
    }
    json!({"Records": [{"EventVersion": "1.0", "EventSource": "aws:sns", "Sns": sns}]})
}
