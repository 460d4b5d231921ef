//! Given the fields of the superblock, gives its 1,024 bytes; never decides a value.
//!
//! Layout: the kernel's `Documentation/filesystems/ext4/super.rst`.

use bytemuck::{Pod, Zeroable};
use std::mem::offset_of;

use super::checksum::crc32c;
use super::int::{Le16, Le32, Le64};

/// `EXT2_SUPER_MAGIC`.
pub const MAGIC: u16 = 0xef53;
/// Where the primary superblock begins, in bytes from the filesystem's first.
pub const OFFSET: u64 = 1024;
/// `EXT2_VALID_FS`: cleanly unmounted.
pub const STATE_VALID: u16 = 0x1;
/// `s_state`: errors are known (`EXT2_ERROR_FS`).
pub const STATE_ERROR: u16 = 0x2;
/// `EXT2_FLAGS_SIGNED_HASH`: directory hashes read names as signed bytes.
pub const FLAG_SIGNED_HASH: u32 = 0x1;
/// `EXT2_FLAGS_TEST_FILESYS`: to try what is not finished.
pub const FLAG_TEST_FILESYSTEM: u32 = 0x4;
/// `EXT4_ENCRYPTION_MODE_AES_256_XTS` and `EXT4_ENCRYPTION_MODE_AES_256_CTS`, for content and names.
pub const ENCRYPTION_MODES: [u8; 2] = [1, 4];
/// `EXT2_CRC32C_CHKSUM`: metadata checksums are CRC-32C.
pub const CHECKSUM_CRC32C: u8 = 1;
/// `EXT3_JNL_BACKUP_BLOCKS`: `s_jnl_blocks` repeats the journal inode's block map.
pub const JOURNAL_BACKUP_BLOCKS: u8 = 1;

/// The superblock.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
#[expect(
    missing_docs,
    reason = "each field is documented by its name in super.rst"
)]
pub struct Superblock {
    pub s_inodes_count: Le32,
    pub s_blocks_count_lo: Le32,
    pub s_r_blocks_count_lo: Le32,
    pub s_free_blocks_count_lo: Le32,

    pub s_free_inodes_count: Le32,
    pub s_first_data_block: Le32,
    pub s_log_block_size: Le32,
    pub s_log_cluster_size: Le32,

    pub s_blocks_per_group: Le32,
    pub s_clusters_per_group: Le32,
    pub s_inodes_per_group: Le32,
    pub s_mtime: Le32,

    pub s_wtime: Le32,
    pub s_mnt_count: Le16,
    pub s_max_mnt_count: Le16,
    pub s_magic: Le16,
    pub s_state: Le16,
    pub s_errors: Le16,
    pub s_minor_rev_level: Le16,

    pub s_lastcheck: Le32,
    pub s_checkinterval: Le32,
    pub s_creator_os: Le32,
    pub s_rev_level: Le32,

    pub s_def_resuid: Le16,
    pub s_def_resgid: Le16,
    pub s_first_ino: Le32,
    pub s_inode_size: Le16,
    pub s_block_group_nr: Le16,
    pub s_feature_compat: Le32,

    pub s_feature_incompat: Le32,
    pub s_feature_ro_compat: Le32,
    pub s_uuid: [u8; 16],
    pub s_volume_name: [u8; 16],
    pub s_last_mounted: [u8; 64],

    pub s_algorithm_usage_bitmap: Le32,
    pub s_prealloc_blocks: u8,
    pub s_prealloc_dir_blocks: u8,
    pub s_reserved_gdt_blocks: Le16,
    pub s_journal_uuid: [u8; 16],

    pub s_journal_inum: Le32,
    pub s_journal_dev: Le32,
    pub s_last_orphan: Le32,
    pub s_hash_seed: [u8; 16],
    pub s_def_hash_version: u8,
    pub s_jnl_backup_type: u8,
    pub s_desc_size: Le16,

    pub s_default_mount_opts: Le32,
    pub s_first_meta_bg: Le32,
    pub s_mkfs_time: Le32,
    pub s_jnl_blocks: [u8; 68],

    pub s_blocks_count_hi: Le32,
    pub s_r_blocks_count_hi: Le32,
    pub s_free_blocks_count_hi: Le32,
    pub s_min_extra_isize: Le16,
    pub s_want_extra_isize: Le16,

