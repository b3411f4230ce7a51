//! One object's way: read and looked at, acted upon, published.

use std::time::{Duration, Instant};

use notifier_common::{Action, Definitions, Finding, Message, Reason, Status, Verdict};
use tokio::time::timeout_at;

use crate::clamd::{Clamd, ClamdError};
use crate::config::Config;
use crate::error::ScanError;
use crate::event::ObjectRef;
use crate::object::{self, Identity, Object, Opened, Progress, ReadError};
use crate::publish::publish;
use crate::record::{Outcome, Record};
use crate::service_error::ServiceError;
use crate::tags::{self, Scanned, Tagged};

/// Times that an object which is overwritten under our hands is scanned anew before its record
/// is given back to the trigger.
const MAX_OVERWRITES: u32 = 3;

/// What a sandbox builds once, at its start.
#[derive(Debug)]
pub struct App {
    /// The settings.
    pub config: Config,
    /// Reads objects, writes tags.
    pub s3: aws_sdk_s3::Client,
    /// Publishes findings.
    pub sns: aws_sdk_sns::Client,
    /// Looks.
    pub clamd: Clamd,
    /// What it looks for.
    pub definitions: Definitions,
    /// Whether clamd cannot read this process.
    pub shielded: bool,
}

/// Scans `object`, acts on the verdict and publishes it, and notes in `record` what happened.
/// Doing it twice is harmless.
///
/// # Errors
/// The step that failed. Then there is no verdict, or it was not told; the record has to be
/// delivered again.
pub async fn process(
    app: &App,
    object: &ObjectRef,
    deadline: Instant,
    record: &mut Record,
) -> Result<(), ScanError> {
    let mut object = object.clone();
    for _ in 0..MAX_OVERWRITES {
        let started = Instant::now();
        let (identity, verdict) = match look(app, &object, deadline, record).await? {
            Looked::At { identity, verdict } => (identity, verdict),
            Looked::Nothing(reason) => {
                skip(record, reason);
                return Ok(());
            }
        };
        record.version.clone_from(&identity.version_id);
        record.etag = Some(identity.etag.clone());
        record.size = Some(identity.size);
        let mut finding = finding(app, &object, &identity, verdict, started.elapsed(), record);

        // Published first: once the object is gone, a redelivery has nothing left to tell of.
        if finding.verdict.status() == Status::Infected && app.config.delete_infected_files {
            finding.action = Action::Delete;
            tell(app, &finding, record).await?;
            delete(app, &finding, &identity, record).await?;
            record.judge(&finding);
            return Ok(());
        }

        match tag(app, &finding, &identity, record).await? {
            Some(Tagged::Written | Tagged::Unchanged) => {
                if finding.verdict.status() == Status::Infected {
                    finding.action = Action::Tag;
                }
            }
            None | Some(Tagged::Full) => {}
            Some(gone @ (Tagged::Deleted | Tagged::Superseded)) => {
                skip(record, gone.as_str());
                return Ok(());
            }
            Some(Tagged::Overwritten) => {
                // The new bytes, whichever they are by now.
                object = ObjectRef { version_id: None, etag: None, ..object };
                continue;
            }
        }
        tell(app, &finding, record).await?;
        record.judge(&finding);
        return Ok(());
    }
    Err(ScanError::Overwritten(MAX_OVERWRITES))
}

fn skip(record: &mut Record, reason: &'static str) {
    record.outcome = Outcome::Skipped;
    record.reason = Some(reason);
}

