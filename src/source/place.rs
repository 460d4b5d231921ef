//! Given a path inside the image, finds where it leads in the tree, and makes the directories that it
//! takes for granted; never asks the host, and never leaves the image.
//!
//! Symbolic links on the way are followed inside the image, as the kernel would once it is mounted:
//! an absolute target begins at the image's root, and nothing is above that. A path that itself goes
//! above it is an error.

use std::fmt;

use super::Readable;
use crate::tree::{Kind, Metadata, NodeId, Tree, TreeError};
use crate::units::Timestamp;
use crate::work;

/// How many symbolic links a path may lead through, as in the kernel (`MAXSYMLINKS`).
const LINKS_MAX: u32 = 40;
/// How many bytes their targets may have together, as in the kernel each of them (`PATH_MAX`).
const TARGETS_MAX: usize = 4095;
/// How many names of targets a path may lead through. Every entry of an archive and every line of a
/// manifest may lead through the same links, so that this is most of what one of a few bytes can cost.
const TARGET_NAMES_MAX: usize = 128;

/// The symbolic links that a path has led through.
#[derive(Debug, Default)]
pub(super) struct Followed {
    links: u32,
    bytes: usize,
    names: usize,
}

impl Followed {
    /// Counts one more, and says whether it may be followed.
    pub(super) fn may_follow(&mut self, target: &[u8]) -> bool {
        self.links += 1;
        self.bytes += target.len();
        if self.links > LINKS_MAX || self.bytes > TARGETS_MAX {
            return false;
        }
        work::add_bytes(target.len());
        self.names += target
            .split(|byte| *byte == b'/')
            .filter(|name| is_step(name))
            .count();
        self.names <= TARGET_NAMES_MAX
    }
}

/// Whether a name in a path leads anywhere else.
fn is_step(name: &[u8]) -> bool {
    !name.is_empty() && name != b"."
}

/// Where a path leads; its last part is not followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Destination {
    /// To a directory that is reached without a name, such as the root or `a/..`.
    Directory(NodeId),
    /// To a name in a directory, whether it has it or not.
    Name(NodeId, Vec<u8>),
}

impl Destination {
    /// The node that is there.
    pub(super) fn node(&self, tree: &mut Tree) -> Result<Option<NodeId>, TreeError> {
        match self {
            Self::Directory(node) => Ok(Some(*node)),
            Self::Name(parent, name) => tree.lookup(*parent, name),
        }
    }
}

/// What becomes of directories on the way that are not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IfMissing {
    /// They are made: of root, 0755, with this time.
    Make(Timestamp),
    /// The path leads nowhere.
    Stop,
}

/// Why a path leads nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PlaceError {
    /// A part of the way is something else than a directory.
    NotADirectory(Vec<u8>),
    /// It leads through too many symbolic links.
    Loop(Vec<u8>),
    /// It has more `..` than names before it.
    AboveRoot(Vec<u8>),
    Tree(TreeError),
}

