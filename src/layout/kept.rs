//! Given where the owners of blocks had theirs in a base, keeps those places for them; never gives one to
//! anybody else.

use std::collections::HashMap;
use std::ops::Range;

use super::Owner;
use super::space::Space;
use crate::base::Piece;
use crate::tree::NodeIndex;
use crate::units::{Block, LogicalBlock, Run};

/// The places that owners had, as far as they are still to be claimed.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    /// Which of the pieces are the data of a node of the tree, by node.
    of_nodes: Vec<Part>,
    /// Which of them are all others', by owner as [`split`] has it.
    others: HashMap<Owner, Part>,
    pieces: Vec<Piece>,
    /// What is kept and not claimed yet counts as used here.
    waiting: Space,
    /// How many blocks were claimed by those for whom they waited.
    taken: u64,
}

/// Some of the pieces, from one to before another; of most owners there are none.
#[derive(Clone, Copy, Debug, Default)]
struct Part {
    start: u32,
    end: u32,
}

impl Part {
    /// The pieces from `start` to before `end`, if there are so few.
    fn new(start: usize, end: usize) -> Option<Self> {
        let (start, end) = (u32::try_from(start).ok()?, u32::try_from(end).ok()?);
        Some(Self { start, end })
    }

    fn range(self) -> Range<usize> {
        let place = |number| usize::try_from(number).expect("a place of a piece fits any usize");
        place(self.start)..place(self.end)
    }
}

/// The node whose data an owner is: it is of one kind.
fn node_of(owner: Owner) -> Option<NodeIndex> {
    match owner {
        Owner::Directory(node, _) | Owner::File(node, _) | Owner::Symlink(node) => Some(node),
        _ => None,
    }
}

impl Default for Kept {
    fn default() -> Self {
        Self {
            of_nodes: Vec::new(),
            others: HashMap::new(),
            pieces: Vec::new(),
            waiting: Space::new(0, u64::MAX),
            taken: 0,
        }
    }
}

/// An owner without the place in its file, and that place.
fn split(owner: Owner) -> (Owner, u64) {
    let start = LogicalBlock::new(0);
    let at = |block: LogicalBlock| u64::from(block.get());
    match owner {
        Owner::LostFound(block) => (Owner::LostFound(start), at(block)),
        Owner::LostFoundNode(number) => (Owner::LostFoundNode(0), number.into()),
        Owner::Journal(block) => (Owner::Journal(start), at(block)),
        Owner::JournalNode(number) => (Owner::JournalNode(0), number.into()),
        Owner::QuotaFile(kind, block) => (Owner::QuotaFile(kind, start), at(block)),
        Owner::QuotaFileNode(kind, number) => (Owner::QuotaFileNode(kind, 0), number.into()),
        Owner::OrphanFile(block) => (Owner::OrphanFile(start), at(block)),
        Owner::OrphanFileNode(number) => (Owner::OrphanFileNode(0), number.into()),
        Owner::Directory(node, block) => (Owner::Directory(node, start), at(block)),
        Owner::File(node, block) => (Owner::File(node, start), at(block)),
        Owner::MapNode(node, number) => (Owner::MapNode(node, 0), number.into()),
        Owner::Value(value, block) => (Owner::Value(value, start), at(block)),
        Owner::ValueMapNode(value, number) => (Owner::ValueMapNode(value, 0), number.into()),
        Owner::Superblock(_)
        | Owner::GroupDescs(_)
        | Owner::MetaBgDescs { .. }
        | Owner::BootBlock
        | Owner::ClusterSlack
        | Owner::ReservedGdt(_)
        | Owner::BlockBitmap(_)
        | Owner::InodeBitmap(_)
        | Owner::InodeTable(_)
        | Owner::ResizeDoubleIndirect
        | Owner::Mmp
        | Owner::HugeFile(_)
        | Owner::HugeFileNode(_)
        | Owner::HugeDirectory(..)
        | Owner::HugeDirectoryNode(..)
        | Owner::Symlink(_)
        | Owner::Xattrs(_) => (owner, 0),
    }
}

impl Kept {
    /// Keeps `pieces`, which ascend in the file of `owner`, as far as they are free in `space`, in whole
    /// clusters: what is kept counts as used there.
    pub(super) fn keep(
        &mut self,
        owner: Owner,
        pieces: impl Iterator<Item = Piece>,
        space: &mut Space,
    ) {
        let first = self.pieces.len();
        let mut end = 0;
        for piece in pieces {
            let Some(whole) = whole_clusters(piece, end, space.cluster_ratio()) else {
                continue;
            };
            let fits = whole.run.end().get() < u64::MAX / 2;
            if fits && space.take(whole.run) && self.waiting.take(whole.run) {
                end = whole.end();
                self.pieces.push(whole);
            }
        }
        let Some(part) =
            Part::new(first, self.pieces.len()).filter(|part| !part.range().is_empty())
        else {
            return;
        };
        let Some(node) = node_of(owner) else {
            self.others.insert(owner, part);
            return;
        };
        if self.of_nodes.len() <= node.get() {
            self.of_nodes.resize(node.get() + 1, Part::default());
        }
        self.of_nodes[node.get()] = part;
    }

