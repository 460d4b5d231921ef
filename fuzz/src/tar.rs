//! Given bytes as an archive, checks that it is refused at a place inside it or gives entries whose
//! data lie in it and a tree that grows with it, and the same tree each time.

use std::io::{self, Read};

use mke4fs::source::tar::{Archive, EntryKind, Input, Unpack};
use mke4fs::tree::{Content, DataMap, Metadata, NodeId, Tree};

const BLOCK: usize = 512;

/// How many directories an entry of one block can make besides those that its name spells.
const MOST_IMPLIED: usize = 128;

struct Bytes<'a>(&'a [u8]);

impl Read for Bytes<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Input for Bytes<'_> {}

/// Checks the archive that `bytes` are, once as they are and once with right checksums, which chance
/// does not find.
pub fn run(bytes: &[u8]) {
    for archive in [bytes.to_vec(), sealed(bytes)] {
        let tree = unpack(&archive);
        let again = unpack(&archive);
        assert_eq!(format!("{tree:?}"), format!("{again:?}"));
    }
}

/// `bytes` with a right checksum in every block that has ustar's magic.
pub(crate) fn sealed(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for block in bytes.chunks_exact_mut(BLOCK) {
        if block[257..].starts_with(b"ustar") {
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    }
    bytes
}

/// What the tree holds in the end, or why it does not.
fn unpack(bytes: &[u8]) -> Result<Vec<String>, String> {
    let length = u64::try_from(bytes.len()).expect("a length");
    let mut tree = Tree::with_root(Metadata::default());
    let root = tree.overlay().map(|()| NodeId::ROOT).expect("a new tree");
    let mut unpack = Unpack::new(&mut tree, root, Metadata::default()).expect("a new tree");
    let mut archive = Archive::new(Bytes(bytes));
    loop {
        let entry = match archive.next_entry() {
            Ok(None) => break,
            Ok(Some(entry)) => entry,
            Err(error) => {
                assert!(error.offset() <= length, "{error}");
                return Err(error.to_string());
            }
        };
        assert!(entry.offset < length && !entry.path.is_empty() && !entry.path.contains(&0));
        let content = match &entry.kind {
            EntryKind::File(stored) => {
                let data = match &stored.data {
                    DataMap::Whole => stored.size_bytes,
                    DataMap::Ranges(ranges) => {
                        ranges.iter().map(|range| range.end - range.start).sum()
                    }
                };
                assert_eq!(data, stored.place.end - stored.place.start);
                let content = Content::from_fn(stored.size_bytes, || Ok(io::empty()));
                Some(content.with_data(stored.data.clone()))
            }
            _ => None,
        };
        let placed = unpack.entry(entry, content);
        placed.map_err(|error| error.to_string())?;
    }
    unpack.finish().map_err(|error| error.to_string())?;
    assert!(tree.len() <= 1 + bytes.len() + bytes.len() / BLOCK * MOST_IMPLIED);
    tree.finish().map_err(|error| error.to_string())?;
    let shown = tree.nodes().map(|(id, node)| {
        let (metadata, xattrs) = (node.metadata, tree.xattrs(id));
        format!("{:?} {metadata:?} {xattrs:?} {}", node.kind, node.names)
    });
    Ok(shown.collect())
}
