//! Given paths, declares what they name and the directories above it; never two things of one name.
//!
//! A path is bytes: names divided by slashes, from the root on, whether or not it begins with a slash.
//! Empty names and `.` count for nothing, and `..` is refused. Directories on the way that are not there
//! are made, with permissions 0755 and the owner and times of the directory they are in; so is, but for its
//! permissions, whatever is declared by a path.

use super::{
    Content, Device, Kind, Metadata, NodeId, Special, Tree, TreeError, Xattr, check_target, is_name,
};
use crate::units::Timestamp;

/// What a directory, a file and anything else may do by default.
const DIRECTORY: u16 = 0o755;
const FILE: u16 = 0o644;
const SPECIAL: u16 = 0o600;

/// A node that was just declared, to say more of.
///
/// ```
/// use mke4fs::Tree;
///
/// let mut tree = Tree::default();
/// tree.file("/bin/su", "#!/bin/sh\n")?.permissions(0o4755).owner(0, 10);
/// tree.file("/var/mail/me", "")?.owner(1000, 8).xattr("user.note", "empty")?;
/// # Ok::<(), mke4fs::TreeError>(())
/// ```
#[derive(Debug)]
pub struct NodeMut<'a> {
    tree: &'a mut Tree,
    id: NodeId,
}

impl NodeMut<'_> {
    /// The node's number in its tree.
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// Sets the permission bits, with setuid, setgid and sticky: 0 to 0o7777.
    pub fn permissions(self, permissions: u16) -> Self {
        self.change(|metadata| metadata.permissions = permissions)
    }

    /// Sets user and group.
    pub fn owner(self, uid: u32, gid: u32) -> Self {
        self.change(|metadata| (metadata.uid, metadata.gid) = (uid, gid))
    }

    /// Sets atime, mtime and ctime.
    pub fn time(self, time: Timestamp) -> Self {
        self.change(|metadata| {
            (metadata.atime, metadata.mtime, metadata.ctime) = (time, time, time);
        })
    }

    /// Sets all that an inode says of itself.
    pub fn metadata(self, new: Metadata) -> Self {
        self.change(|metadata| *metadata = new)
    }

    /// Adds an extended attribute, by its name with its namespace.
    ///
    /// # Errors
    /// Where the node has one of that name.
    pub fn xattr(self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<Self, TreeError> {
        let name = name.as_ref();
        let mut xattrs = self.tree.xattrs(self.id).to_vec();
        if xattrs.iter().any(|xattr| xattr.name == name) {
            return Err(TreeError::DuplicateXattr(name.to_vec()));
        }
        xattrs.push(Xattr {
            name: name.to_vec(),
            value: value.as_ref().to_vec(),
        });
        let set = self.tree.intern_xattrs(xattrs);
        self.tree.replace_xattrs(self.id, set);
        Ok(self)
    }

    fn change(self, change: impl FnOnce(&mut Metadata)) -> Self {
        let mut metadata = self.tree.node(self.id).metadata;
        change(&mut metadata);
        self.tree.replace_metadata(self.id, metadata);
        self
    }
}

