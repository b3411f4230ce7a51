//! A zip that is larger than ClamAV reads: anything at all, by anybody.
//!
//! Besides crashes it looks for what must not be: a member that another reader finds, by the
//! directory or from the first byte on, and that was not handed out although all was said to be well;
//! and more bytes than the bounds allow.
#![no_main]

mod by_members;
mod shown;

use std::io::{Cursor, Read};

use archives::zip::Directory;
use by_members::by_members;
use libfuzzer_sys::fuzz_target;
use shown::{BOUNDS, shown};

fuzz_target!(|input: &[u8]| {
    let shown = shown(|visit| {
        let directory = Directory::read(input, input.len() as u64, &BOUNDS)?;
        directory.walk(input, &BOUNDS, visit)
    });
    let Some(shown) = shown else { return };
    // By the directory.
    if let Ok(mut archive) = zip::ZipArchive::new(Cursor::new(input)) {
        for index in 0..archive.len() {
            let mut bytes = Vec::new();
            let Ok(member) = archive.by_index(index) else { continue };
            if member.take(BOUNDS.member + 1).read_to_end(&mut bytes).is_ok() && !bytes.is_empty() {
                assert!(
                    shown.contains(&bytes),
                    "{bytes:?} is in the directory and not in {shown:?}"
                );
            }
        }
    }
    // From the first byte on.
    for bytes in by_members(input) {
        assert!(shown.contains(&bytes), "{bytes:?} is in the stream and not in {shown:?}");
    }
});
