//! What can become of a sandbox's `/tmp` while the function runs: full, out of inodes, read-only,
//! unwritable for clamd. It is mounted anew with other limits, which is what filling it comes to.

use std::process::Command;

use anyhow::{Context as _, ensure};

use crate::artefacts;

/// Enters the namespaces in which `/tmp` was mounted, as the user who made them: the sandbox's
/// root has no programs to do it with, and Rust cannot without unsafe code. The numbers are those
/// of `linux/mount.h`: read-only 1, no set-user-id 2, no devices 4, remount 32.
const INSIDE: &str = r#"
import ctypes, glob, os, sys
pid, what, number = sys.argv[1:]
if os.geteuid() == 0:
    os.setgroups([]), os.setresgid(65534, 65534, 65534), os.setresuid(65534, 65534, 65534)
libc = ctypes.CDLL(None, use_errno=True)
def call(result):
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
spaces = [os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY) for kind in ("user", "mnt")]
for space in spaces:
    call(libc.setns(space, 0))
def remount(options, flags=0):
    flags = ctypes.c_ulong(2 | 4 | 32 | flags)
    call(libc.mount(b"tmpfs", b"/tmp", b"tmpfs", flags, options.encode()))
now = os.statvfs("/tmp")
used = (now.f_blocks - now.f_bfree) * now.f_frsize
folders = glob.glob("/tmp/s3-virusscan/*/base/clamd/tmp")
if what == "leave":
    # A size of 0 would be none.
    remount(f"size={max(used + int(number), 4096)}")
elif what == "inodes":
    remount(f"nr_inodes={now.f_files - now.f_ffree + int(number)}")
elif what == "read-only":
    remount("", 1)
elif what == "chmod":
    os.chmod(*folders, 0o500)
elif what == "mend":
    remount(f"size={number},nr_inodes=1000000")
    for folder in folders:
        os.chmod(folder, 0o700)
"#;

/// What is wrong with `/tmp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TmpFault {
    /// So many bytes are free, rounded up to blocks of 4 KiB; 0 is full.
    Bytes(u64),
    /// No more files can be made.
    NoInodes,
    /// It is mounted read-only. Nothing in it may be open for writing just then.
    ReadOnly,
    /// The permission to write is taken from the folder in which clamd of the base shard unpacks.
    Unwritable,
}

/// Brings a fault on the `/tmp` in which the process `pid` lives.
///
/// # Errors
///
/// The system refused.
pub fn break_tmp(pid: u32, fault: TmpFault) -> anyhow::Result<()> {
    match fault {
        TmpFault::Bytes(bytes) => inside(pid, "leave", bytes),
        TmpFault::NoInodes => inside(pid, "inodes", 0),
        TmpFault::ReadOnly => inside(pid, "read-only", 0),
        TmpFault::Unwritable => inside(pid, "chmod", 0),
    }
}

/// Makes it writable again, with a size of `bytes`.
///
/// # Errors
///
/// The system refused.
pub fn mend_tmp(pid: u32, bytes: u64) -> anyhow::Result<()> {
    inside(pid, "mend", bytes)
}

fn inside(pid: u32, what: &str, number: u64) -> anyhow::Result<()> {
    let python = artefacts::workspace().join("target/tools/bin/python");
    let output = Command::new(python)
        .args(["-I", "-c", INSIDE, &pid.to_string(), what, &number.to_string()])
        .env_clear()
        .output()
        .context("starting python")?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "changing the /tmp of process {pid} ({what}): {errors}");
    Ok(())
}
