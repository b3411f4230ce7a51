//! Has the shards of the definitions look at one object, and joins what they say.

use std::sync::Arc;
use std::time::Instant;

use function_common::clamd::{Clamd, ClamdError};
use function_common::manifest::PORTABLE_EXECUTABLE;
use function_common::reply::{Answer, ReplyError};
use notifier_common::{Reason, Verdict};
use tokio::time::timeout_at;

use crate::agreement;
use crate::engine::{EngineError, Generation, Shard};
use crate::error::ScanError;
use crate::event::ObjectRef;
use crate::large;
use crate::object::{self, Identity, Object, Opened, Progress, ReadError};
use crate::record::Record;
use crate::scan::{App, milliseconds};

/// What came of looking.
#[derive(Debug)]
pub enum Looked {
    /// A verdict on exactly these bytes.
    At {
        /// The bytes.
        identity: Identity,
        /// What they are.
        verdict: Verdict,
        /// Who said so.
        generation: Arc<Generation>,
    },
    /// The deadline came while clamd had these bytes.
    OutOfTime {
        /// The bytes.
        identity: Identity,
        /// Who did not get ready.
        generation: Arc<Generation>,
    },
    /// There is nothing to judge, for this reason.
    Nothing(&'static str),
}

/// Looks at the object. If clamd dies over it, or says beside another scan that it could not open
/// something, it is looked at once more with no other scan beside it: a file that kills the engine
/// fails its own record and nobody else's, and what could not be opened is its own `no`.
///
/// # Errors
/// When there is no verdict.
pub async fn look(
    app: &App,
    object: &ObjectRef,
    deadline: Instant,
    record: &mut Record,
) -> Result<Looked, ScanError> {
    match look_once(app, object, 1, deadline, record).await {
        Err(ScanError::Engine(EngineError::Clamd(error)))
            if error.is_gone() || error.is_doubt() =>
        {
            tracing::warn!(key = object.key, %error, "no answer that counts; once more, alone");
            look_once(app, object, app.engine.scans(), deadline, record).await
        }
        other => other,
    }
}

async fn look_once(
    app: &App,
    object: &ObjectRef,
    permits: u32,
    deadline: Instant,
    record: &mut Record,
) -> Result<Looked, ScanError> {
    record.detail = None;
    let waiting = Instant::now();
    let _permit = timeout_at(deadline.into(), app.engine.permits().acquire_many(permits))
        .await
        .map_err(|_| ScanError::Deadline)?
        .expect("the semaphore is never closed");
    let generation = timeout_at(deadline.into(), app.engine.current()).await;
    let generation = generation.map_err(|_| ScanError::Deadline)??;
    record.judged_by(&generation.manifest);
    record.wait_ms += milliseconds(waiting.elapsed());

    let (identity, base) =
        match ask(app, &generation, &generation.base, object, deadline, record).await? {
            Asked::Answer(identity, answer) => (identity, answer),
            Asked::Unscannable(identity, reason) => {
                let verdict = Verdict::Unscannable { reason };
                return Ok(Looked::At { identity, verdict, generation });
            }
            Asked::Large(opened) => {
                return large::look(app, generation, *opened, object, deadline, record).await;
            }
            Asked::OutOfTime(identity) => return Ok(Looked::OutOfTime { identity, generation }),
            Asked::Nothing(reason) => return Ok(Looked::Nothing(reason)),
        };
    let pe = match (&generation.pe, &base) {
        (Some(pe), Answer::PortableExecutable | Answer::Unscannable(..)) => {
            // The same bytes once more; keeping them would take memory or /tmp for every object.
            let same = same(object, &identity);
            record.pe = true;
            match ask(app, &generation, pe, &same, deadline, record).await? {
                Asked::Answer(_, answer) => Some(answer),
                Asked::Large(_) => Some(Answer::Unscannable(Reason::TooLarge, String::new())),
                Asked::Unscannable(identity, reason) => {
                    let verdict = Verdict::Unscannable { reason };
                    return Ok(Looked::At { identity, verdict, generation });
                }
                Asked::OutOfTime(identity) => {
                    return Ok(Looked::OutOfTime { identity, generation });
                }
                Asked::Nothing(reason) => return Ok(Looked::Nothing(reason)),
            }
        }
        _ => None,
    };
    let verdict = join(base, pe).map_err(EngineError::Clamd)?;
    Ok(Looked::At { identity, verdict, generation })
}

/// The same bytes again, whatever the event named.
pub(crate) fn same(object: &ObjectRef, identity: &Identity) -> ObjectRef {
    ObjectRef {
        version_id: identity.version_id.clone(),
        etag: Some(identity.etag.clone()),
        ..object.clone()
    }
}

/// What the shards say together. The base shard's `PortableExecutable` only says that the other one
/// must look; everything that it cannot vouch for, the other one cannot make good.
pub(crate) fn join(base: Answer, pe: Option<Answer>) -> Result<Verdict, ClamdError> {
    match (base, pe) {
        (Answer::Infected(signature), _) | (_, Some(Answer::Infected(signature))) => {
            Ok(Verdict::Infected { signatures: vec![signature] })
        }
        // Damage may be all that clamd's log shows of what a signature of the other shard names.
        (Answer::Unscannable(Reason::Damaged, _), Some(Answer::Unscannable(reason, _)))
        | (Answer::Unscannable(reason, _), _)
        | (Answer::PortableExecutable, Some(Answer::Unscannable(reason, _))) => {
            Ok(Verdict::Unscannable { reason })
        }
        (Answer::Clean, None) | (Answer::PortableExecutable, Some(Answer::Clean)) => {
            Ok(Verdict::Clean)
        }
        // The updater puts this name into the base shard of two only.
        (Answer::Clean, Some(_)) | (Answer::PortableExecutable, _) => {
            Err(ReplyError::Unknown { text: PORTABLE_EXECUTABLE.to_owned() }.into())
        }
    }
}

/// What one shard was asked and said.
enum Asked {
    Answer(Identity, Answer),
    /// Not asked: clamd does not take as much at once.
    Large(Box<Object>),
    /// Not asked: it could not have looked.
    Unscannable(Identity, Reason),
    /// It had not answered when the deadline came.
    OutOfTime(Identity),
    Nothing(&'static str),
}

async fn ask(
    app: &App,
    generation: &Generation,
    shard: &Shard,
    object: &ObjectRef,
    deadline: Instant,
    record: &mut Record,
) -> Result<Asked, ScanError> {
    let clamd = ready(app, shard, deadline, record).await?;
    let object = match open(app, object, deadline, record).await? {
        Opened::Object(object) => object,
        Opened::Deleted => return Ok(Asked::Nothing("deleted")),
        Opened::Superseded => return Ok(Asked::Nothing("superseded")),
        Opened::Archived(identity) => {
            return Ok(Asked::Unscannable(identity, Reason::ArchivedStorageClass));
        }
        Opened::CustomerKey(identity) => {
            return Ok(Asked::Unscannable(identity, Reason::CustomerKey));
        }
    };
    let identity = object.source.identity.clone();
    if identity.size > generation.limits.object {
        return Ok(Asked::Large(object));
    }

    record.scans += 1;
    let started = Instant::now();
    let progress = Progress::default();
    let stream = object.into_stream(progress.clone());
    let looking = agreement::scan(clamd, &generation.limits, stream);
    let answer = timeout_at(deadline.into(), looking).await;
    let streamed = progress.finished().map_or_else(|| started.elapsed(), |at| at - started);
    record.stream_ms += milliseconds(streamed);
    record.engine_ms += milliseconds(started.elapsed().saturating_sub(streamed));
    record.bytes_scanned += progress.bytes();
    record.resumes += progress.resumes();

    let Ok(answer) = answer else {
        // Its client has gone, but clamd goes on with the scan; only its end stops it.
        shard.stop().await;
        return Ok(Asked::OutOfTime(identity));
    };
    match answer {
        Err(ClamdError::Connection(source)) => match progress.take_failure() {
            Some(ReadError::Changed) => Ok(Asked::Nothing("superseded")),
            Some(failure) => Err(failure.into()),
            None if Instant::now() >= deadline => Ok(Asked::OutOfTime(identity)),
            None => Err(EngineError::Clamd(ClamdError::Connection(source)).into()),
        },
        // A neighbour's time ended in the same moment, and took clamd with it.
        Err(error) if error.is_gone() && Instant::now() >= deadline => {
            Ok(Asked::OutOfTime(identity))
        }
        Err(error) => Err(EngineError::Clamd(error).into()),
        Ok(answer) => Ok(Asked::Answer(identity, settled(app, answer, record))),
    }
}

/// The answer by the owner's settings.
pub(crate) fn settled(app: &App, answer: Answer, record: &mut Record) -> Answer {
    let Answer::Unscannable(reason, said) = answer else { return answer };
    record.detail.get_or_insert_with(|| said.clone());
    if reason == Reason::Encrypted && app.config.encrypted_is_infected {
        Answer::Infected(said)
    } else {
        Answer::Unscannable(reason, said)
    }
}

/// Waits until the shard's clamd can be asked.
pub(crate) async fn ready<'shard>(
    app: &App,
    shard: &'shard Shard,
    deadline: Instant,
    record: &mut Record,
) -> Result<&'shard Clamd, ScanError> {
    let waiting = Instant::now();
    let ready = async {
        let clamd = shard.clamd().await?;
        let engine = clamd.ready().await?;
        record.engine = Some(engine);
        record.confined = Some(app.shielded && clamd.filtered());
        Ok::<_, EngineError>(clamd)
    };
    let clamd = timeout_at(deadline.into(), ready).await.map_err(|_| ScanError::Deadline)??;
    record.wait_ms += milliseconds(waiting.elapsed());
    Ok(clamd)
}

