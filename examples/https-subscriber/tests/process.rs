//! The program as a service manager sees it.

use std::process::Command;

use scanner_tests::moto::REGION;
use scanner_tests::sns_https::{Fault, Sns, SubscriptionOptions};
use scanner_tests::subscriber::Home;

const TOPIC: &str = "arn:aws:sns:us-east-1:123456789012:Findings";

const PROGRAM: &str = env!("CARGO_BIN_EXE_https-subscriber");

#[test]
fn bad_settings_end_the_start_and_each_is_named() {
    let output = Command::new(PROGRAM)
        .env_clear()
        .env("TOPIC_ARNS", "all")
        .env("LISTEN", "everywhere")
        .output()
        .unwrap();
    assert!(!output.status.success());
    let wrote = String::from_utf8(output.stdout).unwrap();
    let line: serde_json::Value = serde_json::from_str(&wrote).unwrap();
    let error = line["error"].as_str().unwrap();
    assert!(error.contains("2 bad setting(s): TOPIC_ARNS holds `all`"), "{error}");
    assert!(error.contains("LISTEN is `everywhere`"), "{error}");
}

#[tokio::test]
async fn answers_over_tls_and_ends_in_order() {
    let sns = Sns::start(REGION).await.unwrap();
    let home = Home::new(PROGRAM.into(), &sns, TOPIC).unwrap();
    let mut subscriber = home.start(&sns).await.unwrap();
    let health = sns.http().get(format!("{}health", subscriber.url())).send().await.unwrap();
    assert_eq!(health.status(), 200);
    let plain = subscriber.url().replace("https://", "http://");
    sns.http().get(format!("{plain}health")).send().await.unwrap_err();
    let ended = subscriber.stop().await.unwrap();
    assert!(ended.success(), "{}", subscriber.logs().tail(10));
    // Every line is a record.
    for line in subscriber.logs().lines() {
        serde_json::from_str::<serde_json::Value>(&line).expect(&line);
    }
}

#[tokio::test]
async fn writes_no_token_even_if_the_visit_fails() {
    let sns = Sns::start(REGION).await.unwrap();
    let home = Home::new(PROGRAM.into(), &sns, TOPIC).unwrap();
    let mut subscriber = home.start(&sns).await.unwrap();
    let options = SubscriptionOptions::default();
    let subscription = sns.subscribe(TOPIC, subscriber.url(), options).unwrap();
    sns.internet().fault(Fault::Confirmation);
    assert_eq!(subscription.ask_to_confirm().await.unwrap().answer, Ok(503));
    sns.internet().fault(None);
    assert_eq!(subscription.ask_to_confirm().await.unwrap().answer, Ok(200));
    subscriber.stop().await.unwrap();
    // At its most talkative.
    let wrote = subscriber.logs().lines().join("\n");
    for outcome in ["\"outcome\":\"confirm\"", "\"outcome\":\"confirmed\""] {
        assert!(wrote.contains(outcome), "{wrote}");
    }
    assert!(!wrote.contains(subscription.token()) && !wrote.contains("Token="), "{wrote}");
}
