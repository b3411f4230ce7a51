//! Generations of test definitions, as the updater publishes them.

use std::path::Path;
use std::sync::LazyLock;

use anyhow::Context as _;
use aws_sdk_s3::Client;
use function_common::manifest::{BASE, FORMAT, File, MANIFEST_KEY, Manifest, PE, Shard, prefix};
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use crate::definitions;
use crate::fake_s3::FakeS3;
use crate::template::Template;

/// The bucket of definitions, as the built template names it.
///
/// # Panics
///
/// The template is not built; the message names the make target.
pub static BUCKET: LazyLock<String> = LazyLock::new(|| {
    let name =
        Template::built().and_then(|template| Ok(template.name("DefinitionsBucket")?.to_owned()));
    name.expect("the built template names the bucket of definitions")
});

/// As fast as it gets; nothing is sent far.
const COMPRESSION: i32 = 1;

/// A name and what it holds.
pub type Named = (String, Vec<u8>);

/// A generation that is not published yet.
#[derive(Debug, Clone)]
pub struct Generation {
    /// What is published last.
    pub manifest: Manifest,
    /// The objects that it names.
    pub objects: Vec<Named>,
}

impl Generation {
    /// Of files that clamd loads, for each shard; built at `built`.
    ///
    /// # Errors
    ///
    /// A file cannot be compressed.
    pub fn new(
        version: u32,
        built: Timestamp,
        shards: &[(&str, Vec<Named>)],
    ) -> anyhow::Result<Self> {
        let generation = format!("test-{version}");
        let mut objects = Vec::new();
        let mut described = Vec::new();
        for (shard, files) in shards {
            let mut listed = Vec::new();
            for (name, bytes) in files {
                let key = format!("{}{shard}/{name}.zst", prefix(&generation));
                let packed = zstd::encode_all(bytes.as_slice(), COMPRESSION);
                let packed = packed.with_context(|| format!("compressing {name}"))?;
                listed.push(File {
                    name: name.clone(),
                    key: key.clone(),
                    size: packed.len() as u64,
                    sha256: definitions::hex(&Sha256::digest(&packed)),
                    unpacked_size: bytes.len() as u64,
                });
                objects.push((key, packed));
            }
            described.push(Shard { name: (*shard).to_owned(), files: listed });
        }
        let manifest = Manifest {
            format: FORMAT,
            generation,
            version,
            built: built.to_string(),
            published: Timestamp::now().to_string(),
            engine: "1.4.6".to_owned(),
            previous: None,
            shards: described,
            left_out: Vec::new(),
        };
        Ok(Self { manifest, objects })
    }

    /// What [`definitions::write`] writes, whole in one shard.
    ///
    /// # Errors
    ///
    /// As [`Generation::new`].
    pub fn whole(version: u32, built: Timestamp) -> anyhow::Result<Self> {
        let bytes = definitions::whole(version, built)?;
        Self::new(version, built, &[(BASE, vec![("daily.cud".to_owned(), bytes)])])
    }

    /// The same cut into the two shards, as the updater cuts ClamAV's.
    ///
    /// # Errors
    ///
    /// As [`Generation::new`].
    pub fn sharded(version: u32, built: Timestamp) -> anyhow::Result<Self> {
        let [base, pe] = definitions::shards(version, built)?;
        let file = |bytes| vec![("daily.cud".to_owned(), bytes)];
        Self::new(version, built, &[(BASE, file(base)), (PE, file(pe))])
    }

    /// The database files of a folder, whole in one shard.
    ///
    /// # Errors
    ///
    /// They cannot be read.
    pub fn of_folder(folder: &Path) -> anyhow::Result<Self> {
        Self::new(1, Timestamp::now(), &[(BASE, files_in(folder)?)])
    }

    /// The same for the S3 in memory.
    ///
    /// # Panics
    ///
    /// If it has no such bucket.
    pub fn publish_in(&self, s3: &FakeS3) {
        for (key, bytes) in &self.objects {
            s3.put(&BUCKET, key, bytes.clone());
        }
        s3.put(&BUCKET, MANIFEST_KEY, self.manifest.to_json().into_bytes());
    }

    /// Publishes it to [`BUCKET`], which must be there: its files, and then the manifest.
    ///
    /// # Errors
    ///
    /// The server refused.
    pub async fn publish(&self, s3: &Client) -> anyhow::Result<()> {
        for (key, bytes) in &self.objects {
            put(s3, key, bytes.clone()).await?;
        }
        put(s3, MANIFEST_KEY, self.manifest.to_json().into_bytes()).await
    }
}

/// The files of a folder, by name.
///
/// # Errors
///
/// They cannot be read.
pub fn files_in(folder: &Path) -> anyhow::Result<Vec<Named>> {
    let reading = || format!("reading the definitions in {}", folder.display());
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(reading)? {
        let path = entry.with_context(reading)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        files.push((name, std::fs::read(&path).with_context(reading)?));
    }
    Ok(files)
}

async fn put(s3: &Client, key: &str, bytes: Vec<u8>) -> anyhow::Result<()> {
    let request = s3.put_object().bucket(&*BUCKET).key(key).body(bytes.into());
    request.send().await.with_context(|| format!("putting {key} to {}", *BUCKET))?;
    Ok(())
}
