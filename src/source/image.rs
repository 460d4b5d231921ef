//! Given an ext2, ext3 or ext4 image, declares the files in it; never writes to it, and reads file data
//! only when it is asked for.
//!
//! What the image keeps arrives: hard links, holes, extended attributes, flags, times. `lost+found` does
//! only where something is in it, since every filesystem has one of its own. Nothing that is encrypted
//! can be handed on without its key.

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::fmt;
use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::magic::Ext;
use super::options::{SourceOptions, heed_options, option_setters};
use super::patterns::{MatchState, PathType};
use super::verity::carried_over;
use super::{Declared, Readable, Source, SourceError, SourceWarning, ext4_names, is_unchanged};
use crate::read::{
    self, File, FileType, Filesystem, ImageFile, Inode, ReadAt, StoredData, WalkEntry,
};
use crate::sys;
use crate::tree::{
    Access, Content, ContentKey, ContentReader, ContentSource, DataMap, Device, Flags, Metadata,
    NodeId, Special, Stored, Tree, TreeError, Xattr,
};
use crate::units::Ino;

/// The directory that fsck fills, in the root.
const LOST_AND_FOUND: &[u8] = b"lost+found";
/// The feature of images whose files share blocks, which Android makes (kernel doc `super.rst`,
/// `RO_COMPAT_SHARED_BLOCKS`).
const SHARED_BLOCKS: u32 = 0x4000;
/// How many of an image's first bytes tell what it is.
const HEAD_BYTES: usize = 2048;

/// An ext2, ext3 or ext4 image as a [`Source`].
///
/// ```no_run
/// use mke4fs::source::Source;
/// use mke4fs::source::image::Image;
/// use mke4fs::tree::{Metadata, NodeId, Tree};
///
/// let mut tree = Tree::with_root(Metadata::default());
/// Image::open("base.img").declare(&mut tree, NodeId::ROOT)?;
/// # Ok::<(), mke4fs::source::SourceError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Image {
    origin: Origin,
    options: SourceOptions,
}

#[derive(Clone, Debug)]
enum Origin {
    /// A file or device, and where the filesystem begins in it.
    Path { path: PathBuf, offset_bytes: u64 },
    /// What the program opened, and what it is called.
    Open {
        filesystem: Arc<Filesystem<'static>>,
        name: String,
    },
}

/// Whether the file or device at `path` begins as an image does; a pipe is not looked at.
pub fn is_image(path: &Path) -> bool {
    let Ok(file) = ImageFile::open(path) else {
        return false;
    };
    let mut head = [0; HEAD_BYTES];
    let read = file.read_exact_at(0, &mut head);
    read.is_ok() && Ext::of(&head).is_some()
}

impl Image {
    /// The image in the file or device `path`.
    pub fn open(path: impl Into<PathBuf>) -> Self {
        Self::open_at(path, 0)
    }

    /// The image in the file or device `path` at `offset_bytes`, such as one in a partition.
    pub fn open_at(path: impl Into<PathBuf>, offset_bytes: u64) -> Self {
        let path = path.into();
        Self::new(Origin::Path { path, offset_bytes })
    }

    /// The image that is open as `filesystem`, called `name` for people. Nobody may write to it before
    /// the tree is written out.
    pub fn reading(filesystem: Arc<Filesystem<'static>>, name: &str) -> Self {
        let name = name.to_owned();
        Self::new(Origin::Open { filesystem, name })
    }

    fn new(origin: Origin) -> Self {
        Self {
            origin,
            options: SourceOptions::default(),
        }
    }

    option_setters!(keep_xattrs exclude latest_time);

    fn name(&self) -> &[u8] {
        match &self.origin {
            Origin::Path { path, .. } => path.as_os_str().as_encoded_bytes(),
            Origin::Open { name, .. } => name.as_bytes(),
        }
    }

    fn contents(&self) -> Result<Contents, SourceError> {
        let name = self.name().to_vec();
        match &self.origin {
            Origin::Path { path, offset_bytes } => {
                let unread = |error| SourceError::read(&*name, error);
                let apart = self.options.check_is_not_output(path);
                apart.map_err(unread)?;
                let file = Arc::new(ImageFile::open(path).map_err(unread)?);
                let before = file.metadata().map_err(unread)?;
                let cancel = &self.options.cancel;
                let filesystem = Filesystem::open_until(file.clone(), *offset_bytes, cancel);
                Ok(Contents {
                    filesystem: Arc::new(filesystem.map_err(|error| named(&name, error))?),
                    name,
                    watched: Some((file, before)),
                })
            }
            Origin::Open { filesystem, .. } => Ok(Contents {
                filesystem: filesystem.clone(),
                name,
                watched: None,
            }),
        }
    }
}

