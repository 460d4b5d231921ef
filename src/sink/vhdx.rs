//! Given where a disk has data, gives a dynamic VHDX for it; never a log that waits or a parent.
//!
//! The numbers are those of Microsoft's [MS-VHDX], all little-endian: headers and region tables in the
//! first MiB, then an empty log, metadata, the table of blocks, and the blocks. The file's identifier
//! stands at the front, and is written last of all.

use std::io;

use crc32c::crc32c;

use super::container::{Container, Disk, Write};
#[cfg(feature = "cli")]
use super::{ReadAt, inside};
use super::{index, length_of};
use crate::units::uuid_from;

/// What the format allows: 64 TiB.
pub(super) const MOST_BYTES: u64 = 64 << 40;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const HEADER_PLACES: [u64; 2] = [64 * KIB, 128 * KIB];
const REGION_PLACES: [u64; 2] = [192 * KIB, 256 * KIB];
const LOG_PLACE: u64 = MIB;
const METADATA_PLACE: u64 = 2 * MIB;
const TABLE_PLACE: u64 = 3 * MIB;
/// Where items of metadata begin in their region.
const ITEMS_PLACE: u32 = 64 << 10;
const SECTOR_BYTES: u32 = 512;

/// What Microsoft recommends for ext4, and the format's least. Larger disks have larger blocks, so that
/// the table does not outgrow what it leads to.
const LEAST_BLOCK_BYTES: u64 = MIB;
const MOST_BLOCK_BYTES: u64 = 256 * MIB;
const MOST_BLOCKS: u64 = 128 << 10;

/// States of a block: it reads as zeros, or all of it is in the file.
const ZERO: u64 = 2;
const FULLY_PRESENT: u64 = 6;

/// A VHDX of which the data is being placed.
#[derive(Debug)]
pub(super) struct Vhdx {
    size_bytes: u64,
    block_bytes: u64,
    uuid: [u8; 16],
    /// The blocks that have data, ascending, and where each is in the file.
    blocks: Vec<(u64, u64)>,
    /// Where the next goes.
    next: u64,
}

impl Vhdx {
    pub(super) fn new(disk: &Disk) -> Self {
        let size_bytes = disk.size_bytes();
        let least = size_bytes.div_ceil(MOST_BLOCKS).next_power_of_two();
        let mut vhdx = Self {
            size_bytes,
            block_bytes: least.clamp(LEAST_BLOCK_BYTES, MOST_BLOCK_BYTES),
            uuid: disk.uuid(),
            blocks: Vec::new(),
            next: 0,
        };
        vhdx.next = TABLE_PLACE + vhdx.table_bytes();
        vhdx
    }

    /// Blocks per chunk: after each chunk the table has an entry for a bitmap, which only a disk with a parent
    /// uses.
    fn chunk_blocks(&self) -> u64 {
        (u64::from(SECTOR_BYTES) << 23) / self.block_bytes
    }

    /// The number of the entry for a block.
    fn entry(&self, block: u64) -> u64 {
        block + block / self.chunk_blocks()
    }

    fn block_count(&self) -> u64 {
        self.size_bytes.div_ceil(self.block_bytes)
    }

    /// How long the region of the table is.
    fn table_bytes(&self) -> u64 {
        let last = self.block_count().saturating_sub(1);
        ((self.entry(last) + 1) * 8).next_multiple_of(MIB)
    }

    fn table(&self) -> Vec<u8> {
        let count = self.block_count();
        let last = count.saturating_sub(1);
        let mut bytes = vec![0; index((self.entry(last) + 1) * 8)];
        let mut put = |block: u64, entry: u64| {
            let at = index(self.entry(block) * 8);
            bytes[at..at + 8].copy_from_slice(&entry.to_le_bytes());
        };
        for block in 0..count {
            put(block, ZERO);
        }
        for (block, place) in &self.blocks {
            // The place is a multiple of 1 MiB, and its bits are where they belong.
            put(*block, *place | FULLY_PRESENT);
        }
        bytes
    }

