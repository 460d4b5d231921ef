//! Given where a file's blocks are, gives the extent tree that says so; never a block's place.
//!
//! [`ExtentTree`] is the shape for content: every node full but the last of its level.
//! [`AppendedTree`] is the shape mke2fs leaves when it appends extents to a file one by one, as it
//! does for the journal.

use std::ops::Range;

use bytemuck::{bytes_of, cast};

use super::levels::{Fanout, Levels};
use crate::ondisk::extent::{
    ExtentHeader, ExtentRecord, IndexRecord, MAX_BLOCKS, RECORD_BYTES, ROOT_BYTES, ROOT_MAX,
    node_max, seal,
};
use crate::units::{Block, BlockSize, LogicalBlock, Run};

/// Neighbouring blocks of a file that are neighbours in the filesystem too. A tree may have millions, so
/// there is nothing between them.
#[repr(Rust, packed(2))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// The first block in the file.
    pub logical: LogicalBlock,
    /// The first block in the filesystem.
    pub physical: Block,
    /// How many blocks: 1 to 32,768.
    pub blocks: u16,
}

impl Extent {
    fn record(self) -> ExtentRecord {
        ExtentRecord::new(self.logical, self.physical, self.blocks)
    }
}

/// Cuts the run that holds a file's blocks from `logical` on into extents of the length ext4 can
/// store.
pub fn cut(logical: LogicalBlock, run: Run) -> impl Iterator<Item = Extent> {
    let most = u64::from(MAX_BLOCKS);
    (0..run.len.div_ceil(most)).map(move |piece| {
        let before = piece * most;
        let blocks = (run.len - before).min(most);
        Extent {
            logical: LogicalBlock::new(
                logical
                    .get()
                    .saturating_add(u32::try_from(before).unwrap_or(u32::MAX)),
            ),
            physical: run.start.plus(before),
            blocks: u16::try_from(blocks).unwrap_or(MAX_BLOCKS),
        }
    })
}

/// A tree with full nodes: the fewest blocks that can hold the extents.
///
/// Its blocks are numbered from the top level to the leaves, each level in the file's order.
#[derive(Clone, Copy, Debug)]
pub struct ExtentTree<'a> {
    extents: &'a [Extent],
    nodes: &'a [Block],
    block_size: BlockSize,
    levels: Levels,
}

impl<'a> ExtentTree<'a> {
    /// How many blocks a tree of `extents` extents has outside the inode.
    pub fn blocks_needed(extents: usize, block_size: BlockSize) -> usize {
        levels(extents, block_size).total()
    }

    /// The tree of `extents`, in the file's order, with its blocks at `nodes`; `None` unless there
    /// are as many as [`ExtentTree::blocks_needed`] says.
    pub fn new(extents: &'a [Extent], nodes: &'a [Block], block_size: BlockSize) -> Option<Self> {
        let levels = levels(extents.len(), block_size);
        (levels.total() == nodes.len()).then_some(Self {
            extents,
            nodes,
            block_size,
            levels,
        })
    }

    /// The inode's `i_block`.
    pub fn render_inode(&self) -> [u8; ROOT_BYTES] {
        let mut bytes = [0; ROOT_BYTES];
        let children = self.levels.of_root(self.extents.len());
        self.render_node(&mut bytes, ROOT_MAX, self.levels.depth(), children);
        bytes
    }

    /// Renders the block at `nodes[number]`; `inode_seed` is that of the inode the tree belongs to,
    /// where the filesystem has checksums.
    ///
    /// # Panics
    /// Where the tree has no block of that number, or `block` is shorter than a block.
    pub fn render_block(&self, number: usize, block: &mut [u8], inode_seed: Option<u32>) {
        let (level, place) = self.levels.find(number).expect("a block of this tree");
        let children = self.levels.of_node(level, place, self.extents.len());
        block.fill(0);
        self.render_node(block, node_max(self.block_size), level, children);
        if let Some(seed) = inode_seed {
            seal(block, self.block_size, seed);
        }
    }

    /// Renders the header and the records of a node with `level` levels of nodes below.
    fn render_node(&self, bytes: &mut [u8], max: u16, level: usize, children: Range<usize>) {
        let depth = u16::try_from(level).unwrap_or(u16::MAX);
        let entries = u16::try_from(children.len()).unwrap_or(max);
        let (header, records) = bytes.split_at_mut(RECORD_BYTES);
        header.copy_from_slice(bytes_of(&ExtentHeader::new(entries, max, depth)));
        let slots = records.chunks_exact_mut(RECORD_BYTES);
        for (slot, child) in slots.zip(children) {
            slot.copy_from_slice(&self.record(level, child));
        }
    }

