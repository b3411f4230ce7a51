//! From the upload to what a subscriber says of it: the packaged function, SNS over HTTPS, and the
//! example in `examples/https-subscriber` as a process.

use anyhow::Context as _;
use scanner_tests::artefacts;
use scanner_tests::moto::REGION;
use scanner_tests::samples;
use scanner_tests::sns_https::{
    Asked, Fault, Leaf, Pki, Published, Retries, SignatureVersion, Sns, Subscription,
    SubscriptionOptions,
};
use scanner_tests::subscriber::{Home, Subscriber};
use scanner_tests::world::{UPLOADS, VERSIONED_UPLOADS, World, WorldOptions};
use serde_json::{Value, json};

use crate::support::{DEADLINE, set};

const TOPIC: &str = "arn:aws:sns:us-east-1:123456789012:Findings";

/// SNS and a subscriber to `topic_arn` that has confirmed.
async fn subscribed(
    topic_arn: &str,
    options: SubscriptionOptions,
) -> anyhow::Result<(Sns, Home, Subscriber, Subscription)> {
    let sns = Sns::start(REGION).await?;
    let home = Home::new(artefacts::subscriber()?, &sns, topic_arn)?;
    let subscriber = home.start(&sns).await?;
    let subscription = sns.subscribe(topic_arn, subscriber.url(), options)?;
    let confirmed = subscription.confirm(DEADLINE).await;
    confirmed.with_context(|| format!("it wrote:\n{}", subscriber.logs().tail(20)))?;
    Ok((sns, home, subscriber, subscription))
}

/// A finding in its text form, with the attributes that belong to it.
fn published(key: &str, status: &str) -> Published {
    let published =
        Published::now(format!("s3://{UPLOADS}/{key}  is {status}, no action executed"));
    let attributes = [("bucket", UPLOADS), ("key", key), ("status", status), ("action", "no")];
    attributes.into_iter().fold(published, |published, (name, value)| published.with(name, value))
}

/// The status of the key, or why there is none.
async fn told(subscriber: &Subscriber, key: &str) -> Value {
    subscriber.status(key, &[]).await.unwrap().1["status"].clone()
}

/// How often a signing certificate, and how often its issuer's, was asked for.
fn fetched(asked: &[Asked]) -> (usize, usize) {
    let certificates = asked.iter().filter(|asked| matches!(asked, Asked::Certificate(_)));
    let issuers = asked.iter().filter(|asked| **asked == Asked::Issuer);
    (certificates.count(), issuers.count())
}

#[tokio::test]
async fn tells_what_the_function_found_and_fetches_the_certificate_once() {
    let world = World::start(WorldOptions::deployed().unwrap()).await.unwrap();
    let options = SubscriptionOptions::default();
    let (sns, _home, subscriber, subscription) =
        subscribed(world.topic_arn(), options).await.unwrap();
    subscription.follow(world.moto()).await.unwrap();

    let odd = "folder/naïve + façade 100%/日本.txt";
    let encrypted = samples::zip_encrypted(&samples::eicar(), "secret").unwrap();
    for (key, bytes, status) in [
        ("clean.txt", samples::text(), "clean"),
        ("eicar.com", samples::eicar(), "infected"),
        ("secret.zip", encrypted, "no"),
        (odd, samples::text(), "clean"),
    ] {
        assert_eq!(told(&subscriber, key).await, "unknown");
        let before = subscription.attempts().len();
        world.put(UPLOADS, key, bytes).await.unwrap();
        world.finding_for(key, DEADLINE).await.unwrap();
        subscription.attempted(|all| all.len() > before, DEADLINE).await.unwrap();
        let (code, answer) = subscriber.status(key, &[]).await.unwrap();
        assert_eq!((code, &answer["status"]), (200, &json!(status)), "{answer}");
        assert_eq!((&answer["bucket"], &answer["key"]), (&json!(UPLOADS), &json!(key)));
        assert_eq!(answer["version"], Value::Null);
    }
    // Each version by itself.
    let mut versions = Vec::new();
    for (bytes, status) in [(samples::eicar(), "infected"), (samples::text(), "clean")] {
        let before = subscription.attempts().len();
        let version = world.put(VERSIONED_UPLOADS, "clean.txt", bytes).await.unwrap().unwrap();
        subscription.attempted(|all| all.len() > before, DEADLINE).await.unwrap();
        let which = [("bucket", VERSIONED_UPLOADS), ("version", version.as_str())];
        let (_, answer) = subscriber.status("clean.txt", &which).await.unwrap();
        assert_eq!((&answer["status"], &answer["version"]), (&json!(status), &json!(version)));
        versions.push(version);
    }
    let (code, answer) = subscriber.status("clean.txt", &[]).await.unwrap();
    assert_eq!((code, answer["choices"].as_array().unwrap().len()), (300, 3), "{answer}");
    let (_, answer) = subscriber.status("clean.txt", &[("bucket", UPLOADS)]).await.unwrap();
    assert_eq!(answer["status"], "clean");

    assert_eq!(fetched(&sns.internet().asked()), (1, 1));
    assert!(subscription.attempts().iter().all(|attempt| attempt.answer == Ok(200)));
    assert!(subscription.dead_letters().is_empty());
}

