//! A tar that is larger than ClamAV reads, packed or not: anything at all, by anybody. The first
//! byte says how it is packed.
//!
//! Besides crashes it looks for what must not be: a file that another reader finds, and that was not
//! handed out although all was said to be well; and more bytes than the bounds allow.
#![no_main]

use std::io::Read;

use archives::{Bounds, Flaw, Found, Packing};
use libfuzzer_sys::fuzz_target;

const BOUNDS: Bounds = Bounds { members: 20, member: 4096, unpacked: 1 << 20 };

fuzz_target!(|input: &[u8]| {
    let Some((first, input)) = input.split_first() else { return };
    let packing = match first {
        b'g' => Packing::Gzip,
        b'b' => Packing::Bzip2,
        b'x' => Packing::Xz,
        _ => Packing::None,
    };
    let mut shown: Vec<Vec<u8>> = Vec::new();
    let mut closed = 0;
    let end = archives::tar::walk(input, packing, &BOUNDS, |found| {
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
    });
    let total: usize = shown.iter().map(Vec::len).sum();
    assert!(total as u64 <= BOUNDS.unpacked, "{total} bytes");
    assert!(shown.len() as u64 + closed <= BOUNDS.members, "too many members");
    if end.is_err() || closed > 0 {
        return;
    }
    let mut tar = Vec::new();
    packing.unpack(input).read_to_end(&mut tar).expect("it was unpacked before");
    let mut archive = tar::Archive::new(&*tar);
    archive.set_ignore_zeros(true);
    let Ok(entries) = archive.entries() else { return };
    for mut entry in entries.map_while(Result::ok) {
        let mut bytes = Vec::new();
        if entry.read_to_end(&mut bytes).is_ok() && !bytes.is_empty() {
            assert!(shown.contains(&bytes), "{bytes:?} is in it and not in {shown:?}");
        }
    }
});