    fn record(&self, level: usize, child: usize) -> [u8; RECORD_BYTES] {
        let Some(below) = level.checked_sub(1) else {
            return cast(self.extents[child].record());
        };
        let first = self.extents[self.levels.first_item(below, child)].logical;
        let node = self.nodes[self.levels.first(below) + child];
        cast(IndexRecord::new(first, node))
    }
}

fn levels(extents: usize, block_size: BlockSize) -> Levels {
    let fanout = Fanout {
        root: usize::from(ROOT_MAX),
        node: usize::from(node_max(block_size)),
    };
    Levels::new(extents, fanout)
}

/// A tree that grew by appending, as libext2fs's `ext2fs_extent_insert` lets it grow.
///
/// A full root moves to a block of its own and becomes the index above it. Any other full node
/// gives its last record to a new node beside it, and appending goes on there. Neither clears the
/// records left behind, and they stay on disk: this tree keeps them.
///
/// A node's block is allocated while an extent is being appended, and so after that extent's
/// blocks and before the next one's.
#[derive(Clone, Debug)]
pub struct AppendedTree {
    block_size: BlockSize,
    root: Node,
    /// In the order of allocation.
    nodes: Vec<(Block, Node)>,
    /// The last node of each level below the root, by its place in `nodes`, top level first.
    last: Vec<usize>,
}

#[derive(Clone, Debug)]
struct Node {
    depth: u16,
    max: u16,
    entries: usize,
    /// The records written so far; those past `entries` are left behind.
    records: Vec<[u8; RECORD_BYTES]>,
}

impl Node {
    fn new(depth: u16, max: u16) -> Self {
        Self {
            depth,
            max,
            entries: 0,
            records: Vec::new(),
        }
    }

    fn is_full(&self) -> bool {
        self.entries >= usize::from(self.max)
    }

    fn append(&mut self, record: [u8; RECORD_BYTES]) {
        match self.records.get_mut(self.entries) {
            Some(slot) => *slot = record,
            None => self.records.push(record),
        }
        self.entries += 1;
    }

    /// The first logical block below the node's first record.
    fn first_logical(&self) -> LogicalBlock {
        let logical = match self.depth {
            0 => self.first::<ExtentRecord>().ee_block,
            _ => self.first::<IndexRecord>().ei_block,
        };
        LogicalBlock::new(logical.get())
    }

    /// Where the node's first record leads to.
    fn first_physical(&self) -> Block {
        match self.depth {
            0 => self.first::<ExtentRecord>().physical(),
            _ => self.first::<IndexRecord>().node(),
        }
    }

    fn first<R: bytemuck::Pod>(&self) -> R {
        self.records
            .first()
            .map_or(R::zeroed(), |record| cast(*record))
    }

    fn render(&self, bytes: &mut [u8]) {
        let entries = u16::try_from(self.entries).unwrap_or(self.max);
        let (header, records) = bytes.split_at_mut(RECORD_BYTES);
        header.copy_from_slice(bytes_of(&ExtentHeader::new(entries, self.max, self.depth)));
        let slots = records.chunks_exact_mut(RECORD_BYTES);
        for (slot, record) in slots.zip(&self.records) {
            slot.copy_from_slice(record);
        }
    }
}

impl AppendedTree {
    /// The tree of a file without blocks.
    pub fn new(block_size: BlockSize) -> Self {
        Self {
            block_size,
            root: Node::new(0, ROOT_MAX),
            nodes: Vec::new(),
            last: Vec::new(),
        }
    }

    /// Appends `extent`, which lies behind all others in the file.
    ///
    /// `allocate` gives each block that the tree needs for it: the first free one at or after the
    /// goal, or else the first free one. A goal of block 0 stands for no wish. `None` from it is
    /// `None` from here, and the tree is then unfinished.
    #[must_use = "without the block the tree is unfinished"]
    pub fn push(
        &mut self,
        extent: Extent,
        mut allocate: impl FnMut(Block) -> Option<Block>,
    ) -> Option<()> {
        if self.node(self.last.len()).is_full() {
            self.split(self.last.len(), &mut allocate)?;
        }
        let leaf = self.last.len();
        self.node_mut(leaf).append(cast(extent.record()));
        Some(())
    }

