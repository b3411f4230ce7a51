//! Reads what the environment decides. Every bad value is named in one message, so that a wrong
//! setting is never a silent default.

use std::fmt;
use std::path::PathBuf;

use tracing::Level;

/// One environment variable, as the table in `docs/CONFIGURATION.md` has it; a test holds the two
/// together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// Name of the variable.
    pub name: &'static str,
    /// What an unset variable means; none where it must be set.
    pub default: Option<&'static str>,
}

/// A row of a function's table.
#[must_use]
pub const fn setting(name: &'static str, default: Option<&'static str>) -> Setting {
    Setting { name, default }
}

/// Every bad value, in one message.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub struct SettingsError {
    /// One line for each bad value: the variable, what is wrong, what would be right.
    pub problems: Vec<String>,
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bad setting(s): {}", self.problems.len(), self.problems.join("; "))
    }
}

/// Reads the settings of one function.
#[derive(Debug)]
pub struct Reader<L> {
    settings: &'static [Setting],
    lookup: L,
    problems: Vec<String>,
}

impl<L: Fn(&str) -> Option<String>> Reader<L> {
    /// Reads `settings` through `lookup`, which gives a variable's value or none.
    pub fn new(settings: &'static [Setting], lookup: L) -> Self {
        Self { settings, lookup, problems: Vec::new() }
    }

    /// The parsed value of a variable, or a placeholder and one more problem. An empty value counts
    /// as unset: CloudFormation cannot leave a variable out.
    ///
    /// # Panics
    /// When the function's table does not hold `name`.
    pub fn value<T: Default>(
        &mut self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> T {
        let setting = self
            .settings
            .iter()
            .find(|setting| setting.name == name)
            .expect("every name that is read is in the table");
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

    /// `config`, which was made of the values, unless one of them was bad.
    ///
    /// # Errors
    /// Names every variable that is missing or has a value that it cannot have.
    pub fn finish<T>(self, config: T) -> Result<T, SettingsError> {
        if self.problems.is_empty() {
            Ok(config)
        } else {
            Err(SettingsError { problems: self.problems })
        }
    }
}

/// `true` or `false`.
///
/// # Errors
/// What was expected.
pub fn boolean(value: &str) -> Result<bool, String> {
    match value {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("true or false".into()),
    }
}

/// Any text.
///
/// # Errors
/// Never.
pub fn text(value: &str) -> Result<String, String> {
    Ok(value.to_owned())
}

/// A whole number from `least`.
pub fn number(least: u32) -> impl Fn(&str) -> Result<u32, String> {
    move |value| {
        let number = value.parse().ok().filter(|number| *number >= least);
        number.ok_or_else(|| format!("a whole number, {least} or more"))
    }
}

/// An absolute path that can stand in a configuration file which is read line by line.
///
/// # Errors
/// What was expected.
pub fn absolute_path(value: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(value);
    if path.is_absolute() && !value.chars().any(char::is_control) {
        Ok(path)
    } else {
        Err("an absolute path without control characters".into())
    }
}

/// S3's rule for names of buckets: 3 to 63 lower-case letters, digits, `.` and `-` (S3 user guide,
/// "General purpose bucket naming rules").
///
/// # Errors
/// What was expected.
pub fn bucket_name(value: &str) -> Result<String, String> {
    let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-".contains(c);
    if (3..=63).contains(&value.len()) && value.chars().all(legal) {
        Ok(value.to_owned())
    } else {
        Err("the name of a bucket: 3 to 63 lower-case letters, digits, . or -".into())
    }
}

/// CloudWatch's rule for namespaces: 1 to 255 characters, those of names and paths, not beginning
/// with `AWS/` (CloudWatch API reference, PutMetricData).
///
/// # Errors
/// What was expected.
pub fn namespace(value: &str) -> Result<String, String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || ".-_/#: ".contains(c);
    if value.len() <= 255 && value.chars().all(legal) && !value.starts_with("AWS/") {
        Ok(value.to_owned())
    } else {
        Err("1 to 255 letters, digits, spaces or . - _ / # :, not beginning with AWS/".into())
    }
}

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogLevel(pub Level);

impl Default for LogLevel {
    fn default() -> Self {
        Self(Level::INFO)
    }
}

/// A level of Lambda's logging configuration (Lambda developer guide, "Log-level filtering").
///
/// # Errors
/// What was expected.
pub fn log_level(value: &str) -> Result<LogLevel, String> {
    match value {
        "TRACE" => Ok(LogLevel(Level::TRACE)),
        "DEBUG" => Ok(LogLevel(Level::DEBUG)),
        "INFO" => Ok(LogLevel(Level::INFO)),
        "WARN" => Ok(LogLevel(Level::WARN)),
        "ERROR" | "FATAL" => Ok(LogLevel(Level::ERROR)),
        _ => Err("TRACE, DEBUG, INFO, WARN, ERROR or FATAL".into()),
    }
}
