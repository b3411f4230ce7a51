//! One object's way: read and looked at, acted upon, published.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use function_common::clamd::resident;
use function_common::manifest::Manifest;
use function_common::service_error::{ServiceError, chain};
use jiff::Timestamp;
use notifier_common::{Action, Definitions, Finding, Message, Reason, Status, Verdict};

use crate::config::Config;
use crate::engine::{Engine, Generation};
use crate::error::ScanError;
use crate::event::ObjectRef;
use crate::event_bus::EventBus;
use crate::look::{Looked, look};
use crate::object::{self, Identity};
use crate::publish::publish;
use crate::record::{Outcome, Record};
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
    /// Sends them as events, if there is an event bus.
    pub event_bus: Option<EventBus>,
    /// Looks.
    pub engine: Arc<Engine>,
    /// Whether clamd cannot read this process.
    pub shielded: bool,
}

/// Scans `object`, acts on the verdict and publishes it, and notes in `record` what happened.
/// Doing it twice is harmless. On the `last_try` an object whose scan does not end before `deadline`
/// is `no`.
///
/// # Errors
/// The step that failed. Then there is no verdict, or it was not told; the record has to be
/// delivered again.
pub async fn process(
    app: &App,
    object: &ObjectRef,
    deadline: Instant,
    last_try: bool,
    record: &mut Record,
) -> Result<(), ScanError> {
    let mut object = object.clone();
    for _ in 0..MAX_OVERWRITES {
        let started = Instant::now();
        let looked = look(app, &object, deadline, record).await?;
        let judged = SystemTime::now();
        let (identity, verdict, generation) = match looked {
            Looked::At { identity, verdict, generation } => (identity, verdict, generation),
            Looked::OutOfTime { identity, generation } if last_try => {
                (identity, Verdict::Unscannable { reason: Reason::TimeLimit }, generation)
            }
            Looked::OutOfTime { .. } => return Err(ScanError::OutOfTime),
            Looked::Nothing(reason) => {
                skip(record, reason);
                return Ok(());
            }
        };
        record.version.clone_from(&identity.version_id);
        record.etag = Some(identity.etag.clone());
        record.size = Some(identity.size);
        let definitions = definitions(&generation.manifest, app.config.definitions_stale);
        record.definitions = Some(definitions.clone());
        record.memory_percent = memory_percent(app, &generation).await;
        let mut finding =
            finding(&object, &identity, verdict, definitions, started.elapsed(), record);
        // A generation that was replaced ends here, and not after the last request to AWS.
        drop(generation);

        // Published first: once the object is gone, a redelivery has nothing left to tell of.
        if finding.verdict.status() == Status::Infected && app.config.delete_infected_files {
            finding.action = Action::Delete;
            tell(app, &finding, judged, record).await?;
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
        tell(app, &finding, judged, record).await?;
        record.judge(&finding);
        return Ok(());
    }
    Err(ScanError::Overwritten(MAX_OVERWRITES))
}

fn skip(record: &mut Record, reason: &'static str) {
    record.outcome = Outcome::Skipped;
    record.reason = Some(reason);
}

/// Which definitions these are, and how old they are now.
fn definitions(manifest: &Manifest, stale: Duration) -> Definitions {
    let built = manifest.built.parse::<Timestamp>().unwrap_or(Timestamp::UNIX_EPOCH);
    let age = SystemTime::now().duration_since(built.into()).unwrap_or_default();
    Definitions {
        version: manifest.version,
        built: manifest.built.clone(),
        age_hours: age.as_secs() / 3600,
        stale: age >= stale,
    }
}

/// The share of the function's memory that it and its engine hold.
async fn memory_percent(app: &App, generation: &Generation) -> Option<u64> {
    let ours = resident(std::process::id())?;
    let used = ours.saturating_add(generation.memory().await.unwrap_or_default());
    used.saturating_mul(100).checked_div(u64::from(app.config.memory_mb) << 20)
}

fn finding(
    object: &ObjectRef,
    identity: &Identity,
    verdict: Verdict,
    definitions: Definitions,
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
        definitions,
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

/// Tells the topic and the event bus, each whatever becomes of the other.
async fn tell(
    app: &App,
    finding: &Finding,
    judged: SystemTime,
    record: &mut Record,
) -> Result<(), ScanError> {
    if finding.verdict == Verdict::Clean && !app.config.report_clean_files {
        return Ok(());
    }
    let started = Instant::now();
    let message = Message::render(finding, app.config.message_format);
    let publish = publish(&app.sns, &app.config.findings_topic_arn, message);
    let send = async {
        match &app.event_bus {
            Some(event_bus) => event_bus.send(finding, judged).await.map(Some),
            None => Ok(None),
        }
    };
    let (published, sent) = tokio::join!(publish, send);
    record.publish_ms += milliseconds(started.elapsed());
    record.published = published.is_ok();
    let sent = sent.map(|event_id| record.event_id = event_id);
    match (published, sent) {
        (Err(error), sent) => {
            if let Err(error) = sent {
                tracing::error!(error = chain(&error), "the event bus cannot be told either");
            }
            Err(ScanError::Publish(error))
        }
        (Ok(()), Err(error)) => Err(ScanError::EventBus(error)),
        (Ok(()), Ok(())) => Ok(()),
    }
}

/// Whole milliseconds.
pub(crate) fn milliseconds(duration: Duration) -> u64 {
    duration.as_millis().try_into().unwrap_or(u64::MAX)
}
