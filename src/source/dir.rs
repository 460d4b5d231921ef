//! Given a directory of the host, declares its tree as the host shows it; never changes the host.
//!
//! Everything that `lstat`, `readlink`, `listxattr`, `lsattr` and `SEEK_HOLE` tell is kept. Whatever
//! order the host lists names in, nodes are declared in the order of their names' bytes, each
//! directory before what it holds. A directory is inspected before it is read, and read without
//! touching its atime where the host allows that, so a second walk finds the same.
//!
//! The walk goes from directory to directory by descriptor: a path that is too long for the kernel,
//! or a parent that is renamed meanwhile, does not lead it elsewhere.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{thread, vec};

use super::host_files::{FileNumber, HostContents, HostFiles, means_changed};
use super::inspect::{
    self, FileInfo, FileKind, InspectCause, InspectError, Inspector, OpenDirectory, Selection,
    Xattrs,
};
use super::listed::ListedName;
use super::overlay;
use super::patterns::Patterns;
use super::prefetch::{Inspected, Listing, Next, Prefetch};
use super::rules::XattrFilter;
use super::{Declared, Source, SourceError, SourceWarning, clamped};
use crate::base::Base;
use crate::cancel::Cancel;
use crate::sys::{self, FileType, Stat};
use crate::tree::{
    Content, DIRECTORY_FLAGS, Device, FILE_FLAGS, Flags, Metadata, NodeId, Special, Tree,
    TreeError, Verity,
};

/// How many threads inspect files beside the one that declares them, at most: each keeps a file and a
/// directory open.
const MOST_HELPERS: usize = 63;

/// A directory of the host as a [`Source`].
///
/// Where the system is no Unix, files are root's, with 0644 or 0444 if they are read-only, directories have
/// 0755, all times are the one of the last write, and names have to be Unicode.
///
/// ```no_run
/// use mke4fs::source::Source;
/// use mke4fs::source::dir::Directory;
/// use mke4fs::tree::{Metadata, NodeId, Tree};
///
/// let mut tree = Tree::with_root(Metadata::default());
/// let declared = Directory::new("rootfs")
///     .latest_time(Some(1_700_000_000))
///     .declare(&mut tree, NodeId::ROOT)?;
/// for warning in declared.warnings {
///     eprintln!("{warning}");
/// }
/// # Ok::<(), mke4fs::source::SourceError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Directory {
    path: PathBuf,
    selection: Selection,
    latest_time: Option<i64>,
    threads: Option<NonZero<usize>>,
    is_upper: bool,
    cancel: Cancel,
    base: Option<Arc<Base>>,
}

impl Directory {
    /// The directory `path`, which may be a symbolic link to one.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            selection: Selection::default(),
            latest_time: None,
            threads: None,
            is_upper: false,
            cancel: Cancel::new(),
            base: None,
        }
    }

    /// Whether extended attributes are kept; they are by default.
    #[must_use]
    pub fn keep_xattrs(mut self, keep: bool) -> Self {
        self.selection.xattrs = XattrFilter::all_if(keep);
        self
    }

    /// Leaves out, with a warning, every name of the inode `ino` on device `dev`, as `stat` calls them.
    #[must_use]
    pub fn exclude_inode(mut self, dev: u64, ino: u64) -> Self {
        self.selection.excluded.push((dev, ino));
        self
    }

    /// Leaves out, without a word and without opening it, what `patterns` say, by its path below
    /// this directory.
    #[must_use]
    pub fn exclude(mut self, patterns: Patterns) -> Self {
        self.selection.patterns = patterns;
        self
    }

    /// Whether directories on which something is mounted are kept empty, as `tar --one-file-system`
    /// and `rsync -x` keep them; what is in them is kept by default.
    #[must_use]
    pub fn one_file_system(mut self, one: bool) -> Self {
        self.selection.one_file_system = one;
        self
    }

    /// Sets every time later than this to it, in seconds since 1970 (`SOURCE_DATE_EPOCH`).
    #[must_use]
    pub fn latest_time(mut self, seconds: Option<i64>) -> Self {
        self.latest_time = seconds;
        self
    }

    /// Inspects the files with `threads` threads: as many as the program may use by default.
    /// What is declared does not depend on it.
    #[must_use]
    pub fn threads(mut self, threads: NonZero<usize>) -> Self {
        self.threads = Some(threads);
        self
    }

    /// Whether it is a layer of overlayfs, such as an `upperdir`: its character devices 0:0, and its
    /// directories with `trusted.overlay.opaque` or `user.overlay.opaque`, then hide what the sources before
    /// it hold, and overlayfs's own attributes are left out. A directory that was renamed there, and a file
    /// of which only the metadata is there, are refused.
    #[must_use]
    pub fn overlay_upper(mut self, is_upper: bool) -> Self {
        self.is_upper = is_upper;
        self
    }

    /// How many threads inspect files beside the one that declares them.
    fn helpers(&self) -> usize {
        let asked = self
            .threads
            .or_else(|| thread::available_parallelism().ok());
        asked.map_or(0, |threads| (threads.get() - 1).min(MOST_HELPERS))
    }

    fn metadata(&self, stat: &Stat, flags: u32) -> Metadata {
        let metadata = Metadata {
            permissions: stat.permissions,
            uid: stat.uid,
            gid: stat.gid,
            atime: stat.atime,
            mtime: stat.mtime,
            ctime: stat.ctime,
            flags: Flags::of(flags),
        };
        clamped(metadata, self.latest_time)
    }
}

