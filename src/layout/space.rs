//! Given which blocks are in use, says where is room; never who uses them.

use std::collections::BTreeMap;

use crate::units::{Block, Run};

/// The blocks of a filesystem, free or in use.
#[derive(Clone, Debug)]
pub(super) struct Space {
    first_block: u64,
    end: u64,
    /// Blocks per cluster: what is free begins and ends at a cluster's border.
    cluster_ratio: u64,
    /// Runs in use by their first block, to the first block after them; neighbours are joined.
    used: BTreeMap<u64, u64>,
}

impl Space {
    /// The blocks from `first_block` to before `end`, all free.
    pub(super) fn new(first_block: u64, end: u64) -> Self {
        Self {
            first_block,
            end,
            cluster_ratio: 1,
            used: BTreeMap::new(),
        }
    }

    /// From now on a search begins at the border of a cluster of `ratio` blocks.
    pub(super) fn set_cluster_ratio(&mut self, ratio: u64) {
        self.cluster_ratio = ratio;
    }

    /// Blocks per cluster.
    pub(super) fn cluster_ratio(&self) -> u64 {
        self.cluster_ratio
    }

    /// Takes `run`, and says whether it could: a run that is empty, leaves the filesystem or has a
    /// block in use cannot be taken.
    #[must_use = "a run that could not be taken is somebody else's"]
    pub(super) fn take(&mut self, run: Run) -> bool {
        let (start, end) = (run.start.get(), run.end().get());
        if start < self.first_block || end > self.end || start >= end {
            return false;
        }
        let mut near = self.used.range_mut(..=end);
        let mut before = near.next_back();
        // What begins right behind `run` is joined to it.
        let mut end = end;
        let mut after = None;
        if let Some((&from, &mut to)) = before
            && from == end
        {
            (after, end) = (Some(from), to);
            before = near.next_back();
        }
        match before {
            Some((_, to)) if *to > start => return false,
            Some((_, to)) if *to == start => *to = end,
            _ => {
                self.used.insert(start, end);
            }
        }
        if let Some(after) = after {
            self.used.remove(&after);
        }
        true
    }

    /// Gives all of `run` back, whether in use or free.
    pub(super) fn release(&mut self, run: Run) {
        let (start, end) = (run.start.get(), run.end().get());
        while let Some((&from, &to)) = self.used.range(..end).next_back() {
            if to <= start {
                break;
            }
            self.used.remove(&from);
            if to > end {
                self.used.insert(end, to);
            }
            if from < start {
                self.used.insert(from, start);
                break;
            }
        }
    }

