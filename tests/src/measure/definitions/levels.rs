//! How hard the updater should compress.

use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use function_common::manifest::{BASE, PE};
use sha2::{Digest as _, Sha256};

use super::stage::{Stage, files};
use super::{Table, bytes, seconds};

const LEVELS: [i32; 4] = [1, 3, 6, 9];

pub(super) fn measure(table: &mut Table<'_, impl Write>, stage: &Stage) -> anyhow::Result<()> {
    table.section("Zstandard's levels: base and pe, size, time to pack, verify, unpack")?;
    for level in LEVELS {
        let [base, pe] = [shard(stage, BASE, level)?, shard(stage, PE, level)?];
        table.row(
            &bytes(base.size + pe.size),
            &format!(
                "level {level}; pack {}; base {}: verify {}, unpack {}; pe {}: {}, {}",
                seconds(base.pack + pe.pack),
                bytes(base.size),
                seconds(base.verify),
                seconds(base.unpack),
                bytes(pe.size),
                seconds(pe.verify),
                seconds(pe.unpack),
            ),
        )?;
    }
    Ok(())
}

#[derive(Default)]
struct Packed {
    size: u64,
    pack: Duration,
    verify: Duration,
    unpack: Duration,
}

/// One file after the other, on one core.
fn shard(stage: &Stage, name: &str, level: i32) -> anyhow::Result<Packed> {
    let mut sum = Packed::default();
    for file in files(&stage.shard(name))? {
        let reading = || format!("reading {}", file.display());
        let plain = std::fs::read(&file).with_context(reading)?;
        let begin = Instant::now();
        let packed = zstd::encode_all(&plain[..], level).context("compressing")?;
        sum.pack += begin.elapsed();
        drop(plain);
        sum.size += packed.len() as u64;

        let begin = Instant::now();
        std::hint::black_box(Sha256::digest(&packed));
        sum.verify += begin.elapsed();

        let begin = Instant::now();
        zstd::stream::copy_decode(&packed[..], std::io::sink()).context("decompressing")?;
        sum.unpack += begin.elapsed();
    }
    Ok(sum)
}
