//! One run: state, freshclam, shards, proof, publication. Whatever fails, and wherever this is cut
//! off, the generation before is still served: the manifest is the last thing that is written.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use function_common::manifest::{self, LeftOut, Manifest, Shard};
use function_common::service_error::chain;
use jiff::Timestamp;

use crate::bucket::{Bucket, Current, Published};
use crate::config::Config;
use crate::container::ContainerError;
use crate::custom::{self, Custom};
use crate::error::UpdateError;
use crate::freshclam::{Freshclam, Mirror, Outcome, judge};
use crate::proof::{ProofError, Prover};
use crate::publish;
use crate::record::Record;
use crate::shards::{self, Database, SHARDS, Signatures};
use crate::state::{self, State};

/// What a run works with.
#[derive(Debug)]
pub struct App {
    /// The settings.
    pub config: Config,
    /// Where databases come from, and which.
    pub mirror: Mirror,
    /// The definitions bucket.
    pub bucket: Bucket,
    /// A folder that is this function's alone; a run makes one of its own in it.
    pub work_dir: PathBuf,
}

/// The folders of one run; they go with this value.
#[derive(Debug)]
struct Folders {
    root: tempfile::TempDir,
}

impl Folders {
    /// What a run that was killed left behind would take the room of this one.
    fn make(work_dir: &Path) -> std::io::Result<Self> {
        match std::fs::remove_dir_all(work_dir) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        std::fs::create_dir_all(work_dir)?;
        let root = tempfile::tempdir_in(work_dir)?;
        for name in ["databases", "custom"] {
            std::fs::create_dir(root.path().join(name))?;
        }
        Ok(Self { root })
    }

    fn at(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }
}

/// A generation that was proven.
#[derive(Debug)]
struct Proven {
    dir: PathBuf,
    engine: String,
    left_out: Vec<LeftOut>,
}

impl App {
    /// Runs once and notes in `record` what it does. When this is an error, nothing new is served,
    /// but for [`UpdateError::Retire`], or when the mirror gave only some of the databases.
    ///
    /// # Errors
    /// The step that failed.
    pub async fn update(&self, record: &mut Record) -> Result<(), UpdateError> {
        let folders = Folders::make(&self.work_dir).map_err(UpdateError::WorkDir)?;
        let current = self.bucket.current().await.map_err(UpdateError::Current)?;
        if let Some(manifest) = &current.manifest {
            record.serve(manifest, Timestamp::now(), self.config.stale);
        }

        let (databases, engine, mirror) = self.fetch(&folders, record).await?;
        let failure = failure(&mirror, record.is_fresh());
        if let Some(name) = missing(&self.mirror.databases, &databases) {
            return Err(match mirror.outcome {
                Outcome::Current => UpdateError::Missing(name),
                outcome => UpdateError::Mirror { outcome, words: mirror.words },
            });
        }

        let started = Instant::now();
        let objects = self.bucket.list(&self.config.custom_prefix).await;
        let objects = objects.map_err(|error| UpdateError::Custom(error.into()))?;
        let listed: Vec<_> = objects.iter().map(|o| (o.key.clone(), o.e_tag.clone())).collect();
        let inputs = publish::inputs(&engine, &databases, &listed);
        if current.manifest.as_ref().is_some_and(|m| m.generation.ends_with(&inputs)) {
            record.outcome = match &mirror.outcome {
                Outcome::Current => "nothing-new",
                outcome => outcome.code(),
            };
            return failure.map_or(Ok(()), Err);
        }

        let prover = Prover {
            clamav_dir: self.config.clamav_dir.clone(),
            work_dir: folders.at("clamd"),
            memory_mb: self.config.memory_mb,
        };
        let custom = custom::fetch(&self.bucket, &objects, &prover, &folders.at("custom")).await?;
        record.phase("custom", started);
        let proven = self.prove(&databases, custom, &prover, &folders, record).await?;
        self.publish(&databases, proven, &inputs, current, record).await?;
        failure.map_or(Ok(()), Err)
    }

    /// Removes all that the updater wrote, the manifest first. The owner's files stay.
    ///
    /// # Errors
    /// When S3 refuses.
    pub async fn empty(&self) -> Result<(), UpdateError> {
        let empty = async {
            self.bucket.delete(manifest::MANIFEST_KEY).await?;
            for prefix in [manifest::GENERATIONS_PREFIX, state::PREFIX] {
                for object in self.bucket.list(prefix).await? {
                    self.bucket.delete(&object.key).await?;
                }
            }
            Ok(())
        };
        empty.await.map_err(UpdateError::Empty)
    }

    /// Brings the databases up to date and saves what freshclam must find again.
    async fn fetch(
        &self,
        folders: &Folders,
        record: &mut Record,
    ) -> Result<(Vec<Database>, String, crate::freshclam::Report), UpdateError> {
        let dir = folders.at("databases");
        let names = &self.mirror.databases;
        let started = Instant::now();
        let state = State::fetch(&self.bucket, names, &dir).await?;
        record.phase("state", started);
        record.versions_before = versions(&state::databases(&dir, names)?);

        let started = Instant::now();
        let freshclam = Freshclam {
            clamav_dir: &self.config.clamav_dir,
            database_dir: &dir,
            conf: &folders.at("freshclam.conf"),
            mirror: &self.mirror,
        };
        let engine = freshclam.version().await?;
        record.engine = Some(engine.clone());
        let ended = freshclam.run().await?;
        let databases = state::databases(&dir, names)?;
        record.versions_after = versions(&databases);
        let report = judge(
            &ended,
            &record.versions_before,
            &record.versions_after,
            freshclam.cool_down(),
            Timestamp::now(),
        );
        record.phase("freshclam", started);
        record.mirror = Some(report.outcome.code());
        if let Outcome::CoolDown(until) = report.outcome {
            record.cool_down_until = Some(until.to_string());
        }
        if report.outcome != Outcome::Current {
            let (code, words) = (report.outcome.code(), report.words.as_str());
            tracing::warn!(mirror = code, words, "freshclam did not get everything");
        }

        // Now, not at the end: whatever fails further on, nothing is downloaded twice.
        let started = Instant::now();
        state.save(&self.bucket, &databases, &dir).await?;
        record.phase("save", started);
        Ok((databases, engine, report))
    }

