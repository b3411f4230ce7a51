//! The updater with the layer's freshclam and clamd, a mirror on this machine that holds databases
//! which ClamAV's makers signed, and an S3 in memory.

mod custom;
mod mirror;
mod publication;
mod resource;
mod support;
