//! The figures of `docs/SPECIFICATION.md`: how large, how fast, how much memory, next to what
//! the usual scanner does. A table, not a test: nothing fails because a machine is slow.

pub mod definitions;
mod engine;
mod honesty;
mod sizes;
mod start;
mod verdicts;

use std::io::Write;
use std::time::Duration;

use anyhow::Context as _;

/// Every figure, written to `out` as it is known.
///
/// # Errors
///
/// A part is not built or not installed (the message says what to run), or does not work.
pub async fn run(out: &mut impl Write) -> anyhow::Result<()> {
    let mut table = Table { out };
    table.section("this machine")?;
    table.row(&machine()?, "processor, cores")?;
    table.row(&load()?, "load over 1, 5 and 15 minutes before the start")?;
    sizes::measure(&mut table)?;
    start::measure(&mut table).await?;
    verdicts::measure(&mut table).await?;
    honesty::measure(&mut table).await?;
    table.section("")?;
    table.row(&load()?, "load at the end, this program's own included")
}

/// Figures on the left, aligned, and what each is on the right.
struct Table<'a, W> {
    out: &'a mut W,
}

impl<W: Write> Table<'_, W> {
    fn section(&mut self, name: &str) -> anyhow::Result<()> {
        writeln!(self.out, "\n{name}").context("writing the table")
    }

    fn row(&mut self, figure: &str, what: &str) -> anyhow::Result<()> {
        writeln!(self.out, "{figure:>26}  {what}").context("writing the table")?;
        self.out.flush().context("writing the table")
    }
}

fn machine() -> anyhow::Result<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").context("reading /proc/cpuinfo")?;
    let models = text.lines().filter_map(|line| line.strip_prefix("model name"));
    let models: Vec<_> = models.map(|model| model.trim_start_matches(['\t', ' ', ':'])).collect();
    Ok(format!("{}, {}", models.first().unwrap_or(&"unknown"), models.len()))
}

fn load() -> anyhow::Result<String> {
    let text = std::fs::read_to_string("/proc/loadavg").context("reading /proc/loadavg")?;
    Ok(text.split(' ').take(3).collect::<Vec<_>>().join(" "))
}

/// The middle one of several; of an even number the upper of both.
fn median(times: &[Duration]) -> Duration {
    percentile(times, 50)
}

/// The smallest time that `percent` of all do not exceed.
fn percentile(times: &[Duration], percent: usize) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort();
    let index = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(index).copied().unwrap_or_default()
}

fn mean(times: &[Duration]) -> Duration {
    times.iter().sum::<Duration>() / u32::try_from(times.len().max(1)).unwrap_or(u32::MAX)
}

fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

fn ratio(of: Duration, to: Duration) -> String {
    format!("{:.2}", of.as_secs_f64() / to.as_secs_f64())
}

/// With a comma for each three digits.
fn bytes(count: u64) -> String {
    let digits = count.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    format!("{} bytes", groups.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_digits() {
        assert_eq!(bytes(0), "0 bytes");
        assert_eq!(bytes(999), "999 bytes");
        assert_eq!(bytes(2_147_483_645), "2,147,483,645 bytes");
    }

    #[test]
    fn counts_from_the_smallest() {
        let times: Vec<_> = (1..=20).rev().map(Duration::from_millis).collect();
        assert_eq!(median(&times), Duration::from_millis(11));
        assert_eq!(percentile(&times, 95), Duration::from_millis(20));
        assert_eq!(mean(&times), Duration::from_micros(10_500));
        assert_eq!(median(&[]), Duration::ZERO);
    }
}
