//! The database in all its forms, in a temporary folder.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, bail};
use definitions::container;
use definitions::shards::{self, Database};
use tempfile::TempDir;

use super::super::{Table, bytes};
use super::seconds;
use crate::public_shape::{self, DATABASES};

const SEED: u64 = 1;

/// Each form is a folder that clamd loads.
pub(super) struct Stage {
    dir: TempDir,
}

impl Stage {
    pub(super) fn new(table: &mut Table<'_, impl Write>, one_in: usize) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir().context("making a folder for databases")?;
        let stage = Self { dir };
        for form in [stage.loose(), stage.packed(), stage.plain(), stage.shards()] {
            std::fs::create_dir(&form).with_context(|| format!("making {}", form.display()))?;
        }
        table.section("the database (made up; seed 1)")?;
        let begin = Instant::now();
        let count = public_shape::write(&stage.loose(), one_in, SEED)?;
        let size = bytes(size(&stage.loose())?);
        table.row(&count.to_string(), &format!("signatures, {size} as loose files"))?;
        public_shape::pack(&stage.loose(), &stage.packed())?;
        let packed = bytes(self::size(&stage.packed())?);
        table.row(&packed, "in containers packed with gzip, as the makers' are")?;
        public_shape::plain(&stage.loose(), &stage.plain())?;
        table.row(&seconds(begin.elapsed()), "to make them")?;

        let begin = Instant::now();
        let databases = DATABASES.map(|name| {
            let path = stage.packed().join(format!("{name}.cud"));
            let header = container::header(&path)?;
            Ok(Database { name: name.to_owned(), path, header })
        });
        let databases: Result<Vec<_>, container::ContainerError> = databases.into_iter().collect();
        shards::write(&databases.context("reading containers")?, &[], &stage.shards())
            .context("cutting shards")?;
        table.row(&seconds(begin.elapsed()), "for the updater to cut them into shards")?;
        for shard in shards::SHARDS {
            let size = bytes(self::size(&stage.shard(shard))?);
            table.row(&size, &format!("shard {shard}, containers not packed"))?;
        }
        Ok(stage)
    }

    pub(super) fn loose(&self) -> PathBuf {
        self.dir.path().join("loose")
    }

    /// With gzip.
    pub(super) fn packed(&self) -> PathBuf {
        self.dir.path().join("packed")
    }

    pub(super) fn plain(&self) -> PathBuf {
        self.dir.path().join("plain")
    }

    pub(super) fn shards(&self) -> PathBuf {
        self.dir.path().join("shards")
    }

    pub(super) fn shard(&self, name: &str) -> PathBuf {
        self.shards().join(name)
    }

    /// A copy of the shards to be used up.
    pub(super) fn copy_of_shards(&self) -> anyhow::Result<TempDir> {
        let copy = tempfile::tempdir_in(self.dir.path()).context("making a folder for shards")?;
        for shard in shards::SHARDS {
            let to = copy.path().join(shard);
            std::fs::create_dir(&to).with_context(|| format!("making {}", to.display()))?;
            for file in files(&self.shard(shard))? {
                std::fs::hard_link(&file, to.join(file.file_name().unwrap_or_default()))
                    .with_context(|| format!("linking {}", file.display()))?;
            }
        }
        Ok(copy)
    }
}

/// The files of a folder, in the order of their names.
pub(super) fn files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let listing = || format!("listing {}", folder.display());
    let entries = std::fs::read_dir(folder).with_context(listing)?;
    let files: Result<Vec<_>, _> = entries.map(|entry| entry.map(|entry| entry.path())).collect();
    let mut files = files.with_context(listing)?;
    if files.is_empty() {
        bail!("{} is empty", folder.display());
    }
    files.sort();
    Ok(files)
}

fn size(folder: &Path) -> anyhow::Result<u64> {
    let sizes = files(folder)?.into_iter().map(|file| {
        let about = file.metadata().with_context(|| format!("looking at {}", file.display()));
        about.map(|about| about.len())
    });
    sizes.sum()
}
