//! Given a tree, numbers its nodes and places their blocks; never the filesystem's own files.
//!
//! Inodes are numbered directory by directory: all entries of one in the order of their names'
//! bytes, then those of its first subdirectory, and so on. The inodes of attributes' values come
//! last. Directories, long symbolic links and attribute blocks lie first, then those values, then the
//! files' data, each in the order of inodes, so that neighbours in the tree are neighbours on disk.

use std::ops::Range;

use super::block_map::{self, BlockMap, MapNode, Reach};
use super::casefold;
use super::directory::{DirectoryPlan, DirectoryRules, Entries, Names, Shape};
use super::extents::{Extent, ExtentTree, cut};
use super::quota::{LEAST_QUOTA_FILE, Owners, QuotaShape};
use super::system::{LARGE_FILE, lost_found_blocks, made_lost_found_blocks};
use super::xattrs::{self, XattrPlans};
use super::{LayoutError, LayoutWarning, Ledger, Owner, logical};
use crate::feature::Feature;
use crate::geometry::Geometry;
use crate::ondisk::dir::{BlockFormat, FileType};
use crate::ondisk::dirhash::{DirHasher, HashVersion, Signedness};
use crate::ondisk::inode::{FLAG_CASEFOLD, GOOD_OLD_SIZE, TIME_MAX, TIME_MAX_32, TIME_MIN};
use crate::options::{QuotaType, Settings};
use crate::tree::{self, Kind, Metadata, Node, NodeId, Tree};
use crate::units::{Block, BlockSize, Ino, LogicalBlock, Run};

/// `EXT4_LINK_MAX`: the most names an inode counts.
pub(super) const LINK_MAX: u32 = 65_000;
/// The name of the directory that fsck puts lost files into.
const LOST_FOUND: &[u8] = b"lost+found";
/// Bytes of `i_block`: a shorter target is stored there.
const INLINE_TARGET: usize = 60;
/// The largest numbers of a device that the format stores.
const DEVICE_MAX: (u32, u32) = (0xfff, 0xf_ffff);

/// What was decided for one node.
#[derive(Clone, Debug, Default)]
pub struct NodePlan {
    extents: Range<u32>,
    map_nodes: Range<u32>,
    /// How many blocks its data takes, in whole clusters.
    pub data_blocks: u64,
    /// Its attribute block, by number.
    pub xattr_block: Option<u32>,
    /// The blocks of its attributes' values that have inodes of their own.
    pub value_blocks: u64,
    /// `i_links_count`.
    pub links: u16,
    /// `i_flags` of the tree, those that this filesystem has for such a node.
    pub flags: u32,
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
    /// The nodes in the order of their inodes, from `first_ino` on.
    order: Vec<NodeId>,
    first_ino: u32,
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
    block_size: BlockSize,
    lost_found: Option<NodeId>,
    /// Whether a file needs large_file.
    pub has_large_file: bool,
}

impl Content {
    /// The node that `ino` is, if it is one of the tree's.
    pub fn node_of(&self, ino: Ino) -> Option<NodeId> {
        if ino == Ino::ROOT {
            return Some(NodeId::ROOT);
        }
        if ino == Ino::FIRST {
            return self.lost_found;
        }
        let place = ino.get().checked_sub(self.first_ino)?;
        self.order.get(usize::try_from(place).ok()?).copied()
    }

