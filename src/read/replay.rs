//! Given where a journal has newer copies of blocks, gives those of a range; never reads them.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::units::Block;

/// Where a journal has a newer copy of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Copy {
    pub(crate) block: Block,
    /// Whether its first word was taken out, since it is a journal's magic number.
    pub(crate) is_escaped: bool,
}

/// The blocks that a journal replaces, each with its newest copy: the journal stays where it is, and so
/// they need not be in memory.
#[derive(Debug, Default)]
pub(crate) struct Replay {
    pub(super) copies: BTreeMap<u64, Copy>,
}

impl Replay {
    pub(crate) fn is_empty(&self) -> bool {
        self.copies.is_empty()
    }

    /// The replaced blocks among `blocks`.
    pub(crate) fn over(&self, blocks: Range<u64>) -> impl Iterator<Item = (u64, Copy)> {
        self.copies
            .range(blocks)
            .map(|(block, copy)| (*block, *copy))
    }

    /// How many blocks are replaced.
    pub(crate) fn len(&self) -> usize {
        self.copies.len()
    }
}
