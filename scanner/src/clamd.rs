//! The clamd child process: started at init, proven alive, started again when it dies.

pub mod conf;
pub mod confine;

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use clamav_client::tokio::{Socket, get_version, ping, scan_stream};
use futures_util::Stream;
use notifier_common::Verdict;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::reply::{self, ReplyError};
use conf::Limits;

/// How often a starting clamd is asked whether it is there.
const PING_INTERVAL: Duration = Duration::from_millis(10);

/// A clamd that works answers a ping at once, also while all its scans run. One that takes this
/// long stands still, and only another one will answer again.
const PING_TIMEOUT: Duration = Duration::from_secs(5);

/// Size of the chunks that clamd gets; 64 KiB is where larger ones stop to help (measured).
const CHUNK: usize = 64 << 10;

/// clamd's last words that an error quotes.
const LOG_LINES: usize = 20;

/// The name by which the layer carries its own dynamic loader.
const LOADER: &str =
    if cfg!(target_arch = "aarch64") { "ld-linux-aarch64.so.1" } else { "ld-linux-x86-64.so.2" };

/// Where things are.
#[derive(Debug, Clone)]
pub struct Paths {
    /// The unpacked layer: `bin/clamd`, `lib/` with its own loader.
    pub clamav_dir: PathBuf,
    /// Folder with the database files.
    pub definitions_dir: PathBuf,
    /// A folder that is clamd's alone: emptied at every start, for its socket, configuration and
    /// temporary files.
    pub work_dir: PathBuf,
}

/// What can go wrong with clamd. None of it is a verdict.
#[derive(Debug, thiserror::Error)]
pub enum ClamdError {
    /// The work folder cannot be prepared.
    #[error("cannot prepare clamd's work folder {}", path.display())]
    WorkDir {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The program cannot be started.
    #[error("cannot start {}; is the clamd layer attached?", program.display())]
    Spawn {
        /// The program.
        program: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It ended before it was ready.
    #[error("clamd ended while it started ({status}); its last words: {log}")]
    Died {
        /// How it ended.
        status: ExitStatus,
        /// What it said.
        log: String,
    },
    /// It answers, but does not find the EICAR test file: what it would call clean is worth nothing.
    #[error(
        "clamd does not find the EICAR test file with the definitions that it loaded: {answer}; \
         are they complete?"
    )]
    Canary {
        /// What it said instead.
        answer: String,
    },
    /// The connection broke, most often because clamd died.
    #[error("the connection to clamd broke")]
    Connection(#[source] io::Error),
    /// It answered, but gave no verdict.
    #[error(transparent)]
    Reply(#[from] ReplyError),
}

impl ClamdError {
    /// A stable word for logs and metrics.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::WorkDir { .. } => "clamd-work-dir",
            Self::Spawn { .. } => "clamd-spawn",
            Self::Died { .. } => "clamd-died-starting",
            Self::Canary { .. } => "clamd-canary",
            Self::Connection(_) => "clamd-connection",
            Self::Reply(_) => "clamd-reply",
        }
    }

    /// Whether the scan, tried once more, may end otherwise: clamd went away in the middle of it.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Connection(_) | Self::Reply(ReplyError::Empty))
    }
}

/// A supervised clamd.
#[derive(Debug)]
pub struct Clamd {
    paths: Paths,
    limits: Limits,
    /// One permit for each scan at a time.
    permits: Semaphore,
    running: tokio::sync::Mutex<Option<Running>>,
}

#[derive(Debug)]
struct Running {
    child: Child,
    log: Arc<Mutex<VecDeque<String>>>,
    /// Its version, once it has proven that it finds something.
    engine: Option<String>,
}

impl Clamd {
    /// Starts clamd, sized to the function's memory and to what its work folder holds. It goes on
    /// loading its database in the background; [`Clamd::ready`] waits for it.
    ///
    /// # Errors
    /// When the work folder cannot be prepared or the program cannot be started.
    pub fn start(paths: Paths, memory_mb: u32) -> Result<Self, ClamdError> {
        prepare(&paths.work_dir)?;
        let free = free_bytes(&paths.work_dir)?;
        let limits = Limits::for_function(memory_mb, free);
        let running = Running::spawn(&paths, &limits)?;
        Ok(Self {
            paths,
            limits,
            permits: Semaphore::new(limits.scans as usize),
            running: tokio::sync::Mutex::new(Some(running)),
        })
    }

