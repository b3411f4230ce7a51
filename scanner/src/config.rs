//! What the environment decides. Read once, at the start; every bad value is named in one message
//! and stops the start, so that a wrong setting is never a silent default.

use std::path::PathBuf;
use std::time::Duration;

use function_common::settings::{self, LogLevel, Reader, Setting, SettingsError, setting};
use notifier_common::MessageFormat;

/// Everything that the function can be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Topic that findings go to.
    pub findings_topic_arn: String,
    /// Name or ARN of the event bus that they go to as well, if there is one.
    pub result_event_bus: Option<String>,
    /// Bucket that the updater publishes definitions to.
    pub definitions_bucket: String,
    /// How long a sandbox may go without asking whether there are new ones.
    pub definitions_max_check: Duration,
    /// Age from which on definitions are called stale.
    pub definitions_stale: Duration,
    /// Where the clamd layer lies.
    pub clamav_dir: PathBuf,
    /// Whether objects are tagged with their verdict.
    pub tag_files: bool,
    /// Key of that tag.
    pub tag_key: String,
    /// Whether `clean` is published; `infected` and `no` always are.
    pub report_clean_files: bool,
    /// Whether infected objects are deleted (on a versioned bucket: the infected version).
    pub delete_infected_files: bool,
    /// Whether what is encrypted is `infected`, and not `no`.
    pub encrypted_is_infected: bool,
    /// Whether Office documents with VBA macros are `infected`.
    pub alert_macros: bool,
    /// Deliveries of a message after which it is a dead letter; the last of them says `no` of an
    /// object whose scan does not end in time.
    pub max_receive_count: u32,
    /// Form of the message body.
    pub message_format: MessageFormat,
    /// CloudWatch namespace of the metrics.
    pub metrics_namespace: String,
    /// Name of the function, a dimension of the metrics.
    pub function_name: String,
    /// Memory of the function in MB; Lambda gives CPU in proportion.
    pub memory_mb: u32,
    /// How much is logged.
    pub log_level: LogLevel,
}

/// Every environment variable that this crate reads.
pub const SETTINGS: [Setting; 18] = [
    setting("FINDINGS_TOPIC_ARN", None),
    setting("RESULT_EVENT_BUS", Some("")),
    setting("DEFINITIONS_BUCKET", None),
    setting("DEFINITIONS_MAX_CHECK_SECONDS", Some("300")),
    setting("DEFINITIONS_STALE_HOURS", Some("72")),
    setting("CLAMAV_DIR", Some("/opt/clamav")),
    setting("TAG_FILES", Some("true")),
    setting("TAG_KEY", Some("s3-virusscan")),
    setting("REPORT_CLEAN_FILES", Some("true")),
    setting("DELETE_INFECTED_FILES", Some("false")),
    setting("ENCRYPTED_ARCHIVES", Some("no")),
    setting("ALERT_MACROS", Some("false")),
    setting("MAX_RECEIVE_COUNT", Some("3")),
    setting("MESSAGE_FORMAT", Some("widdix")),
    setting("METRICS_NAMESPACE", Some("s3-virusscan")),
    setting("AWS_LAMBDA_FUNCTION_NAME", Some("scanner")),
    setting("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", Some("1769")),
    setting("AWS_LAMBDA_LOG_LEVEL", Some("INFO")),
];

impl Config {
    /// Reads the settings through `lookup`, which gives a variable's value or none.
    ///
    /// # Errors
    /// Names every variable that is missing or has a value that it cannot have.
    pub fn read(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        let mut reader = Reader::new(&SETTINGS, lookup);
        let config = Self {
            findings_topic_arn: reader.value("FINDINGS_TOPIC_ARN", topic_arn),
            result_event_bus: reader.value("RESULT_EVENT_BUS", event_bus),
            definitions_bucket: reader.value("DEFINITIONS_BUCKET", settings::bucket_name),
            definitions_max_check: Duration::from_secs(
                reader.value("DEFINITIONS_MAX_CHECK_SECONDS", settings::number(0)).into(),
            ),
            definitions_stale: Duration::from_hours(
                reader.value("DEFINITIONS_STALE_HOURS", settings::number(1)).into(),
            ),
            clamav_dir: reader.value("CLAMAV_DIR", settings::absolute_path),
            tag_files: reader.value("TAG_FILES", settings::boolean),
            tag_key: reader.value("TAG_KEY", tag_key),
            report_clean_files: reader.value("REPORT_CLEAN_FILES", settings::boolean),
            delete_infected_files: reader.value("DELETE_INFECTED_FILES", settings::boolean),
            encrypted_is_infected: reader.value("ENCRYPTED_ARCHIVES", is_infected),
            alert_macros: reader.value("ALERT_MACROS", settings::boolean),
            max_receive_count: reader.value("MAX_RECEIVE_COUNT", settings::number(1)),
            message_format: reader.value("MESSAGE_FORMAT", message_format),
            metrics_namespace: reader.value("METRICS_NAMESPACE", settings::namespace),
            function_name: reader.value("AWS_LAMBDA_FUNCTION_NAME", settings::text),
            memory_mb: reader.value("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", settings::number(1)),
            log_level: reader.value("AWS_LAMBDA_LOG_LEVEL", settings::log_level),
        };
        reader.finish(config)
    }

