//! The clamd child process: started at init, proven alive, started again when it dies.

pub mod conf;
pub mod confine;
mod doubt;
pub mod honesty;
mod log;
mod process;
mod room;
mod scans;

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures_util::Stream;
use tokio::sync::Mutex;

use crate::reply::{Answer, ReplyError};
use conf::Limits;
use process::{Heard, Proof, Running};
pub use room::{NoRoom, free_bytes, make_empty};

/// The name by which the layer carries its own dynamic loader, in `lib/`. The layer's programs are
/// started by it, so that they do not depend on the host's libraries.
pub const LOADER: &str =
    if cfg!(target_arch = "aarch64") { "ld-linux-aarch64.so.1" } else { "ld-linux-x86-64.so.2" };

/// The name under which clamd loads [`honesty::SIGNATURES`]. The definitions have no file of this
/// name.
const HONESTY_FILE: &str = "s3-virusscan-honesty.ldb";

/// How the name of the library begins by which libclamav opens RAR.
const RAR_LIBRARY: &[u8] = b"libclamunrar_iface.so";

/// Where things are.
#[derive(Debug, Clone)]
pub struct Paths {
    /// The unpacked layer: `bin/clamd`, `lib/` with its own loader.
    pub clamav_dir: PathBuf,
    /// Folder with the database files.
    pub definitions_dir: PathBuf,
    /// A folder that is clamd's alone: emptied at every start, for its socket, configuration and
    /// temporary files.
    pub work_dir: PathBuf,
}

impl Paths {
    /// Where clamd keeps what it is sent and what it unpacks.
    fn temporary_dir(&self) -> PathBuf {
        self.work_dir.join("tmp")
    }
}

/// What can go wrong with clamd. None of it is a verdict.
#[derive(Debug, thiserror::Error)]
pub enum ClamdError {
    /// What it is to load cannot be put together.
    #[error("cannot lay out the definitions in {} for clamd", path.display())]
    Definitions {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The program cannot be started.
    #[error("cannot start {}; is the clamd layer attached?", program.display())]
    Spawn {
        /// The program.
        program: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It ended before it was ready.
    #[error("clamd ended while it started ({status}); its last words: {log}")]
    Died {
        /// How it ended.
        status: ExitStatus,
        /// What it said.
        log: String,
    },
    /// It answers, but does not find the EICAR test file: what it would call clean is worth nothing.
    #[error(
        "clamd does not find the EICAR test file with the definitions that it loaded: {answer}; \
         are they complete?"
    )]
    Canary {
        /// What it said instead.
        answer: String,
    },
    /// There is no room in its temporary folder, or there was none during the scan.
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
    /// The connection broke, most often because clamd died.
    #[error("the connection to clamd broke")]
    Connection(#[source] io::Error),
    /// Something was not opened, in this scan or in one beside it.
    #[error("clamd said \"{line}\" while more than one scan ran; it does not say of which")]
    Doubt {
        /// How what it said begins.
        line: &'static str,
    },
    /// It answered, but gave no verdict.
    #[error(transparent)]
    Reply(#[from] ReplyError),
}

impl ClamdError {
    /// A stable word for logs and metrics.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Definitions { .. } => "clamd-work-dir",
            Self::Spawn { .. } => "clamd-spawn",
            Self::Died { .. } => "clamd-died-starting",
            Self::Canary { .. } => "clamd-canary",
            Self::NoRoom(error) => error.code(),
            Self::Connection(_) => "clamd-connection",
            Self::Doubt { .. } => "clamd-doubt",
            Self::Reply(_) => "clamd-reply",
        }
    }

    /// Whether the scan, tried once more and alone, may end otherwise: clamd went away in the middle
    /// of it, or was ended because there was no room, which another scan may have taken.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Connection(_) | Self::Reply(ReplyError::Empty) | Self::NoRoom(_))
    }

    /// Whether the answer could not be told from another scan's; a scan alone can be told.
    #[must_use]
    pub fn is_doubt(&self) -> bool {
        matches!(self, Self::Doubt { .. })
    }
}

/// A supervised clamd.
#[derive(Debug)]
pub struct Clamd {
    paths: Paths,
    limits: Limits,
    alert_macros: bool,
    running: Mutex<Option<Running>>,
    /// Of the one that was started last. Who scans does not wait for who starts another one.
    heard: std::sync::Mutex<Heard>,
    /// Whether it is under the system call filter; what the platform allowed once it allows again.
    filtered: bool,
    /// Whether its library for RAR is there, and works as far as is known.
    opens_rar: AtomicBool,
}

