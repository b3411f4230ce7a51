//! `make subscriber-demo`: upload, scan, finding, SNS's signed POST, and what the subscriber of
//! `examples/https-subscriber` then says of each file, on this machine.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use scanner_tests::artefacts;
use scanner_tests::demo::printable;
use scanner_tests::moto::REGION;
use scanner_tests::samples;
use scanner_tests::sns_https::{Sns, Subscription, SubscriptionOptions};
use scanner_tests::subscriber::{Home, Subscriber};
use scanner_tests::world::{UPLOADS, World, WorldOptions};
use tokio::signal::unix::{SignalKind, signal};

/// 128 and the number of SIGINT, as shells have it.
const INTERRUPTED: u8 = 130;

/// A cold start of the function is in it.
const DEADLINE: Duration = Duration::from_secs(180);

#[tokio::main]
#[expect(clippy::print_stderr, reason = "a program for people, with no records on its streams")]
async fn main() -> ExitCode {
    show().await.unwrap_or_else(|error| {
        eprintln!("subscriber-demo: {error:#}");
        ExitCode::FAILURE
    })
}

async fn show() -> anyhow::Result<ExitCode> {
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for ctrl-c")?;
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    // Whatever ends first, the others are dropped, and with them processes and files.
    tokio::select! {
        as_expected = run() => {
            Ok(if as_expected? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        _ = interrupt.recv() => Ok(ExitCode::from(INTERRUPTED)),
        _ = terminate.recv() => Ok(ExitCode::from(INTERRUPTED)),
    }
}

/// Says whether the subscriber told of each file what it is.
async fn run() -> anyhow::Result<bool> {
    let mut out = std::io::stdout();
    writeln!(
        out,
        "The packaged function, SNS over HTTPS and a subscriber, all on this machine.\n"
    )?;
    let world = World::start(WorldOptions::deployed()?).await?;
    let sns = Sns::start(REGION).await?;
    let home = Home::new(artefacts::subscriber()?, &sns, world.topic_arn())?;
    let mut subscriber = home.start(&sns).await?;
    let options = SubscriptionOptions::default();
    let subscription = sns.subscribe(world.topic_arn(), subscriber.url(), options)?;
    subscription.confirm(DEADLINE).await?;
    subscription.follow(world.moto()).await?;
    writeln!(
        out,
        "subscribed  {}, confirmed by its visit of the SubscribeURL\n",
        subscriber.url()
    )?;

    let encrypted = samples::zip_encrypted(&samples::eicar(), "secret")?;
    let mut as_expected = true;
    for (key, bytes, status) in [
        ("minutes.txt", samples::text(), "clean"),
        ("invoices/2026-11.pdf", samples::pdf("Invoice 4711"), "clean"),
        ("eicar.com", samples::eicar(), "infected"),
        ("secret.zip", encrypted, "no"),
        ("holiday photos/naïve + façade 日本.txt", samples::text(), "clean"),
    ] {
        writeln!(out, "put         s3://{UPLOADS}/{}", printable(key))?;
        writeln!(out, "before      {}", printable(&told(&subscriber, key).await?))?;
        upload(&world, &subscription, key, bytes).await?;
        let after = told(&subscriber, key).await?;
        writeln!(out, "after       {}\n", printable(&after))?;
        if !after.contains(&format!("\"status\":\"{status}\"")) {
            writeln!(out, "WRONG       it is {status}\n")?;
            as_expected = false;
        }
    }
    let ended = subscriber.stop().await?;
    writeln!(out, "What the subscriber wrote:")?;
    for line in subscriber.logs().lines() {
        writeln!(out, "  {}", printable(&line))?;
    }
    if as_expected && ended.success() {
        writeln!(out, "\nAll as expected. Nothing is left running.")?;
    }
    Ok(as_expected && ended.success())
}

/// Uploads, and waits for the answer to SNS's POST.
async fn upload(
    world: &World,
    subscription: &Subscription,
    key: &str,
    bytes: Vec<u8>,
) -> anyhow::Result<()> {
    let before = subscription.attempts().len();
    world.put(UPLOADS, key, bytes).await?;
    world.finding_for(key, DEADLINE).await?;
    subscription.attempted(|attempts| attempts.len() > before, DEADLINE).await
}

async fn told(subscriber: &Subscriber, key: &str) -> anyhow::Result<String> {
    let (code, body) = subscriber.status(key, &[]).await?;
    Ok(format!("GET /status/{key}: {code} {body}"))
}
