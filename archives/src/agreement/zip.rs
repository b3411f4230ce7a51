//! A zip from its first byte to its last, its directory behind its members (PKWARE's APPNOTE
//! 6.3.10).

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::io::{self, BufRead as _, Read};

use flate2::bufread::DeflateDecoder;
use notifier_common::Reason;
use rawzip::CompressionMethod;

use super::Left;
use super::ahead::Ahead;
use crate::zip::bytes::{u16_at, u32_at, u64_at};
use crate::zip::local::{ENCRYPTED, Header, ZIP64, field};
use crate::{Flaw, drain};

const DAMAGED: Flaw = Flaw::No(Reason::Damaged);

/// What both a member's header and the directory say of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Member {
    method: u16,
    encrypted: bool,
    packed: u64,
    unpacked: u64,
}

/// Reads the zip, and whatever is behind it.
pub(super) fn check(zip: &mut Ahead<'_>, left: &Left) -> Result<(), Flaw> {
    // By the place of their headers, and whether the directory names them.
    let mut members: HashMap<u64, (Member, bool)> = HashMap::new();
    let mut directory = Directory::default();
    loop {
        let at = zip.taken();
        match zip.next(4)? {
            b"PK\x03\x04" if directory.start.is_none() => {
                left.member()?;
                members.insert(at, (member(zip, left)?, false));
            }
            b"PK\x01\x02" => {
                directory.start.get_or_insert(at);
                directory.entries += 1;
                let (at, entry) = entry(zip)?;
                match members.get_mut(&at) {
                    Some((member, named)) if *member == entry => *named = true,
                    _ => return Err(DAMAGED),
                }
            }
            b"PK\x05\x05" | b"PK\x06\x06" | b"PK\x05\x06" => {
                directory.end(zip)?;
                break;
            }
            // What belongs to an encrypted directory.
            b"PK\x06\x08" => return Err(Flaw::No(Reason::Encrypted)),
            [0, ..] if directory.start.is_none() => zip.consume(1),
            _ if directory.start.is_none() => signing_block(zip)?,
            _ => return Err(DAMAGED),
        }
    }
    let is_hidden = |(member, named): &(Member, bool)| !named && member.packed > 0;
    if members.values().any(is_hidden) {
        return Err(DAMAGED);
    }
    // The comment, and whatever follows.
    super::behind(zip)
}

/// Where the directory begins, and how many members it names.
#[derive(Debug, Default)]
struct Directory {
    start: Option<u64>,
    entries: u64,
}

impl Directory {
    /// What is behind it: perhaps its signature; its end, and before that, in zip64, another and where
    /// that is. Readers go by one or the other, so they must say the same, and the truth.
    fn end(&self, zip: &mut Ahead<'_>) -> Result<(), Flaw> {
        if zip.next(4)? == b"PK\x05\x05" {
            let length = u16_at(&zip.array::<6>()?, 4);
            zip.skip(length.into())?;
        }
        let at = zip.taken();
        let start = self.start.unwrap_or(at);
        let mut is_zip64 = false;
        if zip.next(4)? == b"PK\x06\x06" {
            is_zip64 = true;
            let end = zip.array::<56>()?;
            // The length that it has by itself does not count the first fields.
            zip.skip(u64_at(&end, 4).checked_sub(44).ok_or(DAMAGED)?)?;
            let locator = zip.array::<20>()?;
            let counts = [24, 32].map(|field| u64_at(&end, field));
            let agrees = counts == [self.entries; 2]
                && u64_at(&end, 40) == at - start
                && self.is_start(u64_at(&end, 48))
                && locator.starts_with(b"PK\x06\x07")
                && u64_at(&locator, 8) == at;
            if !agrees {
                return Err(DAMAGED);
            }
        }
        let end = zip.array::<22>()?;
        let says16 = |field: usize, value: u64| {
            let here = u16_at(&end, field);
            u64::from(here) == value || is_zip64 && here == u16::MAX
        };
        let place = u32_at(&end, 16);
        let agrees = end.starts_with(b"PK\x05\x06")
            && says16(8, self.entries)
            && says16(10, self.entries)
            && (u64::from(u32_at(&end, 12)) == at - start
                || is_zip64 && u32_at(&end, 12) == u32::MAX)
            && (self.is_start(place.into()) || is_zip64 && place == u32::MAX);
        if agrees { Ok(()) } else { Err(DAMAGED) }
    }

    /// Whether the directory begins there. One of nothing is anywhere.
    fn is_start(&self, place: u64) -> bool {
        self.start.is_none_or(|start| start == place)
    }
}

/// One member: its header, its data, and what describes that behind it.
fn member(zip: &mut Ahead<'_>, left: &Left) -> Result<Member, Flaw> {
    let header = Header::read(zip)?;
    let method = header.method();
    let encrypted = header.flags() & ENCRYPTED != 0;
    let is = |known: CompressionMethod| method == known.as_u16() && !encrypted;
    let (stored, deflate) = (is(CompressionMethod::STORE), is(CompressionMethod::DEFLATE));
    let (packed, unpacked) = if header.is_open() {
        let start = zip.taken();
        // Of nothing only with its signature: data may begin with zeros.
        if zip.next(4)? == SIGNATURE && descriptor(zip, 0, Some(0))?.is_some() {
            (0, 0)
        } else if deflate {
            let unpacked = inflate(zip, left)?;
            let packed = zip.taken() - start;
            descriptor(zip, packed, Some(unpacked))?;
            (packed, unpacked)
        } else {
            to_descriptor(zip, stored, left)?
        }
    } else {
        let (packed, unpacked) = (header.packed(), header.unpacked());
        let mut data = zip.take(packed);
        if stored {
            let mut data = left.counted(&mut data);
            left.check(&mut data)?;
            drain(&mut data)?;
        } else if deflate {
            let mut data = Ahead::new(&mut data);
            if inflate(&mut data, left)? != unpacked || data.taken() != packed {
                return Err(DAMAGED);
            }
        }
        drain(&mut data)?;
        if stored && packed != unpacked {
            return Err(DAMAGED);
        }
        descriptor(zip, packed, Some(unpacked))?;
        (packed, unpacked)
    };
    Ok(Member { method, encrypted, packed, unpacked })
}

