//! Given a directory of the host, declares its tree as the host shows it; never changes the host.
//!
//! Everything that `lstat`, `readlink`, `listxattr`, `lsattr` and `SEEK_HOLE` tell is kept. Whatever
//! order the host lists names in, nodes are declared in the order of their names' bytes, each
//! directory before what it holds. A directory is looked at before it is read, and read without
//! touching its time of access where the host allows that, so a second walk finds the same.
//!
//! The walk goes from directory to directory by descriptor: a path that is too long for the kernel,
//! or a parent that is renamed meanwhile, does not lead it elsewhere.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::sync::Arc;
use std::vec;

use super::host_files::{FileNumber, HostContents, HostFiles, changed, means_changed, same_file};
use super::patterns::{Leaf, Patterns};
use super::{Declared, Notice, Source, SourceError};
use crate::sys::{self, FileType, Stat};
use crate::tree::{
    Content, DIRECTORY_FLAGS, DataMap, Device, FILE_FLAGS, Metadata, NodeId, Special, Tree,
    TreeError, Xattr,
};
use crate::units::Timestamp;

/// The longest path that the kernel takes, its NUL included.
const PATH_MAX: usize = 4096;

/// A directory of the host as a [`Source`].
///
/// ```no_run
/// use mke4fs::source::Source;
/// use mke4fs::source::dir::Directory;
/// use mke4fs::tree::{Metadata, NodeId, Tree};
///
/// let mut tree = Tree::new(Metadata::default());
/// let declared = Directory::new("rootfs")
///     .latest_time(Some(1_700_000_000))
///     .declare(&mut tree, NodeId::ROOT)?;
/// for notice in declared.notices {
///     eprintln!("{notice}");
/// }
/// # Ok::<(), mke4fs::source::SourceError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Directory {
    path: PathBuf,
    keep_xattrs: bool,
    excluded: Vec<(u64, u64)>,
    patterns: Patterns,
    one_file_system: bool,
    latest_time: Option<i64>,
}

impl Directory {
    /// The directory `path`, which may be a symbolic link to one.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            keep_xattrs: true,
            excluded: Vec::new(),
            patterns: Patterns::default(),
            one_file_system: false,
            latest_time: None,
        }
    }

    /// Whether extended attributes are kept; they are unless told otherwise.
    #[must_use]
    pub fn keep_xattrs(mut self, keep: bool) -> Self {
        self.keep_xattrs = keep;
        self
    }

    /// Leaves out, with a notice, every name of the inode `ino` on device `dev`, as `stat` calls them.
    #[must_use]
    pub fn exclude_inode(mut self, dev: u64, ino: u64) -> Self {
        self.excluded.push((dev, ino));
        self
    }

    /// Leaves out, without a word and without opening it, what `patterns` say, by its path below
    /// this directory.
    #[must_use]
    pub fn exclude(mut self, patterns: Patterns) -> Self {
        self.patterns = patterns;
        self
    }

    /// Whether directories on which something is mounted are kept empty, as `tar --one-file-system`
    /// and `rsync -x` keep them; their contents are kept unless told otherwise.
    #[must_use]
    pub fn one_file_system(mut self, one: bool) -> Self {
        self.one_file_system = one;
        self
    }

    /// Sets every time later than this to it, in seconds since 1970 (`SOURCE_DATE_EPOCH`).
    #[must_use]
    pub fn latest_time(mut self, seconds: Option<i64>) -> Self {
        self.latest_time = seconds;
        self
    }

    fn metadata(&self, stat: &Stat, flags: u32) -> Metadata {
        Metadata {
            permissions: stat.permissions,
            uid: stat.uid,
            gid: stat.gid,
            atime: self.time(stat.atime),
            mtime: self.time(stat.mtime),
            ctime: self.time(stat.ctime),
            flags,
        }
    }

    fn time(&self, time: Timestamp) -> Timestamp {
        match self.latest_time {
            Some(latest) if time.seconds >= latest => Timestamp::from_seconds(latest),
            _ => time,
        }
    }
}

