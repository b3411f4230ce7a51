//! ClamAV's database containers: reads the makers' (`.cvd`, `.cld`), writes our own (`.cud`).
//!
//! A container is a header of 512 bytes and a tar archive, packed with gzip or plain; the plain one
//! begins with its member `COPYING`. Its member `.info` lists the others with their lengths and
//! SHA-256 (ClamAV manual, "Anatomy of a CVD"; `libclamav/cvd.c` and `cli_loadinfo` of ClamAV 1.4).

mod read;
mod write;

use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

pub use read::{copying, header, read, verify};
pub use write::Writer;

/// Length of the header: fields separated by colons, padded with spaces.
const HEADER: usize = 512;

/// The licence of the signatures, the first member.
pub const COPYING: &str = "COPYING";

/// Why a container cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ContainerError {
    /// The file system refused.
    #[error("cannot work on the database {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is not what it should be.
    #[error("the database {} is damaged: {problem}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
}

impl ContainerError {
    fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }

    fn damaged(path: &Path, problem: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), problem: problem.into() }
    }
}

/// What the header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Version of the database.
    pub version: u32,
    /// When it was built.
    pub built: Timestamp,
    /// The oldest engine that reads all of it, in ClamAV's count.
    pub level: u32,
}

impl Header {
    /// Fields: magic, build time as text, version, number of signatures, functionality level, MD5,
    /// signature, builder, build time in seconds since 1970.
    fn parse(header: &[u8]) -> Result<Self, &'static str> {
        if header.len() < HEADER {
            return Err("it is shorter than a header");
        }
        let text = std::str::from_utf8(header).map_err(|_| "its header is not text")?;
        let fields: Vec<_> = text.trim_end_matches([' ', '\0', '\n']).split(':').collect();
        let [magic, _, version, _, level, .., built] = fields[..] else {
            return Err("its header has too few fields");
        };
        if magic != "ClamAV-VDB" || fields.len() < 9 {
            return Err("it does not begin with a ClamAV-VDB header");
        }
        let built = built.trim().parse().ok().and_then(|s| Timestamp::from_second(s).ok());
        Ok(Self {
            version: version.parse().map_err(|_| "its version is not a number")?,
            built: built.ok_or("its build time is not a number of seconds")?,
            level: level.parse().map_err(|_| "its functionality level is not a number")?,
        })
    }

    /// The header of an unsigned container, not padded.
    fn render(&self, signatures: u64) -> String {
        let Self { version, built, level } = self;
        // The time holds no colon, as colons part the fields. `X` is no MD5 and no signature.
        let time = built.strftime("%d %b %Y %H-%M +0000");
        let seconds = built.as_second();
        format!("ClamAV-VDB:{time}:{version}:{signatures}:{level}:X:X:s3-virusscan:{seconds}")
    }
}

/// Lower-case hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
