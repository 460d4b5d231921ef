//! Given who makes a filesystem and when, gives its block of multiple mount protection; never its
//! place.
//!
//! Layout: the kernel's `Documentation/filesystems/ext4/mmp.rst`.

use bytemuck::{Pod, Zeroable};
use std::mem::offset_of;

use super::checksum::crc32c;
use super::int::{Le16, Le32, Le64};

/// `EXT4_MMP_MAGIC`.
pub const MAGIC: u32 = 0x004d_4d50;
/// `EXT4_MMP_SEQ_CLEAN`: nobody has it mounted.
pub const SEQUENCE_CLEAN: u32 = 0xff4d_4d50;
/// `EXT4_MMP_MAX_UPDATE_INTERVAL`, in seconds.
pub const MAX_UPDATE_INTERVAL: u16 = 300;
/// `EXT4_MMP_MIN_CHECK_INTERVAL`, in seconds.
pub const MIN_CHECK_INTERVAL: u16 = 5;

/// What the block begins with; the rest of it is zero.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
#[expect(
    missing_docs,
    reason = "each field is documented by its name in mmp.rst"
)]
pub struct MmpBlock {
    pub mmp_magic: Le32,
    pub mmp_seq: Le32,
    pub mmp_time: Le64,

    pub mmp_nodename: [u8; 64],

    pub mmp_bdevname: [u8; 32],

    pub mmp_check_interval: Le16,
    pub mmp_pad1: Le16,
    pub mmp_pad2: [Le32; 226],
    pub mmp_checksum: Le32,
}

const _: () = assert!(size_of::<MmpBlock>() == 1024);
const _: () = assert!(offset_of!(MmpBlock, mmp_check_interval) == 0x70);
const _: () = assert!(offset_of!(MmpBlock, mmp_checksum) == 0x3fc);

impl MmpBlock {
    /// The block of a filesystem that is updated every `interval` seconds while it is mounted, and
    /// is not.
    pub fn clean(interval: u16) -> Self {
        Self {
            mmp_magic: Le32::new(MAGIC),
            mmp_seq: Le32::new(SEQUENCE_CLEAN),
            mmp_check_interval: Le16::new(interval.max(MIN_CHECK_INTERVAL)),
            ..Self::zeroed()
        }
    }

    /// Sets the checksum: CRC-32C over all before it, from the filesystem's seed.
    pub fn seal(&mut self, filesystem_seed: u32) {
        let covered = &bytemuck::bytes_of(self)[..offset_of!(Self, mmp_checksum)];
        self.mmp_checksum = Le32::new(crc32c(filesystem_seed, covered));
    }
}