impl Directory {
    /// Declares it over what `tree` holds, which it hides in part.
    fn declare_upper(&mut self, tree: &mut Tree, at: NodeId) -> Result<Declared, SourceError> {
        let xattrs = &mut self.selection.xattrs;
        *xattrs = xattrs.reading(overlay::attributes());
        let mut upper = Tree::with_root(Metadata::default());
        let declared = self.declare_all(&mut upper, NodeId::ROOT)?;
        let path = self.path.as_os_str().as_encoded_bytes();
        let applied = overlay::apply(&mut upper, tree, at);
        applied.map_err(|error| error.of(path))?;
        upper.declare(tree, at)?;
        Ok(declared)
    }

    fn declare_all(&mut self, tree: &mut Tree, at: NodeId) -> Result<Declared, SourceError> {
        let unread = |error| SourceError::read(self.path.as_os_str().as_encoded_bytes(), error);
        let (files, stat) = HostFiles::new(&self.path).map_err(unread)?;
        let root = files.directory(FileNumber::ROOT).map_err(unread)?;
        let inspector = Inspector {
            selection: &self.selection,
            root_path: self.path.as_os_str().as_encoded_bytes(),
            device: stat.dev,
            has_proc: sys::has_proc(&root),
            has_names_in: sys::has_xattr_names_in(&root),
            has_ctimes: sys::has_own_ctimes(&root),
            base: self.base.as_deref().filter(|_| at == NodeId::ROOT),
        };
        let helpers = self.helpers();
        let prefetch = Prefetch::new(helpers);
        thread::scope(|scope| {
            let _ending = prefetch.ending();
            for _ in 0..helpers {
                // Where the system has no more threads, the walk inspects more by itself.
                let helper = thread::Builder::new();
                if helper
                    .spawn_scoped(scope, || prefetch.help(&inspector))
                    .is_err()
                {
                    break;
                }
            }
            let mut walk = Walk {
                options: self,
                tree,
                files,
                contents: Arc::default(),
                links: HashMap::new(),
                left_out: Vec::new(),
                skipped: BTreeMap::new(),
                unread: BTreeMap::new(),
                unprotected: BTreeMap::new(),
                inspector: &inspector,
                prefetch: &prefetch,
            };
            let root = walk.run(at, &stat)?;
            Ok(walk.finish(root))
        })
    }
}

impl Source for Directory {
    fn declare(&mut self, tree: &mut Tree, at: NodeId) -> Result<Declared, SourceError> {
        if self.is_upper {
            self.declare_upper(tree, at)
        } else {
            self.declare_all(tree, at)
        }
    }

    fn filter_xattrs(&mut self, filter: &XattrFilter) {
        self.selection.xattrs.narrow(filter);
    }

    fn for_output(&mut self, output: &Path) {
        if let Some(output) = sys::identity_at(output) {
            self.selection.excluded.push((output.device, output.inode));
        }
    }

    fn set_base(&mut self, base: &Arc<Base>) {
        self.base = Some(base.clone());
    }

    fn set_cancel(&mut self, cancel: &Cancel) {
        self.cancel = cancel.clone();
    }
}

/// A directory whose entries are being declared, and those that still have to be.
struct Level {
    number: FileNumber,
    /// Its device and inode number.
    inode: (u64, u64),
    node: NodeId,
    /// The directory, as long as the walk stays in it.
    directory: Option<Arc<OpenDirectory>>,
    /// The entries that come next, inspected already or, if there are none, yet to be.
    inspected: vec::IntoIter<Inspected>,
    names: vec::IntoIter<ListedName>,
    /// How many entries were inspected.
    seen: u32,
    listing: Listing,
}

