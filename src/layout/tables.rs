//! Given a geometry, places superblocks, descriptors, bitmaps and inode tables; never content.
//!
//! The order and the goals are those of `ext2fs_reserve_super_and_bgd`, `ext2fs_allocate_tables`
//! and mke2fs's `packed_allocate_tables`: which block each search finds depends on all before it.

use super::ledger::Ledger;
use super::matched::Stop;
use super::{LayoutError, Owner};
use crate::geometry::Geometry;
use crate::units::{Block, Group, Run};

/// Where a group's bitmaps and inode table are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupTables {
    /// The block bitmap.
    pub block_bitmap: Block,
    /// The inode bitmap.
    pub inode_bitmap: Block,
    /// The inode table's first block.
    pub inode_table: Block,
}

/// Claims every copy of the superblock and the descriptors.
pub(super) fn claim_backups(
    geometry: &Geometry,
    ledger: &mut Ledger,
    stop: Stop<'_>,
) -> Result<(), LayoutError> {
    if geometry.superblock_block().get() > geometry.first_data_block {
        let first = Block::new(geometry.first_data_block);
        ledger.claim(Run::one(first), Owner::BootBlock)?;
    }
    for group in geometry.all_groups() {
        stop.check()?;
        let backups = geometry.backups(group);
        if let Some(block) = backups.superblock {
            ledger.claim(Run::one(block), Owner::Superblock(group))?;
        }
        if let Some((block, index)) = backups.meta_bg {
            ledger.claim(Run::one(block), Owner::MetaBgDescs { index })?;
        }
        if let Some(run) = backups.descriptors {
            ledger.claim(run, Owner::GroupDescs(group))?;
        }
        if let Some(run) = backups.reserved {
            ledger.claim(run, Owner::ReservedGdt(group))?;
        }
    }
    Ok(())
}

/// Claims bitmaps and inode tables of every group.
pub(super) fn claim_tables(
    geometry: &Geometry,
    placement: Placement,
    ledger: &mut Ledger,
    stop: Stop<'_>,
) -> Result<Vec<GroupTables>, LayoutError> {
    let mut tables = Tables {
        geometry,
        ledger,
        stop,
        placed: Vec::with_capacity(usize::try_from(geometry.groups).unwrap_or(0)),
    };
    match placement {
        Placement::Packed => return tables.packed(),
        Placement::Spread { stride } if placement.is_in_own_groups(geometry) => {
            tables.in_own_groups(stride)?;
        }
        Placement::Spread { .. } => {
            while let Some(group) = tables.next_group() {
                stop.check()?;
                tables.in_flex_group(group)?;
                tables.next_to(group)?;
            }
        }
    }
    Ok(tables.placed)
}

impl Placement {
    /// Whether each group has its own tables in it.
    pub(super) fn is_in_own_groups(self, geometry: &Geometry) -> bool {
        self != Self::Packed && geometry.log_groups_per_flex == 0
    }

    /// Whether mke2fs counts tables as used when it places them although it did so before.
    pub(super) fn counts_twice(self, geometry: &Geometry) -> bool {
        self == Self::Packed
            && geometry.log_groups_per_flex == 0
            // Clusters are counted anew in the end.
            && geometry.log_cluster_ratio == 0
    }

    /// How many blocks of tables are counted twice by then.
    pub(super) fn counted_twice(self, geometry: &Geometry) -> u64 {
        let per_group = 2 + u64::from(geometry.inode_blocks_per_group);
        if self.counts_twice(geometry) {
            u64::from(geometry.groups) * per_group
        } else {
            0
        }
    }
}

/// How bitmaps and inode tables are spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Placement {
    /// All at the front of the filesystem.
    Packed,
    /// Over the groups; without flex groups, `stride` blocks further on in each.
    Spread {
        /// `s_raid_stride`, in blocks.
        stride: u32,
    },
}

struct Tables<'a> {
    geometry: &'a Geometry,
    ledger: &'a mut Ledger,
    stop: Stop<'a>,
    placed: Vec<GroupTables>,
}

