//! Merges our notification into a bucket's configuration and takes it out; the others stay what
//! they are. Pure.

use aws_sdk_s3::types::{
    Event, EventBridgeConfiguration, LambdaFunctionConfiguration, NotificationConfiguration,
    NotificationConfigurationFilter, QueueConfiguration, TopicConfiguration,
};

/// Where S3 sends what is uploaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// The ARN of a queue.
    Queue(String),
    /// The ARN of a function.
    Function(String),
    /// EventBridge, beside whatever other destinations there are.
    EventBridge,
}

/// How a configuration of ours is known: by both, as a user may have chosen the same id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Own {
    /// Its id.
    pub id: String,
    /// Where it sends to. Empty where only EventBridge was used.
    pub target: String,
}

/// A configuration of somebody else that is in the way of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// It is about uploads, too.
    #[error(
        "its notification {foreign} is for uploads as well ({events}), and S3 sends no event to \
         two destinations; deploy with Trigger=eventbridge, which goes beside it, or let the other \
         one listen to an SNS topic that both get (fan-out), or remove it"
    )]
    Overlap {
        /// Id and destination.
        foreign: String,
        /// Its events.
        events: String,
    },
    /// It has our id.
    #[error(
        "its notification {foreign} has the id that ours would get, but is not of this stack; \
         remove or rename it"
    )]
    Id {
        /// Id and destination.
        foreign: String,
    },
}

/// One configuration, whatever its destination.
struct Entry<'a> {
    id: Option<&'a str>,
    target: &'a str,
    events: &'a [Event],
}

impl Entry<'_> {
    fn is(&self, own: &[Own]) -> bool {
        own.iter().any(|own| self.id == Some(own.id.as_str()) && self.target == own.target)
    }

    fn name(&self) -> String {
        format!("`{}` to {}", self.id.unwrap_or("(no id)"), self.target)
    }
}

impl<'a> From<&'a QueueConfiguration> for Entry<'a> {
    fn from(entry: &'a QueueConfiguration) -> Self {
        Self { id: entry.id(), target: entry.queue_arn(), events: entry.events() }
    }
}

impl<'a> From<&'a TopicConfiguration> for Entry<'a> {
    fn from(entry: &'a TopicConfiguration) -> Self {
        Self { id: entry.id(), target: entry.topic_arn(), events: entry.events() }
    }
}

impl<'a> From<&'a LambdaFunctionConfiguration> for Entry<'a> {
    fn from(entry: &'a LambdaFunctionConfiguration) -> Self {
        Self { id: entry.id(), target: entry.lambda_function_arn(), events: entry.events() }
    }
}

/// `current` without what is ours. EventBridge stays on: S3 does not remember who switched it on,
/// and somebody else may have rules on it by now.
#[must_use]
pub fn without(current: &NotificationConfiguration, own: &[Own]) -> NotificationConfiguration {
    let mut config = current.clone();
    let foreign = |entry: Entry<'_>| !entry.is(own);
    if let Some(list) = &mut config.queue_configurations {
        list.retain(|entry| foreign(entry.into()));
    }
    if let Some(list) = &mut config.topic_configurations {
        list.retain(|entry| foreign(entry.into()));
    }
    if let Some(list) = &mut config.lambda_function_configurations {
        list.retain(|entry| foreign(entry.into()));
    }
    config
}

/// `current` with a configuration named `id` that sends all uploads to `destination`, in the place
/// of what was ours.
///
/// # Errors
/// Somebody else's configuration is in the way. As ours has no filter, every configuration for
/// uploads overlaps with it, whatever its prefix and suffix (S3 user guide, "Configuring event
/// notifications using object key name filtering").
pub fn with(
    current: &NotificationConfiguration,
    own: &[Own],
    id: &str,
    destination: &Destination,
) -> Result<NotificationConfiguration, Conflict> {
    let mut config = without(current, own);
    if *destination == Destination::EventBridge {
        config
            .event_bridge_configuration
            .get_or_insert_with(|| EventBridgeConfiguration::builder().build());
        return Ok(config);
    }
    for entry in entries(&config) {
        let uploads: Vec<&str> = entry
            .events
            .iter()
            .map(Event::as_str)
            .filter(|event| event.starts_with("s3:ObjectCreated:"))
            .collect();
        if !uploads.is_empty() {
            return Err(Conflict::Overlap { foreign: entry.name(), events: uploads.join(", ") });
        }
        if entry.id == Some(id) {
            return Err(Conflict::Id { foreign: entry.name() });
        }
    }
    match destination {
        Destination::Queue(arn) => {
            let ours = QueueConfiguration::builder().id(id).queue_arn(arn);
            let ours = ours.events(Event::S3ObjectCreated).build();
            let list = config.queue_configurations.get_or_insert_default();
            list.push(ours.expect("all that is required was given"));
        }
        Destination::Function(arn) => {
            let ours = LambdaFunctionConfiguration::builder().id(id).lambda_function_arn(arn);
            let ours = ours.events(Event::S3ObjectCreated).build();
            let list = config.lambda_function_configurations.get_or_insert_default();
            list.push(ours.expect("all that is required was given"));
        }
        Destination::EventBridge => {}
    }
    Ok(config)
}

fn entries(config: &NotificationConfiguration) -> Vec<Entry<'_>> {
    let queues = config.queue_configurations().iter().map(Entry::from);
    let topics = config.topic_configurations().iter().map(Entry::from);
    let functions = config.lambda_function_configurations().iter().map(Entry::from);
    queues.chain(topics).chain(functions).collect()
}

/// Whether two configurations mean the same. S3 may list destinations, events and rules in another
/// order, and answers `Prefix` where `prefix` was sent.
#[must_use]
pub fn same(one: &NotificationConfiguration, other: &NotificationConfiguration) -> bool {
    one.event_bridge_configuration == other.event_bridge_configuration
        && comparable(one) == comparable(other)
}

type Comparable = (&'static str, Option<String>, String, Vec<String>, Vec<(String, String)>);

fn comparable(config: &NotificationConfiguration) -> Vec<Comparable> {
    let one = |kind, entry: Entry<'_>, filter: Option<&NotificationConfigurationFilter>| {
        let mut events: Vec<_> =
            entry.events.iter().map(|event| event.as_str().to_owned()).collect();
        events.sort();
        let rules = filter.and_then(|filter| filter.key()).map(|key| key.filter_rules());
        let mut rules: Vec<_> = rules
            .unwrap_or_default()
            .iter()
            .map(|rule| {
                let name = rule.name().map(|name| name.as_str().to_lowercase());
                (name.unwrap_or_default(), rule.value().unwrap_or_default().to_owned())
            })
            .collect();
        rules.sort();
        (kind, entry.id.map(str::to_owned), entry.target.to_owned(), events, rules)
    };
    let queues = config.queue_configurations().iter();
    let topics = config.topic_configurations().iter();
    let functions = config.lambda_function_configurations().iter();
    let mut all: Vec<_> = queues
        .map(|entry| one("queue", entry.into(), entry.filter()))
        .chain(topics.map(|entry| one("topic", entry.into(), entry.filter())))
        .chain(functions.map(|entry| one("function", entry.into(), entry.filter())))
        .collect();
    all.sort();
    all
}

#[cfg(test)]
#[path = "notification_tests.rs"]
mod tests;