    /// Every node of the tree that has an inode.
    pub(super) fn nodes(&self) -> impl Iterator<Item = NodeId> + '_ {
        let in_place = std::iter::once(NodeId::ROOT).chain(self.lost_found);
        in_place.chain(self.order.iter().copied())
    }

    /// The number of the attribute's value that `ino` holds, if it is such an inode.
    pub fn value_of(&self, ino: Ino) -> Option<u32> {
        let number = ino.get().checked_sub(self.first_value_ino())?;
        self.values.get(index(number)).map(|_| number)
    }

    /// The inode of the attribute's value `number`.
    pub fn ino_of_value(&self, number: u32) -> Ino {
        Ino::new(self.first_value_ino() + number)
    }

    fn first_value_ino(&self) -> u32 {
        let count = u32::try_from(self.order.len()).unwrap_or(u32::MAX);
        self.first_ino + count
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
            names: match node == NodeId::ROOT && self.lost_found.is_none() {
                true => NamesIn::with_lost_found(entries),
                false => NamesIn::new(entries),
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
        let values = u32::try_from(self.values.len()).unwrap_or(u32::MAX);
        Ino::new(self.first_value_ino() - 1 + values)
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
    /// All blocks the node's `i_blocks` counts, in whole clusters.
    pub fn all_blocks(&self, cluster_ratio: u64) -> u64 {
        let map_nodes = u64::try_from(self.map_nodes.len()).unwrap_or(u64::MAX);
        let single = map_nodes + u64::from(self.xattr_block.is_some());
        self.data_blocks + self.value_blocks + single * cluster_ratio
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

/// How a filesystem of these settings keeps its directories.
fn directory_rules(settings: &Settings, geometry: &Geometry) -> DirectoryRules {
    let hasher = DirHasher::new(HashVersion::HalfMd4, Signedness::Signed, settings.hash_seed);
    DirectoryRules {
        format: BlockFormat {
            block_size: geometry.block_size,
            checksums: geometry.features.has(Feature::MetadataCsum),
            file_types: geometry.features.has(Feature::Filetype),
        },
        hasher: geometry.features.has(Feature::DirIndex).then_some(hasher),
        large_dir: geometry.features.has(Feature::LargeDir),
    }
}

/// A directory's names in the order of their bytes; the root has lost+found among them, which mke2fs
/// makes, where the tree has none.
#[derive(Clone, Copy, Debug)]
struct NamesIn<'a> {
    entries: &'a [tree::Entry],
    /// Where the lost+found stands that the tree does not have.
    lost_found: Option<usize>,
}

impl<'a> NamesIn<'a> {
    fn new(entries: &'a [tree::Entry]) -> Self {
        Self {
            entries,
            lost_found: None,
        }
    }

    fn with_lost_found(entries: &'a [tree::Entry]) -> Self {
        let place = entries.partition_point(|entry| &*entry.name < LOST_FOUND);
        Self {
            entries,
            lost_found: Some(place),
        }
    }

    /// The entry at `index`, or `None` for the lost+found that the tree does not have.
    fn entry(&self, index: usize) -> Option<&'a tree::Entry> {
        match self.lost_found {
            Some(place) if index == place => None,
            Some(place) if index > place => Some(&self.entries[index - 1]),
            _ => Some(&self.entries[index]),
        }
    }
}

impl Names for NamesIn<'_> {
    fn count(&self) -> usize {
        self.entries.len() + usize::from(self.lost_found.is_some())
    }

    fn name(&self, index: usize) -> &[u8] {
        self.entry(index).map_or(LOST_FOUND, |entry| &entry.name)
    }
}

/// A directory's entries with the inodes they lead to.
#[derive(Clone, Copy, Debug)]
pub struct EntriesIn<'a> {
    names: NamesIn<'a>,
    tree: &'a Tree,
    content: &'a Content,
}

impl Names for EntriesIn<'_> {
    fn count(&self) -> usize {
        self.names.count()
    }

    fn name(&self, index: usize) -> &[u8] {
        self.names.name(index)
    }
}

impl Entries for EntriesIn<'_> {
    fn file_type(&self, index: usize) -> FileType {
        self.names
            .entry(index)
            .map_or(FileType::Directory, |entry| {
                file_type(&self.tree.node(entry.node).kind)
            })
    }

    fn ino(&self, index: usize) -> Ino {
        self.names
            .entry(index)
            .map_or(Ino::FIRST, |entry| self.content.ino_of(entry.node))
    }
}

/// The entries of a directory that has none.
#[derive(Clone, Copy, Debug)]
pub struct NoEntries;

impl Names for NoEntries {
    fn count(&self) -> usize {
        0
    }

    fn name(&self, _index: usize) -> &[u8] {
        &[]
    }
}

impl Entries for NoEntries {
    fn file_type(&self, _index: usize) -> FileType {
        FileType::Directory
    }

    fn ino(&self, _index: usize) -> Ino {
        Ino::default()
    }
}

fn file_type(kind: &Kind) -> FileType {
    match kind {
        Kind::Directory(_) => FileType::Directory,
        Kind::File(_) => FileType::Regular,
        Kind::Symlink(_) => FileType::Symlink,
        Kind::CharDevice(_) => FileType::CharDevice,
        Kind::BlockDevice(_) => FileType::BlockDevice,
        Kind::Fifo => FileType::Fifo,
        Kind::Socket => FileType::Socket,
    }
}

pub(super) fn lost_found_of(tree: &Tree) -> Option<NodeId> {
    let entries = tree.entries(NodeId::ROOT);
    let place = entries
        .binary_search_by(|entry| (*entry.name).cmp(LOST_FOUND))
        .ok()?;
    Some(entries[place].node)
}

/// A directory on the way through the tree.
struct FoundDirectory {
    id: NodeId,
    parent: NodeId,
    /// How many of its entries are directories.
    subdirectories: u32,
}

/// Nodes whose times an inode cannot hold.
struct LostTimes {
    /// The last second that an inode holds.
    last: i64,
    keeps_nanoseconds: bool,
    out_of_range: (u64, Option<NodeId>),
    with_nanoseconds: (u64, Option<NodeId>),
}

