//! Reading: every member passes through its checksum.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::Path;

use flate2::read::GzDecoder;
use sha2::{Digest as _, Sha256};

use super::{COPYING, ContainerError, HEADER, Header, hex};

/// Far above what COPYING and `.info` are, in bytes.
const SMALL: u64 = 1 << 20;

/// Reads the header alone.
///
/// # Errors
/// When the file cannot be read or does not begin with one.
pub fn header(path: &Path) -> Result<Header, ContainerError> {
    let mut bytes = Vec::with_capacity(HEADER);
    File::open(path)
        .and_then(|file| file.take(HEADER as u64).read_to_end(&mut bytes))
        .map_err(ContainerError::io(path))?;
    Header::parse(&bytes).map_err(|problem| ContainerError::damaged(path, problem))
}

/// Reads all of it and compares every member with its checksum.
///
/// # Errors
/// When the file cannot be read or is damaged.
pub fn verify(path: &Path) -> Result<Header, ContainerError> {
    read(path, |_, _| Ok(()))
}

/// The text of the first member, the licence of the signatures.
///
/// # Errors
/// When the file cannot be read or is damaged.
pub fn copying(path: &Path) -> Result<Vec<u8>, ContainerError> {
    let mut archive = archive(path)?;
    let damaged = |error: io::Error| ContainerError::damaged(path, error.to_string());
    let first = archive.entries().map_err(damaged)?.next();
    let first = first.ok_or_else(|| ContainerError::damaged(path, "it holds nothing"))?;
    let mut text = Vec::new();
    first.map_err(damaged)?.take(SMALL).read_to_end(&mut text).map_err(damaged)?;
    Ok(text)
}

/// Hands each member but COPYING and `.info` over, in its order. What the callback leaves unread
/// is read all the same: when this returns, every checksum was right and every member of `.info`
/// was there.
///
/// # Errors
/// When the file cannot be read, is damaged, or the callback fails.
pub fn read(
    path: &Path,
    mut member: impl FnMut(&str, &mut dyn BufRead) -> Result<(), ContainerError>,
) -> Result<Header, ContainerError> {
    let header = header(path)?;
    let damaged = |error: io::Error| ContainerError::damaged(path, error.to_string());
    let mut archive = archive(path)?;
    let (mut listed, mut seen) = (None, HashMap::new());
    for (n, entry) in archive.entries().map_err(damaged)?.enumerate() {
        let mut entry = entry.map_err(damaged)?;
        let name = std::str::from_utf8(&entry.path_bytes())
            .map_err(|_| ContainerError::damaged(path, "a member's name is not text"))?
            .to_owned();
        if n == 0 {
            if name != COPYING {
                return Err(ContainerError::damaged(path, "its first member is not COPYING"));
            }
        } else if name.ends_with(".info") {
            let mut text = String::new();
            entry.take(SMALL).read_to_string(&mut text).map_err(damaged)?;
            listed = Some(list(&text).map_err(|problem| ContainerError::damaged(path, problem))?);
        } else {
            let mut hashed = BufReader::with_capacity(1 << 16, Hashed::new(&mut entry));
            member(&name, &mut hashed)?;
            io::copy(&mut hashed, &mut io::sink()).map_err(damaged)?;
            seen.insert(name, hashed.into_inner().listed());
        }
    }
    // The makers' have it in front, ours at the end.
    let Some(listed) = listed else {
        return Err(ContainerError::damaged(path, "its .info is missing"));
    };
    let names = listed.keys().chain(seen.keys());
    match names.filter(|name| listed.get(*name) != seen.get(*name)).min() {
        None => Ok(header),
        Some(name) => {
            Err(ContainerError::damaged(path, format!("{name:?} is not what .info says")))
        }
    }
}

fn archive(path: &Path) -> Result<tar::Archive<Box<dyn Read>>, ContainerError> {
    let mut file =
        BufReader::with_capacity(1 << 16, File::open(path).map_err(ContainerError::io(path))?);
    let mut start = [0; HEADER + COPYING.len()];
    file.read_exact(&mut start)
        .map_err(|error| ContainerError::damaged(path, error.to_string()))?;
    let start = start[HEADER..].to_vec();
    let plain = start == COPYING.as_bytes();
    let body = Cursor::new(start).chain(file);
    let body: Box<dyn Read> = if plain { Box::new(body) } else { Box::new(GzDecoder::new(body)) };
    Ok(tar::Archive::new(body))
}

/// What `.info` says of a member.
#[derive(Debug, PartialEq, Eq)]
struct Listed {
    size: u64,
    sha256: String,
}

/// Lines `name:size:SHA-256` after the header's, up to the digital signature.
fn list(info: &str) -> Result<HashMap<String, Listed>, String> {
    let lines = info.lines().skip(1).take_while(|line| !line.starts_with("DSIG:"));
    lines
        .map(|line| {
            let mut fields = line.split(':');
            let (Some(name), Some(size), Some(sha256), None) =
                (fields.next(), fields.next(), fields.next(), fields.next())
            else {
                return Err("a line of its .info has not three fields".to_owned());
            };
            let size = size.parse().map_err(|_| "a size in its .info is not a number")?;
            Ok((name.to_owned(), Listed { size, sha256: sha256.to_ascii_lowercase() }))
        })
        .collect()
}

/// Counts and hashes what is read.
struct Hashed<R> {
    inner: R,
    size: u64,
    sha256: Sha256,
}

impl<R> Hashed<R> {
    fn new(inner: R) -> Self {
        Self { inner, size: 0, sha256: Sha256::new() }
    }

    fn listed(self) -> Listed {
        Listed { size: self.size, sha256: hex(&self.sha256.finalize()) }
    }
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.sha256.update(&buffer[..n]);
        self.size += n as u64;
        Ok(n)
    }
}
