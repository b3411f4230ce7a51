//! What AWS's IAM would say: policies of the resolved template and of buckets, evaluated on the
//! requests that are really made.

mod policy;
mod recorder;
mod relay;
mod request;

pub use iam_rs::Context;
pub use policy::{Decision, Grant, Policies, Principal, Request};
pub use recorder::Recorder;
pub use relay::Relay;
pub(crate) use request::request_of;
pub use request::with_tags;