impl LostTimes {
    fn new(geometry: &Geometry) -> Self {
        let is_small = usize::from(geometry.inode_size) == GOOD_OLD_SIZE;
        Self {
            last: if is_small { TIME_MAX_32 } else { TIME_MAX },
            keeps_nanoseconds: !is_small,
            out_of_range: (0, None),
            with_nanoseconds: (0, None),
        }
    }

    fn note(&mut self, id: NodeId, metadata: &Metadata) {
        let times = [metadata.atime, metadata.mtime, metadata.ctime];
        let held = TIME_MIN..=self.last;
        let add = |(nodes, first): &mut (u64, Option<NodeId>)| {
            *nodes += 1;
            first.get_or_insert(id);
        };
        if times.iter().any(|time| !held.contains(&time.seconds)) {
            add(&mut self.out_of_range);
        }
        if !self.keeps_nanoseconds && times.iter().any(|time| time.nanoseconds > 0) {
            add(&mut self.with_nanoseconds);
        }
    }

    fn warn(&self, tree: &Tree, warnings: &mut Vec<LayoutWarning>) {
        if let (nodes, Some(first)) = self.out_of_range {
            let first = tree.path(first);
            warnings.push(LayoutWarning::TimesClamped { nodes, first });
        }
        if let (nodes, Some(first)) = self.with_nanoseconds {
            let first = tree.path(first);
            warnings.push(LayoutWarning::NanosecondsDropped { nodes, first });
        }
    }
}

/// The tree with its inodes numbered and its directories planned, before any block is claimed.
pub(super) struct Draft<'a> {
    geometry: &'a Geometry,
    tree: &'a Tree,
    content: Content,
    xattrs: XattrPlans,
}

impl<'a> Draft<'a> {
    pub(super) fn new(
        settings: &Settings,
        geometry: &'a Geometry,
        tree: &'a Tree,
        warnings: &mut Vec<LayoutWarning>,
    ) -> Result<Self, LayoutError> {
        let last_own = geometry.last_own_ino();
        let in_tree = inodes_needed(tree, last_own);
        let first_value_ino = u32::try_from(in_tree + 1).unwrap_or(u32::MAX);
        let xattrs = xattrs::plan(settings, tree, first_value_ino)?;
        let needed = in_tree.saturating_add(count(xattrs.values()));
        if needed > u64::from(geometry.inodes_count) {
            return Err(LayoutError::TooFewInodes {
                needed,
                inodes: geometry.inodes_count,
            });
        }
        let lost_found = lost_found_of(tree);
        if lost_found.is_some_and(|node| !matches!(tree.node(node).kind, Kind::Directory(_))) {
            return Err(LayoutError::LostFoundNotADirectory);
        }
        let mut draft = Self {
            geometry,
            tree,
            content: Content {
                rules: directory_rules(settings, geometry),
                order: Vec::with_capacity(tree.len()),
                first_ino: last_own.get() + 1,
                inos: vec![Ino::default(); tree.len()],
                plans: vec![NodePlan::default(); tree.len()],
                values: vec![NodePlan::default(); xattrs.values().len()],
                directories: Vec::new(),
                extents: Vec::new(),
                tree_nodes: Vec::new(),
                map_nodes: Vec::new(),
                has_extents: geometry.features.has(Feature::Extent),
                block_size: geometry.block_size,
                lost_found,
                has_large_file: false,
            },
            xattrs,
        };
        let found = draft.number();
        draft.keep_flags(warnings);
        draft.plan_directories(&found, settings.encoding_flags, warnings)?;
        draft.check_nodes(warnings)?;
        Ok(draft)
    }

    /// Whether the tree has a lost+found of its own.
    pub(super) fn has_lost_found(&self) -> bool {
        self.content.lost_found.is_some()
    }

    /// Whether the tree has more than its root.
    pub(super) fn has_content(&self) -> bool {
        !self.tree.is_empty()
    }

