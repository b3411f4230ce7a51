//! What clamd says on its standard output and error: read so that it never waits for us, kept for
//! its last words, and asked after each scan for [doubts](super::doubt).
//!
//! clamd writes both unbuffered, and what it has to say of a file before it answers. So once the
//! answer is here, its lines are in the pipes, and whoever empties these has read them all: no time
//! plays a part. This is why the pipes are read with plain non-blocking reads: tokio's own would
//! read only what its driver has heard of already.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::net::unix::pipe::Receiver;
use tokio::task::JoinHandle;

use super::doubt::{DEBUG, DOUBTS, Finder};

/// Lines that are kept: all of a start, which are about 40, and the trouble before. Chatter is not.
const KEPT: usize = 100;

/// How the lines begin that clamd itself says of each connection and chunk with `Debug yes` (seen
/// with clamd 1.4.6, for a ping and an `INSTREAM`).
const CHATTER: [&str; 15] = [
    "Received POLLIN",
    "Got ",
    "got command",
    "fds_poll_recv",
    "Receive thread",
    "Breaking command loop",
    "Moved partial",
    "mode ==",
    "Quota Remaining",
    "Processed ",
    "Chunks complete",
    "Number of file descriptors",
    "THRMGR",
    "Finished scanthread",
    "Scanthread",
];

/// Bytes of a line that are kept.
const LONGEST: usize = 8192;

/// What a pipe holds at most (`/proc/sys/fs/pipe-max-size` of Linux, pipe(7)): more was not in it
/// when somebody began to empty it.
const PIPE: usize = 1 << 20;

/// How often each of [`DOUBTS`] was said.
pub(super) type Doubts = [u64; DOUBTS.len()];

/// The log of one clamd.
#[derive(Debug)]
pub(super) struct Log {
    pipes: Vec<Pipe>,
    said: Mutex<Said>,
}

#[derive(Debug, Default)]
struct Said {
    kept: VecDeque<String>,
    doubts: Doubts,
}

#[derive(Debug)]
struct Pipe {
    receiver: Receiver,
    read: Mutex<Read>,
}

/// What came through a pipe.
#[derive(Debug, Default)]
struct Read {
    /// The beginning of a line whose end has not come.
    line: Vec<u8>,
    doubts: Finder,
}

impl Log {
    /// Takes over these pipes, and empties them from now on.
    ///
    /// # Errors
    /// When one of them cannot be waited for.
    pub(super) fn follow(pipes: Vec<OwnedFd>) -> io::Result<(Arc<Self>, Vec<JoinHandle<()>>)> {
        let pipe = |fd| {
            let receiver = Receiver::from_owned_fd(fd)?;
            Ok(Pipe { receiver, read: Mutex::default() })
        };
        let pipes = pipes.into_iter().map(pipe).collect::<io::Result<Vec<_>>>()?;
        let log = Arc::new(Self { pipes, said: Mutex::default() });
        let follow = |index| {
            let log = Arc::clone(&log);
            tokio::spawn(async move { log.empty(index).await })
        };
        let followers = (0..log.pipes.len()).map(follow).collect();
        Ok((log, followers))
    }

    /// Reads what has been said until now, and counts. None when clamd has ended.
    pub(super) fn doubts(&self) -> Option<Doubts> {
        for pipe in &self.pipes {
            let mut state = lock(&pipe.read);
            let mut left = PIPE;
            while left > 0 {
                let read = |buffer: &mut [u8]| Ok(rustix::io::read(&pipe.receiver, buffer)?);
                match self.read(&mut state, read) {
                    Ok(0) => return None,
                    Ok(bytes) => left = left.saturating_sub(bytes),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(_) => return None,
                }
            }
        }
        Some(lock(&self.said).doubts)
    }

    /// The last lines, chatter not counted.
    pub(super) fn kept(&self) -> Vec<String> {
        lock(&self.said).kept.iter().cloned().collect()
    }

