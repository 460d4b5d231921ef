//! Given a kind of filesystem, gives a small image of it and the places of its structures, for damages
//! to be planted in; never judges one.
//!
//! It finds its way by the offsets of the kernel's documentation alone.

use std::sync::Arc;

use mke4fs::raw::emit::{Writing, emit};
use mke4fs::raw::geometry::Geometry;
use mke4fs::raw::layout::Layout;
use mke4fs::sink::Memory;
use mke4fs::tree::{Content, DataMap, Flags, Metadata, NodeId, Special, Tree, Xattr};

use crate::common::making;
use crate::common::tools::Result;

/// An image in memory.
#[derive(Clone)]
pub(crate) struct Image {
    pub(crate) bytes: Vec<u8>,
}

/// The tree of every image: a file of each kind, one of six extents, attributes in inodes and blocks,
/// a directory of a few names and an indexed one.
fn tree() -> Result<Tree> {
    let mut tree = Tree::with_root(Metadata::default());
    let plain = Metadata::default().with_permissions(0o644);
    let plain = plain.with_owner(1000, 1000);
    let root = NodeId::ROOT;
    let text = |length: usize| Content::from_bytes(vec![b't'; length]);
    tree.file_at(root, b"file", plain, text(5000))?;
    let pieces = Content::from_bytes(vec![b'p'; 90_000]);
    let ranges = (0..6).map(|at| at * 16_384..at * 16_384 + 4096).collect();
    let pieces = pieces.with_data(DataMap::Ranges(ranges));
    tree.file_at(root, b"pieces", plain, pieces)?;
    let small = tree.file_at(root, b"small", plain, text(20))?;
    tree.set_xattrs(small, vec![attribute("user.small", 12)])?;
    let set = [attribute("user.a", 20), attribute("user.large", 500)];
    for name in [&b"one"[..], b"two"] {
        let node = tree.file_at(root, name, plain, text(0))?;
        tree.set_xattrs(node, set.to_vec())?;
    }
    tree.symlink_at(root, b"short", plain, b"target")?;
    tree.symlink_at(root, b"long", plain, &[b'l'; 200])?;
    tree.special_at(root, b"pipe", plain, Special::Fifo)?;
    tree.link_at(root, b"again", small)?;
    let dir = tree.directory_at(root, b"dir", plain)?;
    let sub = tree.directory_at(dir, b"sub", plain)?;
    tree.directory_at(sub, b"subsub", plain)?;
    for name in [&b"ab"[..], b"cd", b"ef"] {
        tree.special_at(dir, name, plain, Special::Fifo)?;
    }
    let many = tree.directory_at(root, b"many", plain)?;
    for number in 0..200 {
        let name = format!("a-name-of-some-length-{number:03}");
        tree.special_at(many, name.as_bytes(), plain, Special::Fifo)?;
    }
    tree.finish()?;
    Ok(tree)
}

fn attribute(name: &str, length: usize) -> Xattr {
    Xattr {
        name: name.as_bytes().to_vec(),
        value: vec![b'v'; length],
    }
}

impl Image {
    /// The image that `words` ask for.
    pub(crate) fn make(words: &str, large_value: bool, folds: bool) -> Result<Self> {
        let options = making::options(words)?;
        let settings = options.resolve(&making::memory_host())?.settings;
        let geometry = Geometry::new(&settings)?;
        let mut tree = tree()?;
        if large_value {
            let holder = tree.file_at(
                NodeId::ROOT,
                b"huge",
                Metadata::default(),
                Content::from_bytes([]),
            )?;
            tree.set_xattrs(holder, vec![attribute("user.huge", 9000)])?;
        }
        if folds {
            let metadata = Metadata::default().with_flags(Flags::of(0x4000_0000));
            let dir = tree.directory_at(NodeId::ROOT, b"folding", metadata)?;
            for name in [&b"upper"[..], b"lower"] {
                tree.special_at(dir, name, Metadata::default(), Special::Fifo)?;
            }
        }
        tree.finish()?;
        let bytes = geometry.blocks_count * geometry.block_size.bytes_u64();
        let layout = Layout::new(&settings, geometry, &tree)?;
        let memory = Memory::new(bytes);
        let writing = Writing::default();
        emit(&settings, &layout, &tree, &memory, &writing)?;
        Ok(Self {
            bytes: memory.into_bytes()?,
        })
    }

    pub(crate) fn get16(&self, at: usize) -> u16 {
        u16::from_le_bytes([self.bytes[at], self.bytes[at + 1]])
    }

    pub(crate) fn get(&self, at: usize) -> u32 {
        u32::from(self.get16(at)) | u32::from(self.get16(at + 2)) << 16
    }

