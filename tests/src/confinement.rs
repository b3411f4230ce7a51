//! What both confined roots share: bubblewrap without any privilege, and files it may read.

use std::ffi::OsStr;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use anyhow::{Context as _, bail};
use tempfile::TempDir;

use crate::artefacts;
use crate::processes;

/// `nobody` and `nogroup`, by convention of every Linux.
const NOBODY: u32 = 65_534;

/// Of the x86-64 psABI for glibc.
pub(crate) const LOADER: &str = "/lib64/ld-linux-x86-64.so.2";

/// Bubblewrap with an empty environment and an empty root that nothing can write to (what is
/// mounted in it later keeps its own mode), in namespaces of its own except the network.
/// Everything in it ends with the thread that starts it.
///
/// The caller adds its mounts and ends with [`run`].
pub(crate) fn command() -> anyhow::Result<Command> {
    let mut command = Command::new(artefacts::host_program("bwrap")?);
    command.env_clear();
    command.args(["--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts"]);
    command.args(["--uid", "65534", "--gid", "65534"]);
    command.args(["--die-with-parent", "--new-session"]);
    // Folders that bubblewrap makes for a mount point are 0700 unless they exist already.
    command.args(["--perms", "0755", "--dir", "/dev", "--proc", "/proc"]);
    for device in ["/dev/null", "/dev/urandom"] {
        command.args(["--dev-bind", device, device]);
    }
    if rustix::process::geteuid().is_root() {
        // Inside its user namespace bubblewrap's caller looks unprivileged in any case; this
        // makes it so outside as well, for whatever would break out.
        command.uid(NOBODY).gid(NOBODY);
    }
    Ok(command)
}

/// Adds a `/tmp` of `tmp_bytes`, then makes the root read-only and names the program to run.
pub(crate) fn run(command: &mut Command, tmp_bytes: u64, program: &str) {
    let size = tmp_bytes.to_string();
    command.args(["--size", &size, "--perms", "1777", "--tmpfs", "/tmp"]);
    command.args(["--remount-ro", "/", "--", program]);
}

/// Adds `source` of the host, read-only, as `target`.
pub(crate) fn mount(command: &mut Command, source: &Path, target: impl AsRef<OsStr>) {
    command.arg("--ro-bind").arg(source).arg(target);
}

/// The host libraries that a program needs, and its loader; none for a static one.
pub(crate) fn libraries(program: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let output = Command::new(LOADER).arg("--list").arg(program).env_clear().output();
    let output = output.with_context(|| format!("running {LOADER}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    if text.contains("not found") {
        bail!("{} needs a library that this host has not:\n{text}", program.display());
    }
    Ok(library_paths(&text))
}

fn library_paths(listed: &str) -> Vec<PathBuf> {
    let words = listed.lines().filter_map(|line| line.split(" (0x").next()?.split(" => ").last());
    words.map(|word| PathBuf::from(word.trim())).filter(|path| path.is_absolute()).collect()
}

/// Ends everything in a root that bubblewrap made, and waits until it has ended.
pub(crate) fn end(bubblewrap: &mut Child) {
    // The child of bubblewrap is process 1 of the namespace: the kernel ends all others before it
    // counts as ended, so that nothing is left when bubblewrap has been waited for. Without such
    // a child bubblewrap itself has not come that far.
    let inits = processes::children(bubblewrap.id());
    if inits.is_empty() || inits.iter().any(|&init| processes::kill(init).is_err()) {
        let _ = bubblewrap.kill();
    }
    let _ = bubblewrap.wait();
}

/// A folder of copies that any user may read: the checkout may be under a folder that only its
/// owner may enter. Modes inside a copied folder stay, as they do in a deployment package.
#[derive(Debug)]
pub(crate) struct Stage(TempDir);

impl Stage {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let mut builder = tempfile::Builder::new();
        builder.prefix("s3-virusscan-").permissions(PermissionsExt::from_mode(0o755));
        Ok(Self(builder.tempdir().context("making a temporary folder")?))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// A copy of a program, executable for everybody.
    pub(crate) fn program(&self, source: &Path, name: &str) -> anyhow::Result<PathBuf> {
        let copy = self.path().join(name);
        std::fs::copy(source, &copy)
            .and_then(|_| std::fs::set_permissions(&copy, PermissionsExt::from_mode(0o755)))
            .with_context(|| format!("copying {} to {}", source.display(), copy.display()))?;
        Ok(copy)
    }

    /// A copy of a folder and all in it.
    pub(crate) fn folder(&self, source: &Path, name: &str) -> anyhow::Result<PathBuf> {
        let copy = self.path().join(name);
        copy_folder(source, &copy)
            .with_context(|| format!("copying {} to {}", source.display(), copy.display()))?;
        std::fs::set_permissions(&copy, PermissionsExt::from_mode(0o755))
            .with_context(|| format!("opening {} to everybody", copy.display()))?;
        Ok(copy)
    }
}

fn copy_folder(source: &Path, target: &Path) -> std::io::Result<()> {
    std::fs::create_dir(target)?;
    for entry in std::fs::read_dir(source)? {
        let entry = entry?;
        let (from, to) = (entry.path(), target.join(entry.file_name()));
        let kind = entry.file_type()?;
        if kind.is_dir() {
            copy_folder(&from, &to)?;
        } else if kind.is_symlink() {
            symlink(std::fs::read_link(&from)?, &to)?;
        } else {
            std::fs::copy(&from, &to)?;
        }
    }
    std::fs::set_permissions(target, std::fs::metadata(source)?.permissions())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_loader_lists() {
        let listed = "\tlinux-vdso.so.1 (0x00007f7860a53000)\n\
            \tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f78607d3000)\n\
            \t/lib64/ld-linux-x86-64.so.2 (0x00007f7860a55000)\n";
        let expected = ["/lib/x86_64-linux-gnu/libc.so.6", LOADER].map(PathBuf::from);
        assert_eq!(library_paths(listed), expected);
        assert!(library_paths("\tstatically linked\n").is_empty());
    }

    #[test]
    fn copies_modes_and_links_and_opens_the_top() {
        let source = tempfile::tempdir().expect("a folder");
        let inner = source.path().join("bin");
        std::fs::create_dir(&inner).expect("made");
        std::fs::write(inner.join("clamd"), "program").expect("written");
        std::fs::set_permissions(inner.join("clamd"), PermissionsExt::from_mode(0o750))
            .expect("a mode");
        symlink("clamd", inner.join("link")).expect("linked");

        let stage = Stage::new().expect("a stage");
        let copy = stage.folder(source.path(), "opt").expect("copied");
        let mode = |path: &Path| {
            std::fs::symlink_metadata(path).expect("present").permissions().mode() & 0o777
        };
        assert_eq!(mode(stage.path()), 0o755);
        assert_eq!(mode(&copy), 0o755);
        assert_eq!(mode(&copy.join("bin/clamd")), 0o750);
        assert_eq!(std::fs::read_link(copy.join("bin/link")).expect("a link"), Path::new("clamd"));
    }
}