impl Clamd {
    /// Starts clamd; with `alert_macros` it calls Office documents with VBA macros infected. It goes
    /// on loading its database in the background; [`Clamd::ready`] waits for it.
    ///
    /// # Errors
    /// When the work folder cannot be prepared or the program cannot be started.
    pub fn start(paths: Paths, limits: Limits, alert_macros: bool) -> Result<Self, ClamdError> {
        let opens_rar = has_rar_library(&paths);
        prepare(&paths, opens_rar)?;
        let running = Running::spawn(&paths, &limits, alert_macros)?;
        let filtered = running.filtered;
        let heard = std::sync::Mutex::new(running.heard.clone());
        let (running, opens_rar) = (Mutex::new(Some(running)), AtomicBool::new(opens_rar));
        Ok(Self { paths, limits, alert_macros, running, heard, filtered, opens_rar })
    }

    /// Whether it is under the system call filter (see [`confine`]).
    #[must_use]
    pub fn filtered(&self) -> bool {
        self.filtered
    }

    /// Waits until clamd answers and finds the EICAR test file; starts it again if it died or stands
    /// still, or if it does not open RAR: then with a signature that says so. Gives the engine's
    /// version.
    ///
    /// # Errors
    /// When it cannot be started, does not find anything, or has no room in its temporary folder.
    pub async fn ready(&self) -> Result<String, ClamdError> {
        let mut slot = self.running.lock().await;
        loop {
            let opens_rar = self.opens_rar.load(Ordering::Relaxed);
            match self.prove(&mut slot, opens_rar).await? {
                Proof::Works(engine) => return Ok(engine),
                Proof::WithoutRar => {
                    tracing::warn!("clamd does not open RAR; every RAR will be unsupported");
                    self.opens_rar.store(false, Ordering::Relaxed);
                    end(&mut slot).await;
                }
            }
        }
    }

    async fn prove(
        &self,
        slot: &mut Option<Running>,
        opens_rar: bool,
    ) -> Result<Proof, ClamdError> {
        // One that ended before it was ready is kept: it has last words to report.
        if let Some(running) = slot.as_mut()
            && running.engine.is_some()
            && !running.alive(&self.socket()).await
        {
            tracing::warn!("clamd is gone; starting it again");
            end(slot).await;
        }
        let running = match slot.as_mut() {
            Some(running) => running,
            None => {
                prepare(&self.paths, opens_rar)?;
                let running = Running::spawn(&self.paths, &self.limits, self.alert_macros)?;
                *self.heard() = running.heard.clone();
                slot.insert(running)
            }
        };
        if let Some(engine) = &running.engine {
            return Ok(Proof::Works(engine.clone()));
        }
        let proof = running.prove(&self.socket(), &self.paths.temporary_dir(), opens_rar).await;
        match &proof {
            Ok(Proof::Works(engine)) => running.engine = Some(engine.clone()),
            Ok(Proof::WithoutRar) => {}
            // Whatever it is that runs there, the next record starts with a new one.
            Err(_) => drop(end(slot).await),
        }
        proof
    }

    /// Streams one object to clamd and waits for its answer. The caller has waited for
    /// [`Clamd::ready`], and sends no more streams at a time than the limits say. A stream that ends
    /// early must end in an error: else what came is scanned as if it were whole.
    ///
    /// # Errors
    /// When the stream fails, the connection breaks, or the answer is no verdict; and when there is
    /// no room in clamd's temporary folder before, during or after the scan. Then clamd is ended, so
    /// that the next [`Clamd::ready`] empties the folder, and has EICAR found again.
    /// [`ClamdError::Doubt`] when a scan beside this one, or this one, could not open something.
    pub async fn scan<S>(&self, stream: S) -> Result<Answer, ClamdError>
    where
        S: Stream<Item = io::Result<Bytes>>,
    {
        let gone = || ClamdError::Connection(io::ErrorKind::NotConnected.into());
        let Heard { log, scans } = self.heard().clone();
        let this = scans.begin();
        let before = log.doubts().ok_or_else(gone)?;
        let socket = self.socket();
        // On the heap: what streams an object is too large to be moved about.
        let scan = Box::pin(process::scan(&socket, stream));
        let answer = room::guard(&self.paths.temporary_dir(), scan).await;
        if let Err(ClamdError::NoRoom(_)) = answer {
            self.stop().await;
        }
        match answer? {
            Answer::Infected(name) => Ok(Answer::Infected(name)),
            // One that has ended answered nothing: it was another one, whose log this is not.
            answer => this.judge(answer, &before, &log.doubts().ok_or_else(gone)?),
        }
    }

    /// Ends clamd at once, so that the next [`Clamd::ready`] starts a new one: the only way to stop
    /// a scan, which goes on inside clamd when its client has gone.
    pub async fn stop(&self) {
        end(&mut *self.running.lock().await).await;
    }

    /// Ends clamd as [`Clamd::stop`] does, and gives what it said: the last 100 lines.
    pub async fn stop_for_log(&self) -> Vec<String> {
        end(&mut *self.running.lock().await).await
    }

