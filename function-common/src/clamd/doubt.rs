//! Doubts: lines of clamd's debug log that say that something was not opened, or not all of it,
//! where its answer is `OK` all the same. Pure.
//!
//! The lines are those of ClamAV 1.4.6. They are no interface, but the layer pins the version, and
//! the honesty matrix has files that give them.
//! They are looked for wherever they stand: libclamav cuts a message that is too long for its buffer,
//! and with it the line break, so that after a long name the next message begins in the same line.
//! A name, which is its maker's to choose, can say such a line itself; whoever does so gets a `no`.

use memchr::memmem;
use notifier_common::Reason;

/// How what clamd says only with `Debug yes` begins.
pub(super) const DEBUG: &[u8] = b"LibClamAV debug: ";

/// What one line means.
#[derive(Debug)]
pub(super) struct Doubt {
    /// Its beginning.
    pub(super) line: &'static str,
    /// What is not whole about the file.
    pub(super) reason: Reason,
}

/// The first that was said is the one that counts, so the telling ones come first.
pub(super) const DOUBTS: [Doubt; 15] = [
    // 4 is `SZ_ERROR_UNSUPPORTED` of the LZMA SDK: a coder that ClamAV has not.
    unsupported("LibClamAV debug: cli_unz: extraction failed with 4"),
    unsupported("LibClamAV debug: cli_7unz: unsupported"),
    damaged("LibClamAV debug: cli_unz: extraction failed"),
    damaged("LibClamAV debug: cli_unzip: extraction failed"),
    damaged("LibClamAV debug: cli_unzip: central not found, using localhdrs"),
    damaged("LibClamAV debug: GZip: Bad stream"),
    damaged("LibClamAV debug: Bzip: decompress error"),
    damaged("LibClamAV debug: Bzip: premature end"),
    damaged("LibClamAV Error: cli_scanxz: decompress error"),
    damaged("LibClamAV Error: cli_scanxz: premature end"),
    damaged("LibClamAV debug: cli_scanmscab() failed to extract"),
    damaged("LibClamAV debug: WARNING; bad block checksum found"),
    damaged("LibClamAV debug: MSZIP error,"),
    damaged("LibClamAV debug: ARJ: cli_unarj_extract_file Error"),
    // Of LHA.
    damaged("LibClamAV debug: Error reading file Err("),
];

const fn damaged(line: &'static str) -> Doubt {
    Doubt { line, reason: Reason::Damaged }
}

const fn unsupported(line: &'static str) -> Doubt {
    Doubt { line, reason: Reason::UnsupportedContainer }
}

/// What each of them begins with.
const START: &[u8] = b"LibClamAV ";

/// Looks for doubts in what clamd says, which may come in any pieces.
#[derive(Debug, Default)]
pub(super) struct Finder {
    /// The end of what came, if it may be the beginning of one.
    tail: Vec<u8>,
}

impl Finder {
    /// Calls `found` with the place in [`DOUBTS`] of each that ends in `bytes`.
    pub(super) fn find(&mut self, bytes: &[u8], mut found: impl FnMut(usize)) {
        self.tail.extend_from_slice(bytes);
        let mut at = 0;
        while let Some(next) = memmem::find(&self.tail[at..], START) {
            let here = &self.tail[at + next..];
            let is_open = |doubt: &Doubt| doubt.line.as_bytes().starts_with(here);
            let of = |doubt: &Doubt| here.starts_with(doubt.line.as_bytes());
            match DOUBTS.iter().position(of) {
                // A longer one before it in the table may still come.
                Some(place) if !DOUBTS[..place].iter().any(is_open) => found(place),
                None if !DOUBTS.iter().any(is_open) => {}
                _ => {
                    self.tail.drain(..at + next);
                    return;
                }
            }
            at += next + START.len();
        }
        // What may be the beginning of the next.
        let rest = self.tail.len() - at;
        let keep = rest.min(START.len() - 1);
        self.tail.drain(..at + rest - keep);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The reasons found in `text`, when it comes in pieces of `size` bytes.
    fn found(text: &str, size: usize) -> Vec<Reason> {
        let mut finder = Finder::default();
        let mut reasons = Vec::new();
        for piece in text.as_bytes().chunks(size) {
            finder.find(piece, |place| reasons.push(DOUBTS[place].reason));
        }
        reasons
    }

    #[test]
    fn what_clamd_says_of_what_it_could_not_open_is_a_doubt() {
        for (line, reason) in [
            ("debug: cli_unz: extraction failed with 4", Reason::UnsupportedContainer),
            ("debug: cli_unz: extraction failed with 3", Reason::Damaged),
            ("debug: cli_unzip: extraction failed", Reason::Damaged),
            ("debug: GZip: Bad stream, data in output buffer.", Reason::Damaged),
            ("Error: cli_scanxz: decompress error: 1", Reason::Damaged),
            ("debug: WARNING; bad block checksum found", Reason::Damaged),
            (
                "debug: ARJ: cli_unarj_extract_file Error: Bad format or broken data",
                Reason::Damaged,
            ),
        ] {
            let line =
                format!("LibClamAV debug: chatter\nLibClamAV {line}\nLibClamAV debug: more\n");
            for size in [1, 7, 30, 1000] {
                assert_eq!(found(&line, size), [reason], "{line} in pieces of {size}");
            }
        }
    }

    #[test]
    fn one_behind_a_message_that_was_cut_is_found_in_the_middle_of_a_line() {
        let cut = format!("LibClamAV debug: cli_7unz: extracting {}", "x".repeat(9000));
        let text = format!("{cut}LibClamAV debug: cli_unz: extraction failed with 3\n");
        for size in [1, 100, 8192, 20_000] {
            assert_eq!(found(&text, size), [Reason::Damaged], "in pieces of {size}");
        }
    }

    #[test]
    fn chatter_is_none() {
        for line in [
            "",
            "LibClamAV debug: \n",
            "LibClamAV debug: cli_7unz: completed successfully\n",
            // The end of each ARJ.
            "LibClamAV debug: ARJ: cli_unarj_prepare_file Error: Unknown error code\n",
            "cli_unzip: extraction failed\n",
            "LibClamAV LibClamAV LibClamAV \n",
        ] {
            for size in [1, 5, 1000] {
                assert_eq!(found(line, size), [], "{line}");
            }
        }
    }
}
