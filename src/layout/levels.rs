//! Given how many items a tree holds, gives how many nodes each of its levels has; never what a node is.
//!
//! Extent trees and hash trees are the same shape: a root of limited room, and below it nodes that
//! are full but for the last of each level. Nodes are numbered from the top level to the lowest.

use std::ops::Range;

/// How many children a root and a node have room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fanout {
    /// The root.
    pub(super) root: usize,
    /// Every other node; at least 2.
    pub(super) node: usize,
}

/// How many nodes each level of a tree has below its root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Levels {
    /// The lowest level first.
    nodes: [usize; Self::MOST],
    depth: usize,
    fanout: Fanout,
}

impl Levels {
    /// The smallest node has room for 84 children: seven levels hold 2^32 items by far.
    const MOST: usize = 7;

    /// The fewest levels that hold `items` items.
    pub(super) fn new(items: usize, fanout: Fanout) -> Self {
        let mut levels = Self {
            nodes: [0; Self::MOST],
            depth: 0,
            fanout,
        };
        let mut below = items;
        while below > fanout.root && levels.depth < Self::MOST {
            below = below.div_ceil(fanout.node);
            levels.nodes[levels.depth] = below;
            levels.depth += 1;
        }
        levels
    }

    /// How many levels of nodes there are below the root.
    pub(super) fn depth(&self) -> usize {
        self.depth
    }

    /// How many nodes there are below the root.
    pub(super) fn total(&self) -> usize {
        self.nodes.iter().sum()
    }

    /// The number of `level`'s first node; level 0 is the lowest.
    pub(super) fn first(&self, level: usize) -> usize {
        self.nodes[level + 1..].iter().sum()
    }

    /// The level of the node `number`, and its place there; `None` where there is no such node.
    pub(super) fn find(&self, number: usize) -> Option<(usize, usize)> {
        let level = (0..self.depth).find(|level| number >= self.first(*level))?;
        let place = number - self.first(level);
        (place < self.nodes[level]).then_some((level, place))
    }

    /// The children of the root, out of `items` items in all.
    pub(super) fn of_root(&self, items: usize) -> Range<usize> {
        0..self.on_level(self.depth, items)
    }

    /// The children of `level`'s node `place`, out of `items` items in all.
    pub(super) fn of_node(&self, level: usize, place: usize, items: usize) -> Range<usize> {
        let first = place * self.fanout.node;
        first..self.on_level(level, items).min(first + self.fanout.node)
    }

    /// The first item below `level`'s node `place`.
    pub(super) fn first_item(&self, level: usize, place: usize) -> usize {
        (0..=level).fold(place, |item, _| item * self.fanout.node)
    }

    /// How many children the nodes of `level` have together.
    fn on_level(&self, level: usize, items: usize) -> usize {
        match level.checked_sub(1) {
            None => items,
            Some(below) => self.nodes[below],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_numbered_from_the_top() {
        let levels = Levels::new(17, Fanout { root: 2, node: 3 });
        assert_eq!((levels.depth(), levels.total()), (2, 6 + 2));
        assert_eq!(levels.of_root(17), 0..2);
        let found: Vec<_> = (0..9).map(|number| levels.find(number)).collect();
        assert_eq!(found[..3], [Some((1, 0)), Some((1, 1)), Some((0, 0))]);
        assert_eq!(found[7..], [Some((0, 5)), None]);
        assert_eq!(levels.of_node(1, 1, 17), 3..6);
        assert_eq!(levels.of_node(0, 5, 17), 15..17);
        assert_eq!(levels.first_item(1, 1), 9);
        assert_eq!(levels.first(0), 2);
    }

    #[test]
    fn what_fits_the_root_needs_no_nodes() {
        let fanout = Fanout { root: 4, node: 84 };
        assert_eq!(Levels::new(4, fanout).total(), 0);
        assert_eq!(Levels::new(5, fanout).total(), 1);
        assert_eq!(Levels::new(5, fanout).of_root(5), 0..1);
    }
}
