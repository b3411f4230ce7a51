//! What the environment decides. Read once, at the start; every bad value is named in one message
//! and stops the start, so that a wrong setting is never a silent default.

use std::fmt;
use std::path::PathBuf;

use notifier_common::MessageFormat;

/// Everything that the function can be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Topic that findings go to.
    pub findings_topic_arn: String,
    /// Folder with ClamAV's database files.
    pub definitions_dir: PathBuf,
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
    /// Form of the message body.
    pub message_format: MessageFormat,
    /// CloudWatch namespace of the metrics.
    pub metrics_namespace: String,
    /// Name of the function, a dimension of the metrics.
    pub function_name: String,
    /// Memory of the function in MB; Lambda gives CPU in proportion.
    pub memory_mb: u32,
}

/// One environment variable, as the table in `docs/CONFIGURATION.md` has it; a test holds the two
/// together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// Name of the variable.
    pub name: &'static str,
    /// What an unset variable means; none where it must be set.
    pub default: Option<&'static str>,
}

const fn setting(name: &'static str, default: Option<&'static str>) -> Setting {
    Setting { name, default }
}

/// Every environment variable that this crate reads.
pub const SETTINGS: [Setting; 12] = [
    setting("FINDINGS_TOPIC_ARN", None),
    setting("DEFINITIONS_DIR", None),
    setting("CLAMAV_DIR", Some("/opt/clamav")),
    setting("TAG_FILES", Some("true")),
    setting("TAG_KEY", Some("s3-virusscan")),
    setting("REPORT_CLEAN_FILES", Some("true")),
    setting("DELETE_INFECTED_FILES", Some("false")),
    setting("MESSAGE_FORMAT", Some("widdix")),
    setting("METRICS_NAMESPACE", Some("s3-virusscan")),
    setting("AWS_LAMBDA_FUNCTION_NAME", Some("scanner")),
    setting("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", Some("1769")),
    setting("AWS_LAMBDA_LOG_LEVEL", Some("INFO")),
];

/// Every bad value, in one message.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub struct ConfigError {
    /// One line for each bad value: the variable, what is wrong, what would be right.
    pub problems: Vec<String>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bad setting(s): {}", self.problems.len(), self.problems.join("; "))
    }
}

impl Config {
    /// Reads the settings through `lookup`, which gives a variable's value or none.
    ///
    /// # Errors
    /// Names every variable that is missing or has a value that it cannot have.
    pub fn read(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let mut reader = Reader { lookup, problems: Vec::new() };
        let config = Self {
            findings_topic_arn: reader.value("FINDINGS_TOPIC_ARN", topic_arn),
            definitions_dir: reader.value("DEFINITIONS_DIR", absolute_path),
            clamav_dir: reader.value("CLAMAV_DIR", absolute_path),
            tag_files: reader.value("TAG_FILES", boolean),
            tag_key: reader.value("TAG_KEY", tag_key),
            report_clean_files: reader.value("REPORT_CLEAN_FILES", boolean),
            delete_infected_files: reader.value("DELETE_INFECTED_FILES", boolean),
            message_format: reader.value("MESSAGE_FORMAT", message_format),
            metrics_namespace: reader.value("METRICS_NAMESPACE", namespace),
            function_name: reader.value("AWS_LAMBDA_FUNCTION_NAME", |name| Ok(name.to_owned())),
            memory_mb: reader.value("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", megabytes),
        };
        if reader.problems.is_empty() {
            Ok(config)
        } else {
            Err(ConfigError { problems: reader.problems })
        }
    }
}

/// The level that Lambda's logging configuration asks for.
///
/// # Errors
/// A level that Lambda does not know.
pub fn log_level(lookup: impl Fn(&str) -> Option<String>) -> Result<tracing::Level, ConfigError> {
    let mut reader = Reader { lookup, problems: Vec::new() };
    let level = reader.value("AWS_LAMBDA_LOG_LEVEL", level);
    if reader.problems.is_empty() {
        Ok(level.0)
    } else {
        Err(ConfigError { problems: reader.problems })
    }
}

struct Reader<L> {
    lookup: L,
    problems: Vec<String>,
}

