//! Given a filesystem's block size and a tree, says how large lost+found is and whether the tree has one;
//! never places it.

use crate::feature::Feature;
use crate::geometry::Geometry;
use crate::tree::{NodeId, Tree};

/// The name of the directory that fsck puts lost files into.
pub(super) const LOST_FOUND: &[u8] = b"lost+found";

/// The length in blocks of the lost+found that mke2fs makes. With inline_data it begins inside its
/// inode, and the first block that it grows by is only moved there.
pub(super) fn made_lost_found_blocks(geometry: &Geometry) -> u64 {
    let moved = u64::from(geometry.features.has(Feature::InlineData));
    lost_found_blocks(geometry.block_size.bytes()) - moved
}

/// lost+found's length in blocks: 16 KiB, and at least two and at most twelve blocks.
pub(super) fn lost_found_blocks(block_bytes: u32) -> u64 {
    u64::from((16 * 1024 / block_bytes).clamp(2, 12))
}

/// The node that the tree has for it, if there is one.
pub(super) fn lost_found_of(tree: &Tree) -> Option<NodeId> {
    let entries = tree.entries(NodeId::ROOT);
    let place = entries.search(LOST_FOUND).ok()?;
    Some(entries.at(place).node)
}