    /// Lengthens the last extent by `blocks` blocks, or gives `None` where there is none or its
    /// length does not allow that.
    #[must_use = "blocks that do not fit need an extent of their own"]
    pub fn lengthen(&mut self, blocks: u16) -> Option<()> {
        let leaf = self.node_mut(self.last.len());
        let slot = leaf.records.get_mut(leaf.entries.checked_sub(1)?)?;
        let mut record: ExtentRecord = cast(*slot);
        let longer = record.ee_len.get().checked_add(blocks)?;
        if longer > MAX_BLOCKS {
            return None;
        }
        record.ee_len = longer.into();
        *slot = cast(record);
        Some(())
    }

    /// The tree's blocks outside the inode, in the order of their allocation.
    pub fn blocks(&self) -> impl ExactSizeIterator<Item = Block> {
        self.nodes.iter().map(|(block, _)| *block)
    }

    /// The inode's `i_block`.
    pub fn render_inode(&self) -> [u8; ROOT_BYTES] {
        let mut bytes = [0; ROOT_BYTES];
        self.root.render(&mut bytes);
        bytes
    }

    /// Renders the `number`th of [`AppendedTree::blocks`]; `inode_seed` is that of the inode the
    /// tree belongs to, where the filesystem has checksums.
    ///
    /// # Panics
    /// Where the tree has no block of that number, or `block` is shorter than a block.
    pub fn render_block(&self, number: usize, block: &mut [u8], inode_seed: Option<u32>) {
        block.fill(0);
        self.nodes[number].1.render(block);
        if let Some(seed) = inode_seed {
            seal(block, self.block_size, seed);
        }
    }

    /// The last node of a level, the root being level 0.
    fn node(&self, level: usize) -> &Node {
        match level.checked_sub(1) {
            None => &self.root,
            Some(below) => &self.nodes[self.last[below]].1,
        }
    }

    fn node_mut(&mut self, level: usize) -> &mut Node {
        match level.checked_sub(1) {
            None => &mut self.root,
            Some(below) => &mut self.nodes[self.last[below]].1,
        }
    }

