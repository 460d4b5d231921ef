//! Given nothing, says what an entry of an archive is; never how it was written.

use std::ops::Range;

use super::acl::Acl;
use super::error::{ArchiveError, ErrorKind, Field};
use super::oddity::Oddity;
use crate::source::rules::OwnerRules;
use crate::tree::{DataMap, Metadata, Special, Xattr};

/// An entry of an archive: what stands at a path once it is unpacked.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The path as it is in the archive: not empty, without NUL.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: EntryKind,
    /// What it says of itself; a hard link's counts for nothing.
    pub metadata: Metadata,
    /// Extended attributes but for ACLs.
    pub xattrs: Vec<Xattr>,
    /// Where its first header begins in the uncompressed archive, in bytes.
    pub offset: u64,
    pub(in crate::source) acl: Option<Acl>,
    pub(in crate::source) default_acl: Option<Acl>,
    /// What is wrong with it alone; what it says there is nothing instead.
    pub(in crate::source) doubts: Vec<ErrorKind>,
    pub(in crate::source) oddities: Vec<Oddity>,
}

impl Entry {
    /// Gives owners that no filesystem can hold what the rules `owners` need to find in their place.
    ///
    /// # Errors
    /// Where something else is wrong with the entry, or no rule is there for the owner.
    pub(in crate::source) fn settle(&mut self, owners: &OwnerRules) -> Result<(), ArchiveError> {
        for fault in std::mem::take(&mut self.doubts) {
            let replaced = match fault {
                ErrorKind::Range(Field::Uid, id) => owners.uid(id).map(|id| self.metadata.uid = id),
                ErrorKind::Range(Field::Gid, id) => owners.gid(id).map(|id| self.metadata.gid = id),
                _ => None,
            };
            if replaced.is_none() {
                let (path, offset) = (self.path.clone(), self.offset);
                return Err(ArchiveError {
                    path,
                    offset,
                    fault,
                });
            }
        }
        Ok(())
    }
}

/// What an entry is.
#[derive(Clone, Debug)]
pub enum EntryKind {
    /// A directory.
    Directory,
    /// A regular file.
    File(Stored),
    /// A symbolic link and its target.
    Symlink(Vec<u8>),
    /// Another name of what is at this path, from the root of the archive.
    HardLink(Vec<u8>),
    /// A device or a named pipe.
    Special(Special),
}

/// Where a regular file's bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stored {
    /// The size in bytes, holes included.
    pub size_bytes: u64,
    /// Which of them are data.
    pub data: DataMap,
    /// The data, one range after the other, as a range of bytes of the uncompressed archive.
    pub place: Range<u64>,
}