impl Source for Directory {
    fn declare(&mut self, tree: &mut Tree, at: NodeId) -> Result<Declared, SourceError> {
        let unread = |error| SourceError::read(self.path.as_os_str().as_bytes(), error);
        let (files, stat) = HostFiles::new(&self.path).map_err(unread)?;
        let mut walk = Walk {
            options: self,
            tree,
            files,
            contents: Arc::default(),
            links: HashMap::new(),
            device: stat.dev,
            left_out: Vec::new(),
            skipped: BTreeMap::new(),
        };
        let root = walk.run(at, &stat)?;
        Ok(walk.finish(root))
    }
}

/// A name in a directory that is being walked.
struct Found {
    name: Box<[u8]>,
    stat: Stat,
}

/// A directory whose entries are being declared, and those that still have to be.
struct Level {
    number: FileNumber,
    node: NodeId,
    rest: vec::IntoIter<Found>,
}

impl Level {
    /// A directory of which nothing is declared.
    fn nothing(number: FileNumber, node: NodeId) -> Self {
        Self {
            number,
            node,
            rest: Vec::new().into_iter(),
        }
    }
}

struct Walk<'a> {
    options: &'a Directory,
    tree: &'a mut Tree,
    files: HostFiles,
    contents: Arc<HostContents>,
    /// The nodes of files with several names, by device and inode number.
    links: HashMap<(u64, u64), NodeId>,
    /// The device that the walk began on.
    device: u64,
    left_out: Vec<Vec<u8>>,
    /// Attributes that were skipped: the first file's path and the count, by name.
    skipped: BTreeMap<Vec<u8>, (Vec<u8>, u64)>,
}

