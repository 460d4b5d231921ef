//! Given runs of blocks one after another, grows a file by them as libext2fs does by appending; never
//! chooses where they are, but for the blocks of its map.

use super::block_map::{self, BlockMap, MapNode};
use super::extents::{AppendedTree, Extent, cut};
use super::ledger::Ledger;
use super::scattered::Scattered;
use super::{LayoutError, Owner, logical};
use crate::feature::Feature;
use crate::geometry::Geometry;
use crate::ondisk::extent::MAX_BLOCKS;
use crate::units::{Block, BlockSize, Group, Ino, LogicalBlock, Run};

/// A file that grew by appending, as libext2fs makes them.
#[derive(Clone, Debug)]
pub struct AppendedFile {
    /// Its length in blocks.
    pub blocks: u64,
    map: FileMap,
    block_size: BlockSize,
}

/// How a file says where its blocks are.
#[derive(Clone, Debug)]
enum FileMap {
    Extents(AppendedTree),
    Blocks {
        extents: Vec<Extent>,
        nodes: Vec<MapNode>,
    },
}

impl AppendedFile {
    /// How many blocks its extent tree or block map has.
    pub fn node_blocks(&self) -> u64 {
        let nodes = match &self.map {
            FileMap::Extents(tree) => tree.blocks().len(),
            FileMap::Blocks { nodes, .. } => nodes.len(),
        };
        u64::try_from(nodes).unwrap_or(u64::MAX)
    }

    /// Where the nodes of its extent tree are, in the order of their allocation.
    pub(super) fn node_places(&self) -> impl Iterator<Item = Block> + '_ {
        let tree = match &self.map {
            FileMap::Extents(tree) => Some(tree),
            FileMap::Blocks { .. } => None,
        };
        tree.into_iter().flat_map(AppendedTree::blocks)
    }

    /// Whether it has an extent tree.
    pub fn has_extents(&self) -> bool {
        matches!(self.map, FileMap::Extents(_))
    }

    /// The inode's `i_block`.
    pub fn render_inode(&self) -> [u8; 60] {
        match &self.map {
            FileMap::Extents(tree) => tree.render_inode(),
            FileMap::Blocks { extents, nodes } => {
                BlockMap::new(extents, nodes, self.block_size).render_inode()
            }
        }
    }

    /// Renders the `number`th node of its tree or map, in the order of their allocation.
    ///
    /// # Panics
    /// Where there is no such node.
    pub fn render_node(&self, number: usize, block: &mut [u8], inode_seed: Option<u32>) {
        match &self.map {
            FileMap::Extents(tree) => tree.render_block(number, block, inode_seed),
            FileMap::Blocks { extents, nodes } => {
                BlockMap::new(extents, nodes, self.block_size).render_block(number, block);
            }
        }
    }
}

/// How the runs of a file and the nodes of its tree are claimed.
#[derive(Clone, Copy)]
pub(super) struct ClaimOwners {
    pub(super) data: fn(LogicalBlock) -> Owner,
    pub(super) node: fn(u32) -> Owner,
}

/// The first block of the (flex) group that `ino` lies in: `ext2fs_find_inode_goal`.
pub(super) fn inode_goal(geometry: &Geometry, ino: Ino) -> Block {
    let group = geometry.group_of_ino(ino).get();
    let first = group & !(geometry.groups_per_flex() - 1);
    geometry.group_first_block(Group::new(first))
}

/// Whether runs that are neighbours in the filesystem too become one extent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Neighbours {
    /// As where blocks are appended one by one.
    Joined,
    /// As where whole runs are.
    Apart,
}

/// A file while it grows.
pub(super) struct Growing {
    pub(super) owners: ClaimOwners,
    neighbours: Neighbours,
    pub(super) blocks: u64,
    map: FileMap,
    map_growing: block_map::Growing,
    block_size: BlockSize,
    last: Option<Run>,
    /// How many blocks can be appended before there must be room for more.
    pub(super) most_at_once: u64,
    first_data_block: Block,
}

