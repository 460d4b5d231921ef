//! Given declared nodes, gives the tree the filesystem shall contain; never a block or inode number.
//!
//! A [`Tree`] is an arena: a [`Node`] is what an inode will be, an [`Entry`] is a name for one. Names
//! are bytes. Two entries may lead to one node, which makes a hard link; a directory has one name.
//! The tree has no I/O: a node's [`Content`] says how long it is, where its holes are, and who can
//! read it later.
//!
//! Whoever declares each name once needs no more. Sources that lie over one another begin with
//! [`Tree::overlay`], and what is declared later then replaces what has its name.

mod content;
pub(crate) mod digest;
mod entries;
mod error;
mod flags;
mod id;
mod name_list;
mod names;
mod order;
mod paths;
mod protected;
mod verity;

use std::collections::HashMap;
use std::sync::Arc;

use crate::units::Timestamp;
use id::TreeId;
pub(crate) use name_list::{NameAt, NameList};
use names::Names;

pub use content::{
    Access, Content, ContentKey, ContentReader, ContentSource, DataMap, DataRanges, Stored,
};
pub use entries::{Entries, Entry, Iter};
pub use error::TreeError;
pub use flags::{DIRECTORY_FLAGS, FILE_FLAGS, Flags, OTHER_FLAGS};
pub use id::{NodeId, NodeIndex};
pub use paths::NodeMut;
pub use verity::Verity;

/// The longest name of a directory entry, in bytes (`EXT4_NAME_LEN`).
pub const NAME_MAX: usize = 255;

/// A set of extended attributes of one [`Tree`]; equal sets have equal ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct XattrSetId(u32);

impl XattrSetId {
    /// No attributes.
    pub(crate) const EMPTY: Self = Self(0);

    /// The set's place in the order of declaration, from 0 for the empty one.
    pub(crate) fn index(self) -> usize {
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
///
/// ```
/// use mke4fs::Metadata;
///
/// let metadata = Metadata::default().with_permissions(0o644).with_owner(1000, 100);
/// assert_eq!((metadata.permissions, metadata.uid, metadata.gid), (0o644, 1000, 100));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metadata {
    /// Permission bits with setuid, setgid and sticky: 0 to 0o7777; a tree keeps 0o777 for a symbolic
    /// link.
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
    pub flags: Flags,
}

impl Metadata {
    /// The same with other permission bits.
    #[must_use]
    pub fn with_permissions(self, permissions: u16) -> Self {
        Self {
            permissions,
            ..self
        }
    }

    /// The same of another user and group.
    #[must_use]
    pub fn with_owner(self, uid: u32, gid: u32) -> Self {
        Self { uid, gid, ..self }
    }

    /// The same with `time` as atime, mtime and ctime.
    #[must_use]
    pub fn with_time(self, time: Timestamp) -> Self {
        Self {
            atime: time,
            mtime: time,
            ctime: time,
            ..self
        }
    }

    /// The same with other flags.
    #[must_use]
    pub fn with_flags(self, flags: Flags) -> Self {
        Self { flags, ..self }
    }
}

impl Default for XattrSetId {
    fn default() -> Self {
        Self::EMPTY
    }
}

/// A device number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Device {
    /// The driver: 0 to 4095.
    pub major: u32,
    /// The unit: 0 to 1,048,575.
    pub minor: u32,
}

/// What a node is.
#[derive(Clone, Debug)]
pub enum Kind {
    /// A directory.
    Directory(Entries),
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

/// What kind of file something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileType {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

impl FileType {
    /// What it is called in one word, such as `symlink` or `char_device`.
    pub fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Directory => "directory",
            Self::Symlink => "symlink",
            Self::CharDevice => "char_device",
            Self::BlockDevice => "block_device",
            Self::Fifo => "fifo",
            Self::Socket => "socket",
        }
    }
}

impl Kind {
    /// The type of file that it is.
    pub fn file_type(&self) -> FileType {
        match self {
            Self::File(_) => FileType::File,
            Self::Directory(_) => FileType::Directory,
            Self::Symlink(_) => FileType::Symlink,
            Self::CharDevice(_) => FileType::CharDevice,
            Self::BlockDevice(_) => FileType::BlockDevice,
            Self::Fifo => FileType::Fifo,
            Self::Socket => FileType::Socket,
        }
    }