impl Walk<'_> {
    /// Declares everything below `at`, and gives the root's own metadata.
    fn run(&mut self, at: NodeId, stat: &Stat) -> Result<Metadata, SourceError> {
        let name = &b""[..];
        let opened = self.files.directory(FileNumber::ROOT);
        let root = opened.map_err(|error| self.trouble(FileNumber::ROOT, name, error))?;
        let flags = sys::attribute_flags(&*root)
            .map_err(|error| self.trouble(FileNumber::ROOT, name, error))?;
        let metadata = self.options.metadata(stat, flags & DIRECTORY_FLAGS);
        let place = Place {
            parent: FileNumber::ROOT,
            name,
            file: Some(&root),
        };
        self.xattrs(at, &place)?;
        let mut levels = vec![self.level(FileNumber::ROOT, at, &root)?];
        while let Some(level) = levels.last_mut() {
            let (number, node) = (level.number, level.node);
            match level.rest.next() {
                Some(found) => levels.extend(self.entry(number, node, &found)?),
                None => drop(levels.pop()),
            }
        }
        Ok(metadata)
    }

    /// What was declared, once everything is.
    fn finish(self, root: Metadata) -> Declared {
        self.contents.set(self.files);
        let left_out = self.left_out.into_iter();
        let skipped = self.skipped.into_iter();
        let notices = left_out
            .map(|path| Notice::LeftOut { path })
            .chain(
                skipped.map(|(name, (path, files))| Notice::AttributeSkipped { name, path, files }),
            )
            .collect();
        Declared {
            root: Some(root),
            notices,
        }
    }

    /// Lists a directory and looks at all it holds, before any of that is read.
    fn level(
        &self,
        number: FileNumber,
        node: NodeId,
        directory: &File,
    ) -> Result<Level, SourceError> {
        let mut names = sys::names_in(directory)
            .map_err(|error| SourceError::read(self.files.path(number), error))?;
        names.retain(|name| !self.is_excluded((number, name), Leaf::Other));
        names.sort_unstable();
        let found: Result<Vec<Found>, SourceError> = names
            .into_iter()
            .map(|name| match sys::stat_at(directory, &name) {
                Ok(stat) => Ok(Found { name, stat }),
                Err(error) => Err(self.trouble(number, &name, error)),
            })
            .collect();
        Ok(Level {
            number,
            node,
            rest: found?.into_iter(),
        })
    }

    /// Declares what was found in the directory `parent`; of a directory, gives the level below.
    fn entry(
        &mut self,
        parent: FileNumber,
        at: NodeId,
        found: &Found,
    ) -> Result<Option<Level>, SourceError> {
        let Found { name, stat } = found;
        let inode = (stat.dev, stat.ino);
        if self.options.excluded.contains(&inode) {
            self.left_out.push(self.files.path_of(parent, name));
            return Ok(None);
        }
        if stat.file_type == FileType::Directory {
            if self.is_excluded((parent, name), Leaf::Directory) {
                return Ok(None);
            }
            return self.directory(parent, at, found).map(Some);
        }
        let known = (stat.links > 1).then(|| self.links.get(&inode)).flatten();
        if let Some(node) = known {
            let linked = self.tree.link(at, name, *node);
            linked.map_err(|error| self.unstorable(parent, name, error))?;
            return Ok(None);
        }
        let node = match stat.file_type {
            FileType::Regular => self.file(parent, at, found)?,
            _ => self.special(parent, at, found)?,
        };
        if stat.links > 1 {
            self.links.insert(inode, node);
        }
        Ok(None)
    }

    fn directory(
        &mut self,
        parent: FileNumber,
        at: NodeId,
        found: &Found,
    ) -> Result<Level, SourceError> {
        let Found { name, stat } = found;
        let (directory, flags) = self
            .open(parent, found)
            .map_err(|error| self.trouble(parent, name, error))?;
        let metadata = self.options.metadata(stat, flags & DIRECTORY_FLAGS);
        let node = self
            .tree
            .directory(at, name, metadata)
            .map_err(|error| self.unstorable(parent, name, error))?;
        self.xattrs(
            node,
            &Place {
                parent,
                name,
                file: Some(&directory),
            },
        )?;
        let number = self
            .files
            .add(parent, name, stat)
            .map_err(|error| self.trouble(parent, name, error))?;
        let is_mounted = self.options.one_file_system && stat.dev != self.device;
        let level = match is_mounted {
            true => Level::nothing(number, node),
            false => self.level(number, node, &directory)?,
        };
        self.files.remember(number, Arc::new(directory));
        Ok(level)
    }

    fn is_excluded(&self, (parent, name): (FileNumber, &[u8]), leaf: Leaf) -> bool {
        let patterns = &self.options.patterns;
        !patterns.is_empty() && patterns.exclude(&self.files.path_below(parent, name), leaf)
    }

    fn file(
        &mut self,
        parent: FileNumber,
        at: NodeId,
        found: &Found,
    ) -> Result<NodeId, SourceError> {
        let Found { name, stat } = found;
        let opened = self.open(parent, found).and_then(|(file, flags)| {
            let data = data_map(&file, stat.size_bytes)?;
            let number = self.files.add(parent, name, stat)?;
            Ok((file, flags, data, number))
        });
        let (file, flags, data, number) =
            opened.map_err(|error| self.trouble(parent, name, error))?;
        let content = Content {
            size_bytes: stat.size_bytes,
            key: number.key(&data),
            data,
            source: self.contents.clone(),
        };
        let metadata = self.options.metadata(stat, flags & FILE_FLAGS);
        let node = self
            .tree
            .file(at, name, metadata, content)
            .map_err(|error| self.unstorable(parent, name, error))?;
        self.xattrs(
            node,
            &Place {
                parent,
                name,
                file: Some(&file),
            },
        )?;
        Ok(node)
    }

    /// Declares what is neither a directory nor a regular file, without ever opening it.
    fn special(
        &mut self,
        parent: FileNumber,
        at: NodeId,
        found: &Found,
    ) -> Result<NodeId, SourceError> {
        let Found { name, stat } = found;
        let metadata = self.options.metadata(stat, 0);
        let (major, minor) = stat.device;
        let device = Device { major, minor };
        let special = match stat.file_type {
            FileType::CharDevice => Some(Special::CharDevice(device)),
            FileType::BlockDevice => Some(Special::BlockDevice(device)),
            FileType::Fifo => Some(Special::Fifo),
            FileType::Socket => Some(Special::Socket),
            FileType::Symlink | FileType::Directory | FileType::Regular => None,
        };
        let declared = match special {
            Some(special) => self.tree.special(at, name, metadata, special),
            None => {
                let target = self
                    .files
                    .directory(parent)
                    .and_then(|directory| sys::read_link_at(&*directory, name))
                    .map_err(|error| self.trouble(parent, name, error))?;
                self.tree.symlink(at, name, metadata, &target)
            }
        };
        let node = declared.map_err(|error| self.unstorable(parent, name, error))?;
        self.xattrs(
            node,
            &Place {
                parent,
                name,
                file: None,
            },
        )?;
        // It was asked by name each time, so another may have come between.
        let still = self
            .files
            .directory(parent)
            .and_then(|directory| sys::stat_at(&*directory, name))
            .map_err(|error| self.trouble(parent, name, error))?;
        if !same_file(&still, stat) {
            return Err(self.trouble(parent, name, changed()));
        }
        Ok(node)
    }

    /// Opens the directory or regular file that was found, and reads its `lsattr` flags.
    fn open(&self, parent: FileNumber, found: &Found) -> io::Result<(File, u32)> {
        let above = self.files.directory(parent)?;
        let file = match found.stat.file_type {
            FileType::Directory => sys::open_directory_at(&*above, &found.name)?,
            _ => sys::open_file_at(&*above, &found.name)?,
        };
        if !same_file(&sys::stat_of(&file)?, &found.stat) {
            return Err(changed());
        }
        let flags = sys::attribute_flags(&file)?;
        Ok((file, flags))
    }

    /// Gives `node` the extended attributes of the file at `place`.
    fn xattrs(&mut self, node: NodeId, place: &Place<'_>) -> Result<(), SourceError> {
        if !self.options.keep_xattrs {
            return Ok(());
        }
        let from = self
            .xattrs_of(place)
            .map_err(|error| self.trouble(place.parent, place.name, error))?;
        let names = from
            .names()
            .map_err(|error| self.trouble(place.parent, place.name, error))?;
        let mut kept = Vec::new();
        for name in names {
            if !ext4_names(&name) {
                self.skip(name, place);
                continue;
            }
            match from.value(&name) {
                Ok(Some(value)) => kept.push(Xattr { name, value }),
                // Removed since it was listed.
                Ok(None) => {}
                Err(error) => {
                    let path = self.files.path_of(place.parent, place.name);
                    return Err(SourceError::attribute(path, name, error));
                }
            }
        }
        // The root may have those of a source below.
        let set = self.tree.xattr_set(kept);
        self.tree.set_xattrs(node, set);
        Ok(())
    }

    fn xattrs_of<'p>(&self, place: &Place<'p>) -> io::Result<XattrsOf<'p>> {
        if let Some(file) = place.file {
            return Ok(XattrsOf::Open(file));
        }
        let directory = self.files.directory(place.parent)?;
        if path_below(&directory, b".").exists() {
            return Ok(XattrsOf::Below(directory, place.name));
        }
        let path = self.files.path_of(place.parent, place.name);
        if path.len() < PATH_MAX {
            return Ok(XattrsOf::Path(OsString::from_vec(path).into()));
        }
        Err(io::Error::other("so long a path needs /proc"))
    }

    fn skip(&mut self, attribute: Vec<u8>, place: &Place<'_>) {
        let files = &self.files;
        let first = || (files.path_of(place.parent, place.name), 0);
        self.skipped.entry(attribute).or_insert_with(first).1 += 1;
    }

    fn trouble(&self, parent: FileNumber, name: &[u8], error: io::Error) -> SourceError {
        let path = self.files.path_of(parent, name);
        if means_changed(&error) {
            SourceError::changed(path)
        } else {
            SourceError::read(path, error)
        }
    }

    fn unstorable(&self, parent: FileNumber, name: &[u8], error: TreeError) -> SourceError {
        SourceError::store(self.files.path_of(parent, name), error)
    }
}

