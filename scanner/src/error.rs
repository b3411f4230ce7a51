//! What can fail on an object's way, by step. An error is not a verdict: the object stays as it is
//! and the record is delivered again.

use function_common::service_error::ServiceError;

use crate::engine::EngineError;
use crate::event_bus::EventBusError;
use crate::object::ReadError;

/// The step that failed.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// Reading it from S3.
    #[error("cannot read the object")]
    Read(#[from] ReadError),
    /// Having it looked at.
    #[error("cannot scan the object")]
    Engine(#[from] EngineError),
    /// The invocation's time was over before clamd had the object.
    #[error(
        "the invocation's time ended before the scan began: it waited for definitions, for other \
         scans or for S3; it is tried again when the event comes again. If this lasts, raise the \
         function's Timeout or MemorySize"
    )]
    Deadline,
    /// The invocation's time was over before clamd answered.
    #[error(
        "the scan did not end within the function's time; it is tried again when the event comes \
         again (from the scan queue after its visibility timeout, six times Timeout), and the last \
         try of the queue's ends as `no`, time-limit. Raise the function's Timeout or MemorySize"
    )]
    OutOfTime,
    /// Writing its tag.
    #[error("cannot tag the object")]
    Tag(#[source] ServiceError),
    /// Deleting it.
    #[error("cannot delete the infected object")]
    Delete(#[source] ServiceError),
    /// Telling the topic.
    #[error("cannot publish the finding")]
    Publish(#[source] ServiceError),
    /// Telling the event bus.
    #[error("cannot send the finding to the event bus")]
    EventBus(#[source] EventBusError),
    /// It is overwritten faster than it can be scanned.
    #[error("the object was overwritten during each of {0} scans")]
    Overwritten(u32),
    /// A bug.
    #[error("the scan panicked: {0}")]
    Panic(String),
}

impl ScanError {
    /// A stable word for logs and metrics.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Read(_) => "read",
            Self::Engine(error) => error.code(),
            Self::Deadline | Self::OutOfTime => "deadline",
            Self::Tag(_) => "tag",
            Self::Delete(_) => "delete",
            Self::Publish(_) => "publish",
            Self::EventBus(_) => "event-bus",
            Self::Overwritten(_) => "overwritten",
            Self::Panic(_) => "panic",
        }
    }

    /// Whether another delivery may end otherwise without anybody doing anything.
    #[must_use]
    pub fn retry(&self) -> bool {
        match self {
            Self::Read(error) => error.retry(),
            Self::Engine(_) | Self::Deadline | Self::OutOfTime | Self::Overwritten(_) => true,
            Self::Tag(error) | Self::Delete(error) | Self::Publish(error) => error.retry(),
            Self::EventBus(error) => error.retry(),
            Self::Panic(_) => false,
        }
    }
}
