//! Given what `read` finds in a filesystem, gives it in other forms: a listing or a tar archive; never an
//! image.

pub mod list;
pub mod tar;

use std::fmt;
use std::io;

use crate::read::{self, Filesystem, Inode};
use crate::units::Readable;

/// The directory that fsck fills, in the root.
const LOST_AND_FOUND: &[u8] = b"lost+found";

/// Why something cannot be given in another form.
#[derive(Debug)]
#[non_exhaustive]
pub enum ExportError {
    /// It cannot be read.
    Read(read::Error),
    /// It cannot be written.
    Write(io::Error),
    /// A path with `..` names no member of an archive.
    Parent(Vec<u8>),
}

impl fmt::Display for ExportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(error) => error.fmt(f),
            Self::Write(error) => error.fmt(f),
            Self::Parent(path) => write!(
                f,
                "invalid path '{}': '..' cannot be in the names of an archive",
                Readable(path)
            ),
        }
    }
}

impl std::error::Error for ExportError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Read(error) => error.source(),
            Self::Write(error) => error.source(),
            Self::Parent(_) => None,
        }
    }
}

impl From<read::Error> for ExportError {
    fn from(error: read::Error) -> Self {
        Self::Read(error)
    }
}

/// Whether a directory has no entries.
fn is_empty(filesystem: &Filesystem<'_>, dir: &Inode) -> Result<bool, read::Error> {
    let first = filesystem.entries(dir)?.next().transpose()?;
    Ok(first.is_none())
}
