//! The packaged function and layer, run as Lambda runs them: read-only root, layer at `/opt`,
//! bounded `/tmp`, no privilege, and the real Runtime API of AWS's Runtime Interface Emulator.
//!
//! Unlike Lambda: memory is not limited (measure it with [`crate::processes::peak_memory`]),
//! nothing is frozen between invocations, and INIT begins with the first invocation.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::artefacts::{self, Arch};
use crate::confinement::{self, Stage};
use crate::logs::Logs;
use crate::moto::REGION;
use crate::processes;
use crate::template::{SCANNER, Template};

/// The packaged function, as it sees itself.
pub(crate) const BOOTSTRAP: &str = "/var/task/bootstrap";
const EMULATOR: &str = "/usr/local/bin/aws-lambda-rie";
/// Where Amazon Linux 2023 has its certificate authorities.
const CA_BUNDLE: &str = "/etc/pki/tls/certs/ca-bundle.crt";
/// The search path that Lambda gives to the programs of `provided.al2023`.
const LIBRARY_PATH: &str =
    "/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:/var/task:/var/task/lib:/opt/lib";
/// The emulator listens within milliseconds; more than this is one that never will.
const START_DEADLINE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(10);

/// What to run and how: as the template deploys it, but for what a test changes.
#[derive(Clone, Debug)]
pub struct SandboxOptions {
    /// The function's name.
    pub name: String,
    /// The function's environment, beside what Lambda itself sets.
    pub env: BTreeMap<String, String>,
    /// The size of `/tmp`; Lambda gives 512 MiB to 10 GiB.
    pub tmp_bytes: u64,
    /// After this an invocation is ended. Whole seconds.
    pub timeout: Duration,
    /// What the function is told that it has. Not enforced.
    pub memory_mb: u32,
    /// The executable; `None` is the packaged one.
    pub bootstrap: Option<PathBuf>,
    /// The folder to be `/opt`; `None` is the built layer.
    pub layer: Option<PathBuf>,
}

impl SandboxOptions {
    /// The scanner, as the built template has it.
    ///
    /// # Errors
    ///
    /// The template is not built; the message names the make target.
    pub fn deployed() -> anyhow::Result<Self> {
        Self::of(&Template::built()?)
    }

    /// The scanner of a template.
    ///
    /// # Errors
    ///
    /// The template does not deploy it.
    pub fn of(template: &Template) -> anyhow::Result<Self> {
        Self::of_function(template, SCANNER)
    }

    /// Another function of a template, which needs [`SandboxOptions::bootstrap`].
    ///
    /// # Errors
    ///
    /// The template does not deploy it.
    pub fn of_function(template: &Template, logical_id: &str) -> anyhow::Result<Self> {
        let function = template.function(logical_id)?;
        Ok(Self {
            name: function.name,
            env: function.env,
            tmp_bytes: function.tmp_bytes,
            timeout: function.timeout,
            memory_mb: function.memory_mb,
            bootstrap: None,
            layer: None,
        })
    }
}

/// How an invocation ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Invocation {
    /// The function's response.
    Response(Value),
    /// The function failed, died or ran out of time.
    FunctionError {
        /// `Sandbox.Timedout`, `Runtime.ExitError`, or what the function named.
        error_type: String,
        /// The text with it.
        message: String,
    },
}

/// One running sandbox. Everything in it is killed when this value is dropped.
#[derive(Debug)]
pub struct Sandbox {
    address: SocketAddr,
    bubblewrap: Mutex<Child>,
    http: reqwest::Client,
    logs: Logs,
    /// A sandbox handles one invocation at a time; Lambda would start a second one.
    one_at_a_time: tokio::sync::Mutex<()>,
    /// Outlives the processes that run from it: fields are dropped after `Drop::drop`.
    _stage: Stage,
}

impl Sandbox {
    /// Starts the emulator. The function itself starts with the first invocation.
    ///
    /// # Errors
    ///
    /// A part is not built or not installed (the message says what to run), or the emulator does
    /// not listen within 30 s (the message carries what it wrote).
    pub async fn start(options: SandboxOptions) -> anyhow::Result<Self> {
        let stage = Stage::new()?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        let runtime_api = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        let mut command = emulated(&options, &stage, address, runtime_api)?;
        let logs = Logs::new();
        let child = spawn(&mut command, &logs)?;
        let http = reqwest::Client::builder().no_proxy().build().context("an HTTP client")?;
        let sandbox = Self {
            address,
            bubblewrap: Mutex::new(child),
            http,
            logs,
            one_at_a_time: tokio::sync::Mutex::new(()),
            _stage: stage,
        };
        tokio::time::timeout(START_DEADLINE, sandbox.listening())
            .await
            .unwrap_or_else(|_| bail!("it did not listen within {START_DEADLINE:?}"))
            .with_context(|| format!("starting a sandbox; it wrote:\n{}", sandbox.logs.tail(20)))?;
        Ok(sandbox)
    }

