//! The manifest of a generation of definitions: what the updater publishes and the scanners read.
//!
//! A generation is a set of immutable files under a prefix of its own. The manifest is the only
//! key that changes, and is written when all files of its generation are there, so whoever reads
//! it gets one generation whole. Pure.

use serde::{Deserialize, Serialize};

/// Key of the manifest.
pub const MANIFEST_KEY: &str = "current.json";

/// What the keys of all generations begin with.
pub const GENERATIONS_PREFIX: &str = "generations/";

/// The form of the manifest that this code writes and reads.
pub const FORMAT: u32 = 1;

/// The shard that looks at every object.
pub const BASE: &str = "base";

/// The shard whose signatures match nothing but Windows programs (PE files). It is asked when the
/// base shard names [`PORTABLE_EXECUTABLE`], or anything else that is no certain finding.
pub const PE: &str = "pe";

/// The name under which the base shard reports a Windows program, at any depth. It begins with
/// `Heuristics.` because such a name does not end the scan: a certain finding still wins.
pub const PORTABLE_EXECUTABLE: &str = "Heuristics.S3-Virusscan.PortableExecutable";

/// Why a manifest is not used.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// It is not the JSON that it must be.
    #[error("it is not a manifest")]
    Json(#[from] serde_json::Error),
    /// It was written by a later release.
    #[error(
        "its format is {0}, and this release reads {FORMAT}; deploy scanner and updater together"
    )]
    Format(u32),
    /// It says something that cannot be.
    #[error("it is wrong: {0}")]
    Wrong(String),
}

/// One generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: u32,
    /// Name of the generation, the part of its files' keys behind [`GENERATIONS_PREFIX`].
    pub generation: String,
    /// The newest version among ClamAV's databases in it (that of `daily`).
    pub version: u32,
    /// When that one was built, RFC 3339, UTC.
    pub built: String,
    /// When the generation was published, RFC 3339, UTC.
    pub published: String,
    /// The engine that loaded it and found what it must.
    pub engine: String,
    /// The generation before, kept for scanners that are about to fetch it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous: Option<String>,
    /// What clamd loads: one process for each shard.
    pub shards: Vec<Shard>,
    /// The owner's signature files that were left out, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOut>,
}

/// The files that one clamd loads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shard {
    /// [`BASE`] or [`PE`].
    pub name: String,
    /// Its files.
    pub files: Vec<File>,
}

/// A file of a generation, compressed with Zstandard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// Name under which clamd loads it; its ending tells clamd what it is.
    pub name: String,
    /// Where it lies.
    pub key: String,
    /// Bytes as stored, compressed.
    pub size: u64,
    /// SHA-256 of the bytes as stored, in lower-case hexadecimal.
    pub sha256: String,
    /// Bytes as clamd reads them.
    pub unpacked_size: u64,
}

/// A file of the owner's that is not in the generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Its key.
    pub key: String,
    /// What is wrong with it.
    pub reason: String,
}

impl Manifest {
    /// Reads a manifest.
    ///
    /// # Errors
    /// When it is no manifest of this [`FORMAT`], or one that would make a scanner write outside
    /// of its folder, read outside of the generation, or scan with less than it should.
    pub fn parse(json: &[u8]) -> Result<Self, ManifestError> {
        #[derive(Deserialize)]
        struct Head {
            format: u32,
        }
        let head: Head = serde_json::from_slice(json)?;
        if head.format != FORMAT {
            return Err(ManifestError::Format(head.format));
        }
        let manifest: Self = serde_json::from_slice(json)?;
        manifest.check().map_err(ManifestError::Wrong)?;
        Ok(manifest)
    }

