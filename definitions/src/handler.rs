//! One invocation: a run by the schedule, or CloudFormation's custom resource.

use std::panic::AssertUnwindSafe;
use std::time::Instant;

use function_common::custom_resource::{self, Action, Attributes, RespondError, Responder};
use function_common::service_error::chain;
use futures_util::FutureExt as _;
use jiff::Timestamp;
use lambda_runtime::{Diagnostic, LambdaEvent};
use serde_json::Value;

use crate::error::UpdateError;
use crate::record::{self, Context, Record};
use crate::update::App;

/// Handles invocations.
#[derive(Debug)]
pub struct Handler<W> {
    app: App,
    responder: Responder,
    /// Where records go, one line each.
    write: W,
}

/// Why an invocation failed.
#[derive(Debug, thiserror::Error)]
pub enum HandlerError {
    /// The run failed; its record has been written.
    #[error(transparent)]
    Update(#[from] UpdateError),
    /// CloudFormation was not told.
    #[error(transparent)]
    Respond(#[from] RespondError),
}

impl From<HandlerError> for Diagnostic {
    fn from(error: HandlerError) -> Self {
        let code = match &error {
            HandlerError::Update(error) => error.code(),
            HandlerError::Respond(error) => error.code(),
        };
        Self { error_type: code.to_owned(), error_message: chain(&error) }
    }
}

impl<W: Fn(&str)> Handler<W> {
    /// A handler that gives records to `write`.
    pub fn new(app: App, responder: Responder, write: W) -> Self {
        Self { app, responder, write }
    }

    /// Handles one invocation. Any event that is no request of CloudFormation is a run: schedules
    /// can be given any input.
    ///
    /// # Errors
    /// When the run failed, so that Lambda counts an error, or when CloudFormation was not told.
    pub async fn handle(&self, event: LambdaEvent<Value>) -> Result<Value, HandlerError> {
        let request_id = event.context.request_id.as_str();
        if custom_resource::is_request(&event.payload) {
            let work = |request: custom_resource::Request| async move {
                match request.action {
                    Action::Create => self.run(request_id).await?,
                    // Nothing of it depends on the properties.
                    Action::Update { .. } => {}
                    Action::Delete => self.app.empty().await?,
                }
                Ok::<_, UpdateError>(Attributes::new())
            };
            let deadline = event.context.deadline();
            self.responder.respond(event.payload, deadline, work).boxed_local().await?;
            return Ok(Value::Null);
        }
        self.run(request_id).await?;
        Ok(Value::Null)
    }

    /// A run with its record, which is written however the run ends.
    async fn run(&self, request_id: &str) -> Result<(), UpdateError> {
        let started = Instant::now();
        let mut record = Record::default();
        // Boxed, here and above: else types are nested deeper than the compiler goes.
        let update = self.app.update(&mut record).boxed_local();
        let update = AssertUnwindSafe(update).catch_unwind().await;
        let result = update.unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
            Err(UpdateError::Panic(text.unwrap_or_else(|| "without a text".into())))
        });
        if let Err(error) = &result {
            // What was published is published, whatever failed besides.
            if record.outcome != "published" {
                record.outcome = error.code();
            }
            record.error = Some(error.code());
            record.error_message = Some(chain(error));
            record.retry = Some(error.retry());
        }
        record.phase("total", started);
        let config = &self.app.config;
        let context = Context {
            namespace: &config.metrics_namespace,
            function: &config.function_name,
            request_id,
        };
        (self.write)(&record::line(&record, context, Timestamp::now()));
        result
    }
}

/// Writes a record to stdout, where Lambda collects the log.
#[expect(clippy::print_stdout, reason = "stdout is where records go")]
pub fn to_stdout(line: &str) {
    println!("{line}");
}
