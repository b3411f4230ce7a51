//! What every stand-in is held to. A suite is a list of cases that know nothing of whom they
//! judge, so that the double and the real part are judged by the same ones.

mod clamd;
mod event_bus;
mod s3;
mod sns;

use anyhow::ensure;
use futures_util::future::BoxFuture;
use scanner_tests::fake_clamd::{FakeClamd, Reply};
use scanner_tests::fake_s3::{FakeS3, Versioning};
use scanner_tests::layer_clamd::LayerClamd;
use scanner_tests::moto::Moto;

/// A case by its name.
type Case<'a> = (&'static str, BoxFuture<'a, anyhow::Result<()>>);

/// Pairs each case with its name: `cases![world; a_case, another_case]`.
macro_rules! cases {
    ($world:expr; $($case:ident),+ $(,)?) => {
        vec![$((stringify!($case), Box::pin($case($world)) as _)),+]
    };
}
pub(crate) use cases;

#[tokio::test]
async fn fake_s3_is_an_s3() {
    let s3 = FakeS3::new().bucket(s3::PLAIN, Versioning::Off).bucket(s3::VERSIONED, Versioning::On);
    judge(s3::cases(&s3.client()), &[]).await;
}

#[tokio::test]
async fn fake_s3_on_a_socket_is_an_s3() {
    let s3 = FakeS3::new().bucket(s3::PLAIN, Versioning::Off).bucket(s3::VERSIONED, Versioning::On);
    let served = s3.serve().expect("a port is free");
    judge(s3::cases(&served.client()), &[]).await;
}

#[tokio::test]
async fn moto_is_an_s3() {
    let moto = Moto::start().await.expect("moto starts");
    let client = moto.s3();
    s3::create_buckets(&client).await.expect("moto makes the buckets");
    judge(s3::cases(&client), s3::MOTO_DEVIATES).await;
}

#[tokio::test]
async fn fake_clamd_is_a_clamd() {
    let clamd = FakeClamd::start().expect("starts");
    judge(clamd::cases(&clamd.socket()), &[]).await;

    let limited = clamd::Limited { socket: clamd.socket(), stream_max: 1024 * 1024 };
    clamd.next_stream(Reply::SizeLimit(limited.stream_max.into()));
    judge(clamd::limit_cases(&limited), &[]).await;
}

#[tokio::test]
async fn the_layers_clamd_is_a_clamd() {
    let stream_max = 2 * 1024 * 1024;
    let clamd = LayerClamd::start(stream_max.into()).await.expect("starts");
    judge(clamd::cases(clamd.socket()), &[]).await;

    let limited = clamd::Limited { socket: clamd.socket().to_owned(), stream_max };
    judge(clamd::limit_cases(&limited), &[]).await;
}

#[tokio::test]
async fn fake_sns_is_an_sns() {
    judge(sns::cases(&sns::InMemory::new()), &[]).await;
}

#[tokio::test]
async fn moto_is_an_sns() {
    let moto = Moto::start().await.expect("moto starts");
    let served = sns::Served::on(&moto).await.expect("moto makes a topic with a subscriber");
    judge(sns::cases(&served), sns::MOTO_DEVIATES).await;
}

#[tokio::test]
async fn fake_event_bridge_is_an_event_bridge() {
    judge(event_bus::cases(&event_bus::InMemory::new()), &[]).await;
}

#[tokio::test]
async fn moto_is_an_event_bridge() {
    let moto = Moto::start().await.expect("moto starts");
    let served = event_bus::Served::on(&moto).await.expect("moto makes a rule");
    judge(event_bus::cases(&served), event_bus::MOTO_DEVIATES).await;
}

#[tokio::test]
async fn documented_patterns_get_what_the_documentation_says() {
    let moto = Moto::start().await.expect("moto starts");
    event_bus::documented_patterns_match(&moto).await.expect("each gets its events");
}

/// Runs every case and reports all that fail. `deviations` name the cases that must fail here,
/// each with its reason: one that passes is no deviation any more and is reported as well.
async fn judge(cases: Vec<Case<'_>>, deviations: &[(&str, &str)]) {
    let mut failures = Vec::new();
    for (name, _) in deviations {
        if !cases.iter().any(|(case, _)| case == name) {
            failures.push(format!("{name}: is named as a deviation, but there is no such case"));
        }
    }
    for (name, case) in cases {
        let known = deviations.iter().find(|(deviation, _)| *deviation == name);
        match (case.await, known) {
            (Ok(()), None) | (Err(_), Some(_)) => {}
            (Err(error), None) => failures.push(format!("{name}: {error:#}")),
            (Ok(()), Some((_, reason))) => {
                failures.push(format!("{name}: passes; drop it from the deviations ({reason})"));
            }
        }
    }
    assert!(failures.is_empty(), "{} cases:\n{}", failures.len(), failures.join("\n"));
}

/// An error that names both sides, unless they are equal.
fn same<T: PartialEq + std::fmt::Debug>(what: &str, got: T, want: T) -> anyhow::Result<()> {
    ensure!(got == want, "{what}: got {got:?}, want {want:?}");
    Ok(())
}
