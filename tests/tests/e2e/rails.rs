//! From the upload to what a Rails app says of it: the packaged function, SNS over HTTPS, and the
//! app around `examples/rails` as a process. Each rule of the example is tried in its own suite
//! (`examples/rails/test`).

use anyhow::Context as _;
use scanner_tests::moto::REGION;
use scanner_tests::rails::Rails;
use scanner_tests::samples;
use scanner_tests::sns_https::{Retries, SignatureVersion, Sns, SubscriptionOptions};
use scanner_tests::world::{UPLOADS, World, WorldOptions};
use serde_json::json;

use crate::support::{DEADLINE, set};

/// An upload of each kind: its key as Active Storage makes them, the enum, what the app shows, and
/// how it answers where the file is served.
fn uploads() -> [(&'static str, Vec<u8>, &'static str, &'static str, u16); 3] {
    let encrypted = samples::zip_encrypted(&samples::eicar(), "secret").unwrap();
    [
        ("xtapjjcjiudrlk3tmwyjgpuobab1", samples::text(), "clean", "clean", 302),
        ("xtapjjcjiudrlk3tmwyjgpuobab2", samples::eicar(), "infected", "infected", 403),
        ("xtapjjcjiudrlk3tmwyjgpuobab3", encrypted, "no_scan", "unscannable", 403),
    ]
}

async fn shows_what_the_function_found(format: &str, signature_version: SignatureVersion) {
    let mut options = WorldOptions::deployed().unwrap();
    set(&mut options.sandbox, &[("MESSAGE_FORMAT", format)]);
    let world = World::start(options).await.unwrap();
    let sns = Sns::start(REGION).await.unwrap();
    let rails = Rails::start(&sns, world.topic_arn(), UPLOADS).await.unwrap();
    let options = SubscriptionOptions {
        signature_version,
        retries: Retries::when_told(1),
        ..SubscriptionOptions::default()
    };
    let subscription = sns.subscribe(world.topic_arn(), &rails.endpoint(), options).unwrap();
    let confirmed = subscription.confirm(DEADLINE).await;
    confirmed.with_context(|| rails.logs().tail(20)).unwrap();
    subscription.follow(world.moto()).await.unwrap();

    for (key, bytes, status, state, served) in uploads() {
        let before = subscription.attempts().len();
        world.put(UPLOADS, key, bytes).await.unwrap();
        // The scan is faster than the transaction: SNS is asked to come again, and does.
        subscription.attempted(|all| all.len() == before + 1, DEADLINE).await.unwrap();
        rails.create_blob(key).await.unwrap();
        assert_eq!(rails.blob(key).await.unwrap()["state"], "waiting");
        assert_eq!(rails.serves(key).await.unwrap(), 403, "{key} is held back");
        subscription.retry();
        subscription.attempted(|all| all.len() == before + 2, DEADLINE).await.unwrap();
        let answers: Vec<_> =
            subscription.attempts().split_off(before).into_iter().map(|it| it.answer).collect();
        assert_eq!(answers, [Ok(503), Ok(200)]);

        let blob = rails.blob(key).await.unwrap();
        assert_eq!((&blob["status"], &blob["state"]), (&json!(status), &json!(state)), "{blob}");
        assert_eq!(rails.serves(key).await.unwrap(), served, "{key}, {status}");
    }
}

#[tokio::test]
async fn a_rails_app_shows_what_the_function_found() {
    shows_what_the_function_found("widdix", SignatureVersion::V1).await;
}

#[tokio::test]
async fn a_rails_app_reads_json_and_signature_version_2_as_well() {
    shows_what_the_function_found("json", SignatureVersion::V2).await;
}
