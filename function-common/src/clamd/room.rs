//! Room in the folder where clamd keeps what it is sent and what it unpacks. What clamd cannot
//! write there it passes over: it says `OK` to members that it could not unpack, and to an object
//! that takes the last bytes. So its answer counts only if there was room all the time.

use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::Duration;

use super::{ClamdError, conf};
use crate::reply::Answer;

/// Bytes that must be free while clamd looks. Scans are limited so that all together leave
/// [`conf::RESERVE`]; half of it is for what else is put there, a few hundred kilobytes (folders,
/// the honesty database, clamd's settings, rounding to blocks), so that no scan within its limits
/// meets this, and is yet far above what clamd could mistake for room.
pub(super) const BYTES: u64 = conf::RESERVE / 2;

/// Files that it must be possible to make: clamd makes one for the object and one for each part
/// that it has unpacked and not looked at yet. A file system of 512 MiB has 32,768.
const FILES: u64 = 1024;

/// How often the room is measured while clamd looks, which takes microseconds. clamd takes at
/// least 30 ms to write what [`BYTES`] holds at the 1 GB/s that memory allows.
const POLL: Duration = Duration::from_millis(10);

/// Why clamd's answer counts for nothing.
#[derive(Debug, thiserror::Error)]
pub enum NoRoom {
    /// Too few bytes are free.
    #[error(
        "only {free} bytes are free in {}, and {needed} are needed: what clamd cannot write it \
         does not look at; raise EphemeralStorage, if nothing else fills /tmp", dir.display()
    )]
    Bytes {
        /// The folder.
        dir: PathBuf,
        /// Bytes that are free.
        free: u64,
        /// Bytes that must be.
        needed: u64,
    },
    /// Too few files can be made.
    #[error(
        "only {free} more files can be made in {}, and {FILES} are needed: what clamd cannot \
         write it does not look at; find out what fills /tmp with files", dir.display()
    )]
    Files {
        /// The folder.
        dir: PathBuf,
        /// Files that can still be made.
        free: u64,
    },
    /// Nothing can be written.
    #[error(
        "cannot write to {}: what clamd cannot write it does not look at; find out what made /tmp \
         unwritable", dir.display()
    )]
    Unwritable {
        /// The folder.
        dir: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl NoRoom {
    /// A stable word for logs and metrics.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Bytes { .. } | Self::Files { .. } => "tmp-full",
            Self::Unwritable { source, .. } if source.kind() == ErrorKind::StorageFull => {
                "tmp-full"
            }
            Self::Unwritable { .. } => "tmp-unwritable",
        }
    }

    /// Writing to `dir` failed.
    #[must_use]
    pub fn unwritable(dir: &Path, source: io::Error) -> Self {
        Self::Unwritable { dir: dir.to_owned(), source }
    }
}

/// Makes the folder `dir`, and with nothing in it.
///
/// # Errors
/// When the file system refuses.
pub fn make_empty(dir: &Path) -> Result<(), NoRoom> {
    let empty = match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => std::fs::create_dir_all(dir),
    };
    empty.map_err(|source| NoRoom::unwritable(dir, source))
}

/// Bytes that are free on the file system of `dir`.
///
/// # Errors
/// When the file system cannot be asked.
pub fn free_bytes(dir: &Path) -> Result<u64, ClamdError> {
    Ok(statistics(dir).map(|free| free.bytes)?)
}

/// What a file system has left.
struct Free {
    bytes: u64,
    /// None where the file system does not count them, as btrfs and many overlays.
    files: Option<u64>,
}

fn statistics(dir: &Path) -> Result<Free, NoRoom> {
    let statistics =
        rustix::fs::statvfs(dir).map_err(|source| NoRoom::unwritable(dir, source.into()))?;
    Ok(Free {
        bytes: statistics.f_bavail.saturating_mul(statistics.f_frsize),
        files: (statistics.f_files > 0).then_some(statistics.f_favail),
    })
}

fn measure(dir: &Path) -> Result<(), NoRoom> {
    judge(dir, &statistics(dir)?)
}

fn judge(dir: &Path, free: &Free) -> Result<(), NoRoom> {
    if free.bytes < BYTES {
        return Err(NoRoom::Bytes { dir: dir.to_owned(), free: free.bytes, needed: BYTES });
    }
    match free.files {
        Some(free) if free < FILES => Err(NoRoom::Files { dir: dir.to_owned(), free }),
        _ => Ok(()),
    }
}

/// Measures, and writes a file as clamd would.
pub(super) fn check(dir: &Path) -> Result<(), NoRoom> {
    measure(dir)?;
    tempfile::tempfile_in(dir)
        .and_then(|mut file| file.write_all(b"\n"))
        .map_err(|source| NoRoom::unwritable(dir, source))
}

/// Has clamd scan, and gives its answer if there was room in `dir` before, all the while, and after
/// it. Malware that was found is found all the same.
pub(super) async fn guard(
    dir: &Path,
    scan: impl Future<Output = Result<Answer, ClamdError>>,
) -> Result<Answer, ClamdError> {
    check(dir)?;
    let mut scan = pin!(scan);
    let mut poll = tokio::time::interval(POLL);
    let mut meanwhile = Ok(());
    let answer = loop {
        tokio::select! {
            answer = &mut scan => break answer,
            // clamd's own files are gone by the time it answers, and with them what filled it.
            _ = poll.tick(), if meanwhile.is_ok() => {
                meanwhile = measure(dir);
                if let Err(error) = &meanwhile {
                    tracing::warn!(%error, "no room while clamd looks");
                }
            }
        }
    };
    match answer {
        Ok(Answer::Infected(_)) | Err(ClamdError::Connection(_)) => answer,
        answer => {
            meanwhile.and_then(|()| check(dir))?;
            answer
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_bytes_and_files_where_files_are_counted() {
        let dir = Path::new("/t");
        for (bytes, files, code) in [
            (BYTES, Some(FILES), None),
            (BYTES, None, None),
            (BYTES - 1, None, Some("tmp-full")),
            (u64::MAX, Some(FILES - 1), Some("tmp-full")),
        ] {
            let got = judge(dir, &Free { bytes, files }).err();
            assert_eq!(got.map(|error| error.code()), code, "{bytes} bytes, {files:?} files");
        }
    }

    #[test]
    fn a_folder_that_is_not_there_has_no_room() {
        let error = check(Path::new("/no/such/folder")).unwrap_err();
        assert_eq!(error.code(), "tmp-unwritable");
    }

    #[tokio::test]
    async fn without_room_nothing_is_scanned() {
        let scan = async { unreachable!("clamd is not asked") };
        let error = guard(Path::new("/no/such/folder"), scan).await.unwrap_err();
        assert_eq!(error.code(), "tmp-unwritable");
    }

    #[tokio::test]
    async fn when_room_has_gone_only_malware_counts() {
        for (answer, counts) in [
            (Answer::Clean, false),
            (Answer::PortableExecutable, false),
            (Answer::Unscannable(notifier_common::Reason::Encrypted, String::new()), false),
            (Answer::Infected("x".to_owned()), true),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().to_owned();
            let scan = async {
                dir.close().unwrap();
                Ok(answer.clone())
            };
            assert_eq!(guard(&path, scan).await.is_ok(), counts, "{answer:?}");
        }
    }
}
