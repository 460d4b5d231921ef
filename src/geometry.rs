//! Given settings, gives the counts and sizes of a filesystem; never bytes, I/O or a content.
//!
//! The arithmetic is that of mke2fs, `ext2fs_initialize` and `figure_journal_size`: its order of
//! retries decides which of several possible geometries comes out, so it is kept.

mod candidate;
mod error;

pub(crate) use candidate::MIN_DATA_BLOCKS;
pub use error::GeometryError;

use crate::feature::{Feature, FeatureSet};
use crate::ondisk::{jbd2, mmp};
use crate::options::{JournalLength, QuotaType, QuotaTypes, Settings};
use crate::units::{Block, BlockSize, Group, Ino, Run};
use candidate::{Attempt, Candidate};

/// The counts and sizes of a filesystem.
#[derive(Clone, Debug, PartialEq)]
pub struct Geometry {
    /// The block size.
    pub block_size: BlockSize,
    /// All blocks, from block 0 on.
    pub blocks_count: u64,
    /// Blocks kept for root.
    pub reserved_blocks: u64,
    /// The first block of group 0: 1 with 1 KiB blocks, unless they form clusters; else 0.
    pub first_data_block: u64,
    /// log2 of the blocks per cluster; 0 without bigalloc.
    pub log_cluster_ratio: u8,
    /// Blocks in every group but the last.
    pub blocks_per_group: u32,
    /// How many groups.
    pub groups: u32,
    /// The features in force.
    pub features: FeatureSet,
    /// Bytes per inode.
    pub inode_size: u16,
    /// Inodes in every group.
    pub inodes_per_group: u32,
    /// Blocks of every group's inode table.
    pub inode_blocks_per_group: u32,
    /// All inodes.
    pub inodes_count: u32,
    /// Bytes per group descriptor.
    pub desc_size: u16,
    /// Blocks of one copy of all descriptors.
    pub desc_blocks: u32,
    /// With meta_bg, how many of them lie together all the same.
    pub first_meta_bg: u32,
    /// Descriptor blocks kept behind each copy for growing.
    pub reserved_gdt_blocks: u32,
    /// log2 of the groups per flex group; 0 for none.
    pub log_groups_per_flex: u8,
    /// The groups with backups under sparse_super2; 0 for none.
    pub backup_bgs: [u32; 2],
    /// Those among the journal's blocks, at its end, that are kept for fast commits.
    pub fast_commit_blocks: u32,
    /// The journal's blocks, if it has one.
    pub journal_blocks: Option<u32>,
    /// Whose quota files it has.
    pub quota_types: QuotaTypes,
    /// The orphan file's blocks, if it has one.
    pub orphan_file_blocks: Option<u64>,
    /// Whether a journal was asked for and the filesystem is too small for it.
    pub too_small_for_journal: bool,
    /// Whether only superblocks and descriptors are made, and no lost+found either.
    pub super_only: bool,
}

/// Where a group's copies of the superblock and the descriptors are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backups {
    /// The superblock's block.
    pub superblock: Option<Block>,
    /// A copy of all descriptors.
    pub descriptors: Option<Run>,
    /// The blocks kept behind them.
    pub reserved: Option<Run>,
    /// With meta_bg, the one block of descriptors, and which one.
    pub meta_bg: Option<(Block, u32)>,
}

impl Backups {
    /// Whether there is any.
    pub fn is_any(&self) -> bool {
        self.superblock.is_some() || self.descriptors.is_some() || self.meta_bg.is_some()
    }
}

impl Geometry {
    /// The geometry of `settings`.
    ///
    /// # Errors
    /// Where no filesystem can be made of them.
    pub fn new(settings: &Settings) -> Result<Self, GeometryError> {
        let (geometry, fault) = Self::until_written(settings)?;
        fault.map_or(Ok(geometry), Err)
    }

    /// The geometry of `settings`, with what is wrong with it that mke2fs finds only once it writes.
    ///
    /// # Errors
    /// Where mke2fs does not begin to write.
    pub fn until_written(
        settings: &Settings,
    ) -> Result<(Self, Option<GeometryError>), GeometryError> {
        let mut candidate = Candidate::new(settings)?;
        if settings.features.has(Feature::JournalDev) {
            return candidate.of_journal_device();
        }
        let mut geometry = loop {
            match candidate.attempt()? {
                Attempt::Done(geometry) => break geometry,
                Attempt::Retry(next) => candidate = next,
            }
        };
        geometry.place_sparse_super2(settings);
        let journal = geometry.size_journal(settings)?;
        let mmp = geometry.check_mmp(settings).err();
        let orphan_file = geometry.size_orphan_file(settings).err();
        if settings.journal_device.is_some() {
            geometry.features = geometry.features.with(Feature::HasJournal);
        }
        Ok((geometry, journal.or(mmp).or(orphan_file)))
    }

