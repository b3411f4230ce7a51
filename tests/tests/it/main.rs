//! The handler as a library on an S3, an SNS and an EventBridge in memory, and on the real clamd of
//! the built layer: what comes back, what is tagged and what is published.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod clamd_faults;
mod confinement;
mod customer_keys;
mod doubts;
mod events;
mod faults;
mod generations;
mod last_try;
mod overwrites;
mod permissions;
mod public_shape;
mod quarantine;
mod shards;
mod strictness;
mod support;
mod tagging;
mod triggers;
mod two_ways;
mod unlooked;
mod verdicts;
