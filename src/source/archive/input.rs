//! Given bytes one after the other, passes over those that nobody wants; never goes back.

use std::io::{self, BufReader, Read};

/// How much is read at once of what can only be read, in bytes.
const BUFFER: usize = 1 << 17;

/// Bytes that come one after the other, some of which nobody wants.
pub trait Input: Read {
    /// Passes over `bytes` bytes.
    ///
    /// # Errors
    /// Where they cannot be read, or there are fewer (`UnexpectedEof`).
    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        let mut input = self;
        let passed = io::copy(&mut Read::take(&mut input, bytes), &mut io::sink())?;
        if passed == bytes {
            Ok(())
        } else {
            Err(io::ErrorKind::UnexpectedEof.into())
        }
    }
}

/// Bytes that are passed over by being read, since each counts for something.
pub(in crate::source) struct Stream<R>(BufReader<R>);

impl<R: Read> Stream<R> {
    pub(in crate::source) fn new(reader: R) -> Self {
        Self(BufReader::with_capacity(BUFFER, reader))
    }
}

impl<R: Read> Read for Stream<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl<R: Read> Input for Stream<R> {}
