//! Whether readers agree about an archive that ClamAV opens as a whole, told from the stream as it
//! passes by. ClamAV goes by one of the ways in which a zip can be read; where another way leads
//! elsewhere, there is something that it did not look at. Nor does it say that a gzip is cut off.
//!
//! Unlike the walks through large archives this hands nothing out, and forgives what hides nothing:
//! a wrong checksum, zeros between members, members that nobody names but that are empty.
//!
//! It looks into zip (stored and Deflate), gzip and plain tar, in each other too. What is in other
//! containers it does not see.

mod ahead;
#[cfg(test)]
pub(crate) mod tests;
mod zip;

use std::cell::Cell;
use std::io::{self, BufRead as _, Read};

use flate2::bufread::GzDecoder;
use notifier_common::Reason;

use crate::packing::Bounded;
use crate::{Bounds, Flaw, Format, Found, HEAD, Packing, drain, tar};
use ahead::Ahead;

/// How deep archives may lie in each other: as deep as ClamAV goes.
const MAX_DEPTH: u32 = 100;

/// Reads as much of `stream` as it takes to know whether what is in it contradicts itself.
///
/// # Errors
/// When it does, is cut off, or crosses one of the bounds on members or bytes together.
pub fn check(mut stream: impl Read, bounds: &Bounds) -> Result<(), Flaw> {
    let left = Left {
        members: Cell::new(bounds.members),
        bytes: Cell::new(bounds.unpacked),
        depth: Cell::new(MAX_DEPTH),
    };
    left.check(&mut stream)
}

/// What is left of the bounds, for all that lies in each other together.
struct Left {
    members: Cell<u64>,
    bytes: Cell<u64>,
    depth: Cell<u32>,
}

impl Left {
    /// Checks what begins here, if it is something to check; reads some of it.
    fn check(&self, stream: &mut dyn Read) -> Result<(), Flaw> {
        let mut stream = Ahead::new(stream);
        let Some(format) = Format::of(stream.next(HEAD)?) else { return Ok(()) };
        let depth = self.depth.get();
        self.depth.set(depth.checked_sub(1).ok_or(Flaw::No(Reason::LimitDepth))?);
        match format {
            Format::Zip => zip::check(&mut stream, self)?,
            Format::Tar(Packing::None) => self.tar(&mut stream)?,
            Format::Tar(Packing::Gzip) => self.gzip(stream)?,
            // Their decoders take megabytes at each depth. ClamAV itself says when these are cut.
            Format::Tar(Packing::Bzip2 | Packing::Xz) => {}
        }
        self.depth.set(depth);
        Ok(())
    }

    fn gzip(&self, stream: Ahead<'_>) -> Result<(), Flaw> {
        let mut unpacked = self.counted(Gzip { member: Some(GzDecoder::new(stream)), rest: None });
        self.check(&mut unpacked)?;
        drain(&mut unpacked)?;
        unpacked.reader.rest.map_or(Ok(()), |mut rest| behind(&mut rest))
    }

    /// Members one by one, as far as all readers go by the same of them; what is behind that is not
    /// checked.
    fn tar(&self, stream: &mut Ahead<'_>) -> Result<(), Flaw> {
        let bounds = Bounds { members: self.members.get(), member: u64::MAX, unpacked: u64::MAX };
        let mut flaw = Ok(());
        let _ = tar::walk(stream, Packing::None, &bounds, |found| {
            self.member()?;
            if let Found::Member(member) = found {
                flaw = self.check(member);
            }
            flaw
        });
        flaw
    }

    /// Counts a member.
    fn member(&self) -> Result<(), Flaw> {
        let left = self.members.get().checked_sub(1).ok_or(Flaw::No(Reason::LimitFiles))?;
        self.members.set(left);
        Ok(())
    }

    /// Counts what is read.
    fn counted<R>(&self, reader: R) -> Bounded<'_, R> {
        Bounded { reader, left: &self.bytes }
    }
}

/// The members of a gzip, one behind the other, up to what is none.
struct Gzip<'a> {
    member: Option<GzDecoder<Ahead<'a>>>,
    /// What is behind them, when it is known where that begins.
    rest: Option<Ahead<'a>>,
}

impl Read for Gzip<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.member {
            let read = match member.read(buffer) {
                Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => {
                    // A checksum, which ClamAV does not mind; or data, of which it says so itself.
                    self.member = None;
                    return Ok(0);
                }
                read => read?,
            };
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            let mut rest = self.member.take().expect("it is some").into_inner();
            if Packing::of(rest.peek(HEAD)?) == Some(Packing::Gzip) {
                self.member = Some(GzDecoder::new(rest));
            } else {
                self.rest = Some(rest);
            }
        }
        Ok(0)
    }
}

/// What some programs look for anywhere in a file, so that an archive behind another one is theirs:
/// members and ends of zip, RAR, 7z.
const FOUND_ANYWHERE: [&[u8]; 4] =
    [b"PK\x03\x04", b"PK\x05\x06", b"Rar!\x1a\x07", b"7z\xbc\xaf\x27\x1c"];

/// What follows an archive must not be another one, which ClamAV does not look for there.
fn behind(rest: &mut Ahead<'_>) -> Result<(), Flaw> {
    loop {
        let next = rest.next(6)?;
        if next.is_empty() {
            return Ok(());
        }
        if FOUND_ANYWHERE.iter().any(|magic| next.starts_with(magic)) {
            return Err(Flaw::No(Reason::Damaged));
        }
        let ahead = rest.fill_buf().map_err(|error| Flaw::from_read(&error))?;
        let next = ahead[1..].iter().position(|byte| b"PR7".contains(byte));
        let length = next.map_or(ahead.len(), |next| next + 1);
        rest.consume(length);
    }
}
