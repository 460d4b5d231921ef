//! Given a directory and a name in it, gives what the system says of the file by its path, for systems
//! without `openat`; never follows a symbolic link or junction below the directory that it began with.
//!
//! A directory that is replaced by another between two calls leads elsewhere: what is asked of a file
//! says which file it is, so that whoever asks twice notices.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::stat::{FileType, Stat};
use crate::units::Timestamp;

/// Whether a walk may come to a directory that lies in itself: some servers and drivers show one.
pub(crate) const MAY_LIE_IN_ITSELF: bool = true;

/// A file or directory of the host that is open, with its path.
#[derive(Debug)]
pub(crate) struct HostHandle {
    file: File,
    /// What it was when it was opened.
    found: Stat,
    path: PathBuf,
    /// The path that the walk began with.
    root: Arc<Path>,
}

impl Deref for HostHandle {
    type Target = File;

    fn deref(&self) -> &File {
        &self.file
    }
}

/// The file itself.
pub(crate) fn into_file(handle: HostHandle) -> File {
    handle.file
}

/// Opens the directory `path`, which may lead through symbolic links.
///
/// Where the system has them, all below has the long form of a path: no path is too long then, and no
/// name is a device's.
pub(crate) fn open_directory(path: &Path) -> io::Result<HostHandle> {
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let root = Arc::from(path.as_path());
    opened(path, root, FileType::Directory)
}

/// Opens the directory `name` in `parent`; a symbolic link is an error.
pub(crate) fn open_directory_at(parent: &HostHandle, name: &[u8]) -> io::Result<HostHandle> {
    let path = match name {
        b".." => parent.path.parent().ok_or_else(other_type)?.to_owned(),
        name => below(parent, name)?,
    };
    opened(path, Arc::clone(&parent.root), FileType::Directory)
}

/// Opens the regular file `name` in `parent` for reading; a symbolic link is an error.
pub(crate) fn open_file_at(parent: &HostHandle, name: &[u8]) -> io::Result<HostHandle> {
    opened(
        below(parent, name)?,
        Arc::clone(&parent.root),
        FileType::Regular,
    )
}

/// Gives `take` each name in a directory, in whatever order they come, with what it leads to.
///
/// # Errors
/// Where a name has no form in an image, or `take` fails.
pub(crate) fn each_name_in(
    directory: &HostHandle,
    mut take: impl FnMut(&[u8], Option<FileType>) -> io::Result<()>,
) -> io::Result<()> {
    for entry in fs::read_dir(&directory.path).map_err(unlisted)? {
        let entry = entry.map_err(unlisted)?;
        let file_type = entry.file_type().ok().and_then(file_type);
        take(bytes_of_name(&entry.file_name())?, file_type)?;
    }
    Ok(())
}

/// Why a name was not listed. WASI gives none of a directory that has one without a form in Unicode.
fn unlisted(error: io::Error) -> io::Error {
    #[cfg(target_os = "wasi")]
    if error.raw_os_error() == Some(rustix::io::Errno::ILSEQ.raw_os_error()) {
        return io::Error::other("a name in it is not valid Unicode; rename it");
    }
    error
}

/// What `name` in `parent` is, not following a symbolic link.
pub(crate) fn stat_at(parent: &HostHandle, name: &[u8]) -> io::Result<Stat> {
    host::stat_at(&below(parent, name)?)
}

/// What an open file is.
pub(crate) fn stat_of(file: &HostHandle) -> io::Result<Stat> {
    host::stat_of(&file.file)
}

/// What an open file is, however it was opened.
pub(crate) fn stat_of_file(file: &File) -> io::Result<Stat> {
    host::stat_of(file)
}

/// What an open file was when it was opened: it had to be asked then, and a question is what costs most here.
#[expect(clippy::unnecessary_wraps, reason = "elsewhere it may fail")]
pub(crate) fn stat_when_opened(file: &HostHandle) -> io::Result<Stat> {
    Ok(file.found)
}

