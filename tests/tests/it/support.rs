//! The function as it runs in Lambda, less Lambda.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use lambda_runtime::{Context, LambdaEvent};
use scanner::config::Config;
use scanner::definitions::Store;
use scanner::engine::{Engine, Options};
use scanner::event_bus::EventBus;
use scanner::handler::{Handler, InvocationError};
use scanner::scan::App;
use scanner_tests::artefacts::{self, Arch};
use scanner_tests::fake_event_bridge::FakeEventBridge;
use scanner_tests::fake_s3::{FakeS3, Identity, Stored, Versioning};
use scanner_tests::fake_sns::{FakeSns, Published};
use scanner_tests::generations::{self, Generation};
use scanner_tests::iam::Recorder;
use scanner_tests::processes;
use scanner_tests::template::{SCANNER, Template};
use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) const BUCKET: &str = "uploads";
pub(crate) const VERSIONED: &str = "versioned-uploads";

pub(crate) use scanner::handler::MARGIN;

/// Long enough that no test meets it; it only keeps a broken one from hanging.
const DEADLINE: Duration = Duration::from_secs(60);

pub(crate) struct World {
    pub(crate) s3: FakeS3,
    pub(crate) sns: FakeSns,
    pub(crate) event_bridge: FakeEventBridge,
    /// The bucket of definitions.
    pub(crate) definitions: FakeS3,
    /// Looks.
    pub(crate) engine: Arc<Engine>,
    pub(crate) handler: Handler,
    /// Refuses what the function's role does not allow.
    pub(crate) recorder: Recorder,
    records: Arc<Mutex<Vec<Value>>>,
    /// clamd's work folder and the definitions.
    dir: TempDir,
}

/// A world with the defaults of the template and definitions in one shard.
pub(crate) async fn world() -> World {
    world_with(|_| {}).await
}

/// A world with other settings.
pub(crate) async fn world_with(change: impl FnOnce(&mut Config)) -> World {
    world_on(&clamd_dir(), generation(), change).await
}

/// A world that was deployed with these parameters.
pub(crate) async fn world_deployed_with(parameters: &[(&str, &str)]) -> World {
    let template = Template::with(parameters).unwrap();
    world_in(&template, &clamd_dir(), generation(), |_| {}).await
}

/// A world with other definitions.
pub(crate) async fn world_of(generation: Generation, change: impl FnOnce(&mut Config)) -> World {
    world_on(&clamd_dir(), Some(generation), change).await
}

pub(crate) fn clamd_dir() -> PathBuf {
    artefacts::layer(Arch::X86_64).unwrap().join("clamav")
}

/// Version 7, built on 20 September 2026.
pub(crate) fn generation() -> Option<Generation> {
    Some(Generation::whole(7, Timestamp::from_second(1_789_885_586).unwrap()).unwrap())
}

/// A world on another clamd.
pub(crate) async fn world_on(
    clamav_dir: &Path,
    generation: Option<Generation>,
    change: impl FnOnce(&mut Config),
) -> World {
    world_in(&Template::built().unwrap(), clamav_dir, generation, change).await
}

async fn world_in(
    template: &Template,
    clamav_dir: &Path,
    generation: Option<Generation>,
    change: impl FnOnce(&mut Config),
) -> World {
    let dir = tempfile::tempdir().unwrap();
    let definitions = FakeS3::new().bucket(&generations::BUCKET, Versioning::Off);
    if let Some(generation) = generation {
        generation.publish_in(&definitions);
    }

    let function = template.function(SCANNER).unwrap();
    let recorder = Recorder::of(template, SCANNER).unwrap();
    let mut config = Config::read(|name| match name {
        "AWS_LAMBDA_FUNCTION_NAME" => Some(function.name.clone()),
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE" => Some(function.memory_mb.to_string()),
        _ => function.env.get(name).cloned(),
    })
    .unwrap();
    config.clamav_dir = clamav_dir.to_owned();
    // What a test publishes is to be seen at once.
    config.definitions_max_check = Duration::ZERO;
    change(&mut config);

    let options = Options {
        clamav_dir: config.clamav_dir.clone(),
        work_dir: dir.path().join("engine"),
        memory_mb: config.memory_mb,
        max_check: config.definitions_max_check,
        alert_macros: config.alert_macros,
    };
    let store = Store::new(recorder.s3(&definitions.client()), config.definitions_bucket.clone());
    let engine = Arc::new(Engine::new(store, options));
    let s3 = FakeS3::new().bucket(BUCKET, Versioning::Off).bucket(VERSIONED, Versioning::On);
    let (sns, event_bridge) = (FakeSns::new(), FakeEventBridge::new());
    let events = recorder.event_bridge(&event_bridge.client());
    let event_bus = config.result_event_bus.as_ref();
    let role = template.role_policies(SCANNER).unwrap();
    let role = Identity::role(&function.role_arn, &role).unwrap();
    let app = App {
        event_bus: event_bus.map(|bus| EventBus::new(&events, bus, config.partition())),
        config,
        s3: recorder.s3(&s3.client_of(role)),
        sns: recorder.sns(&sns.client()),
        engine: Arc::clone(&engine),
        shielded: true,
    };
    let records = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&records);
    let handler = Handler::new(app, move |line| {
        sink.lock().unwrap().push(serde_json::from_str(&line).unwrap());
    });
    World { s3, sns, event_bridge, definitions, engine, handler, recorder, records, dir }
}

