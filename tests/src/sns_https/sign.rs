//! What SNS signs of a message, and how. Written from the developer guide ("Verifying the
//! signatures of Amazon SNS messages"), not from the verifier in `notifier-common`; a test holds it
//! to what SNS has really signed.

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::certificates::SigningCertificate;

/// Signed fields of a notification, in their order.
const NOTIFICATION: [&str; 6] =
    ["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"];

/// Those of the two confirmations.
const CONFIRMATION: [&str; 7] =
    ["Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"];

/// The topic's `SignatureVersion`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SignatureVersion {
    /// SHA1, the default of a topic.
    #[default]
    V1,
    /// SHA256.
    V2,
}

/// The text that is signed, which is the same in both versions. Nothing else of a document is
/// under the signature: not its attributes, nor where the certificate is.
#[must_use]
pub fn signed_text(document: &Value) -> String {
    let names: &[&str] =
        if document["Type"] == "Notification" { &NOTIFICATION } else { &CONFIRMATION };
    let mut text = String::new();
    for &name in names {
        // A notification may have no subject.
        if let Some(value) = document[name].as_str() {
            text.extend([name, "\n", value, "\n"]);
        }
    }
    text
}

/// Signs `document` with `certificate`, which SNS serves in `region`.
///
/// # Errors
///
/// The key makes no such signature.
pub fn sign(
    document: &mut Value,
    certificate: &SigningCertificate,
    region: &str,
    version: SignatureVersion,
) -> anyhow::Result<()> {
    let text = signed_text(document);
    let (number, signature) = match version {
        SignatureVersion::V1 => ("1", certificate.sign_sha1(text.as_bytes())),
        SignatureVersion::V2 => ("2", certificate.sign_sha256(text.as_bytes())),
    };
    let fields = document.as_object_mut().context("a document of SNS is an object")?;
    fields.insert("SignatureVersion".to_owned(), number.into());
    fields.insert("Signature".to_owned(), STANDARD.encode(signature?).into());
    fields.insert("SigningCertURL".to_owned(), certificate.url(region).into());
    Ok(())
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{
        RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, RSA_PKCS1_2048_8192_SHA256, RsaParameters,
        UnparsedPublicKey,
    };
    use x509_parser::prelude::parse_x509_pem;

    use super::*;

    const OF_2021: &str = include_str!("../../vectors/sns/sns-2021.pem");
    const OF_2025: &str = include_str!("../../vectors/sns/sns-2025.pem");

    /// Whether the signature in `document` is by the certificate's key.
    fn holds(document: &str, certificate: &str, algorithm: &'static RsaParameters) -> bool {
        let document: Value = serde_json::from_str(document).unwrap();
        let signature = STANDARD.decode(document["Signature"].as_str().unwrap()).unwrap();
        let (_, pem) = parse_x509_pem(certificate.as_bytes()).unwrap();
        let certificate = pem.parse_x509().unwrap();
        let key = &certificate.public_key().subject_public_key.data;
        UnparsedPublicKey::new(algorithm, key)
            .verify(signed_text(&document).as_bytes(), &signature)
            .is_ok()
    }

    #[test]
    fn is_what_sns_has_really_signed() {
        let sha1 = &RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY;
        let sha256 = &RSA_PKCS1_2048_8192_SHA256;
        macro_rules! vector {
            ($name:literal) => {
                include_str!(concat!("../../vectors/sns/", $name, ".json"))
            };
        }
        for (document, certificate, algorithm) in [
            (vector!("notification-v1"), OF_2025, sha1),
            (vector!("notification-v1-subject"), OF_2025, sha1),
            (vector!("notification-v2"), OF_2025, sha256),
            (vector!("subscription-confirmation-v1"), OF_2025, sha1),
            (vector!("unsubscribe-confirmation-v2"), OF_2025, sha256),
            (vector!("notification-v1-lambda-2022"), OF_2021, sha1),
        ] {
            assert!(holds(document, certificate, algorithm), "{document}");
            let tampered = document.replace("\"TopicArn\": \"", "\"TopicArn\": \"x");
            assert!(!holds(&tampered, certificate, algorithm), "{tampered}");
        }
    }
}