/// The target of the symbolic link or junction `name` in `parent`, as it stands in an image.
pub(crate) fn read_link_at(parent: &HostHandle, name: &[u8]) -> io::Result<Vec<u8>> {
    let target = fs::read_link(below(parent, name)?)?;
    let target = text(target.as_os_str())?;
    if !cfg!(windows) {
        return Ok(target.into());
    }
    let (root, directory) = (
        text(parent.root.as_os_str())?,
        text(parent.path.as_os_str())?,
    );
    Ok(windows_target(target, root, directory).into())
}

/// What a link's target on Windows is in an image: slashes part its names, and where it names a place
/// below `root` by a drive, it leads there from the link's own directory, `directory`.
///
/// A junction names a place by its drive always.
fn windows_target(target: &str, root: &str, directory: &str) -> String {
    let plain = |path: &str| {
        let path = path.strip_prefix(r"\\?\").unwrap_or(path);
        path.replace('\\', "/")
    };
    let (target, root, directory) = (plain(target), plain(root), plain(directory));
    let rest_of = |path: &str| {
        let root = root.trim_end_matches('/');
        let (front, rest) = path.split_at_checked(root.len())?;
        let is_below = rest.is_empty() || rest.starts_with('/');
        (is_below && !root.is_empty() && front.eq_ignore_ascii_case(root)).then(|| {
            let names = rest.split('/').filter(|name| !name.is_empty());
            names.map(str::to_owned).collect::<Vec<_>>()
        })
    };
    let (Some(to), Some(from)) = (rest_of(&target), rest_of(&directory)) else {
        return target;
    };
    let same = to.iter().zip(&from).take_while(|(to, from)| to == from);
    let shared = same.count();
    let up = from.iter().skip(shared).map(|_| "..".to_owned());
    let names: Vec<String> = up.chain(to.iter().skip(shared).cloned()).collect();
    if names.is_empty() {
        ".".to_owned()
    } else {
        names.join("/")
    }
}

/// The names of an open file's extended attributes: no system here has some that an image could hold.
#[expect(clippy::unnecessary_wraps, reason = "elsewhere it may fail")]
pub(crate) fn xattr_names(_file: &HostHandle) -> io::Result<Vec<Vec<u8>>> {
    Ok(Vec::new())
}

/// The value of an open file's extended attribute: there is none.
#[expect(clippy::unnecessary_wraps, reason = "elsewhere it may fail")]
pub(crate) fn xattr(_file: &HostHandle, _name: &[u8]) -> io::Result<Option<Vec<u8>>> {
    Ok(None)
}

/// As [`xattr_names`], by a path.
#[expect(clippy::unnecessary_wraps, reason = "elsewhere it may fail")]
pub(crate) fn xattr_names_at(_path: &Path) -> io::Result<Vec<Vec<u8>>> {
    Ok(Vec::new())
}

/// As [`xattr()`], by a path.
#[expect(clippy::unnecessary_wraps, reason = "elsewhere it may fail")]
pub(crate) fn xattr_at(_path: &Path, _name: &[u8]) -> io::Result<Option<Vec<u8>>> {
    Ok(None)
}

/// As [`xattr_names`], by a directory and a name.
#[expect(clippy::unnecessary_wraps, reason = "elsewhere it may fail")]
pub(crate) fn xattr_names_below(_parent: &HostHandle, _name: &[u8]) -> io::Result<Vec<Vec<u8>>> {
    Ok(Vec::new())
}

/// As [`xattr()`], by a directory and a name.
#[expect(clippy::unnecessary_wraps, reason = "elsewhere it may fail")]
pub(crate) fn xattr_below(
    _parent: &HostHandle,
    _name: &[u8],
    _attribute: &[u8],
) -> io::Result<Option<Vec<u8>>> {
    Ok(None)
}

/// Whether the attributes of what is not opened can be asked for in an open directory: there are none.
pub(crate) fn has_proc(_directory: &HostHandle) -> bool {
    true
}

/// Whether the system is asked for names below a directory: it is not.
pub(crate) fn has_xattr_names_in(_directory: &HostHandle) -> bool {
    false
}

/// As [`xattr_names`], by a directory and a name.
#[expect(clippy::unnecessary_wraps, reason = "elsewhere it may fail")]
pub(crate) fn xattr_names_in(_parent: &HostHandle, _name: &[u8]) -> io::Result<Vec<Vec<u8>>> {
    Ok(Vec::new())
}

/// The flags that `lsattr` shows: there are none.
#[expect(clippy::unnecessary_wraps, reason = "elsewhere it may fail")]
pub(crate) fn attribute_flags(_file: &HostHandle) -> io::Result<u32> {
    Ok(0)
}

/// Whether the system keeps an extended attribute to itself: there are none.
pub(crate) fn means_kept_back(_error: &io::Error) -> bool {
    false
}

/// Whether a file was not opened because it is something else than was asked for.
pub(crate) fn means_other_type(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotADirectory
}

/// The path that bytes are, if they are UTF-8.
pub(crate) fn path_of_bytes(bytes: &[u8]) -> Option<PathBuf> {
    std::str::from_utf8(bytes).ok().map(PathBuf::from)
}

/// The bytes that a name has in an image: UTF-8.
///
/// # Errors
/// Where the name has no such form, as half of a surrogate pair has not.
pub(crate) fn bytes_of_name(name: &OsStr) -> io::Result<&[u8]> {
    text(name).map(str::as_bytes)
}

fn text(name: &OsStr) -> io::Result<&str> {
    name.to_str().ok_or_else(|| {
        let shown = name.display();
        io::Error::other(format!("the name {shown} is not valid Unicode; rename it"))
    })
}

fn other_type() -> io::Error {
    io::ErrorKind::NotADirectory.into()
}

/// The path of `name` in `parent`.
fn below(parent: &HostHandle, name: &[u8]) -> io::Result<PathBuf> {
    // What was listed is UTF-8, and one name. No other shall lead out of the directory.
    let name = std::str::from_utf8(name).ok();
    let is_one = |name: &&str| {
        let mut parts = Path::new(name).components();
        let first = parts.next();
        matches!(first, Some(std::path::Component::Normal(part)) if part == *name)
            && parts.next().is_none()
    };
    let name = name.filter(|name| *name == "." || is_one(name));
    Ok(parent.path.join(name.ok_or(io::ErrorKind::NotFound)?))
}

fn opened(path: PathBuf, root: Arc<Path>, needed: FileType) -> io::Result<HostHandle> {
    let (file, found) = host::open(&path, needed)?;
    Ok(HostHandle {
        file,
        found,
        path,
        root,
    })
}

/// What the standard library calls it; nothing of what only Unix has.
fn file_type(found: fs::FileType) -> Option<FileType> {
    if found.is_symlink() {
        Some(FileType::Symlink)
    } else if found.is_dir() {
        Some(FileType::Directory)
    } else if found.is_file() {
        Some(FileType::Regular)
    } else {
        None
    }
}

/// What a file without owner and mode has in an image: it is root's, and who may read it may read it
/// there. All its times are the one at which it was last written, since reading it changes another.
fn without_owner(file_type: FileType, is_read_only: bool, written: Timestamp) -> Stat {
    let permissions = match file_type {
        FileType::Directory => 0o755,
        FileType::Symlink => 0o777,
        _ if is_read_only => 0o444,
        _ => 0o644,
    };
    Stat {
        dev: 0,
        ino: 0,
        file_type,
        permissions,
        links: 1,
        uid: 0,
        gid: 0,
        device: (0, 0),
        size_bytes: 0,
        allocated_bytes: 0,
        atime: written,
        mtime: written,
        ctime: written,
    }
}

/// A time of Windows: so many times 100 ns since 1601. 0 is none, and becomes 1970.
#[cfg(any(windows, test))]
fn timestamp_of_windows(ticks: u64) -> Timestamp {
    const TICKS: u64 = 10_000_000;
    const FROM_1601_TO_1970: i64 = 11_644_473_600;
    if ticks == 0 {
        return Timestamp::default();
    }
    let seconds = i64::try_from(ticks / TICKS).unwrap_or(i64::MAX);
    Timestamp {
        seconds: seconds - FROM_1601_TO_1970,
        nanoseconds: u32::try_from(ticks % TICKS * 100).unwrap_or(0),
    }
}

#[cfg(windows)]
mod host {
    use std::fs::{File, OpenOptions};
    use std::io;
    use std::os::windows::fs::OpenOptionsExt;
    use std::path::Path;

    use winapi_util::file::{Information, information};

    use super::{other_type, timestamp_of_windows, without_owner};
    use crate::sys::stat::{FileType, Stat};

    // winbase.h and winnt.h.
    const FILE_FLAG_OPEN_REPARSE_POINT: u32 = 0x0020_0000;
    const FILE_FLAG_BACKUP_SEMANTICS: u32 = 0x0200_0000;
    const FILE_ATTRIBUTE_READONLY: u64 = 0x1;
    const FILE_ATTRIBUTE_DIRECTORY: u64 = 0x10;
    const FILE_ATTRIBUTE_SPARSE_FILE: u64 = 0x200;
    const FILE_ATTRIBUTE_REPARSE_POINT: u64 = 0x400;

    /// Opens what is at `path` itself, where it is what is `needed` and no link.
    pub(super) fn open(path: &Path, needed: FileType) -> io::Result<(File, Stat)> {
        let (file, found) = open_any(path)?;
        let found = stat(&found, false);
        if found.file_type == needed {
            Ok((file, found))
        } else {
            Err(other_type())
        }
    }

    fn open_any(path: &Path) -> io::Result<(File, Information)> {
        let mut options = OpenOptions::new();
        options.read(true);
        // A directory is opened only so; it may be where a file was.
        let flags = FILE_FLAG_BACKUP_SEMANTICS;
        let file = options
            .custom_flags(flags | FILE_FLAG_OPEN_REPARSE_POINT)
            .open(path)?;
        let before = information(&file)?;
        if before.file_attributes() & FILE_ATTRIBUTE_REPARSE_POINT == 0 {
            return Ok((file, before));
        }
        if file.metadata()?.is_symlink() {
            return Err(other_type());
        }
        // What is no link and kept elsewhere, as by deduplication or in a cloud, is fetched only so.
        let fetched = options.custom_flags(flags).open(path)?;
        let now = information(&fetched)?;
        let identity = |found: &Information| (found.volume_serial_number(), found.file_index());
        if identity(&before) == identity(&now) {
            Ok((fetched, now))
        } else {
            Err(other_type())
        }
    }

    /// What is at `path` itself. Nobody has to be allowed to read it for that.
    pub(super) fn stat_at(path: &Path) -> io::Result<Stat> {
        let mut options = OpenOptions::new();
        options.access_mode(0);
        options.custom_flags(FILE_FLAG_BACKUP_SEMANTICS | FILE_FLAG_OPEN_REPARSE_POINT);
        stat_of(&options.open(path)?)
    }

    pub(super) fn stat_of(file: &File) -> io::Result<Stat> {
        let found = information(file)?;
        let may_be_link = found.file_attributes() & FILE_ATTRIBUTE_REPARSE_POINT != 0;
        Ok(stat(&found, may_be_link && file.metadata()?.is_symlink()))
    }

    fn stat(found: &Information, is_link: bool) -> Stat {
        let has = |attribute| found.file_attributes() & attribute != 0;
        let size_bytes = found.file_size();
        let file_type = if is_link {
            FileType::Symlink
        } else if has(FILE_ATTRIBUTE_DIRECTORY) {
            FileType::Directory
        } else {
            FileType::Regular
        };
        let written = timestamp_of_windows(found.last_write_time().unwrap_or(0));
        Stat {
            dev: found.volume_serial_number(),
            ino: found.file_index(),
            links: found.number_of_links(),
            size_bytes: match file_type {
                FileType::Regular => size_bytes,
                _ => 0,
            },
            // FSCTL_QUERY_ALLOCATED_RANGES would say how much, which nothing asks without unsafe code.
            allocated_bytes: if has(FILE_ATTRIBUTE_SPARSE_FILE) {
                0
            } else {
                size_bytes
            },
            ..without_owner(file_type, has(FILE_ATTRIBUTE_READONLY), written)
        }
    }
}

#[cfg(any(unix, target_os = "wasi"))]
mod host {
    use std::fs::File;
    use std::io;
    use std::path::Path;

    use rustix::fs::{FileType as Kind, fstat, lstat};

    use super::{other_type, without_owner};
    use crate::sys::stat::{FileType, Stat};
    use crate::units::Timestamp;

    /// Opens what is at `path`, and notices where a link replaces it in between.
    pub(super) fn open(path: &Path, needed: FileType) -> io::Result<(File, Stat)> {
        let before = stat_at(path)?;
        if before.file_type != needed {
            return Err(other_type());
        }
        let file = File::open(path)?;
        let found = stat_of(&file)?;
        let identity = |found: &Stat| (found.dev, found.ino, found.file_type);
        if identity(&before) == identity(&found) {
            Ok((file, found))
        } else {
            Err(other_type())
        }
    }

    pub(super) fn stat_at(path: &Path) -> io::Result<Stat> {
        stat(&lstat(path)?)
    }

    pub(super) fn stat_of(file: &File) -> io::Result<Stat> {
        stat(&fstat(file)?)
    }

    #[allow(
        clippy::unnecessary_fallible_conversions,
        clippy::useless_conversion,
        reason = "which integers these are differs from system to system"
    )]
    pub(super) fn stat(found: &rustix::fs::Stat) -> io::Result<Stat> {
        let file_type = match Kind::from_raw_mode(found.st_mode) {
            Kind::RegularFile => FileType::Regular,
            Kind::Directory => FileType::Directory,
            Kind::Symlink => FileType::Symlink,
            _ => {
                let needed = "it is neither a regular file nor a directory nor a symbolic link";
                return Err(io::Error::other(needed));
            }
        };
        // wasm knows no modes.
        let is_read_only = cfg!(unix) && found.st_mode & 0o222 == 0;
        #[cfg(unix)]
        let (seconds, nanoseconds) = (found.st_mtime, found.st_mtime_nsec);
        #[cfg(not(unix))]
        let (seconds, nanoseconds) = (found.st_mtim.tv_sec, found.st_mtim.tv_nsec);
        let written = Timestamp {
            seconds,
            nanoseconds: u32::try_from(nanoseconds).unwrap_or(0),
        };
        let size_bytes = u64::try_from(found.st_size).unwrap_or(0);
        // A host may number no file: then nothing tells two of them apart, and none is taken for another.
        let has_number = found.st_ino != 0;
        let (dev, links) = (u64::try_from(found.st_dev), found.st_nlink.into());
        Ok(Stat {
            dev: dev.ok().filter(|_| has_number).unwrap_or(0),
            ino: found.st_ino,
            links: if has_number { links } else { 1 },
            size_bytes,
            allocated_bytes: size_bytes,
            ..without_owner(file_type, is_read_only, written)
        })
    }
}

