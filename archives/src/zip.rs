//! zip and zip64 (PKWARE's APPNOTE 6.3.10). The directory is read first, by ranges, then the archive
//! once from its start; the two must agree on everything that some reader goes by, and the members
//! must lie side by side, so that there is nothing between them.

pub(crate) mod bytes;
mod end;
pub(crate) mod local;
#[cfg(test)]
pub(crate) mod tests;

use std::hash::{BuildHasher, RandomState};
use std::io::{BufReader, Read};

use flate2::CrcReader;
use flate2::bufread::DeflateDecoder;
use notifier_common::Reason;
pub use rawzip::ReaderAt;
use rawzip::{CompressionMethod, ZipFileHeaderRecord, ZipLocator};

use crate::{Bounds, Flaw, Found, drain};

/// Read at once from the directory, in bytes. A record of it takes up to 196,651.
const BUFFER: usize = 1 << 20;

/// Between the end of a member's data, as far as its directory entry tells it, and the next member: an
/// extra field, whose length the directory does not tell, and a descriptor.
const MAX_BETWEEN: u64 = u16::MAX as u64 + 24;

/// The directory of a zip, in the order in which its members lie.
#[derive(Debug)]
pub struct Directory {
    members: Vec<Member>,
    /// Where it begins; the last member ends there.
    start: u64,
    names: RandomState,
}

/// What the directory says of a member.
#[derive(Debug)]
struct Member {
    offset: u64,
    packed: u64,
    unpacked: u64,
    crc: u32,
    flags: u16,
    method: u16,
    name_length: usize,
    /// Of its name, keyed so that nobody can make two names of one hash; names themselves may be
    /// gigabytes.
    name: u64,
}

impl Directory {
    /// Reads the directory of the zip that `archive` is, all of its `size` bytes.
    ///
    /// # Errors
    /// When it crosses a bound, or there is something in it that does not fit: records that overlap, are
    /// more or fewer than it says, or point elsewhere than at members side by side; volumes; bytes before,
    /// between or behind.
    pub fn read(archive: impl ReaderAt, size: u64, bounds: &Bounds) -> Result<Self, Flaw> {
        let damaged = Flaw::No(Reason::Damaged);
        let mut buffer = vec![0; BUFFER];
        let locator = ZipLocator::new();
        let archive = locator.locate_in_reader(archive, &mut buffer, size).map_err(|_| damaged)?;
        if archive.end_offset() != size {
            return Err(damaged);
        }
        if archive.entries_hint() > bounds.members {
            return Err(Flaw::No(Reason::LimitFiles));
        }
        let end = end::of_directory(&archive)?;
        let mut members = Vec::new();
        let names = RandomState::new();
        let mut at = archive.directory_offset();
        let mut entries = archive.entries(&mut buffer);
        while let Some(entry) = entries.next_entry().map_err(|_| damaged)? {
            if members.len() as u64 == archive.entries_hint() {
                return Err(damaged);
            }
            members.push(Member::new(&entry, &names));
            at = end_of(&entry);
        }
        // Behind its entries a directory may have a signature, and behind that anything.
        if members.len() as u64 != archive.entries_hint() || at != end {
            return Err(damaged);
        }
        let start = archive.directory_offset();
        members.sort_by_key(|member| member.offset);
        let directory = Self { members, start, names };
        directory.check(bounds)?;
        Ok(directory)
    }

    /// What can be known of the layout before the members are read.
    fn check(&self, bounds: &Bounds) -> Result<(), Flaw> {
        let first = self.members.first().map_or(self.start, |first| first.offset);
        if first != 0 {
            return Err(Flaw::No(Reason::Damaged));
        }
        let ends = self.members.iter().skip(1).map(|next| next.offset).chain([self.start]);
        let mut unpacked: u64 = 0;
        for (member, end) in self.members.iter().zip(ends) {
            let least = (local::SIZE + member.name_length) as u64;
            let room = end.checked_sub(member.offset).and_then(|room| room.checked_sub(least));
            let between = room.and_then(|room| room.checked_sub(member.packed));
            if between.is_none_or(|between| between > MAX_BETWEEN) {
                return Err(Flaw::No(Reason::Damaged));
            }
            unpacked = unpacked.saturating_add(member.unpacked);
        }
        if unpacked > bounds.unpacked {
            return Err(Flaw::No(Reason::LimitSize));
        }
        Ok(())
    }

