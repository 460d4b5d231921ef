//! Given settings, tries geometries as `ext2fs_initialize` does until one holds; never what follows from it.

use super::error::GeometryError;
use super::{Geometry, sparse_super2_wish};
use crate::feature::{Feature, FeatureSet};
use crate::ondisk::jbd2;
use crate::options::{JournalLength, QuotaTypes, Settings};
use crate::units::{BlockSize, Ino};

/// The most inodes one bitmap and one 16-bit count can keep: `EXT2_MAX_INODES_PER_GROUP`.
const MAX_16_BIT: u32 = 1 << 16;
/// A last group this little above its own metadata is not worth having.
pub(crate) const MIN_DATA_BLOCKS: u32 = 50;

/// One try at a geometry; `ext2fs_initialize` goes back to its start with some of these changed.
#[derive(Clone)]
pub(super) struct Candidate<'a> {
    settings: &'a Settings,
    blocks_count: u64,
    reserved_blocks: u64,
    blocks_per_group: u32,
    features: FeatureSet,
}

pub(super) enum Attempt<'a> {
    Done(Geometry),
    Retry(Candidate<'a>),
}

struct InodeCounts {
    per_group: u32,
    blocks_per_group: u32,
    count: u32,
}

impl<'a> Candidate<'a> {
    pub(super) fn new(settings: &'a Settings) -> Result<Self, GeometryError> {
        if settings.blocks_count == 0 || settings.reserved_blocks >= settings.blocks_count {
            return Err(GeometryError::InvalidArgument);
        }
        // A group has at most as many blocks as a bitmap of one block has bits, and its free count
        // must fit 16 bits where descriptors have only those: EXT2_MAX_BLOCKS_PER_GROUP.
        let most = MAX_16_BIT - 8;
        let log_cluster = u32::from(settings.log_cluster_ratio) + settings.block_size.log();
        let fitting = if settings.features.has(Feature::Bigalloc) && log_cluster + 15 >= 32 {
            (settings.block_size.bytes() - 1) * 8
        } else {
            settings.block_size.bytes() * 8
        };
        let clusters = settings.blocks_per_group.unwrap_or(fitting).min(most);
        let blocks_per_group = u64::from(clusters) << settings.log_cluster_ratio;
        let cluster_mask = (1_u64 << settings.log_cluster_ratio) - 1;
        Ok(Self {
            settings,
            blocks_count: settings.blocks_count & !cluster_mask,
            reserved_blocks: settings.reserved_blocks,
            blocks_per_group: u32::try_from(blocks_per_group)
                .map_err(|_| GeometryError::InvalidArgument)?,
            features: settings.features,
        })
    }

    /// A journal for other filesystems: all of the device, behind a superblock.
    pub(super) fn of_journal_device(
        &self,
    ) -> Result<(Geometry, Option<GeometryError>), GeometryError> {
        let blocks = self.blocks_count;
        let length = GeometryError::JournalLength { blocks };
        let journal_blocks = u32::try_from(blocks).map_err(|_| length)?;
        let block_size = self.settings.block_size;
        if let JournalLength::Mebibytes(mebibytes) = self.settings.journal_length {
            // No block of it counts as free for another journal.
            let blocks = (u64::from(mebibytes) << 20) / block_size.bytes_u64();
            let range = u64::from(jbd2::MIN_BLOCKS)..=u64::from(jbd2::MAX_BLOCKS);
            return Err(if range.contains(&blocks) {
                GeometryError::JournalTooBig { blocks, most: 0 }
            } else {
                GeometryError::JournalLength { blocks }
            });
        }
        let geometry = Geometry {
            block_size,
            blocks_count: blocks,
            reserved_blocks: 0,
            first_data_block: self.first_data_block(),
            log_cluster_ratio: self.settings.log_cluster_ratio,
            blocks_per_group: self.blocks_per_group,
            groups: 0,
            features: self.features,
            inode_size: self.settings.inode_size,
            inodes_per_group: 0,
            inode_blocks_per_group: 0,
            inodes_count: 0,
            desc_size: 32,
            desc_blocks: 0,
            first_meta_bg: 0,
            reserved_gdt_blocks: 0,
            log_groups_per_flex: self.settings.log_groups_per_flex,
            backup_bgs: [0; 2],
            fast_commit_blocks: 0,
            journal_blocks: Some(journal_blocks),
            quota_types: QuotaTypes::NONE,
            orphan_file_blocks: None,
            too_small_for_journal: false,
            super_only: false,
        };
        let is_short = journal_blocks < jbd2::MIN_BLOCKS;
        let fault = GeometryError::JournalDeviceTooShort { blocks };
        Ok((geometry, is_short.then_some(fault)))
    }

