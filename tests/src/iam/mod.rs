//! What AWS's IAM would say: policies of the resolved template, evaluated on the requests that
//! the functions really make.

mod policy;
mod recorder;
mod relay;
mod request;

pub use iam_rs::Context;
pub use policy::{Decision, Grant, Policies, Principal, Request};
pub use recorder::Recorder;
pub use relay::Relay;
pub(crate) use request::{request, with_tags};
