//! Given the superblock's bytes, gives the filesystem's geometry, once its numbers make sense; never
//! looks behind it.
//!
//! Layout: the kernel's `super.rst`; bounds as in the kernel's `__ext4_fill_super` and e2fsck's
//! `check_super_block`.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU64, Ordering};

use super::bytes::{join, length};
use super::error::ErrorDetail;
use crate::feature::{Feature, FeatureSet, Word};
use crate::ondisk::checksum::{filesystem_seed, inode_seed};
use crate::ondisk::superblock::{MAGIC, Superblock as Stored};
use crate::units::{Block, BlockSize, Run};

/// `EXT4_FEATURE_INCOMPAT_RECOVER`: the journal holds what has to be replayed.
pub(crate) const RECOVER: u32 = 0x4;
/// `EXT4_FEATURE_RO_COMPAT_ORPHAN_PRESENT`: the orphan file may hold orphans.
pub(crate) const ORPHAN_PRESENT: u32 = 0x1_0000;
/// `EXT4_FEATURE_COMPAT_DIR_PREALLOC`, which says nothing about the format.
const DIR_PREALLOC: u32 = 0x1;
/// The superblock's newest revision: after the original the dynamic one.
const NEWEST_REVISION: u32 = 1;
/// `EXT4_GOOD_OLD_INODE_SIZE`.
const OLD_INODE_SIZE: u16 = 128;

/// Which superblock something was read by, among all that a process reads.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity(u64);

impl Identity {
    fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

// What was read of equal bytes looks alike.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity")
    }
}

/// A filesystem's superblock, and the geometry that follows from it.
#[derive(Clone, Debug)]
pub struct Superblock {
    /// Which of all superblocks that a process decodes: what is read by it carries that.
    pub(super) identity: Identity,
    pub(crate) sb: Stored,
    pub(crate) features: FeatureSet,
    pub(crate) block_size: BlockSize,
    pub(crate) blocks_count: u64,
    pub(crate) first_data_block: u64,
    pub(crate) blocks_per_group: u64,
    pub(crate) cluster_ratio: u64,
    pub(crate) groups: u32,
    pub(crate) inodes_per_group: u32,
    pub(crate) inodes_count: u32,
    pub(crate) inode_size: usize,
    pub(crate) first_ino: u32,
    pub(crate) desc_size: usize,
    /// What checksums begin with.
    pub(crate) seed: u32,
}

impl Superblock {
    /// The geometry of a superblock as it is stored, or all that keeps it from being known.
    pub(crate) fn decode(sb: Stored) -> Result<Self, Vec<ErrorDetail>> {
        let faults = geometry_faults(&sb);
        if !faults.is_empty() {
            return Err(faults);
        }
        Self::derive(sb).ok_or_else(|| {
            vec![ErrorDetail::Rule(
                "its sizes and counts contradict each other",
            )]
        })
    }

    fn derive(sb: Stored) -> Option<Self> {
        let features = features_of(&sb);
        let is_dynamic = sb.s_rev_level.get() > 0;
        let blocks_count = blocks_count(&sb);
        let first_data_block = u64::from(sb.s_first_data_block.get());
        let blocks_per_group = u64::from(sb.s_blocks_per_group.get());
        let groups = blocks_count
            .checked_sub(first_data_block)?
            .div_ceil(blocks_per_group.max(1));
        let cluster_log = if features.has(Feature::Bigalloc) {
            let block_log = sb.s_log_block_size.get();
            sb.s_log_cluster_size.get().checked_sub(block_log)?
        } else {
            0
        };
        let desc_size = if features.has(Feature::SixtyFourBit) {
            usize::from(sb.s_desc_size.get())
        } else {
            32
        };
        let seed = if features.has(Feature::MetadataCsumSeed) {
            sb.s_checksum_seed.get()
        } else {
            filesystem_seed(sb.s_uuid)
        };
        Some(Self {
            identity: Identity::next(),
            features,
            block_size: BlockSize::new(1024_u32.checked_shl(sb.s_log_block_size.get())?)?,
            blocks_count,
            first_data_block,
            blocks_per_group,
            cluster_ratio: 1_u64.checked_shl(cluster_log)?,
            groups: u32::try_from(groups).ok()?,
            inodes_per_group: sb.s_inodes_per_group.get(),
            inodes_count: sb.s_inodes_count.get(),
            inode_size: usize::from(inode_size(&sb)),
            first_ino: if is_dynamic { sb.s_first_ino.get() } else { 11 },
            desc_size,
            seed,
            sb,
        })
    }

