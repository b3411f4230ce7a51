//! Lambda's event source mapping for SQS: takes messages from a queue, invokes the function with
//! them, deletes what it handled and leaves the rest to the visibility timeout.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{Message, MessageSystemAttributeName};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::notifications::Notifications;
use crate::sandbox::{Invocation, Sandbox};

/// The longest wait of one request for messages, in seconds.
const LONG_POLL: i32 = 1;

/// A queue, by both of its names.
#[derive(Clone, Debug)]
pub struct Queue {
    /// Where requests go.
    pub url: String,
    /// What policies, notifications and events name.
    pub arn: String,
}

/// One batch and what became of it.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The ids of its messages.
    pub messages: Vec<String>,
    /// Those of them that were handled, and so deleted from the queue.
    pub handled: Vec<String>,
    /// How the invocation ended.
    pub outcome: Invocation,
    /// Whether the function had to be started for it.
    pub cold: bool,
    /// How long the invocation took, a cold start included.
    pub took: Duration,
}

/// A running mapping. It ends when it is stopped or dropped.
#[derive(Debug)]
pub struct Bridge {
    stop: watch::Sender<bool>,
    deliveries: watch::Receiver<Vec<Delivery>>,
    failure: Arc<Mutex<Option<anyhow::Error>>>,
    task: JoinHandle<()>,
}

impl Bridge {
    /// Starts to deliver what is in `queue` to `sandbox`, up to `batch_size` (1 to 10) messages
    /// at a time and one batch after the other.
    #[must_use]
    pub fn start(
        sqs: Client,
        queue: Queue,
        batch_size: i32,
        sandbox: Arc<Sandbox>,
        notifications: Arc<tokio::sync::Mutex<Notifications>>,
    ) -> Self {
        let (stop, stopped) = watch::channel(false);
        let (delivered, deliveries) = watch::channel(Vec::new());
        let failure = Arc::new(Mutex::new(None));
        let mapping = Mapping { sqs, queue, batch_size, sandbox, notifications, delivered };
        let task = tokio::spawn({
            let failure = Arc::clone(&failure);
            async move {
                if let Err(error) = mapping.run(&stopped).await {
                    *failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                }
            }
        });
        Self { stop, deliveries, failure, task }
    }

    /// Every batch so far, oldest first.
    #[must_use]
    pub fn deliveries(&self) -> Vec<Delivery> {
        self.deliveries.borrow().clone()
    }

    /// The first batch for which `predicate` holds, also one from before this call.
    ///
    /// # Errors
    ///
    /// There is none within `deadline`, or the mapping itself failed.
    pub async fn wait_for(
        &self,
        mut predicate: impl FnMut(&Delivery) -> bool,
        deadline: Duration,
    ) -> anyhow::Result<Delivery> {
        let mut deliveries = self.deliveries.clone();
        let waiting = deliveries.wait_for(|all| all.iter().any(&mut predicate));
        let Ok(found) = tokio::time::timeout(deadline, waiting).await else {
            let batches = self.deliveries.borrow().len();
            anyhow::bail!("no such delivery within {deadline:?}; there were {batches} in all");
        };
        let all = found.map(|all| all.clone()).map_err(|_| {
            let why = self.failure().unwrap_or_else(|| "it was stopped".to_owned());
            anyhow::anyhow!("the bridge has ended: {why}")
        })?;
        all.into_iter().find(|delivery| predicate(delivery)).context("the delivery just found")
    }

    /// Ends after the batch in hand, or the wait for one. What is in the queue stays there.
    ///
    /// # Errors
    ///
    /// The mapping had failed before.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        self.stop.send_replace(true);
        (&mut self.task).await.context("ending the bridge")?;
        match self.failure.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Why the mapping itself failed, if it did.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.as_ref().map(|error| format!("{error:#}"))
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Mapping {
    sqs: Client,
    queue: Queue,
    batch_size: i32,
    sandbox: Arc<Sandbox>,
    notifications: Arc<tokio::sync::Mutex<Notifications>>,
    delivered: watch::Sender<Vec<Delivery>>,
}

impl Mapping {
    async fn run(&self, stopped: &watch::Receiver<bool>) -> anyhow::Result<()> {
        while !*stopped.borrow() {
            // Never cut short: the server would hand messages to nobody, and hide them meanwhile.
            let batch = self.receive().await?;
            if !batch.is_empty() {
                self.deliver(batch).await?;
            }
        }
        Ok(())
    }

    async fn receive(&self) -> anyhow::Result<Vec<Message>> {
        let request = self.sqs.receive_message().queue_url(&self.queue.url);
        let received = request
            .max_number_of_messages(self.batch_size)
            .wait_time_seconds(LONG_POLL)
            .message_system_attribute_names(MessageSystemAttributeName::All)
            .send()
            .await
            .with_context(|| format!("receiving from {}", self.queue.url))?;
        let mut messages = received.messages.unwrap_or_default();
        let mut notifications = self.notifications.lock().await;
        for message in &mut messages {
            let id = message.message_id.as_deref().unwrap_or_default();
            let body = message.body.as_deref().unwrap_or_default();
            message.body = Some(notifications.complete(id, body).await?);
        }
        Ok(messages)
    }

