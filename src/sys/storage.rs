//! Given a file that shall hold an image, says which file it is and moves bytes to their place; never
//! decides what to refuse.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

/// Which file: its device and its number there; on Windows its volume and its index there. Two names
/// with one identity are one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Identity {
    /// `st_dev`, or the volume's serial number.
    pub device: u64,
    /// `st_ino`, or the file's index.
    pub inode: u64,
}

/// Whether both paths lead to one file or device, which is there.
pub(crate) fn is_same_file(one: &Path, other: &Path) -> bool {
    let identities = (identity_at(one), identity_at(other));
    let same = matches!(identities, (Some(one), Some(other)) if one == other);
    same || is_same_device(one, other) || have_one_path(one, other)
}

/// Whether both are names of one block device.
fn is_same_device(one: &Path, other: &Path) -> bool {
    let number = |path: &Path| super::block_device_number(&std::fs::metadata(path).ok()?);
    matches!((number(one), number(other)), (Some(one), Some(other)) if one == other)
}

/// Whether both paths are one once all links are followed, for where a system tells no identity.
fn have_one_path(one: &Path, other: &Path) -> bool {
    let paths = (one.canonicalize(), other.canonicalize());
    matches!(paths, (Ok(one), Ok(other)) if one == other)
}

/// Whether both are one file, as far as the system tells files apart.
pub(crate) fn are_one_file(one: &File, other: &File) -> bool {
    let identities = (identity_of(one), identity_of(other));
    matches!(identities, (Some(one), Some(other)) if one == other)
}

/// `path` in a form that leads to the same file wherever the process goes. On wasm it goes nowhere, and
/// a path from the root would be none that its user knows.
pub(crate) fn absolute(path: &Path) -> io::Result<std::path::PathBuf> {
    if cfg!(target_family = "wasm") {
        return Ok(path.to_owned());
    }
    std::path::absolute(path)
}

/// Whether paths may begin with a drive here.
pub(crate) const HAS_DRIVES: bool = cfg!(windows);

/// How many bytes of a path name its drive, where it `may_have` one: a letter and a colon before a slash or
/// backslash, and what Windows puts before them in a path of any length.
pub(crate) fn drive_bytes(path: &[u8], may_have: bool) -> usize {
    let verbatim = if path.starts_with(br"\\?\") { 4 } else { 0 };
    match path.get(verbatim..) {
        Some([letter, b':', b'/' | b'\\', ..]) if may_have && letter.is_ascii_alphabetic() => {
            verbatim + 2
        }
        _ => 0,
    }
}

/// Whether `path` is still a name of the open file itself, as far as the system tells files apart.
pub(crate) fn is_name_of(path: &Path, file: &File) -> bool {
    let is_link = std::fs::symlink_metadata(path).map(|named| named.is_symlink());
    matches!(is_link, Ok(false)) && identity_at(path) == identity_of(file)
}

/// Whether the file at `path` is standard input.
///
/// Where nothing tells which file that is, one that begins as it does is taken for it: it would be lost.
pub(crate) fn is_stdin(path: &Path) -> bool {
    #[cfg(not(unix))]
    if stdin_identity().is_none() {
        return begins_as(&mut io::stdin().lock(), path).unwrap_or(false);
    }
    let stdin = stdin_identity();
    stdin.is_some() && stdin == identity_at(path)
}

/// Whether the file at `path` begins with what `input` holds next, which stays there.
#[cfg(any(test, not(unix)))]
fn begins_as(input: &mut impl io::BufRead, path: &Path) -> io::Result<bool> {
    let file = File::open(path)?;
    let next = input.fill_buf()?;
    let mut first = vec![0; next.len()];
    read_exact_at(&file, 0, &mut first)?;
    Ok(!next.is_empty() && next == first)
}

/// Which file standard input is, if it is one and the system tells.
fn stdin_identity() -> Option<Identity> {
    #[cfg(unix)]
    let stdin = std::os::fd::AsFd::as_fd(&io::stdin()).try_clone_to_owned();
    #[cfg(windows)]
    let stdin = std::os::windows::io::AsHandle::as_handle(&io::stdin()).try_clone_to_owned();
    #[cfg(any(unix, windows))]
    return identity_of(&File::from(stdin.ok()?));
    // No handle is doubled there.
    #[cfg(not(any(unix, windows)))]
    identity_of(&io::stdin())
}

/// Creates a file that was not there, for reading and writing, with mode 644 as mke2fs does.
pub(crate) fn create_new(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o644);
    options.open(path)
}

