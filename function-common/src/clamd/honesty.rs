//! The honesty database: signatures of our own that name what clamd would answer `OK` to without
//! having looked inside. Every clamd that is started here loads it, whatever its definitions are.
//! Pure.
//!
//! clamd opens what it can and says nothing of the rest. These signatures recognise the rest, bare
//! and at any depth to which clamd opens what is around it. Their names begin with `Heuristics.`:
//! such a name is reported only when nothing stronger matched, so malware beside an archive that
//! cannot be opened is still found. It is also the reason why each shard loads them: clamd reports
//! one weak name of several, and in the base shard that may be the one of a Windows program.
//!
//! `docs/SEMANTICS.md` lists what no signature can recognise.

use notifier_common::Reason;

/// The signatures, in ClamAV's logical format (ClamAV manual, "Logical signatures"), each with what
/// it is for.
pub const SIGNATURES: &str = include_str!("honesty.ldb");

/// One more, for a clamd that does not open RAR: RAR 4 and 5, also behind a program that unpacks it,
/// where the first header of the archive has to be there as well.
pub const RAR: &str = "\
Heuristics.S3-Virusscan.Unsupported.Rar;Engine:81-255,Target:0;0|1|2;\
0:526172211a07(00|01);526172211a0700????73????0d00;526172211a070100??????????(01|04)\n";

/// Where their names begin; a kind and what was recognised follow.
pub const PREFIX: &str = "Heuristics.S3-Virusscan.";

/// The kinds.
const KINDS: [(&str, Reason); 3] = [
    ("Unsupported.", Reason::UnsupportedContainer),
    ("Encrypted.", Reason::Encrypted),
    ("Damaged.", Reason::Damaged),
];

/// What the name of one of [`SIGNATURES`] says; none for all other names.
#[must_use]
pub fn reason(name: &str) -> Option<Reason> {
    let rest = name.strip_prefix(PREFIX)?;
    KINDS.iter().find(|(kind, _)| rest.starts_with(kind)).map(|(_, reason)| *reason)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_signature_has_a_name_of_its_own_that_says_why() {
        assert!(SIGNATURES.ends_with('\n'), "another line can follow");
        let mut names = BTreeSet::new();
        let lines = SIGNATURES.lines().filter(|line| !line.starts_with('#'));
        for line in lines.chain(RAR.lines()) {
            let name = line.split(';').next().unwrap();
            assert!(reason(name).is_some(), "{line}");
            assert!(names.insert(name), "{name} twice");
            assert!(line.contains(",Target:0;"), "for files of every type: {line}");
        }
        assert!(names.len() > 70, "{} signatures", names.len());
    }

    #[test]
    fn other_names_say_nothing() {
        for name in [
            "S3-Virusscan.Unsupported.Zip",
            "Heuristics.Unsupported.Zip",
            "Heuristics.S3-Virusscan.PortableExecutable",
            "Heuristics.S3-Virusscan.Unsupported",
        ] {
            assert_eq!(reason(name), None, "{name}");
        }
    }
}
