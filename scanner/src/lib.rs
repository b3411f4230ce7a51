//! The Lambda function of s3-virusscan: any trigger → objects → one verdict each → tag, publish.

pub mod event;
