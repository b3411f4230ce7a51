//! `make bench-definitions`: measures what `docs/SPECIFICATION.md` says about definitions.

use anyhow::Context as _;
use scanner_tests::measure::definitions;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let first = arguments.next().context("usage: measure-definitions ONE_IN")?;
    match first.parse() {
        Ok(one_in) => definitions::run(&mut std::io::stdout(), one_in).await,
        // It starts itself: each scanner is a process of its own.
        Err(_) => definitions::scanner(&first, arguments).await,
    }
}
