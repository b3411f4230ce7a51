//! The figures of `docs/SPECIFICATION.md` on definitions: what a database of the public one's size
//! costs, in the forms that it can have, next to stock clamd.

mod child;
mod clamds;
mod cold;
mod forms;
mod levels;
mod scans;
mod stage;

use std::io::Write;
use std::time::Duration;

use super::{Table, bytes, load, machine, median, ratio};
use stage::Stage;

pub use child::scanner;

/// Of the function, in MB: two vCPUs' worth, and room for two generations.
const MEMORY_MB: u32 = 3008;
/// Of a function with one vCPU.
const SMALL_MEMORY_MB: u32 = 1769;

/// Every figure, written to `out` as it is known, of a database with one of each `one_in`
/// signatures: 1 for what the documentation says, more to try it. Takes about 1.5 GB of the folder for temporary
/// files and 3 GB of memory.
///
/// # Errors
///
/// A part is not built (the message says what to run), or does not work.
pub async fn run(out: &mut impl Write, one_in: usize) -> anyhow::Result<()> {
    let mut table = Table { out };
    table.section("this machine")?;
    table.row(&machine()?, "processor, cores")?;
    table.row(&load()?, "load over 1, 5 and 15 minutes before the start")?;
    let stage = Stage::new(&mut table, one_in)?;
    forms::measure(&mut table, &stage).await?;
    cold::measure(&mut table, &stage).await?;
    scans::measure(&mut table, &stage).await?;
    levels::measure(&mut table, &stage)?;
    table.section("")?;
    table.row(&load()?, "load at the end, this program's own included")
}

fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}

fn megabytes(count: u64) -> String {
    format!("{} MB", count >> 20)
}
