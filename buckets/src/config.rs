//! What the environment decides.

use function_common::settings::{Reader, Setting, SettingsError, log_level, setting};
use tracing::Level;

/// Every variable that the function reads; `docs/CONFIGURATION.md` explains them.
pub const SETTINGS: &[Setting] = &[setting("AWS_LAMBDA_LOG_LEVEL", Some("INFO"))];

/// The level of the log, read through `lookup`.
///
/// # Errors
/// It is none of Lambda's levels.
pub fn level(lookup: impl Fn(&str) -> Option<String>) -> Result<Level, SettingsError> {
    let mut reader = Reader::new(SETTINGS, lookup);
    let level = reader.value("AWS_LAMBDA_LOG_LEVEL", log_level);
    reader.finish(level.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_level_is_lambdas() {
        assert_eq!(level(|_| None), Ok(Level::INFO));
        assert_eq!(level(|_| Some("DEBUG".into())), Ok(Level::DEBUG));
        let text = level(|_| Some("loud".into())).unwrap_err().to_string();
        assert!(text.contains("AWS_LAMBDA_LOG_LEVEL is `loud`"), "{text}");
    }

    #[test]
    fn the_table_in_the_docs_is_the_one_in_the_code() {
        let docs = include_str!("../../docs/CONFIGURATION.md");
        let (_, section) = docs.split_once("\n## buckets\n").expect("there is a section");
        let section = section.split("\n## ").next().unwrap_or_default();
        let documented: Vec<(&str, &str)> = section
            .lines()
            .filter_map(|line| line.strip_prefix("| `"))
            .map(|row| {
                let mut cells = row.split('|').map(|cell| cell.trim().trim_matches('`'));
                (cells.next().unwrap_or_default(), cells.next().unwrap_or_default())
            })
            .collect();
        let read: Vec<_> =
            SETTINGS.iter().map(|s| (s.name, s.default.unwrap_or("required"))).collect();
        assert_eq!(documented, read);
    }
}
