//! Given a tree whose entries are in order, numbers its nodes by a walk; never changes what it holds.

use super::id::TreeId;
use super::{Kind, Node, NodeId, NodeIndex, Tree, XattrSetId};

/// The number of what the walk has not come to.
const NONE: u32 = u32::MAX;

impl Tree {
    /// Gives ids in the order of a walk, to nodes and to sets of attributes. What the walk does not
    /// come to is gone.
    pub(super) fn renumber(&mut self) {
        let (mut ids, kept) = self.walk();
        self.id = TreeId::next();
        for node in &mut self.nodes {
            if let Kind::Directory(entries) = &mut node.kind {
                entries.renumber(self.id, |node| index(ids[node.get()]));
            }
        }
        // What is gone goes behind the rest.
        let behind = u32::try_from(kept).unwrap_or(NONE)..;
        let gone = ids.iter_mut().filter(|id| **id == NONE);
        gone.zip(behind).for_each(|(id, number)| *id = number);
        permute(&mut self.nodes, &mut ids);
        self.nodes.truncate(kept);
        self.renumber_sets();
    }

    /// The new id of every node, and how many have one.
    fn walk(&self) -> (Vec<u32>, usize) {
        let mut ids = vec![NONE; self.nodes.len()];
        ids[NodeId::ROOT.index()] = 0;
        let mut kept = 1_u32;
        let mut levels = vec![self.entries(NodeId::ROOT).iter()];
        while let Some(level) = levels.last_mut() {
            let Some(entry) = level.next() else {
                levels.pop();
                continue;
            };
            let id = &mut ids[entry.node.index()];
            if *id == NONE {
                *id = kept;
                kept += 1;
                levels.push(self.entries(entry.node).iter());
            }
        }
        (ids, index(kept).get())
    }

    fn renumber_sets(&mut self) {
        let mut ids = vec![NONE; self.xattr_sets.len()];
        ids[XattrSetId::EMPTY.index()] = 0;
        let mut kept = 1;
        for node in &mut self.nodes {
            let id = &mut ids[node.xattrs.index()];
            if *id == NONE {
                *id = kept;
                kept += 1;
            }
            node.xattrs = XattrSetId(*id);
        }
        self.xattr_ids.retain(|_, id| {
            *id = XattrSetId(ids[id.index()]);
            id.0 != NONE
        });
        let sets = std::mem::take(&mut self.xattr_sets);
        let mut sets: Vec<_> = ids.into_iter().zip(sets).collect();
        sets.retain(|(id, _)| *id != NONE);
        sets.sort_unstable_by_key(|(id, _)| *id);
        self.xattr_sets = sets.into_iter().map(|(_, set)| set).collect();
    }
}

/// The place behind `number` others.
fn index(number: u32) -> NodeIndex {
    let index = usize::try_from(number).ok().and_then(NodeIndex::new);
    index.expect("32 bits are a node's index")
}

/// Puts every node at the place that `ids` says, each number once, without a second copy of them all.
fn permute(nodes: &mut [Node], ids: &mut [u32]) {
    for at in 0..nodes.len() {
        loop {
            let to = index(ids[at]).get();
            if to == at {
                break;
            }
            nodes.swap(at, to);
            ids.swap(at, to);
        }
    }
}