/// Where there are no files.
#[cfg(not(any(unix, windows, target_os = "wasi")))]
mod host {
    use std::fs::File;
    use std::io;
    use std::path::Path;

    use crate::sys::stat::{FileType, Stat};

    pub(super) fn open(_path: &Path, _needed: FileType) -> io::Result<(File, Stat)> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn stat_at(_path: &Path) -> io::Result<Stat> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn stat_of(_file: &File) -> io::Result<Stat> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a system with `openat` says of the same files.
    #[cfg(unix)]
    #[test]
    fn a_path_tells_what_a_descriptor_tells() {
        use std::collections::BTreeMap;

        use crate::sys::unix;

        let directory = tempfile::tempdir().expect("a directory");
        let path = |name: &str| directory.path().join(name);
        fs::create_dir(path("below")).expect("a directory");
        fs::write(path("file"), b"some bytes").expect("a file");
        fs::write(path("below/\u{e4}\u{1f427}"), b"").expect("a file");
        fs::hard_link(path("file"), path("below/again")).expect("a link");
        fs::write(path("read-only"), b"r").expect("a file");
        let mut permissions = fs::metadata(path("read-only")).expect("it").permissions();
        permissions.set_readonly(true);
        fs::set_permissions(path("read-only"), permissions).expect("permissions");
        std::os::unix::fs::symlink("below/../file", path("link")).expect("a link");
        std::os::unix::fs::symlink("below", path("to directory")).expect("a link");
        let old = File::open(path("file")).expect("a file");
        let past = std::time::UNIX_EPOCH - std::time::Duration::from_nanos(1_500_000_001);
        old.set_modified(past).expect("a time");

        let (ours, theirs) = (
            open_directory(directory.path()).expect("a directory"),
            unix::open_directory(directory.path()).expect("a directory"),
        );
        let below = b"below";
        for (ours, theirs) in [
            (
                &open_directory_at(&ours, below).expect("it"),
                &unix::open_directory_at(&theirs, below).expect("it"),
            ),
            (&ours, &theirs),
        ] {
            let (mut found, mut expected) = (BTreeMap::new(), BTreeMap::new());
            let mut take = |name: &[u8], file_type| {
                found.insert(name.to_vec(), file_type);
                Ok(())
            };
            each_name_in(ours, &mut take).expect("names");
            let mut take = |name: &[u8], file_type| {
                expected.insert(name.to_vec(), file_type);
                Ok(())
            };
            unix::each_name_in(theirs, &mut take).expect("names");
            assert_eq!(found, expected);
            for name in found.keys() {
                compare(ours, theirs, name);
            }
        }
        let back = open_directory_at(&open_directory_at(&ours, below).expect("it"), b"..");
        let back = stat_of(&back.expect("the directory above")).expect("it");
        assert_eq!(back.ino, stat_of(&ours).expect("it").ino);
    }

