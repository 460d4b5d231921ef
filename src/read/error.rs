//! Given what keeps an image from being read, says it in one sentence with inode and block; never looks
//! at an image.

use std::fmt;
use std::io;

use crate::cancel::Cancelled;
use crate::ondisk::acl::AclError;
use crate::ondisk::xattr::XattrFault;
use crate::units::{Block, Group, Ino, Readable, Run, reason};

/// A result of the reader.
pub type Result<T> = std::result::Result<T, Error>;

/// Why something cannot be read: a kind for programs, a sentence for people, and where in the image.
#[derive(Debug)]
pub struct Error(Box<Parts>);

#[derive(Debug)]
struct Parts {
    detail: ErrorDetail,
    group: Option<Group>,
    inode: Option<Ino>,
    block: Option<Block>,
    path: Option<Vec<u8>>,
}

/// What kind of trouble an [`Error`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The bytes hold no ext2, ext3 or ext4 filesystem.
    NotExt,
    /// The filesystem needs something that this reader cannot follow.
    Unsupported,
    /// What is stored breaks a rule of the format.
    Corrupt,
    /// A checksum says that what is stored is not what was written.
    Checksum,
    /// The storage cannot be read.
    Io,
    /// There is no file of this path, or no inode in use of this number.
    NotFound,
    /// It has to be a directory and is none.
    NotADirectory,
    /// It is a directory.
    IsADirectory,
    /// It has to be a regular file and is none.
    NotAFile,
    /// It has to be a symbolic link and is none.
    NotASymlink,
    /// The path leads over more than 40 symbolic links.
    TooManyLinks,
    /// It is encrypted, and there is no key.
    Encrypted,
    /// It is larger than what may be held in memory in one piece.
    TooLarge,
    /// It is an inode that another [`Filesystem`](super::Filesystem) gave.
    Foreign,
    /// The caller itself asked to stop.
    Cancelled,
    /// It is to be a [`Base`](crate::Base), and was not unmounted cleanly.
    NotClean,
}

/// What is wrong, without its place.
#[derive(Debug)]
pub(crate) enum ErrorDetail {
    /// The storage failed, or ends before.
    Io(io::Error),
    /// The superblock has another magic number.
    Magic(u16),
    /// Too short for a superblock: bytes that are left at the filesystem's offset, and bytes needed.
    Short { left: u64, needed: u64 },
    /// A field, by the kernel's name, or a count has another value.
    Value {
        what: &'static str,
        found: u64,
        expected: u64,
    },
    /// A field is out of its bounds.
    Bounds {
        what: &'static str,
        found: u64,
        least: u64,
        most: u64,
    },
    /// A checksum or hash is not that of what it covers.
    Checksum {
        what: &'static str,
        found: u32,
        expected: u32,
    },
    /// A rule of the format is broken.
    Rule(&'static str),
    /// The same, of an entry or an extended attribute of this name.
    Named { rule: &'static str, name: Vec<u8> },
    /// Blocks outside the filesystem.
    Outside(Run),
    /// Extended attributes that are none.
    Xattrs(XattrFault),
    /// An ACL that is none.
    Acl(AclError),
    /// Feature bits of one of the superblock's words that have no name here.
    UnknownFeatures { word: &'static str, bits: u32 },
    /// Something this reader cannot follow.
    Unsupported(&'static str),
    /// What a filesystem waits for.
    NotClean(&'static str),
    /// No file has the inode.
    NotInUse,
    /// A question that has no answer.
    Not(ErrorKind),
    /// Larger than what is held in memory at once, in bytes.
    TooLarge { bytes: u64, most: u64 },
    /// Somebody asked to stop.
    Cancelled,
}

impl ErrorDetail {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Io(_) => ErrorKind::Io,
            Self::Magic(_) | Self::Short { .. } => ErrorKind::NotExt,
            Self::Checksum { .. } => ErrorKind::Checksum,
            Self::UnknownFeatures { .. } | Self::Unsupported(_) => ErrorKind::Unsupported,
            Self::NotClean(_) => ErrorKind::NotClean,
            Self::NotInUse => ErrorKind::NotFound,
            Self::Not(kind) => *kind,
            Self::TooLarge { .. } => ErrorKind::TooLarge,
            Self::Cancelled => ErrorKind::Cancelled,
            _ => ErrorKind::Corrupt,
        }
    }
}

impl fmt::Display for ErrorDetail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "cannot be read: {}", reason(error)),
            Self::Short { left, needed } => write!(
                f,
                "no ext2, ext3 or ext4 filesystem: there are {left} bytes, and a superblock needs {needed}"
            ),
            Self::Magic(found) => write!(
                f,
                "no ext2, ext3 or ext4 filesystem: s_magic is {found:#06x}, expected 0xef53"
            ),
            Self::Value {
                what,
                found,
                expected,
            } => write!(f, "{what} is {found}, expected {expected}"),
            Self::Bounds {
                what,
                found,
                least,
                most,
            } => write!(f, "{what} is {found}, expected {least} to {most}"),
            Self::Checksum {
                what,
                found,
                expected,
            } => write!(f, "{what} is {found:#010x}, expected {expected:#010x}"),
            Self::Rule(rule) => f.write_str(rule),
            Self::Named { rule, name } => write!(f, "'{}' {rule}", Readable(name)),
            Self::Outside(run) => write!(f, "{run}: outside the filesystem"),
            Self::Xattrs(fault) => fault.fmt(f),
            Self::Acl(error) => error.fmt(f),
            Self::UnknownFeatures { word, bits } => {
                write!(f, "unknown features: {word} has the bits {bits:#x}")
            }
            Self::Unsupported(what) => f.write_str(what),
            Self::NotClean(why) => write!(f, "is not clean: {why}; run e2fsck on it first"),
            Self::NotInUse => f.write_str("not in use"),
            Self::Cancelled => Cancelled.fmt(f),
            Self::Not(kind) => f.write_str(sentence(*kind)),
            Self::TooLarge { bytes, most } => write!(
                f,
                "{bytes} bytes are too many to be read at once, at most {most}; read it by ranges"
            ),
        }
    }
}