    fn header(&self, sequence: u64) -> Vec<u8> {
        let mut bytes = vec![0; 4096];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        put(0, b"head");
        put(8, &sequence.to_le_bytes());
        put(16, &guid(uuid_from(self.uuid, "vhdx file")));
        put(32, &guid(uuid_from(self.uuid, "vhdx data")));
        // No log is to be replayed. Its version is 0, the format's 1.
        put(66, &1_u16.to_le_bytes());
        put(68, &(1_u32 << 20).to_le_bytes());
        put(72, &LOG_PLACE.to_le_bytes());
        seal(&mut bytes);
        bytes
    }

    fn regions(&self) -> Vec<u8> {
        let mut bytes = vec![0; index(64 * KIB)];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        put(0, b"regi");
        put(8, &2_u32.to_le_bytes());
        let table_bytes = u32::try_from(self.table_bytes()).unwrap_or(u32::MAX);
        let regions = [
            (TABLE_GUID, TABLE_PLACE, table_bytes),
            (METADATA_GUID, METADATA_PLACE, 1 << 20),
        ];
        for ((region, place, length), at) in regions.into_iter().zip((16..).step_by(32)) {
            put(at, &guid(region));
            put(at + 16, &place.to_le_bytes());
            put(at + 24, &length.to_le_bytes());
            // It is required.
            put(at + 28, &1_u32.to_le_bytes());
        }
        seal(&mut bytes);
        bytes
    }

    fn metadata(&self) -> Vec<u8> {
        let block_bytes = u32::try_from(self.block_bytes).unwrap_or(u32::MAX);
        // Blocks are not allocated beforehand, and there is no parent.
        let parameters = [block_bytes.to_le_bytes(), [0; 4]].concat();
        let items: [([u8; 16], Vec<u8>, u32); 5] = [
            (FILE_PARAMETERS, parameters, IS_REQUIRED),
            (
                DISK_SIZE,
                self.size_bytes.to_le_bytes().to_vec(),
                IS_REQUIRED | IS_OF_DISK,
            ),
            (
                DISK_ID,
                guid(uuid_from(self.uuid, "vhdx disk")).to_vec(),
                IS_REQUIRED | IS_OF_DISK,
            ),
            (
                LOGICAL_SECTOR_SIZE,
                SECTOR_BYTES.to_le_bytes().to_vec(),
                IS_REQUIRED | IS_OF_DISK,
            ),
            (
                PHYSICAL_SECTOR_SIZE,
                4096_u32.to_le_bytes().to_vec(),
                IS_REQUIRED | IS_OF_DISK,
            ),
        ];
        let mut table = vec![0; index(u64::from(ITEMS_PLACE))];
        let mut values = Vec::new();
        table[..8].copy_from_slice(b"metadata");
        table[10..12].copy_from_slice(&5_u16.to_le_bytes());
        for ((item, value, flags), at) in items.into_iter().zip((32..).step_by(32)) {
            let length = u32::try_from(value.len()).unwrap_or(u32::MAX);
            let place = ITEMS_PLACE + u32::try_from(length_of(&values)).unwrap_or(u32::MAX);
            table[at..at + 16].copy_from_slice(&guid(item));
            table[at + 16..at + 20].copy_from_slice(&place.to_le_bytes());
            table[at + 20..at + 24].copy_from_slice(&length.to_le_bytes());
            table[at + 24..at + 28].copy_from_slice(&flags.to_le_bytes());
            values.extend(value);
        }
        table.extend(values);
        table
    }
}

impl Container for Vhdx {
    fn unit_bytes(&self) -> u64 {
        self.block_bytes
    }

    fn place(&mut self, offset: u64, _bytes: &[u8]) -> Option<u64> {
        let block = offset / self.block_bytes;
        let place = match self.blocks.last() {
            Some((last, place)) if *last == block => *place,
            _ => {
                let place = self.next;
                self.blocks.push((block, place));
                self.next += self.block_bytes;
                place
            }
        };
        Some(place + offset % self.block_bytes)
    }

