//! clamd as the scanner uses it, over the Unix socket at a path.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use scanner_tests::samples::eicar;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use crate::{Case, cases, same};

/// Every case. The clamd needs a database that knows the EICAR file, and a `StreamMaxLength` of
/// at least 1 MiB.
pub(crate) fn cases(socket: &Path) -> Vec<Case<'_>> {
    cases![socket;
        ping_is_answered,
        the_version_has_its_parts,
        an_unknown_command_is_named_so,
        harmless_content_is_ok,
        an_empty_stream_is_ok,
        eicar_is_found,
        eicar_is_found_in_single_bytes,
        a_large_stream_is_taken_whole,
        streams_side_by_side_get_their_own_answers,
        a_stream_without_its_end_is_not_answered,
    ]
}

/// A clamd whose `StreamMaxLength` is known, in bytes.
pub(crate) struct Limited {
    pub(crate) socket: PathBuf,
    pub(crate) stream_max: u32,
}

/// The cases that need to know the limit.
pub(crate) fn limit_cases(clamd: &Limited) -> Vec<Case<'_>> {
    cases![clamd; a_chunk_over_the_limit_is_refused_at_once]
}

/// Sends `request`, then reads until clamd closes: without a session it does after one command.
async fn answer(socket: &Path, request: &[u8]) -> anyhow::Result<String> {
    let connected = UnixStream::connect(socket).await;
    let mut stream = connected.with_context(|| format!("connecting to {}", socket.display()))?;
    stream.write_all(request).await.context("sending")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.context("reading the answer")?;
    String::from_utf8(answer).context("reading the answer as text")
}

/// An `INSTREAM` of these chunks, and the zero length that ends it.
fn instream<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> anyhow::Result<Vec<u8>> {
    let mut request = b"zINSTREAM\0".to_vec();
    for chunk in chunks {
        request.extend_from_slice(&u32::try_from(chunk.len())?.to_be_bytes());
        request.extend_from_slice(chunk);
    }
    request.extend_from_slice(&[0; 4]);
    Ok(request)
}

fn found(answer: &str) -> anyhow::Result<()> {
    let name = answer.strip_prefix("stream: ").and_then(|rest| rest.strip_suffix(" FOUND\0"));
    ensure!(name.is_some_and(|name| !name.is_empty()), "want a finding, got {answer:?}");
    Ok(())
}

async fn ping_is_answered(socket: &Path) -> anyhow::Result<()> {
    same("PING", answer(socket, b"zPING\0").await?.as_str(), "PONG\0")
}

async fn the_version_has_its_parts(socket: &Path) -> anyhow::Result<()> {
    let version = answer(socket, b"zVERSION\0").await?;
    let parts: Vec<_> = version.trim_end_matches('\0').splitn(3, '/').collect();
    ensure!(version.ends_with('\0') && parts[0].starts_with("ClamAV "), "got {version:?}");
    // The database is named only if a `daily` is loaded: its version and its date.
    if let [_, database, ..] = parts[..] {
        ensure!(database.parse::<u32>().is_ok(), "version of the database in {version:?}");
        ensure!(parts.len() == 3, "date of the database in {version:?}");
    }
    Ok(())
}

async fn an_unknown_command_is_named_so(socket: &Path) -> anyhow::Result<()> {
    same("zNONSENSE", answer(socket, b"zNONSENSE\0").await?.as_str(), "UNKNOWN COMMAND\0")
}

async fn harmless_content_is_ok(socket: &Path) -> anyhow::Result<()> {
    let request = instream([b"nothing to see here".as_slice()])?;
    same("answer", answer(socket, &request).await?.as_str(), "stream: OK\0")
}

async fn an_empty_stream_is_ok(socket: &Path) -> anyhow::Result<()> {
    same("answer", answer(socket, &instream([])?).await?.as_str(), "stream: OK\0")
}

async fn eicar_is_found(socket: &Path) -> anyhow::Result<()> {
    found(&answer(socket, &instream([eicar().as_slice()])?).await?)
}

async fn eicar_is_found_in_single_bytes(socket: &Path) -> anyhow::Result<()> {
    found(&answer(socket, &instream(eicar().chunks(1))?).await?)
}

async fn a_large_stream_is_taken_whole(socket: &Path) -> anyhow::Result<()> {
    let content = vec![b'x'; 1024 * 1024 - 1];
    for size in [content.len(), 65_536, 4_099] {
        let request = instream(content.chunks(size))?;
        same("answer", answer(socket, &request).await?.as_str(), "stream: OK\0")?;
    }
    Ok(())
}

async fn streams_side_by_side_get_their_own_answers(socket: &Path) -> anyhow::Result<()> {
    let mut scans = tokio::task::JoinSet::new();
    for number in 0..8 {
        let socket = PathBuf::from(socket);
        scans.spawn(async move {
            let infected = number % 2 == 0;
            let content = if infected { eicar() } else { b"harmless".to_vec() };
            let answer = answer(&socket, &instream([content.as_slice()])?).await?;
            if infected { found(&answer) } else { same("answer", answer.as_str(), "stream: OK\0") }
        });
    }
    while let Some(scan) = scans.join_next().await {
        scan??;
    }
    Ok(())
}

async fn a_stream_without_its_end_is_not_answered(socket: &Path) -> anyhow::Result<()> {
    let mut request = instream([eicar().as_slice()])?;
    request.truncate(request.len() - 4);
    let mut stream = UnixStream::connect(socket).await?;
    stream.write_all(&request).await?;
    stream.shutdown().await?;
    let mut answer = Vec::new();
    // Hung up or with an error: but with no word about content that did not come to its end.
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8(answer)?;
    ensure!(!answer.contains("OK") && !answer.contains("FOUND"), "got {answer:?}");
    Ok(())
}

async fn a_chunk_over_the_limit_is_refused_at_once(clamd: &Limited) -> anyhow::Result<()> {
    let announced = clamd.stream_max.checked_add(1).context("a limit below 4 GiB")?;
    let mut stream = UnixStream::connect(&clamd.socket).await?;
    stream.write_all(&[b"zINSTREAM\0".as_slice(), &announced.to_be_bytes()].concat()).await?;
    // The content of the chunk is never sent: its length alone is too much.
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    same("answer", answer.as_slice(), b"INSTREAM size limit exceeded. ERROR\0")
}
