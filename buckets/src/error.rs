//! What can fail, by step. Nothing is changed before all buckets are checked.

use std::fmt;

use function_common::custom_resource::PropertiesError;
use function_common::service_error::ServiceError;

use crate::notification::Conflict;
use crate::policy::PolicyError;

/// Why a request was not done. Its text is what CloudFormation shows.
#[derive(Debug, thiserror::Error)]
pub enum WiringError {
    /// The properties have another form.
    #[error(transparent)]
    Form(#[from] PropertiesError),
    /// The properties say something that cannot be.
    #[error("{} wrong propertie(s), nothing was changed: {}", .0.len(), .0.join("; "))]
    Properties(Vec<String>),
    /// Some of the buckets cannot be wired.
    #[error(
        "{} of {buckets} bucket(s) cannot be wired, nothing was changed: {}",
        .failed.len(), list(.failed)
    )]
    Refused {
        /// How many buckets were checked.
        buckets: usize,
        /// Those that failed.
        failed: Vec<BucketError>,
    },
    /// A change failed after others were made.
    #[error("not all buckets were changed: {}", list(.0))]
    Change(Vec<BucketError>),
}

impl WiringError {
    /// A stable word for logs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Form(_) | Self::Properties(_) => "properties",
            Self::Refused { .. } => "refused",
            Self::Change(_) => "change",
        }
    }

    /// Whether the same request may succeed without anybody doing anything.
    #[must_use]
    pub fn retry(&self) -> bool {
        match self {
            Self::Form(_) | Self::Properties(_) => false,
            Self::Refused { failed, .. } | Self::Change(failed) => {
                failed.iter().all(|error| error.problem.retry())
            }
        }
    }
}

fn list(errors: &[BucketError]) -> String {
    let texts: Vec<_> = errors.iter().map(ToString::to_string).collect();
    texts.join("; ")
}

/// What is wrong with one bucket.
#[derive(Debug, thiserror::Error)]
#[error("bucket `{bucket}`: {problem}")]
pub struct BucketError {
    /// Its name.
    pub bucket: String,
    /// What is wrong.
    pub problem: Problem,
}

/// What can be wrong with a bucket.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// S3 refused.
    #[error("{error}{}", Advice(.advice))]
    Service {
        /// What S3 said.
        error: ServiceError,
        /// What to do about it; empty if nothing is known.
        advice: String,
    },
    /// Another notification is in the way.
    #[error(transparent)]
    Conflict(#[from] Conflict),
    /// Its policy cannot be changed.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// What was written is not what is read.
    #[error(
        "its {0} was changed by somebody else again and again while it was written; look who does \
         (another stack, Terraform, a controller), and try again"
    )]
    Unsettled(&'static str),
}

struct Advice<'a>(&'a str);

impl fmt::Display for Advice<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, " - {}", self.0) }
    }
}

/// What S3's error codes mean for a bucket (S3 API reference, "Error responses").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    NoBucket,
    OtherRegion,
    Denied,
    Destination,
    Policy,
    Other,
}

fn meaning(error: &ServiceError) -> Meaning {
    match (error.code.as_deref(), error.status) {
        (Some("NoSuchBucket"), _) => Meaning::NoBucket,
        (
            Some(
                "PermanentRedirect"
                | "AuthorizationHeaderMalformed"
                | "IllegalLocationConstraintException",
            ),
            _,
        )
        | (_, Some(301 | 307)) => Meaning::OtherRegion,
        (Some("AccessDenied" | "AllAccessDisabled"), _) => Meaning::Denied,
        (Some("InvalidArgument"), _) if error.operation.contains("Notification") => {
            Meaning::Destination
        }
        (Some("MalformedPolicy"), _) => Meaning::Policy,
        _ => Meaning::Other,
    }
}

impl Problem {
    /// What S3 answered, with what to do about it, for buckets of `account`.
    #[must_use]
    pub fn service(error: ServiceError, account: &str) -> Self {
        let advice = match meaning(&error) {
            Meaning::NoBucket => "there is no such bucket; correct BucketNames".to_owned(),
            Meaning::OtherRegion => "the bucket is in another region; a stack wires the buckets \
                                     of its own region, so deploy one there for it"
                .to_owned(),
            Meaning::Denied => format!(
                "is it a bucket of account {account}? Others cannot be wired. The bucket's policy \
                 and the organization's policies must let the role of the function do this"
            ),
            Meaning::Destination => "S3 tries every destination of a bucket before it takes any: \
                                     a queue, topic or function that was there before and is gone, \
                                     or that S3 may no longer send to, must be removed first"
                .to_owned(),
            Meaning::Policy => "S3 checks foreign statements again as well: one that names a \
                                deleted principal (AIDA... or AROA...) must be removed first"
                .to_owned(),
            Meaning::Other => String::new(),
        };
        Self::Service { error, advice }
    }

    /// Whether there is nothing of ours that could be taken out: the bucket is gone or belongs to
    /// somebody else by now, or it could not even be read, so that it was never wired.
    #[must_use]
    pub fn nothing_there(&self) -> bool {
        let Self::Service { error, .. } = self else { return false };
        match meaning(error) {
            Meaning::NoBucket | Meaning::OtherRegion => true,
            Meaning::Denied => error.operation.starts_with("Get"),
            Meaning::Destination | Meaning::Policy | Meaning::Other => false,
        }
    }

    /// Whether it passes when the step is done again at once: somebody else was at it.
    #[must_use]
    pub fn passing(&self) -> bool {
        match self {
            Self::Unsettled(_) => true,
            Self::Service { error, .. } => error.status == Some(409),
            Self::Conflict(_) | Self::Policy(_) => false,
        }
    }

    /// Whether it may pass without anybody doing anything.
    #[must_use]
    pub fn retry(&self) -> bool {
        match self {
            Self::Service { error, .. } => self.passing() || error.retry(),
            Self::Unsettled(_) => true,
            Self::Conflict(_) | Self::Policy(_) => false,
        }
    }
}