/// The same, of the image `name`.
fn named(name: &[u8], error: impl Into<Box<dyn Error + Send + Sync>>) -> SourceError {
    SourceError::other(error).of(name)
}

impl Source for Image {
    heed_options!();

    fn declare(&mut self, tree: &mut Tree, at: NodeId) -> Result<Declared, SourceError> {
        let contents = Arc::new(self.contents()?);
        let mut declaring = Declaring {
            options: &self.options,
            tree,
            contents: contents.clone(),
            links: HashMap::new(),
            skipped: BTreeMap::new(),
            data_bytes: 0,
        };
        let root = declaring.run(at).map_err(|error| error.of(self.name()));
        // What was written meanwhile is why something is wrong, if anything is.
        contents.unchanged().map_err(|error| {
            if error.kind() == io::ErrorKind::InvalidData {
                SourceError::changed(self.name())
            } else {
                unread(self.name(), error)
            }
        })?;
        Ok(declaring.finish(root?))
    }
}

/// The path of the first file of which something holds, and how many there are.
type Files = (Vec<u8>, u64);

/// An image on its way into a tree.
struct Declaring<'a> {
    options: &'a SourceOptions,
    tree: &'a mut Tree,
    contents: Arc<Contents>,
    /// The nodes of inodes with several names.
    links: HashMap<Ino, NodeId>,
    /// Attributes that were skipped, by name.
    skipped: BTreeMap<Vec<u8>, Files>,
    /// How much data was declared.
    data_bytes: u64,
}

/// A directory that is being declared.
struct Level {
    node: NodeId,
    /// How far patterns have come on the way to it.
    way: MatchState,
}

/// A name that leads to an inode.
struct Named<'a> {
    path: &'a [u8],
    name: &'a [u8],
    inode: &'a Inode,
}