impl fmt::Display for PlaceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotADirectory(name) => {
                write!(f, "{}: not a directory", Readable(name))
            }
            Self::Loop(path) => {
                let path = Readable(path);
                write!(
                    f,
                    "{path} leads through more than {LINKS_MAX} symbolic links, "
                )?;
                write!(
                    f,
                    "or {TARGET_NAMES_MAX} names or {TARGETS_MAX} bytes of their targets"
                )
            }
            Self::AboveRoot(path) => write!(
                f,
                "invalid path {}: \"..\" leads above the root of the image",
                Readable(path)
            ),
            Self::Tree(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for PlaceError {}

impl From<TreeError> for PlaceError {
    fn from(error: TreeError) -> Self {
        Self::Tree(error)
    }
}

/// Where `path` leads from the root, with or without a slash in front; nothing if the way there is
/// missing and is to stay so.
pub(super) fn find(
    tree: &mut Tree,
    path: &[u8],
    if_missing: IfMissing,
) -> Result<Option<Destination>, PlaceError> {
    let mut way = PathWalk {
        directories: vec![NodeId::ROOT],
        parts: Vec::new(),
        followed: Followed::default(),
    };
    work::add_bytes(path.len());
    way.push(path);
    // How many parts of the path itself are left; what is above them comes from symbolic links.
    let mut left = way.parts.len();
    while let Some(part) = way.parts.pop() {
        work::add(1);
        let is_own = way.parts.len() < left;
        left = left.min(way.parts.len());
        let at = way.at();
        if part == b".." {
            if is_own && way.directories.len() == 1 {
                return Err(PlaceError::AboveRoot(path.to_vec()));
            }
            way.up();
            continue;
        }
        if way.parts.is_empty() {
            return Ok(Some(Destination::Name(at, part)));
        }
        match tree.lookup(at, &part)? {
            Some(node) => match &tree.node(node).kind {
                Kind::Directory(_) => way.directories.push(node),
                Kind::Symlink(target) => {
                    if !way.followed.may_follow(target) {
                        return Err(PlaceError::Loop(path.to_vec()));
                    }
                    way.push(target);
                }
                _ => return Err(PlaceError::NotADirectory(part)),
            },
            None => match if_missing {
                IfMissing::Make(time) => {
                    way.directories
                        .push(tree.directory_at(at, &part, implied(time))?);
                }
                IfMissing::Stop => return Ok(None),
            },
        }
    }
    Ok(Some(Destination::Directory(way.at())))
}

/// What a directory is that nothing declares.
pub(super) fn implied(time: Timestamp) -> Metadata {
    Metadata {
        permissions: 0o755,
        atime: time,
        mtime: time,
        ctime: time,
        ..Metadata::default()
    }
}

/// A way that is being gone.
struct PathWalk {
    /// The directories gone through, the root first; never empty.
    directories: Vec<NodeId>,
    /// What is still to be gone, the next part last.
    parts: Vec<Vec<u8>>,
    followed: Followed,
}

impl PathWalk {
    fn push(&mut self, path: &[u8]) {
        if path.starts_with(b"/") {
            self.directories.truncate(1);
        }
        let parts = path.split(|byte| *byte == b'/');
        let parts = parts.filter(|part| is_step(part));
        self.parts.extend(parts.rev().map(<[u8]>::to_vec));
    }

    fn at(&self) -> NodeId {
        self.directories.last().copied().unwrap_or(NodeId::ROOT)
    }

    fn up(&mut self) {
        if self.directories.len() > 1 {
            self.directories.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_stay_inside_the_image() {
        let mut tree = Tree::with_root(Metadata::default());
        let root = NodeId::ROOT;
        let usr = tree
            .directory_at(root, b"usr", Metadata::default())
            .unwrap();
        let lib = tree.directory_at(usr, b"lib", Metadata::default()).unwrap();
        for (name, target) in [
            (&b"lib"[..], &b"usr/lib"[..]),
            (b"up", b"../../usr"),
            (b"abs", b"/usr/lib/"),
            (b"loop", b"loop"),
        ] {
            let metadata = Metadata::default();
            tree.symlink_at(root, name, metadata, target).unwrap();
        }
        tree.file_at(
            lib,
            b"f",
            Metadata::default(),
            crate::tree::Content::from_bytes(*b""),
        )
        .unwrap();
        let mut at = |path: &[u8]| find(&mut tree, path, IfMissing::Stop);
        let name = |parent, name: &[u8]| Ok(Some(Destination::Name(parent, name.to_vec())));
        assert_eq!(at(b"lib/x"), name(lib, b"x"));
        assert_eq!(at(b"/abs/x"), name(lib, b"x"));
        assert_eq!(at(b"up/lib/../x"), name(usr, b"x"));
        assert_eq!(at(b"up/../lib"), name(root, b"lib"));
        for path in [&b"../lib"[..], b"/..", b"usr/../../lib", b"up/../../lib"] {
            assert_eq!(at(path), Err(PlaceError::AboveRoot(path.to_vec())));
        }
        assert_eq!(at(b"./usr/.."), Ok(Some(Destination::Directory(root))));
        assert_eq!(at(b"none/x"), Ok(None));
        assert_eq!(at(b"loop/x"), Err(PlaceError::Loop(b"loop/x".to_vec())));
        assert_eq!(
            at(b"lib/f/x"),
            Err(PlaceError::NotADirectory(b"f".to_vec()))
        );

        let long = b"../usr/".repeat(500);
        assert!(!Followed::default().may_follow(&long));
        let mut followed = Followed::default();
        assert!((0..LINKS_MAX).all(|_| followed.may_follow(b"../usr/lib")));
        assert!(!followed.may_follow(b"l"));

        let time = Timestamp::from_seconds(7);
        let made = find(&mut tree, b"lib/a/b/c", IfMissing::Make(time)).unwrap();
        let Some(Destination::Name(parent, _)) = made else {
            panic!("{made:?}");
        };
        assert_eq!(tree.path(parent), b"/usr/lib/a/b");
        assert_eq!(tree.node(parent).metadata, implied(time));
    }
}