    /// All runs in use, in ascending order.
    pub(super) fn used(&self) -> impl Iterator<Item = Run> + '_ {
        let used = self.used.iter();
        used.map(|(from, to)| Run::new(Block::new(*from), to - from))
    }

    /// Whether no block of `run` is claimed.
    pub(super) fn is_free(&self, run: Run) -> bool {
        self.used
            .range(..run.end().get())
            .next_back()
            .is_none_or(|(_, end)| *end <= run.start.get())
    }

    /// The first free block at or after `goal`.
    pub(super) fn free_from(&self, goal: Block) -> Option<Block> {
        let goal = goal.get().max(self.first_block);
        let free = match self.used.range(..=goal).next_back() {
            Some((_, end)) if *end > goal => *end,
            _ => goal,
        };
        (free < self.end).then_some(Block::new(free))
    }

    /// The first free block at or after `goal`, or else the first one before it, as
    /// `ext2fs_new_block` searches.
    pub(super) fn free_near(&self, goal: Block) -> Option<Block> {
        let in_range = goal.get() >= self.first_block && goal.get() < self.end;
        let goal = if in_range { goal } else { self.first() };
        let goal = Block::new(goal.get() - goal.get() % self.cluster_ratio);
        self.free_from(goal).or_else(|| {
            let free = self.free_from(self.first())?;
            (free < goal).then_some(free)
        })
    }

    /// The free blocks from `start`, itself free, up to the next claimed one, at most `most`.
    pub(super) fn free_run(&self, start: Block, most: u64) -> Run {
        let next = self.used.range(start.get()..).next();
        let end = next.map_or(self.end, |(used, _)| *used);
        Run::new(start, (end - start.get()).min(most))
    }

    /// The first place for `len` free blocks in a row that `ext2fs_get_free_blocks2` finds between
    /// `start` and `finish`: first blocks from `start` to before `finish`, round the end if
    /// `finish` is not above `start`.
    pub(super) fn find(&self, start: Block, finish: Block, len: u64) -> Option<Block> {
        let from = start.max(self.first());
        if finish > start {
            return self.find_between(from, finish, len);
        }
        self.find_between(from, Block::new(self.end), len)
            .or_else(|| self.find_between(self.first(), finish, len))
    }

    /// The free blocks of `run`.
    pub(super) fn count_free(&self, run: Run) -> u64 {
        run.len - self.used_in(run).map(|used| used.len).sum::<u64>()
    }

    /// The free blocks of each of `runs`, which are in ascending order.
    pub(super) fn free_in_each(&self, runs: impl Iterator<Item = Run>) -> Vec<u64> {
        let mut all_used = self.used();
        let mut used = all_used.next();
        let free = runs.map(|run| {
            let mut free = run.len;
            while let Some(now) = used
                && now.start < run.end()
            {
                let (start, end) = (now.start.max(run.start), now.end().min(run.end()));
                free -= end.get().saturating_sub(start.get());
                if now.end() > run.end() {
                    break;
                }
                used = all_used.next();
            }
            free
        });
        free.collect()
    }

    /// All free blocks.
    pub(super) fn total_free(&self) -> u64 {
        let used: u64 = self.used.iter().map(|(start, end)| end - start).sum();
        self.end - self.first_block - used
    }

    /// The parts of `run` in use, in ascending order, neighbours joined.
    pub(super) fn used_in(&self, run: Run) -> impl Iterator<Item = Run> + '_ {
        let (start, end) = (run.start.get(), run.end().get());
        let before = self.used.range(..start).next_back();
        before
            .into_iter()
            .chain(self.used.range(start..end))
            .map(move |(from, to)| ((*from).max(start), (*to).min(end)))
            .filter(|(from, to)| from < to)
            .map(|(from, to)| Run::new(Block::new(from), to - from))
    }

    fn first(&self) -> Block {
        Block::new(self.first_block)
    }

    fn find_between(&self, from: Block, before: Block, len: u64) -> Option<Block> {
        let mut candidate = self.free_from(from)?.get();
        let mut ahead = self.used.range(candidate..);
        while candidate < before.get() && candidate.checked_add(len)? <= self.end {
            match ahead.next() {
                Some((used, end)) if used - candidate < len => candidate = *end,
                _ => return Some(Block::new(candidate)),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_released_is_free_again() {
        let run = |start, len| Run::new(Block::new(start), len);
        let mut space = Space::new(1, 100);
        for taken in [run(10, 10), run(30, 5), run(40, 5)] {
            assert!(space.take(taken));
        }
        for released in [run(12, 3), run(1, 5), run(33, 8), run(44, 10)] {
            space.release(released);
        }
        let left: Vec<Run> = space.used().collect();
        assert_eq!(left, [run(10, 2), run(15, 5), run(30, 3), run(41, 3)]);
        assert!(!space.take(run(16, 1)) && space.take(run(12, 3)));
        assert_eq!(space.used().next(), Some(run(10, 10)));
        let parts = [(1, 9), (10, 10), (25, 10), (35, 8), (43, 57)].map(|(at, len)| run(at, len));
        let free = space.free_in_each(parts.into_iter());
        assert_eq!(free, parts.map(|part| space.count_free(part)));
        assert_eq!(free, [9, 0, 7, 6, 56]);
    }
}
