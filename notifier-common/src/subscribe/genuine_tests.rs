//! Held to what SNS really signed: tests/vectors/sns.

use std::collections::BTreeMap;
use std::sync::Mutex;

use jiff::Timestamp;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::{Value, json};

use super::*;

const TOPIC: &str = "arn:aws:sns:us-west-2:131990247566:dongie-standard-topic";
const LEAF_2025: &[u8] = include_bytes!("../../../tests/vectors/sns/sns-2025.pem");
const LEAF_2021: &[u8] = include_bytes!("../../../tests/vectors/sns/sns-2021.pem");
const M01: &[u8] = include_bytes!("../../../tests/vectors/sns/amazon-rsa-2048-m01.pem");
const M01_URL: &str = "http://crt.r2m01.amazontrust.com/r2m01.cer";

fn vector(name: &str) -> Value {
    let text = match name {
        "notification-v1" => include_str!("../../../tests/vectors/sns/notification-v1.json"),
        "notification-v1-subject" => {
            include_str!("../../../tests/vectors/sns/notification-v1-subject.json")
        }
        "notification-v2" => include_str!("../../../tests/vectors/sns/notification-v2.json"),
        "subscription-v1" => {
            include_str!("../../../tests/vectors/sns/subscription-confirmation-v1.json")
        }
        "unsubscribe-v2" => {
            include_str!("../../../tests/vectors/sns/unsubscribe-confirmation-v2.json")
        }
        "lambda-2022" => {
            include_str!("../../../tests/vectors/sns/notification-v1-lambda-2022.json")
        }
        other => panic!("no vector {other}"),
    };
    serde_json::from_str(text).unwrap()
}

fn delivery(message: &Value) -> Delivery {
    Delivery::http(message.to_string().as_bytes()).unwrap()
}

/// Serves what SNS and Amazon Trust Services serve, and counts.
#[derive(Default)]
struct Served {
    bodies: BTreeMap<String, Vec<u8>>,
    asked: Mutex<Vec<String>>,
}

impl Served {
    fn of_2026() -> Self {
        let url = vector("notification-v1")["SigningCertURL"].as_str().unwrap().to_owned();
        let issuer = CertificateDer::from_pem_slice(M01).unwrap().to_vec();
        let bodies = BTreeMap::from([(url, LEAF_2025.to_vec()), (M01_URL.to_owned(), issuer)]);
        Self { bodies, asked: Mutex::default() }
    }
}

impl CertificateSource for &Served {
    async fn get(&self, url: &str) -> Result<Vec<u8>, SourceError> {
        self.asked.lock().unwrap().push(url.to_owned());
        tokio::task::yield_now().await; // as a network does
        self.bodies.get(url).cloned().ok_or_else(|| "404".into())
    }
}

/// A minute after it was published.
fn shortly_after(message: &Value) -> Timestamp {
    let published: Timestamp = message["Timestamp"].as_str().unwrap().parse().unwrap();
    published + jiff::SignedDuration::from_mins(1)
}

async fn verify(served: &Served, message: &Value) -> Result<Incoming, Refused> {
    let topic = message["TopicArn"].as_str().unwrap().to_owned();
    let verifier = Verifier::new(Policy::new([topic]), served);
    verifier.verify(delivery(message), shortly_after(message)).await
}

#[tokio::test]
async fn what_sns_signed_is_believed_up_to_amazons_root() {
    let served = Served::of_2026();
    for name in ["notification-v1", "notification-v1-subject", "notification-v2"] {
        let message = vector(name);
        let Incoming::Notification(heard) = verify(&served, &message).await.unwrap() else {
            panic!("{name} is a notification");
        };
        assert_eq!(heard.message, message["Message"], "{name}");
        assert_eq!(heard.subject.as_deref(), message["Subject"].as_str(), "{name}");
        assert_eq!(heard.message_id, message["MessageId"], "{name}");
        assert_eq!(heard.finding().unwrap_err().code(), "not-a-finding");
    }
    let message = vector("subscription-v1");
    let Incoming::SubscriptionConfirmation(heard) = verify(&served, &message).await.unwrap() else {
        panic!("a confirmation");
    };
    assert_eq!(heard.subscribe_url(), message["SubscribeURL"]);
    let ended = verify(&served, &vector("unsubscribe-v2")).await.unwrap();
    assert!(matches!(ended, Incoming::UnsubscribeConfirmation(_)));
}

#[tokio::test]
async fn a_certificate_is_fetched_once() {
    let served = Served::of_2026();
    let verifier = Verifier::new(Policy::new([TOPIC.to_owned()]), &served);
    let names = ["notification-v1", "notification-v2", "subscription-v1", "unsubscribe-v2"];
    let messages = names.map(vector);
    let now = shortly_after(&messages[3]); // the last of them
    let [one, two, three, four] =
        messages.each_ref().map(|message| verifier.verify(delivery(message), now));
    let (one, two, three, four) = tokio::join!(one, two, three, four);
    for verified in [one, two, three, four] {
        verified.unwrap();
    }
    let url = messages[0]["SigningCertURL"].as_str().unwrap();
    assert_eq!(*served.asked.lock().unwrap(), [url, M01_URL]);
    // A day later it is asked for again, and SNS has it no more.
    let mut later = messages[0].clone();
    later["Timestamp"] = "2026-03-08T19:55:38.903Z".into();
    let error = verifier.verify(delivery(&later), shortly_after(&later)).await.unwrap_err();
    assert_eq!(error.code(), "signature", "the time is signed");
    assert_eq!(served.asked.lock().unwrap().len(), 4);
}