    fn finish(&mut self, write: &mut Write<'_>) -> io::Result<u64> {
        write(TABLE_PLACE, &self.table())?;
        write(METADATA_PLACE, &self.metadata())?;
        for place in REGION_PLACES {
            write(place, &self.regions())?;
        }
        for (place, sequence) in HEADER_PLACES.into_iter().zip(1..) {
            write(place, &self.header(sequence))?;
        }
        write(0, &identifier())?;
        Ok(self.next)
    }
}

/// What names the format, and who wrote it.
fn identifier() -> Vec<u8> {
    let mut identifier = b"vhdxfile".to_vec();
    identifier.extend("mke4fs".encode_utf16().flat_map(u16::to_le_bytes));
    identifier
}

/// The head of the disk in `file`, whose tables have to be those above but for the identifiers in them.
#[cfg(feature = "cli")]
pub(super) fn disk_head(file: &dyn ReadAt) -> Option<Vec<u8>> {
    let is_there = |place, known: &[u8]| {
        let found = inside::bytes(file, place, known.len());
        found.is_some_and(|found| found == known)
    };
    let items = METADATA_PLACE + u64::from(ITEMS_PLACE);
    let size_bytes = u64::from_le_bytes(inside::field(file, items + 8)?);
    let size_bytes = Some(size_bytes).filter(|size| *size <= MOST_BYTES)?;
    let known = Vhdx::new(&Disk::new(size_bytes, [0; 16]));
    let metadata = known.metadata();
    // Behind those are the disk's size, which was taken from there, and its identifier.
    let parameters = &metadata[..index(u64::from(ITEMS_PLACE)) + 8];
    let is_headed = |place: &u64| {
        let has_no_log = || Some(inside::field(file, place + 48)? == [0; 16]);
        is_there(*place, b"head") && has_no_log().unwrap_or(false)
    };
    let is_ours = is_there(0, &identifier())
        && HEADER_PLACES.iter().all(is_headed)
        && is_there(REGION_PLACES[0], &known.regions())
        && is_there(METADATA_PLACE, parameters);
    let entry = u64::from_le_bytes(inside::field(file, TABLE_PLACE)?);
    let is_present = is_ours && entry % MIB == FULLY_PRESENT;
    is_present.then(|| inside::head(file, entry - FULLY_PRESENT))?
}

/// Writes the checksum of `bytes` at 4, where there are zeros.
fn seal(bytes: &mut [u8]) {
    let checksum = crc32c(bytes);
    bytes[4..8].copy_from_slice(&checksum.to_le_bytes());
}

/// A UUID as Microsoft stores it: its first three fields are little-endian.
fn guid(uuid: [u8; 16]) -> [u8; 16] {
    let mut bytes = uuid;
    bytes[..4].reverse();
    bytes[4..6].reverse();
    bytes[6..8].reverse();
    bytes
}

const fn parse(number: u128) -> [u8; 16] {
    number.to_be_bytes()
}

const TABLE_GUID: [u8; 16] = parse(0x2DC27766_F623_4200_9D64_115E9BFD4A08);
const METADATA_GUID: [u8; 16] = parse(0x8B7CA206_4790_4B9A_B8FE_575F050F886E);

const IS_OF_DISK: u32 = 1 << 1;
const IS_REQUIRED: u32 = 1 << 2;
const FILE_PARAMETERS: [u8; 16] = parse(0xCAA16737_FA36_4D43_B3B6_33F0AA44E76B);
const DISK_SIZE: [u8; 16] = parse(0x2FA54224_CD1B_4876_B211_5DBED83BF4B8);
const DISK_ID: [u8; 16] = parse(0xBECA12AB_B2E6_4523_93EF_C309E000C746);
const LOGICAL_SECTOR_SIZE: [u8; 16] = parse(0x8141BF1D_A96F_4709_BA47_F233A8FAAB5F);
const PHYSICAL_SECTOR_SIZE: [u8; 16] = parse(0xCDA348C7_445D_4471_9CC9_E9885251C556);
