//! Given an inode's pointers to blocks, shows where its blocks are in the order of the file, and what is
//! wrong with the pointers; never what the blocks hold.
//!
//! Layout: the kernel's documentation, "Direct/Indirect Block Addressing".

use std::ops::Range;

use super::bytes::{index, length, word};
use super::error::ErrorDetail;
use super::mapped::{Extent, Visit};
use super::superblock::Superblock;
use crate::units::{Block, Run};

/// Pointers in the inode to blocks of content; three more lead to blocks of pointers.
const DIRECT: usize = 12;
/// The levels of nodes below the last of those pointers.
const MOST_LEVELS: u32 = 3;
/// The bytes of a pointer.
const POINTER_BYTES: usize = 4;

/// A walk over a map.
struct Walk<'a, V> {
    sb: &'a Superblock,
    visit: &'a mut V,
    range: &'a Range<u64>,
}

/// A pointer, and where it stands.
#[derive(Clone, Copy)]
struct Pointer {
    /// The node that holds it; `None` for those in the inode.
    at: Option<Block>,
    /// The first logical block that it leads to.
    logical: u64,
    block: Block,
}

/// Shows what the map that begins with the pointers of `i_block` has in `range`, in logical blocks.
pub(crate) fn walk<V: Visit>(
    sb: &Superblock,
    i_block: &[u8],
    range: &Range<u64>,
    visit: &mut V,
) -> Result<(), V::Stop> {
    let mut walk = Walk { sb, visit, range };
    let pointer = |number: usize, logical: u64| Pointer {
        at: None,
        logical,
        block: Block::new(word(i_block, POINTER_BYTES * number).into()),
    };
    for number in 0..DIRECT {
        walk.content(pointer(number, length(number)))?;
    }
    let per_block = walk.per_block();
    let mut logical = length(DIRECT);
    for (number, level) in (DIRECT..).zip(1..=MOST_LEVELS) {
        walk.node(pointer(number, logical), level)?;
        logical += per_block.pow(level);
    }
    Ok(())
}

impl<V: Visit> Walk<'_, V> {
    fn per_block(&self) -> u64 {
        self.sb.block_size.bytes_u64() / length(POINTER_BYTES)
    }

    fn is_usable(&mut self, pointer: Pointer, spans: u64) -> Result<bool, V::Stop> {
        let end = pointer.logical.saturating_add(spans);
        let is_wanted = pointer.logical < self.range.end && end > self.range.start;
        if pointer.block.get() == 0 || !is_wanted {
            return Ok(false);
        }
        let run = Run::one(pointer.block);
        if self.sb.is_inside(run) {
            return Ok(true);
        }
        self.visit.fault(pointer.at, ErrorDetail::Outside(run))?;
        Ok(false)
    }

    fn content(&mut self, pointer: Pointer) -> Result<(), V::Stop> {
        if !self.is_usable(pointer, 1)? {
            return Ok(());
        }
        self.visit.extent(Extent {
            logical: pointer.logical,
            run: Run::one(pointer.block),
            is_unwritten: false,
        })
    }

    /// Follows a pointer to a block of pointers, with `level` levels of them down to the content.
    fn node(&mut self, pointer: Pointer, level: u32) -> Result<(), V::Stop> {
        let per_block = self.per_block();
        if !self.is_usable(pointer, per_block.pow(level))? {
            return Ok(());
        }
        let node = pointer.block;
        let Some(bytes) = self.visit.node(pointer.at, node)? else {
            return Ok(());
        };
        let below = per_block.pow(level - 1);
        let (start, end) = (self.range.start, self.range.end);
        let first = start.saturating_sub(pointer.logical) / below;
        let behind = end.saturating_sub(pointer.logical).div_ceil(below);
        for number in first..behind.min(per_block) {
            let next = Pointer {
                at: Some(node),
                logical: pointer.logical + number * below,
                block: Block::new(word(&bytes, POINTER_BYTES * index(number)).into()),
            };
            if level == 1 {
                self.content(next)?;
            } else {
                self.node(next, level - 1)?;
            }
        }
        Ok(())
    }
}
