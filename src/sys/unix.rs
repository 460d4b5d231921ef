//! Given a question for a Unix kernel, gives its answer; never keeps anything.
//!
//! This file holds all of the crate's `unsafe` and all of nix: each function below is safe to call
//! and hands back a plain [`io::Result`]. What only Linux has, `portable` answers for the others.
#![allow(unsafe_code)]

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag};
use nix::sys::stat::{FileStat, Mode, SFlag};
use nix::unistd::{SysconfVar, sysconf};
use xattr::FileExt;

use super::stat::{FileType, Stat};
use crate::units::Timestamp;

/// The size of a memory page in bytes.
pub(crate) fn page_size() -> u64 {
    sysconf(SysconfVar::PAGE_SIZE)
        .ok()
        .flatten()
        .and_then(|size| u64::try_from(size).ok())
        .unwrap_or(4096)
}

/// The user that the kernel takes this process for.
pub(crate) fn effective_user() -> u32 {
    nix::unistd::geteuid().as_raw()
}

/// The host's name, as the kernel has it.
pub(crate) fn host_name() -> io::Result<Vec<u8>> {
    Ok(nix::unistd::gethostname()?.into_vec())
}

/// Opens a device or file for reading and writing, and for nobody else.
///
/// On Linux a block device that is mounted or otherwise claimed answers `ResourceBusy`; the claim
/// holds until the file is closed. A regular file is merely opened.
pub(crate) fn open_exclusive(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(OFlag::O_EXCL.bits())
        .open(path)
}

/// Whether this process's user may write to `path`.
pub(crate) fn may_write(path: &Path) -> bool {
    nix::unistd::access(path, nix::unistd::AccessFlags::W_OK).is_ok()
}

/// A file or directory of the host that is open, from which others are reached.
pub(crate) type HostHandle = File;

/// The file itself.
pub(crate) fn into_file(handle: HostHandle) -> File {
    handle
}

/// Whether a walk may come to a directory that lies in itself. Here none does: no link is followed, and
/// what is mounted in itself is another mount there.
pub(crate) const MAY_LIE_IN_ITSELF: bool = false;

/// What a directory is opened for: its names, or paths below it.
fn directory_flags() -> OFlag {
    OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC
}

/// Opens the directory `path`, which may lead through symbolic links.
pub(crate) fn open_directory(path: &Path) -> io::Result<File> {
    open_unnoticed(AT_FDCWD, path.as_os_str().as_bytes(), directory_flags())
}

/// Opens the directory `name` in `parent`; a symbolic link is an error.
pub(crate) fn open_directory_at(parent: impl AsFd, name: &[u8]) -> io::Result<File> {
    open_unnoticed(parent, name, directory_flags() | OFlag::O_NOFOLLOW)
}

/// Opens the regular file `name` in `parent` for reading; a symbolic link is an error.
///
/// Should a pipe or device have taken the file's place, this neither waits nor becomes its terminal:
/// the caller finds out by [`stat_of`].
pub(crate) fn open_file_at(parent: impl AsFd, name: &[u8]) -> io::Result<File> {
    let flags = OFlag::O_RDONLY
        | OFlag::O_CLOEXEC
        | OFlag::O_NOFOLLOW
        | OFlag::O_NONBLOCK
        | OFlag::O_NOCTTY;
    open_unnoticed(parent, name, flags)
}

/// Opens so that reading leaves the access time alone, if the caller may (owner or CAP_FOWNER).
fn open_unnoticed(parent: impl AsFd, name: &[u8], flags: OFlag) -> io::Result<File> {
    #[cfg(target_os = "linux")]
    match open(&parent, name, flags | OFlag::O_NOATIME) {
        Err(Errno::EPERM) => {}
        answer => return Ok(answer?.into()),
    }
    Ok(open(&parent, name, flags)?.into())
}

fn open(parent: impl AsFd, name: &[u8], flags: OFlag) -> nix::Result<OwnedFd> {
    loop {
        match nix::fcntl::openat(&parent, name, flags, Mode::empty()) {
            Err(Errno::EINTR) => {}
            answer => return answer,
        }
    }
}

/// Gives `take` each name in a directory that was just opened, but `.` and `..`, in whatever order they
/// come, with what it leads to, where the directory tells.
pub(crate) fn each_name_in(
    directory: &File,
    mut take: impl FnMut(&[u8], Option<FileType>) -> io::Result<()>,
) -> io::Result<()> {
    for entry in Dir::from_fd(directory.try_clone()?.into())? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            take(name, entry.file_type().map(FileType::from))?;
        }
    }
    Ok(())
}

impl From<nix::dir::Type> for FileType {
    fn from(listed: nix::dir::Type) -> Self {
        use nix::dir::Type;
        match listed {
            Type::Directory => Self::Directory,
            Type::File => Self::Regular,
            Type::Symlink => Self::Symlink,
            Type::CharacterDevice => Self::CharDevice,
            Type::BlockDevice => Self::BlockDevice,
            Type::Fifo => Self::Fifo,
            Type::Socket => Self::Socket,
        }
    }
}

/// What `name` in `parent` is, not following a symbolic link.
pub(crate) fn stat_at(parent: impl AsFd, name: &[u8]) -> io::Result<Stat> {
    stat(&nix::sys::stat::fstatat(
        parent,
        name,
        AtFlags::AT_SYMLINK_NOFOLLOW,
    )?)
}

/// What an open file is.
pub(crate) fn stat_of(file: impl AsFd) -> io::Result<Stat> {
    stat(&nix::sys::stat::fstat(file)?)
}

