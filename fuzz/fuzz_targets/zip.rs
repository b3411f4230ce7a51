//! A zip that is larger than ClamAV reads: anything at all, by anybody.
//!
//! Besides crashes it looks for what must not be: a member that another reader finds, by the
//! directory or from the first byte on, and that was not handed out although all was said to be well;
//! and more bytes than the bounds allow.
#![no_main]

use std::io::{Cursor, Read};

use archives::zip::Directory;
use archives::{Bounds, Flaw, Found};
use libfuzzer_sys::fuzz_target;

const BOUNDS: Bounds = Bounds { members: 20, member: 4096, unpacked: 16384 };

fuzz_target!(|input: &[u8]| {
    let mut shown: Vec<Vec<u8>> = Vec::new();
    let mut closed = 0;
    let end = Directory::read(input, input.len() as u64, &BOUNDS).and_then(|directory| {
        directory.walk(input, &BOUNDS, |found| {
            match found {
                Found::Closed(_) => closed += 1,
                Found::Member(member) => {
                    let mut bytes = Vec::new();
                    member.read_to_end(&mut bytes).map_err(|error| Flaw::from_read(&error))?;
                    assert!(bytes.len() as u64 <= BOUNDS.member, "a member is too large");
                    shown.push(bytes);
                }
            }
            Ok(())
        })
    });
    let total: usize = shown.iter().map(Vec::len).sum();
    assert!(total as u64 <= BOUNDS.unpacked, "{total} bytes");
    assert!(shown.len() as u64 + closed <= BOUNDS.members, "too many members");
    if end.is_err() || closed > 0 {
        return;
    }
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
    let mut stream = input;
    while let Ok(Some(mut member)) = zip::read::read_zipfile_from_stream(&mut stream) {
        let mut bytes = Vec::new();
        if member.read_to_end(&mut bytes).is_ok() && !bytes.is_empty() {
            assert!(shown.contains(&bytes), "{bytes:?} is in the stream and not in {shown:?}");
        }
    }
});
