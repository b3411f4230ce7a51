//! The local world that the suites run in: stand-ins for AWS and for clamd, each held to what
//! the real part does by a shared suite (`tests/contract`).

pub mod eicar;
pub mod fake_clamd;
pub mod fake_s3;
pub mod moto;
