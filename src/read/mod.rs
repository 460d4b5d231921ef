//! Given the bytes of an ext2, ext3 or ext4 filesystem that anybody made, gives what is in it: superblock,
//! groups, inodes, names, extended attributes and file data; never writes, and trusts nothing.
//!
//! Whatever the bytes are, reading them comes to an end, does not panic, and takes no more memory than
//! what was asked for and the metadata on the way to it. What a checksum or a rule of the format says is
//! damaged is an [`Error`] with inode and block. A filesystem whose journal waits to be replayed is read
//! as it is after the replay; where that needs a journal's other device or fast commits, it is refused.
//!
//! ```
//! use mke4fs::read::Filesystem;
//!
//! let image = mke4fs::Builder::new().source(mke4fs::Directory::new("fixtures/read")).to_vec()?;
//! // `image` is anything that is `ReadAt`: bytes, a file, a device.
//! let filesystem = Filesystem::open(image)?;
//! for entry in filesystem.read_dir("/")? {
//!     let entry = entry?;
//!     println!("{}", entry.name().escape_ascii());
//! }
//! assert_eq!(filesystem.read("etc/motd")?, b"Welcome.\n");
//! assert_eq!(filesystem.metadata("etc/motd")?.size(), 9);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub(crate) mod block_map;
pub(crate) mod bytes;
pub(crate) mod directory;
mod error;
pub(crate) mod extents;
mod file;
pub(crate) mod groups;
mod inode;
pub(crate) mod journal;
pub(crate) mod mapped;
mod maps;
mod path;
mod replay;
pub(crate) mod superblock;
pub(crate) mod verity;
mod volume;
mod walk;
pub(crate) mod xattrs;

pub use crate::ondisk::dir::FileType;
pub use crate::sink::{ImageFile, ReadAt};
pub use directory::{DirEntry, ReadDir};
pub use error::{Error, ErrorKind, Result};
pub use file::File;
pub(crate) use file::StoredData;
pub use groups::Group;
pub use inode::{Device, Inode};
pub use mapped::Extent;
pub(crate) use maps::PlacedMap;
pub use superblock::Superblock;
pub use verity::Verity;
pub use walk::{Inodes, Walk, WalkEntry};
pub use xattrs::Xattr;

use crate::cancel::Cancel;
use std::collections::HashSet;

use crate::feature::{Feature, Word};
use crate::ondisk::superblock::{CHECKSUM_CRC32C, OFFSET, Superblock as Stored};
use crate::units::{self, Ino};
pub(crate) use error::ErrorDetail;
use path::LastLink;
use superblock::{RECOVER, unknown_bits, word_of};
use volume::Volume;

/// Feature bits that change what every reader sees, and that this one does not follow.
const REFUSED: [(u32, &str); 2] = [
    (0x1, "it has compressed files (feature compression)"),
    (0x1000, "it has data in directory entries (feature dirdata)"),
];

/// An ext2, ext3 or ext4 filesystem that is open for reading; several threads may use it at once.
///
/// Paths are bytes and begin at the root, with or without a slash. `.` and `..` are understood, symbolic
/// links are followed within the image, at most 40 of them, and nothing leads out of it.
///
/// An [`Inode`] is of the `Filesystem` that gave it: any other refuses it with [`ErrorKind::Foreign`].
pub struct Filesystem<'a> {
    volume: Volume<'a>,
}

impl std::fmt::Debug for Filesystem<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Filesystem")
            .field("superblock", &self.volume.sb)
            .finish_non_exhaustive()
    }
}

impl<'a> Filesystem<'a> {
    /// Opens the filesystem that begins with the first byte of `image`.
    ///
    /// # Errors
    /// Where there is none, it is damaged, or needs what this reader cannot follow.
    pub fn open(image: impl ReadAt + 'a) -> Result<Self> {
        Self::open_at(image, 0)
    }

    /// Opens the filesystem that begins `offset_bytes` behind the first byte of `image`, such as one in a
    /// partition.
    ///
    /// # Errors
    /// Where there is none, it is damaged, or needs what this reader cannot follow.
    pub fn open_at(image: impl ReadAt + 'a, offset_bytes: u64) -> Result<Self> {
        Self::open_until(image, offset_bytes, &Cancel::new())
    }

