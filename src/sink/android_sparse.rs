//! Given what a disk holds, gives an Android sparse image of it; never a checksum.
//!
//! All numbers are little-endian. Chunks follow one another in the order of the disk: data, a word that
//! fills blocks, or blocks that may be left as they are. Only what is free is left so: who writes the image
//! to a device may find anything there.

use std::io;
use std::ops::Range;

use super::container::{Container, Disk, Write};
#[cfg(feature = "cli")]
use super::{ReadAt, inside};
use super::{index, length_of};

/// As many blocks as 32 bits count.
pub(super) const MOST_BYTES: u64 = 4096 * 0xffff_ffff;

const FILE_HEADER_BYTES: u16 = 28;
const CHUNK_HEADER_BYTES: u16 = 12;
const MAGIC: u32 = 0xed26_ff3a;
/// Version 1.0, and how long both headers are.
const FORMAT: [u8; 8] = {
    let (file, chunk) = (
        FILE_HEADER_BYTES.to_le_bytes(),
        CHUNK_HEADER_BYTES.to_le_bytes(),
    );
    [1, 0, 0, 0, file[0], file[1], chunk[0], chunk[1]]
};
const DATA: u16 = 0xcac1;
const FILL: u16 = 0xcac2;
const DONT_CARE: u16 = 0xcac3;
/// A chunk says its length in 32 bits.
const MOST_CHUNK_BYTES: u64 = 1 << 30;
const MOST_BLOCK_BYTES: u64 = 4096;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Data,
    Fill([u8; 4]),
    DontCare,
}

#[derive(Clone, Copy, Debug)]
struct Chunk {
    kind: Kind,
    blocks: u64,
    /// Where its header is.
    place: u64,
}

/// A sparse image of which the data is being placed.
#[derive(Debug)]
pub(super) struct AndroidSparse {
    size_bytes: u64,
    block_bytes: u64,
    free: std::vec::IntoIter<Range<u64>>,
    /// The free range that was not passed yet.
    coming: Option<Range<u64>>,
    chunks: Vec<Chunk>,
    /// The byte of the disk that comes next.
    at: u64,
    /// Where what comes next goes.
    next: u64,
    /// Where the block before `at` is, while it can still be added to.
    open: Option<u64>,
}

impl AndroidSparse {
    pub(super) fn new(disk: Disk) -> Self {
        let size_bytes = disk.size_bytes();
        let mut free = disk.into_free().into_iter();
        Self {
            size_bytes,
            // The largest that the disk is a multiple of: its blocks are no longer than it.
            block_bytes: (1 << size_bytes.trailing_zeros().min(12)).min(MOST_BLOCK_BYTES),
            coming: free.next(),
            free,
            chunks: Vec::new(),
            at: 0,
            next: FILE_HEADER_BYTES.into(),
            open: None,
        }
    }

    /// Adds `blocks` of `kind`, and gives where the bytes of data go.
    fn add(&mut self, kind: Kind, blocks: u64) -> u64 {
        let most = MOST_CHUNK_BYTES / self.block_bytes;
        self.at += blocks * self.block_bytes;
        match self.chunks.last_mut() {
            Some(last) if last.kind == kind && (kind != Kind::Data || last.blocks < most) => {
                last.blocks += blocks;
            }
            _ => {
                self.chunks.push(Chunk {
                    kind,
                    blocks,
                    place: self.next,
                });
                self.next += u64::from(CHUNK_HEADER_BYTES);
                if let Kind::Fill(_) = kind {
                    self.next += 4;
                }
            }
        }
        let place = self.next;
        if kind == Kind::Data {
            self.next += blocks * self.block_bytes;
        }
        place
    }

    /// Passes over what nobody wrote, up to the byte `end`.
    fn pass(&mut self, end: u64) {
        while self.at < end {
            let free = self.next_free();
            if self.at < free.start {
                let zeros = end.min(free.start) - self.at;
                self.add(Kind::Fill([0; 4]), zeros / self.block_bytes);
            } else {
                let free = end.min(free.end) - self.at;
                self.add(Kind::DontCare, free / self.block_bytes);
            }
        }
    }

    /// The whole blocks that are free at or behind the next byte; none at the disk's end.
    fn next_free(&mut self) -> Range<u64> {
        while let Some(range) = &self.coming {
            let start = range.start.max(self.at).next_multiple_of(self.block_bytes);
            let end = range.end / self.block_bytes * self.block_bytes;
            if start < end {
                return start..end;
            }
            self.coming = self.free.next();
        }
        self.size_bytes..self.size_bytes
    }