    /// Memory that it holds, in bytes; none while there is no process.
    pub async fn memory(&self) -> Option<u64> {
        let slot = self.running.lock().await;
        resident(slot.as_ref()?.id()?)
    }

    fn heard(&self) -> std::sync::MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn socket(&self) -> PathBuf {
        self.paths.work_dir.join("clamd.sock")
    }
}

async fn end(slot: &mut Option<Running>) -> Vec<String> {
    match slot.take() {
        Some(running) => running.end().await,
        None => Vec::new(),
    }
}

/// The EICAR test file (<https://www.eicar.org/download-anti-malware-testfile/>), put together at
/// run time so that no scanner takes this program for one.
#[must_use]
pub fn eicar() -> String {
    let head = r"X5O!P%@AP[4\PZX54(P^)7CC)7}$";
    let tail = "STANDARD-ANTIVIRUS-TEST-FILE!$H+H*";
    format!("{head}EICAR-{tail}")
}

/// EICAR, stored in a RAR 5 (<https://www.rarlab.com/technote.htm>). It lies there in one piece, but
/// ClamAV's signatures for it ask for a file of its own.
fn eicar_in_rar() -> Vec<u8> {
    // Magic, header of the archive, header of the member `file.txt`.
    const HEAD: &[u8] = b"Rar!\x1a\x07\x01\x00\xc5\x1a\x33\x32\x03\x01\x00\x00\
        \xda\xb7\x53\x82\x17\x02\x02\x44\x04\x44\xa4\x83\x02\x3c\xcf\x51\x68\x00\x01\x08file.txt";
    const END: &[u8] = b"\x1d\x77\x56\x51\x03\x05\x04\x00";
    [HEAD, eicar().as_bytes(), END].concat()
}

/// libclamav looks for this library by itself. Without it, it says `OK` to every RAR.
fn has_rar_library(paths: &Paths) -> bool {
    let is_it = |entry: io::Result<std::fs::DirEntry>| {
        entry.is_ok_and(|entry| entry.file_name().as_encoded_bytes().starts_with(RAR_LIBRARY))
    };
    std::fs::read_dir(paths.clamav_dir.join("lib")).is_ok_and(|mut entries| entries.any(is_it))
}

/// Empties the work folder, which may hold the temporary files of a clamd that died, and puts
/// together what clamd loads.
fn prepare(paths: &Paths, opens_rar: bool) -> Result<(), ClamdError> {
    let work_dir = &paths.work_dir;
    room::make_empty(work_dir)?;
    std::fs::create_dir(paths.temporary_dir())
        .map_err(|source| NoRoom::unwritable(work_dir, source))?;
    let database = database_dir(work_dir);
    lay_out(&paths.definitions_dir, &database, opens_rar)
        .map_err(|source| ClamdError::Definitions { path: paths.definitions_dir.clone(), source })
}

/// The folder that clamd loads.
fn database_dir(work_dir: &Path) -> PathBuf {
    work_dir.join("database")
}

/// clamd loads one folder: links to the definitions, which stay as they are, and the honesty
/// database.
fn lay_out(definitions_dir: &Path, database: &Path, opens_rar: bool) -> io::Result<()> {
    std::fs::create_dir(database)?;
    // Before the others, so that none of them can stand in its place.
    let rar = if opens_rar { "" } else { honesty::RAR };
    std::fs::write(database.join(HONESTY_FILE), [honesty::SIGNATURES, rar].concat())?;
    for entry in std::fs::read_dir(std::path::absolute(definitions_dir)?)? {
        let entry = entry?;
        std::os::unix::fs::symlink(entry.path(), database.join(entry.file_name()))?;
    }
    Ok(())
}

/// Resident memory of a process in bytes: the line `VmRSS:  1234 kB` of its status (proc(5)).
#[must_use]
pub fn resident(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let kilobytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(kilobytes.trim().strip_suffix(" kB")?.parse::<u64>().ok()? << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_holds_memory_and_one_that_is_not_there_holds_none() {
        assert!(resident(std::process::id()).unwrap() > 1 << 20);
        assert_eq!(resident(u32::MAX), None);
    }

    #[test]
    fn without_its_library_rar_is_a_signatures_matter() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths {
            clamav_dir: dir.path().to_owned(),
            definitions_dir: dir.path().join("lib"),
            work_dir: dir.path().join("work"),
        };
        assert!(!has_rar_library(&paths));
        std::fs::create_dir(dir.path().join("lib")).unwrap();
        assert!(!has_rar_library(&paths));
        std::fs::write(dir.path().join("lib/libclamunrar_iface.so.12"), "").unwrap();
        assert!(has_rar_library(&paths));
    }

    #[test]
    fn eicar_is_the_68_bytes_that_it_must_be() {
        assert_eq!(eicar().len(), 68);
    }
}