    /// Whom each inode belongs to that is not the filesystem's own.
    pub(super) fn owners(&self) -> impl Iterator<Item = Owners> + '_ {
        let made = (!self.has_lost_found()).then(Owners::default);
        let nodes = self.content.nodes();
        nodes
            .map(|node| Owners::of(&self.tree.node(node).metadata))
            .chain(made)
    }

    /// The root directory's blocks.
    pub(super) fn root_blocks(&self) -> u64 {
        u64::from(self.content.directory(NodeId::ROOT).plan.blocks())
    }

    /// Gives every node its inode's number, and hands back the directories in their own order.
    fn number(&mut self) -> Vec<FoundDirectory> {
        let tree = self.tree;
        let content = &mut self.content;
        content.inos[NodeId::ROOT.index()] = Ino::ROOT;
        if let Some(node) = content.lost_found {
            content.inos[node.index()] = Ino::FIRST;
        }
        let mut found = Vec::new();
        let mut waiting = vec![(NodeId::ROOT, NodeId::ROOT)];
        while let Some((id, parent)) = waiting.pop() {
            let already_waiting = waiting.len();
            for entry in tree.entries(id) {
                let ino = &mut content.inos[entry.node.index()];
                if ino.get() == 0 {
                    let place = u32::try_from(content.order.len()).unwrap_or(u32::MAX);
                    *ino = Ino::new(content.first_ino + place);
                    content.order.push(entry.node);
                }
                if matches!(tree.node(entry.node).kind, Kind::Directory(_)) {
                    waiting.push((entry.node, id));
                }
            }
            let below = &mut waiting[already_waiting..];
            below.reverse();
            found.push(FoundDirectory {
                id,
                parent,
                subdirectories: u32::try_from(below.len()).unwrap_or(u32::MAX),
            });
        }
        found.sort_unstable_by_key(|directory| directory.id);
        found
    }

    /// Decides which flags nodes keep: casefolding is of directories, and needs its feature.
    fn keep_flags(&mut self, warnings: &mut Vec<LayoutWarning>) {
        let has_casefold = self.geometry.features.has(Feature::Casefold);
        let mut dropped = None;
        for (id, node) in self.tree.nodes() {
            let flags = node.metadata.flags;
            let is_directory = matches!(node.kind, Kind::Directory(_));
            let keeps = has_casefold && is_directory;
            let kept = if keeps { flags } else { flags & !FLAG_CASEFOLD };
            self.content.plans[id.index()].flags = kept;
            if is_directory && kept != flags {
                let (_, nodes) = dropped.get_or_insert((id, 0));
                *nodes += 1;
            }
        }
        if let Some((first, nodes)) = dropped {
            let first = self.tree.path(first);
            warnings.push(LayoutWarning::CasefoldDropped { nodes, first });
        }
    }

    fn plan_directories(
        &mut self,
        found: &[FoundDirectory],
        encoding_flags: u16,
        warnings: &mut Vec<LayoutWarning>,
    ) -> Result<(), LayoutError> {
        for directory in found {
            let id = directory.id;
            let plan = self.plan_directory(id, encoding_flags)?;
            if plan.shape() == Shape::Overgrown {
                warnings.push(LayoutWarning::LinearDirectory(self.tree.path(id)));
            }
            self.content.plans[id.index()].links = self.directory_links(directory)?;
            let parent = directory.parent;
            self.content
                .directories
                .push((id, Directory { parent, plan }));
        }
        Ok(())
    }

    fn plan_directory(
        &self,
        id: NodeId,
        encoding_flags: u16,
    ) -> Result<DirectoryPlan, LayoutError> {
        let entries = self.tree.entries(id);
        let names = match self.lists_lost_found(id) {
            true => NamesIn::with_lost_found(entries),
            false => NamesIn::new(entries),
        };
        let mut rules = self.content.rules;
        if self.content.plan_of(id).flags & FLAG_CASEFOLD != 0 {
            rules.hasher = rules.hasher.map(DirHasher::folding);
            casefold::check(&names, encoding_flags).map_err(|fault| {
                let path = self.tree.path(id);
                LayoutError::Casefold { path, fault }
            })?;
        }
        if self.xattrs.is_inline(id) {
            return Ok(DirectoryPlan::inline());
        }
        if Some(id) == self.content.lost_found && entries.is_empty() {
            let blocks = lost_found_blocks(self.geometry.block_size.bytes());
            return Ok(DirectoryPlan::empty(u32::try_from(blocks).unwrap_or(2)));
        }
        DirectoryPlan::new(&names, &rules).map_err(|fault| {
            let path = self.tree.path(id);
            LayoutError::DirectoryTooLarge { path, fault }
        })
    }

    /// Whether the directory `id` lists the lost+found that the tree does not have.
    fn lists_lost_found(&self, id: NodeId) -> bool {
        id == NodeId::ROOT && self.content.lost_found.is_none()
    }

    /// Refuses what the format cannot hold, counts links and blocks, and warns of times that are
    /// lost.
    fn check_nodes(&mut self, warnings: &mut Vec<LayoutWarning>) -> Result<(), LayoutError> {
        let (block_size, ratio) = (self.geometry.block_size, self.geometry.cluster_ratio());
        let mut times = LostTimes::new(self.geometry);
        for (id, node) in self.tree.nodes() {
            if id != NodeId::ROOT {
                times.note(id, &node.metadata);
            }
            match &node.kind {
                Kind::File(file) => self.check_size(id, file.size_bytes)?,
                Kind::Symlink(target) => self.check_target(id, target.len())?,
                Kind::CharDevice(device) | Kind::BlockDevice(device) => {
                    if device.major > DEVICE_MAX.0 || device.minor > DEVICE_MAX.1 {
                        return Err(LayoutError::Device {
                            path: self.tree.path(id),
                            major: device.major,
                            minor: device.minor,
                        });
                    }
                }
                Kind::Directory(_) => continue,
                Kind::Fifo | Kind::Socket => {}
            }
            let links = self.links(id, node.names)?;
            let plan = &mut self.content.plans[id.index()];
            plan.links = links;
            if !self.xattrs.is_inline(id) {
                plan.data_blocks = data_blocks(node, block_size, ratio);
            }
        }
        times.warn(self.tree, warnings);
        Ok(())
    }

    fn links(&self, id: NodeId, links: u32) -> Result<u16, LayoutError> {
        let fitting = u16::try_from(links).ok();
        fitting
            .filter(|_| links <= LINK_MAX)
            .ok_or_else(|| LayoutError::TooManyLinks {
                path: self.tree.path(id),
                links: u64::from(links),
            })
    }

    /// A directory's links: its own two and one from each subdirectory; with dir_nlink, 1 where
    /// those are too many to count.
    fn directory_links(&self, directory: &FoundDirectory) -> Result<u16, LayoutError> {
        let id = directory.id;
        let made = u32::from(self.lists_lost_found(id));
        let links = directory.subdirectories.saturating_add(2 + made);
        if links >= LINK_MAX && self.geometry.features.has(Feature::DirNlink) {
            return Ok(1);
        }
        self.links(id, links)
    }

    fn check_size(&mut self, id: NodeId, size: u64) -> Result<(), LayoutError> {
        let block_size = self.geometry.block_size;
        let mut blocks = u64::from(u32::MAX);
        if !self.content.has_extents {
            blocks = blocks.min(Reach::new(block_size).most_blocks());
        }
        let most = blocks * block_size.bytes_u64();
        if size > most {
            return Err(LayoutError::FileTooBig {
                path: self.tree.path(id),
                size,
                most,
            });
        }
        self.content.has_large_file |= size >= LARGE_FILE;
        Ok(())
    }

    fn check_target(&self, id: NodeId, length: usize) -> Result<(), LayoutError> {
        // The kernel wants a NUL behind the target in its block.
        let most = self.geometry.block_size.bytes() - 1;
        if u32::try_from(length).is_ok_and(|length| length <= most) {
            return Ok(());
        }
        Err(LayoutError::SymlinkTooLong {
            path: self.tree.path(id),
            length: u64::try_from(length).unwrap_or(u64::MAX),
            most,
        })
    }

    /// Claims every block of the tree; the root directory's are those in `root`.
    pub(super) fn claim(
        self,
        root: &[Run],
        ledger: &mut Ledger,
    ) -> Result<(Content, XattrPlans), LayoutError> {
        let free = ledger.total_free();
        let needed = self.blocks_needed();
        let too_big = |needed| LayoutError::ContentTooBig {
            needed,
            free,
            block_size: self.geometry.block_size.bytes(),
        };
        if needed > free {
            return Err(too_big(needed));
        }
        let placer = Placer {
            tree: self.tree,
            block_size: self.geometry.block_size,
            ledger,
            content: self.content,
            xattrs: self.xattrs,
            cluster_ratio: self.geometry.cluster_ratio(),
            cursor: Block::default(),
            longest_gap: u64::MAX,
            parts: Vec::new(),
        };
        placer.place(root).map_err(|error| match error {
            // Extent trees are the only blocks not counted before: all that was free is full.
            LayoutError::NoRoom { blocks, .. } => too_big(free + blocks),
            other => other,
        })
    }

    /// The blocks of the quota files, but for their maps.
    fn quota_blocks(&self) -> Result<u64, LayoutError> {
        let geometry = self.geometry;
        let mut blocks = 0;
        for quota_type in geometry.quota_types.iter() {
            let shape = QuotaShape::of(quota_type, self)
                .map_err(|owners| LayoutError::TooManyOwners { owners })?;
            let own = shape.blocks_in(geometry.block_size);
            blocks += own.next_multiple_of(geometry.cluster_ratio());
        }
        Ok(blocks)
    }

    /// The blocks the content needs, but for the nodes of extent trees, whose number depends on
    /// how files are split.
    fn blocks_needed(&self) -> u64 {
        let block_size = self.geometry.block_size;
        let ratio = self.geometry.cluster_ratio();
        let with_map = |blocks: u64, ranges: &mut dyn Iterator<Item = Range<u64>>| {
            if self.content.has_extents {
                blocks
            } else {
                blocks + block_map::nodes_needed(block_size, ranges)
            }
        };
        let directories = self.content.directories.iter();
        let directories: u64 = directories
            .map(|(id, directory)| {
                let blocks = u64::from(directory.plan.blocks());
                let whole = blocks.next_multiple_of(ratio);
                let all = with_map(whole, &mut std::iter::once(0..blocks));
                // The root's own blocks are claimed before.
                all - if *id == NodeId::ROOT { whole } else { 0 }
            })
            .sum();
        let plans = self.content.plans.iter();
        let rest: u64 = plans.map(|plan| plan.data_blocks).sum();
        let maps: u64 = match self.content.has_extents {
            true => 0,
            false => self.file_map_nodes(),
        };
        let values: u64 = self
            .xattrs
            .values()
            .iter()
            .map(|value| {
                let blocks = block_size.blocks_for(count(&value.bytes));
                with_map(
                    blocks.next_multiple_of(ratio),
                    &mut std::iter::once(0..blocks),
                )
            })
            .sum();
        directories + rest + maps + values + self.xattrs.blocks_needed() * ratio
    }

    /// The nodes of all files' block maps.
    fn file_map_nodes(&self) -> u64 {
        let block_size = self.geometry.block_size;
        self.tree
            .nodes()
            .filter(|(id, _)| !self.xattrs.is_inline(*id))
            .map(|(_, node)| match &node.kind {
                Kind::File(file) => {
                    block_map::nodes_needed(block_size, &mut block_ranges(file, block_size))
                }
                _ => 0,
            })
            .sum()
    }
}