impl Growing {
    pub(super) fn new(geometry: &Geometry, owners: ClaimOwners, neighbours: Neighbours) -> Self {
        let block_size = geometry.block_size;
        let map = if geometry.features.has(Feature::Extent) {
            FileMap::Extents(AppendedTree::new(block_size))
        } else {
            FileMap::Blocks {
                extents: Vec::new(),
                nodes: Vec::new(),
            }
        };
        Self {
            owners,
            neighbours,
            blocks: 0,
            map,
            map_growing: block_map::Growing::new(block_size),
            block_size,
            last: None,
            most_at_once: u64::from(MAX_BLOCKS) / geometry.cluster_ratio()
                * geometry.cluster_ratio(),
            first_data_block: Block::new(geometry.first_data_block),
        }
    }

    /// Places the nodes of a block map that the next block needs, from `goal` on, and gives the
    /// goal for that block. Extent trees get theirs when they are full.
    pub(super) fn make_room(
        &mut self,
        goal: Block,
        ledger: &mut Ledger,
    ) -> Result<Block, LayoutError> {
        let FileMap::Blocks { nodes, .. } = &mut self.map else {
            return Ok(goal);
        };
        let node = self.owners.node;
        let mut goal = goal;
        let place = |number: usize| {
            let owner = node(u32::try_from(number).ok()?);
            let block = ledger.run_for(owner, goal, 1)?.start;
            ledger.claim_clusters(Run::one(block), owner).ok()?;
            goal = block.plus(1);
            Some(block)
        };
        self.most_at_once = self
            .map_growing
            .ensure(self.blocks, nodes, place)
            .ok_or(LayoutError::no_room(node(0), 1))?;
        Ok(goal)
    }

    /// Claims `run` as the file's next blocks, and a block for its tree where that must grow.
    pub(super) fn append(&mut self, run: Run, ledger: &mut Ledger) -> Result<(), LayoutError> {
        let at = logical(self.blocks);
        ledger.claim_clusters(run, (self.owners.data)(at))?;
        self.blocks += run.len;
        let neighbours = self.neighbours == Neighbours::Joined
            && self.last.is_some_and(|last| last.end() == run.start);
        self.last = Some(run);
        match &mut self.map {
            FileMap::Blocks { extents, .. } => extents.extend(cut(at, run)),
            FileMap::Extents(tree) => {
                let more = u16::try_from(run.len).unwrap_or(u16::MAX);
                if neighbours && tree.lengthen(more).is_some() {
                    return Ok(());
                }
                for extent in cut(at, run) {
                    push(
                        tree,
                        extent,
                        self.owners.node,
                        self.first_data_block,
                        ledger,
                    )?;
                }
            }
        }
        Ok(())
    }

    pub(super) fn has_extents(&self) -> bool {
        matches!(self.map, FileMap::Extents(_))
    }

    /// Takes `placed`, whose blocks are claimed, for all of the file.
    pub(super) fn take(
        &mut self,
        blocks: u64,
        placed: Scattered,
        ledger: &mut Ledger,
    ) -> Result<(), LayoutError> {
        self.blocks = blocks;
        let node = self.owners.node;
        match &mut self.map {
            FileMap::Blocks { extents, .. } => *extents = placed.into_extents(),
            FileMap::Extents(tree) => {
                for extent in placed.into_extents() {
                    push(tree, extent, node, self.first_data_block, ledger)?;
                }
            }
        }
        Ok(())
    }

    pub(super) fn finish(self) -> AppendedFile {
        AppendedFile {
            blocks: self.blocks,
            map: self.map,
            block_size: self.block_size,
        }
    }
}

/// Appends `extent` to `tree`, whose new nodes are claimed for `node`.
pub(super) fn push(
    tree: &mut AppendedTree,
    extent: Extent,
    node: impl Fn(u32) -> Owner,
    first_data_block: Block,
    ledger: &mut Ledger,
) -> Result<(), LayoutError> {
    let mut nodes = u32::try_from(tree.blocks().len()).unwrap_or(u32::MAX);
    tree.push(extent, |goal| {
        let goal = goal.max(first_data_block);
        let block = ledger.run_for(node(nodes), goal, 1)?.start;
        ledger.claim_clusters(Run::one(block), node(nodes)).ok()?;
        nodes += 1;
        Some(block)
    })
    .ok_or(LayoutError::no_room(node(nodes), 1))
}
