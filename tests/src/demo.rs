//! What `make demo` shows: uploads of every kind, what became of each, and whether it is what it
//! should be.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use crate::findings::Finding;
use crate::generations::Generation;
use crate::processes;
use crate::samples;
use crate::sandbox::Invocation;
use crate::world::{UPLOADS, VERSIONED_UPLOADS, World, WorldOptions};

/// The whole real database takes some ten seconds to load where there is one slow core.
const START_DEADLINE: Duration = Duration::from_secs(180);
const FINDING_DEADLINE: Duration = Duration::from_secs(60);

/// One object and what should become of it.
struct Upload {
    what: &'static str,
    bucket: &'static str,
    key: &'static str,
    bytes: Vec<u8>,
    status: &'static str,
    action: &'static str,
    reason: Option<&'static str>,
}

/// What became of it.
struct Outcome {
    version: Option<String>,
    finding: Finding,
    took: Duration,
    cold: bool,
}

/// Runs the demo and writes what happens to `out` as it happens. `definitions` is a folder of
/// real ones; `None` makes test definitions. Says whether everything was as expected.
///
/// # Errors
///
/// A part is missing or does not start, or an object gets no finding at all.
pub async fn run(out: &mut impl Write, definitions: Option<PathBuf>) -> anyhow::Result<bool> {
    writeln!(out, "The packaged function and its clamd layer, run here as Lambda runs them.\n")?;
    match &definitions {
        Some(folder) => writeln!(out, "Definitions: {}.\n", printable(&folder.to_string_lossy()))?,
        None => writeln!(
            out,
            "Definitions: test ones, made just now, which know EICAR and little else. The real\n\
             ones come only from ClamAV's own servers; DEMO_DEFINITIONS_DIR=<folder> takes those\n\
             that you have.\n"
        )?,
    }
    let world = start(out, definitions).await?;

    let mut shown = Vec::new();
    for upload in uploads()? {
        let outcome = follow(out, &world, &upload).await?;
        shown.push((upload, outcome));
    }

    writeln!(out, "expected  got       tag            bytes     ms  start  object")?;
    let mut wrong = Vec::new();
    for (upload, outcome) in &shown {
        // Read again: a later version must not have changed the tag of an earlier one.
        let version = outcome.version.as_deref();
        let tags = world.tags(upload.bucket, upload.key, version).await?;
        let tag = tags.get(world.tag_key()).map(String::as_str);
        let differences = differences(upload, outcome, tag);
        writeln!(out, "{}", row(upload, outcome, tag))?;
        wrong.extend(differences.into_iter().map(|what| format!("{}: {what}", upload.what)));
    }
    drop(world);
    writeln!(out)?;
    for what in &wrong {
        writeln!(out, "WRONG  {}", printable(what))?;
    }
    if wrong.is_empty() {
        writeln!(out, "All {} as expected. Nothing is left running.", shown.len())?;
    }
    Ok(wrong.is_empty())
}

async fn start(out: &mut impl Write, definitions: Option<PathBuf>) -> anyhow::Result<World> {
    let begin = Instant::now();
    let mut options = WorldOptions::deployed()?;
    if let Some(folder) = definitions {
        options.generation = Some(Generation::of_folder(&folder)?);
    }
    let mut world = World::start(options).await?;
    writeln!(
        out,
        "started  S3, SQS and SNS (moto), sandbox          {:>6} ms",
        ms(begin.elapsed())
    )?;

    // Each bucket announces itself with a test event: two messages, in one batch or in two.
    let mut announced = BTreeSet::new();
    let first = world.bridge().wait_for(
        |delivery| {
            announced.extend(delivery.messages.clone());
            announced.len() >= 2
        },
        START_DEADLINE,
    );
    let first = first.await.context("waiting for the function's first invocation")?;
    let wrote = || world.sandbox().logs().tail(30);
    if let Invocation::FunctionError { error_type, message } = &first.outcome {
        bail!("the function cannot start: {error_type}: {message}; it wrote:\n{}", wrote());
    }
    let mut memory = 0;
    for pid in world.sandbox().clamd_pids() {
        memory += processes::peak_memory(pid)?;
    }
    writeln!(
        out,
        "ready    S3's test events are acknowledged; clamd holds {} MB\n",
        memory / 1_000_000
    )?;
    // A new sandbox, so that the first upload meets a cold one.
    world.replace_sandbox(|_| {}).await?;
    Ok(world)
}

