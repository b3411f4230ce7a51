use std::io::{Cursor, Write as _};

use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::*;
use crate::tests::{Walked, walked};

const BOUNDS: Bounds = Bounds { members: 10, member: 1000, unpacked: 2000 };

fn walk(zip: &[u8], bounds: &Bounds) -> Walked {
    walked(|visit| {
        let directory = Directory::read(zip, zip.len() as u64, bounds)?;
        directory.walk(zip, bounds, visit)
    })
}

pub(crate) fn made(members: &[(&str, &[u8])], options: SimpleFileOptions) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in members {
        zip.start_file(*name, options).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

pub(crate) fn deflated() -> SimpleFileOptions {
    SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated)
}

pub(crate) fn stored() -> SimpleFileOptions {
    SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored)
}

/// As programs write it that cannot go back in their output.
pub(crate) fn streamed(members: &[(&str, &[u8])], options: SimpleFileOptions) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut zip = ZipWriter::new_stream(&mut bytes);
    for (name, content) in members {
        zip.start_file(*name, options).unwrap();
        zip.write_all(content).unwrap();
    }
    zip.finish().unwrap();
    bytes
}

pub(crate) fn position(zip: &[u8], what: &[u8]) -> usize {
    zip.windows(what.len()).position(|window| window == what).expect("it is there")
}

pub(crate) const CENTRAL: &[u8] = b"PK\x01\x02";
pub(crate) const END: &[u8] = b"PK\x05\x06";
pub(crate) const MEMBERS: [(&str, &[u8]); 3] =
    [("first", b"one, one, one"), ("empty", b""), ("dir/second", b"two, two")];

#[test]
fn every_member_is_shown_as_it_was_packed() {
    let large = stored().large_file(true);
    for zip in [
        made(&MEMBERS, stored()),
        made(&MEMBERS, deflated()),
        made(&MEMBERS, large),
        streamed(&MEMBERS, stored()),
        streamed(&MEMBERS, deflated()),
        streamed(&MEMBERS, large),
    ] {
        let (shown, end) = walk(&zip, &BOUNDS);
        assert_eq!(end, Ok(()));
        assert_eq!(shown, [Ok(MEMBERS[0].1.to_vec()), Ok(MEMBERS[2].1.to_vec())]);
    }
    let nothing = made(&[], stored());
    assert_eq!(walk(&nothing, &BOUNDS), (vec![], Ok(())));
}

#[test]
fn what_a_visitor_leaves_is_passed_over_and_a_visitor_can_stop() {
    let zip = made(&MEMBERS, deflated());
    let directory = Directory::read(&*zip, zip.len() as u64, &BOUNDS).unwrap();
    let mut seen = 0;
    let end = directory.walk(&*zip, &BOUNDS, |_| {
        seen += 1;
        Ok(())
    });
    assert_eq!((seen, end), (2, Ok(())));
    assert_eq!(directory.walk(&*zip, &BOUNDS, |_| Err(Flaw::Stopped)), Err(Flaw::Stopped));
}

#[test]
fn what_nobody_can_look_into_is_shown_closed_and_the_others_open() {
    let change = |at: usize, value: u8| {
        let mut zip = made(&MEMBERS, deflated());
        let central = position(&zip, CENTRAL);
        for header in [6, central + 8] {
            zip[header + at] = value;
        }
        walk(&zip, &BOUNDS)
    };
    let second = || Ok(MEMBERS[2].1.to_vec());
    assert_eq!(change(0, 1), (vec![Err(Reason::Encrypted), second()], Ok(())));
    assert_eq!(change(2, 93), (vec![Err(Reason::UnsupportedContainer), second()], Ok(())));
    let small = Bounds { member: 8, ..BOUNDS };
    let (shown, end) = walk(&made(&MEMBERS, deflated()), &small);
    assert_eq!((shown, end), (vec![Err(Reason::LimitSize), second()], Ok(())));
}

