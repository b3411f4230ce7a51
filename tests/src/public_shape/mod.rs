//! A database of the size and shape of ClamAV's public one of 2026, made up from a seed.
//!
//! The real one comes only from ClamAV's own servers, which nothing here may be a burden to. How
//! long clamd takes to load one, and how much memory, depends on how many signatures of which kind
//! there are and on how much they have in common, not on what they find. [`FILES`] says where the
//! numbers are from; `docs/SPECIFICATION.md` says how near this comes.

mod forms;
mod lines;

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;

use anyhow::Context as _;
use fastrand::Rng;

use crate::definitions;
use lines::Lines;

pub use forms::{VERSION, pack, plain};

/// ClamAV's two databases, without its byte code (80 programs, 0.3 MB).
pub const DATABASES: [&str; 2] = ["main", "daily"];

/// A kind of signature, by the ending of its file (ClamAV manual, "Writing Signatures").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Hashes of sections of Windows programs.
    Mdb,
    /// Hashes of files.
    Hsb,
    /// The same in the older form.
    Hdb,
    /// Bytes in a file.
    Ndb,
    /// Several of those, and how they hang together.
    Ldb,
}

impl Kind {
    /// The ending.
    #[must_use]
    pub fn ending(self) -> &'static str {
        match self {
            Self::Mdb => "mdb",
            Self::Hsb => "hsb",
            Self::Hdb => "hdb",
            Self::Ndb => "ndb",
            Self::Ldb => "ldb",
        }
    }
}

/// Database, kind, number of signatures. The sums are those that ClamAV published for main 63
/// (3,287,027) and daily 28129 (355,901); their split is that of main 62 and daily 27371, the last
/// whose `.info` files are public, scaled. Pruned lists, small ones (`.fp`, `.ftm`, ...) and byte
/// code are left out.
pub const FILES: [(&str, Kind, usize); 8] = [
    ("main", Kind::Mdb, 2_000_000),
    ("main", Kind::Hsb, 1_160_000),
    ("main", Kind::Hdb, 40_000),
    ("main", Kind::Ndb, 45_000),
    ("main", Kind::Ldb, 37_000),
    ("daily", Kind::Ldb, 265_000),
    ("daily", Kind::Hsb, 66_000),
    ("daily", Kind::Mdb, 10_000),
];

/// Writes the databases as loose files (`main.mdb`, ...) into `dir`, which must exist: one of each
/// `one_in` signatures, the same ones for the same `seed`. `daily` also gets the signatures of
/// [`crate::definitions`] for EICAR and the markers of [`crate::samples`]. Gives the number of all.
///
/// Memory is that of one line.
///
/// # Errors
///
/// They cannot be written.
pub fn write(dir: &Path, one_in: usize, seed: u64) -> anyhow::Result<usize> {
    let mut lines = Lines::new(Rng::with_seed(seed));
    let mut all = 0;
    for (database, kind, count) in FILES {
        let path = dir.join(format!("{database}.{}", kind.ending()));
        let writing = || format!("writing {}", path.display());
        let mut file = BufWriter::new(File::create(&path).with_context(writing)?);
        let mut line = String::new();
        for _ in 0..count / one_in {
            line.clear();
            lines.write(kind, &mut line);
            file.write_all(line.as_bytes()).with_context(writing)?;
        }
        file.flush().with_context(writing)?;
        all += count / one_in;
    }
    for (name, text) in definitions::planted() {
        let path = dir.join(name);
        std::fs::write(&path, &text).with_context(|| format!("writing {}", path.display()))?;
        all += text.lines().count();
    }
    Ok(all)
}

#[cfg(test)]
mod tests;