    /// The superblock as it is stored.
    pub fn stored(&self) -> &Stored {
        &self.sb
    }

    /// The features that have a name.
    pub fn features(&self) -> FeatureSet {
        self.features
    }

    /// Whether it has a feature.
    pub fn has(&self, feature: Feature) -> bool {
        self.features.has(feature)
    }

    /// The size of its blocks.
    pub fn block_size(&self) -> BlockSize {
        self.block_size
    }

    /// How many blocks it has.
    pub fn blocks_count(&self) -> u64 {
        self.blocks_count
    }

    /// The block in which the first group begins: 1 where blocks have 1 KiB, else 0.
    pub fn first_data_block(&self) -> Block {
        Block::new(self.first_data_block)
    }

    /// How many blocks make a cluster; 1 without bigalloc.
    pub fn cluster_ratio(&self) -> u64 {
        self.cluster_ratio
    }

    /// How many block groups it has.
    pub fn groups_count(&self) -> u32 {
        self.groups
    }

    /// How many blocks each group has but for the last.
    pub fn blocks_per_group(&self) -> u64 {
        self.blocks_per_group
    }

    /// How many inodes each group has.
    pub fn inodes_per_group(&self) -> u32 {
        self.inodes_per_group
    }

    /// How many inodes it has, free ones and its own included.
    pub fn inodes_count(&self) -> u32 {
        self.inodes_count
    }

    /// The bytes of an inode.
    pub fn inode_size(&self) -> usize {
        self.inode_size
    }

    /// The first inode that is not reserved.
    pub fn first_ino(&self) -> u32 {
        self.first_ino
    }

    /// The bytes of a group descriptor.
    pub fn desc_size(&self) -> usize {
        self.desc_size
    }

    /// Its UUID.
    pub fn uuid(&self) -> [u8; 16] {
        self.sb.s_uuid
    }

    /// Its label, without the zeros behind.
    pub fn label(&self) -> &[u8] {
        let stored = &self.sb.s_volume_name;
        let end = stored.iter().position(|byte| *byte == 0);
        stored
            .get(..end.unwrap_or(stored.len()))
            .unwrap_or_default()
    }

    pub(crate) fn has_checksums(&self) -> bool {
        self.has(Feature::MetadataCsum)
    }

    /// Whether a file may have these blocks.
    pub(crate) fn is_inside(&self, run: Run) -> bool {
        let start = run.start.get();
        let end = start.checked_add(run.len);
        start >= self.first_data_block.max(1) && end.is_some_and(|end| end <= self.blocks_count)
    }

    /// What an inode's checksums begin with.
    pub(crate) fn inode_seed(&self, ino: u32, generation: u32) -> u32 {
        inode_seed(self.seed, ino, generation)
    }

    /// The blocks of a group.
    pub(crate) fn group_run(&self, group: u32) -> Run {
        let start = self.first_data_block + u64::from(group) * self.blocks_per_group;
        let left = self.blocks_count.saturating_sub(start);
        Run::new(Block::new(start), self.blocks_per_group.min(left))
    }

    /// Blocks of a group's inode table.
    pub(crate) fn table_blocks(&self) -> u64 {
        let bytes = u64::from(self.inodes_per_group) * length(self.inode_size);
        self.block_size.blocks_for(bytes)
    }

