//! The Lambda function of s3-virusscan: any trigger → objects → one verdict each → tag, publish.
//!
//! Follow one object: [`event`] names it, [`handler`] takes it on, [`scan`] leads it through
//! [`object`] (S3's bytes), [`clamd`] (who looks) and [`reply`] (what it said), to [`tags`] and
//! [`publish`]; [`record`] is what is left in the log.

pub mod clamd;
pub mod config;
pub mod definitions;
pub mod error;
pub mod event;
pub mod handler;
pub mod object;
pub mod publish;
pub mod record;
pub mod reply;
pub mod scan;
pub mod service_error;
pub mod tags;
