//! Given an open directory of the host and names in it, gives all that the host says of those files,
//! and of short ones what they hold, where there is room for it; never declares one.
//!
//! A name costs one look-up where the directory tells what it leads to: it is opened as that, and what
//! was opened says the rest. What cannot be opened so, or is something else by then, is looked at
//! before it is opened.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::dir::Directory;
use super::ext4_names;
use super::host_files::{changed, push_name, same_file};
use super::listed::{ListedName, ListedNames};
use super::patterns::PathType;
use crate::sys::{self, FileType, Stat};
use crate::tree::{DataMap, Xattr};

/// No longer content is read while its file is looked at: to open it once more takes longer than to
/// read and write it.
const SHORT_BYTES: usize = 64 << 10;
/// How much room there is for contents, before they must be written.
const ROOM_BYTES: usize = 512 << 10;

/// The longest path that the kernel takes, its NUL included.
pub(super) const PATH_MAX: usize = 4096;

/// A directory that is open.
#[derive(Debug)]
pub(super) struct Spot {
    pub(super) file: Arc<File>,
    /// Its path below the walk's root, unless nobody will ask for it.
    pub(super) below: Option<Vec<u8>>,
}

/// What the host says of a file.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) name: Box<[u8]>,
    pub(super) stat: Stat,
    pub(super) what: What,
    /// The directory it is, open.
    pub(super) directory: Option<File>,
    /// Where its content is in the room, if it was read: whole blocks, with zeros behind its end.
    pub(super) content: Range<usize>,
}

/// Room for contents that are read while files are looked at. Kept from one use to the next: fresh
/// memory costs the kernel as much as reading a short file does.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// As long as it ever was filled; what lies behind `filled` is left over.
    bytes: Vec<u8>,
    filled: usize,
}

impl Room {
    /// What is in it, from which it is taken by ranges.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.filled]
    }

    /// Whether any short content fits.
    pub(super) fn fits_any(&self) -> bool {
        self.filled + SHORT_BYTES <= ROOM_BYTES
    }

    pub(super) fn clear(&mut self) {
        self.filled = 0;
    }

    /// Takes `size` bytes that `read` gives, up to the end of a block; nothing of them if it fails.
    fn take(
        &mut self,
        (size, block_bytes): (usize, usize),
        read: impl FnOnce(&mut [u8]) -> io::Result<()>,
    ) -> io::Result<Range<usize>> {
        let (start, end) = (self.filled, self.filled + size);
        let filled = end.next_multiple_of(block_bytes);
        if self.bytes.len() < filled {
            self.bytes.resize(filled, 0);
        }
        read(&mut self.bytes[start..end])?;
        self.bytes[end..filled].fill(0);
        self.filled = filled;
        Ok(start..filled)
    }
}

/// What a file is, and what is said of it beside its `stat`.
#[derive(Debug)]
pub(super) enum What {
    /// It shall not be declared, and a warning shall say so.
    LeftOut,
    /// It shall not be declared.
    Excluded,
    /// A directory.
    Directory { flags: u32, xattrs: Xattrs },
    /// A regular file.
    File {
        data: DataMap,
        flags: u32,
        xattrs: Xattrs,
    },
    /// A symbolic link. The target is not read of one with several names: reading may leave a time
    /// behind, which then only the first of them shall do.
    Symlink {
        target: Option<Vec<u8>>,
        xattrs: Xattrs,
    },
    /// A device, a named pipe or a socket.
    Special { xattrs: Xattrs },
}

/// A file's extended attributes.
#[derive(Debug, Default)]
pub(super) struct Xattrs {
    pub(super) kept: Vec<Xattr>,
    /// The names of those that ext4 cannot store.
    pub(super) skipped: Vec<Vec<u8>>,
    /// The names of those whose values may not be read, or of none where not even names may.
    pub(super) unread: Vec<(Option<Vec<u8>>, io::Error)>,
}

/// What could not be looked at.
#[derive(Debug)]
pub(super) struct Fault {
    /// Its name; none for the directory that was to be looked into.
    pub(super) name: Box<[u8]>,
    pub(super) trouble: Trouble,
}

/// Why a file could not be looked at.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The file itself cannot be read, or changed.
    Read(io::Error),
    /// The attribute of this name cannot be read.
    Attribute(Vec<u8>, io::Error),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Read(error)
    }
}

impl Fault {
    /// A fault of no name in particular.
    pub(super) fn unnamed(error: io::Error) -> Self {
        Self {
            name: Box::default(),
            trouble: error.into(),
        }
    }
}

/// Where a file's extended attributes are read.
enum XattrsOf<'a> {
    /// Through the file.
    Open(&'a File),
    /// By its path, where there is no /proc: a directory on the way may be replaced by a link.
    Path(PathBuf),
    /// By a name in an open directory, which no replaced directory leads elsewhere.
    Below(&'a File, &'a [u8]),
}

/// A file's `stat`, what it is, and the file if it is open.
type Seen = (Stat, What, Option<File>);