    /// Cuts the databases and proves the shards one after the other, as memory is for one clamd. When
    /// they are refused together with the owner's files, these are left out.
    async fn prove(
        &self,
        databases: &[Database],
        custom: Custom,
        prover: &Prover,
        folders: &Folders,
        record: &mut Record,
    ) -> Result<Proven, UpdateError> {
        let Custom { good, mut left_out } = custom;
        let dir = folders.at("with-custom");
        let error = match self.cut_and_prove(databases, &good, prover, &dir, record).await {
            Ok(engine) => return Ok(Proven { dir, engine, left_out }),
            Err(error) => error,
        };
        if good.is_empty() || !matches!(error, UpdateError::Proof { .. }) {
            return Err(error);
        }
        let reason = format!("with all of them together, {}", chain(&error));
        tracing::warn!(reason, "all custom signature files are left out");
        let prefix = &self.config.custom_prefix;
        left_out.push(LeftOut { key: format!("{prefix}*"), reason });
        std::fs::remove_dir_all(&dir).map_err(UpdateError::WorkDir)?;
        let dir = folders.at("without-custom");
        let engine = self.cut_and_prove(databases, &[], prover, &dir, record).await?;
        Ok(Proven { dir, engine, left_out })
    }

    async fn cut_and_prove(
        &self,
        databases: &[Database],
        custom: &[Signatures],
        prover: &Prover,
        dir: &Path,
        record: &mut Record,
    ) -> Result<String, UpdateError> {
        let started = Instant::now();
        let work = tokio::task::spawn_blocking({
            let (databases, custom, dir) = (databases.to_vec(), custom.to_vec(), dir.to_owned());
            move || shards::write(&databases, &custom, &dir)
        });
        let cut: Result<(), ContainerError> =
            work.await.map_err(|panic| UpdateError::Panic(panic.to_string()))?;
        cut?;
        record.phase("cut", started);

        let started = Instant::now();
        let mut engine = String::new();
        for shard in SHARDS {
            let refused = |source: ProofError| UpdateError::Proof { shard, source };
            let names_programs = shard == manifest::BASE;
            engine = prover.prove(&dir.join(shard), names_programs).await.map_err(refused)?;
        }
        record.phase("proof", started);
        Ok(engine)
    }

    async fn publish(
        &self,
        databases: &[Database],
        proven: Proven,
        inputs: &str,
        current: Current,
        record: &mut Record,
    ) -> Result<(), UpdateError> {
        let started = Instant::now();
        let now = Timestamp::now();
        // There is one: none is missing, and some are wanted.
        let newest = databases.iter().max_by_key(|database| database.header.built);
        let newest = newest.ok_or_else(|| UpdateError::Missing("database".into()))?.header;
        let generation = publish::name(now, newest.version, inputs);
        let shards: Vec<Shard> = publish::upload(&self.bucket, &proven.dir, &generation).await?;
        let manifest = Manifest {
            format: manifest::FORMAT,
            generation,
            version: newest.version,
            built: newest.built.to_string(),
            published: now.to_string(),
            engine: proven.engine,
            previous: current.manifest.as_ref().map(|manifest| manifest.generation.clone()),
            shards,
            left_out: proven.left_out,
        };
        let published = self.bucket.publish(&manifest, &current).await;
        let published = published.map_err(|error| UpdateError::Publish(error.into()))?;
        record.phase("publish", started);
        if published == Published::Overtaken {
            tracing::warn!("another updater has published meanwhile; its generation is served");
            record.outcome = "overtaken";
            return Ok(());
        }
        record.outcome = "published";
        record.serve(&manifest, now, self.config.stale);

        let started = Instant::now();
        record.retired =
            publish::retire(&self.bucket, &manifest).await.map_err(UpdateError::Retire)?;
        record.phase("retire", started);
        Ok(())
    }
}

/// Whether what the mirror gave makes the run a failed one. While definitions are fresh, having to
/// wait is none.
fn failure(mirror: &crate::freshclam::Report, fresh: bool) -> Option<UpdateError> {
    match mirror.outcome {
        Outcome::Current => None,
        Outcome::CoolDown(_) | Outcome::Behind if fresh => None,
        _ => Some(UpdateError::Mirror {
            outcome: mirror.outcome.clone(),
            words: mirror.words.clone(),
        }),
    }
}

fn missing(wanted: &[String], databases: &[Database]) -> Option<String> {
    wanted.iter().find(|name| !databases.iter().any(|database| database.name == **name)).cloned()
}

fn versions(databases: &[Database]) -> BTreeMap<String, u32> {
    databases.iter().map(|database| (database.name.clone(), database.header.version)).collect()
}
