//! `clean` means looked at: the honesty matrix, and what is said of it.

use std::collections::BTreeSet;

use function_common::clamd::honesty::SIGNATURES;
use s3s::crypto::{Checksum as _, Md5};
use scanner_tests::artefacts;
use scanner_tests::honesty::{self, Matrix, Ours, Word};

#[tokio::test]
async fn nothing_is_clean_that_was_not_looked_at_but_for_what_is_said_to_be() {
    let Matrix { lines, recognised } = honesty::matrix().await.unwrap();
    assert!(lines.len() > 800, "{} files", lines.len());
    let wrong: Vec<_> = lines
        .iter()
        .filter(|line| line.ours != line.expected)
        .map(|line| {
            let payload = if line.marked { "marker" } else { "clean" };
            format!("{}, {payload}: {}, not {}", line.name, line.ours, line.expected)
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));

    let signatures = SIGNATURES.lines().filter(|line| !line.starts_with('#'));
    let signatures: BTreeSet<_> = signatures.map(|line| line.split(';').next().unwrap()).collect();
    let untried: Vec<_> = signatures.iter().filter(|name| !recognised.contains(**name)).collect();
    assert!(untried.is_empty(), "signatures that recognise no file of the matrix: {untried:?}");

    let missed = lines.iter().filter(|line| line.marked && line.ours == Word::Clean);
    let named: BTreeSet<_> = missed.map(|line| line.blind.unwrap_or(&line.name)).collect();
    // The other way round too: a row whose files are found by now is no longer true.
    let path = artefacts::workspace().join("docs/SEMANTICS.md");
    let semantics = std::fs::read_to_string(path).unwrap();
    let (_, section) = semantics.split_once("## What no scanner of this kind can see").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let tried = section.lines().filter(|line| line.ends_with(" yes |"));
    let rows: BTreeSet<_> = tried.map(|line| line.split('|').nth(1).unwrap().trim()).collect();
    assert_eq!(named, rows, "what is clean unlooked, and what the table says of it");
}

/// What ClamAV's makers test their unpackers with: one program, packed in 43 ways.
#[tokio::test]
async fn clamavs_own_test_files_are_all_opened() {
    let folder = std::path::Path::new("/usr/share/clamav-testfiles");
    let program = std::fs::read(folder.join("clam.exe")).unwrap();
    let md5: String = Md5::checksum(&program).iter().map(|byte| format!("{byte:02x}")).collect();
    let ours = Ours::start(&format!("{md5}:{}:ClamAV.Test.File\n", program.len())).await.unwrap();
    let mut files = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let looked = ours.look(std::fs::read(&path).unwrap()).await.unwrap();
        assert_eq!(looked, Word::Infected, "{}", path.display());
        files += 1;
    }
    assert!(files >= 40, "{files} files; is the Debian package clamav-testfiles whole?");
}
