//! Given an xz stream, gives it uncompressed with no larger dictionary than it may have; never reads the
//! format but for the size of that.

use std::io::{self, BufRead, Read};

use lzma_rust2::XzReader;

use super::memory::{MOST, Memory, Share, TooMuch};

/// What a decompressor takes beside its dictionary, in KiB.
const BESIDE: u64 = 1024;

/// A stream, or several one after the other.
pub(super) struct Xz<R: BufRead> {
    reader: XzReader<R>,
    memory: Memory,
    share: Option<Share>,
    /// The size of the first block's dictionary, where it could be told.
    needed: Option<u64>,
}

impl<R: BufRead> Xz<R> {
    pub(super) fn new(mut reader: R, memory: Memory) -> Self {
        let needed = reader.fill_buf().ok().and_then(dictionary);
        let limit = u32::try_from(MOST / 1024 + BESIDE).unwrap_or(u32::MAX);
        Self {
            reader: XzReader::new_mem_limit(reader, true, limit),
            memory,
            share: None,
            needed,
        }
    }
}

impl<R: BufRead> Read for Xz<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.share.is_none() {
            // A block to come may need more than the first one.
            self.share = Some(self.memory.take(MOST)?);
        }
        let read = self.reader.read(buffer);
        read.map_err(|error| match error.kind() {
            io::ErrorKind::OutOfMemory => TooMuch(self.needed.filter(|bytes| *bytes > MOST)).into(),
            _ => error,
        })
    }
}

/// The size of the dictionary of the first block in a stream that begins with `head` (the .xz file
/// format, 3.1 and 5.3.1).
fn dictionary(head: &[u8]) -> Option<u64> {
    const STREAM_HEADER: usize = 12;
    const LZMA2: u64 = 0x21;
    let block = head.get(STREAM_HEADER..)?;
    let (_size, rest) = block.split_first()?;
    let (flags, mut rest) = rest.split_first()?;
    for size in [0x40, 0x80] {
        if flags & size != 0 {
            number(&mut rest)?;
        }
    }
    for _ in 0..=(flags & 3) {
        let (id, length) = (number(&mut rest)?, number(&mut rest)?);
        let (properties, behind) = rest.split_at_checked(usize::try_from(length).ok()?)?;
        rest = behind;
        if let (LZMA2, [bits @ 0..40]) = (id, properties) {
            return Some(u64::from(2 | bits & 1) << (bits / 2 + 11));
        }
    }
    None
}

/// A number of seven bits a byte, the lowest first.
fn number(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..63).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dictionary_is_in_the_first_block_header() {
        let head = |bits| [&[0; 12][..], &[2, 0, 0x21, 1, bits, 0, 0, 0]].concat();
        assert_eq!(dictionary(&head(22)), Some(8 << 20));
        assert_eq!(dictionary(&head(28)), Some(64 << 20));
        assert_eq!(dictionary(&head(35)), Some(768 << 20));
        let sized = [&[0; 12][..], &[3, 0xc1, 0x80, 1, 5, 3, 1, 0, 0x21, 1, 22]].concat();
        assert_eq!(dictionary(&sized), Some(8 << 20));
        assert_eq!(dictionary(b"short"), None);
    }
}
