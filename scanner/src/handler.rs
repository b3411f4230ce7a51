//! One invocation: its event's objects, a bounded number at a time, each on its own.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse};
use function_common::service_error::chain;
use futures_util::{StreamExt as _, stream};
use lambda_runtime::{Diagnostic, LambdaEvent};
use serde_json::Value;
use tokio::time::timeout_at;

use crate::error::ScanError;
use crate::event::{self, Entry, Trigger};
use crate::record::{self, Context, Record};
use crate::scan::{self, App, milliseconds};

/// Kept back from the invocation's time: to tag, to publish, and to answer.
pub const MARGIN: Duration = Duration::from_secs(3);

/// Answers invocations.
pub struct Handler {
    app: Arc<App>,
    /// Where records go, one line each.
    records: Box<dyn Fn(String) + Send + Sync>,
    cold: AtomicBool,
}

impl std::fmt::Debug for Handler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handler").field("app", &self.app).finish_non_exhaustive()
    }
}

/// The invocation failed: Lambda delivers the event again, then to the dead-letter queue.
#[derive(Debug, thiserror::Error)]
#[error("{failed} of {total} objects failed; the first: {first}")]
pub struct InvocationError {
    failed: usize,
    total: usize,
    code: &'static str,
    first: String,
}

impl From<InvocationError> for Diagnostic {
    fn from(error: InvocationError) -> Self {
        Self { error_type: error.code.to_owned(), error_message: error.to_string() }
    }
}

/// Writes a record to stdout, where Lambda's log and CloudWatch's metrics are read from.
pub fn to_stdout(line: String) {
    // A log that cannot be written must not fail a scan.
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// Why one entry failed.
struct Failure {
    code: &'static str,
    message: String,
}

impl Handler {
    /// Answers with `app`, and gives each object's record to `records`.
    pub fn new(app: App, records: impl Fn(String) + Send + Sync + 'static) -> Self {
        Self { app: Arc::new(app), records: Box::new(records), cold: AtomicBool::new(true) }
    }

    /// Handles one event. A batch from SQS is answered with the messages that failed; they alone
    /// come again.
    ///
    /// # Errors
    /// When an event that did not come from SQS has at least one object that failed. The others
    /// are done all the same.
    pub async fn handle(&self, event: LambdaEvent<Value>) -> Result<Value, InvocationError> {
        let deadline = deadline(event.context.deadline);
        let context = Context {
            namespace: self.app.config.metrics_namespace.clone(),
            function: self.app.config.function_name.clone(),
            request_id: event.context.request_id,
            cold_start: self.cold.swap(false, Ordering::Relaxed),
        };
        // Between invocations nothing runs, so a change of definitions has to end before the answer.
        let refresh = timeout_at(deadline.into(), self.app.engine.refresh());
        let (answer, _) = tokio::join!(self.answer(event.payload, deadline, &context), refresh);
        answer
    }

    async fn answer(
        &self,
        event: Value,
        deadline: Instant,
        context: &Context,
    ) -> Result<Value, InvocationError> {
        match event::parse(event) {
            Trigger::Queue(messages) => {
                let mut response = SqsBatchResponse::default();
                let entries = messages.into_iter().flat_map(|message| {
                    let origin = (message.id, message.receive_count);
                    message.entries.into_iter().map(move |entry| (origin.clone(), entry))
                });
                let count = |origin: &(String, Option<u32>)| origin.1;
                let results = self.all(entries.collect(), count, deadline, context).await;
                for ((id, _), failure) in results {
                    let known =
                        response.batch_item_failures.iter().any(|f| f.item_identifier == id);
                    if failure.is_some() && !known {
                        let mut failed = BatchItemFailure::default();
                        failed.item_identifier = id;
                        response.batch_item_failures.push(failed);
                    }
                }
                Ok(serde_json::to_value(response).expect("a batch response has string keys only"))
            }
            Trigger::Direct(entries) => {
                let entries = entries.into_iter().map(|entry| ((), entry)).collect();
                let results = self.all(entries, |()| None, deadline, context).await;
                let total = results.len();
                let failures: Vec<_> =
                    results.into_iter().filter_map(|(_, failure)| failure).collect();
                let failed = failures.len();
                match failures.into_iter().next() {
                    None => Ok(Value::Null),
                    Some(Failure { code, message }) => {
                        Err(InvocationError { failed, total, code, first: message })
                    }
                }
            }
        }
    }

    /// All entries, as many at a time as clamd takes; each with its origin, of which `count` says how
    /// often it was delivered, if it can know.
    async fn all<T>(
        &self,
        entries: Vec<(T, Entry)>,
        count: impl Fn(&T) -> Option<u32>,
        deadline: Instant,
        context: &Context,
    ) -> Vec<(T, Option<Failure>)> {
        let at_a_time = self.app.engine.scans() as usize;
        stream::iter(entries)
            .map(|(origin, entry)| {
                let one = self.one(entry, count(&origin), deadline, context);
                async move { (origin, one.await) }
            })
            .buffer_unordered(at_a_time)
            .collect()
            .await
    }

    /// One entry, from its object to its record. A panic is this entry's failure only.
    async fn one(
        &self,
        entry: Entry,
        receive_count: Option<u32>,
        deadline: Instant,
        context: &Context,
    ) -> Option<Failure> {
        let started = Instant::now();
        let last_try =
            receive_count.is_some_and(|count| count >= self.app.config.max_receive_count);
        let mut record = match entry {
            Err(error) => {
                let mut record = Record::unread();
                record.fail(error.code(), chain(&error), false);
                record
            }
            Ok(object) => {
                let app = Arc::clone(&self.app);
                let named = Record::new(&object);
                let scan = tokio::spawn(async move {
                    let mut record = Record::new(&object);
                    let result =
                        scan::process(&app, &object, deadline, last_try, &mut record).await;
                    (record, result)
                });
                let (mut record, result) = match scan.await {
                    Ok(done) => done,
                    Err(panic) => (named, Err(ScanError::Panic(panic.to_string()))),
                };
                if let Err(error) = result {
                    let message =
                        format!("s3://{}/{}: {}", record.bucket, record.key, chain(&error));
                    record.fail(error.code(), message, error.retry());
                }
                record
            }
        };
        record.receive_count = receive_count;
        record.total_ms = milliseconds(started.elapsed());
        (self.records)(record::line(&record, context, SystemTime::now()));
        let code = record.error?;
        Some(Failure { code, message: record.error_message.unwrap_or_default() })
    }
}

/// When work on objects has to end. `epoch_ms` is what Lambda gives: milliseconds since 1970.
fn deadline(epoch_ms: u64) -> Instant {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let left = Duration::from_millis(epoch_ms).saturating_sub(now);
    Instant::now() + left.saturating_sub(MARGIN)
}
