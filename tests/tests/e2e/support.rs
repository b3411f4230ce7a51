//! What the themes share.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use anyhow::Context as _;
use aws_sdk_sqs::types::QueueAttributeName;
use scanner_tests::gate::Gate;
use scanner_tests::generations::Generation;
use scanner_tests::processes;
use scanner_tests::sandbox::{Sandbox, SandboxOptions};
use scanner_tests::world::{World, WorldOptions};
use serde_json::Value;
use tempfile::TempDir;

/// Long enough that no test meets it; it only keeps a broken one from hanging.
pub(crate) const DEADLINE: Duration = Duration::from_secs(90);

/// How long a failed message stays out of sight here: SQS's shortest, as tests wait for it.
pub(crate) const VISIBILITY: Duration = Duration::from_secs(1);

/// A world in which what failed comes again soon.
pub(crate) async fn world(change: impl FnOnce(&mut SandboxOptions)) -> anyhow::Result<World> {
    let mut options = WorldOptions::deployed()?;
    change(&mut options.sandbox);
    World::start(WorldOptions { visibility: VISIBILITY, ..options }).await
}

/// A world with other definitions, or with none.
pub(crate) async fn world_of(generation: Option<Generation>) -> anyhow::Result<World> {
    let options = WorldOptions::deployed()?;
    World::start(WorldOptions { generation, visibility: VISIBILITY, ..options }).await
}

/// A folder that the sandbox may read.
pub(crate) fn open_folder() -> anyhow::Result<TempDir> {
    let mode = std::fs::Permissions::from_mode(0o755);
    tempfile::Builder::new().permissions(mode).tempdir().context("making a temporary folder")
}

/// Sets variables of the function's environment.
pub(crate) fn set(options: &mut SandboxOptions, variables: &[(&str, &str)]) {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    options.env.extend(variables.iter().map(owned));
}

/// The function's records of `key` so far, oldest first.
pub(crate) fn records(sandbox: &Sandbox, key: &str) -> Vec<Value> {
    let lines = sandbox.logs().lines();
    lines.iter().filter_map(|line| record(line, key)).collect()
}

/// The first record of `key` with this outcome.
pub(crate) async fn record_of(
    sandbox: &Sandbox,
    key: &str,
    outcome: &str,
) -> anyhow::Result<Value> {
    let wanted = |line: &str| record(line, key).filter(|record| record["outcome"] == outcome);
    let line = sandbox.logs().wait_for(|line| wanted(line).is_some(), DEADLINE).await?;
    wanted(&line).context("the record just found")
}

fn record(line: &str, key: &str) -> Option<Value> {
    let value: Value = serde_json::from_str(line).ok()?;
    (value["key"] == key && value["outcome"].is_string()).then_some(value)
}

/// The function's errors that ended a start, each as its text.
pub(crate) fn failed_starts(sandbox: &Sandbox) -> Vec<String> {
    let of = |line: &String| {
        let value: Value = serde_json::from_str(line).ok()?;
        let ended = value["message"] == "the function cannot start" && value["level"] == "ERROR";
        ended.then(|| value["error"].as_str().map(str::to_owned))?
    };
    sandbox.logs().lines().iter().filter_map(of).collect()
}

/// Waits for a message in the dead-letter queue whose body holds `text`.
pub(crate) async fn dead_letter(world: &World, text: &str) -> anyhow::Result<String> {
    let sqs = world.moto().sqs();
    let found = async {
        loop {
            let request = sqs.receive_message().queue_url(&world.dead_letters().url);
            let request = request.max_number_of_messages(10).wait_time_seconds(1);
            let received = request.send().await.context("receiving dead letters")?;
            let bodies = received.messages.unwrap_or_default().into_iter();
            let mut bodies = bodies.filter_map(|message| message.body);
            if let Some(body) = bodies.find(|body| body.contains(text)) {
                return Ok(body);
            }
        }
    };
    let found = tokio::time::timeout(DEADLINE, found).await;
    let wrote = world.sandbox().logs().tail(20);
    found.with_context(|| format!("no dead letter with {text:?}; the function wrote:\n{wrote}"))?
}

/// How many messages are in a queue, those that somebody has in hand included.
pub(crate) async fn queued(world: &World, url: &str) -> anyhow::Result<u32> {
    let attributes = [
        QueueAttributeName::ApproximateNumberOfMessages,
        QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
    ];
    let request = world.moto().sqs().get_queue_attributes().queue_url(url);
    let answer = request.set_attribute_names(Some(attributes.to_vec())).send().await?;
    let answer = answer.attributes.context("a queue without attributes")?;
    let numbers = attributes.iter().map(|name| {
        let number = answer.get(name).with_context(|| format!("no {name} of {url}"))?;
        number.parse::<u32>().with_context(|| format!("{name} is {number}"))
    });
    numbers.sum()
}

/// Sends a body to the queue as it is, and gives the message's id.
pub(crate) async fn send(world: &World, body: &Value) -> anyhow::Result<String> {
    let request = world.moto().sqs().send_message().queue_url(&world.scan_queue().url);
    let sent = request.message_body(body.to_string()).send().await.context("sending")?;
    sent.message_id.context("a message without an id")
}

/// Puts a gate between the function and S3 that lets the first megabyte of an answer through.
/// The new function has scanned an object when this returns.
pub(crate) async fn gated(world: &mut World) -> anyhow::Result<Gate> {
    let server = world.relay().endpoint().trim_start_matches("http://").parse()?;
    let gate = Gate::before(server, 1 << 20).await?;
    let endpoint = gate.endpoint();
    world.replace_sandbox(|options| set(options, &[("AWS_ENDPOINT_URL", &endpoint)])).await?;
    world.put(scanner_tests::world::UPLOADS, "warm-up", "a warm sandbox").await?;
    world.finding_for("warm-up", DEADLINE).await?;
    Ok(gate)
}

/// The only clamd of the base shard.
pub(crate) fn clamd(sandbox: &Sandbox) -> anyhow::Result<u32> {
    let base = |pid: &u32| {
        processes::arguments(*pid).iter().any(|argument| argument.contains("/base/clamd/"))
    };
    let pids: Vec<_> = sandbox.clamd_pids().into_iter().filter(base).collect();
    anyhow::ensure!(pids.len() == 1, "want one clamd of the base shard, there are {pids:?}");
    Ok(pids[0])
}

/// Waits until clamd has written a part of a stream to its temporary folder.
pub(crate) async fn stream_begun(clamd: u32) -> anyhow::Result<()> {
    let folder = format!("/proc/{clamd}/cwd/tmp");
    let written = async {
        let mut poll = tokio::time::interval(Duration::from_millis(5));
        loop {
            poll.tick().await;
            let entries =
                std::fs::read_dir(&folder).with_context(|| format!("reading {folder}"))?;
            // One that is gone again has no length.
            let lengths = entries.filter_map(|entry| Some(entry.ok()?.metadata().ok()?.len()));
            if lengths.max() > Some(0) {
                return Ok(());
            }
        }
    };
    let written = tokio::time::timeout(DEADLINE, written).await;
    written.with_context(|| format!("nothing was written to {folder}"))?
}

/// A tag set of the verdict only.
pub(crate) fn verdict_tag(status: &str) -> BTreeMap<String, String> {
    BTreeMap::from([("s3-virusscan".to_owned(), status.to_owned())])
}