/// Writes from the front of `bytes` at `offset` and says how many; 0 only where there are none.
pub(crate) fn write_some_at(file: &File, offset: u64, bytes: &[u8]) -> io::Result<usize> {
    loop {
        #[cfg(unix)]
        let answer = std::os::unix::fs::FileExt::write_at(file, bytes, offset);
        #[cfg(windows)]
        let answer = std::os::windows::fs::FileExt::seek_write(file, bytes, offset);
        #[cfg(not(any(unix, windows)))]
        let answer = in_turn::write_at(file, offset, bytes);
        match answer {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(0) if !bytes.is_empty() => return Err(io::ErrorKind::WriteZero.into()),
            answer => return answer,
        }
    }
}

/// A file in `directory` that has no name, and is gone with its last handle.
pub(crate) fn unnamed_file(directory: &Path) -> io::Result<File> {
    #[cfg(target_os = "linux")]
    if let Some(file) = super::unix::temporary_file(directory)? {
        return Ok(file);
    }
    named_for_a_moment(directory)
}

/// As [`unnamed_file`], where a file needs a name to be made.
fn named_for_a_moment(directory: &Path) -> io::Result<File> {
    // On wasm a process has no number, and asking for it panics.
    let process = if cfg!(target_family = "wasm") {
        0
    } else {
        std::process::id()
    };
    for number in 0..u32::MAX {
        let path = directory.join(format!(".mke4fs-{process}-{number}"));
        let mut options = File::options();
        match options.read(true).write(true).create_new(true).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
            Ok(file) => {
                std::fs::remove_file(&path)?;
                return Ok(file);
            }
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// Reads to the front of `buffer` from `offset` and says how much; 0 at the end of the file.
pub(crate) fn read_some_at(file: &File, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        #[cfg(unix)]
        let answer = std::os::unix::fs::FileExt::read_at(file, buffer, offset);
        #[cfg(windows)]
        let answer = std::os::windows::fs::FileExt::seek_read(file, buffer, offset);
        #[cfg(not(any(unix, windows)))]
        let answer = in_turn::read_at(file, offset, buffer);
        match answer {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            answer => return answer,
        }
    }
}

/// Reads `buffer` full from `offset`.
///
/// # Errors
/// `UnexpectedEof` where the file ends before.
pub(crate) fn read_exact_at(file: &File, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
    let (mut at, mut rest) = (offset, buffer);
    while !rest.is_empty() {
        let read = read_some_at(file, at, rest)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        at = at.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
        rest = &mut rest[read..];
    }
    Ok(())
}

/// Where no call takes a place: the file is moved there first. One thread at a time may do so with a
/// file; the rest of a system without such a call has one thread, too.
#[cfg(any(test, not(any(unix, windows))))]
mod in_turn {
    use std::fs::File;
    use std::io::{self, Read, Seek, SeekFrom, Write};
    use std::sync::{Mutex, PoisonError};

    static TURN: Mutex<()> = Mutex::new(());

    pub(super) fn read_at(mut file: &File, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(offset))?;
        file.read(buffer)
    }

    pub(super) fn write_at(mut file: &File, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(offset))?;
        file.write(bytes)
    }
}

#[cfg(unix)]
pub(crate) use on_unix::*;

#[cfg(unix)]
mod on_unix {
    use std::fs::{File, Metadata};
    use std::os::unix::fs::{FileTypeExt, MetadataExt};
    use std::path::Path;

    use super::Identity;

    /// Which file is open.
    pub(crate) fn identity_of(file: &File) -> Option<Identity> {
        identity(&file.metadata().ok()?)
    }

    /// Which file `path` leads to.
    pub(crate) fn identity_at(path: &Path) -> Option<Identity> {
        identity(&std::fs::metadata(path).ok()?)
    }

    /// Which file this is.
    pub(in crate::sys) fn identity(metadata: &Metadata) -> Option<Identity> {
        Some(Identity {
            device: metadata.dev(),
            inode: metadata.ino(),
        })
    }