    pub(crate) fn descs_per_block(&self) -> u32 {
        let count = self.block_size.bytes_usize() / self.desc_size.max(32);
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// How many blocks hold all descriptors once.
    pub(crate) fn desc_blocks(&self) -> u32 {
        self.groups.div_ceil(self.descs_per_block().max(1))
    }

    /// Whether a group keeps a superblock (the kernel's `ext4_bg_has_super`).
    pub(crate) fn has_superblock(&self, group: u32) -> bool {
        if group == 0 {
            return true;
        }
        if self.has(Feature::SparseSuper2) {
            return self.sb.s_backup_bgs.iter().any(|kept| kept.get() == group);
        }
        if group == 1 || !self.has(Feature::SparseSuper) {
            return true;
        }
        [3, 5, 7].into_iter().any(|base| is_power(group, base))
    }

    /// Blocks for descriptors that a group keeps behind its superblock, or in its place.
    pub(crate) fn descriptor_run(&self, group: u32) -> Run {
        let first = self.group_run(group).start;
        let behind = u64::from(self.has_superblock(group));
        let per_block = self.descs_per_block().max(1);
        let meta_first = self.sb.s_first_meta_bg.get();
        let len = if self.has(Feature::MetaBg) && group / per_block >= meta_first {
            let index = group % per_block;
            u64::from(index == 0 || index == 1 || index == per_block - 1)
        } else if behind == 0 {
            0
        } else if self.has(Feature::MetaBg) {
            meta_first.into()
        } else {
            u64::from(self.desc_blocks()) + u64::from(self.sb.s_reserved_gdt_blocks.get())
        };
        let boot = if group == 0 { self.boot_blocks() } else { 0 };
        Run::new(first.plus(behind + boot), len)
    }

    /// The block that holds the descriptors of `group` and its neighbours.
    pub(crate) fn descriptor_block(&self, group: u32) -> Block {
        let per_block = self.descs_per_block().max(1);
        let number = group / per_block;
        if self.has(Feature::MetaBg) && number >= self.sb.s_first_meta_bg.get() {
            return self.descriptor_run(number * per_block).start;
        }
        Block::new(self.first_data_block + self.boot_blocks() + 1 + u64::from(number))
    }

    /// Whether the primary superblock is not in block 0 for its place alone.
    pub(crate) fn is_small_block(&self) -> bool {
        self.block_size == BlockSize::MIN
    }

    /// With blocks of 1 KiB in clusters, block 0 is the boot block and the superblock is block 1.
    fn boot_blocks(&self) -> u64 {
        u64::from(self.first_data_block == 0 && self.is_small_block())
    }
}

fn inode_size(sb: &Stored) -> u16 {
    if sb.s_rev_level.get() == 0 {
        OLD_INODE_SIZE
    } else {
        sb.s_inode_size.get()
    }
}

pub(crate) fn blocks_count(sb: &Stored) -> u64 {
    let high = if features_of(sb).has(Feature::SixtyFourBit) {
        sb.s_blocks_count_hi.get()
    } else {
        0
    };
    join(sb.s_blocks_count_lo.get(), high)
}

pub(crate) fn features_of(sb: &Stored) -> FeatureSet {
    let is_set = |feature: &Feature| word_of(sb, feature.word()) & feature.bit() != 0;
    Feature::ALL.iter().copied().filter(is_set).collect()
}

pub(crate) fn word_of(sb: &Stored, word: Word) -> u32 {
    match word {
        Word::Compat => sb.s_feature_compat.get(),
        Word::Incompat => sb.s_feature_incompat.get(),
        Word::RoCompat => sb.s_feature_ro_compat.get(),
    }
}

/// The bits of a word that no feature has, but for those that say nothing about the format.
pub(crate) fn unknown_bits(sb: &Stored, word: Word) -> u32 {
    let known: FeatureSet = Feature::ALL.iter().copied().collect();
    let harmless = match word {
        Word::Compat => DIR_PREALLOC,
        Word::Incompat => RECOVER,
        Word::RoCompat => ORPHAN_PRESENT,
    };
    word_of(sb, word) & !known.word(word) & !harmless
}

fn is_power(number: u32, base: u32) -> bool {
    let mut rest = number;
    while rest > 1 && rest.is_multiple_of(base) {
        rest /= base;
    }
    rest == 1
}

/// Collects bounds that are broken.
#[derive(Default)]
struct Faults(Vec<ErrorDetail>);

impl Faults {
    fn bounds(&mut self, what: &'static str, found: u64, bounds: RangeInclusive<u64>) {
        if !bounds.contains(&found) {
            self.0.push(ErrorDetail::Bounds {
                what,
                found,
                least: *bounds.start(),
                most: *bounds.end(),
            });
        }
    }

    fn equal(&mut self, what: &'static str, found: u64, expected: u64) {
        if found != expected {
            self.0.push(ErrorDetail::Value {
                what,
                found,
                expected,
            });
        }
    }