    /// The partition that the function runs in (`aws`, `aws-cn`, ...): that of its topic, because
    /// AWS's partitions share nothing. The ARN of a bucket begins with it.
    #[must_use]
    pub fn partition(&self) -> &str {
        self.findings_topic_arn.split(':').nth(1).unwrap_or_default()
    }
}

fn topic_arn(value: &str) -> Result<String, String> {
    let parts: Vec<_> = value.split(':').collect();
    match parts[..] {
        ["arn", partition, "sns", region, account, topic]
            if [partition, region, account, topic].iter().all(|part| !part.is_empty()) =>
        {
            Ok(value.to_owned())
        }
        _ => Err("a topic ARN like arn:aws:sns:eu-west-1:123456789012:Findings".into()),
    }
}

/// EventBridge's rule for where events can be put: a name of letters, digits and `. - _`, at most
/// 256 of them, or `arn:aws...:events:<region>:<account>:event-bus/` before it, at most 1,600 in all
/// (`EventBusName` of PutEvents, in the API's model; the slash is for buses of partners, which take
/// no events from us). None when there is nothing.
fn event_bus(value: &str) -> Result<Option<String>, String> {
    if value.is_empty() {
        return Ok(None);
    }
    let (is_prefix, name) = match value.rsplit_once('/') {
        Some((prefix, name)) => (is_event_bus_prefix(prefix), name),
        None => (true, value),
    };
    let legal = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
    let is_name = (1..=256).contains(&name.len()) && name.chars().all(legal);
    if is_prefix && is_name && value.len() <= 1600 {
        Ok(Some(value.to_owned()))
    } else {
        Err("the name of an event bus: up to 256 letters, digits, . - or _, or its ARN, like \
             arn:aws:events:eu-west-1:123456789012:event-bus/findings"
            .into())
    }
}

fn is_event_bus_prefix(prefix: &str) -> bool {
    let is_word = |word: &str| word.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
    match prefix.split(':').collect::<Vec<_>>()[..] {
        ["arn", partition, "events", region, account, "event-bus"] => {
            partition.starts_with("aws")
                && is_word(partition)
                && region.split('-').count() >= 3
                && is_word(region)
                && account.len() == 12
                && account.chars().all(|c| c.is_ascii_digit())
        }
        _ => false,
    }
}

/// S3's rule for tag keys: 1 to 128 letters, digits, spaces and `+ - = . _ : / @`; the prefix
/// `aws:` is reserved (S3 user guide, "Categorizing your objects using tags").
fn tag_key(value: &str) -> Result<String, String> {
    let legal = |c: char| c.is_alphanumeric() || " +-=._:/@".contains(c);
    if value.chars().count() <= 128 && value.chars().all(legal) && !value.starts_with("aws:") {
        Ok(value.to_owned())
    } else {
        Err("1 to 128 letters, digits, spaces or + - = . _ : / @, not beginning with aws:".into())
    }
}

fn is_infected(value: &str) -> Result<bool, String> {
    match value {
        "no" => Ok(false),
        "infected" => Ok(true),
        _ => Err("no or infected".into()),
    }
}

