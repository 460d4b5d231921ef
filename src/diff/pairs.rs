//! Given two finished trees, goes through both side by side, name by name; never looks at more than names.

use crate::tree::{NodeId, Tree};

/// A name that one tree has or both: what it leads to in each.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pair {
    OnlyInA(NodeId),
    OnlyInB(NodeId),
    Both([NodeId; 2]),
}

/// A walk over two trees, which begins with their roots.
pub(super) struct Pairs<'a> {
    trees: [&'a Tree; 2],
    levels: Vec<Level>,
    path: Vec<u8>,
    has_begun: bool,
}

/// Two directories of one path.
struct Level {
    nodes: [NodeId; 2],
    /// The next entry of each.
    next: [usize; 2],
    path_bytes: usize,
}

impl<'a> Pairs<'a> {
    pub(super) fn new(trees: [&'a Tree; 2]) -> Self {
        Self {
            trees,
            levels: Vec::new(),
            path: Vec::new(),
            has_begun: false,
        }
    }

    /// The path of the pair that came last.
    pub(super) fn path(&self) -> &[u8] {
        &self.path
    }

    /// The next name; what is below a directory that both trees have follows it.
    pub(super) fn next(&mut self) -> Option<Pair> {
        if !self.has_begun {
            self.has_begun = true;
            return Some(self.enter([NodeId::ROOT; 2]));
        }
        loop {
            let level = self.levels.last_mut()?;
            self.path.truncate(level.path_bytes);
            let [a, b] = [0, 1].map(|side| {
                let entries = self.trees[side].entries(level.nodes[side]);
                entries.get(level.next[side])
            });
            let order = match (a, b) {
                (None, None) => {
                    self.levels.pop();
                    continue;
                }
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (Some(a), Some(b)) => a.name.cmp(b.name),
            };
            let first = if order.is_le() { a } else { b };
            if !self.path.is_empty() {
                self.path.push(b'/');
            }
            self.path
                .extend_from_slice(first.map_or(&b""[..], |entry| entry.name));
            level.next[0] += usize::from(order.is_le());
            level.next[1] += usize::from(order.is_ge());
            return Some(match (a, b) {
                (Some(a), Some(b)) if order.is_eq() => self.enter([a.node, b.node]),
                (Some(a), _) if order.is_lt() => Pair::OnlyInA(a.node),
                (_, Some(b)) => Pair::OnlyInB(b.node),
                (Some(a), None) => Pair::OnlyInA(a.node),
                (None, None) => continue,
            });
        }
    }

    /// Goes down, if there is something below in both.
    fn enter(&mut self, nodes: [NodeId; 2]) -> Pair {
        let [a, b] = [0, 1].map(|side| self.trees[side].is_directory(nodes[side]));
        if a && b {
            self.levels.push(Level {
                nodes,
                next: [0; 2],
                path_bytes: self.path.len(),
            });
        }
        Pair::Both(nodes)
    }
}
