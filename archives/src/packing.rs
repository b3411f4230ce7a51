use std::cell::Cell;
use std::io::{self, BufReader, Read};

use bzip2::bufread::MultiBzDecoder;
use flate2::bufread::MultiGzDecoder;
use lzma_rust2::XzReader;

/// The most memory that an xz stream may ask for, in KiB: dictionaries up to 16 MiB, which are
/// those of `xz -7` and below.
const XZ_MEMORY: u32 = 17 << 10;

/// How a whole archive is compressed: what ClamAV opens as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// Not at all.
    None,
    /// RFC 1952.
    Gzip,
    /// With the block sizes 1 to 9.
    Bzip2,
    /// xz(1), not LZMA alone.
    Xz,
}

impl Packing {
    pub(crate) fn of(head: &[u8]) -> Option<Self> {
        match head {
            [0x1f, 0x8b, 8, ..] => Some(Self::Gzip),
            // Behind the block size stands the magic of a block, or that of the stream's end.
            [b'B', b'Z', b'h', b'1'..=b'9', 0x31 | 0x17, ..] => Some(Self::Bzip2),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Self::Xz),
            _ => None,
        }
    }

    /// Unpacks all streams, one behind the other, to the last byte; their checksums are compared.
    /// Other bytes behind them are an error.
    pub fn unpack<'a>(self, packed: impl Read + 'a) -> Box<dyn Read + 'a> {
        match self {
            Self::None => Box::new(packed),
            Self::Gzip => Box::new(MultiGzDecoder::new(BufReader::new(packed))),
            Self::Bzip2 => Box::new(MultiBzDecoder::new(BufReader::new(packed))),
            Self::Xz => Box::new(XzReader::new_mem_limit(BufReader::new(packed), true, XZ_MEMORY)),
        }
    }
}

/// A reader that fails with [`io::ErrorKind::FileTooLarge`] when more than `left` bytes come, which
/// readers may share. From then on none are left.
#[derive(Debug)]
pub(crate) struct Bounded<'a, R> {
    pub(crate) reader: R,
    pub(crate) left: &'a Cell<u64>,
}

impl<R: Read> Read for Bounded<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        let left = self.left.get().checked_sub(read as u64);
        self.left.set(left.unwrap_or(0));
        left.map(|_| read).ok_or_else(|| io::ErrorKind::FileTooLarge.into())
    }
}
