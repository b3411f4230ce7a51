//! The log: one JSON object a line on stdout, at the level that Lambda's logging configuration
//! asks for.

use tracing::Level;

/// Starts the log of this process.
///
/// # Panics
/// When it was started before.
pub fn init(level: Level) {
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_max_level(level)
        .init();
}
