//! Given the tree of an image, takes out what is unwanted; never reads a file.

use crate::source::SourceError;
use crate::source::patterns::{PathType, Patterns};
use crate::tree::{Kind, NodeId, Tree};

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
                Kind::Directory(_) => PathType::Directory,
                _ => PathType::Other,
            };
            if unwanted.exclude_at(&way, entry.name, leaf) {
                out.push(entry.name.to_vec());
            } else if leaf == PathType::Directory {
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
