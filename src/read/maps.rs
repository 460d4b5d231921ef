//! Given an inode, gives where its blocks are, for a part of the file or the whole; never what the blocks
//! hold.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use super::error::{Error, ErrorDetail, Result};
use super::inode::Inode;
use super::mapped::{Extent, Visit};
use super::volume::Volume;
use super::{block_map, extents};
use crate::ondisk::inode::FLAG_EXTENTS;
use crate::units::{Block, Run};

/// Gathers the extents of a sound map; what is wrong ends the walk.
struct Gather<'a> {
    volume: &'a Volume<'a>,
    inode: &'a Inode,
    extents: Vec<Extent>,
    /// No node stands twice in a sound map, and so a walk ends.
    nodes: HashSet<Block>,
}

impl Gather<'_> {
    fn at(&self, block: Option<Block>, error: Error) -> Error {
        let error = error.in_inode(self.inode.ino());
        match block {
            Some(block) => error.in_block(block),
            None => error,
        }
    }
}

impl Visit for Gather<'_> {
    type Stop = Error;

    fn node(&mut self, at: Option<Block>, node: Block) -> Result<Option<Vec<u8>>> {
        if !self.nodes.insert(node) {
            let rule = "a node of its block map is referenced twice";
            return Err(self.at(Some(node), Error::rule(rule)));
        }
        let bytes = self.volume.block(node);
        bytes.map(Some).map_err(|error| self.at(at, error))
    }

    fn extent(&mut self, extent: Extent) -> Result<()> {
        join(&mut self.extents, extent);
        Ok(())
    }

    fn fault(&mut self, at: Option<Block>, fault: ErrorDetail) -> Result<()> {
        Err(self.at(at, Error::new(fault)))
    }
}

/// Gathers the extents of a map that has no nodes; one ends the walk without an error.
struct GatherRoot(Vec<Extent>);

impl Visit for GatherRoot {
    type Stop = Option<Error>;

    fn node(
        &mut self,
        _: Option<Block>,
        _: Block,
    ) -> std::result::Result<Option<Vec<u8>>, Self::Stop> {
        Err(None)
    }

    fn extent(&mut self, extent: Extent) -> std::result::Result<(), Self::Stop> {
        join(&mut self.0, extent);
        Ok(())
    }

    fn fault(
        &mut self,
        _: Option<Block>,
        fault: ErrorDetail,
    ) -> std::result::Result<(), Self::Stop> {
        Err(Some(Error::new(fault)))
    }
}

/// Puts an extent behind those before it.
fn join(extents: &mut Vec<Extent>, extent: Extent) {
    match extents.last_mut() {
        Some(last) if last.is_continued_by(&extent) => last.run.len += extent.run.len,
        _ => extents.push(extent),
    }
}

/// Gathers a map whose nodes no other has: what is shared is told once.
struct GatherOnce<'a, 's> {
    volume: &'a Volume<'a>,
    seen: &'s mut HashSet<Block>,
    map: PlacedMap,
    /// How many levels each node is below the inode.
    depths: HashMap<Block, u32>,
}

/// Where an inode's blocks are, and those of the map of them.
#[derive(Debug, Default)]
pub(crate) struct PlacedMap {
    /// In the order of the file, neighbours joined.
    pub(crate) extents: Vec<Extent>,
    /// The nodes of an extent tree level by level, the highest first; those of a block map in the order in
    /// which they are met.
    pub(crate) nodes: Vec<Block>,
}

impl Visit for GatherOnce<'_, '_> {
    type Stop = Error;

    fn node(&mut self, at: Option<Block>, node: Block) -> Result<Option<Vec<u8>>> {
        if !self.seen.insert(node) {
            return Err(Error::rule("a node of its block map is referenced twice").in_block(node));
        }
        let above = at.and_then(|at| self.depths.get(&at).copied());
        self.depths.insert(node, above.unwrap_or(0) + 1);
        self.map.nodes.push(node);
        self.volume.block(node).map(Some)
    }

    fn extent(&mut self, extent: Extent) -> Result<()> {
        join(&mut self.map.extents, extent);
        Ok(())
    }

