//! EventBridge in memory, behind the real SDK client and without a socket: its event buses keep
//! what was put on them, it refuses what EventBridge refuses, and fails on demand.
//!
//! The rules are EventBridge's own (API reference, PutEvents and DescribeEventBus; user guide,
//! "Handling failures with PutEvents"), but for one that is known from reports only: an event for an
//! event bus that does not exist is taken and dropped (<https://github.com/aws/aws-cli/issues/9186>).

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use aws_sdk_eventbridge::config::retry::{RetryConfig, RetryPartition};
use aws_sdk_eventbridge::config::{BehaviorVersion, Credentials, Region};
use aws_smithy_http_client::test_util::infallible_client_fn;
use jiff::Timestamp;
use serde_json::{Value, json};

/// The event bus that every account has.
pub const DEFAULT: &str = "default";

const ACCOUNT: &str = "123456789012";
const REGION: &str = "us-east-1";

/// What happens to a call of PutEvents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// It ends in HTTP 500.
    Fails,
    /// It is refused because there were too many.
    Throttled,
    /// It is answered with HTTP 200, and each of its entries is refused with this error code.
    Refused(&'static str),
}

/// An EventBridge of its own. Clones are handles to the same one.
#[derive(Debug, Clone)]
pub struct FakeEventBridge {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    buses: BTreeSet<String>,
    events: Vec<(String, Value)>,
    troubles: VecDeque<Trouble>,
    describing: Option<&'static str>,
    calls: usize,
}

impl Default for FakeEventBridge {
    fn default() -> Self {
        let buses = BTreeSet::from([DEFAULT.to_owned()]);
        Self { state: Arc::new(Mutex::new(State { buses, ..State::default() })) }
    }
}

impl FakeEventBridge {
    /// An EventBridge with the default event bus only.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes an event bus.
    pub fn make(&self, bus: &str) {
        self.state().buses.insert(bus.to_owned());
    }

    /// The ARN of an event bus, whether or not it exists.
    #[must_use]
    pub fn arn(bus: &str) -> String {
        format!("arn:aws:events:{REGION}:{ACCOUNT}:event-bus/{bus}")
    }

    /// What was put on an event bus so far, in order: events as a rule's target gets them.
    #[must_use]
    pub fn events(&self, bus: &str) -> Vec<Value> {
        let on_it = |(on, event): &(String, Value)| (on == bus).then(|| event.clone());
        self.state().events.iter().filter_map(on_it).collect()
    }

    /// How often PutEvents was called, also by the SDK's retries.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.state().calls
    }

    /// What happens to the next calls of PutEvents, one each. The SDK makes up to three of one.
    pub fn trouble(&self, next: &[Trouble]) {
        self.state().troubles.extend(next);
    }

    /// From now on DescribeEventBus is refused with this error code, or answered again.
    pub fn refuse_to_describe(&self, code: Option<&'static str>) {
        self.state().describing = code;
    }

    /// A client of this EventBridge: the real one of the SDK, with hardly a pause between its
    /// retries.
    #[must_use]
    pub fn client(&self) -> aws_sdk_eventbridge::Client {
        let event_bridge = self.clone();
        let http = infallible_client_fn(move |request: http::Request<_>| {
            let target = request.headers().get("x-amz-target").and_then(|name| name.to_str().ok());
            let operation = target.and_then(|name| name.strip_prefix("AWSEvents."));
            let body: &aws_sdk_s3::primitives::SdkBody = request.body();
            let body = serde_json::from_slice(body.bytes().unwrap_or_default());
            let (status, answer) =
                event_bridge.answer(operation.unwrap_or_default(), &body.unwrap_or_default());
            let answer = answer.to_string();
            http::Response::builder().status(status).body(answer).expect("a valid response")
        });
        let retry = RetryConfig::standard()
            .with_initial_backoff(Duration::from_millis(1))
            .with_max_backoff(Duration::from_millis(2));
        let config = aws_sdk_eventbridge::Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .credentials_provider(Credentials::new("key", "secret", None, None, "fake"))
            .region(Region::from_static(REGION))
            .retry_config(retry)
            .retry_partition(RetryPartition::new("fake-event-bridge"))
            .http_client(http)
            .build();
        aws_sdk_eventbridge::Client::from_conf(config)
    }

    fn answer(&self, operation: &str, request: &Value) -> (u16, Value) {
        match operation {
            "DescribeEventBus" => {
                let (name, state) = (name(&request["Name"]), self.state());
                if let Some(code) = state.describing {
                    (400, error(code, "as the test asked for"))
                } else if state.buses.contains(name) {
                    (200, json!({"Name": name, "Arn": Self::arn(name)}))
                } else {
                    let why = format!("Event bus {name} does not exist.");
                    (400, error("ResourceNotFoundException", &why))
                }
            }
            "PutEvents" => {
                let mut state = self.state();
                state.calls += 1;
                let trouble = state.troubles.pop_front();
                match trouble {
                    Some(Trouble::Fails) => (500, error("InternalException", "asked for")),
                    Some(Trouble::Throttled) => {
                        (400, error("ThrottlingException", "Rate exceeded"))
                    }
                    Some(Trouble::Refused(_)) | None => (200, state.put(request, trouble)),
                }
            }
            other => (400, error("UnknownOperationException", other)),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds the lock")
    }
}

