//! One updater and the world around it.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use definitions::bucket::Bucket;
use definitions::config::Config;
use definitions::freshclam;
use definitions::handler::Handler;
use definitions::update::App;
use function_common::custom_resource::Responder;
use function_common::manifest::{MANIFEST_KEY, Manifest};
use function_common::reply::Answer;
use futures_util::stream;
use lambda_runtime::{Context, LambdaEvent};
use scanner::definitions::Store;
use scanner::engine::{Engine, Options};
use scanner_tests::artefacts::{self, Arch};
use scanner_tests::fake_s3::{FakeS3, Versioning};
use scanner_tests::iam::Recorder;
use scanner_tests::mirror::Mirror;
use scanner_tests::template::{self, Template};
use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) use scanner_tests::generations::BUCKET;

/// The databases of 2021 are not stale.
const CENTURY: Duration = Duration::from_hours(100 * 8766);

/// What the makers' test database is called.
const DATABASE: &str = "test";

pub(crate) struct World {
    pub(crate) s3: FakeS3,
    pub(crate) mirror: Arc<Mirror>,
    /// Names of the databases that the updater wants.
    pub(crate) databases: Vec<String>,
    /// From which age on definitions are stale.
    pub(crate) stale: Duration,
    /// Refuses what the function's role does not allow.
    pub(crate) recorder: Arc<Recorder>,
    dir: Arc<TempDir>,
    /// The updater's folder, below `dir`.
    work: &'static str,
}

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Run {
    /// The one line that it wrote.
    pub(crate) record: Value,
    /// The code of its error.
    pub(crate) error: Option<String>,
}

impl Run {
    /// Outcome and error: a run that ended well has none.
    pub(crate) fn ended(&self) -> (&str, Option<&str>) {
        (self.record["outcome"].as_str().unwrap_or_default(), self.error.as_deref())
    }
}

impl World {
    /// A mirror with the test database in this version, and with all increments; an empty bucket.
    pub(crate) fn new(version: u32) -> Self {
        let mirror = Arc::new(Mirror::start().expect("a port is free"));
        let world = Self {
            s3: FakeS3::new().bucket(&BUCKET, Versioning::Off),
            mirror,
            databases: vec![DATABASE.into()],
            stale: CENTURY,
            recorder: Arc::new(Recorder::of(&template(), template::DEFINITIONS).expect("a role")),
            dir: Arc::new(tempfile::tempdir().expect("a folder")),
            work: "work",
        };
        world.offer(version);
        for n in 2..=6 {
            world.mirror.put(&format!("test-{n}.cdiff"), file(&format!("test-{n}.cdiff")));
        }
        world
    }

    /// Another updater of the same bucket.
    pub(crate) fn second(&self) -> Self {
        Self {
            s3: self.s3.clone(),
            mirror: Arc::clone(&self.mirror),
            databases: self.databases.clone(),
            stale: self.stale,
            recorder: Arc::clone(&self.recorder),
            dir: Arc::clone(&self.dir),
            work: "second",
        }
    }

    /// The mirror now has this version.
    pub(crate) fn offer(&self, version: u32) {
        self.mirror.put("test.cvd", file(&format!("test-{version}.cvd")));
    }

    /// Takes the increment away.
    pub(crate) fn without_increments(&self) {
        for n in 2..=6 {
            self.mirror.put(&format!("test-{n}.cdiff"), Vec::new());
        }
    }

    fn app(&self) -> App {
        let env = template().function(template::DEFINITIONS).expect("the updater").env;
        let read = Config::read(|name| env.get(name).cloned());
        let mut config = read.expect("what the template sets is good");
        config.clamav_dir = layer();
        config.stale = self.stale;
        config.mirror = self.mirror.url();
        App {
            mirror: freshclam::Mirror {
                url: config.mirror.clone(),
                databases: self.databases.clone(),
            },
            bucket: Bucket::new(self.recorder.s3(&self.s3.client()), &BUCKET),
            work_dir: self.dir.path().join(self.work),
            config,
        }
    }