    /// Makes room in the last node of `level`, and before that in its parent: the order in which
    /// libext2fs's `extent_node_split` allocates. Splitting the root moves `level` down by one.
    fn split(
        &mut self,
        level: usize,
        allocate: &mut impl FnMut(Block) -> Option<Block>,
    ) -> Option<()> {
        let before_first = self.node(level).first_physical().get().saturating_sub(1);
        let depth = self.last.len();
        if level > 0 && self.node(level - 1).is_full() {
            self.split(level - 1, allocate)?;
        }
        let level = level + (self.last.len() - depth);
        let block = allocate(Block::new(before_first))?;
        let new = self.nodes.len();
        let max = node_max(self.block_size);
        if level == 0 {
            let mut moved = Node::new(self.root.depth, max);
            moved.entries = self.root.entries;
            moved.records.clone_from(&self.root.records);
            self.root.depth += 1;
            self.root.entries = 0;
            self.root
                .append(cast(IndexRecord::new(moved.first_logical(), block)));
            self.nodes.push((block, moved));
            self.last.insert(0, new);
        } else {
            let full = self.node_mut(level);
            full.entries -= 1;
            let mut beside = Node::new(full.depth, max);
            beside.append(full.records[full.entries]);
            let index = IndexRecord::new(beside.first_logical(), block);
            self.node_mut(level - 1).append(cast(index));
            self.nodes.push((block, beside));
            self.last[level - 1] = new;
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::collections::{BTreeMap, BTreeSet};

    const SEED: u32 = 0x1234_5678;

    fn block_size(bytes: u32) -> BlockSize {
        BlockSize::new(bytes).expect("a block size")
    }

    /// Extents of one block each, so that no two of them are neighbours.
    fn scattered(count: u32) -> Vec<Extent> {
        (0..count)
            .map(|index| Extent {
                logical: LogicalBlock::new(index),
                physical: Block::new(u64::from(index) * 2 + 0x1_0000_0000),
                blocks: 1,
            })
            .collect()
    }

    fn u16_at(bytes: &[u8], at: usize) -> u16 {
        u16::from_le_bytes([bytes[at], bytes[at + 1]])
    }

    fn u32_at(bytes: &[u8], at: usize) -> u32 {
        u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
    }

    /// Reads a node and all below it, as a reader who knows nothing of [`Levels`] would.
    fn read(
        node: &[u8],
        blocks: &BTreeMap<u64, Vec<u8>>,
        found: &mut Vec<Extent>,
        nodes: &mut usize,
    ) {
        assert_eq!(u16_at(node, 0), 0xF30A);
        let depth = u16_at(node, 6);
        assert!(u16_at(node, 2) <= u16_at(node, 4));
        for at in (1..=usize::from(u16_at(node, 2))).map(|record| record * 12) {
            let first = LogicalBlock::new(u32_at(node, at));
            if depth == 0 {
                let high = u64::from(u16_at(node, at + 6));
                found.push(Extent {
                    logical: first,
                    physical: Block::new((high << 32) + u64::from(u32_at(node, at + 8))),
                    blocks: u16_at(node, at + 4),
                });
                continue;
            }
            let high = u64::from(u16_at(node, at + 8));
            let below = &blocks[&((high << 32) + u64::from(u32_at(node, at + 4)))];
            assert_eq!(u16_at(below, 6), depth - 1);
            let before = found.len();
            *nodes += 1;
            read(below, blocks, found, nodes);
            assert_eq!({ found[before].logical }, first);
        }
    }

    #[test]
    fn a_tree_holds_its_extents_at_any_depth() {
        for (bytes, count, nodes) in [
            (1024, 0, 0),
            (1024, 1, 0),
            (1024, 4, 0),
            (1024, 5, 1),
            (1024, 84, 1),
            (1024, 85, 2),
            (1024, 336, 4),
            (1024, 337, 5 + 1),
            (1024, 84 * 84 * 4, 84 * 4 + 4),
            (1024, 84 * 84 * 4 + 1, 337 + 5 + 1),
            (4096, 5000, 15 + 1),
            (65536, 100_000, 19 + 1),
        ] {
            let extents = scattered(count);
            let size = block_size(bytes);
            assert_eq!(ExtentTree::blocks_needed(extents.len(), size), nodes);
            let at: Vec<Block> = (0..nodes)
                .map(|node| Block::new(u64::try_from(node * 3 + 7).expect("a small number")))
                .collect();
            let tree = ExtentTree::new(&extents, &at, size).expect("as many blocks as needed");
            let mut blocks = BTreeMap::new();
            for (number, block) in at.iter().enumerate() {
                let mut node = vec![0xD1; size.bytes_usize()];
                tree.render_block(number, &mut node, Some(SEED));
                let tail = RECORD_BYTES * (1 + usize::from(u16_at(&node, 4)));
                let checksum = crate::ondisk::checksum::crc32c(SEED, &node[..tail]);
                assert_eq!(u32_at(&node, tail), checksum);
                blocks.insert(block.get(), node);
            }
            let (mut found, mut visited) = (Vec::new(), 0);
            read(&tree.render_inode(), &blocks, &mut found, &mut visited);
            assert_eq!((found, visited), (extents, nodes), "{count} extents");
        }
    }

    #[test]
    fn a_wrong_number_of_blocks_makes_no_tree() {
        let extents = scattered(5);
        assert!(ExtentTree::new(&extents, &[], BlockSize::MIN).is_none());
    }

    #[test]
    fn runs_are_cut_to_length() {
        let run = Run::new(Block::new(100), 65537);
        let cuts: Vec<(u32, u64, u16)> = cut(LogicalBlock::new(10), run)
            .map(|extent| (extent.logical.get(), extent.physical.get(), extent.blocks))
            .collect();
        assert_eq!(
            cuts,
            [(10, 100, 32768), (32778, 32868, 32768), (65546, 65636, 1)]
        );
    }

    #[test]
    fn the_last_extent_grows_to_its_limit() {
        let mut tree = AppendedTree::new(BlockSize::MIN);
        assert_eq!(tree.lengthen(1), None);
        let [extent, ..] = scattered(1)[..] else {
            panic!("one extent")
        };
        tree.push(extent, |_| None).expect("no block is needed");
        assert_eq!(tree.lengthen(MAX_BLOCKS - 1), Some(()));
        assert_eq!(tree.lengthen(1), None);
        assert_eq!(u16_at(&tree.render_inode(), 16), 32768);
    }

    #[test]
    fn a_tree_without_its_block_says_so() {
        let mut tree = AppendedTree::new(BlockSize::MIN);
        let pushed: Vec<Option<()>> = scattered(5)
            .into_iter()
            .map(|extent| tree.push(extent, |_| None))
            .collect();
        assert_eq!(pushed, [Some(()), Some(()), Some(()), Some(()), None]);
    }

    /// A journal that mke2fs 1.47.2 made: see fixtures/layout/README.md.
    struct Journal {
        name: String,
        block_size: BlockSize,
        seed: Option<u32>,
        goal: u64,
        length: u64,
        /// What was free before.
        free: BTreeSet<u64>,
        i_block: Vec<u8>,
        nodes: BTreeMap<u64, Vec<u8>>,
    }

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("two digits"))
            .collect()
    }

