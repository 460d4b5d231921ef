//! Given the superblock of a filesystem that grew, gives the places of the new groups' bitmaps and inode
//! tables, all in the new groups; never one in a group that was there before.
//!
//! The order within a flex group is that of the kernel and resize2fs: all block bitmaps, all inode bitmaps,
//! all tables. Where resize2fs goes on in the old groups of a flex group that was not full, the new groups
//! are packed for themselves: so nothing that was there has to change.

use std::ops::Range;

use crate::feature::Feature;
use crate::read::Superblock;
use crate::units::{Block, Run};

/// A last group this little above its own metadata is not worth having, as mke2fs and resize2fs have it.
const MIN_DATA_BLOCKS: u64 = 50;

/// Where a group's bitmaps and inode table are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tables {
    pub(super) block_bitmap: Block,
    pub(super) inode_bitmap: Block,
    pub(super) inode_table: Block,
}

impl Tables {
    /// The runs of all three.
    pub(super) fn runs(&self, sb: &Superblock) -> [Run; 3] {
        [
            Run::one(self.block_bitmap),
            Run::one(self.inode_bitmap),
            Run::new(self.inode_table, sb.table_blocks()),
        ]
    }
}

/// The superblock and the descriptors that a group keeps, with the blocks reserved behind them.
pub(super) fn copies(sb: &Superblock, group: u32) -> Option<Run> {
    let start = sb.group_run(group).start;
    let descriptors = sb.descriptor_run(group);
    let is_any = sb.has_superblock(group) || descriptors.len > 0;
    is_any.then(|| Run::new(start, descriptors.end().get() - start.get()))
}

/// Whether the last group is too short for what it has to hold: then it is not made.
pub(super) fn is_last_group_too_short(sb: &Superblock) -> bool {
    let last = sb.groups_count() - 1;
    let copies = copies(sb, last).map_or(0, |run| run.len);
    let needed = 2 + sb.table_blocks() + copies + MIN_DATA_BLOCKS;
    sb.group_run(last).len < needed || place_together(sb, last..last + 1).is_none()
}

/// The tables of all groups from `first` on; `None` where a group has no room for its own.
pub(super) fn place(sb: &Superblock, first: u32) -> Option<Vec<Tables>> {
    let log = sb.stored().s_log_groups_per_flex;
    let is_flex = sb.has(Feature::FlexBg);
    let flex = if is_flex {
        1_u32.checked_shl(log.into()).unwrap_or(u32::MAX)
    } else {
        1
    };
    let mut tables = Vec::new();
    let mut group = first;
    while group < sb.groups_count() {
        let next = (group / flex).saturating_add(1).saturating_mul(flex);
        let end = next.min(sb.groups_count());
        if let Some(together) = place_together(sb, group..end) {
            tables.extend(together);
        } else {
            for alone in group..end {
                tables.extend(place_together(sb, alone..alone + 1)?);
            }
        }
        group = end;
    }
    Some(tables)
}

/// The tables of these groups, packed from the first block of the first on; `None` where they do not fit.
fn place_together(sb: &Superblock, groups: Range<u32>) -> Option<Vec<Tables>> {
    let mut gaps = Gaps {
        at: sb.group_run(groups.start).start.get(),
        end: sb.group_run(groups.end.checked_sub(1)?).end().get(),
        copies: groups.clone().filter_map(|it| copies(sb, it)).collect(),
        passed: 0,
        cluster: sb.cluster_ratio(),
    };
    let mut take = |len| -> Option<Vec<Block>> { groups.clone().map(|_| gaps.take(len)).collect() };
    let (block_bitmaps, inode_bitmaps) = (take(1)?, take(1)?);
    let inode_tables = take(sb.table_blocks())?;
    let bitmaps = block_bitmaps.into_iter().zip(inode_bitmaps);
    let tables = bitmaps.zip(inode_tables);
    let tables = tables.map(|((block_bitmap, inode_bitmap), inode_table)| Tables {
        block_bitmap,
        inode_bitmap,
        inode_table,
    });
    Some(tables.collect())
}

/// What is free between the copies of groups, taken from its front.
struct Gaps {
    at: u64,
    end: u64,
    copies: Vec<Run>,
    /// How many of the copies lie before `at`.
    passed: usize,
    cluster: u64,
}

impl Gaps {
    /// The next run of `len` blocks, from the first of a cluster on.
    fn take(&mut self, len: u64) -> Option<Block> {
        loop {
            self.at = self.at.next_multiple_of(self.cluster.max(1));
            let end = self.at.checked_add(len).filter(|end| *end <= self.end)?;
            match self.copies.get(self.passed) {
                Some(next) if next.start.get() < end => {
                    self.at = self.at.max(next.end().get());
                    self.passed += 1;
                }
                _ => {
                    let start = Block::new(self.at);
                    self.at = end;
                    return Some(start);
                }
            }
        }
    }
}