    /// One run by the schedule.
    pub(crate) async fn run(&self) -> Run {
        let (lines, result) = self.invoke(json!({}), Responder::new()).await;
        let [line] = &lines[..] else { panic!("one run writes one record: {lines:?}") };
        let record = serde_json::from_str(line).expect("a record is JSON");
        let error = result.err().map(|error| lambda_runtime::Diagnostic::from(error).error_type);
        Run { record, error }
    }

    /// One invocation: what it wrote, and how it ended.
    pub(crate) async fn invoke(
        &self,
        event: Value,
        responder: Responder,
    ) -> (Vec<String>, Result<Value, definitions::handler::HandlerError>) {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let write = |line: &str| lines.lock().expect("nobody panics").push(line.to_owned());
        let handler = Handler::new(self.app(), responder, write);
        let mut context = Context::default();
        let minutes = std::time::SystemTime::now() + Duration::from_secs(600);
        let deadline = minutes.duration_since(std::time::UNIX_EPOCH).expect("after 1970");
        context.deadline = u64::try_from(deadline.as_millis()).expect("fits");
        let result = handler.handle(LambdaEvent::new(event, context)).await;
        drop(handler);
        let lines = std::mem::take(&mut *lines.lock().expect("nobody panics"));
        (lines, result)
    }

    /// A first generation with version 3, which finds EICAR.
    pub(crate) async fn published(version: u32) -> (Self, Manifest) {
        let world = Self::new(version);
        let run = world.run().await;
        assert_eq!(run.ended(), ("published", None), "{run:?}");
        let manifest = world.manifest().expect("it is published");
        let _ = world.mirror.asked();
        (world, manifest)
    }

    /// What is served.
    pub(crate) fn manifest(&self) -> Option<Manifest> {
        let json = self.s3.content(&BUCKET, MANIFEST_KEY)?;
        Some(Manifest::parse(&json).expect("what is served is a manifest"))
    }

    /// Fails unless `manifest` is served, with all its files, none of them to be deleted.
    pub(crate) fn still_serves(&self, manifest: &Manifest) {
        assert_eq!(self.manifest().as_ref(), Some(manifest));
        for file in manifest.files() {
            let content = self.s3.content(&BUCKET, &file.key).expect("every file is there");
            assert_eq!(content.len() as u64, file.size, "{}", file.key);
            assert_eq!(self.s3.tags(&BUCKET, &file.key, None).expect("it is there").len(), 0);
        }
    }

    /// What the scanner's own engine says of `content` with the definitions that are served: the
    /// base shard's answer and that of the shard for programs.
    pub(crate) async fn scan(&self, content: &[u8]) -> [Answer; 2] {
        let options = Options {
            clamav_dir: layer(),
            work_dir: self.dir.path().join("scanner"),
            memory_mb: 3008,
            max_check: Duration::from_secs(300),
            alert_macros: false,
        };
        let store = Store::new(self.s3.client(), BUCKET.clone());
        let engine = Engine::new(store, options);
        let generation = engine.current().await.expect("the generation can be used");
        let mut answers = Vec::new();
        for shard in [Some(&generation.base), generation.pe.as_ref()].into_iter().flatten() {
            let clamd = shard.clamd().await.expect("starts");
            clamd.ready().await.expect("finds EICAR");
            let content = stream::iter([Ok(content.to_vec().into())]);
            answers.push(clamd.scan(content).await.expect("an answer"));
        }
        answers.try_into().expect("there are two shards")
    }
}

fn template() -> Template {
    Template::built().expect("the template is built")
}

pub(crate) fn layer() -> PathBuf {
    artefacts::layer(Arch::X86_64).expect("the layer is built").join("clamav")
}

/// A file of ClamAV's makers.
pub(crate) fn file(name: &str) -> Vec<u8> {
    let folder = artefacts::freshclam_files().expect("they are fetched");
    std::fs::read(folder.join(name)).expect(name)
}

pub(crate) fn infected(name: &str) -> Answer {
    Answer::Infected(name.into())
}
