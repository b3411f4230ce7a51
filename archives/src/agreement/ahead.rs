//! A reader that can be asked what comes next.

use std::io::{self, BufRead, Read};

use notifier_common::Reason;

use crate::{Flaw, drain};

/// Bytes that are read at once, and that can be seen ahead.
const BUFFER: usize = 8 << 10;

pub(super) struct Ahead<'a> {
    reader: &'a mut dyn Read,
    buffer: Box<[u8]>,
    from: usize,
    to: usize,
    taken: u64,
}

impl<'a> Ahead<'a> {
    pub(super) fn new(reader: &'a mut dyn Read) -> Self {
        Self { reader, buffer: vec![0; BUFFER].into(), from: 0, to: 0, taken: 0 }
    }

    /// Bytes that were taken so far.
    pub(super) fn taken(&self) -> u64 {
        self.taken
    }

    /// The next `count` bytes, up to [`BUFFER`]; fewer at the end only.
    pub(super) fn peek(&mut self, count: usize) -> io::Result<&[u8]> {
        if self.buffer.len() - self.from < count {
            self.buffer.copy_within(self.from..self.to, 0);
            (self.from, self.to) = (0, self.to - self.from);
        }
        while self.to - self.from < count {
            match self.reader.read(&mut self.buffer[self.to..]) {
                Ok(0) => break,
                Ok(read) => self.to += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(&self.buffer[self.from..self.to.min(self.from + count)])
    }

    /// As [`Ahead::peek`].
    pub(super) fn next(&mut self, count: usize) -> Result<&[u8], Flaw> {
        self.peek(count).map_err(|error| Flaw::from_read(&error))
    }

    /// Takes the next `N` bytes.
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Flaw> {
        let mut array = [0; N];
        self.read_exact(&mut array).map_err(|error| Flaw::from_read(&error))?;
        Ok(array)
    }

    /// Takes `count` bytes, all of them.
    pub(super) fn skip(&mut self, count: u64) -> Result<(), Flaw> {
        let skipped = drain(&mut self.take(count))?;
        if skipped == count { Ok(()) } else { Err(Flaw::No(Reason::Damaged)) }
    }
}

impl Read for Ahead<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let ahead = self.fill_buf()?;
        let read = ahead.len().min(buffer.len());
        buffer[..read].copy_from_slice(&ahead[..read]);
        self.consume(read);
        Ok(read)
    }
}

impl BufRead for Ahead<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.peek(1)?;
        Ok(&self.buffer[self.from..self.to])
    }

    fn consume(&mut self, count: usize) {
        self.from += count;
        self.taken += count as u64;
    }
}
