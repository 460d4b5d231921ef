//! Given what every container is told and asked, gives it a name; never knows a format.

use std::io;
use std::ops::Range;

/// How clusters are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// By deflate, which every reader knows.
    Zlib,
    /// By Zstandard, which qemu knows from 5.1 on.
    Zstd,
}

/// A virtual disk, before its first byte comes.
#[derive(Clone, Debug)]
pub struct Disk {
    size_bytes: u64,
    /// What identifiers are made from.
    uuid: [u8; 16],
    /// Bytes that may read as anything, ascending.
    free: Vec<Range<u64>>,
}

impl Disk {
    /// A disk of `size_bytes`, with the filesystem of `uuid` in it.
    pub fn new(size_bytes: u64, uuid: [u8; 16]) -> Self {
        Self {
            // Every format counts in sectors.
            size_bytes: size_bytes.next_multiple_of(512),
            uuid,
            free: Vec::new(),
        }
    }

    /// The same, where the bytes `free`, in ascending order, may read as anything: no block that is in use
    /// lies there.
    #[must_use]
    pub fn free(mut self, free: Vec<Range<u64>>) -> Self {
        self.free = free;
        self
    }

    /// How many bytes it has: whole sectors of 512.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    pub(super) fn uuid(&self) -> [u8; 16] {
        self.uuid
    }

    pub(super) fn into_free(self) -> Vec<Range<u64>> {
        self.free
    }
}

/// Writes bytes at a place in the file.
pub(super) type Write<'a> = dyn FnMut(u64, &[u8]) -> io::Result<()> + 'a;

/// Where the pieces of a disk go in the file, which come in ascending order.
pub(super) trait Container: Send {
    /// How long a unit is of which nothing is kept where it is all zeros. No piece lies in two.
    fn unit_bytes(&self) -> u64;

    /// The place of `bytes`, which are not all zeros and are at `offset` of the disk; `None` where they
    /// need none, because the format can say them shorter.
    fn place(&mut self, offset: u64, bytes: &[u8]) -> Option<u64>;

    /// How whole units are compressed.
    fn compression(&self) -> Compression {
        Compression::None
    }

    /// The place of a unit that begins at `offset` of the disk and has `length` bytes once it is compressed.
    fn place_compressed(&mut self, _offset: u64, _length: u64) -> u64 {
        unreachable!("no other format compresses")
    }

    /// Writes what there is beside the pieces, that which names the format last, and gives the file's
    /// length.
    fn finish(&mut self, write: &mut Write<'_>) -> io::Result<u64>;
}