impl Level {
    fn new(number: FileNumber, node: NodeId, listing: Listing) -> Self {
        Self {
            number,
            inode: (0, 0),
            node,
            directory: None,
            inspected: Vec::new().into_iter(),
            names: Vec::new().into_iter(),
            seen: 0,
            listing,
        }
    }
}

/// The path of the first file of which something holds, and how many there are.
type Files = (Vec<u8>, u64);

struct Walk<'a> {
    options: &'a Directory,
    tree: &'a mut Tree,
    files: HostFiles,
    contents: Arc<HostContents>,
    /// The nodes of files with several names, by device and inode number.
    links: HashMap<(u64, u64), NodeId>,
    left_out: Vec<Vec<u8>>,
    /// Attributes that were skipped, by name.
    skipped: BTreeMap<Vec<u8>, Files>,
    /// Attributes that could not be read, by name and reason.
    unread: BTreeMap<(Option<Vec<u8>>, String), Files>,
    /// Files that fs-verity protects in a way that the host does not tell, by reason.
    unprotected: BTreeMap<String, Files>,
    inspector: &'a Inspector<'a>,
    prefetch: &'a Prefetch,
}

/// A file by its place in the walk.
#[derive(Clone, Copy)]
struct Place<'a> {
    parent: FileNumber,
    /// The node of the directory.
    at: NodeId,
    name: &'a [u8],
}