    fn fault(&mut self, at: Option<Block>, fault: ErrorDetail) -> Result<()> {
        let error = Error::new(fault);
        Err(match at {
            Some(block) => error.in_block(block),
            None => error,
        })
    }
}

impl Volume<'_> {
    /// Where the blocks of `inode` are, and its map's. No node may be among those `seen` for other inodes,
    /// so that all maps of a filesystem together cost no more than it holds.
    pub(crate) fn placed_map(&self, inode: &Inode, seen: &mut HashSet<Block>) -> Result<PlacedMap> {
        if inode.has_inline_data() {
            return Ok(PlacedMap::default());
        }
        let mut gather = GatherOnce {
            volume: self,
            seen,
            map: PlacedMap::default(),
            depths: HashMap::new(),
        };
        let walked = self.walk_map(inode, &(0..u64::MAX), &mut gather);
        walked.map_err(|error| error.in_inode(inode.ino()))?;
        let GatherOnce {
            mut map, depths, ..
        } = gather;
        if inode.has_flag(FLAG_EXTENTS) {
            map.nodes
                .sort_by_key(|node| depths.get(node).copied().unwrap_or(0));
        }
        Ok(map)
    }

    /// Where the logical blocks in `range` are, in the order of the file, neighbours joined; what is in
    /// none of them is a hole. An extent that begins before `range` or ends behind it is cut.
    ///
    /// Memory: the extents, and the nodes on the way to them.
    pub(crate) fn extents(&self, inode: &Inode, range: Range<u64>) -> Result<Vec<Extent>> {
        let gather = self.gather(inode, &range)?;
        let cut = gather.extents.into_iter().filter_map(|extent| {
            let start = extent.logical.max(range.start);
            let end = extent.end().min(range.end);
            let skipped = start - extent.logical;
            (start < end).then(|| Extent {
                logical: start,
                run: Run::new(extent.run.start.plus(skipped), end - start),
                is_unwritten: extent.is_unwritten,
            })
        });
        Ok(cut.collect())
    }

    /// All extents, and in ascending order the blocks that hold the map itself.
    pub(crate) fn extents_and_nodes(&self, inode: &Inode) -> Result<(Vec<Extent>, Vec<Block>)> {
        let gather = self.gather(inode, &(0..u64::MAX))?;
        let mut nodes: Vec<Block> = gather.nodes.into_iter().collect();
        nodes.sort_unstable();
        Ok((gather.extents, nodes))
    }

    /// What a map has in `range` and, of an extent that reaches out of it, around it.
    fn gather<'v>(&'v self, inode: &'v Inode, range: &Range<u64>) -> Result<Gather<'v>> {
        let mut gather = Gather {
            volume: self,
            inode,
            extents: Vec::new(),
            nodes: HashSet::new(),
        };
        if inode.has_inline_data() || range.is_empty() {
            return Ok(gather);
        }
        self.walk_map(inode, range, &mut gather)?;
        Ok(gather)
    }

    /// Where the blocks of `inode` are, if its map has no blocks of its own.
    pub(crate) fn root_map(&self, inode: &Inode) -> Result<Option<Vec<Extent>>> {
        let mut gather = GatherRoot(Vec::new());
        if inode.has_inline_data() {
            return Ok(Some(gather.0));
        }
        match self.walk_map(inode, &(0..u64::MAX), &mut gather) {
            Ok(()) => Ok(Some(gather.0)),
            Err(None) => Ok(None),
            Err(Some(error)) => Err(error.in_inode(inode.ino())),
        }
    }

    /// Shows what the map of `inode` has in `range`, in whichever form it is.
    fn walk_map<V: Visit>(
        &self,
        inode: &Inode,
        range: &Range<u64>,
        visit: &mut V,
    ) -> std::result::Result<(), V::Stop> {
        let root = &inode.stored().i_block;
        if !inode.has_flag(FLAG_EXTENTS) {
            return block_map::walk(&self.sb, root, range, visit);
        }
        let tree = extents::Tree {
            sb: &self.sb,
            seed: inode.seed(&self.sb),
            range: range.clone(),
        };
        tree.walk(root, visit)
    }
}