/// What a tree needs of a filesystem, before it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demand {
    /// The blocks of directories, files, long symbolic links and attributes; those of extent trees
    /// depend on how files are split.
    pub blocks: u64,
    /// Those among them that a filesystem without content has as well.
    pub made_blocks: u64,
}

impl Demand {
    /// The demand of `tree` in a filesystem of `geometry`, whose size does not matter.
    ///
    /// # Errors
    /// Where a filesystem of this kind cannot hold it at any size.
    pub fn of(settings: &Settings, geometry: &Geometry, tree: &Tree) -> Result<Self, LayoutError> {
        let draft = Draft::new(settings, geometry, tree, &mut Vec::new())?;
        let ratio = geometry.cluster_ratio();
        let made_lost_found = if draft.has_lost_found() {
            made_lost_found_blocks(geometry)
        } else {
            0
        };
        // An empty filesystem is all root's, in the least file there can be.
        let made_quota = geometry.quota_types.iter().count();
        let least = geometry.block_size.blocks_for(LEAST_QUOTA_FILE);
        let made_quota = u64::try_from(made_quota).unwrap_or(0) * least.next_multiple_of(ratio);
        Ok(Self {
            blocks: draft.root_blocks().next_multiple_of(ratio)
                + draft.blocks_needed()
                + draft.quota_blocks()?,
            made_blocks: ratio + made_lost_found.next_multiple_of(ratio) + made_quota,
        })
    }
}

