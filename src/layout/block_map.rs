//! Given where a file's blocks are, gives the block map that says so; never a data block's place.
//!
//! Twelve blocks are named in the inode; behind them come an indirect, a double and a triple
//! indirect block, each a whole block of 32-bit numbers. The kernel's
//! `Documentation/filesystems/ext4/blockmap.rst` has the layout. A block that nothing maps to is
//! not there, and its number is 0.

use super::extents::Extent;
use crate::ondisk::int::Le32;
use crate::units::{Block, BlockSize};

/// Blocks that the inode names itself: `EXT4_NDIR_BLOCKS`.
const DIRECT: u64 = 12;
/// Bytes of `i_block`.
const ROOT_BYTES: usize = 60;
/// Indirect, double and triple indirect.
const LEVELS: usize = 3;

/// A block of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapNode {
    /// Where it is.
    pub place: Block,
    /// 1 for one that names data, 2 and 3 for those above.
    level: usize,
    /// The first block of the file that it can lead to.
    first: u64,
}

/// How far numbers of one block reach.
#[derive(Clone, Copy, Debug)]
pub struct Reach {
    /// Numbers per block.
    addresses: u64,
}

impl Reach {
    /// The reach with blocks of `block_size`.
    pub fn new(block_size: BlockSize) -> Self {
        Self {
            addresses: block_size.bytes_u64() / 4,
        }
    }

    /// How many blocks of a file a map can name.
    pub fn most_blocks(self) -> u64 {
        DIRECT + (1..=LEVELS).map(|level| self.under(level)).sum::<u64>()
    }

    /// The blocks under a node of `level`.
    fn under(self, level: usize) -> u64 {
        (0..level).fold(1, |blocks, _| blocks * self.addresses)
    }

    /// The first block that the inode's own node of `level` leads to.
    fn first_of(self, level: usize) -> u64 {
        DIRECT + (1..level).map(|below| self.under(below)).sum::<u64>()
    }

    /// The nodes on the way to `logical`, from the inode down, as level and first block.
    fn path(self, logical: u64) -> impl Iterator<Item = (usize, u64)> {
        let top = (1..=LEVELS)
            .rev()
            .find(|level| logical >= self.first_of(*level))
            .unwrap_or(0);
        (1..=top).rev().map(move |level| {
            let start = self.first_of(top);
            let under = self.under(level);
            (level, start + (logical - start) / under * under)
        })
    }

    /// How many blocks from `logical` on the same lowest node names.
    fn same_node(self, logical: u64) -> u64 {
        match self.path(logical).last() {
            None => DIRECT - logical,
            Some((_, first)) => first + self.addresses - logical,
        }
    }
}

/// The nodes of a file while it is placed, in the order of the file.
#[derive(Clone, Copy, Debug)]
pub struct Growing {
    reach: Reach,
    /// The last node of each level.
    last: [Option<u64>; LEVELS],
}

impl Growing {
    /// The map of a file without blocks.
    pub fn new(block_size: BlockSize) -> Self {
        Self {
            reach: Reach::new(block_size),
            last: [None; LEVELS],
        }
    }

    /// Places what is missing on the way to `logical` with `place`, and gives how many blocks from
    /// there on need nothing more. `None` from `place` is `None` from here.
    pub fn ensure(
        &mut self,
        logical: u64,
        nodes: &mut Vec<MapNode>,
        mut place: impl FnMut(usize) -> Option<Block>,
    ) -> Option<u64> {
        for (level, first) in self.reach.path(logical) {
            if self.last[level - 1] != Some(first) {
                self.last[level - 1] = Some(first);
                nodes.push(MapNode {
                    place: place(nodes.len())?,
                    level,
                    first,
                });
            }
        }
        Some(self.reach.same_node(logical))
    }
}

/// How many nodes a file needs whose data is at the logical blocks of `ranges`, in ascending order.
pub fn nodes_needed(
    block_size: BlockSize,
    ranges: impl Iterator<Item = std::ops::Range<u64>>,
) -> u64 {
    let mut growing = Growing::new(block_size);
    let mut nodes = Vec::new();
    let mut needed = 0;
    for range in ranges {
        let mut at = range.start;
        while at < range.end {
            nodes.clear();
            at += growing
                .ensure(at, &mut nodes, |_| Some(Block::default()))
                .unwrap_or(u64::MAX);
            needed += u64::try_from(nodes.len()).unwrap_or(u64::MAX);
        }
    }
    needed
}

/// A file's map.
#[derive(Clone, Copy, Debug)]
pub struct BlockMap<'a> {
    extents: &'a [Extent],
    nodes: &'a [MapNode],
    reach: Reach,
}

impl<'a> BlockMap<'a> {
    /// The map of a file with data at `extents` and nodes at `nodes`, both in the file's order.
    pub fn new(extents: &'a [Extent], nodes: &'a [MapNode], block_size: BlockSize) -> Self {
        Self {
            extents,
            nodes,
            reach: Reach::new(block_size),
        }
    }

