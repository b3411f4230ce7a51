//! What a subscriber is sent: anything at all, by anybody. Input: the body of a POST, a NUL byte,
//! and what the certificate's URL serves.
//!
//! Besides crashes it looks for two things that must not be: a message believed that SNS did not
//! sign, and a sentence that reads in two ways.
#![no_main]

use std::collections::BTreeMap;
use std::sync::LazyLock;

use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use notifier_common::subscribe::{
    CertificateSource, Delivery, Incoming, Policy, ReceivedFinding, SourceError, Verifier,
};
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().build().expect("a runtime without I/O"));

/// The messages in the seeds, which SNS did sign.
const SIGNED: [&str; 5] = [
    "This notification has no subject.",
    "This message uses signature version 2.",
    "Hello! This message has a subject.",
    "Hello world",
    "You have chosen to ",
];

/// Serves one body whatever is asked for.
struct Served<'a>(&'a [u8]);

impl CertificateSource for Served<'_> {
    async fn get(&self, _url: &str) -> Result<Vec<u8>, SourceError> {
        Ok(self.0.to_vec())
    }
}

fuzz_target!(|input: &[u8]| {
    let mut parts = input.splitn(2, |byte| *byte == 0);
    let (body, certificate) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());

    let mut deliveries: Vec<Delivery> = Delivery::http(body).into_iter().collect();
    deliveries.extend(Delivery::lambda(body).into_iter().flatten());
    for delivery in deliveries {
        if let Ok(Incoming::Notification(notification)) = delivery.clone().trust() {
            let _ = notification.finding();
        }
        // As far as can be: by the policy it is expected, and it has just been sent.
        let fields: Value = serde_json::from_slice(body).unwrap_or_default();
        let fields = fields.pointer("/Records/0/Sns").unwrap_or(&fields);
        let text = |name: &str| fields[name].as_str().unwrap_or_default().to_owned();
        let now: Timestamp = text("Timestamp").parse().unwrap_or_default();
        let verifier = Verifier::new(Policy::new([text("TopicArn")]), Served(certificate));
        if let Ok(Incoming::Notification(believed)) =
            RUNTIME.block_on(verifier.verify(delivery, now))
        {
            let signed = SIGNED.iter().any(|text| believed.message.starts_with(text));
            assert!(signed, "believed what SNS did not sign: {believed:?}");
        }
    }

    if let Ok(body) = std::str::from_utf8(body)
        && let Ok(finding) = ReceivedFinding::read(body, &BTreeMap::new())
        && finding.details.is_none()
    {
        let ReceivedFinding { bucket, key, version, status, action, .. } = finding;
        let version = version.unwrap_or_default();
        let again = format!("s3://{bucket}/{key} {version} is {status}, {action} action executed");
        assert_eq!(again, body, "read in two ways");
    }
});
