//! Given the tree of an image, takes out what is unwanted and lays the rest over another tree; never
//! reads a file.

use std::collections::HashMap;

use crate::source::SourceError;
use crate::source::patterns::{Leaf, Patterns};
use crate::tree::{Kind, NodeId, Special, Tree, TreeError};

/// Takes out of the directory `at` of `tree` what `unwanted` matches.
pub(super) fn prune(tree: &mut Tree, at: NodeId, unwanted: &Patterns) -> Result<(), SourceError> {
    if unwanted.is_empty() {
        return Ok(());
    }
    let mut directories = vec![(at, unwanted.way())];
    while let Some((directory, way)) = directories.pop() {
        let mut out = Vec::new();
        for entry in tree.entries(directory) {
            let leaf = match tree.node(entry.node).kind {
                Kind::Directory(_) => Leaf::Directory,
                _ => Leaf::Other,
            };
            if unwanted.exclude_at(&way, entry.name, leaf) {
                out.push(entry.name.to_vec());
            } else if leaf == Leaf::Directory {
                let mut below = way.clone();
                unwanted.descend(&mut below, entry.name);
                directories.push((entry.node, below));
            }
        }
        for name in out {
            tree.remove(directory, &name)?;
        }
    }
    Ok(())
}

/// Declares all that is below the root of `from` in the directory `at` of `tree`, where it replaces
/// what is there.
pub(super) fn graft(from: &Tree, tree: &mut Tree, at: NodeId) -> Result<(), SourceError> {
    let mut links = HashMap::new();
    let mut directories = vec![(NodeId::ROOT, at)];
    copy_xattrs(from, tree, (NodeId::ROOT, at));
    while let Some((directory, to)) = directories.pop() {
        for entry in from.entries(directory) {
            if let Some(known) = links.get(&entry.node) {
                tree.link_at(to, entry.name, *known)?;
                continue;
            }
            let made = copy(from, tree, (to, entry.name, entry.node))
                .map_err(|error| SourceError::store(entry.name, error))?;
            copy_xattrs(from, tree, (entry.node, made));
            let node = from.node(entry.node);
            match node.kind {
                Kind::Directory(_) => directories.push((entry.node, made)),
                _ if node.names > 1 => drop(links.insert(entry.node, made)),
                _ => {}
            }
        }
    }
    Ok(())
}

fn copy(
    from: &Tree,
    tree: &mut Tree,
    (to, name, node): (NodeId, &[u8], NodeId),
) -> Result<NodeId, TreeError> {
    let node = from.node(node);
    let metadata = node.metadata;
    let special = match &node.kind {
        Kind::Directory(_) => return tree.directory_at(to, name, metadata),
        Kind::File(content) => return tree.file_at(to, name, metadata, content.clone()),
        Kind::Symlink(target) => return tree.symlink_at(to, name, metadata, target),
        Kind::CharDevice(device) => Special::CharDevice(*device),
        Kind::BlockDevice(device) => Special::BlockDevice(*device),
        Kind::Fifo => Special::Fifo,
        Kind::Socket => Special::Socket,
    };
    tree.special_at(to, name, metadata, special)
}

fn copy_xattrs(from: &Tree, tree: &mut Tree, (node, made): (NodeId, NodeId)) {
    let xattrs = from.xattrs(from.node(node).xattrs).to_vec();
    let set = tree.intern_xattrs(xattrs);
    tree.replace_xattrs(made, set);
}
