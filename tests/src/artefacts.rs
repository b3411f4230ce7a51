//! Where the built parts are. A missing part is an error that names the make target for it.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

/// A processor architecture that the layer is built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arch {
    /// Lambda's `x86_64`.
    X86_64,
    /// Lambda's `arm64`.
    Arm64,
}

impl Arch {
    /// The word that Lambda and this project's folders use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Arm64 => "arm64",
        }
    }
}

/// The folder that holds the workspace's `Cargo.toml`.
///
/// # Panics
///
/// Never: this crate is a member, so its folder has a parent.
#[must_use]
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a member's folder has a parent")
}

/// The packaged scanner, an executable file.
///
/// # Errors
///
/// It is not built.
pub fn bootstrap() -> anyhow::Result<PathBuf> {
    packaged("scanner")
}

/// The packaged function of this package (`scanner`, `definitions`, `buckets`).
///
/// # Errors
///
/// It is not built.
pub fn packaged(package: &str) -> anyhow::Result<PathBuf> {
    built(&format!("target/lambda/{package}/bootstrap"), "function")
}

/// The folder that Lambda would mount at `/opt`.
///
/// # Errors
///
/// It is not built.
pub fn layer(arch: Arch) -> anyhow::Result<PathBuf> {
    built(&format!("target/layer/{}", arch.name()), "layer")
}

/// The signed databases and increments with which ClamAV's makers test freshclam: `test-1.cvd` to
/// `test-6.cvd`, `test-2.cdiff` to `test-6.cdiff`. From version 3 on they hold EICAR.
///
/// # Errors
///
/// They are not fetched.
pub fn freshclam_files() -> anyhow::Result<PathBuf> {
    built("target/freshclam-files", "freshclam-files")
}

/// The example `examples/https-subscriber`, an executable file.
///
/// # Errors
///
/// It is not built.
pub fn subscriber() -> anyhow::Result<PathBuf> {
    built("target/debug/https-subscriber", "subscriber")
}

/// AWS's Runtime Interface Emulator, which the SAM command line tool carries.
///
/// # Errors
///
/// The tools are not installed.
pub fn runtime_emulator() -> anyhow::Result<PathBuf> {
    let libraries = built("target/tools/lib", "tools")?;
    let inside = "site-packages/samcli/local/rapid/aws-lambda-rie-x86_64";
    for entry in std::fs::read_dir(&libraries)
        .with_context(|| format!("listing {} for its python folder", libraries.display()))?
    {
        let candidate = entry.context("reading a folder entry")?.path().join(inside);
        if candidate.is_file() {
            return Ok(candidate);
        }
    }
    bail!("no python*/{inside} in {}; run `make tools`, which installs it", libraries.display())
}

/// The Python that the tools are installed for.
///
/// # Errors
///
/// The tools are not installed.
pub fn python() -> anyhow::Result<PathBuf> {
    built("target/tools/bin/python3", "tools")
}

/// A program of this host, by its name.
///
/// # Errors
///
/// No folder of `PATH` holds it.
pub fn host_program(name: &str) -> anyhow::Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|candidate| candidate.is_file())
        .with_context(|| format!("{name} is in no folder of PATH; install it"))
}

fn built(path: &str, target: &str) -> anyhow::Result<PathBuf> {
    let path = workspace().join(path);
    if !path.exists() {
        bail!("{} is missing; run `make {target}`, which builds it", path.display());
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_make_target_of_what_is_missing() {
        let error = built("target/no such thing", "thing").expect_err("it does not exist");
        assert!(error.to_string().contains("run `make thing`"), "{error}");
    }
}
