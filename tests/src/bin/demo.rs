//! `make demo`: upload, scan, tag and finding on this machine, without an AWS account.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use scanner_tests::demo;
use tokio::signal::unix::{SignalKind, signal};

/// 128 and the number of SIGINT, as shells have it.
const INTERRUPTED: u8 = 130;

#[tokio::main]
#[expect(clippy::print_stderr, reason = "a program for people, with no records on its streams")]
async fn main() -> ExitCode {
    show().await.unwrap_or_else(|error| {
        eprintln!("demo: {error:#}");
        ExitCode::FAILURE
    })
}

async fn show() -> anyhow::Result<ExitCode> {
    let definitions = std::env::var_os("DEMO_DEFINITIONS_DIR").map(PathBuf::from);
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for ctrl-c")?;
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let mut out = std::io::stdout();
    // Whatever ends first, the others are dropped, and with them processes and files.
    tokio::select! {
        shown = demo::run(&mut out, definitions) => {
            Ok(if shown? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        _ = interrupt.recv() => Ok(ExitCode::from(INTERRUPTED)),
        _ = terminate.recv() => Ok(ExitCode::from(INTERRUPTED)),
    }
}