    /// Invokes the function with `event` and waits for the end. The first invocation takes the
    /// cold start with it.
    ///
    /// # Errors
    ///
    /// The emulator could not be asked. That the function failed is no error here.
    pub async fn invoke(&self, event: &Value) -> anyhow::Result<Invocation> {
        let _turn = self.one_at_a_time.lock().await;
        let url = format!("http://{}/2015-03-31/functions/function/invocations", self.address);
        let response = self.http.post(url).json(event).send().await.context("invoking")?;
        let ok = response.status().is_success();
        let text = response.text().await.context("reading the function's response")?;
        Ok(read_response(ok, text))
    }

    /// What the function, clamd and the emulator have written.
    #[must_use]
    pub fn logs(&self) -> &Logs {
        &self.logs
    }

    /// How often the function was started so far: 0 before the first invocation, then 1, and one
    /// more after every death or timeout.
    #[must_use]
    pub fn cold_starts(&self) -> usize {
        self.logs.lines().iter().filter(|line| line.contains("INIT START(")).count()
    }

    /// The process of the function, as this host numbers it.
    #[must_use]
    pub fn bootstrap_pid(&self) -> Option<u32> {
        let bootstrap = |pid: &u32| {
            processes::arguments(*pid).first().is_some_and(|program| program == BOOTSTRAP)
        };
        self.processes().into_iter().find(bootstrap)
    }

    /// A process that is there from the start to the end of the sandbox.
    #[must_use]
    pub fn init_pid(&self) -> Option<u32> {
        let bubblewrap = self.bubblewrap.lock().map_or(u32::MAX, |child| child.id());
        processes::children(bubblewrap).first().copied()
    }

    /// Every running clamd, as this host numbers them. (Its first argument may be a loader.)
    #[must_use]
    pub fn clamd_pids(&self) -> Vec<u32> {
        let clamd = |argument: &String| Path::new(argument).file_name() == Some("clamd".as_ref());
        let runs_clamd = |pid: &u32| processes::arguments(*pid).iter().take(8).any(clamd);
        self.processes().into_iter().filter(runs_clamd).collect()
    }

    /// Kills every clamd and gives their number.
    ///
    /// # Errors
    ///
    /// The system refused.
    pub fn kill_clamd(&self) -> anyhow::Result<usize> {
        let pids = self.clamd_pids();
        for &pid in &pids {
            processes::kill(pid)?;
        }
        Ok(pids.len())
    }

    fn processes(&self) -> Vec<u32> {
        processes::descendants(self.bubblewrap.lock().map_or(u32::MAX, |child| child.id()))
    }

    async fn listening(&self) -> anyhow::Result<()> {
        let mut poll = tokio::time::interval(POLL);
        loop {
            poll.tick().await;
            let ended = self.bubblewrap.lock().map_or(Ok(None), |mut child| child.try_wait());
            if let Some(status) = ended.context("asking whether it runs")? {
                bail!("it ended at once: {status}");
            }
            if tokio::net::TcpStream::connect(self.address).await.is_ok() {
                return Ok(());
            }
        }
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        if let Ok(child) = self.bubblewrap.get_mut() {
            confinement::end(child);
        }
    }
}

/// Ends bubblewrap and everything in it.
pub(crate) fn end(bubblewrap: &mut Child) {
    // The child of bubblewrap is process 1 of the namespace: the kernel ends all others before
    // it counts as ended, so that nothing is left when bubblewrap has been waited for. Without
    // such a child bubblewrap itself has not come that far.
    let inits = processes::children(bubblewrap.id());
    if inits.is_empty() || inits.iter().any(|&init| processes::kill(init).is_err()) {
        let _ = bubblewrap.kill();
    }
    let _ = bubblewrap.wait();
}

/// The emulator, which starts the function.
fn emulated(
    options: &SandboxOptions,
    stage: &Stage,
    address: SocketAddr,
    runtime_api: SocketAddr,
) -> anyhow::Result<Command> {
    let emulator = stage.program(&artefacts::runtime_emulator()?, "aws-lambda-rie")?;
    let (address, runtime_api) = (address.to_string(), runtime_api.to_string());
    let listen = ["--runtime-interface-emulator-address", &address];
    let serve = ["--runtime-api-address", &runtime_api, BOOTSTRAP];
    let run = [&[EMULATOR], listen.as_slice(), serve.as_slice()].concat();
    command(options, stage, Some(&emulator), &run)
}