#[test]
fn bounds_are_kept_whatever_it_says() {
    let zip = made(&MEMBERS, deflated());
    let few = Bounds { members: 2, ..BOUNDS };
    assert_eq!(walk(&zip, &few), (vec![], Err(Flaw::No(Reason::LimitFiles))));
    let little = Bounds { unpacked: 20, ..BOUNDS };
    assert_eq!(walk(&zip, &little), (vec![], Err(Flaw::No(Reason::LimitSize))));
    // One that unpacks to more than it says is not read to the end of it.
    for options in [stored(), deflated()] {
        let mut zip = made(&[("a", &[0; 900])], options);
        let central = position(&zip, CENTRAL);
        for at in [22, central + 24] {
            set(&mut zip, at, 5);
        }
        // That of five zeros.
        for at in [14, central + 16] {
            set(&mut zip, at, 0xc622_f71d);
        }
        let (shown, end) = walk(&zip, &BOUNDS);
        assert_eq!((shown, end), (vec![Ok(vec![0; 5])], Err(Flaw::No(Reason::Damaged))));
    }
}

/// Bytes put into a zip, of which its directory knows: it says rightly where everything is.
pub(crate) fn inserted(zip: &[u8], at: usize, what: &[u8]) -> Vec<u8> {
    moved([&zip[..at], what, &zip[at..]].concat(), at, i32::try_from(what.len()).unwrap())
}

/// A zip whose directory is told that what was from `at` on has moved `by` so many bytes.
pub(crate) fn moved(mut zip: Vec<u8>, at: usize, by: i32) -> Vec<u8> {
    let end = position(&zip, END);
    let mut from = 0;
    while let Some(found) = zip[from..end].windows(4).position(|window| window == CENTRAL) {
        let field = from + found + 42;
        let offset = number(&zip, field);
        if offset as usize >= at {
            set(&mut zip, field, offset.wrapping_add_signed(by));
        }
        from = field;
    }
    let start = u32::try_from(position(&zip, CENTRAL)).unwrap();
    set(&mut zip, end + 16, start);
    zip
}

pub(crate) fn number(zip: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(zip[at..at + 4].try_into().unwrap())
}

