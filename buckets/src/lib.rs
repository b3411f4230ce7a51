//! The Lambda function behind `Custom::BucketWiring`: it adds our notification, and if asked the
//! quarantine policy, to buckets that exist already, and takes them out again. What else is
//! configured there stays as it is.
//!
//! Follow one request: [`properties`] says what the stack wants, [`wiring`] checks all buckets
//! and then changes one after the other ([`bucket`] is S3), by what [`notification`] and
//! [`policy`] merge. [`quarantine`] renders the statements that only let clean objects be read.

pub mod bucket;
pub mod config;
pub mod error;
pub mod notification;
pub mod policy;
pub mod properties;
pub mod quarantine;
pub mod wiring;
