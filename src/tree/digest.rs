//! Given a tree, gives a digest of what is below a directory of it; never reads a file.

use std::collections::HashMap;

use sha2::{Digest, Sha256};

use super::{Device, Entry, Kind, Metadata, Node, NodeId, Tree};
use crate::work;

/// The digest of `root` and what is below it: names, types, metadata, targets, device numbers and sizes.
/// `more` hashes what else counts of a node: its extended attributes and file data. Then equal digests are of
/// trees that nobody can tell apart.
pub(crate) fn of(
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
            text(&mut hasher, &as_64(number).to_le_bytes());
            if number != next {
                continue;
            }
        }
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
        Kind::File(content) => text(hasher, format!("file {}", content.size_bytes).as_bytes()),
        Kind::CharDevice(device) => of_device(hasher, "character", *device),
        Kind::BlockDevice(device) => of_device(hasher, "block", *device),
        Kind::Fifo => text(hasher, b"fifo"),
        Kind::Socket => text(hasher, b"socket"),
    }
}

fn of_device(hasher: &mut Sha256, what: &str, device: Device) {
    let Device { major, minor } = device;
    text(hasher, format!("{what} device {major}:{minor}").as_bytes());
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
    hasher.update(as_64(bytes.len()).to_le_bytes());
    hasher.update(bytes);
}

/// The number as every machine has it.
fn as_64(number: usize) -> u64 {
    u64::try_from(number).expect("a usize fits 64 bits")
}