    /// The first block of `group`.
    pub fn group_first_block(&self, group: Group) -> Block {
        Block::new(
            self.first_data_block + u64::from(group.get()) * u64::from(self.blocks_per_group),
        )
    }

    /// All blocks of `group`.
    pub fn group_run(&self, group: Group) -> Run {
        let start = self.group_first_block(group);
        let len = u64::from(self.blocks_per_group).min(self.blocks_count - start.get());
        Run::new(start, len)
    }

    /// The group that `block` lies in.
    pub fn group_of_block(&self, block: Block) -> Group {
        let index =
            (block.get().saturating_sub(self.first_data_block)) / u64::from(self.blocks_per_group);
        Group::new(u32::try_from(index).unwrap_or(u32::MAX))
    }

    /// The group that `ino` lies in.
    pub fn group_of_ino(&self, ino: Ino) -> Group {
        Group::new((ino.get() - 1) / self.inodes_per_group)
    }

    /// The first inode of `group`.
    pub fn group_first_ino(&self, group: Group) -> Ino {
        Ino::new(group.get() * self.inodes_per_group + 1)
    }

    /// Every group.
    pub fn all_groups(&self) -> impl DoubleEndedIterator<Item = Group> + Clone + use<> {
        (0..self.groups).map(Group::new)
    }

    /// The last group.
    pub fn last_group(&self) -> Group {
        Group::new(self.groups - 1)
    }

    /// Blocks per cluster: 1 without bigalloc.
    pub fn cluster_ratio(&self) -> u64 {
        1 << self.log_cluster_ratio
    }

    /// How many clusters hold `blocks` blocks.
    pub fn clusters_for(&self, blocks: u64) -> u64 {
        blocks.div_ceil(self.cluster_ratio())
    }

    /// Clusters in every group but the last.
    pub fn clusters_per_group(&self) -> u32 {
        self.blocks_per_group >> self.log_cluster_ratio
    }

    /// The block that holds the primary superblock.
    pub fn superblock_block(&self) -> Block {
        Block::new(u64::from(self.block_size == BlockSize::MIN))
    }

    /// The inode of the quota file of `quota_type`, if there is one. Those of users and groups are
    /// reserved; projects came later.
    pub fn quota_ino(&self, quota_type: QuotaType) -> Option<Ino> {
        let ino = match quota_type {
            QuotaType::User => Ino::USER_QUOTA,
            QuotaType::Group => Ino::GROUP_QUOTA,
            QuotaType::Project => self.first_new_ino(),
        };
        self.quota_types.has(quota_type).then_some(ino)
    }

    /// The orphan file's inode, if there is one.
    pub fn orphan_ino(&self) -> Option<Ino> {
        self.orphan_file_blocks?;
        let first = self.first_new_ino();
        Some(match self.quota_ino(QuotaType::Project) {
            Some(before) => Ino::new(before.get() + 1),
            None => first,
        })
    }

    /// Whether it is a journal for other filesystems, without groups of its own.
    pub fn is_journal_device(&self) -> bool {
        self.features.has(Feature::JournalDev)
    }

    /// The inodes of quota files and of the orphan file.
    pub fn quota_and_orphan_inos(&self) -> impl Iterator<Item = Ino> {
        let quota_types = self.quota_types.iter();
        let quota = quota_types.filter_map(|quota_type| self.quota_ino(quota_type));
        quota.chain(self.orphan_ino())
    }

    /// The first inode that is not reserved and that no lost+found has.
    fn first_new_ino(&self) -> Ino {
        Ino::new(Ino::FIRST.get() + u32::from(!self.super_only))
    }

    /// The last inode that the filesystem has for itself; lost+found counts as such.
    pub fn last_own_ino(&self) -> Ino {
        self.orphan_ino()
            .or(self.quota_ino(QuotaType::Project))
            .unwrap_or(Ino::new(self.first_new_ino().get() - 1))
    }

    /// The first inode that the bitmaps state to be in use; those in use are without gaps.
    pub fn first_used_ino(&self) -> Ino {
        if self.super_only {
            Ino::FIRST
        } else {
            Ino::new(1)
        }
    }

    /// How many groups a flex group has; 1 for none.
    pub fn groups_per_flex(&self) -> u32 {
        1 << self.log_groups_per_flex
    }

    /// Descriptors per block.
    pub fn descs_per_block(&self) -> u32 {
        self.block_size.bytes() / u32::from(self.desc_size)
    }

    /// Block numbers per block of a block map: `EXT2_ADDR_PER_BLOCK`.
    pub fn addresses_per_block(&self) -> u32 {
        self.block_size.bytes() / 4
    }

