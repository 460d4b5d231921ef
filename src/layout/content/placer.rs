//! Given numbered nodes, claims their blocks from the ledger; never a number.

use std::ops::Range;

use super::{Content, INLINE_TARGET, count, index, range, span};
use crate::layout::block_map;
use crate::layout::extents::{Extent, ExtentTree, cut};
use crate::layout::verity::VerityPlan;
use crate::layout::xattrs::XattrPlans;
use crate::layout::{LayoutError, Ledger, Owner, logical};
use crate::ondisk::extent::MAX_BLOCKS;
use crate::tree::{self, Kind, Node, NodeId, Tree};
use crate::units::{Block, BlockSize, LogicalBlock, Run};

/// A file's data, and the logical blocks of what fs-verity adds behind it.
#[derive(Clone)]
pub struct FileData<'a> {
    content: &'a tree::Content,
    behind: Option<Range<u64>>,
}

impl<'a> From<&'a tree::Content> for FileData<'a> {
    fn from(content: &'a tree::Content) -> Self {
        let behind = None;
        Self { content, behind }
    }
}

impl<'a> FileData<'a> {
    /// The file data `content` with what `verity` says of it.
    pub(super) fn new(content: &'a tree::Content, verity: Option<&VerityPlan>) -> Self {
        let behind = verity.map(VerityPlan::blocks);
        Self { content, behind }
    }
}

/// The blocks of the data of `node` in `content`, or of a long symbolic link, in whole clusters.
pub(super) fn data_blocks(content: &Content, id: NodeId, node: &Node, cluster_ratio: u64) -> u64 {
    match &node.kind {
        Kind::File(file) => {
            let file = FileData::new(file, content.verity.of(id));
            content_blocks(&file, content.block_size, cluster_ratio)
        }
        Kind::Symlink(target) if target.len() >= INLINE_TARGET => cluster_ratio,
        _ => 0,
    }
}

/// The blocks of a file's data, in whole clusters.
pub(in crate::layout) fn content_blocks(
    file: &FileData<'_>,
    block_size: BlockSize,
    cluster_ratio: u64,
) -> u64 {
    let mut counted = 0;
    let mut blocks = 0;
    for range in block_ranges(file, block_size) {
        let start = (range.start - range.start % cluster_ratio).max(counted);
        counted = range.end.next_multiple_of(cluster_ratio);
        blocks += counted - start;
    }
    blocks
}

/// The logical blocks that hold a file's data, in ascending order, those that touch joined.
pub(in crate::layout) fn block_ranges<'a>(
    file: &FileData<'a>,
    block_size: BlockSize,
) -> impl Iterator<Item = Range<u64>> + use<'a> {
    let bytes = block_size.bytes_u64();
    let mut ranges = file
        .content
        .data_ranges()
        .map(move |range| range.start / bytes..range.end.div_ceil(bytes))
        .chain(file.behind.clone())
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
                Kind::Directory(_) => Owner::Directory(id.in_tree(), at),
                Kind::Symlink(_) => Owner::Symlink(id.in_tree()),
                _ => Owner::File(id.in_tree(), at),
            },
        }
    }

    /// The owner of a node of its extent tree or block map.
    fn map_node(self, number: u32) -> Owner {
        match self {
            Self::Node(id) => Owner::MapNode(id.in_tree(), number),
            Self::Value(value) => Owner::ValueMapNode(value, number),
        }
    }
}

pub(super) struct Placer<'a> {
    pub(super) tree: &'a Tree,
    pub(super) block_size: BlockSize,
    pub(super) ledger: &'a mut Ledger,
    pub(super) content: Content,
    pub(super) xattrs: XattrPlans,
    pub(super) cluster_ratio: u64,
    /// Where the next free block is sought.
    pub(super) cursor: Block,
    /// No gap is longer, in blocks.
    pub(super) longest_gap: u64,
    /// Room for the parts of one file, kept from file to file.
    pub(super) parts: Vec<Range<u64>>,
}

