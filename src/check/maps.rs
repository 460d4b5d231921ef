//! Given an inode with a map of its blocks, judges the map and claims the blocks; never what they hold.
//!
//! `read` walks over the map and finds what is wrong in it; here it is noted, and the walk goes on.

use std::collections::HashSet;

use super::claims::Claims;
use super::finding::{Area, Location, Owner};
use super::node::Node;
use super::volume::Volume;
use crate::ondisk::inode::FLAG_EXTENTS;
use crate::read;
pub(super) use crate::read::Extent as Piece;
use crate::read::mapped::Visit;
pub(super) use crate::read::mapped::find;
use crate::read::{block_map, extents};
use crate::units::{Block, Ino, Run};

/// How many wrong pointers of one inode are followed up before it is left alone.
const MOST_BROKEN: u32 = 16;

/// Where a file's blocks are.
#[derive(Clone, Debug, Default)]
pub(super) struct Mapped {
    /// In the order of the file.
    pub(super) pieces: Vec<Piece>,
    /// How many clusters hold content or map nodes.
    pub(super) clusters: u64,
}

/// Who has what, and which map nodes were read.
#[derive(Default)]
pub(super) struct Claiming {
    pub(super) claims: Claims,
    nodes: HashSet<u64>,
}

impl Claiming {
    /// Whether a node is met for the first time.
    pub(super) fn visit(&mut self, node: Block) -> bool {
        self.nodes.insert(node.get())
    }
}

impl Mapped {
    /// Adds the next piece and counts its clusters.
    pub(super) fn add(&mut self, volume: &Volume<'_>, ino: u32, piece: Piece) {
        let ratio = volume.cluster_ratio;
        let (start, end) = (piece.run.start.get(), piece.run.end().get());
        if piece.logical % ratio != start % ratio {
            let rule = "the offset of a block in its cluster differs from that in the file";
            volume.rule(Area::Extents, Location::inode(ino), rule);
        }
        let before = self.pieces.last().map(|last| last.run.end().get() - 1);
        let first = start / ratio;
        let is_counted = ratio > 1 && before.is_some_and(|block| block / ratio == first);
        self.clusters += end.div_ceil(ratio) - first - u64::from(is_counted);
        match self.pieces.last_mut() {
            Some(last) if last.is_continued_by(&piece) => last.run.len += piece.run.len,
            _ => self.pieces.push(piece),
        }
    }

    /// The first logical block behind the last.
    pub(super) fn end(&self) -> u64 {
        let last = self.pieces.last();
        last.map_or(0, |piece| piece.logical + piece.run.len)
    }

    /// The last logical block that holds data.
    pub(super) fn last_written(&self) -> Option<u64> {
        let written = self.pieces.iter().rev().find(|piece| !piece.is_unwritten);
        written.map(|piece| piece.logical + piece.run.len - 1)
    }

    /// Whether a block within is none.
    pub(super) fn has_holes(&self) -> bool {
        let held: u64 = self.pieces.iter().map(|piece| piece.run.len).sum();
        held != self.end()
    }
}

/// Every physical block of the pieces with its logical one.
pub(super) fn blocks(pieces: &[Piece]) -> impl Iterator<Item = (u64, u64)> {
    pieces.iter().flat_map(|piece| {
        let start = piece.run.start.get();
        (0..piece.run.len).map(move |step| (piece.logical + step, start + step))
    })
}

/// A map in the walk.
struct Judge<'a, 'c> {
    volume: &'a Volume<'a>,
    claiming: &'c mut Claiming,
    ino: u32,
    area: Area,
    mapped: Mapped,
    broken: u32,
}

/// Walks the map that begins in an inode, and claims its blocks.
pub(super) fn walk(volume: &Volume<'_>, claiming: &mut Claiming, node: &Node) -> Mapped {
    let is_tree = node.has_flag(FLAG_EXTENTS);
    let mut judge = Judge {
        volume,
        claiming,
        ino: node.ino,
        area: if is_tree {
            Area::Extents
        } else {
            Area::BlockMap
        },
        mapped: Mapped::default(),
        broken: 0,
    };
    let (root, range) = (&node.it.i_block, 0..u64::MAX);
    // What ends a walk before its time was noted.
    let _ = if is_tree {
        let tree = extents::Tree {
            sb: volume,
            seed: volume.inode_seed(node.ino, node.it.i_generation.get()),
            range,
        };
        tree.walk(root, &mut judge)
    } else {
        block_map::walk(volume, root, &range, &mut judge)
    };
    judge.mapped
}

/// That so much is wrong in a map that the rest is left alone.
struct Enough;

impl Visit for Judge<'_, '_> {
    type Stop = Enough;

    fn node(&mut self, _: Option<Block>, node: Block) -> Result<Option<Vec<u8>>, Enough> {
        let owner = Owner::Map(Ino::new(self.ino));
        self.claiming.claims.add(Run::one(node), owner);
        self.mapped.clusters += 1;
        if !self.claiming.visit(node) {
            // Claimed twice, which is told; read once, which bounds the walk.
            return Ok(None);
        }
        let at = (self.area, Location::inode(self.ino));
        Ok(self.volume.block(at, node.get()))
    }

    fn extent(&mut self, extent: Piece) -> Result<(), Enough> {
        let before = self.mapped.pieces.len();
        self.mapped.add(self.volume, self.ino, extent);
        let owner = Owner::Content(Ino::new(self.ino));
        if self.mapped.pieces.len() == before {
            // It continues the last piece, and so its claim.
            self.claiming.claims.extend_last(extent.run, owner);
        } else {
            self.claiming.claims.add(extent.run, owner);
        }
        Ok(())
    }

    fn fault(&mut self, at: Option<Block>, fault: read::ErrorDetail) -> Result<(), Enough> {
        let place = Location::inode(self.ino);
        let place = at.map_or(place, |block| place.at(block.get()));
        self.volume.note(self.area, place, fault.into());
        self.broken += 1;
        if self.area == Area::BlockMap && self.broken >= MOST_BROKEN {
            return Err(Enough);
        }
        Ok(())
    }
}
