//! Given an open directory of the host and names in it, gives all that the host says of those files;
//! never declares one, nor reads what one holds.
//!
//! A name costs one look-up where the directory tells what it leads to: it is opened as that, and what
//! was opened says the rest. What cannot be opened so, or is something else by then, is asked for by
//! name before it is opened. To ask for all by name would cost less, but no call that takes one tells of
//! all flags of chattr, nor where a preallocated file is a hole.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::ext4_names;
use super::host_files::{changed, push_name, same_file};
use super::listed::{ListedName, ListedNames};
use super::patterns::{PathType, Patterns};
use super::rules::XattrFilter;
use super::verity;
use crate::base::Base;
use crate::sys::{self, FileType, HostHandle, Stat};
use crate::tree::{DataMap, FILE_FLAGS, Verity, Xattr};
use crate::units::{Ino, Timestamp};

/// The longest path that the kernel takes, its NUL included.
pub(super) const PATH_MAX: usize = 4096;

/// What is kept of a directory of the host.
#[derive(Clone, Debug, Default)]
pub(super) struct Selection {
    /// Which extended attributes are kept.
    pub(super) xattrs: XattrFilter,
    /// What is left out with a warning, by device and inode number.
    pub(super) excluded: Vec<(u64, u64)>,
    /// What is left out without one.
    pub(super) patterns: Patterns,
    /// Whether directories on which something is mounted are kept empty.
    pub(super) one_file_system: bool,
}

/// A directory that is open.
#[derive(Debug)]
pub(super) struct OpenDirectory {
    pub(super) file: Arc<HostHandle>,
    /// Its path below the walk's root, unless nobody will ask for it.
    pub(super) below: Option<Vec<u8>>,
    /// Which inode of a base it is.
    pub(super) base: Option<Ino>,
}

/// What the host says of a file.
#[derive(Debug)]
pub(super) struct FileInfo {
    pub(super) name: Box<[u8]>,
    pub(super) stat: Stat,
    pub(super) kind: FileKind,
    /// The directory it is, open.
    pub(super) directory: Option<HostHandle>,
}

/// What a file is, and what is said of it beside its `stat`.
#[derive(Debug)]
pub(super) enum FileKind {
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
        /// How fs-verity protects it, or why that is not told.
        verity: Option<Box<io::Result<Verity>>>,
        /// The inode of a base that holds what it holds.
        unchanged: Option<Ino>,
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

/// What could not be inspected, and why.
#[derive(Debug)]
pub(super) struct InspectError {
    /// Its name; none for the directory that was to be listed.
    pub(super) name: Box<[u8]>,
    pub(super) cause: InspectCause,
}

/// Why a file could not be inspected.
#[derive(Debug)]
pub(super) enum InspectCause {
    /// The file itself cannot be read, or changed.
    Read(io::Error),
    /// The attribute of this name cannot be read.
    Attribute(Vec<u8>, io::Error),
}

impl From<io::Error> for InspectCause {
    fn from(error: io::Error) -> Self {
        Self::Read(error)
    }
}

impl InspectError {
    /// An error of no name in particular.
    pub(super) fn unnamed(error: io::Error) -> Self {
        Self {
            name: Box::default(),
            cause: error.into(),
        }
    }
}

/// Where a file's extended attributes are read.
enum XattrsOf<'a> {
    /// Through the file.
    Open(&'a HostHandle),
    /// By its path, where there is no /proc: a directory on the way may be replaced by a link.
    Path(PathBuf),
    /// By a name in an open directory, which no replaced directory leads elsewhere.
    Below(&'a HostHandle, &'a [u8]),
    /// The same, where a call lists the names without a path through /proc.
    In(&'a HostHandle, &'a [u8]),
}

/// A file's `stat`, what it is, and the open directory if it is one.
type Inspected = (Stat, FileKind, Option<HostHandle>);

/// Asks the host for what it says of files.
#[derive(Debug)]
pub(super) struct Inspector<'a> {
    pub(super) selection: &'a Selection,
    /// The path of the walk's root.
    pub(super) root_path: &'a [u8],
    /// The device that the walk began on.
    pub(super) device: u64,
    /// Whether open directories have names in /proc.
    pub(super) has_proc: bool,
    /// Whether names of extended attributes are told by a directory and a name.
    pub(super) has_names_in: bool,
    /// Whether ctimes are this kernel's.
    pub(super) has_ctimes: bool,
    /// By what unchanged files are known.
    pub(super) base: Option<&'a Base>,
}

