//! Given why a tree cannot be laid out, gives the sentence that says it; never decides whether it can.

use std::fmt;

use super::casefold::CasefoldFault;
use super::directory::DirectoryTooLarge;
use super::ledger::ClaimError;
use super::owner::Owner;
use super::xattr_split::XattrFault;
use crate::ondisk::inode::LINK_MAX;
use crate::options::NoFiles;
use crate::units::Readable;

/// Why a tree cannot be laid out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LayoutError {
    /// No room for something the filesystem itself needs.
    NoRoom {
        /// Who needs it.
        owner: Owner,
        /// The blocks needed.
        blocks: u64,
    },
    /// A block was claimed twice: a fault of ours.
    Claim(ClaimError),
    /// Content that does not fit.
    ContentTooBig {
        /// The blocks the content needs.
        needed: u64,
        /// The blocks free for it.
        free: u64,
        /// The block size, in bytes.
        block_size: u32,
    },
    /// More nodes than inodes.
    TooFewInodes {
        /// The inodes needed, with the filesystem's own.
        needed: u64,
        /// The inodes there are.
        inodes: u32,
    },
    /// A file longer than its block numbers reach.
    FileTooBig {
        /// Its path.
        path: Vec<u8>,
        /// Its size in bytes.
        size: u64,
        /// The largest size in bytes.
        most: u64,
    },
    /// More names than a link count holds.
    TooManyLinks {
        /// A path of it.
        path: Vec<u8>,
        /// Its names.
        links: u64,
    },
    /// A symbolic link whose target is longer than a block.
    SymlinkTooLong {
        /// Its path.
        path: Vec<u8>,
        /// Its target's length in bytes.
        length: u64,
        /// The longest target in bytes.
        most: u32,
    },
    /// An extended attribute that cannot be stored.
    Xattr {
        /// The path of a node that has it.
        path: Vec<u8>,
        /// Why.
        fault: XattrFault,
    },
    /// A directory of more blocks than one can have.
    DirectoryTooLarge {
        /// Its path.
        path: Vec<u8>,
        /// How large it is.
        fault: DirectoryTooLarge,
    },
    /// Names that a directory which finds them whatever their case cannot hold.
    Casefold {
        /// The directory's path.
        path: Vec<u8>,
        /// Which names, and why.
        fault: CasefoldFault,
    },
    /// It was asked to stop.
    Cancelled,
    /// Content for what has no place for files.
    ContentWithoutInodes(NoFiles),
    /// `lost+found` at the root that is no directory.
    LostFoundNotADirectory,
    /// Huge files together with other content.
    HugeFilesWithContent,
    /// A name on the way to huge files that cannot be one.
    HugeFileName(Vec<u8>),
    /// A huge file longer than a file can be.
    HugeFileTooBig {
        /// Its blocks.
        blocks: u64,
    },
    /// More users, groups or projects than a quota file holds.
    TooManyOwners {
        /// How many.
        owners: usize,
    },
    /// A device number that the format cannot store.
    Device {
        /// The node's path.
        path: Vec<u8>,
        /// Its major number.
        major: u32,
        /// Its minor number.
        minor: u32,
    },
}

impl LayoutError {
    pub(super) fn no_room(owner: Owner, blocks: u64) -> Self {
        Self::NoRoom { owner, blocks }
    }
}

impl From<ClaimError> for LayoutError {
    fn from(error: ClaimError) -> Self {
        Self::Claim(error)
    }
}

impl fmt::Display for LayoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRoom { owner, blocks } => write!(
                f,
                "the filesystem is too small: no room for {blocks} block{} of {owner}",
                if *blocks == 1 { "" } else { "s" }
            ),
            Self::Claim(error) => fmt::Display::fmt(error, f),
            Self::ContentTooBig {
                needed,
                free,
                block_size,
            } => write!(
                f,
                "the content needs {needed} blocks of {block_size} bytes; the filesystem has {free} free for it"
            ),
            Self::TooFewInodes { needed, inodes } => write!(
                f,
                "the content needs {needed} inodes; the filesystem has {inodes}"
            ),
            Self::FileTooBig { path, size, most } => write!(
                f,
                "{} has {size} bytes; with this block size a file has at most {most}",
                Readable(path)
            ),
            Self::TooManyLinks { path, links } => write!(
                f,
                "{} has {links} names; ext4 counts at most {}",
                Readable(path),
                LINK_MAX
            ),
            Self::SymlinkTooLong { path, length, most } => write!(
                f,
                "{} is a symbolic link of {length} bytes; with this block size it has at most {most}",
                Readable(path)
            ),
            Self::Xattr { path, fault } => write!(f, "{}: {fault}", Readable(path)),
            Self::DirectoryTooLarge { path, fault } => {
                write!(f, "{}: {fault}", Readable(path))
            }
            Self::Casefold { path, fault } => write!(f, "{}: {fault}", Readable(path)),
            Self::Cancelled => f.write_str("interrupted"),
            Self::ContentWithoutInodes(NoFiles::JournalDevice) => f.write_str(
                "a journal device (-O journal_dev) cannot hold files; leave out the content or the feature",
            ),
            Self::ContentWithoutInodes(NoFiles::SuperOnly) => f.write_str(
                "superblocks and group descriptors alone (-S) cannot hold files; leave out the content or -S",
            ),
            Self::LostFoundNotADirectory => {
                f.write_str("/lost+found must be a directory: ext4 keeps that name")
            }
            Self::HugeFilesWithContent => {
                f.write_str("make_hugefiles needs a filesystem without other content")
            }
            Self::HugeFileName(name) => write!(
                f,
                "huge files or their directory cannot be called '{}'",
                Readable(name)
            ),
            Self::HugeFileTooBig { blocks } => write!(
                f,
                "a huge file would have {blocks} blocks; a file has fewer than 2^32"
            ),
            Self::TooManyOwners { owners } => write!(
                f,
                "the content belongs to {owners} owners; a quota file for them would exceed 2 GiB"
            ),
            Self::Device { path, major, minor } => write!(
                f,
                "{} is device {major}:{minor}; ext4 stores major numbers to 4095 and minor numbers to 1048575",
                Readable(path)
            ),
        }
    }
}

impl std::error::Error for LayoutError {}
