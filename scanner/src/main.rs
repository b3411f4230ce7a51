//! The function's life: settings, clamd, clients, then one invocation after the other.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use aws_config::BehaviorVersion;
use function_common::clamd::confine;
use function_common::logging;
use function_common::service_error::chain;
use function_common::settings::LogLevel;
use lambda_runtime::{LambdaEvent, service_fn};
use scanner::config::Config;
use scanner::definitions::Store;
use scanner::engine::{Engine, Options};
use scanner::event_bus::EventBus;
use scanner::handler::{Handler, to_stdout};
use scanner::scan::App;

/// The engine's own folder.
const WORK_DIR: &str = "/tmp/s3-virusscan";

/// How long the start waits for definitions. Lambda ends an init phase that takes over 10 seconds
/// and begins it anew; what takes longer is waited for in the first invocation instead.
const INIT_WAIT: Duration = Duration::from_secs(8);

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = chain(error.as_ref()), "the function cannot start");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), lambda_runtime::Error> {
    let config = Config::read(environment);
    logging::init(config.as_ref().map_or(LogLevel::default(), |config| config.log_level).0);
    let config = config?;
    let shielded = confine::shield_this_process();

    let aws = aws_config::load_defaults(BehaviorVersion::v2026_01_12()).await;
    let s3 = aws_sdk_s3::Client::new(&aws);
    let sns = aws_sdk_sns::Client::new(&aws);
    let event_bus = config
        .result_event_bus
        .as_ref()
        .map(|bus| EventBus::new(&aws_sdk_eventbridge::Client::new(&aws), bus, config.partition()));

    let options = Options {
        clamav_dir: config.clamav_dir.clone(),
        work_dir: WORK_DIR.into(),
        memory_mb: config.memory_mb,
        max_check: config.definitions_max_check,
        alert_macros: config.alert_macros,
    };
    let store = Store::new(s3.clone(), config.definitions_bucket.clone());
    let engine = Arc::new(Engine::new(store, options));
    let loading = tokio::spawn({
        let engine = Arc::clone(&engine);
        async move { engine.current().await.map(drop) }
    });
    // Without definitions there is no verdict, but the events must come in all the same: each then
    // fails with the reason, and is delivered again.
    match tokio::time::timeout(INIT_WAIT, loading).await {
        Ok(Ok(Err(error))) => tracing::error!(error = chain(&error), "no definitions at the start"),
        Ok(Err(error)) => tracing::error!(%error, "loading definitions panicked"),
        Ok(Ok(Ok(()))) | Err(_) => {}
    }
    let handler = Handler::new(App { config, s3, sns, event_bus, engine, shielded }, to_stdout);
    lambda_runtime::run(service_fn(|event: LambdaEvent<_>| handler.handle(event))).await
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
