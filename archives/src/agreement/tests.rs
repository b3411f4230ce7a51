use std::io::Write as _;

use flate2::write::GzEncoder;
use flate2::{Compression, GzBuilder};

use super::*;
use crate::zip::tests::{
    CENTRAL, END, MEMBERS, changed, deflated, made, position, set, stored, streamed,
};

const BOUNDS: Bounds = Bounds { members: 10, member: 0, unpacked: 1 << 20 };
pub(crate) const DAMAGED: Result<(), Flaw> = Err(Flaw::No(Reason::Damaged));
pub(crate) const LOCAL: &[u8] = b"PK\x03\x04";

pub(crate) fn checked(bytes: &[u8]) -> Result<(), Flaw> {
    check(bytes, &BOUNDS)
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

pub(crate) fn tar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = ::tar::Builder::new(Vec::new());
    for (name, bytes) in members {
        let mut header = ::tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, *bytes).unwrap();
    }
    tar.into_inner().unwrap()
}

/// The first of two members only is in its directory.
pub(crate) fn one_unnamed(second: &[u8]) -> Vec<u8> {
    let mut zip = made(&[("a", b"seen"), ("b", second)], stored());
    let second = position(&zip, CENTRAL) + 47;
    let end = position(&zip, END);
    zip.drain(second..end);
    let end = position(&zip, END);
    set(&mut zip, end + 12, 47);
    changed(&zip, end + 8, &[1, 0, 1, 0])
}

pub(crate) fn lying() -> Vec<u8> {
    one_unnamed(b"hidden")
}

#[test]
fn programs_write_nothing_that_is_wrong() {
    let zips = [
        made(&MEMBERS, stored()),
        made(&MEMBERS, deflated()),
        made(&MEMBERS, stored().large_file(true)),
        made(&MEMBERS, deflated().large_file(true)),
        streamed(&MEMBERS, stored()),
        streamed(&MEMBERS, deflated()),
        streamed(&MEMBERS, stored().large_file(true)),
        streamed(&MEMBERS, deflated().large_file(true)),
        made(&[], stored()),
    ];
    for (index, zip) in zips.iter().enumerate() {
        for (place, file) in [
            ("bare", zip.clone()),
            ("in gzip", gzip(zip)),
            ("in two", gzip(&gzip(zip))),
            ("in a tar", tar(&[("a", b"text"), ("b", zip)])),
            ("in a packed tar", gzip(&tar(&[("a", zip)]))),
            ("stored", made(&[("a", zip)], stored())),
            ("streamed", streamed(&[("a", zip)], stored())),
            ("packed and streamed", streamed(&[("a", zip)], deflated())),
            ("with others", made(&[("a", zip), ("b", &gzip(zip))], deflated())),
        ] {
            assert_eq!(checked(&file), Ok(()), "zip {index}, {place}");
        }
    }
    // What begins with zeros is not taken for a descriptor of nothing.
    assert_eq!(checked(&streamed(&[("a", &[0; 9000])], stored())), Ok(()));
    for other in [&b""[..], b"PK\x03", b"\x1f\x8b", b"text", &[0; 5000], &tar(&[])] {
        assert_eq!(checked(other), Ok(()));
    }
}

#[test]
fn a_gzip_that_is_cut_off_is_damaged_at_any_depth() {
    let text: Vec<u8> = (0..2000_u32).flat_map(u32::to_le_bytes).collect();
    let whole = gzip(&text);
    for length in [10, 11, 100, whole.len() - 9, whole.len() - 8, whole.len() - 1] {
        let cut = &whole[..length];
        for (place, file) in [
            ("bare", cut.to_vec()),
            ("second of two", [&*whole, cut].concat()),
            ("in a zip", made(&[("a", cut)], stored())),
            ("in a packed zip", made(&[("a", cut)], deflated())),
            ("in a tar", tar(&[("a", b"x"), ("b", cut)])),
            ("in gzip", gzip(cut)),
        ] {
            assert_eq!(checked(&file), DAMAGED, "{length} bytes, {place}");
        }
    }
}