    /// Opens it as [`open_at`](Self::open_at) does. Once `cancel` asks to stop, whatever reads this filesystem
    /// soon ends with an error of the kind [`Cancelled`](ErrorKind::Cancelled): opening itself, which reads a
    /// journal that waits, a walk, a file's data, and what lists or exports it.
    ///
    /// ```
    /// use mke4fs::Cancel;
    /// use mke4fs::read::{ErrorKind, Filesystem};
    ///
    /// let image = mke4fs::Builder::new().size_bytes(8 << 20).to_vec()?;
    /// let cancel = Cancel::new();
    /// let filesystem = Filesystem::open_until(image, 0, &cancel)?;
    /// cancel.cancel();
    /// let error = filesystem.read_dir("/").expect_err("it was asked to stop");
    /// assert_eq!(error.kind(), ErrorKind::Cancelled);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As those of [`open_at`](Self::open_at); and where it was asked to stop.
    pub fn open_until(image: impl ReadAt + 'a, offset_bytes: u64, cancel: &Cancel) -> Result<Self> {
        let image: Box<dyn ReadAt + 'a> = Box::new(image);
        let sb = read_superblock(&*image, offset_bytes)?;
        let mut volume = Volume::new(image, offset_bytes, sb);
        volume.set_cancel(cancel);
        volume.check_cancelled()?;
        if word_of(&volume.sb.sb, Word::Incompat) & RECOVER != 0 {
            volume.set_replay(journal::replay(&volume)?)?;
        }
        Ok(Self { volume })
    }

    /// A block as it is after a replay of the journal.
    ///
    /// # Errors
    /// Where it is outside the filesystem or cannot be read.
    pub(crate) fn block(&self, block: units::Block) -> Result<Vec<u8>> {
        self.volume.block(block)
    }

    /// The superblock, as it is after a replay of the journal.
    pub fn superblock(&self) -> &Superblock {
        &self.volume.sb
    }

    /// How many blocks are read from a journal that waits to be replayed.
    pub fn replayed_blocks(&self) -> usize {
        self.volume.replay().len()
    }

    /// A block group.
    ///
    /// # Errors
    /// Where its descriptor is damaged or cannot be read.
    pub fn group(&self, group: units::Group) -> Result<Group> {
        self.volume.group(group.get())
    }

    /// A group's block bitmap: a bit for each of its clusters, the lowest of the first byte first, set
    /// where the cluster is in use.
    ///
    /// # Errors
    /// Where it is damaged or cannot be read.
    pub fn block_bitmap(&self, group: &Group) -> Result<Vec<u8>> {
        self.volume.block_bitmap(&self.volume.group(group.number)?)
    }

    /// A group's inode bitmap: a bit for each of its inodes, the lowest of the first byte first, set where
    /// the inode is in use.
    ///
    /// # Errors
    /// Where it is damaged or cannot be read.
    pub fn inode_bitmap(&self, group: &Group) -> Result<Vec<u8>> {
        self.volume.inode_bitmap(&self.volume.group(group.number)?)
    }

    /// The root directory.
    ///
    /// # Errors
    /// Where it is damaged or cannot be read.
    pub fn root(&self) -> Result<Inode> {
        self.inode(Ino::ROOT)
    }

    /// The inode of a number.
    ///
    /// # Errors
    /// Where it is not in use, damaged, or cannot be read.
    pub fn inode(&self, ino: Ino) -> Result<Inode> {
        self.volume.inode(ino)
    }

