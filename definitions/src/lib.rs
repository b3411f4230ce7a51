//! The Lambda function of s3-virusscan that keeps ClamAV's definitions in the owner's bucket. Nothing
//! else ever talks to ClamAV's servers.
//!
//! Follow one run through [`update`]: [`state`] is what [`freshclam`] must find again, [`custom`]
//! are the owner's signatures, [`shards`] are what clamd will load, laid out by the rules of [`cut`]
//! in the format of [`container`]; [`proof`] is what they must pass; [`publish`] hands them over.
//! [`bucket`] is the only edge to AWS, [`record`] what is left in the log.

pub mod bucket;
pub mod config;
pub mod container;
pub mod custom;
pub mod cut;
pub mod error;
pub mod freshclam;
pub mod handler;
pub mod proof;
pub mod publish;
pub mod record;
pub mod shards;
pub mod state;
pub mod update;
