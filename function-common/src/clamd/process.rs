//! The process itself: how it is started, what it says, and what is said to it.

use std::io;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clamav_client::tokio::{Socket, get_version, ping, scan_stream};
use futures_util::{Stream, StreamExt as _, future, stream};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::conf::{self, Limits};
use super::confine::{self, Confined};
use super::log::Log;
use super::scans::Scans;
use super::{ClamdError, LOADER, NoRoom, Paths, database_dir, eicar, eicar_in_rar, room};
use crate::reply::{self, Answer};

/// How often a starting clamd is asked whether it is there.
const PING_INTERVAL: Duration = Duration::from_millis(10);

/// A clamd that works answers a ping at once, also while all its scans run. One that takes this
/// long stands still, and only another one will answer again.
const PING_TIMEOUT: Duration = Duration::from_secs(5);

/// Size of the chunks that clamd gets; 64 KiB is where larger ones stop to help (measured).
const CHUNK: usize = 64 << 10;

/// The end of the log comes with the end of the process, unless somebody else holds its pipes.
const LOG_TIME: Duration = Duration::from_secs(1);

/// ClamAV matches no signature against files of fewer bytes (`cl_scandesc_callback` in libclamav's
/// `scanners.c`, 1.4).
const SMALLEST: usize = 6;

/// What goes behind a smaller one.
const PADDING: &[u8; SMALLEST] = &[b'\n'; SMALLEST];

/// What a clamd that finds EICAR has shown.
#[derive(Debug)]
pub(super) enum Proof {
    /// It works; its version.
    Works(String),
    /// It was to open RAR, and does not.
    WithoutRar,
}

/// What is heard of one clamd.
#[derive(Debug, Clone)]
pub(super) struct Heard {
    pub(super) log: Arc<Log>,
    /// How its scans overlap.
    pub(super) scans: Arc<Scans>,
}

/// One clamd. It ends with this value.
#[derive(Debug)]
pub(super) struct Running {
    child: Child,
    /// Whether it is under the system call filter.
    pub(super) filtered: bool,
    pub(super) heard: Heard,
    followers: Vec<JoinHandle<()>>,
    /// Its version, once it has proven that it finds something.
    pub(super) engine: Option<String>,
}

impl Running {
    /// Writes the configuration and starts the process; it then loads its database.
    pub(super) fn spawn(
        paths: &Paths,
        limits: &Limits,
        alert_macros: bool,
    ) -> Result<Self, ClamdError> {
        let work_dir = &paths.work_dir;
        let conf = work_dir.join("clamd.conf");
        let text = conf::render(limits, alert_macros, &database_dir(work_dir), work_dir);
        std::fs::write(&conf, text).map_err(|source| NoRoom::unwritable(work_dir, source))?;

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
        let spawned = confine::spawn(command, &environment).and_then(|mut confined| {
            let child = &mut confined.child;
            let mut pipes = Vec::new();
            if let Some(stdout) = child.stdout.take() {
                pipes.push(stdout.into_owned_fd()?);
            }
            if let Some(stderr) = child.stderr.take() {
                pipes.push(stderr.into_owned_fd()?);
            }
            Ok((confined, Log::follow(pipes)?))
        });
        let (Confined { child, filtered }, (log, followers)) =
            spawned.map_err(|source| ClamdError::Spawn { program, source })?;
        let heard = Heard { log, scans: Arc::default() };
        Ok(Self { child, filtered, heard, followers, engine: None })
    }

    /// Asks the process and its socket: a killed clamd refuses connections for a while before it
    /// has ended. A ping takes about 0.05 ms.
    pub(super) async fn alive(&mut self, socket: &Path) -> bool {
        matches!(self.child.try_wait(), Ok(None)) && answers(socket).await
    }

