//! The owner's own signature files: chosen, fetched, and each tried by itself. One that is broken
//! is left out and reported, and does not stop the update of the others.

use std::path::{Path, PathBuf};

use function_common::manifest::LeftOut;
use function_common::service_error::chain;
use sha2::{Digest as _, Sha256};

use crate::bucket::{Bucket, BucketError, Object};
use crate::container::{ContainerError, hex};
use crate::cut::Where;
use crate::proof::Prover;
use crate::shards::{Signatures, write_canary, write_tripwire};

/// Largest file in bytes. A hash takes about 80.
const MAX_FILE: u64 = 16 << 20;

/// What all of them may have together, in bytes: they take memory of every scanner.
const MAX_ALL: u64 = 64 << 20;

/// How many there may be.
const MAX_FILES: usize = 100;

/// The kinds that are taken (ClamAV manual, "Writing Signatures"). Those that switch signatures
/// off belong into both shards. Not among them: kinds that only the makers write (containers, byte
/// code), and those of which a part would replace the whole (`.ftm`, `.cfg`).
const KINDS: [(&str, Where); 14] = [
    ("ndb", Where::Base),
    ("ldb", Where::Base),
    ("hdb", Where::Base),
    ("hsb", Where::Base),
    ("mdb", Where::Base),
    ("msb", Where::Base),
    ("imp", Where::Base),
    ("cdb", Where::Base),
    ("yara", Where::Base),
    ("yar", Where::Base),
    ("wdb", Where::Base),
    ("fp", Where::Both),
    ("sfp", Where::Both),
    ("ign2", Where::Both),
];

/// A file that is to be tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its key.
    pub key: String,
    /// The name under which clamd loads it.
    pub name: String,
    /// The shards that get it.
    pub place: Where,
}

/// What the owner's files came to.
#[derive(Debug, Default)]
pub struct Custom {
    /// Those that were found good.
    pub good: Vec<Signatures>,
    /// Those that were not, and why.
    pub left_out: Vec<LeftOut>,
}

/// Chooses among the objects under the prefix. Pure.
#[must_use]
pub fn choose(objects: &[Object]) -> (Vec<Candidate>, Vec<LeftOut>) {
    let mut chosen = Vec::new();
    let mut left_out = Vec::new();
    let mut all: u64 = 0;
    for object in objects {
        // Consoles make such objects to show folders.
        if object.key.ends_with('/') {
            continue;
        }
        let mut refuse =
            |reason: String| left_out.push(LeftOut { key: object.key.clone(), reason });
        let ending = object.key.rsplit_once('.').map_or("", |(_, ending)| ending);
        let Some((kind, place)) = KINDS.iter().find(|(kind, _)| *kind == ending) else {
            let kinds: Vec<_> = KINDS.iter().map(|(kind, _)| format!(".{kind}")).collect();
            refuse(format!("its name ends in none of {}", kinds.join(" ")));
            continue;
        };
        if object.size > MAX_FILE || all + object.size > MAX_ALL || chosen.len() == MAX_FILES {
            refuse(format!(
                "it is too much: {} MiB a file, {} MiB and {MAX_FILES} files together",
                MAX_FILE >> 20,
                MAX_ALL >> 20
            ));
            continue;
        }
        all += object.size;
        let name = file_name(&object.key, kind);
        chosen.push(Candidate { key: object.key.clone(), name, place: *place });
    }
    (chosen, left_out)
}

/// A plain name for a key, which may be anything: what is legal of its last part, behind a hash that
/// keeps two keys apart. Without a dot, as ClamAV looks for endings inside of names.
fn file_name(key: &str, kind: &str) -> String {
    let hash = hex(&Sha256::digest(key)[..4]);
    let stem = key.rsplit('/').next().and_then(|name| name.rsplit_once('.')).map_or("", |s| s.0);
    let legal = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    let stem: String = stem.chars().take(40).map(legal).collect();
    format!("custom-{hash}-{stem}.{kind}")
}