    /// The manifest as it is stored.
    ///
    /// # Panics
    /// Never: it has string keys only.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a manifest has string keys only")
    }

    /// The prefix of the keys of this generation's files.
    #[must_use]
    pub fn prefix(&self) -> String {
        prefix(&self.generation)
    }

    /// Bytes of all files as clamd reads them.
    #[must_use]
    pub fn unpacked_size(&self) -> u64 {
        self.files().fold(0, |sum, file| sum.saturating_add(file.unpacked_size))
    }

    /// All files of all shards.
    pub fn files(&self) -> impl Iterator<Item = &File> {
        self.shards.iter().flat_map(|shard| &shard.files)
    }

    fn check(&self) -> Result<(), String> {
        if !is_name(&self.generation) {
            return Err(format!("{:?} is no name of a generation", self.generation));
        }
        let names: Vec<_> = self.shards.iter().map(|shard| shard.name.as_str()).collect();
        if names != [BASE] && names != [BASE, PE] {
            return Err(format!("its shards are {names:?}, not {BASE}, or {BASE} and {PE}"));
        }
        for shard in &self.shards {
            if shard.files.is_empty() {
                return Err(format!("its shard {} has no files", shard.name));
            }
            for (n, file) in shard.files.iter().enumerate() {
                if !is_name(&file.name) {
                    return Err(format!("{:?} is no name of a file", file.name));
                }
                if shard.files[..n].iter().any(|earlier| earlier.name == file.name) {
                    return Err(format!("{} is in shard {} twice", file.name, shard.name));
                }
                if !file.key.starts_with(&self.prefix()) {
                    return Err(format!("{:?} lies outside of its generation", file.key));
                }
            }
        }
        Ok(())
    }
}

/// The prefix of the keys of a generation's files.
#[must_use]
pub fn prefix(generation: &str) -> String {
    format!("{GENERATIONS_PREFIX}{generation}/")
}

/// One plain part of a path.
fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    !name.is_empty() && name.len() <= 100 && !name.starts_with('.') && name.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        let file = |shard: &str| File {
            name: "daily.cud".into(),
            key: format!("generations/g1/{shard}/daily.cud.zst"),
            size: 10,
            sha256: "00".into(),
            unpacked_size: 100,
        };
        Manifest {
            format: FORMAT,
            generation: "g1".into(),
            version: 28129,
            built: "2026-09-20T06:26:26Z".into(),
            published: "2026-09-20T08:00:00Z".into(),
            engine: "1.4.6".into(),
            previous: None,
            shards: vec![
                Shard { name: BASE.into(), files: vec![file(BASE)] },
                Shard { name: PE.into(), files: vec![file(PE)] },
            ],
            left_out: vec![],
        }
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        let manifest = manifest();
        assert_eq!(Manifest::parse(manifest.to_json().as_bytes()).unwrap(), manifest);
        assert_eq!(manifest.unpacked_size(), 200);
    }

    #[test]
    fn a_later_format_is_told_from_nonsense() {
        let later = br#"{"format": 2, "parts": []}"#;
        assert!(matches!(Manifest::parse(later), Err(ManifestError::Format(2))));
        assert!(matches!(Manifest::parse(b"<Error/>"), Err(ManifestError::Json(_))));
        assert!(matches!(Manifest::parse(br#"{"format": 1}"#), Err(ManifestError::Json(_))));
    }

    #[test]
    fn a_manifest_cannot_lead_out_of_its_generation_or_leave_the_base_out() {
        type Breaking = fn(&mut Manifest);
        let broken: [(&str, Breaking); 9] = [
            ("no name of a generation", |m| m.generation = "../x".into()),
            ("no name of a generation", |m| m.generation = String::new()),
            ("its shards are", |m| m.shards.clear()),
            ("its shards are", |m| drop(m.shards.remove(0))),
            ("its shards are", |m| m.shards.swap(0, 1)),
            ("has no files", |m| m.shards[1].files.clear()),
            ("no name of a file", |m| m.shards[0].files[0].name = "../../daily.cud".into()),
            ("twice", |m| {
                let file = m.shards[0].files[0].clone();
                m.shards[0].files.push(file);
            }),
            ("outside of its generation", |m| m.shards[1].files[0].key = "state/daily.cud".into()),
        ];
        for (expected, breaking) in broken {
            let mut manifest = manifest();
            breaking(&mut manifest);
            let error = Manifest::parse(manifest.to_json().as_bytes()).unwrap_err();
            assert!(error.to_string().contains(expected), "{expected}: {error}");
        }
    }
}