    fn pieces_of(&self, owner: Owner) -> &[Piece] {
        let part = match node_of(owner) {
            Some(node) => self.of_nodes.get(node.get()),
            None => self.others.get(&owner),
        };
        part.map_or(&[], |part| &self.pieces[part.range()])
    }

    /// How many blocks of data are kept for `owner`, and where the last of them ends.
    pub(super) fn of(&self, owner: Owner) -> Option<(u64, Block)> {
        let pieces = self.pieces_of(split(owner).0);
        let blocks = pieces.iter().map(|piece| piece.run.len).sum();
        Some((blocks, pieces.last()?.run.end()))
    }

    /// The place kept for `owner` from its place in its file on.
    pub(super) fn run(&self, owner: Owner) -> Option<Run> {
        let (owner, at) = split(owner);
        self.run_at(owner, at)
    }

    /// The `at`th place kept for `owner`, and those behind it.
    pub(super) fn run_at(&self, owner: Owner, at: u64) -> Option<Run> {
        let pieces = self.pieces_of(owner);
        let piece = pieces.get(pieces.partition_point(|piece| piece.end() <= at))?;
        let skipped = at.checked_sub(piece.logical)?;
        let run = Run::new(piece.run.start.plus(skipped), piece.run.len - skipped);
        (self.waiting.count_free(run) == 0).then_some(run)
    }

    /// How many blocks of `owner` come before the next that has a place.
    pub(super) fn blocks_before(&self, owner: Owner) -> u64 {
        let (owner, at) = split(owner);
        let pieces = self.pieces_of(owner);
        let next = pieces.get(pieces.partition_point(|piece| piece.logical <= at));
        next.map_or(u64::MAX, |piece| piece.logical - at)
    }

    /// Gives `run` up, with all of its clusters, so that it is free in `space`.
    pub(super) fn release(&mut self, run: Run, space: &mut Space) {
        let ratio = space.cluster_ratio();
        let start = run.start.get() - run.start.get() % ratio;
        let end = run.end().get().next_multiple_of(ratio);
        let whole = Run::new(Block::new(start), end - start);
        self.waiting.release(whole);
        space.release(whole);
        self.taken += run.len;
    }

    /// How many blocks were claimed by those for whom they waited.
    pub(super) fn taken(&self) -> u64 {
        self.taken
    }

    /// Gives up all that nobody has claimed.
    pub(super) fn release_all(&mut self, space: &mut Space) {
        let kept = std::mem::take(self);
        for run in kept.waiting.used() {
            space.release(run);
        }
    }

    /// How many blocks are kept and not claimed yet.
    pub(super) fn waiting(&self) -> u64 {
        self.waiting.used().map(|run| run.len).sum()
    }
}

/// `piece` in whole clusters of `ratio` blocks, but for what lies before `end` in its file; none where its
/// place in the file and on disk do not go together.
fn whole_clusters(piece: Piece, end: u64, ratio: u64) -> Option<Piece> {
    let (logical, physical) = (piece.logical, piece.run.start.get());
    let before = logical % ratio;
    if physical % ratio != before {
        return None;
    }
    let start = logical - before;
    let skipped = end.saturating_sub(start);
    let len = piece.end().checked_next_multiple_of(ratio)? - start;
    let len = len.checked_sub(skipped).filter(|len| *len > 0)?;
    Some(Piece {
        logical: start + skipped,
        run: Run::new(Block::new(physical - before + skipped), len),
    })
}

/// The parts of `pieces` whose place in the file is in one of `ranges`; both ascend.
pub(super) fn within(
    pieces: &[Piece],
    ranges: impl Iterator<Item = Range<u64>>,
) -> impl Iterator<Item = Piece> {
    ranges.flat_map(move |range| {
        let first = pieces.partition_point(|piece| piece.end() <= range.start);
        let rest = pieces[first..].iter();
        let inside = rest.take_while({
            let end = range.end;
            move |piece| piece.logical < end
        });
        inside.filter_map(move |piece| {
            let start = piece.logical.max(range.start);
            let end = piece.end().min(range.end);
            let skipped = start - piece.logical;
            (start < end).then(|| Piece {
                logical: start,
                run: Run::new(piece.run.start.plus(skipped), end - start),
            })
        })
    })
}

/// Single blocks, each with its number.
pub(super) fn numbered(blocks: &[Block]) -> impl Iterator<Item = Piece> {
    (0..).zip(blocks).map(|(logical, block)| Piece {
        logical,
        run: Run::one(*block),
    })
}
