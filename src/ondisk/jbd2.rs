//! Given a journal's length, gives its superblock; never its place.
//!
//! Layout: the kernel's `Documentation/filesystems/ext4/journal.rst`. Unlike all else in ext4, the
//! journal is big-endian.

use bytemuck::{Pod, Zeroable};
use std::mem::offset_of;

use super::int::Be32;

/// `JBD2_MAGIC_NUMBER`.
pub const MAGIC: u32 = 0xc03b_3998;
/// `JBD2_SUPERBLOCK_V1`, the old form.
pub const BLOCK_TYPE_SUPERBLOCK_V1: u32 = 3;
/// `JBD2_SUPERBLOCK_V2`.
pub const BLOCK_TYPE_SUPERBLOCK_V2: u32 = 4;
/// The fewest blocks a journal can have.
pub const MIN_BLOCKS: u32 = 1024;
/// The most blocks mke2fs gives one.
pub const MAX_BLOCKS: u32 = 10_240_000;

/// The journal's superblock, in its first block.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
#[expect(
    missing_docs,
    reason = "each field is documented by its name in journal.rst"
)]
pub struct JournalSuperblock {
    pub h_magic: Be32,
    pub h_blocktype: Be32,
    pub h_sequence: Be32,
    pub s_blocksize: Be32,

    pub s_maxlen: Be32,
    pub s_first: Be32,
    pub s_sequence: Be32,
    pub s_start: Be32,

    pub s_errno: Be32,
    pub s_feature_compat: Be32,
    pub s_feature_incompat: Be32,
    pub s_feature_ro_compat: Be32,

    pub s_uuid: [u8; 16],

    pub s_nr_users: Be32,
    pub s_dynsuper: Be32,
    pub s_max_transaction: Be32,
    pub s_max_trans_data: Be32,

    pub s_checksum_type: u8,
    pub s_padding2: [u8; 3],
    pub s_num_fc_blks: Be32,
    pub s_head: Be32,
    pub s_padding: [Be32; 40],
    pub s_checksum: Be32,

    pub s_users: [[u8; 16]; 48],
}

const _: () = assert!(size_of::<JournalSuperblock>() == 1024);
const _: () = assert!(offset_of!(JournalSuperblock, s_nr_users) == 0x40);
const _: () = assert!(offset_of!(JournalSuperblock, s_num_fc_blks) == 0x54);
const _: () = assert!(offset_of!(JournalSuperblock, s_checksum) == 0xfc);

impl JournalSuperblock {
    /// The superblock of an empty journal of `blocks` blocks of `block_size` bytes.
    pub fn empty(blocks: u32, block_size: u32, uuid: [u8; 16]) -> Self {
        Self {
            h_magic: Be32::new(MAGIC),
            h_blocktype: Be32::new(BLOCK_TYPE_SUPERBLOCK_V2),
            s_blocksize: Be32::new(block_size),
            s_maxlen: Be32::new(blocks),
            s_first: Be32::new(1),
            s_sequence: Be32::new(1),
            s_uuid: uuid,
            s_nr_users: Be32::new(1),
            ..Self::zeroed()
        }
    }
}