/// Unpacks what begins here, and checks that; gives its length.
fn inflate(packed: &mut Ahead<'_>, left: &Left) -> Result<u64, Flaw> {
    let mut unpacked = left.counted(DeflateDecoder::new(packed));
    left.check(&mut unpacked)?;
    drain(&mut unpacked)?;
    Ok(unpacked.reader.total_out())
}

/// Data whose end only its descriptor tells; gives both its lengths.
fn to_descriptor(zip: &mut Ahead<'_>, stored: bool, left: &Left) -> Result<(u64, u64), Flaw> {
    let mut data = left.counted(Described { zip, packed: 0, stored });
    if stored {
        left.check(&mut data)?;
    }
    drain(&mut data)?;
    let Described { zip, packed, .. } = data.reader;
    let unpacked = descriptor(zip, packed, stored.then_some(packed))?.ok_or(DAMAGED)?;
    Ok((packed, unpacked))
}

/// Reads up to a signed descriptor of as many bytes as were read, or to the end.
struct Described<'z, 'a> {
    zip: &'z mut Ahead<'a>,
    packed: u64,
    stored: bool,
}

impl Read for Described<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let unpacked = self.stored.then_some(self.packed);
        let next = self.zip.peek(LONGEST)?;
        if next.starts_with(SIGNATURE) && described(next, self.packed, unpacked).is_some() {
            return Ok(0);
        }
        let ahead = self.zip.fill_buf()?;
        if ahead.is_empty() {
            return Ok(0);
        }
        let next = ahead[1..].iter().position(|byte| *byte == SIGNATURE[0]);
        let read = next.map_or(ahead.len(), |next| next + 1).min(buffer.len());
        buffer[..read].copy_from_slice(&ahead[..read]);
        self.zip.consume(read);
        self.packed += read as u64;
        Ok(read)
    }
}

/// What a descriptor may begin with (APPNOTE 4.3.9.3).
const SIGNATURE: &[u8] = b"PK\x07\x08";

/// With signature and 64 bits for each length.
const LONGEST: usize = 24;

/// Takes a descriptor of these lengths, if there is one, and gives the second.
fn descriptor(
    zip: &mut Ahead<'_>,
    packed: u64,
    unpacked: Option<u64>,
) -> Result<Option<u64>, Flaw> {
    let described = described(zip.next(LONGEST)?, packed, unpacked);
    described.map(|(length, unpacked)| zip.skip(length).map(|()| unpacked)).transpose()
}

/// The descriptor of these lengths that `bytes` begin with: its own length, and the second of those.
fn described(bytes: &[u8], packed: u64, unpacked: Option<u64>) -> Option<(u64, u64)> {
    let from = match bytes {
        _ if bytes.starts_with(SIGNATURE) => SIGNATURE.len(),
        // A record of another kind.
        [b'P', b'K', ..] => return None,
        _ => 0,
    };
    let rest = &bytes[from..];
    // Behind the checksum, of 32 or 64 bits each.
    let short = (12, u32_at(rest, 4).into(), u32_at(rest, 8).into());
    let long = (20, u64_at(rest, 4), u64_at(rest, 12));
    let (length, _, unpacked) = [short, long].into_iter().find(|says: &(usize, u64, u64)| {
        rest.len() >= says.0 && says.1 == packed && unpacked.is_none_or(|it| says.2 == it)
    })?;
    Some(((from + length) as u64, unpacked))
}

/// Where the directory says that a member is, and what it says of it.
fn entry(zip: &mut Ahead<'_>) -> Result<(u64, Member), Flaw> {
    let fixed = zip.array::<46>()?;
    zip.skip(u16_at(&fixed, 28).into())?;
    let mut extra = vec![0; u16_at(&fixed, 30).into()];
    zip.read_exact(&mut extra).map_err(|error| Flaw::from_read(&error))?;
    zip.skip(u16_at(&fixed, 32).into())?;
    let mut zip64 = field(&extra, ZIP64).unwrap_or_default();
    let mut number = |at: usize| match (u32_at(&fixed, at), zip64.split_at_checked(8)) {
        (u32::MAX, Some((number, rest))) => {
            zip64 = rest;
            u64_at(number, 0)
        }
        (number, _) => number.into(),
    };
    let (unpacked, packed, at) = (number(24), number(20), number(42));
    let encrypted = u16_at(&fixed, 8) & ENCRYPTED != 0;
    Ok((at, Member { method: u16_at(&fixed, 10), encrypted, packed, unpacked }))
}

/// What Android's packages have before the directory: pairs between their length, twice, and this
/// (Android's documentation, "APK Signature Scheme v2").
fn signing_block(zip: &mut Ahead<'_>) -> Result<(), Flaw> {
    let length = zip.array::<8>()?;
    let pairs = u64::from_le_bytes(length).checked_sub(24).ok_or(DAMAGED)?;
    zip.skip(pairs)?;
    let end = zip.array::<24>()?;
    let is_block = end.starts_with(&length) && end.ends_with(b"APK Sig Block 42");
    if is_block { Ok(()) } else { Err(DAMAGED) }
}
