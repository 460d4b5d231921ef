//! Given whose quota it is and what they use, gives the blocks of a quota file; never counts.
//!
//! Layout: "VFS quota format v2, revision 1" of the kernel's `fs/quota/quotaio_v2.h` and
//! `quota_tree.h`: blocks of 1 KiB whatever the filesystem's are. Block 0 has the header, block 1
//! the root of a radix tree over the four bytes of an id, the highest first; its leaves are blocks
//! of entries.

use bytemuck::{Pod, Zeroable};

use super::int::{Le16, Le32, Le64};

/// Bytes of a block of the file.
pub const BLOCK_BYTES: usize = 1024;
/// The block with the tree's root.
pub const ROOT: u32 = 1;
/// Levels of the tree: one per byte of an id.
pub const DEPTH: usize = 4;
/// Entries in a block of them.
pub const ENTRIES_PER_BLOCK: usize =
    (BLOCK_BYTES - size_of::<EntriesHeader>()) / size_of::<Entry>();
/// Seconds a soft limit may be exceeded: a week.
pub const GRACE: u32 = 7 * 24 * 60 * 60;
/// `V2_INITQMAGICS`: the magic numbers of user, group and project quota files.
pub const MAGICS: [u32; 3] = [0xd9c0_1f11, 0xd9c0_1927, 0xd9c0_3f14];
/// The version of entries of 72 bytes.
pub const VERSION: u32 = 1;

/// What the file begins with.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
#[expect(missing_docs, reason = "each field has its name in the kernel")]
pub struct Header {
    pub dqh_magic: Le32,
    pub dqh_version: Le32,
    pub dqi_bgrace: Le32,
    pub dqi_igrace: Le32,

    pub dqi_flags: Le32,
    pub dqi_blocks: Le32,
    pub dqi_free_blk: Le32,
    pub dqi_free_entry: Le32,
}

/// What a block of entries begins with.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
#[expect(missing_docs, reason = "each field has its name in the kernel")]
pub struct EntriesHeader {
    pub dqdh_next_free: Le32,
    pub dqdh_prev_free: Le32,
    pub dqdh_entries: Le16,
    pub dqdh_pad1: Le16,
    pub dqdh_pad2: Le32,
}

/// What one id may use and does.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
#[expect(missing_docs, reason = "each field has its name in the kernel")]
pub struct Entry {
    pub dqb_id: Le32,
    pub dqb_pad: Le32,
    pub dqb_ihardlimit: Le64,

    pub dqb_isoftlimit: Le64,
    pub dqb_curinodes: Le64,

    pub dqb_bhardlimit: Le64,
    pub dqb_bsoftlimit: Le64,

    pub dqb_curspace: Le64,
    pub dqb_btime: Le64,

    pub dqb_itime: Le64,
}

const _: () = assert!(size_of::<Header>() == 32);
const _: () = assert!(size_of::<EntriesHeader>() == 16);
const _: () = assert!(size_of::<Entry>() == 72);
const _: () = assert!(ENTRIES_PER_BLOCK == 14);