    #[cfg(unix)]
    fn compare(ours: &HostHandle, theirs: &File, name: &[u8]) {
        use crate::sys::unix;

        let found = stat_at(ours, name).expect("it is there");
        let expected = unix::stat_at(theirs, name).expect("it is there");
        let told = |stat: &Stat| {
            let size = match stat.file_type {
                FileType::Regular => stat.size_bytes,
                _ => 0,
            };
            let file = (stat.dev, stat.ino, stat.file_type, stat.links);
            (file, size, stat.mtime, stat.device)
        };
        assert_eq!(told(&found), told(&expected));
        assert_eq!((found.uid, found.gid), (0, 0));
        assert_eq!([found.atime, found.ctime], [found.mtime; 2]);
        let permissions = match (found.file_type, name) {
            (FileType::Directory, _) => 0o755,
            (FileType::Symlink, _) => 0o777,
            (_, b"read-only") => 0o444,
            _ => 0o644,
        };
        assert_eq!(found.permissions, permissions);
        let (file, directory) = (open_file_at(ours, name), open_directory_at(ours, name));
        let is_other = |handle: io::Result<HostHandle>| {
            means_other_type(&handle.expect_err("it is something else"))
        };
        match found.file_type {
            FileType::Regular => {
                let file = file.expect("a file");
                assert_eq!(told(&stat_of(&file).expect("it")), told(&expected));
                let mut bytes = vec![0; usize::try_from(found.size_bytes).expect("a size")];
                crate::sys::read_exact_at(&file, 0, &mut bytes).expect("bytes");
                let read = fs::read(&file.path).expect("bytes");
                assert_eq!(bytes, read);
                assert!(is_other(directory));
            }
            FileType::Directory => {
                directory.expect("a directory");
                assert!(is_other(file));
            }
            _ => {
                let target = unix::read_link_at(theirs, name).expect("a target");
                assert_eq!(read_link_at(ours, name).expect("a target"), target);
                assert!(is_other(directory));
                assert!(is_other(file));
            }
        }
    }

