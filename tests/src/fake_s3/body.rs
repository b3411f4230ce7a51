//! What an object holds, and how it leaves: in chunks, whole or broken.

use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::Stream;
use s3s::StdError;
use s3s::crypto::{Checksum as _, Md5};
use s3s::stream::{ByteStream, RemainingLength};

/// Bytes in one chunk of a download.
const CHUNK: u64 = 256 * 1024;

/// The content of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// Content held in memory.
    Bytes(Bytes),
    /// Content of any size that takes no memory: `len` times `byte`, then `tail`.
    Repeat {
        /// The byte that is repeated.
        byte: u8,
        /// How often it is repeated; the object has `len + tail.len()` bytes.
        len: u64,
        /// What the object ends with.
        tail: Bytes,
    },
    /// One content behind the other, each with where it ends.
    Parts(Arc<[(u64, Body)]>),
}

impl<T: Into<Bytes>> From<T> for Body {
    fn from(bytes: T) -> Self {
        Self::Bytes(bytes.into())
    }
}

impl Body {
    /// The object's size in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Repeat { len, tail, .. } => len + tail.len() as u64,
            Self::Parts(parts) => parts.last().map_or(0, |(end, _)| *end),
        }
    }

    /// These, one behind the other.
    #[must_use]
    pub fn parts(bodies: Vec<Self>) -> Self {
        let mut end = 0;
        let with_end = |body: Self| {
            end += body.size();
            (end, body)
        };
        Self::Parts(bodies.into_iter().map(with_end).collect())
    }

    /// The entity tag without quotes. For bytes it is their MD5, as S3 makes it for an upload in
    /// one part; for generated content it has the form of an upload in parts, whose tag S3 calls
    /// opaque: hashing gigabytes would only slow the tests down.
    pub(super) fn e_tag(&self) -> String {
        match self {
            Self::Bytes(bytes) => hex(&Md5::checksum(bytes)),
            Self::Repeat { byte, len, tail } => {
                let mut description = format!("{byte} {len} ").into_bytes();
                description.extend_from_slice(tail);
                format!("{}-2", hex(&Md5::checksum(&description)))
            }
            Self::Parts(parts) => {
                let tags = parts.iter().map(|(_, body)| body.e_tag());
                format!(
                    "{}-{}",
                    hex(&Md5::checksum(tags.collect::<String>().as_bytes())),
                    parts.len()
                )
            }
        }
    }

    /// Up to [`CHUNK`] bytes of `range`, from its start; the range lies inside the body.
    fn chunk(&self, range: Range<u64>) -> Bytes {
        let wanted = (range.end - range.start).min(CHUNK);
        match self {
            Self::Bytes(bytes) => slice(bytes, range.start, wanted),
            Self::Repeat { byte, len, .. } if range.start < *len => {
                let wanted = wanted.min(len - range.start);
                Bytes::from(vec![*byte; usize::try_from(wanted).expect("a chunk is small")])
            }
            Self::Repeat { len, tail, .. } => slice(tail, range.start - len, wanted),
            Self::Parts(parts) => {
                let (end, body) = &parts[parts.partition_point(|(end, _)| *end <= range.start)];
                let start = end - body.size();
                body.chunk(range.start - start..range.end.min(*end) - start)
            }
        }
    }
}

fn slice(bytes: &Bytes, start: u64, wanted: u64) -> Bytes {
    let start = usize::try_from(start).expect("the range lies inside bytes held in memory");
    let wanted = usize::try_from(wanted).expect("a chunk is small");
    bytes.slice(start..(start + wanted).min(bytes.len()))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// How a download goes wrong, counted in bytes of the answer (not of the object: a range starts
/// at 0 too).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyFault {
    /// The connection is reset after that many bytes.
    Break(u64),
    /// The body ends after that many bytes, fewer than its `Content-Length` promised.
    End(u64),
    /// The body ends after that many bytes, and no `Content-Length` was promised.
    EndWithoutLength(u64),
}

/// One download: a range of a body, chunk by chunk, with the fault that befalls it.
#[derive(Debug)]
pub(super) struct Download {
    body: Body,
    left: Range<u64>,
    /// Bytes until the fault, and which it is.
    fault: Option<(u64, BodyFault)>,
    /// Whether the bytes before the fault have had the time to leave.
    flushed: bool,
}

impl Download {
    pub(super) fn new(body: Body, range: Range<u64>, fault: Option<BodyFault>) -> Self {
        let fault = fault.map(|fault| match fault {
            BodyFault::Break(k) | BodyFault::End(k) | BodyFault::EndWithoutLength(k) => (k, fault),
        });
        Self { body, left: range, fault, flushed: false }
    }