    /// Whether this is a block device.
    pub(crate) fn is_block_device(metadata: &Metadata) -> bool {
        metadata.file_type().is_block_device()
    }

    /// What this is, for people, where it is neither a regular file nor a block device.
    pub(crate) fn kind_name(metadata: &Metadata) -> &'static str {
        let kind = metadata.file_type();
        if kind.is_dir() {
            "a directory"
        } else if kind.is_fifo() {
            "a pipe"
        } else if kind.is_char_device() {
            "a character device"
        } else if kind.is_socket() {
            "a socket"
        } else {
            "no file"
        }
    }

    /// Whether another user may have put `named`, a file or link that is at `path`, in the way: it
    /// lies in a sticky directory that all may write to, and belongs neither to this user nor to the
    /// directory's owner.
    ///
    /// It is the kernel's rule of `protected_symlinks` and `protected_regular` (sysctl fs), which
    /// few systems leave off, but which does not cover regular files that are merely opened.
    pub(crate) fn is_anothers_in_shared_directory(path: &Path, named: &Metadata) -> bool {
        const STICKY_AND_WRITABLE: u32 = 0o1002;
        let kind = named.file_type();
        let Some(directory) = path
            .parent()
            .and_then(|parent| std::fs::metadata(parent).ok())
        else {
            return false;
        };
        (kind.is_file() || kind.is_symlink())
            && directory.mode() & STICKY_AND_WRITABLE == STICKY_AND_WRITABLE
            && named.uid() != crate::sys::effective_user()
            && named.uid() != directory.uid()
    }

    /// How many bytes of storage the file takes.
    pub(crate) fn allocated_bytes(metadata: &Metadata) -> u64 {
        // st_blocks counts units of 512 bytes, whatever the filesystem's block size.
        metadata.blocks().saturating_mul(512)
    }
}

#[cfg(not(unix))]
pub(crate) use elsewhere::*;

#[cfg(not(unix))]
mod elsewhere {
    use std::fs::{File, Metadata};
    use std::path::Path;

    use super::Identity;

    /// Which file is open, if that can be told.
    #[cfg(windows)]
    pub(crate) fn identity_of(file: &File) -> Option<Identity> {
        let found = winapi_util::file::information(file).ok()?;
        Some(Identity {
            device: found.volume_serial_number(),
            inode: found.file_index(),
        })
    }

    /// Which file or directory `path` leads to, if that can be told.
    #[cfg(windows)]
    pub(crate) fn identity_at(path: &Path) -> Option<Identity> {
        use std::os::windows::fs::OpenOptionsExt;

        /// Without it no directory is opened (winbase.h).
        const FILE_FLAG_BACKUP_SEMANTICS: u32 = 0x0200_0000;
        // What is asked for here nobody has to be allowed to read.
        let mut options = std::fs::OpenOptions::new();
        options.access_mode(0);
        options.custom_flags(FILE_FLAG_BACKUP_SEMANTICS);
        identity_of(&options.open(path).ok()?)
    }

    /// Which file is open, if that can be told.
    #[cfg(target_os = "wasi")]
    pub(crate) fn identity_of(file: impl std::os::fd::AsFd) -> Option<Identity> {
        identity(&rustix::fs::fstat(file).ok()?)
    }

    /// Which file or directory `path` leads to, if that can be told.
    #[cfg(target_os = "wasi")]
    pub(crate) fn identity_at(path: &Path) -> Option<Identity> {
        identity(&rustix::fs::stat(path).ok()?)
    }

    /// Which file this is. One that the host keeps to itself, as a standard stream, has zeros.
    #[cfg(target_os = "wasi")]
    fn identity(found: &rustix::fs::Stat) -> Option<Identity> {
        let found = Identity {
            device: found.st_dev,
            inode: found.st_ino,
        };
        (found.inode != 0).then_some(found)
    }

    /// Which file is open: there are none.
    #[cfg(not(any(windows, target_os = "wasi")))]
    pub(crate) fn identity_of<T>(_file: T) -> Option<Identity> {
        None
    }

    /// Which file `path` leads to: there are none.
    #[cfg(not(any(windows, target_os = "wasi")))]
    pub(crate) fn identity_at(_path: &Path) -> Option<Identity> {
        None
    }