    async fn deliver(&self, batch: Vec<Message>) -> anyhow::Result<()> {
        let event = event(&batch, &self.queue.arn);
        let (start, starts) = (Instant::now(), self.sandbox.cold_starts());
        let outcome = self.sandbox.invoke(&event).await?;
        let took = start.elapsed();
        let cold = self.sandbox.cold_starts() > starts;
        let messages: Vec<_> =
            batch.iter().filter_map(|message| message.message_id.clone()).collect();
        let handled = handled(&messages, &outcome);
        let done =
            |message: &&Message| message.message_id.as_ref().is_some_and(|id| handled.contains(id));
        for message in batch.iter().filter(done) {
            let request = self.sqs.delete_message().queue_url(&self.queue.url);
            let request = request.set_receipt_handle(message.receipt_handle.clone());
            request.send().await.context("deleting a handled message")?;
        }
        let delivery = Delivery { messages, handled, outcome, cold, took };
        self.delivered.send_modify(|all| all.push(delivery));
        Ok(())
    }
}

/// The event that Lambda makes of a batch.
fn event(batch: &[Message], queue_arn: &str) -> Value {
    let region = queue_arn.split(':').nth(3);
    let record = |message: &Message| {
        let attributes = message.attributes.iter().flatten();
        let attributes = attributes.map(|(name, value)| (name.as_str().to_owned(), json!(value)));
        json!({
            "messageId": message.message_id,
            "receiptHandle": message.receipt_handle,
            "body": message.body,
            "attributes": attributes.collect::<serde_json::Map<_, _>>(),
            "messageAttributes": {},
            "md5OfBody": message.md5_of_body,
            "eventSource": "aws:sqs",
            "eventSourceARN": queue_arn,
            "awsRegion": region,
        })
    };
    json!({"Records": batch.iter().map(record).collect::<Vec<_>>()})
}

/// Which messages of a batch were handled, by Lambda's rules for `ReportBatchItemFailures`: an
/// answer without a list of failures means all, and one that names no message of the batch, or
/// cannot be read, means none.
fn handled(messages: &[String], outcome: &Invocation) -> Vec<String> {
    let Invocation::Response(response) = outcome else { return Vec::new() };
    let failures = match &response["batchItemFailures"] {
        Value::Null => return messages.to_vec(),
        Value::Array(failures) => failures,
        _ => return Vec::new(),
    };
    let ids: Option<Vec<_>> =
        failures.iter().map(|failure| failure["itemIdentifier"].as_str()).collect();
    match ids {
        Some(ids) if ids.iter().all(|id| messages.iter().any(|message| message == id)) => {
            messages.iter().filter(|id| !ids.contains(&id.as_str())).cloned().collect()
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deletes_by_the_rules_of_partial_batch_responses() {
        let batch = ["a", "b"].map(str::to_owned);
        let after = |response: Value| handled(&batch, &Invocation::Response(response)).join(" ");
        let failed = |ids: Value| after(json!({"batchItemFailures": ids}));
        assert_eq!(after(Value::Null), "a b");
        assert_eq!(after(json!({})), "a b");
        assert_eq!(failed(Value::Null), "a b");
        assert_eq!(failed(json!([])), "a b");
        assert_eq!(failed(json!([{"itemIdentifier": "a"}])), "b");
        assert_eq!(failed(json!([{"itemIdentifier": ""}])), "");
        assert_eq!(failed(json!([{"itemIdentifier": null}])), "");
        assert_eq!(failed(json!([{"item": "a"}])), "");
        assert_eq!(failed(json!("a")), "");
        let error =
            Invocation::FunctionError { error_type: "Boom".to_owned(), message: String::new() };
        assert!(handled(&batch, &error).is_empty());
    }

    #[test]
    fn makes_the_event_that_lambda_makes() {
        let message = Message::builder()
            .message_id("id")
            .receipt_handle("handle")
            .body("{}")
            .md5_of_body("99914b932bd37a50b983c5e7c90ae93b")
            .attributes(MessageSystemAttributeName::ApproximateReceiveCount, "1")
            .build();
        let arn = "arn:aws:sqs:us-east-1:123456789012:scan";
        let expected = json!({"Records": [{
            "messageId": "id",
            "receiptHandle": "handle",
            "body": "{}",
            "attributes": {"ApproximateReceiveCount": "1"},
            "messageAttributes": {},
            "md5OfBody": "99914b932bd37a50b983c5e7c90ae93b",
            "eventSource": "aws:sqs",
            "eventSourceARN": arn,
            "awsRegion": "us-east-1",
        }]});
        assert_eq!(event(&[message], arn), expected);
    }
}
