//! What is deployed.

use std::io::Write;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};

use super::{Table, bytes};
use crate::artefacts::{self, Arch};

pub(super) fn measure(table: &mut Table<'_, impl Write>) -> anyhow::Result<()> {
    table.section("sizes")?;
    let bootstrap = artefacts::bootstrap()?;
    let size = bootstrap.metadata().context("looking at the function")?.len();
    table.row(&bytes(size), "function (bootstrap), x86_64")?;
    for arch in [Arch::X86_64, Arch::Arm64] {
        let layer = artefacts::layer(arch)?;
        table.row(&bytes(unpacked(&layer)?), &format!("layer {}, unpacked", arch.name()))?;
        table.row(&bytes(zipped(&layer)?), &format!("layer {}, zipped", arch.name()))?;
    }
    Ok(())
}

/// The bytes of all files below `folder`.
fn unpacked(folder: &Path) -> anyhow::Result<u64> {
    let mut sum = 0;
    let entries = std::fs::read_dir(folder);
    for entry in entries.with_context(|| format!("listing {}", folder.display()))? {
        let entry = entry.context("reading a folder entry")?;
        let path = entry.path();
        let about = path.symlink_metadata();
        let about = about.with_context(|| format!("looking at {}", path.display()))?;
        sum += if about.is_dir() { unpacked(&path)? } else { about.len() };
    }
    Ok(sum)
}

/// As large as deployment tools make it: Python's zip, which they use.
fn zipped(folder: &Path) -> anyhow::Result<u64> {
    let dir = tempfile::tempdir().context("making a temporary folder")?;
    let zip = dir.path().join("layer.zip");
    let mut command = Command::new(artefacts::host_program("python3")?);
    command.args(["-m", "zipfile", "-c"]).arg(&zip).arg(folder.join("clamav"));
    let output = command.output().context("running python3 -m zipfile")?;
    ensure!(output.status.success(), "zipping: {}", String::from_utf8_lossy(&output.stderr));
    Ok(zip.metadata().context("looking at the zip")?.len())
}
