//! Given nodes one after another, gives each the number of an inode that is free near another; never one
//! that is taken.

use std::ops::Range;

use super::NOBODY;
use crate::layout::LayoutError;
use crate::tree::NodeId;
use crate::units::Ino;

/// The numbers that there are for the nodes of a tree.
pub(super) struct Numbers {
    /// The first that is not the filesystem's own.
    pub(super) first: u32,
    /// The last.
    pub(super) count: u32,
    /// Those of the inodes that hold values of extended attributes.
    pub(super) values: Range<u64>,
    /// How many nodes there are.
    pub(super) nodes: usize,
}

/// Nodes that are given their numbers.
pub(super) struct Numbering {
    numbers: Numbers,
    /// The node of each number, from the first on.
    order: Vec<NodeId>,
    /// Of each number from the first on, one behind which no free one was left out: itself where it is free.
    /// Behind the end all are free. Empty where they are given one after another.
    free: Vec<u32>,
}

/// How far a base may scatter its numbers: so many in all, and so many for each node. A number beyond is not
/// kept, so that memory goes by what a tree holds.
const SCATTERED: usize = 1 << 22;
const SCATTERED_PER_NODE: usize = 64;

impl Numbering {
    pub(super) fn new(numbers: Numbers) -> Self {
        Self {
            numbers,
            order: Vec::new(),
            free: Vec::new(),
        }
    }

    /// Whether a node may have the number `ino`.
    pub(super) fn is_open(&self, ino: Ino) -> bool {
        let ino = ino.get();
        let scattered =
            SCATTERED.saturating_add(self.numbers.nodes.saturating_mul(SCATTERED_PER_NODE));
        let last = u32::try_from(scattered)
            .map_or(u32::MAX, |most| self.numbers.first.saturating_add(most));
        let is_there = (self.numbers.first..=self.numbers.count.min(last)).contains(&ino);
        let is_value = self.numbers.values.contains(&u64::from(ino));
        is_there && !is_value && self.at(ino).is_none_or(|node| node == NOBODY)
    }

    fn at(&self, ino: u32) -> Option<NodeId> {
        self.order.get(index(ino - self.numbers.first)).copied()
    }

    /// Gives `node` the number `ino`, which is open.
    pub(super) fn take(&mut self, node: NodeId, ino: Ino) {
        let place = index(ino.get() - self.numbers.first);
        if self.order.len() <= place {
            self.order.resize(place + 1, NOBODY);
        }
        self.order[place] = node;
    }

    /// Counts what is free among the numbers that were taken and behind them: from now on they are given by
    /// where others are.
    pub(super) fn count_free(&mut self) {
        let places = self.value_places();
        let end = places.end.max(self.order.len());
        let all = end.saturating_add(self.numbers.nodes).saturating_add(1);
        self.free = (0..u32::try_from(all).unwrap_or(u32::MAX)).collect();
        for (place, free) in self.free.iter_mut().enumerate().take(end) {
            let is_taken = self.order.get(place).is_some_and(|node| *node != NOBODY);
            if is_taken || places.contains(&place) {
                *free += 1;
            }
        }
    }

    /// Where the numbers of values are, counted from the first number.
    fn value_places(&self) -> Range<usize> {
        let Range { start, end } = self.numbers.values;
        let place = |ino: u64| ino.saturating_sub(self.numbers.first.into());
        let place = |ino: u64| usize::try_from(place(ino)).unwrap_or(usize::MAX);
        if start == end {
            0..0
        } else {
            place(start)..place(end)
        }
    }

    /// The first free place from `place` on.
    fn first_free(&mut self, place: usize) -> usize {
        let mut at = place;
        while let Some(next) = self.free.get(at).map(|next| index(*next)) {
            if next == at {
                break;
            }
            // Half of the way is left out the next time.
            if let Some(&behind) = self.free.get(next) {
                self.free[at] = behind;
            }
            at = next;
        }
        at
    }

    /// Gives `node` a number: the first free one behind `near`, or else the first of all; the next where
    /// they are given one after another.
    pub(super) fn next(&mut self, node: NodeId, near: Ino) -> Ino {
        let first = self.numbers.first;
        let place = if self.free.is_empty() {
            self.order.len()
        } else {
            self.free_near(index(near.get().saturating_sub(first)))
        };
        let number = u32::try_from(place).unwrap_or(u32::MAX);
        let ino = Ino::new(first.saturating_add(number));
        self.take(node, ino);
        ino
    }

    fn free_near(&mut self, from: usize) -> usize {
        let most = index(self.numbers.count.saturating_sub(self.numbers.first));
        let mut place = self.first_free(from);
        if place > most {
            place = self.first_free(0);
        }
        if let Some(next) = self.free.get_mut(place) {
            *next += 1;
        }
        place
    }

    /// The nodes by number, and the numbers among them that nobody has.
    pub(super) fn finish(self) -> Result<(Vec<NodeId>, Vec<Range<u32>>), LayoutError> {
        let value_places = self.value_places();
        let (first, inodes) = (self.numbers.first, self.numbers.count);
        let places = self.order.len().max(value_places.end);
        let needed = u64::from(first - 1) + count(places);
        if needed > u64::from(inodes) {
            return Err(LayoutError::TooFewInodes { needed, inodes });
        }
        let mut gaps: Vec<Range<u32>> = Vec::new();
        for place in 0..places {
            let node = self.order.get(place).copied().unwrap_or(NOBODY);
            if node != NOBODY || value_places.contains(&place) {
                continue;
            }
            let ino = first + u32::try_from(place).unwrap_or(u32::MAX);
            match gaps.last_mut() {
                Some(last) if last.end == ino => last.end += 1,
                _ => gaps.push(ino..ino + 1),
            }
        }
        Ok((self.order, gaps))
    }
}

fn count(places: usize) -> u64 {
    u64::try_from(places).unwrap_or(u64::MAX)
}

fn index(number: u32) -> usize {
    usize::try_from(number).expect("32 bits fit any usize")
}
