//! Publishes a generation: its files first, the manifest last, so that whoever reads the manifest
//! gets one generation whole; then marks what nobody needs any more.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use function_common::manifest::{self, GENERATIONS_PREFIX, Manifest, Shard};
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use crate::bucket::{Bucket, BucketError};
use crate::container::hex;
use crate::cut::CUT;
use crate::shards::{Database, SHARDS};

/// The tag of objects that a lifecycle rule of the bucket deletes.
pub const RETIRED: (&str, &str) = ("s3-virusscan-generation", "retired");

/// Zstandard's level (see docs/SPECIFICATION.md for the measured trade-off).
const LEVEL: i32 = 9;

/// Why a generation was not published. The one before is still served.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// A file cannot be compressed.
    #[error("cannot compress {}", path.display())]
    Compress {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// S3 refused.
    #[error(transparent)]
    Bucket(#[from] BucketError),
}

/// What a generation is made of, in 16 hexadecimal digits: engine, cut, databases, the owner's
/// files (`custom`: key and entity tag). The name of a generation ends in it, so the manifest says
/// whether there is anything new.
#[must_use]
pub fn inputs(engine: &str, databases: &[Database], custom: &[(String, String)]) -> String {
    let mut text = format!("{}\n{CUT}\n{engine}\n", manifest::FORMAT);
    for database in databases {
        text.push_str(&format!("{} {}\n", database.name, database.header.version));
    }
    let mut custom: Vec<_> = custom.iter().map(|(key, tag)| format!("{key:?} {tag:?}\n")).collect();
    custom.sort();
    text.extend(custom);
    hex(&Sha256::digest(text)[..8])
}

/// A name that no other generation has, and that sorts by time: time, version, [`inputs`].
#[must_use]
pub fn name(now: Timestamp, version: u32, inputs: &str) -> String {
    format!("{}-{version}-{inputs}", now.strftime("%Y%m%dT%H%M%S%.3fZ"))
}

/// Compresses the files of the shards in `dir` and uploads them under the generation's prefix.
///
/// # Errors
/// When a file cannot be compressed or uploaded.
pub async fn upload(
    bucket: &Bucket,
    dir: &Path,
    generation: &str,
) -> Result<Vec<Shard>, PublishError> {
    let mut shards = Vec::new();
    for name in SHARDS {
        let folder = dir.join(name);
        let mut files = Vec::new();
        for path in files_in(&folder)? {
            let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let packed = folder.join(format!("{file}.zst"));
            let work = tokio::task::spawn_blocking({
                let (path, packed) = (path.clone(), packed.clone());
                move || compress(&path, &packed)
            });
            let work = work.await.unwrap_or_else(|panic| Err(io::Error::other(panic)));
            let compressed =
                work.map_err(|source| PublishError::Compress { path: path.clone(), source })?;
            let key = format!("{}{name}/{file}.zst", manifest::prefix(generation));
            bucket.upload(&packed, &key).await?;
            // Room for the next ones.
            for done in [&path, &packed] {
                std::fs::remove_file(done)
                    .map_err(|source| PublishError::Compress { path: done.clone(), source })?;
            }
            files.push(manifest::File {
                name: file,
                key,
                size: compressed.size,
                sha256: compressed.sha256,
                unpacked_size: compressed.unpacked_size,
            });
        }
        shards.push(Shard { name: name.to_owned(), files });
    }
    Ok(shards)
}

/// Marks every generation that is older than `current` and is not its predecessor, unfinished ones
/// included. Says how many.
///
/// What is newer is left alone: another updater may be writing it.
///
/// # Errors
/// When S3 refuses.
pub async fn retire(bucket: &Bucket, current: &Manifest) -> Result<usize, BucketError> {
    let objects = bucket.list(GENERATIONS_PREFIX).await?;
    let keys: Vec<&str> = objects.iter().map(|object| object.key.as_str()).collect();
    let mut generations = Vec::new();
    for (generation, key) in retired(&keys, current) {
        bucket.tag(key, RETIRED.0, RETIRED.1).await?;
        generations.push(generation);
    }
    generations.dedup();
    Ok(generations.len())
}

/// Those of `keys` that nobody needs any more, each with its generation. Pure.
fn retired<'a>(keys: &[&'a str], current: &Manifest) -> Vec<(&'a str, &'a str)> {
    let named = keys.iter().filter_map(|key| {
        let generation = key.strip_prefix(GENERATIONS_PREFIX)?.split('/').next()?;
        Some((generation, *key))
    });
    named
        .filter(|(generation, _)| {
            *generation < current.generation.as_str()
                && current.previous.as_deref() != Some(*generation)
        })
        .collect()
}

