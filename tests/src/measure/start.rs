//! The function's start, measured at the other end: when it asks Lambda for its first invocation.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

use super::engine::Engine;
use super::{Table, median, milliseconds};
use crate::confinement::{LOADER, Stage};
use crate::fake_s3::{FakeS3, Versioning};
use crate::generations::{self, Generation};
use crate::processes;
use crate::sandbox::{self, BOOTSTRAP, SandboxOptions};

const RUNS: usize = 20;

/// Lambda's runtime API: what a function that has started asks for.
/// <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>
const NEXT: &str = "GET /2018-06-01/runtime/invocation/next ";

/// A start takes a fraction of a second; more than this is one that never ends.
const DEADLINE: Duration = Duration::from_secs(30);

pub(super) async fn measure(table: &mut Table<'_, impl Write>) -> anyhow::Result<()> {
    // Bubblewrap ends with the thread that starts it, so all of it is one thread's work.
    let s3 = FakeS3::new().bucket(&generations::BUCKET, Versioning::Off);
    Generation::sharded(1, jiff::Timestamp::now())?.publish_in(&s3);
    let served = s3.serve()?;
    let env = served.env();
    let starts = tokio::task::spawn_blocking(|| starts(env));
    let starts = starts.await.context("measuring starts")??;
    let mut engines = Vec::new();
    for _ in 0..RUNS {
        engines.push(Engine::start().await?.took);
    }
    let exec = median(&starts.iter().map(|start| start.taken).collect::<Vec<_>>());
    let processor = median(&starts.iter().map(|start| start.processor).collect::<Vec<_>>());
    let engine = median(&engines);

    table.section(&format!("start (medians of {RUNS})"))?;
    table.row(
        &milliseconds(exec),
        "from exec of the function to its first GET .../invocation/next, clamd proven ready",
    )?;
    table.row(
        &milliseconds(engine),
        "of which clamd: from its start until it has found EICAR, measured alone",
    )?;
    table.row(
        &milliseconds(exec.saturating_sub(engine)),
        "the function's share: the difference (both begin at once, so some of it is hidden)",
    )?;
    table.row(
        &milliseconds(processor),
        "processor time of the function itself until then, without clamd",
    )
}

struct Start {
    /// From exec to the first request.
    taken: Duration,
    /// What the function's process used of it.
    processor: Duration,
}

fn starts(s3: BTreeMap<String, String>) -> anyhow::Result<Vec<Start>> {
    let api = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("binding a port")?;
    let address = api.local_addr().context("asking for the port")?;
    let variables = [
        ("AWS_LAMBDA_RUNTIME_API", address.to_string()),
        ("AWS_ACCESS_KEY_ID", "test".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "test".to_owned()),
    ];
    let mut options = SandboxOptions::deployed()?;
    options.env.extend(variables.map(|(name, value)| (name.to_owned(), value)));
    options.env.extend(s3);
    let stage = Stage::new()?;
    let mut function = sandbox::command(&options, &stage, None, &[BOOTSTRAP])?;
    let second = Stage::new()?;
    let mut nothing = sandbox::command(&options, &second, None, &[LOADER, "--version"])?;

    let connections = connections(api);
    let mut starts = Vec::new();
    for _ in 0..RUNS {
        // The confinement's own start is taken off: that of a program which does nothing.
        let confinement = until_it_writes(&mut nothing)?;
        let mut start = until_next(&mut function, &connections)?;
        start.taken = start.taken.saturating_sub(confinement);
        starts.push(start);
    }
    Ok(starts)
}

fn until_it_writes(command: &mut Command) -> anyhow::Result<Duration> {
    let begin = Instant::now();
    let mut child = command.stdout(Stdio::piped()).spawn().context("starting bubblewrap")?;
    let mut byte = [0];
    let read = child.stdout.take().context("a pipe")?.read_exact(&mut byte);
    let took = begin.elapsed();
    sandbox::end(&mut child);
    read.context("reading from a program that says its version")?;
    Ok(took)
}

fn until_next(command: &mut Command, connections: &Receiver<TcpStream>) -> anyhow::Result<Start> {
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let begin = Instant::now();
    let mut child = command.spawn().context("starting bubblewrap")?;
    let asked = asked(connections).and_then(|_connection| {
        let taken = begin.elapsed();
        Ok(Start { taken, processor: processor_time(&child)? })
    });
    sandbox::end(&mut child);
    asked
}

/// Waits for the first request, which must be the one for an invocation, and leaves it unanswered.
fn asked(connections: &Receiver<TcpStream>) -> anyhow::Result<TcpStream> {
    let connection = connections.recv_timeout(DEADLINE).context("the function does not start")?;
    connection.set_read_timeout(Some(DEADLINE)).context("setting a deadline")?;
    let mut line = String::new();
    BufReader::new(&connection).read_line(&mut line).context("reading the function's request")?;
    ensure!(line.starts_with(NEXT), "the function asked for something else: {line:?}");
    Ok(connection)
}

/// Every connection to `api`. The thread behind it lives as long as this program.
fn connections(api: TcpListener) -> Receiver<TcpStream> {
    let (send, receive) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        while let Ok((connection, _)) = api.accept() {
            if send.send(connection).is_err() {
                break;
            }
        }
    });
    receive
}

fn processor_time(bubblewrap: &Child) -> anyhow::Result<Duration> {
    let is_function =
        |pid: &u32| processes::arguments(*pid).first().is_some_and(|name| name == BOOTSTRAP);
    let Some(pid) = processes::descendants(bubblewrap.id()).into_iter().find(is_function) else {
        bail!("the function has ended");
    };
    processes::processor_time(pid)
}