impl Inspector<'_> {
    /// The names in the directory `parent` that are not excluded whatever they lead to, in the order
    /// of their bytes.
    pub(super) fn names(&self, parent: &OpenDirectory) -> io::Result<ListedNames> {
        ListedNames::of(&parent.file, |name| {
            !self.is_excluded(parent, name, PathType::Other)
        })
    }

    /// Whether what lies below the directory that `stat` shows is left alone, since it is mounted.
    pub(super) fn stops_at(&self, stat: &Stat) -> bool {
        self.selection.one_file_system && stat.dev != self.device
    }

    /// The open directory `file`, of which `info` is said in the one at `above`.
    pub(super) fn directory_below(
        &self,
        above: &OpenDirectory,
        info: &FileInfo,
        file: HostHandle,
    ) -> OpenDirectory {
        let name = &info.name;
        let below = above.below.as_ref().map(|above| {
            let mut below = above.clone();
            push_name(&mut below, name);
            below
        });
        OpenDirectory {
            file: Arc::new(file),
            base: self.base_below(above.base, name, &info.stat),
            below: below.filter(|below| below.len() <= self.longest_path()),
        }
    }

    /// Which inode of the base the directory `name` is that `stat` shows, in the one that is the inode `above`:
    /// none if it was changed, since it may be another that came here.
    pub(super) fn base_below(&self, above: Option<Ino>, name: &[u8], stat: &Stat) -> Option<Ino> {
        let base = self.base?;
        let ino = base.child(above?, name)?;
        base.is_directory_of(ino, stat.ctime).then_some(ino)
    }

    /// How long a path may be that somebody asks for.
    pub(super) fn longest_path(&self) -> usize {
        match (self.selection.patterns.is_empty(), self.has_proc) {
            (true, true) => 0,
            (true, false) => PATH_MAX,
            (false, _) => usize::MAX,
        }
    }

    /// Inspects what `listed` leads to in the directory `parent`.
    pub(super) fn at(
        &self,
        parent: &OpenDirectory,
        listed: ListedName,
    ) -> Result<FileInfo, InspectError> {
        let ListedName { name, file_type } = listed;
        match self.inspect(parent, &name, file_type) {
            Ok((stat, kind, directory)) => Ok(FileInfo {
                name,
                stat,
                kind,
                directory,
            }),
            Err(cause) => Err(InspectError { name, cause }),
        }
    }

    fn inspect(
        &self,
        parent: &OpenDirectory,
        name: &[u8],
        file_type: Option<FileType>,
    ) -> Result<Inspected, InspectCause> {
        if file_type == Some(FileType::Regular)
            && let Some(unchanged) = self.unchanged(parent, name)?
        {
            return Ok(unchanged);
        }
        let expected = match file_type {
            Some(FileType::Directory) if self.is_excluded(parent, name, PathType::Directory) => {
                None
            }
            Some(kind @ (FileType::Directory | FileType::Regular)) => open(parent, name, kind)
                .and_then(|file| Ok((sys::stat_when_opened(&file)?, file)))
                .ok()
                .filter(|(stat, _)| stat.file_type == kind),
            _ => None,
        };
        match expected {
            Some((stat, file)) => self.opened(file, stat),
            None => self.unopened(parent, name),
        }
    }

    /// A file of which the host says what the base does, and which is not opened unless it has flags of chattr.
    ///
    /// Its attributes are asked for first: if the ctime is the base's after that, they are those of this file. They
    /// are not taken from the base, though a change would show in the ctime: what rules the last run had is not
    /// known, and what fakeroot keeps changes no ctime.
    fn unchanged(
        &self,
        parent: &OpenDirectory,
        name: &[u8],
    ) -> Result<Option<Inspected>, InspectCause> {
        let known = self.base.filter(|_| self.has_ctimes && self.has_proc);
        let known = known.and_then(|base| base.file(parent.base?, name));
        let Some(known) = known else { return Ok(None) };
        let inode = known.inode;
        let Ok(xattrs) = self.xattrs(&self.xattrs_at(parent, name)?) else {
            return Ok(None);
        };
        let stat = sys::stat_at(&*parent.file, name)?;
        let is_known = stat.file_type == FileType::Regular
            && stat.dev == self.device
            && (stat.size_bytes, stat.mtime, stat.ctime) == (inode.size(), inode.mtime(), inode.ctime())
            // A host that has holes elsewhere is asked where.
            && (stat.allocated_bytes < stat.size_bytes) != known.is_dense();
        if !is_known || self.is_left_out(&stat) {
            return Ok(None);
        }
        let flags = inode.flags() & FILE_FLAGS;
        // A rule may have set those that are there, and be none by now.
        if flags != 0 && !has_flags(parent, name, &stat, flags) {
            return Ok(None);
        }
        let kind = FileKind::File {
            data: if known.is_dense() {
                DataMap::Whole
            } else {
                DataMap::Ranges(known.data().collect())
            },
            flags,
            xattrs,
            verity: None,
            unchanged: Some(inode.ino()),
        };
        Ok(Some((stat, kind, None)))
    }

    /// What an open file is, once its ctime is clearly past: whoever changes it from then on gives it another.
    fn settled(&self, file: &HostHandle, stat: Stat) -> io::Result<Stat> {
        let mut stat = stat;
        for _ in 0..MOST_WAITS {
            if !self.has_ctimes || stat.file_type != FileType::Regular {
                break;
            }
            let Some(left) = time_left(stat.ctime, sys::since_1970()) else {
                break;
            };
            thread::sleep(left);
            stat = sys::stat_of(file)?;
        }
        Ok(stat)
    }

    /// The extended attributes of an open file.
    pub(super) fn xattrs_of(&self, file: &HostHandle) -> Result<Xattrs, InspectCause> {
        self.xattrs(&XattrsOf::Open(file))
    }

    /// Inspects a file before it is opened.
    fn unopened(&self, parent: &OpenDirectory, name: &[u8]) -> Result<Inspected, InspectCause> {
        let stat = sys::stat_at(&*parent.file, name)?;
        if self.is_left_out(&stat) {
            return Ok((stat, FileKind::LeftOut, None));
        }
        let kind = match stat.file_type {
            FileType::Directory if self.is_excluded(parent, name, PathType::Directory) => {
                FileKind::Excluded
            }
            FileType::Directory | FileType::Regular => {
                let file = open(parent, name, stat.file_type)?;
                let opened = sys::stat_when_opened(&file)?;
                if !same_file(&opened, &stat) {
                    return Err(changed().into());
                }
                return self.opened(file, opened);
            }
            FileType::Symlink => FileKind::Symlink {
                target: match stat.links {
                    1 => Some(sys::read_link_at(&*parent.file, name)?),
                    _ => None,
                },
                xattrs: self.xattrs(&self.xattrs_at(parent, name)?)?,
            },
            FileType::CharDevice | FileType::BlockDevice | FileType::Fifo | FileType::Socket => {
                let xattrs = self.xattrs(&self.xattrs_at(parent, name)?)?;
                FileKind::Special { xattrs }
            }
        };
        still_is(&parent.file, name, &stat)?;
        Ok((stat, kind, None))
    }

    /// What an open directory or regular file says of itself.
    fn opened(&self, file: HostHandle, stat: Stat) -> Result<Inspected, InspectCause> {
        if self.is_left_out(&stat) {
            return Ok((stat, FileKind::LeftOut, None));
        }
        let stat = self.settled(&file, stat)?;
        let flags = sys::attribute_flags(&file)?;
        if stat.file_type == FileType::Directory {
            let xattrs = self.xattrs_of(&file)?;
            return Ok((stat, FileKind::Directory { flags, xattrs }, Some(file)));
        }
        let data = data_map(&file, &stat)?;
        let xattrs = self.xattrs_of(&file)?;
        let kind = FileKind::File {
            data,
            flags,
            xattrs,
            verity: verity::of_host(&file, flags, stat.size_bytes),
            unchanged: None,
        };
        Ok((stat, kind, None))
    }

    fn is_left_out(&self, stat: &Stat) -> bool {
        self.selection.excluded.contains(&(stat.dev, stat.ino))
    }

    fn is_excluded(&self, parent: &OpenDirectory, name: &[u8], leaf: PathType) -> bool {
        let patterns = &self.selection.patterns;
        if patterns.is_empty() {
            return false;
        }
        let mut path = parent.below.clone().unwrap_or_default();
        push_name(&mut path, name);
        patterns.exclude(&path, leaf)
    }

    fn xattrs_at<'a>(&self, parent: &'a OpenDirectory, name: &'a [u8]) -> io::Result<XattrsOf<'a>> {
        if self.has_proc {
            return Ok(if self.has_names_in {
                XattrsOf::In(&parent.file, name)
            } else {
                XattrsOf::Below(&parent.file, name)
            });
        }
        if let Some(below) = &parent.below {
            let mut path = self.root_path.to_vec();
            push_name(&mut path, below);
            push_name(&mut path, name);
            if path.len() < PATH_MAX {
                let path = sys::path_of_bytes(&path);
                return path.map(XattrsOf::Path).ok_or_else(changed);
            }
        }
        Err(io::Error::other("a path this long needs /proc"))
    }

    fn xattrs(&self, from: &XattrsOf<'_>) -> Result<Xattrs, InspectCause> {
        let mut xattrs = Xattrs::default();
        if self.selection.xattrs.keeps_nothing() {
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
            if !self.selection.xattrs.keeps(&name) {
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
                Err(error) => return Err(InspectCause::Attribute(name, error)),
            }
        }
        Ok(xattrs)
    }
}

