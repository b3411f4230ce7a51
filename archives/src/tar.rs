//! tar, as POSIX pax and GNU tar write it. Readers differ in what they make of extensions, so
//! whatever changes the size or the layout of a member is refused: only what all of them read
//! alike is walked through.

#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::io::Read;

use notifier_common::Reason;
use tar::{EntryType, Header};

use crate::packing::{Bounded, Packing};
use crate::{Bounds, Flaw, Found, drain};

/// Size of a header, and the unit in which members are laid out (POSIX.1-2017, pax, "ustar
/// Interchange Format").
const BLOCK: usize = 512;

/// Long names and pax records are read into memory. GNU tar and Linux know no path above 4 KiB; the
/// rest is room for attributes and access lists.
const MAX_EXTENSION: u64 = 1 << 20;

/// Whether these bytes begin with a header of POSIX's or GNU's tar.
pub(crate) fn is_header(head: &[u8]) -> bool {
    head.get(257..262) == Some(b"ustar")
}

/// Shows each member of the tar in `archive` to `visit`.
///
/// # Errors
/// When `archive` is no tar as a whole, crosses one of the bounds, or has something that readers do
/// not agree on; [`Reason::TooLarge`] when it is none at all. When `visit` stops.
pub fn walk(
    archive: impl Read,
    packing: Packing,
    bounds: &Bounds,
    mut visit: impl FnMut(Found<'_>) -> Result<(), Flaw>,
) -> Result<(), Flaw> {
    let left = Cell::new(bounds.unpacked);
    let mut reader = Bounded { reader: packing.unpack(archive), left: &left };
    let mut entries = 0;
    while let Some(header) = header(&mut reader, entries == 0)? {
        entries += 1;
        if entries > bounds.members {
            return Err(Flaw::No(Reason::LimitFiles));
        }
        let size = size(&header)?;
        let mut data = (&mut reader).take(size);
        match header.entry_type() {
            EntryType::Regular | EntryType::Continuous if size == 0 => {}
            EntryType::Regular | EntryType::Continuous if size > bounds.member => {
                visit(Found::Closed(Reason::LimitSize))?;
            }
            EntryType::Regular | EntryType::Continuous => visit(Found::Member(&mut data))?,
            EntryType::GNULongName | EntryType::GNULongLink if size <= MAX_EXTENSION => {}
            EntryType::XHeader | EntryType::XGlobalHeader if size <= MAX_EXTENSION => {
                let mut records = Vec::new();
                data.read_to_end(&mut records).map_err(|error| Flaw::from_read(&error))?;
                extension(&records)?;
            }
            // Others have no data, or a layout of their own (sparse files, volumes). Of a link
            // with data some readers skip it, and others take it for the next header.
            _ if size == 0 && !header.entry_type().is_gnu_sparse() => {}
            _ => return Err(Flaw::No(Reason::UnsupportedContainer)),
        }
        // Should it end in here, there is no next header either.
        drain(&mut data)?;
        exact(&mut reader, &mut [0; BLOCK][..padding(size)])?;
    }
    only_zeros(&mut reader)
}

/// The next header; none at the end, which is a block of zeros.
fn header(reader: &mut impl Read, is_first: bool) -> Result<Option<Header>, Flaw> {
    let mut header = Header::new_old();
    exact(reader, header.as_mut_bytes())?;
    let bytes = header.as_bytes();
    if bytes.iter().all(|byte| *byte == 0) {
        return Ok(None);
    }
    if is_first && !is_header(bytes) {
        // Some other packed file.
        return Err(Flaw::No(Reason::TooLarge));
    }
    // The sum is made with its own field full of blanks.
    let others = bytes[..148].iter().chain(&bytes[156..]);
    let sum = others.map(|byte| u32::from(*byte)).sum::<u32>() + 8 * u32::from(b' ');
    if header.cksum().ok() != Some(sum) {
        return Err(Flaw::No(Reason::Damaged));
    }
    Ok(Some(header))
}

/// Size of a member's data. Every reader takes octal digits, perhaps between blanks, up to a NUL or
/// blank; what they make of anything else differs.
fn size(header: &Header) -> Result<u64, Flaw> {
    let field = &header.as_old().size;
    if field[0] & 0x80 != 0 {
        // Binary numbers are for sizes from 8 GiB on, which eleven digits cannot hold.
        return Err(Flaw::No(Reason::LimitSize));
    }
    let from = field.iter().position(|byte| *byte != b' ').unwrap_or(field.len());
    let digits = field[from..].iter().take_while(|byte| (b'0'..=b'7').contains(*byte));
    let rest = &field[from + digits.clone().count()..];
    if !rest.iter().all(|byte| matches!(byte, 0 | b' ')) {
        return Err(Flaw::No(Reason::Damaged));
    }
    // Twelve digits of three bits.
    Ok(digits.fold(0, |size, digit| size << 3 | u64::from(digit - b'0')))
}

/// Looks for what would change the next member's data. The sizes that pax needs a record for are
/// from 8 GiB on, and so above every bound.
fn extension(mut records: &[u8]) -> Result<(), Flaw> {
    while !records.is_empty() {
        let (key, rest) = record(records).ok_or(Flaw::No(Reason::Damaged))?;
        if key == b"size" {
            return Err(Flaw::No(Reason::LimitSize));
        }
        if key.starts_with(b"GNU.sparse.") || key == b"SCHILY.realsize" {
            return Err(Flaw::No(Reason::UnsupportedContainer));
        }
        records = rest;
    }
    Ok(())
}

/// The key of the first record, and what is behind that record: `19 path=some/where\n`, where the
/// number counts all of it (POSIX.1-2017, pax, "pax Header Block"). The tar crate would take a line
/// for a record, and values may hold newlines.
fn record(records: &[u8]) -> Option<(&[u8], &[u8])> {
    let blank = records.iter().take(8).position(|byte| *byte == b' ')?;
    let digits = str::from_utf8(&records[..blank]).ok()?;
    let length: usize =
        digits.bytes().all(|byte| byte.is_ascii_digit()).then_some(digits)?.parse().ok()?;
    let record = records.get(blank + 1..length)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|byte| *byte == b'=')?;
    Some((&record[..equals], &records[length..]))
}

/// Bytes from the end of a member's data to the next header.
fn padding(size: u64) -> usize {
    let odd = usize::try_from(size % BLOCK as u64).expect("it is below 512");
    (BLOCK - odd) % BLOCK
}

fn exact(reader: &mut impl Read, buffer: &mut [u8]) -> Result<(), Flaw> {
    reader.read_exact(buffer).map_err(|error| Flaw::from_read(&error))
}

/// Behind its end a tar has nothing but zeros: some readers go on there.
fn only_zeros(reader: &mut impl Read) -> Result<(), Flaw> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        match reader.read(&mut buffer).map_err(|error| Flaw::from_read(&error))? {
            0 => return Ok(()),
            read if buffer[..read].iter().all(|byte| *byte == 0) => {}
            _ => return Err(Flaw::No(Reason::UnsupportedContainer)),
        }
    }
}