/// A file by its place in the walk, and open if it is of a type that is opened.
struct Place<'a> {
    parent: FileNumber,
    name: &'a [u8],
    file: Option<&'a File>,
}

/// Where a file's extended attributes are read.
enum XattrsOf<'a> {
    /// Through the file.
    Open(&'a File),
    /// By its path, where there is no /proc: a directory on the way may be replaced by a link.
    Path(PathBuf),
    /// By a name in an open directory, which no replaced directory leads elsewhere.
    Below(Arc<File>, &'a [u8]),
}

impl XattrsOf<'_> {
    fn names(&self) -> io::Result<Vec<Vec<u8>>> {
        match self {
            Self::Open(file) => sys::xattr_names(file),
            Self::Path(path) => sys::xattr_names_at(path),
            Self::Below(directory, name) => sys::xattr_names_at(&path_below(directory, name)),
        }
    }

    fn value(&self, attribute: &[u8]) -> io::Result<Option<Vec<u8>>> {
        match self {
            Self::Open(file) => sys::xattr(file, attribute),
            Self::Path(path) => sys::xattr_at(path, attribute),
            Self::Below(directory, name) => sys::xattr_at(&path_below(directory, name), attribute),
        }
    }
}

/// A short path to `name` in an open directory: no call before Linux 6.13 takes the two apart.
fn path_below(directory: &File, name: &[u8]) -> PathBuf {
    let directory = format!("/proc/self/fd/{}", directory.as_raw_fd());
    PathBuf::from(directory).join(OsStr::from_bytes(name))
}

