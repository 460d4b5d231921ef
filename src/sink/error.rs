//! Given what went wrong with storage, gives a sentence with its name, place and cause; never the
//! mke2fs wording, which is the command's.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::sys;

/// An I/O error with what was being done to which file; its kind is that of its cause.
#[derive(Debug)]
pub(super) struct StorageError {
    path: PathBuf,
    doing: String,
    source: io::Error,
}

impl StorageError {
    /// `source`, which came while `doing` something (such as `write 2 bytes at 9`) to `path`.
    pub(super) fn wrap(path: &Path, doing: String, source: io::Error) -> io::Error {
        let kind = source.kind();
        let path = path.to_owned();
        io::Error::new(
            kind,
            Self {
                path,
                doing,
                source,
            },
        )
    }
}

impl fmt::Display for StorageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, doing) = (self.path.display(), &self.doing);
        let reason = sys::reason(&self.source);
        write!(f, "{path}: cannot {doing}: {reason}")
    }
}

impl Error for StorageError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        // Its text is told already.
        self.source.source()
    }
}

/// Why a file or device was not taken as an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenErrorKind {
    /// A filesystem on it is mounted.
    Mounted,
    /// The system holds it otherwise: as swap, as part of a RAID, of a volume group and the like.
    InUse,
    /// Another run writes it.
    Locked,
    /// It is a directory.
    Directory,
    /// It is a pipe, a socket or a character device.
    NotStorage,
    /// It is a symbolic link that leads nowhere.
    DanglingSymlink,
    /// It is a block device that is set read-only.
    ReadOnly,
    /// It belongs to another user and lies where anybody may put it, such as in `/tmp`.
    Anothers,
    /// The system does not let it be opened or created.
    Io(io::ErrorKind),
}

/// An output that could not be opened; nothing was changed.
#[derive(Debug)]
pub struct OpenError {
    pub(super) path: PathBuf,
    pub(super) cause: Cause,
}

#[derive(Debug)]
pub(super) enum Cause {
    Mounted,
    InUse,
    Locked,
    NoStorage { kind: &'static str },
    Directory,
    DanglingSymlink,
    ReadOnly,
    Anothers,
    Io(io::Error),
}

impl OpenError {
    /// The name that was to be opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Why it was refused.
    pub fn kind(&self) -> OpenErrorKind {
        match &self.cause {
            Cause::Mounted => OpenErrorKind::Mounted,
            Cause::InUse => OpenErrorKind::InUse,
            Cause::Locked => OpenErrorKind::Locked,
            Cause::NoStorage { .. } => OpenErrorKind::NotStorage,
            Cause::Directory => OpenErrorKind::Directory,
            Cause::DanglingSymlink => OpenErrorKind::DanglingSymlink,
            Cause::ReadOnly => OpenErrorKind::ReadOnly,
            Cause::Anothers => OpenErrorKind::Anothers,
            Cause::Io(error) => OpenErrorKind::Io(error.kind()),
        }
    }
}

impl OpenError {
    /// Says what is wrong, but for its cause.
    pub(crate) fn say(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.cause {
            Cause::Mounted => write!(f, "{path} is mounted"),
            Cause::InUse => write!(f, "{path} is in use by the system"),
            Cause::Locked => write!(f, "{path} is being written by another run"),
            Cause::NoStorage { kind } => {
                write!(
                    f,
                    "{path} is {kind}: must be a regular file or a block device"
                )
            }
            Cause::Directory => {
                write!(
                    f,
                    "{path} is a directory: must be a regular file or a block device"
                )
            }
            Cause::DanglingSymlink => write!(
                f,
                "{path} is a symbolic link to a file that does not exist; name that file instead"
            ),
            Cause::ReadOnly => write!(f, "{path} is a read-only device"),
            Cause::Anothers => write!(
                f,
                "{path} belongs to another user, in a directory that anybody can write to; name another file"
            ),
            Cause::Io(_) if self.path.as_os_str().is_empty() => {
                f.write_str("cannot open an output without a name")
            }
            Cause::Io(_) => write!(f, "cannot open {path} for writing"),
        }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.say(f)?;
        match &self.cause {
            Cause::Io(error) => write!(f, ": {}", sys::reason(error)),
            _ => Ok(()),
        }
    }
}

impl Error for OpenError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.cause {
            Cause::Io(error) => Some(error),
            _ => None,
        }
    }
}

impl From<OpenError> for io::Error {
    fn from(error: OpenError) -> Self {
        let kind = match error.kind() {
            OpenErrorKind::Mounted | OpenErrorKind::InUse | OpenErrorKind::Locked => {
                io::ErrorKind::ResourceBusy
            }
            OpenErrorKind::Directory => io::ErrorKind::IsADirectory,
            OpenErrorKind::NotStorage => io::ErrorKind::InvalidInput,
            OpenErrorKind::DanglingSymlink => io::ErrorKind::NotFound,
            OpenErrorKind::ReadOnly => io::ErrorKind::ReadOnlyFilesystem,
            OpenErrorKind::Anothers => io::ErrorKind::PermissionDenied,
            OpenErrorKind::Io(kind) => kind,
        };
        Self::new(kind, error)
    }
}
