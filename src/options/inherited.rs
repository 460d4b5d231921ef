//! Given what another filesystem says of itself, makes wishes and settings of it where nobody asks for
//! anything else; never looks at that filesystem.

use super::{BlockSizeOption, Options, Settings, Size, TypeOption, UuidOption};
use crate::feature::{Feature, FeatureSet};
use crate::options::settings::{Errors, JournalLength, MmpInfo, QuotaTypes};

/// What a filesystem says of itself, for one that is to be like it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Inherited {
    pub(crate) block_size: u32,
    pub(crate) blocks_count: u64,
    pub(crate) first_data_block: u64,
    pub(crate) features: FeatureSet,
    pub(crate) inode_size: u32,
    pub(crate) inodes_count: u32,
    pub(crate) inodes_per_group: u32,
    pub(crate) blocks_per_group: u32,
    /// What [`Options::blocks_per_group`] takes, where it is not the default.
    pub(crate) group_size: Option<u32>,
    pub(crate) cluster_size: Option<u32>,
    /// How many blocks one group more has to have at least: fewer are left out of the filesystem.
    pub(crate) least_next_group: u64,
    pub(crate) groups_per_flex: Option<u32>,
    pub(crate) reserved_blocks: u64,
    pub(crate) label: Vec<u8>,
    pub(crate) uuid: [u8; 16],
    pub(crate) hash_seed: [u8; 16],
    pub(crate) hash_version: u8,
    pub(crate) errors: Errors,
    pub(crate) default_mount_opts: u32,
    pub(crate) max_mnt_count: u16,
    pub(crate) check_interval: u32,
    pub(crate) raid_stride: u16,
    pub(crate) raid_stripe_width: u32,
    pub(crate) mmp_update_interval: u16,
    /// Who made it, where it says so.
    pub(crate) mmp_info: Option<MmpInfo>,
    pub(crate) quota_types: QuotaTypes,
    pub(crate) encoding: u16,
    pub(crate) encoding_flags: u16,
    pub(crate) desc_size: Option<u16>,
    pub(crate) reserved_gdt_blocks: Option<u16>,
    pub(crate) first_meta_bg: Option<u32>,
    /// The journal's length, where it is not the default.
    pub(crate) journal_mebibytes: Option<u32>,
    pub(crate) orphan_file_blocks: Option<u64>,
    pub(crate) clock: i64,
    pub(crate) creator_os: u32,
    pub(crate) test_fs: bool,
}

impl Options {
    /// Takes from `inherited` what nobody asks for otherwise.
    pub(crate) fn inherit(&mut self, inherited: Inherited) -> &mut Self {
        self.inherited = Some(Box::new(inherited));
        self
    }

    /// The features to begin with, before those that are asked for: a type that is named has its own.
    pub(super) fn inherited_features(&self) -> Option<FeatureSet> {
        let is_typed = matches!(self.fs_type, Some(TypeOption::Named(_)));
        let inherited = self.inherited.as_ref();
        let inherited = inherited.filter(|_| !is_typed && self.usage_types.is_none());
        inherited.map(|inherited| inherited.features)
    }

    /// Sets what is inherited and extended options may still change.
    pub(super) fn set_inherited(&self, settings: &mut Settings) {
        if let Some(inherited) = &self.inherited {
            inherited.set_before_extended(settings);
        }
    }

    /// Sets what is inherited, what no extended option has set, and what is worked out by now.
    pub(super) fn set_inherited_at_last(&self, settings: &mut Settings) {
        if let Some(inherited) = &self.inherited {
            inherited.set_at_last(settings, self);
        }
    }

    /// The same with what is inherited among the wishes.
    pub(super) fn with_inherited(&self) -> Option<Self> {
        let inherited = self.inherited.as_deref()?;
        let mut options = self.clone();
        inherited.fill(&mut options);
        Some(options)
    }
}

