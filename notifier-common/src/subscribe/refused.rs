use crate::subscribe::certificate::SourceError;
use crate::subscribe::delivery::MAX_BODY;

/// Why a delivery is not believed. The messages say what is wrong and nothing that the sender
/// chose: they can be logged as they are.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Longer than anything that SNS sends.
    #[error("the body is longer than the {MAX_BODY} bytes that SNS sends at most")]
    TooLarge,
    /// Not JSON: a raw delivery, which nobody signed, or not from SNS.
    #[error("the body is not JSON; with raw message delivery there is nothing to verify")]
    NotJson,
    /// JSON, but no object.
    #[error("the body is JSON, but not the object that SNS sends")]
    NotAnObject,
    /// A field that every message of this type has is missing.
    #[error("the message has no `{field}`")]
    Missing {
        /// Its name.
        field: &'static str,
    },
    /// A field is no text, or has an unknown shape.
    #[error("`{field}` is not what SNS sends there")]
    WrongType {
        /// Its name.
        field: &'static str,
    },
    /// None of the three types of message.
    #[error("`Type` is none of Notification, SubscriptionConfirmation, UnsubscribeConfirmation")]
    UnknownType,
    /// From a topic that is not expected.
    #[error("`TopicArn` is not one of the expected topics")]
    Topic,
    /// A signature version that does not exist.
    #[error("`SignatureVersion` is neither 1 nor 2")]
    UnknownSignatureVersion,
    /// A signature version that the policy does not take.
    #[error("`SignatureVersion` is 1 (SHA1), which the policy does not take; set the topic's to 2")]
    OldSignatureVersion,
    /// `Timestamp` is no time.
    #[error("`Timestamp` is not a time as of RFC 3339")]
    Timestamp,
    /// Older than the policy takes.
    #[error("the message is older than the policy takes")]
    TooOld,
    /// From the future.
    #[error("the message is from the future; check this machine's clock")]
    FromTheFuture,
    /// Handled before. Answer SNS with success: it has no other way to learn that it arrived.
    #[error("a message with this id was handled before")]
    Replay,
    /// `SigningCertURL` is no URL.
    #[error("`SigningCertURL` is not a URL")]
    CertificateUrl,
    /// `SigningCertURL` is not https.
    #[error("`SigningCertURL` is not https")]
    CertificateScheme,
    /// `SigningCertURL` does not point to SNS in the topic's region.
    #[error("`SigningCertURL` does not point to SNS in the region of the topic")]
    CertificateHost,
    /// `SigningCertURL` has a port, a user, a query or a fragment.
    #[error("`SigningCertURL` has a port, a user, a query or a fragment")]
    CertificateAuthority,
    /// `SigningCertURL` is not a `.pem` file.
    #[error("`SigningCertURL` is not a .pem file")]
    CertificateExtension,
    /// The certificate cannot be had just now.
    #[error("the signing certificate, or that of its issuer, cannot be fetched")]
    CertificateUnavailable(#[source] SourceError),
    /// What was fetched is no certificate.
    #[error("the signing certificate is not an X.509 certificate in PEM")]
    CertificateMalformed,
    /// The certificate has expired.
    #[error("the signing certificate has expired")]
    CertificateExpired,
    /// The certificate is not valid yet.
    #[error("the signing certificate is not valid yet; check this machine's clock")]
    CertificateNotYetValid,
    /// No trusted root vouches for the certificate.
    #[error("no trusted root vouches for the signing certificate")]
    CertificateForeign,
    /// The certificate was issued to somebody else than SNS.
    #[error("the signing certificate was not issued to SNS")]
    CertificateName,
    /// The certificate has another key than an RSA one.
    #[error("the signing certificate has no RSA key, which SNS signs with")]
    CertificateKey,
    /// The signature is not base64.
    #[error("`Signature` is not base64")]
    SignatureEncoding,
    /// Not what SNS signed.
    #[error("the signature does not fit the message: it is not what SNS signed")]
    Signature,
    /// `SubscribeURL` does not confirm this subscription at SNS.
    #[error("`SubscribeURL` does not confirm this topic's subscription at SNS")]
    SubscribeUrl,
}

impl Refused {
    /// A stable word for logs and metrics.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLarge => "too-large",
            Self::NotJson => "not-json",
            Self::NotAnObject => "not-an-object",
            Self::Missing { .. } => "missing-field",
            Self::WrongType { .. } => "wrong-type",
            Self::UnknownType => "unknown-type",
            Self::Topic => "topic",
            Self::UnknownSignatureVersion => "unknown-signature-version",
            Self::OldSignatureVersion => "old-signature-version",
            Self::Timestamp => "timestamp",
            Self::TooOld => "too-old",
            Self::FromTheFuture => "from-the-future",
            Self::Replay => "replay",
            Self::CertificateUrl => "certificate-url",
            Self::CertificateScheme => "certificate-scheme",
            Self::CertificateHost => "certificate-host",
            Self::CertificateAuthority => "certificate-authority",
            Self::CertificateExtension => "certificate-extension",
            Self::CertificateUnavailable(_) => "certificate-unavailable",
            Self::CertificateMalformed => "certificate-malformed",
            Self::CertificateExpired => "certificate-expired",
            Self::CertificateNotYetValid => "certificate-not-yet-valid",
            Self::CertificateForeign => "certificate-foreign",
            Self::CertificateName => "certificate-name",
            Self::CertificateKey => "certificate-key",
            Self::SignatureEncoding => "signature-encoding",
            Self::Signature => "signature",
            Self::SubscribeUrl => "subscribe-url",
        }
    }

    /// Whether the same message may be believed when it comes again: answer SNS with 503 then, and
    /// with 4xx otherwise, which it takes as final (with success for [`Self::Replay`]).
    #[must_use]
    pub fn retry(&self) -> bool {
        matches!(self, Self::CertificateUnavailable(_))
    }
}
