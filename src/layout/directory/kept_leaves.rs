//! Given names in the order of their hashes and the blocks that held such names before, deals the names to
//! the same blocks; never one to a block of other hashes.
//!
//! A block's names are those from its hash on, so that a name that comes or goes changes one block. One that
//! is too full is cut into several of about the same size.

use super::{Hashed, Leaf, Names, entry_bytes};
use crate::base;

/// How much of the blocks must be filled for them to be kept: a half.
const LEAST_FILLED: usize = 2;

/// Blocks of names, in the order of their hashes.
pub(super) struct Dealt {
    pub(super) leaves: Vec<Leaf>,
    /// For each its number in the directory before, if it had one.
    pub(super) before: Vec<Option<u32>>,
}

/// What names are dealt by.
pub(super) struct Deal<'a, N: ?Sized> {
    pub(super) names: &'a N,
    pub(super) hashed: &'a [Hashed],
    /// The bytes for names in a block.
    pub(super) space: usize,
}

/// The blocks of names of one stretch of hashes.
struct Stretch<'a> {
    /// The blocks that held it before.
    blocks: &'a [base::Leaf],
    /// The first name, and the first behind.
    start: usize,
    end: usize,
}

impl<N: Names + ?Sized> Deal<'_, N> {
    /// Deals the names to the blocks `before`; none where these are too empty to be kept.
    pub(super) fn by(&self, before: &[base::Leaf]) -> Option<Dealt> {
        let mut dealt = Dealt {
            leaves: Vec::new(),
            before: Vec::new(),
        };
        let mut rest = before;
        let mut start = 0;
        while let Some((_, others)) = rest.split_first() {
            // Names of one hash may lie in two blocks: where they are divided, nothing says.
            let continued = others.iter().take_while(|leaf| leaf.hash & 1 == 1).count();
            let (blocks, behind) = rest.split_at(1 + continued);
            let end = match behind.first() {
                Some(next) => self
                    .hashed
                    .partition_point(|(key, _)| major(*key) < next.hash),
                None => self.hashed.len(),
            };
            let end = end.max(start);
            self.stretch(&Stretch { blocks, start, end }, &mut dealt);
            (start, rest) = (end, behind);
        }
        let filled = self.bytes(0, self.hashed.len());
        let room = dealt.leaves.len().saturating_mul(self.space);
        (filled.saturating_mul(LEAST_FILLED) >= room && room > 0).then_some(dealt)
    }

    fn stretch(&self, stretch: &Stretch<'_>, dealt: &mut Dealt) {
        let Stretch { blocks, start, end } = *stretch;
        let bytes = self.bytes(start, end);
        let starts = match blocks {
            [_] if bytes <= self.space => vec![start],
            [_] => self
                .evenly(start, end, bytes)
                .unwrap_or_else(|| self.greedily(start, end)),
            _ => self.greedily(start, end),
        };
        let hash = blocks.first().map_or(0, |leaf| leaf.hash);
        for (number, first) in starts.into_iter().enumerate() {
            let hash = if number == 0 {
                hash
            } else {
                self.hash_at(first)
            };
            dealt.leaves.push(Leaf {
                first: u32::try_from(first).unwrap_or(u32::MAX),
                hash,
            });
            dealt.before.push(blocks.get(number).map(|leaf| leaf.block));
        }
    }

    /// The hash that the block that begins with the name `first` has in the index.
    fn hash_at(&self, first: usize) -> u32 {
        let hash = |at: usize| self.hashed.get(at).map(|(key, _)| major(*key));
        let own = hash(first).unwrap_or_default();
        let before = first.checked_sub(1).and_then(hash);
        own | u32::from(before == Some(own))
    }

    /// Cuts between different hashes into as few parts of about the same size as there can be.
    fn evenly(&self, start: usize, end: usize, bytes: usize) -> Option<Vec<usize>> {
        let parts = bytes.div_ceil(self.space);
        let most = bytes.div_ceil(parts);
        let mut starts = vec![start];
        let mut filled = 0;
        for at in start..end {
            if filled >= most && self.hash_at(at) & 1 == 0 {
                starts.push(at);
                filled = 0;
            }
            filled += self.bytes(at, at + 1);
            if filled > self.space {
                return None;
            }
        }
        Some(starts)
    }

    /// Fills each block before the next.
    fn greedily(&self, start: usize, end: usize) -> Vec<usize> {
        let mut starts = vec![start];
        let mut left = self.space;
        for at in start..end {
            let bytes = self.bytes(at, at + 1);
            if left < bytes {
                starts.push(at);
                left = self.space;
            }
            left -= bytes;
        }
        starts
    }

    fn bytes(&self, start: usize, end: usize) -> usize {
        let hashed = self.hashed.get(start..end).unwrap_or_default();
        let names = hashed.iter().map(|(_, index)| {
            let index = usize::try_from(*index).unwrap_or(usize::MAX);
            entry_bytes(self.names.name(index).len())
        });
        names.sum()
    }
}

fn major(key: u64) -> u32 {
    u32::try_from(key >> 32).unwrap_or(u32::MAX)
}
