//! Given an inode that `read` has decoded, gives what the checks ask of it; never judges it.

use crate::ondisk::dir::FileType;
use crate::ondisk::inode::Inode;
use crate::read;

/// An inode in use.
pub(super) struct Node {
    pub(super) ino: u32,
    pub(super) it: Inode,
    /// As `read` finds it.
    pub(super) inode: read::Inode,
}

impl Node {
    pub(super) fn new(inode: read::Inode) -> Self {
        Self {
            ino: inode.ino().get(),
            it: *inode.stored(),
            inode,
        }
    }

    pub(super) fn is_directory(&self) -> bool {
        self.inode.is_dir()
    }

    pub(super) fn is_regular(&self) -> bool {
        self.inode.is_file()
    }

    pub(super) fn is_symlink(&self) -> bool {
        self.inode.is_symlink()
    }

    /// The file type of entries that lead to it; 0 if it has none.
    pub(super) fn file_type(&self) -> u8 {
        self.inode.file_type().map_or(0, FileType::number)
    }

    pub(super) fn has_flag(&self, flag: u32) -> bool {
        self.inode.has_flag(flag)
    }

    pub(super) fn size(&self) -> u64 {
        self.inode.size()
    }
}