#[tokio::test]
async fn findings_in_json_and_of_signature_version_2_are_read_too() {
    let mut options = WorldOptions::deployed().unwrap();
    set(&mut options.sandbox, &[("MESSAGE_FORMAT", "json")]);
    let world = World::start(options).await.unwrap();
    let signature_version = SignatureVersion::V2;
    let options = SubscriptionOptions { signature_version, ..SubscriptionOptions::default() };
    let (_sns, _home, subscriber, subscription) =
        subscribed(world.topic_arn(), options).await.unwrap();
    subscription.follow(world.moto()).await.unwrap();
    let key = "k\u{1F600} + ü.com";
    world.put(UPLOADS, key, samples::eicar()).await.unwrap();
    subscription.attempted(|all| all.len() > 1, DEADLINE).await.unwrap();
    assert_eq!(told(&subscriber, key).await, "infected");
}

#[tokio::test]
async fn comes_again_while_the_certificate_cannot_be_had() {
    let sns = Sns::start(REGION).await.unwrap();
    let home = Home::new(artefacts::subscriber().unwrap(), &sns, TOPIC).unwrap();
    let subscriber = home.start(&sns).await.unwrap();
    let options = SubscriptionOptions { retries: Retries::when_told(3), ..Default::default() };
    let subscription = sns.subscribe(TOPIC, subscriber.url(), options).unwrap();
    for fault in [Fault::Unreachable, Fault::Redirect, Fault::Large, Fault::NoIssuer] {
        sns.internet().fault(fault);
        let document = subscription.notification(&published("k", "clean")).unwrap();
        assert_eq!(subscription.post(&document).await.answer, Ok(503), "{fault:?}");
    }
    let before = subscription.attempts().len();
    sns.internet().fault(Fault::Unreachable);
    let (asked, ()) = tokio::join!(subscription.ask_to_confirm(), async {
        for attempts in 1..=2 {
            let failed = subscription.attempted(|all| all.len() == before + attempts, DEADLINE);
            failed.await.unwrap();
            if attempts == 2 {
                sns.internet().fault(None);
            }
            subscription.retry();
        }
    });
    assert_eq!(asked.unwrap().answer, Ok(200));
    let answers = subscription.attempts().split_off(before);
    let answers: Vec<_> = answers.into_iter().map(|attempt| attempt.answer).collect();
    assert_eq!(answers, [Ok(503), Ok(503), Ok(200)]);
    assert!(subscription.is_confirmed());
    let taken = subscription.deliver(&published("k", "clean")).await.unwrap();
    assert_eq!((taken.answer, told(&subscriber, "k").await), (Ok(200), json!("clean")));
}

