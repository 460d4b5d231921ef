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
use std::io;
use std::num::NonZero;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{thread, vec};

use super::ahead::{Ahead, Listing, Looked, Next};
use super::host_files::{FileNumber, HostContents, HostFiles, means_changed};
use super::listed::ListedName;
use super::look::{self, Fault, Found, Look, Reading, Room, Spot, Trouble, What, Xattrs};
use super::patterns::Patterns;
use super::rules::XattrFilter;
use super::{Declared, EarlyContents, Source, SourceError, SourceWarning, clamped};
use crate::cancel::Cancel;
use crate::sys::{self, FileType, Stat};
use crate::tree::{
    Content, DIRECTORY_FLAGS, Device, FILE_FLAGS, Flags, Metadata, NodeId, Special, Tree, TreeError,
};

/// How many threads look at files beside the one that declares them, at most: each keeps a file and a
/// directory open.
const MOST_HELPERS: usize = 63;

/// A directory of the host as a [`Source`].
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
    /// Which extended attributes are kept.
    pub(super) xattrs: XattrFilter,
    pub(super) excluded: Vec<(u64, u64)>,
    pub(super) patterns: Patterns,
    pub(super) one_file_system: bool,
    latest_time: Option<i64>,
    threads: Option<NonZero<usize>>,
    cancel: Cancel,
}

impl Directory {
    /// The directory `path`, which may be a symbolic link to one.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            xattrs: XattrFilter::default(),
            excluded: Vec::new(),
            patterns: Patterns::default(),
            one_file_system: false,
            latest_time: None,
            threads: None,
            cancel: Cancel::new(),
        }
    }

    /// Whether extended attributes are kept; they are unless told otherwise.
    #[must_use]
    pub fn keep_xattrs(mut self, keep: bool) -> Self {
        self.xattrs = XattrFilter::all_if(keep);
        self
    }

    /// Leaves out, with a warning, every name of the inode `ino` on device `dev`, as `stat` calls them.
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

    /// Looks at the files with so many threads: as many as the program may use unless told otherwise.
    /// What is declared does not depend on it.
    #[must_use]
    pub fn threads(mut self, threads: NonZero<usize>) -> Self {
        self.threads = Some(threads);
        self
    }

    /// How many threads look at files beside the one that declares them.
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

impl Source for Directory {
    fn declare(&mut self, tree: &mut Tree, at: NodeId) -> Result<Declared, SourceError> {
        self.walk(tree, at, None)
    }

    fn filter_xattrs(&mut self, filter: &XattrFilter) {
        self.xattrs.narrow(filter);
    }

    fn for_output(&mut self, output: &Path) {
        if let Some(output) = std::fs::metadata(output)
            .ok()
            .as_ref()
            .and_then(sys::identity)
        {
            self.excluded.push((output.device, output.inode));
        }
    }

    fn heed(&mut self, cancel: &Cancel) {
        self.cancel = cancel.clone();
    }

    fn is_early(&self) -> bool {
        true
    }

    fn declare_early(
        &mut self,
        tree: &mut Tree,
        at: NodeId,
        early: &mut dyn EarlyContents,
    ) -> Result<Declared, SourceError> {
        self.walk(tree, at, Some(early))
    }
}

