//! An archive on its way from S3 into its members: the readers of [`archives`], which wait for their
//! bytes, on a thread of their own; the members, each a stream of bytes, on this side of it.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};

use archives::zip::{Directory, ReaderAt};
use archives::{Bounds, Flaw, Format, Found, HEAD, Packing, tar};
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _, stream};
use notifier_common::Reason;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::io::{StreamReader, SyncIoBridge};

use crate::object::{Object, Progress, ReadError, Source};

/// Bytes that are handed on at once.
const CHUNK: usize = 64 << 10;

/// Chunks that may wait for clamd.
const WAITING: usize = 4;

/// Bytes of a zip's end that are read at once; the directories of most are not longer.
const TAIL: u64 = 1 << 20;

/// One member.
#[derive(Debug)]
pub(super) struct Shown {
    /// Which one, counted from 0.
    pub(super) index: u64,
    pub(super) member: Member,
}

/// What is in it.
#[derive(Debug)]
pub(super) enum Member {
    /// These bytes. The stream fails where the archive is damaged.
    Open(mpsc::Receiver<io::Result<Bytes>>),
    /// Nobody can look into it.
    Closed(Reason),
}

/// An archive that is being taken apart.
#[derive(Debug)]
pub(super) struct TakenApart {
    /// Its members, in their order.
    pub(super) shown: mpsc::Receiver<Shown>,
    progress: Progress,
    failure: Failure,
    thread: JoinHandle<Result<(), Flaw>>,
    /// Ends the reading when it is dropped.
    _stop: oneshot::Sender<()>,
}

impl TakenApart {
    /// Begins; with `only`, the other members are passed over. None when the object is no archive.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) async fn start(
        object: Object,
        bounds: Bounds,
        only: Option<BTreeSet<u64>>,
        progress: &Progress,
    ) -> Result<Option<Self>, ReadError> {
        let source = object.source.clone();
        let progress = progress.clone();
        let mut body = Box::pin(object.into_stream(progress.clone()));
        let head = head(&mut body).await.map_err(|error| {
            progress.take_failure().unwrap_or_else(|| ReadError::Broken {
                at: 0,
                size: source.identity.size,
                cause: error.to_string(),
            })
        })?;
        let Some(format) = Format::of(&head) else { return Ok(None) };
        let failure = Failure::default();
        let archive = match format {
            Format::Zip => Archive::Zip(Ranges::start(source, failure.clone()).await?),
            Format::Tar(packing) => Archive::Tar(packing),
        };
        let (stop, stopped) = oneshot::channel();
        let body = stream::iter([Ok(head)]).chain(body).take_until(stopped);
        let (sender, shown) = mpsc::channel(1);
        let visitor = Visitor { shown: sender, only, index: 0 };
        let thread = tokio::task::spawn_blocking(move || {
            archive.walk(SyncIoBridge::new(StreamReader::new(body)), &bounds, visitor)
        });
        Ok(Some(Self { shown, progress, failure, thread, _stop: stop }))
    }

    /// Waits for the thread; whatever was not taken yet stops it. Gives how the archive ended.
    ///
    /// # Errors
    /// When it was S3 that failed.
    pub(super) async fn end(self) -> Result<Result<(), Flaw>, ReadError> {
        let Self { shown, progress, failure, thread, _stop } = self;
        drop(shown);
        let walked = match thread.await {
            Ok(walked) => walked,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        };
        match failure.take().or_else(|| progress.take_failure()) {
            Some(failure) => Err(failure),
            None => Ok(walked),
        }
    }
}

/// The first bytes, [`HEAD`] at least if there are so many.
async fn head(body: &mut (impl Stream<Item = io::Result<Bytes>> + Unpin)) -> io::Result<Bytes> {
    let mut head = BytesMut::new();
    while head.len() < HEAD
        && let Some(bytes) = body.next().await
    {
        head.extend_from_slice(&bytes?);
    }
    Ok(head.freeze())
}

/// An archive with what its reader needs beside its bytes.
enum Archive {
    Zip(Ranges),
    Tar(Packing),
}

impl Archive {
    /// On the thread: all of it, from its first byte to its last.
    fn walk(self, body: impl Read, bounds: &Bounds, mut visitor: Visitor) -> Result<(), Flaw> {
        match self {
            Self::Zip(ranges) => {
                let size = ranges.source.identity.size;
                let directory = Directory::read(ranges, size, bounds)?;
                directory.walk(body, bounds, |found| visitor.visit(found))
            }
            Self::Tar(packing) => tar::walk(body, packing, bounds, |found| visitor.visit(found)),
        }
    }
}

/// Hands members over.
struct Visitor {
    shown: mpsc::Sender<Shown>,
    only: Option<BTreeSet<u64>>,
    index: u64,
}

impl Visitor {
    fn visit(&mut self, found: Found<'_>) -> Result<(), Flaw> {
        let index = self.index;
        self.index += 1;
        match found {
            Found::Closed(reason) => self.show(index, Member::Closed(reason)),
            Found::Member(_) if self.only.as_ref().is_some_and(|only| !only.contains(&index)) => {
                Ok(())
            }
            Found::Member(data) => {
                let (sender, bytes) = mpsc::channel(WAITING);
                self.show(index, Member::Open(bytes))?;
                hand_over(data, &sender)
            }
        }
    }

    fn show(&self, index: u64, member: Member) -> Result<(), Flaw> {
        self.shown.blocking_send(Shown { index, member }).map_err(|_| Flaw::Stopped)
    }
}

fn hand_over(data: &mut dyn Read, bytes: &mpsc::Sender<io::Result<Bytes>>) -> Result<(), Flaw> {
    let mut buffer = vec![0; CHUNK];
    loop {
        match data.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(read) => {
                let chunk = Bytes::copy_from_slice(&buffer[..read]);
                if bytes.blocking_send(Ok(chunk)).is_err() {
                    // clamd has its answer already, or is gone.
                    return Ok(());
                }
            }
            Err(error) => {
                let flaw = Flaw::from_read(&error);
                // Without this, what came would be taken for the whole.
                let _ = bytes.blocking_send(Err(error));
                return Err(flaw);
            }
        }
    }
}

/// Why ranges could not be read.
#[derive(Debug, Clone, Default)]
struct Failure(Arc<Mutex<Option<ReadError>>>);

impl Failure {
    fn take(&self) -> Option<ReadError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Reads a zip's directory.
#[derive(Debug)]
struct Ranges {
    source: Source,
    handle: Handle,
    tail: Bytes,
    failure: Failure,
}

impl Ranges {
    async fn start(source: Source, failure: Failure) -> Result<Self, ReadError> {
        let size = source.identity.size;
        let tail = source.read(size.saturating_sub(TAIL)..size).await?;
        Ok(Self { source, handle: Handle::current(), tail, failure })
    }
}

impl ReaderAt for Ranges {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let size = self.source.identity.size;
        let end = size.min(offset.saturating_add(buffer.len() as u64));
        if offset >= end {
            return Ok(0);
        }
        let tail_at = size - self.tail.len() as u64;
        let bytes = match offset.checked_sub(tail_at) {
            Some(_) => self.tail.slice(index(offset - tail_at)..index(end - tail_at)),
            None => self.handle.block_on(self.source.read(offset..end)).map_err(|failure| {
                *self.failure.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure);
                io::Error::other("reading the directory failed")
            })?,
        };
        buffer[..bytes.len()].copy_from_slice(&bytes);
        Ok(bytes.len())
    }
}

fn index(at: u64) -> usize {
    usize::try_from(at).expect("it lies in the tail")
}
