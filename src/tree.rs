//! Given declared nodes, gives the tree the filesystem shall contain; never a block or inode number.
//!
//! A [`Tree`] is an arena: a [`Node`] is what an inode will be, an [`Entry`] is a name for one. Names
//! are bytes. Two entries may lead to one node, which makes a hard link; a directory has one name.
//! The tree has no I/O: a node's [`Content`] says how long it is, where its holes are, and who can
//! read it later.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use crate::units::Timestamp;

/// The longest name of a directory entry, in bytes (`EXT4_NAME_LEN`).
pub const NAME_MAX: usize = 255;

/// The flags that `chattr` can set on an ext4 directory and that mean the same in a new filesystem,
/// by the bits of the kernel's `Documentation/filesystems/ext4/inodes.rst`: s u c S i a d A j t D T x
/// P F. Encryption, verity, inline data, extents and the index belong to the old one.
pub const DIRECTORY_FLAGS: u32 = 0x6203_c0ff;
/// As [`DIRECTORY_FLAGS`], for regular files: D, T, P and F are of directories only.
pub const FILE_FLAGS: u32 = DIRECTORY_FLAGS & !0x6003_0000;
/// As [`DIRECTORY_FLAGS`], for all other nodes: the kernel leaves them d and A alone
/// (`EXT4_OTHER_FLMASK`), and fsck finds fault with i and a.
pub const OTHER_FLAGS: u32 = 0xc0;

/// A node of one [`Tree`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(u32);

impl NodeId {
    /// The root directory.
    pub const ROOT: Self = Self(0);

    /// The node's place in the order of declaration, from 0.
    pub fn index(self) -> usize {
        usize::try_from(self.0).expect("a node's index fits any usize")
    }
}

/// A set of extended attributes of one [`Tree`]; equal sets have equal ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct XattrSetId(u32);

impl XattrSetId {
    /// No attributes.
    pub const EMPTY: Self = Self(0);

    /// The set's place in the order of declaration, from 0 for the empty one.
    pub fn index(self) -> usize {
        usize::try_from(self.0).expect("a set's index fits any usize")
    }
}

/// An extended attribute as the kernel shows it: its full name and its value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Xattr {
    /// The name with its namespace, such as `user.note`.
    pub name: Vec<u8>,
    /// The value; for POSIX ACLs in the form that `getxattr` gives.
    pub value: Vec<u8>,
}

/// What an inode says of itself, beside its type and content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// Permission bits with setuid, setgid and sticky: 0 to 0o7777.
    pub permissions: u16,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// Last read.
    pub atime: Timestamp,
    /// Last written.
    pub mtime: Timestamp,
    /// Last changed.
    pub ctime: Timestamp,
    /// `i_flags` as `chattr` sets them; a tree keeps those that its kind of node can have, and a
    /// filesystem that of casefolding only where it has the feature.
    pub flags: u32,
}

impl Default for XattrSetId {
    fn default() -> Self {
        Self::EMPTY
    }
}

/// A device number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device {
    /// The driver: 0 to 4095.
    pub major: u32,
    /// The unit: 0 to 1,048,575.
    pub minor: u32,
}

/// What a node is.
#[derive(Clone, Debug)]
pub enum Kind {
    /// A directory, with its entries in the order of their names' bytes once the tree is finished.
    Directory(Vec<Entry>),
    /// A regular file.
    File(Content),
    /// A symbolic link and its target.
    Symlink(Box<[u8]>),
    /// A character device.
    CharDevice(Device),
    /// A block device.
    BlockDevice(Device),
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

impl Kind {
    /// `metadata` without the flags that a node of this kind cannot have.
    fn keep(&self, metadata: Metadata) -> Metadata {
        let possible = match self {
            Self::Directory(_) => DIRECTORY_FLAGS,
            Self::File(_) => FILE_FLAGS,
            _ => OTHER_FLAGS,
        };
        Metadata {
            flags: metadata.flags & possible,
            ..metadata
        }
    }
}

/// A name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name: 1 to 255 bytes, neither `/` nor NUL among them.
    pub name: Box<[u8]>,
    /// What it leads to.
    pub node: NodeId,
}