    /// All inodes in use, by number.
    pub fn inodes(&self) -> Inodes<'_> {
        Inodes::new(&self.volume)
    }

    /// The regular file of an inode.
    ///
    /// # Errors
    /// Where it is none, or its data is in the inode and damaged.
    pub fn file(&self, inode: &Inode) -> Result<File<'_>> {
        inode.check_own(&self.volume.sb)?;
        File::open(&self.volume, inode.clone())
    }

    /// The entries of a directory's inode.
    ///
    /// # Errors
    /// Where it is none.
    pub fn entries(&self, dir: &Inode) -> Result<ReadDir<'_>> {
        dir.check_own(&self.volume.sb)?;
        ReadDir::open(&self.volume, dir.clone())
    }

    /// The entry of a directory's inode that has this name.
    ///
    /// # Errors
    /// Where there is none, or the directory is damaged or cannot be read.
    pub fn lookup(&self, dir: &Inode, name: &[u8]) -> Result<DirEntry> {
        dir.check_own(&self.volume.sb)?;
        let found = self.volume.lookup(dir, name);
        found.map_err(|error| error.on_path(name))
    }

    /// All files below a directory's inode.
    ///
    /// # Errors
    /// Where it is none.
    pub fn walk(&self, dir: &Inode) -> Result<Walk<'_>> {
        dir.check_own(&self.volume.sb)?;
        Walk::new(&self.volume, dir.clone())
    }

    /// Where the symbolic link of an inode leads.
    ///
    /// # Errors
    /// Where it is none, damaged, or cannot be read.
    pub fn link_target(&self, link: &Inode) -> Result<Vec<u8>> {
        link.check_own(&self.volume.sb)?;
        self.volume.link_target(link)
    }

    /// The extended attributes of an inode, as `listxattr` and `getxattr` give them to root.
    ///
    /// # Errors
    /// Where they are damaged or cannot be read.
    pub fn xattrs_of(&self, inode: &Inode) -> Result<Vec<Xattr>> {
        inode.check_own(&self.volume.sb)?;
        self.volume.xattrs(inode)
    }

    /// Where the blocks of an inode are: those of its file data, its entries or its link's target.
    ///
    /// # Errors
    /// Where the map of its blocks is damaged or cannot be read.
    pub fn extents(&self, inode: &Inode) -> Result<Vec<Extent>> {
        inode.check_own(&self.volume.sb)?;
        self.volume.extents(inode, 0..u64::MAX)
    }

    /// Where the blocks of an inode are, and the blocks that hold the map of them: the nodes of its extent
    /// tree or its indirect blocks.
    ///
    /// # Errors
    /// As [`extents`](Self::extents).
    pub fn extents_and_nodes(&self, inode: &Inode) -> Result<(Vec<Extent>, Vec<units::Block>)> {
        inode.check_own(&self.volume.sb)?;
        self.volume.extents_and_nodes(inode)
    }

    /// Where the blocks of an inode are, and its map's, none of whose nodes is among those `seen`.
    pub(crate) fn placed_map(
        &self,
        inode: &Inode,
        seen: &mut HashSet<units::Block>,
    ) -> Result<PlacedMap> {
        self.volume.placed_map(inode, seen)
    }

    /// All inodes in use of a group, by number.
    pub(crate) fn inodes_of(&self, group: u32) -> Inodes<'_> {
        Inodes::of_groups(&self.volume, group..group.saturating_add(1))
    }

    /// Where the blocks of an inode are, if the map of them has no blocks of its own.
    pub(crate) fn root_map(&self, inode: &Inode) -> Result<Option<Vec<Extent>>> {
        self.volume.root_map(inode)
    }

    /// An inode, sound, whether in use or not.
    pub(crate) fn any_inode(&self, ino: Ino) -> Result<Inode> {
        self.volume.any_inode(ino)
    }

    /// The inode at a path, symbolic links followed.
    ///
    /// # Errors
    /// Where there is none, or what is on the way is damaged or cannot be read.
    pub fn metadata(&self, path: impl AsRef<[u8]>) -> Result<Inode> {
        self.volume.resolve(path.as_ref(), LastLink::Follow)
    }

    /// The inode at a path; a symbolic link there is not followed.
    ///
    /// # Errors
    /// As [`metadata`](Self::metadata).
    pub fn symlink_metadata(&self, path: impl AsRef<[u8]>) -> Result<Inode> {
        self.volume.resolve(path.as_ref(), LastLink::Keep)
    }

    /// The regular file at a path.
    ///
    /// # Errors
    /// As [`metadata`](Self::metadata), and where it is none.
    pub fn open_file(&self, path: impl AsRef<[u8]>) -> Result<File<'_>> {
        let path = path.as_ref();
        let file = self.file(&self.metadata(path)?);
        file.map_err(|error| error.on_path(path))
    }

    /// All data of the regular file at a path, which may not be larger than the image.
    ///
    /// # Errors
    /// As [`open_file`](Self::open_file), and where it is larger.
    pub fn read(&self, path: impl AsRef<[u8]>) -> Result<Vec<u8>> {
        let path = path.as_ref();
        let bytes = self.volume.read_whole(self.metadata(path)?);
        bytes.map_err(|error| error.on_path(path))
    }

    /// The entries of the directory at a path.
    ///
    /// # Errors
    /// As [`metadata`](Self::metadata), and where it is no directory.
    pub fn read_dir(&self, path: impl AsRef<[u8]>) -> Result<ReadDir<'_>> {
        let path = path.as_ref();
        let entries = self.entries(&self.metadata(path)?);
        entries.map_err(|error| error.on_path(path))
    }

    /// Where the symbolic link at a path leads.
    ///
    /// # Errors
    /// As [`metadata`](Self::metadata), and where it is no symbolic link.
    pub fn read_link(&self, path: impl AsRef<[u8]>) -> Result<Vec<u8>> {
        let path = path.as_ref();
        let target = self.link_target(&self.symlink_metadata(path)?);
        target.map_err(|error| error.on_path(path))
    }

    /// The extended attributes of the file at a path; a symbolic link there is not followed.
    ///
    /// # Errors
    /// As [`metadata`](Self::metadata), and where they are damaged.
    pub fn xattrs(&self, path: impl AsRef<[u8]>) -> Result<Vec<Xattr>> {
        let path = path.as_ref();
        let xattrs = self.xattrs_of(&self.symlink_metadata(path)?);
        xattrs.map_err(|error| error.on_path(path))
    }
}