    /// What it can take.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Waits until clamd answers and finds the EICAR test file; starts it again if it died or stands
    /// still. Gives the engine's version.
    ///
    /// # Errors
    /// When it cannot be started or does not find anything.
    pub async fn ready(&self) -> Result<String, ClamdError> {
        let mut slot = self.running.lock().await;
        // One that ended before it was ready is kept: it has last words to report.
        if let Some(running) = slot.as_mut()
            && running.engine.is_some()
            && !running.alive(&self.socket()).await
        {
            tracing::warn!("clamd is gone; starting it again");
            end(&mut slot).await;
        }
        let running = match slot.as_mut() {
            Some(running) => running,
            None => {
                prepare(&self.paths.work_dir)?;
                slot.insert(Running::spawn(&self.paths, &self.limits)?)
            }
        };
        if let Some(engine) = &running.engine {
            return Ok(engine.clone());
        }
        match running.prove(&self.socket()).await {
            Ok(engine) => Ok(running.engine.insert(engine).clone()),
            Err(error) => {
                // Whatever it is that runs there, the next record starts with a new one.
                end(&mut slot).await;
                Err(error)
            }
        }
    }

    /// The permits that scans take: one each, or all for a scan that wants clamd for itself.
    #[must_use]
    pub fn permits(&self) -> &Semaphore {
        &self.permits
    }

    /// Streams one object to clamd and waits for its answer. The caller holds a permit, has waited
    /// for [`Clamd::ready`], and compares the bytes it sent with those it should have sent: a
    /// stream that ends early without an error is scanned as if it were whole.
    ///
    /// # Errors
    /// When the stream fails, the connection breaks, or the answer is no verdict.
    pub async fn scan<S>(&self, stream: S) -> Result<Verdict, ClamdError>
    where
        S: Stream<Item = io::Result<Bytes>>,
    {
        scan(&self.socket(), stream).await
    }

    /// Ends clamd at once, so that the next [`Clamd::ready`] starts a new one: the only way to stop
    /// a scan, which goes on inside clamd when its client has gone.
    pub async fn stop(&self) {
        end(&mut *self.running.lock().await).await;
    }

    fn socket(&self) -> PathBuf {
        self.paths.work_dir.join("clamd.sock")
    }
}

/// Kills clamd and waits until it is gone, and with it its hold on temporary files.
async fn end(slot: &mut Option<Running>) {
    if let Some(mut running) = slot.take()
        && let Err(error) = running.child.kill().await
    {
        tracing::warn!(%error, "cannot kill clamd");
    }
}

impl Running {
    fn spawn(paths: &Paths, limits: &Limits) -> Result<Self, ClamdError> {
        let work_dir = &paths.work_dir;
        let conf = work_dir.join("clamd.conf");
        std::fs::write(&conf, conf::render(limits, &paths.definitions_dir, work_dir))
            .map_err(|source| ClamdError::WorkDir { path: conf.clone(), source })?;

        let lib = paths.clamav_dir.join("lib");
        let program = paths.clamav_dir.join("bin/clamd");
        let mut command = Command::new(lib.join(LOADER));
        command
            .arg("--library-path")
            .arg(&lib)
            .arg(&program)
            .arg("--config-file")
            .arg(&conf)
            .current_dir(work_dir)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let environment = [
            // libclamav looks for its RAR module along this path; without it RAR is silently OK.
            ("LD_LIBRARY_PATH", lib.display().to_string()),
            // Without the conversion modules HTML in UTF-32 passes unread.
            ("GCONV_PATH", lib.join("gconv").display().to_string()),
            ("OPENSSL_CONF", "/dev/null".to_owned()),
        ];
        let mut child = confine::spawn(command, &environment)
            .map_err(|source| ClamdError::Spawn { program, source })?;

        let log = Arc::new(Mutex::new(VecDeque::new()));
        if let Some(stdout) = child.stdout.take() {
            tokio::spawn(follow(stdout, Arc::clone(&log)));
        }
        if let Some(stderr) = child.stderr.take() {
            tokio::spawn(follow(stderr, Arc::clone(&log)));
        }
        Ok(Self { child, log, engine: None })
    }

