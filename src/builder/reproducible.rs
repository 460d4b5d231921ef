//! Given a tree whose files were read, puts what it holds in the place of clock and chance; never reads a
//! file.

use super::sparse::FileDigests;
use crate::options::{Environment, Settings};
use crate::tree::{self, Metadata, NodeId, Tree};
use crate::units::Timestamp;

/// Lets the newest time of `tree` be the clock of `environment`, unless that is stated, and of what has no time
/// of its own; and lets a digest of the label and the whole tree be what the UUID is made of. A tree without
/// files is of 1970.
pub(super) fn settle(
    environment: &mut Environment,
    tree: &mut Tree,
    settings: &Settings,
    files: &FileDigests,
) {
    let times = tree.nodes().map(|(_, node)| node.metadata.mtime);
    let newest = times.filter(|time| *time != Timestamp::AWAITED).max();
    let newest = newest.unwrap_or_default();
    for node in tree.nodes().map(|(id, _)| id).collect::<Vec<_>>() {
        let metadata = tree.node(node).metadata;
        tree.replace_metadata(node, without_awaited(metadata, newest.seconds));
    }
    let mut content = [0; 16];
    content.copy_from_slice(&digest(tree, settings, files)[..16]);
    environment.settle(content, newest.seconds);
}

fn without_awaited(metadata: Metadata, newest: i64) -> Metadata {
    let known = |time: Timestamp| match time {
        Timestamp::AWAITED => Timestamp::from_seconds(newest),
        time => time,
    };
    Metadata {
        atime: known(metadata.atime),
        mtime: known(metadata.mtime),
        ctime: known(metadata.ctime),
        ..metadata
    }
}

fn digest(tree: &Tree, settings: &Settings, files: &FileDigests) -> [u8; 32] {
    tree::digest::of(tree, NodeId::ROOT, |id, hash| {
        if id == NodeId::ROOT {
            hash(&settings.label);
        }
        if let Some(digest) = files.of(id) {
            hash(digest);
        }
        for xattr in tree.xattrs(id) {
            hash(&xattr.name);
            hash(&xattr.value);
        }
    })
}