impl Declaring<'_> {
    /// Declares everything below `at`, and gives the root's own metadata.
    fn run(&mut self, at: NodeId) -> Result<Metadata, SourceError> {
        let contents = self.contents.clone();
        let filesystem = &*contents.filesystem;
        let root = filesystem.root().map_err(SourceError::other)?;
        self.refuse_encrypted(b"/", &root)?;
        let path = &b"/"[..];
        self.set_xattrs(at, path, &root)?;
        let mut levels = vec![Level {
            node: at,
            way: self.options.excluded.way(),
        }];
        let mut walk = filesystem.walk(&root).map_err(SourceError::other)?.sorted();
        while let Some(found) = walk.next() {
            self.options.cancel.check().map_err(SourceError::other)?;
            let found = found.map_err(SourceError::other)?;
            levels.truncate(found.depth + 1);
            let below = match levels.last() {
                Some(level) => self.entry(level, &found, walk.path())?,
                None => None,
            };
            match below {
                Some(level) => levels.push(level),
                None => walk.skip_below(),
            }
        }
        Ok(self.metadata(&root))
    }

    /// Declares what a walk found in the directory of `level`; of a directory, gives the level below.
    fn entry(
        &mut self,
        level: &Level,
        found: &WalkEntry,
        path: &[u8],
    ) -> Result<Option<Level>, SourceError> {
        let inode = &found.inode;
        let named = Named {
            path,
            name: found.entry.name(),
            inode,
        };
        let patterns = &self.options.excluded;
        let leaf = if inode.is_dir() {
            PathType::Directory
        } else {
            PathType::Other
        };
        if patterns.exclude_at(&level.way, named.name, leaf) {
            return Ok(None);
        }
        self.refuse_encrypted(path, inode)?;
        if inode.is_dir() {
            if found.depth == 0 && named.name == LOST_AND_FOUND && self.is_empty(inode)? {
                return Ok(None);
            }
            let mut way = level.way.clone();
            patterns.descend(&mut way, named.name);
            let metadata = self.metadata(inode);
            let node = self.tree.directory_at(level.node, named.name, metadata);
            let node = node.map_err(|error| SourceError::store(path, error))?;
            self.set_xattrs(node, path, inode)?;
            return Ok(Some(Level { node, way }));
        }
        self.leaf(level.node, &named)?;
        Ok(None)
    }

    /// Declares what is no directory.
    fn leaf(&mut self, parent: NodeId, named: &Named<'_>) -> Result<(), SourceError> {
        let Named { path, name, inode } = *named;
        let unstorable = |error: TreeError| SourceError::store(path, error);
        let has_names = inode.links() > 1;
        let known = self.links.get(&inode.ino()).filter(|_| has_names);
        if let Some(node) = known {
            return self.tree.link_at(parent, name, *node).map_err(unstorable);
        }
        let metadata = self.metadata(inode);
        let node = match inode.file_type() {
            Some(FileType::Regular) => {
                let content = self.content(named)?;
                self.tree.file_at(parent, name, metadata, content)
            }
            Some(FileType::Symlink) => {
                let target = self.contents.filesystem.link_target(inode);
                let target = target.map_err(|error| unread(path, error))?;
                self.tree.symlink_at(parent, name, metadata, &target)
            }
            _ => match special(inode) {
                Some(special) => self.tree.special_at(parent, name, metadata, special),
                None => return Err(unread(path, io::ErrorKind::InvalidData)),
            },
        };
        let node = node.map_err(unstorable)?;
        self.set_xattrs(node, path, inode)?;
        if has_names {
            self.links.insert(inode.ino(), node);
        }
        Ok(())
    }

    fn content(&mut self, named: &Named<'_>) -> Result<Content, SourceError> {
        let Named { path, inode, .. } = *named;
        let size_bytes = inode.size();
        let file = self.contents.filesystem.file(inode);
        let file = file.map_err(|error| unread(path, error))?;
        let verity = file.verity().map_err(|error| unread(path, error))?;
        let ranges = file.data_ranges().map_err(|error| unread(path, error))?;
        self.count(&ranges)?;
        let is_whole = match &ranges[..] {
            [] => size_bytes == 0,
            [range] => *range == (0..size_bytes),
            _ => false,
        };
        let content = Content {
            size_bytes,
            data: if is_whole {
                DataMap::Whole
            } else {
                DataMap::Ranges(ranges.into())
            },
            source: self.contents.clone(),
            key: inode.ino().get().into(),
        };
        Ok(match verity {
            Some(verity) => content.with_verity(carried_over(&verity)),
            None => content,
        })
    }

    /// Counts data, which may not be more than the image has room for: blocks that many files claim would
    /// make an image of any size.
    fn count(&mut self, ranges: &[Range<u64>]) -> Result<(), SourceError> {
        let sb = self.contents.filesystem.superblock();
        let bytes: u64 = ranges.iter().map(|range| range.end - range.start).sum();
        self.data_bytes = self.data_bytes.saturating_add(bytes);
        let room = sb
            .blocks_count()
            .saturating_mul(sb.block_size().bytes_u64());
        let may_share = sb.stored().s_feature_ro_compat.get() & SHARED_BLOCKS != 0;
        if self.data_bytes <= room || may_share {
            return Ok(());
        }
        let text = "it is damaged: blocks belong to several files, which have more data than it has room for";
        Err(SourceError::other(text))
    }

    fn metadata(&self, inode: &Inode) -> Metadata {
        let metadata = Metadata {
            permissions: inode.permissions(),
            uid: inode.uid(),
            gid: inode.gid(),
            atime: inode.atime(),
            mtime: inode.mtime(),
            ctime: inode.ctime(),
            flags: Flags::of(inode.flags()),
        };
        self.options.clamped(metadata)
    }

    /// Gives `node` the extended attributes of an inode.
    fn set_xattrs(&mut self, node: NodeId, path: &[u8], inode: &Inode) -> Result<(), SourceError> {
        let filter = &self.options.xattrs;
        if filter.keeps_nothing() {
            return Ok(());
        }
        let found = self.contents.filesystem.xattrs_of(inode);
        let mut kept = Vec::new();
        for read::Xattr { name, value } in found.map_err(|error| unread(path, error))? {
            if !filter.keeps(&name) {
                continue;
            }
            if ext4_names(&name) {
                kept.push(Xattr { name, value });
            } else {
                let first = || (path.to_vec(), 0);
                self.skipped.entry(name).or_insert_with(first).1 += 1;
            }
        }
        // The root may have those of a source below.
        let set = self.tree.intern_xattrs(kept);
        self.tree.replace_xattrs(node, set);
        Ok(())
    }

    fn is_empty(&self, dir: &Inode) -> Result<bool, SourceError> {
        let entries = self.contents.filesystem.entries(dir);
        let first = entries.and_then(|mut entries| entries.next().transpose());
        Ok(first
            .map_err(|error| unread(LOST_AND_FOUND, error))?
            .is_none())
    }

    fn refuse_encrypted(&self, path: &[u8], inode: &Inode) -> Result<(), SourceError> {
        if !inode.is_encrypted() {
            return Ok(());
        }
        let text = format!(
            "{} is encrypted, and cannot be read without its key: exclude it to go on",
            Readable(path)
        );
        Err(SourceError::other(text))
    }

    /// What was declared, once everything is.
    fn finish(self, root: Metadata) -> Declared {
        let skipped = self.skipped.into_iter();
        let skipped = skipped.map(|(name, (path, files))| SourceWarning::AttributeSkipped {
            name,
            path,
            files,
        });
        Declared {
            root: Some(root),
            warnings: skipped.collect(),
        }
    }
}

