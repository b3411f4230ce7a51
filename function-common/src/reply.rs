//! clamd's answer → what it means. Pure.
//!
//! There are more than two answers. The `contains("OK")` that most clients live on calls a dead
//! clamd, an encrypted archive and a crossed limit one of "clean" and "infected"; here they are
//! what they are.

use notifier_common::Reason;

use crate::clamd::honesty;
use crate::manifest::PORTABLE_EXECUTABLE;

/// Why an answer is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    /// The connection ended without an answer: clamd died, or refused the stream.
    #[error("clamd closed the connection without an answer")]
    Empty,
    /// clamd says that it could not scan.
    #[error("clamd answered with an error: `{text}`")]
    Error {
        /// Its words.
        text: String,
    },
    /// Nothing that clamd is known to say.
    #[error("clamd answered something unknown: `{text}`")]
    Unknown {
        /// The start of it.
        text: String,
    },
}

/// What clamd says about one stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It looked at everything that its definitions are for, and knows nothing bad of it.
    Clean,
    /// It knows this signature of it.
    Infected(String),
    /// It did not look at everything, or could not, for this reason and in its own words: a name, or
    /// the start of its answer.
    Unscannable(Reason, String),
    /// It did, but there is a Windows program inside that the other shard has to look at
    /// ([`PORTABLE_EXECUTABLE`]).
    PortableExecutable,
}

/// Reads the answer to one `INSTREAM` (clamd(8); the spellings were taken from clamd 1.4.6).
///
/// # Errors
/// Every answer that is neither `OK` nor a finding. None of them is a verdict.
pub fn parse(reply: &[u8]) -> Result<Answer, ReplyError> {
    let text = String::from_utf8_lossy(reply);
    // NUL ends an answer to a `z` command; a read time-out ends in a newline all the same.
    let text = text.trim_end_matches(['\0', '\n']);
    if text.is_empty() {
        return Err(ReplyError::Empty);
    }
    if text == "INSTREAM size limit exceeded. ERROR" {
        return Ok(Answer::Unscannable(Reason::TooLarge, start(text)));
    }
    if text == "COMMAND READ TIMED OUT" || text.ends_with(" ERROR") {
        return Err(ReplyError::Error { text: start(text) });
    }
    match text.strip_prefix("stream: ") {
        Some("OK") => Ok(Answer::Clean),
        Some(found) => match found.strip_suffix(" FOUND") {
            Some(name) if is_name(name) => Ok(answer(name)),
            _ => Err(ReplyError::Unknown { text: start(text) }),
        },
        None => Err(ReplyError::Unknown { text: start(text) }),
    }
}

/// Signature names are one printable word; anything else is an answer we do not understand.
fn is_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| !c.is_control() && !c.is_whitespace())
}

/// What a reported name says: most are infections, but the names of crossed limits, of encryption
/// and of the honesty database only say that the engine did not look at everything.
///
/// clamd appends `.UNOFFICIAL` to names from databases that ClamAV's makers did not sign. All that
/// it loads here was put together, and proven, by our updater, so the word says nothing.
fn answer(name: &str) -> Answer {
    let name = name.strip_suffix(".UNOFFICIAL").unwrap_or(name);
    if name == PORTABLE_EXECUTABLE {
        return Answer::PortableExecutable;
    }
    match unscannable(name) {
        Some(reason) => Answer::Unscannable(reason, name.to_owned()),
        None => Answer::Infected(name.to_owned()),
    }
}

fn unscannable(name: &str) -> Option<Reason> {
    if let Some(limit) = name.strip_prefix("Heuristics.Limits.Exceeded") {
        return Some(match limit.trim_start_matches('.') {
            "MaxFileSize" | "MaxScanSize" => Reason::LimitSize,
            "MaxFiles" => Reason::LimitFiles,
            "MaxRecursion" => Reason::LimitDepth,
            "MaxScanTime" => Reason::TimeLimit,
            _ => Reason::LimitOther,
        });
    }
    if name.starts_with("Heuristics.Encrypted.") {
        return Some(Reason::Encrypted);
    }
    honesty::reason(name)
}

