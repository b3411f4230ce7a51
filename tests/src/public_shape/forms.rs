//! The forms that clamd loads, made from loose files.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read as _, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::DATABASES;
use crate::definitions::{self, HEADER_BYTES};

/// Of the database that the numbers are from.
pub const VERSION: u32 = 28_129;
/// When that one was built.
const BUILT: i64 = 1_789_885_586;

const BLOCK: usize = 1 << 16;

/// The files of `loose` in containers packed with gzip, as the makers' `.cvd` are, but unsigned
/// (`.cud`).
///
/// # Errors
///
/// They cannot be read or written.
pub fn pack(loose: &Path, dir: &Path) -> anyhow::Result<()> {
    each(loose, dir, |header, members, file| {
        let gzip = GzEncoder::new(file, Compression::default());
        archive(header, members, gzip)?.finish().context("ending a gzip stream")
    })
}

/// The same in containers that are not packed, as freshclam's `.cld` are.
///
/// # Errors
///
/// As [`pack`].
pub fn plain(loose: &Path, dir: &Path) -> anyhow::Result<()> {
    each(loose, dir, archive)
}

struct Member {
    name: String,
    path: PathBuf,
    size: u64,
    sha256: String,
    lines: usize,
}

type Output = BufWriter<File>;

fn each(
    loose: &Path,
    dir: &Path,
    body: impl Fn(&str, &[Member], Output) -> anyhow::Result<Output>,
) -> anyhow::Result<()> {
    for database in DATABASES {
        let members = members(loose, database)?;
        let count = members.iter().map(|member| member.lines).sum();
        let built = Timestamp::from_second(BUILT).context("a build time")?;
        let header = definitions::header(VERSION, built, count);
        let path = dir.join(format!("{database}.cud"));
        let writing = || format!("writing {}", path.display());
        let mut file = BufWriter::with_capacity(BLOCK, File::create(&path).with_context(writing)?);
        write!(file, "{header:<HEADER_BYTES$}").with_context(writing)?;
        body(&header, &members, file)
            .and_then(|mut file| file.flush().context("the last bytes"))
            .with_context(writing)?;
    }
    Ok(())
}

/// A tar archive; `.info` is in front, as the makers have it.
fn archive<W: Write>(header: &str, members: &[Member], to: W) -> anyhow::Result<W> {
    let database = members.first().and_then(|member| member.name.split('.').next());
    let info_name = format!("{}.info", database.unwrap_or_default());
    let mut info = format!("{header}\n");
    for Member { name, size, sha256, .. } in members {
        info += &format!("{name}:{size}:{sha256}\n");
    }
    let mut tar = tar::Builder::new(to);
    definitions::append(&mut tar, "COPYING", "Made up. It finds nothing but test files.\n")?;
    definitions::append(&mut tar, &info_name, &info)?;
    for Member { name, path, .. } in members {
        tar.append_path_with_name(path, name).with_context(|| format!("adding {name}"))?;
    }
    tar.into_inner().context("closing the archive")
}

/// Of one database, in the order of their names.
fn members(loose: &Path, database: &str) -> anyhow::Result<Vec<Member>> {
    let listing = || format!("listing {}", loose.display());
    let mut members = Vec::new();
    for entry in std::fs::read_dir(loose).with_context(listing)? {
        let path = entry.with_context(listing)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.split('.').next() == Some(database) {
            members.push(member(name, path)?);
        }
    }
    if members.is_empty() {
        bail!("{} holds no files of {database}", loose.display());
    }
    members.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(members)
}

fn member(name: String, path: PathBuf) -> anyhow::Result<Member> {
    let reading = || format!("reading {}", path.display());
    let mut file = BufReader::new(File::open(&path).with_context(reading)?);
    let (mut sha256, mut size, mut lines) = (Sha256::new(), 0, 0);
    let mut block = vec![0; BLOCK];
    loop {
        let count = file.read(&mut block).with_context(reading)?;
        let bytes = block.get(..count).unwrap_or_default();
        if bytes.is_empty() {
            break;
        }
        sha256.update(bytes);
        size += bytes.len() as u64;
        lines += bytes.iter().filter(|byte| **byte == b'\n').count();
    }
    let sha256 = definitions::hex(&sha256.finalize());
    Ok(Member { name, path, size, sha256, lines })
}