impl Placer<'_> {
    pub(super) fn place(mut self, root: &[Run]) -> Result<(Content, XattrPlans), LayoutError> {
        self.place_root(root)?;
        self.xattrs.share(NodeId::ROOT, self.cursor, self.ledger)?;
        let mut place = 0;
        while let Some(id) = self.content.below_root(&mut place) {
            match &self.tree.node(id).kind {
                Kind::Directory(_) => {
                    let blocks = u64::from(self.content.directory(id).plan.blocks());
                    let whole = blocks.next_multiple_of(self.cluster_ratio);
                    let ranges = std::iter::once(0..blocks);
                    self.place_data(Holder::Node(id), whole, ranges)?;
                }
                Kind::Symlink(target)
                    if target.len() >= INLINE_TARGET && !self.xattrs.is_inline(id) =>
                {
                    let ranges = std::iter::once(0..1);
                    self.place_data(Holder::Node(id), self.cluster_ratio, ranges)?;
                }
                _ => {}
            }
            self.xattrs.share(id, self.cursor, self.ledger)?;
        }
        self.place_values()?;
        let mut place = 0;
        while let Some(id) = self.content.below_root(&mut place) {
            if let Kind::File(file) = &self.tree.node(id).kind
                && !self.xattrs.is_inline(id)
            {
                let plan = self.content.plan_of(id);
                if plan.extents.is_empty() {
                    let file = FileData::new(file, self.content.verity.of(id));
                    let ranges = block_ranges(&file, self.block_size);
                    let blocks = plan.data_blocks(self.cluster_ratio);
                    self.place_data(Holder::Node(id), blocks, ranges)?;
                } else {
                    self.map_claimed(id)?
                }
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
            self.push_extents(first, logical(blocks), *run);
            while blocks < end {
                let most = self.make_room(root_node, blocks, first_node, &mut growing)?;
                blocks = end.min(blocks.saturating_add(most));
            }
        }
        let whole = blocks.next_multiple_of(self.cluster_ratio);
        self.finish_node(root_node, (first, first_node), whole)
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
        let kept = self.ledger.kept_for(holder.data(self.tree, logical(0)));
        let (kept, end) = kept.unwrap_or((0, self.cursor));
        if kept < total {
            // What is new of a file lies behind what is kept of it, if it can.
            self.cursor = end;
            self.seek_gap(total - kept);
        }
        let mut ranges = ranges.peekable();
        while let Some(range) = ranges.next() {
            let whole = |range: &Range<u64>| range.end.next_multiple_of(self.cluster_ratio);
            let mut end = whole(&range);
            let mut parts = std::mem::take(&mut self.parts);
            parts.clear();
            parts.push(range);
            // Parts of one cluster share it, also with one that began in the cluster before.
            while let Some(next) = ranges.next_if(|next| next.start < end) {
                end = whole(&next);
                parts.push(next);
            }
            let map = (first, first_node, &mut growing);
            self.place_parts(holder, &parts, map)?;
            self.parts = parts;
        }
        self.finish_node(holder, (first, first_node), total)
    }

    /// Claims the map of a file whose data is claimed already.
    fn map_claimed(&mut self, id: NodeId) -> Result<(), LayoutError> {
        let holder = Holder::Node(id);
        let extents = range(&self.content.plan_of(id).extents);
        let (_, first_node) = self.marks();
        let mut growing = block_map::Growing::new(self.block_size);
        for place in extents.clone() {
            let extent = self.content.extents[place];
            let mut at = u64::from(extent.logical.get());
            let end = at + u64::from(extent.blocks);
            while at < end {
                let most = self.make_room(holder, at, first_node, &mut growing)?;
                at = at.saturating_add(most);
            }
        }
        self.claim_tree(holder, extents.len())?;
        let (_, next_node) = self.marks();
        let plan = &mut self.content.plans[id.index()];
        plan.map_nodes = span(first_node, next_node - first_node);
        Ok(())
    }

    /// Places ranges of logical blocks that lie in neighbouring clusters.
    fn place_parts(
        &mut self,
        holder: Holder,
        parts: &[Range<u64>],
        map: (usize, usize, &mut block_map::Growing),
    ) -> Result<(), LayoutError> {
        let (Some(first), Some(last)) = (parts.first(), parts.last()) else {
            return Ok(());
        };
        let (first_extent, first_node, growing) = map;
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
                self.push_extents(first_extent, logical(from), part);
                claimed = to;
            }
            self.ledger
                .claim_rest_of_cluster(run.start.plus(claimed - at))?;
            self.cursor = run.end();
            at += run.len;
        }
        Ok(())
    }

    /// Adds the extents of `run`, which holds the blocks from `at` on of the file whose extents begin at
    /// `first`. What goes on where the last ends makes it longer.
    fn push_extents(&mut self, first: usize, at: LogicalBlock, run: Run) {
        let extents = &mut self.content.extents;
        let (mut at, mut run) = (at, run);
        if let Some(last) = extents.get_mut(first..).and_then(<[Extent]>::last_mut) {
            let blocks = u64::from(last.blocks);
            let is_next = u64::from(last.logical.get()) + blocks == u64::from(at.get())
                && last.physical.plus(blocks) == run.start;
            let more = u64::from(MAX_BLOCKS).saturating_sub(blocks).min(run.len);
            if is_next && more > 0 {
                last.blocks += u16::try_from(more).expect("no more than an extent has");
                at = logical(u64::from(at.get()) + more);
                run = Run::new(run.start.plus(more), run.len - more);
            }
        }
        extents.extend(cut(at, run));
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
    fn next_run(&mut self, most: u64, owner: Owner) -> Result<Run, LayoutError> {
        let run = self.ledger.run_for(owner, self.cursor, most);
        run.ok_or(LayoutError::no_room(owner, most))
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
        self.claim_tree(holder, extents)?;
        let (_, next_node) = self.marks();
        let plan = match holder {
            Holder::Node(id) => &mut self.content.plans[id.index()],
            Holder::Value(number) => &mut self.content.values[index(number)],
        };
        plan.extents = span(first, extents);
        plan.map_nodes = span(first_node, next_node - first_node);
        plan.set_data_blocks(blocks, self.cluster_ratio);
        Ok(())
    }

    /// Claims the nodes of an extent tree of `extents` extents.
    fn claim_tree(&mut self, holder: Holder, extents: usize) -> Result<(), LayoutError> {
        if !self.content.has_extents {
            return Ok(());
        }
        for number in 0..ExtentTree::blocks_needed(extents, self.block_size) {
            let number = u32::try_from(number).unwrap_or(u32::MAX);
            let run = self.claim_next(holder.map_node(number))?;
            self.content.tree_nodes.push(run.start);
        }
        Ok(())
    }
}