    /// Shows each member to `visit`, while `archive` is read from its first byte on.
    ///
    /// # Errors
    /// When a member is not what the directory says, or `visit` stops.
    pub fn walk(
        &self,
        mut archive: impl Read,
        bounds: &Bounds,
        mut visit: impl FnMut(Found<'_>) -> Result<(), Flaw>,
    ) -> Result<(), Flaw> {
        let ends = self.members.iter().skip(1).map(|next| next.offset).chain([self.start]);
        for (member, end) in self.members.iter().zip(ends) {
            let head = local::Header::read(&mut archive)?;
            if !head.agrees(member, &self.names) {
                return Err(Flaw::No(Reason::Damaged));
            }
            let left = (end - member.offset).checked_sub(head.length());
            let behind = left.and_then(|left| left.checked_sub(member.packed));
            let behind = behind.ok_or(Flaw::No(Reason::Damaged))?;
            let mut data = (&mut archive).take(member.packed);
            match member.closed(bounds) {
                Some(reason) => visit(Found::Closed(reason))?,
                None => member.unpack(&mut data, &mut visit)?,
            }
            drain(&mut data)?;
            if data.limit() != 0 {
                return Err(Flaw::No(Reason::Damaged));
            }
            local::descriptor(&mut archive, behind, member)?;
        }
        Ok(())
    }
}

/// Where the directory's record of a member ends. Without its parts it has 46 bytes (APPNOTE 4.3.12).
fn end_of(entry: &ZipFileHeaderRecord<'_>) -> u64 {
    let name = entry.file_path().as_ref().len();
    let extra = entry.extra_fields().remaining_bytes().len();
    let parts = name + extra + entry.comment().as_bytes().len();
    entry.central_directory_offset().saturating_add(46 + parts as u64)
}

impl Member {
    fn new(entry: &ZipFileHeaderRecord<'_>, names: &RandomState) -> Self {
        let name = entry.file_path();
        let name = name.as_ref();
        Self {
            offset: entry.local_header_offset(),
            packed: entry.compressed_size_hint(),
            unpacked: entry.uncompressed_size_hint(),
            crc: entry.crc32(),
            flags: entry.flags().bits(),
            method: entry.compression_method().as_u16(),
            name_length: name.len(),
            name: names.hash_one(name),
        }
    }

    /// Why nobody can look into it, if so.
    fn closed(&self, bounds: &Bounds) -> Option<Reason> {
        if self.flags & local::ENCRYPTED != 0 {
            return Some(Reason::Encrypted);
        }
        if self.unpacked > bounds.member {
            return Some(Reason::LimitSize);
        }
        let method = CompressionMethod::new(self.method);
        let known = [CompressionMethod::STORE, CompressionMethod::DEFLATE].contains(&method);
        (!known).then_some(Reason::UnsupportedContainer)
    }

    /// Shows its bytes, and compares what they were with what the directory says.
    fn unpack(
        &self,
        mut data: &mut impl Read,
        visit: &mut impl FnMut(Found<'_>) -> Result<(), Flaw>,
    ) -> Result<(), Flaw> {
        if self.method == CompressionMethod::STORE.as_u16() {
            return self.show(&mut data, visit);
        }
        let mut inflate = DeflateDecoder::new(BufReader::new(data));
        self.show(&mut inflate, visit)?;
        // Bytes behind the end of the stream are no member's.
        if inflate.total_in() == self.packed { Ok(()) } else { Err(Flaw::No(Reason::Damaged)) }
    }

    fn show(
        &self,
        unpacked: &mut impl Read,
        visit: &mut impl FnMut(Found<'_>) -> Result<(), Flaw>,
    ) -> Result<(), Flaw> {
        let mut unpacked = CrcReader::new(unpacked);
        let mut member = (&mut unpacked).take(self.unpacked);
        if self.unpacked > 0 {
            visit(Found::Member(&mut member))?;
            drain(&mut member)?;
        }
        let complete = member.limit() == 0;
        let crc = unpacked.crc().sum();
        let more = drain(&mut unpacked.into_inner().take(1))?;
        if complete && crc == self.crc && more == 0 {
            Ok(())
        } else {
            Err(Flaw::No(Reason::Damaged))
        }
    }
}
