//! clamd alone, as the function starts it: the yardstick, and what the usual scanner starts anew
//! for each file.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use function_common::clamd::conf::Limits;
use function_common::clamd::{Clamd, Paths, free_bytes};
use tempfile::TempDir;

use crate::artefacts::{self, Arch};
use crate::definitions;

/// As the sandbox says it.
const MEMORY_MB: u32 = 3008;
/// As the function sends them.
const CHUNK: usize = 64 << 10;
/// Memory, as the sandbox's `/tmp` is, where a host has such a folder.
const MEMORY_FOLDER: &str = "/dev/shm";

/// A clamd that is ready. It ends when it is dropped.
pub(super) struct Engine {
    /// From its start until it had found EICAR.
    pub(super) took: Duration,
    _clamd: Clamd,
    socket: PathBuf,
    _folders: [TempDir; 2],
}

impl Engine {
    pub(super) async fn start() -> anyhow::Result<Self> {
        let definitions = tempfile::tempdir().context("making a folder for definitions")?;
        definitions::write(definitions.path(), 1, jiff::Timestamp::now())?;
        let folder = memory_folder()?;
        let work_dir = folder.path().join("clamd");
        let paths = Paths {
            clamav_dir: artefacts::layer(Arch::X86_64)?.join("clamav"),
            definitions_dir: definitions.path().to_owned(),
            work_dir: work_dir.clone(),
        };
        let begin = Instant::now();
        let limits = Limits::for_function(MEMORY_MB, free_bytes(folder.path())?);
        let clamd = Clamd::start(paths, limits, false).context("starting clamd")?;
        clamd.ready().await.context("waiting for clamd")?;
        let took = begin.elapsed();
        let socket = work_dir.join("clamd.sock");
        Ok(Self { took, _clamd: clamd, socket, _folders: [definitions, folder] })
    }

    /// Where it listens.
    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Streams `count` zeros to it and gives the time until its answer.
    pub(super) async fn stream_zeros(&self, count: u64) -> anyhow::Result<Duration> {
        let socket = self.socket.clone();
        let streaming = tokio::task::spawn_blocking(move || stream_zeros(&socket, count));
        streaming.await.context("streaming to clamd")?.context("streaming to clamd")
    }

    /// Has it look at a file and gives its answer.
    pub(super) async fn scan(&self, file: PathBuf) -> anyhow::Result<String> {
        let socket = self.socket.clone();
        let scanning = tokio::task::spawn_blocking(move || {
            let command = format!("zSCAN {}\0", file.display());
            let mut clamd = UnixStream::connect(socket)?;
            clamd.write_all(command.as_bytes())?;
            answer(clamd)
        });
        scanning.await.context("asking clamd")?.context("asking clamd")
    }
}

/// The INSTREAM command of clamd(8): each chunk behind its length, an empty one last.
fn stream_zeros(socket: &Path, count: u64) -> anyhow::Result<Duration> {
    let mut framed = u32::try_from(CHUNK)?.to_be_bytes().to_vec();
    framed.resize(CHUNK + 4, 0);
    let begin = Instant::now();
    let mut clamd = UnixStream::connect(socket)?;
    clamd.write_all(b"zINSTREAM\0")?;
    for _ in 0..count / CHUNK as u64 {
        clamd.write_all(&framed)?;
    }
    clamd.write_all(&0_u32.to_be_bytes())?;
    let answer = answer(clamd)?;
    let took = begin.elapsed();
    ensure!(answer == "stream: OK", "clamd answered {answer:?}");
    Ok(took)
}

fn answer(mut clamd: UnixStream) -> anyhow::Result<String> {
    let mut answer = String::new();
    clamd.read_to_string(&mut answer)?;
    Ok(answer.trim_end_matches('\0').to_owned())
}

fn memory_folder() -> anyhow::Result<TempDir> {
    let shared = Path::new(MEMORY_FOLDER);
    let parent = if shared.is_dir() { shared.to_owned() } else { std::env::temp_dir() };
    tempfile::tempdir_in(parent).context("making a work folder for clamd")
}
