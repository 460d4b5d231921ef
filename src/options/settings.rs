//! Given options, the clock and randomness, gives every setting filled in; never asks again.
//!
//! Everything after this is a pure function of [`Settings`] and the tree.

use std::path::PathBuf;

use crate::feature::{Feature, FeatureSet};
use crate::units::BlockSize;

/// What to do when the kernel meets an error (`s_errors`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Errors {
    /// Go on.
    Continue,
    /// Remount read-only.
    RemountReadOnly,
    /// Panic.
    Panic,
}

/// How long the journal shall be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JournalLength {
    /// As mke2fs chooses by the filesystem's length.
    ByFilesystem,
    /// So many MiB.
    Mebibytes(u32),
}

/// A device with a journal for other filesystems.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct JournalDevice {
    /// `s_journal_dev`: its number, as the C library has it, in 32 bits.
    pub number: u32,
    /// The journal's own UUID.
    pub uuid: [u8; 16],
    /// The block size, which the filesystem's must be.
    pub block_size: BlockSize,
}

/// Who makes a filesystem, where and when: what its MMP block says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MmpInfo {
    /// The host's name, padded with zeros.
    pub(crate) host_name: [u8; 64],
    /// The output's path, padded with zeros.
    pub(crate) device_name: [u8; 32],
    /// The real clock, in seconds since 1970.
    pub(crate) time: u64,
}

/// Whose usage a quota file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum QuotaType {
    /// Each user's.
    User,
    /// Each group's.
    Group,
    /// Each project's.
    Project,
}

impl QuotaType {
    /// All types, in the order of their files.
    pub const ALL: [Self; 3] = [Self::User, Self::Group, Self::Project];

    /// Its place in that order.
    pub const fn index(self) -> usize {
        match self {
            Self::User => 0,
            Self::Group => 1,
            Self::Project => 2,
        }
    }
}

/// A set of quota types.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QuotaTypes([bool; 3]);

impl QuotaTypes {
    /// No type.
    pub const NONE: Self = Self([false; 3]);
    /// What the quota feature stands for by default.
    pub const USER_AND_GROUP: Self = Self([true, true, false]);

    /// Whether `quota_type` is in the set.
    pub const fn has(self, quota_type: QuotaType) -> bool {
        self.0[quota_type.index()]
    }

    /// The set with `quota_type` in it.
    #[must_use]
    pub const fn with(mut self, quota_type: QuotaType) -> Self {
        self.0[quota_type.index()] = true;
        self
    }

    /// The set with `quota_type` out of it.
    #[must_use]
    pub const fn without(mut self, quota_type: QuotaType) -> Self {
        self.0[quota_type.index()] = false;
        self
    }

    /// The types in the set, in the order of their files.
    pub fn iter(self) -> impl Iterator<Item = QuotaType> {
        QuotaType::ALL
            .into_iter()
            .filter(move |quota_type| self.has(*quota_type))
    }
}

/// Whom the root directory belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RootOwner {
    /// The user.
    pub(crate) uid: u32,
    /// The group.
    pub(crate) gid: u32,
}