/// How files are looked at.
#[derive(Debug)]
pub(super) struct Look<'a> {
    pub(super) options: &'a Directory,
    /// The path of the walk's root.
    pub(super) root_path: &'a [u8],
    /// The device that the walk began on.
    pub(super) device: u64,
    /// Whether open directories have names in /proc.
    pub(super) has_proc: bool,
    /// How contents are read, if they are.
    pub(super) reading: Option<Reading>,
}

/// How contents are read while files are looked at.
#[derive(Debug)]
pub(super) struct Reading {
    /// They fill blocks of so many bytes.
    pub(super) block_bytes: usize,
    /// Whether anybody takes more of them.
    pub(super) goes_on: AtomicBool,
}

impl Look<'_> {
    /// The names in the directory at `spot` that are not excluded whatever they lead to, in the order
    /// of their bytes.
    pub(super) fn names(&self, spot: &Spot) -> io::Result<ListedNames> {
        ListedNames::of(&spot.file, |name| {
            !self.is_excluded(spot, name, PathType::Other)
        })
    }

    /// Whether what lies below the directory that `stat` shows is left alone, since it is mounted.
    pub(super) fn stops_at(&self, stat: &Stat) -> bool {
        self.options.one_file_system && stat.dev != self.device
    }

    /// The open directory `file`, called `name` in the one at `above`.
    pub(super) fn spot_below(&self, above: &Spot, name: &[u8], file: File) -> Spot {
        let below = above.below.as_ref().map(|above| {
            let mut below = above.clone();
            push_name(&mut below, name);
            below
        });
        Spot {
            file: Arc::new(file),
            below: below.filter(|below| below.len() <= self.longest_path()),
        }
    }

    /// How long a path may be that somebody asks for.
    pub(super) fn longest_path(&self) -> usize {
        match (self.options.patterns.is_empty(), self.has_proc) {
            (true, true) => 0,
            (true, false) => PATH_MAX,
            (false, _) => usize::MAX,
        }
    }

    /// Looks at what `listed` leads to in the directory at `spot`, and reads it into `room` if it is
    /// short enough.
    pub(super) fn at(
        &self,
        spot: &Spot,
        listed: ListedName,
        room: Option<&mut Room>,
    ) -> Result<Found, Fault> {
        let ListedName { name, file_type } = listed;
        let (stat, what, file) = match self.seen(spot, &name, file_type) {
            Ok(seen) => seen,
            Err(trouble) => return Err(Fault { name, trouble }),
        };
        let mut found = Found {
            name,
            stat,
            what,
            directory: None,
            content: 0..0,
        };
        match (&found.what, file, room) {
            (What::Directory { .. }, file, _) => found.directory = file,
            (What::File { data, .. }, Some(file), Some(room)) if *data == DataMap::Whole => {
                found.content = self.content(&file, &found.stat, room);
            }
            _ => {}
        }
        Ok(found)
    }

    /// How contents are read, as long as anybody takes them.
    pub(super) fn reading(&self) -> Option<&Reading> {
        let reading = self.reading.as_ref();
        reading.filter(|reading| reading.goes_on.load(Ordering::Relaxed))
    }

    /// Reads a short content. Where it cannot be read or changes meanwhile, that is told once it is
    /// read again.
    ///
    /// A file with several names is not read: reading may leave a time behind, which must not show at
    /// the next name.
    fn content(&self, file: &File, stat: &Stat, room: &mut Room) -> Range<usize> {
        let size = usize::try_from(stat.size_bytes).unwrap_or(usize::MAX);
        let Some(reading) = self.reading() else {
            return 0..0;
        };
        if size == 0 || size > SHORT_BYTES || stat.links > 1 || !room.fits_any() {
            return 0..0;
        }
        let read = room.take((size, reading.block_bytes), |bytes| {
            file.read_exact_at(bytes, 0)?;
            if same_file(&sys::stat_of(file)?, stat) {
                Ok(())
            } else {
                Err(changed())
            }
        });
        read.unwrap_or(0..0)
    }

    fn seen(&self, spot: &Spot, name: &[u8], file_type: Option<FileType>) -> Result<Seen, Trouble> {
        let expected = match file_type {
            Some(FileType::Directory) if self.is_excluded(spot, name, PathType::Directory) => None,
            Some(kind @ (FileType::Directory | FileType::Regular)) => open(spot, name, kind)
                .and_then(|file| Ok((sys::stat_of(&file)?, file)))
                .ok()
                .filter(|(stat, _)| stat.file_type == kind),
            _ => None,
        };
        match expected {
            Some((stat, file)) => self.opened(file, stat),
            None => self.unopened(spot, name),
        }
    }

    /// The extended attributes of an open file.
    pub(super) fn xattrs_of(&self, file: &File) -> Result<Xattrs, Trouble> {
        self.xattrs(&XattrsOf::Open(file))
    }

    /// Looks at a file before it is opened.
    fn unopened(&self, spot: &Spot, name: &[u8]) -> Result<Seen, Trouble> {
        let stat = sys::stat_at(&*spot.file, name)?;
        if self.is_left_out(&stat) {
            return Ok((stat, What::LeftOut, None));
        }
        let what = match stat.file_type {
            FileType::Directory if self.is_excluded(spot, name, PathType::Directory) => {
                What::Excluded
            }
            FileType::Directory | FileType::Regular => {
                let file = open(spot, name, stat.file_type)?;
                if !same_file(&sys::stat_of(&file)?, &stat) {
                    return Err(changed().into());
                }
                return self.opened(file, stat);
            }
            FileType::Symlink => What::Symlink {
                target: match stat.links {
                    1 => Some(sys::read_link_at(&*spot.file, name)?),
                    _ => None,
                },
                xattrs: self.xattrs(&self.xattrs_at(spot, name)?)?,
            },
            FileType::CharDevice | FileType::BlockDevice | FileType::Fifo | FileType::Socket => {
                let xattrs = self.xattrs(&self.xattrs_at(spot, name)?)?;
                What::Special { xattrs }
            }
        };
        still_is(&spot.file, name, &stat)?;
        Ok((stat, what, None))
    }

    /// What an open directory or regular file says of itself.
    fn opened(&self, file: File, stat: Stat) -> Result<Seen, Trouble> {
        if self.is_left_out(&stat) {
            return Ok((stat, What::LeftOut, None));
        }
        let flags = sys::attribute_flags(&file)?;
        if stat.file_type == FileType::Directory {
            let xattrs = self.xattrs_of(&file)?;
            return Ok((stat, What::Directory { flags, xattrs }, Some(file)));
        }
        let data = data_map(&file, stat.size_bytes)?;
        let xattrs = self.xattrs_of(&file)?;
        let what = What::File {
            data,
            flags,
            xattrs,
        };
        Ok((stat, what, Some(file)))
    }

    fn is_left_out(&self, stat: &Stat) -> bool {
        self.options.excluded.contains(&(stat.dev, stat.ino))
    }

    fn is_excluded(&self, spot: &Spot, name: &[u8], leaf: PathType) -> bool {
        let patterns = &self.options.patterns;
        if patterns.is_empty() {
            return false;
        }
        let mut path = spot.below.clone().unwrap_or_default();
        push_name(&mut path, name);
        patterns.exclude(&path, leaf)
    }

    fn xattrs_at<'a>(&self, spot: &'a Spot, name: &'a [u8]) -> io::Result<XattrsOf<'a>> {
        if self.has_proc {
            return Ok(XattrsOf::Below(&spot.file, name));
        }
        if let Some(below) = &spot.below {
            let mut path = self.root_path.to_vec();
            push_name(&mut path, below);
            push_name(&mut path, name);
            if path.len() < PATH_MAX {
                return Ok(XattrsOf::Path(OsString::from_vec(path).into()));
            }
        }
        Err(io::Error::other("so long a path needs /proc"))
    }

    fn xattrs(&self, from: &XattrsOf<'_>) -> Result<Xattrs, Trouble> {
        let mut xattrs = Xattrs::default();
        if self.options.xattrs.keeps_nothing() {
            return Ok(xattrs);
        }
        let names = match from.names() {
            Ok(names) => names,
            Err(error) if sys::means_kept_back(&error) => {
                xattrs.unread.push((None, error));
                return Ok(xattrs);
            }
            Err(error) => return Err(error.into()),
        };
        for name in names {
            if !self.options.xattrs.keeps(&name) {
                continue;
            }
            if !ext4_names(&name) {
                xattrs.skipped.push(name);
                continue;
            }
            match from.value(&name) {
                Ok(Some(value)) => xattrs.kept.push(Xattr { name, value }),
                // Removed since it was listed.
                Ok(None) => {}
                Err(error) if sys::means_kept_back(&error) => {
                    xattrs.unread.push((Some(name), error))
                }
                Err(error) => return Err(Trouble::Attribute(name, error)),
            }
        }
        Ok(xattrs)
    }
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