/// Uploads, waits for the finding and shows both.
async fn follow(out: &mut impl Write, world: &World, upload: &Upload) -> anyhow::Result<Outcome> {
    let place = printable(&format!("s3://{}/{}", upload.bucket, upload.key));
    writeln!(out, "put      {place}")?;
    writeln!(out, "         {}, {} bytes", upload.what, upload.bytes.len())?;
    out.flush()?;
    let (begin, starts) = (Instant::now(), world.sandbox().cold_starts());
    let version = world.put(upload.bucket, upload.key, upload.bytes.clone()).await?;
    let finding = world.finding_for(upload.key, FINDING_DEADLINE).await?;
    let took = finding.at.duration_since(begin);
    let cold = world.sandbox().cold_starts() > starts;
    let tags = world.tags(upload.bucket, upload.key, version.as_deref()).await?;

    writeln!(out, "finding  {}", printable(&finding.message))?;
    for name in ["finding", "reason"] {
        if let Some(value) = finding.attribute(name) {
            writeln!(out, "         {name}: {}", printable(value))?;
        }
    }
    let tag_key = world.tag_key();
    let tag = tags.get(tag_key).map_or("none", String::as_str);
    writeln!(
        out,
        "tag      {}={}, {} ms after the put, {}\n",
        printable(tag_key),
        printable(tag),
        ms(took),
        start_word(cold)
    )?;
    Ok(Outcome { version, finding, took, cold })
}

fn uploads() -> anyhow::Result<Vec<Upload>> {
    let clean = |what, bucket, key, bytes| Upload {
        what,
        bucket,
        key,
        bytes,
        status: "clean",
        action: "no",
        reason: None,
    };
    let infected = |what, bucket, key, bytes| Upload {
        status: "infected",
        action: "tag",
        ..clean(what, bucket, key, bytes)
    };
    let eicar = samples::eicar();
    let three_deep = samples::zip_nested(&eicar, 3)?;
    let encrypted = samples::zip_encrypted(&eicar, "secret")?;
    let report = "contracts/report.txt";
    Ok(vec![
        clean("a text", UPLOADS, "minutes.txt", samples::text()),
        clean("a PDF", UPLOADS, "invoices/2026-11.pdf", samples::pdf("Invoice 4711")),
        infected("EICAR", UPLOADS, "eicar.com", eicar.clone()),
        infected("EICAR three zips deep", UPLOADS, "backup.zip", three_deep),
        Upload {
            status: "no",
            reason: Some("encrypted"),
            ..clean("EICAR in an encrypted zip", UPLOADS, "secret.zip", encrypted)
        },
        clean(
            "a key that S3 encodes in its events",
            UPLOADS,
            "holiday photos/naïve + façade 日本.txt",
            samples::text(),
        ),
        clean("version 1: a text", VERSIONED_UPLOADS, report, samples::text()),
        infected("version 2 of it: EICAR", VERSIONED_UPLOADS, report, eicar),
    ])
}

/// Where the outcome is not what the contract promises; empty when all is well.
fn differences(upload: &Upload, outcome: &Outcome, tag: Option<&str>) -> Vec<String> {
    let finding = &outcome.finding;
    let version = outcome.version.as_deref();
    let Upload { bucket, key, status, action, .. } = upload;
    let message = format!(
        "s3://{bucket}/{key} {} is {status}, {action} action executed",
        version.unwrap_or_default()
    );
    let subject = format!("s3-virusscan s3://{bucket}");
    let versioned = upload.bucket == VERSIONED_UPLOADS;

    let mut compared = vec![
        ("tag", tag, Some(*status)),
        ("message", Some(finding.message.as_str()), Some(message.as_str())),
        ("subject", Some(finding.subject.as_str()), Some(subject.as_str())),
    ];
    let attributes = [
        ("bucket", Some(*bucket)),
        ("key", Some(*key)),
        ("status", Some(*status)),
        ("action", Some(*action)),
        ("version", version),
        ("reason", upload.reason),
    ];
    let attribute = |(name, expected)| (name, finding.attribute(name), expected);
    compared.extend(attributes.into_iter().map(attribute));
    let mut differences: Vec<_> = compared
        .into_iter()
        .filter(|(_, got, expected)| got != expected)
        .map(|(name, got, expected)| format!("{name} is {got:?}, not {expected:?}"))
        .collect();

    if finding.attribute("finding").is_some() != (*status == "infected") {
        differences.push(format!("the signature's name is {:?}", finding.attribute("finding")));
    }
    if version.is_some() != versioned {
        differences.push(format!("the bucket gave the version {version:?}"));
    }
    differences
}

