//! Rules of EventBridge on moto, each with a queue behind it.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use aws_sdk_eventbridge::types::Target;
use aws_sdk_sqs::types::QueueAttributeName;
use serde_json::Value;

use crate::moto::Moto;

/// The queue that a rule sends its events to.
#[derive(Debug)]
pub struct RuleQueue {
    sqs: aws_sdk_sqs::Client,
    url: String,
}

impl RuleQueue {
    /// Makes a rule with this name and pattern on an event bus, and a queue of the same name.
    ///
    /// # Errors
    ///
    /// The event bus does not exist, or the pattern is none.
    pub async fn make(moto: &Moto, bus: &str, name: &str, pattern: &Value) -> anyhow::Result<Self> {
        let (sqs, events) = (moto.sqs(), moto.event_bridge());
        let making = || format!("making the rule {name} with {pattern}");
        let made = sqs.create_queue().queue_name(name).send().await.with_context(making)?;
        let url = made.queue_url.context("a queue without a URL")?;
        let asked = sqs.get_queue_attributes().queue_url(&url);
        let asked = asked.attribute_names(QueueAttributeName::QueueArn).send().await;
        let attributes = asked.with_context(making)?.attributes.unwrap_or_default();
        let arn = attributes.get(&QueueAttributeName::QueueArn).context("no ARN")?;
        let rule = events.put_rule().name(name).event_bus_name(bus);
        rule.event_pattern(pattern.to_string()).send().await.with_context(making)?;
        let target = Target::builder().id(name).arn(arn).build().with_context(making)?;
        let put = events.put_targets().rule(name).event_bus_name(bus).targets(target);
        let put = put.send().await.with_context(making)?;
        ensure!(put.failed_entry_count() == 0, "{}: {put:?}", making());
        Ok(Self { sqs, url })
    }

    /// The next event, each once.
    ///
    /// # Errors
    ///
    /// None comes within `deadline`.
    pub async fn next(&self, deadline: Duration) -> anyhow::Result<Value> {
        let next = async {
            loop {
                if let Some(event) = self.take(1).await? {
                    return Ok(event);
                }
            }
        };
        let waited = tokio::time::timeout(deadline, next).await;
        waited.with_context(|| format!("no event within {deadline:?}"))?
    }

    /// All that has come and was not given before, oldest first. moto has delivered an event when
    /// it has answered whoever put it.
    ///
    /// # Errors
    ///
    /// The queue does not give them.
    pub async fn rest(&self) -> anyhow::Result<Vec<Value>> {
        let mut events = Vec::new();
        while let Some(event) = self.take(0).await? {
            events.push(event);
        }
        Ok(events)
    }

    async fn take(&self, wait_seconds: i32) -> anyhow::Result<Option<Value>> {
        let request = self.sqs.receive_message().queue_url(&self.url);
        let request = request.max_number_of_messages(1).wait_time_seconds(wait_seconds);
        let received = request.send().await.context("receiving events")?;
        let Some(message) = received.messages.unwrap_or_default().pop() else { return Ok(None) };
        let request = self.sqs.delete_message().queue_url(&self.url);
        let request = request.set_receipt_handle(message.receipt_handle);
        request.send().await.context("deleting an event")?;
        let body = message.body.context("a message without a body")?;
        serde_json::from_str(&body).context("an event that is no JSON").map(Some)
    }
}
