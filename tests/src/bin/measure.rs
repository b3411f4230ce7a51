//! `make bench`: measures what `docs/SPECIFICATION.md` says.

use scanner_tests::measure;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    measure::run(&mut std::io::stdout()).await
}