impl<L: Fn(&str) -> Option<String>> Reader<L> {
    /// The parsed value of a variable, or a placeholder and one more problem. An empty value counts
    /// as unset: CloudFormation cannot leave a variable out.
    fn value<T: Default>(
        &mut self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> T {
        let setting = SETTINGS
            .iter()
            .find(|setting| setting.name == name)
            .expect("every name is in SETTINGS");
        let value = (self.lookup)(name).filter(|value| !value.is_empty());
        let Some(value) = value.as_deref().or(setting.default) else {
            self.problems.push(format!("{name} is not set"));
            return T::default();
        };
        parse(value).unwrap_or_else(|expected| {
            self.problems
                .push(format!("{name} is `{}`, expected {expected}", value.escape_debug()));
            T::default()
        })
    }
}

fn boolean(value: &str) -> Result<bool, String> {
    match value {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("true or false".into()),
    }
}

fn absolute_path(value: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(value);
    // clamd.conf, which carries this path, is read line by line.
    if path.is_absolute() && !value.chars().any(char::is_control) {
        Ok(path)
    } else {
        Err("an absolute path without control characters".into())
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

fn message_format(value: &str) -> Result<MessageFormat, String> {
    match value {
        "widdix" => Ok(MessageFormat::Widdix),
        "json" => Ok(MessageFormat::Json),
        _ => Err("widdix or json".into()),
    }
}

/// CloudWatch's rule for namespaces: 1 to 255 characters, those of names and paths, not beginning
/// with `AWS/` (CloudWatch API reference, PutMetricData).
fn namespace(value: &str) -> Result<String, String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || ".-_/#: ".contains(c);
    if value.len() <= 255 && value.chars().all(legal) && !value.starts_with("AWS/") {
        Ok(value.to_owned())
    } else {
        Err("1 to 255 letters, digits, spaces or . - _ / # :, not beginning with AWS/".into())
    }
}

fn megabytes(value: &str) -> Result<u32, String> {
    value.parse().map_err(|_| "the function's memory in MB".into())
}

struct Level(tracing::Level);

impl Default for Level {
    fn default() -> Self {
        Self(tracing::Level::INFO)
    }
}

fn level(value: &str) -> Result<Level, String> {
    match value {
        "TRACE" => Ok(Level(tracing::Level::TRACE)),
        "DEBUG" => Ok(Level(tracing::Level::DEBUG)),
        "INFO" => Ok(Level(tracing::Level::INFO)),
        "WARN" => Ok(Level(tracing::Level::WARN)),
        "ERROR" | "FATAL" => Ok(Level(tracing::Level::ERROR)),
        _ => Err("TRACE, DEBUG, INFO, WARN, ERROR or FATAL".into()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashMap};

    use super::*;

    const TOPIC: &str = "arn:aws:sns:eu-west-1:123456789012:Findings";

    fn read(values: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let values: HashMap<_, _> = values.iter().copied().collect();
        Config::read(|name| values.get(name).map(|&value| value.to_owned()))
    }

    #[test]
    fn defaults_tag_report_clean_and_delete_nothing() {
        let config =
            read(&[("FINDINGS_TOPIC_ARN", TOPIC), ("DEFINITIONS_DIR", "/d"), ("TAG_KEY", "")]);
        assert_eq!(
            config.unwrap(),
            Config {
                findings_topic_arn: TOPIC.into(),
                definitions_dir: "/d".into(),
                clamav_dir: "/opt/clamav".into(),
                tag_files: true,
                tag_key: "s3-virusscan".into(),
                report_clean_files: true,
                delete_infected_files: false,
                message_format: MessageFormat::Widdix,
                metrics_namespace: "s3-virusscan".into(),
                function_name: "scanner".into(),
                memory_mb: 1769,
            }
        );
    }

    #[test]
    fn every_bad_value_is_named_in_one_message() {
        let error = read(&[
            ("FINDINGS_TOPIC_ARN", "arn:aws:sqs:eu-west-1:123456789012:q"),
            ("CLAMAV_DIR", "opt"),
            ("TAG_FILES", "ture"),
            ("TAG_KEY", "aws:x"),
            ("REPORT_CLEAN_FILES", "True"),
            ("DELETE_INFECTED_FILES", "1"),
            ("MESSAGE_FORMAT", "xml"),
            ("METRICS_NAMESPACE", "AWS/Lambda"),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "-1"),
        ])
        .unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("10 bad setting(s): "), "{text}");
        let read_elsewhere = ["AWS_LAMBDA_FUNCTION_NAME", "AWS_LAMBDA_LOG_LEVEL"];
        for setting in SETTINGS.iter().filter(|s| !read_elsewhere.contains(&s.name)) {
            assert!(text.contains(setting.name), "{} is not named in: {text}", setting.name);
        }
        assert!(text.contains("TAG_FILES is `ture`, expected true or false"), "{text}");
        assert!(text.contains("DEFINITIONS_DIR is not set"), "{text}");
    }

    #[test]
    fn log_levels_are_those_that_lambda_sets() {
        let with = |value: &str| log_level(|_| Some(value.to_owned()));
        assert_eq!(with("FATAL").unwrap(), tracing::Level::ERROR);
        assert_eq!(log_level(|_| None).unwrap(), tracing::Level::INFO);
        let text = with("loud").unwrap_err().to_string();
        assert!(text.contains("AWS_LAMBDA_LOG_LEVEL is `loud`"), "{text}");
    }

    /// "Every environment variable is in one table" (docs/CONFIGURATION.md).
    #[test]
    fn the_table_in_the_docs_is_the_one_in_the_code() {
        let docs = include_str!("../../docs/CONFIGURATION.md");
        let documented: BTreeSet<(String, String)> = docs
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
