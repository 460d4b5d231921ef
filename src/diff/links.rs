//! Given which files of two trees meet at which names, says whether the same names lead to the same file in
//! both; never compares anything else.

use std::collections::{HashMap, HashSet};

use super::Links;
use crate::tree::{NodeId, Tree};

/// Files with several names, as they have met.
#[derive(Debug, Default)]
pub(super) struct Met {
    /// Whom each file of a tree has met, in the other tree.
    partners: [HashMap<NodeId, NodeId>; 2],
    pairs: HashSet<[NodeId; 2]>,
}

/// How two files meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meeting {
    /// For the first time, neither having met another.
    First,
    /// For the first time, but one of them has met another: other names lead to each.
    Crossed {
        /// Whether both of them have.
        both_known: bool,
    },
    /// Again.
    Again,
}

impl Met {
    /// Says how two files meet, and remembers it. Those with one name each meet once.
    pub(super) fn meet(&mut self, trees: [&Tree; 2], nodes: [NodeId; 2]) -> Meeting {
        let [a, b] = nodes;
        let is_single = |side: usize| trees[side].node(nodes[side]).names <= 1;
        if is_single(0) && is_single(1) {
            return Meeting::First;
        }
        if !self.pairs.insert(nodes) {
            return Meeting::Again;
        }
        let known = [
            self.partners[0].insert(a, b).is_some(),
            self.partners[1].insert(b, a).is_some(),
        ];
        match known {
            [false, false] => Meeting::First,
            [a, b] => Meeting::Crossed { both_known: a && b },
        }
    }
}

/// The first name of every file of a tree.
pub(super) struct FirstNames<'a> {
    tree: &'a Tree,
    /// Of each node, the directory and the entry in it.
    places: Vec<Option<(NodeId, usize)>>,
}

impl<'a> FirstNames<'a> {
    pub(super) fn of(tree: &'a Tree) -> Self {
        let mut places = vec![None; tree.len()];
        let mut levels = vec![(NodeId::ROOT, 0)];
        while let Some((directory, next)) = levels.last_mut() {
            let (directory, at) = (*directory, *next);
            *next += 1;
            let Some(entry) = tree.entries(directory).get(at) else {
                levels.pop();
                continue;
            };
            let place = places.get_mut(entry.node.index());
            if let Some(place) = place.filter(|place| place.is_none()) {
                *place = Some((directory, at));
                levels.push((entry.node, 0));
            }
        }
        Self { tree, places }
    }

    /// How many names a file has, and which is the first.
    pub(super) fn links(&self, node: NodeId) -> Links {
        let mut names = Vec::new();
        let mut at = node;
        while let Some(Some((directory, entry))) = self.places.get(at.index()) {
            names.extend(self.tree.entries(*directory).get(*entry));
            at = *directory;
        }
        let names: Vec<&[u8]> = names.into_iter().rev().map(|entry| entry.name).collect();
        Links {
            names: self.tree.node(node).names,
            first: names.join(&b'/'),
        }
    }
}
