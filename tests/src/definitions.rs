//! Signature definitions for tests, made when they are needed.
//!
//! The real ones come only from ClamAV's own servers. These hold EICAR and the marker of
//! [`crate::samples`], in the container format of the real ones, unsigned (`.cud`): clamd reads
//! its version and age from it as from a real `daily.cvd`, and appends `.UNOFFICIAL` to names.
//! The format is that of ClamAV's `libclamav/cvd.c`: a header of 512 bytes and a tar archive
//! whose first member is `COPYING` (that tells an uncompressed one) and whose `.info` member
//! lists the others with their lengths and SHA-256.

use std::io::Write;
use std::path::Path;

use anyhow::Context as _;
use function_common::manifest::PORTABLE_EXECUTABLE;
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use crate::samples;

/// The signature that finds [`samples::MARKER`] anywhere in a file.
pub const MARKER_NAME: &str = "S3-Virusscan.Test.Marker";
/// The signature that finds [`samples::PE_MARKER`] anywhere in a Windows program.
pub const PE_MARKER_NAME: &str = "S3-Virusscan.Test.PeMarker";
/// The signatures that find EICAR, by its hash and by its bytes.
pub const EICAR_NAMES: [&str; 2] = ["Eicar-Test-Signature", "Eicar-Signature"];

/// Of the 68 bytes of EICAR; published with the file.
const EICAR_MD5: &str = "44d88612fea8a8f36de82e1278abb02f";
/// The oldest engine that may load them, in ClamAV's count (90 is ClamAV 0.101). Low on purpose.
const FUNCTIONALITY_LEVEL: u32 = 90;
pub(crate) const HEADER_BYTES: usize = 512;

/// Writes `daily.cud` into `dir`, which must exist, replacing an older one in one step.
///
/// # Errors
///
/// The file cannot be written.
pub fn write(dir: &Path, version: u32, built: Timestamp) -> anyhow::Result<()> {
    let path = dir.join("daily.cud");
    let incomplete = dir.join("daily.cud.incomplete");
    std::fs::write(&incomplete, whole(version, built)?)
        .and_then(|()| std::fs::rename(&incomplete, &path))
        .with_context(|| format!("writing test definitions to {}", path.display()))
}

/// A container with all test signatures.
///
/// # Errors
///
/// Never in practice: the archive is written to memory.
pub fn whole(version: u32, built: Timestamp) -> anyhow::Result<Vec<u8>> {
    container(version, built, &signatures(&[MARKER_LINE]))
}

/// The same with one more signature, for `marker` anywhere in a file.
///
/// # Errors
///
/// As [`whole`].
pub fn whole_with(
    version: u32,
    built: Timestamp,
    name: &str,
    marker: &[u8],
) -> anyhow::Result<Vec<u8>> {
    container(version, built, &signatures(&[MARKER_LINE, (name, 0, marker)]))
}

/// All test signatures, also that for Windows programs, more hashes (`.hdb`), and a list of file
/// types (`.ftm`).
///
/// # Errors
///
/// As [`whole`].
pub fn with_file_types(
    version: u32,
    built: Timestamp,
    more_hashes: &str,
    types: &str,
) -> anyhow::Result<Vec<u8>> {
    let [(hashes, mut text), bodies] = planted();
    text += more_hashes;
    container(version, built, &[(hashes, text), bodies, ("daily.ftm", types.to_owned())])
}

/// The base shard and the shard for Windows programs. The latter knows
/// [`samples::PE_MARKER`] and, as a proof that it looks at all, EICAR.
///
/// # Errors
///
/// As [`whole`].
pub fn shards(version: u32, built: Timestamp) -> anyhow::Result<[Vec<u8>; 2]> {
    let tripwire = format!("{PORTABLE_EXECUTABLE};Engine:81-255,Target:1;0;0:4d5a\n");
    let [hashes, bodies] = signatures(&[MARKER_LINE]);
    let base = [hashes, bodies, ("daily.ldb", tripwire)];
    let pe = signatures(&[(PE_MARKER_NAME, 1, samples::PE_MARKER)]);
    Ok([container(version, built, &base)?, container(version, built, &pe)?])
}

/// A database that loads, and finds nothing that a canary could show.
///
/// # Errors
///
/// As [`whole`].
pub fn without_eicar(version: u32, built: Timestamp) -> anyhow::Result<Vec<u8>> {
    container(version, built, &[("daily.ndb", line(MARKER_LINE))])
}