    fn first_data_block(&self) -> u64 {
        let one =
            self.settings.block_size == BlockSize::MIN && self.settings.log_cluster_ratio == 0;
        u64::from(one)
    }

    fn desc_size(&self) -> u16 {
        if self.features.has(Feature::SixtyFourBit) {
            self.settings.desc_size.unwrap_or(64)
        } else {
            32
        }
    }

    pub(super) fn attempt(mut self) -> Result<Attempt<'a>, GeometryError> {
        let block_size = self.settings.block_size;
        let data_blocks = self.blocks_count.saturating_sub(self.first_data_block());
        let groups = u32::try_from(data_blocks.div_ceil(u64::from(self.blocks_per_group)))
            .map_err(|_| GeometryError::InvalidArgument)?;
        if groups == 0 {
            return Err(self.too_small(self.least_of_a_group()));
        }
        let descs_per_block = block_size.bytes() / u32::from(self.desc_size());
        let desc_blocks = groups.div_ceil(descs_per_block);
        let Some(inodes) = self.count_inodes(groups)? else {
            self.blocks_per_group -= 8;
            self.blocks_count = self.settings.blocks_count;
            return Ok(Attempt::Retry(self));
        };
        let reserved = self.reserve_descriptors(groups, desc_blocks, descs_per_block)?;
        self.check_metadata(&inodes, desc_blocks, reserved)?;
        let mut geometry = Geometry {
            block_size,
            blocks_count: self.blocks_count,
            // The share was taken of all blocks, some of which may be gone since: e2fsck accepts no
            // superblock that reserves more than half.
            reserved_blocks: self.reserved_blocks.min(self.blocks_count / 2),
            first_data_block: self.first_data_block(),
            log_cluster_ratio: self.settings.log_cluster_ratio,
            blocks_per_group: self.blocks_per_group,
            groups,
            features: self.features,
            inode_size: self.settings.inode_size,
            inodes_per_group: inodes.per_group,
            inode_blocks_per_group: inodes.blocks_per_group,
            inodes_count: inodes.count,
            desc_size: self.desc_size(),
            desc_blocks,
            first_meta_bg: self.settings.first_meta_bg,
            reserved_gdt_blocks: reserved,
            log_groups_per_flex: self.settings.log_groups_per_flex,
            backup_bgs: [0; 2],
            fast_commit_blocks: 0,
            journal_blocks: None,
            quota_types: if self.features.has(Feature::Quota) {
                self.settings.quota_types
            } else {
                QuotaTypes::NONE
            },
            orphan_file_blocks: None,
            too_small_for_journal: false,
            super_only: self.settings.super_only,
        };
        let rest = data_blocks % u64::from(self.blocks_per_group);
        let needed = self.last_group_metadata(&mut geometry);
        if groups == 1 && rest > 0 && rest < u64::from(needed) {
            return Err(self.too_small(u64::from(needed)));
        }
        if rest > 0 && rest < u64::from(needed + MIN_DATA_BLOCKS) {
            if groups == 1 {
                return Err(self.too_small(u64::from(needed + MIN_DATA_BLOCKS)));
            }
            self.drop_last_group(rest);
            return Ok(Attempt::Retry(self));
        }
        Ok(Attempt::Done(geometry))
    }

    /// No fewer blocks than any group needs that is worth having.
    fn least_of_a_group(&self) -> u64 {
        let inodes = self.count_inodes(1).ok().flatten();
        let tables = inodes.map_or(1, |inodes| inodes.blocks_per_group);
        // A superblock, a block of descriptors and two bitmaps come before the inodes.
        u64::from(2 + 2 + tables + MIN_DATA_BLOCKS)
    }

    /// That `needed` blocks behind the first are needed, and there are fewer in whole clusters.
    fn too_small(&self, needed: u64) -> GeometryError {
        let needed = needed + self.first_data_block();
        GeometryError::TooSmall {
            blocks: self.settings.blocks_count,
            needed: needed.next_multiple_of(1 << self.settings.log_cluster_ratio),
            block_size: self.settings.block_size.bytes(),
        }
    }

    /// The inodes per group, filling whole blocks and whole bytes of the bitmap; `None` where
    /// groups must be smaller for one bitmap to hold them.
    fn count_inodes(&self, groups: u32) -> Result<Option<InodeCounts>, GeometryError> {
        let block_bytes = self.settings.block_size.bytes();
        let inode_bytes = u32::from(self.settings.inode_size);
        let wished = match self.settings.inodes_count {
            0 => u32::try_from(self.blocks_count / u64::from((4096 / block_bytes).max(1)))
                .unwrap_or(u32::MAX),
            count => count,
        };
        let mut per_group = wished.div_ceil(groups);
        if per_group > block_bytes * 8 {
            let has_clusters = self.features.has(Feature::Bigalloc);
            if self.blocks_per_group >= 256 && !has_clusters {
                return Ok(None);
            }
            return Err(GeometryError::TooManyInodes { inodes: wished });
        }
        per_group = per_group.min(MAX_16_BIT - block_bytes / inode_bytes);
        loop {
            let table_blocks = (per_group * inode_bytes).div_ceil(block_bytes);
            let filled = (table_blocks * block_bytes / inode_bytes).max(8) & !7;
            let table_blocks = (filled * inode_bytes).div_ceil(block_bytes);
            let Some(count) = filled.checked_mul(groups) else {
                // Where even the fewest that a group can have are too many in all.
                per_group = per_group
                    .checked_sub(1)
                    .ok_or(GeometryError::InvalidArgument)?;
                continue;
            };
            // EXT2_FIRST_INODE + 1: the reserved ones and lost+found.
            if count < Ino::FIRST.get() + 1 {
                per_group += 8;
                continue;
            }
            return Ok(Some(InodeCounts {
                per_group: filled,
                blocks_per_group: table_blocks,
                count,
            }));
        }
    }

    /// The descriptor blocks to keep: room to grow 1,024-fold, as far as 32-bit block numbers and
    /// one block of pointers go (`calc_reserved_gdt_blocks`). Where descriptors would fill three
    /// quarters of a group, meta_bg spreads them instead.
    fn reserve_descriptors(
        &mut self,
        groups: u32,
        desc_blocks: u32,
        descs_per_block: u32,
    ) -> Result<u32, GeometryError> {
        let most = self.settings.block_size.bytes() / 4;
        let asked = self.settings.reserved_gdt_blocks.map(u32::from);
        let reserved = asked.unwrap_or_else(|| {
            if !self.features.has(Feature::ResizeInode) {
                return 0;
            }
            let limit = u64::from(u32::MAX);
            let grown = if self.blocks_count < limit / 1024 {
                self.blocks_count * 1024
            } else {
                limit
            };
            let grown_groups =
                (grown - self.first_data_block()).div_ceil(u64::from(self.blocks_per_group));
            let grown_blocks = grown_groups.div_ceil(u64::from(descs_per_block));
            u32::try_from(grown_blocks)
                .ok()
                .and_then(|blocks| blocks.checked_sub(desc_blocks))
                .map_or(most, |blocks| blocks.min(most))
        });
        debug_assert!(groups > 0);
        if reserved > most {
            return Err(GeometryError::ReservedGdtBlocks { blocks: reserved });
        }
        if u64::from(reserved) + u64::from(desc_blocks) > u64::from(self.blocks_per_group) * 3 / 4 {
            self.features = self
                .features
                .with(Feature::MetaBg)
                .without(Feature::ResizeInode);
            return Ok(asked.unwrap_or(0));
        }
        Ok(reserved)
    }

    /// Whether a group holds the most metadata a group can have.
    fn check_metadata(
        &self,
        inodes: &InodeCounts,
        desc_blocks: u32,
        reserved: u32,
    ) -> Result<(), GeometryError> {
        let descriptors = if self.features.has(Feature::MetaBg) {
            1
        } else {
            desc_blocks
        };
        if 3 + inodes.blocks_per_group + reserved + descriptors > self.blocks_per_group {
            return Err(GeometryError::TooManyInodes {
                inodes: inodes.count,
            });
        }
        Ok(())
    }

    /// The blocks of metadata that the last group needs.
    fn last_group_metadata(&self, geometry: &mut Geometry) -> u32 {
        let has_backup = if self.features.has(Feature::SparseSuper2) {
            // The backups are placed only once the number of groups is known.
            let wish = sparse_super2_wish(self.settings.num_backup_sb);
            wish[usize::from(geometry.groups != 2)] != 0
        } else {
            geometry.has_superblock(geometry.last_group())
        };
        let mut needed = 2 + geometry.inode_blocks_per_group;
        if has_backup {
            needed += 1 + geometry.desc_blocks + geometry.reserved_gdt_blocks;
        }
        needed
    }

    fn drop_last_group(&mut self, rest: u64) {
        self.blocks_count -= rest;
        // The share of reserved blocks is kept, in floating point as mke2fs computes it.
        let ratio =
            100.0 * as_float(self.settings.reserved_blocks) / as_float(self.settings.blocks_count);
        self.reserved_blocks = truncated(ratio * as_float(self.blocks_count) / 100.0);
    }
}

/// Exact below 2^53, which every block count is.
#[expect(
    clippy::as_conversions,
    clippy::cast_precision_loss,
    reason = "std has no other way from u64 to f64"
)]
fn as_float(count: u64) -> f64 {
    count as f64
}

#[expect(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "std has no other way from f64 to u64; truncation is mke2fs's"
)]
fn truncated(count: f64) -> u64 {
    count as u64
}
