//! Given where a file's blocks are, gives the records of an extent tree's nodes; never a tree.
//!
//! The layouts are those of the kernel's documentation, "Extent Tree": a node is a header and
//! records of 12 bytes, extents in a leaf and indexes above; a node in a block of its own ends in a
//! checksum where the filesystem has them.

use std::mem::offset_of;

use bytemuck::{Pod, Zeroable, bytes_of};

use super::checksum::crc32c;
use super::int::{Le16, Le32};
use crate::units::{Block, BlockSize, LogicalBlock};

/// The start of every node: `ext4_extent_header`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct ExtentHeader {
    /// [`MAGIC`].
    pub eh_magic: Le16,
    /// How many records there are.
    pub eh_entries: Le16,
    /// How many would fit.
    pub eh_max: Le16,
    /// How many levels of nodes are below; 0 in a leaf.
    pub eh_depth: Le16,
    /// 0: unused by ext4.
    pub eh_generation: Le32,
}

/// A leaf's record: `ext4_extent`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct ExtentRecord {
    /// The first logical block.
    pub ee_block: Le32,
    /// How many blocks: 1 to 32,768. Above, it would say that the blocks count as zeros.
    pub ee_len: Le16,
    /// Bits 32 to 47 of the first physical block.
    pub ee_start_hi: Le16,
    /// Bits 0 to 31 of the first physical block.
    pub ee_start_lo: Le32,
}

/// A record above the leaves: `ext4_extent_idx`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct IndexRecord {
    /// The first logical block below.
    pub ei_block: Le32,
    /// Bits 0 to 31 of the node's physical block.
    pub ei_leaf_lo: Le32,
    /// Bits 32 to 47 of the node's physical block.
    pub ei_leaf_hi: Le16,
    /// 0.
    pub ei_unused: Le16,
}

const _: () = assert!(size_of::<ExtentHeader>() == RECORD_BYTES);
const _: () = assert!(offset_of!(ExtentHeader, eh_generation) == 8);
const _: () = assert!(size_of::<ExtentRecord>() == RECORD_BYTES);
const _: () = assert!(offset_of!(ExtentRecord, ee_start_hi) == 6);
const _: () = assert!(offset_of!(ExtentRecord, ee_start_lo) == 8);
const _: () = assert!(size_of::<IndexRecord>() == RECORD_BYTES);
const _: () = assert!(offset_of!(IndexRecord, ei_leaf_hi) == 8);

/// What `eh_magic` holds.
pub const MAGIC: u16 = 0xF30A;

/// The bytes of `i_block`, which holds a tree's root.
pub const ROOT_BYTES: usize = 60;

/// How many records the root has room for.
pub const ROOT_MAX: u16 = 4;

/// The bytes of a header, and of a record of either kind.
pub const RECORD_BYTES: usize = 12;

/// The most blocks of an extent whose blocks hold data (`EXT_INIT_MAX_LEN`).
pub const MAX_BLOCKS: u16 = 32768;

/// How many records a node in a block of its own has room for. What remains of the block is
/// always 4 or 8 bytes, and the first four of them hold the checksum.
pub fn node_max(block_size: BlockSize) -> u16 {
    let records = (block_size.bytes_usize() - RECORD_BYTES) / RECORD_BYTES;
    u16::try_from(records).expect("64 KiB hold 5,460 records")
}

impl ExtentHeader {
    /// For a node of `entries` records out of `max`, with `depth` levels below.
    pub fn new(entries: u16, max: u16, depth: u16) -> Self {
        Self {
            eh_magic: Le16::new(MAGIC),
            eh_entries: Le16::new(entries),
            eh_max: Le16::new(max),
            eh_depth: Le16::new(depth),
            eh_generation: Le32::new(0),
        }
    }
}

impl ExtentRecord {
    /// For `blocks` blocks of the file from `logical` on, which are at `physical`.
    pub fn new(logical: LogicalBlock, physical: Block, blocks: u16) -> Self {
        let (high, low) = split(physical);
        Self {
            ee_block: Le32::new(logical.get()),
            ee_len: Le16::new(blocks),
            ee_start_hi: high,
            ee_start_lo: low,
        }
    }

    /// The first physical block.
    pub fn physical(self) -> Block {
        join(self.ee_start_hi, self.ee_start_lo)
    }
}

impl IndexRecord {
    /// For the node at `node`, whose first extent begins with `logical`.
    pub fn new(logical: LogicalBlock, node: Block) -> Self {
        let (high, low) = split(node);
        Self {
            ei_block: Le32::new(logical.get()),
            ei_leaf_lo: low,
            ei_leaf_hi: high,
            ei_unused: Le16::new(0),
        }
    }

    /// The physical block of the node.
    pub fn node(self) -> Block {
        join(self.ei_leaf_hi, self.ei_leaf_lo)
    }
}

/// Ends a node's block with its checksum (`ext4_extent_tail`): behind the last record that would
/// fit, over all before. `inode_seed` is that of the inode the tree belongs to.
pub fn seal(block: &mut [u8], block_size: BlockSize, inode_seed: u32) {
    let at = RECORD_BYTES * (1 + usize::from(node_max(block_size)));
    let (records, tail) = block.split_at_mut(at);
    let checksum = Le32::new(crc32c(inode_seed, records));
    tail[..4].copy_from_slice(bytes_of(&checksum));
}

/// The high and the low part of a block's number of 48 bits.
fn split(block: Block) -> (Le16, Le32) {
    let bytes = block.get().to_le_bytes();
    let high = u16::from_le_bytes([bytes[4], bytes[5]]);
    let low = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    (Le16::new(high), Le32::new(low))
}

fn join(high: Le16, low: Le32) -> Block {
    Block::new((u64::from(high.get()) << 32) | u64::from(low.get()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_remainder_holds_a_checksum() {
        for (bytes, max) in [(1024, 84), (2048, 169), (4096, 340), (65536, 5460)] {
            let block_size = BlockSize::new(bytes).expect("a block size");
            assert_eq!(node_max(block_size), max);
            let records = RECORD_BYTES * (1 + usize::from(max));
            assert!(matches!(block_size.bytes_usize() - records, 4 | 8));
        }
    }

    #[test]
    fn blocks_have_48_bits() {
        let block = Block::new(0x1234_89ab_cdef);
        let extent = ExtentRecord::new(LogicalBlock::new(7), block, MAX_BLOCKS);
        assert_eq!(
            bytes_of(&extent),
            [7, 0, 0, 0, 0, 0x80, 0x34, 0x12, 0xef, 0xcd, 0xab, 0x89]
        );
        assert_eq!(extent.physical(), block);
        let index = IndexRecord::new(LogicalBlock::new(7), block);
        assert_eq!(
            bytes_of(&index),
            [7, 0, 0, 0, 0xef, 0xcd, 0xab, 0x89, 0x34, 0x12, 0, 0]
        );
        assert_eq!(index.node(), block);
    }
}
