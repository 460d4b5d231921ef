//! Given a tree, numbers its nodes and plans its directories; never a block's place.

use super::names::NamesIn;
use super::numbering::{Numbering, Numbers};
use super::placer::{FileData, Placer, block_ranges, data_blocks};
use super::{Content, Directory, NodePlan, count, index, inodes_needed, span};
use std::ops::Range;

use crate::base::{Base, BaseInode};
use crate::feature::Feature;
use crate::geometry::Geometry;
use crate::layout::block_map::{self, Reach};
use crate::layout::data_allocator::{DataAllocator, DataDemand, placed_pieces};
use crate::layout::directory::{DirectoryPlan, DirectoryRules, Shape};
use crate::layout::extents::{ExtentTree, cut};
use crate::layout::kept::{numbered, within};
use crate::layout::lost_found::{lost_found_blocks, lost_found_of, made_lost_found_blocks};
use crate::layout::matched::Matched;
use crate::layout::quota::{OwnerIds, QuotaShape};
use crate::layout::verity::VerityPlans;
use crate::layout::xattrs::{self, XattrPlans};
use crate::layout::{LARGE_FILE, LayoutError, LayoutWarning, Ledger, Owner, casefold};
use crate::ondisk::dir::BlockFormat;
use crate::ondisk::dirhash::{DirHasher, HashVersion, Signedness};
use crate::ondisk::inode::{
    FLAG_CASEFOLD, GOOD_OLD_SIZE, LINK_MAX, TIME_MAX, TIME_MAX_32, TIME_MIN,
};
use crate::options::{QuotaType, Settings};
use crate::tree::{self, Kind, Metadata, NodeId, Tree};
use crate::units::{Block, Ino, LogicalBlock, Run, Timestamp};

/// The largest numbers of a device that the format stores.
const DEVICE_MAX: (u32, u32) = (0xfff, 0xf_ffff);