    /// `metadata` without the flags that a node of this kind cannot have. A symbolic link has every
    /// permission, as Linux gives each that it makes.
    fn keep(&self, metadata: Metadata) -> Metadata {
        let possible = match self {
            Self::Directory(_) => DIRECTORY_FLAGS,
            Self::File(_) => FILE_FLAGS,
            _ => OTHER_FLAGS,
        };
        let permissions = match self {
            Self::Symlink(_) => 0o777,
            _ => metadata.permissions & 0o7777,
        };
        Metadata {
            permissions,
            flags: Flags::of(metadata.flags.bits() & possible),
            ..metadata
        }
    }
}

/// What an inode will be made of.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Node {
    /// What it is.
    pub kind: Kind,
    /// What it says of itself.
    pub metadata: Metadata,
    /// Its extended attributes, which [`Tree::xattrs`] gives.
    pub(crate) xattrs: XattrSetId,
    /// How many entries lead to it; for a directory that of its parent. 0 if it was removed and the
    /// tree is not finished.
    pub names: u32,
}

/// What the filesystem shall contain.
///
/// A clone takes the ids that it was made with; nodes that either declares from then on have ids that the other
/// cannot tell from its own, so an id goes to the tree that gave it.
#[derive(Clone, Debug)]
pub struct Tree {
    id: TreeId,
    nodes: Vec<Node>,
    /// Each is there once, whatever its values take.
    xattr_sets: Vec<Arc<[Xattr]>>,
    xattr_ids: HashMap<Arc<[Xattr]>, XattrSetId>,
    /// Where each name is, once somebody asked.
    names: Option<Names>,
    if_there: IfThere,
}

/// What becomes of a name that a directory has already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum IfThere {
    Refuse,
    Replace,
}

impl Tree {
    /// A tree of nothing but its root directory, as [`Tree::default`] has it.
    pub fn new() -> Self {
        Self::default()
    }

    /// A tree of nothing but its root directory.
    pub fn with_root(root: Metadata) -> Self {
        let kind = Kind::Directory(Entries::default());
        let node = Node {
            metadata: kind.keep(root),
            kind,
            xattrs: XattrSetId::EMPTY,
            names: 1,
        };
        Self {
            id: TreeId::next(),
            nodes: vec![node],
            xattr_sets: vec![Arc::default()],
            xattr_ids: HashMap::from([(Arc::default(), XattrSetId::EMPTY)]),
            names: None,
            if_there: IfThere::Refuse,
        }
    }

    /// From here on, what is declared replaces what has its name already.
    ///
    /// A directory in the place of one keeps the entries and takes the new metadata and attributes.
    /// All else replaces, a directory with everything below it; a node that has other names lives on
    /// by those. The tree then remembers where every name is, in about 12 bytes for each.
    ///
    /// ```
    /// use mke4fs::tree::{Content, Metadata, NodeId, Tree};
    ///
    /// let mut tree = Tree::with_root(Metadata::default());
    /// tree.overlay()?;
    /// for text in [&b"lower"[..], b"upper"] {
    ///     tree.file_at(NodeId::ROOT, b"motd", Metadata::default(), Content::from_bytes(text))?;
    /// }
    /// tree.finish()?;
    /// assert_eq!(tree.entries(NodeId::ROOT).len(), 1);
    /// # Ok::<(), mke4fs::tree::TreeError>(())
    /// ```
    ///
    /// # Errors
    /// Where a directory has a name twice by now.
    pub fn overlay(&mut self) -> Result<(), TreeError> {
        self.index()?;
        self.if_there = IfThere::Replace;
        Ok(())
    }

    /// What `name` in `parent` leads to, if that is a directory and has it. The tree then remembers
    /// where every name is, in about 12 bytes for each.
    ///
    /// # Errors
    /// Where a directory has a name twice by now.
    pub fn lookup(&mut self, parent: NodeId, name: &[u8]) -> Result<Option<NodeId>, TreeError> {
        self.check_own(parent)?;
        self.index()?;
        let position = self.position(parent, name);
        Ok(position.map(|position| self.entries(parent).at(position).node))
    }

    /// Takes `name` out of `parent`, if it is there; of a directory, also everything below it. Says
    /// whether it was there.
    ///
    /// # Errors
    /// Where a directory has a name twice by now.
    pub fn remove(&mut self, parent: NodeId, name: &[u8]) -> Result<bool, TreeError> {
        self.check_own(parent)?;
        self.index()?;
        let Some(position) = self.position(parent, name) else {
            return Ok(false);
        };
        let node = self.take(parent, position);
        self.drop_name(node);
        Ok(true)
    }