    pub(crate) fn put16(&mut self, at: usize, value: u16) {
        self.bytes[at..at + 2].copy_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn put(&mut self, at: usize, value: u32) {
        self.bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }

    /// Adds to 32 bits.
    pub(crate) fn add(&mut self, at: usize, more: u32) {
        self.put(at, self.get(at).wrapping_add(more));
    }

    /// Adds to 16 bits.
    pub(crate) fn add16(&mut self, at: usize, more: u16) {
        self.put16(at, self.get16(at).wrapping_add(more));
    }

    pub(crate) fn block_size(&self) -> usize {
        1024 << self.get(SB + 0x18)
    }

    /// Where a block begins.
    pub(crate) fn block(&self, number: u32) -> usize {
        usize::try_from(number).expect("a small image") * self.block_size()
    }

    /// Where a group's descriptor begins.
    pub(crate) fn desc(&self, group: usize) -> usize {
        let is_wide = self.get(SB + 0x60) & 0x80 != 0;
        let size = if is_wide { 64 } else { 32 };
        // Every image has blocks of 1 KiB: the boot block and the superblock come first.
        self.block(2) + group * size
    }

    pub(crate) fn block_bitmap(&self) -> usize {
        self.block(self.get(self.desc(0)))
    }

    pub(crate) fn inode_bitmap(&self) -> usize {
        self.block(self.get(self.desc(0) + 4))
    }

    /// Where an inode of the first group begins.
    pub(crate) fn inode(&self, ino: u32) -> usize {
        let size = usize::from(self.get16(SB + 0x58));
        let index = usize::try_from(ino - 1).expect("a small image");
        self.block(self.get(self.desc(0) + 8)) + index * size
    }

    /// Where the inode of a path begins.
    pub(crate) fn at(&self, path: &str) -> usize {
        self.inode(self.ino(path))
    }

    pub(crate) fn ino(&self, path: &str) -> u32 {
        path.split('/')
            .fold(2, |dir, name| self.get(self.entry_in(dir, name)))
    }

    /// Where the entry of a path begins.
    pub(crate) fn entry(&self, path: &str) -> usize {
        let (dir, name) = path.rsplit_once('/').unwrap_or((".", path));
        self.entry_in(self.ino(dir), name)
    }

    fn entry_in(&self, dir: u32, name: &str) -> usize {
        let inode = self.inode(dir);
        if self.get(inode + 0x20) & 0x1000_0000 != 0 && name == "." {
            return inode;
        }
        let blocks = self.get(inode + 4) / u32::try_from(self.block_size()).expect("it is small");
        for logical in 0..blocks {
            let start = self.content(inode, logical);
            let mut at = start;
            while at < start + self.block_size() {
                let length = usize::from(self.bytes[at + 6]);
                if self.get(at) != 0 && &self.bytes[at + 8..at + 8 + length] == name.as_bytes() {
                    return at;
                }
                at += usize::from(self.get16(at + 4)).max(8);
            }
        }
        panic!("{name} is in inode {dir}");
    }

    /// Where a block of the content of the inode at `inode` begins.
    pub(crate) fn content(&self, inode: usize, logical: u32) -> usize {
        if self.get(inode + 0x20) & 0x8_0000 == 0 {
            let pointer = inode + 0x28 + 4 * usize::try_from(logical).expect("it is small");
            return self.block(self.get(pointer));
        }
        let mut node = inode + 0x28;
        if self.get16(node + 6) == 1 {
            node = self.leaf(inode);
        }
        for number in 1..=usize::from(self.get16(node + 2)) {
            let record = node + 12 * number;
            let first = self.get(record);
            if (first..first + u32::from(self.get16(record + 4))).contains(&logical) {
                return self.block(self.get(record + 8) + logical - first);
            }
        }
        panic!("block {logical} is there");
    }

    /// Where the first leaf of the extent tree of the inode at `inode` begins.
    pub(crate) fn leaf(&self, inode: usize) -> usize {
        self.block(self.get(inode + 0x28 + 12 + 4))
    }

    /// Where the attribute block of the inode at `inode` begins.
    pub(crate) fn xattrs(&self, inode: usize) -> usize {
        self.block(self.get(inode + 0x68))
    }

    /// Removes an entry: the one before it, or itself as an unused one, takes its room.
    pub(crate) fn unlink(&mut self, path: &str) {
        let at = self.entry(path);
        self.put(at, 0);
    }
}

/// Where the superblock begins.
pub(crate) const SB: usize = 1024;

/// Blocks of the same content, shared by all damages of a kind.
pub(crate) type Shared = Arc<Image>;
