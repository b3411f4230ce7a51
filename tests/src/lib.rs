//! The local world that the suites run in: stand-ins for AWS and for clamd, each held to what
//! the real part does by a shared suite (`tests/contract`).

pub mod artefacts;
pub mod definitions;
pub mod moto;
pub mod samples;
