use std::io::Cursor;

use super::*;
use crate::agreement::tests::{DAMAGED, LOCAL, checked, gzip, lying, one_unnamed, tar};
use crate::zip::tests::{
    CENTRAL, END, MEMBERS, changed, deflated, inserted, made, moved, number, position, set, stored,
    streamed,
};

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

/// What has pairs of 40 bytes between its two lengths.
fn signing_block() -> Vec<u8> {
    let length = 64_u64.to_le_bytes();
    [&length, &[7; 40][..], &length, b"APK Sig Block 42"].concat()
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
    let streamed = streamed(&MEMBERS, deflated());
    let named = position(&empty, CENTRAL);
    (empty[8], empty[named + 10]) = (8, 8);
    for (what, zip) in [
        ("a packed member without even an end", empty),
        ("lengths of which zip64 says no more", changed(&streamed, 18, &[0xff; 8])),
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
        ("a member amid the directory", amid_directory(&zip, &made(&[("a", b"")], stored())[..31])),
        ("text before the directory", inserted(&zip, central, b"text that is long enough")),
        ("text before the end", inserted(&zip, end, b"text")),
        ("half a block of signatures", inserted(&zip, central, half_block)),
        ("a block of two lengths", inserted(&zip, central, &changed(&signing_block(), 48, &[63]))),
        (
            "a block of something else",
            inserted(&zip, central, &changed(&signing_block(), 60, b"X")),
        ),
        ("bytes behind a stream", behind_stream),
        ("a zip behind", [&*zip, &*zip].concat()),
        ("a member behind", [&*zip, LOCAL].concat()),
        ("an end behind", [&*zip, END].concat()),
        ("RAR 4 behind", [&*zip, b"Rar!\x1a\x07\0"].concat()),
        ("RAR 5 behind", [&*zip, b"...Rar!\x1a\x07\x01\0"].concat()),
        ("7z behind", [&*zip, b"..7z\xbc\xaf\x27\x1c"].concat()),
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
fn a_zip_that_is_cut_off_anywhere_is_damaged() {
    for zip in [made(&MEMBERS, deflated()), streamed(&MEMBERS, stored())] {
        for length in 4..zip.len() {
            assert_eq!(checked(&zip[..length]), DAMAGED, "{length}");
        }
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
