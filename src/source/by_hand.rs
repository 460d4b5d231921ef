//! Given a tree that a program built, declares all of it as any source does; never what it has lost.

use std::collections::HashMap;

use super::{Declared, Source, SourceError};
use crate::tree::{Kind, NodeId, Special, Tree, XattrSetId};

/// A tree that was built by hand. Its root's permissions, owner and times are kept where
/// [`Builder::keep_root`](crate::Builder::keep_root) says so, as any source's.
impl Source for Tree {
    fn declare(&mut self, tree: &mut Tree, at: NodeId) -> Result<Declared, SourceError> {
        let root = self.node(NodeId::ROOT);
        let (metadata, xattrs) = (root.metadata, root.xattrs);
        copy_xattrs(self, xattrs, tree, at);
        let mut made = HashMap::new();
        let mut left = vec![(NodeId::ROOT, at)];
        while let Some((from, to)) = left.pop() {
            for entry in self.entries(from) {
                let node = self.node(entry.node);
                if let Some(linked) = made.get(&entry.node) {
                    tree.link_at(to, entry.name, *linked)?;
                    continue;
                }
                let metadata = node.metadata;
                let id = match &node.kind {
                    Kind::Directory(_) => tree.directory_at(to, entry.name, metadata)?,
                    Kind::File(content) => {
                        tree.file_at(to, entry.name, metadata, content.clone())?
                    }
                    Kind::Symlink(target) => tree.symlink_at(to, entry.name, metadata, target)?,
                    special => {
                        let special =
                            Special::of(special).ok_or(crate::tree::TreeError::Foreign)?;
                        tree.special_at(to, entry.name, metadata, special)?
                    }
                };
                copy_xattrs(self, node.xattrs, tree, id);
                if matches!(node.kind, Kind::Directory(_)) {
                    left.push((entry.node, id));
                } else if node.names > 1 {
                    made.insert(entry.node, id);
                }
            }
        }
        Ok(Declared {
            root: Some(metadata),
            ..Declared::default()
        })
    }
}

fn copy_xattrs(from: &Tree, set: XattrSetId, tree: &mut Tree, node: NodeId) {
    // What is there may have those of a source below.
    let set = tree.intern_xattrs(from.xattr_set(set).to_vec());
    tree.replace_xattrs(node, set);
}