#[test]
fn bounds_hold_for_all_that_lies_in_each_other() {
    let zip = made(&MEMBERS, deflated());
    let within = |members, unpacked, file: &[u8]| {
        check(file, &Bounds { members, member: 0, unpacked }).map_err(|flaw| match flaw {
            Flaw::No(reason) => reason,
            Flaw::Stopped => unreachable!(),
        })
    };
    let nested = made(&[("a", &gzip(&zip)), ("b", &zip)], deflated());
    let bytes = (gzip(&zip).len() + 2 * (zip.len() + 21)) as u64;
    assert_eq!(within(8, bytes, &nested), Ok(()));
    assert_eq!(within(7, 1 << 20, &nested), Err(Reason::LimitFiles));
    for bytes in [0, 21, bytes / 2, bytes - 1] {
        assert_eq!(within(8, bytes, &nested), Err(Reason::LimitSize), "{bytes}");
    }
    let tar = tar(&[("a", &zip), ("b", &zip)]);
    assert_eq!(within(8, 1 << 20, &tar), Ok(()));
    assert_eq!(within(7, 1 << 20, &tar), Err(Reason::LimitFiles));
    // Also where a decoder in between takes it for damage.
    let long = GzBuilder::new().filename(vec![b'x'; 16_400]);
    let mut long = long.write(Vec::new(), Compression::default());
    long.write_all(b"text").unwrap();
    let long = gzip(&long.finish().unwrap());
    assert_eq!(within(0, 20_000, &long), Ok(()));
    assert_eq!(within(0, 9000, &long), Err(Reason::LimitSize));
    let zeros = gzip(&vec![0; 1 << 20]);
    assert_eq!(within(0, 1 << 20, &zeros), Ok(()));
    assert_eq!(within(0, (1 << 20) - 1, &zeros), Err(Reason::LimitSize));
}

#[test]
fn nesting_ends_at_clamavs_depth() {
    let deep = |levels: u32, wrap: fn(&[u8]) -> Vec<u8>| {
        (0..levels).fold(made(&[], stored()), |inside, _| wrap(&inside))
    };
    let bounds = Bounds { members: 1000, ..BOUNDS };
    for wrap in [
        |inside: &[u8]| made(&[("a", inside)], stored()),
        |inside: &[u8]| streamed(&[("a", inside)], deflated()),
        |inside: &[u8]| gzip(inside),
        |inside: &[u8]| tar(&[("a", inside)]),
    ] as [fn(&[u8]) -> Vec<u8>; 4]
    {
        assert_eq!(check(&*deep(MAX_DEPTH, wrap), &bounds), Ok(()));
        let deeper = check(&*deep(MAX_DEPTH + 1, wrap), &bounds);
        assert_eq!(deeper, Err(Flaw::No(Reason::LimitDepth)));
    }
    // Side by side is no depth.
    let many: Vec<_> = (0..200).map(|_| ("a", gzip(b"x"))).collect();
    let many: Vec<_> = many.iter().map(|(name, bytes)| (*name, &**bytes)).collect();
    assert_eq!(check(&*tar(&many), &bounds), Ok(()));
}

/// A reader that gives a byte at a time finds the same.
#[test]
fn how_the_bytes_come_does_not_matter() {
    struct Trickle<'a>(&'a [u8]);
    impl Read for Trickle<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let one = buffer.len().min(1);
            self.0.read(&mut buffer[..one])
        }
    }
    let text = vec![b'P'; 20_000];
    let zip = made(&[("a", &text), ("b", &gzip(&text))], stored());
    let streamed = streamed(&[("a", &text), ("b", &zip)], stored());
    for (file, end) in [(zip, Ok(())), (streamed, Ok(())), (gzip(&lying()), DAMAGED)] {
        assert_eq!(checked(&file), end);
        assert_eq!(check(Trickle(&file), &BOUNDS), end);
    }
}