/// Members of the container: name and lines.
pub(crate) type Member = (&'static str, String);

/// Name, target (0 is any file, 1 is Windows programs) and bytes that are looked for anywhere.
type Line<'a> = (&'a str, u8, &'a [u8]);

const MARKER_LINE: Line<'_> = (MARKER_NAME, 0, samples::MARKER);

/// Loose files of `daily`: EICAR, [`samples::MARKER`] and [`samples::PE_MARKER`].
pub(crate) fn planted() -> [Member; 2] {
    signatures(&[MARKER_LINE, (PE_MARKER_NAME, 1, samples::PE_MARKER)])
}

/// Those of EICAR, and these.
fn signatures(more: &[Line<'_>]) -> [Member; 2] {
    let eicar = hex(&samples::eicar());
    let [by_hash, by_bytes] = EICAR_NAMES;
    let hashes = format!("{EICAR_MD5}:68:{by_hash}\n");
    let mut bodies = format!("{by_bytes}:0:0:{eicar}\n");
    bodies.extend(more.iter().copied().map(line));
    [("daily.hdb", hashes), ("daily.ndb", bodies)]
}

/// name:target:offset (`*` is anywhere):bytes
fn line((name, target, bytes): Line<'_>) -> String {
    format!("{name}:{target}:*:{}\n", hex(bytes))
}

fn container(version: u32, built: Timestamp, members: &[Member]) -> anyhow::Result<Vec<u8>> {
    let header = header(version, built, members.iter().map(|(_, text)| text.lines().count()).sum());
    let mut info = format!("{header}\n");
    for (name, text) in members {
        info += &format!("{name}:{}:{}\n", text.len(), hex(&Sha256::digest(text)));
    }
    let notice = "Test definitions. They find EICAR and a marker of this project, nothing else.\n";

    let mut tar = tar::Builder::new(format!("{header:<HEADER_BYTES$}").into_bytes());
    append(&mut tar, "COPYING", notice)?;
    append(&mut tar, "daily.info", &info)?;
    for (name, text) in members {
        append(&mut tar, name, text)?;
    }
    tar.into_inner().context("closing the archive")
}

pub(crate) fn append(
    tar: &mut tar::Builder<impl Write>,
    name: &str,
    text: &str,
) -> anyhow::Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_size(text.len() as u64);
    header.set_mode(0o644);
    tar.append_data(&mut header, name, text.as_bytes()).with_context(|| format!("adding {name}"))
}

/// `ClamAV-VDB:` build time, version, signatures, functionality level, MD5, digital signature,
/// builder, build time in seconds. The time holds no colon, as colons part the fields.
pub(crate) fn header(version: u32, built: Timestamp, signatures: usize) -> String {
    let time = built.strftime("%d %b %Y %H-%M +0000");
    let seconds = built.as_second();
    format!("ClamAV-VDB:{time}:{version}:{signatures}:{FUNCTIONALITY_LEVEL}:X:X:test:{seconds}")
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_laid_out_as_clamav_reads_it() {
        let built: Timestamp = "2026-11-22T18:33:05Z".parse().expect("a time");
        let bytes = container(27_451, built, &signatures(&[MARKER_LINE])).expect("a container");

        let (header, archive) = bytes.split_at(HEADER_BYTES);
        let header = std::str::from_utf8(header).expect("ASCII").trim_end();
        let expected = "ClamAV-VDB:22 Nov 2026 18-33 +0000:27451:3:90:X:X:test:1795372385";
        assert_eq!(header, expected);

        let mut archive = tar::Archive::new(archive);
        let mut members = Vec::new();
        for entry in archive.entries().expect("an archive") {
            let mut entry = entry.expect("a member");
            let mut text = String::new();
            std::io::Read::read_to_string(&mut entry, &mut text).expect("text");
            members.push((entry.path().expect("a name").display().to_string(), text));
        }
        let names: Vec<_> = members.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["COPYING", "daily.info", "daily.hdb", "daily.ndb"]);
        let info: Vec<_> = members[1].1.lines().collect();
        assert_eq!(info[0], header);
        for (line, (name, text)) in info[1..].iter().zip(&members[2..]) {
            assert_eq!(*line, format!("{name}:{}:{}", text.len(), hex(&Sha256::digest(text))));
        }
    }

    #[test]
    fn replaces_the_older_one() {
        let dir = tempfile::tempdir().expect("a folder");
        for version in [1, 2] {
            write(dir.path(), version, Timestamp::UNIX_EPOCH).expect("written");
        }
        let bytes = std::fs::read(dir.path().join("daily.cud")).expect("readable");
        assert!(bytes.starts_with(b"ClamAV-VDB:01 Jan 1970 00-00 +0000:2:"));
        assert_eq!(std::fs::read_dir(dir.path()).expect("readable").count(), 1);
    }
}
