//! Given a directory, gives its [`Snapshot`]; never updates an access time on the way where the
//! caller may prevent it.
//!
//! As root the tree is read through a private, read-only, noatime bind mount, so not even
//! readlink(2) leaves a trace. Without that right O_NOATIME guards files and directories; a
//! symlink's record is then taken after its readlink, so that it is what the next reader sees.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata};
use std::io;
use std::ops::Range;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Mutex, PoisonError};
use std::thread;

use rustix::fs::{Advice, Mode, OFlags, SeekFrom};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};
use sha2::Digest as _;

use super::{Entry, Kind, ROOT, Snapshot, Time, outward};

/// The flags of chattr(1) that a copy can carry: `s u c S i a d A`, `j t`, `D T` and `P`, by their
/// bits in linux/fs.h. What else GETFLAGS shows describes how an inode is stored.
const CARRIED_FLAGS: u32 = 0xff | 0xc000 | 0x3_0000 | 0x2000_0000;

/// The unit of [`Digest`] in bytes; no smaller than a block that the kernel mounts.
const PAGE: u64 = 4096;

/// Bytes read at once: a multiple of [`PAGE`].
const CHUNK: usize = 1 << 20;

/// Threads that read content.
const READERS: usize = 2;

/// The longest path given to one openat(2): below PATH_MAX.
const PATH_CHUNK: usize = 4000;

/// SHA-256 over every page that is not all zero, each preceded by its offset. Holes and zeros give
/// the same digest, so a sparse file of a TiB takes no longer than its data.
type Digest = [u8; 32];

/// Which inode a path names.
type InodeKey = (u64, u64);

/// Records `dir` and everything below it on the same filesystem.
pub(super) fn tree(dir: &Path) -> io::Result<Snapshot> {
    let root = open_root(dir).map_err(|error| at(dir.as_os_str().as_bytes(), &error))?;
    let block_size = rustix::fs::fstatvfs(&root)?.f_bsize;
    let mut walk = Walk::default();
    walk.tree(&root)?;
    let Walk {
        mut entries,
        inodes,
    } = walk;
    name_links(&mut entries, &inodes);
    contents(&root, &mut entries)?;
    Ok(Snapshot {
        block_size,
        entries,
    })
}

/// The path put before the message of an error.
fn at(path: &[u8], error: &io::Error) -> io::Error {
    let path = String::from_utf8_lossy(path);
    io::Error::new(error.kind(), format!("{path}: {error}"))
}

fn directory_flags() -> OFlags {
    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOATIME | OFlags::CLOEXEC
}

/// Opens the root, behind a private bind mount where the caller may make one.
fn open_root(dir: &Path) -> io::Result<OwnedFd> {
    let plainly = || Ok(rustix::fs::open(dir, directory_flags(), Mode::empty())?);
    if !rustix::process::geteuid().is_root() {
        return plainly();
    }
    let place = tempfile::tempdir()?;
    if rustix::mount::mount_bind(dir, place.path()).is_err() {
        return plainly();
    }
    let quiet = MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOATIME;
    let opened = rustix::mount::mount_remount(place.path(), quiet, "")
        .and_then(|()| rustix::fs::open(place.path(), directory_flags(), Mode::empty()));
    // The mount leaves the namespace here and lives on behind the descriptor.
    rustix::mount::unmount(place.path(), UnmountFlags::DETACH)?;
    Ok(opened?)
}

/// What the walk has found so far.
#[derive(Default)]
struct Walk {
    entries: BTreeMap<Vec<u8>, Entry>,
    /// The inode of every path that is not a directory.
    inodes: BTreeMap<Vec<u8>, InodeKey>,
}

/// A directory found and not yet read. Its parent is held open, so no path grows too long.
struct Pending {
    parent: Rc<OwnedFd>,
    name: OsString,
    path: Vec<u8>,
}

impl Walk {
    /// Records everything but content, depth first.
    fn tree(&mut self, root: &OwnedFd) -> io::Result<()> {
        let mut pending = vec![Pending {
            parent: Rc::new(root.try_clone()?),
            name: OsString::from("."),
            path: ROOT.to_vec(),
        }];
        let (root_entry, _) = describe(root, OsStr::new(".")).map_err(|e| at(ROOT, &e))?;
        self.entries.insert(ROOT.to_vec(), root_entry);
        while let Some(directory) = pending.pop() {
            let found = self.directory(&directory);
            pending.extend(found.map_err(|error| at(&directory.path, &error))?);
        }
        Ok(())
    }