fn row(upload: &Upload, outcome: &Outcome, tag: Option<&str>) -> String {
    let got = outcome.finding.attribute("status").unwrap_or("none");
    let tag = tag.unwrap_or("none");
    // The key comes last: how wide a terminal shows its characters is not known here.
    format!(
        "{:<9} {:<9} {:<9} {:>10} {:>6}  {:<5}  {}: {}",
        upload.status,
        printable(got),
        printable(tag),
        upload.bytes.len(),
        ms(outcome.took),
        start_word(outcome.cold),
        upload.what,
        printable(upload.key)
    )
}

fn start_word(cold: bool) -> &'static str {
    if cold { "cold" } else { "warm" }
}

fn ms(time: Duration) -> u128 {
    time.as_millis()
}

/// The text without what would move a terminal's cursor, change its state or reorder its line:
/// whoever uploads chooses the key.
#[must_use]
pub fn printable(text: &str) -> String {
    let reorders = |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let mut safe = String::new();
    for c in text.chars() {
        if c.is_control() || reorders(c) {
            safe.extend(c.escape_unicode());
        } else {
            safe.push(c);
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a faultless function would give.
    fn outcome(upload: &Upload) -> Outcome {
        let version = (upload.bucket == VERSIONED_UPLOADS).then(|| "v1".to_owned());
        let attributes = [
            ("bucket", Some(upload.bucket)),
            ("key", Some(upload.key)),
            ("status", Some(upload.status)),
            ("action", Some(upload.action)),
            ("version", version.as_deref()),
            ("reason", upload.reason),
            ("finding", (upload.status == "infected").then_some("Eicar")),
        ];
        let owned =
            |(name, value): (&str, Option<&str>)| Some((name.to_owned(), value?.to_owned()));
        let finding = Finding {
            message: format!(
                "s3://{}/{} {} is {}, {} action executed",
                upload.bucket,
                upload.key,
                version.as_deref().unwrap_or(""),
                upload.status,
                upload.action
            ),
            subject: format!("s3-virusscan s3://{}", upload.bucket),
            attributes: attributes.into_iter().filter_map(owned).collect(),
            at: Instant::now(),
        };
        Outcome { version, finding, took: Duration::ZERO, cold: false }
    }

    #[test]
    fn finds_nothing_wrong_with_what_the_contract_promises() {
        for upload in uploads().expect("samples") {
            let right = outcome(&upload);
            assert_eq!(differences(&upload, &right, Some(upload.status)), Vec::<String>::new());
        }
    }

    #[test]
    fn finds_each_thing_that_is_wrong() {
        for upload in uploads().expect("samples") {
            let right = outcome(&upload);
            assert_eq!(differences(&upload, &right, None).len(), 1, "no tag");
            for name in right.finding.attributes.keys() {
                let mut wrong = outcome(&upload);
                wrong.finding.attributes.remove(name);
                assert_eq!(differences(&upload, &wrong, Some(upload.status)).len(), 1, "no {name}");
            }
            let mut wrong = outcome(&upload);
            wrong.finding.message = wrong.finding.message.replace(" is ", "  is ");
            assert_eq!(
                differences(&upload, &wrong, Some(upload.status)).len(),
                1,
                "another message"
            );
        }
    }

    #[test]
    fn escapes_what_a_terminal_would_obey() {
        assert_eq!(printable("a\u{1b}[2J\r\nb"), "a\\u{1b}[2J\\u{d}\\u{a}b");
        assert_eq!(printable("x\u{202e}txt.exe"), "x\\u{202e}txt.exe");
        assert_eq!(printable("naïve + façade 日本"), "naïve + façade 日本");
    }
}
