//! Given contents one by one, before the tree is known, decides where each goes; never writes a byte.
//!
//! A filesystem without content shows where its own files will be; they keep their places. Behind
//! the tables some blocks are set aside, so that directories, attribute blocks and the nodes of maps
//! come to lie together and early. What is left takes the contents in the order in which they
//! arrive. The layout of the finished tree claims those blocks first and goes its usual way then: what
//! was written is where it is, and where there is plenty of room the layout puts the contents of a tree
//! that was all there from the start to the same places.

use std::collections::VecDeque;
use std::ops::Range;

use super::block_map;
use super::content::{FileData, block_ranges, content_blocks};
use super::extents::{ExtentTree, cut};
use super::space::Space;
use super::{LayoutError, Ledger, logical};
use crate::feature::Feature;
use crate::geometry::Geometry;
use crate::tree::Content;
use crate::units::{Block, BlockSize, LogicalBlock, Run};

/// What is set aside for each inode, in bytes: its entry in a directory, which is some 32 bytes long,
/// and as much again for directories that do not fill their last block, attribute blocks and maps.
const RESERVE_PER_INODE: u64 = 64;
/// At most one block in this many is set aside: a filesystem may have far more inodes than it
/// will ever hold files.
const RESERVE_SHARE: u64 = 32;

/// What is thought to be needed beside what is counted, as a share of the room: nodes of extent trees
/// whose files no gap holds whole.
const SLACK_SHARE: u64 = 64;

/// Places for file data whose tree is not known yet.
#[derive(Debug)]
pub struct DataAllocator {
    space: Space,
    /// What the filesystem itself has in use.
    own: Space,
    block_size: BlockSize,
    has_extents: bool,
    /// Free blocks set aside. They go to contents once there are no others.
    reserve: VecDeque<Run>,
    /// Where the next free block is sought.
    cursor: Block,
    /// No gap is longer, in blocks.
    longest_gap: u64,
    /// The blocks there were for content.
    room: u64,
    /// Those that contents have or their maps will need.
    used: u64,
    /// How many contents have blocks, each of which is an inode's.
    contents: u64,
    /// The inodes of the filesystem's own, and all.
    inodes: (u32, u32),
    /// Everything that was given back.
    released: Vec<Run>,
}

/// How many blocks a tree needs.
pub(super) struct DataDemand {
    /// For the data of its contents.
    pub(super) data: u64,
    /// For the root directory.
    pub(super) root: u64,
    /// For all but data, the root directory among it.
    pub(super) others: u64,
}

impl DataAllocator {
    /// Whether there is room for data outside of what is set aside, and for all else. The root directory
    /// is the first that takes what is set aside and shall not go further, since the filesystem's own
    /// files need room in one piece.
    pub(super) fn has_plenty(&self, demand: &DataDemand) -> bool {
        let DataDemand { data, root, others } = *demand;
        let aside: u64 = self.reserve.iter().map(|run| run.len).sum();
        let room = self.room - self.room / SLACK_SHARE;
        root <= aside && data.saturating_add(aside.max(others)) <= room
    }

    /// The places that are free in the ledger of a filesystem without content.
    pub(super) fn outside(geometry: &Geometry, own: &Ledger) -> Self {
        let room = own.total_free();
        let own = own.space().clone();
        let mut allocator = Self {
            space: own.clone(),
            own,
            block_size: geometry.block_size,
            has_extents: geometry.features.has(Feature::Extent),
            reserve: VecDeque::new(),
            cursor: Block::default(),
            longest_gap: u64::MAX,
            room,
            used: 0,
            contents: 0,
            inodes: (geometry.last_own_ino().get(), geometry.inodes_count),
            released: Vec::new(),
        };
        let bytes = u64::from(geometry.inodes_count) * RESERVE_PER_INODE;
        let blocks = geometry.block_size.blocks_for(bytes);
        allocator.set_aside(blocks.min(allocator.room / RESERVE_SHARE));
        allocator
    }