/// How a filesystem of these settings keeps its directories.
fn directory_rules(settings: &Settings, geometry: &Geometry) -> DirectoryRules {
    // Directories of a hash that nobody knows are written without one.
    let version = HashVersion::of_number(settings.hash_version);
    let hasher =
        version.map(|version| DirHasher::new(version, Signedness::Signed, settings.hash_seed));
    DirectoryRules {
        format: BlockFormat {
            block_size: geometry.block_size,
            checksums: geometry.features.has(Feature::MetadataCsum),
            file_types: geometry.features.has(Feature::Filetype),
        },
        hasher: hasher.filter(|_| geometry.features.has(Feature::DirIndex)),
        large_dir: geometry.features.has(Feature::LargeDir),
    }
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
        let mut seconds = times.iter().map(|time| time.seconds);
        if seconds.any(|seconds| !held.contains(&seconds)) {
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

/// The first inode for values of extended attributes: where the base has its first, or else behind the
/// nodes of the tree.
fn first_value_ino(matched: &Matched<'_>, in_tree: u64, last_own: Ino) -> u32 {
    let behind = u32::try_from(in_tree + 1).unwrap_or(u32::MAX);
    let Some(base) = matched.base() else {
        return behind;
    };
    let known = base.first_value().filter(|ino| *ino > last_own);
    known.map_or_else(
        || behind.max(matched.last_ino().get().saturating_add(1)),
        Ino::get,
    )
}

/// When the nodes that a base has were made, by node, but for those of the time `made`.
fn crtimes(matched: &Matched<'_>, tree: &Tree, made: Timestamp) -> Vec<(NodeId, Timestamp)> {
    if matched.base().is_none() {
        return Vec::new();
    }
    let time = |id: NodeId| matched.inode(id)?.crtime().filter(|time| *time != made);
    let nodes = tree.nodes();
    nodes.filter_map(|(id, _)| Some((id, time(id)?))).collect()
}

/// The tree with its inodes numbered and its directories planned, before any block is claimed.
pub(in crate::layout) struct ContentPlanner<'a> {
    geometry: Geometry,
    tree: &'a Tree,
    content: Content,
    xattrs: XattrPlans,
    /// Whether there is, or will be, more than the root.
    has_content: bool,
    /// The blocks of contents that are in their places, in whole clusters.
    placed_blocks: u64,
    warnings: Vec<LayoutWarning>,
}

impl<'a> ContentPlanner<'a> {
    pub(in crate::layout) fn new(
        settings: &Settings,
        geometry: &Geometry,
        tree: &'a Tree,
    ) -> Result<Self, LayoutError> {
        Self::based(settings, geometry, tree, &Matched::default())
    }

    /// The same, with the inode numbers and blocks of names that `matched` says.
    pub(in crate::layout) fn based(
        settings: &Settings,
        geometry: &Geometry,
        tree: &'a Tree,
        matched: &Matched<'_>,
    ) -> Result<Self, LayoutError> {
        let last_own = geometry.last_own_ino();
        let in_tree = inodes_needed(tree, last_own);
        let first_value_ino = first_value_ino(matched, in_tree, last_own);
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
        let mut warnings = Vec::new();
        let mut planner = Self {
            geometry: geometry.clone(),
            tree,
            content: Content {
                rules: directory_rules(settings, geometry),
                order: Vec::with_capacity(tree.len()),
                first_ino: last_own.get() + 1,
                first_value_ino,
                gaps: Vec::new(),
                crtimes: crtimes(matched, tree, Timestamp::from_seconds(settings.clock)),
                inos: vec![Ino::default(); tree.len()],
                plans: vec![NodePlan::default(); tree.len()],
                values: vec![NodePlan::default(); xattrs.values().len()],
                directories: Vec::new(),
                extents: Vec::new(),
                tree_nodes: Vec::new(),
                map_nodes: Vec::new(),
                has_extents: geometry.features.has(Feature::Extent),
                has_casefold: geometry.features.has(Feature::Casefold),
                block_size: geometry.block_size,
                lost_found,
                verity: VerityPlans::new(geometry, tree, &mut warnings),
                has_large_file: false,
            },
            xattrs,
            has_content: !tree.is_empty(),
            placed_blocks: 0,
            warnings,
        };
        let found = planner.number(matched)?;
        planner.note_casefold();
        planner.plan_directories(&found, settings.encoding_flags, matched)?;
        planner.check_nodes()?;
        Ok(planner)
    }

    /// The same in a filesystem of another size, if that has as many inodes.
    pub(super) fn sized(self, geometry: &Geometry) -> Option<Self> {
        let in_tree = inodes_needed(self.tree, geometry.last_own_ino());
        let needed = in_tree.saturating_add(count(self.xattrs.values()));
        (needed <= u64::from(geometry.inodes_count)).then(|| Self {
            geometry: geometry.clone(),
            ..self
        })
    }

    /// The filesystem's counts and sizes.
    pub(super) fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// The tree.
    pub(super) fn tree(&self) -> &'a Tree {
        self.tree
    }

    /// What could not be kept as it was.
    pub(in crate::layout) fn take_warnings(&mut self) -> Vec<LayoutWarning> {
        std::mem::take(&mut self.warnings)
    }

    /// Whether the tree has a lost+found of its own.
    pub(in crate::layout) fn has_lost_found(&self) -> bool {
        self.content.lost_found.is_some()
    }

    /// Whether there is, or will be, more than the root.
    pub(in crate::layout) fn has_content(&self) -> bool {
        self.has_content
    }

    /// The same for a tree that is not known yet.
    pub(in crate::layout) fn expecting_content(self) -> Self {
        Self {
            has_content: true,
            ..self
        }
    }

    /// Claims the blocks of contents that are in their places already.
    pub(in crate::layout) fn claim_placed(
        &mut self,
        ledger: &mut Ledger,
    ) -> Result<(), LayoutError> {
        let tree = self.tree;
        let nodes: Vec<NodeId> = self.content.nodes().collect();
        for id in nodes {
            if let Kind::File(file) = &tree.node(id).kind
                && let Some(runs) = file.placed()
            {
                self.claim_content(id, &file.into(), runs, ledger)?;
            }
        }
        Ok(())
    }

    /// What contents need, if none is in its place and extents can tell of them all.
    pub(in crate::layout) fn data_demand(&self) -> Result<Option<DataDemand>, LayoutError> {
        if self.placed_blocks > 0 || !self.content.has_extents {
            return Ok(None);
        }
        let ratio = self.geometry.cluster_ratio();
        let (mut data, mut nodes) = (0, 0);
        for (id, file) in files(self.tree).filter(|(id, _)| self.has_data(*id)) {
            data += self.content.plan_of(id).data_blocks(ratio);
            let file = FileData::new(file, self.content.verity.of(id));
            let pieces = block_ranges(&file, self.geometry.block_size).count();
            let tree_nodes = ExtentTree::blocks_needed(pieces, self.geometry.block_size);
            nodes += u64::try_from(tree_nodes).unwrap_or(u64::MAX);
        }
        if data == 0 {
            return Ok(None);
        }
        let root = self.root_blocks().next_multiple_of(ratio);
        let others = self.blocks_needed() - data + root + self.quota_blocks()? + nodes * ratio;
        Ok(Some(DataDemand { data, root, others }))
    }

    /// Gives contents the places that they would get on arrival.
    pub(in crate::layout) fn place_contents(
        &mut self,
        allocator: &mut DataAllocator,
        ledger: &mut Ledger,
    ) -> Result<(), LayoutError> {
        for (id, file) in files(self.tree) {
            if self.has_data(id) {
                let file = FileData::new(file, self.content.verity.of(id));
                let place = allocator.place_file(&file)?;
                self.claim_content(id, &file, place.runs(), ledger)?;
            }
        }
        Ok(())
    }

    /// Whether the inode of `id` leads to blocks of data.
    fn has_data(&self, id: NodeId) -> bool {
        self.content.plan_of(id).data_clusters > 0
    }

    /// Gives out whole clusters from now on, if contents have been placed.
    pub(in crate::layout) fn form_clusters(&self, ledger: &mut Ledger) -> Result<(), LayoutError> {
        if self.placed_blocks > 0 {
            ledger.form_clusters(self.geometry.cluster_ratio())?;
        }
        Ok(())
    }

    /// Claims `runs` for the data of a content, and notes its extents.
    fn claim_content(
        &mut self,
        id: NodeId,
        file: &FileData<'_>,
        runs: &[Run],
        ledger: &mut Ledger,
    ) -> Result<(), LayoutError> {
        let content = &mut self.content;
        let first = content.extents.len();
        for (at, run) in placed_pieces(file.clone(), runs, self.geometry.block_size) {
            ledger.claim(run, Owner::File(id.in_tree(), at))?;
            content.extents.extend(cut(at, run));
        }
        let plan = &mut content.plans[id.index()];
        plan.extents = span(first, content.extents.len() - first);
        self.placed_blocks += plan.data_blocks(self.geometry.cluster_ratio());
        Ok(())
    }

    /// The shape of a quota file.
    pub(in crate::layout) fn quota_shape(
        &self,
        quota_type: QuotaType,
    ) -> Result<QuotaShape, LayoutError> {
        let made = (!self.has_lost_found()).then(OwnerIds::default);
        let nodes = self.content.nodes();
        let owners = nodes
            .map(|node| OwnerIds::of(&self.tree.node(node).metadata))
            .chain(made)
            .filter(|_| self.is_written());
        let shape = QuotaShape::of(quota_type, owners);
        shape.map_err(|owners| LayoutError::TooManyOwners { owners })
    }

    /// How directories are kept.
    pub(in crate::layout) fn rules(&self) -> DirectoryRules {
        self.content.rules
    }

    /// The root directory's blocks.
    pub(in crate::layout) fn root_blocks(&self) -> u64 {
        u64::from(self.content.directory(NodeId::ROOT).plan.blocks())
    }

    /// Gives every node its inode's number, and hands back the directories in their own order. A node that
    /// the base has keeps its number there.
    fn number(&mut self, matched: &Matched<'_>) -> Result<Vec<FoundDirectory>, LayoutError> {
        let values = count(self.xattrs.values());
        let first_value = u64::from(self.content.first_value_ino);
        let numbers = Numbers {
            first: self.content.first_ino,
            count: self.geometry.inodes_count,
            values: first_value..first_value + values,
            nodes: self.tree.len(),
        };
        let (tree, lost_found) = (self.tree, self.content.lost_found);
        let content = &mut self.content;
        content.inos[NodeId::ROOT.index()] = Ino::ROOT;
        if let Some(node) = lost_found {
            content.inos[node.index()] = Ino::FIRST;
        }
        let mut numbering = Numbering::new(numbers);
        if matched.base().is_some() {
            for (id, _) in tree.nodes() {
                let ino = matched.ino(id).filter(|_| content.ino_of(id).get() == 0);
                if let Some(ino) = ino.filter(|ino| numbering.is_open(*ino)) {
                    content.inos[id.index()] = ino;
                    numbering.take(id, ino);
                }
            }
            numbering.count_free();
        }
        let mut found = Vec::new();
        let mut waiting = vec![(NodeId::ROOT, NodeId::ROOT)];
        while let Some((id, parent)) = waiting.pop() {
            let already_waiting = waiting.len();
            for entry in tree.entries(id) {
                if content.ino_of(entry.node).get() == 0 {
                    let near = content.ino_of(id);
                    content.inos[entry.node.index()] = numbering.next(entry.node, near);
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
        (content.order, content.gaps) = numbering.finish()?;
        Ok(found)
    }

    /// Warns of directories that fold case and will not.
    fn note_casefold(&mut self) {
        let mut dropped = None;
        for (id, node) in self.tree.nodes() {
            let is_directory = matches!(node.kind, Kind::Directory(_));
            if is_directory && self.content.flags_of(node) != node.metadata.flags.bits() {
                let (_, nodes) = dropped.get_or_insert((id, 0));
                *nodes += 1;
            }
        }
        if let Some((first, nodes)) = dropped {
            let first = self.tree.path(first);
            self.warnings
                .push(LayoutWarning::CasefoldDropped { nodes, first });
        }
    }

    fn plan_directories(
        &mut self,
        found: &[FoundDirectory],
        encoding_flags: u16,
        matched: &Matched<'_>,
    ) -> Result<(), LayoutError> {
        for directory in found {
            let id = directory.id;
            let plan = self.plan_directory(id, encoding_flags, matched)?;
            if plan.shape() == Shape::Overgrown {
                let path = self.tree.path(id);
                self.warnings.push(LayoutWarning::LinearDirectory(path));
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
        matched: &Matched<'_>,
    ) -> Result<DirectoryPlan, LayoutError> {
        let entries = self.tree.entries(id);
        let names = if self.lists_lost_found(id) {
            NamesIn::with_lost_found(entries)
        } else {
            NamesIn::new(entries)
        };
        let mut rules = self.content.rules;
        if self.content.flags_of(self.tree.node(id)) & FLAG_CASEFOLD != 0 {
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
        let kept = matched.leaves(id);
        DirectoryPlan::keeping(&names, &rules, kept).map_err(|fault| {
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
    fn check_nodes(&mut self) -> Result<(), LayoutError> {
        let ratio = self.geometry.cluster_ratio();
        let mut times = LostTimes::new(&self.geometry);
        for (id, node) in self.tree.nodes() {
            if id != NodeId::ROOT {
                times.note(id, &node.metadata);
            }
            match &node.kind {
                Kind::File(file) => {
                    let end = self.content.verity.of(id);
                    let end = end.map_or(0, |verity| verity.start() + verity.bytes());
                    self.check_size(id, file.size_bytes, end)?
                }
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
            let blocks = data_blocks(&self.content, id, node, ratio);
            let plan = &mut self.content.plans[id.index()];
            plan.links = links;
            if !self.xattrs.is_inline(id) {
                plan.set_data_blocks(blocks, ratio);
            }
        }
        times.warn(self.tree, &mut self.warnings);
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

    /// Refuses a file of `size` bytes whose last block, with what lies behind its data, ends at `end`.
    fn check_size(&mut self, id: NodeId, size: u64, end: u64) -> Result<(), LayoutError> {
        let block_size = self.geometry.block_size;
        let mut blocks = u64::from(u32::MAX);
        if !self.content.has_extents {
            blocks = blocks.min(Reach::new(block_size).most_blocks());
        }
        let most = blocks * block_size.bytes_u64();
        if size.max(end) > most {
            return Err(LayoutError::FileTooBig {
                path: self.tree.path(id),
                size: size.max(end),
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

    /// Keeps for everything the places that it has in the base, as far as they are free, and says whether
    /// there is a base.
    pub(in crate::layout) fn keep(&mut self, matched: &Matched<'_>, ledger: &mut Ledger) -> bool {
        let Some(base) = matched.base() else {
            return false;
        };
        self.keep_system(matched, base, ledger);
        for id in self.content.nodes() {
            let kind = &self.tree.node(id).kind;
            let inode = matched.inode_like(id, kind);
            let Some(inode) = inode.filter(|_| !self.xattrs.is_inline(id)) else {
                continue;
            };
            let start = LogicalBlock::new(0);
            match kind {
                Kind::Directory(_) => {
                    let blocks = u64::from(self.content.directory(id).plan.blocks());
                    let pieces = within(inode.pieces, std::iter::once(0..blocks));
                    ledger.keep(Owner::Directory(id.in_tree(), start), pieces);
                }
                Kind::File(file) => {
                    let file = FileData::new(file, self.content.verity.of(id));
                    let ranges = block_ranges(&file, self.geometry.block_size);
                    let pieces = within(inode.pieces, ranges);
                    ledger.keep(Owner::File(id.in_tree(), start), pieces);
                }
                Kind::Symlink(_) if self.has_data(id) => {
                    let pieces = within(inode.pieces, std::iter::once(0..1));
                    ledger.keep(Owner::Symlink(id.in_tree()), pieces);
                }
                _ => continue,
            }
            ledger.keep(Owner::MapNode(id.in_tree(), 0), numbered(inode.nodes));
        }
        for number in 0..count(self.xattrs.values()) {
            let number = u32::try_from(number).unwrap_or(u32::MAX);
            let inode = base.inode(self.content.ino_of_value(number));
            let Some(inode) = inode.filter(BaseInode::is_value) else {
                continue;
            };
            let bytes = count(&self.xattrs.values()[index(number)].bytes);
            let blocks = self.geometry.block_size.blocks_for(bytes);
            let pieces = within(inode.pieces, std::iter::once(0..blocks));
            ledger.keep(Owner::Value(number, LogicalBlock::new(0)), pieces);
            ledger.keep(Owner::ValueMapNode(number, 0), numbered(inode.nodes));
        }
        self.xattrs.keep(base, &self.geometry, ledger);
        true
    }

    /// The same for the filesystem's own files.
    fn keep_system(&self, matched: &Matched<'_>, base: &Base, ledger: &mut Ledger) {
        let geometry = &self.geometry;
        let start = LogicalBlock::new(0);
        let stored = base.stored();
        let keep = |ledger: &mut Ledger, inode: BaseInode<'_>, blocks: u64, owners: [Owner; 2]| {
            let [data, node] = owners;
            ledger.keep(data, within(inode.pieces, std::iter::once(0..blocks)));
            ledger.keep(node, numbered(inode.nodes));
        };
        if let Some(inode) = matched.lost_found().filter(|_| !self.has_lost_found()) {
            let blocks = made_lost_found_blocks(geometry);
            let owners = [Owner::LostFound(start), Owner::LostFoundNode(0)];
            keep(ledger, inode, blocks, owners);
        }
        let journal_blocks = geometry.journal_blocks.map(u64::from);
        let journal = base.inode(Ino::JOURNAL);
        if let (Some(blocks), Some(inode)) = (journal_blocks, journal)
            && base.journal_blocks() == journal_blocks
        {
            let owners = [Owner::Journal(start), Owner::JournalNode(0)];
            keep(ledger, inode, blocks, owners);
        }
        let orphan_file = base.inode(Ino::new(stored.s_orphan_file_inum.get()));
        if let (Some(blocks), Some(inode)) = (geometry.orphan_file_blocks, orphan_file) {
            let owners = [Owner::OrphanFile(start), Owner::OrphanFileNode(0)];
            keep(ledger, inode, blocks, owners);
        }
        for quota_type in geometry.quota_types.iter() {
            let ino = match quota_type {
                QuotaType::User => stored.s_usr_quota_inum,
                QuotaType::Group => stored.s_grp_quota_inum,
                QuotaType::Project => stored.s_prj_quota_inum,
            };
            let shape = self.quota_shape(quota_type).ok();
            if let (Some(shape), Some(inode)) = (shape, base.inode(Ino::new(ino.get()))) {
                let blocks = shape.blocks_in(geometry.block_size);
                let data = Owner::QuotaFile(quota_type, start);
                keep(
                    ledger,
                    inode,
                    blocks,
                    [data, Owner::QuotaFileNode(quota_type, 0)],
                );
            }
        }
        if let Some(block) = base
            .resize()
            .filter(|_| geometry.features.has(Feature::ResizeInode))
        {
            ledger.keep(Owner::ResizeDoubleIndirect, numbered(&[block]));
        }
        if geometry.features.has(Feature::Mmp) {
            let block = Block::new(stored.s_mmp_block.get());
            ledger.keep(Owner::Mmp, numbered(&[block]));
        }
    }

    /// What was decided, where nothing of it is written and so nothing has a place.
    pub(in crate::layout) fn without_places(self) -> (Content, XattrPlans) {
        (self.content, self.xattrs)
    }

    /// Whether anything of the tree is written at all.
    pub(in crate::layout) fn is_written(&self) -> bool {
        !self.geometry.super_only
    }

    /// Claims every block of the tree; the root directory's are those in `root`.
    pub(in crate::layout) fn claim(
        self,
        root: &[Run],
        ledger: &mut Ledger,
    ) -> Result<(Content, XattrPlans), LayoutError> {
        let free = ledger.total_free();
        let placed = self.placed_blocks;
        let needed = self.blocks_needed();
        let too_big = |needed| LayoutError::ContentTooBig {
            needed: needed + placed,
            free: free + placed,
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
    pub(super) fn quota_blocks(&self) -> Result<u64, LayoutError> {
        let geometry = &self.geometry;
        let mut blocks = 0;
        for quota_type in geometry.quota_types.iter() {
            let own = self.quota_shape(quota_type)?.blocks_in(geometry.block_size);
            blocks += own.next_multiple_of(geometry.cluster_ratio());
        }
        Ok(blocks)
    }

    /// The blocks that the content still needs, but for the nodes of extent trees, whose number depends
    /// on how files are split.
    pub(super) fn blocks_needed(&self) -> u64 {
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
        let rest: u64 = plans.map(|plan| plan.data_blocks(ratio)).sum();
        let rest = rest - self.placed_blocks;
        let maps: u64 = if self.content.has_extents {
            0
        } else {
            self.file_map_nodes()
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
                    block_map::nodes_needed(block_size, &mut block_ranges(&file.into(), block_size))
                }
                _ => 0,
            })
            .sum()
    }
}

/// The regular files of `tree`, in the order of a walk.
fn files(tree: &Tree) -> impl Iterator<Item = (NodeId, &tree::Content)> {
    tree.nodes().filter_map(|(id, node)| match &node.kind {
        Kind::File(file) => Some((id, file)),
        _ => None,
    })
}
