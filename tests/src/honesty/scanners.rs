//! Who looks: the scanner, with the layer's clamd and its settings; and the same clamd with the
//! settings that it comes with.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use clamav_client::tokio::{Socket, scan_stream};
use definitions::container;
use definitions::shards::{self, Database, SHARDS};
use function_common::clamd::honesty;
use function_common::reply::{self, Answer};
use jiff::Timestamp;
use scanner::config::Config;
use scanner::definitions::Store;
use scanner::engine::{Engine, Options};
use scanner::event::ObjectRef;
use scanner::look::{Looked, look};
use scanner::record::Record;
use scanner::scan::App;
use tempfile::TempDir;

use super::Word;
use crate::artefacts::{self, Arch};
use crate::fake_s3::{FakeS3, Versioning};
use crate::fake_sns::FakeSns;
use crate::generations::{self, Generation};
use crate::stock_clamd::StockClamd;
use crate::template::{SCANNER, Template};

const BUCKET: &str = "uploads";
const VERSION: u32 = 7;
/// Long enough that no file meets it; it only keeps a broken scan from hanging.
const DEADLINE: Duration = Duration::from_secs(120);

/// The scanner as the template deploys it, on definitions that the updater's own code has cut.
#[derive(Debug)]
pub struct Ours {
    app: App,
    s3: FakeS3,
    _dir: TempDir,
}

impl Ours {
    /// Starts it, and its first clamd. `hashes` are more signatures, as in a `.hdb`.
    ///
    /// # Errors
    ///
    /// The layer or the template is not built (the message names the make target), or clamd does
    /// not start.
    pub async fn start(hashes: &str) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir().context("making a work folder")?;
        let definitions = FakeS3::new().bucket(&generations::BUCKET, Versioning::Off);
        generation(dir.path(), hashes)?.publish_in(&definitions);

        let function = Template::built()?.function(SCANNER)?;
        let mut config = Config::read(|name| match name {
            "AWS_LAMBDA_FUNCTION_NAME" => Some(function.name.clone()),
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE" => Some(function.memory_mb.to_string()),
            _ => function.env.get(name).cloned(),
        })?;
        config.clamav_dir = artefacts::layer(Arch::X86_64)?.join("clamav");
        let options = Options {
            clamav_dir: config.clamav_dir.clone(),
            work_dir: dir.path().join("engine"),
            memory_mb: config.memory_mb,
            max_check: config.definitions_max_check,
            alert_macros: config.alert_macros,
        };
        let store = Store::new(definitions.client(), config.definitions_bucket.clone());
        let engine = Arc::new(Engine::new(store, options));
        engine.current().await.context("loading the definitions")?;
        let s3 = FakeS3::new().bucket(BUCKET, Versioning::Off);
        let sns = FakeSns::new().client();
        let app = App { config, s3: s3.client(), sns, event_bus: None, engine, shielded: true };
        Ok(Self { app, s3, _dir: dir })
    }

    /// Uploads the file and has it looked at.
    ///
    /// # Errors
    ///
    /// There is no verdict.
    pub async fn look(&self, bytes: Vec<u8>) -> anyhow::Result<Word> {
        let stored = self.s3.put(BUCKET, "file", bytes);
        let object = ObjectRef {
            bucket: BUCKET.to_owned(),
            key: "file".to_owned(),
            version_id: None,
            etag: Some(stored.e_tag.clone()),
            size: None,
            sequencer: None,
        };
        let mut record = Record::new(&object);
        let looked = look(&self.app, &object, Instant::now() + DEADLINE, &mut record).await;
        match looked.context("looking")? {
            Looked::At { verdict, .. } => Ok((&verdict).into()),
            Looked::OutOfTime { .. } => bail!("there was not time enough"),
            Looked::Nothing(why) => bail!("there is nothing to judge: {why}"),
        }
    }
}

/// clamd with nothing set but where things are, on the definitions as ClamAV's makers would send
/// them.
#[derive(Debug)]
pub(super) struct Stock {
    clamd: StockClamd,
    _dir: TempDir,
}