    #[cfg(unix)]
    #[test]
    fn files_without_numbers_are_not_one() {
        let directory = tempfile::tempdir().expect("a directory");
        fs::write(directory.path().join("file"), b"").expect("a file");
        fs::hard_link(
            directory.path().join("file"),
            directory.path().join("again"),
        )
        .expect("a link");
        let mut found = rustix::fs::stat(directory.path().join("file")).expect("it is there");
        let told = |found: &rustix::fs::Stat| {
            let found = host::stat(found).expect("it is a file");
            (found.dev, found.ino, found.links)
        };
        let (dev, ino, links) = told(&found);
        assert!(dev != 0 && ino != 0 && links == 2);
        found.st_ino = 0;
        assert_eq!(told(&found), (0, 0, 1));
    }

    #[cfg(unix)]
    #[test]
    fn what_an_image_cannot_call_so_is_refused_by_name() {
        use std::os::unix::ffi::OsStrExt;

        let directory = tempfile::tempdir().expect("a directory");
        let name = OsStr::from_bytes(b"half\xff");
        fs::write(directory.path().join(name), b"").expect("a file");
        let handle = open_directory(directory.path()).expect("a directory");
        let refused = each_name_in(&handle, |_, _| Ok(())).expect_err("no such name");
        let text = "the name half\u{fffd} is not valid Unicode; rename it";
        assert_eq!(refused.to_string(), text);
    }

