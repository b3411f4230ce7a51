//! A clamd that does what it is told: what the real one can hardly be made to show.
//!
//! It speaks the part of the protocol that the scanner uses, over a Unix socket: one command per
//! connection in its NUL-terminated form (`zPING`, `zVERSION`, `zINSTREAM`), and for a stream
//! chunks of a length in four bytes, big-endian, and that many bytes, until a length of zero.
//! <https://docs.clamav.net/manual/Usage/Scanning.html#clamd>, `man 8 clamd`

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use anyhow::Context as _;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::samples::eicar;

/// How much of each stream is kept, in bytes.
const KEPT: usize = 64 * 1024;

/// How long [`FakeClamd::streams_after`] waits.
const STREAM_DEADLINE: Duration = Duration::from_secs(10);

/// What clamd says when a stream is longer than its `StreamMaxLength`.
const SIZE_LIMIT: &[u8] = b"INSTREAM size limit exceeded. ERROR\0";

/// How one stream is treated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// As clamd does it: `stream: Eicar-Test-Signature FOUND` for the EICAR test file,
    /// `stream: OK` for all else. What happens to a stream that nothing was scripted for.
    Honest,
    /// Reads the whole stream, sends these bytes and closes. With no bytes it hangs up without a
    /// word, which is what a crash looks like.
    Bytes(Vec<u8>),
    /// As with a `StreamMaxLength` of that many bytes: the chunk that exceeds it is not read but
    /// answered at once with `INSTREAM size limit exceeded. ERROR`, and the connection closed.
    /// A writer may find a broken pipe before it finds the answer.
    SizeLimit(u64),
    /// Hangs up in the middle, when that many bytes of content have been read.
    HangUpAfter(u64),
    /// Reads the whole stream and never answers.
    Stall,
    /// Stops reading after that many bytes of content, and never answers. The writer is stuck as
    /// soon as the socket's buffer is full.
    StallAfter(u64),
}

impl Reply {
    /// [`Reply::Bytes`] with the NUL that ends clamd's answers: `Reply::text("stream: OK")`.
    #[must_use]
    pub fn text(answer: &str) -> Self {
        Self::Bytes([answer.as_bytes(), b"\0"].concat())
    }
}

/// What one `INSTREAM` brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    /// Bytes of content that were read, without the lengths.
    pub bytes: u64,
    /// The first 64 KiB of them.
    pub head: Vec<u8>,
    /// Whether the chunk of length zero came, which ends a stream. Without it clamd scans nothing.
    pub complete: bool,
}

/// A running double. Its socket and its connections go when it is dropped.
#[derive(Debug)]
pub struct FakeClamd {
    folder: TempDir,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    script: Mutex<Script>,
    streams: watch::Sender<Vec<Stream>>,
}

#[derive(Debug)]
struct Script {
    version: String,
    replies: VecDeque<Reply>,
}

impl FakeClamd {
    /// Starts one on a socket of its own. It runs on the caller's tokio runtime.
    ///
    /// # Errors
    ///
    /// The socket cannot be made.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn start() -> anyhow::Result<Self> {
        let folder = TempDir::new().context("creating a folder for the socket of FakeClamd")?;
        let socket = socket_in(&folder);
        let listener = UnixListener::bind(&socket)
            .with_context(|| format!("binding FakeClamd to {}", socket.display()))?;
        let shared = Arc::new(Shared {
            script: Mutex::new(Script {
                version: "ClamAV 1.4.6/27824/Sun Nov 22 09:26:00 2026".to_owned(),
                replies: VecDeque::new(),
            }),
            streams: watch::Sender::new(Vec::new()),
        });
        let server = tokio::spawn(serve(listener, shared.clone()));
        Ok(Self { folder, shared, server })
    }

    /// Where it listens.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        socket_in(&self.folder)
    }

    /// Says how the next stream is treated that nothing is scripted for yet: one reply per
    /// `INSTREAM`, in the order in which they come. Other commands use none up.
    pub fn next_stream(&self, reply: Reply) {
        self.shared.script().replies.push_back(reply);
    }

    /// Sets the answer to `VERSION`: engine, version of the database and its date, with slashes
    /// between them; of a clamd that has loaded no `daily` database, the engine alone.
    pub fn set_version(&self, version: &str) {
        version.clone_into(&mut self.shared.script().version);
    }

    /// The streams so far, in the order in which they ended. A stream is here before its reply
    /// is sent.
    #[must_use]
    pub fn streams(&self) -> Vec<Stream> {
        self.shared.streams.borrow().clone()
    }

    /// Waits until `count` streams have ended, and returns them. For streams that the other side
    /// gives up, which no reply announces.
    ///
    /// # Errors
    ///
    /// There are fewer after ten seconds.
    pub async fn streams_after(&self, count: usize) -> anyhow::Result<Vec<Stream>> {
        let mut streams = self.shared.streams.subscribe();
        let enough = streams.wait_for(|streams| streams.len() >= count);
        let enough = tokio::time::timeout(STREAM_DEADLINE, enough).await.with_context(|| {
            let now = self.streams().len();
            format!("{now} of {count} streams had ended at FakeClamd after {STREAM_DEADLINE:?}")
        })?;
        Ok(enough.context("FakeClamd is gone")?.clone())
    }
}

