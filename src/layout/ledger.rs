//! Given claims on runs of blocks, gives who owns what and where is room; never a byte.
//!
//! Every block is claimed at most once. Bitmaps, free counts and the order of emission are views
//! of the ledger, so they cannot disagree with it.

use std::fmt;
use std::iter;

use super::Owner;
use super::kept::Kept;
use super::space::Space;
use crate::base::Piece;
use crate::units::{Block, Run};

/// One claim: a run of blocks and its owner. A tree may have millions, so there is nothing between
/// them.
#[repr(Rust, packed(4))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    start: Block,
    /// No owner has more in one piece than a file can have.
    blocks: u32,
    /// Who owns them.
    pub owner: Owner,
}

impl Claim {
    /// The claim of `owner` on `run`, if that is shorter than 2^32 blocks.
    pub(crate) fn new(run: Run, owner: Owner) -> Option<Self> {
        Some(Self {
            start: run.start,
            blocks: u32::try_from(run.len).ok()?,
            owner,
        })
    }

    /// The blocks.
    pub fn run(&self) -> Run {
        Run::new(self.start, self.blocks.into())
    }
}

/// Which blocks are in use, and by whom.
#[derive(Clone, Debug)]
pub struct Ledger {
    space: Space,
    claims: Vec<Claim>,
    /// What waits for the owners that had it before: nobody else is given it.
    kept: Kept,
}

/// A claim that cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClaimError {
    /// The run that was to be claimed.
    pub run: Run,
    /// Its owner to be.
    pub owner: Owner,
}

impl fmt::Display for ClaimError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} of {}: empty, too many, outside of the filesystem or claimed before",
            self.run, self.owner
        )
    }
}

impl std::error::Error for ClaimError {}

impl Ledger {
    /// A ledger of the blocks from `first_block` to before `end`, all free.
    pub fn new(first_block: u64, end: u64) -> Self {
        Self {
            space: Space::new(first_block, end),
            claims: Vec::new(),
            kept: Kept::default(),
        }
    }

    /// Gives `run` to `owner`.
    ///
    /// # Errors
    /// Where the run is empty or has 2^32 blocks or more, leaves the filesystem, or has a block that is
    /// claimed.
    pub fn claim(&mut self, run: Run, owner: Owner) -> Result<(), ClaimError> {
        match Claim::new(run, owner) {
            Some(claim) if self.space.take(run) => {
                self.claims.push(claim);
                Ok(())
            }
            _ => Err(ClaimError { run, owner }),
        }
    }

    /// Gives `each` blocks to each of `owners`, side by side from `start` on.
    ///
    /// # Errors
    /// Where any block is claimed or outside of the filesystem.
    pub fn claim_side_by_side(
        &mut self,
        start: Block,
        each: u32,
        mut owners: impl ExactSizeIterator<Item = Owner>,
    ) -> Result<(), ClaimError> {
        let blocks = u64::from(each);
        let all = u64::try_from(owners.len()).unwrap_or(u64::MAX);
        let run = Run::new(start, all.saturating_mul(blocks));
        let Some(first) = owners.next() else {
            return Ok(());
        };
        if !self.space.take(run) {
            return Err(ClaimError { run, owner: first });
        }
        let owners = iter::once(first).chain(owners);
        self.claims
            .extend(owners.zip(0..).map(|(owner, before)| Claim {
                start: start.plus(before * blocks),
                blocks: each,
                owner,
            }));
        Ok(())
    }

    /// From now on blocks are given out in clusters of `ratio`: what is left of a cluster that is
    /// in use belongs to nobody.
    ///
    /// # Errors
    /// Where a cluster leaves the filesystem.
    pub fn form_clusters(&mut self, ratio: u64) -> Result<(), ClaimError> {
        self.space.set_cluster_ratio(ratio);
        let used: Vec<Run> = self.space.used().collect();
        for run in used {
            let from = run.start.get();
            // What lies between two runs of one cluster was filled from the first of them.
            let free = self.free_from(Block::new(from - from % ratio));
            if let Some(free) = free.filter(|free| free.get() < from) {
                let slack = Run::new(free, from - free.get());
                self.claim(slack, Owner::ClusterSlack)?;
            }
            self.claim_rest_of_cluster(run.end())?;
        }
        Ok(())
    }

