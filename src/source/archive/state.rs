//! Given a tree, gives a digest of what is below a directory of it: equal ones are of trees that nobody
//! can tell apart; never reads a file.

use std::collections::HashMap;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::tree::{Entry, Kind, Metadata, Node, NodeId, Tree};
use crate::work;

/// The digest of what is below `root`. `more` hashes what is known of a node elsewhere.
pub(in crate::source) fn of(
    tree: &Tree,
    root: NodeId,
    more: impl Fn(NodeId, &mut dyn FnMut(&[u8])),
) -> [u8; 32] {
    let mut hasher = Sha256::new();
    // Names of one node are told by its number in the walk.
    let mut numbers = HashMap::new();
    let mut nodes = vec![root];
    while let Some(id) = nodes.pop() {
        work::add(1);
        let node = tree.node(id);
        if node.names > 1 {
            let next = numbers.len();
            let number = *numbers.entry(id).or_insert(next);
            text(&mut hasher, &number.to_le_bytes());
            if number != next {
                continue;
            }
        }
        text(&mut hasher, &node.xattrs.index().to_le_bytes());
        metadata(&mut hasher, &node.metadata);
        more(id, &mut |bytes| text(&mut hasher, bytes));
        let mut entries: Vec<Entry<'_>> = tree.entries(id).iter().collect();
        entries.sort_unstable_by_key(|entry| entry.name);
        kind(&mut hasher, node, entries.len());
        for entry in &entries {
            text(&mut hasher, entry.name);
        }
        nodes.extend(entries.iter().map(|entry| entry.node));
    }
    hasher.finalize().into()
}

fn kind(hasher: &mut Sha256, node: &Node, entries: usize) {
    match &node.kind {
        Kind::Directory(_) => text(hasher, format!("directory {entries}").as_bytes()),
        Kind::Symlink(target) => {
            text(hasher, b"symbolic link");
            text(hasher, target);
        }
        Kind::File(content) => {
            // A content of an archive is known by who reads it and what that calls it.
            let source = Arc::as_ptr(&content.source).cast::<()>();
            let (size, key) = (content.size_bytes, content.key);
            text(hasher, format!("file {source:p} {key} {size}").as_bytes());
        }
        other => text(hasher, format!("{other:?}").as_bytes()),
    }
}

fn metadata(hasher: &mut Sha256, metadata: &Metadata) {
    hasher.update(metadata.permissions.to_le_bytes());
    hasher.update(metadata.uid.to_le_bytes());
    hasher.update(metadata.gid.to_le_bytes());
    hasher.update(metadata.flags.bits().to_le_bytes());
    for time in [metadata.atime, metadata.mtime, metadata.ctime] {
        hasher.update(time.seconds.to_le_bytes());
        hasher.update(time.nanoseconds.to_le_bytes());
    }
}

/// Hashes bytes with their length, so that no two lists of them read alike.
fn text(hasher: &mut Sha256, bytes: &[u8]) {
    hasher.update(bytes.len().to_le_bytes());
    hasher.update(bytes);
}
