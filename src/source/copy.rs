//! Given a file of the host and a place in the image, declares the file there as the host shows it;
//! never changes the host.

use std::fs;
use std::io;
use std::num::NonZero;
use std::path::{Path, PathBuf};

use super::dir::Directory;
use super::patterns::{PathType, Patterns};
use super::place::{self, Destination, IfMissing};
use super::rules::XattrFilter;
use super::{Declared, Source, SourceError};
use crate::cancel::Cancel;
use crate::sys;
use crate::tree::{Content, Kind, Metadata, NodeId, Special, Tree, TreeError, XattrSetId};
use crate::units::Timestamp;

/// A file or directory of the host, with what is below it, at a place of its own in the image.
///
/// A symbolic link is copied as one, unless a slash follows its name. Where the place is a directory,
/// a directory is merged with it. Directories on the way there that are missing are made, of root and
/// with 0755; symbolic links on the way are followed inside the image.
///
/// ```no_run
/// use mke4fs::source::Source;
/// use mke4fs::source::copy::Copy;
/// use mke4fs::tree::{Metadata, NodeId, Tree};
///
/// let mut tree = Tree::with_root(Metadata::default());
/// Copy::new("target/release/init", "/sbin/").declare(&mut tree, NodeId::ROOT)?;
/// # Ok::<(), mke4fs::source::SourceError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Copy {
    from: PathBuf,
    to: Vec<u8>,
    now: Timestamp,
    patterns: Patterns,
    xattrs: XattrFilter,
    one_file_system: bool,
    left_out: Option<(u64, u64)>,
    cancel: Cancel,
}

/// A name in a directory of the image.
struct NamedPlace<'a> {
    parent: NodeId,
    name: &'a [u8],
}

impl Copy {
    /// The file `from` at the path `to`, or in the directory `to` if that ends in a slash.
    pub fn new(from: impl Into<PathBuf>, to: impl Into<Vec<u8>>) -> Self {
        Self {
            from: from.into(),
            to: to.into(),
            now: Timestamp::default(),
            patterns: Patterns::default(),
            xattrs: XattrFilter::default(),
            one_file_system: false,
            left_out: None,
            cancel: Cancel::new(),
        }
    }

    /// The time of directories that are made on the way; 1970 by default.
    #[must_use]
    pub fn now(mut self, now: Timestamp) -> Self {
        self.now = now;
        self
    }

    /// Leaves out what `patterns` say, by its path in the image.
    #[must_use]
    pub fn exclude(mut self, patterns: Patterns) -> Self {
        self.patterns = patterns;
        self
    }

    /// Whether extended attributes are kept; they are by default.
    #[must_use]
    pub fn keep_xattrs(mut self, keep: bool) -> Self {
        self.xattrs = XattrFilter::all_if(keep);
        self
    }

    /// As [`Directory::one_file_system`].
    #[must_use]
    pub fn one_file_system(mut self, one: bool) -> Self {
        self.one_file_system = one;
        self
    }

    /// As [`Directory::exclude_inode`], for one inode.
    #[must_use]
    pub fn exclude_inode(mut self, dev: u64, ino: u64) -> Self {
        self.left_out = Some((dev, ino));
        self
    }

    /// What reads the directory `path` with these attributes.
    fn reading(&self, path: &Path) -> Directory {
        let mut directory = Directory::new(path);
        directory.filter_xattrs(&self.xattrs);
        directory.set_cancel(&self.cancel);
        directory
    }

    /// Where it goes, and the path of that.
    fn spot(&self, tree: &mut Tree) -> Result<(NodeId, Vec<u8>), SourceError> {
        let mut to = self.to.clone();
        if to.ends_with(b"/") {
            let name = self.from.file_name();
            let needed = "the path to copy has no file name at its end to use in a directory";
            let name = sys::bytes_of_name(name.ok_or_else(|| self.other(needed))?);
            to.extend_from_slice(name.map_err(|error| self.unread(error))?);
        }
        let refused = |error| SourceError::other(Unplaced(to.clone(), error));
        match place::find(tree, &to, IfMissing::Make(self.now)).map_err(refused)? {
            Some(Destination::Name(parent, name)) => Ok((parent, name)),
            _ => Err(self.other("the destination has no name at its end")),
        }
    }