/// The feature bits of the filesystem that begins `base` bytes behind the first of `image`, one by one, whoever
/// knows them.
///
/// # Errors
/// Where there is none.
#[cfg(feature = "cli")]
pub(crate) fn feature_bits(image: &dyn ReadAt, base: u64) -> Result<Vec<(Word, u32)>> {
    let stored: Stored = bytes::pod_or_zeros(&superblock_bytes(image, base)?);
    let magic = stored.s_magic.get();
    if magic != crate::ondisk::superblock::MAGIC {
        return Err(Error::new(ErrorDetail::Magic(magic)));
    }
    let is_dynamic = stored.s_rev_level.get() > 0;
    let words = [Word::Compat, Word::Incompat, Word::RoCompat].map(|word| {
        let bits = if is_dynamic {
            word_of(&stored, word)
        } else {
            0
        };
        let set = (0..u32::BITS)
            .map(|place| 1 << place)
            .filter(move |bit| bits & bit != 0);
        set.map(move |bit| (word, bit)).collect::<Vec<_>>()
    });
    Ok(words.concat())
}

/// The superblock of a filesystem that this reader can follow.
fn read_superblock(image: &dyn ReadAt, base: u64) -> Result<Superblock> {
    decode_superblock(&superblock_bytes(image, base)?)
}

fn superblock_bytes(image: &dyn ReadAt, base: u64) -> Result<Vec<u8>> {
    let mut bytes = vec![0; size_of::<Stored>()];
    let left = image.size_bytes().saturating_sub(base);
    let needed = OFFSET.saturating_add(bytes::length(bytes.len()));
    if left < needed {
        return Err(Error::new(ErrorDetail::Short { left, needed }));
    }
    let read = image.read_exact_at(base + OFFSET, &mut bytes);
    read.map_err(|error| Error::new(ErrorDetail::Io(error)))?;
    Ok(bytes)
}

fn decode_superblock(bytes: &[u8]) -> Result<Superblock> {
    let stored: Stored = bytes::pod_or_zeros(bytes);
    let is_ext = stored.s_magic.get() == crate::ondisk::superblock::MAGIC;
    if is_ext {
        refuse_features(&stored)?;
    }
    let sb = Superblock::decode(stored).map_err(|faults| {
        let first = faults.into_iter().next();
        Error::new(first.unwrap_or(ErrorDetail::Rule("the superblock is invalid")))
    })?;
    if sb.has_checksums() {
        let (kind, expected) = (sb.sb.s_checksum_type, CHECKSUM_CRC32C);
        if kind != expected {
            return Err(Error::new(ErrorDetail::Value {
                what: "s_checksum_type",
                found: kind.into(),
                expected: expected.into(),
            }));
        }
        let (found, expected) = (sb.sb.s_checksum.get(), sb.sb.checksum());
        if found != expected {
            let what = "s_checksum";
            return Err(Error::new(ErrorDetail::Checksum {
                what,
                found,
                expected,
            }));
        }
    }
    Ok(sb)
}

/// Refuses features whose filesystems would be read wrongly. Unknown ones of the other two words do not
/// change what is read.
fn refuse_features(stored: &Stored) -> Result<()> {
    let bits = unknown_bits(stored, Word::Incompat);
    if let Some((_, what)) = REFUSED.iter().find(|(bit, _)| bits & bit != 0) {
        return Err(Error::new(ErrorDetail::Unsupported(what)));
    }
    if bits != 0 {
        let word = "s_feature_incompat";
        return Err(Error::new(ErrorDetail::UnknownFeatures { word, bits }));
    }
    if superblock::features_of(stored).has(Feature::JournalDev) {
        let what = "it is an external journal, which holds no files";
        return Err(Error::new(ErrorDetail::Unsupported(what)));
    }
    Ok(())
}