/// What an inode will be made of.
#[derive(Clone, Debug)]
pub struct Node {
    /// What it is.
    pub kind: Kind,
    /// What it says of itself.
    pub metadata: Metadata,
    /// Its extended attributes.
    pub xattrs: XattrSetId,
    /// How many entries lead to it; for a directory that of its parent.
    pub names: u32,
}

/// Which content a [`ContentSource`] shall open; each source numbers its own.
pub type ContentKey = u64;

/// A source's promise to read a file's bytes when they are asked for.
pub trait ContentSource: Send + Sync {
    /// Opens the content `key`.
    ///
    /// # Errors
    /// Where it cannot be read, or is not what was declared.
    fn open(&self, key: ContentKey) -> io::Result<Box<dyn ContentReader + '_>>;

    /// The content's name for people, for errors.
    fn describe(&self, key: ContentKey) -> Vec<u8>;
}

/// An open content.
pub trait ContentReader {
    /// Fills `buffer` from `offset`: bytes that were declared as data.
    ///
    /// # Errors
    /// Where the content cannot be read or ends early (`UnexpectedEof`).
    fn read_exact_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;

    /// Says, once all was read, whether the content is still what was declared.
    ///
    /// # Errors
    /// Where it changed meanwhile.
    fn finish(&mut self) -> io::Result<()>;
}

/// A regular file's bytes: how many, which of them are data, and who reads them.
#[derive(Clone)]
pub struct Content {
    /// The size in bytes, holes included.
    pub size_bytes: u64,
    /// The data as byte ranges in ascending order, none empty, none touching; the rest are holes.
    pub data: DataMap,
    /// Who reads it.
    pub source: Arc<dyn ContentSource>,
    /// What the source calls it.
    pub key: ContentKey,
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Content")
            .field("size_bytes", &self.size_bytes)
            .field("data", &self.data)
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

/// Which bytes of a file are data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DataMap {
    /// All of them.
    Whole,
    /// These ranges of bytes.
    Ranges(Box<[Range<u64>]>),
}

impl Content {
    /// The bytes `bytes`, held in memory.
    pub fn from_bytes(bytes: impl Into<Arc<[u8]>>) -> Self {
        let bytes = bytes.into();
        Self {
            size_bytes: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
            data: DataMap::Whole,
            source: Arc::new(InMemory(bytes)),
            key: 0,
        }
    }

    /// The data's byte ranges.
    pub fn data_ranges(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        let (whole, ranges) = match &self.data {
            DataMap::Whole if self.size_bytes > 0 => (Some(0..self.size_bytes), &[][..]),
            DataMap::Whole => (None, &[][..]),
            DataMap::Ranges(ranges) => (None, &ranges[..]),
        };
        whole.into_iter().chain(ranges.iter().cloned())
    }

    /// The parts of the data's byte ranges that lie in `within`.
    pub fn data_in(&self, within: Range<u64>) -> impl Iterator<Item = Range<u64>> + '_ {
        let first = match &self.data {
            DataMap::Whole => 0,
            DataMap::Ranges(ranges) => ranges.partition_point(|range| range.end <= within.start),
        };
        let (start, end) = (within.start, within.end);
        self.data_ranges()
            .skip(first)
            .take_while(move |range| range.start < end)
            .map(move |range| range.start.max(start)..range.end.min(end))
            .filter(|range| !range.is_empty())
    }

    fn check(&self) -> Result<(), TreeError> {
        let DataMap::Ranges(ranges) = &self.data else {
            return Ok(());
        };
        let mut at = None;
        for range in ranges {
            let ascending = at.is_none_or(|end| range.start > end);
            if !ascending || range.start >= range.end || range.end > self.size_bytes {
                return Err(TreeError::DataMap {
                    start: range.start,
                    end: range.end,
                });
            }
            at = Some(range.end);
        }
        Ok(())
    }
}