impl Tables<'_> {
    fn packed(mut self) -> Result<Vec<GroupTables>, LayoutError> {
        let mut goal = Block::new(0);
        let groups = self.geometry.all_groups();
        let mut block_bitmaps = Vec::new();
        for group in groups.clone() {
            self.stop.check()?;
            goal = self.claim_near(goal, Owner::BlockBitmap(group))?;
            block_bitmaps.push(goal);
        }
        let mut inode_bitmaps = Vec::new();
        for group in groups.clone() {
            self.stop.check()?;
            goal = self.claim_near(goal, Owner::InodeBitmap(group))?;
            inode_bitmaps.push(goal);
        }
        let last = Block::new(self.geometry.blocks_count - 1);
        for ((group, block_bitmap), inode_bitmap) in groups.zip(block_bitmaps).zip(inode_bitmaps) {
            self.stop.check()?;
            goal = self.claim_table(goal, last, group)?;
            self.placed.push(GroupTables {
                block_bitmap,
                inode_bitmap,
                inode_table: goal,
            });
        }
        Ok(self.placed)
    }

    /// Each group's tables in the group itself.
    fn in_own_groups(&mut self, stride: u32) -> Result<(), LayoutError> {
        for group in self.geometry.all_groups() {
            self.stop.check()?;
            let (first, last) = self.bounds(group);
            let start = if stride > 0 {
                self.strided_start(group, stride)?
            } else {
                first
            };
            let block_bitmap = self.claim_bitmap(start, last, first, Owner::BlockBitmap(group))?;
            let inode_bitmap = self.claim_bitmap(start, last, first, Owner::InodeBitmap(group))?;
            let inode_table = self.claim_table(first, last, group)?;
            self.placed.push(GroupTables {
                block_bitmap,
                inode_bitmap,
                inode_table,
            });
        }
        Ok(())
    }

    /// Where a group's bitmaps are sought on striped storage, so that they do not all fall on one
    /// disk.
    fn strided_start(&self, group: Group, stride: u32) -> Result<Block, LayoutError> {
        let (first, last) = self.bounds(group);
        let free = self
            .ledger
            .find(first, last, 1)
            .ok_or(LayoutError::no_room(Owner::BlockBitmap(group), 1))?;
        let after_table = free.get() + u64::from(self.geometry.inode_blocks_per_group);
        // The group may be too short for the table and a rest: mke2fs then divides by what is left
        // over as an unsigned number.
        let rest = last.get().wrapping_sub(after_table).wrapping_add(1);
        let shift = match rest {
            0 => 0,
            // The product is one of 32 bits in mke2fs.
            rest => u64::from(stride.wrapping_mul(group.get())) % rest,
        };
        let start = Block::new(after_table + shift);
        Ok(if start >= last { first } else { start })
    }

    /// The tables of a flex group side by side: its block bitmaps, its inode bitmaps, its tables.
    fn in_flex_group(&mut self, group: Group) -> Result<(), LayoutError> {
        let geometry = self.geometry;
        let flex_size = geometry.groups_per_flex();
        let last_group = Group::new((group.get() | (flex_size - 1)).min(geometry.groups - 1));
        let rest = last_group.get() - group.get() + 1;
        let (first, _) = self.bounds(group);
        let (_, last) = self.bounds(last_group);
        let before = if !group.get().is_multiple_of(flex_size) {
            self.placed.last().copied()
        } else {
            None
        };
        let offset = self.table_offset(group, last_group);

        let near = before.map_or(Block::new(0), |tables| tables.block_bitmap.plus(1));
        let start = self.flex_start(group, near, rest, 1);
        let block_bitmap = self.claim_bitmap(start, last, first, Owner::BlockBitmap(group))?;

        let near = before.map_or(block_bitmap.plus(offset), |tables| {
            tables.inode_bitmap.plus(1)
        });
        let start = self.flex_start(group, near, rest, 1);
        let inode_bitmap = self.claim_bitmap(start, last, first, Owner::InodeBitmap(group))?;

        let table_blocks = u64::from(geometry.inode_blocks_per_group);
        let near = before.map_or(inode_bitmap.plus(offset), |tables| {
            tables.inode_table.plus(table_blocks)
        });
        let start = self.flex_start(group, near, rest, table_blocks);
        let inode_table = self.claim_table(start, last, group)?;
        self.placed.push(GroupTables {
            block_bitmap,
            inode_bitmap,
            inode_table,
        });
        Ok(())
    }

    /// The tables of all groups that are left of a flex group next to those of `group`, which came last,
    /// if that room is free. Each would find it by itself, for it is sought there first; but that takes
    /// most of the time of a large filesystem.
    fn next_to(&mut self, group: Group) -> Result<(), LayoutError> {
        let geometry = self.geometry;
        let flex_size = geometry.groups_per_flex();
        let end = (group.get() | (flex_size - 1)).min(geometry.groups - 1) + 1;
        let left = (group.get() + 1..end).map(Group::new);
        let Some(last) = self.placed.last().copied() else {
            return Ok(());
        };
        let table_blocks = geometry.inode_blocks_per_group;
        let count = u64::from(end - group.get() - 1);
        let next =
            |table: Block, each: u32| Run::new(table.plus(each.into()), count * u64::from(each));
        let next = [
            next(last.block_bitmap, 1),
            next(last.inode_bitmap, 1),
            next(last.inode_table, table_blocks),
        ];
        let fits = next.is_sorted_by(|run, after| run.end() <= after.start)
            && next[2].end().get() <= geometry.blocks_count;
        if count == 0 || !fits || !next.iter().all(|run| self.ledger.is_free(*run)) {
            return Ok(());
        }
        let [block_bitmaps, inode_bitmaps, inode_tables] = next.map(|run| run.start);
        let ledger = &mut *self.ledger;
        ledger.claim_side_by_side(block_bitmaps, 1, left.clone().map(Owner::BlockBitmap))?;
        ledger.claim_side_by_side(inode_bitmaps, 1, left.clone().map(Owner::InodeBitmap))?;
        ledger.claim_side_by_side(inode_tables, table_blocks, left.map(Owner::InodeTable))?;
        self.placed.extend((0..count).map(|before| GroupTables {
            block_bitmap: block_bitmaps.plus(before),
            inode_bitmap: inode_bitmaps.plus(before),
            inode_table: inode_tables.plus(before * u64::from(table_blocks)),
        }));
        Ok(())
    }

    /// The first group whose tables are not placed.
    fn next_group(&self) -> Option<Group> {
        let placed = u32::try_from(self.placed.len()).ok()?;
        (placed < self.geometry.groups).then_some(Group::new(placed))
    }

    /// How far behind a flex group's first block bitmap its inode bitmaps begin: a last flex group
    /// that is not full keeps its tables together.
    fn table_offset(&self, group: Group, last_group: Group) -> u64 {
        let flex_size = self.geometry.groups_per_flex();
        if group.get().is_multiple_of(flex_size) && last_group == self.geometry.last_group() {
            let within = last_group.get() & (flex_size - 1);
            if within > 0 {
                return u64::from(within + 1);
            }
        }
        u64::from(flex_size)
    }

    /// Where to seek room for `rest` tables of `each` blocks: `flexbg_offset` of libext2fs.
    fn flex_start(&self, group: Group, near: Block, rest: u32, each: u64) -> Block {
        let geometry = self.geometry;
        let all = (u64::from(rest) * each).min(u64::from(geometry.blocks_per_group) / 4);
        if near.get() > 0
            && near.get() < geometry.blocks_count
            && let Some(found) = self.ledger.find(near, near.plus(all), each)
        {
            return found;
        }
        let flex_size = geometry.groups_per_flex();
        let first_group = Group::new(group.get() & !(flex_size - 1));
        let last_group = Group::new((group.get() | (flex_size - 1)).min(geometry.groups - 1));
        let (first, _) = self.bounds(first_group);
        let (_, last) = self.bounds(last_group);
        self.ledger
            .find(first, last, all)
            .or_else(|| self.ledger.find(first, last, each))
            .or_else(|| self.ledger.find(Block::new(0), last, each))
            .unwrap_or_default()
    }

    /// The first and the last block of `group`.
    fn bounds(&self, group: Group) -> (Block, Block) {
        let run = self.geometry.group_run(group);
        (run.start, Block::new(run.end().get() - 1))
    }

    fn claim_near(&mut self, goal: Block, owner: Owner) -> Result<Block, LayoutError> {
        let block = self
            .ledger
            .free_near(goal)
            .ok_or(LayoutError::no_room(owner, 1))?;
        self.ledger.claim(Run::one(block), owner)?;
        Ok(block)
    }

    fn claim_bitmap(
        &mut self,
        start: Block,
        last: Block,
        first: Block,
        owner: Owner,
    ) -> Result<Block, LayoutError> {
        let block = self
            .ledger
            .find(start, last, 1)
            .or_else(|| self.ledger.find(first, last, 1))
            .ok_or(LayoutError::no_room(owner, 1))?;
        self.ledger.claim(Run::one(block), owner)?;
        Ok(block)
    }

    fn claim_table(
        &mut self,
        start: Block,
        last: Block,
        group: Group,
    ) -> Result<Block, LayoutError> {
        let len = u64::from(self.geometry.inode_blocks_per_group);
        let owner = Owner::InodeTable(group);
        let block = self
            .ledger
            .find(start, last, len)
            .ok_or(LayoutError::no_room(owner, len))?;
        self.ledger.claim(Run::new(block, len), owner)?;
        Ok(block)
    }
}