/// A program in the root that the function has; with it the emulator, if given.
pub(crate) fn command(
    options: &SandboxOptions,
    stage: &Stage,
    emulator: Option<&Path>,
    run: &[&str],
) -> anyhow::Result<Command> {
    let bootstrap = options.bootstrap.clone().map_or_else(artefacts::bootstrap, Ok)?;
    let layer = options.layer.clone().map_or_else(|| artefacts::layer(Arch::X86_64), Ok)?;
    let bootstrap = stage.program(&bootstrap, "bootstrap")?;
    let layer = stage.folder(&layer, "opt")?;

    let mut command = confinement::command()?;
    confinement::mount(&mut command, &layer, "/opt");
    confinement::mount(&mut command, &bootstrap, BOOTSTRAP);
    if let Some(emulator) = emulator {
        confinement::mount(&mut command, emulator, EMULATOR);
    }
    // The runtime has certificate authorities of its own, and the SDK does not start without. The
    // layer's, brought for freshclam, do as well and are the same on every host.
    let authorities = layer.join("clamav/etc/ca-bundle.crt");
    if authorities.is_file() {
        confinement::mount(&mut command, &authorities, CA_BUNDLE);
    }
    for library in confinement::libraries(&bootstrap)? {
        confinement::mount(&mut command, &library, &library);
    }
    command.args(["--chdir", "/var/task"]);
    let (program, arguments) = run.split_first().context("a program to run")?;
    confinement::run(&mut command, options.tmp_bytes, program);
    command.args(arguments);

    let set_by_lambda = [
        ("AWS_LAMBDA_FUNCTION_NAME", options.name.clone()),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST".to_owned()),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", options.memory_mb.to_string()),
        ("AWS_LAMBDA_FUNCTION_TIMEOUT", options.timeout.as_secs().to_string()),
        ("AWS_REGION", REGION.to_owned()),
        ("AWS_DEFAULT_REGION", REGION.to_owned()),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand".to_owned()),
        ("LAMBDA_TASK_ROOT", "/var/task".to_owned()),
        ("LAMBDA_RUNTIME_DIR", "/var/runtime".to_owned()),
        ("LD_LIBRARY_PATH", LIBRARY_PATH.to_owned()),
        ("PATH", "/usr/local/bin:/usr/bin/:/bin:/opt/bin".to_owned()),
        ("LANG", "en_US.UTF-8".to_owned()),
        ("TZ", ":UTC".to_owned()),
    ];
    command.envs(set_by_lambda).envs(&options.env);
    Ok(command)
}

/// Starts bubblewrap from a thread that lives until every process in it has ended: bubblewrap
/// ends with the thread that started it, and a thread of the async runtime may end at any time.
fn spawn(command: &mut Command, logs: &Logs) -> anyhow::Result<Child> {
    let (reader, writer) = std::io::pipe().context("making a pipe")?;
    let errors = writer.try_clone().context("copying a pipe")?;
    command.stdin(Stdio::null()).stdout(writer).stderr(errors);
    // The child must be the pipe's only writer, so the command goes to the thread and ends there.
    let mut command = std::mem::replace(command, Command::new("true"));
    let (send, receive) = std::sync::mpsc::channel();
    let logs = logs.clone();
    std::thread::spawn(move || {
        let child = command.spawn();
        drop(command);
        if send.send(child).is_ok() {
            logs.read_to_end(reader);
        }
    });
    receive.recv().context("waiting for a thread")?.context("starting bubblewrap")
}

fn read_response(ok: bool, text: String) -> Invocation {
    if text.starts_with("Task timed out") {
        return Invocation::FunctionError {
            error_type: "Sandbox.Timedout".to_owned(),
            message: text,
        };
    }
    // The emulator passes an empty response on as an empty body.
    let value = serde_json::from_str(&text).unwrap_or(Value::String(text));
    let error_type = value["errorType"].as_str();
    match (error_type, value["errorMessage"].as_str()) {
        (Some(error_type), message) => Invocation::FunctionError {
            error_type: error_type.to_owned(),
            message: message.unwrap_or_default().to_owned(),
        },
        (None, _) if !ok => Invocation::FunctionError {
            error_type: "Sandbox.Failure".to_owned(),
            message: value.to_string(),
        },
        (None, _) => Invocation::Response(value),
    }
}

/// A port that nobody listens on, below the range from which the system takes ports for outgoing
/// connections (32768 and up by default), so that none of those takes it before it is bound.
fn free_port() -> anyhow::Result<u16> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    const FIRST: u16 = 20_000;
    const COUNT: u16 = 12_000;
    let start = u16::try_from(std::process::id() % 750).unwrap_or_default() * 16;
    for _ in 0..COUNT {
        let offset = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, FIRST + offset)).is_ok() {
            return Ok(FIRST + offset);
        }
    }
    bail!("no port from {FIRST} on is free on 127.0.0.1")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tells_responses_from_errors() {
        let response = |ok, text: &str| read_response(ok, text.to_owned());
        let error = |error_type: &str, message: &str| Invocation::FunctionError {
            error_type: error_type.to_owned(),
            message: message.to_owned(),
        };
        assert_eq!(response(true, "null"), Invocation::Response(Value::Null));
        assert_eq!(response(true, r#"{"a":1}"#), Invocation::Response(json!({"a": 1})));
        let failed = r#"{"errorType":"Boom","errorMessage":"it failed"}"#;
        assert_eq!(response(true, failed), error("Boom", "it failed"));
        let late = "Task timed out after 2.00 seconds";
        assert_eq!(response(true, late), error("Sandbox.Timedout", late));
        assert_eq!(response(false, "{}"), error("Sandbox.Failure", "{}"));
    }

    #[test]
    fn gives_different_ports() {
        assert_ne!(free_port().expect("a port"), free_port().expect("a port"));
    }
}