impl Tree {
    /// The root directory, to say more of.
    pub fn root(&mut self) -> NodeMut<'_> {
        self.node_mut(NodeId::ROOT)
    }

    /// The directory `path`: the one that is there, or a new one.
    ///
    /// # Errors
    /// Where a name cannot be stored, or something on the way is no directory.
    pub fn directory(&mut self, path: impl AsRef<[u8]>) -> Result<NodeMut<'_>, TreeError> {
        let names = names(path.as_ref());
        self.check_way(&names)?;
        let id = self.make_directories(&names)?;
        Ok(self.node_mut(id))
    }

    /// Declares the regular file `path`; what it holds may be bytes, text or any [`Content`].
    ///
    /// # Errors
    /// As those of all that is declared by a path: where the path is there already, names what cannot be
    /// stored, or leads through what is no directory; and where `content` contradicts itself.
    pub fn file(
        &mut self,
        path: impl AsRef<[u8]>,
        content: impl Into<Content>,
    ) -> Result<NodeMut<'_>, TreeError> {
        let content = content.into();
        content.check()?;
        let place = self.place(path.as_ref())?;
        let metadata = self.inherited(place.parent, FILE);
        content.source.set_path(content.key, path.as_ref());
        let id = self.file_at(place.parent, &place.name, metadata, content)?;
        Ok(self.node_mut(id))
    }

    /// Declares the symbolic link `path` to `target`.
    ///
    /// # Errors
    /// As those of [`file`](Self::file), and where `target` is empty or has a NUL.
    pub fn symlink(
        &mut self,
        path: impl AsRef<[u8]>,
        target: impl AsRef<[u8]>,
    ) -> Result<NodeMut<'_>, TreeError> {
        check_target(target.as_ref())?;
        let place = self.place(path.as_ref())?;
        let metadata = self.inherited(place.parent, FILE);
        let id = self.symlink_at(place.parent, &place.name, metadata, target.as_ref())?;
        Ok(self.node_mut(id))
    }

    /// Declares `path` as a second name for what `to` leads to, which must be there.
    ///
    /// # Errors
    /// As those of [`file`](Self::file), and where `to` is not there or a directory.
    pub fn link(
        &mut self,
        path: impl AsRef<[u8]>,
        to: impl AsRef<[u8]>,
    ) -> Result<NodeMut<'_>, TreeError> {
        let to = to.as_ref();
        let missing = || TreeError::Missing(to.to_vec());
        let node = self.find(to)?.ok_or_else(missing)?;
        let name = names(path.as_ref()).last().copied().unwrap_or_default();
        self.check_link(name, node)?;
        let place = self.place(path.as_ref())?;
        self.link_at(place.parent, &place.name, node)?;
        Ok(self.node_mut(node))
    }

    /// Declares a character device.
    ///
    /// # Errors
    /// As those of [`file`](Self::file).
    pub fn char_device(
        &mut self,
        path: impl AsRef<[u8]>,
        major: u32,
        minor: u32,
    ) -> Result<NodeMut<'_>, TreeError> {
        self.special(path, Special::CharDevice(Device { major, minor }))
    }

    /// Declares a block device.
    ///
    /// # Errors
    /// As those of [`file`](Self::file).
    pub fn block_device(
        &mut self,
        path: impl AsRef<[u8]>,
        major: u32,
        minor: u32,
    ) -> Result<NodeMut<'_>, TreeError> {
        self.special(path, Special::BlockDevice(Device { major, minor }))
    }

    /// Declares a device, a named pipe or a socket.
    ///
    /// # Errors
    /// As those of [`file`](Self::file).
    pub fn special(
        &mut self,
        path: impl AsRef<[u8]>,
        special: Special,
    ) -> Result<NodeMut<'_>, TreeError> {
        let place = self.place(path.as_ref())?;
        let metadata = self.inherited(place.parent, SPECIAL);
        let id = self.special_at(place.parent, &place.name, metadata, special)?;
        Ok(self.node_mut(id))
    }

    /// What `path` leads to, if it is there. No symbolic link is followed.
    ///
    /// # Errors
    /// Where a directory has a name twice by now.
    pub fn find(&mut self, path: impl AsRef<[u8]>) -> Result<Option<NodeId>, TreeError> {
        let mut node = NodeId::ROOT;
        for name in names(path.as_ref()) {
            match self.lookup(node, name)? {
                Some(found) => node = found,
                None => return Ok(None),
            }
        }
        Ok(Some(node))
    }

    fn node_mut(&mut self, id: NodeId) -> NodeMut<'_> {
        NodeMut { tree: self, id }
    }

    /// Where `path` will be, once the directories above it are there. Nothing is made for one that cannot be.
    fn place(&mut self, path: &[u8]) -> Result<Place, TreeError> {
        let names = names(path);
        let Some((name, above)) = names.split_last() else {
            return Err(TreeError::Name(path.to_vec()));
        };
        let above_there = self.check_way(above)?;
        if !is_name(name) {
            return Err(TreeError::Name(name.to_vec()));
        }
        if let Some(parent) = above_there
            && self.lookup(parent, name)?.is_some()
        {
            return Err(TreeError::Duplicate(path.to_vec()));
        }
        let parent = self.make_directories(above)?;
        let name = name.to_vec();
        Ok(Place { parent, name })
    }

    /// Refuses `names` if they cannot be directories, one in the other; gives the last that they lead to, if
    /// all are there.
    fn check_way(&mut self, names: &[&[u8]]) -> Result<Option<NodeId>, TreeError> {
        if let Some(name) = names.iter().find(|name| !is_name(name)) {
            return Err(TreeError::Name(name.to_vec()));
        }
        let mut at = NodeId::ROOT;
        for name in names {
            match self.lookup(at, name)? {
                Some(node) if self.is_directory(node) => at = node,
                Some(_) => return Err(TreeError::NotADirectory),
                None => return Ok(None),
            }
        }
        Ok(Some(at))
    }

    fn make_directories(&mut self, names: &[&[u8]]) -> Result<NodeId, TreeError> {
        let mut parent = NodeId::ROOT;
        for name in names {
            parent = match self.lookup(parent, name)? {
                Some(node) if matches!(self.node(node).kind, Kind::Directory(_)) => node,
                Some(_) => return Err(TreeError::NotADirectory),
                None => {
                    let metadata = self.inherited(parent, DIRECTORY);
                    self.directory_at(parent, name, metadata)?
                }
            };
        }
        Ok(parent)
    }

    /// What a node in `parent` says of itself by default.
    fn inherited(&self, parent: NodeId, permissions: u16) -> Metadata {
        Metadata {
            permissions,
            flags: super::Flags::default(),
            ..self.node(parent).metadata
        }
    }
}