fn open(spot: &Spot, name: &[u8], file_type: FileType) -> io::Result<File> {
    match file_type {
        FileType::Directory => sys::open_directory_at(&*spot.file, name),
        _ => sys::open_file_at(&*spot.file, name),
    }
}

/// Whether open directories have names in /proc.
pub(super) fn has_proc(directory: &File) -> bool {
    path_below(directory, b".").exists()
}

/// The target of the symbolic link `name`, which `stat` shows.
pub(super) fn target(directory: &File, name: &[u8], stat: &Stat) -> io::Result<Vec<u8>> {
    let target = sys::read_link_at(directory, name)?;
    still_is(directory, name, stat)?;
    Ok(target)
}

/// Says whether `name` is still what `stat` shows: what is asked by name each time may be another by
/// then.
fn still_is(directory: &File, name: &[u8], stat: &Stat) -> io::Result<()> {
    if same_file(&sys::stat_at(directory, name)?, stat) {
        Ok(())
    } else {
        Err(changed())
    }
}

/// A short path to `name` in an open directory: no call before Linux 6.13 takes the two apart.
fn path_below(directory: &File, name: &[u8]) -> PathBuf {
    let directory = format!("/proc/self/fd/{}", directory.as_raw_fd());
    PathBuf::from(directory).join(OsStr::from_bytes(name))
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