    /// Gives the rest of the cluster that `end`, the first block behind a claim, lies in to nobody,
    /// if it is free.
    ///
    /// # Errors
    /// Where the cluster leaves the filesystem.
    pub fn claim_rest_of_cluster(&mut self, end: Block) -> Result<(), ClaimError> {
        let rest = end.get().next_multiple_of(self.space.cluster_ratio()) - end.get();
        if rest == 0 || !self.is_free(Run::one(end)) {
            return Ok(());
        }
        self.claim(self.free_run(end, rest), Owner::ClusterSlack)
    }

    /// Gives `run`, which begins at a cluster's border, to `owner`, and what is left of its last
    /// cluster to nobody.
    ///
    /// # Errors
    /// As those of [`Ledger::claim`].
    pub fn claim_clusters(&mut self, run: Run, owner: Owner) -> Result<(), ClaimError> {
        self.claim(run, owner)?;
        self.claim_rest_of_cluster(run.end())
    }

    /// Puts the claims in ascending order of blocks.
    pub fn sort(&mut self) {
        self.claims.sort_unstable_by_key(|claim| claim.start);
    }

    /// Every claim, in the order they were made, or of blocks once sorted.
    pub fn claims(&self) -> &[Claim] {
        &self.claims
    }

    /// Which blocks are free, and which are in use.
    pub(super) fn space(&self) -> &Space {
        &self.space
    }

    /// Whether no block of `run` is claimed.
    pub fn is_free(&self, run: Run) -> bool {
        self.space.is_free(run)
    }

    /// The first free block at or after `goal`.
    pub fn free_from(&self, goal: Block) -> Option<Block> {
        self.space.free_from(goal)
    }

    /// The first free block at or after `goal`, or else the first one before it, as
    /// `ext2fs_new_block` searches.
    pub fn free_near(&self, goal: Block) -> Option<Block> {
        self.space.free_near(goal)
    }

    /// The free blocks from `start`, itself free, up to the next claimed one, at most `most`.
    pub fn free_run(&self, start: Block, most: u64) -> Run {
        self.space.free_run(start, most)
    }

    /// The first place for `len` free blocks in a row that `ext2fs_get_free_blocks2` finds between
    /// `start` and `finish`: first blocks from `start` to before `finish`, round the end if
    /// `finish` is not above `start`.
    pub fn find(&self, start: Block, finish: Block, len: u64) -> Option<Block> {
        self.space.find(start, finish, len)
    }

    /// The free blocks of `run`.
    pub fn count_free(&self, run: Run) -> u64 {
        self.space.count_free(run)
    }

    /// The free blocks of each of `runs`, which are in ascending order: faster than to count each.
    pub fn free_in_each(&self, runs: impl Iterator<Item = Run>) -> Vec<u64> {
        self.space.free_in_each(runs)
    }

    /// All free blocks, and those that wait for an owner.
    pub fn total_free(&self) -> u64 {
        self.space.total_free() + self.kept.waiting()
    }

    /// Keeps for `owner` the places that it had, as far as they are free.
    pub(super) fn keep(&mut self, owner: Owner, pieces: impl Iterator<Item = Piece>) {
        self.kept.keep(owner, pieces, &mut self.space);
    }

    /// How many blocks wait for `owner`, and where the last of them ends.
    pub(super) fn kept_for(&self, owner: Owner) -> Option<(u64, Block)> {
        self.kept.of(owner)
    }

    /// The place that waits for `owner`, which stays kept.
    pub(super) fn kept_run(&self, owner: Owner) -> Option<Run> {
        self.kept.run(owner)
    }

