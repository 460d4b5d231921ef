//! Given a tree, numbers its nodes and places their blocks; never the filesystem's own files.
//!
//! Inodes are numbered directory by directory: all entries of one in the order of their names'
//! bytes, then those of its first subdirectory, and so on. The inodes of attributes' values come
//! last. Directories, long symbolic links and attribute blocks lie first, then those values, then the
//! nodes of the files' maps and, unless it has its place already, their data, each in the order of inodes,
//! so that neighbours in the tree are neighbours on disk.

mod names;
mod numbering;
mod placer;
mod planner;
mod tree_plan;

use std::ops::Range;

use names::NamesIn;
pub use names::{EntriesIn, NoEntries};
pub use placer::FileData;
pub(super) use placer::{block_ranges, content_blocks};
pub(super) use planner::ContentPlanner;
pub use tree_plan::Demand;
pub(crate) use tree_plan::TreePlan;

use super::LayoutError;
use super::block_map::{BlockMap, MapNode};
use super::directory::{DirectoryPlan, DirectoryRules};
use super::extents::{Extent, ExtentTree};
use super::lost_found::lost_found_of;
use super::verity::{VerityPlan, VerityPlans};
use super::xattrs::XattrPlans;
use crate::feature::Feature;
use crate::geometry::Geometry;
use crate::ondisk::dir::BlockFormat;
use crate::ondisk::inode::FLAG_CASEFOLD;
use crate::options::{QuotaType, Settings};
use crate::tree::{Kind, Node, NodeId, Tree};
use crate::units::{Block, BlockSize, Ino, Timestamp};

/// Bytes of `i_block`: a shorter target is stored there.
const INLINE_TARGET: usize = 60;

/// What stands for no node where nodes are listed by their inodes: the root is never there.
const NOBODY: NodeId = NodeId::ROOT;

/// What was decided for one node.
#[derive(Clone, Debug, Default)]
pub struct NodePlan {
    extents: Range<u32>,
    map_nodes: Range<u32>,
    /// How many clusters its data takes.
    data_clusters: u32,
    /// `i_links_count`.
    pub links: u16,
}

/// A directory of the tree.
#[derive(Clone, Debug)]
pub struct Directory {
    /// The directory above it; the root is above itself.
    pub parent: NodeId,
    /// Its blocks.
    pub plan: DirectoryPlan,
}

/// Where the tree's nodes are.
#[derive(Clone, Debug)]
pub struct Content {
    /// How directories are kept; one that folds case has a hasher of its own.
    pub rules: DirectoryRules,
    /// The nodes in the order of their inodes, from `first_ino` on; [`NOBODY`] where none has a number.
    order: Vec<NodeId>,
    first_ino: u32,
    first_value_ino: u32,
    /// The numbers that nobody has before the last that somebody has, in ascending order.
    gaps: Vec<Range<u32>>,
    /// When the nodes were made that a base has, by node, where that is not the time of the filesystem.
    crtimes: Vec<(NodeId, Timestamp)>,
    /// By node.
    inos: Vec<Ino>,
    plans: Vec<NodePlan>,
    /// By number, the inodes of attributes' values.
    values: Vec<NodePlan>,
    directories: Vec<(NodeId, Directory)>,
    extents: Vec<Extent>,
    tree_nodes: Vec<Block>,
    map_nodes: Vec<MapNode>,
    has_extents: bool,
    has_casefold: bool,
    block_size: BlockSize,
    lost_found: Option<NodeId>,
    /// Which files fs-verity protects.
    verity: VerityPlans,
    /// Whether a file needs large_file.
    pub has_large_file: bool,
}

impl Content {
    /// That of a journal device, which has no inodes.
    pub(super) fn none(geometry: &Geometry) -> Self {
        Self {
            rules: DirectoryRules {
                format: BlockFormat {
                    block_size: geometry.block_size,
                    checksums: false,
                    file_types: false,
                },
                hasher: None,
                large_dir: false,
            },
            order: Vec::new(),
            first_ino: 1,
            first_value_ino: 1,
            gaps: Vec::new(),
            crtimes: Vec::new(),
            inos: Vec::new(),
            plans: Vec::new(),
            values: Vec::new(),
            directories: Vec::new(),
            extents: Vec::new(),
            tree_nodes: Vec::new(),
            map_nodes: Vec::new(),
            has_extents: false,
            has_casefold: false,
            block_size: geometry.block_size,
            lost_found: None,
            verity: VerityPlans::default(),
            has_large_file: false,
        }
    }

    /// The node that `ino` is, if it is one of the tree's.
    pub fn node_of(&self, ino: Ino) -> Option<NodeId> {
        if ino == Ino::ROOT {
            return Some(NodeId::ROOT);
        }
        if ino == Ino::FIRST {
            return self.lost_found;
        }
        let place = ino.get().checked_sub(self.first_ino)?;
        let node = self.order.get(usize::try_from(place).ok()?).copied();
        node.filter(|node| *node != NOBODY)
    }

