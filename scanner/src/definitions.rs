//! Fetches definitions from our own bucket: the manifest, and the files of the generation that it
//! names. Nothing is unpacked before its SHA-256 is the one in the manifest.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use aws_sdk_s3::Client;
use function_common::manifest::{self, MANIFEST_KEY, Manifest, ManifestError, Shard};
use function_common::service_error::{ServiceError, chain};
use futures_util::future::try_join_all;
use sha2::{Digest as _, Sha256};

/// Times that a file is fetched before the fetch is given up. The SDK retries requests by itself;
/// this is for bodies that break off.
const ATTEMPTS: usize = 3;

/// Largest manifest that is read, in bytes. A real one has under ten files and a few kilobytes.
const MANIFEST_MAX: i64 = 1 << 20;

/// Why there are no definitions. Without them nothing is scanned and nothing is called clean.
#[derive(Debug, thiserror::Error)]
pub enum DefinitionsError {
    /// The updater has published nothing.
    #[error(
        "there are no definitions in s3://{bucket} yet; has the definitions function run? Its log \
         says why when it fails"
    )]
    None {
        /// The bucket.
        bucket: String,
    },
    /// S3 refused.
    #[error("cannot read s3://{bucket}/{key}")]
    Service {
        /// The bucket.
        bucket: String,
        /// The key.
        key: String,
        /// Why.
        #[source]
        source: Box<ServiceError>,
    },
    /// A body broke off, again and again.
    #[error("reading s3://{bucket}/{key} broke off {ATTEMPTS} times: {cause}")]
    Broken {
        /// The bucket.
        bucket: String,
        /// The key.
        key: String,
        /// The last cause.
        cause: String,
    },
    /// The manifest is not one.
    #[error("the manifest s3://{bucket}/{MANIFEST_KEY} cannot be used")]
    Manifest {
        /// The bucket.
        bucket: String,
        /// Why.
        #[source]
        source: ManifestError,
    },
    /// A file is not the one that the manifest names.
    #[error("s3://{bucket}/{key} is not what the manifest says: {problem}")]
    Damaged {
        /// The bucket.
        bucket: String,
        /// The key.
        key: String,
        /// What differs.
        problem: String,
    },
    /// It cannot be written.
    #[error("cannot write definitions to {}; is there room in /tmp?", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// A manifest, and what tells whether it is still the current one.
#[derive(Debug, Clone)]
pub struct Current {
    /// The manifest.
    pub manifest: Manifest,
    /// Its ETag.
    pub etag: String,
}

/// The bucket that the updater publishes to.
#[derive(Debug, Clone)]
pub struct Store {
    client: Client,
    bucket: String,
}

impl Store {
    /// Reads `bucket` through `client`.
    #[must_use]
    pub fn new(client: Client, bucket: String) -> Self {
        Self { client, bucket }
    }

    /// The current manifest; none when it is still the one with the ETag `known`.
    ///
    /// # Errors
    /// When there is none, or none that can be used.
    pub async fn manifest(&self, known: Option<&str>) -> Result<Option<Current>, DefinitionsError> {
        let request = self.client.get_object().bucket(&self.bucket).key(MANIFEST_KEY);
        let answer = match request.set_if_none_match(known.map(str::to_owned)).send().await {
            Ok(answer) => answer,
            Err(error) => {
                return match ServiceError::new("GetObject", &error) {
                    error if error.is_unchanged() => Ok(None),
                    error if error.is_gone() => {
                        Err(DefinitionsError::None { bucket: self.bucket.clone() })
                    }
                    error => Err(self.service(MANIFEST_KEY, error)),
                };
            }
        };
        let wrong = |problem: &str| DefinitionsError::Manifest {
            bucket: self.bucket.clone(),
            source: ManifestError::Wrong(problem.to_owned()),
        };
        let etag = answer.e_tag.ok_or_else(|| wrong("it has no ETag"))?;
        if answer.content_length.is_none_or(|length| length > MANIFEST_MAX) {
            return Err(wrong("it is too long"));
        }
        let body = answer.body.collect().await.map_err(|error| DefinitionsError::Broken {
            bucket: self.bucket.clone(),
            key: MANIFEST_KEY.to_owned(),
            cause: chain(&error),
        })?;
        let manifest = Manifest::parse(&body.into_bytes())
            .map_err(|source| DefinitionsError::Manifest { bucket: self.bucket.clone(), source })?;
        Ok(Some(Current { manifest, etag }))
    }

    /// Fetches the files of `shard` side by side, checks them, and unpacks them into `dir`.
    ///
    /// # Errors
    /// When one of them cannot be read, is not what the manifest says, or cannot be written.
    pub async fn fetch(&self, shard: &Shard, dir: &Path) -> Result<(), DefinitionsError> {
        try_join_all(shard.files.iter().map(|file| self.fetch_file(file, dir))).await?;
        Ok(())
    }

    async fn fetch_file(&self, file: &manifest::File, dir: &Path) -> Result<(), DefinitionsError> {
        let packed = self.read(&file.key).await?;
        let path = dir.join(&file.name);
        let damaged = {
            let (bucket, key) = (self.bucket.clone(), file.key.clone());
            move |problem: String| DefinitionsError::Damaged { bucket, key, problem }
        };
        let file = file.clone();
        let unpacking = tokio::task::spawn_blocking(move || {
            let sha256: String =
                Sha256::digest(&packed).iter().map(|byte| format!("{byte:02x}")).collect();
            if sha256 != file.sha256 {
                return Err(damaged(format!("its SHA-256 is {sha256}, not {}", file.sha256)));
            }
            let write = |source| DefinitionsError::Write { path: path.clone(), source };
            let mut target = File::create(&path).map_err(write)?;
            // Its hash is known, so this is the file that the updater packed.
            let unpacked = zstd::stream::read::Decoder::with_buffer(&packed[..])
                .and_then(|mut source| io::copy(&mut source, &mut target))
                .map_err(write)?;
            if unpacked == file.unpacked_size {
                Ok(())
            } else {
                Err(damaged(format!("it unpacks to {unpacked} bytes, not {}", file.unpacked_size)))
            }
        });
        unpacking.await.unwrap_or_else(|panic| {
            Err(DefinitionsError::Write { path: dir.to_owned(), source: io::Error::other(panic) })
        })
    }

    async fn read(&self, key: &str) -> Result<Vec<u8>, DefinitionsError> {
        let mut cause = String::new();
        for _ in 0..ATTEMPTS {
            let request = self.client.get_object().bucket(&self.bucket).key(key);
            let answer = request.send().await;
            let answer = answer
                .map_err(|error| self.service(key, ServiceError::new("GetObject", &error)))?;
            match answer.body.collect().await {
                Ok(body) => return Ok(body.to_vec()),
                Err(error) => cause = chain(&error),
            }
        }
        let (bucket, key) = (self.bucket.clone(), key.to_owned());
        Err(DefinitionsError::Broken { bucket, key, cause })
    }

    fn service(&self, key: &str, source: ServiceError) -> DefinitionsError {
        let (bucket, key) = (self.bucket.clone(), key.to_owned());
        DefinitionsError::Service { bucket, key, source: Box::new(source) }
    }
}
