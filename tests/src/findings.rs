//! A subscriber to the findings topic that keeps what it gets.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use aws_sdk_sqs::Client;
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The longest wait of one request for messages, in seconds.
const LONG_POLL: i32 = 1;

/// A finding as a subscriber gets it.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The message: text, or JSON where the function is told to write JSON.
    pub message: String,
    /// The subject.
    pub subject: String,
    /// The message attributes, all of which are strings.
    pub attributes: BTreeMap<String, String>,
    /// When it came.
    pub at: Instant,
}

impl Finding {
    /// The key of the object that it is about.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        self.attribute("key")
    }

    /// The value of a message attribute.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.get(name).map(String::as_str)
    }
}

/// A running subscriber. It ends when it is dropped.
#[derive(Debug)]
pub struct Findings {
    received: watch::Receiver<Vec<Finding>>,
    given: Mutex<HashSet<usize>>,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Findings {
    /// Starts to take messages from a queue that is subscribed to the topic, not raw.
    #[must_use]
    pub fn collect(sqs: Client, queue_url: String) -> Self {
        let (send, received) = watch::channel(Vec::new());
        let task = tokio::spawn(async move { take_all(&sqs, &queue_url, &send).await });
        Self { received, given: Mutex::default(), task }
    }

    /// Everything so far, oldest first.
    #[must_use]
    pub fn all(&self) -> Vec<Finding> {
        self.received.borrow().clone()
    }

    /// The first finding for which `predicate` holds and that this has not given before, also one
    /// that came before this call.
    ///
    /// # Errors
    ///
    /// There is none within `deadline`.
    pub async fn next(
        &self,
        predicate: impl Fn(&Finding) -> bool,
        deadline: Duration,
    ) -> anyhow::Result<Finding> {
        let mut received = self.received.clone();
        let first = async {
            loop {
                let all = received.borrow_and_update().clone();
                if let Some(finding) = self.give(all, &predicate) {
                    return Ok(finding);
                }
                received.changed().await.context("the subscriber has ended")?;
            }
        };
        tokio::time::timeout(deadline, first).await.unwrap_or_else(|_| {
            let count = self.received.borrow().len();
            anyhow::bail!("no such finding within {deadline:?}; {count} came in all")
        })
    }
}

impl Findings {
    fn give(&self, all: Vec<Finding>, wanted: impl Fn(&Finding) -> bool) -> Option<Finding> {
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = |(index, finding): &(usize, Finding)| !given.contains(index) && wanted(finding);
        let (index, finding) = all.into_iter().enumerate().find(fresh)?;
        given.insert(index);
        Some(finding)
    }
}

impl Drop for Findings {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn take_all(
    sqs: &Client,
    queue_url: &str,
    send: &watch::Sender<Vec<Finding>>,
) -> anyhow::Result<()> {
    loop {
        let request = sqs.receive_message().queue_url(queue_url);
        let request = request.max_number_of_messages(10).wait_time_seconds(LONG_POLL);
        let received = request.send().await.context("receiving findings")?;
        for message in received.messages.unwrap_or_default() {
            let finding = read(message.body.as_deref().unwrap_or_default())?;
            send.send_modify(|all| all.push(finding));
            let request = sqs.delete_message().queue_url(queue_url);
            let request = request.set_receipt_handle(message.receipt_handle);
            request.send().await.context("deleting a finding")?;
        }
    }
}

/// Reads the wrapper that SNS puts around a message.
fn read(body: &str) -> anyhow::Result<Finding> {
    let value: Value = serde_json::from_str(body).context("reading SNS's wrapper")?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let attributes = value["MessageAttributes"].as_object().into_iter().flatten();
    Ok(Finding {
        message: text(&value["Message"]),
        subject: text(&value["Subject"]),
        attributes: attributes.map(|(name, of)| (name.clone(), text(&of["Value"]))).collect(),
        at: Instant::now(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_wrapper() {
        let body = r#"{"Type":"Notification","Subject":"s3-virusscan s3://b","Message":"text",
            "MessageAttributes":{"key":{"Type":"String","Value":"a b"}}}"#;
        let finding = read(body).expect("readable");
        assert_eq!(finding.key(), Some("a b"));
        assert_eq!((&*finding.message, &*finding.subject), ("text", "s3-virusscan s3://b"));
        assert_eq!(finding.attribute("status"), None);
        assert!(read("not JSON").is_err());
    }
}
