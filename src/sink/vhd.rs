//! Given where a disk has data, gives a fixed or dynamic VHD for it; never a differencing one.
//!
//! The numbers are those of Microsoft's Virtual Hard Disk Image Format Specification, all big-endian. A
//! fixed disk is its bytes and a footer. A dynamic one has blocks of 2 MiB, each behind a bitmap of its
//! sectors, and a copy of the footer at its front, which is written last of all.

use std::io;

use super::container::{Container, Disk, Write};
use super::index;
#[cfg(feature = "cli")]
use super::{ReadAt, inside};

/// What qemu and Hyper-V take at most: 2040 GiB.
pub(super) const MOST_BYTES: u64 = 2040 << 30;

const FOOTER_BYTES: usize = 512;
const HEADER_BYTES: usize = 1024;
const TABLE_PLACE: u64 = 1536;
const BLOCK_BYTES: u64 = 2 << 20;
/// A bit for each sector of a block.
const BITMAP_BYTES: u64 = 512;
/// Blocks lie at multiples of a page, so that pages of zeros in them can be holes.
const PAGE_BYTES: u64 = 4096;
const NO_OFFSET: u64 = u64::MAX;
const UNUSED: u32 = u32::MAX;

#[derive(Clone, Copy)]
enum DiskType {
    Fixed,
    Dynamic,
}

/// What stands behind the bytes of a fixed disk.
pub(super) fn fixed_footer(disk: &Disk) -> [u8; FOOTER_BYTES] {
    footer(disk.size_bytes(), disk.uuid(), DiskType::Fixed)
}

fn footer(size_bytes: u64, uuid: [u8; 16], disk_type: DiskType) -> [u8; FOOTER_BYTES] {
    let (data_offset, type_number) = match disk_type {
        DiskType::Fixed => (NO_OFFSET, 2_u32),
        DiskType::Dynamic => (512, 3),
    };
    let mut bytes = [0; FOOTER_BYTES];
    let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
    put(0, b"conectix");
    // Features: the bit that is always set. The version of the format. No creation time: it would
    // make each file another.
    put(8, &2_u32.to_be_bytes());
    put(12, &0x1_0000_u32.to_be_bytes());
    put(16, &data_offset.to_be_bytes());
    put(28, b"mk4f");
    put(32, &0x1_0000_u32.to_be_bytes());
    put(36, b"Wi2k");
    put(40, &size_bytes.to_be_bytes());
    put(48, &size_bytes.to_be_bytes());
    // The largest geometry: who goes by cylinders, heads and sectors could not say every size with them,
    // and goes by the size itself where it finds this one, as qemu does.
    put(56, &[0xff, 0xff, 16, 255]);
    put(60, &type_number.to_be_bytes());
    put(68, &uuid);
    seal(&mut bytes, 64);
    bytes
}

/// Writes the checksum of `bytes` at `at`, where there are zeros: the complement of the sum of all.
fn seal(bytes: &mut [u8], at: usize) {
    let sum: u32 = bytes.iter().map(|byte| u32::from(*byte)).sum();
    bytes[at..at + 4].copy_from_slice(&(!sum).to_be_bytes());
}

/// A dynamic VHD of which the data is being placed.
#[derive(Debug)]
pub(super) struct Dynamic {
    size_bytes: u64,
    uuid: [u8; 16],
    /// The blocks that have data, ascending, and where the bytes of each begin in the file.
    blocks: Vec<(u64, u64)>,
    /// Where what comes next can begin.
    next: u64,
}

impl Dynamic {
    pub(super) fn new(disk: &Disk) -> Self {
        let size_bytes = disk.size_bytes();
        let table = size_bytes.div_ceil(BLOCK_BYTES) * 4;
        Self {
            size_bytes,
            uuid: disk.uuid(),
            blocks: Vec::new(),
            next: (TABLE_PLACE + table).next_multiple_of(BITMAP_BYTES),
        }
    }

    fn header(&self) -> [u8; HEADER_BYTES] {
        let entries = u32::try_from(self.size_bytes.div_ceil(BLOCK_BYTES)).unwrap_or(u32::MAX);
        let block_bytes = u32::try_from(BLOCK_BYTES).unwrap_or(u32::MAX);
        let mut bytes = [0; HEADER_BYTES];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        put(0, b"cxsparse");
        put(8, &NO_OFFSET.to_be_bytes());
        put(16, &TABLE_PLACE.to_be_bytes());
        put(24, &0x1_0000_u32.to_be_bytes());
        put(28, &entries.to_be_bytes());
        put(32, &block_bytes.to_be_bytes());
        seal(&mut bytes, 36);
        bytes
    }

    /// Where each block's bitmap is, in sectors.
    fn table(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (block, place) in &self.blocks {
            bytes.resize(index(block * 4), 0xff);
            let sector = u32::try_from((place - BITMAP_BYTES) / 512).unwrap_or(UNUSED);
            bytes.extend_from_slice(&sector.to_be_bytes());
        }
        let whole = self.size_bytes.div_ceil(BLOCK_BYTES) * 4;
        bytes.resize(index(whole.next_multiple_of(512)), 0xff);
        bytes
    }
}

impl Container for Dynamic {
    fn unit_bytes(&self) -> u64 {
        BLOCK_BYTES
    }

    fn place(&mut self, offset: u64, _bytes: &[u8]) -> Option<u64> {
        let block = offset / BLOCK_BYTES;
        let place = match self.blocks.last() {
            Some((last, place)) if *last == block => *place,
            _ => {
                let place = (self.next + BITMAP_BYTES).next_multiple_of(PAGE_BYTES);
                self.blocks.push((block, place));
                self.next = place + BLOCK_BYTES;
                place
            }
        };
        Some(place + offset % BLOCK_BYTES)
    }

    fn finish(&mut self, write: &mut Write<'_>) -> io::Result<u64> {
        // All of a block's sectors are its own, whether there is something in them or not.
        let bitmap = [0xff; 512];
        for (_, place) in &self.blocks {
            write(place - BITMAP_BYTES, &bitmap)?;
        }
        write(TABLE_PLACE, &self.table())?;
        write(512, &self.header())?;
        let footer = footer(self.size_bytes, self.uuid, DiskType::Dynamic);
        write(self.next, &footer)?;
        write(0, &footer)?;
        Ok(self.next + 512)
    }
}

/// The head of the disk in `file`, whose footer and header have to be those above.
#[cfg(feature = "cli")]
pub(super) fn disk_head(file: &dyn ReadAt) -> Option<Vec<u8>> {
    let size_bytes = u64::from_be_bytes(inside::field(file, 40)?);
    let size_bytes = Some(size_bytes).filter(|size| *size <= MOST_BYTES)?;
    let uuid = inside::field(file, 68)?;
    let known = Dynamic::new(&Disk::new(size_bytes, uuid)).header();
    if inside::field(file, 0)? != footer(size_bytes, uuid, DiskType::Dynamic)
        || inside::field(file, 512)? != known
    {
        return None;
    }
    let sector = u32::from_be_bytes(inside::field(file, TABLE_PLACE)?);
    let place = u64::from(sector) * 512;
    // Sectors without their bit are another disk's.
    let is_whole = sector != UNUSED && inside::field(file, place)? == [0xff];
    is_whole.then(|| inside::head(file, place + BITMAP_BYTES))?
}
