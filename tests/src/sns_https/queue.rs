//! From moto's topic to a subscription: a queue of its own takes what is published.

use std::sync::Arc;

use anyhow::Context as _;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::QueueAttributeName;
use tokio::task::JoinSet;

use super::delivery::Shared;
use super::documents::{self, Published};
use crate::moto::Moto;

/// The longest wait of one request for messages, in seconds.
const LONG_POLL: i32 = 1;

/// Makes a queue that gets what is published to the topic, not raw, and gives its URL.
pub(super) async fn subscribed(moto: &Moto, topic_arn: &str) -> anyhow::Result<String> {
    let sqs = moto.sqs();
    let name = format!("https-{}", documents::uuid());
    let made = sqs.create_queue().queue_name(name).send().await.context("making a queue")?;
    let url = made.queue_url.context("a queue without a URL")?;
    let request = sqs.get_queue_attributes().queue_url(&url);
    let asked = request.attribute_names(QueueAttributeName::QueueArn).send().await;
    let attributes = asked.context("asking a queue for its ARN")?.attributes.unwrap_or_default();
    let arn = attributes.get(&QueueAttributeName::QueueArn).context("a queue without an ARN")?;
    let request = moto.sns().subscribe().topic_arn(topic_arn).protocol("sqs").endpoint(arn);
    request.send().await.context("subscribing a queue to the topic")?;
    Ok(url)
}

/// Takes every message and delivers it; those that wait for a retry hold no other one back.
pub(super) async fn deliver_all(
    sqs: &Client,
    queue_url: &str,
    subscription: &Arc<Shared>,
) -> anyhow::Result<()> {
    // Dropped with this task, and every delivery with it.
    let mut deliveries = JoinSet::new();
    loop {
        let request = sqs.receive_message().queue_url(queue_url);
        let request = request.max_number_of_messages(10).wait_time_seconds(LONG_POLL);
        let received = request.send().await.context("receiving what was published")?;
        for message in received.messages.unwrap_or_default() {
            let published = Published::of_queue(message.body.as_deref().unwrap_or_default())?;
            let request = sqs.delete_message().queue_url(queue_url);
            let request = request.set_receipt_handle(message.receipt_handle);
            request.send().await.context("deleting what was published")?;
            let subscription = Arc::clone(subscription);
            deliveries.spawn(async move { subscription.deliver(&published).await });
        }
        while let Some(delivered) = deliveries.try_join_next() {
            delivered.context("a delivery panicked")??;
        }
    }
}
