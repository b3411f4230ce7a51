//! Archives that are too large for ClamAV as a whole, taken apart into members that are not.
//!
//! Pure, and in constant memory whatever a header says: bytes come from a reader, members go to a
//! visitor one after the other, in the order in which they lie in the archive. What is reported as
//! walked to its end was accounted for byte by byte: readers that disagree about an archive (by its
//! directory or by its members, by one size or the other) find nothing in it that was not handed
//! out. What does not fit that is a [`Flaw`], never a member less.
//!
//! What is not handed out are the names, times, comments and extra fields of members.

#![forbid(unsafe_code)]

pub mod agreement;
mod packing;
pub mod tar;
pub mod zip;

use std::fmt;
use std::io::{self, Read};

use notifier_common::Reason;

pub use packing::Packing;

/// Bytes of an object's start that [`Format::of`] wants to see.
pub const HEAD: usize = 512;

/// What an archive is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// With a directory at its end: [`zip::Directory`].
    Zip,
    /// A stream of members, as a whole packed or not: [`tar::walk`].
    Tar(Packing),
}

impl Format {
    /// Recognises an archive by its first bytes, [`HEAD`] of them unless it is shorter. A packed
    /// tar is only known to be one when it is unpacked.
    #[must_use]
    pub fn of(head: &[u8]) -> Option<Self> {
        if head.starts_with(b"PK\x03\x04") {
            return Some(Self::Zip);
        }
        if tar::is_header(head) {
            return Some(Self::Tar(Packing::None));
        }
        Packing::of(head).map(Self::Tar)
    }
}

/// How far an archive may go.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Members at most.
    pub members: u64,
    /// Bytes of one member, unpacked, at most.
    pub member: u64,
    /// Bytes of all of them, unpacked, at most.
    pub unpacked: u64,
}

/// What a visitor is shown.
pub enum Found<'a> {
    /// A member with at least one byte, to be read to its end. A failure to read it has to be
    /// returned as [`Flaw::from_read`] says. What a visitor leaves unread is passed over.
    Member(&'a mut dyn Read),
    /// A member that nobody can look into, for this reason.
    Closed(Reason),
}

impl fmt::Debug for Found<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Member(_) => f.write_str("Member"),
            Self::Closed(reason) => f.debug_tuple("Closed").field(reason).finish(),
        }
    }
}

/// Why an archive was not walked to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// It is not what it says, or not for us; or its bytes could not be read, of which only the
    /// reader's owner can know.
    No(Reason),
    /// The visitor wants no more.
    Stopped,
}

impl Flaw {
    /// What a failed read says of the archive: a bound was crossed, or it is damaged.
    #[must_use]
    pub fn from_read(error: &io::Error) -> Self {
        Self::No(match error.kind() {
            io::ErrorKind::FileTooLarge => Reason::LimitSize,
            // A dictionary that is larger than our memory.
            io::ErrorKind::OutOfMemory => Reason::UnsupportedContainer,
            _ => Reason::Damaged,
        })
    }
}

/// Reads to the end and gives the number of bytes.
fn drain(reader: &mut impl Read) -> Result<u64, Flaw> {
    io::copy(reader, &mut io::sink()).map_err(|error| Flaw::from_read(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Everything that a walk shows, and how it ends.
    pub(crate) type Walked = (Vec<Result<Vec<u8>, Reason>>, Result<(), Flaw>);

    /// Has `walk` show everything.
    pub(crate) fn walked(
        walk: impl FnOnce(&mut dyn FnMut(Found<'_>) -> Result<(), Flaw>) -> Result<(), Flaw>,
    ) -> Walked {
        let mut shown = Vec::new();
        let end = walk(&mut |found| {
            shown.push(match found {
                Found::Closed(reason) => Err(reason),
                Found::Member(member) => {
                    let mut bytes = Vec::new();
                    member.read_to_end(&mut bytes).map_err(|error| Flaw::from_read(&error))?;
                    Ok(bytes)
                }
            });
            Ok(())
        });
        (shown, end)
    }

    #[test]
    fn archives_are_known_by_their_first_bytes() {
        let mut tar = [0; HEAD];
        tar[257..262].copy_from_slice(b"ustar");
        for (head, format) in [
            (&b"PK\x03\x04"[..], Some(Format::Zip)),
            (&tar[..], Some(Format::Tar(Packing::None))),
            (b"\x1f\x8b\x08", Some(Format::Tar(Packing::Gzip))),
            (b"BZh91AY&SY", Some(Format::Tar(Packing::Bzip2))),
            (b"\xfd7zXZ\0", Some(Format::Tar(Packing::Xz))),
            (&tar[..300], Some(Format::Tar(Packing::None))),
            (&tar[..260], None),
            (b"PK\x05\x06", None),
            (b"MZ", None),
            (b"BZh", None),
            (b"", None),
        ] {
            assert_eq!(Format::of(head), format, "{head:?}");
        }
    }
}