    /// Whether this is a block device.
    pub(crate) fn is_block_device(_metadata: &Metadata) -> bool {
        false
    }

    /// Whether another user may have put a file in the way: that cannot be told.
    pub(crate) fn is_anothers_in_shared_directory(_path: &Path, _named: &Metadata) -> bool {
        false
    }

    /// What this is, for people, where it is no regular file.
    pub(crate) fn kind_name(metadata: &Metadata) -> &'static str {
        if metadata.is_dir() {
            "a directory"
        } else {
            "no file"
        }
    }

    /// How many bytes of storage the file takes.
    pub(crate) fn allocated_bytes(metadata: &Metadata) -> u64 {
        metadata.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is true of identities has to be so without them.
    #[test]
    fn one_file_has_one_path_and_one_identity() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = |name: &str| directory.path().join(name);
        for name in ["one", "two"] {
            std::fs::write(path(name), "the same bytes").expect("a file");
        }
        std::fs::create_dir(path("below")).expect("a directory");
        for (other, expected) in [
            ("one", true),
            ("./one", true),
            ("below/../one", true),
            ("two", false),
            ("missing", false),
        ] {
            let (one, other) = (path("one"), path(other));
            assert_eq!(is_same_file(&one, &other), expected, "{other:?}");
            assert_eq!(have_one_path(&one, &other), expected, "{other:?}");
        }
        assert!(!is_same_file(&path("missing"), &path("missing")));
    }

    #[test]
    fn a_file_begins_as_what_is_read_of_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("file");
        std::fs::write(&path, "some bytes").expect("a file");
        for (input, expected) in [
            ("some bytes", true),
            ("some", true),
            ("", false),
            ("same bytes", false),
            ("some bytes more", false),
        ] {
            let mut left = input.as_bytes();
            let begins = begins_as(&mut left, &path).unwrap_or(false);
            assert_eq!(begins, expected, "{input:?}");
            assert_eq!(left, input.as_bytes());
        }
    }

    #[test]
    fn a_drive_is_a_letter_and_a_colon_before_a_slash() {
        for (path, bytes) in [
            (r"C:\nolay", 2),
            ("z:/tmp", 2),
            (r"\\?\C:\nolay:tag", 6),
            ("C:", 0),
            ("C:tag", 0),
            ("dir:/etc", 0),
            ("1:/etc", 0),
            (r"\\?\", 0),
            ("", 0),
        ] {
            assert_eq!(drive_bytes(path.as_bytes(), true), bytes, "{path}");
            assert_eq!(drive_bytes(path.as_bytes(), false), 0, "{path}");
        }
    }

    #[test]
    fn a_place_is_written_and_read_wherever_the_file_stands() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = unnamed_file(directory.path()).expect("a file");
        write_some_at(&file, 4, b"four").expect("it is written");
        in_turn::write_at(&file, 2, b"to").expect("it is written");
        let mut bytes = [0xd1; 8];
        assert_eq!(in_turn::read_at(&file, 0, &mut bytes).expect("bytes"), 8);
        assert_eq!(&bytes, b"\0\0tofour");
        let mut bytes = [0xd1; 6];
        read_exact_at(&file, 2, &mut bytes).expect("bytes");
        assert_eq!(&bytes, b"tofour");
        let ended = read_exact_at(&file, 3, &mut bytes).expect_err("an end");
        assert_eq!(ended.kind(), io::ErrorKind::UnexpectedEof);
        // Elsewhere it has a name as long as it is open.
        #[cfg(not(unix))]
        drop(file);
        let left = std::fs::read_dir(directory.path()).expect("a directory");
        assert_eq!(left.count(), 0);
    }

    #[cfg(unix)]
    #[test]
    fn links_are_names_of_one_file() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = |name: &str| directory.path().join(name);
        std::fs::write(path("one"), "").expect("a file");
        std::os::unix::fs::symlink("one", path("symbolic")).expect("a link");
        std::fs::hard_link(path("one"), path("hard")).expect("a link");
        assert!(is_same_file(&path("one"), &path("symbolic")));
        assert!(have_one_path(&path("one"), &path("symbolic")));
        assert!(is_same_file(&path("symbolic"), &path("hard")));
    }
}