    /// Waits for the first PONG, then sends EICAR the way that objects go: in a RAR where that is to
    /// be opened, which shows both, else as it is.
    pub(super) async fn prove(
        &mut self,
        socket: &Path,
        temporary_dir: &Path,
        opens_rar: bool,
    ) -> Result<Proof, ClamdError> {
        let mut interval = tokio::time::interval(PING_INTERVAL);
        loop {
            interval.tick().await;
            // Not there yet is no error; a process that ended is.
            if answers(socket).await {
                break;
            }
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(ClamdError::Died { status, log: self.whole_log().await.join(" | ") });
            }
        }
        let ask = async |canary: Vec<u8>| {
            let canary = stream::iter([Ok(Bytes::from(canary))]);
            room::guard(temporary_dir, scan(socket, canary)).await
        };
        if !(opens_rar && matches!(ask(eicar_in_rar()).await?, Answer::Infected(_))) {
            match ask(eicar().into_bytes()).await? {
                Answer::Infected(_) if opens_rar => return Ok(Proof::WithoutRar),
                Answer::Infected(_) => {}
                other => return Err(ClamdError::Canary { answer: format!("{other:?}") }),
            }
        }
        let version = get_version(connection(socket)).await.map_err(ClamdError::Connection)?;
        Ok(Proof::Works(engine_version(&version)))
    }

    /// Its process id, while it runs.
    pub(super) fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// What it said, when it has ended.
    async fn whole_log(&mut self) -> Vec<String> {
        for follower in self.followers.drain(..) {
            let _ = timeout(LOG_TIME, follower).await;
        }
        self.heard.log.kept()
    }

    /// Kills it and waits until it is gone, and with it its hold on temporary files. Gives its log.
    pub(super) async fn end(mut self) -> Vec<String> {
        if let Err(error) = self.child.kill().await {
            tracing::warn!(%error, "cannot kill clamd");
        }
        self.whole_log().await
    }
}

fn connection(socket: &Path) -> Socket<&Path> {
    Socket { socket_path: socket }
}

async fn answers(socket: &Path) -> bool {
    let answer = timeout(PING_TIMEOUT, ping(connection(socket))).await;
    matches!(answer, Ok(Ok(answer)) if answer.starts_with(b"PONG"))
}

/// Streams bytes to the clamd behind `socket`; see [`super::Clamd::scan`].
pub(super) async fn scan<S>(socket: &Path, stream: S) -> Result<Answer, ClamdError>
where
    S: Stream<Item = io::Result<Bytes>>,
{
    let reply = scan_stream(padded(stream), connection(socket), Some(CHUNK)).await;
    Ok(reply::parse(&reply.map_err(ClamdError::Connection)?)?)
}

/// Makes something that clamd looks at of what is too small for it. What is empty stays so.
fn padded<S>(stream: S) -> impl Stream<Item = io::Result<Bytes>>
where
    S: Stream<Item = io::Result<Bytes>>,
{
    let end = stream::once(future::ready(None));
    let parts = stream.map(Some).chain(end).scan(0, |length: &mut usize, part| {
        let part = match part {
            Some(part) => {
                *length += part.as_ref().map_or(0, Bytes::len);
                Some(part)
            }
            None => {
                (1..SMALLEST).contains(length).then(|| Ok(Bytes::from_static(&PADDING[*length..])))
            }
        };
        future::ready(Some(part))
    });
    parts.filter_map(future::ready)
}

/// `ClamAV 1.4.6/28129/Sun Sep 20 06:26:26 2026` → `1.4.6`.
fn engine_version(reply: &[u8]) -> String {
    let text = String::from_utf8_lossy(reply);
    let version = text.trim_start_matches("ClamAV ").split(['/', '\0', '\n']).next();
    version.unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_too_small_for_clamd_is_padded_and_nothing_else() {
        for (parts, expected) in [
            (vec![], ""),
            (vec![""], ""),
            (vec!["a"], "a\n\n\n\n\n"),
            (vec!["ab", "", "cde"], "abcde\n"),
            (vec!["abc", "def"], "abcdef"),
            (vec!["abcdefg"], "abcdefg"),
        ] {
            let parts = parts.into_iter().map(|part| Ok(Bytes::from(part)));
            let sent: Vec<_> = padded(stream::iter(parts)).map(Result::unwrap).collect().await;
            assert_eq!(sent.concat(), expected.as_bytes());
        }
    }

    #[test]
    fn the_engine_version_is_the_part_before_the_database() {
        let reply = b"ClamAV 1.4.6/28129/Sun Sep 20 06:26:26 2026\0";
        assert_eq!(engine_version(reply), "1.4.6");
        assert_eq!(engine_version(b"ClamAV 1.4.6\0"), "1.4.6");
    }
}
