//! The function's life: settings, clamd, clients, then one invocation after the other.

use std::process::ExitCode;
use std::time::Duration;

use aws_config::BehaviorVersion;
use lambda_runtime::{LambdaEvent, service_fn};
use scanner::clamd::{Clamd, Paths, confine};
use scanner::config::{self, Config};
use scanner::definitions;
use scanner::handler::{Handler, to_stdout};
use scanner::scan::App;
use scanner::service_error::chain;

/// clamd's own folder.
const WORK_DIR: &str = "/tmp/clamd";

/// How long the start waits for clamd. Lambda ends an init phase that takes over 10 seconds and
/// begins it anew; a clamd that needs longer is waited for in the first invocation instead.
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
    let level = config::log_level(environment);
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_max_level(*level.as_ref().unwrap_or(&tracing::Level::INFO))
        .init();
    level?;
    let config = Config::read(environment)?;
    let shielded = confine::shield_this_process();

    let definitions = definitions::newest(&config.definitions_dir)?;
    let paths = Paths {
        clamav_dir: config.clamav_dir.clone(),
        definitions_dir: config.definitions_dir.clone(),
        work_dir: WORK_DIR.into(),
    };
    let clamd = Clamd::start(paths, config.memory_mb)?;

    let aws = aws_config::load_defaults(BehaviorVersion::v2026_01_12()).await;
    let s3 = aws_sdk_s3::Client::new(&aws);
    let sns = aws_sdk_sns::Client::new(&aws);

    if let Ok(engine) = tokio::time::timeout(INIT_WAIT, clamd.ready()).await {
        let engine = engine?;
        tracing::info!(
            engine,
            definitions = definitions.version,
            built = definitions.built,
            "ready"
        );
    }
    let handler = Handler::new(App { config, s3, sns, clamd, definitions, shielded }, to_stdout);
    lambda_runtime::run(service_fn(|event: LambdaEvent<_>| handler.handle(event))).await
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