    /// Keeps a pipe empty until its other end is closed: clamd waits when it is full.
    async fn empty(&self, index: usize) {
        let pipe = &self.pipes[index];
        while pipe.receiver.readable().await.is_ok() {
            let read = |buffer: &mut [u8]| pipe.receiver.try_read(buffer);
            match self.read(&mut lock(&pipe.read), read) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot read what clamd says");
                    break;
                }
            }
        }
    }

    fn read(
        &self,
        Read { line, doubts }: &mut Read,
        read: impl FnOnce(&mut [u8]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let mut buffer = [0; 8192];
        let bytes = read(&mut buffer)?;
        let mut rest = &buffer[..bytes];
        doubts.find(rest, |place| lock(&self.said).doubts[place] += 1);
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            append(line, &rest[..end]);
            lock(&self.said).hear(line);
            line.clear();
            rest = &rest[end + 1..];
        }
        append(line, rest);
        if bytes == 0 && !line.is_empty() {
            lock(&self.said).hear(line);
            line.clear();
        }
        Ok(bytes)
    }
}

impl Said {
    fn hear(&mut self, line: &[u8]) {
        if line.starts_with(DEBUG) || CHATTER.iter().any(|start| line.starts_with(start.as_bytes()))
        {
            return;
        }
        let line = String::from_utf8_lossy(line).into_owned();
        tracing::debug!(clamd = line);
        if self.kept.len() == KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(line);
    }
}

fn append(line: &mut Vec<u8>, bytes: &[u8]) {
    line.extend_from_slice(&bytes[..bytes.len().min(LONGEST - line.len())]);
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::io::{PipeWriter, Write as _};

    use super::*;

    const DOUBT: &[u8] = b"LibClamAV debug: GZip: Bad stream, data in output buffer.\n";

    fn log() -> (Arc<Log>, PipeWriter) {
        let (reader, writer) = io::pipe().unwrap();
        (Log::follow(vec![reader.into()]).unwrap().0, writer)
    }

    fn count(log: &Log) -> u64 {
        log.doubts().unwrap().iter().sum()
    }

    // One thread that awaits nothing: the followers never run.
    #[tokio::test]
    async fn what_was_written_is_counted_whether_or_not_anybody_else_has_read_it() {
        let (log, mut writer) = log();
        assert_eq!(count(&log), 0);
        writer.write_all(DOUBT).unwrap();
        assert_eq!(count(&log), 1);
        writer.write_all(&DOUBT[..30]).unwrap();
        assert_eq!(count(&log), 1);
        writer.write_all(&DOUBT[30..]).unwrap();
        assert_eq!(count(&log), 2);
        drop(writer);
        assert_eq!(log.doubts(), None, "it has ended");
    }

    #[tokio::test]
    async fn a_line_without_an_end_takes_no_more_room_than_any_and_hides_nothing() {
        let (log, mut writer) = log();
        for _ in 0..10 {
            writer.write_all(&[b'x'; 4096]).unwrap();
        }
        writer.write_all(b"\n").unwrap();
        writer.write_all(DOUBT).unwrap();
        assert_eq!(count(&log), 1);
        assert_eq!(log.kept().iter().map(String::len).collect::<Vec<_>>(), [LONGEST]);
    }

    #[tokio::test]
    async fn nobody_waits_for_a_full_pipe_and_chatter_is_not_kept() {
        let (reader, mut writer) = io::pipe().unwrap();
        let (log, followers) = Log::follow(vec![reader.into()]).unwrap();
        let write = move || {
            writer.write_all(b"first\n").unwrap();
            for _ in 0..5000 {
                writer
                    .write_all(b"LibClamAV debug: a line of fifty bytes or so, no doubt\n")
                    .unwrap();
            }
            writer.write_all(b"last").unwrap();
        };
        tokio::task::spawn_blocking(write).await.unwrap();
        for follower in followers {
            follower.await.unwrap();
        }
        assert_eq!(log.kept(), ["first", "last"]);
    }

    #[tokio::test]
    async fn the_last_lines_are_kept() {
        let (log, mut writer) = log();
        for number in 0..150 {
            writeln!(writer, "{number}").unwrap();
        }
        assert_eq!(count(&log), 0);
        let kept = log.kept();
        assert_eq!((kept.len(), kept[0].as_str(), kept[99].as_str()), (100, "50", "149"));
    }
}
