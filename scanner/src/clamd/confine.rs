//! Starts clamd without power: what parses hostile bytes gets no credentials, no network and no
//! way into this process.

use std::io;
use std::thread;

use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};
use tokio::process::{Child, Command};

/// Makes this process's memory and environment unreadable for other processes of the same user,
/// as clamd is one (proc(5): files of a process that is not dumpable belong to root).
///
/// # Errors
/// When the kernel refuses.
pub fn shield_this_process() -> io::Result<()> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    Ok(())
}

/// Spawns `command` with an empty environment but for `environment`, under a seccomp filter that
/// refuses sockets other than Unix ones, tracing of other processes, and io_uring, which would be
/// a way around both. The filter holds for all that the child starts.
///
/// The filter is put on a thread of its own which then spawns the child: a child inherits the
/// filter of the thread that made it, and the thread ends. So no code runs between fork and exec,
/// and none of it is `unsafe`.
///
/// # Errors
/// When the filter cannot be installed (then nothing is spawned) or the program cannot be started.
pub fn spawn(mut command: Command, environment: &[(&str, String)]) -> io::Result<Child> {
    command.env_clear().envs(environment.iter().map(|(name, value)| (name, value)));
    let filter = filter().map_err(io::Error::other)?;
    let runtime = tokio::runtime::Handle::current();
    let confined = thread::spawn(move || {
        let _entered = runtime.enter();
        seccompiler::apply_filter(&filter)
            .map_err(|error| io::Error::other(format!("cannot confine clamd: {error}")))?;
        command.spawn()
    });
    confined
        .join()
        .unwrap_or_else(|_| Err(io::Error::other("the thread that starts clamd panicked")))
}

fn filter() -> Result<BpfProgram, seccompiler::BackendError> {
    let not_unix =
        SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, libc::AF_UNIX as u64)?;
    let rules = [
        (libc::SYS_socket, vec![SeccompRule::new(vec![not_unix])?]),
        (libc::SYS_ptrace, vec![]),
        (libc::SYS_process_vm_readv, vec![]),
        (libc::SYS_process_vm_writev, vec![]),
        (libc::SYS_pidfd_getfd, vec![]),
        (libc::SYS_io_uring_setup, vec![]),
    ];
    SeccompFilter::new(
        rules.into_iter().collect(),
        SeccompAction::Allow,
        SeccompAction::Errno(libc::EPERM as u32),
        std::env::consts::ARCH.try_into()?,
    )?
    .try_into()
}