    /// Asks the process and its socket: a killed clamd refuses connections for a while before it
    /// has ended. A ping takes about 0.05 ms.
    async fn alive(&mut self, socket: &Path) -> bool {
        matches!(self.child.try_wait(), Ok(None)) && answers(socket).await
    }

    /// Waits for the first PONG, then sends EICAR the way that objects go. Gives the version.
    async fn prove(&mut self, socket: &Path) -> Result<String, ClamdError> {
        let mut interval = tokio::time::interval(PING_INTERVAL);
        loop {
            interval.tick().await;
            // Not there yet is no error; a process that ended is.
            if answers(socket).await {
                break;
            }
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(ClamdError::Died { status, log: self.last_words() });
            }
        }
        let canary = futures_util::stream::iter([Ok(Bytes::from(eicar()))]);
        match scan(socket, canary).await? {
            Verdict::Infected { .. } => {}
            other => return Err(ClamdError::Canary { answer: format!("{other:?}") }),
        }
        let version = get_version(connection(socket)).await.map_err(ClamdError::Connection)?;
        Ok(engine_version(&version))
    }

    fn last_words(&self) -> String {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.iter().map(String::as_str).collect::<Vec<_>>().join(" | ")
    }
}

/// The EICAR test file (<https://www.eicar.org/download-anti-malware-testfile/>), put together at
/// run time so that no scanner takes this program for one.
#[must_use]
pub fn eicar() -> String {
    let head = r"X5O!P%@AP[4\PZX54(P^)7CC)7}$";
    let tail = "STANDARD-ANTIVIRUS-TEST-FILE!$H+H*";
    format!("{head}EICAR-{tail}")
}

fn connection(socket: &Path) -> Socket<&Path> {
    Socket { socket_path: socket }
}

async fn answers(socket: &Path) -> bool {
    let answer = timeout(PING_TIMEOUT, ping(connection(socket))).await;
    matches!(answer, Ok(Ok(answer)) if answer.starts_with(b"PONG"))
}

async fn scan<S>(socket: &Path, stream: S) -> Result<Verdict, ClamdError>
where
    S: Stream<Item = io::Result<Bytes>>,
{
    let reply = scan_stream(stream, connection(socket), Some(CHUNK)).await;
    Ok(reply::parse(&reply.map_err(ClamdError::Connection)?)?)
}

/// `ClamAV 1.4.6/28129/Sun Sep 20 06:26:26 2026` → `1.4.6`.
fn engine_version(reply: &[u8]) -> String {
    let text = String::from_utf8_lossy(reply);
    let version = text.trim_start_matches("ClamAV ").split(['/', '\0', '\n']).next();
    version.unwrap_or_default().to_owned()
}

/// Empties the work folder, which may hold the temporary files of a clamd that died.
fn prepare(work_dir: &Path) -> Result<(), ClamdError> {
    let prepare = || {
        match std::fs::remove_dir_all(work_dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        std::fs::create_dir_all(work_dir.join("tmp"))
    };
    prepare().map_err(|source| ClamdError::WorkDir { path: work_dir.to_owned(), source })
}

fn free_bytes(dir: &Path) -> Result<u64, ClamdError> {
    let statistics = rustix::fs::statvfs(dir)
        .map_err(|source| ClamdError::WorkDir { path: dir.to_owned(), source: source.into() })?;
    Ok(statistics.f_bavail.saturating_mul(statistics.f_frsize))
}

/// Passes clamd's words on to our log and keeps the last of them.
async fn follow(output: impl AsyncRead + Unpin, log: Arc<Mutex<VecDeque<String>>>) {
    let mut lines = BufReader::new(output).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        tracing::debug!(clamd = line);
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        if log.len() == LOG_LINES {
            log.pop_front();
        }
        log.push_back(line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eicar_is_the_68_bytes_that_it_must_be() {
        assert_eq!(eicar().len(), 68);
    }

    #[test]
    fn the_engine_version_is_the_part_before_the_database() {
        let reply = b"ClamAV 1.4.6/28129/Sun Sep 20 06:26:26 2026\0";
        assert_eq!(engine_version(reply), "1.4.6");
        assert_eq!(engine_version(b"ClamAV 1.4.6\0"), "1.4.6");
    }
}
