//! What stands before and behind a member's data. The directory has its own copy of it, and readers
//! differ in which of the two they go by.

use std::hash::{BuildHasher, RandomState};
use std::io::Read;

use notifier_common::Reason;

use super::Member;
use super::bytes::{u16_at, u32_at, u64_at};
use crate::Flaw;

/// Size of a header without name and extra field, in bytes (APPNOTE 4.3.7).
pub(super) const SIZE: usize = 30;

/// Bits 0 and 13: encrypted, masked (APPNOTE 4.4.4).
pub(crate) const ENCRYPTED: u16 = 1 | 1 << 13;

/// Bit 3: sizes and sum stand behind the data (APPNOTE 4.4.4).
const DESCRIPTOR: u16 = 1 << 3;

/// The extra field that holds sizes from 4 GiB on (APPNOTE 4.5.3).
pub(crate) const ZIP64: u16 = 1;

/// The header before a member's data.
#[derive(Debug)]
pub(crate) struct Header {
    fixed: [u8; SIZE],
    name: Vec<u8>,
    extra: Vec<u8>,
}

impl Header {
    pub(crate) fn read(archive: &mut impl Read) -> Result<Self, Flaw> {
        let mut exact =
            |buffer: &mut [u8]| archive.read_exact(buffer).map_err(|error| Flaw::from_read(&error));
        let mut fixed = [0; SIZE];
        exact(&mut fixed)?;
        if !fixed.starts_with(b"PK\x03\x04") {
            return Err(Flaw::No(Reason::Damaged));
        }
        let mut name = vec![0; u16_at(&fixed, 26).into()];
        exact(&mut name)?;
        let mut extra = vec![0; u16_at(&fixed, 28).into()];
        exact(&mut extra)?;
        Ok(Self { fixed, name, extra })
    }

    /// Its size in bytes.
    pub(super) fn length(&self) -> u64 {
        (SIZE + self.name.len() + self.extra.len()) as u64
    }

    /// Whether the directory says the same of this member.
    pub(super) fn agrees(&self, member: &Member, names: &RandomState) -> bool {
        let flags = self.flags();
        // Of the others only bits 1 and 2 differ in the wild: how hard it was packed.
        let same = |bit: u16| flags & bit == member.flags & bit;
        let described = (member.crc, member.packed, member.unpacked);
        let here = (u32_at(&self.fixed, 14), self.packed(), self.unpacked());
        same(1)
            && same(DESCRIPTOR)
            && same(1 << 6)
            && same(1 << 13)
            && self.method() == member.method
            && names.hash_one(&*self.name) == member.name
            && (here == described || flags & DESCRIPTOR != 0 && is_open(here))
    }

    pub(crate) fn flags(&self) -> u16 {
        u16_at(&self.fixed, 6)
    }

    pub(crate) fn method(&self) -> u16 {
        u16_at(&self.fixed, 8)
    }

    /// Whether only what is behind the data tells its length.
    pub(crate) fn is_open(&self) -> bool {
        self.flags() & DESCRIPTOR != 0 && [0, u32::MAX.into()].contains(&self.packed())
    }

    pub(crate) fn unpacked(&self) -> u64 {
        self.size(22, 0)
    }

    pub(crate) fn packed(&self) -> u64 {
        // In the extra field the unpacked size comes first, if it is there.
        let behind = if u32_at(&self.fixed, 22) == u32::MAX { 8 } else { 0 };
        self.size(18, behind)
    }

    /// A size: the one at `at`, or if that only says so, the one in the extra field.
    fn size(&self, at: usize, in_zip64: usize) -> u64 {
        let size = u32_at(&self.fixed, at);
        let zip64 = (size == u32::MAX).then(|| field(&self.extra, ZIP64)).flatten();
        let size64 = zip64.and_then(|zip64| zip64.get(in_zip64..in_zip64 + 8));
        size64.map_or(size.into(), |size64| u64_at(size64, 0))
    }
}

/// What a writer puts in the header when it will only know behind the data: nothing, in zip64 perhaps
/// the sign that it will be there.
fn is_open((crc, packed, unpacked): (u32, u64, u64)) -> bool {
    let is_open = |size: u64| size == 0 || size == u64::from(u32::MAX);
    crc == 0 && is_open(packed) && is_open(unpacked)
}

/// Reads the `length` bytes between a member's data and what follows: nothing, or a descriptor that
/// says what the directory says (APPNOTE 4.3.9). Its form is known by its length.
pub(super) fn descriptor(
    archive: &mut impl Read,
    length: u64,
    member: &Member,
) -> Result<(), Flaw> {
    let mut buffer = [0; 24];
    // At most 24.
    let Some(bytes) = usize::try_from(length).ok().and_then(|length| buffer.get_mut(..length))
    else {
        return Err(Flaw::No(Reason::Damaged));
    };
    archive.read_exact(bytes).map_err(|error| Flaw::from_read(&error))?;
    let is_signed = bytes.len() % 8 == 0;
    let described = match bytes.strip_prefix(b"PK\x07\x08") {
        Some(rest) if is_signed => rest,
        None if !is_signed => bytes,
        _ => &[],
    };
    let agrees = match described.len() {
        12 => {
            u32_at(described, 0) == member.crc
                && u64::from(u32_at(described, 4)) == member.packed
                && u64::from(u32_at(described, 8)) == member.unpacked
        }
        20 => {
            u32_at(described, 0) == member.crc
                && u64_at(described, 4) == member.packed
                && u64_at(described, 12) == member.unpacked
        }
        _ => false,
    };
    let is_due = member.flags & DESCRIPTOR != 0;
    if agrees && is_due || bytes.is_empty() && !is_due {
        Ok(())
    } else {
        Err(Flaw::No(Reason::Damaged))
    }
}

/// The first extra field of this kind (APPNOTE 4.5.1).
pub(crate) fn field(mut extra: &[u8], kind: u16) -> Option<&[u8]> {
    while extra.len() >= 4 {
        let data = extra.get(4..4 + usize::from(u16_at(extra, 2)))?;
        if u16_at(extra, 0) == kind {
            return Some(data);
        }
        extra = &extra[4 + data.len()..];
    }
    None
}