impl World {
    /// Invokes the function as Lambda does.
    pub(crate) async fn invoke(&self, event: Value) -> Result<Value, InvocationError> {
        self.invoke_for(DEADLINE, event).await
    }

    /// The same with another deadline.
    pub(crate) async fn invoke_for(
        &self,
        time: Duration,
        event: Value,
    ) -> Result<Value, InvocationError> {
        let mut context = Context::default();
        context.request_id = "8476a536-e9f4-11e8-9739-2dfe598c3fcd".into();
        let deadline = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + time;
        context.deadline = deadline.as_millis().try_into().unwrap();
        self.handler.handle(LambdaEvent::new(event, context)).await
    }

    /// One record for each object so far.
    pub(crate) fn records(&self) -> Vec<Value> {
        self.records.lock().unwrap().clone()
    }

    /// The only record.
    pub(crate) fn record(&self) -> Value {
        let records = self.records();
        assert_eq!(records.len(), 1, "{records:?}");
        records[0].clone()
    }

    /// The only finding.
    pub(crate) fn finding(&self) -> Published {
        let published = self.sns.published();
        assert_eq!(published.len(), 1, "{published:?}");
        published[0].clone()
    }

    /// The value of the verdict's tag.
    pub(crate) fn tag(&self, bucket: &str, key: &str, version: Option<&str>) -> Option<String> {
        self.s3.tags(bucket, key, version)?.get("s3-virusscan").cloned()
    }

    /// Kills the clamd of this world, as running out of memory would.
    pub(crate) fn clamd_killer(&self) -> impl Fn() + Send + Sync + 'static {
        let dir = self.dir.path().to_owned();
        move || {
            let pids = clamds_under(&dir);
            processes::kill(*pids.first().expect("clamd runs")).unwrap();
        }
    }

    /// The processes of this world's clamds.
    pub(crate) fn clamd_pids(&self) -> Vec<u32> {
        clamds_under(self.dir.path())
    }

    /// The folder of the base shard's clamd. Definitions are loaded first.
    pub(crate) async fn work_dir(&self) -> PathBuf {
        self.engine.current().await.unwrap();
        let mut generations = std::fs::read_dir(self.dir.path().join("engine")).unwrap();
        generations.next().unwrap().unwrap().path().join("base/clamd")
    }

    /// Uploads and invokes with the event that S3 sends for it.
    pub(crate) async fn upload(
        &self,
        bucket: &str,
        key: &str,
        body: Vec<u8>,
    ) -> Result<Value, InvocationError> {
        let stored = self.s3.put(bucket, key, body);
        self.invoke(s3_event(&[s3_record(bucket, key, &stored)])).await
    }
}

/// Our children that work under `dir`.
fn clamds_under(dir: &Path) -> Vec<u32> {
    let works_there = |pid: &u32| {
        std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|folder| folder.starts_with(dir))
    };
    processes::children(std::process::id()).into_iter().filter(works_there).collect()
}

/// The event of S3 itself.
pub(crate) fn s3_event(records: &[Value]) -> Value {
    json!({ "Records": records })
}

/// S3's record of an upload; `key` must need no encoding.
pub(crate) fn s3_record(bucket: &str, key: &str, stored: &Stored) -> Value {
    let mut object =
        json!({"key": key, "size": 1, "eTag": stored.e_tag, "sequencer": "0055AED6DCD90281E5"});
    if let Some(version_id) = &stored.version_id {
        object["versionId"] = json!(version_id);
    }
    json!({
        "eventVersion": "2.1", "eventSource": "aws:s3", "awsRegion": "us-east-1",
        "eventTime": "2026-11-22T00:00:00.000Z", "eventName": "ObjectCreated:Put",
        "userIdentity": {"principalId": "x"}, "requestParameters": {"sourceIPAddress": "127.0.0.1"},
        "responseElements": {},
        "s3": {"s3SchemaVersion": "1.0", "configurationId": "c",
               "bucket": {"name": bucket, "ownerIdentity": {"principalId": "x"}, "arn": format!("arn:aws:s3:::{bucket}")},
               "object": object}
    })
}

/// A batch from SQS with messages `m0`, `m1`, ...
pub(crate) fn queue(bodies: &[Value]) -> Value {
    let records: Vec<_> = bodies
        .iter()
        .enumerate()
        .map(|(n, body)| {
            let body = body.as_str().map_or_else(|| body.to_string(), str::to_owned);
            json!({"messageId": format!("m{n}"), "receiptHandle": "r", "body": body, "eventSource": "aws:sqs"})
        })
        .collect();
    json!({ "Records": records })
}

/// The same, handed out for the `count`th time.
pub(crate) fn queue_again(bodies: &[Value], count: u32) -> Value {
    let mut event = queue(bodies);
    for record in event["Records"].as_array_mut().unwrap() {
        record["attributes"] = json!({"ApproximateReceiveCount": count.to_string()});
    }
    event
}

/// The messages that a partial batch response gives back.
pub(crate) fn failed(response: &Value) -> Vec<&str> {
    let failures = response["batchItemFailures"].as_array().unwrap();
    failures.iter().map(|failure| failure["itemIdentifier"].as_str().unwrap()).collect()
}
