//! What freshclam must find again in its next run: the signed databases, so that it moves by
//! increments, and its memory, so that it stays the client that it was and keeps its cool-down.
//!
//! Without it each run would be a new client that downloads everything, which is what the servers
//! answer with 429.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use function_common::service_error::chain;

use crate::bucket::{Bucket, BucketError};
use crate::container::{self, ContainerError};
use crate::freshclam::MEMORY;
use crate::shards::Database;

/// What the keys of the state begin with.
pub const PREFIX: &str = "state/";

/// Why the state cannot be had or kept.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// S3 refused.
    #[error(transparent)]
    Bucket(#[from] BucketError),
    /// The folder on this side is the trouble.
    #[error("cannot work in {}", dir.display())]
    Io {
        /// The folder.
        dir: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// What freshclam left is damaged, although it accepted it.
    #[error(transparent)]
    Container(#[from] ContainerError),
}

/// What lies in the bucket, as it was fetched.
#[derive(Debug, Default)]
pub struct State {
    /// Names of the files in the bucket, with the version of each database.
    stored: BTreeMap<String, u32>,
    memory: Option<Vec<u8>>,
}

impl State {
    /// Fetches the state into `dir`, which must be empty. Nothing there is a first run. What is
    /// damaged is thrown away with a warning: freshclam downloads it again.
    ///
    /// # Errors
    /// When S3 refuses or `dir` cannot be written.
    pub async fn fetch(
        bucket: &Bucket,
        databases: &[String],
        dir: &Path,
    ) -> Result<Self, StateError> {
        let mut state = Self::default();
        for object in bucket.list(PREFIX).await? {
            let name = object.key.strip_prefix(PREFIX).unwrap_or_default().to_owned();
            let path = dir.join(&name);
            if name == MEMORY {
                bucket.download(&object.key, &path).await?;
                state.memory = fs::read(&path).ok();
            } else if is_database(&name, databases) && bucket.download(&object.key, &path).await? {
                let version = match verify(path.clone()).await {
                    Ok(header) => header.version,
                    Err(error) => {
                        let error = chain(&error);
                        tracing::warn!(name, error, "the state is damaged; downloading it anew");
                        remove(&path)?;
                        0
                    }
                };
                state.stored.insert(name, version);
            } else {
                tracing::warn!(key = object.key, "this is no part of the state; it is passed over");
            }
        }
        // A run that was interrupted while it saved leaves `.cvd` and `.cld`: the newer one counts.
        for database in databases {
            let version = |ending| state.stored.get(&format!("{database}.{ending}"));
            if let (Some(cvd), Some(cld)) = (version("cvd"), version("cld")) {
                let older = if cvd < cld { "cvd" } else { "cld" };
                remove(&dir.join(format!("{database}.{older}")))?;
            }
        }
        Ok(state)
    }

    /// Saves what freshclam changed in `dir`: also after a run that failed, for the cool-down. Says
    /// whether anything was.
    ///
    /// # Errors
    /// When S3 refuses, or a database is damaged.
    pub async fn save(
        &self,
        bucket: &Bucket,
        databases: &[Database],
        dir: &Path,
    ) -> Result<bool, StateError> {
        let mut saved = false;
        let memory = dir.join(MEMORY);
        let bytes = fs::read(&memory).ok();
        if bytes.is_some() && bytes != self.memory {
            bucket.upload(&memory, &format!("{PREFIX}{MEMORY}")).await?;
            saved = true;
        }
        for database in databases {
            let file = file_name(&database.path);
            if self.stored.get(&file) != Some(&database.header.version) {
                verify(database.path.clone()).await?;
                bucket.upload(&database.path, &format!("{PREFIX}{file}")).await?;
                saved = true;
            }
            // `daily.cld` takes the place of `daily.cvd`.
            for other in self.stored.keys().filter(|other| **other != file) {
                if other.rsplit_once('.').is_some_and(|(name, _)| name == database.name) {
                    bucket.delete(&format!("{PREFIX}{other}")).await?;
                }
            }
        }
        Ok(saved)
    }
}

/// The databases in `dir`, in the order of `names`; those that are not there are left out.
///
/// # Errors
/// When one is damaged.
pub fn databases(dir: &Path, names: &[String]) -> Result<Vec<Database>, ContainerError> {
    let mut found = Vec::new();
    for name in names {
        let paths = ["cld", "cvd"].map(|ending| dir.join(format!("{name}.{ending}")));
        if let Some(path) = paths.into_iter().find(|path| path.is_file()) {
            let header = container::header(&path)?;
            found.push(Database { name: name.clone(), path, header });
        }
    }
    Ok(found)
}

fn is_database(file: &str, databases: &[String]) -> bool {
    file.rsplit_once('.').is_some_and(|(name, ending)| {
        matches!(ending, "cvd" | "cld") && databases.iter().any(|database| database == name)
    })
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

async fn verify(path: PathBuf) -> Result<container::Header, ContainerError> {
    let work = tokio::task::spawn_blocking({
        let path = path.clone();
        move || container::verify(&path)
    });
    work.await.unwrap_or_else(|panic| {
        Err(ContainerError::Damaged { path, problem: format!("reading it panicked: {panic}") })
    })
}

fn remove(path: &Path) -> Result<(), StateError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(StateError::Io { dir: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}
