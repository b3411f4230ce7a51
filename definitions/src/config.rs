//! What the environment decides. Read once, at the start; every bad value is named in one message
//! and stops the start, so that a wrong setting is never a silent default.

use std::path::PathBuf;
use std::time::Duration;

use function_common::settings::{self, LogLevel, Reader, Setting, SettingsError, setting};

/// The Content Delivery Network of ClamAV's makers.
pub const OFFICIAL_MIRROR: &str = "https://database.clamav.net";

/// Everything that the function can be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Bucket that definitions are published to; state and custom signatures lie there too.
    pub bucket: String,
    /// Age from which on definitions are called stale.
    pub stale: Duration,
    /// What the keys of the owner's own signature files begin with.
    pub custom_prefix: String,
    /// Where databases come from.
    pub mirror: String,
    /// CloudWatch namespace of the metrics.
    pub metrics_namespace: String,
    /// Where the clamd layer lies.
    pub clamav_dir: PathBuf,
    /// Name of the function, a dimension of the metrics.
    pub function_name: String,
    /// Memory of the function in MB.
    pub memory_mb: u32,
    /// How much is logged.
    pub log_level: LogLevel,
}

/// Every environment variable that this crate reads.
pub const SETTINGS: [Setting; 9] = [
    setting("DEFINITIONS_BUCKET", None),
    setting("DEFINITIONS_STALE_HOURS", Some("72")),
    setting("CUSTOM_SIGNATURES_PREFIX", Some("custom/")),
    setting("DATABASE_MIRROR", Some(OFFICIAL_MIRROR)),
    setting("METRICS_NAMESPACE", Some("s3-virusscan")),
    setting("CLAMAV_DIR", Some("/opt/clamav")),
    setting("AWS_LAMBDA_FUNCTION_NAME", Some("definitions")),
    setting("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", Some("3008")),
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
            bucket: reader.value("DEFINITIONS_BUCKET", settings::bucket_name),
            stale: Duration::from_hours(
                reader.value("DEFINITIONS_STALE_HOURS", settings::number(1)).into(),
            ),
            custom_prefix: reader.value("CUSTOM_SIGNATURES_PREFIX", custom_prefix),
            mirror: reader.value("DATABASE_MIRROR", mirror),
            metrics_namespace: reader.value("METRICS_NAMESPACE", settings::namespace),
            clamav_dir: reader.value("CLAMAV_DIR", settings::absolute_path),
            function_name: reader.value("AWS_LAMBDA_FUNCTION_NAME", settings::text),
            memory_mb: reader.value("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", settings::number(1)),
            log_level: reader.value("AWS_LAMBDA_LOG_LEVEL", settings::log_level),
        };
        reader.finish(config)
    }
}

/// A prefix of keys; not one that our own objects lie under.
fn custom_prefix(value: &str) -> Result<String, String> {
    let ours = ["state/", "generations/", "current.json"];
    let overlaps = ours.iter().any(|ours| ours.starts_with(value) || value.starts_with(ours));
    if value.len() <= 512 && !value.starts_with('/') && !overlaps {
        Ok(value.to_owned())
    } else {
        Err("a prefix of keys like custom/, not under state/ or generations/".into())
    }
}

/// A URL that can stand in a configuration file which is read line by line and word by word.
fn mirror(value: &str) -> Result<String, String> {
    let url = value.trim_end_matches('/');
    let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let legal = |c: char| c.is_ascii_graphic() && !"\"'#\\".contains(c);
    match host {
        Some(host) if !host.is_empty() && host.chars().all(legal) => Ok(url.to_owned()),
        _ => Err("a URL like https://mirror.example.com/clamav".into()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn read(values: &[(&str, &str)]) -> Result<Config, SettingsError> {
        let values: HashMap<_, _> = values.iter().copied().collect();
        Config::read(|name| values.get(name).map(|&value| value.to_owned()))
    }

    #[test]
    fn only_the_bucket_must_be_named() {
        assert_eq!(
            read(&[("DEFINITIONS_BUCKET", "definitions")]).unwrap(),
            Config {
                bucket: "definitions".into(),
                stale: Duration::from_hours(72),
                custom_prefix: "custom/".into(),
                mirror: "https://database.clamav.net".into(),
                metrics_namespace: "s3-virusscan".into(),
                clamav_dir: "/opt/clamav".into(),
                function_name: "definitions".into(),
                memory_mb: 3008,
                log_level: LogLevel::default(),
            }
        );
    }

    #[test]
    fn every_bad_value_is_named_in_one_message() {
        let text = read(&[
            ("DEFINITIONS_STALE_HOURS", "0"),
            ("CUSTOM_SIGNATURES_PREFIX", "state/"),
            ("DATABASE_MIRROR", "ftp://mirror"),
            ("METRICS_NAMESPACE", "AWS/Lambda"),
            ("CLAMAV_DIR", "opt"),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "-1"),
            ("AWS_LAMBDA_LOG_LEVEL", "loud"),
        ])
        .unwrap_err()
        .to_string();
        assert!(text.starts_with("8 bad setting(s): "), "{text}");
        // Any text is a name.
        for setting in SETTINGS.iter().filter(|s| s.name != "AWS_LAMBDA_FUNCTION_NAME") {
            assert!(text.contains(setting.name), "{} is not named in: {text}", setting.name);
        }
    }

    #[test]
    fn the_owners_files_do_not_lie_among_ours() {
        for bad in ["/", "s", "state/x", "gen", "generations/", "current.json", "c"] {
            assert!(custom_prefix(bad).is_err(), "{bad}");
        }
        for good in ["custom/", "custom", "team a/signatures/"] {
            assert_eq!(custom_prefix(good).as_deref(), Ok(good));
        }
    }

    #[test]
    fn a_mirror_cannot_add_a_line_to_freshclams_configuration() {
        for bad in ["http://", "mirror", "http://a b", "http://a\nHTTPProxyServer b", "http://a#b"]
        {
            assert!(mirror(bad).is_err(), "{bad:?}");
        }
        assert_eq!(mirror("http://10.0.0.1:8080/clamav/").unwrap(), "http://10.0.0.1:8080/clamav");
    }

    /// "Every environment variable is in one table" (docs/CONFIGURATION.md).
    #[test]
    fn the_table_in_the_docs_is_the_one_in_the_code() {
        let docs = include_str!("../../docs/CONFIGURATION.md");
        let section = docs.split("\n## definitions\n").nth(1).expect("the section is there");
        let section = section.split("\n## ").next().unwrap();
        let rows = section.lines().filter_map(|line| line.strip_prefix("| `")).map(|row| {
            let mut cells = row.split('|').map(|cell| cell.trim().trim_matches('`').to_owned());
            (cells.next().unwrap(), cells.next().unwrap())
        });
        let documented: Vec<(String, String)> = rows.collect();
        let read: Vec<(String, String)> = SETTINGS
            .iter()
            .map(|s| (s.name.to_owned(), s.default.unwrap_or("required").to_owned()))
            .collect();
        assert_eq!(documented, read);
    }
}