    /// Whether `group` keeps a copy of the superblock, the primary one included.
    pub fn has_superblock(&self, group: Group) -> bool {
        let number = group.get();
        if number == 0 {
            return true;
        }
        if self.features.has(Feature::SparseSuper2) {
            return self.backup_bgs.contains(&number);
        }
        number <= 1
            || !self.features.has(Feature::SparseSuper)
            || [3, 5, 7].into_iter().any(|base| is_power_of(number, base))
    }

    /// Where `group` keeps superblock and descriptors: `ext2fs_super_and_bgd_loc2`.
    pub fn backups(&self, group: Group) -> Backups {
        let has_super = self.has_superblock(group);
        let first = match group.get() {
            // With clusters of 1 KiB blocks, group 0 begins a block before its superblock.
            0 => self.superblock_block(),
            _ => self.group_first_block(group),
        };
        let mut backups = Backups {
            superblock: has_super.then_some(first),
            descriptors: None,
            reserved: None,
            meta_bg: None,
        };
        let end = self.group_run(group).end().get();
        let has_meta_bg = self.features.has(Feature::MetaBg);
        let index = group.get() / self.descs_per_block();
        let (together, kept) = if has_meta_bg {
            let together = self.first_meta_bg.min(self.desc_blocks);
            (together, self.first_meta_bg - together)
        } else {
            (self.desc_blocks, self.reserved_gdt_blocks)
        };
        if has_meta_bg && index >= self.first_meta_bg {
            let within = group.get() % self.descs_per_block();
            if within <= 1 || within == self.descs_per_block() - 1 {
                let block = first.plus(u64::from(has_super));
                backups.meta_bg = Some((block, index));
            }
        } else if has_super {
            let clipped = |start: Block, len: u32| {
                let len = u64::from(len).min(end.saturating_sub(start.get()));
                (len > 0).then_some(Run::new(start, len))
            };
            backups.descriptors = clipped(first.plus(1), together);
            let behind = first.plus(1 + u64::from(together));
            backups.reserved = clipped(behind, kept);
        }
        backups
    }

    /// The blocks of every copy of superblock and descriptors together.
    fn backup_blocks(&self) -> u64 {
        let len = |run: Option<Run>| run.map_or(0, |run| run.len);
        self.all_groups()
            .map(|group| self.backups(group))
            .map(|backups| {
                u64::from(backups.superblock.is_some())
                    + u64::from(backups.meta_bg.is_some())
                    + len(backups.descriptors)
                    + len(backups.reserved)
            })
            .sum()
    }

    /// No more blocks than these are free, whatever the filesystem holds: all but the copies of superblock and
    /// descriptors, the groups' tables and the journal.
    pub(crate) fn most_free_blocks(&self) -> u64 {
        let tables = u64::from(self.groups) * (2 + u64::from(self.inode_blocks_per_group));
        let journal = self.journal_blocks.filter(|_| !self.super_only);
        (self.blocks_count - self.first_data_block)
            .saturating_sub(self.backup_blocks() + tables + journal.map_or(0, u64::from))
    }

    /// Sets the groups with backups: the first after group 0 and the last, or fewer.
    fn place_sparse_super2(&mut self, settings: &Settings) {
        if !self.features.has(Feature::SparseSuper2) {
            return;
        }
        let [first, second] = sparse_super2_wish(settings.num_backup_sb);
        let last = self.groups - 1;
        let mut pair = [first.min(last), second.min(last)];
        if pair[0] == pair[1] {
            pair[1] = 0;
        }
        pair.sort_unstable();
        self.backup_bgs = pair;
    }

    /// The free blocks that `ext2fs_initialize` counts: without flex groups it takes the tables off.
    fn initial_free_blocks(&self) -> u64 {
        let tables = if self.log_groups_per_flex == 0 {
            u64::from(self.groups) * (2 + u64::from(self.inode_blocks_per_group))
        } else {
            0
        };
        let boot_block = self.superblock_block().get() - self.first_data_block;
        let free = (self.blocks_count - self.first_data_block)
            .saturating_sub(self.backup_blocks() + boot_block)
            .saturating_sub(tables);
        free - free % self.cluster_ratio()
    }