impl Drop for FakeClamd {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn socket_in(folder: &TempDir) -> PathBuf {
    Path::new(folder.path()).join("clamd.sock")
}

impl Shared {
    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().expect("nothing panics while it holds the lock")
    }

    fn ended(&self, stream: Stream) {
        self.streams.send_modify(|streams| streams.push(stream));
    }
}

async fn serve(listener: UnixListener, shared: Arc<Shared>) {
    // Dropped with this task, and its connections with it.
    let mut connections = JoinSet::new();
    while let Ok((socket, _)) = listener.accept().await {
        connections.spawn(connection(socket, shared.clone()));
        while connections.try_join_next().is_some() {}
    }
}

/// One command and its answer. An error is a peer that is gone, which it may be.
async fn connection(socket: UnixStream, shared: Arc<Shared>) -> io::Result<()> {
    let mut socket = BufReader::new(socket);
    let mut command = Vec::new();
    socket.read_until(0, &mut command).await?;
    let answer = match command.as_slice() {
        b"zPING\0" => b"PONG\0".to_vec(),
        b"zVERSION\0" => [shared.script().version.as_bytes(), b"\0"].concat(),
        b"zINSTREAM\0" => {
            let reply = shared.script().replies.pop_front().unwrap_or(Reply::Honest);
            instream(&mut socket, &shared, reply).await
        }
        _ => b"UNKNOWN COMMAND\0".to_vec(),
    };
    socket.write_all(&answer).await
}

/// Treats one stream as `reply` says, and returns what to answer before the connection closes.
async fn instream(socket: &mut BufReader<UnixStream>, shared: &Shared, reply: Reply) -> Vec<u8> {
    let limit = match reply {
        Reply::HangUpAfter(bytes) | Reply::StallAfter(bytes) => bytes,
        _ => u64::MAX,
    };
    let chunk_limit = if let Reply::SizeLimit(bytes) = reply { bytes } else { u64::MAX };
    let mut stream = Stream { bytes: 0, head: Vec::new(), complete: false };
    let end = read_stream(socket, &mut stream, limit, chunk_limit).await;
    let infected = stream.head.starts_with(&eicar());
    shared.ended(stream);
    match (end, reply) {
        (End::Limit, Reply::StallAfter(_)) | (End::Complete, Reply::Stall) => {
            std::future::pending().await
        }
        (End::Gone | End::Limit, _) => Vec::new(),
        (End::ChunkLimit, _) => SIZE_LIMIT.to_vec(),
        (End::Complete, Reply::Bytes(bytes)) => bytes,
        (End::Complete, _) if infected => b"stream: Eicar-Test-Signature FOUND\0".to_vec(),
        (End::Complete, _) => b"stream: OK\0".to_vec(),
    }
}

/// Why no more of a stream is read.
enum End {
    Complete,
    /// The other side closed, or broke off.
    Gone,
    /// As many bytes as were to be read have been.
    Limit,
    /// The next chunk would bring more than the size limit allows.
    ChunkLimit,
}

async fn read_stream(
    socket: &mut BufReader<UnixStream>,
    stream: &mut Stream,
    limit: u64,
    chunk_limit: u64,
) -> End {
    let mut buffer = vec![0; KEPT];
    loop {
        if stream.bytes >= limit {
            return End::Limit;
        }
        let Ok(length) = socket.read_u32().await else { return End::Gone };
        if length == 0 {
            stream.complete = true;
            return End::Complete;
        }
        let mut left = u64::from(length);
        if stream.bytes.saturating_add(left) > chunk_limit {
            return End::ChunkLimit;
        }
        while left > 0 {
            let wanted = left.min(limit - stream.bytes).min(KEPT as u64);
            if wanted == 0 {
                return End::Limit;
            }
            let room = usize::try_from(wanted).unwrap_or(KEPT);
            let read = match socket.read(&mut buffer[..room]).await {
                Ok(0) | Err(_) => return End::Gone,
                Ok(read) => read,
            };
            let kept = read.min(KEPT - stream.head.len());
            stream.head.extend_from_slice(&buffer[..kept]);
            stream.bytes += read as u64;
            left -= read as u64;
        }
    }
}

#[cfg(test)]
mod tests;
