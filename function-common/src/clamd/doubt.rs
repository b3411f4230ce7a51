//! Doubts: lines of clamd's debug log that say that something was not opened, or not all of it,
//! where its answer is `OK` all the same. Pure.
//!
//! The lines are those of ClamAV 1.4.6, each seen with a file that gives it or read in its source.
//! They are no interface, but the layer pins the version, and the honesty matrix has such files. A
//! line is known by its beginning, so that a name in it, which is its maker's to choose, hides
//! nothing. A name with a line break in it can say such a line itself; whoever does so gets a `no`.

use notifier_common::Reason;

/// How what clamd says only with `Debug yes` begins.
pub(super) const DEBUG: &[u8] = b"LibClamAV debug: ";

/// What one line means.
#[derive(Debug)]
pub(super) struct Doubt {
    /// How it begins.
    pub(super) line: &'static str,
    /// What is not whole about the file.
    pub(super) reason: Reason,
}

/// The first that was said is the one that counts, so the telling ones come first.
pub(super) const DOUBTS: [Doubt; 13] = [
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
    damaged("LibClamAV debug: ARJ: cli_unarj_extract_file Error"),
    // Of LHA; the same words in the same place are not used for other formats.
    damaged("LibClamAV debug: Error reading file Err("),
];

const fn damaged(line: &'static str) -> Doubt {
    Doubt { line, reason: Reason::Damaged }
}

const fn unsupported(line: &'static str) -> Doubt {
    Doubt { line, reason: Reason::UnsupportedContainer }
}

/// The place in [`DOUBTS`] of what a line says; none for chatter.
pub(super) fn of(line: &[u8]) -> Option<usize> {
    DOUBTS.iter().position(|doubt| line.starts_with(doubt.line.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clamd_says_of_what_it_could_not_open_is_a_doubt() {
        for (line, reason) in [
            ("debug: cli_unz: extraction failed with 4", Reason::UnsupportedContainer),
            ("debug: cli_unz: extraction failed with 3", Reason::Damaged),
            ("debug: cli_unzip: extraction failed", Reason::Damaged),
            ("debug: GZip: Bad stream, data in output buffer.", Reason::Damaged),
            ("Error: cli_scanxz: decompress error: 1", Reason::Damaged),
            (
                "debug: ARJ: cli_unarj_extract_file Error: Bad format or broken data",
                Reason::Damaged,
            ),
        ] {
            let place = of(format!("LibClamAV {line}").as_bytes()).expect(line);
            assert_eq!(DOUBTS[place].reason, reason, "{line}");
        }
    }

    #[test]
    fn chatter_and_names_in_it_are_none() {
        for line in [
            "",
            "LibClamAV debug: ",
            "LibClamAV debug: cli_7unz: completed successfully",
            // The end of each ARJ.
            "LibClamAV debug: ARJ: cli_unarj_prepare_file Error: Unknown error code",
            "LibClamAV debug: cli_7unz: extracting LibClamAV debug: cli_unz: extraction failed",
            "cli_unzip: extraction failed",
        ] {
            assert_eq!(of(line.as_bytes()), None, "{line}");
        }
    }
}