struct InMemory(Arc<[u8]>);

struct InMemoryReader<'a>(&'a [u8]);

impl ContentSource for InMemory {
    fn open(&self, _key: ContentKey) -> io::Result<Box<dyn ContentReader + '_>> {
        Ok(Box::new(InMemoryReader(&self.0)))
    }

    fn describe(&self, _key: ContentKey) -> Vec<u8> {
        b"content in memory".to_vec()
    }
}

impl ContentReader for InMemoryReader<'_> {
    fn read_exact_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let bytes = usize::try_from(offset)
            .ok()
            .and_then(|start| self.0.get(start..start.checked_add(buffer.len())?))
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(bytes);
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What cannot be declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TreeError {
    /// A name that ext4 cannot store.
    Name(Vec<u8>),
    /// A name that the directory has already.
    Duplicate(Vec<u8>),
    /// A parent that is no directory.
    NotADirectory,
    /// A second name for a directory.
    DirectoryLink(Vec<u8>),
    /// A range of data that is empty, out of order or past the file's end.
    DataMap {
        /// The range's first byte.
        start: u64,
        /// The first byte after it.
        end: u64,
    },
    /// A symbolic link to nothing.
    EmptyTarget,
    /// A symbolic link whose target has a NUL, where every reader would take it to end.
    NulInTarget(Vec<u8>),
    /// More than 2^32 nodes.
    TooManyNodes,
}

impl fmt::Display for TreeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(
                f,
                "\"{}\" cannot be a name: a name is 1 to {NAME_MAX} bytes without NUL and '/', and not '.' or '..'",
                name.escape_ascii()
            ),
            Self::Duplicate(name) => {
                write!(f, "\"{}\" is in its directory already", name.escape_ascii())
            }
            Self::NotADirectory => f.write_str("only a directory can hold entries"),
            Self::DirectoryLink(name) => write!(
                f,
                "\"{}\" would be a second name for a directory",
                name.escape_ascii()
            ),
            Self::DataMap { start, end } => write!(
                f,
                "data from byte {start} to {end} is empty, out of order or past the end of its file"
            ),
            Self::EmptyTarget => f.write_str("a symbolic link needs a target"),
            Self::NulInTarget(target) => write!(
                f,
                "\"{}\" cannot be a symbolic link's target: it needs to be without NUL",
                target.escape_ascii()
            ),
            Self::TooManyNodes => f.write_str("a filesystem holds fewer than 2^32 inodes"),
        }
    }
}

impl std::error::Error for TreeError {}

/// What the filesystem shall contain.
#[derive(Clone, Debug)]
pub struct Tree {
    nodes: Vec<Node>,
    xattr_sets: Vec<Box<[Xattr]>>,
    xattr_ids: HashMap<Box<[Xattr]>, XattrSetId>,
}

impl Tree {
    /// A tree of nothing but its root directory.
    pub fn new(root: Metadata) -> Self {
        let kind = Kind::Directory(Vec::new());
        let node = Node {
            metadata: kind.keep(root),
            kind,
            xattrs: XattrSetId::EMPTY,
            names: 1,
        };
        Self {
            nodes: vec![node],
            xattr_sets: vec![Box::default()],
            xattr_ids: HashMap::from([(Box::default(), XattrSetId::EMPTY)]),
        }
    }

    /// Declares a directory.
    ///
    /// # Errors
    /// Where the name cannot be stored or `parent` is no directory.
    pub fn directory(
        &mut self,
        parent: NodeId,
        name: &[u8],
        metadata: Metadata,
    ) -> Result<NodeId, TreeError> {
        self.declare(parent, name, metadata, Kind::Directory(Vec::new()))
    }

