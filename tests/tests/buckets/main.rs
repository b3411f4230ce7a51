//! The function `buckets` as a library: requests of CloudFormation, on an S3 in memory and on
//! moto. What is others' in a bucket's configuration survives whatever happens.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod foreign;
mod lifecycle;
mod permissions;
mod races;
mod refused;
mod support;