    pub s_flags: Le32,
    pub s_raid_stride: Le16,
    pub s_mmp_interval: Le16,
    pub s_mmp_block: Le64,

    pub s_raid_stripe_width: Le32,
    pub s_log_groups_per_flex: u8,
    pub s_checksum_type: u8,
    pub s_encryption_level: u8,
    pub s_reserved_pad: u8,
    pub s_kbytes_written: Le64,

    pub s_snapshot: [u8; 20],
    pub s_error_count: Le32,
    pub s_error_details: [u8; 104],

    pub s_mount_opts: [u8; 64],

    pub s_usr_quota_inum: Le32,
    pub s_grp_quota_inum: Le32,
    pub s_overhead_clusters: Le32,
    pub s_backup_bgs: [Le32; 2],
    pub s_encrypt_algos: [u8; 4],
    pub s_encrypt_pw_salt: [u8; 16],

    pub s_lpf_ino: Le32,
    pub s_prj_quota_inum: Le32,
    pub s_checksum_seed: Le32,
    pub s_wtime_hi: u8,
    pub s_mtime_hi: u8,
    pub s_mkfs_time_hi: u8,
    pub s_lastcheck_hi: u8,

    pub s_first_error_time_hi: u8,
    pub s_last_error_time_hi: u8,
    pub s_first_error_errcode: u8,
    pub s_last_error_errcode: u8,
    pub s_encoding: Le16,
    pub s_encoding_flags: Le16,
    pub s_orphan_file_inum: Le32,
    pub s_reserved: [u8; 376],
    pub s_checksum: Le32,
}

const _: () = assert!(size_of::<Superblock>() == 1024);
const _: () = assert!(offset_of!(Superblock, s_magic) == 0x38);
const _: () = assert!(offset_of!(Superblock, s_hash_seed) == 0xec);
const _: () = assert!(offset_of!(Superblock, s_kbytes_written) == 0x178);
const _: () = assert!(offset_of!(Superblock, s_mount_opts) == 0x200);
const _: () = assert!(offset_of!(Superblock, s_orphan_file_inum) == 0x280);
const _: () = assert!(offset_of!(Superblock, s_checksum) == 0x3fc);

impl Superblock {
    /// Sets both halves of `s_blocks_count`, in blocks.
    pub fn set_blocks_count(&mut self, blocks: u64) {
        (self.s_blocks_count_lo, self.s_blocks_count_hi) = halves(blocks);
    }

    /// Sets both halves of `s_r_blocks_count`, in blocks.
    pub fn set_reserved_blocks_count(&mut self, blocks: u64) {
        (self.s_r_blocks_count_lo, self.s_r_blocks_count_hi) = halves(blocks);
    }

    /// Sets both halves of `s_free_blocks_count`, in blocks.
    pub fn set_free_blocks_count(&mut self, blocks: u64) {
        (self.s_free_blocks_count_lo, self.s_free_blocks_count_hi) = halves(blocks);
    }

    /// Sets the times of making, writing and checking to `seconds` since 1970.
    pub fn set_clock(&mut self, seconds: i64) {
        let bytes = seconds.to_le_bytes();
        let low = Le32::new(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]));
        (self.s_mkfs_time, self.s_mkfs_time_hi) = (low, bytes[4]);
        (self.s_wtime, self.s_wtime_hi) = (low, bytes[4]);
        (self.s_lastcheck, self.s_lastcheck_hi) = (low, bytes[4]);
    }

    /// The checksum over all but itself: CRC-32C from a register of all ones.
    pub fn checksum(&self) -> u32 {
        crc32c(u32::MAX, &bytemuck::bytes_of(self)[..1020])
    }
}

/// The low and the high half of `value` as the format stores them.
pub fn halves(value: u64) -> (Le32, Le32) {
    let bytes = value.to_le_bytes();
    (
        Le32::new(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])),
        Le32::new(u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]])),
    )
}

/// The low and the high half of `value` as the format stores them.
pub fn halves_16(value: u32) -> (Le16, Le16) {
    let bytes = value.to_le_bytes();
    (
        Le16::new(u16::from_le_bytes([bytes[0], bytes[1]])),
        Le16::new(u16::from_le_bytes([bytes[2], bytes[3]])),
    )
}