    fn power_of_two(&mut self, found: u64, rule: &'static str) {
        if !found.is_power_of_two() {
            self.0.push(ErrorDetail::Rule(rule));
        }
    }
}

/// What keeps the geometry from being known. Later bounds rest on earlier ones.
fn geometry_faults(sb: &Stored) -> Vec<ErrorDetail> {
    if sb.s_magic.get() != MAGIC {
        return vec![ErrorDetail::Magic(sb.s_magic.get())];
    }
    let mut faults = Faults::default();
    let revisions = 0..=u64::from(NEWEST_REVISION);
    faults.bounds("s_rev_level", sb.s_rev_level.get().into(), revisions);
    faults.bounds("s_log_block_size", sb.s_log_block_size.get().into(), 0..=6);
    // On a journal's device there are no groups; what is behind the superblock is the journal's.
    if !faults.0.is_empty() || features_of(sb).has(Feature::JournalDev) {
        return faults.0;
    }
    let log = u64::from(sb.s_log_block_size.get());
    let cluster_log = u64::from(sb.s_log_cluster_size.get());
    if features_of(sb).has(Feature::Bigalloc) {
        faults.bounds("s_log_cluster_size", cluster_log, log..=29 - 10);
    } else {
        faults.equal("s_log_cluster_size", cluster_log, log);
    }
    if !faults.0.is_empty() {
        return faults.0;
    }
    group_faults(sb, 1 << (cluster_log - log), &mut faults);
    inode_faults(sb, &mut faults);
    if faults.0.is_empty() {
        count_faults(sb, &mut faults);
    }
    faults.0
}

fn block_bytes(sb: &Stored) -> u64 {
    1024_u64 << sb.s_log_block_size.get()
}

fn group_faults(sb: &Stored, ratio: u64, faults: &mut Faults) {
    let features = features_of(sb);
    let block_bytes = block_bytes(sb);
    let first = u64::from(block_bytes == 1024 && ratio == 1);
    let found = u64::from(sb.s_first_data_block.get());
    faults.equal("s_first_data_block", found, first);
    // Free blocks of a group are counted in 16 bits where descriptors are short.
    let clusters = (8 * block_bytes).min(65_528);
    let per_group = u64::from(sb.s_clusters_per_group.get());
    let per_group_blocks = u64::from(sb.s_blocks_per_group.get());
    if features.has(Feature::Bigalloc) {
        faults.bounds("s_clusters_per_group", per_group, 8..=clusters);
        let needed = per_group.saturating_mul(ratio);
        faults.equal("s_blocks_per_group", per_group_blocks, needed);
    } else {
        faults.bounds("s_blocks_per_group", per_group_blocks, 8..=clusters);
    }
    if features.has(Feature::SixtyFourBit) {
        let size = u64::from(sb.s_desc_size.get());
        faults.bounds("s_desc_size", size, 64..=1024);
        faults.power_of_two(size, "s_desc_size is not a power of two");
    }
    let reserved = u64::from(sb.s_reserved_gdt_blocks.get());
    faults.bounds("s_reserved_gdt_blocks", reserved, 0..=block_bytes / 4);
}

fn inode_faults(sb: &Stored, faults: &mut Faults) {
    let size = u64::from(inode_size(sb));
    faults.bounds("s_inode_size", size, 128..=block_bytes(sb));
    faults.power_of_two(size, "s_inode_size is not a power of two");
    let per_group = u64::from(sb.s_inodes_per_group.get());
    let per_block = block_bytes(sb) / size.max(1);
    let most = (8 * block_bytes(sb)).min(65_536 - per_block.min(65_535));
    let bounds = per_block..=most.max(per_block);
    faults.bounds("s_inodes_per_group", per_group, bounds);
    if sb.s_rev_level.get() > 0 {
        let first = u64::from(sb.s_first_ino.get());
        let most = u64::from(sb.s_inodes_count.get());
        faults.bounds("s_first_ino", first, 11..=most.max(11));
    }
}

fn count_faults(sb: &Stored, faults: &mut Faults) {
    let blocks = blocks_count(sb);
    let first = u64::from(sb.s_first_data_block.get());
    faults.bounds("s_blocks_count", blocks, first + 1..=(1 << 48) - 1);
    if !faults.0.is_empty() {
        return;
    }
    let groups = (blocks - first).div_ceil(u64::from(sb.s_blocks_per_group.get()));
    let inodes = groups.saturating_mul(sb.s_inodes_per_group.get().into());
    faults.equal("s_inodes_count", sb.s_inodes_count.get().into(), inodes);
}