impl Stock {
    pub(super) async fn start() -> anyhow::Result<Self> {
        let dir = tempfile::tempdir().context("making a folder for definitions")?;
        write(dir.path(), "")?;
        Ok(Self { clamd: StockClamd::start(dir.path()).await?, _dir: dir })
    }

    pub(super) async fn look(&self, bytes: Vec<u8>) -> anyhow::Result<Word> {
        let answer = ask(&self.clamd, bytes).await?;
        match reply::parse(&answer)? {
            Answer::Clean => Ok(Word::Clean),
            Answer::Infected(_) => Ok(Word::Infected),
            Answer::Unscannable(reason, _) => Ok(Word::No(reason)),
            Answer::PortableExecutable => bail!("stock clamd knows a name of ours"),
        }
    }
}

/// clamd with the honesty database and nothing else, which tells its names.
#[derive(Debug)]
pub(super) struct Names {
    clamd: StockClamd,
    _dir: TempDir,
}

impl Names {
    pub(super) async fn start() -> anyhow::Result<Self> {
        let dir = tempfile::tempdir().context("making a folder for definitions")?;
        let path = dir.path().join("honesty.ldb");
        std::fs::write(path, honesty::SIGNATURES).context("writing the honesty database")?;
        Ok(Self { clamd: StockClamd::start(dir.path()).await?, _dir: dir })
    }

    /// The signature that it reports.
    pub(super) async fn name(&self, bytes: Vec<u8>) -> anyhow::Result<Option<String>> {
        let answer = ask(&self.clamd, bytes).await?;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let found = answer.strip_prefix("stream: ").and_then(|name| name.split_once(" FOUND"));
        Ok(found.map(|(name, _)| name.trim_end_matches(".UNOFFICIAL").to_owned()))
    }
}

async fn ask(clamd: &StockClamd, bytes: Vec<u8>) -> anyhow::Result<Vec<u8>> {
    let stream = futures_util::stream::iter([Ok(Bytes::from(bytes))]);
    let socket = Socket { socket_path: clamd.socket() };
    scan_stream(stream, socket, None).await.context("asking stock clamd")
}

/// `daily.cud` with the test definitions and, as the real one has it, a list of file types: the
/// engine's own.
fn write(dir: &Path, hashes: &str) -> anyhow::Result<()> {
    let now = Timestamp::now();
    let container = crate::definitions::with_file_types(VERSION, now, hashes, &file_types()?)?;
    std::fs::write(dir.join("daily.cud"), container).context("writing test definitions")
}

/// The list that libclamav falls back on. It is in its data, line by line.
fn file_types() -> anyhow::Result<String> {
    let library = artefacts::layer(Arch::X86_64)?.join("clamav/lib/libclamav.so.12");
    let bytes =
        std::fs::read(&library).with_context(|| format!("reading {}", library.display()))?;
    let mut lines = String::new();
    for text in bytes.split(|byte| *byte == 0) {
        if let Ok(text) = std::str::from_utf8(text)
            && text.split(':').count() >= 6
            && text.split(':').skip(4).take(2).all(|kind| kind.starts_with("CL_TYPE_"))
        {
            lines += text;
            lines.push('\n');
        }
    }
    anyhow::ensure!(lines.contains("CL_TYPE_IGNORED"), "libclamav has no list of file types");
    Ok(lines)
}

fn generation(dir: &Path, hashes: &str) -> anyhow::Result<Generation> {
    write(dir, hashes)?;
    let path = dir.join("daily.cud");
    let header = container::header(&path).context("reading the test definitions")?;
    let database = Database { name: "daily".to_owned(), path, header };
    let cut = dir.join("cut");
    shards::write(&[database], &[], &cut).context("cutting the test definitions")?;
    let mut files = Vec::new();
    for shard in SHARDS {
        files.push((shard, generations::files_in(&cut.join(shard))?));
    }
    Generation::new(VERSION, Timestamp::now(), &files)
}
