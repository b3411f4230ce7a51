//! What honesty costs: signatures of ours, clamd's debug log, the check of archives beside it.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use archives::{Bounds, agreement};
use bytes::Bytes;
use clamav_client::tokio::{Socket, scan_stream};
use function_common::clamd::honesty::SIGNATURES;

use super::engine::Engine;
use super::{Table, median, milliseconds, ratio};
use crate::stock_clamd::StockClamd;
use crate::{definitions, samples};

const TIMES: usize = 25;
const MIB: usize = 1 << 20;

pub(super) async fn measure(table: &mut Table<'_, impl std::io::Write>) -> anyhow::Result<()> {
    table.section("honesty (test definitions; medians of 25 scans)")?;
    let text = samples::text().repeat(16 * MIB / samples::text().len());
    let files = [
        ("text of 512 bytes", samples::text()),
        ("noise of 1 MiB", samples::noise(MIB)),
        ("zeros of 16 MiB", vec![0; 16 * MIB]),
        ("zip of 301 members", samples::zip_of_many(300, b"last")?),
        ("16 MiB of text in a gzip", samples::gzip(&text)?),
    ];
    let plain = tempfile::tempdir().context("making a folder for definitions")?;
    definitions::write(plain.path(), 1, jiff::Timestamp::now())?;
    let ours = tempfile::tempdir().context("making a folder for definitions")?;
    definitions::write(ours.path(), 1, jiff::Timestamp::now())?;
    std::fs::write(ours.path().join("honesty.ldb"), SIGNATURES).context("writing signatures")?;

    // Else they would remember the file from the scan before.
    let looks = "DisableCache yes\n";
    let stock = StockClamd::start_with(plain.path(), looks).await?;
    let signed = StockClamd::start_with(ours.path(), looks).await?;
    let logged = StockClamd::start_with(ours.path(), &format!("{looks}Debug yes\n")).await?;
    let engine = Engine::start().await?;
    for (name, file) in &files {
        let base = scans(stock.socket(), file).await?;
        table
            .row(&milliseconds(base), &format!("{name}: clamd with its own settings, no cache"))?;
        for (socket, what) in [
            (signed.socket(), "and the honesty database"),
            (logged.socket(), "and its debug log, which nobody reads"),
            (engine.socket(), "as the scanner starts it and reads its log"),
        ] {
            let took = scans(socket, file).await?;
            table.row(&milliseconds(took), &format!("{what}: {} times", ratio(took, base)))?;
        }
        let took = checks(file)?;
        table.row(
            &milliseconds(took),
            &format!("the check beside it, by itself: {} times", ratio(took, base)),
        )?;
    }
    Ok(())
}

async fn scans(socket: &Path, file: &[u8]) -> anyhow::Result<Duration> {
    let mut times = Vec::new();
    for _ in 0..TIMES {
        let stream = futures_util::stream::iter([Ok(Bytes::copy_from_slice(file))]);
        let begin = Instant::now();
        let answer = scan_stream(stream, Socket { socket_path: socket }, None);
        let answer = answer.await.context("asking clamd")?;
        times.push(begin.elapsed());
        ensure!(answer == b"stream: OK\0", "clamd answered {}", String::from_utf8_lossy(&answer));
    }
    Ok(median(&times))
}

fn checks(file: &[u8]) -> anyhow::Result<Duration> {
    let bounds = Bounds { members: u64::MAX, member: u64::MAX, unpacked: u64::MAX };
    let mut times = Vec::new();
    for _ in 0..TIMES {
        let begin = Instant::now();
        let checked = agreement::check(file, &bounds);
        times.push(begin.elapsed());
        ensure!(checked.is_ok(), "the check says {checked:?}");
    }
    Ok(median(&times))
}