    fn number(text: &str) -> u64 {
        text.parse().expect("a number")
    }

    fn journals(text: &str) -> Vec<Journal> {
        let mut journals: Vec<Journal> = Vec::new();
        for line in text.lines() {
            let (key, rest) = line.split_once(' ').expect("a key and a value");
            if key == "case" {
                journals.push(Journal {
                    name: rest.to_owned(),
                    block_size: BlockSize::MIN,
                    seed: None,
                    goal: 0,
                    length: 0,
                    free: BTreeSet::new(),
                    i_block: Vec::new(),
                    nodes: BTreeMap::new(),
                });
                continue;
            }
            let journal = journals.last_mut().expect("a case first");
            let words: Vec<&str> = rest.split(' ').collect();
            match key {
                "geometry" => {
                    journal.block_size = block_size(words[0].parse().expect("a block size"));
                    journal.seed = u32::from_str_radix(words[1], 16).ok();
                    journal.goal = number(words[2]);
                    journal.length = number(words[3]);
                }
                "free" => {
                    for word in words {
                        let (first, last) = word.split_once('-').expect("a range");
                        journal.free.extend(number(first)..=number(last));
                    }
                }
                "i_block" => journal.i_block = hex(rest),
                "node" => {
                    let mut node = hex(words[1]);
                    node.resize(journal.block_size.bytes_usize() - 8, 0);
                    node.extend(hex(words[2]));
                    journal.nodes.insert(number(words[0]), node);
                }
                _ => panic!("unknown key {key}"),
            }
        }
        journals
    }

    /// Allocates the journal as libext2fs's `ext2fs_fallocate` does, and appends its extents.
    fn append(journal: &Journal) -> AppendedTree {
        let mut free = journal.free.clone();
        let mut tree = AppendedTree::new(journal.block_size);
        let (mut done, mut goal) = (0, journal.goal);
        while done < journal.length {
            let start = first_free(&free, goal);
            let most = (journal.length - done).min(u64::from(MAX_BLOCKS));
            let blocks = (0..most)
                .take_while(|&step| free.remove(&(start + step)))
                .count();
            let extent = Extent {
                logical: LogicalBlock::new(u32::try_from(done).expect("a short journal")),
                physical: Block::new(start),
                blocks: u16::try_from(blocks).expect("at most 32,768 blocks"),
            };
            tree.push(extent, |goal| {
                let block = first_free(&free, goal.get());
                free.remove(&block);
                Some(Block::new(block))
            })
            .expect("a free block");
            done += u64::from(extent.blocks);
            goal = start + u64::from(extent.blocks);
        }
        tree
    }

    fn first_free(free: &BTreeSet<u64>, goal: u64) -> u64 {
        *free
            .range(goal..)
            .next()
            .or_else(|| free.first())
            .expect("a free block")
    }

    #[test]
    fn journals_have_the_trees_of_mke2fs() {
        let fixture = include_str!("../../fixtures/layout/journal_extents.txt");
        let journals = journals(fixture);
        assert_eq!(journals.len(), 5);
        for journal in journals {
            let tree = append(&journal);
            assert_eq!(
                tree.render_inode()[..],
                journal.i_block,
                "{}: i_block",
                journal.name
            );
            let mut rendered = BTreeMap::new();
            for (number, block) in tree.blocks().enumerate() {
                let mut node = vec![0xD1; journal.block_size.bytes_usize()];
                tree.render_block(number, &mut node, journal.seed);
                rendered.insert(block.get(), node);
            }
            assert!(
                rendered == journal.nodes,
                "{}: the tree's blocks differ",
                journal.name
            );
        }
    }
}