    /// The inode's `i_block`.
    pub fn render_inode(&self) -> [u8; ROOT_BYTES] {
        let mut bytes = [0; ROOT_BYTES];
        let (direct, roots) = bytes.split_at_mut(48);
        self.render_data(0, direct);
        for (slot, level) in roots.chunks_exact_mut(4).zip(1..) {
            let first = self.reach.first_of(level);
            let root = self
                .nodes
                .iter()
                .find(|node| (node.level, node.first) == (level, first));
            if let Some(root) = root {
                put(slot, root.place);
            }
        }
        bytes
    }

    /// Renders the `number`th node.
    ///
    /// # Panics
    /// Where the map has no such node.
    pub fn render_block(&self, number: usize, block: &mut [u8]) {
        block.fill(0);
        let node = self.nodes[number];
        if node.level == 1 {
            self.render_data(node.first, block);
            return;
        }
        let under = self.reach.under(node.level - 1);
        let end = node.first + self.reach.under(node.level);
        let below = self.nodes[number + 1..]
            .iter()
            .take_while(|below| below.first < end)
            .filter(|below| below.level == node.level - 1);
        for child in below {
            let slot = usize::try_from((child.first - node.first) / under)
                .expect("a node has fewer numbers than a block has bytes");
            put(&mut block[slot * 4..slot * 4 + 4], child.place);
        }
    }

    /// Fills `numbers` with those of the data from `first` on.
    fn render_data(&self, first: u64, numbers: &mut [u8]) {
        let start = self
            .extents
            .partition_point(|extent| end_of(extent) <= first);
        let count = u64::try_from(numbers.len() / 4).unwrap_or(u64::MAX);
        for extent in &self.extents[start..] {
            let logical = u64::from(extent.logical.get());
            if logical >= first + count {
                break;
            }
            for at in logical.max(first)..end_of(extent).min(first + count) {
                let slot = usize::try_from(at - first).expect("within a block");
                let place = extent.physical.plus(at - logical);
                put(&mut numbers[slot * 4..slot * 4 + 4], place);
            }
        }
    }
}

fn end_of(extent: &Extent) -> u64 {
    u64::from(extent.logical.get()) + u64::from(extent.blocks)
}

fn put(slot: &mut [u8], place: Block) {
    let number = u32::try_from(place.get()).expect("block maps go with 32-bit block numbers");
    slot.copy_from_slice(bytemuck::bytes_of(&Le32::new(number)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::extents::cut;
    use crate::units::{LogicalBlock, Run};

    /// Follows the map as the kernel does.
    fn look_up(map: &BlockMap<'_>, block_size: BlockSize, logical: u64) -> u64 {
        let addresses = block_size.bytes_u64() / 4;
        let number = |bytes: &[u8], slot: u64| {
            let slot = usize::try_from(slot).unwrap() * 4;
            u64::from(u32::from_le_bytes(
                bytes[slot..slot + 4].try_into().unwrap(),
            ))
        };
        let root = map.render_inode();
        if logical < 12 {
            return number(&root, logical);
        }
        let mut rest = logical - 12;
        let mut level = 1;
        let mut under = addresses;
        while rest >= under {
            rest -= under;
            under *= addresses;
            level += 1;
        }
        let mut at = number(&root, 11 + level);
        let mut block = vec![0; block_size.bytes_usize()];
        while level > 0 {
            let Some(node) = map.nodes.iter().position(|node| node.place.get() == at) else {
                return 0;
            };
            map.render_block(node, &mut block);
            under /= addresses;
            at = number(&block, rest / under);
            rest %= under;
            level -= 1;
        }
        at
    }

    #[test]
    fn every_block_is_found_and_every_hole_is_one() {
        let block_size = BlockSize::MIN;
        for ranges in [
            &[(0, 5)][..],
            &[(0, 12), (12, 300)],
            &[(3, 4), (11, 14), (268, 270), (5000, 5001)],
            &[(0, 70_000)],
            &[(65_803, 65_806), (130_000, 131_500)],
        ] {
            let mut next = 100;
            let mut extents = Vec::new();
            let mut nodes = Vec::new();
            let mut growing = Growing::new(block_size);
            for (start, end) in ranges {
                let mut at = *start;
                while at < *end {
                    let most = growing
                        .ensure(at, &mut nodes, |_| {
                            next += 1;
                            Some(Block::new(next - 1))
                        })
                        .unwrap();
                    let len = most.min(end - at);
                    let logical = LogicalBlock::new(u32::try_from(at).unwrap());
                    extents.extend(cut(logical, Run::new(Block::new(next), len)));
                    next += len;
                    at += len;
                }
            }
            let map = BlockMap::new(&extents, &nodes, block_size);
            let needed = nodes_needed(block_size, ranges.iter().map(|(a, b)| *a..*b));
            assert_eq!(needed, u64::try_from(nodes.len()).unwrap());
            for extent in &extents {
                for at in [0, extent.blocks - 1] {
                    let logical = u64::from(extent.logical.get()) + u64::from(at);
                    let expected = extent.physical.get() + u64::from(at);
                    assert_eq!(look_up(&map, block_size, logical), expected, "{logical}");
                }
            }
            for hole in [1_000_000, ranges[ranges.len() - 1].1] {
                assert_eq!(look_up(&map, block_size, hole), 0);
            }
        }
    }
}
