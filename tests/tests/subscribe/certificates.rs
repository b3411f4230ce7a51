//! Keys that are not SNS's, each refused for its reason.

use notifier_common::subscribe::Delivery;
use scanner_tests::sns_https::{
    ELSEWHERE_URL, ISSUER_URL, Leaf, Pki, SignatureVersion, SigningCertificate, sign,
};

use crate::forgeries::{changed, outcome};
use crate::support::{REGION, Served, bytes, certificate, notification, policy, verify};

#[tokio::test]
async fn the_certificate_comes_from_snss_own_host_only() {
    let path = "/SimpleNotificationService-0123456789abcdef0123456789abcdef.pem";
    let cases = [
        ("https://sns.evil.com", "certificate-host"),
        ("https://evil.com/sns.us-east-1.amazonaws.com", "certificate-host"),
        ("https://sns.us-east-1.amazonaws.com.evil.com", "certificate-host"),
        ("https://sns.us-east-1.amazonaws.com.s3.amazonaws.com", "certificate-host"),
        ("https://sns.us-east-1.amazonaws.com.cn", "certificate-host"),
        ("https://xsns.us-east-1.amazonaws.com", "certificate-host"),
        ("https://sns-us-east-1.amazonaws.com", "certificate-host"),
        ("https://sns.us-east-1.amazonaws.com.", "certificate-host"),
        ("https://sns.us-east-1.amazonaws.com@evil.com", "certificate-host"),
        ("https://evil.com#sns.us-east-1.amazonaws.com", "certificate-host"),
        ("https://evil.com\\@sns.us-east-1.amazonaws.com", "certificate-host"),
        // Cyrillic s.
        ("https://\u{455}ns.us-east-1.amazonaws.com", "certificate-host"),
        // SNS, but not where this topic is.
        ("https://sns.eu-west-1.amazonaws.com", "certificate-host"),
        ("https://sns.amazonaws.com", "certificate-host"),
        ("https://user@sns.us-east-1.amazonaws.com", "certificate-authority"),
        ("https://:secret@sns.us-east-1.amazonaws.com", "certificate-authority"),
        ("https://sns.us-east-1.amazonaws.com:8443", "certificate-authority"),
        ("http://sns.us-east-1.amazonaws.com", "certificate-scheme"),
        ("ftp://sns.us-east-1.amazonaws.com", "certificate-scheme"),
        ("file:///etc", "certificate-scheme"),
        ("data:,", "certificate-scheme"),
        ("sns.us-east-1.amazonaws.com", "certificate-url"),
        ("https://[", "certificate-url"),
    ];
    for (base, code) in cases {
        let url = format!("{base}{path}");
        let outcome = changed(|document| document["SigningCertURL"] = url.clone().into()).await;
        assert_eq!(outcome, code, "{url}");
    }
    let ends = [
        ("x.key", "certificate-extension"),
        ("x.pem.exe", "certificate-extension"),
        ("x.PEM", "certificate-extension"),
        ("", "certificate-extension"),
        ("x.key?y=z.pem", "certificate-authority"),
        ("x.pem?y=z", "certificate-authority"),
        ("x.key#z.pem", "certificate-authority"),
    ];
    for (end, code) in ends {
        let url = format!("https://sns.us-east-1.amazonaws.com/{end}");
        let outcome = changed(|document| document["SigningCertURL"] = url.clone().into()).await;
        assert_eq!(outcome, code, "{url}");
    }
}

/// `signer` signs, and is served as SNS's certificate with what is `served` beside it.
async fn signed_by(signer: &SigningCertificate, served: Served) -> String {
    let mut document = notification();
    sign(&mut document, signer, REGION, SignatureVersion::V2).unwrap();
    outcome(served, policy(), &bytes(&document)).await
}

#[tokio::test]
async fn a_certificate_counts_only_if_it_is_snss_and_holds() {
    let cases = [
        (Leaf::Good, "ok"),
        (Leaf::Expired, "certificate-expired"),
        (Leaf::NotYetValid, "certificate-not-yet-valid"),
        (Leaf::OtherName, "certificate-name"),
        (Leaf::EcKey, "certificate-key"),
    ];
    for (leaf, code) in cases {
        let signer = certificate(leaf);
        assert_eq!(signed_by(&signer, Served::of(&signer)).await, code, "{leaf:?}");
    }
}

#[tokio::test]
async fn nobody_else_can_vouch_for_snss_certificate() {
    // Everything as it should be, below a root that is not trusted.
    let theirs = Pki::new().unwrap().signing(Leaf::Good).unwrap();
    assert_eq!(signed_by(&theirs, Served::of(&theirs)).await, "certificate-foreign");
    // The same with our issuer in the place of theirs.
    let ours = certificate(Leaf::Good);
    let mut served = Served::of(&theirs);
    served.0.insert(ISSUER_URL.to_owned(), ours.issuer.clone());
    assert_eq!(signed_by(&theirs, served).await, "certificate-foreign");
    // A certificate leads to Amazon for its issuer, or nowhere: the real one is elsewhere here.
    let elsewhere = certificate(Leaf::IssuerElsewhere);
    let mut served = Served::of(&elsewhere);
    served.0.insert(ELSEWHERE_URL.to_owned(), elsewhere.issuer.clone());
    assert_eq!(signed_by(&elsewhere, served).await, "certificate-foreign");
    // An issuer that is no certificate at all.
    let mut served = Served::of(&ours);
    served.0.insert(ISSUER_URL.to_owned(), b"<html>".to_vec());
    assert_eq!(signed_by(&ours, served).await, "certificate-foreign");
}

#[tokio::test]
async fn what_is_no_certificate_is_said_to_be_none() {
    let good = certificate(Leaf::Good);
    let bodies: [&[u8]; 6] = [
        b"",
        b"<html>404</html>",
        &good.issuer,
        b"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n",
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        b"-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n",
    ];
    for body in bodies {
        let mut served = Served::of(&good);
        served.0.insert(good.url(REGION), body.to_vec());
        let outcome = signed_by(&good, served).await;
        assert_eq!(outcome, "certificate-malformed", "{}", String::from_utf8_lossy(body));
    }
}

#[tokio::test]
async fn a_certificate_that_cannot_be_had_is_a_reason_to_come_again_and_the_only_one() {
    let good = certificate(Leaf::Good);
    for missing in [good.url(REGION), ISSUER_URL.to_owned()] {
        let mut served = Served::of(&good);
        served.0.remove(&missing);
        let mut document = notification();
        sign(&mut document, &good, REGION, SignatureVersion::V2).unwrap();
        let delivery = Delivery::http(&bytes(&document)).unwrap();
        let error = verify(served, policy(), delivery).await.unwrap_err();
        assert_eq!((error.code(), error.retry()), ("certificate-unavailable", true), "{missing}");
    }
}
