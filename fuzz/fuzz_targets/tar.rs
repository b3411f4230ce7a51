//! A tar that is larger than ClamAV reads, packed or not: anything at all, by anybody. The first
//! byte says how it is packed.
//!
//! Besides crashes it looks for what must not be: a file that another reader finds, and that was not
//! handed out although all was said to be well; and more bytes than the bounds allow.
#![no_main]

mod shown;

use std::io::Read;

use archives::Packing;
use libfuzzer_sys::fuzz_target;
use shown::{BOUNDS, shown};

fuzz_target!(|input: &[u8]| {
    let Some((first, input)) = input.split_first() else { return };
    let packing = match first {
        b'g' => Packing::Gzip,
        b'b' => Packing::Bzip2,
        b'x' => Packing::Xz,
        _ => Packing::None,
    };
    let shown = shown(|visit| archives::tar::walk(input, packing, &BOUNDS, visit));
    let Some(shown) = shown else { return };
    let mut tar = Vec::new();
    packing.unpack(input).read_to_end(&mut tar).expect("it was unpacked before");
    let mut archive = tar::Archive::new(&*tar);
    archive.set_ignore_zeros(true);
    let Ok(entries) = archive.entries() else { return };
    for mut entry in entries.map_while(Result::ok) {
        let kind = entry.header().entry_type();
        if !(kind.is_file() || kind.is_contiguous()) {
            continue;
        }
        let mut bytes = Vec::new();
        if entry.read_to_end(&mut bytes).is_ok() && !bytes.is_empty() {
            assert!(shown.contains(&bytes), "{bytes:?} is in it and not in {shown:?}");
        }
    }
});
