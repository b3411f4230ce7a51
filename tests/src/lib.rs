//! The local world that the suites run in: stand-ins for AWS and for clamd, each held to what
//! the real part does by a shared suite (`tests/contract`).

pub mod artefacts;
pub mod bridge;
pub mod cloudformation;
mod confinement;
pub mod definitions;
pub mod demo;
pub mod empty_root;
pub mod event_rules;
pub mod fake_clamd;
pub mod fake_event_bridge;
pub mod fake_s3;
pub mod fake_sns;
pub mod findings;
pub mod function;
pub mod gate;
pub mod generations;
pub mod honesty;
pub mod iam;
pub mod layer_clamd;
pub mod logs;
pub mod measure;
pub mod mirror;
pub mod moto;
pub mod notifications;
pub mod processes;
pub mod public_shape;
pub mod rails;
pub mod samples;
pub mod sandbox;
pub mod sns_https;
pub mod stock_clamd;
pub mod subscriber;
pub mod template;
pub mod tmp_faults;
pub mod world;
pub mod written;