    /// Keeps `node`, which is no directory, even without a name: until it is released.
    #[cfg(feature = "oci")]
    pub(crate) fn hold(&mut self, node: NodeId) {
        self.nodes[node.index()].names += 1;
    }

    /// Takes out a node that was held and has no name.
    #[cfg(feature = "oci")]
    pub(crate) fn release(&mut self, node: NodeId) {
        self.drop_name(node);
    }

    /// Declares a directory.
    ///
    /// # Errors
    /// Where the name cannot be stored or `parent` is no directory.
    pub fn directory_at(
        &mut self,
        parent: NodeId,
        name: &[u8],
        metadata: Metadata,
    ) -> Result<NodeId, TreeError> {
        self.check_own(parent)?;
        if self.if_there == IfThere::Replace
            && let Some(position) = self.position(parent, name)
        {
            let node = self.entries(parent).at(position).node;
            if matches!(self.node(node).kind, Kind::Directory(_)) {
                self.replace_metadata(node, metadata);
                self.replace_xattrs(node, XattrSetId::EMPTY);
                return Ok(node);
            }
        }
        self.declare(parent, name, metadata, Kind::Directory(Entries::default()))
    }

    /// Declares a regular file.
    ///
    /// # Errors
    /// Where the name cannot be stored, `parent` is no directory, or the content contradicts itself.
    pub fn file_at(
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
    pub fn symlink_at(
        &mut self,
        parent: NodeId,
        name: &[u8],
        metadata: Metadata,
        target: &[u8],
    ) -> Result<NodeId, TreeError> {
        check_target(target)?;
        self.declare(parent, name, metadata, Kind::Symlink(target.into()))
    }

    /// Declares a device, a named pipe or a socket.
    ///
    /// # Errors
    /// Where the name cannot be stored or `parent` is no directory.
    pub fn special_at(
        &mut self,
        parent: NodeId,
        name: &[u8],
        metadata: Metadata,
        special: Special,
    ) -> Result<NodeId, TreeError> {
        self.declare(parent, name, metadata, special.into())
    }

    /// Declares a second name for `node`. Where the name leads to it already, nothing changes.
    ///
    /// # Errors
    /// Where the name cannot be stored, `parent` is no directory, or `node` is one or was removed.
    pub fn link_at(&mut self, parent: NodeId, name: &[u8], node: NodeId) -> Result<(), TreeError> {
        self.check_own(parent)?;
        self.check_own(node)?;
        self.check_link(name, node)?;
        if self.if_there == IfThere::Replace
            && let Some(position) = self.position(parent, name)
            && self.entries(parent).at(position).node == node
        {
            return Ok(());
        }
        // First, since the name may be that of a directory that holds the node's only other one.
        let names = &mut self.nodes[node.index()].names;
        *names = names.saturating_add(1);
        let entered = self.enter(parent, name, node);
        if entered.is_err() {
            self.nodes[node.index()].names -= 1;
        }
        entered
    }

    /// Refuses `name` for a `node` that can have no other.
    fn check_link(&self, name: &[u8], node: NodeId) -> Result<(), TreeError> {
        if self.is_directory(node) {
            return Err(TreeError::DirectoryLink(name.to_vec()));
        }
        if self.node(node).names == 0 {
            return Err(TreeError::Removed(name.to_vec()));
        }
        Ok(())
    }

    /// The id of the set of `xattrs`, in whatever order they come; of two of one name one is kept.
    pub(crate) fn intern_xattrs(&mut self, mut xattrs: Vec<Xattr>) -> XattrSetId {
        xattrs.sort();
        xattrs.dedup_by(|later, earlier| later.name == earlier.name);
        if let Some(id) = self.xattr_ids.get(&xattrs[..]) {
            return *id;
        }
        let set: Arc<[Xattr]> = xattrs.into();
        let id = XattrSetId(u32::try_from(self.xattr_sets.len()).unwrap_or(u32::MAX));
        self.xattr_sets.push(set.clone());
        self.xattr_ids.insert(set, id);
        id
    }

    /// Gives `node` a set of extended attributes in place of the one it has.
    pub(crate) fn replace_xattrs(&mut self, node: NodeId, xattrs: XattrSetId) {
        self.nodes[node.index()].xattrs = xattrs;
    }

    /// Gives `node` other metadata in place of its own.
    pub(crate) fn replace_metadata(&mut self, node: NodeId, metadata: Metadata) {
        let node = &mut self.nodes[node.index()];
        node.metadata = node.kind.keep(metadata);
    }

    /// Gives the regular file `node` other content in place of its own; of anything else, nothing
    /// changes.
    pub(crate) fn set_content(&mut self, node: NodeId, content: Content) {
        if let Kind::File(own) = &mut self.nodes[node.index()].kind {
            *own = content;
        }
    }

    /// Makes a device, a named pipe or a socket of `node`, which is no directory.
    pub(crate) fn become_special(&mut self, node: NodeId, special: Special) {
        let node = &mut self.nodes[node.index()];
        if !matches!(node.kind, Kind::Directory(_)) {
            node.kind = special.into();
            node.metadata = node.kind.keep(node.metadata);
        }
    }

    /// A path of `node`, which costs a walk; empty for the root and for what has no name.
    pub(crate) fn path_of(&self, node: NodeId) -> Vec<u8> {
        let mut above = vec![None; self.nodes.len()];
        for (parent, directory) in self.nodes() {
            for entry in directory.entries().iter() {
                above[entry.node.index()] = Some((parent, entry.name));
            }
        }
        let way = std::iter::successors(above[node.index()], |(parent, _)| above[parent.index()]);
        let mut names: Vec<_> = way.map(|(_, name)| name).collect();
        names.reverse();
        names.join(&b'/')
    }

    /// Puts every directory's entries in the order of their names' bytes.
    ///
    /// A tree that remembered its names forgets them, along with what was removed, and gives every
    /// node and set of attributes a new id (an old one is then that of another tree): in the order of a walk that goes from each directory to
    /// its entries, and from each entry at once to what is below it.
    ///
    /// # Errors
    /// Where a directory has a name twice.
    pub fn finish(&mut self) -> Result<(), TreeError> {
        for node in &mut self.nodes {
            let Kind::Directory(entries) = &mut node.kind else {
                continue;
            };
            entries.sort();
            let mut pairs = entries.iter().zip(entries.iter().skip(1));
            if let Some((one, _)) = pairs.find(|(one, next)| one.name == next.name) {
                return Err(TreeError::Duplicate(one.name.to_vec()));
            }
        }
        self.if_there = IfThere::Refuse;
        if self.names.take().is_some() {
            self.renumber();
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
    ///
    /// # Panics
    /// Where `id` is of another tree, or of this one before it was finished and numbered anew.
    pub fn node(&self, id: NodeId) -> &Node {
        assert!(self.id.has(id), "{}", TreeError::Foreign);
        &self.nodes[id.index()]
    }

    /// The id of the node at `index`, which [`node`](Self::node) gives if there is one.
    pub fn id(&self, index: NodeIndex) -> NodeId {
        self.id.node(index)
    }

    /// Every node with its id, in the order of declaration.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        self.id.nodes().zip(&self.nodes)
    }

    /// The entries of the directory `id`, or none if it is no directory.
    ///
    /// # Panics
    /// As [`node`](Self::node) does.
    pub fn entries(&self, id: NodeId) -> &Entries {
        self.node(id).entries()
    }

    /// Whether the node called `id` is a directory.
    pub(crate) fn is_directory(&self, id: NodeId) -> bool {
        matches!(self.node(id).kind, Kind::Directory(_))
    }

    /// The extended attributes of `node`, in the order of their names' bytes.
    ///
    /// # Panics
    /// As [`node`](Self::node) does.
    pub fn xattrs(&self, node: NodeId) -> &[Xattr] {
        self.xattr_set(self.node(node).xattrs)
    }

    /// The attributes in the set `id`, in the order of their names' bytes.
    pub(crate) fn xattr_set(&self, id: XattrSetId) -> &[Xattr] {
        &self.xattr_sets[id.index()]
    }

    /// Every set's id, the empty one's first.
    pub(crate) fn xattr_set_ids(&self) -> impl Iterator<Item = XattrSetId> + use<> {
        (0..u32::try_from(self.xattr_sets.len()).unwrap_or(u32::MAX)).map(XattrSetId)
    }

    /// A path of `node` from the root, for people: it begins with a slash and is as long as the
    /// names in it. Slow, since nodes do not know their parents.
    ///
    /// # Panics
    /// As [`node`](Self::node) does.
    pub fn path(&self, node: NodeId) -> Vec<u8> {
        let _own = self.node(node);
        let mut parents = HashMap::new();
        for (parent, _) in self.nodes() {
            for entry in self.entries(parent) {
                parents.entry(entry.node).or_insert((parent, entry.name));
            }
        }
        let mut names = Vec::new();
        let mut at = node;
        while let Some((parent, name)) = parents.get(&at) {
            names.push(*name);
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
        self.check_own(parent)?;
        let index = NodeIndex::new(self.nodes.len()).ok_or(TreeError::TooManyNodes)?;
        let id = self.id.node(index);
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
        if let Some(position) = self.position(parent, name) {
            if self.if_there == IfThere::Refuse {
                return Err(TreeError::Duplicate(name.to_vec()));
            }
            let replaced = self.take(parent, position);
            self.drop_name(replaced);
        }
        let Kind::Directory(entries) = &mut self.nodes[parent.index()].kind else {
            return Err(TreeError::NotADirectory);
        };
        let position = entries.len();
        let entered = entries.push(name, node);
        entered.map_err(|_| TreeError::TooManyNodes)?;
        if let Some(names) = &mut self.names {
            names.add(&self.nodes, parent, position);
        }
        Ok(())
    }

    /// Remembers from here on where every name is.
    fn index(&mut self) -> Result<(), TreeError> {
        if self.names.is_none() {
            let duplicate = |name: Box<[u8]>| TreeError::Duplicate(name.into());
            self.names = Some(Names::of(self.id, &self.nodes).map_err(duplicate)?);
        }
        Ok(())
    }

    /// Where `name` is among the entries of `parent`, in a tree that remembers.
    fn position(&self, parent: NodeId, name: &[u8]) -> Option<usize> {
        self.names.as_ref()?.find(&self.nodes, parent, name)
    }

    /// Takes an entry out of `parent`, whose last takes its place, and gives the node it led to.
    fn take(&mut self, parent: NodeId, position: usize) -> NodeId {
        let last = self.entries(parent).len() - 1;
        let Some(names) = &mut self.names else {
            unreachable!("a position is of a tree that remembers its names");
        };
        names.forget(&self.nodes, parent, position);
        if position != last {
            names.forget(&self.nodes, parent, last);
        }
        let Kind::Directory(entries) = &mut self.nodes[parent.index()].kind else {
            unreachable!("a position is of a directory");
        };
        let node = entries.swap_remove(position);
        if position != last {
            names.add(&self.nodes, parent, position);
        }
        node
    }

    /// Counts one name of `node` less; what has none is gone, with what is below it.
    fn drop_name(&mut self, node: NodeId) {
        let mut dropped = vec![node];
        while let Some(node) = dropped.pop() {
            let count = &mut self.nodes[node.index()].names;
            *count -= 1;
            if *count > 0 {
                continue;
            }
            if let Some(names) = &mut self.names {
                let entries = self.nodes[node.index()].entries().len();
                (0..entries).for_each(|position| names.forget(&self.nodes, node, position));
            }
            // Nothing is kept of it but its number.
            let kind = std::mem::replace(&mut self.nodes[node.index()].kind, Kind::Fifo);
            if let Kind::Directory(entries) = kind {
                dropped.extend(entries.iter().map(|entry| entry.node));
            }
        }
    }
}

impl Node {
    /// The entries of a directory; of all else, none.
    fn entries(&self) -> &Entries {
        match &self.kind {
            Kind::Directory(entries) => entries,
            _ => const { &Entries::none() },
        }
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

impl Special {
    /// What `kind` is, if that is something without content.
    pub(crate) fn of(kind: &Kind) -> Option<Self> {
        match kind {
            Kind::CharDevice(device) => Some(Self::CharDevice(*device)),
            Kind::BlockDevice(device) => Some(Self::BlockDevice(*device)),
            Kind::Fifo => Some(Self::Fifo),
            Kind::Socket => Some(Self::Socket),
            Kind::Directory(_) | Kind::File(_) | Kind::Symlink(_) => None,
        }
    }
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

/// Refuses what no symbolic link can lead to.
fn check_target(target: &[u8]) -> Result<(), TreeError> {
    if target.is_empty() {
        return Err(TreeError::EmptyTarget);
    }
    if target.contains(&0) {
        return Err(TreeError::NulInTarget(target.to_vec()));
    }
    Ok(())
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
mod tests;