/// The blocks of a file's data or of a long symbolic link, in whole clusters.
fn data_blocks(node: &Node, block_size: BlockSize, cluster_ratio: u64) -> u64 {
    match &node.kind {
        Kind::File(file) => {
            let mut counted = 0;
            let mut blocks = 0;
            for range in block_ranges(file, block_size) {
                let start = (range.start - range.start % cluster_ratio).max(counted);
                counted = range.end.next_multiple_of(cluster_ratio);
                blocks += counted - start;
            }
            blocks
        }
        Kind::Symlink(target) if target.len() >= INLINE_TARGET => cluster_ratio,
        _ => 0,
    }
}

/// The logical blocks that hold a file's data, in ascending order, those that touch joined.
fn block_ranges(
    file: &tree::Content,
    block_size: BlockSize,
) -> impl Iterator<Item = Range<u64>> + '_ {
    let bytes = block_size.bytes_u64();
    let mut ranges = file
        .data_ranges()
        .map(move |range| range.start / bytes..range.end.div_ceil(bytes))
        .peekable();
    std::iter::from_fn(move || {
        let mut joined = ranges.next()?;
        while let Some(next) = ranges.next_if(|next| next.start <= joined.end) {
            joined.end = next.end;
        }
        Some(joined)
    })
}

/// Whose blocks are placed.
#[derive(Clone, Copy)]
enum Holder {
    /// A node of the tree.
    Node(NodeId),
    /// An attribute's value, by its number.
    Value(u32),
}

impl Holder {
    /// The owner of its blocks from `at` on.
    fn data(self, tree: &Tree, at: LogicalBlock) -> Owner {
        match self {
            Self::Value(number) => Owner::Value(number, at),
            Self::Node(id) => match tree.node(id).kind {
                Kind::Directory(_) => Owner::Directory(id, at),
                Kind::Symlink(_) => Owner::Symlink(id),
                _ => Owner::File(id, at),
            },
        }
    }

    /// The owner of a node of its extent tree or block map.
    fn map_node(self, number: u32) -> Owner {
        match self {
            Self::Node(id) => Owner::MapNode(id, number),
            Self::Value(value) => Owner::ValueMapNode(value, number),
        }
    }
}