impl Directory {
    fn walk(
        &self,
        tree: &mut Tree,
        at: NodeId,
        early: Option<&mut dyn EarlyContents>,
    ) -> Result<Declared, SourceError> {
        let unread = |error| SourceError::read(self.path.as_os_str().as_bytes(), error);
        let (files, stat) = HostFiles::new(&self.path).map_err(unread)?;
        let root = files.directory(FileNumber::ROOT).map_err(unread)?;
        let look = Look {
            options: self,
            root_path: self.path.as_os_str().as_bytes(),
            device: stat.dev,
            has_proc: look::has_proc(&root),
            reading: early.as_ref().map(|early| Reading {
                block_bytes: early.block_bytes(),
                goes_on: AtomicBool::new(true),
            }),
        };
        let helpers = self.helpers();
        let ahead = Ahead::new(helpers);
        thread::scope(|scope| {
            let _ending = ahead.ending();
            for _ in 0..helpers {
                // Where the system has no more threads, the walk looks at more by itself.
                let helper = thread::Builder::new();
                if helper.spawn_scoped(scope, || ahead.help(&look)).is_err() {
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
                look: &look,
                ahead: &ahead,
                // The reference outlives what the walk borrows besides, which only a coercion forgets.
                early: match early {
                    Some(early) => Some(early),
                    None => None,
                },
                pending: Vec::new(),
            };
            let root = walk.run(at, &stat)?;
            Ok(walk.finish(root))
        })
    }
}

/// A directory whose entries are being declared, and those that still have to be.
struct Level {
    number: FileNumber,
    node: NodeId,
    /// The directory, as long as the walk stays in it.
    spot: Option<Arc<Spot>>,
    /// The entries that come next, looked at already or, if there are none, yet to be.
    looked: vec::IntoIter<Looked>,
    names: vec::IntoIter<ListedName>,
    /// The contents of those that were looked at.
    room: Option<Room>,
    /// How many entries were looked at.
    seen: u32,
    listing: Listing,
}

impl Level {
    fn new(number: FileNumber, node: NodeId, listing: Listing) -> Self {
        Self {
            number,
            node,
            spot: None,
            looked: Vec::new().into_iter(),
            names: Vec::new().into_iter(),
            room: None,
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
    look: &'a Look<'a>,
    ahead: &'a Ahead,
    /// Who takes contents that were read.
    early: Option<&'a mut dyn EarlyContents>,
    /// Where contents go, and where they are in the room of the directory that the walk is in.
    pending: Vec<(u64, Range<usize>)>,
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
            .spot(parent)
            .map_err(|error| self.trouble(parent, name, error))?;
        let flags =
            sys::attribute_flags(&*root.file).map_err(|error| self.trouble(parent, name, error))?;
        let metadata = self.options.metadata(stat, flags & DIRECTORY_FLAGS);
        let xattrs = self.look.xattrs_of(&root.file);
        let xattrs = xattrs.map_err(|trouble| {
            let name = Box::default();
            self.fault(parent, Fault { name, trouble })
        })?;
        self.set_xattrs(at, Place { parent, at, name }, xattrs);
        let mut levels = vec![self.level((parent, at), root, Some(Vec::new()))?];
        while let Some(level) = levels.last_mut() {
            let Some(looked) = self.next(level)? else {
                levels.pop();
                continue;
            };
            self.options.cancel.check().map_err(SourceError::other)?;
            if let Some(early) = &mut self.early {
                early.check().map_err(SourceError::other)?;
            }
            let (found, listing) = looked.map_err(|fault| self.fault(level.number, fault))?;
            let below = self.entry(level, (found, listing))?;
            level.seen = level.seen.saturating_add(1);
            if let Some(below) = below {
                self.leave(level)?;
                levels.push(below);
            }
        }
        Ok(metadata)
    }

    /// The next entry of a directory.
    fn next(&mut self, level: &mut Level) -> Result<Option<Looked>, SourceError> {
        loop {
            if let Some(looked) = level.looked.next() {
                return Ok(Some(looked));
            }
            if let Some(listed) = level.names.next() {
                let spot = match &level.spot {
                    Some(spot) => spot.clone(),
                    None => self
                        .spot(level.number)
                        .map_err(|error| self.trouble(level.number, &listed.name, error))?,
                };
                level.spot = Some(spot.clone());
                if !level.room.as_ref().is_some_and(Room::fits_any) {
                    self.empty(level)?;
                    level.room = self.ahead.room(self.look);
                }
                let found = self.look.at(&spot, listed, level.room.as_mut());
                return Ok(Some(found.map(|found| (found, None))));
            }
            self.empty(level)?;
            let (known, number) = (level.spot.clone(), level.number);
            let spot = || known.map_or_else(|| self.spot(number), Ok);
            match level.listing.next(self.ahead, self.look, spot) {
                Some(Next::Looked(done)) => {
                    level.looked = done.looked.into_iter();
                    level.room = done.room;
                }
                Some(Next::Names(names)) => level.names = names.into_iter(),
                None => return Ok(None),
            }
        }
    }

    /// Hands over the contents in a directory's room whose places are known.
    fn hand_over(&mut self, level: &Level) -> Result<(), SourceError> {
        let (Some(early), Some(room)) = (&mut self.early, &level.room) else {
            return Ok(());
        };
        for (offset, range) in self.pending.drain(..) {
            let written = early.write(offset, &room.bytes()[range]);
            written.map_err(SourceError::other)?;
        }
        Ok(())
    }

    /// Leaves a directory for one below.
    fn leave(&mut self, level: &mut Level) -> Result<(), SourceError> {
        level.spot = None;
        if level.looked.as_slice().is_empty() {
            self.empty(level)
        } else {
            self.hand_over(level)
        }
    }

    /// Empties a directory's room, and gives it back.
    fn empty(&mut self, level: &mut Level) -> Result<(), SourceError> {
        self.hand_over(level)?;
        if let Some(room) = level.room.take() {
            self.ahead.give_back(room);
        }
        Ok(())
    }

    /// Notes where a content goes that is at `range` of the room, if it was read.
    fn place(&mut self, content: &Content, range: Range<usize>) -> Result<(), SourceError> {
        let Some(early) = &mut self.early else {
            return Ok(());
        };
        let place = early.place(content, !range.is_empty());
        let Some(offset) = place.map_err(SourceError::other)? else {
            if let Some(reading) = &self.look.reading {
                reading
                    .goes_on
                    .fetch_and(early.takes_more(), Ordering::Relaxed);
            }
            return Ok(());
        };
        if let Some((start, last)) = self.pending.last_mut()
            && last.end == range.start
            && offset.checked_sub(*start) == u64::try_from(last.len()).ok()
        {
            last.end = range.end;
            return Ok(());
        }
        self.pending.push((offset, range));
        Ok(())
    }

    /// The directory `number`, open.
    fn spot(&self, number: FileNumber) -> io::Result<Arc<Spot>> {
        let file = self.files.directory(number)?;
        let below = self.files.path_below(number, self.look.longest_path());
        Ok(Arc::new(Spot { file, below }))
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
        Declared {
            root: Some(root),
            warnings,
        }
    }

    /// Lists a directory.
    fn level(
        &self,
        (number, node): (FileNumber, NodeId),
        spot: Arc<Spot>,
        place: Option<Vec<u32>>,
    ) -> Result<Level, SourceError> {
        let names = self.look.names(&spot);
        let names = names.map_err(|error| SourceError::read(self.files.path(number), error))?;
        Ok(Level {
            spot: Some(spot),
            ..Level::new(number, node, Listing::new(names, place))
        })
    }

    /// Declares what was found in the directory at `level`; of a directory, gives the level below.
    fn entry(
        &mut self,
        level: &Level,
        (found, listing): (Found, Option<Listing>),
    ) -> Result<Option<Level>, SourceError> {
        let (parent, at) = (level.number, level.node);
        let Found {
            name,
            stat,
            what,
            directory,
            content,
        } = found;
        let place = Place {
            parent,
            at,
            name: &name,
        };
        let inode = (stat.dev, stat.ino);
        if let What::Directory { flags, xattrs } = what {
            let (number, node) = self.directory(place, &stat, (flags, xattrs))?;
            if self.look.stops_at(&stat) {
                return Ok(None);
            }
            if let Some(listing) = listing {
                return Ok(Some(Level::new(number, node, listing)));
            }
            if let Some(file) = directory {
                self.files.remember(number, Arc::new(file));
            }
            let spot = self
                .spot(number)
                .map_err(|error| self.trouble(parent, &name, error))?;
            let place = level.listing.place_below(level.seen);
            return self.level((number, node), spot, place).map(Some);
        }
        let known = (stat.links > 1).then(|| self.links.get(&inode)).flatten();
        if let Some(node) = known {
            let linked = self.tree.link_at(at, &name, *node);
            linked.map_err(|error| self.unstorable(parent, &name, error))?;
            return Ok(None);
        }
        if let Some(node) = self.node(place, &stat, (what, content))?
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
        (flags, xattrs): (u32, Xattrs),
    ) -> Result<(FileNumber, NodeId), SourceError> {
        let Place { parent, at, name } = place;
        let metadata = self.options.metadata(stat, flags & DIRECTORY_FLAGS);
        let node = self
            .tree
            .directory_at(at, name, metadata)
            .map_err(|error| self.unstorable(parent, name, error))?;
        self.set_xattrs(node, place, xattrs);
        let number = self
            .files
            .add(parent, name, stat)
            .map_err(|error| self.trouble(parent, name, error))?;
        Ok((number, node))
    }

    /// Declares what is no directory, unless it shall not be.
    fn node(
        &mut self,
        place: Place<'_>,
        stat: &Stat,
        (what, range): (What, Range<usize>),
    ) -> Result<Option<NodeId>, SourceError> {
        let Place { parent, at, name } = place;
        let metadata = |flags| self.options.metadata(stat, flags);
        let (declared, xattrs) = match what {
            What::LeftOut => {
                self.left_out.push(self.files.path_of(parent, name));
                return Ok(None);
            }
            What::Excluded | What::Directory { .. } => return Ok(None),
            What::File {
                data,
                flags,
                xattrs,
            } => {
                let number = self
                    .files
                    .add(parent, name, stat)
                    .map_err(|error| self.trouble(parent, name, error))?;
                let content = Content {
                    size_bytes: stat.size_bytes,
                    key: number.key(&data),
                    data,
                    source: self.contents.clone(),
                };
                self.place(&content, range)?;
                let metadata = metadata(flags & FILE_FLAGS);
                (self.tree.file_at(at, name, metadata, content), xattrs)
            }
            What::Symlink { target, xattrs } => {
                let read = || look::target(&*self.files.directory(parent)?, name, stat);
                let target = target
                    .map_or_else(read, Ok)
                    .map_err(|error| self.trouble(parent, name, error))?;
                (self.tree.symlink_at(at, name, metadata(0), &target), xattrs)
            }
            What::Special { xattrs } => match special(stat) {
                Some(special) => (self.tree.special_at(at, name, metadata(0), special), xattrs),
                None => return Ok(None),
            },
        };
        let node = declared.map_err(|error| self.unstorable(parent, name, error))?;
        self.set_xattrs(node, place, xattrs);
        Ok(Some(node))
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
        if !self.options.xattrs.keeps_nothing() {
            // The root may have those of a source below.
            let set = self.tree.intern_xattrs(xattrs.kept);
            self.tree.replace_xattrs(node, set);
        }
    }

    fn fault(&self, parent: FileNumber, fault: Fault) -> SourceError {
        let Fault { name, trouble } = fault;
        match trouble {
            Trouble::Read(error) => self.trouble(parent, &name, error),
            Trouble::Attribute(attribute, error) => {
                SourceError::attribute(self.files.path_of(parent, &name), attribute, error)
            }
        }
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
