//! Has clamd look at a stream, and beside it checks whether readers agree about what passes by: on a
//! thread of its own, as unpacking takes time.

use std::io;

use archives::{Bounds, Flaw, agreement};
use bytes::Bytes;
use function_common::clamd::conf::{Limits, MAX_FILES};
use function_common::clamd::{Clamd, ClamdError};
use function_common::reply::Answer;
use futures_util::{Stream, StreamExt as _};
use notifier_common::Reason;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::io::{StreamReader, SyncIoBridge};

/// What clamd says of an encrypted zip: a finding, where the owner wants it to be one.
pub(crate) const ENCRYPTED: &str = "Heuristics.Encrypted.Zip";

/// Chunks that may wait to be checked.
const WAITING: usize = 4;

/// As [`Clamd::scan`]; but where clamd finds nothing in an archive that can be read otherwise than
/// clamd reads it, it is not clean.
///
/// # Errors
/// As [`Clamd::scan`].
pub(crate) async fn scan<S>(clamd: &Clamd, limits: &Limits, stream: S) -> Result<Answer, ClamdError>
where
    S: Stream<Item = io::Result<Bytes>>,
{
    let (sender, passing) = mpsc::channel(WAITING);
    let bounds = Bounds { members: MAX_FILES, member: u64::MAX, unpacked: limits.scan };
    let checked = tokio::task::spawn_blocking(move || {
        let passing = StreamReader::new(ReceiverStream::new(passing).map(io::Result::Ok));
        agreement::check(SyncIoBridge::new(passing), &bounds)
    });
    let passing = stream.then(move |bytes| {
        let sender = sender.clone();
        async move {
            if let Ok(bytes) = &bytes {
                // It may know enough already, as of what is no archive, and take no more.
                let _ = sender.send(Bytes::clone(bytes)).await;
            }
            bytes
        }
    });
    let answer = clamd.scan(passing).await?;
    if !matches!(answer, Answer::Clean | Answer::PortableExecutable) {
        return Ok(answer);
    }
    match checked.await {
        Ok(Err(Flaw::No(reason))) => {
            let said = if reason == Reason::Encrypted { ENCRYPTED } else { "its own contents" };
            Ok(Answer::Unscannable(reason, said.to_owned()))
        }
        Ok(_) => Ok(answer),
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}