    fn unread(&self, error: io::Error) -> SourceError {
        SourceError::read(self.from.as_os_str().as_encoded_bytes(), error)
    }

    fn other(&self, needed: &str) -> SourceError {
        let (from, to) = (
            super::Readable(self.from.as_os_str().as_encoded_bytes()),
            super::Readable(&self.to),
        );
        SourceError::other(format!("cannot copy {from} to {to}: {needed}"))
    }

    fn directory(&self, tree: &mut Tree, place: &NamedPlace<'_>) -> Result<Declared, SourceError> {
        let NamedPlace { parent, name } = *place;
        let there = tree.lookup(parent, name)?;
        if there.is_some_and(|node| !matches!(tree.node(node).kind, Kind::Directory(_))) {
            return Err(self.other("the destination exists and is not a directory"));
        }
        let node = tree.directory_at(parent, name, Metadata::default())?;
        let mut below = tree.path(node);
        below.remove(0);
        let mut directory = self
            .reading(&self.from)
            .one_file_system(self.one_file_system)
            .exclude(self.patterns.below(&below));
        if let Some((dev, ino)) = self.left_out {
            directory = directory.exclude_inode(dev, ino);
        }
        let declared = directory.declare(tree, node)?;
        if let Some(metadata) = declared.root {
            tree.replace_metadata(node, metadata);
        }
        Ok(Declared {
            root: None,
            ..declared
        })
    }

    /// Anything but a directory.
    fn file(&self, tree: &mut Tree, place: &NamedPlace<'_>) -> Result<Declared, SourceError> {
        let there = tree.lookup(place.parent, place.name)?;
        if there.is_some_and(|node| matches!(tree.node(node).kind, Kind::Directory(_))) {
            return Err(self.other("the destination is a directory; add a slash to copy into it"));
        }
        let (from, declared) = alone(&self.from, |above| self.reading(above))?;
        let entries = from.entries(NodeId::ROOT);
        let (1, Some(entry)) = (entries.len(), entries.last()) else {
            return Err(SourceError::changed(
                self.from.as_os_str().as_encoded_bytes(),
            ));
        };
        move_node(&from, entry.node, tree, place)?;
        // What was found of a root is of the directory that the file was in.
        Ok(Declared {
            root: None,
            ..declared
        })
    }
}

impl Source for Copy {
    fn for_output(&mut self, output: &Path) {
        if let Some(output) = sys::identity_at(output) {
            self.left_out = Some((output.device, output.inode));
        }
    }

    fn set_cancel(&mut self, cancel: &Cancel) {
        self.cancel = cancel.clone();
    }

    fn filter_xattrs(&mut self, filter: &XattrFilter) {
        self.xattrs.narrow(filter);
    }

    fn declare(&mut self, tree: &mut Tree, _at: NodeId) -> Result<Declared, SourceError> {
        let found = fs::symlink_metadata(&self.from);
        let found = found.map_err(|error| self.unread(error))?;
        let is_directory = found.is_dir() && !found.is_symlink();
        tree.overlay()?;
        let (parent, name) = self.spot(tree)?;
        let place = NamedPlace {
            parent,
            name: &name,
        };
        let mut path = tree.path(parent);
        path.push(b'/');
        path.extend_from_slice(&name);
        let leaf = if is_directory {
            PathType::Directory
        } else {
            PathType::Other
        };
        let path = path
            .iter()
            .position(|byte| *byte != b'/')
            .map_or(&b""[..], |at| &path[at..]);
        if self.patterns.exclude_within(path, leaf) {
            return Ok(Declared::default());
        }
        if is_directory {
            self.directory(tree, &place)
        } else {
            self.file(tree, &place)
        }
    }
}

