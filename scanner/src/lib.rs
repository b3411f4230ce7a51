//! The Lambda function of s3-virusscan: any trigger → objects → one verdict each → tag, publish.

pub mod clamd;
pub mod config;
pub mod definitions;
pub mod event;
pub mod object;
pub mod reply;
pub mod service_error;