/// Whether ext4 has attributes called so.
///
/// Others are a filesystem's own view of something else, such as `system.nfs4_acl` or
/// `btrfs.compression`.
fn ext4_names(attribute: &[u8]) -> bool {
    let spaces = [&b"user."[..], b"trusted.", b"security."];
    attribute == b"system.posix_acl_access"
        || attribute == b"system.posix_acl_default"
        || spaces.iter().any(|space| attribute.starts_with(space))
}

/// Which of the file's `size` bytes are data.
///
/// Every file is asked, even one that has as many blocks as its size needs: blocks of attributes, of
/// the extent tree and past the end count too, and may hide a hole.
fn data_map(file: &File, size: u64) -> io::Result<DataMap> {
    match sys::seek_hole(file, 0) {
        // The first hole is the one after the end; an empty file has nothing before it.
        Ok(hole) if hole.is_none_or(|start| start >= size) => return Ok(DataMap::Whole),
        Err(error) if error.kind() == io::ErrorKind::Unsupported => return Ok(DataMap::Whole),
        answer => answer?,
    };
    let mut ranges: Vec<Range<u64>> = Vec::new();
    let mut at = 0;
    while at < size {
        let Some(start) = sys::seek_data(file, at)?.filter(|start| *start < size) else {
            break;
        };
        // Only a file that was cut short has no hole at its end.
        let end = sys::seek_hole(file, start)?.ok_or_else(changed)?.min(size);
        if end <= start {
            return Err(changed());
        }
        match ranges.last_mut() {
            Some(last) if last.end == start => last.end = end,
            _ => ranges.push(start..end),
        }
        at = end;
    }
    Ok(DataMap::Ranges(ranges.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_of_other_filesystems_are_none_of_ext4() {
        for (name, stored) in [
            (&b"user.note"[..], true),
            (b"trusted.overlay.opaque", true),
            (b"security.selinux", true),
            (b"system.posix_acl_access", true),
            (b"system.posix_acl_default", true),
            (b"system.nfs4_acl", false),
            (b"system.cifs_acl", false),
            (b"btrfs.compression", false),
            (b"ceph.dir.layout", false),
        ] {
            assert_eq!(ext4_names(name), stored, "{}", name.escape_ascii());
        }
    }
}
