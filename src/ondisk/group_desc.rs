//! Given a group's places and counts, gives its descriptor; never decides a value.
//!
//! Layout: the kernel's `Documentation/filesystems/ext4/group_descr.rst`.

use bytemuck::{Pod, Zeroable};
use std::mem::offset_of;

use super::checksum::{crc16, crc32c};
use super::int::{Le16, Le32};
use super::superblock::{halves, halves_16};
use crate::units::Block;

/// `EXT2_BG_INODE_UNINIT`: no inode of the group is in use; its bitmap is not initialised.
pub const INODE_UNINIT: u16 = 0x1;
/// `EXT2_BG_BLOCK_UNINIT`: no block of the group is in use; its bitmap is not initialised.
pub const BLOCK_UNINIT: u16 = 0x2;
/// `EXT2_BG_INODE_ZEROED`: the inode table reads as zeros where it is not used.
pub const INODE_ZEROED: u16 = 0x4;

/// Bytes of a descriptor without the 64bit feature.
pub const SIZE_32: usize = 32;

/// A group descriptor; without 64bit only the first half is stored.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
#[expect(
    missing_docs,
    reason = "each field is documented by its name in group_descr.rst"
)]
pub struct GroupDesc {
    pub bg_block_bitmap_lo: Le32,
    pub bg_inode_bitmap_lo: Le32,
    pub bg_inode_table_lo: Le32,
    pub bg_free_blocks_count_lo: Le16,
    pub bg_free_inodes_count_lo: Le16,

    pub bg_used_dirs_count_lo: Le16,
    pub bg_flags: Le16,
    pub bg_exclude_bitmap_lo: Le32,
    pub bg_block_bitmap_csum_lo: Le16,
    pub bg_inode_bitmap_csum_lo: Le16,
    pub bg_itable_unused_lo: Le16,
    pub bg_checksum: Le16,

    pub bg_block_bitmap_hi: Le32,
    pub bg_inode_bitmap_hi: Le32,
    pub bg_inode_table_hi: Le32,
    pub bg_free_blocks_count_hi: Le16,
    pub bg_free_inodes_count_hi: Le16,

    pub bg_used_dirs_count_hi: Le16,
    pub bg_itable_unused_hi: Le16,
    pub bg_exclude_bitmap_hi: Le32,
    pub bg_block_bitmap_csum_hi: Le16,
    pub bg_inode_bitmap_csum_hi: Le16,
    pub bg_reserved: Le32,
}

const _: () = assert!(size_of::<GroupDesc>() == 64);
const _: () = assert!(offset_of!(GroupDesc, bg_checksum) == 0x1e);
const _: () = assert!(offset_of!(GroupDesc, bg_block_bitmap_hi) == 0x20);

impl GroupDesc {
    /// Sets the places of the group's bitmaps and inode table.
    pub fn set_places(&mut self, block_bitmap: Block, inode_bitmap: Block, inode_table: Block) {
        (self.bg_block_bitmap_lo, self.bg_block_bitmap_hi) = halves(block_bitmap.get());
        (self.bg_inode_bitmap_lo, self.bg_inode_bitmap_hi) = halves(inode_bitmap.get());
        (self.bg_inode_table_lo, self.bg_inode_table_hi) = halves(inode_table.get());
    }

    /// Sets the counts: free blocks (clusters), free inodes, directories, and inodes at the end of
    /// the table that were never used.
    pub fn set_counts(&mut self, free_blocks: u32, free_inodes: u32, dirs: u32, unused: u32) {
        (self.bg_free_blocks_count_lo, self.bg_free_blocks_count_hi) = halves_16(free_blocks);
        (self.bg_free_inodes_count_lo, self.bg_free_inodes_count_hi) = halves_16(free_inodes);
        (self.bg_used_dirs_count_lo, self.bg_used_dirs_count_hi) = halves_16(dirs);
        self.set_unused_inodes(unused);
    }

    /// Sets the count of inodes at the end of the table that were never used.
    pub fn set_unused_inodes(&mut self, unused: u32) {
        (self.bg_itable_unused_lo, self.bg_itable_unused_hi) = halves_16(unused);
    }

    /// Sets the block bitmap's checksum; a descriptor of 32 bytes keeps its low half.
    pub fn set_block_bitmap_checksum(&mut self, checksum: u32) {
        (self.bg_block_bitmap_csum_lo, self.bg_block_bitmap_csum_hi) = halves_16(checksum);
    }

    /// Sets the inode bitmap's checksum; a descriptor of 32 bytes keeps its low half.
    pub fn set_inode_bitmap_checksum(&mut self, checksum: u32) {
        (self.bg_inode_bitmap_csum_lo, self.bg_inode_bitmap_csum_hi) = halves_16(checksum);
    }
}

/// The checksum of a descriptor with metadata_csum: the low half of a CRC-32C over the group's
/// number and the descriptor with `bg_checksum` zero. `stored` is the descriptor as stored.
pub fn checksum_crc32c(filesystem_seed: u32, group: u32, stored: &[u8]) -> u16 {
    let register = crc32c(filesystem_seed, &group.to_le_bytes());
    let register = crc32c(register, &stored[..0x1e]);
    let register = crc32c(register, &[0, 0]);
    let tail = stored.get(0x20..).unwrap_or_default();
    halves_16(crc32c(register, tail)).0.get()
}

/// The checksum of a descriptor with uninit_bg: a CRC-16 over the UUID, the group's number and the
/// descriptor without `bg_checksum`.
pub fn checksum_crc16(uuid: &[u8; 16], group: u32, stored: &[u8]) -> u16 {
    let register = crc16(u16::MAX, uuid);
    let register = crc16(register, &group.to_le_bytes());
    let register = crc16(register, &stored[..0x1e]);
    crc16(register, stored.get(0x20..).unwrap_or_default())
}
