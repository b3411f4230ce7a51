//! The Lambda function of s3-virusscan: any trigger → objects → one verdict each → tag, publish.

pub mod config;
pub mod definitions;
pub mod event;
pub mod reply;