    /// Declares a regular file.
    ///
    /// # Errors
    /// Where the name cannot be stored, `parent` is no directory, or the content contradicts itself.
    pub fn file(
        &mut self,
        parent: NodeId,
        name: &[u8],
        metadata: Metadata,
        content: Content,
    ) -> Result<NodeId, TreeError> {
        content.check()?;
        self.declare(parent, name, metadata, Kind::File(content))
    }

    /// Declares a symbolic link.
    ///
    /// # Errors
    /// Where the name or the target cannot be stored, or `parent` is no directory.
    pub fn symlink(
        &mut self,
        parent: NodeId,
        name: &[u8],
        metadata: Metadata,
        target: &[u8],
    ) -> Result<NodeId, TreeError> {
        if target.is_empty() {
            return Err(TreeError::EmptyTarget);
        }
        if target.contains(&0) {
            return Err(TreeError::NulInTarget(target.to_vec()));
        }
        self.declare(parent, name, metadata, Kind::Symlink(target.into()))
    }

    /// Declares a device, a named pipe or a socket.
    ///
    /// # Errors
    /// Where the name cannot be stored or `parent` is no directory.
    pub fn special(
        &mut self,
        parent: NodeId,
        name: &[u8],
        metadata: Metadata,
        special: Special,
    ) -> Result<NodeId, TreeError> {
        self.declare(parent, name, metadata, special.into())
    }

    /// Declares a second name for `node`.
    ///
    /// # Errors
    /// Where the name cannot be stored, `parent` is no directory, or `node` is one.
    pub fn link(&mut self, parent: NodeId, name: &[u8], node: NodeId) -> Result<(), TreeError> {
        if matches!(self.node(node).kind, Kind::Directory(_)) {
            return Err(TreeError::DirectoryLink(name.to_vec()));
        }
        self.enter(parent, name, node)?;
        let names = &mut self.nodes[node.index()].names;
        *names = names.saturating_add(1);
        Ok(())
    }

    /// The id of the set of `xattrs`, in whatever order they come.
    pub fn xattr_set(&mut self, mut xattrs: Vec<Xattr>) -> XattrSetId {
        xattrs.sort();
        xattrs.dedup_by(|later, earlier| later.name == earlier.name);
        let set = xattrs.into_boxed_slice();
        if let Some(id) = self.xattr_ids.get(&set) {
            return *id;
        }
        let id = XattrSetId(u32::try_from(self.xattr_sets.len()).unwrap_or(u32::MAX));
        self.xattr_sets.push(set.clone());
        self.xattr_ids.insert(set, id);
        id
    }

    /// Gives `node` a set of extended attributes in place of the one it has.
    pub fn set_xattrs(&mut self, node: NodeId, xattrs: XattrSetId) {
        self.nodes[node.index()].xattrs = xattrs;
    }

    /// Gives `node` other metadata in place of its own.
    pub fn set_metadata(&mut self, node: NodeId, metadata: Metadata) {
        let node = &mut self.nodes[node.index()];
        node.metadata = node.kind.keep(metadata);
    }

    /// Puts every directory's entries in the order of their names' bytes.
    ///
    /// # Errors
    /// Where a directory has a name twice.
    pub fn finish(&mut self) -> Result<(), TreeError> {
        for node in &mut self.nodes {
            let Kind::Directory(entries) = &mut node.kind else {
                continue;
            };
            entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
            if let Some(pair) = entries.windows(2).find(|pair| pair[0].name == pair[1].name) {
                return Err(TreeError::Duplicate(pair[0].name.to_vec()));
            }
        }
        Ok(())
    }

    /// How many nodes there are, the root included.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is nothing but the root.
    pub fn is_empty(&self) -> bool {
        self.nodes.len() == 1
    }

