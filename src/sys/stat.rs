//! Given what a system tells of a file, gives it in one form; never asks for it.

use crate::units::Timestamp;

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileType {
    Directory,
    Regular,
    Symlink,
    CharDevice,
    BlockDevice,
    Fifo,
    Socket,
}

/// What `lstat` says of a file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stat {
    /// The device the file is on.
    pub(crate) dev: u64,
    /// The file's inode number there.
    pub(crate) ino: u64,
    pub(crate) file_type: FileType,
    /// 0 to 0o7777.
    pub(crate) permissions: u16,
    /// How many names it has.
    pub(crate) links: u64,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// The major and minor number of the device it is, if it is one.
    pub(crate) device: (u32, u32),
    pub(crate) size_bytes: u64,
    /// How much room it takes: less than its size where it has holes.
    pub(crate) allocated_bytes: u64,
    pub(crate) atime: Timestamp,
    pub(crate) mtime: Timestamp,
    pub(crate) ctime: Timestamp,
}
