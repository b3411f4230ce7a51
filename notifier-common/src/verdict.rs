use std::fmt;

use serde::{Deserialize, Serialize};

/// What was found out about one object. Never a boolean: "not clean" is not "infected".
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The engine looked at every byte and found nothing.
    Clean,
    /// The engine found at least one signature.
    Infected {
        /// The engine's names of what it found; never empty.
        signatures: Vec<String>,
    },
    /// No honest verdict can be given; `no` in tag and message.
    Unscannable {
        /// Why not.
        reason: Reason,
    },
}

impl Verdict {
    /// The word for this verdict in tag and message.
    #[must_use]
    pub fn status(&self) -> Status {
        match self {
            Self::Clean => Status::Clean,
            Self::Infected { .. } => Status::Infected,
            Self::Unscannable { .. } => Status::No,
        }
    }
}

/// The words of the `status` attribute and of the tag's value. There are exactly three; Widdix
/// subscribers map them by name, so they never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Looked at as a whole, nothing found.
    Clean,
    /// Something found.
    Infected,
    /// No verdict: not scanned, or not completely.
    No,
}

impl Status {
    /// The word as it stands in tag and message.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Infected => "infected",
            Self::No => "no",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What was done to an infected object; the `action` attribute. As with Widdix, it is `no` for
/// clean and unscanned objects even when they were tagged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Nothing that a subscriber must know of.
    No,
    /// The infected object carries the tag.
    Tag,
    /// The infected object (on a versioned bucket: this version) is deleted.
    Delete,
}

impl Action {
    /// The word as it stands in the message.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::Tag => "tag",
            Self::Delete => "delete",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why no honest verdict can be given. A closed list; `docs/SEMANTICS.md` says for each what the
/// owner can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// Larger than the engine can take, or than this function's `/tmp` can hold.
    TooLarge,
    /// Encrypted as a whole or in part, so that the engine could not look inside.
    Encrypted,
    /// Unpacks to more bytes than the engine was allowed to look at, or holds a member that does.
    LimitSize,
    /// Holds more members than the engine was allowed to look at.
    LimitFiles,
    /// Nested deeper than the engine was allowed to follow.
    LimitDepth,
    /// Another limit of the engine stopped it before the end.
    LimitOther,
    /// The engine did not finish in the time it has.
    TimeLimit,
    /// It is, or holds, a container that the engine cannot open.
    UnsupportedContainer,
    /// It is, or holds, an archive that was cut off, so that the engine could not open all of it.
    Damaged,
    /// The object lies in an archive storage class and cannot be read until it is restored.
    ArchivedStorageClass,
    /// The object is encrypted with a key that only its uploader has (SSE-C).
    CustomerKey,
}

impl Reason {
    /// Every reason there is, for tables and tests.
    pub const ALL: [Self; 11] = [
        Self::TooLarge,
        Self::Encrypted,
        Self::LimitSize,
        Self::LimitFiles,
        Self::LimitDepth,
        Self::LimitOther,
        Self::TimeLimit,
        Self::UnsupportedContainer,
        Self::Damaged,
        Self::ArchivedStorageClass,
        Self::CustomerKey,
    ];

    /// The word as it stands in the `reason` attribute.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TooLarge => "too-large",
            Self::Encrypted => "encrypted",
            Self::LimitSize => "limit-size",
            Self::LimitFiles => "limit-files",
            Self::LimitDepth => "limit-depth",
            Self::LimitOther => "limit-other",
            Self::TimeLimit => "time-limit",
            Self::UnsupportedContainer => "unsupported-container",
            Self::Damaged => "damaged",
            Self::ArchivedStorageClass => "archived-storage-class",
            Self::CustomerKey => "customer-key",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serde_and_as_str_say_the_same_words() {
        for reason in Reason::ALL {
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.as_str());
        }
        for status in [Status::Clean, Status::Infected, Status::No] {
            assert_eq!(serde_json::to_value(status).unwrap(), status.as_str());
        }
        for action in [Action::No, Action::Tag, Action::Delete] {
            assert_eq!(serde_json::to_value(action).unwrap(), action.as_str());
        }
    }

    #[test]
    fn the_three_words_are_those_that_widdix_subscribers_map() {
        let infected = Verdict::Infected { signatures: vec!["X".into()] };
        let unscannable = Verdict::Unscannable { reason: Reason::Encrypted };
        let words = [Verdict::Clean, infected, unscannable].map(|v| v.status().as_str());
        assert_eq!(words, ["clean", "infected", "no"]);
    }
}