    /// Where `owner` goes, to be claimed at once: the place that waits for it, or else the first free one
    /// near `goal`; as many blocks in a row as there are, at most `most`.
    pub(super) fn run_for(&mut self, owner: Owner, goal: Block, most: u64) -> Option<Run> {
        if let Some(run) = self.kept.run(owner) {
            let run = Run::new(run.start, run.len.min(most));
            self.kept.release(run, &mut self.space);
            return Some(run);
        }
        let start = self.free_near(goal)?;
        Some(self.free_run(start, most.min(self.kept.blocks_before(owner))))
    }

    /// The same for one block, the `at`th of those that `owner` stands for.
    pub(super) fn block_for(&mut self, owner: Owner, at: u64, goal: Block) -> Option<Block> {
        let Some(run) = self.kept.run_at(owner, at) else {
            return self.free_near(goal);
        };
        self.kept.release(Run::one(run.start), &mut self.space);
        Some(run.start)
    }

    /// How many blocks their owners took that had waited for them.
    pub(super) fn kept_blocks(&self) -> u64 {
        self.kept.taken()
    }

    /// Gives up what still waits for an owner.
    pub(super) fn keep_nothing(&mut self) {
        self.kept.release_all(&mut self.space);
    }

    /// The parts of `run` in use, in ascending order, neighbours joined.
    pub fn used_in(&self, run: Run) -> impl Iterator<Item = Run> + '_ {
        self.space.used_in(run)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWNER: Owner = Owner::ResizeDoubleIndirect;

    fn run(start: u64, len: u64) -> Run {
        Run::new(Block::new(start), len)
    }

    fn ledger(claims: &[(u64, u64)]) -> Ledger {
        let mut ledger = Ledger::new(1, 100);
        for (start, len) in claims {
            ledger.claim(run(*start, *len), OWNER).unwrap();
        }
        ledger
    }

    #[test]
    fn no_block_is_claimed_twice() {
        let mut ledger = ledger(&[(10, 5), (20, 5)]);
        for bad in [(10, 1), (14, 1), (8, 3), (5, 50), (0, 2), (99, 2), (30, 0)] {
            let bad = run(bad.0, bad.1);
            assert_eq!(
                ledger.claim(bad, OWNER),
                Err(ClaimError {
                    run: bad,
                    owner: OWNER
                })
            );
        }
        ledger.claim(run(15, 5), OWNER).unwrap();
        assert_eq!(ledger.space.used().collect::<Vec<_>>(), [run(10, 15)]);
        assert_eq!(ledger.total_free(), 99 - 15);
    }

    #[test]
    fn free_blocks_are_found_from_a_goal() {
        let ledger = ledger(&[(1, 4), (10, 90)]);
        for (goal, free) in [(0, Some(5)), (1, Some(5)), (7, Some(7)), (10, None)] {
            assert_eq!(
                ledger.free_from(Block::new(goal)),
                free.map(Block::new),
                "{goal}"
            );
        }
        assert_eq!(ledger.free_near(Block::new(50)), Some(Block::new(5)));
        assert_eq!(ledger.free_near(Block::new(500)), Some(Block::new(5)));
        assert_eq!(ledger.free_run(Block::new(6), 100), run(6, 4));
    }

    #[test]
    fn a_place_is_sought_as_e2fsprogs_does() {
        let ledger = ledger(&[(1, 4), (10, 5), (20, 10)]);
        let find = |start, finish, len| {
            ledger
                .find(Block::new(start), Block::new(finish), len)
                .map(Block::get)
        };
        assert_eq!(find(0, 100, 5), Some(5));
        assert_eq!(find(0, 100, 6), Some(30));
        assert_eq!(find(0, 30, 6), None);
        assert_eq!(find(40, 0, 70), None);
        assert_eq!(find(96, 50, 5), Some(5));
        assert_eq!(find(96, 98, 5), None);
    }

    #[test]
    fn a_view_of_a_part_is_clipped() {
        let ledger = ledger(&[(8, 4), (20, 10)]);
        let used: Vec<Run> = ledger.used_in(run(10, 15)).collect();
        assert_eq!(used, [run(10, 2), run(20, 5)]);
        assert_eq!(ledger.count_free(run(10, 15)), 8);
    }
}