    /// Takes `blocks` blocks, in whole clusters, off what contents can have.
    fn set_aside(&mut self, blocks: u64) {
        let mut left = blocks.next_multiple_of(self.space.cluster_ratio());
        while left > 0
            && let Some(start) = self.space.free_near(Block::default())
        {
            let run = self.space.free_run(start, left);
            if !self.space.take(run) {
                return;
            }
            self.reserve.push_back(run);
            left -= run.len;
        }
    }

    /// Decides where the data of `content` goes. Data that fits in a gap is in one piece.
    ///
    /// # Errors
    /// Where there are fewer blocks or inodes than the file data needs by now.
    pub fn place(&mut self, content: &Content) -> Result<DataPlace, LayoutError> {
        self.place_file(&content.into())
    }

    /// The same for a content and what may lie behind it.
    pub(super) fn place_file(&mut self, content: &FileData<'_>) -> Result<DataPlace, LayoutError> {
        let ratio = self.space.cluster_ratio();
        let blocks = content_blocks(content, self.block_size, ratio);
        self.check_room(blocks)?;
        let known_nodes = if self.has_extents {
            0
        } else {
            let mut ranges = block_ranges(content, self.block_size);
            block_map::nodes_needed(self.block_size, &mut ranges)
        };
        self.check_room(blocks + known_nodes * ratio)?;
        self.check_inodes()?;
        let runs = self.take(blocks, block_ranges(content, self.block_size))?;
        let map_nodes = if self.has_extents {
            self.tree_nodes(content, &runs)
        } else {
            known_nodes
        };
        self.used += blocks + map_nodes * ratio;
        self.contents += 1;
        Ok(DataPlace {
            runs: match runs[..] {
                [run] => Runs::One(run),
                _ => Runs::Several(runs.into()),
            },
            blocks: blocks + map_nodes * ratio,
        })
    }

    fn check_room(&self, blocks: u64) -> Result<(), LayoutError> {
        let needed = blocks.saturating_add(self.used);
        if needed <= self.room {
            Ok(())
        } else {
            Err(LayoutError::ContentTooBig {
                needed,
                free: self.room,
                block_size: self.block_size.bytes(),
            })
        }
    }

    fn check_inodes(&self) -> Result<(), LayoutError> {
        let (own, inodes) = self.inodes;
        let needed = u64::from(own) + self.contents + 1;
        if needed <= u64::from(inodes) {
            Ok(())
        } else {
            Err(LayoutError::TooFewInodes { needed, inodes })
        }
    }

    /// The blocks of the extent tree of a content at `runs`.
    fn tree_nodes(&self, content: &FileData<'_>, runs: &[Run]) -> u64 {
        let extents = placed_pieces(content.clone(), runs, self.block_size)
            .map(|(at, run)| cut(at, run).count())
            .sum();
        let nodes = ExtentTree::blocks_needed(extents, self.block_size);
        u64::try_from(nodes).unwrap_or(u64::MAX)
    }

    /// Takes whole clusters for the logical blocks of `ranges`, `blocks` blocks in all.
    fn take(
        &mut self,
        blocks: u64,
        ranges: impl Iterator<Item = Range<u64>>,
    ) -> Result<Vec<Run>, LayoutError> {
        let ratio = self.space.cluster_ratio();
        self.seek_gap(blocks);
        let mut runs: Vec<Run> = Vec::new();
        // The last clusters taken: the first logical block behind them, and where they end.
        let (mut taken, mut end) = (0, Block::default());
        for range in ranges {
            let mut at = range.start;
            while at < range.end {
                if at >= taken {
                    let first = at - at % ratio;
                    let run = self.next_run(range.end.next_multiple_of(ratio) - first)?;
                    (taken, end) = (first + run.len, run.end());
                }
                let len = taken.min(range.end) - at;
                let start = Block::new(end.get() - (taken - at));
                match runs.last_mut() {
                    Some(last) if last.end() == start => last.len += len,
                    _ => runs.push(Run::new(start, len)),
                }
                at += len;
            }
        }
        Ok(runs)
    }

