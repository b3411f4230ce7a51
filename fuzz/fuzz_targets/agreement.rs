//! An archive that ClamAV opens: anything at all, by anybody.
//!
//! Besides crashes it looks for what must not be: a zip in which a reader that goes by the members
//! finds what one that goes by the directory does not, and that was said to be well.
#![no_main]

mod by_members;

use std::io::{Cursor, Read};

use archives::{Bounds, Format, agreement};
use by_members::by_members;
use libfuzzer_sys::fuzz_target;

const BOUNDS: Bounds = Bounds { members: 20, member: u64::MAX, unpacked: 1 << 20 };

fuzz_target!(|input: &[u8]| {
    if agreement::check(input, &BOUNDS).is_err() || Format::of(input) != Some(Format::Zip) {
        return;
    }
    let Some(named) = by_directory(input) else { return };
    for bytes in by_members(input) {
        assert!(named.contains(&bytes), "{bytes:?} is a member and not in the directory");
    }
});

/// What the directory leads to. None where this reader does not go by it alone: it refuses it, or one
/// of the members for its checksum, or takes names for members, of which there may be two alike.
fn by_directory(input: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut zip = zip::ZipArchive::new(Cursor::new(input)).ok()?;
    let entries = input.windows(4).filter(|window| *window == b"PK\x01\x02").count();
    if zip.len() != entries {
        return None;
    }
    let mut found = Vec::new();
    for index in 0..zip.len() {
        let mut bytes = Vec::new();
        zip.by_index(index).ok()?.read_to_end(&mut bytes).ok()?;
        found.push(bytes);
    }
    Some(found)
}
