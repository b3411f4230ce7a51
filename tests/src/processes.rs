//! Processes as `/proc` of this host shows them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal};

/// Every process below `ancestor`, in no order. One that ends meanwhile is left out.
pub(crate) fn descendants(ancestor: u32) -> Vec<u32> {
    let processes = all();
    let mut found = vec![ancestor];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        found.extend(processes.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    found.split_off(1)
}

/// The direct children of `parent`.
pub fn children(parent: u32) -> Vec<u32> {
    all().into_iter().filter(|(_, of)| *of == parent).map(|(pid, _)| pid).collect()
}

/// The command line of a process; empty when it is gone or is a zombie.
pub fn arguments(pid: u32) -> Vec<String> {
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    text.split_terminator('\0').map(str::to_owned).collect()
}

/// Ends a process at once. One that has ended already is no error.
///
/// # Errors
///
/// The system refused.
pub fn kill(pid: u32) -> anyhow::Result<()> {
    send(pid, Signal::KILL)
}

/// Halts a process where it is, and waits until all of its threads stand still.
///
/// # Errors
///
/// The system refused, or a thread goes on for more than 10 s.
pub async fn halt(pid: u32) -> anyhow::Result<()> {
    send(pid, Signal::STOP)?;
    let halted = async {
        let mut poll = tokio::time::interval(Duration::from_millis(1));
        while !threads(pid)?.iter().all(|stat| matches!(state_of(stat), Some('T' | 't'))) {
            poll.tick().await;
        }
        Ok(())
    };
    let halted = tokio::time::timeout(Duration::from_secs(10), halted).await;
    halted.with_context(|| format!("waiting for process {pid} to stand still"))?
}

fn send(pid: u32, signal: Signal) -> anyhow::Result<()> {
    let id = i32::try_from(pid).ok().and_then(Pid::from_raw).context("a process id above 0")?;
    match rustix::process::kill_process(id, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(error).with_context(|| format!("sending {signal:?} to process {pid}")),
    }
}

/// The environment with which a process was started.
///
/// # Errors
///
/// The process is gone, or this user may not look into it.
pub fn environment(pid: u32) -> anyhow::Result<BTreeMap<String, String>> {
    let path = format!("/proc/{pid}/environ");
    let bytes = std::fs::read(&path).with_context(|| format!("reading {path}"))?;
    let text = String::from_utf8_lossy(&bytes);
    let variables = text.split_terminator('\0').filter_map(|entry| entry.split_once('='));
    Ok(variables.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

/// A line of `/proc/<pid>/status`, by its name, for each thread of a process.
///
/// # Errors
///
/// The process is gone, or there is no such line.
pub fn status(pid: u32, name: &str) -> anyhow::Result<Vec<String>> {
    let threads = thread_files(pid, "status")?;
    let values = threads.iter().map(|text| {
        let mut lines = text.lines().filter_map(|line| line.split_once(':'));
        let value = lines.find(|(line, _)| *line == name).map(|(_, value)| value.trim().to_owned());
        value.with_context(|| format!("process {pid} has no status line {name}"))
    });
    values.collect()
}

fn threads(pid: u32) -> anyhow::Result<Vec<String>> {
    thread_files(pid, "stat")
}

/// What a file of `/proc/<pid>/task/<thread>` holds, for each thread that has not ended meanwhile.
fn thread_files(pid: u32, file: &str) -> anyhow::Result<Vec<String>> {
    let tasks = format!("/proc/{pid}/task");
    let tasks = std::fs::read_dir(&tasks).with_context(|| format!("reading {tasks}"))?;
    let files = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join(file)).ok());
    Ok(files.collect())
}

/// The first field after the name.
fn state_of(stat: &str) -> Option<char> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.trim_start().chars().next()
}

/// The most memory that a process has held so far, in bytes (`VmHWM`: pages resident at once).
///
/// # Errors
///
/// The process is gone.
pub fn peak_memory(pid: u32) -> anyhow::Result<u64> {
    let path = format!("/proc/{pid}/status");
    let status = std::fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
    let kibibytes: u64 = kibibytes
        .with_context(|| format!("{path} has no VmHWM line; process {pid} has ended"))?
        .parse()
        .with_context(|| format!("VmHWM in {path} is not a number"))?;
    Ok(kibibytes * 1024)
}

/// The processor time that the living threads of a process have used so far (the first field of
/// `schedstat`, in nanoseconds).
///
/// # Errors
///
/// The process is gone.
pub fn processor_time(pid: u32) -> anyhow::Result<Duration> {
    let path = format!("/proc/{pid}/task");
    let threads = std::fs::read_dir(&path).with_context(|| format!("listing {path}"))?;
    let nanoseconds = threads.filter_map(|thread| {
        // A thread that ends meanwhile is left out.
        let text = std::fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    Ok(Duration::from_nanos(nanoseconds.sum()))
}

/// The files that a process has mapped, by their paths in its own root.
///
/// # Errors
///
/// The process is gone, or this user may not look into it.
pub fn mapped_files(pid: u32) -> anyhow::Result<BTreeSet<PathBuf>> {
    let path = format!("/proc/{pid}/maps");
    let maps = std::fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    let files = paths_of(&maps);
    if files.is_empty() {
        bail!("{path} names no file; process {pid} has ended");
    }
    Ok(files)
}

/// The sixth column of `/proc/<pid>/maps`, where it is a path (not `[heap]` and the like).
fn paths_of(maps: &str) -> BTreeSet<PathBuf> {
    maps.lines()
        .filter_map(|line| line.find('/').map(|start| Path::new(&line[start..]).to_owned()))
        .collect()
}

/// Every process with its parent.
fn all() -> Vec<(u32, u32)> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
            Some((pid, parent_of(&stat)?))
        })
        .collect()
}

/// The second field after the name; the name may itself hold spaces and parentheses.
fn parent_of(stat: &str) -> Option<u32> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_parent_behind_a_hostile_name() {
        assert_eq!(parent_of("12 (a) R 99 (b) S 7 12 12 0"), Some(7));
    }

    #[test]
    fn reads_paths_with_spaces_and_skips_memory() {
        let maps = "55d0-55d1 r--p 00000000 fe:00 247030                     /opt/a b.so\n\
                    7ff0-7ff1 rw-p 00000000 00:00 0                          [stack]\n";
        assert_eq!(paths_of(maps), BTreeSet::from([PathBuf::from("/opt/a b.so")]));
    }

    #[test]
    fn sees_this_process() {
        let me = std::process::id();
        assert!(peak_memory(me).expect("running") > 1024 * 1024);
        assert!(
            mapped_files(me)
                .expect("running")
                .iter()
                .any(|file| file.starts_with("/usr") || file.starts_with("/lib"))
        );
        assert!(!arguments(me).is_empty());
    }
}
