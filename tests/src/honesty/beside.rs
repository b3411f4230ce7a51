//! Several things in one file. clamd reports one weak name of several, so none must be lost behind
//! another: not an archive that it cannot open behind a Windows program, which the base shard names
//! too, nor malware behind either.

use notifier_common::Reason::{Encrypted, UnsupportedContainer as Unsupported};

use super::Expected::Beside;
use super::payload::Payload;
use super::shapes::Made;
use crate::samples;

/// In each, the marker is in the part that is opened.
pub(super) const BESIDE: [Made; 10] = [
    (
        "marker behind a Zstandard",
        |payload| samples::zip_of(&[("a.zst", &zstandard()?), ("b.txt", &payload.text)]),
        Beside(Unsupported),
    ),
    (
        "marker before a Zstandard",
        |payload| samples::zip_of(&[("a.txt", &payload.text), ("b.zst", &zstandard()?)]),
        Beside(Unsupported),
    ),
    (
        "marker three zips deeper than a Zstandard",
        |payload| {
            let deep = samples::zip_nested(&payload.text, 3)?;
            samples::zip_of(&[("a.zst", &zstandard()?), ("b.zip", &deep)])
        },
        Beside(Unsupported),
    ),
    (
        "marker before an encrypted zip",
        |payload| samples::zip_of(&[("a.txt", &payload.text), ("b.zip", &encrypted()?)]),
        Beside(Encrypted),
    ),
    (
        "program behind a Zstandard",
        |payload| samples::zip_of(&[("a.zst", &zstandard()?), ("b.exe", &program(payload))]),
        Beside(Unsupported),
    ),
    (
        "program before a Zstandard",
        |payload| samples::zip_of(&[("a.exe", &program(payload)), ("b.zst", &zstandard()?)]),
        Beside(Unsupported),
    ),
    (
        "program three zips deeper than a Zstandard",
        |payload| {
            let deep = samples::zip_nested(&program(payload), 3)?;
            samples::zip_of(&[("a.zst", &zstandard()?), ("b.zip", &deep)])
        },
        Beside(Unsupported),
    ),
    (
        "Zstandard three zips deeper than a program",
        |payload| {
            let deep = samples::zip_nested(&zstandard()?, 3)?;
            samples::zip_of(&[("a.exe", &program(payload)), ("b.zip", &deep)])
        },
        Beside(Unsupported),
    ),
    (
        "program with a Debian package in it",
        |payload| Ok([program(payload), samples::zip_of(&[("x.deb", b"!<arch>\n")])?].concat()),
        Beside(Unsupported),
    ),
    (
        "marker between a zip of an unknown method and a program",
        |payload| {
            let mut unknown = samples::zip_of(&[("x", b"x")])?;
            unknown[8] = 77;
            let (text, program) = (&payload.text, samples::program(b"nothing in it"));
            samples::zip_of(&[("a.zip", &unknown), ("b.txt", text), ("c.exe", &program)])
        },
        Beside(Unsupported),
    ),
];

/// A Windows program; its marker is one that only the shard for programs knows.
fn program(payload: &Payload) -> Vec<u8> {
    samples::program(if payload.marked { samples::PE_MARKER } else { b"nothing in it" })
}

fn zstandard() -> anyhow::Result<Vec<u8>> {
    Ok(zstd::encode_all(&*samples::text(), 3)?)
}

fn encrypted() -> anyhow::Result<Vec<u8>> {
    samples::zip_encrypted(b"x", "secret")
}