fn files_in(folder: &Path) -> Result<Vec<PathBuf>, PublishError> {
    let list = || {
        let entries = std::fs::read_dir(folder)?;
        let mut paths: Vec<_> = entries.map(|e| e.map(|e| e.path())).collect::<io::Result<_>>()?;
        paths.sort();
        Ok(paths)
    };
    list().map_err(|source| PublishError::Compress { path: folder.to_owned(), source })
}

struct Compressed {
    size: u64,
    sha256: String,
    unpacked_size: u64,
}

fn compress(from: &Path, to: &Path) -> io::Result<Compressed> {
    let mut input = BufReader::with_capacity(1 << 20, File::open(from)?);
    let output = Counted {
        inner: BufWriter::with_capacity(1 << 20, File::create(to)?),
        size: 0,
        sha256: Sha256::new(),
    };
    let mut encoder = zstd::Encoder::new(output, LEVEL)?;
    // Decompression then notices damage by itself.
    encoder.include_checksum(true)?;
    let unpacked_size = io::copy(&mut input.by_ref(), &mut encoder)?;
    let mut output = encoder.finish()?;
    output.flush()?;
    Ok(Compressed { size: output.size, sha256: hex(&output.sha256.finalize()), unpacked_size })
}

/// Counts and hashes what is written.
struct Counted<W> {
    inner: W,
    size: u64,
    sha256: Sha256,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(bytes)?;
        self.sha256.update(&bytes[..n]);
        self.size += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::Header;

    fn manifest(generation: &str, previous: Option<&str>) -> Manifest {
        Manifest {
            format: manifest::FORMAT,
            generation: generation.into(),
            version: 1,
            built: String::new(),
            published: String::new(),
            engine: String::new(),
            previous: previous.map(str::to_owned),
            shards: vec![],
            left_out: vec![],
        }
    }

    #[test]
    fn current_predecessor_and_what_is_being_written_are_never_retired() {
        let keys = [
            "generations/1/base/x",
            "generations/2/base/x",
            "generations/2/pe/x",
            "generations/3/base/x",
            "generations/4/base/x",
            "generations/5/base/x",
            "current.json",
        ];
        let current = manifest("4", Some("2"));
        let expected = [("1", keys[0]), ("3", keys[3])];
        assert_eq!(retired(&keys, &current), expected, "3 was never finished, 5 is on its way");
        let first = manifest("1", None);
        assert!(retired(&keys, &first).is_empty());
    }

    #[test]
    fn names_sort_by_time_and_are_names() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let early = name(at("2026-09-20T06:26:26.5Z"), 28129, "00ff");
        let late = name(at("2026-09-20T06:26:26.501Z"), 9, "0000");
        assert_eq!(early, "20260920T062626.500Z-28129-00ff");
        assert!(early < late);
    }

    #[test]
    fn whatever_a_generation_is_made_of_is_in_its_inputs() {
        let database = |name: &str, version| Database {
            name: name.into(),
            path: PathBuf::new(),
            header: Header { version, built: Timestamp::UNIX_EPOCH, level: 90 },
        };
        let custom = |key: &str, tag: &str| (key.to_owned(), tag.to_owned());
        let daily = [database("daily", 1)];
        let all = [
            inputs("1.4.6", &daily, &[]),
            inputs("1.4.7", &daily, &[]),
            inputs("1.4.6", &[database("daily", 2)], &[]),
            inputs("1.4.6", &[database("daily", 1), database("main", 1)], &[]),
            inputs("1.4.6", &daily, &[custom("a", "1")]),
            inputs("1.4.6", &daily, &[custom("a", "2")]),
            inputs("1.4.6", &daily, &[custom("b", "1")]),
        ];
        for (n, one) in all.iter().enumerate() {
            assert!(one.len() == 16 && !all[..n].contains(one), "{n}: {all:?}");
        }
        let [a, b] = [custom("a", "1"), custom("b", "1")];
        let order = inputs("1.4.6", &daily, &[a.clone(), b.clone()]);
        assert_eq!(order, inputs("1.4.6", &daily, &[b, a]));
    }

    #[test]
    fn what_is_compressed_is_described_and_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let [from, to] = ["from", "to"].map(|name| dir.path().join(name));
        let text = "0123456789abcdef\n".repeat(10_000);
        std::fs::write(&from, &text).unwrap();
        let compressed = compress(&from, &to).unwrap();
        let stored = std::fs::read(&to).unwrap();
        assert_eq!(compressed.size, stored.len() as u64);
        assert_eq!(compressed.sha256, hex(&Sha256::digest(&stored)));
        assert_eq!(compressed.unpacked_size, text.len() as u64);
        assert_eq!(zstd::decode_all(&stored[..]).unwrap(), text.as_bytes());
    }
}
