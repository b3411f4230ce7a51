//! How a run of freshclam ended → what became of the databases. Pure.
//!
//! freshclam ends with 0 when the servers answered 429 and nothing was updated, and its other exit
//! codes are not those of its manual page. So the headers of the databases, before and after, say
//! whether there is something new; its memory says whether it must stay away; exit code and words
//! only say why. (Measured with freshclam 1.4.6; `fc_error_t` in `libfreshclam.h`.)

use std::collections::BTreeMap;

use jiff::Timestamp;

/// How the process ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Its exit code; none when it was killed.
    pub code: Option<i32>,
    /// Whether it ended by itself.
    pub in_time: bool,
    /// What it said.
    pub words: String,
}

/// What the mirror gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// All databases are those that the mirror names.
    Current,
    /// The servers answered 429 or 403, now or earlier: nothing is asked of them until then.
    CoolDown(Timestamp),
    /// The mirror names a version that it does not hand out yet (or it limits the rate of
    /// increments: freshclam does not tell these apart).
    Behind,
    /// No connection.
    Down,
    /// The mirror answered with an error.
    Refused,
    /// A transfer ended early.
    Truncated,
    /// What came is not what ClamAV's makers signed.
    BadSignature,
    /// It was ended for taking too long.
    TimedOut,
    /// Anything else; its last words say what.
    Failed,
}

impl Outcome {
    /// A stable word for logs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::CoolDown(_) => "cool-down",
            Self::Behind => "mirror-behind",
            Self::Down => "mirror-down",
            Self::Refused => "mirror-refused",
            Self::Truncated => "truncated",
            Self::BadSignature => "bad-signature",
            Self::TimedOut => "timed-out",
            Self::Failed => "freshclam-failed",
        }
    }
}

/// What became of the databases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// What the mirror gave.
    pub outcome: Outcome,
    /// Names of the databases that are newer than before.
    pub updated: Vec<String>,
    /// freshclam's last words of trouble, for people.
    pub words: String,
}

/// Judges a run by the versions `before` and `after`, by name.
#[must_use]
pub fn judge(
    ended: &Ended,
    before: &BTreeMap<String, u32>,
    after: &BTreeMap<String, u32>,
    cool_down: Option<Timestamp>,
    now: Timestamp,
) -> Report {
    let newer = |(name, version): &(&String, &u32)| before.get(*name) < Some(*version);
    let updated = after.iter().filter(newer).map(|(name, _)| name.clone()).collect();
    Report { outcome: outcome(ended, cool_down, now), updated, words: trouble(&ended.words) }
}

fn outcome(ended: &Ended, cool_down: Option<Timestamp>, now: Timestamp) -> Outcome {
    let said = |words: &str| ended.words.contains(words);
    if let Some(until) = cool_down.filter(|until| *until > now) {
        return Outcome::CoolDown(until);
    }
    if !ended.in_time {
        return Outcome::TimedOut;
    }
    match ended.code {
        Some(0) if said("doesn't have the latest patch") || said("settle for") => Outcome::Behind,
        Some(0) => Outcome::Current,
        // FC_EBADCVD
        Some(7) => Outcome::BadSignature,
        _ if said("Transferred a partial file") => Outcome::Truncated,
        _ if said("Can't verify database integrity") => Outcome::BadSignature,
        _ if DOWN.iter().any(|words| said(words)) => Outcome::Down,
        _ if said("Unexpected response") || said("file not found") => Outcome::Refused,
        _ => Outcome::Failed,
    }
}

/// libcurl's words for a server that cannot be talked to (`curl_easy_strerror`).
const DOWN: [&str; 6] = [
    "Couldn't connect",
    "Couldn't resolve",
    "Timeout was reached",
    "Server returned nothing",
    "Failure when receiving data",
    "SSL",
];

/// The last lines that are about trouble, as one.
fn trouble(words: &str) -> String {
    let marked = |line: &&str| line.starts_with("ERROR:") || line.starts_with("WARNING:");
    let lines: Vec<&str> = words.lines().filter(marked).collect();
    let last = &lines[lines.len().saturating_sub(6)..];
    last.join(" | ").chars().take(1000).flat_map(char::escape_debug).collect()
}