pub(crate) fn set(zip: &mut [u8], at: usize, value: u32) {
    zip[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

pub(crate) fn changed(zip: &[u8], at: usize, value: &[u8]) -> Vec<u8> {
    let mut zip = zip.to_vec();
    zip[at..at + value.len()].copy_from_slice(value);
    zip
}

#[test]
fn a_directory_that_lies_is_found_out_before_a_member_is_read() {
    let zip = made(&MEMBERS, stored());
    let central = position(&zip, CENTRAL);
    let second = central + 4 + position(&zip[central + 4..], CENTRAL);
    let third = second + 4 + position(&zip[second + 4..], CENTRAL);
    let end = position(&zip, END);
    let lie = |at: usize, value: &[u8]| changed(&zip, at, value);
    let insert = |at: usize, what: &[u8]| [&zip[..at], what, &zip[at..]].concat();
    let beyond = (number(&zip, end + 16) + 1).to_le_bytes();
    let mut signed = insert(end, b"PK\x05\x05\x02\0xxmore");
    let size = number(&zip, end + 12);
    set(&mut signed, end + 12 + 12, size + 12);
    let mut unknown = [&zip[..central], &made(&[], stored())].concat();
    set(&mut unknown, central + 16, u32::try_from(central).unwrap());
    for (what, zip) in [
        ("two members at one place", lie(third + 42, &zip[central + 42..central + 46])),
        ("a member inside another", lie(third + 42, &2_u32.to_le_bytes())),
        ("a member that is too long", lie(central + 20, &14_u32.to_le_bytes())),
        ("a member of 4 GiB", lie(central + 20, &[0xff; 4])),
        ("a member at 4 GiB", lie(third + 42, &[0xff; 4])),
        ("one member more", lie(end + 8, &[4, 0, 4, 0])),
        ("one member less", lie(end + 8, &[2, 0, 2, 0])),
        ("one member less on this volume", lie(end + 8, &[2, 0])),
        ("a volume", lie(end + 4, &[1, 0])),
        ("zip64 that is not there", lie(end + 8, &[0xff; 12])),
        ("a shorter directory", lie(end + 12, &[1, 0])),
        ("a directory elsewhere", lie(end + 16, &[1, 0])),
        ("a directory that begins behind its beginning", lie(end + 16, &beyond)),
        ("bytes before", insert(0, b"#!/bin/sh\n")),
        ("bytes before, of which it knows", inserted(&zip, 0, b"#!/bin/sh\n")),
        ("bytes behind", [&zip[..], b"x"].concat()),
        ("bytes between directory and end", insert(end, b"x")),
        ("a signature of the directory, and more", signed),
        ("another zip before", [&zip[..], &zip[..]].concat()),
        ("a long gap", inserted(&zip, position(&zip, b"two") - 40, &vec![0; 70_000])),
        ("members that it does not know of", [&zip[..central], &made(&[], stored())].concat()),
        ("members of which it says nothing", unknown),
        ("no end", zip[..end].to_vec()),
        ("half an end", zip[..end + 10].to_vec()),
        ("nothing", vec![]),
    ] {
        let read = Directory::read(&*zip, zip.len() as u64, &BOUNDS);
        assert_eq!(read.err(), Some(Flaw::No(Reason::Damaged)), "{what}");
    }
}

#[test]
fn members_that_say_something_else_than_the_directory_are_found_out() {
    let zip = made(&MEMBERS, stored());
    let second = 1 + position(&zip[1..], b"PK\x03\x04");
    let deflated = made(&MEMBERS, deflated());
    let long = {
        let at = 1 + position(&deflated[1..], b"PK\x03\x04");
        let mut long = inserted(&deflated, at, b"behind the end of the stream");
        let central = position(&long, CENTRAL);
        for field in [18, central + 20] {
            let packed = number(&long, field) + 28;
            set(&mut long, field, packed);
        }
        long
    };
    let first = || Ok(MEMBERS[0].1.to_vec());
    for (what, zip, shown) in [
        ("another name", changed(&zip, 30, b"F"), vec![]),
        ("another method", changed(&zip, 8, &[8]), vec![]),
        ("encrypted", changed(&zip, 6, &[1]), vec![]),
        ("another sum", changed(&zip, 14, &[0]), vec![]),
        ("a shorter member", changed(&zip, 18, &[12]), vec![]),
        ("a member that unpacks to less", changed(&zip, 22, &[12]), vec![]),
        ("no member", changed(&zip, 0, b"XX"), vec![]),
        ("bytes between members", inserted(&zip, second, b"PK\x03\x04 hidden"), vec![first()]),
        ("as many as a descriptor has", inserted(&zip, second, &[0; 12]), vec![first()]),
        ("as many as a long one has", inserted(&zip, second, &[0; 24]), vec![first()]),
        ("bytes behind a member's stream", long, vec![first()]),
    ] {
        assert_eq!(walk(&zip, &BOUNDS), (shown, Err(Flaw::No(Reason::Damaged))), "{what}");
    }
}

#[test]
fn a_descriptor_that_says_something_else_is_found_out() {
    for zip in [streamed(&MEMBERS, stored()), streamed(&MEMBERS, stored().large_file(true))] {
        let descriptor = position(&zip, b"PK\x07\x08");
        let second = 1 + position(&zip[1..], b"PK\x03\x04");
        for at in descriptor..second {
            let zip = changed(&zip, at, &[zip[at] ^ 0x11]);
            assert_eq!(walk(&zip, &BOUNDS).1, Err(Flaw::No(Reason::Damaged)), "byte {at}");
        }
    }
}

/// Whatever byte is changed to whatever it may be: when the walk says that all is well, what it
/// showed is what was packed. Names, times and comments may have changed.
#[test]
fn no_byte_can_be_changed_so_that_something_vanishes() {
    let members: [(&str, &[u8]); 2] = [("a", b"one, one, one, one"), ("b", b"two")];
    let packed = vec![Ok(members[0].1.to_vec()), Ok(members[1].1.to_vec())];
    for zip in
        [made(&members, stored()), made(&members, deflated()), streamed(&members, deflated())]
    {
        assert_eq!(walk(&zip, &BOUNDS), (packed.clone(), Ok(())));
        let mut refused = 0;
        for at in 0..zip.len() {
            for value in 0..=u8::MAX {
                let mut changed = zip.clone();
                changed[at] = value;
                match walk(&changed, &BOUNDS) {
                    (shown, Ok(())) => assert!(
                        shown == packed || shown.iter().any(Result::is_err),
                        "byte {at} as {value} shows {shown:?}"
                    ),
                    (_, Err(_)) => refused += 1,
                }
            }
        }
        assert!(refused > zip.len() * 100, "{refused} of {} changes were refused", zip.len() * 256);
    }
}

#[test]
fn cut_anywhere_it_is_damaged() {
    let zip = made(&MEMBERS, deflated());
    for length in 0..zip.len() {
        assert_eq!(walk(&zip[..length], &BOUNDS).1, Err(Flaw::No(Reason::Damaged)), "{length}");
    }
}