/// Whether every write to the file goes to its end, wherever it shall go.
pub(crate) fn writes_to_end(file: &File) -> io::Result<bool> {
    let flags = nix::fcntl::fcntl(file, nix::fcntl::FcntlArg::F_GETFL)?;
    Ok(OFlag::from_bits_retain(flags).contains(OFlag::O_APPEND))
}

/// What an open file is, however it was opened.
pub(crate) fn stat_of_file(file: &File) -> io::Result<Stat> {
    stat_of(file)
}

/// What an open file was when it was opened: it is asked now, which is the same to whoever asks at once.
pub(crate) fn stat_when_opened(file: impl AsFd) -> io::Result<Stat> {
    stat_of(file)
}

fn stat(raw: &FileStat) -> io::Result<Stat> {
    let mode = raw.st_mode;
    Ok(Stat {
        dev: number(raw.st_dev)?,
        ino: number(raw.st_ino)?,
        file_type: file_type(SFlag::from_bits_truncate(mode) & SFlag::S_IFMT)?,
        permissions: number(mode & 0o7777)?,
        links: number(raw.st_nlink)?,
        uid: raw.st_uid,
        gid: raw.st_gid,
        device: device_numbers(raw)?,
        size_bytes: number(raw.st_size)?,
        allocated_bytes: number::<_, u64>(raw.st_blocks)?.saturating_mul(512),
        atime: timestamp(raw.st_atime, raw.st_atime_nsec)?,
        mtime: timestamp(raw.st_mtime, raw.st_mtime_nsec)?,
        ctime: timestamp(raw.st_ctime, raw.st_ctime_nsec)?,
    })
}

fn file_type(format: SFlag) -> io::Result<FileType> {
    Ok(match format {
        SFlag::S_IFDIR => FileType::Directory,
        SFlag::S_IFREG => FileType::Regular,
        SFlag::S_IFLNK => FileType::Symlink,
        SFlag::S_IFCHR => FileType::CharDevice,
        SFlag::S_IFBLK => FileType::BlockDevice,
        SFlag::S_IFIFO => FileType::Fifo,
        SFlag::S_IFSOCK => FileType::Socket,
        _ => return Err(io::ErrorKind::Unsupported.into()),
    })
}

fn device_numbers(raw: &FileStat) -> io::Result<(u32, u32)> {
    #[cfg(not(target_os = "linux"))]
    use nix::libc::{major, minor};
    #[cfg(target_os = "linux")]
    use nix::sys::stat::{major, minor};
    Ok((number(major(raw.st_rdev))?, number(minor(raw.st_rdev))?))
}

fn timestamp<S, N>(seconds: S, nanoseconds: N) -> io::Result<Timestamp>
where
    i64: TryFrom<S>,
    u32: TryFrom<N>,
{
    Ok(Timestamp {
        seconds: number(seconds)?,
        nanoseconds: number(nanoseconds)?,
    })
}

/// The target of the symbolic link `name` in `parent`.
pub(crate) fn read_link_at(parent: impl AsFd, name: &[u8]) -> io::Result<Vec<u8>> {
    Ok(nix::fcntl::readlinkat(parent, name)?.into_vec())
}

/// The names of an open file's extended attributes; none where the filesystem knows none.
pub(crate) fn xattr_names(file: &File) -> io::Result<Vec<Vec<u8>>> {
    collect_names(file.list_xattr())
}

/// Whether open directories have names in /proc.
pub(crate) fn has_proc(directory: &File) -> bool {
    path_below(directory, b".").exists()
}

/// Whether the ctimes where a file lies are this kernel's: elsewhere a server or a program may set them, and none
/// is trusted that is not known.
#[cfg(target_os = "linux")]
pub(crate) fn has_own_ctimes(file: &File) -> bool {
    /// ext4, XFS, Btrfs, tmpfs, overlayfs, F2FS, bcachefs and ZFS, by the numbers in `linux/magic.h`.
    const KNOWN: [i128; 8] = [
        0xef53,
        0x5846_5342,
        0x9123_683e,
        0x0102_1994,
        0x794c_7630,
        0xf2f5_2010,
        0xca45_1a4e,
        0x2fc1_2fc1,
    ];
    let found = nix::sys::statfs::fstatfs(file);
    found.is_ok_and(|found| {
        let number = i128::from(found.filesystem_type().0) & 0xffff_ffff;
        KNOWN.contains(&number)
    })
}

/// A short path to `name` in an open directory: few calls take the two apart.
fn path_below(directory: &File, name: &[u8]) -> PathBuf {
    let directory = format!("/proc/self/fd/{}", directory.as_raw_fd());
    PathBuf::from(directory).join(OsStr::from_bytes(name))
}

/// As [`xattr_names`], for `name` in an open directory, where [`has_proc`].
pub(crate) fn xattr_names_below(directory: &File, name: &[u8]) -> io::Result<Vec<Vec<u8>>> {
    xattr_names_at(&path_below(directory, name))
}

/// As [`xattr()`], for `name` in an open directory, where [`has_proc`].
pub(crate) fn xattr_below(
    directory: &File,
    name: &[u8],
    attribute: &[u8],
) -> io::Result<Option<Vec<u8>>> {
    xattr_at(&path_below(directory, name), attribute)
}

/// The path that bytes are; any are one.
#[expect(clippy::unnecessary_wraps, reason = "elsewhere it may be none")]
pub(crate) fn path_of_bytes(bytes: &[u8]) -> Option<PathBuf> {
    Some(OsStr::from_bytes(bytes).into())
}

