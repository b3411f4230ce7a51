//! The definitions in use, and the change to newer ones in a sandbox that lives on.
//!
//! A generation is loaded by one clamd for each of its shards. The base shard looks at everything,
//! so a scan waits for it alone; the shard for Windows programs is loaded meanwhile.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use function_common::clamd::conf::{Limits, RESERVE};
use function_common::clamd::{Clamd, ClamdError, NoRoom, Paths, free_bytes, make_empty, resident};
use function_common::manifest::{self, Manifest};
use function_common::service_error::chain;
use tempfile::TempDir;
use tokio::sync::{OnceCell, Semaphore};
use tokio::task::JoinHandle;

use crate::definitions::{Current, DefinitionsError, Store};
use crate::scan::milliseconds;

/// Memory that is left free when two generations stand side by side, in bytes: what clamd takes for
/// scanning, beyond its database.
const HEADROOM: u64 = 256 << 20;

/// Why nothing can be scanned.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// No definitions.
    #[error(transparent)]
    Definitions(#[from] DefinitionsError),
    /// No clamd.
    #[error(transparent)]
    Clamd(#[from] ClamdError),
}

impl EngineError {
    /// A stable word for logs and metrics.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Definitions(DefinitionsError::None { .. }) => "no-definitions",
            Self::Definitions(_) => "definitions",
            Self::Clamd(error) => error.code(),
        }
    }
}

/// What [`Engine::refresh`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refreshed {
    /// Nothing: it was too early to ask, or there is nothing newer, or it could not be asked.
    Nothing,
    /// There is something newer, but it cannot be used. The old generation stays in use.
    Refused,
    /// The newer generation is in use.
    Changed {
        /// Whether both stood side by side, so that no scan had to wait.
        side_by_side: bool,
    },
}

/// Where things are, and how large the function is.
#[derive(Debug, Clone)]
pub struct Options {
    /// The unpacked layer.
    pub clamav_dir: PathBuf,
    /// A folder of the engine's own; emptied before the first definitions come.
    pub work_dir: PathBuf,
    /// Memory of the function in MB.
    pub memory_mb: u32,
    /// How long the sandbox may go without asking for newer definitions.
    pub max_check: Duration,
    /// Whether Office documents with VBA macros are infected.
    pub alert_macros: bool,
}

/// The definitions in use.
#[derive(Debug)]
pub struct Engine {
    store: Store,
    options: Options,
    /// One permit for each scan at a time.
    permits: Semaphore,
    scans: u32,
    current: Mutex<Option<Arc<Generation>>>,
    /// Loads the shard that no scan has asked for yet.
    warming: Mutex<Option<JoinHandle<()>>>,
    /// Held while a generation is loaded.
    checked: tokio::sync::Mutex<Checked>,
}

/// What is known about the manifest.
#[derive(Debug, Default)]
struct Checked {
    etag: Option<String>,
    /// By the wall clock: the other one stands still while the sandbox is frozen.
    at: Option<SystemTime>,
    /// Bytes that were free in the work folder before anything was put there.
    room: u64,
}

impl Engine {
    /// An engine without definitions; [`Engine::current`] loads them.
    #[must_use]
    pub fn new(store: Store, options: Options) -> Self {
        let scans = Limits::for_function(options.memory_mb, 0).scans;
        Self {
            store,
            options,
            permits: Semaphore::new(scans as usize),
            scans,
            current: Mutex::default(),
            warming: Mutex::default(),
            checked: tokio::sync::Mutex::default(),
        }
    }

    /// How many scans run at the same time.
    #[must_use]
    pub fn scans(&self) -> u32 {
        self.scans
    }

    /// The permits that scans take: one each, or all for a scan that wants the engine for itself.
    #[must_use]
    pub fn permits(&self) -> &Semaphore {
        &self.permits
    }

