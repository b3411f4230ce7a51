//! `make false-alarms`: what the scanner says of ordinary files of this machine, or of the folders
//! that are named.

use std::path::PathBuf;

use scanner_tests::honesty;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let folders: Vec<_> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    honesty::ordinary(&mut std::io::stdout(), &folders).await?;
    Ok(())
}
