//! How long clamd takes to load the database, by its form.

use std::io::Write;
use std::time::{Duration, Instant};

use function_common::manifest::{BASE, PE};

use super::clamds::{Cost, Ours, stock};
use super::stage::Stage;
use super::{Table, median, megabytes, ratio, seconds};

const RUNS: usize = 3;

/// What is measured, in the order of its table.
const FORMS: [&str; 7] = [
    "stock settings, containers packed with gzip, as freshclam downloads them",
    "stock settings, loose files",
    "stock settings, containers not packed, as freshclam's own",
    "ours, containers not packed, whole",
    "ours, two shards side by side: base ready, most objects can be judged",
    "ours, two shards side by side: both ready",
    "ours, shard base with no other beside it",
];

pub(super) async fn measure(
    table: &mut Table<'_, impl Write>,
    stage: &Stage,
) -> anyhow::Result<()> {
    let mut costs = vec![Vec::new(); FORMS.len()];
    // In turn, so that another program's work is in all of them.
    for _ in 0..RUNS {
        let folders = [stage.packed(), stage.loose(), stage.plain()];
        for (costs, folder) in costs.iter_mut().zip(&folders) {
            costs.push(stock(folder).await?);
        }
        costs[3].push(alone(&stage.plain()).await?);
        let [base, all] = side_by_side(stage).await?;
        costs[4].push(base);
        costs[5].push(all);
        costs[6].push(alone(&stage.shard(BASE)).await?);
    }
    table.section(&format!("from clamd's start until it answers (medians of {RUNS}), memory"))?;
    let medians: Vec<_> = costs.iter().map(|costs| median(&times(costs))).collect();
    for ((form, time), costs) in FORMS.iter().zip(&medians).zip(&costs) {
        let memory = costs.iter().map(|cost| cost.memory).max().unwrap_or_default();
        let (to_packed, to_loose) = (ratio(*time, medians[0]), ratio(*time, medians[1]));
        table.row(
            &format!("{}, {}", seconds(*time), megabytes(memory)),
            &format!("{form}; {to_packed} of packed, {to_loose} of loose"),
        )?;
    }
    table.row(
        &ratio(medians[0], medians[4]),
        "times as fast to the first verdict as stock, packed",
    )?;
    table.row(
        &ratio(medians[1], medians[4]),
        "times as fast to the first verdict as stock, loose",
    )?;
    table.row(&ratio(medians[0], medians[5]), "times as fast to all verdicts as stock, packed")
}

async fn alone(folder: &std::path::Path) -> anyhow::Result<Cost> {
    let begin = Instant::now();
    Ours::start(folder)?.ready(begin).await
}

/// The base shard, and both: the later one's time, the sum of their memory.
async fn side_by_side(stage: &Stage) -> anyhow::Result<[Cost; 2]> {
    let begin = Instant::now();
    let (base, pe) = (Ours::start(&stage.shard(BASE))?, Ours::start(&stage.shard(PE))?);
    let (first, second) = tokio::try_join!(base.ready(begin), pe.ready(begin))?;
    let took = first.took.max(second.took);
    Ok([first, Cost { took, memory: first.memory + second.memory }])
}

fn times(costs: &[Cost]) -> Vec<Duration> {
    costs.iter().map(|cost| cost.took).collect()
}
