//! Reads an object's bytes: all of them as a stream, or a part of them.

use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::primitives::AggregatedBytes;
use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use bytes::Bytes;
use function_common::service_error::{ServiceError, chain};
use futures_util::{Stream, stream};

use super::{Object, ReadError, Source, quoted};

/// Broken connections in a row, without one new byte between them, after which a read is given up.
const RESUMES: usize = 5;

/// Pause before the first of them; each next one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// How far a read came; shared with whoever consumes the stream.
#[derive(Debug, Clone, Default)]
pub struct Progress(Arc<Mutex<ProgressState>>);

#[derive(Debug, Default)]
struct ProgressState {
    bytes: u64,
    resumes: u32,
    finished: Option<Instant>,
    failure: Option<ReadError>,
}

impl Progress {
    /// Bytes that were handed on.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.state().bytes
    }

    /// Broken connections that were survived.
    #[must_use]
    pub fn resumes(&self) -> u32 {
        self.state().resumes
    }

    /// When the last byte was handed on; none while bytes are missing.
    #[must_use]
    pub fn finished(&self) -> Option<Instant> {
        self.state().finished
    }

    /// Why the stream failed, if it was S3's side that failed.
    #[must_use]
    pub fn take_failure(&self) -> Option<ReadError> {
        self.state().failure.take()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, ProgressState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Object {
    /// The bytes, in order and all of them: a stream that ends without an error has brought exactly
    /// the object's size. A connection that breaks is taken up again where it broke, on the same version
    /// or ETag. An error leaves its cause in `progress`.
    pub fn into_stream(self, progress: Progress) -> impl Stream<Item = io::Result<Bytes>> {
        let reader = Reader { object: self, progress, backoff: backoff() };
        stream::try_unfold(reader, |mut reader| async {
            match reader.next().await {
                Ok(Some(bytes)) => Ok(Some((bytes, reader))),
                Ok(None) => Ok(None),
                Err(error) => {
                    reader.progress.state().failure = Some(error);
                    Err(io::Error::other("reading the object failed"))
                }
            }
        })
    }
}

fn backoff() -> ExponentialBackoff {
    ExponentialBuilder::default()
        .with_min_delay(FIRST_PAUSE)
        .with_max_times(RESUMES)
        .with_jitter()
        .build()
}

struct Reader {
    object: Object,
    progress: Progress,
    backoff: ExponentialBackoff,
}

impl Reader {
    async fn next(&mut self) -> Result<Option<Bytes>, ReadError> {
        let size = self.object.source.identity.size;
        loop {
            let at = self.progress.bytes();
            match self.object.body.next().await {
                Some(Ok(bytes)) => {
                    let after = at + bytes.len() as u64;
                    if after > size {
                        return Err(ReadError::Range { at, size });
                    }
                    self.progress.state().bytes = after;
                    self.backoff = backoff();
                    return Ok(Some(bytes));
                }
                None if at == size => {
                    self.progress.state().finished = Some(Instant::now());
                    return Ok(None);
                }
                None => self.resume("the body ended early".to_owned()).await?,
                // All bytes came and yet it fails: the checksum of the whole does not match.
                // There is nothing left to ask for.
                Some(Err(error)) if at == size => {
                    return Err(ReadError::Broken { at, size, cause: chain(&error) });
                }
                Some(Err(error)) => self.resume(chain(&error)).await?,
            }
        }
    }

    /// Asks for the rest, after a pause that grows while no byte comes.
    async fn resume(&mut self, cause: String) -> Result<(), ReadError> {
        let (at, size) = (self.progress.bytes(), self.object.source.identity.size);
        let Some(pause) = self.backoff.next() else {
            return Err(ReadError::Broken { at, size, cause });
        };
        tracing::warn!(at, size, cause, "reading broke off; resuming");
        tokio::time::sleep(pause).await;
        let range = format!("bytes={at}-");
        let answer = self.object.source.get(range).await?;
        if !is_range(&answer, at..size, size) {
            return Err(ReadError::Range { at, size });
        }
        self.object.body = answer.body;
        self.progress.state().resumes += 1;
        Ok(())
    }
}

impl Source {
    /// Reads a part of the object, which must not be empty, into memory.
    ///
    /// # Errors
    /// When S3 refuses, answers with another part, or the connection breaks again and again.
    pub async fn read(&self, range: Range<u64>) -> Result<Bytes, ReadError> {
        let (at, size) = (range.start, self.identity.size);
        let mut backoff = backoff();
        loop {
            let answer = self.get(format!("bytes={at}-{}", range.end - 1)).await?;
            if !is_range(&answer, range.clone(), size) {
                return Err(ReadError::Range { at, size });
            }
            let cause = match answer.body.collect().await.map(AggregatedBytes::into_bytes) {
                Ok(bytes) if bytes.len() as u64 == range.end - at => return Ok(bytes),
                Ok(_) => "the body ended early".to_owned(),
                Err(error) => chain(&error),
            };
            let Some(pause) = backoff.next() else {
                return Err(ReadError::Broken { at, size, cause });
            };
            tracing::warn!(at, size, cause, "reading broke off; once more");
            tokio::time::sleep(pause).await;
        }
    }

    /// A part of exactly these bytes, as S3 writes ranges.
    async fn get(&self, range: String) -> Result<GetObjectOutput, ReadError> {
        let request = self
            .client
            .get_object()
            .bucket(&self.bucket)
            .key(&self.key)
            .set_version_id(self.identity.version_id.clone())
            .if_match(quoted(&self.identity.etag))
            .range(range);
        request.send().await.map_err(|error| {
            let error = ServiceError::new("GetObject", &error);
            if error.is_gone() || error.is_changed() {
                ReadError::Changed
            } else {
                ReadError::Service(error)
            }
        })
    }
}

/// Whether the answer is this range of an object of `size` bytes: `bytes 5-99/100`.
fn is_range(answer: &GetObjectOutput, range: Range<u64>, size: u64) -> bool {
    let last = range.end.saturating_sub(1);
    answer.content_range() == Some(format!("bytes {}-{last}/{size}", range.start).as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_rest_of_the_same_object_is_the_rest() {
        let answer = |range: Option<&str>| {
            GetObjectOutput::builder().set_content_range(range.map(str::to_owned)).build()
        };
        let is_rest = |answer| is_range(&answer, 5..100, 100);
        assert!(is_rest(answer(Some("bytes 5-99/100"))));
        for other in ["bytes 0-99/100", "bytes 5-98/100", "bytes 5-99/101", "bytes 5-99/*"] {
            assert!(!is_rest(answer(Some(other))), "{other}");
        }
        // A server that knows no ranges sends everything again.
        assert!(!is_rest(answer(None)));
    }
}