    /// The generation in use; loads the published one when there is none yet.
    ///
    /// # Errors
    /// When it cannot be fetched, there is no room for it, or its base shard finds nothing. The next
    /// call tries again.
    pub async fn current(&self) -> Result<Arc<Generation>, EngineError> {
        if let Some(generation) = self.in_use() {
            return Ok(generation);
        }
        let mut checked = self.checked.lock().await;
        // Somebody else may have loaded it while this one waited.
        if let Some(generation) = self.in_use() {
            return Ok(generation);
        }
        let room = self.empty_folder()?;
        let started = Instant::now();
        let Current { manifest, etag } =
            self.store.manifest(None).await?.expect("only a known manifest can be unchanged");
        let manifest_ms = milliseconds(started.elapsed());
        let generation = self.load(manifest, room)?;
        let base = generation.base.clamd().await?;
        let fetched_ms = milliseconds(started.elapsed());
        // The other one behind it, with two cores as well: most objects wait for the base shard only,
        // and beside the other it takes up to twice as long (docs/SPECIFICATION.md).
        let engine = base.ready().await?;
        let others = Arc::clone(&generation);
        let warming = tokio::spawn(async move { others.warm_up().await });
        *self.warming.lock().unwrap_or_else(PoisonError::into_inner) = Some(warming);
        tracing::info!(
            engine,
            generation = generation.manifest.generation,
            definitions = generation.manifest.version,
            built = generation.manifest.built,
            manifest_ms,
            fetch_ms = fetched_ms - manifest_ms,
            load_ms = milliseconds(started.elapsed()) - fetched_ms,
            "ready"
        );
        *checked = Checked { etag: Some(etag), at: Some(SystemTime::now()), room };
        self.put_in_use(Arc::clone(&generation));
        Ok(generation)
    }

    /// Asks for newer definitions, at most every [`Options::max_check`], and changes over to them.
    /// Scans go on meanwhile: on the old generation when there is memory for both, else they wait.
    /// A generation that cannot be loaded is left alone, and the old one stays in use.
    pub async fn refresh(&self) -> Refreshed {
        // When it is held a load is under way.
        let Ok(mut checked) = self.checked.try_lock() else { return Refreshed::Nothing };
        let Some(old) = self.in_use() else { return Refreshed::Nothing };
        let fresh = |at: SystemTime| at.elapsed().is_ok_and(|age| age < self.options.max_check);
        if checked.at.is_some_and(fresh) {
            return Refreshed::Nothing;
        }
        let newer = match self.store.manifest(checked.etag.as_deref()).await {
            Ok(newer) => newer,
            Err(error) => {
                tracing::warn!(error = chain(&error), "cannot ask for newer definitions");
                None
            }
        };
        checked.at = Some(SystemTime::now());
        let Some(Current { manifest, etag }) = newer else { return Refreshed::Nothing };
        checked.etag = Some(etag);
        let (from, to) = (old.manifest.version, manifest.version);
        let started = Instant::now();
        match self.change(old, manifest, checked.room).await {
            Ok(side_by_side) => {
                let change_ms = milliseconds(started.elapsed());
                tracing::info!(from, to, side_by_side, change_ms, "changed to newer definitions");
                Refreshed::Changed { side_by_side }
            }
            Err(error) => {
                let error = chain(&error);
                tracing::error!(from, to, error, "newer definitions cannot be used");
                Refreshed::Refused
            }
        }
    }

    /// Says whether both generations stood side by side.
    async fn change(
        &self,
        old: Arc<Generation>,
        manifest: Manifest,
        room: u64,
    ) -> Result<bool, EngineError> {
        let new = self.load(manifest, room)?;
        new.fetch().await?;
        self.stop_warming().await;
        let side_by_side = self.has_room_beside(&old).await;
        let _all_scans = if side_by_side {
            None
        } else {
            // Behind the scans that run, and before those to come.
            let all = self.permits.acquire_many(self.scans).await;
            old.stop().await;
            Some(all.expect("the semaphore is never closed"))
        };
        new.ready().await?;
        self.put_in_use(new);
        Ok(side_by_side)
    }

    /// Empties the work folder, of which nothing is in use. Gives the bytes that are free then.
    fn empty_folder(&self) -> Result<u64, EngineError> {
        let work_dir = &self.options.work_dir;
        make_empty(work_dir).map_err(ClamdError::from)?;
        Ok(free_bytes(work_dir)?)
    }

    /// `room`: bytes for definitions and scans together.
    fn load(&self, manifest: Manifest, room: u64) -> Result<Arc<Generation>, EngineError> {
        // Two generations may be there at once.
        let definitions = manifest.unpacked_size().saturating_mul(2);
        let needed = definitions.saturating_add(RESERVE);
        let limits = Limits::for_function(self.options.memory_mb, room.saturating_sub(definitions));
        if limits.object == 0 {
            // Else every object would be too large, which is not the objects' fault.
            let dir = self.options.work_dir.clone();
            return Err(ClamdError::from(NoRoom::Bytes { dir, free: room, needed }).into());
        }
        Generation::new(&self.store, manifest, &self.options, limits).map(Arc::new)
    }

    async fn has_room_beside(&self, old: &Generation) -> bool {
        let Some(database) = old.memory().await else { return false };
        let ours = resident(std::process::id()).unwrap_or_default();
        let needed = database.saturating_mul(2).saturating_add(ours).saturating_add(HEADROOM);
        needed <= u64::from(self.options.memory_mb) << 20
    }

