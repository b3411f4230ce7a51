use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use tar::Builder;

use super::*;
use crate::tests::{Walked, walked};

const BOUNDS: Bounds = Bounds { members: 10, member: 1000, unpacked: 100_000 };
const FIRST: &[u8] = b"one, one, one";
const SECOND: &[u8] = &[7; 600];

fn walk(tar: &[u8], packing: Packing, bounds: &Bounds) -> Walked {
    walked(|visit| super::walk(tar, packing, bounds, visit))
}

fn plain(tar: &[u8]) -> Walked {
    walk(tar, Packing::None, &BOUNDS)
}

fn entry(kind: EntryType, data: &[u8]) -> Vec<u8> {
    let mut header = Header::new_ustar();
    header.set_path("name").unwrap();
    header.set_entry_type(kind);
    header.set_size(data.len() as u64);
    header.set_cksum();
    let zeros = vec![0; padding(data.len() as u64)];
    [header.as_bytes(), data, &zeros].concat()
}

fn file(data: &[u8]) -> Vec<u8> {
    entry(EntryType::Regular, data)
}

fn tar_of(entries: &[Vec<u8>]) -> Vec<u8> {
    [entries.concat(), vec![0; 1024]].concat()
}

fn two() -> Vec<u8> {
    tar_of(&[file(FIRST), file(SECOND)])
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

fn record(text: &str) -> Vec<u8> {
    let length =
        (1..).find(|digits| (text.len() + digits + 2).to_string().len() == *digits).unwrap();
    format!("{} {text}\n", text.len() + length + 2).into_bytes()
}

#[test]
fn files_are_shown_and_what_has_no_data_is_not() {
    let mut builder = Builder::new(Vec::new());
    let mut header = Header::new_gnu();
    header.set_size(FIRST.len() as u64);
    builder.append_data(&mut header, "a/".repeat(150) + "long", FIRST).unwrap();
    let tar = [
        &builder.into_inner().unwrap()[..],
        &entry(EntryType::XHeader, &[record("path=with\nnewline"), record("mtime=1.5")].concat())[..],
        &file(SECOND),
    ];
    // The builder has written the end.
    let first = &tar[0][..tar[0].len() - 1024];
    let none = [
        file(b""),
        entry(EntryType::Directory, b""),
        entry(EntryType::Symlink, b""),
        entry(EntryType::Link, b""),
        entry(EntryType::Fifo, b""),
        entry(EntryType::XGlobalHeader, &record("comment=of git")),
    ];
    let tar = tar_of(&[first.to_vec(), none.concat(), tar[1].to_vec(), tar[2].to_vec()]);
    let bounds = Bounds { members: 20, ..BOUNDS };
    let shown = vec![Ok(FIRST.to_vec()), Ok(SECOND.to_vec())];
    assert_eq!(walk(&tar, Packing::None, &bounds), (shown, Ok(())));
}

#[test]
fn a_packed_tar_is_unpacked_in_all_its_streams() {
    let tar = two();
    let (front, back) = tar.split_at(700);
    let gzip = [packed(front), packed(back)].concat();
    let shown = vec![Ok(FIRST.to_vec()), Ok(SECOND.to_vec())];
    assert_eq!(walk(&gzip, Packing::Gzip, &BOUNDS), (shown, Ok(())));
}

#[test]
fn what_is_packed_but_no_tar_is_too_large_for_us() {
    let mut header = Header::new_old();
    header.set_size(0);
    header.set_cksum();
    for other in [&[b'x'; 2000][..], header.as_bytes()] {
        let refused = (vec![], Err(Flaw::No(Reason::TooLarge)));
        assert_eq!(walk(&packed(other), Packing::Gzip, &BOUNDS), refused);
    }
}

#[test]
fn bounds_are_kept() {
    let no = |reason| Err(Flaw::No(reason));
    let first = || Ok(FIRST.to_vec());
    let small = Bounds { member: 100, ..BOUNDS };
    let shown = vec![first(), Err(Reason::LimitSize)];
    assert_eq!(walk(&two(), Packing::None, &small), (shown, Ok(())));
    let few = Bounds { members: 1, ..BOUNDS };
    assert_eq!(walk(&two(), Packing::None, &few), (vec![first()], no(Reason::LimitFiles)));
    let little = Bounds { unpacked: 1024, ..BOUNDS };
    assert_eq!(walk(&two(), Packing::None, &little), (vec![first()], no(Reason::LimitSize)));
    // A bomb: 10 MB of zeros behind the end.
    let bomb = packed(&[two(), vec![0; 10 << 20]].concat());
    let (_, end) = walk(&bomb, Packing::Gzip, &BOUNDS);
    assert_eq!(end, no(Reason::LimitSize));
}

#[test]
fn what_readers_do_not_agree_on_is_refused() {
    let with_size = |field: &[u8]| {
        let mut header = Header::new_ustar();
        header.set_path("name").unwrap();
        header.as_old_mut().size[..field.len()].copy_from_slice(field);
        header.set_cksum();
        tar_of(&[header.as_bytes().to_vec(), FIRST.to_vec(), vec![0; padding(13)]])
    };
    let extended = |records: &[u8]| tar_of(&[entry(EntryType::XHeader, records), file(FIRST)]);
    let (unsupported, damaged) = (Reason::UnsupportedContainer, Reason::Damaged);
    for (what, tar, reason) in [
        ("a sparse file of GNU", tar_of(&[entry(EntryType::GNUSparse, FIRST)]), unsupported),
        ("an empty one", tar_of(&[entry(EntryType::GNUSparse, b"")]), unsupported),
        ("a sparse file of pax", extended(&record("GNU.sparse.major=1")), unsupported),
        ("a link with data", tar_of(&[entry(EntryType::Link, FIRST)]), unsupported),
        ("a folder with data", tar_of(&[entry(EntryType::Directory, FIRST)]), unsupported),
        ("a volume", tar_of(&[entry(EntryType::new(b'M'), FIRST)]), unsupported),
        ("another size in a record", extended(&record("size=0")), Reason::LimitSize),
        (
            "the same behind a newline",
            extended(&[record("a=\n"), record("size=0")].concat()),
            Reason::LimitSize,
        ),
        ("records that lie about their length", extended(b"99 path=x\n"), damaged),
        ("an empty record", extended(b"\n11 size=10\n"), damaged),
        ("a record without an end", extended(b"9 a=bcdef"), damaged),
        ("a number with a sign", extended(b"+8 a=bc\n"), damaged),
        (
            "a size in binary",
            with_size(&[0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 13]),
            Reason::LimitSize,
        ),
        ("a size with a sign", with_size(b"+0000000015\0"), damaged),
        ("a size with something behind", with_size(b"15\x00000000015"), damaged),
        ("another tar behind the end", [two(), two()].concat(), unsupported),
        ("a byte behind the end", [two(), vec![0; 600], vec![1]].concat(), unsupported),
        (
            "a name of megabytes",
            tar_of(&[entry(EntryType::GNULongName, &vec![b'x'; 1 << 21])]),
            unsupported,
        ),
    ] {
        let bounds = Bounds { unpacked: 1 << 22, ..BOUNDS };
        let (_, end) = walk(&tar, Packing::None, &bounds);
        assert_eq!(end, Err(Flaw::No(reason)), "{what}");
    }
    for size in [&b"         15 "[..], b"15 \0\0", b"00000000015\0", b"000000000015"] {
        assert_eq!(plain(&with_size(size)), (vec![Ok(FIRST.to_vec())], Ok(())), "{size:?}");
    }
}

#[test]
fn cut_anywhere_it_is_damaged() {
    let tar = two();
    // One block of zeros is an end.
    for length in 0..tar.len() - 512 {
        assert_eq!(plain(&tar[..length]).1, Err(Flaw::No(Reason::Damaged)), "{length}");
    }
    assert_eq!(plain(&tar[..tar.len() - 512]).1, Ok(()));
    let gzip = packed(&tar);
    for length in 0..gzip.len() {
        let (_, end) = walk(&gzip[..length], Packing::Gzip, &BOUNDS);
        assert_eq!(end, Err(Flaw::No(Reason::Damaged)), "{length}");
    }
    assert_eq!(
        walk(&[gzip, b"garbage".to_vec()].concat(), Packing::Gzip, &BOUNDS).1,
        Err(Flaw::No(Reason::Damaged))
    );
}

/// Whatever byte of a header is changed: its sum does not fit any more.
#[test]
fn no_byte_of_a_header_can_be_changed() {
    let tar = two();
    for at in (0..148).chain(156..512) {
        let mut changed = tar.clone();
        changed[at] ^= 0x11;
        assert!(plain(&changed).1.is_err(), "byte {at}");
    }
}

/// A tar of nothing, 1,024 zeros, as bzip2 packs it.
const BZIP2: &str =
    "425a683931415926535974f5adf70000044000c0000008200030802a6945ac38bb9229c28483a7ad6fb8";

/// The same by `xz`, between the properties of whose filter, which name the size of its dictionary,
/// and the sum of the block's header.
const XZ: (&str, &str) = (
    "fd377a585a000004e6d6b44602002101",
    "e003ff000b5d00006ffdffffa3b77f46320000000c276920976378c300012780080000002e79aeadb1c467fb\
     020000000004595a",
);

fn bytes(hex: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(digit).collect()
}

#[test]
fn bzip2_and_xz_are_unpacked_as_far_as_there_is_memory() {
    let xz = |header: &str| bytes(&[XZ.0, header, XZ.1].concat());
    let six = xz("16000000742fe5a3");
    let seven = xz("1800000047583a43");
    for (packing, tar) in [
        (Packing::Bzip2, bytes(BZIP2)),
        (Packing::Xz, six.clone()),
        (Packing::Xz, seven),
        (Packing::Xz, [&six[..], &six[..]].concat()),
    ] {
        assert_eq!(walk(&tar, packing, &BOUNDS), (vec![], Ok(())), "{packing:?}");
        let cut = &tar[..tar.len() - 5];
        assert_eq!(walk(cut, packing, &BOUNDS).1, Err(Flaw::No(Reason::Damaged)), "{packing:?}");
    }
    // -9 wants 64 MiB.
    let nine = xz("1c00000010cf58cc");
    let refused = Err(Flaw::No(Reason::UnsupportedContainer));
    assert_eq!(walk(&nine, Packing::Xz, &BOUNDS), (vec![], refused));
}