    /// Records the entries of one directory; gives the directories among them.
    fn directory(&mut self, at_hand: &Pending) -> io::Result<Vec<Pending>> {
        let flags = directory_flags() | OFlags::NOFOLLOW;
        let fd = rustix::fs::openat(&*at_hand.parent, &at_hand.name, flags, Mode::empty())?;
        let fd = Rc::new(fd);
        if let Some(entry) = self.entries.get_mut(&at_hand.path) {
            entry.flags = carried_flags(&fd)?;
        }
        let mut subdirectories = Vec::new();
        for name in names(&fd)? {
            let path = join(&at_hand.path, name.as_bytes());
            let (entry, inode) = describe(&fd, &name).map_err(|e| at(name.as_bytes(), &e))?;
            if entry.kind == Kind::Directory {
                subdirectories.push(Pending {
                    parent: Rc::clone(&fd),
                    name,
                    path: path.clone(),
                });
            } else {
                self.inodes.insert(path.clone(), inode);
            }
            self.entries.insert(path, entry);
        }
        Ok(subdirectories)
    }
}

fn join(parent: &[u8], name: &[u8]) -> Vec<u8> {
    if parent == ROOT {
        return name.to_vec();
    }
    [parent, name].join(&b'/')
}

/// The names in a directory but "." and "..".
fn names(fd: &OwnedFd) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    // Dir::read_from would open the directory anew, without O_NOATIME.
    for entry in rustix::fs::Dir::new(fd.try_clone()?)? {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(OsString::from_vec(name));
        }
    }
    Ok(names)
}

/// Everything that calls by path show about one name in an open directory.
fn describe(directory: &OwnedFd, name: &OsStr) -> io::Result<(Entry, InodeKey)> {
    let handle = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd())).join(name);
    let mut metadata = fs::symlink_metadata(&handle)?;
    let mut target = None;
    if metadata.is_symlink() {
        target = Some(fs::read_link(&handle)?.into_os_string().into_vec());
        metadata = fs::symlink_metadata(&handle)?;
    }
    let kind = kind(&metadata)?;
    let device = matches!(kind, Kind::CharDevice | Kind::BlockDevice);
    let rdev = if device { metadata.rdev() } else { 0 };
    let entry = Entry {
        kind,
        mode: metadata.mode() & 0o7777,
        uid: metadata.uid(),
        gid: metadata.gid(),
        size: metadata.size(),
        nlink: metadata.nlink(),
        first_link: None,
        rdev: (rustix::fs::major(rdev), rustix::fs::minor(rdev)),
        atime: time(metadata.atime(), metadata.atime_nsec())?,
        mtime: time(metadata.mtime(), metadata.mtime_nsec())?,
        ctime: time(metadata.ctime(), metadata.ctime_nsec())?,
        target,
        digest: None,
        data: Vec::new(),
        xattrs: xattrs(&handle)?,
        flags: None,
    };
    Ok((entry, (metadata.dev(), metadata.ino())))
}

fn time(seconds: i64, nanoseconds: i64) -> io::Result<Time> {
    let nanoseconds = u32::try_from(nanoseconds).map_err(io::Error::other)?;
    Ok(Time {
        seconds,
        nanoseconds,
    })
}

fn kind(metadata: &Metadata) -> io::Result<Kind> {
    let found = metadata.file_type();
    let kinds = [
        (found.is_file(), Kind::Regular),
        (found.is_dir(), Kind::Directory),
        (found.is_symlink(), Kind::Symlink),
        (found.is_char_device(), Kind::CharDevice),
        (found.is_block_device(), Kind::BlockDevice),
        (found.is_fifo(), Kind::Fifo),
        (found.is_socket(), Kind::Socket),
    ];
    let kind = kinds.into_iter().find(|(is, _)| *is).map(|(_, kind)| kind);
    kind.ok_or_else(|| io::Error::other("the file type is unknown"))
}

fn xattrs(handle: &Path) -> io::Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    let names = match xattr::list(handle) {
        Ok(names) => names,
        Err(error) if error.kind() == io::ErrorKind::Unsupported => return Ok(BTreeMap::new()),
        Err(error) => return Err(error),
    };
    let mut xattrs = BTreeMap::new();
    for name in names {
        let value = xattr::get(handle, &name)?;
        let value = value.ok_or_else(|| io::Error::other(format!("{name:?} has vanished")))?;
        xattrs.insert(name.into_vec(), value);
    }
    Ok(xattrs)
}

