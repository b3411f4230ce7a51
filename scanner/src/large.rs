//! Looks at an object that clamd does not take as a whole: an archive is taken apart while it
//! streams by, and each of its members is looked at as an object of its own. It is clean when all of
//! them are and the archive was accounted for byte by byte. Anything else is too large.

mod taken_apart;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use archives::{Bounds, Flaw};
use bytes::Bytes;
use function_common::clamd::{Clamd, ClamdError};
use function_common::reply::Answer;
use futures_util::StreamExt as _;
use notifier_common::Reason;
use tokio::time::timeout_at;
use tokio_stream::wrappers::ReceiverStream;

use crate::engine::{EngineError, Generation, Shard};
use crate::error::ScanError;
use crate::event::ObjectRef;
use crate::look::{Looked, join, open, ready, same};
use crate::object::{Object, Opened, Progress, ReadError};
use crate::record::Record;
use crate::scan::{App, milliseconds};
use taken_apart::{Shown, TakenApart};

/// As many as clamd takes of an archive that it opens itself (`MaxFiles`).
const MAX_MEMBERS: u64 = 100_000;

/// The members together, unpacked, over the object's size. Text packs to a tenth, logs that repeat
/// themselves to a fiftieth. What is beyond this takes more time than there is.
const MAX_RATIO: u64 = 100;

/// Looks at `object`, which `reference` names.
///
/// # Errors
/// When there is no verdict.
pub(crate) async fn look(
    app: &App,
    generation: Arc<Generation>,
    object: Object,
    reference: &ObjectRef,
    deadline: Instant,
    record: &mut Record,
) -> Result<Looked, ScanError> {
    let identity = object.source.identity.clone();
    let mut pass = Pass {
        bounds: Bounds {
            members: MAX_MEMBERS,
            member: generation.limits.object,
            unpacked: identity.size.saturating_mul(MAX_RATIO),
        },
        deadline,
        record,
    };
    let Some(base) = pass.run(app, &generation.base, object, None).await? else {
        return Ok(Looked::Nothing("superseded"));
    };
    // The other shard is shown those members only that it has to look at; they are not kept.
    let pe = match &generation.pe {
        Some(shard) if base.infected.is_none() && !base.again.is_empty() => {
            pass.record.pe = true;
            let same = same(reference, &identity);
            let object = match open(app, &same, deadline, pass.record).await? {
                Opened::Object(object) => *object,
                _ => return Ok(Looked::Nothing("superseded")),
            };
            let only = base.again.clone();
            match pass.run(app, shard, object, Some(only)).await? {
                Some(said) => Some(said.answer()),
                None => return Ok(Looked::Nothing("superseded")),
            }
        }
        _ => None,
    };
    let verdict = join(base.answer(), pe).map_err(EngineError::Clamd)?;
    Ok(Looked::At { identity, verdict, generation })
}

/// What one shard says of all members that it was shown.
#[derive(Debug, Default)]
struct Said {
    infected: Option<String>,
    /// The first reason why it is not clean.
    no: Option<Reason>,
    /// Members that the other shard has to look at as well.
    again: BTreeSet<u64>,
}

impl Said {
    fn no(&mut self, reason: Reason) {
        self.no.get_or_insert(reason);
    }

    /// As if the archive were one file.
    fn answer(self) -> Answer {
        match (self.infected, self.no) {
            (Some(signature), _) => Answer::Infected(signature),
            (None, Some(reason)) => Answer::Unscannable(reason),
            (None, None) if self.again.is_empty() => Answer::Clean,
            (None, None) => Answer::PortableExecutable,
        }
    }
}

/// Once through the archive.
struct Pass<'record> {
    bounds: Bounds,
    deadline: Instant,
    record: &'record mut Record,
}

impl Pass<'_> {
    /// Has `shard` look at the members, all or `only` these. None if the object was overwritten
    /// meanwhile.
    async fn run(
        &mut self,
        app: &App,
        shard: &Shard,
        object: Object,
        only: Option<BTreeSet<u64>>,
    ) -> Result<Option<Said>, ScanError> {
        let clamd = ready(app, shard, self.deadline, self.record).await?;
        let started = Instant::now();
        self.record.scans += 1;
        let progress = Progress::default();
        let deadline = self.deadline;
        let looking = self.look(clamd, object, only, &progress);
        let said = timeout_at(deadline.into(), looking).await;
        self.record.stream_ms += milliseconds(started.elapsed());
        self.record.resumes += progress.resumes();
        match said {
            Err(_) => {
                // Its client has gone, but clamd goes on with the scan; only its end stops it.
                shard.stop().await;
                Err(ScanError::Deadline)
            }
            Ok(Err(ScanError::Read(ReadError::Changed))) => Ok(None),
            Ok(said) => said.map(Some),
        }
    }

    async fn look(
        &mut self,
        clamd: &Clamd,
        object: Object,
        only: Option<BTreeSet<u64>>,
        progress: &Progress,
    ) -> Result<Said, ScanError> {
        let mut said = Said::default();
        let Some(mut archive) = TakenApart::start(object, self.bounds, only, progress).await?
        else {
            said.no(Reason::TooLarge);
            return Ok(said);
        };
        let mut failure: Option<ClamdError> = None;
        while said.infected.is_none()
            && failure.is_none()
            && let Some(shown) = archive.shown.recv().await
        {
            match shown {
                Shown::Closed(reason) => said.no(reason),
                Shown::Member { index, bytes } => {
                    let bytes_scanned = &mut self.record.bytes_scanned;
                    let count = |bytes: &Result<Bytes, _>| {
                        *bytes_scanned += bytes.as_ref().map_or(0, |bytes| bytes.len() as u64);
                    };
                    self.record.members += 1;
                    match clamd.scan(ReceiverStream::new(bytes).inspect(count)).await {
                        Ok(Answer::Clean) => {}
                        Ok(Answer::Infected(signature)) => said.infected = Some(signature),
                        Ok(Answer::PortableExecutable) => {
                            said.again.insert(index);
                        }
                        Ok(Answer::Unscannable(reason)) => {
                            said.no(reason);
                            said.again.insert(index);
                        }
                        Err(error) => failure = Some(error),
                    }
                }
            }
        }
        if said.infected.is_some() {
            return Ok(said);
        }
        // What is wrong with the archive is what made a scan fail, if one did.
        match (archive.end().await?, failure) {
            (Err(Flaw::No(reason)), _) => said.no(reason),
            (_, Some(failure)) => return Err(EngineError::Clamd(failure).into()),
            (Ok(()), None) => {}
            (Err(Flaw::Stopped), None) => unreachable!("it is stopped after a failure only"),
        }
        Ok(said)
    }
}
