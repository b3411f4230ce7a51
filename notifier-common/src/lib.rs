//! The findings contract of s3-virusscan: what a subscriber of the findings topic can rely on.
//!
//! A [`Verdict`] says what was found out about one object; a [`Finding`] says it about which
//! object, by which engine and definitions; a [`Message`] is the finding as SNS carries it.
//! The words, the text body, the subject and the attributes are those of the Widdix
//! S3 VirusScan stack (`template.yaml` of widdix/aws-s3-virusscan, last commit of 2023), so that
//! its subscribers go on working.
//!
//! The feature `subscribe` adds the other end: what a subscriber needs to believe and read it.

mod finding;
mod message;
#[cfg(feature = "subscribe")]
pub mod subscribe;
mod verdict;

pub use finding::{Definitions, Finding, SCHEMA};
pub use message::{Message, MessageFormat, encode_key, key_needs_encoding};
pub use verdict::{Action, Reason, Status, Verdict};