/// The flags of an open file, `None` where its filesystem has none.
fn carried_flags(fd: &OwnedFd) -> io::Result<Option<u32>> {
    match rustix::fs::ioctl_getflags(fd) {
        Ok(flags) => Ok(Some(flags.bits() & CARRIED_FLAGS)),
        Err(Errno::NOTTY | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Says of each path that shares its inode which path names that inode first.
fn name_links(entries: &mut BTreeMap<Vec<u8>, Entry>, inodes: &BTreeMap<Vec<u8>, InodeKey>) {
    let mut groups: HashMap<InodeKey, Vec<&Vec<u8>>> = HashMap::new();
    for (path, inode) in inodes {
        groups.entry(*inode).or_default().push(path);
    }
    for paths in groups.values().filter(|paths| paths.len() > 1) {
        for path in paths {
            if let Some(entry) = entries.get_mut(*path) {
                entry.first_link = Some(paths[0].clone());
            }
        }
    }
}

/// Reads flags, holes and content of every regular file.
fn contents(root: &OwnedFd, entries: &mut BTreeMap<Vec<u8>, Entry>) -> io::Result<()> {
    let regular = entries
        .iter_mut()
        .filter(|(_, entry)| entry.kind == Kind::Regular);
    let work = Mutex::new(regular.collect::<Vec<_>>().into_iter());
    let reader = || -> io::Result<()> {
        let mut buffer = vec![0; CHUNK];
        loop {
            let next = work.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some((path, entry)) = next else {
                return Ok(());
            };
            content(root, path, (entry, &mut buffer)).map_err(|error| at(path, &error))?;
        }
    };
    thread::scope(|scope| {
        let readers: Vec<_> = (0..READERS).map(|_| scope.spawn(reader)).collect();
        let mut ends = readers.into_iter().map(|reader| reader.join());
        ends.try_for_each(|end| end.unwrap_or_else(|_| Err(io::Error::other("a reader panicked"))))
    })
}

/// Completes the entry of one regular file.
fn content(
    root: &OwnedFd,
    path: &[u8],
    (entry, buffer): (&mut Entry, &mut [u8]),
) -> io::Result<()> {
    let fd = open_below(root, path)?;
    entry.flags = carried_flags(&fd)?;
    entry.data = data_ranges(&fd)?;
    let length: u64 = entry.data.iter().map(|range| range.end - range.start).sum();
    if length < entry.size {
        // Readahead into a preallocated range would make SEEK_DATA call it data from then on.
        rustix::fs::fadvise(&fd, 0, None, Advice::Random)?;
    }
    entry.digest = Some(digest(&File::from(fd), entry, buffer)?);
    Ok(())
}

/// Opens a path of any length.
fn open_below(root: &OwnedFd, path: &[u8]) -> io::Result<OwnedFd> {
    let mut directory = root.try_clone()?;
    let mut rest = path;
    while rest.len() > PATH_CHUNK {
        let slash = rest[..PATH_CHUNK].iter().rposition(|byte| *byte == b'/');
        let slash = slash.ok_or_else(|| io::Error::other("a name is longer than a path"))?;
        let flags = directory_flags() | OFlags::NOFOLLOW;
        directory = rustix::fs::openat(&directory, &rest[..slash], flags, Mode::empty())?;
        rest = &rest[slash + 1..];
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NOATIME | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(&directory, rest, flags, Mode::empty())?)
}

/// The ranges that SEEK_DATA and SEEK_HOLE call data.
fn data_ranges(fd: &OwnedFd) -> io::Result<Vec<Range<u64>>> {
    let mut ranges = Vec::new();
    let mut position = 0;
    loop {
        let start = match rustix::fs::seek(fd, SeekFrom::Data(position)) {
            Ok(start) => start,
            Err(Errno::NXIO) => return Ok(ranges),
            Err(error) => return Err(error.into()),
        };
        position = rustix::fs::seek(fd, SeekFrom::Hole(start))?;
        ranges.push(start..position);
    }
}

/// The [`Digest`] of a file whose data ranges are known.
fn digest(file: &File, entry: &Entry, buffer: &mut [u8]) -> io::Result<Digest> {
    let page = usize::try_from(PAGE).map_err(io::Error::other)?;
    let zeros = [0; 4096];
    let mut sha = sha2::Sha256::new();
    for range in outward(&entry.data, PAGE) {
        let end = range.end.min(entry.size);
        let mut offset = range.start;
        while offset < end {
            let left = usize::try_from(end - offset).unwrap_or(usize::MAX);
            let chunk = left.min(buffer.len());
            let chunk = &mut buffer[..chunk];
            file.read_exact_at(chunk, offset)?;
            for (bytes, start) in chunk.chunks(page).zip((offset..).step_by(page)) {
                if bytes != &zeros[..bytes.len()] {
                    sha.update(start.to_le_bytes());
                    sha.update(bytes);
                }
            }
            offset += u64::try_from(chunk.len()).map_err(io::Error::other)?;
        }
    }
    Ok(sha.finalize().into())
}
