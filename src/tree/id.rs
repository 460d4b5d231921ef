//! Given trees, gives each an identity and its nodes ids that say whose they are; never a node.
//!
//! The root is every tree's: [`NodeId::ROOT`] is the same in all. Any other id is of the tree that gave it
//! and of that tree's copies.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};

/// Which tree something is of, among all that a process makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TreeId(u32);

/// A node of one [`Tree`](super::Tree).
///
/// What is of another tree is refused. A clone of a tree has the ids of the nodes that were there when it was
/// made; of a node that was declared later, in the one or in the other, the id is for the tree that gave it and
/// means another node in its copy, which does not tell.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId {
    index: NodeIndex,
    /// The tree's identity; the root has none.
    tree: u32,
}

/// A node's place in the order of declaration, whatever tree it is of: half an id, where millions are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeIndex(u32);

impl TreeId {
    /// One that no tree has; that of the first of so many trees that their number starts anew.
    pub(super) fn next() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// The id of this tree's node at `index`.
    pub(super) fn node(self, index: NodeIndex) -> NodeId {
        NodeId {
            index,
            tree: if index == NodeIndex::ROOT { 0 } else { self.0 },
        }
    }

    /// The ids of all nodes that a tree can have.
    pub(super) fn nodes(self) -> impl Iterator<Item = NodeId> {
        (0..=u32::MAX).map(move |index| self.node(NodeIndex(index)))
    }

    /// Whether `node` is of this tree, if it has as many nodes.
    pub(super) fn has(self, node: NodeId) -> bool {
        node.tree == self.0 || node == NodeId::ROOT
    }
}

// Trees that are alike look alike.
impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("NodeId").field(&self.index.0).finish()
    }
}

impl NodeId {
    /// The root directory.
    pub const ROOT: Self = Self {
        index: NodeIndex::ROOT,
        tree: 0,
    };

    /// The node's place in the order of declaration, from 0.
    pub fn index(self) -> usize {
        self.index.get()
    }

    /// The same without its tree.
    pub fn in_tree(self) -> NodeIndex {
        self.index
    }

    /// The tree that it is of.
    pub(super) fn tree(self) -> TreeId {
        TreeId(self.tree)
    }
}

impl NodeIndex {
    /// The root directory.
    pub const ROOT: Self = Self(0);

    /// The place behind so many others.
    pub(super) fn new(index: usize) -> Option<Self> {
        u32::try_from(index).map(Self).ok()
    }

    /// The number, from 0.
    pub fn get(self) -> usize {
        usize::try_from(self.0).expect("a node's index fits any usize")
    }
}