/// Reads the cool-down out of freshclam's memory: 13 bytes of magic, then a C struct of version
/// (4 bytes), UUID (37), padding (7) and a `time_t` (`freshclam_dat_v1_t` of ClamAV 1.4, on 64-bit
/// little-endian Linux).
#[must_use]
pub fn cool_down(memory: &[u8]) -> Option<Timestamp> {
    let body = memory.strip_prefix(b"FreshClamData")?;
    let (version, seconds) = (body.get(..4)?, body.get(48..56)?);
    if version != [1, 0, 0, 0] {
        return None;
    }
    let seconds = i64::from_le_bytes(seconds.try_into().ok()?);
    if seconds == 0 {
        return None;
    }
    Timestamp::from_second(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(seconds: i64) -> Vec<u8> {
        let mut memory = b"FreshClamData".to_vec();
        memory.extend([1, 0, 0, 0]);
        memory.extend(b"bef852ff-ce65-4354-9b29-345df227272d\0");
        memory.extend([0; 7]);
        memory.extend(seconds.to_le_bytes());
        memory.extend([0; 21]);
        memory
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn versions(of: &[(&str, u32)]) -> BTreeMap<String, u32> {
        of.iter().map(|(name, version)| ((*name).to_owned(), *version)).collect()
    }

    #[test]
    fn the_cool_down_is_read_from_freshclams_memory() {
        assert_eq!(memory(1).len(), 90, "as freshclam 1.4.6 writes it");
        assert_eq!(cool_down(&memory(1_795_372_385)), Some(at(1_795_372_385)));
        assert_eq!(cool_down(&memory(0)), None);
        assert_eq!(cool_down(&memory(i64::MAX)), None);
        assert_eq!(cool_down(&memory(1)[..60]), None);
        assert_eq!(cool_down(b"nonsense"), None);
    }

    #[test]
    fn an_exit_code_of_zero_is_no_success_by_itself() {
        let ended = Ended { code: Some(0), in_time: true, words: String::new() };
        let same = versions(&[("daily", 5)]);
        let limited = judge(&ended, &same, &same, Some(at(100)), at(99));
        assert_eq!(limited.outcome, Outcome::CoolDown(at(100)));
        assert!(limited.updated.is_empty());
        let over = judge(&ended, &same, &same, Some(at(100)), at(100));
        assert_eq!(over.outcome, Outcome::Current);

        let words = "The database server doesn't have the latest patch for the daily database";
        let behind = Ended { words: words.into(), ..ended };
        assert_eq!(judge(&behind, &same, &same, None, at(0)).outcome, Outcome::Behind);
    }

    #[test]
    fn what_is_newer_is_told_by_the_headers() {
        let ended = Ended { code: Some(7), in_time: true, words: String::new() };
        let before = versions(&[("daily", 5), ("main", 63)]);
        let after = versions(&[("daily", 6), ("main", 63), ("bytecode", 1)]);
        assert_eq!(judge(&ended, &before, &after, None, at(0)).updated, ["bytecode", "daily"]);
    }

    #[test]
    fn failures_have_their_reasons() {
        for (code, in_time, words, outcome) in [
            (Some(5), true, "Message: Transferred a partial file", Outcome::Truncated),
            (Some(7), true, "Verification: Can't verify database integrity", Outcome::BadSignature),
            (Some(11), true, "Message: Couldn't connect to server", Outcome::Down),
            (Some(5), true, "Message: Server returned nothing (no headers)", Outcome::Down),
            (Some(11), true, "Unexpected response (500) from", Outcome::Refused),
            (Some(2), true, "", Outcome::Failed),
            (None, true, "", Outcome::Failed),
            (None, false, "", Outcome::TimedOut),
        ] {
            let ended = Ended { code, in_time, words: words.into() };
            let none = BTreeMap::new();
            assert_eq!(judge(&ended, &none, &none, None, at(0)).outcome, outcome, "{words}");
        }
    }

    #[test]
    fn only_the_last_words_of_trouble_are_quoted_and_they_are_one_line() {
        let words = "ok\nWARNING: a\x1b\nERROR: b\nmore\n";
        assert_eq!(trouble(words), "WARNING: a\\u{1b} | ERROR: b");
        assert_eq!(trouble(""), "");
        let long = format!("ERROR: {}\n", "x".repeat(5000)).repeat(9);
        assert!(trouble(&long).len() <= 1000);
    }
}
