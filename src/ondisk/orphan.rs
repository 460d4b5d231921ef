//! Given an orphan file's block number, gives the empty block; never its place.
//!
//! Layout: the kernel's `Documentation/filesystems/ext4/orphan.rst`.

use super::checksum::crc32c;

/// `EXT4_ORPHAN_BLOCK_MAGIC`, at the block's tail.
pub const MAGIC: u32 = 0x0b10_ca04;

/// Fills `block` as an orphan file's block without orphans.
pub fn render_empty(block: &mut [u8]) {
    block.fill(0);
    let tail = block.len() - 8;
    block[tail..tail + 4].copy_from_slice(&MAGIC.to_le_bytes());
}

/// Puts the checksum at the tail: CRC-32C from the inode's seed over the block's own number and its
/// entries, without the tail.
pub fn set_checksum(block: &mut [u8], inode_seed: u32, number: u64) {
    let tail = block.len() - 8;
    let register = crc32c(inode_seed, &number.to_le_bytes());
    let checksum = crc32c(register, &block[..tail]);
    block[tail + 4..].copy_from_slice(&checksum.to_le_bytes());
}
