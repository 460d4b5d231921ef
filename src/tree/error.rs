//! Given what a tree cannot hold, says why; never what declared it.

use std::fmt;

use super::NAME_MAX;
use crate::units::Readable;

/// What cannot be declared.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TreeError {
    /// A name that ext4 cannot store.
    Name(Vec<u8>),
    /// A name that the directory has already.
    Duplicate(Vec<u8>),
    /// A parent that is no directory.
    NotADirectory,
    /// A second name for a directory.
    DirectoryLink(Vec<u8>),
    /// A range of data that is empty, out of order or past the file's end.
    DataMap {
        /// The range's first byte.
        start: u64,
        /// The first byte after it.
        end: u64,
    },
    /// A symbolic link to nothing.
    EmptyTarget,
    /// A symbolic link whose target has a NUL, where every reader would take it to end.
    NulInTarget(Vec<u8>),
    /// More than 2^32 nodes, or names in one directory.
    TooManyNodes,
    /// A name for a node that was removed.
    Removed(Vec<u8>),
    /// A path that is not there, where something has to be.
    Missing(Vec<u8>),
    /// A second extended attribute of one name.
    DuplicateXattr(Vec<u8>),
    /// A node that is of another tree.
    Foreign,
}

impl fmt::Display for TreeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(
                f,
                "\"{}\" cannot be a name: a name is 1 to {NAME_MAX} bytes without NUL and '/', and not '.' or '..'",
                Readable(name)
            ),
            Self::Duplicate(name) => {
                write!(f, "\"{}\" is in its directory already", Readable(name))
            }
            Self::NotADirectory => f.write_str("only a directory can hold entries"),
            Self::DirectoryLink(name) => write!(
                f,
                "\"{}\" would be a second name for a directory",
                Readable(name)
            ),
            Self::DataMap { start, end } => write!(
                f,
                "data from byte {start} to {end} is empty, out of order or past the end of its file"
            ),
            Self::EmptyTarget => f.write_str("a symbolic link needs a target"),
            Self::NulInTarget(target) => write!(
                f,
                "\"{}\" cannot be a symbolic link's target: it needs to be without NUL",
                Readable(target)
            ),
            Self::TooManyNodes => f.write_str("a filesystem holds fewer than 2^32 inodes"),
            Self::Removed(name) => write!(
                f,
                "\"{}\" would be a name for what was removed",
                Readable(name)
            ),
            Self::Missing(path) => write!(f, "\"{}\" is not in the tree", Readable(path)),
            Self::DuplicateXattr(name) => write!(
                f,
                "a file cannot have two extended attributes called {}",
                Readable(name)
            ),
            Self::Foreign => f.write_str("a node of another tree is not in this one"),
        }
    }
}

impl std::error::Error for TreeError {}
