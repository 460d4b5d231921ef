//! Given what was overwritten and where, gives the records of an undo file; never the file.
//!
//! The format is that of `e2undo` (e2fsprogs' `undo_io.c`). The file is cut into blocks of its own size:
//! the header, a copy of the superblock, then key blocks, each followed by the data of its keys in
//! their order.

use std::mem::offset_of;

use bytemuck::{Pod, Zeroable, bytes_of};

use super::checksum::{INITIAL, crc32c};
use super::int::{Le32, Le64};
use super::superblock::Superblock;

/// What a header begins with.
pub const MAGIC: [u8; 8] = *b"E2UNDO02";
/// What a key block begins with.
pub const KEY_BLOCK_MAGIC: u32 = 0xcade_cade;
/// `E2UNDO_STATE_FINISHED`: nothing is missing.
pub const STATE_FINISHED: u32 = 1;
/// `E2UNDO_FEATURE_COMPAT_FS_OFFSET`: `fs_offset` counts.
pub const COMPAT_FS_OFFSET: u32 = 1;
/// The least and the most bytes of an undo file's block.
pub const BLOCK_BYTES: std::ops::RangeInclusive<u32> = 1024..=1 << 20;
/// `E2UNDO_MAX_EXTENT_BLOCKS`: the most blocks of one key.
pub const MOST_BLOCKS_OF_KEY: u32 = 512;

/// What the first block begins with; the rest of it is zero.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
#[expect(
    missing_docs,
    reason = "the names are those of undo_io.c; sizes are bytes, places blocks of the undo file"
)]
pub struct UndoHeader {
    pub magic: [u8; 8],
    pub num_keys: Le64,

    pub super_offset: Le64,
    pub key_offset: Le64,

    pub block_size: Le32,
    pub fs_block_size: Le32,
    pub sb_crc: Le32,
    pub state: Le32,

    pub f_compat: Le32,
    pub f_incompat: Le32,
    pub f_rocompat: Le32,
    pub pad32: Le32,

    pub fs_offset: Le64,
    pub padding: [Le32; 109],
    pub header_crc: Le32,
}

const _: () = assert!(size_of::<UndoHeader>() == 512);
const _: () = assert!(offset_of!(UndoHeader, fs_offset) == 0x40);
const _: () = assert!(offset_of!(UndoHeader, header_crc) == 0x1fc);

impl UndoHeader {
    /// The checksum of all before it.
    fn checksum(&self) -> u32 {
        crc32c(INITIAL, &bytes_of(self)[..offset_of!(Self, header_crc)])
    }

    /// Sets the checksum.
    pub fn seal(&mut self) {
        self.header_crc = Le32::new(self.checksum());
    }

    /// Whether it is a header, whole, with no feature that a reader must know.
    pub fn is_sound(&self) -> bool {
        self.magic == MAGIC
            && self.header_crc.get() == self.checksum()
            && (self.f_incompat.get(), self.f_rocompat.get()) == (0, 0)
    }
}

/// What a key block begins with, before its keys.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
#[expect(missing_docs, reason = "the names are those of undo_io.c")]
pub struct KeyBlockHeader {
    pub magic: Le32,
    pub crc: Le32,
    pub reserved: Le64,
}

const _: () = assert!(size_of::<KeyBlockHeader>() == 16);

/// Where data were that stand behind a key block.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct UndoKey {
    /// The block of the filesystem, of `fs_block_size`.
    pub fsblk: Le64,
    /// The CRC-32C of the data.
    pub blk_crc: Le32,
    /// The data's bytes.
    pub size: Le32,
}

const _: () = assert!(size_of::<UndoKey>() == 16);

/// How many keys a block of `block_bytes` bytes has.
pub fn keys_per_block(block_bytes: usize) -> usize {
    block_bytes / size_of::<UndoKey>() - 1
}

/// A key block of `block_bytes` with `keys`, which are no more than it has room for.
pub fn key_block(keys: &[UndoKey], block_bytes: usize) -> Vec<u8> {
    let mut block = vec![0; block_bytes];
    let head = size_of::<KeyBlockHeader>();
    let keys: &[u8] = bytemuck::cast_slice(keys);
    block[head..head + keys.len()].copy_from_slice(keys);
    let mut header = KeyBlockHeader {
        magic: Le32::new(KEY_BLOCK_MAGIC),
        ..KeyBlockHeader::zeroed()
    };
    block[..head].copy_from_slice(bytes_of(&header));
    header.crc = Le32::new(crc32c(INITIAL, &block));
    block[..head].copy_from_slice(bytes_of(&header));
    block
}

/// The first `count` keys of a key block, if it is one and whole.
pub fn keys_of(block: &[u8], count: usize) -> Option<Vec<UndoKey>> {
    let (head, keys) = block.split_at_checked(size_of::<KeyBlockHeader>())?;
    let mut header: KeyBlockHeader = bytemuck::pod_read_unaligned(head);
    let stored = std::mem::take(&mut header.crc);
    let checksum = crc32c(crc32c(INITIAL, bytes_of(&header)), keys);
    if header.magic.get() != KEY_BLOCK_MAGIC || stored.get() != checksum {
        return None;
    }
    let keys = keys.get(..count.checked_mul(size_of::<UndoKey>())?)?;
    let keys = keys.chunks_exact(size_of::<UndoKey>());
    Some(keys.map(bytemuck::pod_read_unaligned).collect())
}

/// A superblock as an undo file keeps it, with its magic inverted, so that nothing takes the undo file
/// for a filesystem; the same again gives the superblock.
pub fn inverted(mut superblock: Superblock) -> Superblock {
    superblock.s_magic = super::int::Le16::new(!superblock.s_magic.get());
    superblock
}