/// A name that is not there yet.
struct Place {
    parent: NodeId,
    name: Vec<u8>,
}

fn names(path: &[u8]) -> Vec<&[u8]> {
    let names = path.split(|byte| *byte == b'/');
    names
        .filter(|name| !name.is_empty() && *name != b".")
        .collect()
}

impl Default for Tree {
    /// A tree of nothing but its root directory, which has permissions 0755, belongs to root and is of
    /// 1970.
    fn default() -> Self {
        Self::with_root(Metadata {
            permissions: DIRECTORY,
            ..Metadata::default()
        })
    }
}

impl Tree {
    /// Gives `node` the extended attributes `xattrs`, in whatever order they come, in place of those it has.
    ///
    /// # Errors
    /// Where two have one name, or this tree has no such node.
    pub fn set_xattrs(&mut self, node: NodeId, xattrs: Vec<Xattr>) -> Result<(), TreeError> {
        self.check_own(node)?;
        let mut names: Vec<&[u8]> = xattrs.iter().map(|xattr| &xattr.name[..]).collect();
        names.sort_unstable();
        let twice = names.windows(2).find(|pair| pair[0] == pair[1]);
        if let Some(name) = twice.map(|pair| pair[0].to_vec()) {
            return Err(TreeError::DuplicateXattr(name));
        }
        let set = self.intern_xattrs(xattrs);
        self.replace_xattrs(node, set);
        Ok(())
    }

    /// Gives `node` other metadata in place of its own.
    ///
    /// # Errors
    /// Where this tree has no such node.
    pub fn set_metadata(&mut self, node: NodeId, metadata: Metadata) -> Result<(), TreeError> {
        self.check_own(node)?;
        self.replace_metadata(node, metadata);
        Ok(())
    }

    /// Refuses the number of a node that this tree does not have.
    pub(super) fn check_own(&self, node: NodeId) -> Result<(), TreeError> {
        if self.id.has(node) && node.index() < self.len() {
            Ok(())
        } else {
            Err(TreeError::Foreign)
        }
    }
}
