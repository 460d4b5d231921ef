//! Given what a rule says of a node, changes or makes it in the tree; never decides what is said.

use super::super::place::Destination;
use super::acl;
use super::error::RuleErrorKind;
use crate::tree::{Content, Flags, Kind, Metadata, NodeId, Special, Tree, Xattr, XattrSetId};
use crate::units::Timestamp;

/// The permissions of every symbolic link: Linux asks for none, and shows these.
const SYMLINK_PERMISSIONS: u16 = 0o777;

/// What is said of a node's metadata; what is not said stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Change {
    /// 0 to 0o7777; of no effect on a symbolic link.
    pub(super) permissions: Option<u16>,
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
    pub(super) mtime: Option<Timestamp>,
    /// Which bits of `i_flags` are meant, and what they shall be.
    pub(super) flags: Option<(u32, u32)>,
    /// Extended attributes that are added, in the place of those of their names; no two of one name.
    pub(super) xattrs: Vec<Xattr>,
}

impl Change {
    /// `metadata` with the change.
    fn of(&self, metadata: Metadata) -> Metadata {
        let old = metadata.flags.bits();
        let flags = self.flags.map(|(meant, set)| Flags::of(old & !meant | set));
        Metadata {
            permissions: self.permissions.unwrap_or(metadata.permissions),
            uid: self.uid.unwrap_or(metadata.uid),
            gid: self.gid.unwrap_or(metadata.gid),
            mtime: self.mtime.unwrap_or(metadata.mtime),
            flags: flags.unwrap_or(metadata.flags),
            ..metadata
        }
    }

    /// Changes `node`, its access ACL along with its permissions.
    pub(super) fn apply(&self, tree: &mut Tree, node: NodeId) {
        let is_symlink = matches!(tree.node(node).kind, Kind::Symlink(_));
        let permissions = self.permissions.filter(|_| !is_symlink);
        let before = tree.node(node).metadata;
        let metadata = Metadata {
            permissions: permissions.unwrap_or(before.permissions),
            ..self.of(before)
        };
        tree.replace_metadata(node, metadata);
        let set = tree.node(node).xattrs;
        let is_chmod = permissions.is_some() && set != XattrSetId::EMPTY;
        if !is_chmod && self.xattrs.is_empty() {
            return;
        }
        let mut xattrs = tree.xattrs(node).to_vec();
        if is_chmod {
            acl::chmod(&mut xattrs, metadata.permissions);
        }
        xattrs.retain(|xattr| self.xattrs.iter().all(|own| own.name != xattr.name));
        xattrs.extend(self.xattrs.iter().cloned());
        let set = tree.intern_xattrs(xattrs);
        tree.replace_xattrs(node, set);
    }
}

/// What a rule makes.
pub(super) enum Make {
    Directory,
    File(Content),
    Symlink(Vec<u8>),
    Special(Special),
}

impl Make {
    /// The permissions of what nobody gives any.
    fn permissions(&self) -> u16 {
        match self {
            Self::Directory => 0o755,
            Self::Symlink(_) => SYMLINK_PERMISSIONS,
            Self::File(_) | Self::Special(_) => 0o644,
        }
    }

    /// Makes it at `spot`, in the place of what is there, whose metadata it takes over and, if it is
    /// of the same kind, whose attributes. What was not there is root's and of the time `now`.
    pub(super) fn put(
        self,
        tree: &mut Tree,
        spot: &Destination,
        change: &Change,
        now: Timestamp,
    ) -> Result<NodeId, RuleErrorKind> {
        let Destination::Name(parent, name) = spot else {
            return Err(RuleErrorKind::NoName);
        };
        let there = tree.lookup(*parent, name)?;
        let kept = there.map(|node| tree.node(node));
        let is_alike = kept.is_some_and(|node| self.is_alike(&node.kind));
        let xattrs = kept.map(|node| node.xattrs).filter(|_| is_alike);
        let metadata = match (kept, &self) {
            (Some(node), Self::Symlink(_)) => Metadata {
                permissions: SYMLINK_PERMISSIONS,
                ..node.metadata
            },
            (Some(node), _) => node.metadata,
            (None, _) => {
                let time = change.mtime.unwrap_or(now);
                Metadata {
                    permissions: self.permissions(),
                    atime: time,
                    mtime: time,
                    ctime: time,
                    ..Metadata::default()
                }
            }
        };
        let node = match self {
            Self::Directory => tree.directory_at(*parent, name, metadata)?,
            Self::File(content) => tree.file_at(*parent, name, metadata, content)?,
            Self::Symlink(target) => tree.symlink_at(*parent, name, metadata, &target)?,
            Self::Special(special) => tree.special_at(*parent, name, metadata, special)?,
        };
        if let Some(set) = xattrs {
            tree.replace_xattrs(node, set);
        }
        change.apply(tree, node);
        Ok(node)
    }

    fn is_alike(&self, kind: &Kind) -> bool {
        match self {
            Self::Directory => matches!(kind, Kind::Directory(_)),
            Self::File(_) => matches!(kind, Kind::File(_)),
            Self::Symlink(_) => matches!(kind, Kind::Symlink(_)),
            Self::Special(Special::CharDevice(_)) => matches!(kind, Kind::CharDevice(_)),
            Self::Special(Special::BlockDevice(_)) => matches!(kind, Kind::BlockDevice(_)),
            Self::Special(Special::Fifo) => matches!(kind, Kind::Fifo),
            Self::Special(Special::Socket) => matches!(kind, Kind::Socket),
        }
    }
}

/// What a node of `kind` is called.
pub(super) fn kind_name(kind: &Kind) -> &'static str {
    match kind {
        Kind::Directory(_) => "a directory",
        Kind::File(_) => "a file",
        Kind::Symlink(_) => "a symbolic link",
        Kind::CharDevice(_) => "a character device",
        Kind::BlockDevice(_) => "a block device",
        Kind::Fifo => "a named pipe",
        Kind::Socket => "a socket",
    }
}