    /// The node called `id`.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.index()]
    }

    /// Every node with its id, in the order of declaration.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        (0..).map(NodeId).zip(&self.nodes)
    }

    /// The entries of the directory `id`, or none if it is no directory.
    pub fn entries(&self, id: NodeId) -> &[Entry] {
        match &self.node(id).kind {
            Kind::Directory(entries) => entries,
            _ => &[],
        }
    }

    /// The attributes in the set `id`, in the order of their names' bytes.
    pub fn xattrs(&self, id: XattrSetId) -> &[Xattr] {
        &self.xattr_sets[id.index()]
    }

    /// Every set's id, the empty one's first.
    pub fn xattr_set_ids(&self) -> impl Iterator<Item = XattrSetId> + use<> {
        (0..u32::try_from(self.xattr_sets.len()).unwrap_or(u32::MAX)).map(XattrSetId)
    }

    /// A path of `node` from the root, for people: it begins with a slash and is as long as the
    /// names in it. Slow, since nodes do not know their parents.
    pub fn path(&self, node: NodeId) -> Vec<u8> {
        let mut parents = HashMap::new();
        for (parent, _) in self.nodes() {
            for entry in self.entries(parent) {
                parents.entry(entry.node).or_insert((parent, &entry.name));
            }
        }
        let mut names = Vec::new();
        let mut at = node;
        while let Some((parent, name)) = parents.get(&at) {
            names.push(&***name);
            at = *parent;
        }
        names.reverse();
        [b"/", names.join(&b'/').as_slice()].concat()
    }

    fn declare(
        &mut self,
        parent: NodeId,
        name: &[u8],
        metadata: Metadata,
        kind: Kind,
    ) -> Result<NodeId, TreeError> {
        let id = u32::try_from(self.nodes.len())
            .map(NodeId)
            .map_err(|_| TreeError::TooManyNodes)?;
        self.enter(parent, name, id)?;
        self.nodes.push(Node {
            metadata: kind.keep(metadata),
            kind,
            xattrs: XattrSetId::EMPTY,
            names: 1,
        });
        Ok(id)
    }

    fn enter(&mut self, parent: NodeId, name: &[u8], node: NodeId) -> Result<(), TreeError> {
        if !is_name(name) {
            return Err(TreeError::Name(name.to_vec()));
        }
        let Kind::Directory(entries) = &mut self.nodes[parent.index()].kind else {
            return Err(TreeError::NotADirectory);
        };
        entries.push(Entry {
            name: name.into(),
            node,
        });
        Ok(())
    }
}

/// A node without content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Special {
    /// A character device.
    CharDevice(Device),
    /// A block device.
    BlockDevice(Device),
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

impl From<Special> for Kind {
    fn from(special: Special) -> Self {
        match special {
            Special::CharDevice(device) => Self::CharDevice(device),
            Special::BlockDevice(device) => Self::BlockDevice(device),
            Special::Fifo => Self::Fifo,
            Special::Socket => Self::Socket,
        }
    }
}

