//! The packaged function as a file.

use std::process::Command;

use anyhow::{Context as _, ensure};
use scanner_tests::artefacts;
use scanner_tests::samples::eicar;

/// The C library of `provided.al2023` (Amazon Linux 2023 release notes).
const GLIBC: (u32, u32) = (2, 34);

/// A cold start loads it; what it was when this was written and a fifth.
const MAX_BYTES: u64 = 15_000_000;

fn readelf(option: &str) -> anyhow::Result<String> {
    let output = Command::new(artefacts::host_program("readelf")?)
        .args(["--wide", option])
        .arg(artefacts::bootstrap()?)
        .env("LC_ALL", "C")
        .output()
        .context("running readelf")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

#[test]
fn runs_on_the_c_library_of_the_runtime() {
    let text = readelf("--version-info").unwrap();
    let needed: Vec<(u32, u32)> = text
        .split("Name: GLIBC_")
        .skip(1)
        .map(|rest| {
            let version = rest.split_whitespace().next().unwrap();
            let mut numbers = version.split('.').map(|number| number.parse().unwrap());
            (numbers.next().unwrap(), numbers.next().unwrap())
        })
        .collect();
    assert!(!needed.is_empty(), "{text}");
    assert!(needed.iter().all(|version| *version <= GLIBC), "it needs {needed:?}");
}

#[test]
fn needs_only_libraries_of_the_runtime() {
    let text = readelf("--dynamic").unwrap();
    let needed = text.lines().filter(|line| line.contains("(NEEDED)"));
    for line in needed {
        let known = ["libc.so.6", "libm.so.6", "libgcc_s.so.1", "ld-linux-", "libpthread.so.0"];
        let known = known.iter().chain(&["libdl.so.2", "librt.so.1"]);
        assert!(known.into_iter().any(|name| line.contains(name)), "{line}");
    }
}

#[test]
fn is_a_program_for_the_architecture() {
    let header = readelf("--file-header").unwrap();
    for expected in ["Class:                             ELF64", "X86-64"] {
        assert!(header.contains(expected), "{header}");
    }
    let segments = readelf("--program-headers").unwrap();
    assert!(segments.contains("/lib64/ld-linux-x86-64.so.2"), "{segments}");
}

#[test]
fn is_small_and_no_scanner_takes_it_for_malware() {
    let bytes = std::fs::read(artefacts::bootstrap().unwrap()).unwrap();
    assert!(bytes.len() as u64 <= MAX_BYTES, "it has {} bytes", bytes.len());
    let (eicar, name) = (eicar(), b"EICAR-STANDARD");
    assert!(!bytes.windows(eicar.len()).any(|window| window == eicar), "it holds EICAR");
    assert!(!bytes.windows(name.len()).any(|window| window == name), "it holds EICAR's name");
}
