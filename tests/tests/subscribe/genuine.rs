//! Every type of message in either signature version by every way of delivery. What SNS itself
//! signed is verified beside the code (`notifier-common/src/subscribe/genuine_tests.rs`).

use notifier_common::subscribe::{Delivery, Incoming};
use notifier_common::{Action, Status};
use scanner_tests::sns_https::SignatureVersion;
use serde_json::Value;

use crate::support::{
    Served, bytes, confirmation, lambda_event, notification, policy, signed, verify,
};

fn deliveries(document: &Value) -> [(&'static str, Delivery); 3] {
    let queue = Delivery::http(&bytes(document)).unwrap(); // the same text in the message's body
    let [lambda] = Delivery::lambda(&bytes(&lambda_event(document))).unwrap().try_into().unwrap();
    [("HTTPS", Delivery::http(&bytes(document)).unwrap()), ("SQS", queue), ("Lambda", lambda)]
}

#[tokio::test]
async fn notifications_are_believed_and_read_by_every_way() {
    for version in [SignatureVersion::V1, SignatureVersion::V2] {
        for with_subject in [true, false] {
            let mut document = notification();
            if !with_subject {
                document.as_object_mut().unwrap().remove("Subject");
            }
            for (way, delivery) in deliveries(&signed(document, version)) {
                let believed = verify(Served::good(), policy(), delivery.clone()).await;
                let Incoming::Notification(heard) = believed.unwrap() else {
                    panic!("{way}, {version:?}: no notification");
                };
                let finding = heard.finding().unwrap();
                assert_eq!((&*finding.bucket, &*finding.key), ("uploads", "cv.pdf"), "{way}");
                assert_eq!((finding.status, finding.action), (Status::Infected, Action::Tag));
                assert_eq!(heard.subject.is_some(), with_subject);
                assert_eq!(delivery.trust().unwrap(), Incoming::Notification(heard), "{way}");
            }
        }
    }
}

#[tokio::test]
async fn confirmations_are_believed_by_every_way() {
    for version in [SignatureVersion::V1, SignatureVersion::V2] {
        for kind in ["SubscriptionConfirmation", "UnsubscribeConfirmation"] {
            let document = signed(confirmation(kind), version);
            for (way, delivery) in deliveries(&document) {
                let believed = verify(Served::good(), policy(), delivery).await.unwrap();
                let confirmation = match believed {
                    Incoming::SubscriptionConfirmation(confirmation)
                        if kind == "SubscriptionConfirmation" =>
                    {
                        confirmation
                    }
                    Incoming::UnsubscribeConfirmation(confirmation)
                        if kind == "UnsubscribeConfirmation" =>
                    {
                        confirmation
                    }
                    other => panic!("{way}, {version:?}, {kind}: {other:?}"),
                };
                assert_eq!(confirmation.subscribe_url(), document["SubscribeURL"]);
            }
        }
    }
}

#[tokio::test]
async fn a_certificate_that_comes_with_its_issuer_needs_no_second_request() {
    let mut served = Served::good();
    let issuer = served.0.remove(scanner_tests::sns_https::ISSUER_URL).unwrap();
    let pem = served.0.values_mut().next().unwrap();
    pem.extend(pem_of(&issuer).into_bytes());
    let document = signed(notification(), SignatureVersion::V2);
    let delivery = Delivery::http(&bytes(&document)).unwrap();
    verify(served, policy(), delivery).await.unwrap();
}

fn pem_of(der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
}
