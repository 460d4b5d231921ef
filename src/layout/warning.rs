//! Given what could not be kept as it was, gives the sentence that says it; never what to do about it.

use std::fmt;

use super::matched::Moved;
use crate::units::Readable;

/// What a filesystem of these options cannot keep as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LayoutWarning {
    /// A directory is too large for an htree of the depth the features allow.
    LinearDirectory(Vec<u8>),
    /// Nodes have times outside of what the inode can hold; they are clamped.
    TimesClamped {
        /// How many nodes.
        nodes: u64,
        /// The path of the first.
        first: Vec<u8>,
    },
    /// Inodes of 128 bytes keep no nanoseconds.
    NanosecondsDropped {
        /// How many nodes.
        nodes: u64,
        /// The path of the first.
        first: Vec<u8>,
    },
    /// Nothing can stay where the base has it.
    BaseMoved(Moved),
    /// There is too little room for what is new around what the base has.
    BaseFull,
    /// Case-insensitive (casefolded) directories become case-sensitive, since the feature is missing.
    CasefoldDropped {
        /// How many directories.
        nodes: u64,
        /// The path of the first.
        first: Vec<u8>,
    },
    /// Files that fs-verity was to protect, and that it does not.
    VerityLost {
        /// How many files.
        files: u64,
        /// The path of the first.
        first: Vec<u8>,
        /// Why.
        why: VerityLoss,
    },
}

fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

impl fmt::Display for LayoutWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LinearDirectory(path) => write!(
                f,
                "{} is stored without an htree: it is too large for two levels; use -O large_dir",
                Readable(path)
            ),
            Self::TimesClamped { nodes, first } => write!(
                f,
                "{} lost times that their inodes cannot store (first: {}): set to the nearest they can",
                counted(*nodes, "file", "files"),
                Readable(first)
            ),
            Self::NanosecondsDropped { nodes, first } => write!(
                f,
                "{} lost the nanoseconds of their times (first: {}): they need inodes of 256 bytes, -I 256",
                counted(*nodes, "file", "files"),
                Readable(first)
            ),
            Self::BaseMoved(Moved { what, base, now }) => write!(
                f,
                "nothing can stay where the base has it: the {what} is {now}, the base's is {base}"
            ),
            Self::BaseFull => f.write_str(
                "nothing can stay where the base has it: the new files do not fit around it",
            ),
            Self::CasefoldDropped { nodes, first } => write!(
                f,
                "{} lost case-insensitive lookup (first: {}): it needs -O casefold",
                counted(*nodes, "directory", "directories"),
                Readable(first)
            ),
            Self::VerityLost { files, first, why } => write!(
                f,
                "{} lost fs-verity (first: {}): {why}",
                counted(*files, "file", "files"),
                Readable(first)
            ),
        }
    }
}

/// Why a file is not protected by fs-verity although it was to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum VerityLoss {
    /// The filesystem has not the feature.
    Feature,
    /// Its tree has larger blocks than the filesystem.
    BlockSize {
        /// Those of the tree, in bytes.
        tree: u32,
        /// Those of the filesystem, in bytes.
        filesystem: u32,
    },
    /// Its data was written as it came, before anyone knew.
    Streamed,
    /// The format has no such salt, signature or block size, or not so large a tree.
    Unstorable,
}

impl fmt::Display for VerityLoss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Feature => f.write_str("it needs -O verity"),
            Self::BlockSize { tree, filesystem } => write!(
                f,
                "the Merkle tree has blocks of {tree} bytes, the filesystem of {filesystem}; use -b {tree}"
            ),
            Self::Streamed => f.write_str("the data was written before it could be hashed"),
            Self::Unstorable => f.write_str(
                "the salt, the signature, the block size or the tree is larger than fs-verity allows",
            ),
        }
    }
}
