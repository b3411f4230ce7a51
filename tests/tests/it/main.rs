//! The handler as a library on an S3 and an SNS in memory, and on the real clamd of the built
//! layer: what comes back, what is tagged and what is published.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail as the test itself does")]

mod clamd_faults;
mod faults;
mod overwrites;
mod support;
mod tagging;
mod triggers;
mod verdicts;
