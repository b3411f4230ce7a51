//! Starts clamd without power: what parses hostile bytes gets no credentials, no network and no
//! way into this process.
//!
//! The empty environment holds everywhere. The rest is asked of the kernel with prctl(2) and
//! seccomp(2), and there are public reports of Lambda refusing some of their calls (chromedp issue
//! 1074: `PR_SET_NO_NEW_PRIVS`; chromedp pull request 720: `PR_SET_PDEATHSIG`). A refusal must not
//! stop every scan, so it is no error, but every record says it: `"confined": false`.

use std::io;
use std::thread;

use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};
use tokio::process::{Child, Command};

/// Makes this process's memory and environment unreadable for other processes of the same user,
/// as clamd is one (proc(5): files of a process that is not dumpable belong to root). Says whether
/// the kernel did it.
#[must_use]
pub fn shield_this_process() -> bool {
    match set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(%error, "the platform refuses to shield this process from clamd");
            false
        }
    }
}

/// A child, and whether it is under the filter.
#[derive(Debug)]
pub struct Confined {
    /// The child.
    pub child: Child,
    /// False when the kernel refused the filter; the environment is empty all the same.
    pub filtered: bool,
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
/// When the program cannot be started.
pub fn spawn(mut command: Command, environment: &[(&str, String)]) -> io::Result<Confined> {
    command.env_clear().envs(environment.iter().map(|(name, value)| (name, value)));
    let filter = filter().map_err(io::Error::other)?;
    let runtime = tokio::runtime::Handle::current();
    let confined = thread::spawn(move || {
        let _entered = runtime.enter();
        let filtered = match seccompiler::apply_filter(&filter) {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(%error, "the platform refuses the system call filter for clamd");
                false
            }
        };
        Ok(Confined { child: command.spawn()?, filtered })
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
