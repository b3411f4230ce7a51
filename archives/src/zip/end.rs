//! What stands behind the directory: the record of its end, twice in zip64. Readers differ in which of
//! the two they go by, and in whether they look at all of it.

use notifier_common::Reason;
use rawzip::{ReaderAt, ZipArchive};

use super::bytes::{u16_at, u32_at, u64_at};
use crate::Flaw;

/// The record of zip64 without data of its own (APPNOTE 4.3.14), and its locator (4.3.15).
const ZIP64: usize = 56;
const LOCATOR: usize = 20;

/// Where the directory ends.
///
/// # Errors
/// When the records at the end do not all say the same, name volumes, or hold more than they have to.
pub(super) fn of_directory<R: ReaderAt>(archive: &ZipArchive<R>) -> Result<u64, Flaw> {
    let end = archive.eocd_offset();
    let zip64 = match end.checked_sub(LOCATOR as u64) {
        Some(at) => zip64(archive, at)?,
        None => None,
    };
    let directory_end = zip64.unwrap_or(end);
    let record = read::<22>(archive, end)?;
    let size = directory_end.checked_sub(archive.directory_offset());
    // Where there is zip64, the fields of old may say no more than that.
    let is16 = |at: usize, value: u64| {
        let here = u16_at(&record, at);
        u64::from(here) == value || zip64.is_some() && here == u16::MAX
    };
    let is32 = |at: usize, value: Option<u64>| {
        let here = u32_at(&record, at);
        Some(u64::from(here)) == value || zip64.is_some() && here == u32::MAX
    };
    let agrees = is16(4, 0)
        && is16(6, 0)
        && is16(8, archive.entries_hint())
        && is16(10, archive.entries_hint())
        && is32(12, size)
        && is32(16, Some(archive.directory_offset()));
    if agrees { Ok(directory_end) } else { Err(Flaw::No(Reason::Damaged)) }
}

/// Where the record of zip64 begins, if there is one.
fn zip64<R: ReaderAt>(archive: &ZipArchive<R>, locator_at: u64) -> Result<Option<u64>, Flaw> {
    let locator = read::<LOCATOR>(archive, locator_at)?;
    if !locator.starts_with(b"PK\x06\x07") {
        return Ok(None);
    }
    let damaged = Flaw::No(Reason::Damaged);
    let at = u64_at(&locator, 8);
    if locator_at.checked_sub(ZIP64 as u64) != Some(at) {
        return Err(damaged);
    }
    let record = read::<ZIP64>(archive, at)?;
    let volumes = [u32_at(&locator, 4), u32_at(&record, 16), u32_at(&record, 20)];
    let agrees = volumes == [0; 3]
        && u32_at(&locator, 16) <= 1
        && record.starts_with(b"PK\x06\x06")
        // Without the signature and this field itself.
        && u64_at(&record, 4) == ZIP64 as u64 - 12
        && u64_at(&record, 24) == archive.entries_hint()
        && u64_at(&record, 32) == archive.entries_hint()
        && at.checked_sub(archive.directory_offset()) == Some(u64_at(&record, 40))
        && u64_at(&record, 48) == archive.directory_offset();
    if agrees { Ok(Some(at)) } else { Err(damaged) }
}

fn read<const N: usize>(archive: &ZipArchive<impl ReaderAt>, at: u64) -> Result<[u8; N], Flaw> {
    let mut buffer = [0; N];
    let read = archive.get_ref().read_exact_at(&mut buffer, at);
    read.map_err(|error| Flaw::from_read(&error))?;
    Ok(buffer)
}
