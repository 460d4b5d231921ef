//! Given a file's blocks one by one in any order, gives its extents; never a block's place.
//!
//! Extents grow as libext2fs's `ext2fs_extent_set_bmap` lets them: a block lengthens the extent
//! before it, or else the one behind it, or else is one of its own. Two extents that come to touch
//! stay two.

use super::extents::Extent;
use super::logical;
use crate::ondisk::extent::MAX_BLOCKS;
use crate::units::Block;

/// The extents of a file while it is placed, in ascending order.
#[derive(Clone, Debug, Default)]
pub(super) struct Scattered {
    extents: Vec<Extent>,
}

impl Scattered {
    /// Where the file's block `at` is, if it has a place.
    pub(super) fn place_of(&self, at: u64) -> Option<Block> {
        let before = self.extents[..self.first_behind(at)].last()?;
        let offset = at - u64::from(before.logical.get());
        (offset < u64::from(before.blocks)).then(|| before.physical.plus(offset))
    }

    /// Notes that the file's block `at`, which had no place, is at `place`.
    pub(super) fn set(&mut self, at: u64, place: Block) {
        let behind = self.first_behind(at);
        if let Some(before) = self.extents[..behind].last_mut() {
            let len = u64::from(before.blocks);
            let touches =
                u64::from(before.logical.get()) + len == at && before.physical.plus(len) == place;
            if touches && before.blocks < MAX_BLOCKS - 1 {
                before.blocks += 1;
                return;
            }
        }
        if let Some(next) = self.extents.get_mut(behind)
            && u64::from(next.logical.get()) == at + 1
            && { next.physical } == place.plus(1)
            && next.blocks < MAX_BLOCKS - 1
        {
            next.blocks += 1;
            next.logical = logical(at);
            next.physical = place;
            return;
        }
        let extent = Extent {
            logical: logical(at),
            physical: place,
            blocks: 1,
        };
        self.extents.insert(behind, extent);
    }

    /// The extents, in ascending order.
    pub(super) fn into_extents(self) -> Vec<Extent> {
        self.extents
    }

    /// The first extent that begins behind block `at`.
    fn first_behind(&self, at: u64) -> usize {
        self.extents
            .partition_point(|extent| u64::from(extent.logical.get()) <= at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_join_what_they_touch() {
        let mut file = Scattered::default();
        for (at, place) in [(0, 10), (2, 11), (3, 12), (1, 13), (4, 14), (5, 15)] {
            file.set(at, Block::new(place));
        }
        assert_eq!(file.place_of(3), Some(Block::new(12)));
        assert_eq!(file.place_of(6), None);
        let extents: Vec<(u32, u64, u16)> = file
            .into_extents()
            .iter()
            .map(|extent| (extent.logical.get(), extent.physical.get(), extent.blocks))
            .collect();
        assert_eq!(extents, [(0, 10, 1), (1, 13, 1), (2, 11, 2), (4, 14, 2)]);
    }

    #[test]
    fn extents_that_come_to_touch_stay_two() {
        let mut file = Scattered::default();
        for at in [0, 2, 3, 1] {
            file.set(at, Block::new(10 + at));
        }
        assert_eq!(file.into_extents().len(), 2);
    }
}
