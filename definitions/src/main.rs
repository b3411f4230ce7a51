//! The function's life: settings, clients, then one run after the other.

use std::process::ExitCode;

use aws_config::BehaviorVersion;
use definitions::bucket::Bucket;
use definitions::config::Config;
use definitions::freshclam::Mirror;
use definitions::handler::{Handler, to_stdout};
use definitions::update::App;
use function_common::clamd::confine;
use function_common::custom_resource::Responder;
use function_common::logging;
use function_common::service_error::chain;
use lambda_runtime::{LambdaEvent, service_fn};

/// The function's own folder.
const WORK_DIR: &str = "/tmp/definitions";

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
    logging::init(config.as_ref().map(|config| config.log_level).unwrap_or_default().0);
    let config = config?;
    // freshclam and clamd run as the same user, and read what strangers wrote.
    let _ = confine::shield_this_process();

    let aws = aws_config::load_defaults(BehaviorVersion::v2026_01_12()).await;
    let bucket = Bucket::new(aws_sdk_s3::Client::new(&aws), &config.bucket);
    let mirror = Mirror::new(&config.mirror);
    let app = App { config, mirror, bucket, work_dir: WORK_DIR.into() };

    let handler = Handler::new(app, Responder::new(), to_stdout);
    lambda_runtime::run(service_fn(|event: LambdaEvent<_>| handler.handle(event))).await
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