    #[test]
    fn names_do_not_lead_out_of_their_directory() {
        let directory = tempfile::tempdir().expect("a directory");
        fs::write(directory.path().join("file"), b"").expect("a file");
        let handle = open_directory(directory.path()).expect("a directory");
        assert!(stat_at(&handle, b"file").is_ok());
        for name in [&b""[..], b"..", b"../file", b"./file", b"/", b"file\xff"] {
            let missing = stat_at(&handle, name).expect_err("no name");
            assert_eq!(missing.kind(), io::ErrorKind::NotFound, "{name:?}");
        }
    }

    /// What `read_link` says on Windows, with what it read: the substitute name of a reparse buffer, of
    /// which it takes `\??\` away where what remains is a path without it.
    #[test]
    fn links_of_windows_lead_to_the_same_place_in_an_image() {
        let root = r"\\?\C:\tree\src";
        for (target, directory, expected) in [
            // IO_REPARSE_TAG_SYMLINK with SYMLINK_FLAG_RELATIVE.
            ("file", r"\\?\C:\tree\src", "file"),
            (r"..\lib\x", r"\\?\C:\tree\src\a", "../lib/x"),
            (r"\rooted", r"\\?\C:\tree\src", "/rooted"),
            // IO_REPARSE_TAG_MOUNT_POINT, and IO_REPARSE_TAG_SYMLINK without the flag.
            (r"C:\tree\src\lib", r"\\?\C:\tree\src", "lib"),
            (r"C:\tree\src\lib\x", r"\\?\C:\tree\src\a\b", "../../lib/x"),
            (r"C:\tree\src\a\b", r"\\?\C:\tree\src\a", "b"),
            (r"c:\TREE\src\a\", r"\\?\C:\tree\src\a\b", ".."),
            (r"C:\tree\src", r"\\?\C:\tree\src", "."),
            (r"\\?\C:\tree\src\lib", r"\\?\C:\tree\src", "lib"),
            (r"C:\tree\srclib", r"\\?\C:\tree\src", "C:/tree/srclib"),
            (r"D:\tree\src\lib", r"\\?\C:\tree\src", "D:/tree/src/lib"),
            (r"\\server\share\x", r"\\?\C:\tree\src", "//server/share/x"),
            (
                r"\\?\Volume{4c1b02c1}\",
                r"\\?\C:\tree\src",
                "Volume{4c1b02c1}/",
            ),
        ] {
            assert_eq!(
                windows_target(target, root, directory),
                expected,
                "{target}"
            );
        }
    }

    /// The same from recorded reparse buffers.
    #[test]
    fn links_of_windows_lead_to_the_same_place_from_what_a_disk_holds() {
        // A junction, as Windows makes one to C:\Users: the substitute name comes first.
        let junction = [
            [3, 0, 0, 0xa0, 0x34, 0, 0, 0].as_slice(),
            &[0, 0, 0x18, 0, 0x1a, 0, 0x10, 0],
            &wide("\\??\\C:\\Users\0C:\\Users\0"),
        ]
        .concat();
        // A symbolic link made by mklink with an absolute target: the print name comes first.
        let absolute = [
            [0xc, 0, 0, 0xa0, 0x68, 0, 0, 0].as_slice(),
            &[0x2a, 0, 0x32, 0, 0, 0, 0x2a, 0, 0, 0, 0, 0],
            &wide("x:\\testdir1\\testfile1\\??\\x:\\testdir1\\testfile1"),
        ]
        .concat();
        // One with a relative target.
        let relative = [
            [0xc, 0, 0, 0xa0, 0x2c, 0, 0, 0].as_slice(),
            &[0x10, 0, 0x10, 0, 0, 0, 0x10, 0, 1, 0, 0, 0],
            &wide("..\\lib\\x..\\lib\\x"),
        ]
        .concat();
        for (buffer, root, directory, expected) in [
            (&junction, r"\\?\D:\tree", r"\\?\D:\tree\a", "C:/Users"),
            (&junction, r"\\?\C:\", r"\\?\C:\a", "../Users"),
            (
                &absolute,
                r"\\?\X:\testdir1",
                r"\\?\X:\testdir1\sub",
                "../testfile1",
            ),
            (
                &absolute,
                r"\\?\C:\tree",
                r"\\?\C:\tree",
                "x:/testdir1/testfile1",
            ),
            (&relative, r"\\?\C:\tree", r"\\?\C:\tree\a", "../lib/x"),
        ] {
            let target = as_read_link_says(buffer).expect("it is a link");
            assert_eq!(
                windows_target(&target, root, directory),
                expected,
                "{target}"
            );
        }
        // What deduplication leaves is no link.
        assert_eq!(as_read_link_says(&[0x13, 0, 0, 0x80, 0, 0, 0, 0]), None);
    }

    fn wide(text: &str) -> Vec<u8> {
        text.encode_utf16().flat_map(u16::to_le_bytes).collect()
    }

    /// What the standard library's `read_link` makes of a reparse buffer (Microsoft's MS-FSCC, 2.1.2): the
    /// substitute name, and of an absolute one the path that users write.
    fn as_read_link_says(buffer: &[u8]) -> Option<String> {
        let short = |at: usize| {
            Some(usize::from(u16::from_le_bytes([
                *buffer.get(at)?,
                *buffer.get(at + 1)?,
            ])))
        };
        assert_eq!(short(4)? + 8, buffer.len(), "the length of the data");
        let names = match buffer.first_chunk()? {
            [3, 0, 0, 0xa0] => 16,
            [0xc, 0, 0, 0xa0] => 20,
            _ => return None,
        };
        let is_relative = names == 20 && buffer[16] & 1 != 0;
        let start = names + short(8)?;
        let name = buffer.get(start..start + short(10)?)?;
        let units: Vec<u16> = (0..name.len() / 2)
            .map(|at| u16::from_le_bytes([name[2 * at], name[2 * at + 1]]))
            .collect();
        let name = String::from_utf16(&units).ok()?;
        Some(match name.strip_prefix(r"\??\") {
            Some(path) if !is_relative => path.to_owned(),
            _ => name,
        })
    }

    #[test]
    fn times_of_windows_become_those_of_unix() {
        let at = |seconds, nanoseconds| Timestamp {
            seconds,
            nanoseconds,
        };
        for (ticks, expected) in [
            (0, at(0, 0)),
            (1, at(-11_644_473_600, 100)),
            (116_444_736_000_000_000, at(0, 0)),
            (116_444_735_999_999_999, at(-1, 999_999_900)),
            (133_444_736_001_234_567, at(1_700_000_000, 123_456_700)),
        ] {
            assert_eq!(timestamp_of_windows(ticks), expected, "{ticks}");
        }
    }

    #[test]
    fn files_of_nobody_are_roots() {
        let written = Timestamp::from_seconds(7);
        for (file_type, is_read_only, permissions) in [
            (FileType::Regular, false, 0o644),
            (FileType::Regular, true, 0o444),
            (FileType::Directory, false, 0o755),
            (FileType::Directory, true, 0o755),
            (FileType::Symlink, false, 0o777),
            (FileType::Symlink, true, 0o777),
        ] {
            let stat = without_owner(file_type, is_read_only, written);
            assert_eq!(stat.permissions, permissions, "{file_type:?}");
            assert_eq!((stat.uid, stat.gid, stat.links), (0, 0, 1));
            assert_eq!([stat.atime, stat.ctime], [written; 2]);
        }
    }
}