impl Walk<'_> {
    /// Declares everything below `at`, and gives the root's own metadata.
    fn run(&mut self, at: NodeId, stat: &Stat) -> Result<Metadata, SourceError> {
        let parent = FileNumber::ROOT;
        let name = &b""[..];
        let root = self
            .open(parent)
            .map_err(|error| self.unreadable(parent, name, error))?;
        let flags = sys::attribute_flags(&root.file)
            .map_err(|error| self.unreadable(parent, name, error))?;
        let metadata = self.options.metadata(stat, flags & DIRECTORY_FLAGS);
        let xattrs = self.inspector.xattrs_of(&root.file);
        let xattrs = xattrs.map_err(|cause| {
            let name = Box::default();
            self.uninspected(parent, InspectError { name, cause })
        })?;
        self.set_xattrs(at, Place { parent, at, name }, xattrs);
        let mut levels = vec![Level {
            inode: (stat.dev, stat.ino),
            ..self.level(parent, at, root, Some(Vec::new()))?
        }];
        while let Some(level) = levels.last_mut() {
            let Some(inspected) = self.next(level)? else {
                levels.pop();
                continue;
            };
            self.options.cancel.check().map_err(SourceError::other)?;
            let (info, listing) =
                inspected.map_err(|error| self.uninspected(level.number, error))?;
            let below = self.entry(level, info, listing)?;
            level.seen = level.seen.saturating_add(1);
            if let Some(below) = below {
                level.directory = None;
                if sys::MAY_LIE_IN_ITSELF && lies_in_itself(&levels, below.inode) {
                    let error = io::Error::other("the directory contains itself; exclude it");
                    return Err(SourceError::read(self.files.path(below.number), error));
                }
                levels.push(below);
            }
        }
        Ok(metadata)
    }

    /// The next entry of a directory.
    fn next(&self, level: &mut Level) -> Result<Option<Inspected>, SourceError> {
        loop {
            if let Some(inspected) = level.inspected.next() {
                return Ok(Some(inspected));
            }
            if let Some(listed) = level.names.next() {
                let directory = match &level.directory {
                    Some(directory) => directory.clone(),
                    None => self
                        .open(level.number)
                        .map_err(|error| self.unreadable(level.number, &listed.name, error))?,
                };
                level.directory = Some(directory.clone());
                let info = self.inspector.at(&directory, listed);
                return Ok(Some(info.map(|info| (info, None))));
            }
            let (known, number) = (level.directory.clone(), level.number);
            let directory = || known.map_or_else(|| self.open(number), Ok);
            match level.listing.next(self.prefetch, self.inspector, directory) {
                Some(Next::Inspected(inspected)) => level.inspected = inspected.into_iter(),
                Some(Next::Names(names)) => level.names = names.into_iter(),
                None => return Ok(None),
            }
        }
    }

    /// The directory `number`, open.
    fn open(&self, number: FileNumber) -> io::Result<Arc<OpenDirectory>> {
        let file = self.files.directory(number)?;
        let below = self.files.path_below(number, self.inspector.longest_path());
        let base = self.files.base_of(number);
        Ok(Arc::new(OpenDirectory { file, below, base }))
    }

    /// What was declared, once everything is.
    fn finish(self, root: Metadata) -> Declared {
        self.contents.set(self.files);
        let left_out = self.left_out.into_iter();
        let mut warnings: Vec<SourceWarning> = left_out
            .map(|path| SourceWarning::LeftOut { path })
            .collect();
        for (name, (path, files)) in self.skipped {
            warnings.push(SourceWarning::AttributeSkipped { name, path, files });
        }
        for ((name, reason), (path, files)) in self.unread {
            warnings.push(SourceWarning::AttributeUnread {
                name,
                path,
                files,
                reason,
            });
        }
        for (reason, (path, files)) in self.unprotected {
            warnings.push(SourceWarning::VerityLost {
                path,
                files,
                reason,
            });
        }
        Declared {
            root: Some(root),
            warnings,
        }
    }

    /// Lists a directory.
    fn level(
        &self,
        number: FileNumber,
        node: NodeId,
        directory: Arc<OpenDirectory>,
        place: Option<Vec<u32>>,
    ) -> Result<Level, SourceError> {
        let names = self.inspector.names(&directory);
        let names = names.map_err(|error| SourceError::read(self.files.path(number), error))?;
        Ok(Level {
            directory: Some(directory),
            ..Level::new(number, node, Listing::new(names, place))
        })
    }

    /// Declares what was found in the directory at `level`; of a directory, gives the level below.
    fn entry(
        &mut self,
        level: &Level,
        info: FileInfo,
        listing: Option<Listing>,
    ) -> Result<Option<Level>, SourceError> {
        let (parent, at) = (level.number, level.node);
        let FileInfo {
            name,
            stat,
            kind,
            directory,
        } = info;
        let place = Place {
            parent,
            at,
            name: &name,
        };
        let inode = (stat.dev, stat.ino);
        if let FileKind::Directory { flags, xattrs } = kind {
            let (number, node) = self.directory(place, &stat, flags, xattrs)?;
            if self.inspector.stops_at(&stat) {
                return Ok(None);
            }
            if let Some(listing) = listing {
                let level = Level::new(number, node, listing);
                return Ok(Some(Level { inode, ..level }));
            }
            if let Some(file) = directory {
                self.files.remember(number, Arc::new(file));
            }
            let directory = self
                .open(number)
                .map_err(|error| self.unreadable(parent, &name, error))?;
            let place = level.listing.place_below(level.seen);
            let level = self.level(number, node, directory, place)?;
            return Ok(Some(Level { inode, ..level }));
        }
        let known = (stat.links > 1).then(|| self.links.get(&inode)).flatten();
        if let Some(node) = known {
            let linked = self.tree.link_at(at, &name, *node);
            linked.map_err(|error| self.unstorable(parent, &name, error))?;
            return Ok(None);
        }
        if let Some(node) = self.node(place, &stat, kind)?
            && stat.links > 1
        {
            self.links.insert(inode, node);
        }
        Ok(None)
    }

    fn directory(
        &mut self,
        place: Place<'_>,
        stat: &Stat,
        flags: u32,
        xattrs: Xattrs,
    ) -> Result<(FileNumber, NodeId), SourceError> {
        let Place { parent, at, name } = place;
        let metadata = self.options.metadata(stat, flags & DIRECTORY_FLAGS);
        let node = self
            .tree
            .directory_at(at, name, metadata)
            .map_err(|error| self.unstorable(parent, name, error))?;
        self.set_xattrs(node, place, xattrs);
        let base = self
            .inspector
            .base_below(self.files.base_of(parent), name, stat);
        let number = self
            .files
            .add(parent, name, stat, base)
            .map_err(|error| self.unreadable(parent, name, error))?;
        Ok((number, node))
    }

    /// Declares what is no directory, unless it shall not be.
    fn node(
        &mut self,
        place: Place<'_>,
        stat: &Stat,
        kind: FileKind,
    ) -> Result<Option<NodeId>, SourceError> {
        let Place { parent, at, name } = place;
        let metadata = |flags| self.options.metadata(stat, flags);
        let (declared, xattrs) = match kind {
            FileKind::LeftOut => {
                self.left_out.push(self.files.path_of(parent, name));
                return Ok(None);
            }
            FileKind::Excluded | FileKind::Directory { .. } => return Ok(None),
            FileKind::File {
                data,
                flags,
                xattrs,
                verity,
                unchanged,
            } => {
                let number = self
                    .files
                    .add(parent, name, stat, unchanged)
                    .map_err(|error| self.unreadable(parent, name, error))?;
                let content = Content {
                    size_bytes: stat.size_bytes,
                    key: number.key(&data),
                    data,
                    source: self.contents.clone(),
                };
                let content = self.protected(content, place, verity);
                let metadata = metadata(flags & FILE_FLAGS);
                (self.tree.file_at(at, name, metadata, content), xattrs)
            }
            FileKind::Symlink { target, xattrs } => {
                let read = || inspect::target(&*self.files.directory(parent)?, name, stat);
                let target = target
                    .map_or_else(read, Ok)
                    .map_err(|error| self.unreadable(parent, name, error))?;
                (self.tree.symlink_at(at, name, metadata(0), &target), xattrs)
            }
            FileKind::Special { xattrs } => match special(stat) {
                Some(special) => (self.tree.special_at(at, name, metadata(0), special), xattrs),
                None => return Ok(None),
            },
        };
        let node = declared.map_err(|error| self.unstorable(parent, name, error))?;
        self.set_xattrs(node, place, xattrs);
        Ok(Some(node))
    }

    /// `content` of the file at `place`, protected as it is there.
    fn protected(
        &mut self,
        content: Content,
        place: Place<'_>,
        verity: Option<Box<io::Result<Verity>>>,
    ) -> Content {
        match verity.map(|verity| *verity) {
            None => content,
            Some(Ok(verity)) => content.with_verity(verity),
            Some(Err(error)) => {
                let files = &self.files;
                let first = || (files.path_of(place.parent, place.name), 0);
                let reason = sys::reason(&error);
                self.unprotected.entry(reason).or_insert_with(first).1 += 1;
                content
            }
        }
    }

    /// Gives `node` the extended attributes of the file at `place`.
    fn set_xattrs(&mut self, node: NodeId, place: Place<'_>, xattrs: Xattrs) {
        let files = &self.files;
        let first = || (files.path_of(place.parent, place.name), 0);
        for name in xattrs.skipped {
            self.skipped.entry(name).or_insert_with(first).1 += 1;
        }
        for (name, error) in xattrs.unread {
            let cause = (name, sys::reason(&error));
            self.unread.entry(cause).or_insert_with(first).1 += 1;
        }
        if !self.options.selection.xattrs.keeps_nothing() {
            // The root may have those of a source below.
            let set = self.tree.intern_xattrs(xattrs.kept);
            self.tree.replace_xattrs(node, set);
        }
    }

    /// What is said of a file in `parent` that could not be inspected.
    fn uninspected(&self, parent: FileNumber, error: InspectError) -> SourceError {
        let InspectError { name, cause } = error;
        match cause {
            InspectCause::Read(error) => self.unreadable(parent, &name, error),
            InspectCause::Attribute(attribute, error) => {
                SourceError::attribute(self.files.path_of(parent, &name), attribute, error)
            }
        }
    }

    fn unreadable(&self, parent: FileNumber, name: &[u8], error: io::Error) -> SourceError {
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

/// Whether the directory `inode` is one of those above it, as far as the system tells them apart.
fn lies_in_itself(above: &[Level], inode: (u64, u64)) -> bool {
    inode != (0, 0) && above.iter().any(|level| level.inode == inode)
}

/// What is neither a directory nor a regular file nor a symbolic link.
fn special(stat: &Stat) -> Option<Special> {
    let (major, minor) = stat.device;
    let device = Device { major, minor };
    match stat.file_type {
        FileType::CharDevice => Some(Special::CharDevice(device)),
        FileType::BlockDevice => Some(Special::BlockDevice(device)),
        FileType::Fifo => Some(Special::Fifo),
        FileType::Socket => Some(Special::Socket),
        FileType::Symlink | FileType::Directory | FileType::Regular => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_is_above_itself_is_known() {
        let level = |inode| Level {
            inode,
            ..Level::new(FileNumber::ROOT, NodeId::ROOT, Listing::default())
        };
        let above = [level((1, 2)), level((0, 0)), level((1, 3))];
        for (inode, expected) in [
            ((1, 2), true),
            ((1, 3), true),
            ((1, 4), false),
            ((2, 2), false),
            ((0, 0), false),
        ] {
            assert_eq!(lies_in_itself(&above, inode), expected, "{inode:?}");
        }
    }
}
