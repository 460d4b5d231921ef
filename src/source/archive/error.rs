//! Given what is wrong with an archive, says it with the entry's name and offset; never mends it.

use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;

use crate::source::Readable;
use crate::sys;

/// A number of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::source) enum Field {
    Mode,
    Uid,
    Gid,
    Size,
    RealSize,
    Atime,
    Mtime,
    Ctime,
    Checksum,
    Major,
    Minor,
    SparseMap,
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mode => "mode",
            Self::Uid => "uid",
            Self::Gid => "gid",
            Self::Size => "size",
            Self::RealSize => "size with holes",
            Self::Atime => "atime",
            Self::Mtime => "mtime",
            Self::Ctime => "ctime",
            Self::Checksum => "checksum",
            Self::Major => "device's major number",
            Self::Minor => "device's minor number",
            Self::SparseMap => "map of holes",
        })
    }
}

/// What is wrong with an entry.
#[derive(Clone, Debug)]
pub(in crate::source) enum ErrorKind {
    Read(Arc<io::Error>),
    /// The archive ends within the entry.
    CutOff,
    /// There is no byte.
    Empty,
    Checksum,
    /// Zeros from the first byte on, and then something else or no end.
    NotZeros,
    Number(Field),
    /// A number that is out of what a filesystem holds.
    Range(Field, i64),
    /// A header that describes the next is too long, in bytes.
    TooLong {
        bytes: u64,
        most: u64,
    },
    /// A PAX record that is none.
    Record,
    /// A PAX record whose value is none of its kind.
    Value(Vec<u8>),
    /// A PAX record that only one file can have, for all.
    Global(Vec<u8>),
    NoName,
    NulInName,
    NoTarget,
    NulInTarget,
    /// A type whose data programs disagree about.
    DataOf(&'static str, u64),
    Type(u8),
    /// A map of holes that contradicts itself, its file or the data.
    Sparse(&'static str),
    Acl(Vec<u8>),
    /// An attribute's name, how many bytes its value has, and how many are the most.
    Attribute(Vec<u8>, usize, usize),
    /// An attribute's name that has a NUL, or nothing behind its namespace.
    NoAttributeName(Vec<u8>),
    /// An attribute's name that has more bytes than the most.
    AttributeName(Vec<u8>, usize),
    /// How many bytes all headers of a compressed archive hold, and how many are the most.
    Named(u64, u64),
    /// How many bytes the names of its attributes have, and how many are the most.
    AttributeNames(usize, usize),
}

impl ErrorKind {
    /// Whether it is about what a link leads to.
    pub(in crate::source) fn is_of_target(&self) -> bool {
        matches!(
            self,
            Self::NoTarget | Self::NulInTarget | Self::TooLong { .. }
        )
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(error) => f.write_str(&sys::reason(error)),
            Self::CutOff => f.write_str("the archive ends before the entry does"),
            Self::Checksum => f.write_str("the header has a wrong checksum"),
            Self::Empty => f.write_str("the archive is empty"),
            Self::NotZeros => f.write_str("it begins with zeros and is not a tar archive"),
            Self::Number(field) => write!(f, "the {field} is not a number"),
            Self::Range(field @ (Field::Uid | Field::Gid), value) => say_owner(f, *field, *value),
            Self::Range(field, value) => {
                write!(f, "the {field} is {value}, which no filesystem can hold")
            }
            Self::TooLong { bytes, most } => write!(
                f,
                "its extended header has {bytes} bytes: must be at most {most}"
            ),
            Self::Record => {
                f.write_str("malformed PAX record: expected \"LENGTH KEY=VALUE\" and a newline")
            }
            Self::Value(key) => write!(f, "the PAX record {} has an invalid value", Readable(key)),
            Self::Global(key) => write!(
                f,
                "the PAX record {} cannot be in a global header",
                Readable(key)
            ),
            Self::NoName => f.write_str("the entry has no name"),
            Self::NulInName => f.write_str("the name has a NUL"),
            Self::NoTarget => f.write_str("the link has no target"),
            Self::NulInTarget => f.write_str("the link's target has a NUL"),
            Self::DataOf(kind, bytes) => write!(
                f,
                "{kind} of {bytes} bytes: must have 0, as readers disagree whether data follows"
            ),
            Self::Type(flag) => {
                write!(f, "unknown entry type '{}'", flag.escape_ascii())
            }
            Self::Sparse(what) => write!(f, "the map of holes {what}"),
            Self::Attribute(name, bytes, most) => write!(
                f,
                "the xattr {name} has {bytes} bytes: must be at most {most}; use --xattr-exclude {name} \
                 to leave it out",
                name = Readable(name)
            ),
            Self::NoAttributeName(name) => write!(
                f,
                "the xattr {} has a NUL in its name, or no name behind its namespace; use \
                 --xattr-exclude to leave it out",
                Readable(name)
            ),
            Self::AttributeName(name, most) => write!(
                f,
                "the xattr {} has a name of {} bytes: must be at most {most}; use --xattr-exclude \
                 to leave it out",
                Readable(name),
                name.len()
            ),
            Self::Named(bytes, most) => write!(
                f,
                "names, targets and xattrs up to here have {bytes} bytes, more than the {most} that an archive \
                 of this compressed size may have; unpack it first"
            ),
            Self::AttributeNames(bytes, most) => write!(
                f,
                "its xattr names have {bytes} bytes: must be at most {most}"
            ),
            Self::Acl(entry) => {
                write!(f, "malformed ACL \"{}\": ", Readable(entry))?;
                f.write_str("must be complete, with numeric IDs and permissions of r, w and x; ")?;
                f.write_str("use --xattr-exclude 'system.posix_acl_*' to leave out ACLs")
            }
        }
    }
}

/// Says of an owner that is none what replaces it.
fn say_owner(f: &mut fmt::Formatter<'_>, field: Field, value: i64) -> fmt::Result {
    write!(
        f,
        "the {field} is {value}: must be 0 to 4294967294; use --owner or --all-root for other owners"
    )?;
    // Only this one is in the range of ids that a map can name.
    match (field, value == i64::from(u32::MAX)) {
        (_, false) => Ok(()),
        (Field::Uid, true) => f.write_str(", or --uid-map for this one"),
        (_, true) => f.write_str(", or --gid-map for this one"),
    }
}

/// Why an archive cannot be read further.
///
/// Its text has the entry's name, as far as it is known, and the offset of the entry's first header
/// in the uncompressed archive, in bytes. What its reader failed with is its
/// [`source`](std::error::Error::source); `{:#}` says both.
#[derive(Debug)]
pub struct ArchiveError {
    pub(in crate::source) path: Vec<u8>,
    pub(in crate::source) offset: u64,
    pub(in crate::source) fault: ErrorKind,
}

impl ArchiveError {
    /// What the reader of the archive failed with, if it did.
    pub(in crate::source) fn into_read(self) -> Option<io::Error> {
        let ErrorKind::Read(error) = self.fault else {
            return None;
        };
        let shared = |error: Arc<io::Error>| io::Error::new(error.kind(), error);
        Some(Arc::try_unwrap(error).unwrap_or_else(shared))
    }

    /// Whether there is no byte at all.
    #[cfg(feature = "oci")]
    pub(in crate::source) fn is_of_nothing(&self) -> bool {
        matches!(self.fault, ErrorKind::Empty)
    }

    /// The name of the entry, or nothing where that is not known.
    pub fn path(&self) -> &[u8] {
        &self.path
    }

    /// Where the entry's first header begins in the uncompressed archive, in bytes.
    pub fn offset(&self) -> u64 {
        self.offset
    }
}

impl fmt::Display for ArchiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            path,
            offset,
            fault,
        } = self;
        match (
            &path[..],
            matches!(fault, ErrorKind::Read(_)) && !f.alternate(),
        ) {
            (b"", true) => write!(f, "cannot read the entry at byte {offset}"),
            (b"", false) => write!(f, "entry at byte {offset}: {fault}"),
            (path, true) => write!(f, "cannot read {} at byte {offset}", Readable(path)),
            (path, false) => write!(f, "{} at byte {offset}: {fault}", Readable(path)),
        }
    }
}

impl Error for ArchiveError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.fault {
            ErrorKind::Read(error) => Some(&**error),
            _ => None,
        }
    }
}