/// The content of the host's regular file `path`, to which symbolic links may lead.
///
/// # Errors
/// Where it is no regular file, or cannot be read.
pub fn content_of(path: &[u8]) -> Result<Content, SourceError> {
    let unread = |error| SourceError::read(path, error);
    let missing = || unread(io::ErrorKind::NotFound.into());
    let named = sys::path_of_bytes(path).ok_or_else(missing)?;
    // Where there is no other path to what links lead to, it has to be named without them.
    let found = match fs::canonicalize(&named) {
        Err(error) if error.kind() == io::ErrorKind::Unsupported => named,
        found => found.map_err(unread)?,
    };
    if !fs::metadata(&found).map_err(unread)?.is_file() {
        return Err(unread(io::Error::other("must be a regular file")));
    }
    let (tree, _) = alone(&found, |above| Directory::new(above).keep_xattrs(false))?;
    let content = tree.nodes().find_map(|(_, node)| match &node.kind {
        Kind::File(content) => Some(content.clone()),
        _ => None,
    });
    content.ok_or_else(|| SourceError::changed(path))
}

/// A tree of the one file `path`, called as there; `reading` reads the directory above it.
fn alone(
    path: &Path,
    reading: impl Fn(&Path) -> Directory,
) -> Result<(Tree, Declared), SourceError> {
    let needed = || {
        let missing = io::Error::other("must end with a file name");
        SourceError::read(path.as_os_str().as_encoded_bytes(), missing)
    };
    let name = sys::bytes_of_name(path.file_name().ok_or_else(needed)?);
    let name =
        name.map_err(|error| SourceError::read(path.as_os_str().as_encoded_bytes(), error))?;
    let above = match path.parent() {
        Some(above) if !above.as_os_str().is_empty() => above,
        _ => Path::new("."),
    };
    let mut tree = Tree::with_root(Metadata::default());
    let declared = reading(above)
        .exclude(Patterns::all_but(name))
        .threads(NonZero::<usize>::MIN)
        .declare(&mut tree, NodeId::ROOT)?;
    Ok((tree, declared))
}

/// Declares a node of `from` that is no directory at `place`.
fn move_node(
    from: &Tree,
    node: NodeId,
    tree: &mut Tree,
    place: &NamedPlace<'_>,
) -> Result<(), TreeError> {
    let NamedPlace { parent, name } = *place;
    let node = from.node(node);
    let metadata = node.metadata;
    let moved = match &node.kind {
        Kind::Directory(_) => return Err(TreeError::NotADirectory),
        Kind::File(content) => tree.file_at(parent, name, metadata, content.clone())?,
        Kind::Symlink(target) => tree.symlink_at(parent, name, metadata, target)?,
        Kind::CharDevice(device) => {
            tree.special_at(parent, name, metadata, Special::CharDevice(*device))?
        }
        Kind::BlockDevice(device) => {
            tree.special_at(parent, name, metadata, Special::BlockDevice(*device))?
        }
        Kind::Fifo => tree.special_at(parent, name, metadata, Special::Fifo)?,
        Kind::Socket => tree.special_at(parent, name, metadata, Special::Socket)?,
    };
    if node.xattrs != XattrSetId::EMPTY {
        let set = tree.intern_xattrs(from.xattr_set(node.xattrs).to_vec());
        tree.replace_xattrs(moved, set);
    }
    Ok(())
}

/// A place that cannot be reached, and why.
#[derive(Debug)]
struct Unplaced(Vec<u8>, place::PlaceError);

impl std::fmt::Display for Unplaced {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "cannot copy to {}: {}", super::Readable(&self.0), self.1)
    }
}

impl std::error::Error for Unplaced {}
