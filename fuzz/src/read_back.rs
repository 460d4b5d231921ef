//! Given an image and the tree that it was made of, checks that the reader gives the tree back; never
//! what no tree says.

use std::collections::BTreeMap;
use std::ops::Range;

use mke4fs::raw::layout::Layout;
use mke4fs::raw::units::Timestamp;
use mke4fs::read::{FileType, Filesystem, Inode};
use mke4fs::sink::Memory;
use mke4fs::tree::{Content, Kind, Node, NodeId, Tree};

use super::pattern::expected_byte;

/// How much is read around data, in bytes: holes must be zeros.
const AROUND: u64 = 5000;

/// Compares all of an image with its tree.
pub fn check(image: &Memory, tree: &Tree, layout: &Layout) {
    let filesystem = Filesystem::open(image).expect("the image is sound");
    let root = filesystem.root().expect("there is a root");
    let comparison = Comparison {
        filesystem: &filesystem,
        tree,
        has_long_times: layout.geometry.inode_size > 128,
    };
    comparison.node(NodeId::ROOT, &root);
    let mut pending = vec![(NodeId::ROOT, root)];
    while let Some((id, dir)) = pending.pop() {
        comparison.directory(id, &dir, &mut pending);
    }
}

struct Comparison<'a> {
    filesystem: &'a Filesystem<'a>,
    tree: &'a Tree,
    has_long_times: bool,
}

impl Comparison<'_> {
    fn directory(&self, id: NodeId, dir: &Inode, pending: &mut Vec<(NodeId, Inode)>) {
        let found = self.filesystem.entries(dir).expect("a directory");
        let found: BTreeMap<Vec<u8>, _> = found
            .map(|entry| entry.expect("an entry"))
            .map(|entry| (entry.name().to_vec(), entry))
            .collect();
        let entries = self.tree.entries(id);
        let made = usize::from(id == NodeId::ROOT && entries.search(b"lost+found").is_err());
        assert_eq!(found.len(), entries.len() + made);
        for entry in entries {
            let stored = found.get(entry.name).expect("its name is there");
            let inode = self.filesystem.inode(stored.ino()).expect("an inode");
            if let Some(file_type) = stored.file_type() {
                assert_eq!(Some(file_type), inode.file_type());
            }
            self.node(entry.node, &inode);
            if inode.is_dir() {
                pending.push((entry.node, inode));
            }
        }
    }

    fn node(&self, id: NodeId, inode: &Inode) {
        let node = self.tree.node(id);
        let expected = &node.metadata;
        assert_eq!(inode.file_type(), Some(file_type(node)));
        assert_eq!(inode.permissions(), expected.permissions);
        assert_eq!((inode.uid(), inode.gid()), (expected.uid, expected.gid));
        let times = [inode.atime(), inode.mtime(), inode.ctime()];
        let needed = [expected.atime, expected.mtime, expected.ctime];
        assert_eq!(times, needed.map(|time| self.kept(time)));
        let found = self.filesystem.xattrs_of(inode).expect("xattrs");
        let found: BTreeMap<_, _> = found.into_iter().map(|it| (it.name, it.value)).collect();
        let needed = self.tree.xattrs(id).iter();
        let needed = needed.map(|it| (it.name.clone(), it.value.clone()));
        assert_eq!(found, needed.collect());
        if !inode.is_dir() {
            assert_eq!(u32::from(inode.links()), node.names);
        }
        match &node.kind {
            Kind::File(content) => {
                assert_eq!(inode.size(), content.size_bytes());
                self.content(content, inode);
            }
            Kind::Symlink(target) => {
                let found = self.filesystem.link_target(inode).expect("a target");
                assert_eq!(found, &target[..]);
            }
            Kind::CharDevice(device) | Kind::BlockDevice(device) => {
                let found = inode.device().expect("a device");
                assert_eq!((found.major, found.minor), (device.major, device.minor));
            }
            _ => {}
        }
    }

    /// A time as inodes of this size keep it.
    fn kept(&self, time: Timestamp) -> Timestamp {
        let (seconds, nanoseconds) = (time.seconds, time.nanoseconds);
        let most = if self.has_long_times {
            mke4fs::raw::ondisk::inode::TIME_MAX
        } else {
            i64::from(i32::MAX)
        };
        Timestamp {
            seconds: seconds.clamp(mke4fs::raw::ondisk::inode::TIME_MIN, most),
            nanoseconds: if self.has_long_times { nanoseconds } else { 0 },
        }
    }

    /// Reads the data and what lies around it.
    fn content(&self, content: &Content, inode: &Inode) {
        let file = self.filesystem.file(inode).expect("a file");
        let near = |range: Range<u64>| {
            range.start.saturating_sub(AROUND)..range.end.saturating_add(AROUND)
        };
        let parts = content.data_ranges().map(near);
        for part in parts.chain(std::iter::once(0..AROUND)) {
            let end = part.end.min(content.size_bytes()).max(part.start);
            let length = usize::try_from(end - part.start).expect("it is short");
            let mut bytes = vec![0; length];
            let read = file
                .read_at(part.start, &mut bytes)
                .expect("it can be read");
            assert_eq!(read, length);
            for (byte, place) in bytes.iter().zip(part.start..) {
                assert_eq!(*byte, expected_byte(content, place), "byte {place}");
            }
        }
        let held = file.data_ranges().expect("a map");
        for range in content.data_ranges() {
            let is_held = |it: &Range<u64>| it.start <= range.start && range.end <= it.end;
            assert!(held.iter().any(is_held), "{range:?} is no hole: {held:?}");
        }
    }
}

fn file_type(node: &Node) -> FileType {
    match node.kind {
        Kind::Directory(_) => FileType::Directory,
        Kind::File(_) => FileType::Regular,
        Kind::Symlink(_) => FileType::Symlink,
        Kind::CharDevice(_) => FileType::CharDevice,
        Kind::BlockDevice(_) => FileType::BlockDevice,
        Kind::Fifo => FileType::Fifo,
        Kind::Socket => FileType::Socket,
    }
}