    /// The nodes but for the root in the order of their inodes, from the `place`th on: the next, and the
    /// place behind it. lost+found comes first.
    fn below_root(&self, place: &mut usize) -> Option<NodeId> {
        loop {
            let before = usize::from(self.lost_found.is_some());
            let node = match (self.lost_found, *place) {
                (Some(lost_found), 0) => lost_found,
                (_, place) => *self.order.get(place - before)?,
            };
            *place += 1;
            if node != NOBODY {
                return Some(node);
            }
        }
    }

    /// When `node` was made, if a base says another time than that of the filesystem.
    pub fn crtime_of(&self, node: NodeId) -> Option<Timestamp> {
        let at = self.crtimes.binary_search_by_key(&node, |(node, _)| *node);
        at.ok().map(|at| self.crtimes[at].1)
    }

    /// The numbers in `inos` that no inode in use has, in ascending order.
    pub(super) fn gaps_in(&self, inos: Range<u32>) -> impl Iterator<Item = Range<u32>> + '_ {
        let first = self.gaps.partition_point(|gap| gap.end <= inos.start);
        let gaps = self.gaps[first..].iter();
        gaps.map(move |gap| gap.start.max(inos.start)..gap.end.min(inos.end))
            .take_while(|gap| !gap.is_empty())
    }

    /// The `i_flags` of `node` in the tree that this filesystem has for such a node: casefolding is of
    /// directories, and needs its feature.
    pub fn flags_of(&self, node: &Node) -> u32 {
        let flags = node.metadata.flags.bits();
        match &node.kind {
            Kind::Directory(_) if self.has_casefold => flags,
            _ => flags & !FLAG_CASEFOLD,
        }
    }

    /// What the file `node` has beside its data, if fs-verity protects it.
    pub fn verity_of(&self, node: NodeId) -> Option<&VerityPlan> {
        self.verity.of(node)
    }

    /// Whether fs-verity protects a file.
    pub fn has_verity(&self) -> bool {
        !self.verity.is_empty()
    }

    /// Every node of the tree that has an inode.
    pub(super) fn nodes(&self) -> impl Iterator<Item = NodeId> + '_ {
        let in_place = std::iter::once(NodeId::ROOT).chain(self.lost_found);
        let order = self.order.iter().copied();
        in_place.chain(order.filter(|node| *node != NOBODY))
    }

    /// The number of the attribute's value that `ino` holds, if it is such an inode.
    pub fn value_of(&self, ino: Ino) -> Option<u32> {
        let number = ino.get().checked_sub(self.first_value_ino)?;
        self.values.get(index(number)).map(|_| number)
    }

    /// The inode of the attribute's value `number`.
    pub fn ino_of_value(&self, number: u32) -> Ino {
        Ino::new(self.first_value_ino + number)
    }

    /// What was decided for the attribute's value `number`.
    pub fn plan_of_value(&self, number: u32) -> &NodePlan {
        &self.values[index(number)]
    }

    /// The inode of `node`.
    pub fn ino_of(&self, node: NodeId) -> Ino {
        self.inos[node.index()]
    }

    /// What was decided for `node`.
    pub fn plan_of(&self, node: NodeId) -> &NodePlan {
        &self.plans[node.index()]
    }

    /// All blocks that the `i_blocks` of `node` counts, whose attributes go where `xattrs` says, in
    /// whole clusters.
    pub fn all_blocks(&self, node: NodeId, xattrs: &XattrPlans, cluster_ratio: u64) -> u64 {
        let (_, of_values) = xattrs.charged(node);
        let xattr_block = match xattrs.block_of(node) {
            Some(_) => cluster_ratio,
            None => 0,
        };
        self.plan_of(node).own_blocks(cluster_ratio) + of_values + xattr_block
    }

    /// The directory `node`.
    ///
    /// # Panics
    /// Where it is none.
    pub fn directory(&self, node: NodeId) -> &Directory {
        let place = self
            .directories
            .binary_search_by_key(&node, |(id, _)| *id)
            .expect("only directories of the tree are asked for");
        &self.directories[place].1
    }

    /// The entries of the directory `node` of `tree`, the tree that was laid out.
    pub fn entries<'a>(&'a self, tree: &'a Tree, node: NodeId) -> EntriesIn<'a> {
        let entries = tree.entries(node);
        EntriesIn {
            names: if node == NodeId::ROOT && self.lost_found.is_none() {
                NamesIn::with_lost_found(entries)
            } else {
                NamesIn::new(entries)
            },
            tree,
            content: self,
        }
    }

    /// Every directory, by node.
    pub fn directories(&self) -> &[(NodeId, Directory)] {
        &self.directories
    }

    /// What says where the blocks of `node` are.
    pub fn map_of(&self, node: NodeId) -> MapOf<'_> {
        self.map(self.plan_of(node))
    }

    /// What says where the blocks of the attribute's value `number` are.
    pub fn map_of_value(&self, number: u32) -> MapOf<'_> {
        self.map(self.plan_of_value(number))
    }

    fn map(&self, plan: &NodePlan) -> MapOf<'_> {
        let extents = &self.extents[range(&plan.extents)];
        let nodes = range(&plan.map_nodes);
        if self.has_extents {
            let tree = ExtentTree::new(extents, &self.tree_nodes[nodes], self.block_size)
                .expect("as many nodes were claimed as the tree needs");
            MapOf::Extents(tree)
        } else {
            let nodes = &self.map_nodes[nodes];
            MapOf::Blocks(BlockMap::new(extents, nodes, self.block_size))
        }
    }

    /// The last inode in use.
    pub fn last_ino(&self) -> Ino {
        let nodes = u32::try_from(self.order.len()).unwrap_or(u32::MAX);
        let values = u32::try_from(self.values.len()).unwrap_or(u32::MAX);
        let last_node = self.first_ino - 1 + nodes;
        let last_value = match values {
            0 => 0,
            values => self.first_value_ino - 1 + values,
        };
        Ino::new(last_node.max(last_value))
    }
}