fn message_format(value: &str) -> Result<MessageFormat, String> {
    match value {
        "widdix" => Ok(MessageFormat::Widdix),
        "json" => Ok(MessageFormat::Json),
        _ => Err("widdix or json".into()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashMap};

    use super::*;

    const TOPIC: &str = "arn:aws:sns:eu-west-1:123456789012:Findings";

    fn read(values: &[(&str, &str)]) -> Result<Config, SettingsError> {
        let values: HashMap<_, _> = values.iter().copied().collect();
        Config::read(|name| values.get(name).map(|&value| value.to_owned()))
    }

    #[test]
    fn defaults_tag_report_clean_and_delete_nothing() {
        let config = read(&[
            ("FINDINGS_TOPIC_ARN", TOPIC),
            ("DEFINITIONS_BUCKET", "definitions"),
            ("TAG_KEY", ""),
        ]);
        assert_eq!(
            config.unwrap(),
            Config {
                findings_topic_arn: TOPIC.into(),
                result_event_bus: None,
                definitions_bucket: "definitions".into(),
                definitions_max_check: Duration::from_mins(5),
                definitions_stale: Duration::from_hours(72),
                clamav_dir: "/opt/clamav".into(),
                tag_files: true,
                tag_key: "s3-virusscan".into(),
                report_clean_files: true,
                delete_infected_files: false,
                encrypted_is_infected: false,
                alert_macros: false,
                max_receive_count: 3,
                message_format: MessageFormat::Widdix,
                metrics_namespace: "s3-virusscan".into(),
                function_name: "scanner".into(),
                memory_mb: 1769,
                log_level: LogLevel(tracing::Level::INFO),
            }
        );
    }

    #[test]
    fn every_bad_value_is_named_in_one_message() {
        let error = read(&[
            ("FINDINGS_TOPIC_ARN", "arn:aws:sqs:eu-west-1:123456789012:q"),
            ("RESULT_EVENT_BUS", "default bus"),
            ("DEFINITIONS_MAX_CHECK_SECONDS", "-1"),
            ("DEFINITIONS_STALE_HOURS", "0"),
            ("CLAMAV_DIR", "opt"),
            ("TAG_FILES", "ture"),
            ("TAG_KEY", "aws:x"),
            ("REPORT_CLEAN_FILES", "True"),
            ("DELETE_INFECTED_FILES", "1"),
            ("ENCRYPTED_ARCHIVES", "true"),
            ("ALERT_MACROS", "yes"),
            ("MAX_RECEIVE_COUNT", "0"),
            ("MESSAGE_FORMAT", "xml"),
            ("METRICS_NAMESPACE", "AWS/Lambda"),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "-1"),
            ("AWS_LAMBDA_LOG_LEVEL", "loud"),
        ])
        .unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("17 bad setting(s): "), "{text}");
        let any_value_is_good = "AWS_LAMBDA_FUNCTION_NAME";
        for setting in SETTINGS.iter().filter(|s| s.name != any_value_is_good) {
            assert!(text.contains(setting.name), "{} is not named in: {text}", setting.name);
        }
        assert!(text.contains("TAG_FILES is `ture`, expected true or false"), "{text}");
        assert!(text.contains("DEFINITIONS_BUCKET is not set"), "{text}");
    }

    #[test]
    fn an_event_bus_has_a_name_or_an_arn() {
        let bus = |value: &str| {
            let settings = [("FINDINGS_TOPIC_ARN", TOPIC), ("DEFINITIONS_BUCKET", "definitions")];
            let config = read(&[settings[0], settings[1], ("RESULT_EVENT_BUS", value)]);
            config.map(|config| config.result_event_bus)
        };
        let longest = "b".repeat(256);
        for good in [
            "default",
            "My.bus-1_x",
            longest.as_str(),
            "arn:aws:events:eu-west-1:123456789012:event-bus/default",
            "arn:aws-us-gov:events:us-gov-west-1:123456789012:event-bus/findings",
        ] {
            assert_eq!(bus(good).unwrap().as_deref(), Some(good));
        }
        assert_eq!(bus("").unwrap(), None);
        let too_long = "b".repeat(257);
        for bad in [
            "a bus",
            "büs",
            "aws.partner/example.com/1/2",
            "event-bus/findings",
            "/findings",
            too_long.as_str(),
            "arn:aws:events:eu-west-1:123456789012:event-bus/",
            "arn:aws:events:eu-west-1:123456789012:event-bus/aws.partner/example.com",
            "arn:aws:events:eu-west-1:123456789012:rule/findings",
            "arn:aws:events:eu-west-1:12345678901:event-bus/findings",
            "arn:aws:events::123456789012:event-bus/findings",
            "arn:other:events:eu-west-1:123456789012:event-bus/findings",
            "arn:aws:sns:eu-west-1:123456789012:Findings",
        ] {
            let error = bus(bad).unwrap_err().to_string();
            assert!(error.contains("RESULT_EVENT_BUS is"), "{bad}: {error}");
        }
    }

    #[test]
    fn log_levels_are_those_that_lambda_sets() {
        let with = |level: &str| {
            let config = read(&[
                ("FINDINGS_TOPIC_ARN", TOPIC),
                ("DEFINITIONS_BUCKET", "definitions"),
                ("AWS_LAMBDA_LOG_LEVEL", level),
            ]);
            config.unwrap().log_level.0
        };
        assert_eq!(with("FATAL"), tracing::Level::ERROR);
        assert_eq!(with("DEBUG"), tracing::Level::DEBUG);
    }

    /// "Every environment variable is in one table" (docs/CONFIGURATION.md).
    #[test]
    fn the_table_in_the_docs_is_the_one_in_the_code() {
        let docs = include_str!("../../docs/CONFIGURATION.md");
        let sections = docs.split("\n## ");
        let section = sections.into_iter().find(|section| section.starts_with("scanner\n"));
        let documented: BTreeSet<(String, String)> = section
            .unwrap()
            .lines()
            .filter_map(|line| line.strip_prefix("| `"))
            .map(|row| {
                let mut cells = row.split('|').map(|cell| cell.trim().trim_matches('`').to_owned());
                (cells.next().unwrap_or_default(), cells.next().unwrap_or_default())
            })
            .collect();
        let read: BTreeSet<(String, String)> = SETTINGS
            .iter()
            .map(|s| (s.name.to_owned(), s.default.unwrap_or("required").to_owned()))
            .collect();
        assert_eq!(documented, read);
    }
}