/// Every setting of a filesystem, validated as far as that is possible without the geometry.
///
/// Nobody outside can change what was decided; [`raw`](crate::raw) and the flow take it as it is.
// Units are in the names or the docs. `Option` means "derive it from the geometry".
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The block size.
    pub(crate) block_size: BlockSize,
    /// The size asked for, in blocks; the geometry may leave a small last group out.
    pub(crate) blocks_count: u64,
    /// Blocks kept for root; a geometry of fewer blocks keeps the same share.
    pub(crate) reserved_blocks: u64,
    /// log2 of the blocks per cluster; 0 without bigalloc.
    pub(crate) log_cluster_ratio: u8,
    /// The features asked for; the geometry may add meta_bg and drop the journal.
    pub(crate) features: FeatureSet,
    /// Bytes per inode on disk: a power of two from 128 to the block size.
    pub(crate) inode_size: u16,
    /// The number of inodes asked for; rounded up to fill inode table blocks.
    pub(crate) inodes_count: u32,
    /// `s_rev_level`: 1, or 0 for a filesystem without features.
    pub(crate) revision: u32,
    /// `s_creator_os`.
    pub(crate) creator_os: u32,
    /// `s_encoding`: what names are in, for folding their case; 0 for nothing stated.
    pub(crate) encoding: u16,
    /// `s_encoding_flags`.
    pub(crate) encoding_flags: u16,
    /// Marked as a file system for tests of the kernel (`EXT2_FLAGS_TEST_FILESYS`).
    pub(crate) test_fs: bool,
    /// The output is an Android sparse image.
    pub(crate) android_sparse: bool,
    /// Blocks per group, a multiple of 8; with bigalloc, clusters per group.
    pub(crate) blocks_per_group: Option<u32>,
    /// log2 of the groups per flex group.
    pub(crate) log_groups_per_flex: u8,
    /// `s_desc_size`: bytes per group descriptor, of use with 64bit.
    pub(crate) desc_size: Option<u16>,
    /// Descriptor blocks to keep for growing.
    pub(crate) reserved_gdt_blocks: Option<u16>,
    /// `s_first_meta_bg`: with meta_bg, the blocks of descriptors that lie together all the same.
    pub(crate) first_meta_bg: u32,
    /// Backups wanted with sparse_super2: 0 to 2.
    pub(crate) num_backup_sb: u8,
    /// Bitmaps and inode tables all at the front.
    pub(crate) packed_meta_blocks: bool,
    /// The journal's length.
    pub(crate) journal_length: JournalLength,
    /// What the journal keeps for fast commits, in KiB: a 64th more than its usual length by
    /// default.
    pub(crate) fast_commit_kibibytes: Option<u32>,
    /// The journal's superblock has the old form.
    pub(crate) journal_v1: bool,
    /// The device that has the journal, where that is not in the filesystem.
    pub(crate) journal_device: Option<JournalDevice>,
    /// Where the journal shall begin, in blocks.
    pub(crate) journal_location: Option<u64>,
    /// The orphan file's length in blocks.
    pub(crate) orphan_file_blocks: Option<u64>,

    /// `s_uuid`.
    pub(crate) uuid: [u8; 16],
    /// `s_hash_seed`.
    pub(crate) hash_seed: [u8; 16],
    /// `s_def_hash_version`: the hash of directories' names, 0 legacy, 1 half_md4, 2 tea.
    pub(crate) hash_version: u8,
    /// `s_volume_name`, padded with zeros.
    pub(crate) label: [u8; 16],
    /// `s_last_mounted`, padded with zeros.
    pub(crate) last_mounted: [u8; 64],
    /// `s_errors`.
    pub(crate) errors: Errors,
    /// `s_default_mount_opts`.
    pub(crate) default_mount_opts: u32,
    /// `s_max_mnt_count`: mounts between checks; 0xffff for never.
    pub(crate) max_mnt_count: u16,
    /// `s_checkinterval`: seconds between checks; 0 for never.
    pub(crate) check_interval: u32,
    /// `s_raid_stride`, in blocks.
    pub(crate) raid_stride: u16,
    /// `s_raid_stripe_width`, in blocks.
    pub(crate) raid_stripe_width: u32,

    /// Who makes the filesystem, as multiple mount protection notes it.
    pub(crate) mmp_info: MmpInfo,
    /// `s_mmp_update_interval`, in seconds; kept without the feature too.
    pub(crate) mmp_update_interval: u16,

    /// Whose quota files there are, with the quota feature.
    pub(crate) quota_types: QuotaTypes,

    /// The root directory's user and group, if they are asked for; else those of a source's root
    /// that is kept, or root's.
    pub(crate) root_owner: Option<RootOwner>,
    /// The root directory's permissions, if they are asked for; else those of a source's root that is
    /// kept, or 0o755.
    pub(crate) root_perms: Option<u16>,
    /// The root directory's SELinux context.
    pub(crate) root_selinux: Option<String>,

    /// The clock, in seconds since 1970; with a [`Base`](crate::Base) when that was made.
    pub(crate) clock: i64,
    /// Times of the source later than this are set to it (`SOURCE_DATE_EPOCH`).
    pub(crate) latest_time: Option<i64>,

    /// Inode tables are zeroed only as far as they are used.
    pub(crate) lazy_itable_init: bool,
    /// The journal's blocks are not zeroed.
    pub(crate) lazy_journal_init: bool,
    /// The old content is discarded before writing.
    pub(crate) discard: bool,
    /// The storage is known to read as zeros.
    pub(crate) assume_storage_prezeroed: bool,
    /// Where in the sink the filesystem begins, in bytes.
    pub(crate) offset_bytes: u64,
    /// Extended attributes of the source are left behind.
    pub(crate) no_copy_xattrs: bool,
    /// Only superblocks and descriptors are written, beside what features ask of a file of its own;
    /// bitmaps, inodes and everything else stay as they are, for a rescue.
    pub(crate) super_only: bool,
    /// The huge files that fill the filesystem, if the configuration asks for some.
    pub(crate) huge_files: Option<HugeFilesOptions>,
    /// Where undo files go that have no name of their own, and when.
    pub(crate) undo: UndoRule,
}