/// How often a file is waited for that is changed meanwhile.
const MOST_WAITS: usize = 3;
/// How long a kernel may give files the same ctime, and where it counts whole seconds; FAT counts two.
const TICK: Duration = Duration::from_millis(20);
const TICK_OF_SECONDS: Duration = Duration::from_millis(2020);

/// How long it takes until a file of this ctime can no longer be changed without another, if that is so. What
/// lies in the future is not waited for.
fn time_left(ctime: Timestamp, now: Duration) -> Option<Duration> {
    let seconds = u64::try_from(ctime.seconds).ok()?;
    let tick = if ctime.nanoseconds == 0 {
        TICK_OF_SECONDS
    } else {
        TICK
    };
    let ctime = Duration::new(seconds, ctime.nanoseconds);
    let left = ctime.checked_add(tick)?.checked_sub(now)?;
    (left <= tick + TICK && !left.is_zero()).then_some(left)
}

impl XattrsOf<'_> {
    fn names(&self) -> io::Result<Vec<Vec<u8>>> {
        match self {
            Self::Open(file) => sys::xattr_names(file),
            Self::Path(path) => sys::xattr_names_at(path),
            Self::Below(directory, name) => sys::xattr_names_below(directory, name),
            Self::In(directory, name) => sys::xattr_names_in(directory, name),
        }
    }

    fn value(&self, attribute: &[u8]) -> io::Result<Option<Vec<u8>>> {
        match self {
            Self::Open(file) => sys::xattr(file, attribute),
            Self::Path(path) => sys::xattr_at(path, attribute),
            Self::Below(directory, name) | Self::In(directory, name) => {
                sys::xattr_below(directory, name, attribute)
            }
        }
    }
}