    /// Moves on to the next gap that holds `blocks` blocks, round the end if need be.
    fn seek_gap(&mut self, blocks: u64) {
        // Gaps only shrink until something is given back: what no gap held, none will.
        if blocks > self.longest_gap {
            return;
        }
        match self.space.find(self.cursor, self.cursor, blocks) {
            Some(start) => self.cursor = start,
            None => self.longest_gap = blocks - 1,
        }
    }

    /// Takes the next free blocks, at most `most` of them.
    fn next_run(&mut self, most: u64) -> Result<Run, LayoutError> {
        loop {
            if let Some(start) = self.space.free_near(self.cursor) {
                let run = self.space.free_run(start, most);
                if self.space.take(run) {
                    self.cursor = run.end();
                    return Ok(run);
                }
            }
            // What was set aside is better filled with contents than left when they do not fit.
            let aside = self.reserve.pop_back();
            let aside = aside.ok_or(LayoutError::ContentTooBig {
                needed: self.room + most,
                free: self.room,
                block_size: self.block_size.bytes(),
            })?;
            self.space.release(aside);
        }
    }

    /// Takes back `place`, whose content the tree does not hold any more.
    pub fn release(&mut self, place: &DataPlace) {
        let ratio = self.space.cluster_ratio();
        for run in place.runs() {
            let start = run.start.get() - run.start.get() % ratio;
            let end = run.end().get().next_multiple_of(ratio);
            let whole = Run::new(Block::new(start), end - start);
            self.space.release(whole);
            self.released.push(whole);
        }
        self.used -= place.blocks;
        self.contents -= 1;
        self.longest_gap = u64::MAX;
    }

    /// The blocks that ever held file data, in ascending order; they may overlap.
    pub fn ever_used(mut self) -> Vec<Run> {
        for aside in std::mem::take(&mut self.reserve) {
            self.space.release(aside);
        }
        for own in self.own.used() {
            self.space.release(own);
        }
        let mut runs = self.released;
        runs.extend(self.space.used());
        runs.sort_unstable();
        runs
    }
}

/// Where one content lies.
#[derive(Debug, Default)]
pub struct DataPlace {
    runs: Runs,
    /// What it takes of the room for contents, in blocks.
    blocks: u64,
}

/// Most contents lie in one piece, and there may be millions of them: one run needs no memory of its
/// own.
#[derive(Debug)]
enum Runs {
    One(Run),
    Several(Box<[Run]>),
}

impl Default for Runs {
    fn default() -> Self {
        Self::Several(Box::default())
    }
}

impl DataPlace {
    /// The blocks of its data, in the order of the file.
    pub fn runs(&self) -> &[Run] {
        match &self.runs {
            Runs::One(run) => std::slice::from_ref(run),
            Runs::Several(runs) => runs,
        }
    }
}

/// The pieces of file data that lies in `runs`: each is blocks that are neighbours in the file and on
/// disk, with the first one's place in the file.
pub fn placed_pieces<'a>(
    content: impl Into<FileData<'a>>,
    runs: &'a [Run],
    block_size: BlockSize,
) -> impl Iterator<Item = (LogicalBlock, Run)> + 'a {
    let mut ranges = block_ranges(&content.into(), block_size);
    let mut runs = runs.iter().copied();
    let (mut range, mut run) = (0..0, Run::new(Block::default(), 0));
    std::iter::from_fn(move || {
        if range.is_empty() {
            range = ranges.next()?;
        }
        if run.len == 0 {
            run = runs.next()?;
        }
        let len = run.len.min(range.end - range.start);
        let piece = (logical(range.start), Run::new(run.start, len));
        range.start += len;
        run = Run::new(run.start.plus(len), run.len - len);
        Some(piece)
    })
}