/// Whether ext4 can store `name` in a directory.
pub fn is_name(name: &[u8]) -> bool {
    !name.is_empty()
        && name.len() <= NAME_MAX
        && name != b"."
        && name != b".."
        && !name.iter().any(|byte| matches!(byte, 0 | b'/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> Tree {
        Tree::new(Metadata::default())
    }

    #[test]
    fn entries_come_in_byte_order() {
        let mut tree = tree();
        for name in [&b"b"[..], b"\xff", b"a", b"B", b"a0"] {
            tree.directory(NodeId::ROOT, name, Metadata::default())
                .unwrap();
        }
        tree.finish().unwrap();
        let names: Vec<&[u8]> = tree
            .entries(NodeId::ROOT)
            .iter()
            .map(|entry| &*entry.name)
            .collect();
        assert_eq!(names, [&b"B"[..], b"a", b"a0", b"b", b"\xff"]);
    }

    #[test]
    fn a_name_twice_is_refused() {
        let mut tree = tree();
        for _ in 0..2 {
            tree.special(NodeId::ROOT, b"same", Metadata::default(), Special::Fifo)
                .unwrap();
        }
        assert_eq!(tree.finish(), Err(TreeError::Duplicate(b"same".to_vec())));
    }

    #[test]
    fn names_that_cannot_be_stored_are_refused() {
        for name in [&b""[..], b".", b"..", b"a/b", b"a\0b", &[b'x'; 256]] {
            assert_eq!(
                tree().directory(NodeId::ROOT, name, Metadata::default()),
                Err(TreeError::Name(name.to_vec()))
            );
        }
    }

    #[test]
    fn links_are_counted_and_directories_have_one_name() {
        let mut tree = tree();
        let fifo = tree
            .special(NodeId::ROOT, b"a", Metadata::default(), Special::Fifo)
            .unwrap();
        tree.link(NodeId::ROOT, b"b", fifo).unwrap();
        assert_eq!(tree.node(fifo).names, 2);
        assert_eq!(
            tree.link(NodeId::ROOT, b"c", NodeId::ROOT),
            Err(TreeError::DirectoryLink(b"c".to_vec()))
        );
        assert_eq!(tree.link(fifo, b"d", fifo), Err(TreeError::NotADirectory));
    }

    #[test]
    fn a_target_is_not_empty_and_has_no_nul() {
        for (target, error) in [
            (&b""[..], TreeError::EmptyTarget),
            (b"a\0b", TreeError::NulInTarget(b"a\0b".to_vec())),
        ] {
            let declared = tree().symlink(NodeId::ROOT, b"l", Metadata::default(), target);
            assert_eq!(declared, Err(error));
        }
    }

    #[test]
    fn nodes_keep_the_flags_that_their_kind_can_have() {
        let all = Metadata {
            flags: u32::MAX,
            ..Metadata::default()
        };
        let mut tree = Tree::new(all);
        let root = NodeId::ROOT;
        let file = tree.file(root, b"a", all, Content::from_bytes(*b""));
        let fifo = tree.special(root, b"b", Metadata::default(), Special::Fifo);
        let (file, fifo) = (file.unwrap(), fifo.unwrap());
        tree.set_metadata(fifo, all);
        let flags = [root, file, fifo].map(|id| tree.node(id).metadata.flags);
        assert_eq!(flags, [DIRECTORY_FLAGS, FILE_FLAGS, OTHER_FLAGS]);
    }

    #[test]
    fn data_past_the_end_is_refused() {
        for ranges in [
            &[(0, 11)][..],
            &[(4, 4)],
            &[(4, 8), (6, 9)],
            &[(0, 2), (2, 4)],
        ] {
            let content = Content {
                size_bytes: 10,
                data: DataMap::Ranges(ranges.iter().map(|(start, end)| *start..*end).collect()),
                ..Content::from_bytes(*b"0123456789")
            };
            let declared = tree().file(NodeId::ROOT, b"f", Metadata::default(), content);
            assert!(matches!(declared, Err(TreeError::DataMap { .. })));
        }
    }

    #[test]
    fn data_is_looked_up_by_place() {
        let content = Content {
            size_bytes: 100,
            data: DataMap::Ranges([5..10, 20..30, 40..50].into()),
            ..Content::from_bytes(*b"")
        };
        let found = |within| content.data_in(within).collect::<Vec<_>>();
        assert_eq!(found(0..100), [5..10, 20..30, 40..50]);
        assert_eq!(found(7..41), [7..10, 20..30, 40..41]);
        assert_eq!(found(10..20), []);
        assert_eq!(Content::from_bytes(*b"abc").data_in(1..9).count(), 1);
    }

    #[test]
    fn equal_xattr_sets_are_one() {
        let mut tree = tree();
        let xattr = |name: &str| Xattr {
            name: name.into(),
            value: b"v".to_vec(),
        };
        let a = tree.xattr_set(vec![xattr("user.a"), xattr("user.b")]);
        let b = tree.xattr_set(vec![xattr("user.b"), xattr("user.a")]);
        assert_eq!(a, b);
        assert_eq!(tree.xattr_set(Vec::new()), XattrSetId::EMPTY);
        assert_eq!(tree.xattrs(a).len(), 2);
    }
}
