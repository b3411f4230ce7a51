//! `make honesty`: what the scanner, and beside it clamd as it comes, says of files that cannot be
//! looked into.

use std::process::ExitCode;

use scanner_tests::honesty;

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let as_expected = honesty::run(&mut std::io::stdout()).await?;
    Ok(if as_expected { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