#[tokio::test]
async fn believes_only_what_sns_signed_for_its_topic() {
    let options = SubscriptionOptions::default();
    let (sns, _home, subscriber, subscription) = subscribed(TOPIC, options).await.unwrap();
    let document = || subscription.notification(&published("k", "infected")).unwrap();

    let mut attribute = document();
    attribute["MessageAttributes"]["status"]["Value"] = "clean".into();
    let mut message = document();
    message["Message"] = published("k", "clean").message.into();
    let mut foreign_root = document();
    let foreign = Pki::new().unwrap();
    let foreign = foreign.signing(Leaf::Good).unwrap();
    sns.internet().serve(&foreign);
    sns.sign(&mut foreign_root, Some(&foreign), SignatureVersion::V1).unwrap();
    let mut expired = document();
    let old = sns.pki().signing(Leaf::Expired).unwrap();
    sns.internet().serve(&old);
    sns.sign(&mut expired, Some(&old), SignatureVersion::V2).unwrap();
    for (forged, code) in [
        (attribute, "attributes-disagree"),
        (message, "signature"),
        (foreign_root, "certificate-foreign"),
        (expired, "certificate-expired"),
    ] {
        assert_eq!(subscription.post(&forged).await.answer, Ok(403), "{code}");
        let outcome = format!("\"outcome\":\"{code}\"");
        subscriber.logs().wait_for(|line| line.contains(&outcome), DEADLINE).await.unwrap();
    }
    // Another topic of the same SNS, whose messages are signed as ours are.
    let other = format!("{TOPIC}-of-somebody");
    let foreign = sns.subscribe(&other, subscriber.url(), options).unwrap();
    assert_eq!(foreign.ask_to_confirm().await.unwrap().answer, Ok(403));
    let finding = foreign.notification(&published("k", "clean")).unwrap();
    assert_eq!(foreign.post(&finding).await.answer, Ok(403));
    assert!(!foreign.is_confirmed());
    assert_eq!(told(&subscriber, "k").await, "unknown");
}

#[tokio::test]
async fn keeps_its_state_over_a_restart_and_takes_a_message_once() {
    let options = SubscriptionOptions::default();
    let (sns, home, mut subscriber, subscription) = subscribed(TOPIC, options).await.unwrap();
    let infected = subscription.notification(&published("k", "infected")).unwrap();
    assert_eq!(subscription.post(&infected).await.answer, Ok(200));
    assert_eq!(subscription.post(&infected).await.answer, Ok(200));
    let replay = |line: &str| line.contains("\"outcome\":\"replay\"");
    subscriber.logs().wait_for(replay, DEADLINE).await.unwrap();
    let (_, before) = subscriber.status("k", &[]).await.unwrap();

    assert!(subscriber.stop().await.unwrap().success(), "{}", subscriber.logs().tail(5));
    let subscriber = home.start(&sns).await.unwrap();
    let (_, after) = subscriber.status("k", &[]).await.unwrap();
    assert_eq!((&after, &after["status"]), (&before, &json!("infected")));
    // The ids of handled messages are gone, but it says what is known already.
    let subscription = sns.subscribe(TOPIC, subscriber.url(), options).unwrap();
    assert_eq!(subscription.post(&infected).await.answer, Ok(200));
    let known = |line: &str| line.contains("\"outcome\":\"known\"");
    subscriber.logs().wait_for(known, DEADLINE).await.unwrap();
    // An older message, which comes late, does not make it clean.
    let ten_minutes_ago = jiff::Timestamp::now() - jiff::SignedDuration::from_mins(10);
    let late = Published { timestamp: ten_minutes_ago.to_string(), ..published("k", "clean") };
    let late = subscription.notification(&late).unwrap();
    assert_eq!(subscription.post(&late).await.answer, Ok(200));
    let older = |line: &str| line.contains("\"outcome\":\"older\"");
    subscriber.logs().wait_for(older, DEADLINE).await.unwrap();
    assert_eq!(told(&subscriber, "k").await, "infected");
}

#[tokio::test]
async fn an_ended_subscription_is_not_restored() {
    let options = SubscriptionOptions::default();
    let (sns, _home, _subscriber, subscription) = subscribed(TOPIC, options).await.unwrap();
    let _ = sns.internet().asked();
    assert_eq!(subscription.end().await.unwrap().answer, Ok(200));
    assert_eq!(sns.internet().asked(), []);
}
