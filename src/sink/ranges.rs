//! Given ranges of bytes, gives the set they make; never knows what the set stands for.

use std::collections::BTreeMap;
use std::ops::Range;

/// A set of byte offsets, kept as ranges that neither overlap nor touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RangeSet(BTreeMap<u64, u64>);

impl RangeSet {
    /// Adds every offset of `range`.
    pub(super) fn insert(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let mut merged = range.clone();
        // Touching neighbours join as well, so that ascending order leaves one range.
        while let Some((&start, &end)) = self.0.range(..=merged.end).next_back() {
            if end < merged.start {
                break;
            }
            merged = merged.start.min(start)..merged.end.max(end);
            self.0.remove(&start);
        }
        self.0.insert(merged.start, merged.end);
    }

    /// Takes every offset of `range` out.
    pub(super) fn remove(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        while let Some((&start, &end)) = self.0.range(..range.end).next_back() {
            if end <= range.start {
                break;
            }
            self.0.remove(&start);
            if end > range.end {
                self.0.insert(range.end, end);
            }
            if start < range.start {
                self.0.insert(start, range.start);
                break;
            }
        }
    }

    /// Where the range begins that ends at `end`, or `end` where none does.
    pub(super) fn start_of_what_ends_at(&self, end: u64) -> u64 {
        match self.0.range(..end).next_back() {
            Some((&start, &found)) if found >= end => start,
            _ => end,
        }
    }

    /// The parts of `range` in the set, ascending.
    pub(super) fn within(&self, range: Range<u64>) -> Vec<Range<u64>> {
        if range.is_empty() {
            return Vec::new();
        }
        let before = self.0.range(..range.start).next_back();
        before
            .into_iter()
            .chain(self.0.range(range.clone()))
            .map(|(&start, &end)| start.max(range.start)..end.min(range.end))
            .filter(|part| !part.is_empty())
            .collect()
    }

    /// Whether any offset of `range` is in the set.
    pub(super) fn meets(&self, range: Range<u64>) -> bool {
        let last = self.0.range(..range.end).next_back();
        !range.is_empty() && last.is_some_and(|(_, end)| *end > range.start)
    }

    /// The parts of `range` that are not in the set, ascending.
    pub(super) fn missing_from(&self, range: Range<u64>) -> Vec<Range<u64>> {
        let mut missing = Vec::new();
        let mut from = range.start;
        for part in self.within(range.clone()) {
            if from < part.start {
                missing.push(from..part.start);
            }
            from = part.end;
        }
        if from < range.end {
            missing.push(from..range.end);
        }
        missing
    }

    /// Every range, ascending.
    pub(super) fn ranges(&self) -> Vec<Range<u64>> {
        self.0.iter().map(|(&start, &end)| start..end).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::RangeSet;

    proptest! {
        /// The set agrees with 64 booleans.
        #[test]
        fn agrees_with_a_plain_array(
            steps in prop::collection::vec((any::<bool>(), 0_u64..64, 0_u64..24), 0..40),
            from in 0_u64..64,
            to in 0_u64..64,
        ) {
            let mut set = RangeSet::default();
            let mut plain = [false; 64];
            for (insert, start, length) in steps {
                let range = start..(start + length).min(64);
                for at in range.clone() {
                    plain[usize::try_from(at).unwrap()] = insert;
                }
                if insert { set.insert(range) } else { set.remove(range) }
            }
            let inside = |at: u64, parts: &[std::ops::Range<u64>]| {
                parts.iter().any(|part| part.contains(&at))
            };
            let (all, within, missing) =
                (set.ranges(), set.within(from..to), set.missing_from(from..to));
            for at in 0..64 {
                let held = plain[usize::try_from(at).unwrap()];
                prop_assert_eq!(inside(at, &all), held);
                prop_assert_eq!(inside(at, &within), held && (from..to).contains(&at));
                prop_assert_eq!(inside(at, &missing), !held && (from..to).contains(&at));
            }
            prop_assert_eq!(set.meets(from..to), from < to && !within.is_empty());
            for pair in all.windows(2) {
                prop_assert!(pair[0].end < pair[1].start);
            }
        }
    }
}
