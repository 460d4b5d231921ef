//! Given any bytes as a manifest and as a device table, checks that they are refused or change a tree
//! into one that a filesystem can be made of, and into the same one each time.

use std::collections::BTreeSet;

use mke4fs::raw::units::Timestamp;
use mke4fs::source::rules::{self, DeviceTable, Manifest, Rule};
use mke4fs::tree::{Content, Device, Kind, Metadata, NodeId, Special, Tree, TreeError, is_name};

/// Ranges of more nodes than this say nothing new.
const RANGE_NODES_MAX: u64 = 2000;

/// Follows `bytes` as a manifest, then as a table.
pub fn run(bytes: &[u8]) {
    if let Ok(manifest) = Manifest::new("manifest", bytes) {
        check(&Rule::Manifest(manifest));
    }
    let table = DeviceTable::new("table", bytes).ok();
    if let Some(table) = table.filter(|table| table.range_nodes() <= RANGE_NODES_MAX) {
        check(&Rule::DeviceTable(table));
    }
}

fn check(rule: &Rule) {
    let [first, second] = [(); 2].map(|()| follow(rule));
    match (first, second) {
        (Ok(first), Ok(second)) => assert_eq!(first, second),
        (Err(first), Err(second)) => assert_eq!(first, second),
        (first, second) => panic!("{first:?} and {second:?}"),
    }
}

/// Every path with what is there, or why the rule is refused.
fn follow(rule: &Rule) -> Result<Vec<(Vec<u8>, String)>, String> {
    let mut tree = tree().expect("the tree can be declared");
    let now = Timestamp::from_seconds(1_700_000_000);
    let warnings = rules::apply(std::slice::from_ref(rule), &mut tree, now);
    for warning in warnings.map_err(|error| error.to_string())? {
        assert!(!warning.to_string().is_empty());
    }
    tree.finish().expect("no rule makes a name twice");
    Ok(paths(&tree))
}

/// Walks the tree, of which every node has the names that it counts.
pub(super) fn paths(tree: &Tree) -> Vec<(Vec<u8>, String)> {
    let mut paths = Vec::new();
    let mut found = BTreeSet::from([NodeId::ROOT]);
    let mut names: u64 = 1;
    let mut directories = vec![(Vec::new(), NodeId::ROOT)];
    while let Some((path, directory)) = directories.pop() {
        for entry in tree.entries(directory) {
            assert!(is_name(entry.name), "{:?}", entry.name);
            let node = tree.node(entry.node);
            assert!(node.metadata.permissions <= 0o7777);
            names += 1;
            let is_new = found.insert(entry.node);
            let path = [&path[..], b"/", entry.name].concat();
            if let Kind::Directory(_) = node.kind {
                assert!(is_new, "a directory has two names");
                // No longer than what the bytes can be worth telling.
                directories.push((
                    path.iter().rev().take(64).rev().copied().collect(),
                    entry.node,
                ));
            }
            let kind = match &node.kind {
                Kind::Directory(_) => "directory".to_owned(),
                Kind::File(content) => format!("{} bytes", content.size_bytes()),
                other => format!("{other:?}"),
            };
            paths.push((path, format!("{kind} {:?}", node.metadata)));
        }
    }
    assert_eq!(found.len(), tree.len(), "a node has no name");
    let counted: u64 = tree.nodes().map(|(_, node)| u64::from(node.names)).sum();
    assert_eq!(names, counted, "a node counts other names than it has");
    paths
}

/// A tree of each kind of node, with links that lead about in it.
pub(super) fn tree() -> Result<Tree, TreeError> {
    let metadata = Metadata::default().with_permissions(0o755);
    let root = NodeId::ROOT;
    let mut tree = Tree::with_root(metadata);
    let a = tree.directory_at(root, b"a", metadata)?;
    let b = tree.directory_at(a, b"b", metadata)?;
    let file = tree.file_at(a, b"f", metadata, Content::from_bytes(*b"text"))?;
    tree.link_at(b, b"g", file)?;
    let null = Device { major: 1, minor: 3 };
    tree.special_at(b, b"c", metadata, Special::CharDevice(null))?;
    tree.special_at(root, b"p", metadata, Special::Fifo)?;
    for (name, target) in [
        (b"l", &b"a/b"[..]),
        (b"u", b"../.."),
        (b"o", b"o"),
        (b"n", b"n1/n2"),
    ] {
        tree.symlink_at(root, name, metadata, target)?;
    }
    Ok(tree)
}
