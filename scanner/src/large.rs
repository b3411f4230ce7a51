//! Looks at an object that clamd does not take as a whole: an archive is taken apart while it
//! streams by, and each of its members is looked at as an object of its own. It is clean when all of
//! them are and the archive was accounted for byte by byte. Anything else is too large.

mod taken_apart;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use archives::{Bounds, Flaw};
use function_common::clamd::conf::{Limits, MAX_FILES};
use function_common::clamd::{Clamd, ClamdError};
use function_common::reply::Answer;
use futures_util::StreamExt as _;
use notifier_common::Reason;
use tokio::time::timeout_at;
use tokio_stream::wrappers::ReceiverStream;

use crate::agreement::{self, ENCRYPTED};
use crate::engine::{EngineError, Generation, Shard};
use crate::error::ScanError;
use crate::event::ObjectRef;
use crate::look::{Looked, join, open, ready, same, settled};
use crate::object::{Object, Opened, Progress, ReadError};
use crate::record::Record;
use crate::scan::{App, milliseconds};
use taken_apart::{Member, Shown, TakenApart};

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
        limits: generation.limits,
        bounds: Bounds {
            members: MAX_FILES,
            member: generation.limits.object,
            unpacked: identity.size.saturating_mul(MAX_RATIO),
        },
        deadline,
        record,
    };
    let base = match pass.run(app, &generation.base, object, None).await? {
        Ran::Through(said) => said,
        Ran::OutOfTime => return Ok(Looked::OutOfTime { identity, generation }),
        Ran::Superseded => return Ok(Looked::Nothing("superseded")),
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
                Ran::Through(said) => Some(said.answer()),
                Ran::OutOfTime => return Ok(Looked::OutOfTime { identity, generation }),
                Ran::Superseded => return Ok(Looked::Nothing("superseded")),
            }
        }
        _ => None,
    };
    let verdict = join(base.answer(), pe).map_err(EngineError::Clamd)?;
    Ok(Looked::At { identity, verdict, generation })
}

/// How a pass ended.
enum Ran {
    Through(Said),
    /// The deadline came first.
    OutOfTime,
    /// The object was overwritten meanwhile.
    Superseded,
}

/// What one shard says of all members that it was shown.
#[derive(Debug, Default)]
struct Said {
    infected: Option<String>,
    /// The first reason why it is not clean, and of what.
    no: Option<(Reason, String)>,
    /// Members that the other shard has to look at as well.
    again: BTreeSet<u64>,
}

impl Said {
    /// Takes over what was said of one member; none if it can be shown to nobody.
    fn take(&mut self, answer: Answer, member: Option<u64>) {
        match answer {
            Answer::Clean => {}
            Answer::Infected(signature) => self.infected = Some(signature),
            Answer::PortableExecutable => self.again.extend(member),
            Answer::Unscannable(reason, said) => {
                self.no.get_or_insert((reason, said));
                self.again.extend(member);
            }
        }
    }

    /// As if the archive were one file.
    fn answer(self) -> Answer {
        match (self.infected, self.no) {
            (Some(signature), _) => Answer::Infected(signature),
            (None, Some((reason, said))) => Answer::Unscannable(reason, said),
            (None, None) if self.again.is_empty() => Answer::Clean,
            (None, None) => Answer::PortableExecutable,
        }
    }
}

/// Once through the archive.
struct Pass<'record> {
    limits: Limits,
    bounds: Bounds,
    deadline: Instant,
    record: &'record mut Record,
}

impl Pass<'_> {
    /// Has `shard` look at the members, all or `only` these.
    async fn run(
        &mut self,
        app: &App,
        shard: &Shard,
        object: Object,
        only: Option<BTreeSet<u64>>,
    ) -> Result<Ran, ScanError> {
        let deadline = self.deadline;
        let clamd = ready(app, shard, deadline, self.record).await?;
        let started = Instant::now();
        let progress = Progress::default();
        let looking = self.look(app, clamd, object, only, &progress);
        let said = timeout_at(deadline.into(), looking).await;
        self.record.stream_ms += milliseconds(started.elapsed());
        self.record.resumes += progress.resumes();
        match said {
            Err(_) => {
                // Its client has gone, but clamd goes on with the scan; only its end stops it.
                shard.stop().await;
                Ok(Ran::OutOfTime)
            }
            // A neighbour's time ended in the same moment, and took clamd with it.
            Ok(Err(ScanError::Engine(EngineError::Clamd(error))))
                if error.is_gone() && Instant::now() >= deadline =>
            {
                Ok(Ran::OutOfTime)
            }
            Ok(Err(ScanError::Read(ReadError::Changed))) => Ok(Ran::Superseded),
            Ok(said) => said.map(Ran::Through),
        }
    }

    async fn look(
        &mut self,
        app: &App,
        clamd: &Clamd,
        object: Object,
        only: Option<BTreeSet<u64>>,
        progress: &Progress,
    ) -> Result<Said, ScanError> {
        let mut said = Said::default();
        let Some(mut archive) = TakenApart::start(object, self.bounds, only, progress).await?
        else {
            said.no = Some((Reason::TooLarge, "no archive".to_owned()));
            return Ok(said);
        };
        self.record.scans += 1;
        let mut failure: Option<ClamdError> = None;
        while said.infected.is_none()
            && failure.is_none()
            && let Some(Shown { index, member }) = archive.shown.recv().await
        {
            match member {
                Member::Closed(reason) => {
                    said.take(settled(app, closed(reason), self.record), None);
                }
                Member::Open(bytes) => {
                    let record = &mut *self.record;
                    record.members += 1;
                    let bytes = ReceiverStream::new(bytes).inspect(|bytes| {
                        record.bytes_scanned += bytes.as_ref().map_or(0, |it| it.len() as u64);
                    });
                    match agreement::scan(clamd, &self.limits, bytes).await {
                        Ok(answer) => {
                            said.take(settled(app, answer, self.record), Some(index));
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
            (Err(Flaw::No(reason)), _) => {
                said.no.get_or_insert((reason, "the archive as a whole".to_owned()));
            }
            (_, Some(failure)) => return Err(EngineError::Clamd(failure).into()),
            (Ok(()), None) => {}
            (Err(Flaw::Stopped), None) => unreachable!("it is stopped after a failure only"),
        }
        Ok(said)
    }
}

/// What clamd would say of a member that nobody can look into.
fn closed(reason: Reason) -> Answer {
    let said = match reason {
        Reason::Encrypted => ENCRYPTED,
        _ => "a member of the archive",
    };
    Answer::Unscannable(reason, said.to_owned())
}