fn start(text: &str) -> String {
    text.chars().take(200).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn infected(name: &str) -> Result<Answer, ReplyError> {
        Ok(Answer::Infected(name.into()))
    }

    fn no(reason: Reason, said: &str) -> Result<Answer, ReplyError> {
        Ok(Answer::Unscannable(reason, said.into()))
    }

    #[test]
    fn ok_is_clean_and_nothing_that_contains_it_is() {
        assert_eq!(parse(b"stream: OK\0"), Ok(Answer::Clean));
        for reply in [
            "OK",
            "stream: OK OK",
            "stream: OK\0stream: OK",
            "stream:OK",
            "fd[9]: OK",
            "stream: ok",
            "1: stream: OK",
        ] {
            assert!(matches!(parse(reply.as_bytes()), Err(ReplyError::Unknown { .. })), "{reply}");
        }
    }

    #[test]
    fn a_name_found_is_an_infection() {
        assert_eq!(
            parse(b"stream: Win.Test.EICAR_HDB-1 FOUND\0"),
            infected("Win.Test.EICAR_HDB-1")
        );
        assert_eq!(parse(b"stream: My.Rule.UNOFFICIAL FOUND\0"), infected("My.Rule"));
        let phishing = "Heuristics.Phishing.Email.SpoofedDomain";
        assert_eq!(parse(format!("stream: {phishing} FOUND\0").as_bytes()), infected(phishing));
    }

    #[test]
    fn crossed_limits_and_encryption_are_no_infection_and_not_clean() {
        for (name, reason) in [
            ("Heuristics.Limits.Exceeded.MaxFileSize", Reason::LimitSize),
            ("Heuristics.Limits.Exceeded.MaxScanSize", Reason::LimitSize),
            ("Heuristics.Limits.Exceeded.MaxFiles", Reason::LimitFiles),
            ("Heuristics.Limits.Exceeded.MaxRecursion", Reason::LimitDepth),
            ("Heuristics.Limits.Exceeded.MaxScanTime", Reason::TimeLimit),
            ("Heuristics.Limits.Exceeded.EmailHeaders", Reason::LimitOther),
            ("Heuristics.Limits.Exceeded", Reason::LimitOther),
            ("Heuristics.Encrypted.Zip", Reason::Encrypted),
            ("Heuristics.Encrypted.PDF", Reason::Encrypted),
            ("Heuristics.S3-Virusscan.Encrypted.Ooxml.UNOFFICIAL", Reason::Encrypted),
            ("Heuristics.S3-Virusscan.Unsupported.Zip.Method", Reason::UnsupportedContainer),
            ("Heuristics.S3-Virusscan.Damaged.Xz.UNOFFICIAL", Reason::Damaged),
        ] {
            let said = name.trim_end_matches(".UNOFFICIAL");
            assert_eq!(parse(format!("stream: {name} FOUND\0").as_bytes()), no(reason, said));
        }
        let too_large = "INSTREAM size limit exceeded. ERROR";
        assert_eq!(parse(too_large.as_bytes()), no(Reason::TooLarge, too_large));
    }

    #[test]
    fn a_windows_program_is_neither_an_infection_nor_clean() {
        let reply = format!("stream: {PORTABLE_EXECUTABLE}.UNOFFICIAL FOUND\0");
        assert_eq!(parse(reply.as_bytes()), Ok(Answer::PortableExecutable));
        let longer = format!("{PORTABLE_EXECUTABLE}.Not");
        assert_eq!(parse(format!("stream: {longer} FOUND\0").as_bytes()), infected(&longer));
    }

    #[test]
    fn no_answer_and_error_answers_are_errors() {
        assert_eq!(parse(b""), Err(ReplyError::Empty));
        assert_eq!(parse(b"\0"), Err(ReplyError::Empty));
        for text in
            ["stream: Can't write to file ERROR", "COMMAND READ TIMED OUT", "stream: x FOUND ERROR"]
        {
            assert!(
                matches!(parse(format!("{text}\n").as_bytes()), Err(ReplyError::Error { .. })),
                "{text}"
            );
        }
    }

    #[test]
    fn garbage_is_an_error_and_is_quoted_safely() {
        for reply in [
            &b"\xff\xfe"[..],
            b"stream:  FOUND",
            b"stream: a b FOUND",
            b"FOUND",
            b"PONG",
            b"UNKNOWN COMMAND",
        ] {
            assert!(matches!(parse(reply), Err(ReplyError::Unknown { .. })), "{reply:?}");
        }
        let Err(ReplyError::Unknown { text }) = parse(&[b'\x1b'; 5000]) else { panic!() };
        assert!(text.len() <= 1200 && !text.contains('\x1b'));
    }
}