fn open(parent: &OpenDirectory, name: &[u8], file_type: FileType) -> io::Result<HostHandle> {
    match file_type {
        FileType::Directory => sys::open_directory_at(&*parent.file, name),
        _ => sys::open_file_at(&*parent.file, name),
    }
}

/// Whether the file `name`, which `stat` shows, has just these `flags` of chattr.
fn has_flags(parent: &OpenDirectory, name: &[u8], stat: &Stat, flags: u32) -> bool {
    let found = sys::open_file_at(&*parent.file, name).and_then(|file| {
        let is_same = same_file(&sys::stat_of(&file)?, stat);
        Ok(is_same && sys::attribute_flags(&file)? & FILE_FLAGS == flags)
    });
    found.unwrap_or(false)
}

/// The target of the symbolic link `name`, which `stat` shows.
pub(super) fn target(directory: &HostHandle, name: &[u8], stat: &Stat) -> io::Result<Vec<u8>> {
    let target = sys::read_link_at(directory, name)?;
    still_is(directory, name, stat)?;
    Ok(target)
}

/// Says whether `name` is still what `stat` shows: what is asked by name each time may be another by
/// then.
fn still_is(directory: &HostHandle, name: &[u8], stat: &Stat) -> io::Result<()> {
    if same_file(&sys::stat_at(directory, name)?, stat) {
        Ok(())
    } else {
        Err(changed())
    }
}