fn unread(path: &[u8], error: impl Into<io::Error>) -> SourceError {
    SourceError::read(path, error.into())
}

/// What is neither a directory nor a regular file nor a symbolic link.
fn special(inode: &Inode) -> Option<Special> {
    let device = || {
        let read::Device { major, minor } = inode.device()?;
        Some(Device { major, minor })
    };
    match inode.file_type()? {
        FileType::CharDevice => device().map(Special::CharDevice),
        FileType::BlockDevice => device().map(Special::BlockDevice),
        FileType::Fifo => Some(Special::Fifo),
        FileType::Socket => Some(Special::Socket),
        FileType::Regular | FileType::Directory | FileType::Symlink => None,
    }
}

/// The file data of an image; a key is the number of an inode.
struct Contents {
    filesystem: Arc<Filesystem<'static>>,
    /// For people.
    name: Vec<u8>,
    /// The image's file, where there is one, and what it was at first.
    watched: Option<(Arc<ImageFile>, fs::Metadata)>,
}

impl Contents {
    /// Refuses an image to which somebody wrote.
    fn unchanged(&self) -> io::Result<()> {
        let Some((file, before)) = &self.watched else {
            return Ok(());
        };
        if is_unchanged(before, &file.metadata()?) {
            Ok(())
        } else {
            let text = "the image changed while it was read";
            Err(io::Error::new(io::ErrorKind::InvalidData, text))
        }
    }

    /// Why something cannot be read, of which `error` is said.
    fn failure(&self, error: impl Into<io::Error>) -> io::Error {
        let error = error.into();
        match self.unchanged() {
            Err(changed) => changed,
            // An image that is damaged was so before.
            Ok(()) if error.kind() == io::ErrorKind::InvalidData => io::Error::other(error),
            Ok(()) => error,
        }
    }
}

impl ContentSource for Contents {
    fn access(&self, _key: ContentKey) -> Access {
        Access::Anywhere
    }

    fn open(&self, key: ContentKey) -> io::Result<Box<dyn ContentReader + '_>> {
        let ino = u32::try_from(key).map_err(|_| io::ErrorKind::NotFound)?;
        let inode = self.filesystem.inode(Ino::new(ino));
        let inode = inode.map_err(|error| self.failure(error))?;
        let file = self.filesystem.file(&inode);
        let file = file.map_err(|error| self.failure(error))?;
        Ok(Box::new(Reader {
            contents: self,
            file,
            stored: None,
        }))
    }

    fn lies_in(&self, _key: ContentKey, file: &fs::File) -> bool {
        let image = self.watched.as_ref();
        image.is_some_and(|(image, _)| sys::are_one_file(image.handle(), file))
    }

    fn describe(&self, key: ContentKey) -> Vec<u8> {
        format!("{}, inode {key}", Readable(&self.name)).into_bytes()
    }

    fn path(&self, _key: ContentKey) -> Vec<u8> {
        self.name.clone()
    }
}

/// A file of an image that is being read.
struct Reader<'a> {
    contents: &'a Contents,
    file: File<'a>,
    /// Where its data is in the image, once that was asked.
    stored: Option<Vec<StoredData>>,
}

impl ContentReader for Reader<'_> {
    fn read_exact_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let (mut offset, mut rest) = (offset, buffer);
        while !rest.is_empty() {
            let count = self.file.read_at(offset, rest);
            let count = count.map_err(|error| self.contents.failure(error))?;
            if count == 0 {
                return Err(self.contents.failure(io::ErrorKind::UnexpectedEof));
            }
            offset += u64::try_from(count).unwrap_or(u64::MAX);
            rest = rest.get_mut(count..).unwrap_or_default();
        }
        Ok(())
    }

    fn stored(&mut self, range: Range<u64>) -> io::Result<Option<Stored<'_>>> {
        let Some((image, _)) = &self.contents.watched else {
            return Ok(None);
        };
        let stored = match &mut self.stored {
            Some(stored) => stored,
            None => {
                let stored = self.file.stored();
                let stored = stored.map_err(|error| self.contents.failure(error))?;
                self.stored.insert(stored)
            }
        };
        let at = stored.partition_point(|data| data.bytes.end <= range.start);
        let data = stored.get(at);
        let Some(data) = data.filter(|data| data.bytes.start <= range.start) else {
            return Ok(None);
        };
        let start = data.place + (range.start - data.bytes.start);
        let length = data.bytes.end.min(range.end) - range.start;
        Ok(Some(Stored {
            file: image.handle(),
            range: start..start + length,
        }))
    }

    fn finish(&mut self) -> io::Result<()> {
        self.contents.unchanged()
    }
}

impl fmt::Debug for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contents")
            .field("name", &Readable(&self.name).to_string())
            .finish_non_exhaustive()
    }
}