    fn file_header(&self) -> Vec<u8> {
        let small = |number: u64| u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes();
        let mut bytes = MAGIC.to_le_bytes().to_vec();
        bytes.extend_from_slice(&FORMAT);
        bytes.extend_from_slice(&small(self.block_bytes));
        bytes.extend_from_slice(&small(self.size_bytes / self.block_bytes));
        bytes.extend_from_slice(&small(u64::try_from(self.chunks.len()).unwrap_or(u64::MAX)));
        // No checksum.
        bytes.extend_from_slice(&[0; 4]);
        bytes
    }

    fn chunk_header(&self, chunk: &Chunk) -> Vec<u8> {
        let (number, fill, data): (u16, &[u8], u64) = match &chunk.kind {
            Kind::Data => (DATA, &[], chunk.blocks * self.block_bytes),
            Kind::Fill(word) => (FILL, word, 4),
            Kind::DontCare => (DONT_CARE, &[], 0),
        };
        let small = |number: u64| u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes();
        let mut bytes = number.to_le_bytes().to_vec();
        bytes.extend_from_slice(&[0; 2]);
        bytes.extend_from_slice(&small(chunk.blocks));
        bytes.extend_from_slice(&small(u64::from(CHUNK_HEADER_BYTES) + data));
        bytes.extend_from_slice(fill);
        bytes
    }
}

impl Container for AndroidSparse {
    fn unit_bytes(&self) -> u64 {
        self.block_bytes
    }

    fn place(&mut self, offset: u64, bytes: &[u8]) -> Option<u64> {
        let within = offset % self.block_bytes;
        let block = offset - within;
        // A part of a block that has data already.
        if block < self.at {
            return self.open.map(|place| place + within);
        }
        self.pass(block);
        if let Some(word) = word(bytes).filter(|_| length_of(bytes) == self.block_bytes) {
            self.open = None;
            self.add(Kind::Fill(word), 1);
            return None;
        }
        let place = self.add(Kind::Data, 1);
        self.open = Some(place);
        Some(place + within)
    }

    fn finish(&mut self, write: &mut Write<'_>) -> io::Result<u64> {
        self.pass(self.size_bytes);
        for chunk in &self.chunks {
            write(chunk.place, &self.chunk_header(chunk))?;
        }
        write(0, &self.file_header())?;
        Ok(self.next)
    }
}

/// The head of the disk in `file`, whose header has to be as the one above.
#[cfg(feature = "cli")]
pub(super) fn disk_head(file: &dyn ReadAt) -> Option<Vec<u8>> {
    /// A block has 512 bytes or more, and a chunk one block.
    const CHUNKS: usize = inside::HEAD_BYTES / 512;

    let word = |place| inside::field(file, place).map(u32::from_le_bytes);
    if word(0)? != MAGIC || inside::field(file, 4)? != FORMAT {
        return None;
    }
    let block_bytes = u64::from(word(12)?);
    let mut head = Vec::new();
    let mut place = u64::from(FILE_HEADER_BYTES);
    for _ in 0..CHUNKS {
        let data = place + u64::from(CHUNK_HEADER_BYTES);
        let rest = inside::HEAD_BYTES - head.len();
        let length = u64::from(word(place + 4)?).saturating_mul(block_bytes);
        let length = usize::try_from(length).map_or(rest, |length| length.min(rest));
        match u16::from_le_bytes(inside::field(file, place)?) {
            DATA => head.extend(inside::bytes(file, data, length)?),
            FILL => {
                let word: [u8; 4] = inside::field(file, data)?;
                head.extend(word.into_iter().cycle().take(length));
            }
            DONT_CARE => head.resize(head.len() + length, 0),
            _ => return None,
        }
        if head.len() == inside::HEAD_BYTES {
            return Some(head);
        }
        place += u64::from(word(place + 8)?);
    }
    None
}

/// The four bytes that `bytes` repeat, if they do.
fn word(bytes: &[u8]) -> Option<[u8; 4]> {
    let word = bytes.first_chunk::<4>()?;
    let again = bytes.len() - index(4);
    (bytes[4..] == bytes[..again]).then_some(*word)
}
