//! The layer on its own, in a root with nothing else.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, ensure};
use clamav_client::tokio::{Socket, scan_buffer};
use scanner_tests::artefacts::{self, Arch};
use scanner_tests::empty_root::EmptyRoot;
use scanner_tests::layer_clamd::LayerClamd;
use scanner_tests::samples;

/// What the build promises; Lambda allows 250 MB for the function and all its layers.
const MAX_BYTES: u64 = 100_000_000;

const BOTH: [Arch; 2] = [Arch::X86_64, Arch::Arm64];

/// The version that a program of the layer says.
fn version(arch: Arch, program: &str) -> anyhow::Result<String> {
    let loader = match arch {
        Arch::X86_64 => "/opt/clamav/lib/ld-linux-x86-64.so.2",
        Arch::Arm64 => "/opt/clamav/lib/ld-linux-aarch64.so.1",
    };
    let program = format!("/opt/clamav/bin/{program}");
    // Neither says its version without a configuration file, but both take an empty one.
    let arguments = ["--library-path", "/opt/clamav/lib", &program];
    let settings = ["--config-file=/dev/null", "--version"];
    let output = EmptyRoot::new(arch)?.run(loader, &[&arguments[..], &settings[..]].concat())?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program} {}: {errors}", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn its_programs_need_nothing_of_their_host() {
    for (arch, program) in
        [(BOTH[0], "clamd"), (BOTH[0], "freshclam"), (BOTH[1], "clamd"), (BOTH[1], "freshclam")]
    {
        let version = version(arch, program).unwrap();
        assert!(version.starts_with("ClamAV 1."), "{} {program}: {version}", arch.name());
    }
}

#[test]
fn it_says_what_it_is_made_of_and_under_which_licences() {
    for arch in BOTH {
        let folder = artefacts::layer(arch).unwrap().join("clamav");
        let list = std::fs::read_to_string(folder.join("packages.txt")).unwrap();
        let debian = if arch == Arch::X86_64 { "amd64" } else { "arm64" };
        let mut packages = BTreeMap::new();
        for line in list.lines() {
            let [name, version, built_for, digest] =
                line.split_whitespace().collect::<Vec<_>>()[..]
            else {
                panic!("not four columns: {line}")
            };
            assert!([debian, "all"].contains(&built_for), "{line}");
            assert!(digest.len() == 64 && digest.bytes().all(|b| b.is_ascii_hexdigit()), "{line}");
            packages.insert(name, version);
        }
        for needed in ["clamav-daemon", "clamav-freshclam", "libclamav12", "libclamunrar12"] {
            assert!(packages.contains_key(needed), "{needed} is not listed for {}", arch.name());
        }
        for entry in std::fs::read_dir(folder.join("licenses")).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            if name != "common-licenses" {
                assert!(packages.remove(name.as_str()).is_some(), "{name} gave no file");
                let text = std::fs::read_to_string(entry.path().join("copyright")).unwrap();
                assert!(text.len() > 100, "{name}: {text}");
            }
        }
        // These gave texts only: the common ones, and that of libgcc and libstdc++.
        packages.retain(|name, _| *name != "base-files" && !name.starts_with("gcc-"));
        assert!(packages.is_empty(), "without a licence: {packages:?}");
    }
}

#[test]
fn it_stays_small() {
    for arch in BOTH {
        let bytes = bytes_in(&artefacts::layer(arch).unwrap()).unwrap();
        assert!(bytes > 10_000_000, "{} is empty: {bytes}", arch.name());
        assert!(bytes <= MAX_BYTES, "{} has {bytes} bytes", arch.name());
    }
}

fn bytes_in(folder: &Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() { bytes_in(&entry.path())? } else { metadata.len() };
    }
    Ok(bytes)
}

#[tokio::test]
async fn its_clamd_opens_what_it_must() {
    let clamd = LayerClamd::start(100 << 20).await.unwrap();
    let eicar = samples::eicar();
    for (what, bytes, infected) in [
        ("a text", samples::text(), false),
        ("plain EICAR", eicar.clone(), true),
        ("a zip", samples::zip_nested(&eicar, 3).unwrap(), true),
        // Neither of EICAR's signatures is one for the middle of a file: these were unpacked.
        ("a RAR 4", samples::rar4(&eicar).unwrap(), true),
        ("a RAR 5", samples::rar5(&eicar), true),
        ("a RAR 5 of text", samples::rar5(&samples::text()), false),
    ] {
        let connection = Socket { socket_path: clamd.socket() };
        let answer = scan_buffer(&bytes, connection, None).await.unwrap();
        let answer = String::from_utf8(answer).unwrap();
        let expected = if infected { "Eicar" } else { "stream: OK" };
        assert!(answer.contains(expected), "{what}: {answer}");
    }
}

#[test]
fn its_rar_module_is_where_libclamav_looks() {
    for arch in BOTH {
        let libraries = artefacts::layer(arch).unwrap().join("clamav/lib");
        let count = std::fs::read_dir(&libraries)
            .unwrap()
            .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
            .filter(|name| name.starts_with("libclamunrar_iface.so"))
            .count();
        assert_eq!(count, 1, "{}", libraries.display());
    }
}