enum Looked {
    At { identity: Identity, verdict: Verdict },
    Nothing(&'static str),
}

/// Has clamd look at the object. If clamd dies over it, it is looked at once more with no other
/// scan beside it: a file that kills the engine fails its own record and nobody else's.
async fn look(
    app: &App,
    object: &ObjectRef,
    deadline: Instant,
    record: &mut Record,
) -> Result<Looked, ScanError> {
    match look_once(app, object, 1, deadline, record).await {
        Err(ScanError::Clamd(error)) if error.is_gone() => {
            tracing::warn!(key = object.key, %error, "clamd went away during the scan; once more");
            look_once(app, object, app.clamd.limits().scans, deadline, record).await
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
    let waiting = Instant::now();
    let _permit = timeout_at(deadline.into(), app.clamd.permits().acquire_many(permits))
        .await
        .map_err(|_| ScanError::Deadline)?
        .expect("the semaphore is never closed");
    let ready = timeout_at(deadline.into(), app.clamd.ready()).await;
    record.engine = Some(ready.map_err(|_| ScanError::Deadline)??);
    record.wait_ms += milliseconds(waiting.elapsed());

    let opening = Instant::now();
    let opened = timeout_at(deadline.into(), object::open(&app.s3, object))
        .await
        .map_err(|_| ScanError::Deadline)??;
    record.open_ms += milliseconds(opening.elapsed());
    match opened {
        Opened::Object(object) => look_inside(app, *object, deadline, record).await,
        Opened::Deleted => Ok(Looked::Nothing("deleted")),
        Opened::Superseded => Ok(Looked::Nothing("superseded")),
        Opened::Archived(identity) => Ok(unscannable(identity, Reason::ArchivedStorageClass)),
    }
}

fn unscannable(identity: Identity, reason: Reason) -> Looked {
    Looked::At { identity, verdict: Verdict::Unscannable { reason } }
}

async fn look_inside(
    app: &App,
    object: Object,
    deadline: Instant,
    record: &mut Record,
) -> Result<Looked, ScanError> {
    let identity = object.identity.clone();
    if identity.size > app.clamd.limits().object {
        return Ok(unscannable(identity, Reason::TooLarge));
    }
    record.scans += 1;
    let started = Instant::now();
    let progress = Progress::default();
    let answer =
        timeout_at(deadline.into(), app.clamd.scan(object.into_stream(progress.clone()))).await;
    let streamed = progress.finished().map_or_else(|| started.elapsed(), |at| at - started);
    record.stream_ms += milliseconds(streamed);
    record.engine_ms += milliseconds(started.elapsed().saturating_sub(streamed));
    record.bytes_scanned += progress.bytes();
    record.resumes += progress.resumes();

    let Ok(answer) = answer else {
        // Its client has gone, but clamd goes on with the scan; only its end stops it.
        app.clamd.stop().await;
        return Err(ScanError::Deadline);
    };
    match answer {
        Err(ClamdError::Connection(source)) => match progress.take_failure() {
            Some(ReadError::Changed) => Ok(Looked::Nothing("superseded")),
            Some(failure) => Err(failure.into()),
            None => Err(ClamdError::Connection(source).into()),
        },
        Err(error) => Err(error.into()),
        Ok(verdict) => Ok(Looked::At { identity, verdict }),
    }
}

fn finding(
    app: &App,
    object: &ObjectRef,
    identity: &Identity,
    verdict: Verdict,
    duration: Duration,
    record: &Record,
) -> Finding {
    Finding {
        bucket: object.bucket.clone(),
        key: object.key.clone(),
        version: identity.version_id.clone(),
        etag: Some(identity.etag.clone()),
        sequencer: object.sequencer.clone(),
        size: identity.size,
        verdict,
        action: Action::No,
        engine: record.engine.clone().unwrap_or_default(),
        definitions: app.definitions.clone(),
        duration_ms: milliseconds(duration),
    }
}

/// None when tagging is switched off.
async fn tag(
    app: &App,
    finding: &Finding,
    identity: &Identity,
    record: &mut Record,
) -> Result<Option<Tagged>, ScanError> {
    if !app.config.tag_files {
        return Ok(None);
    }
    let started = Instant::now();
    let scanned = Scanned { bucket: &finding.bucket, key: &finding.key, identity };
    let status = finding.verdict.status();
    let tagged = tags::write(&app.s3, scanned, &app.config.tag_key, status).await;
    record.act_ms += milliseconds(started.elapsed());
    let tagged = tagged.map_err(ScanError::Tag)?;
    record.tag = Some(tagged.as_str());
    Ok(Some(tagged))
}

/// Deletes the bytes that were scanned and no others: the version, or the object if it still has
/// the ETag.
async fn delete(
    app: &App,
    finding: &Finding,
    identity: &Identity,
    record: &mut Record,
) -> Result<(), ScanError> {
    let started = Instant::now();
    let request = app.s3.delete_object().bucket(&finding.bucket).key(&finding.key);
    let request = match &identity.version_id {
        Some(version_id) => request.version_id(version_id),
        None => request.if_match(object::quoted(&identity.etag)),
    };
    let answer = request.send().await;
    record.act_ms += milliseconds(started.elapsed());
    match answer {
        Ok(_) => Ok(()),
        Err(error) => match ServiceError::new("DeleteObject", &error) {
            // Somebody else deleted or overwrote it: the infected bytes are gone.
            error if error.is_gone() || error.is_changed() => Ok(()),
            error => Err(ScanError::Delete(error)),
        },
    }
}

async fn tell(app: &App, finding: &Finding, record: &mut Record) -> Result<(), ScanError> {
    if finding.verdict == Verdict::Clean && !app.config.report_clean_files {
        return Ok(());
    }
    let started = Instant::now();
    let message = Message::render(finding, app.config.message_format);
    let told = publish(&app.sns, &app.config.findings_topic_arn, message).await;
    record.publish_ms += milliseconds(started.elapsed());
    told.map_err(ScanError::Publish)?;
    record.published = true;
    Ok(())
}

/// Whole milliseconds.
pub(crate) fn milliseconds(duration: Duration) -> u64 {
    duration.as_millis().try_into().unwrap_or(u64::MAX)
}
