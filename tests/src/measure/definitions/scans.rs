//! What one scan costs, by what clamd has loaded.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use ::bytes::Bytes;
use anyhow::{Context as _, ensure};
use fastrand::Rng;
use function_common::manifest::{BASE, PE};
use function_common::reply::Answer;

use super::super::milliseconds;
use super::clamds::Ours;
use super::stage::Stage;
use super::{Table, median, ratio};
use crate::samples;

/// Name, content, how often.
type Sample = (&'static str, Vec<u8>, usize);

pub(super) async fn measure(
    table: &mut Table<'_, impl Write>,
    stage: &Stage,
) -> anyhow::Result<()> {
    let mut noise = vec![0; 1 << 20];
    Rng::with_seed(1).fill(&mut noise);
    let samples: [Sample; 3] = [
        ("text of 1 KB", samples::text().repeat(2), 30),
        ("zip of 301 members", samples::zip_of_many(300, b"last\n")?, 3),
        ("Windows program of 1 MB (noise)", samples::program(&noise), 10),
    ];
    let whole = scans(&stage.plain(), &samples).await?;
    let base = scans(&stage.shard(BASE), &samples).await?;
    let pe = scans(&stage.shard(PE), &samples).await?;
    table.section("a scan (medians)")?;
    for (((name, ..), whole), (base, pe)) in samples.iter().zip(whole).zip(base.into_iter().zip(pe))
    {
        table.row(
            &milliseconds(whole.0),
            &format!(
                "{name}, whole database; base {} ({}), pe {} ({})",
                milliseconds(base.0),
                ratio(base.0, whole.0),
                milliseconds(pe.0),
                ratio(pe.0, whole.0),
            ),
        )?;
        let program = matches!(base.1, Answer::PortableExecutable);
        ensure!(program == name.contains("program"), "the base shard says {:?} of {name}", base.1);
    }
    Ok(())
}

async fn scans(folder: &Path, samples: &[Sample]) -> anyhow::Result<Vec<(Duration, Answer)>> {
    let ours = Ours::start(folder)?;
    ours.ready(Instant::now()).await?;
    let mut all = Vec::new();
    for (name, content, runs) in samples {
        let (mut times, mut last) = (Vec::new(), None);
        for _ in 0..*runs {
            let stream = futures_util::stream::iter([Ok(Bytes::from(content.clone()))]);
            let begin = Instant::now();
            let answer = ours.clamd.scan(stream).await;
            times.push(begin.elapsed());
            last = Some(answer.with_context(|| format!("scanning the {name}"))?);
        }
        all.push((median(&times), last.context("at least one scan")?));
    }
    Ok(all)
}