/// What has no place for files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoFiles {
    /// A journal for other filesystems.
    JournalDevice,
    /// A filesystem of which only superblocks and descriptors are written.
    SuperOnly,
}

impl Settings {
    /// Why there is no place for files, if there is none.
    pub(crate) fn no_files(&self) -> Option<NoFiles> {
        if self.features.has(Feature::JournalDev) {
            Some(NoFiles::JournalDevice)
        } else {
            self.super_only.then_some(NoFiles::SuperOnly)
        }
    }

    /// The block size.
    pub fn block_size(&self) -> BlockSize {
        self.block_size
    }

    /// The size asked for, in blocks; the geometry may leave a small last group out.
    pub fn blocks_count(&self) -> u64 {
        self.blocks_count
    }

    /// Blocks per group, or clusters with bigalloc, where they are asked for.
    pub fn blocks_per_group(&self) -> Option<u32> {
        self.blocks_per_group
    }

    /// Blocks per cluster: 1 without bigalloc.
    pub fn cluster_ratio(&self) -> u64 {
        1 << self.log_cluster_ratio
    }

    /// The features asked for; the geometry may add meta_bg and drop the journal.
    pub fn features(&self) -> FeatureSet {
        self.features
    }

    /// Bytes per inode on disk.
    pub fn inode_size(&self) -> u16 {
        self.inode_size
    }

    /// The number of inodes asked for; the geometry rounds it up to fill inode table blocks.
    pub fn inodes_count(&self) -> u32 {
        self.inodes_count
    }

    /// The UUID.
    pub fn uuid(&self) -> [u8; 16] {
        self.uuid
    }

    /// What the hashes of directories' names begin with.
    pub fn hash_seed(&self) -> [u8; 16] {
        self.hash_seed
    }

    /// The label, padded with zeros.
    pub fn label(&self) -> [u8; 16] {
        self.label
    }

    /// The clock, in seconds since 1970.
    pub fn clock(&self) -> i64 {
        self.clock
    }

    /// Where in the output the filesystem begins, in bytes.
    pub fn offset_bytes(&self) -> u64 {
        self.offset_bytes
    }
}

/// Where mke2fs keeps what it overwrites, if nobody names a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct UndoRule {
    /// The directory, if there shall be undo files.
    pub(crate) directory: Option<PathBuf>,
    /// Whether an ext filesystem on the output is kept without being asked to.
    pub(crate) automatic: bool,
}

/// Huge files, each in one piece where that can be, as mke2fs.conf asks for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HugeFilesOptions {
    /// How many; 0 is as many as there is room for.
    pub(crate) count: u64,
    /// The blocks of each; 0 is what there is room for.
    pub(crate) blocks: u64,
    /// Blocks at the front that are left free.
    pub(crate) slack: u64,
    /// Blocks of which each file's length, and the place of the first, are multiples; 0 is any.
    pub(crate) align: u64,
    /// The directories that lead to them, the outermost first.
    pub(crate) directory: Vec<Vec<u8>>,
    /// What their names begin with.
    pub(crate) name: Vec<u8>,
    /// The digits behind that, at least; 0 is as many as needed, and none where there is one file.
    pub(crate) digits: usize,
    /// Whose they and their directories are.
    pub(crate) uid: u32,
    /// Their group.
    pub(crate) gid: u32,
    /// The permissions that they and their directories do not have.
    pub(crate) umask: u16,
    /// Whether their blocks are zeroed; unless said, where old data may be in them.
    pub(crate) zero: Option<bool>,
}

#[cfg(test)]
mod tests;