/// Opens the object.
pub(crate) async fn open(
    app: &App,
    object: &ObjectRef,
    deadline: Instant,
    record: &mut Record,
) -> Result<Opened, ScanError> {
    let opening = Instant::now();
    let opened = timeout_at(deadline.into(), object::open(&app.s3, object)).await;
    let opened = opened.map_err(|_| ScanError::Deadline)??;
    record.open_ms += milliseconds(opening.elapsed());
    Ok(opened)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stronger_answer_wins_and_nothing_is_clean_that_one_shard_could_not_vouch_for() {
        let infected = |name: &str| Answer::Infected(name.to_owned());
        let found = |name: &str| Verdict::Infected { signatures: vec![name.to_owned()] };
        let no = |reason| Verdict::Unscannable { reason };
        let unscannable = |reason| Answer::Unscannable(reason, String::new());
        let encrypted = || unscannable(Reason::Encrypted);
        let exe = || Answer::PortableExecutable;
        for (base, pe, verdict) in [
            (Answer::Clean, None, Verdict::Clean),
            (infected("A"), None, found("A")),
            (encrypted(), None, no(Reason::Encrypted)),
            (exe(), Some(Answer::Clean), Verdict::Clean),
            (exe(), Some(infected("B")), found("B")),
            (exe(), Some(encrypted()), no(Reason::Encrypted)),
            (encrypted(), Some(Answer::Clean), no(Reason::Encrypted)),
            (encrypted(), Some(infected("B")), found("B")),
            (encrypted(), Some(unscannable(Reason::LimitSize)), no(Reason::Encrypted)),
            (unscannable(Reason::Damaged), Some(encrypted()), no(Reason::Encrypted)),
            (unscannable(Reason::Damaged), Some(Answer::Clean), no(Reason::Damaged)),
        ] {
            let case = format!("{base:?} and {pe:?}");
            assert_eq!(join(base, pe).unwrap(), verdict, "{case}");
        }
        for (base, pe) in [(exe(), None), (exe(), Some(exe())), (Answer::Clean, Some(exe()))] {
            let case = format!("{base:?} and {pe:?}");
            assert!(join(base, pe).is_err(), "{case}");
        }
    }
}