/// What a kind that needs no numbers says.
fn sentence(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::NotFound => "no such file or directory",
        ErrorKind::NotADirectory => "not a directory",
        ErrorKind::IsADirectory => "is a directory",
        ErrorKind::NotAFile => "not a regular file",
        ErrorKind::NotASymlink => "not a symbolic link",
        ErrorKind::TooManyLinks => "too many symbolic links: more than 40",
        ErrorKind::Foreign => "not an inode of this filesystem",
        ErrorKind::Encrypted => "is encrypted, and cannot be read without its key",
        _ => "cannot be read",
    }
}

impl Error {
    pub(crate) fn new(detail: ErrorDetail) -> Self {
        Self(Box::new(Parts {
            detail,
            group: None,
            inode: None,
            block: None,
            path: None,
        }))
    }

    /// A question without an answer.
    pub(crate) fn not(kind: ErrorKind) -> Self {
        Self::new(ErrorDetail::Not(kind))
    }

    /// What has to be done to a filesystem first.
    pub(crate) fn unclean(why: &'static str) -> Self {
        Self::new(ErrorDetail::NotClean(why))
    }

    /// A broken rule.
    pub(crate) fn rule(rule: &'static str) -> Self {
        Self::new(ErrorDetail::Rule(rule))
    }

    /// The same, known to be in a group.
    #[must_use]
    pub(crate) fn in_group(mut self, group: Group) -> Self {
        self.0.group.get_or_insert(group);
        self
    }

    /// The same, known to be of an inode.
    #[must_use]
    pub(crate) fn in_inode(mut self, ino: Ino) -> Self {
        self.0.inode.get_or_insert(ino);
        self
    }

    /// The same, known to be in a block.
    #[must_use]
    pub(crate) fn in_block(mut self, block: Block) -> Self {
        self.0.block.get_or_insert(block);
        self
    }

    /// The same, met on the way to a path.
    #[must_use]
    pub(crate) fn on_path(mut self, path: &[u8]) -> Self {
        self.0.path.get_or_insert_with(|| path.to_vec());
        self
    }

    /// What kind of trouble it is.
    pub fn kind(&self) -> ErrorKind {
        self.0.detail.kind()
    }

    /// The block group it is in, if it belongs to one.
    pub fn group(&self) -> Option<Group> {
        self.0.group
    }

    /// The inode it belongs to.
    pub fn inode(&self) -> Option<Ino> {
        self.0.inode
    }

    /// The physical block it is in.
    pub fn block(&self) -> Option<Block> {
        self.0.block
    }

    /// The path that was asked for, where one was.
    pub fn path(&self) -> Option<&[u8]> {
        self.0.path.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = &self.0;
        if let Some(path) = &parts.path {
            let path = if path.is_empty() { b"/" } else { &path[..] };
            write!(f, "{}: ", Readable(path))?;
        }
        let numbers = [
            parts.group.map(|group| ("group", u64::from(group.get()))),
            parts.inode.map(|ino| ("inode", u64::from(ino.get()))),
            parts.block.map(|block| ("block", block.get())),
        ];
        let mut comma = "";
        for (word, number) in numbers.into_iter().flatten() {
            write!(f, "{comma}{word} {number}")?;
            comma = ", ";
        }
        if !comma.is_empty() {
            f.write_str(": ")?;
        }
        parts.detail.fmt(f)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        // Its text says what the storage said already.
        match &self.0.detail {
            ErrorDetail::Io(error) => error.source(),
            _ => None,
        }
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match error.kind() {
            ErrorKind::Unsupported | ErrorKind::Encrypted => io::ErrorKind::Unsupported,
            ErrorKind::NotFound => io::ErrorKind::NotFound,
            ErrorKind::NotADirectory => io::ErrorKind::NotADirectory,
            ErrorKind::IsADirectory => io::ErrorKind::IsADirectory,
            ErrorKind::NotAFile
            | ErrorKind::NotASymlink
            | ErrorKind::TooManyLinks
            | ErrorKind::Foreign => io::ErrorKind::InvalidInput,
            ErrorKind::TooLarge => io::ErrorKind::FileTooLarge,
            ErrorKind::NotExt | ErrorKind::Corrupt | ErrorKind::Checksum | ErrorKind::NotClean => {
                io::ErrorKind::InvalidData
            }
            // Of the kind Interrupted it would be taken for a reason to try again.
            ErrorKind::Cancelled => io::ErrorKind::Other,
            ErrorKind::Io => match &error.0.detail {
                ErrorDetail::Io(inner) => inner.kind(),
                _ => io::ErrorKind::Other,
            },
        };
        Self::new(kind, error)
    }
}