    /// Chooses the journal's length. One too short for itself is found last.
    fn size_journal(
        &mut self,
        settings: &Settings,
    ) -> Result<Option<GeometryError>, GeometryError> {
        if !self.features.has(Feature::HasJournal) || settings.journal_device.is_some() {
            return Ok(None);
        }
        let Some(default) = default_journal_blocks(self.blocks_count) else {
            self.too_small_for_journal = true;
            if self.super_only {
                return Ok(None);
            }
            self.features = self
                .features
                .without(Feature::HasJournal)
                .without(Feature::OrphanFile);
            return Ok(None);
        };
        let has_fast_commit = self.features.has(Feature::FastCommit);
        let fast_commit_kibibytes = settings.fast_commit_kibibytes.filter(|_| has_fast_commit);
        let kibibytes = match settings.journal_length {
            JournalLength::ByFilesystem => None,
            JournalLength::Mebibytes(mebibytes) => Some(u64::from(mebibytes) * 1024),
        };
        let blocks_in = |kibibytes: u64| kibibytes * 1024 / self.block_size.bytes_u64();
        let plain = kibibytes.map_or(u64::from(default), blocks_in);
        let fast_commit = match fast_commit_kibibytes {
            Some(kibibytes) => blocks_in(kibibytes.into()),
            None if has_fast_commit => u64::from(default / JOURNAL_TO_FAST_COMMIT),
            None => 0,
        };
        let blocks = plain + fast_commit;
        let is_asked = kibibytes.is_some() || fast_commit_kibibytes.is_some();
        self.journal_blocks = Some(self.checked_journal(blocks, is_asked)?);
        self.fast_commit_blocks = u32::try_from(fast_commit).unwrap_or(u32::MAX);
        let is_short = plain < u64::from(jbd2::MIN_BLOCKS) && !self.super_only;
        Ok(is_short.then_some(GeometryError::JournalTooShort { blocks: plain }))
    }

    /// `blocks` as the journal's length, which is checked only where one was asked for.
    fn checked_journal(&self, blocks: u64, is_asked: bool) -> Result<u32, GeometryError> {
        let fitting = u32::try_from(blocks)
            .ok()
            .filter(|blocks| (jbd2::MIN_BLOCKS..=jbd2::MAX_BLOCKS).contains(blocks))
            .ok_or(GeometryError::JournalLength { blocks })?;
        let most = self.initial_free_blocks() / 2;
        if is_asked && blocks > most {
            return Err(GeometryError::JournalTooBig { blocks, most });
        }
        Ok(fitting)
    }

    fn check_mmp(&self, settings: &Settings) -> Result<(), GeometryError> {
        let seconds = settings.mmp_update_interval;
        let is_made = self.features.has(Feature::Mmp) && !self.super_only;
        if is_made && seconds > mmp::MAX_UPDATE_INTERVAL {
            return Err(GeometryError::MmpInterval { seconds });
        }
        Ok(())
    }

    fn size_orphan_file(&mut self, settings: &Settings) -> Result<(), GeometryError> {
        if !self.features.has(Feature::OrphanFile) {
            return Ok(());
        }
        if !self.features.has(Feature::HasJournal) {
            return Err(GeometryError::OrphanFileWithoutJournal);
        }
        let blocks = settings.orphan_file_blocks.unwrap_or_else(|| {
            default_orphan_file_blocks(self.blocks_count).next_multiple_of(self.cluster_ratio())
        });
        let most = self.blocks_count.min(u64::from(u32::MAX));
        if blocks > most {
            return Err(GeometryError::OrphanFileTooBig { blocks, most });
        }
        self.orphan_file_blocks = Some(blocks);
        Ok(())
    }
}

/// `s_backup_bgs` before the number of groups is known: the first group after 0, and the last.
fn sparse_super2_wish(num_backup_sb: u8) -> [u32; 2] {
    [
        u32::from(num_backup_sb >= 1),
        if num_backup_sb >= 2 { u32::MAX } else { 0 },
    ]
}

fn is_power_of(number: u32, base: u32) -> bool {
    let mut power = base;
    while power < number {
        let Some(next) = power.checked_mul(base) else {
            return false;
        };
        power = next;
    }
    power == number
}

/// `EXT2_JOURNAL_TO_FC_BLKS_RATIO`: a journal's usual length over what fast commits get.
const JOURNAL_TO_FAST_COMMIT: u32 = 64;

/// `ext2fs_default_journal_size`: the journal's blocks by those of the filesystem.
pub(crate) fn default_journal_blocks(blocks_count: u64) -> Option<u32> {
    const STEPS: [(u64, u32); 7] = [
        (32_768, 1_024),
        (256 * 1024, 4_096),
        (512 * 1024, 8_192),
        (4_096 * 1024, 16_384),
        (8_192 * 1024, 32_768),
        (16_384 * 1024, 65_536),
        (32_768 * 1024, 131_072),
    ];
    if blocks_count < 2048 {
        return None;
    }
    let step = STEPS.iter().find(|(below, _)| blocks_count < *below);
    Some(step.map_or(262_144, |(_, blocks)| *blocks))
}

/// `ext2fs_default_orphan_file_blocks`: 32 to 512 blocks.
fn default_orphan_file_blocks(blocks_count: u64) -> u64 {
    match blocks_count {
        0..131_072 => 32,
        131_072..2_097_152 => blocks_count / 4096,
        _ => 512,
    }
}
