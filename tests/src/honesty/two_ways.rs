//! Archives that can be read in two ways, of which ClamAV goes one: what a reader finds that goes the
//! other way, clamd has not seen.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use notifier_common::Reason::Damaged;

use super::Expected::{Blind, No};
use super::payload::Payload;
use super::shapes::{Made, find, gzip_of_text, zip};
use crate::samples;

/// The words of the table in `docs/SEMANTICS.md`.
const UNCHECKED: &str = "a zip whose directory and members disagree, or a gzip that is cut off, but \
                         for bare ones and those in zip, gzip or tar";

/// In each, the payload is where ClamAV does not look.
pub(super) const TWO_WAYS: [Made; 9] = [
    ("zip, member that its directory does not name", unnamed, No(Damaged)),
    ("zip, length of a member that lies", lying, No(Damaged)),
    (
        "zip, the same in a tar",
        |payload| {
            let zip = lying(payload)?;
            let mut tar = tar::Builder::new(Vec::new());
            let mut header = tar::Header::new_gnu();
            header.set_size(zip.len() as u64);
            tar.append_data(&mut header, "a.zip", &*zip)?;
            Ok(tar.into_inner()?)
        },
        No(Damaged),
    ),
    (
        "zip, the same three zips deep",
        |payload| samples::zip_nested(&lying(payload)?, 3),
        No(Damaged),
    ),
    ("zip behind a zip", |payload| Ok([zip(&payload.text)?, zip(b"x")?].concat()), No(Damaged)),
    (
        "RAR behind a zip",
        |payload| Ok([&*zip(b"x")?, &*samples::rar5(&payload.gzip)].concat()),
        No(Damaged),
    ),
    (
        "RAR behind a gzip",
        |payload| Ok([&*gzip_of_text()?, &*samples::rar5(&payload.gzip)].concat()),
        No(Damaged),
    ),
    (
        "zip, length of a member that lies, in mail",
        |payload| {
            let head = "From: a@example.org\r\nSubject: x\r\nMIME-Version: 1.0\r\n\
                        Content-Type: application/zip; name=\"a.zip\"\r\n\
                        Content-Transfer-Encoding: base64\r\n\r\n";
            Ok([head, &BASE64_STANDARD.encode(lying(payload)?), "\r\n"].concat().into_bytes())
        },
        Blind(UNCHECKED),
    ),
    (
        "zip, length of a member that lies, behind a text",
        |payload| Ok([b"text\n", &*lying(payload)?].concat()),
        Blind(UNCHECKED),
    ),
];

/// Two members, of which the directory names the first.
fn unnamed(payload: &Payload) -> anyhow::Result<Vec<u8>> {
    let zip = samples::zip_of(&[("a", b"x"), ("b", &payload.text)])?;
    let directory = find(&zip, b"PK\x01\x02")?;
    let second = directory + 4 + find(&zip[directory + 4..], b"PK\x01\x02")?;
    let end = find(&zip, b"PK\x05\x06")?;
    let mut file = [&zip[..second], &zip[end..]].concat();
    let at = file.len() - 22;
    file[at + 8..at + 12].copy_from_slice(&[1, 0, 1, 0]);
    let length = u32::try_from(second - directory)?.to_le_bytes();
    file[at + 12..at + 16].copy_from_slice(&length);
    Ok(file)
}

fn lying(payload: &Payload) -> anyhow::Result<Vec<u8>> {
    samples::zip_lying(&[("file.txt", &payload.text)])
}