/// The bytes that a name has in an image.
#[expect(
    clippy::unnecessary_wraps,
    reason = "elsewhere not every name has some"
)]
pub(crate) fn bytes_of_name(name: &OsStr) -> io::Result<&[u8]> {
    Ok(name.as_bytes())
}

/// The value of an open file's extended attribute, or `None` if there is none of that name.
pub(crate) fn xattr(file: &File, name: &[u8]) -> io::Result<Option<Vec<u8>>> {
    file.get_xattr(OsStr::from_bytes(name))
}

/// As [`xattr_names`], for the last part of `path`, not following a symbolic link.
pub(crate) fn xattr_names_at(path: &Path) -> io::Result<Vec<Vec<u8>>> {
    collect_names(xattr::list(path))
}

/// As [`xattr()`], for the last part of `path`, not following a symbolic link.
pub(crate) fn xattr_at(path: &Path, name: &[u8]) -> io::Result<Option<Vec<u8>>> {
    xattr::get(path, OsStr::from_bytes(name))
}

fn collect_names(listed: io::Result<xattr::XAttrs>) -> io::Result<Vec<Vec<u8>>> {
    match listed {
        Ok(names) => Ok(names.map(OsStringExt::into_vec).collect()),
        Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Whether the system keeps an extended attribute, or the list of them, to itself: security modules
/// and filesystems such as FUSE's name some whose values they do not give, and a user namespace sees
/// no capability of another one's root (EOVERFLOW). No retry mends that.
pub(crate) fn means_kept_back(error: &io::Error) -> bool {
    let code = error.raw_os_error().map(Errno::from_raw);
    matches!(
        code,
        Some(Errno::EPERM | Errno::EACCES | Errno::EOPNOTSUPP | Errno::EOVERFLOW)
    )
}

/// Whether a file was not opened because it is a symbolic link or a socket.
pub(crate) fn means_other_type(error: &io::Error) -> bool {
    let code = error.raw_os_error().map(Errno::from_raw);
    // O_NOFOLLOW answers EMLINK on FreeBSD.
    matches!(code, Some(Errno::ELOOP | Errno::EMLINK | Errno::ENXIO))
}

/// What went wrong, in the system's words without its number.
pub(crate) fn reason(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(nix::libc::EFBIG) => {
            "File too large: longer than the file size limit (ulimit -f) or the filesystem allows"
                .to_owned()
        }
        Some(code) => Errno::from_raw(code).desc().to_owned(),
        None => error.to_string(),
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::fs::File;
    use std::io;
    use std::ops::Range;
    use std::os::fd::{AsFd, AsRawFd};
    use std::path::Path;

    use nix::errno::Errno;
    use nix::fcntl::{FallocateFlags, OFlag, PosixFadviseAdvice, fallocate, posix_fadvise};
    use nix::sys::stat::Mode;
    use nix::sys::statvfs::fstatvfs;
    use nix::unistd::{Whence, lseek};

    use super::number;

    // linux/fs.h; the discard and zeroing calls take the address of a start and a length in bytes.
    nix::ioctl_read_bad!(
        blkgetsize64,
        nix::request_code_read!(0x12, 114, size_of::<usize>()),
        u64
    );
    nix::ioctl_read_bad!(
        blkroget,
        nix::request_code_none!(0x12, 94),
        nix::libc::c_int
    );
    nix::ioctl_read_bad!(
        blksszget,
        nix::request_code_none!(0x12, 104),
        nix::libc::c_int
    );
    nix::ioctl_read_bad!(
        blkpbszget,
        nix::request_code_none!(0x12, 123),
        nix::libc::c_uint
    );
    nix::ioctl_read_bad!(
        blkdiscardzeroes,
        nix::request_code_none!(0x12, 124),
        nix::libc::c_uint
    );
    nix::ioctl_write_ptr_bad!(blkdiscard, nix::request_code_none!(0x12, 119), [u64; 2]);
    nix::ioctl_write_ptr_bad!(blkzeroout, nix::request_code_none!(0x12, 127), [u64; 2]);

    // FS_IOC_GETFLAGS is declared to give a long and gives an int; through FUSE a server may fill
    // the whole long, so there is room for it.
    nix::ioctl_read_bad!(
        fs_ioc_getflags,
        nix::request_code_read!(b'f', 1, size_of::<nix::libc::c_long>()),
        [u32; 2]
    );

    /// The flags that `lsattr` shows of an open file or directory; none where the filesystem has
    /// no such flags.
    pub(crate) fn attribute_flags(file: impl AsFd) -> io::Result<u32> {
        let mut flags = [0; 2];
        // SAFETY: the descriptor is open and the kernel writes at most one long.
        match unsafe { fs_ioc_getflags(file.as_fd().as_raw_fd(), &raw mut flags) } {
            Ok(_) => Ok(flags[0]),
            Err(Errno::ENOTTY | Errno::EOPNOTSUPP | Errno::ENOSYS | Errno::EINVAL) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    /// The longest list of names that the kernel gives (`XATTR_LIST_MAX`).
    const MOST_NAMES_BYTES: usize = 1 << 16;

    /// The number of `listxattrat`, where it is known: Linux 6.13 has it.
    const fn listxattrat_number() -> Option<nix::libc::c_long> {
        // Those of calls this young are the same on all of these.
        if cfg!(any(
            all(target_arch = "x86_64", target_pointer_width = "64"),
            target_arch = "aarch64",
            target_arch = "riscv64",
            target_arch = "loongarch64",
            target_arch = "powerpc64",
            target_arch = "s390x",
            target_arch = "x86",
            target_arch = "arm",
        )) {
            Some(465)
        } else {
            None
        }
    }

    /// Fills `names` with those of the extended attributes of `name` in an open directory, each with a NUL
    /// behind it, and says how many bytes they are.
    fn listxattrat(directory: &File, name: &[u8], names: &mut [u8]) -> nix::Result<usize> {
        use nix::NixPath;
        let number = listxattrat_number().ok_or(Errno::ENOSYS)?;
        let listed = name.with_nix_path(|name| {
            // SAFETY: the descriptor is open, the name ends with a NUL, and the kernel writes no more than
            // the bytes it is told of.
            Errno::result(unsafe {
                nix::libc::syscall(
                    number,
                    directory.as_raw_fd(),
                    name.as_ptr(),
                    nix::libc::AT_SYMLINK_NOFOLLOW,
                    names.as_mut_ptr(),
                    names.len(),
                )
            })
        })??;
        usize::try_from(listed).map_err(|_| Errno::EOVERFLOW)
    }

    /// Whether [`xattr_names_in`] answers. It asks the kernel past the C library, so it does not where
    /// another may stand in the library's place, as fakeroot does.
    pub(crate) fn has_xattr_names_in(directory: &File) -> bool {
        let is_between = std::env::var_os("LD_PRELOAD").is_some_and(|value| !value.is_empty());
        let listed = || listxattrat(directory, b".", &mut [0; MOST_NAMES_BYTES]);
        !is_between && matches!(listed(), Ok(_) | Err(Errno::EOPNOTSUPP))
    }

    /// As [`xattr_names`](super::xattr_names), for `name` in an open directory, where
    /// [`has_xattr_names_in`]: in a fifth of the time that a path through /proc takes.
    pub(crate) fn xattr_names_in(directory: &File, name: &[u8]) -> io::Result<Vec<Vec<u8>>> {
        let mut names = [0; 512];
        let split = |names: &[u8]| {
            let names = names
                .split(|byte| *byte == 0)
                .filter(|name| !name.is_empty());
            names.map(<[u8]>::to_vec).collect()
        };
        match listxattrat(directory, name, &mut names) {
            Ok(bytes) => Ok(split(&names[..bytes])),
            Err(Errno::EOPNOTSUPP) => Ok(Vec::new()),
            Err(Errno::ERANGE) => {
                let mut names = vec![0; MOST_NAMES_BYTES];
                let bytes = listxattrat(directory, name, &mut names)?;
                Ok(split(&names[..bytes]))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// `fsverity_read_metadata_arg`.
    #[repr(C)]
    struct ReadVerity {
        metadata_type: u64,
        offset: u64,
        length: u64,
        buf_ptr: u64,
        reserved: u64,
    }

    nix::ioctl_readwrite_bad!(
        fs_ioc_read_verity_metadata,
        nix::request_code_readwrite!(b'f', 135, size_of::<ReadVerity>()),
        ReadVerity
    );

    /// The descriptor and the signature of an open file that fs-verity protects.
    pub(crate) fn verity_metadata(file: &File) -> io::Result<(Vec<u8>, Vec<u8>)> {
        const DESCRIPTOR: u64 = 2;
        const SIGNATURE: u64 = 3;
        let descriptor = read_verity(file, DESCRIPTOR)?;
        let signature = match read_verity(file, SIGNATURE) {
            Err(error) if error.raw_os_error() == Some(nix::libc::ENODATA) => Vec::new(),
            read => read?,
        };
        Ok((descriptor, signature))
    }

    /// All of what fs-verity keeps as `metadata_type`, neither of which has more than 16 KiB.
    fn read_verity(file: &File, metadata_type: u64) -> io::Result<Vec<u8>> {
        const MOST_BYTES: usize = 16 << 10;
        let mut bytes = vec![0_u8; MOST_BYTES];
        let mut filled = 0;
        while filled < MOST_BYTES {
            let rest = &mut bytes[filled..];
            let mut asked = ReadVerity {
                metadata_type,
                offset: number(filled)?,
                length: number(rest.len())?,
                buf_ptr: number(rest.as_mut_ptr().expose_provenance())?,
                reserved: 0,
            };
            // SAFETY: the descriptor is open, and the kernel writes at most `length` bytes to the buffer,
            // which lives as long as the call.
            let read = unsafe { fs_ioc_read_verity_metadata(file.as_raw_fd(), &raw mut asked) };
            match usize::try_from(read?).unwrap_or(0) {
                0 => break,
                read => filled += read.min(rest.len()),
            }
        }
        bytes.truncate(filled);
        Ok(bytes)
    }

    /// A file in `directory` that never has a name, or none where the filesystem has no such files.
    pub(crate) fn temporary_file(directory: &Path) -> io::Result<Option<File>> {
        let flags = OFlag::O_TMPFILE | OFlag::O_RDWR | OFlag::O_CLOEXEC;
        match nix::fcntl::open(directory, flags, Mode::S_IRUSR | Mode::S_IWUSR) {
            Ok(file) => Ok(Some(file.into())),
            Err(Errno::EOPNOTSUPP | Errno::EISDIR | Errno::ENOSYS | Errno::EINVAL) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Where the first data at or after `offset` begins, or `None` if only a hole follows.
    ///
    /// `Unsupported` where the filesystem does not tell.
    pub(crate) fn seek_data(file: &File, offset: u64) -> io::Result<Option<u64>> {
        seek(file, offset, Whence::SeekData)
    }

    /// Where the first hole at or after `offset` begins, the file's end counting as one, or `None`
    /// if the file ends before.
    ///
    /// `Unsupported` where the filesystem does not tell.
    pub(crate) fn seek_hole(file: &File, offset: u64) -> io::Result<Option<u64>> {
        seek(file, offset, Whence::SeekHole)
    }

    fn seek(file: &File, offset: u64, whence: Whence) -> io::Result<Option<u64>> {
        match lseek(file, number(offset)?, whence) {
            Ok(found) => Ok(Some(number(found)?)),
            Err(Errno::ENXIO) => Ok(None),
            Err(Errno::EINVAL) => Err(io::ErrorKind::Unsupported.into()),
            Err(error) => Err(error.into()),
        }
    }

    /// Asks that nothing be read from `file` that is not asked for.
    ///
    /// Read ahead into a preallocated range, a page of zeros counts as data from then on: the next
    /// walk would find another map of holes. Where the wish is not heard, that is all that happens.
    pub(crate) fn read_no_further(file: &File) {
        let _ = posix_fadvise(file, 0, 0, PosixFadviseAdvice::POSIX_FADV_RANDOM);
    }

    /// The size of an open block device in bytes.
    pub(crate) fn block_device_size(device: &File) -> io::Result<u64> {
        let mut bytes = 0;
        // SAFETY: the descriptor is open and the kernel writes one u64.
        unsafe { blkgetsize64(device.as_raw_fd(), &raw mut bytes)? };
        Ok(bytes)
    }

    /// Whether an open block device is read-only: root opens one for writing all the same.
    pub(crate) fn is_read_only_device(device: &File) -> bool {
        let mut read_only = 0;
        // SAFETY: the descriptor is open and the kernel writes one int.
        let answer = unsafe { blkroget(device.as_raw_fd(), &raw mut read_only) };
        answer.is_ok() && read_only != 0
    }

    /// The smallest unit an open block device can address, in bytes.
    pub(crate) fn logical_sector_size(device: &File) -> io::Result<u32> {
        let mut bytes = 0;
        // SAFETY: the descriptor is open and the kernel writes one int.
        unsafe { blksszget(device.as_raw_fd(), &raw mut bytes)? };
        number(bytes)
    }

    /// The smallest unit an open block device can write without reading first, in bytes.
    pub(crate) fn physical_sector_size(device: &File) -> io::Result<u32> {
        let mut bytes = 0;
        // SAFETY: the descriptor is open and the kernel writes one unsigned int.
        unsafe { blkpbszget(device.as_raw_fd(), &raw mut bytes)? };
        number(bytes)
    }

    /// Whether what an open block device discards surely reads as zeros.
    ///
    /// Since Linux 4.12 the kernel promises this of none.
    pub(crate) fn device_discard_zeroes(device: &File) -> bool {
        let mut zeroes = 0;
        // SAFETY: the descriptor is open and the kernel writes one unsigned int.
        let answer = unsafe { blkdiscardzeroes(device.as_raw_fd(), &raw mut zeroes) };
        answer.is_ok() && zeroes != 0
    }

    /// Tells a block device that `length` bytes from `offset` on are no longer needed.
    ///
    /// `Unsupported` where the device cannot discard.
    pub(crate) fn discard_device(device: &File, offset: u64, length: u64) -> io::Result<()> {
        // SAFETY: the descriptor is open and the kernel reads two u64.
        unsafe { blkdiscard(device.as_raw_fd(), &raw const *&[offset, length])? };
        Ok(())
    }

    /// Makes `length` bytes from `offset` on of a block device read as zeros.
    pub(crate) fn zero_device(device: &File, offset: u64, length: u64) -> io::Result<()> {
        // SAFETY: the descriptor is open and the kernel reads two u64.
        unsafe { blkzeroout(device.as_raw_fd(), &raw const *&[offset, length])? };
        Ok(())
    }

    /// Lets the page cache forget what it holds of a file, as far as that is on the disk.
    pub(crate) fn drop_cached(file: &File) {
        use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
        // It is advice: a kernel that does not take it keeps the pages.
        let _ = posix_fadvise(file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
    }

    /// Whether filesystems are asked for holes in files. One may have none all the same.
    pub(crate) const HAS_HOLES: bool = true;

    /// Makes `length` bytes from `offset` on of a file a hole, which reads as zeros.
    ///
    /// `Unsupported` where the filesystem has no holes. The file keeps its size.
    pub(crate) fn punch_hole(file: &File, offset: u64, length: u64) -> io::Result<()> {
        let mode = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        change_space(file, mode, offset, length)
    }

    /// Keeps room for `length` bytes from `offset` on of a file, whatever they are; what is a hole goes on to read
    /// as zeros, and is told as one until it is written.
    ///
    /// `Unsupported` where the filesystem cannot. The file keeps its size.
    pub(crate) fn keep_room(file: &File, offset: u64, length: u64) -> io::Result<()> {
        change_space(file, FallocateFlags::FALLOC_FL_KEEP_SIZE, offset, length)
    }

    /// Makes `length` bytes from `offset` on of a file read as zeros, and keeps room for them.
    ///
    /// `Unsupported` where the filesystem cannot. The file keeps its size.
    pub(crate) fn zero_range(file: &File, offset: u64, length: u64) -> io::Result<()> {
        let mode = FallocateFlags::FALLOC_FL_ZERO_RANGE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        change_space(file, mode, offset, length)
    }

    // What is shared begins and ends at blocks of the filesystem, in both files.
    nix::ioctl_write_ptr!(ficlonerange, 0x94, 13, nix::libc::file_clone_range);

    /// Makes the bytes of `to` from `offset` on the same as `range` of `from`, by sharing the blocks that these
    /// lie in: whoever writes to one of the files later changes nothing in the other.
    pub(crate) fn share_range(
        from: &File,
        range: Range<u64>,
        to: &File,
        offset: u64,
    ) -> io::Result<()> {
        let shared = nix::libc::file_clone_range {
            src_fd: i64::from(from.as_raw_fd()),
            src_offset: range.start,
            src_length: range.end - range.start,
            dest_offset: offset,
        };
        loop {
            // SAFETY: both descriptors are open and the kernel reads one structure.
            match unsafe { ficlonerange(to.as_raw_fd(), &raw const shared) } {
                Err(Errno::EINTR) => {}
                answer => return Ok(answer.map(drop)?),
            }
        }
    }

    /// The block size of the filesystem that `file` is on, if its files can share blocks.
    pub(crate) fn share_unit(file: &File) -> Option<u64> {
        // No filesystem shares half a block: one that can share calls this invalid, and changes nothing.
        let refused = share_range(file, 1..2, file, 3);
        let can_share = refused
            .is_err_and(|error| error.raw_os_error().map(Errno::from_raw) == Some(Errno::EINVAL));
        let told = can_share.then(|| fstatvfs(file).ok()).flatten()?;
        number(told.block_size())
            .ok()
            .filter(|unit: &u64| unit.is_power_of_two())
    }

    fn change_space(file: &File, mode: FallocateFlags, at: u64, length: u64) -> io::Result<()> {
        let (at, length) = (number(at)?, number(length)?);
        loop {
            match fallocate(file, mode, at, length) {
                Err(Errno::EINTR) => {}
                answer => return Ok(answer?),
            }
        }
    }
}

#[cfg(target_os = "linux")]
pub(crate) use linux::*;

/// `value` as another integer: the width of the kernel's types differs among systems.
fn number<T, U: TryFrom<T>>(value: T) -> io::Result<U> {
    U::try_from(value).map_err(|_| io::ErrorKind::InvalidInput.into())
}

/// The major and minor number of a device, as the kernel writes them in its lists.
#[cfg(target_os = "linux")]
pub(crate) fn device_number(device: u64) -> (u64, u64) {
    (nix::sys::stat::major(device), nix::sys::stat::minor(device))
}

#[cfg(feature = "cli")]
mod signals {
    use std::ffi::CString;
    use std::fs::File;
    use std::io::{self, Read};
    use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, RawFd};
    use std::os::unix::ffi::OsStrExt;
    use std::path::Path;
    use std::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, AtomicPtr, Ordering};
    use std::sync::{Arc, OnceLock};
    use std::time::Duration;
    use std::{ptr, thread};

    use nix::errno::Errno;
    use nix::fcntl::OFlag;
    use nix::libc::{self, c_int, off_t};
    use nix::poll::{PollFd, PollFlags, poll};
    use nix::sys::signal::{self, SaFlags, SigAction, SigHandler, SigSet, Signal};
    use nix::sys::stat::{FileStat, fstat, lstat};
    use nix::unistd::{ftruncate, unlink};

    use super::number;

    static STOP: OnceLock<Arc<AtomicBool>> = OnceLock::new();
    static CAUGHT: AtomicI32 = AtomicI32::new(0);
    /// The end of a pipe that wakes whoever ends what does not end by itself; negative if nobody does.
    static BELL: AtomicI32 = AtomicI32::new(-1);

    extern "C" fn note(number: c_int) {
        CAUGHT.store(number, Ordering::Relaxed);
        // Nothing but atomic loads and stores and one system call: this runs between any two
        // instructions.
        if let Some(stop) = STOP.get() {
            stop.store(true, Ordering::Relaxed);
        }
        let bell = BELL.load(Ordering::Relaxed);
        if bell >= 0 {
            let before = Errno::last_raw();
            // SAFETY: the descriptor is never closed. Where the pipe is full, it wakes already.
            let _ = nix::unistd::write(unsafe { BorrowedFd::borrow_raw(bell) }, &[0]);
            Errno::set_raw(before);
        }
    }

    /// The signals that end a process unless they are caught, and that somebody else may send; not
    /// those that tell of a fault in the process itself.
    fn ending_signals() -> Vec<c_int> {
        let everywhere = [
            libc::SIGINT,
            libc::SIGTERM,
            libc::SIGHUP,
            libc::SIGQUIT,
            libc::SIGUSR1,
            libc::SIGUSR2,
            libc::SIGALRM,
            libc::SIGVTALRM,
            libc::SIGPROF,
            libc::SIGXCPU,
        ];
        #[cfg(target_os = "linux")]
        let more = {
            let real_time = libc::SIGRTMIN()..=libc::SIGRTMAX();
            let named = [libc::SIGPOLL, libc::SIGPWR, libc::SIGSTKFLT];
            named.into_iter().chain(real_time)
        };
        #[cfg(not(target_os = "linux"))]
        let more = std::iter::empty();
        everywhere.into_iter().chain(more).collect()
    }

    /// What is done at a signal from now on; gives what was done before.
    fn act(number: c_int, action: usize) -> io::Result<usize> {
        // SAFETY: all zeros is an action without flags and with an empty set.
        let mut new: libc::sigaction = unsafe { std::mem::zeroed() };
        new.sa_sigaction = action;
        // SAFETY: as above; the kernel overwrites it.
        let mut old: libc::sigaction = unsafe { std::mem::zeroed() };
        // SAFETY: both live, and the handlers of this file make async-signal-safe calls only.
        Errno::result(unsafe { libc::sigaction(number, &raw const new, &raw mut old) })?;
        Ok(old.sa_sigaction)
    }

    /// Lets a write past the limit of file sizes fail with an error that can be told, instead of ending
    /// the process.
    pub(crate) fn ignore_file_size_signal() -> io::Result<()> {
        act(libc::SIGXFSZ, libc::SIG_IGN).map(drop)
    }

    /// A flag that each signal which would end the process sets from now on instead.
    ///
    /// Whoever works has a moment to hear of it and to clean up; then the process ends all the same, by
    /// that signal, after what [`undo_on_abort`] and [`remove_on_abort`] were told.
    ///
    /// A signal that is ignored already (as by nohup) stays ignored.
    pub(crate) fn stop_flag() -> io::Result<Arc<AtomicBool>> {
        let stop = Arc::clone(STOP.get_or_init(Arc::default));
        // Where there can be no such thread, whoever works still hears.
        let _ = start_warden();
        let note: extern "C" fn(c_int) = note;
        for number in ending_signals() {
            let before = act(number, address(note))?;
            if before == libc::SIG_IGN {
                act(number, before)?;
            }
        }
        Ok(stop)
    }

    #[expect(
        clippy::as_conversions,
        reason = "sigaction takes a handler's address, which nothing else gives"
    )]
    fn address(handler: extern "C" fn(c_int)) -> usize {
        handler as usize
    }

    /// How long whoever works may take to hear a signal and to clean up.
    const GRACE: Duration = Duration::from_millis(500);

    /// Starts the thread that ends the process some time after a signal came, wherever the others are:
    /// in a system call that waits for somebody else, or in something long.
    fn start_warden() -> io::Result<()> {
        if BELL.load(Ordering::Relaxed) >= 0 {
            return Ok(());
        }
        let (heard, bell) = nix::unistd::pipe()?;
        for end in [&heard, &bell] {
            nix::fcntl::fcntl(
                end,
                nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC),
            )?;
        }
        nix::fcntl::fcntl(&bell, nix::fcntl::FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        let ward = move || {
            let mut heard = File::from(heard);
            // It ends with the process, which never closes the other end.
            if heard.read_exact(&mut [0]).is_err() {
                return;
            }
            thread::sleep(GRACE);
            IS_GIVEN_UP.store(true, Ordering::SeqCst);
            undo_all();
            let _ = die_of_caught_signal();
        };
        let builder = thread::Builder::new().name("signals".into());
        builder.stack_size(1 << 16).spawn(ward)?;
        BELL.store(bell.into_raw_fd(), Ordering::Relaxed);
        Ok(())
    }

    /// Ends the process by the signal that set the flag, as if it had not been caught.
    ///
    /// Returns where none was.
    pub(crate) fn die_of_caught_signal() -> io::Result<()> {
        let caught = CAUGHT.load(Ordering::Relaxed);
        if caught == 0 {
            return Ok(());
        }
        act(caught, libc::SIG_DFL)?;
        // SAFETY: it is a call without conditions.
        Errno::result(unsafe { libc::raise(caught) })?;
        Ok(())
    }

    /// How long a signal may go unheard while nothing arrives, in milliseconds.
    const PATIENCE: u8 = 100;

    /// The most that Linux lets an ordinary user have in a pipe, unless it was told otherwise.
    #[cfg(target_os = "linux")]
    const PIPE_BYTES: c_int = 1 << 20;

    /// Standard input, unbuffered. Reading it fails once [`stop_flag`] is set, however slow whoever
    /// writes to it is.
    pub(crate) struct Stdin(File);

    impl Stdin {
        /// Another handle of standard input. A pipe is made wider, where the system allows it, so that
        /// whoever writes to it waits less.
        pub(crate) fn new() -> io::Result<Self> {
            let stdin = io::stdin().as_fd().try_clone_to_owned()?;
            #[cfg(target_os = "linux")]
            let _ = nix::fcntl::fcntl(&stdin, nix::fcntl::FcntlArg::F_SETPIPE_SZ(PIPE_BYTES));
            Ok(Self(stdin.into()))
        }
    }

    /// Standard output, unbuffered. A pipe is made wider, where the system allows it, so that whoever reads
    /// from it waits less.
    pub(crate) fn stdout() -> io::Result<File> {
        let stdout = io::stdout().as_fd().try_clone_to_owned()?;
        #[cfg(target_os = "linux")]
        let _ = nix::fcntl::fcntl(&stdout, nix::fcntl::FcntlArg::F_SETPIPE_SZ(PIPE_BYTES));
        Ok(stdout.into())
    }

    impl io::Read for Stdin {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            loop {
                if CAUGHT.load(Ordering::Relaxed) != 0 {
                    return Err(io::Error::other("a signal asked to stop"));
                }
                let mut waited = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
                match poll(&mut waited, PATIENCE) {
                    Ok(0) | Err(Errno::EINTR) => {}
                    Ok(_) => return self.0.read(buffer),
                    Err(error) => return Err(error.into()),
                }
            }
        }
    }

    /// How a file becomes what it was before, without the help of a destructor.
    struct Undo {
        /// The name of a file that was created, and which file that is.
        created: Option<(CString, FileStat)>,
        descriptor: RawFd,
        size_bytes: off_t,
        /// Where the magic number of the superblock is, once one may be written; negative until then.
        magic_at: AtomicI64,
    }

    impl Undo {
        /// Nothing here allocates, and each is one system call that a handler may make.
        fn undo(&self) {
            if let Some((path, created)) = &self.created {
                let named = lstat(path.as_c_str());
                let is_same = |named: &FileStat| {
                    (named.st_dev, named.st_ino) == (created.st_dev, created.st_ino)
                };
                if named.as_ref().is_ok_and(is_same) {
                    let _ = unlink(path.as_c_str());
                }
                return;
            }
            // SAFETY: the file is open as long as its undoing is stored.
            let file = unsafe { BorrowedFd::borrow_raw(self.descriptor) };
            let magic_at = self.magic_at.load(Ordering::Relaxed);
            let mut magic = [0; 2];
            // What has its superblock is finished, and stays.
            let is_finished = magic_at >= 0
                && nix::sys::uio::pread(file, &mut magic, magic_at) == Ok(magic.len())
                && magic != [0; 2];
            if !is_finished {
                let _ = ftruncate(file, self.size_bytes);
            }
        }
    }

    /// What an abort or a signal undoes: the output, and a file beside it. They are never freed: a handler may
    /// be at it.
    static OUTPUT: AtomicPtr<Undo> = AtomicPtr::new(ptr::null_mut());
    static BESIDE: AtomicPtr<Undo> = AtomicPtr::new(ptr::null_mut());
    /// Whether a signal undoes it now: nobody may take it for finished any more.
    static IS_GIVEN_UP: AtomicBool = AtomicBool::new(false);

    fn undo_all() {
        for place in [&OUTPUT, &BESIDE] {
            // SAFETY: what is stored there was leaked, so it lives on.
            if let Some(undo) = unsafe { place.load(Ordering::SeqCst).as_ref() } {
                undo.undo();
            }
        }
    }

    extern "C" fn fail(_number: c_int) {
        // Several threads may come here at once, and the first to be done ends the process: each
        // does all of it.
        undo_all();
        // SAFETY: it ends the process without running anything of it.
        unsafe { libc::_exit(1) }
    }

    /// Lets an abort end the process with the status of a failure, after what [`undo_on_abort`] was
    /// told last.
    ///
    /// Where memory ends, the standard library says so and aborts: no destructor runs then.
    pub(crate) fn fail_on_abort() -> io::Result<()> {
        let action = SigAction::new(
            SigHandler::Handler(fail),
            SaFlags::SA_ONSTACK,
            SigSet::empty(),
        );
        // SAFETY: the handler makes async-signal-safe calls only.
        unsafe { signal::sigaction(Signal::SIGABRT, &action)? };
        Ok(())
    }

    /// Lets an abort give `file` back the size that it had before, or remove it from `path` if it
    /// was not there.
    pub(crate) fn undo_on_abort(file: &File, path: &Path, before: Option<u64>) -> io::Result<()> {
        let undo = undo_of(file, path, before)?;
        OUTPUT.store(Box::into_raw(Box::new(undo)), Ordering::SeqCst);
        Ok(())
    }

    /// Lets an abort also remove `file`, which was created, from `path`.
    pub(crate) fn remove_on_abort(file: &File, path: &Path) -> io::Result<()> {
        let undo = undo_of(file, path, None)?;
        BESIDE.store(Box::into_raw(Box::new(undo)), Ordering::SeqCst);
        Ok(())
    }

    fn undo_of(file: &File, path: &Path, before: Option<u64>) -> io::Result<Undo> {
        let created = match before {
            Some(_) => None,
            None => Some((CString::new(path.as_os_str().as_bytes())?, fstat(file)?)),
        };
        Ok(Undo {
            created,
            descriptor: file.as_raw_fd(),
            size_bytes: number(before.unwrap_or_default())?,
            magic_at: AtomicI64::new(-1),
        })
    }

    /// Says where the magic number of the output's superblock will be: once it is there, the output is
    /// finished, and an abort leaves it alone.
    pub(crate) fn finished_by_magic_at(offset: u64) {
        // SAFETY: what is stored there was leaked, so it lives on.
        if let Some(undo) = unsafe { OUTPUT.load(Ordering::SeqCst).as_ref() } {
            let offset = i64::try_from(offset).unwrap_or(-1);
            undo.magic_at.store(offset, Ordering::Relaxed);
        }
    }

    /// Lets an abort undo nothing of the output. Where a signal is at it, this never returns.
    pub(crate) fn undo_nothing() {
        OUTPUT.store(ptr::null_mut(), Ordering::SeqCst);
        while IS_GIVEN_UP.load(Ordering::SeqCst) {
            thread::park();
        }
    }

    /// Lets an abort remove no other file. Where a signal is at it, this never returns.
    pub(crate) fn remove_nothing() {
        BESIDE.store(ptr::null_mut(), Ordering::SeqCst);
        while IS_GIVEN_UP.load(Ordering::SeqCst) {
            thread::park();
        }
    }
}

#[cfg(feature = "cli")]
pub(crate) use signals::*;

#[cfg(test)]
mod tests {
    use std::io::{Read, Seek, Write};

    use super::*;

    #[test]
    fn pages_are_powers_of_two() {
        assert!(page_size().is_power_of_two());
    }

    #[test]
    fn the_host_has_a_name() {
        assert!(!host_name().unwrap().contains(&0));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn only_devices_have_a_device_size() {
        let file = tempfile::tempfile().unwrap();
        assert!(block_device_size(&file).is_err());
        assert!(logical_sector_size(&file).is_err());
        assert!(discard_device(&file, 0, 512).is_err());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_punched_hole_reads_as_zeros() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[0xd1; 8192]).unwrap();
        punch_hole(&file, 4096, 4096).unwrap();
        let mut bytes = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes.len(), 8192);
        assert!(bytes[..4096].iter().all(|byte| *byte == 0xd1));
        assert!(bytes[4096..].iter().all(|byte| *byte == 0));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_a_filesystem_cannot_do_is_unsupported() {
        assert_eq!(
            io::Error::from(nix::errno::Errno::EOPNOTSUPP).kind(),
            io::ErrorKind::Unsupported
        );
    }
}
