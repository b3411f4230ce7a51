//! A root that holds only the layer: proof that its programs need nothing of their host.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::Context as _;

use crate::artefacts::{self, Arch};
use crate::confinement::{self, Stage};

const TMP_BYTES: u64 = 1 << 30;
const EMULATOR: &str = "/qemu-aarch64-static";

/// A layer on its own: `/opt`, `/proc`, `/dev/null`, `/dev/urandom` and `/tmp`; no network, no
/// privilege, no environment.
#[derive(Debug)]
pub struct EmptyRoot {
    emulator: Option<PathBuf>,
    layer: PathBuf,
    stage: Stage,
}

impl EmptyRoot {
    /// Around the built layer for `arch`. Programs for arm64 run through `qemu-aarch64-static`.
    ///
    /// # Errors
    ///
    /// The layer is not built, or bubblewrap or qemu is not installed.
    pub fn new(arch: Arch) -> anyhow::Result<Self> {
        let stage = Stage::new()?;
        let layer = stage.folder(&artefacts::layer(arch)?, "opt")?;
        let emulator = match arch {
            Arch::X86_64 => None,
            Arch::Arm64 => {
                let program = artefacts::host_program("qemu-aarch64-static")?;
                Some(stage.program(&program, "qemu-aarch64-static")?)
            }
        };
        Ok(Self { emulator, layer, stage })
    }

    /// A command that runs `program` (its path in the root) with what the caller adds to it:
    /// arguments, environment, standard streams. It ends with the thread that starts it.
    /// `files` are files or folders that everybody may read, and where the program sees them.
    ///
    /// # Errors
    ///
    /// Bubblewrap is not installed.
    pub fn command(&self, program: &str, files: &[(&Path, &str)]) -> anyhow::Result<Command> {
        let mut command = confinement::command()?;
        command.arg("--unshare-net");
        confinement::mount(&mut command, &self.layer, "/opt");
        for (source, target) in files {
            confinement::mount(&mut command, source, target);
        }
        if let Some(emulator) = &self.emulator {
            confinement::mount(&mut command, emulator, EMULATOR);
            confinement::run(&mut command, TMP_BYTES, EMULATOR);
            command.arg(program);
        } else {
            confinement::run(&mut command, TMP_BYTES, program);
        }
        command.stdin(Stdio::null());
        Ok(command)
    }

    /// Runs a program to its end and gives what it wrote.
    ///
    /// # Errors
    ///
    /// It could not be started. That it failed is no error here.
    pub fn run(&self, program: &str, arguments: &[&str]) -> anyhow::Result<Output> {
        let mut command = self.command(program, &[])?;
        let output = command.args(arguments).output();
        output.with_context(|| format!("running {program} in a root with nothing but the layer"))
    }

    /// A folder that everybody may read and that is removed with this value, for files of tests.
    #[must_use]
    pub fn scratch(&self) -> &Path {
        self.stage.path()
    }
}
