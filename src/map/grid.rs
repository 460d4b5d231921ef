//! Given the geometry of a filesystem, cuts its blocks into cells and counts in each who owns how many;
//! never more than 8,192 cells.

use std::ops::Range;

use super::{BlockOwner, Counts};
use crate::read::Superblock;
use crate::units::Run;

/// How many lines of cells there are at most, and how many cells a line has.
const LINES_MAX: u64 = 64;
pub(super) const COLUMNS: u64 = 128;

/// The blocks of all groups, in rows of cells. Blocks are counted from the first of group 0.
#[derive(Clone, Debug)]
pub(super) struct Grid {
    first_block: u64,
    blocks: u64,
    groups: u32,
    groups_per_row: u32,
    row_blocks: u64,
    pub(super) cell_blocks: u64,
    cells_per_row: u64,
    cells: Vec<Cell>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Cell {
    counts: Counts,
    used: u64,
    /// Blocks of groups whose bitmap is not known.
    unknown: u64,
}

impl Grid {
    pub(super) fn of(sb: &Superblock) -> Self {
        let groups = sb.groups_count();
        let groups_per_row = u64::from(groups).div_ceil(LINES_MAX).next_power_of_two();
        let rows = u64::from(groups).div_ceil(groups_per_row).max(1);
        let first_block = sb.first_data_block().get();
        let blocks = sb.blocks_count().saturating_sub(first_block);
        let row_blocks = sb.blocks_per_group().saturating_mul(groups_per_row);
        let longest = row_blocks.min(blocks).max(1);
        let lines = LINES_MAX / rows;
        // A power of two, so that a cluster is never in two cells.
        let cell_blocks = longest.div_ceil(COLUMNS * lines).next_power_of_two();
        let cell_blocks = cell_blocks.max(sb.cluster_ratio());
        let cells_per_row = longest.div_ceil(cell_blocks);
        let count = usize::try_from(cells_per_row * rows).unwrap_or(0);
        Self {
            first_block,
            blocks,
            groups,
            groups_per_row: u32::try_from(groups_per_row).unwrap_or(u32::MAX),
            row_blocks,
            cell_blocks,
            cells_per_row,
            cells: vec![Cell::default(); count],
        }
    }

    /// How many blocks there are in groups.
    pub(super) fn blocks(&self) -> u64 {
        self.blocks
    }

    pub(super) fn groups_per_row(&self) -> u32 {
        self.groups_per_row
    }

    pub(super) fn rows(&self) -> u64 {
        u64::from(self.groups.div_ceil(self.groups_per_row))
    }

    pub(super) fn groups_of_row(&self, row: u64) -> Range<u32> {
        let first = u32::try_from(row).unwrap_or(u32::MAX);
        let first = first.saturating_mul(self.groups_per_row);
        first..first.saturating_add(self.groups_per_row).min(self.groups)
    }

    /// The blocks of a row, as they are numbered on disk.
    pub(super) fn blocks_of_row(&self, row: u64) -> Range<u64> {
        let start = row.saturating_mul(self.row_blocks).min(self.blocks);
        let end = start.saturating_add(self.row_blocks).min(self.blocks);
        start + self.first_block..end + self.first_block
    }

    /// What each cell of a row has.
    pub(super) fn cells_of_row(&self, row: u64) -> impl Iterator<Item = Counts> + '_ {
        let blocks = self.blocks_of_row(row);
        let many = (blocks.end - blocks.start).div_ceil(self.cell_blocks);
        let first = row * self.cells_per_row;
        (first..first + many).filter_map(|cell| Some(self.cell(cell)?.counts))
    }

    pub(super) fn counts_of_row(&self, row: u64) -> Counts {
        let mut counts = Counts::default();
        for cell in self.cells_of_row(row) {
            counts.add_all(&cell);
        }
        counts
    }

    /// Counts blocks for an owner, those that are in a group.
    pub(super) fn claim(&mut self, run: Run, owner: BlockOwner) {
        self.visit(run, |cell, blocks| cell.counts.add(owner, blocks));
    }

    /// Counts blocks that a bitmap has in use.
    pub(super) fn mark_used(&mut self, run: Run) {
        self.visit(run, |cell, blocks| cell.used += blocks);
    }

    /// Counts blocks of which no bitmap says whether they are in use.
    pub(super) fn mark_unknown(&mut self, run: Run) {
        self.visit(run, |cell, blocks| cell.unknown += blocks);
    }

    /// Gives what nobody claimed to nobody, to the unknown, or to the free.
    pub(super) fn settle(&mut self) {
        for row in 0..self.rows() {
            let blocks = self.blocks_of_row(row);
            let mut left = blocks.end - blocks.start;
            for number in 0..self.cells_per_row {
                let size = left.min(self.cell_blocks);
                left -= size;
                let index = usize::try_from(row * self.cells_per_row + number);
                if let Some(cell) = index.ok().and_then(|index| self.cells.get_mut(index)) {
                    let owned: u64 = cell.counts.0.iter().sum();
                    let used = cell.used.max(owned).min(size);
                    let unowned = used.saturating_sub(owned);
                    cell.counts.add(BlockOwner::Unowned, unowned);
                    let unknown = cell.unknown.min(size - used);
                    cell.counts.add(BlockOwner::Unknown, unknown);
                    cell.counts.add(BlockOwner::Free, size - used - unknown);
                }
            }
        }
    }

    fn cell(&self, number: u64) -> Option<&Cell> {
        self.cells.get(usize::try_from(number).ok()?)
    }

    /// Shows `each` the cells that a run touches, with how many of its blocks are in them.
    fn visit(&mut self, run: Run, mut each: impl FnMut(&mut Cell, u64)) {
        let first = self.first_block;
        let place = |block: u64| block.saturating_sub(first).min(self.blocks);
        let (mut at, end) = (place(run.start.get()), place(run.end().get()));
        while at < end {
            let (row, within) = (at / self.row_blocks, at % self.row_blocks);
            let number = within / self.cell_blocks;
            let cell_end = ((number + 1) * self.cell_blocks).min(self.row_blocks);
            let next = end.min(row * self.row_blocks + cell_end);
            let index = usize::try_from(row * self.cells_per_row + number);
            if let Some(cell) = index.ok().and_then(|index| self.cells.get_mut(index)) {
                each(cell, next - at);
            }
            at = next;
        }
    }
}
