//! Given the blocks of a file one piece after the other, gives their sum; never where they are sought.

use std::collections::HashSet;

use super::claims::Claims;
use super::finding::{Area, Place};
use super::volume::Volume;
use crate::units::{Block, Run};

/// Neighbouring blocks of a file that are neighbours on disk.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece {
    pub(super) logical: u64,
    pub(super) run: Run,
    /// Whether they count as zeros.
    pub(super) is_unwritten: bool,
}

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
            let rule = "a block lies elsewhere in its cluster than in the file";
            volume.rule(Area::Extents, Place::inode(ino), rule);
        }
        let before = self.pieces.last().map(|last| last.run.end().get() - 1);
        let first = start / ratio;
        let is_counted = ratio > 1 && before.is_some_and(|block| block / ratio == first);
        self.clusters += end.div_ceil(ratio) - first - u64::from(is_counted);
        match self.pieces.last_mut() {
            Some(last)
                if last.is_unwritten == piece.is_unwritten
                    && last.logical + last.run.len == piece.logical
                    && last.run.end() == piece.run.start =>
            {
                last.run.len += piece.run.len;
            }
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
