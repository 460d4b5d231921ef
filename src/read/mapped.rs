//! Given nothing, says what a map of blocks tells whoever walks over it; never how it is stored.

use super::error::ErrorDetail;
use crate::units::{Block, Run};

/// Neighbouring blocks of a file that are neighbours on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Extent {
    /// The first block, counted from the file's first.
    pub logical: u64,
    /// Where they are.
    pub run: Run,
    /// Whether they count as zeros, whatever they hold.
    pub is_unwritten: bool,
}

impl Extent {
    /// The first logical block behind.
    pub fn end(&self) -> u64 {
        self.logical.saturating_add(self.run.len)
    }

    /// Whether `next` goes on where this ends, in the file and on disk.
    pub(crate) fn is_continued_by(&self, next: &Self) -> bool {
        self.is_unwritten == next.is_unwritten
            && self.end() == next.logical
            && self.run.end() == next.run.start
    }
}

/// Who walks over a map of blocks: it is shown what is there, in the order of the file, and what is wrong
/// with it, and says whether to go on.
pub(crate) trait Visit {
    /// What ends a walk before its time.
    type Stop;

    /// Gives the bytes of a node of the map; `None` passes over it. `at` is the node that leads there,
    /// where it is not the inode.
    fn node(&mut self, at: Option<Block>, node: Block) -> Result<Option<Vec<u8>>, Self::Stop>;

    /// Takes blocks of the file.
    fn extent(&mut self, extent: Extent) -> Result<(), Self::Stop>;

    /// Takes what is wrong in the node `at`, or in the inode.
    fn fault(&mut self, at: Option<Block>, fault: ErrorDetail) -> Result<(), Self::Stop>;
}

/// The physical block of a logical one.
pub(crate) fn find(extents: &[Extent], logical: u64) -> Option<Block> {
    let at = extents.partition_point(|extent| extent.end() <= logical);
    let extent = extents.get(at).filter(|extent| extent.logical <= logical)?;
    Some(extent.run.start.plus(logical - extent.logical))
}
