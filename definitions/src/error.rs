//! What can fail in a run, by step. Whatever it is, the generation before is still served.

use jiff::Timestamp;

use crate::bucket::BucketError;
use crate::container::ContainerError;
use crate::custom::CustomError;
use crate::freshclam::{FreshclamError, Outcome};
use crate::proof::ProofError;
use crate::publish::PublishError;
use crate::state::StateError;

/// The step that failed.
#[derive(Debug, thiserror::Error)]
pub enum UpdateError {
    /// A folder for work.
    #[error("cannot prepare a folder to work in; is the function's ephemeral storage full?")]
    WorkDir(#[source] std::io::Error),
    /// Asking what is served.
    #[error("cannot find out what is served")]
    Current(#[source] BucketError),
    /// Having freshclam's state, or keeping it.
    #[error("cannot fetch or save freshclam's state")]
    State(#[from] StateError),
    /// Running freshclam.
    #[error(transparent)]
    Freshclam(#[from] FreshclamError),
    /// Getting databases.
    #[error("{}{}", mirror_text(.outcome), words_text(.words))]
    Mirror {
        /// What the mirror gave.
        outcome: Outcome,
        /// freshclam's last words of trouble.
        words: String,
    },
    /// freshclam is content, and yet a database is not there.
    #[error("freshclam left no {0}; is it excluded by the mirror?")]
    Missing(String),
    /// The owner's files.
    #[error("cannot try the custom signatures")]
    Custom(#[from] CustomError),
    /// Cutting databases into shards.
    #[error("cannot cut the databases into shards")]
    Cut(#[from] ContainerError),
    /// Proving them.
    #[error("the shard {shard} of the new definitions is refused")]
    Proof {
        /// Which shard.
        shard: &'static str,
        /// Why.
        #[source]
        source: ProofError,
    },
    /// Publishing them.
    #[error("cannot publish the new definitions")]
    Publish(#[from] PublishError),
    /// Marking old generations.
    #[error("the new definitions are published, but old ones cannot be marked for deletion")]
    Retire(#[source] BucketError),
    /// Removing all of it with the stack.
    #[error("cannot empty the definitions bucket")]
    Empty(#[source] BucketError),
    /// A bug.
    #[error("a bug: the work panicked: {0}")]
    Panic(String),
}

impl UpdateError {
    /// A stable word for logs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::WorkDir(_) => "work-dir",
            Self::Current(_) => "manifest",
            Self::State(_) => "state",
            Self::Freshclam(_) => "freshclam",
            Self::Mirror { outcome, .. } => outcome.code(),
            Self::Missing(_) => "missing",
            Self::Custom(_) => "custom",
            Self::Cut(_) => "cut",
            Self::Proof { .. } => "proof",
            Self::Publish(_) => "publish",
            Self::Retire(_) => "retire",
            Self::Empty(_) => "empty",
            Self::Panic(_) => "panic",
        }
    }

    /// Whether a later run may end otherwise without anybody doing anything.
    #[must_use]
    pub fn retry(&self) -> bool {
        match self {
            Self::Current(error) | Self::Retire(error) | Self::Empty(error) => error.retry(),
            Self::State(StateError::Bucket(error))
            | Self::Custom(CustomError::Bucket(error))
            | Self::Publish(PublishError::Bucket(error)) => error.retry(),
            // The next version may be better.
            Self::Mirror { .. } | Self::Missing(_) | Self::Cut(_) | Self::Proof { .. } => true,
            Self::State(_) | Self::Custom(_) | Self::Publish(_) | Self::WorkDir(_) => true,
            Self::Freshclam(_) | Self::Panic(_) => false,
        }
    }
}

fn mirror_text(outcome: &Outcome) -> String {
    let at = |until: &Timestamp| until.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    match outcome {
        Outcome::CoolDown(until) => {
            return format!(
                "the mirror limits this client until {} and the definitions are stale or there \
                 are none; nothing is asked of it before",
                at(until)
            );
        }
        Outcome::Current => "the mirror has nothing newer",
        Outcome::Behind => {
            "the mirror names a newer version than it hands out, and the definitions are stale"
        }
        Outcome::Down => {
            "the mirror cannot be reached; can the function reach the internet, and is \
             DATABASE_MIRROR right?"
        }
        Outcome::Refused => "the mirror answers with an error; is DATABASE_MIRROR right?",
        Outcome::Truncated => "the download from the mirror ended early",
        Outcome::BadSignature => {
            "what the mirror sent is not signed by ClamAV's makers, or is damaged; it is not used"
        }
        Outcome::TimedOut => "freshclam took too long and was ended",
        Outcome::Failed => "freshclam failed",
    }
    .to_owned()
}

fn words_text(words: &str) -> String {
    if words.is_empty() { String::new() } else { format!("; freshclam said: {words}") }
}
