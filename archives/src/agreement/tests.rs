use std::io::{Cursor, Write as _};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;
use crate::zip::tests::{
    CENTRAL, END, MEMBERS, changed, deflated, inserted, made, moved, number, position, set, stored,
    streamed,
};

const BOUNDS: Bounds = Bounds { members: 10, member: 0, unpacked: 1 << 20 };
const DAMAGED: Result<(), Flaw> = Err(Flaw::No(Reason::Damaged));
const LOCAL: &[u8] = b"PK\x03\x04";

fn checked(bytes: &[u8]) -> Result<(), Flaw> {
    check(bytes, &BOUNDS)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

fn tar(members: &[(&str, &[u8])]) -> Vec<u8> {
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
fn one_unnamed(second: &[u8]) -> Vec<u8> {
    let mut zip = made(&[("a", b"seen"), ("b", second)], stored());
    let second = position(&zip, CENTRAL) + 47;
    let end = position(&zip, END);
    zip.drain(second..end);
    let end = position(&zip, END);
    set(&mut zip, end + 12, 47);
    changed(&zip, end + 8, &[1, 0, 1, 0])
}

/// The first member is said to be one byte long, by itself and by the directory.
fn less_unpacked(zip: &[u8]) -> Vec<u8> {
    changed(&changed(zip, 22, &[1]), position(zip, CENTRAL) + 24, &[1])
}

/// Something before the directory's second entry, counted in its length.
fn amid_directory(zip: &[u8], what: &[u8]) -> Vec<u8> {
    let first = position(zip, CENTRAL) + 1;
    let mut zip = inserted(zip, first + position(&zip[first..], CENTRAL), what);
    let length = position(&zip, END) + 12;
    let directory = number(&zip, length) + u32::try_from(what.len()).unwrap();
    set(&mut zip, length, directory);
    zip
}

fn lying() -> Vec<u8> {
    one_unnamed(b"hidden")
}

/// What has pairs of 40 bytes between its two lengths.
fn signing_block() -> Vec<u8> {
    let length = 64_u64.to_le_bytes();
    [&length, &[7; 40][..], &length, b"APK Sig Block 42"].concat()
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
    for other in [&b""[..], b"PK\x03", b"\x1f\x8b", b"text", &[0; 5000], &tar(&[])] {
        assert_eq!(checked(other), Ok(()));
    }
}

#[test]
fn what_hides_nothing_is_forgiven() {
    let zip = made(&MEMBERS, deflated());
    let (central, end) = (position(&zip, CENTRAL), position(&zip, END));
    let second = 1 + position(&zip[1..], LOCAL);
    let mut sum = changed(&zip, 14, &[0]);
    sum[central + 16] = 0;
    let commented = changed(&zip, end + 20, &[7, 0]);
    let described = [&b"PK\x07\x08sum?"[..], &zip[18..26]].concat();
    let mut signed = inserted(&zip, end, b"PK\x05\x05\x02\0xx");
    let length = number(&signed, end + 8 + 12) + 8;
    set(&mut signed, end + 8 + 12, length);
    let mut empty = streamed(&[("a", b"")], stored());
    let named = position(&empty, CENTRAL);
    (empty[8], empty[named + 10]) = (8, 8);
    for (what, zip) in [
        ("a packed member without even an end", empty),
        ("a directory with a signature", signed),
        ("a wrong checksum", sum),
        ("zeros between members", inserted(&zip, second, &[0; 3000])),
        ("zeros before the directory", inserted(&zip, central, &[0; 9])),
        ("a descriptor that nobody announced", inserted(&zip, second, &described)),
        ("a block of signatures", inserted(&zip, central, &signing_block())),
        ("zeros and such a block", inserted(&zip, central, &[&[0; 9], &*signing_block()].concat())),
        ("a member without data that nobody names", one_unnamed(b"")),
        ("another name", changed(&zip, 30, b"F")),
        ("a comment", [&*commented, b"comment"].concat()),
        ("a comment that is cut off", commented),
        ("zeros behind", [&*zip, &[0; 5000]].concat()),
        ("text behind", [&*zip, b"PK, PK\x03, PK\x05, Rar!, 7z"].concat()),
    ] {
        assert_eq!(checked(&zip), Ok(()), "{what}");
    }
    let mut sum = gzip(b"text");
    let length = sum.len();
    sum[length - 8] ^= 1;
    for (what, gzip) in [
        ("gzip with a wrong checksum", sum),
        ("gzip with text behind", [&*gzip(b"text"), b"more"].concat()),
        ("gzip with its own first byte behind", [&*gzip(b"text"), b"\x1f"].concat()),
        ("two gzip", [gzip(b"text"), gzip(b"more")].concat()),
    ] {
        assert_eq!(checked(&gzip), Ok(()), "{what}");
    }
}

#[test]
fn a_zip_that_can_be_read_in_two_ways_is_damaged_at_any_depth() {
    let zip = made(&MEMBERS, deflated());
    let (central, end) = (position(&zip, CENTRAL), position(&zip, END));
    let second = 1 + position(&zip[1..], LOCAL);
    let behind_stream = {
        let mut long = inserted(&zip, second, b"behind");
        let central = position(&long, CENTRAL);
        for field in [18, central + 20] {
            let packed = number(&long, field) + 6;
            set(&mut long, field, packed);
        }
        long
    };
    let half_block = &signing_block()[..70];
    for (what, zip) in [
        ("an unnamed member", lying()),
        ("a shorter member", changed(&zip, 18, &[1])),
        ("a shorter member in the directory", changed(&zip, central + 20, &[1])),
        ("less unpacked", changed(&zip, 22, &[1])),
        ("less unpacked in the directory", changed(&zip, central + 24, &[1])),
        ("less unpacked in both", less_unpacked(&zip)),
        ("less unpacked in both, stored", less_unpacked(&made(&MEMBERS, stored()))),
        ("another method", changed(&zip, 8, &[0])),
        ("another method in the directory", changed(&zip, central + 10, &[0])),
        ("encrypted by the directory", changed(&zip, central + 8, &[1])),
        ("encrypted by the member", changed(&zip, 6, &[1])),
        ("a member elsewhere", changed(&zip, central + 42, &[1])),
        ("a directory elsewhere", changed(&zip, end + 16, &[1])),
        ("a longer directory", changed(&zip, end + 12, &[zip[end + 12] + 1])),
        ("a number that only zip64 has", changed(&zip, end + 8, &[0xff; 4])),
        ("a length that only zip64 has", changed(&zip, end + 12, &[0xff; 4])),
        ("a place that only zip64 has", changed(&zip, end + 16, &[0xff; 4])),
        ("a directory that begins later", changed(&zip, end + 16, &[zip[end + 16] + 1])),
        ("one member less in the directory", changed(&zip, end + 10, &[2])),
        ("one member less on this volume", changed(&zip, end + 8, &[2])),
        ("text between members", inserted(&zip, second, b"text")),
        ("a signature amid the directory", amid_directory(&zip, b"PK\x05\x05\0\0")),
        ("zeros amid the directory", amid_directory(&zip, &[0; 9])),
        ("a member amid the directory", amid_directory(&zip, &made(&MEMBERS, stored())[..43])),
        ("text before the directory", inserted(&zip, central, b"text that is long enough")),
        ("text before the end", inserted(&zip, end, b"text")),
        ("half a block of signatures", inserted(&zip, central, half_block)),
        ("bytes behind a stream", behind_stream),
        ("a zip behind", [&*zip, &*zip].concat()),
        ("a member behind", [&*zip, LOCAL].concat()),
        ("an end behind", [&*zip, END].concat()),
        ("RAR 4 behind", [&*zip, b"Rar!\x1a\x07\0"].concat()),
        ("RAR 5 behind", [&*zip, b"...Rar!\x1a\x07\x01\0"].concat()),
        ("7z behind", [&*zip, b"7z\xbc\xaf\x27\x1c"].concat()),
        ("a zip behind a gzip", [&*gzip(b"text"), b"..", &zip].concat()),
        ("RAR behind a gzip", [&*gzip(b"text"), b"Rar!\x1a\x07\0"].concat()),
    ] {
        for (place, file) in [
            ("bare", zip.clone()),
            ("stored", made(&[("a", b"x"), ("b", &zip)], stored())),
            ("packed", made(&[("a", &zip)], deflated())),
            ("streamed", streamed(&[("a", &zip)], stored())),
            ("in gzip", gzip(&zip)),
            ("in a tar", tar(&[("a", b"x"), ("b", &zip)])),
            ("deep", gzip(&tar(&[("a", &made(&[("b", &gzip(&zip))], deflated()))]))),
        ] {
            assert_eq!(checked(&file), DAMAGED, "{what}, {place}");
        }
    }
}

/// The same with the end of zip64 before its own, whose fields are then not used.
fn with_zip64_end(zip: &[u8]) -> Vec<u8> {
    let (central, end) = (position(zip, CENTRAL) as u64, position(zip, END));
    let count = u64::from(zip[end + 8]);
    let mut record = b"PK\x06\x06\x2f\0\0\0\0\0\0\0-\0-\0\0\0\0\0\0\0\0\0".to_vec();
    for number in [count, count, end as u64 - central, central] {
        record.extend(number.to_le_bytes());
    }
    record.extend(b"abcPK\x06\x07\0\0\0\0");
    record.extend((end as u64).to_le_bytes());
    record.extend([1, 0, 0, 0]);
    let zip = changed(zip, end + 8, &[0xff; 12]);
    [&zip[..end], &record, &zip[end..]].concat()
}

#[test]
fn the_end_of_zip64_must_say_the_truth_too() {
    let zip = with_zip64_end(&made(&MEMBERS, deflated()));
    assert_eq!(checked(&zip), Ok(()));
    let (record, locator) = (position(&zip, b"PK\x06\x06"), position(&zip, b"PK\x06\x07"));
    for at in (record + 4..record + 12).chain(record + 24..record + 56).chain(locator..locator + 16)
    {
        if (locator + 4..locator + 8).contains(&at) {
            continue; // A volume's number.
        }
        assert_eq!(checked(&changed(&zip, at, &[zip[at] ^ 1])), DAMAGED, "byte {at}");
    }
    // The fields of old, where they are used.
    let end = position(&zip, END);
    for (at, value) in [(8, 2), (10, 2), (12, 1), (16, 1)] {
        let zip = changed(&changed(&zip, end + at, &[0; 4]), end + at, &[value]);
        assert_eq!(checked(&zip), DAMAGED, "field {at}");
    }
}

#[test]
fn a_descriptor_that_says_something_else_is_found_out() {
    for (zip, lengths) in [
        (streamed(&MEMBERS, stored()), 8),
        (streamed(&MEMBERS, deflated()), 8),
        (streamed(&MEMBERS, deflated().large_file(true)), 16),
    ] {
        let descriptor = position(&zip, b"PK\x07\x08") + 8;
        for at in descriptor..descriptor + lengths {
            assert_eq!(checked(&changed(&zip, at, &[zip[at] ^ 0x11])), DAMAGED, "byte {at}");
        }
    }
}

#[test]
fn descriptors_without_their_signature_are_read() {
    for (zip, lengths) in [
        (streamed(&MEMBERS, deflated()), [8, 4]),
        (streamed(&MEMBERS, deflated().large_file(true)), [16, 8]),
    ] {
        let mut bare = zip.clone();
        let descriptor = position(&bare, b"PK\x07\x08");
        bare.drain(descriptor..descriptor + 4);
        let bare = moved(bare, descriptor, -4);
        assert_eq!(checked(&bare), Ok(()));
        let second = descriptor + 4 + lengths[1];
        assert_eq!(checked(&changed(&bare, second, &[bare[second] ^ 1])), DAMAGED);
    }
}

#[test]
fn an_encrypted_directory_is_encrypted() {
    let zip = made(&MEMBERS, deflated());
    let zip = inserted(&zip, position(&zip, CENTRAL), b"PK\x06\x08");
    assert_eq!(checked(&zip), Err(Flaw::No(Reason::Encrypted)));
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
fn a_zip_that_is_cut_off_anywhere_is_damaged() {
    for zip in [made(&MEMBERS, deflated()), streamed(&MEMBERS, stored())] {
        for length in 4..zip.len() {
            assert_eq!(checked(&zip[..length]), DAMAGED, "{length}");
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

/// Whatever byte is changed to whatever it may be: when all is said to be well, a reader that goes by
/// the directory and one that goes by the members find the same in it.
#[test]
fn readers_agree_about_whatever_is_said_to_be_well() {
    let members: [(&str, &[u8]); 2] = [("a", b"one, one, one, one"), ("bc", b"two")];
    for zip in
        [made(&members, stored()), made(&members, deflated()), streamed(&members, deflated())]
    {
        let mut refused = 0;
        for at in 0..zip.len() {
            for value in 0..=u8::MAX {
                let changed = changed(&zip, at, &[value]);
                if checked(&changed).is_err() {
                    refused += 1;
                    continue;
                }
                // A wrong checksum.
                let Some(named) = by_directory(&changed) else { continue };
                for member in by_members(&changed) {
                    assert!(named.contains(&member), "byte {at} as {value}: {member:?}");
                }
            }
        }
        assert!(refused > zip.len() * 50, "{refused} of {} changes were refused", zip.len() * 256);
    }
}

/// What a reader finds that goes by the directory; none if it does not like one of the members.
fn by_directory(file: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut zip = ::zip::ZipArchive::new(Cursor::new(file)).ok()?;
    let mut found = Vec::new();
    for index in 0..zip.len() {
        let mut bytes = Vec::new();
        zip.by_index(index).ok()?.read_to_end(&mut bytes).ok()?;
        found.push(bytes);
    }
    Some(found)
}

/// What one finds that goes from member to member.
fn by_members(mut file: &[u8]) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    while let Ok(Some(mut member)) = ::zip::read::read_zipfile_from_stream(&mut file) {
        let mut bytes = Vec::new();
        if member.read_to_end(&mut bytes).is_ok() && !bytes.is_empty() {
            found.push(bytes);
        }
    }
    found
}
