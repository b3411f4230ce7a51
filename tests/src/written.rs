//! Files of any size that programs write here without a disk: what they write is kept, but zeros as
//! their number only.

use std::io::{self, Write};

use bytes::Bytes;

use crate::fake_s3::Body;

/// What is looked at at once, and compared with, which is faster than to look at each byte.
const ZEROS: [u8; 256] = [0; 256];

/// Keeps what is written.
#[derive(Debug, Default)]
pub struct Written {
    parts: Vec<Body>,
    bytes: Vec<u8>,
    zeros: u64,
}

impl Written {
    /// All of it.
    #[must_use]
    pub fn body(mut self) -> Body {
        self.end_bytes();
        self.end_zeros();
        Body::parts(self.parts)
    }

    fn end_bytes(&mut self) {
        if !self.bytes.is_empty() {
            self.parts.push(std::mem::take(&mut self.bytes).into());
        }
    }

    fn end_zeros(&mut self) {
        if self.zeros > 0 {
            let tail = Bytes::new();
            self.parts.push(Body::Repeat { byte: 0, len: self.zeros, tail });
            self.zeros = 0;
        }
    }
}

impl Write for Written {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        for chunk in buffer.chunks(ZEROS.len()) {
            if chunk == ZEROS {
                self.end_bytes();
                self.zeros += chunk.len() as u64;
            } else {
                self.end_zeros();
                self.bytes.extend_from_slice(chunk);
            }
        }
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_comes_back_and_takes_no_memory_where_it_is_zeros() {
        let mut written = Written::default();
        written.write_all(&vec![0; 1 << 20]).unwrap();
        written.write_all(b"end").unwrap();
        written.write_all(b"more").unwrap();
        let body = written.body();
        assert_eq!(body.size(), (1 << 20) + 7);
        let Body::Parts(parts) = body else { panic!("{body:?}") };
        assert_eq!(parts.len(), 2, "{parts:?}");
        assert_eq!(parts[1].1, Body::from("endmore"));
    }
}