#[tokio::test]
async fn an_expired_certificate_does_not_count_however_good_the_signature_is() {
    let mut message = vector("lambda-2022");
    let url = message["SigningCertUrl"].as_str().unwrap().to_owned();
    let served =
        Served { bodies: BTreeMap::from([(url, LEAF_2021.to_vec())]), ..Served::default() };
    // In August 2022 its issuer (Amazon Server CA 1B) would have been fetched.
    let error = verify(&served, &message).await.unwrap_err();
    assert_eq!(error.code(), "certificate-unavailable");
    assert!(error.retry());
    // Today it is over, which costs no second request.
    let verifier = Verifier::new(
        Policy {
            max_age: std::time::Duration::from_hours(24 * 365 * 10),
            ..Policy::new([message["TopicArn"].as_str().unwrap().to_owned()])
        },
        &served,
    );
    let event = json!({"Records": [{"EventSource": "aws:sns", "Sns": message}]}).to_string();
    let [delivery] = Delivery::lambda(event.as_bytes()).unwrap().try_into().unwrap();
    let now = "2026-11-25T00:00:00Z".parse().unwrap();
    let error = verifier.verify(delivery, now).await.unwrap_err();
    assert_eq!(error.code(), "certificate-expired");
    assert!(!error.retry());
    // And without a source of certificates, Lambda's own word is enough.
    message["Subject"] = Value::Null;
    let event = json!({"Records": [{"EventSource": "aws:sns", "Sns": message}]}).to_string();
    let [delivery] = Delivery::lambda(event.as_bytes()).unwrap().try_into().unwrap();
    assert!(matches!(delivery.trust().unwrap(), Incoming::Notification(_)));
}

/// Real messages with something changed; the Rails example reads the same file.
#[tokio::test]
async fn forgeries_of_real_messages_are_refused_each_for_its_reason() {
    let forgeries: Vec<Value> =
        serde_json::from_str(include_str!("../../../tests/vectors/sns/forgeries.json")).unwrap();
    assert!(forgeries.len() > 90);
    let mut served = Served::of_2026();
    let lambda = vector("lambda-2022");
    let url = lambda["SigningCertUrl"].as_str().unwrap().to_owned();
    served.bodies.insert(url, LEAF_2021.to_vec());
    let topics = [TOPIC, lambda["TopicArn"].as_str().unwrap()].map(str::to_owned);
    let mut wrong = Vec::new();
    for forgery in forgeries {
        let base = forgery["base"].as_str().unwrap().trim_end_matches(".json");
        let mut message =
            vector(&base.replace("-confirmation", "").replace("notification-v1-lambda", "lambda"));
        let now = shortly_after(&message);
        let fields = message.as_object_mut().unwrap();
        for (name, value) in forgery["set"].as_object().into_iter().flatten() {
            fields.insert(name.clone(), value.clone());
        }
        for name in forgery["remove"].as_array().into_iter().flatten() {
            assert!(fields.remove(name.as_str().unwrap()).is_some(), "{forgery}");
        }
        let outcome = match Delivery::http(message.to_string().as_bytes()) {
            Ok(delivery) => {
                let verifier = Verifier::new(Policy::new(topics.clone()), &served);
                verifier.verify(delivery, now).await.map_or_else(|error| error.code(), |_| "ok")
            }
            Err(error) => error.code(),
        };
        if forgery["rust"] != outcome {
            wrong.push(format!("{}: {outcome}, not {}", forgery["name"], forgery["rust"]));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn roots_of_others_do_not_vouch_for_sns() {
    let served = Served::of_2026();
    let message = vector("notification-v2");
    let mut policy = Policy::new([TOPIC.to_owned()]);
    policy.trust_anchors = webpki_roots::TLS_SERVER_ROOTS
        .iter()
        .filter(|root| !amazon_roots().contains(root))
        .cloned()
        .collect();
    assert!(policy.trust_anchors.len() > 50);
    let verifier = Verifier::new(policy, &served);
    let error = verifier.verify(delivery(&message), shortly_after(&message)).await.unwrap_err();
    // M01 says where its own issuer lies: Amazon's root, which is not trusted here.
    assert_eq!(error.code(), "certificate-unavailable");
    let asked = served.asked.lock().unwrap();
    assert_eq!(asked.last().unwrap(), "http://crt.rootca1.amazontrust.com/rootca1.cer");
}

#[test]
fn amazons_roots_are_the_five_of_amazon_trust_services() {
    assert_eq!(amazon_roots().len(), 5);
}

#[test]
fn tokens_are_in_no_debug_output() {
    let message = vector("subscription-v1");
    let token = message["Token"].as_str().unwrap();
    let delivery = delivery(&message);
    assert!(!format!("{delivery:?}").contains(&token[..16]));
    let trusted = delivery.trust().unwrap();
    assert!(!format!("{trusted:?}").contains(&token[..16]));
}

#[tokio::test]
async fn a_message_is_acted_upon_once() {
    let served = Served::of_2026();
    let verifier = Verifier::new(Policy::new([TOPIC.to_owned()]), &served);
    let message = vector("notification-v2");
    let now = shortly_after(&message);
    // Answered with 5xx: SNS comes again, and is believed again.
    for _ in 0..2 {
        verifier.verify(delivery(&message), now).await.unwrap();
    }
    verifier.handled(message["MessageId"].as_str().unwrap(), now);
    let error = verifier.verify(delivery(&message), now).await.unwrap_err();
    assert_eq!(error.code(), "replay");
}
