//! Given claims on runs of blocks, gives who owns what and where is room; never a byte.
//!
//! Every block is claimed at most once. Bitmaps, free counts and the order of emission are views
//! of the ledger, so they cannot disagree with it.

use std::collections::BTreeMap;
use std::fmt;

use super::Owner;
use crate::units::{Block, Run};

/// One claim: a run of blocks and its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The blocks.
    pub run: Run,
    /// Who owns them.
    pub owner: Owner,
}

/// Which blocks are in use, and by whom.
#[derive(Clone, Debug)]
pub struct Ledger {
    first_block: u64,
    end: u64,
    /// Blocks per cluster: what is free begins and ends at a cluster's border.
    cluster_ratio: u64,
    /// Runs in use by their first block, to the first block after them; neighbours are joined.
    used: BTreeMap<u64, u64>,
    claims: Vec<Claim>,
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
            "{} for {:?}: empty, outside of the filesystem or claimed before",
            self.run, self.owner
        )
    }
}

impl std::error::Error for ClaimError {}

impl Ledger {
    /// A ledger of the blocks from `first_block` to before `end`, all free.
    pub fn new(first_block: u64, end: u64) -> Self {
        Self {
            first_block,
            end,
            cluster_ratio: 1,
            used: BTreeMap::new(),
            claims: Vec::new(),
        }
    }

    /// Gives `run` to `owner`.
    ///
    /// # Errors
    /// Where the run is empty, leaves the filesystem, or has a block that is claimed.
    pub fn claim(&mut self, run: Run, owner: Owner) -> Result<(), ClaimError> {
        let (start, end) = (run.start.get(), run.end().get());
        let inside = start >= self.first_block && end <= self.end && start < end;
        if !inside || !self.is_free(run) {
            return Err(ClaimError { run, owner });
        }
        self.mark(start, end);
        self.claims.push(Claim { run, owner });
        Ok(())
    }

    /// From now on blocks are given out in clusters of `ratio`: what is left of a cluster that is
    /// in use belongs to nobody.
    ///
    /// # Errors
    /// Where a cluster leaves the filesystem.
    pub fn form_clusters(&mut self, ratio: u64) -> Result<(), ClaimError> {
        self.cluster_ratio = ratio;
        let used: Vec<(u64, u64)> = self.used.iter().map(|(from, to)| (*from, *to)).collect();
        for (from, to) in used {
            // What lies between two runs of one cluster was filled from the first of them.
            let free = self.free_from(Block::new(from - from % ratio));
            if let Some(free) = free.filter(|free| free.get() < from) {
                let slack = Run::new(free, from - free.get());
                self.claim(slack, Owner::ClusterSlack)?;
            }
            self.claim_rest_of_cluster(Block::new(to))?;
        }
        Ok(())
    }

    /// Gives the rest of the cluster that `end`, the first block behind a claim, lies in to nobody,
    /// if it is free.
    ///
    /// # Errors
    /// Where the cluster leaves the filesystem.
    pub fn claim_rest_of_cluster(&mut self, end: Block) -> Result<(), ClaimError> {
        let rest = end.get().next_multiple_of(self.cluster_ratio) - end.get();
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

    /// Whether no block of `run` is claimed.
    pub fn is_free(&self, run: Run) -> bool {
        self.used
            .range(..run.end().get())
            .next_back()
            .is_none_or(|(_, end)| *end <= run.start.get())
    }

    /// The first free block at or after `goal`.
    pub fn free_from(&self, goal: Block) -> Option<Block> {
        let goal = goal.get().max(self.first_block);
        let free = match self.used.range(..=goal).next_back() {
            Some((_, end)) if *end > goal => *end,
            _ => goal,
        };
        (free < self.end).then_some(Block::new(free))
    }

    /// The first free block at or after `goal`, or else the first one before it, as
    /// `ext2fs_new_block` searches.
    pub fn free_near(&self, goal: Block) -> Option<Block> {
        let in_range = goal.get() >= self.first_block && goal.get() < self.end;
        let goal = if in_range { goal } else { self.first() };
        let goal = Block::new(goal.get() - goal.get() % self.cluster_ratio);
        self.free_from(goal).or_else(|| {
            let free = self.free_from(self.first())?;
            (free < goal).then_some(free)
        })
    }

    /// The free blocks from `start`, itself free, up to the next claimed one, at most `most`.
    pub fn free_run(&self, start: Block, most: u64) -> Run {
        let next = self.used.range(start.get()..).next();
        let end = next.map_or(self.end, |(used, _)| *used);
        Run::new(start, (end - start.get()).min(most))
    }

    /// The first place for `len` free blocks in a row that `ext2fs_get_free_blocks2` finds between
    /// `start` and `finish`: first blocks from `start` to before `finish`, round the end if
    /// `finish` is not above `start`.
    pub fn find(&self, start: Block, finish: Block, len: u64) -> Option<Block> {
        let from = start.max(self.first());
        if finish > start {
            return self.find_between(from, finish, len);
        }
        self.find_between(from, Block::new(self.end), len)
            .or_else(|| self.find_between(self.first(), finish, len))
    }

    /// The free blocks of `run`.
    pub fn count_free(&self, run: Run) -> u64 {
        run.len - self.used_in(run).map(|used| used.len).sum::<u64>()
    }

    /// All free blocks.
    pub fn total_free(&self) -> u64 {
        let used: u64 = self.used.iter().map(|(start, end)| end - start).sum();
        self.end - self.first_block - used
    }

    /// The parts of `run` in use, in ascending order, neighbours joined.
    pub fn used_in(&self, run: Run) -> impl Iterator<Item = Run> + '_ {
        let (start, end) = (run.start.get(), run.end().get());
        let before = self.used.range(..start).next_back();
        before
            .into_iter()
            .chain(self.used.range(start..end))
            .map(move |(from, to)| ((*from).max(start), (*to).min(end)))
            .filter(|(from, to)| from < to)
            .map(|(from, to)| Run::new(Block::new(from), to - from))
    }

    /// Puts the claims in ascending order of blocks.
    pub fn sort(&mut self) {
        self.claims.sort_unstable_by_key(|claim| claim.run.start);
    }

    /// Every claim, in the order they were made, or of blocks once sorted.
    pub fn claims(&self) -> &[Claim] {
        &self.claims
    }

    fn first(&self) -> Block {
        Block::new(self.first_block)
    }

    fn find_between(&self, from: Block, before: Block, len: u64) -> Option<Block> {
        let mut candidate = self.free_from(from)?;
        loop {
            let fits = candidate.plus(len).get() <= self.end;
            if candidate >= before || !fits {
                return None;
            }
            let run = self.free_run(candidate, len);
            if run.len == len {
                return Some(candidate);
            }
            candidate = self.free_from(run.end())?;
        }
    }

    fn mark(&mut self, start: u64, end: u64) {
        let (mut start, mut end) = (start, end);
        if let Some((&before, &before_end)) = self.used.range(..start).next_back()
            && before_end == start
        {
            start = before;
        }
        if let Some(after_end) = self.used.remove(&end) {
            end = after_end;
        }
        self.used.insert(start, end);
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
        assert_eq!(ledger.used, BTreeMap::from([(10, 25)]));
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