/// Which of the bytes of the file that `stat` shows are data.
///
/// Every file that is not empty is asked, even one that has as many blocks as its size needs: blocks of
/// attributes, of the extent tree and past the end count too, and may hide a hole, and so do blocks that
/// are preallocated and were never written.
fn data_map(file: &File, stat: &Stat) -> io::Result<DataMap> {
    let size = stat.size_bytes;
    if size == 0 {
        return Ok(DataMap::Whole);
    }
    match sys::seek_hole(file, 0) {
        // The first hole is the one after the end.
        Ok(hole) if hole.is_none_or(|start| start >= size) => return Ok(DataMap::Whole),
        Err(error) if error.kind() == io::ErrorKind::Unsupported => {
            return if stat.allocated_bytes < size {
                data_map_by_zeros(file, size)
            } else {
                Ok(DataMap::Whole)
            };
        }
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

/// Which of the file's `size` bytes are data, where the system says only how much room they take: all but
/// pieces of zeros.
fn data_map_by_zeros(file: &File, size: u64) -> io::Result<DataMap> {
    const PIECE: u64 = 4096;
    const ZEROS: [u8; 4096] = [0; 4096];
    let mut bytes = vec![0; 64 * ZEROS.len()];
    let mut ranges: Vec<Range<u64>> = Vec::new();
    let mut at = 0;
    while at < size {
        let left = usize::try_from(size - at).unwrap_or(usize::MAX);
        let read = left.min(bytes.len());
        let read = &mut bytes[..read];
        sys::read_exact_at(file, at, read).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => changed(),
            _ => error,
        })?;
        for piece in read.chunks(ZEROS.len()) {
            let end = size.min(at + PIECE);
            match ranges.last_mut() {
                _ if *piece == ZEROS[..piece.len()] => {}
                Some(last) if last.end == at => last.end = end,
                _ => ranges.push(at..end),
            }
            at = end;
        }
    }
    Ok(match &ranges[..] {
        [all] if *all == (0..size) => DataMap::Whole,
        _ => DataMap::Ranges(ranges.into()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_old_once_its_tick_is_over() {
        let left = |seconds: i64, nanoseconds: u32, now: u64| {
            let ctime = Timestamp {
                seconds,
                nanoseconds,
            };
            time_left(ctime, Duration::from_millis(now)).map(|left| left.as_millis())
        };
        for (seconds, nanoseconds, now, expected) in [
            (100, 5_000_000, 100_005, Some(20)),
            (100, 5_000_000, 100_024, Some(1)),
            (100, 5_000_000, 100_025, None),
            (100, 5_000_000, 99_990, Some(35)),
            (100, 5_000_000, 99_000, None),
            (100, 0, 100_500, Some(1520)),
            (100, 0, 102_020, None),
            (-5, 0, 0, None),
        ] {
            assert_eq!(
                left(seconds, nanoseconds, now),
                expected,
                "{seconds}.{nanoseconds} {now}"
            );
        }
    }

    /// What a system says that knows where holes are, of a file whose holes are whole pieces.
    #[cfg(target_os = "linux")]
    #[test]
    fn zeros_are_found_where_the_kernel_finds_holes() {
        use std::os::unix::fs::FileExt;

        let directory = tempfile::tempdir().expect("a directory");
        for (number, (size, data)) in [
            (1, &[][..]),
            (4096, &[(0, 4096)]),
            (4097, &[(4096, 4097)]),
            (5000, &[(0, 5000)]),
            (
                400_001,
                &[(8192, 12_288), (16_384, 270_336), (397_312, 400_001)],
            ),
            (1 << 20, &[(0, 4096), (262_144, 266_240)]),
            (1 << 20, &[]),
        ]
        .into_iter()
        .enumerate()
        {
            let path = directory.path().join(number.to_string());
            let mut options = File::options();
            options.read(true).write(true).create_new(true);
            let file = options.open(path).expect("a file");
            file.set_len(size).expect("a size");
            for (start, end) in data {
                let bytes: Vec<u8> = (*start..*end).map(|_| b'x').collect();
                file.write_all_at(&bytes, *start).expect("bytes");
            }
            let stat = sys::stat_of(&file).expect("it is there");
            let found = data_map_by_zeros(&file, size).expect("it is read");
            assert_eq!(
                found,
                data_map(&file, &stat).expect("it is told"),
                "{number}"
            );
            let cut = data_map_by_zeros(&file, size + 1).expect_err("it is shorter");
            assert_eq!(cut.to_string(), changed().to_string());
        }
    }

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