impl Inherited {
    fn fill(&self, options: &mut Options) {
        if let (Some(Size::Blocks(units)), None | Some(BlockSizeOption::AtLeast(_))) =
            (options.size, options.block_size)
        {
            // Without a block size, a bare number counts KiB.
            options.size = Some(Size::Kibibytes(units));
        }
        options
            .block_size
            .get_or_insert(BlockSizeOption::Exactly(self.block_size));
        let has_own_blocks = options.block_size == Some(BlockSizeOption::Exactly(self.block_size));
        let bytes = self.blocks_count.saturating_mul(self.block_size.into());
        let log_unit = (self.block_size >> 10).checked_ilog2().unwrap_or_default();
        let asked = options.size.map(|size| size.blocks(log_unit));
        let resized = asked.filter(|asked| !self.is_made_of(*asked));
        if resized.is_none() {
            options.size = Some(Size::Bytes(bytes));
        }
        if options.inode_ratio.is_none() && has_own_blocks {
            let inodes = if let Some(blocks) = resized {
                let groups = blocks.saturating_sub(self.first_data_block);
                let groups = groups.div_ceil(self.blocks_per_group.max(1).into());
                groups.saturating_mul(self.inodes_per_group.into())
            } else {
                self.inodes_count.into()
            };
            options.inodes_count.get_or_insert(inodes);
        }
        options.inode_size.get_or_insert(self.inode_size);
        options.label.get_or_insert_with(|| self.label.clone());
        options.uuid.get_or_insert(UuidOption::Exactly(self.uuid));
        options.errors.get_or_insert(self.errors);
        let features = options.inherited_features();
        let has = |feature| features.is_some_and(|features| features.has(feature));
        if has(Feature::FlexBg) {
            options.groups_per_flex = options.groups_per_flex.or(self.groups_per_flex);
        }
        if has_own_blocks {
            options.blocks_per_group = options.blocks_per_group.or(self.group_size);
        }
        if has(Feature::Bigalloc) {
            options.cluster_size = options.cluster_size.or(self.cluster_size);
        }
        if has(Feature::HasJournal) && resized.is_none() && has_own_blocks {
            let journal = self.journal_mebibytes.map(JournalLength::Mebibytes);
            options.journal = options.journal.or(journal);
        }
    }

    /// Whether a filesystem of `asked` blocks would have as many as this one: mke2fs leaves out a last group that
    /// holds little but its metadata, and a part of a cluster.
    fn is_made_of(&self, asked: u64) -> bool {
        let in_group = self.blocks_count.saturating_sub(self.first_data_block)
            % u64::from(self.blocks_per_group.max(1));
        let left_out = if in_group == 0 {
            self.least_next_group
        } else {
            u64::from(self.cluster_size.unwrap_or(0) / self.block_size.max(1))
        };
        let rest = asked.checked_sub(self.blocks_count);
        rest.is_some_and(|rest| rest < left_out.max(1))
    }

    fn set_before_extended(&self, settings: &mut Settings) {
        settings.clock = self.clock;
        settings.hash_seed = self.hash_seed;
        settings.hash_version = self.hash_version;
        settings.default_mount_opts = self.default_mount_opts;
        settings.max_mnt_count = self.max_mnt_count;
        settings.check_interval = self.check_interval;
        settings.raid_stride = self.raid_stride;
        settings.raid_stripe_width = self.raid_stripe_width;
        settings.mmp_update_interval = self.mmp_update_interval;
        settings.test_fs = self.test_fs;
        settings.mmp_info = self.mmp_info.unwrap_or(settings.mmp_info);
        if self.features.has(Feature::Quota) {
            settings.quota_types = self.quota_types;
        }
        if settings.features.has(Feature::Casefold) && self.features.has(Feature::Casefold) {
            settings.encoding = self.encoding;
            settings.encoding_flags = self.encoding_flags;
        }
        if settings.features.has(Feature::SixtyFourBit) {
            settings.desc_size = self.desc_size.or(settings.desc_size);
        }
        if settings.features.has(Feature::MetaBg) {
            settings.first_meta_bg = self.first_meta_bg.unwrap_or(settings.first_meta_bg);
        }
        if self.is_size_of(settings) {
            settings.orphan_file_blocks = self.orphan_file_blocks;
        }
    }

    fn set_at_last(&self, settings: &mut Settings, options: &Options) {
        if options.creator_os.is_none() {
            settings.creator_os = self.creator_os;
        }
        if !self.is_size_of(settings) {
            return;
        }
        if options.reserved_percent.is_none() {
            settings.reserved_blocks = self.reserved_blocks;
        }
        if settings.features.has(Feature::ResizeInode) {
            let reserved = settings.reserved_gdt_blocks;
            settings.reserved_gdt_blocks = reserved.or(self.reserved_gdt_blocks);
        }
    }

    fn is_size_of(&self, settings: &Settings) -> bool {
        settings.blocks_count == self.blocks_count && settings.block_size.bytes() == self.block_size
    }
}
