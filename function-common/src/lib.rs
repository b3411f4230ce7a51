//! What the functions of s3-virusscan have in common: [`clamd`] and what it answers ([`reply`]),
//! the [`manifest`] by which definitions are handed over, the reading of [`settings`], the log,
//! the errors of AWS services, and the answers that CloudFormation waits for
//! ([`custom_resource`]).

pub mod clamd;
pub mod custom_resource;
pub mod logging;
pub mod manifest;
pub mod reply;
pub mod service_error;
pub mod settings;