    fn next_chunk(&mut self) -> Option<Result<Bytes, StdError>> {
        let mut until = self.left.end;
        if let Some((left, fault)) = self.fault {
            if left == 0 {
                self.left = 0..0;
                self.fault = None;
                return match fault {
                    BodyFault::Break(_) => Some(Err(Box::new(io::Error::new(
                        io::ErrorKind::ConnectionReset,
                        "FakeS3 broke this download off",
                    )))),
                    BodyFault::End(_) | BodyFault::EndWithoutLength(_) => None,
                };
            }
            until = until.min(self.left.start.saturating_add(left));
        }
        if self.left.is_empty() {
            return None;
        }
        let chunk = self.body.chunk(self.left.start..until);
        let sent = chunk.len() as u64;
        self.left.start += sent;
        if let Some((left, _)) = &mut self.fault {
            *left -= sent;
        }
        Some(Ok(chunk))
    }
}

impl Stream for Download {
    type Item = Result<Bytes, StdError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        // A server that meets an error forgets what it has not sent yet; one that has to wait
        // sends it first.
        if self.fault.is_some_and(|(left, _)| left == 0) && !self.flushed {
            self.flushed = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(self.next_chunk())
    }
}

impl ByteStream for Download {
    fn remaining_length(&self) -> RemainingLength {
        // What is still promised. With a fault the promise is not kept, so nothing is promised:
        // the client learns of it by reading, as it does on a socket.
        match (self.fault, usize::try_from(self.left.end - self.left.start)) {
            (None, Ok(left)) => RemainingLength::new_exact(left),
            _ => RemainingLength::unknown(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(mut download: Download) -> (Vec<u8>, bool) {
        let mut bytes = Vec::new();
        while let Some(chunk) = download.next_chunk() {
            match chunk {
                Ok(chunk) => bytes.extend_from_slice(&chunk),
                Err(_) => return (bytes, true),
            }
        }
        (bytes, false)
    }

    #[test]
    fn repeats_then_ends_with_the_tail() {
        let body = Body::Repeat { byte: b'a', len: 2 * CHUNK + 1, tail: Bytes::from("tail") };
        let (bytes, broken) = read(Download::new(body.clone(), 0..body.size(), None));
        assert_eq!((bytes.len() as u64, broken), (2 * CHUNK + 5, false));
        assert!(bytes.ends_with(b"aatail"), "the tail comes last");
        let from = 2 * CHUNK;
        assert_eq!(read(Download::new(body.clone(), from..from + 3, None)).0, b"ata");
        assert_eq!(read(Download::new(body, from + 4..from + 5, None)).0, b"l");
    }

    #[test]
    fn parts_come_one_behind_the_other() {
        let zeros = Body::Repeat { byte: b'0', len: 3, tail: Bytes::from("t") };
        let body = Body::parts(vec!["one".into(), "".into(), zeros, "two".into()]);
        assert_eq!(body.size(), 10);
        assert_eq!(read(Download::new(body.clone(), 0..10, None)).0, b"one000ttwo");
        assert_eq!(read(Download::new(body.clone(), 2..8, None)).0, b"e000tt");
        assert_eq!(read(Download::new(body, 7..10, None)).0, b"two");
    }

    #[test]
    fn breaks_and_ends_at_the_byte() {
        let body = Body::from("0123456789");
        let at = |fault| read(Download::new(body.clone(), 2..10, Some(fault)));
        assert_eq!(at(BodyFault::Break(3)), (b"234".to_vec(), true));
        assert_eq!(at(BodyFault::Break(0)), (Vec::new(), true));
        assert_eq!(at(BodyFault::End(3)), (b"234".to_vec(), false));
        // A fault past the end is no fault; one exactly at it is, as a reset before the close.
        assert_eq!(at(BodyFault::Break(9)), (b"23456789".to_vec(), false));
        assert_eq!(at(BodyFault::Break(8)), (b"23456789".to_vec(), true));
    }

    #[test]
    fn e_tags_are_md5_or_of_the_form_of_parts() {
        assert_eq!(Body::from("hello").e_tag(), "5d41402abc4b2a76b9719d911017c592");
        let big = Body::Repeat { byte: 0, len: 1 << 40, tail: Bytes::new() };
        assert!(big.e_tag().ends_with("-2"), "{}", big.e_tag());
    }
}