    /// Else it would hold, or start again, what is about to be replaced.
    async fn stop_warming(&self) {
        let warming = self.warming.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(warming) = warming {
            warming.abort();
            // It says that it was aborted, or that it had ended before.
            let _ = warming.await;
        }
    }

    fn in_use(&self) -> Option<Arc<Generation>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn put_in_use(&self, generation: Arc<Generation>) {
        // The one before ends with its last scan.
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(generation);
    }
}

/// One generation, with a clamd for each of its shards.
#[derive(Debug)]
pub struct Generation {
    /// What it is.
    pub manifest: Manifest,
    /// What one scan may take.
    pub limits: Limits,
    /// Looks at every object.
    pub base: Shard,
    /// Looks at objects with a Windows program in them, when there is such a shard.
    pub pe: Option<Shard>,
    /// Its files; they go with it.
    _dir: TempDir,
}

impl Generation {
    fn new(
        store: &Store,
        manifest: Manifest,
        options: &Options,
        limits: Limits,
    ) -> Result<Self, EngineError> {
        let path = &options.work_dir;
        let dir = tempfile::Builder::new().prefix("g").tempdir_in(path);
        let dir = dir.map_err(|source| ClamdError::from(NoRoom::unwritable(path, source)))?;
        let shard = |shard: &manifest::Shard| Shard {
            manifest: shard.clone(),
            store: store.clone(),
            paths: Paths {
                clamav_dir: options.clamav_dir.clone(),
                definitions_dir: dir.path().join(&shard.name).join("definitions"),
                work_dir: dir.path().join(&shard.name).join("clamd"),
            },
            limits,
            alert_macros: options.alert_macros,
            fetched: OnceCell::new(),
            clamd: OnceCell::new(),
        };
        let find = |name| manifest.shards.iter().find(|shard| shard.name == name).map(shard);
        let base = find(manifest::BASE).expect("a manifest has a base shard");
        let pe = find(manifest::PE);
        Ok(Self { manifest, limits, base, pe, _dir: dir })
    }

    fn shards(&self) -> impl Iterator<Item = &Shard> {
        [Some(&self.base), self.pe.as_ref()].into_iter().flatten()
    }

    async fn fetch(&self) -> Result<(), EngineError> {
        for shard in self.shards() {
            shard.fetch().await?;
        }
        Ok(())
    }

    /// Starts all shards and waits until each has found something.
    async fn ready(&self) -> Result<(), EngineError> {
        for shard in self.shards() {
            shard.clamd().await?;
        }
        for shard in self.shards() {
            shard.clamd().await?.ready().await?;
        }
        Ok(())
    }

    /// Loads what no scan has asked for yet. A failure is that of the scan which needs it.
    async fn warm_up(&self) {
        if let Err(error) = self.ready().await {
            tracing::warn!(error = chain(&error), "a shard of the definitions is not ready");
        }
    }

    async fn stop(&self) {
        for shard in self.shards() {
            shard.stop().await;
        }
    }

    /// Memory that its processes hold, in bytes; none when one of them is not there.
    pub async fn memory(&self) -> Option<u64> {
        let mut sum = 0;
        for shard in self.shards() {
            sum += shard.clamd.get()?.memory().await?;
        }
        Some(sum)
    }
}

/// Definitions that one clamd loads.
#[derive(Debug)]
pub struct Shard {
    manifest: manifest::Shard,
    store: Store,
    paths: Paths,
    limits: Limits,
    alert_macros: bool,
    fetched: OnceCell<()>,
    clamd: OnceCell<Clamd>,
}

impl Shard {
    /// Its clamd, which is started when it is first asked for. It may still be loading.
    ///
    /// # Errors
    /// When its files cannot be fetched or clamd cannot be started. The next call tries again.
    pub async fn clamd(&self) -> Result<&Clamd, EngineError> {
        self.fetch().await?;
        let start = async || Clamd::start(self.paths.clone(), self.limits, self.alert_macros);
        Ok(self.clamd.get_or_try_init(start).await?)
    }

    async fn fetch(&self) -> Result<(), EngineError> {
        let dir: &Path = &self.paths.definitions_dir;
        let fetch = async || {
            std::fs::create_dir_all(dir)
                .map_err(|source| DefinitionsError::Write { path: dir.to_owned(), source })?;
            self.store.fetch(&self.manifest, dir).await
        };
        self.fetched.get_or_try_init(fetch).await?;
        Ok(())
    }

    /// Ends its clamd; the next one to wait for it starts it again.
    pub async fn stop(&self) {
        if let Some(clamd) = self.clamd.get() {
            clamd.stop().await;
        }
    }
}
