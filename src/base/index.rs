//! Given a directory that is a hash tree, gives its blocks of names in the order of their hashes; never the
//! names.

use std::collections::HashSet;

use super::Piece;
use crate::ondisk::inode::FLAG_INDEX;
use crate::read::bytes::{half, word};
use crate::read::{Filesystem, Inode, Result};

/// Where the number of levels below the root is.
const LEVELS_AT: usize = 0x1e;
/// Where the index entries of the root and of a node begin.
const ROOT_ENTRIES_AT: usize = 0x20;
const NODE_ENTRIES_AT: usize = 8;
/// The bytes of an index entry.
const ENTRY_BYTES: usize = 8;
/// The bits of a block's number.
const NUMBER: u32 = 0x0fff_ffff;
/// No tree has more levels of nodes below its root.
const MOST_LEVELS: u8 = 2;

/// A block of names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Leaf {
    /// The least hash that its names have, as the index says it; bit 0 says that names of that hash are in
    /// the block before as well.
    pub(crate) hash: u32,
    /// Its number in the directory.
    pub(crate) block: u32,
}

/// The blocks of names of `directory`, whose own blocks are `pieces`; none where it is no hash tree, or one
/// that makes no sense.
pub(super) fn leaves(
    filesystem: &Filesystem<'_>,
    directory: &Inode,
    pieces: &[Piece],
) -> Result<Vec<Leaf>> {
    if !directory.has_flag(FLAG_INDEX) {
        return Ok(Vec::new());
    }
    let read = |logical: u32| {
        let logical = u64::from(logical);
        let at = pieces.partition_point(|piece| piece.end() <= logical);
        let piece = pieces.get(at).filter(|piece| piece.logical <= logical);
        let place = piece.map(|piece| piece.run.start.plus(logical - piece.logical));
        place.map(|place| filesystem.block(place)).transpose()
    };
    let Some(root) = read(0)? else {
        return Ok(Vec::new());
    };
    let levels = root.get(LEVELS_AT).copied().unwrap_or(u8::MAX);
    if levels > MOST_LEVELS {
        return Ok(Vec::new());
    }
    let mut seen = HashSet::from([0]);
    let mut leaves = entries(&root, ROOT_ENTRIES_AT, 0);
    for _ in 0..levels {
        let mut below = Vec::new();
        for node in leaves {
            let block = if seen.insert(node.block) {
                read(node.block)?
            } else {
                None
            };
            let Some(block) = block else {
                return Ok(Vec::new());
            };
            below.extend(entries(&block, NODE_ENTRIES_AT, node.hash));
        }
        leaves = below;
    }
    let is_ordered = leaves.is_sorted_by_key(|leaf| leaf.hash);
    let is_sound = is_ordered && leaves.iter().all(|leaf| seen.insert(leaf.block));
    Ok(if is_sound { leaves } else { Vec::new() })
}

/// The index entries of a block, which begin at `at`; the first stands for hashes from `first` on.
fn entries(block: &[u8], at: usize, first: u32) -> Vec<Leaf> {
    let Some(entries) = block.get(at..).filter(|it| it.len() >= ENTRY_BYTES) else {
        return Vec::new();
    };
    let count = usize::from(half(entries, 2));
    let mut leaves: Vec<Leaf> = entries
        .chunks_exact(ENTRY_BYTES)
        .take(count)
        .map(|entry| Leaf {
            hash: word(entry, 0),
            block: word(entry, 4) & NUMBER,
        })
        .collect();
    // The place of the lowest hash holds the counts.
    if let Some(lowest) = leaves.first_mut() {
        lowest.hash = first;
    }
    leaves
}
