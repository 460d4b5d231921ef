//! Given a journal's length, gives its superblock, and knows what its other blocks begin with; never its
//! place.
//!
//! Layout: the kernel's `Documentation/filesystems/ext4/journal.rst`. Unlike all else in ext4, the
//! journal is big-endian.

use bytemuck::{Pod, Zeroable};
use std::mem::offset_of;

use super::int::{Be16, Be32, Be64};

/// `JBD2_MAGIC_NUMBER`.
pub const MAGIC: u32 = 0xc03b_3998;
/// `JBD2_DESCRIPTOR_BLOCK`: says where the blocks behind it belong.
pub const BLOCK_TYPE_DESCRIPTOR: u32 = 1;
/// `JBD2_COMMIT_BLOCK`: ends a transaction.
pub const BLOCK_TYPE_COMMIT: u32 = 2;
/// `JBD2_SUPERBLOCK_V1`, the old form.
pub const BLOCK_TYPE_SUPERBLOCK_V1: u32 = 3;
/// `JBD2_SUPERBLOCK_V2`.
pub const BLOCK_TYPE_SUPERBLOCK_V2: u32 = 4;
/// `JBD2_REVOKE_BLOCK`: names blocks whose earlier copies are not to be replayed.
pub const BLOCK_TYPE_REVOKE: u32 = 5;
/// `JBD2_FEATURE_COMPAT_CHECKSUM`: a commit has the CRC-32 of its transaction.
pub const COMPAT_CHECKSUM: u32 = 0x1;
/// `JBD2_FEATURE_INCOMPAT_64BIT`: numbers of blocks have 64 bits.
pub const INCOMPAT_64BIT: u32 = 0x2;
/// `JBD2_FEATURE_INCOMPAT_ASYNC_COMMIT`: commits may reach the storage before their transactions.
pub const INCOMPAT_ASYNC_COMMIT: u32 = 0x4;
/// `JBD2_FEATURE_INCOMPAT_CSUM_V2`: every block has a checksum, and tags have 16 bits of it.
pub const INCOMPAT_CSUM_V2: u32 = 0x8;
/// `JBD2_FEATURE_INCOMPAT_CSUM_V3`: every block has a checksum, and tags have all of it.
pub const INCOMPAT_CSUM_V3: u32 = 0x10;
/// `JBD2_FEATURE_INCOMPAT_FAST_COMMIT`: there is a place for fast commits at the end.
pub const INCOMPAT_FAST_COMMIT: u32 = 0x20;
/// Revoke records, 64 bits, asynchronous commits, checksums of both kinds, fast commits.
pub const KNOWN_INCOMPAT: u32 = 0x3f;
/// `JBD2_CRC32_CHKSUM`, the first checksum, of 4 bytes.
pub const CHECKSUM_CRC32: u8 = 1;
/// `JBD2_CRC32C_CHKSUM`.
pub const CHECKSUM_CRC32C: u8 = 4;
/// `JBD2_DEFAULT_FAST_COMMIT_BLOCKS`: the blocks for fast commits where the superblock says none.
pub const DEFAULT_FAST_COMMIT_BLOCKS: u32 = 256;
/// `JBD2_FLAG_ESCAPE`: the block begins with the journal's magic number, which was taken out.
pub const TAG_ESCAPED: u32 = 0x1;
/// `JBD2_FLAG_SAME_UUID`: no UUID follows the tag.
pub const TAG_SAME_UUID: u32 = 0x2;
/// `JBD2_FLAG_LAST_TAG`: it is the block's last.
pub const TAG_LAST: u32 = 0x8;
/// The fewest blocks a journal can have.
pub const MIN_BLOCKS: u32 = 1024;
/// The most blocks mke2fs gives one.
pub const MAX_BLOCKS: u32 = 10_240_000;

/// What all of a journal's blocks begin with but for copies: `journal_header_t`.
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
#[repr(C)]
pub struct BlockHeader {
    /// [`MAGIC`].
    pub h_magic: Be32,
    /// What follows.
    pub h_blocktype: Be32,
    /// The transaction it belongs to.
    pub h_sequence: Be32,
}

/// A tag of a descriptor: `journal_block_tag_t`. Without checksums of the second kind its second field
/// is zero; without 64 bits it ends before its last.
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
#[repr(C)]
pub struct BlockTag {
    /// Bits 0 to 31 of the block's number.
    pub t_blocknr: Be32,
    /// The low half of the copy's checksum.
    pub t_checksum: Be16,
    /// [`TAG_ESCAPED`] and others.
    pub t_flags: Be16,
    /// Bits 32 to 63 of the block's number.
    pub t_blocknr_high: Be32,
}

/// A tag of a descriptor with [`INCOMPAT_CSUM_V3`]: `journal_block_tag3_t`.
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
#[repr(C)]
pub struct BlockTag3 {
    /// Bits 0 to 31 of the block's number.
    pub t_blocknr: Be32,
    /// [`TAG_ESCAPED`] and others.
    pub t_flags: Be32,
    /// Bits 32 to 63 of the block's number.
    pub t_blocknr_high: Be32,
    /// The copy's checksum.
    pub t_checksum: Be32,
}

/// A block that ends a transaction: `commit_header`.
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
#[repr(C)]
pub struct CommitHeader {
    /// The header.
    pub header: BlockHeader,
    /// [`CHECKSUM_CRC32`] and others, or zero.
    pub h_chksum_type: u8,
    /// The checksum's bytes, or zero.
    pub h_chksum_size: u8,
    /// Zero.
    pub h_padding: [u8; 2],

    /// The checksum in the first.
    pub h_chksum: [Be32; 8],

    /// When it was committed, in seconds since 1970.
    pub h_commit_sec: Be64,
    /// And nanoseconds.
    pub h_commit_nsec: Be32,
}

const _: () = assert!(size_of::<BlockHeader>() == 12);
const _: () = assert!(size_of::<BlockTag>() == 12);
const _: () = assert!(size_of::<BlockTag3>() == 16);
const _: () = assert!(offset_of!(CommitHeader, h_chksum) == 16);
const _: () = assert!(offset_of!(CommitHeader, h_commit_sec) == 48);

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