/// A node's extent tree or block map.
#[derive(Clone, Copy, Debug)]
pub enum MapOf<'a> {
    /// An extent tree.
    Extents(ExtentTree<'a>),
    /// A block map.
    Blocks(BlockMap<'a>),
}

impl MapOf<'_> {
    /// The inode's `i_block`.
    pub fn render_inode(&self) -> [u8; 60] {
        match self {
            Self::Extents(tree) => tree.render_inode(),
            Self::Blocks(map) => map.render_inode(),
        }
    }

    /// Renders the `number`th block outside of the inode; `inode_seed` is that of the inode, where
    /// the filesystem has checksums.
    ///
    /// # Panics
    /// Where there is no such block.
    pub fn render_node(&self, number: usize, block: &mut [u8], inode_seed: Option<u32>) {
        match self {
            Self::Extents(tree) => tree.render_block(number, block, inode_seed),
            Self::Blocks(map) => map.render_block(number, block),
        }
    }
}

impl NodePlan {
    /// How many blocks its data takes, in whole clusters.
    pub fn data_blocks(&self, cluster_ratio: u64) -> u64 {
        u64::from(self.data_clusters) * cluster_ratio
    }

    fn set_data_blocks(&mut self, blocks: u64, cluster_ratio: u64) {
        let clusters = u32::try_from(blocks / cluster_ratio);
        self.data_clusters = clusters.expect("a file has fewer than 2^32 blocks");
    }

    /// The blocks of its data and of what says where they are, in whole clusters.
    pub fn own_blocks(&self, cluster_ratio: u64) -> u64 {
        let map_nodes = u64::try_from(self.map_nodes.len()).unwrap_or(u64::MAX);
        self.data_blocks(cluster_ratio) + map_nodes * cluster_ratio
    }
}

/// How many inodes a filesystem with `tree` in it needs whose own end with `last_own`, but for
/// those of attributes' values.
pub fn inodes_needed(tree: &Tree, last_own: Ino) -> u64 {
    let own = u64::from(last_own.get());
    let in_place = 1 + u64::from(lost_found_of(tree).is_some());
    own + u64::try_from(tree.len()).unwrap_or(u64::MAX) - in_place
}

/// How many inodes a filesystem of `settings` with `tree` in it needs; one too many where it is too
/// small for an orphan file.
///
/// # Errors
/// Where an attribute cannot be stored.
pub fn inodes_needed_at_most(settings: &Settings, tree: &Tree) -> Result<u64, LayoutError> {
    let has_projects =
        settings.features.has(Feature::Quota) && settings.quota_types.has(QuotaType::Project);
    let last_own = Ino::new(Ino::FIRST.get() + 1 + u32::from(has_projects));
    let values = super::value_inodes_needed(settings, tree)?;
    Ok(inodes_needed(tree, last_own).saturating_add(values))
}

/// How many `items` there are.
fn count<T>(items: &[T]) -> u64 {
    u64::try_from(items.len()).unwrap_or(u64::MAX)
}

fn index(number: u32) -> usize {
    usize::try_from(number).expect("32 bits fit any usize")
}

fn span(first: usize, len: usize) -> Range<u32> {
    let number = |index| u32::try_from(index).expect("fewer than 2^32 extents");
    number(first)..number(first + len)
}

fn range(numbers: &Range<u32>) -> Range<usize> {
    index(numbers.start)..index(numbers.end)
}