struct Placer<'a> {
    tree: &'a Tree,
    block_size: BlockSize,
    ledger: &'a mut Ledger,
    content: Content,
    xattrs: XattrPlans,
    cluster_ratio: u64,
    /// Where the next free block is sought.
    cursor: Block,
    /// No gap is longer, in blocks.
    longest_gap: u64,
    /// Room for the parts of one file, kept from file to file.
    parts: Vec<Range<u64>>,
}

impl Placer<'_> {
    fn place(mut self, root: &[Run]) -> Result<(Content, XattrPlans), LayoutError> {
        self.place_root(root)?;
        let lost_found = self.content.lost_found;
        let nodes: Vec<NodeId> = lost_found
            .into_iter()
            .chain(self.content.order.iter().copied())
            .collect();
        self.place_xattrs(NodeId::ROOT)?;
        for id in &nodes {
            match &self.tree.node(*id).kind {
                Kind::Directory(_) => {
                    let blocks = u64::from(self.content.directory(*id).plan.blocks());
                    let whole = blocks.next_multiple_of(self.cluster_ratio);
                    let ranges = std::iter::once(0..blocks);
                    self.place_data(Holder::Node(*id), whole, ranges)?;
                }
                Kind::Symlink(target) if target.len() >= INLINE_TARGET => {
                    let ranges = std::iter::once(0..1);
                    self.place_data(Holder::Node(*id), self.cluster_ratio, ranges)?;
                }
                _ => {}
            }
            self.place_xattrs(*id)?;
        }
        self.place_values()?;
        for id in &nodes {
            let node = self.tree.node(*id);
            if let Kind::File(file) = &node.kind
                && !self.xattrs.is_inline(*id)
            {
                let blocks = self.content.plan_of(*id).data_blocks;
                let ranges = block_ranges(file, self.block_size);
                self.place_data(Holder::Node(*id), blocks, ranges)?;
            }
        }
        Ok((self.content, self.xattrs))
    }

    /// The root directory's blocks are claimed already.
    fn place_root(&mut self, root: &[Run]) -> Result<(), LayoutError> {
        let root_node = Holder::Node(NodeId::ROOT);
        let (first, first_node) = self.marks();
        let mut growing = block_map::Growing::new(self.block_size);
        let mut blocks = 0;
        for run in root {
            let end = blocks + run.len;
            self.content.extents.extend(cut(logical(blocks), *run));
            while blocks < end {
                let most = self.make_room(root_node, blocks, first_node, &mut growing)?;
                blocks = end.min(blocks.saturating_add(most));
            }
        }
        let whole = blocks.next_multiple_of(self.cluster_ratio);
        self.finish_node(root_node, (first, first_node), whole)
    }

    fn place_xattrs(&mut self, id: NodeId) -> Result<(), LayoutError> {
        let number = self.xattrs.share(id, self.cursor, self.ledger)?;
        let (_, value_blocks) = self.xattrs.charged(id);
        let plan = &mut self.content.plans[id.index()];
        plan.xattr_block = number;
        plan.value_blocks = value_blocks;
        Ok(())
    }

    /// The values of attributes that have inodes of their own.
    fn place_values(&mut self) -> Result<(), LayoutError> {
        for number in 0..self.content.values.len() {
            let bytes = count(&self.xattrs.values()[number].bytes);
            let blocks = self.block_size.blocks_for(bytes);
            let whole = blocks.next_multiple_of(self.cluster_ratio);
            let holder = Holder::Value(u32::try_from(number).unwrap_or(u32::MAX));
            self.place_data(holder, whole, std::iter::once(0..blocks))?;
            self.content.values[number].links = 1;
        }
        Ok(())
    }

    fn place_data(
        &mut self,
        holder: Holder,
        total: u64,
        ranges: impl Iterator<Item = Range<u64>>,
    ) -> Result<(), LayoutError> {
        let (first, first_node) = self.marks();
        let mut growing = block_map::Growing::new(self.block_size);
        if total > 0 {
            self.seek_gap(total);
        }
        let mut ranges = ranges.peekable();
        while let Some(range) = ranges.next() {
            let end = range.end.next_multiple_of(self.cluster_ratio);
            let mut parts = std::mem::take(&mut self.parts);
            parts.clear();
            parts.push(range);
            // Parts of one cluster share it.
            while let Some(next) = ranges.next_if(|next| next.start < end) {
                parts.push(next);
            }
            self.place_parts(holder, &parts, (first_node, &mut growing))?;
            self.parts = parts;
        }
        self.finish_node(holder, (first, first_node), total)
    }

    /// Places ranges of logical blocks that lie in neighbouring clusters.
    fn place_parts(
        &mut self,
        holder: Holder,
        parts: &[Range<u64>],
        map: (usize, &mut block_map::Growing),
    ) -> Result<(), LayoutError> {
        let (Some(first), Some(last)) = (parts.first(), parts.last()) else {
            return Ok(());
        };
        let (first_node, growing) = map;
        let mut at = first.start - first.start % self.cluster_ratio;
        let end = last.end.next_multiple_of(self.cluster_ratio);
        while at < end {
            let most = self.make_room(holder, at, first_node, growing)?;
            let run = self.next_run(most.min(end - at), holder.data(self.tree, logical(at)))?;
            let mut claimed = at;
            for part in parts {
                let from = part.start.max(at);
                let to = part.end.min(at + run.len);
                if from >= to {
                    continue;
                }
                let place = |logical: u64| run.start.plus(logical - at);
                if claimed < from {
                    let slack = Run::new(place(claimed), from - claimed);
                    self.ledger.claim(slack, Owner::ClusterSlack)?;
                }
                let part = Run::new(place(from), to - from);
                self.ledger
                    .claim(part, holder.data(self.tree, logical(from)))?;
                self.content.extents.extend(cut(logical(from), part));
                claimed = to;
            }
            self.ledger
                .claim_rest_of_cluster(run.start.plus(claimed - at))?;
            self.cursor = run.end();
            at += run.len;
        }
        Ok(())
    }

    /// Where the next node's extents and map nodes begin.
    fn marks(&self) -> (usize, usize) {
        let nodes = if self.content.has_extents {
            self.content.tree_nodes.len()
        } else {
            self.content.map_nodes.len()
        };
        (self.content.extents.len(), nodes)
    }

    /// Claims the nodes of a block map that lead to block `at` of `holder`, and gives how many blocks
    /// from there on they name. They lie right before the data they name; an extent tree has its
    /// nodes behind the data.
    fn make_room(
        &mut self,
        holder: Holder,
        at: u64,
        first_node: usize,
        growing: &mut block_map::Growing,
    ) -> Result<u64, LayoutError> {
        if self.content.has_extents {
            return Ok(u64::MAX);
        }
        let mut nodes = std::mem::take(&mut self.content.map_nodes);
        let mut failure = None;
        let most = growing.ensure(at, &mut nodes, |number| {
            let number = u32::try_from(number - first_node).unwrap_or(u32::MAX);
            match self.claim_next(holder.map_node(number)) {
                Ok(run) => Some(run.start),
                Err(error) => {
                    failure = Some(error);
                    None
                }
            }
        });
        self.content.map_nodes = nodes;
        match failure {
            Some(error) => Err(error),
            None => Ok(most.unwrap_or(u64::MAX)),
        }
    }

    /// Moves on to the next gap that holds `blocks` blocks, round the end if need be: what is left
    /// behind is filled then. Only a file larger than all gaps is split.
    fn seek_gap(&mut self, blocks: u64) {
        // Gaps only shrink: what no gap held, none will.
        if blocks > self.longest_gap {
            return;
        }
        match self.ledger.find(self.cursor, self.cursor, blocks) {
            Some(start) => self.cursor = start,
            None => self.longest_gap = blocks - 1,
        }
    }

    /// The next free blocks, at most `most` of them, for `owner`.
    fn next_run(&self, most: u64, owner: Owner) -> Result<Run, LayoutError> {
        let start = self
            .ledger
            .free_near(self.cursor)
            .ok_or(LayoutError::no_room(owner, most))?;
        Ok(self.ledger.free_run(start, most))
    }

    /// Claims the next free block, and with it its cluster.
    fn claim_next(&mut self, owner: Owner) -> Result<Run, LayoutError> {
        let run = self.next_run(1, owner)?;
        self.ledger.claim_clusters(run, owner)?;
        self.cursor = run.end();
        Ok(run)
    }

    /// Claims the blocks of the node's extent tree, if its extents need any. `marks` are those from
    /// before the node was placed.
    fn finish_node(
        &mut self,
        holder: Holder,
        marks: (usize, usize),
        blocks: u64,
    ) -> Result<(), LayoutError> {
        let (first, first_node) = marks;
        let extents = self.content.extents.len() - first;
        if self.content.has_extents {
            for number in 0..ExtentTree::blocks_needed(extents, self.block_size) {
                let number = u32::try_from(number).unwrap_or(u32::MAX);
                let run = self.claim_next(holder.map_node(number))?;
                self.content.tree_nodes.push(run.start);
            }
        }
        let (_, next_node) = self.marks();
        let plan = match holder {
            Holder::Node(id) => &mut self.content.plans[id.index()],
            Holder::Value(number) => &mut self.content.values[index(number)],
        };
        plan.extents = span(first, extents);
        plan.map_nodes = span(first_node, next_node - first_node);
        plan.data_blocks = blocks;
        Ok(())
    }
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
