//! The function's life: its log, a client, then one request of CloudFormation after the other.

use std::process::ExitCode;

use aws_config::BehaviorVersion;
use buckets::{config, wiring};
use function_common::custom_resource::Responder;
use function_common::logging;
use function_common::service_error::chain;
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use serde_json::Value;

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
    let level = config::level(environment);
    logging::init(*level.as_ref().unwrap_or(&tracing::Level::INFO));
    level?;
    let aws = aws_config::load_defaults(BehaviorVersion::v2026_01_12()).await;
    let s3 = aws_sdk_s3::Client::new(&aws);
    let responder = Responder::new();
    lambda_runtime::run(service_fn(async |event: LambdaEvent<Value>| {
        let deadline = event.context.deadline();
        // On the heap: the compiler gives up on the layout of futures that are nested this deep.
        let work = |request| Box::pin(wiring::handle(&s3, request));
        responder.respond(event.payload, deadline, work).await.map_err(|error| Diagnostic {
            error_type: error.code().to_owned(),
            error_message: chain(&error),
        })
    }))
    .await
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