impl State {
    /// Each entry is taken or refused alone; the answer tells which, in their order.
    fn put(&mut self, request: &Value, trouble: Option<Trouble>) -> Value {
        let entries = request["Entries"].as_array().cloned().unwrap_or_default();
        let answers: Vec<_> = entries
            .iter()
            .map(|entry| match (trouble, self.event(entry)) {
                (Some(Trouble::Refused(code)), _) => refusal(code, "as the test asked for"),
                (_, Err((code, why))) => refusal(code, &why),
                (_, Ok(event)) => {
                    let (bus, id) = (name(&entry["EventBusName"]), event["id"].clone());
                    if self.buses.contains(bus) {
                        self.events.push((bus.to_owned(), event));
                    }
                    json!({"EventId": id})
                }
            })
            .collect();
        let failed = answers.iter().filter(|answer| answer["ErrorCode"].is_string()).count();
        json!({"FailedEntryCount": failed, "Entries": answers})
    }

    /// The event as targets get it, or error code and message.
    fn event(&self, entry: &Value) -> Result<Value, (&'static str, String)> {
        for name in ["Source", "DetailType", "Detail"] {
            if entry[name].as_str().unwrap_or_default().is_empty() {
                let why = format!("Parameter {name} is not valid. Reason: {name} is a required");
                return Err(("InvalidArgument", why + " argument."));
            }
        }
        let detail = serde_json::from_str::<Value>(entry["Detail"].as_str().unwrap_or_default());
        let detail = detail.ok().filter(Value::is_object);
        let detail = detail.ok_or(("MalformedDetail", "Detail is malformed.".to_owned()))?;
        let time = entry["Time"].as_i64().and_then(|time| Timestamp::from_second(time).ok());
        Ok(json!({
            "version": "0", "id": format!("event-{}-{}", self.calls, self.events.len()),
            "account": ACCOUNT, "region": REGION,
            "time": time.unwrap_or_else(Timestamp::now).to_string(),
            "source": entry["Source"], "detail-type": entry["DetailType"],
            "resources": entry["Resources"], "detail": detail,
        }))
    }
}

/// The name of an event bus that is given by its name, by its ARN or not at all.
fn name(bus: &Value) -> &str {
    let bus = bus.as_str().unwrap_or(DEFAULT);
    bus.split_once(":event-bus/").map_or(bus, |(_, name)| name)
}

fn refusal(code: &str, why: &str) -> Value {
    json!({"ErrorCode": code, "ErrorMessage": why})
}

fn error(code: &str, why: &str) -> Value {
    json!({"__type": code, "message": why})
}
