//! The Lambda function of s3-virusscan: any trigger → objects → one verdict each → tag, publish.
//!
//! Follow one object: [`event`] names it, [`handler`] takes it on, [`scan`] leads it to [`look`],
//! which gives [`object`]'s bytes to the [`engine`]'s clamd and `agreement`, and then to [`tags`],
//! [`publish`] and [`event_bus`];
//! [`record`] is what is left in the log. The engine's [`definitions`] come from our bucket.

mod agreement;
pub mod config;
pub mod definitions;
pub mod engine;
pub mod error;
pub mod event;
pub mod event_bus;
pub mod handler;
mod large;
pub mod look;
pub mod object;
pub mod publish;
pub mod record;
pub mod scan;
pub mod tags;