/// Fetches the candidates into `dir` and tries each of them in a database of its own.
///
/// # Errors
/// When S3 refuses or the folder cannot be written: the trouble is not the owner's file.
pub async fn fetch(
    bucket: &Bucket,
    objects: &[Object],
    prover: &Prover,
    dir: &Path,
) -> Result<Custom, CustomError> {
    let (candidates, left_out) = choose(objects);
    let mut custom = Custom { good: Vec::new(), left_out };
    for Candidate { key, name, place } in candidates {
        let trial = dir.join(&name).with_extension("trial");
        std::fs::create_dir_all(&trial)
            .map_err(|source| CustomError::Io { path: trial.clone(), source })?;
        let path = trial.join(&name);
        if !bucket.download(&key, &path).await? {
            continue; // deleted since it was listed
        }
        write_tripwire(&trial)?;
        write_canary(&trial)?;
        match prover.prove(&trial, true).await {
            Ok(_) => custom.good.push(Signatures { name, path, place }),
            Err(error) => {
                let reason: String = chain(&error).chars().take(500).collect();
                custom.left_out.push(LeftOut { key, reason });
            }
        }
    }
    for LeftOut { key, reason } in &custom.left_out {
        tracing::warn!(key, reason, "a custom signature file is left out");
    }
    Ok(custom)
}

/// Why the owner's files could not be tried.
#[derive(Debug, thiserror::Error)]
pub enum CustomError {
    /// S3 refused.
    #[error(transparent)]
    Bucket(#[from] BucketError),
    /// The folder on this side is the trouble.
    #[error("cannot work in {}", path.display())]
    Io {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// As above.
    #[error(transparent)]
    Container(#[from] ContainerError),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(key: &str, size: u64) -> Object {
        Object { key: key.into(), e_tag: String::new(), size }
    }

    #[test]
    fn names_of_keys_become_plain_names_of_files() {
        let keys =
            ["custom/a.ndb", "custom/x/a.ndb", "custom/../..\n/é daily.cvd .ndb", "custom/.ndb"];
        let objects: Vec<_> = keys.iter().map(|key| object(key, 1)).collect();
        let (chosen, left_out) = choose(&objects);
        assert!(left_out.is_empty());
        let mut names: Vec<_> = chosen.into_iter().map(|candidate| candidate.name).collect();
        for name in &names {
            let stem = name.strip_suffix(".ndb").unwrap();
            assert!(stem.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c)), "{name}");
            assert!(stem.starts_with("custom-") && name.len() <= 100, "{name}");
        }
        names.sort();
        names.dedup();
        assert_eq!(names.len(), keys.len(), "two keys are two files: {names:?}");
    }

    #[test]
    fn only_known_kinds_of_bounded_size_are_tried() {
        let (chosen, left_out) = choose(&[
            object("custom/", 0),
            object("custom/README.md", 1),
            object("custom/main.cvd", 1),
            object("custom/types.ftm", 1),
            object("custom/NDB", 1),
            object("custom/big.hsb", MAX_FILE + 1),
            object("custom/good.hsb", MAX_FILE),
            object("custom/allow.sfp", 1),
        ]);
        let chosen: Vec<_> = chosen.iter().map(|c| (c.key.as_str(), c.place)).collect();
        let good = [("custom/good.hsb", Where::Base), ("custom/allow.sfp", Where::Both)];
        assert_eq!(chosen, good);
        let left_out: Vec<_> = left_out.iter().map(|l| l.key.as_str()).collect();
        let bad = ["custom/README.md", "custom/main.cvd", "custom/types.ftm", "custom/NDB"];
        assert_eq!(left_out, [&bad[..], &["custom/big.hsb"]].concat());
    }

    #[test]
    fn together_they_have_a_limit() {
        let many: Vec<_> = (0..MAX_FILES + 2).map(|n| object(&format!("{n}.ndb"), 1)).collect();
        assert_eq!(choose(&many).1.len(), 2);
        let large: Vec<_> = (0..5).map(|n| object(&format!("{n}.ndb"), MAX_FILE)).collect();
        assert_eq!((choose(&large).0.len(), choose(&large).1.len()), (4, 1));
    }
}
